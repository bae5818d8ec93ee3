use proptest::prelude::*;

use super::*;
use crate::config::DocumentMapping;
use crate::resource::custom;
use crate::resource::form::{Context, Source};

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
        "config/notes.md",
        "config/.gitkeep",
        "notes/x.json",
    ] {
        assert!(!forms.is_strayed(&path(fine)), "{fine}");
    }
}

const SAMPLES: &[&str] = &[
    "Title\n{\"a\": {\"enabled\": true, \"rollout\": 10, \"teams\": [\"medical\"], \"variants\": {\"x\": 1}},}",
    "a: {enabled: true}\nb:\n  enabled: false\n  expires: 2026-12-31\n  targeting: {if: [1, 2]}\n",
    "{\"admin_users\": [\"a\", {\"id\": \"漢\", \"until\": \"2026-01-01\"}], \"blocked_ips\": [\"::ffff:1.2.3.0/120\"]}",
    "- {id: a, name: A, classification: c, successor: b}\n- {id: b, name: &n B, classification: *n}\n",
    "version: 1\nsystems:\n  medical: {connector: http, url: 'http://a.example', kinds: [Rate], token: x}\ngroups: {g: {systems: [medical]}}\nsafety: {default: {window: 7d}}\n",
];

proptest! {
    /// No document upsets a reader, and what is found lies inside it, on character boundaries.
    #[test]
    fn damaged_documents_are_read(
        sample in prop::sample::select(SAMPLES),
        damage in prop::collection::vec((0_usize..200, 0_usize..6, "[\\[\\]{}:,\"'&*!#\\\\ \n/a1-漢]{0,4}"), 1..4),
    ) {
        let mut chars: Vec<char> = sample.chars().collect();
        for (at, gone, put) in damage {
            let at = at.min(chars.len());
            let end = (at + gone).min(chars.len());
            chars.splice(at..end, put.chars());
        }
        let text: String = chars.into_iter().collect();
        let schema = path("kinds/Rate.schema.json");
        let (rate, _) = custom::read_schema(&schema, "{\"type\": \"object\", \"required\": [\"x\"]}");
        let rate_name: KindName = "Rate".parse().unwrap();
        let custom = BTreeMap::from([(rate_name.clone(), Arc::new(rate.unwrap()))]);
        let kinds = with_custom(&custom);
        let names: Vec<KindName> = kinds.keys().cloned().collect();
        let (config, mut findings) = crate::config::read::read(&path("lockstep.yaml"), &text, &names);
        let context = Context { config: &config, kinds: &kinds };
        for kind in &names {
            let form = form_of(kind, &custom).unwrap();
            for document in ["x/y.json", "x/y.yaml"] {
                let document = path(document);
                let source = Source { path: &document, text: &text };
                let reading = form.read(source, context);
                for declared in &reading.resources {
                    prop_assert!(form.locate(source, context, &declared.id).is_some(), "{:?} {}", declared.id, text);
                }
                findings.extend(reading.findings);
            }
        }
        findings.extend(custom::read_schema(&schema, &text).1);
        for finding in findings {
            if let Some(span) = finding.location.span {
                prop_assert!(text.get(span.start..span.end).is_some());
            }
        }
    }
}
