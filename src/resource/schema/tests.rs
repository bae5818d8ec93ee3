use std::collections::BTreeMap;

use super::*;
use crate::config::read::read;
use crate::document::data;
use crate::finding::Severity;
use crate::ids::{DocPath, KindName};
use crate::resource::form::{Context, Source};
use crate::resource::kinds::{builtin, form_of};

const CONFIG: &str = "
version: 1
timezone: Asia/Tokyo
systems:
  medical: {title: 医療, aliases: [m], connector: http, url: 'http://127.0.0.1:1', credential: m, kinds: [FeatureFlag, AccessGrant, IpBlock, InterviewType], mode: upsert, drift: report}
groups:
  all: {systems: [medical], consistency: lockstep, on_failure: hold, urgent: [narrowing]}
people:
  sato: {name: 佐藤, forge: sato, roles: [operator], systems: [medical], ids: [u1], signing_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILr6KeWeC4gEEYo4Tx8+q43wR+yrLCZKbjPQNpZKPHaA}
documents: [{path: 'x/*.json', kind: FeatureFlag}]
safety: {default: {deletes: {percent: 20, count: 10}, updates: {percent: 30}, window: 24h, small: 10}, medical: {}}
freezes: [{name: x, from: 2026-12-29T00:00+09:00, until: 2027-01-04, except: [narrowing]}]
";

fn kinds() -> Vec<KindName> {
    builtin().keys().cloned().collect()
}

/// Whether the reader finds no error.
fn reader_takes(kind: &str, text: &str) -> bool {
    let config_path: DocPath = "lockstep.yaml".parse().unwrap();
    let findings = if kind == "Config" {
        read(&config_path, text, &kinds()).1
    } else {
        let (config, findings) = read(&config_path, CONFIG, &kinds());
        assert_eq!(findings, []);
        let form = form_of(&kind.parse().unwrap(), &BTreeMap::new()).unwrap();
        let kinds = builtin();
        let context = Context {
            config: &config,
            kinds: &kinds,
        };
        let path: DocPath = "config/x.yaml".parse().unwrap();
        form.read(Source { path: &path, text }, context).findings
    };
    findings.iter().all(|f| f.severity < Severity::Error)
}

fn schema_takes(kind: &str, text: &str) -> bool {
    let path: DocPath = "config/x.yaml".parse().unwrap();
    let (node, _) = data::parse(&path, text);
    let schema = schema(kind).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    node.is_some_and(|node| validator.is_valid(&node.to_value()))
}

#[test]
fn what_the_readers_take_the_schemas_take() {
    for (kind, text) in [
        ("FeatureFlag", "{}"),
        (
            "FeatureFlag",
            "$schema: x\na: {enabled: true}\nb: {enabled: false, rollout: 5, teams: [medical], description: d, owner: o, expires: 2026-12-31, variants: {x: 1, y: 2}, default_variant: x, targeting: {if: []}}",
        ),
        (
            "AccessGrant",
            "{admin_users: [a, {id: b, until: 2026-01-01, reason: r, systems: [m]}], readonly_users: [c], systems: [medical]}",
        ),
        (
            "IpBlock",
            "blocked_ips: [192.0.2.1, {cidr: '2001:db8::/32', until: '2026-01-01T00:00+09:00'}]",
        ),
        (
            "InterviewType",
            "[{id: a, name: A, classification: c, description: d, duration_minutes: 30, systems: [medical], retired: true, successor: b}, {id: b, name: B, classification: c}]",
        ),
        ("InterviewType", "{id: a, name: A, classification: c}"),
        ("Config", CONFIG),
        ("Config", "systems: {}"),
    ] {
        assert!(reader_takes(kind, text), "{kind} {text}");
        assert!(schema_takes(kind, text), "{kind} {text}");
    }
}

#[test]
fn what_the_schemas_refuse_the_readers_refuse() {
    for (kind, text) in [
        ("FeatureFlag", "[]"),
        ("FeatureFlag", "a: {}"),
        ("FeatureFlag", "a: {enabled: 'true'}"),
        ("FeatureFlag", "a b: {enabled: true}"),
        ("FeatureFlag", "a: {enabled: true, rollout: 101}"),
        ("FeatureFlag", "a: {enabled: true, rollout: 1.5}"),
        ("FeatureFlag", "a: {enabled: true, teams: []}"),
        ("FeatureFlag", "a: {enabled: true, expires: soon}"),
        ("FeatureFlag", "a: {enabled: true, variants: {}}"),
        (
            "FeatureFlag",
            "a: {enabled: true, variants: {x: 1, y: 'z'}}",
        ),
        ("FeatureFlag", "a: {enabled: true, other: 1}"),
        ("FeatureFlag", "a: {enabled: true, owner: null}"),
        ("FeatureFlag", "$schema: 5"),
        ("AccessGrant", "admin: []"),
        ("AccessGrant", "admin_users: [5]"),
        ("AccessGrant", "admin_users: ['a b']"),
        ("AccessGrant", "admin_users: [{reason: r}]"),
        ("AccessGrant", "admin_users: [{id: a, until: soon}]"),
        ("IpBlock", "blocked_ips: [{id: a}]"),
        ("InterviewType", "[{id: a, name: A}]"),
        ("InterviewType", "[{id: a, name: '', classification: c}]"),
        (
            "InterviewType",
            "[{id: a, name: A, classification: c, duration_minutes: 0}]",
        ),
        (
            "InterviewType",
            "[{id: a, name: A, classification: c, retired: 'yes'}]",
        ),
        ("InterviewType", "5"),
        ("Config", "version: 2"),
        ("Config", "other: 1"),
        ("Config", "systems: {a: {connector: carrier-pigeon}}"),
        ("Config", "systems: {a: {}}"),
        ("Config", "systems: {a b: {connector: http}}"),
        ("Config", "systems: {a: {connector: http, mode: hard}}"),
        ("Config", "groups: {g: {}}"),
        ("Config", "people: {a: {mail: x}}"),
        ("Config", "documents: [{path: x}]"),
        ("Config", "safety: {default: {deletes: {percent: 101}}}"),
        ("Config", "safety: {default: {window: soon}}"),
        ("Config", "freezes: [{name: x}]"),
    ] {
        assert!(!schema_takes(kind, text), "{kind} {text}");
        assert!(!reader_takes(kind, text), "{kind} {text}");
    }
}

#[test]
fn every_name_has_a_schema() {
    for name in NAMES {
        let schema = schema(name).unwrap();
        assert!(jsonschema::meta::is_valid(&schema), "{name}");
    }
    assert_eq!(schema("Nothing"), None);
}
