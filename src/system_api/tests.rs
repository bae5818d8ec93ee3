use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::state::State;

#[derive(Deserialize)]
struct Vector {
    name: String,
    resources: Vec<VectorResource>,
    buckets: BTreeMap<String, Digest>,
    digest: Digest,
}

#[derive(Deserialize)]
struct VectorResource {
    kind: String,
    name: String,
    spec: Value,
    canonical: String,
    digest: Digest,
    bucket: String,
}

/// The vectors were computed by another program in another language.
#[test]
fn the_documented_vectors_hold() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../docs/digests.json")).unwrap();
    assert!(vectors.len() >= 7);
    for vector in vectors {
        let mut items = Vec::new();
        for resource in &vector.resources {
            let item = WireResource {
                kind: resource.kind.as_str().into(),
                name: resource.name.as_str().into(),
                spec: WireSpec(Spec::from_value(&resource.spec).unwrap()),
            }
            .into_item()
            .unwrap();
            assert_eq!(item.spec.as_str(), resource.canonical, "{}", vector.name);
            assert_eq!(item.digest(), resource.digest, "{}", vector.name);
            assert_eq!(
                format!("{:02x}", item.bucket),
                resource.bucket,
                "{}",
                vector.name
            );
            items.push(item);
        }
        let state: State = items.into_iter().collect();
        assert_eq!(state.digest(), vector.digest, "{}", vector.name);
        let filled: BTreeMap<String, Digest> = (0_u8..=255)
            .zip(state.buckets())
            .filter(|(_, bucket)| !bucket.items().is_empty())
            .map(|(index, bucket)| (format!("{index:02x}"), bucket.digest()))
            .collect();
        assert_eq!(filled, vector.buckets, "{}", vector.name);
    }
}

#[test]
fn specs_cross_the_wire_in_canonical_form() {
    let spec = Spec::from_value(&json!({"b": 1.0, "a": "é\n"})).unwrap();
    let sent = serde_json::to_string(&WireSpec(spec.clone())).unwrap();
    assert_eq!(sent, r#"{"a":"é\n","b":1}"#);
    let read: WireSpec = serde_json::from_str(r#"{ "b": 1e0, "a": "\u00e9\u000a" }"#).unwrap();
    assert_eq!(read, WireSpec(spec));
    assert!(serde_json::from_str::<WireSpec>("9007199254740993").is_err());
}

#[test]
fn codes_of_newer_systems_are_read() {
    let answer: ErrorAnswer =
        serde_json::from_value(json!({"error": "later", "code": "quota_exceeded", "new": 1}))
            .unwrap();
    assert_eq!(answer.code, Code::Other);
    assert_eq!(
        serde_json::to_value(Code::OtherBase).unwrap(),
        json!("other_base")
    );
}

/// What the types say and what the document says must not drift apart.
#[test]
fn the_openapi_document_knows_every_field_and_code() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let revision: Revision = "4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse().unwrap();
    let digest = Digest::of(b"");
    let id: ChangesetId = "a".parse().unwrap();
    let spec = WireSpec(Spec::from_value(&json!({})).unwrap());
    let samples = [
        (
            "State",
            json!(StateAnswer {
                revision: None,
                digest,
                resources: vec![]
            }),
        ),
        (
            "Resource",
            json!(WireResource {
                kind: "K".into(),
                name: "n".into(),
                spec: spec.clone()
            }),
        ),
        (
            "Digests",
            json!(DigestsAnswer {
                revision: None,
                digest,
                buckets: vec![]
            }),
        ),
        (
            "Prepare",
            json!(PrepareRequest::<'_, WireSpec> {
                revision: revision.clone(),
                base_digest: digest,
                target_digest: digest,
                fence: Fence(1),
                owner: Some("a".into()),
                changes: vec![]
            }),
        ),
        (
            "Change",
            json!(WireChange {
                op: "create".into(),
                kind: "K".into(),
                name: "n".into(),
                spec: Some(spec)
            }),
        ),
        (
            "Prepared",
            json!(PrepareAnswer {
                id: id.clone(),
                status: ChangesetStatus::Staged
            }),
        ),
        ("FenceBody", json!(FenceRequest { fence: Fence(1) })),
        (
            "Outcome",
            json!(OutcomeAnswer {
                digest,
                revision: Some(revision)
            }),
        ),
        (
            "Audit",
            json!(AuditAnswer {
                events: vec![],
                next: None
            }),
        ),
        (
            "AuditEvent",
            json!(AuditEvent {
                at: Timestamp::UNIX_EPOCH,
                actor: "lockstep".into(),
                action: "create".into(),
                kind: "K".into(),
                name: "n".into(),
                before: None,
                after: None,
                changeset: Some(id)
            }),
        ),
        (
            "Error",
            json!(ErrorAnswer {
                error: "e".into(),
                code: Code::Refused,
                reasons: vec![WireReason {
                    kind: "K".into(),
                    name: "n".into(),
                    message: "m".into()
                }]
            }),
        ),
    ];
    let schemas = &document["components"]["schemas"];
    for (name, sample) in samples {
        let described = schemas[name]["properties"].as_object().unwrap();
        let fields = sample.as_object().unwrap();
        assert!(
            described.keys().eq(fields.keys())
                || described.keys().all(|k| fields.contains_key(k))
                    && fields.keys().all(|k| described.contains_key(k)),
            "{name}: {described:?} {fields:?}"
        );
    }
    for code in schemas["Error"]["properties"]["code"]["enum"]
        .as_array()
        .unwrap()
    {
        let read: Code = serde_json::from_value(code.clone()).unwrap();
        assert_ne!(read, Code::Other, "{code}");
        assert_eq!(serde_json::to_value(read).unwrap(), *code);
    }
}

/// Every reference in the document leads somewhere.
#[test]
fn the_openapi_document_is_whole() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|v| references(v, found));
            }
            Value::Array(items) => items.iter().for_each(|v| references(v, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 30);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}
