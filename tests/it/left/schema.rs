//! `lockstep schema`, and the schemas that the sample's documents lead to.

use super::*;

const FILES: [(&str, &str); 4] = [
    ("AccessGrant", "config/access-control.json"),
    ("Config", "lockstep.yaml"),
    ("FeatureFlag", "config/feature-flags.json"),
    ("InterviewType", "config/interview-types.json"),
];

#[test]
fn every_name_has_a_schema_and_others_are_refused() {
    let folder = Folder::new();
    let ran = folder.run(&["schema", "Nothing"]).code(2);
    let (_, names) = ran.err.trim().rsplit_once(": ").unwrap();
    let names: Vec<&str> = names.split(", ").collect();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        let schema = folder.run(&["schema", name]).code(0).json();
        assert_eq!(
            schema["$schema"], "https://json-schema.org/draft/2020-12/schema",
            "{name}"
        );
        assert!(jsonschema::meta::is_valid(&schema), "{name}");
    }
}

#[test]
fn the_sample_s_schemas_are_fresh() {
    for (name, _) in FILES {
        let path = here().join(format!("shared-config/schemas/{name}.schema.json"));
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        let now = lockstep(here(), &["schema", name]).code(0).out;
        assert_eq!(kept, now, "lockstep schema {name} > {}", path.display());
    }
}

/// What an editor does: read the document, follow its `$schema` from where the document lies, validate.
fn documents_fit_their_schemas(root: &Path) {
    let mut followed = 0;
    for (_, document) in FILES {
        let path = root.join(document);
        let text = std::fs::read_to_string(&path).unwrap();
        let (reference, value): (Option<String>, Value) = if document.ends_with(".yaml") {
            let comment = text.lines().next().unwrap().split_once("$schema=");
            (
                comment.map(|(_, r)| r.to_owned()),
                serde_yaml::from_str(&text).unwrap(),
            )
        } else {
            let value: Value =
                jsonc_parser::parse_to_serde_value(&text, &Default::default()).unwrap();
            (value["$schema"].as_str().map(str::to_owned), value)
        };
        // A list has no place for `$schema`; its schema is there all the same.
        let Some(reference) = reference else {
            assert!(value.is_array(), "{document} names no schema");
            continue;
        };
        let schema = path.parent().unwrap().join(reference);
        let schema: Value =
            serde_json::from_str(&std::fs::read_to_string(&schema).unwrap()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&value)
            .map(|e| e.to_string())
            .collect();
        assert!(errors.is_empty(), "{document}: {errors:?}");
        followed += 1;
    }
    assert_eq!(followed, 3);
}

#[test]
fn documents_lead_to_their_schemas_and_fit_them() {
    documents_fit_their_schemas(&here().join("shared-config"));
    let folder = Folder::new();
    folder.run(&["init", "en"]).code(0);
    documents_fit_their_schemas(&folder.join("en"));
    folder.run(&["--lang", "ja", "init", "ja"]).code(0);
    documents_fit_their_schemas(&folder.join("ja"));
}
