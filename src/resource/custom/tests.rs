use serde_json::json;

use super::*;
use crate::config::Config;
use crate::finding::Severity;

fn lines(text: &str, findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .map(|f| {
            let span = f.location.span.unwrap();
            let under = &text[span.start..span.end];
            let hint = f.hint.as_deref().unwrap_or("-");
            let mark = if f.severity == Severity::Error {
                ""
            } else {
                "~"
            };
            format!(
                "{}:{} {mark}{}: {} ({under}) {hint}",
                span.line, span.column, f.rule, f.message
            )
        })
        .collect()
}

fn schema(text: &str) -> (Option<CustomKind>, String) {
    let path: DocPath = "kinds/Rate.schema.json".parse().unwrap();
    let (kind, findings) = read_schema(&path, text);
    (kind, lines(text, &findings).join("\n"))
}

const RATE: &str = r##"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "properties": {
    "id": {"type": "string"},
    "amount": {"$ref": "#/$defs/amount"},
    "$ref": {"type": "string"},
    "code": {"pattern": "^[A-Z]{2}$"},
    "tiers": {"type": "array", "items": {"$ref": "#/$defs/amount"}}
  },
  "required": ["amount"],
  "additionalProperties": false,
  "$defs": {"amount": {"type": "number", "minimum": 0}}
}"##;

fn check(text: &str) -> String {
    let path: DocPath = "lockstep.yaml".parse().unwrap();
    let config_text = "version: 1\nsystems:\n  payroll: {title: 給与, connector: http, url: 'http://a.example', kinds: [Rate]}\n  medical: {connector: http, url: 'http://a.example', kinds: [Rate]}\n  other: {connector: http, url: 'http://a.example', kinds: []}\n";
    let (config, findings): (Config, _) =
        crate::config::read::read(&path, config_text, &["Rate".parse().unwrap()]);
    assert_eq!(findings, []);
    let (kind, findings) = schema(RATE);
    assert_eq!(findings, "");
    let form = CustomForm {
        kind: Arc::new(kind.unwrap()),
    };
    let kinds = Arc::default();
    let context = Context {
        config: &config,
        kinds: &kinds,
    };
    let path: DocPath = "config/rates.json".parse().unwrap();
    let source = Source { path: &path, text };
    let reading = form.read(source, context);
    let mut out = Vec::new();
    for declared in &reading.resources {
        let systems: Vec<&str> = declared.systems.iter().map(|s| s.as_str()).collect();
        let at = form.locate(source, context, &declared.id).unwrap();
        let under = &text[at.start..at.end];
        out.push(format!(
            "{} -> {} {:?} at {under}",
            declared.id,
            systems.join("+"),
            declared.spec
        ));
    }
    out.extend(lines(text, &reading.findings));
    out.join("\n")
}

