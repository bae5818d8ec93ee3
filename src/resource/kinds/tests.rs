use super::*;
use crate::config::DocumentMapping;
use crate::resource::custom;

fn path(text: &str) -> DocPath {
    text.parse().unwrap()
}

fn forms() -> Forms {
    let schema = path("kinds/Rate.schema.json");
    let (kind, findings) = custom::read_schema(&schema, "{\"type\": \"object\"}");
    assert_eq!(findings, []);
    let rate: KindName = "Rate".parse().unwrap();
    let custom = BTreeMap::from([(rate.clone(), Arc::new(kind.unwrap()))]);
    let mapping = |path: &str, kind: KindName| DocumentMapping {
        path: path.to_owned(),
        kind,
    };
    let config = Config {
        documents: vec![
            mapping("rates/**/*.yaml", rate),
            mapping("config/*.flags.json", "FeatureFlag".parse().unwrap()),
            mapping("**", "Nothing".parse().unwrap()),
        ],
        ..Config::default()
    };
    Forms::new(&config, &custom)
}

#[test]
fn every_kind_has_one_form_and_the_other_way_round() {
    let mut declared: Vec<KindName> = TABLE.iter().flat_map(|row| (row.form)().kinds()).collect();
    declared.sort();
    let known: Vec<KindName> = builtin().keys().cloned().collect();
    assert_eq!(declared, known);
    for row in TABLE {
        for kind in (row.kinds)() {
            assert!(
                (row.form)()
                    .kinds()
                    .iter()
                    .any(|k| k.as_str() == kind.name())
            );
        }
        for pattern in row.paths {
            for name in alternatives(pattern) {
                assert!(matcher(pattern).unwrap().is_match(&name), "{name}");
            }
        }
    }
}

#[test]
fn documents_are_found_by_their_path() {
    let forms = forms();
    let kinds = |text: &str| {
        forms.form_for(&path(text)).map(|f| {
            f.kinds()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(kinds("config/feature-flags.json").unwrap(), ["FeatureFlag"]);
    assert_eq!(kinds("config/feature-flags.yml").unwrap(), ["FeatureFlag"]);
    assert_eq!(
        kinds("config/access-control.yaml").unwrap(),
        ["AccessGrant", "IpBlock"]
    );
    assert_eq!(kinds("config/more.flags.json").unwrap(), ["FeatureFlag"]);
    assert_eq!(kinds("rates/a/b.yaml").unwrap(), ["Rate"]);
    for none in [
        "lockstep.yaml",
        "kinds/Rate.schema.json",
        "reports/monthly/2026-01.md",
        "README.md",
        "rates/README.yaml",
        "config/sub/feature-flags.json",
        "notes.md",
    ] {
        assert_eq!(kinds(none), None, "{none}");
    }
}

#[test]
fn strayed_files_are_warned_about() {
    let forms = forms();
    let hint = |text: &str| forms.stray(&path(text)).and_then(|f| f.hint);
    assert_eq!(
        hint("config/feature-flag.json").as_deref(),
        Some("did you mean config/feature-flags.json?")
    );
    assert!(
        hint("config/unrelated.toml")
            .unwrap()
            .contains("documents:")
    );
    for fine in [
        "config/feature-flags.json",
        "config/README.md",
        "config/.gitkeep",
        "notes/x.json",
    ] {
        assert!(!forms.is_strayed(&path(fine)), "{fine}");
    }
}