#[test]
fn a_list_and_an_object_by_name_are_read() {
    insta::assert_snapshot!(check(r#"[{"id": "night", "amount": 1200.5, "systems": ["給与"]}, {"id": "day", "amount": 0}]"#), @r##"
    Rate/night -> payroll {"amount":1200.5,"id":"night"} at "night"
    Rate/day -> medical+payroll {"amount":0,"id":"day"} at "day"
    "##);
    insta::assert_snapshot!(check(r#"{"night": {"amount": 1, "code": "JP"}, "day": {"amount": 2}}"#), @r##"
    Rate/night -> medical+payroll {"amount":1,"code":"JP"} at "night"
    Rate/day -> medical+payroll {"amount":2} at "day"
    "##);
}

#[test]
fn the_schema_s_complaints_stand_where_they_belong() {
    insta::assert_snapshot!(check(r#"{
  "a": {"amount": -1, "code": "jp"},
  "b": {},
  "c": {"amount": 1, "extra": true},
  "d": {"amount": 1, "tiers": [1, "x", {"y": 1}]},
  "e": 5,
  "f f": {"amount": 1},
  "g": {"amount": 1, "systems": ["other", "nobody"]},
  "h": {"amount": 1, "systems": []}
}"#), @r##"
    Rate/g ->  {"amount":1} at "g"
    Rate/h ->  {"amount":1} at "h"
    2:19 custom/schema: Rate: -1 is less than the minimum of 0 (-1) -
    2:31 custom/schema: Rate: "jp" does not match "^[A-Z]{2}$" ("jp") -
    3:3 custom/schema: Rate: "amount" is a required property ("b") -
    4:22 custom/schema: Rate: Additional properties are not allowed ('extra' was unexpected) ("extra") -
    5:22 custom/schema: Rate: {"y":1} is not of type "number" ("tiers") -
    5:35 custom/schema: Rate: "x" is not of type "number" ("x") -
    6:8 custom/schema: Rate: 5 is not of type "object" (5) -
    7:3 document/bad-name: "f f" is not a resource name: not empty, at most 512 bytes, no white space ("f f") -
    8:34 reference/kind-not-taken: the system `other` does not take Rate ("other") add Rate to its `kinds` in lockstep.yaml, or leave it out here
    8:43 reference/unknown-system: there is no system `nobody` ("nobody") known: medical, other, payroll
    9:33 document/empty-list: `systems` names no system ([]) name one, or leave `systems` out for all of them
    "##);
    insta::assert_snapshot!(check(r#"[{"amount": 1}, {"id": "x", "amount": 1}, {"id": "x", "amount": 2}, 7]"#), @r##"
    Rate/x -> medical+payroll {"amount":1,"id":"x"} at "x"
    1:2 document/missing-field: an item has no `name` ({) add "name": "…"
    1:50 document/duplicate-resource: `Rate/x` is declared twice ("x") keep one of the two
    1:69 document/wrong-type: each item must be an object, not a number (7) -
    "##);
}

#[test]
fn a_schema_stays_within_itself() {
    let findings: Vec<String> = [
        r##"{"$ref": "https://example.org/schema.json"}"##,
        r##"{"properties": {"a": {"$ref": "other.json#/x"}, "b": {"$ref": "#anchor"}}}"##,
        r##"{"properties": {"a": {"$ref": "#/$defs/none"}}}"##,
        r##"{"$ref": "#"}"##,
        r##"{"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}"##,
        r##"{"$dynamicRef": "#x"}"##,
        r##"{"properties": {"a": {"$id": "https://example.org/"}}}"##,
        r##"{"type": "strin"}"##,
        r##"{"properties": {"a": {"pattern": "("}}}"##,
        r##"{"$schema": "https://example.org/own-draft"}"##,
        r##"[]"##,
        r##"{"a": 1"##,
        r##"{"type": "object", "type": "object"}"##,
    ]
    .iter()
    .map(|text| {
        let (kind, findings) = schema(text);
        assert!(kind.is_none(), "{text}");
        assert!(!findings.is_empty(), "{text}");
        findings
    })
    .collect();
    insta::assert_snapshot!(findings.join("\n"), @r##"
    1:10 schema/outside-reference: "https://example.org/schema.json" is not in this file ("https://example.org/schema.json") refer to a definition of this file: "#/$defs/name"
    1:31 schema/outside-reference: "other.json#/x" is not in this file ("other.json#/x") refer to a definition of this file: "#/$defs/name"
    1:63 schema/outside-reference: "#anchor" is not in this file ("#anchor") refer to a definition of this file: "#/$defs/name"
    1:31 schema/unknown-reference: there is nothing at "#/$defs/none" ("#/$defs/none") refer to a definition of this file: "#/$defs/name"
    1:10 schema/circular-reference: "#" leads back to itself ("#") write the levels out
    1:80 schema/circular-reference: "#/$defs/a" leads back to itself ("#/$defs/a") write the levels out
    1:2 schema/outside-reference: `$dynamicRef` is not read ("$dynamicRef") refer to a definition of this file: "#/$defs/name"
    1:23 schema/outside-reference: a schema inside another has no `$id` here ("$id") refer to a definition of this file: "#/$defs/name"
    1:10 schema/invalid: not a JSON Schema: "strin" is not valid under any of the schemas listed in the 'anyOf' keyword ("strin") -
    1:34 schema/invalid: not a JSON Schema: "(" is not a "regex" ("(") -
    1:1 schema/invalid: not a JSON Schema: Unknown meta-schema: 'https://example.org/own-draft'. Custom meta-schemas must b… () -
    1:1 document/wrong-type: a schema must be an object, not a list ([) -
    1:1 json/syntax: this { is never closed; expected } ({) add the missing }
    1:20 json/duplicate-key: `type` is here a second time ("type") keep one of the two
    "##);
}

#[test]
fn a_schema_cannot_run_away() {
    // Each definition refers to the next one twice: 2^40 parts.
    let mut defs = serde_json::Map::new();
    for i in 0..40 {
        let next = json!({"$ref": format!("#/$defs/d{}", i + 1)});
        defs.insert(format!("d{i}"), json!({"allOf": [next, next]}));
    }
    defs.insert("d40".to_owned(), json!({}));
    let (kind, findings) = schema(&json!({"$ref": "#/$defs/d0", "$defs": defs}).to_string());
    assert!(
        kind.is_none() && findings.contains("schema/too-large"),
        "{findings}"
    );

    let mut defs = serde_json::Map::new();
    for i in 0..2_000 {
        defs.insert(
            format!("d{i}"),
            json!({"$ref": format!("#/$defs/d{}", i + 1)}),
        );
    }
    defs.insert("d2000".to_owned(), json!({}));
    let (kind, findings) = schema(&json!({"$ref": "#/$defs/d0", "$defs": defs}).to_string());
    assert!(
        kind.is_none() && findings.contains("schema/nesting"),
        "{findings}"
    );
}

#[test]
fn a_schema_s_file_names_its_kind() {
    for (path, message) in [
        ("kinds/FeatureFlag.schema.json", "built in"),
        ("kinds/rate.schema.json", "upper-case"),
    ] {
        let path: DocPath = path.parse().unwrap();
        let (kind, findings) = read_schema(&path, "{}");
        assert!(kind.is_none());
        assert_eq!(findings.len(), 1);
        let finding = &findings[0];
        assert_eq!(finding.rule, "schema/name");
        assert!(finding.message.contains(message), "{}", finding.message);
    }
    let path: DocPath = "kinds/sub/Rate.schema.json".parse().unwrap();
    assert_eq!(kind_of_schema(&path), None);
}

#[test]
fn changes_are_told_by_member() {
    let kind = schema(RATE).0.unwrap();
    let before = json!({"amount": 1, "tiers": [1], "a": 1, "b": 1, "c": 1});
    let after = json!({"amount": 2, "tiers": [2], "a": 2, "b": 2, "c": 2});
    let told = |b, a, l| kind.describe("night", b, a, l);
    assert_eq!(
        told(Some(&before), Some(&after), Language::English),
        "night: a 1 → 2, amount 1 → 2, b 1 → 2, c 1 → 2, 1 more"
    );
    assert_eq!(told(None, Some(&after), Language::Japanese), "night: 新規");
    assert_eq!(
        told(Some(&after), None, Language::English),
        "night: removed"
    );
    assert_eq!(kind.direction(None, Some(&after)), Direction::Neutral);
}

#[test]
fn a_schema_says_which_way_is_more() {
    let text = r#"{"x-direction": {"create": "widening"}, "type": "object", "properties": {"cutoff": {"type": "string", "x-direction": "up"}}}"#;
    let kind = schema(text).0.unwrap();
    let day = |day: &str| json!({"cutoff": day});
    let direction = |b: Option<&str>, a: Option<&str>| {
        let (b, a) = (b.map(day), a.map(day));
        kind.direction(b.as_ref(), a.as_ref())
    };
    assert_eq!(direction(None, Some("2026-04-25")), Direction::Widening);
    assert_eq!(direction(Some("2026-04-25"), None), Direction::Narrowing);
    assert_eq!(
        direction(Some("2026-04-25"), Some("2026-04-24")),
        Direction::Narrowing
    );
    for wrong in [
        r#"{"x-direction": "up"}"#,
        r#"{"x-direction": {"update": "widening"}}"#,
        r#"{"x-direction": {"create": "wider"}}"#,
        r#"{"properties": {"a": {"x-direction": "higher"}}}"#,
    ] {
        let (kind, findings) = schema(wrong);
        assert!(kind.is_none() && !findings.is_empty(), "{wrong}");
    }
}
