use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::compile::compile;
use crate::plan::SystemPlan;
use crate::state::{Item, Spec, State};

const CONFIG: &str = "version: 1
systems:
  medical: {aliases: [医療], connector: http, url: 'http://127.0.0.1:1', kinds: [FeatureFlag, AccessGrant, IpBlock, InterviewType, Ward, Bed, Requirement, ComplianceItem]}
  voicedrive: {connector: http, url: 'http://127.0.0.1:2', kinds: [FeatureFlag, AccessGrant, IpBlock, InterviewType, Ward, Bed]}
documents:
  - {path: config/wards.yaml, kind: Ward}
  - {path: config/beds.json, kind: Bed}
";
const SCHEMA: &str = r#"{"type": "object", "properties": {"beds": {"type": "integer"}, "id": {"type": "string"}, "name": {"type": "string"}}, "additionalProperties": false}"#;
const FLAGS: &str = r#"{
  // for both
  "ai": { "enabled": true, "rollout": 10, "teams": ["医療", "voicedrive"], "owner": "sato" },  // slowly
  "night": {
    "enabled": false,
    "teams": ["medical"], // only here
  },
  "all": {"enabled": true},
}
"#;
const ACCESS: &str = r#"{
  "admin_users": ["user001", { "id": "user002", "until": "2027-01-15", "systems": ["medical"] }],
  // people who look
  "readonly_users": [
    "user100", // auditor
    "user101"
  ],
  "blocked_ips": ["192.0.2.7"]
}
"#;
const TYPES: &str = r#"[
  {"id": "yearly", "name": "年次", "classification": "定期"},
  // the short one
  {"id": "monthly", "name": "月次", "classification": "定期", "duration_minutes": 30}
]
"#;
const WARDS: &str = "# wards by code\nW1: {beds: 10} # east\nW2:\n  beds: 20\n";
const BEDS: &str = "[\n  {\"id\": \"b1\", \"beds\": 1},\n  {\"id\": \"b2\", \"beds\": 2}\n]\n";
const LAW: &str = "# 法\n\n- 施行日: 2027-04-01\n\n- [ ] medical: keep a log\n";

fn snapshot() -> Snapshot {
    let files = [
        ("lockstep.yaml", CONFIG),
        ("kinds/Ward.schema.json", SCHEMA),
        ("kinds/Bed.schema.json", SCHEMA),
        ("config/feature-flags.json", FLAGS),
        ("config/access-control.json", ACCESS),
        ("config/interview-types.json", TYPES),
        ("config/wards.yaml", WARDS),
        ("config/beds.json", BEDS),
        ("compliance/law.md", LAW),
    ];
    let mut snapshot = Snapshot::default();
    for (path, text) in files {
        put(&mut snapshot, path, text);
    }
    snapshot
}

fn put(snapshot: &mut Snapshot, path: &str, text: &str) {
    let blob = Blob {
        id: BlobId::from_digest(Digest::of(text.as_bytes())),
        content: Content::Bytes(text.as_bytes().into()),
    };
    snapshot.files.insert(path.parse().unwrap(), blob);
}

fn system(name: &str) -> SystemName {
    name.parse().unwrap()
}

fn sound(snapshot: &Snapshot) -> Compiled {
    let compiled = compile(snapshot);
    let errors = compiled.report.findings().iter();
    let errors: Vec<_> = errors.filter(|f| f.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:?}");
    compiled
}

/// What medical holds after somebody changed it: `None` deletes.
fn live(compiled: &Compiled, edits: &[(&str, Option<Value>)]) -> State {
    let desired = compiled.bundle.project(&system("medical"));
    let mut items: BTreeMap<ResourceRef, Arc<Item>> = desired
        .items()
        .map(|item| (item.id.clone(), item.clone()))
        .collect();
    for (id, spec) in edits {
        let id: ResourceRef = id.parse().unwrap();
        match spec {
            Some(spec) => {
                let item = Item::new(id.clone(), Spec::from_value(spec).unwrap());
                items.insert(id, Arc::new(item))
            }
            None => items.remove(&id),
        };
    }
    items.into_values().collect()
}

fn drift(compiled: &Compiled, live: &State) -> Vec<Change> {
    let desired = compiled.bundle.project(&system("medical"));
    SystemPlan::new(&desired, live, &compiled.bundle).changes
}

/// Adopts edits made on medical, and holds the outcome to all that is promised of it.
fn adopted(edits: &[(&str, Option<Value>)]) -> Adoption {
    let before = snapshot();
    let compiled = sound(&before);
    let live = live(&compiled, edits);
    let drift = drift(&compiled, &live);
    let adoption = adopt(&before, &compiled, &system("medical"), &drift);
    assert_eq!(adoption.adopted.len() + adoption.left.len(), drift.len());

    let mut after = before.clone();
    for (path, text) in &adoption.files {
        put(&mut after, path.as_str(), text);
    }
    let then = sound(&after);
    let taken: BTreeMap<_, _> = adoption.adopted.iter().map(|a| (&a.change.id, a)).collect();
    let left: Vec<_> = self::drift(&then, &live)
        .into_iter()
        .map(|c| c.id)
        .collect();
    let mut listed: Vec<_> = adoption.left.iter().map(|l| l.change.id.clone()).collect();
    listed.sort();
    let mut sorted = left.clone();
    sorted.sort();
    assert_eq!(sorted, listed, "exactly what was left still differs");
    let other = system("voicedrive");
    let (had, has) = (compiled.bundle.project(&other), then.bundle.project(&other));
    for change in crate::plan::diff(&had, &has, |_, _, _| crate::resource::Direction::Neutral) {
        let by = taken.get(&change.id).unwrap();
        assert!(by.others.contains(&other), "{} changed silently", change.id);
    }
    // Once more changes nothing more.
    let again = adopt(
        &after,
        &then,
        &system("medical"),
        &self::drift(&then, &live),
    );
    assert_eq!(again.files, BTreeMap::new());
    adoption
}

/// One document after the edits, all of which are adopted.
fn text(path: &str, edits: &[(&str, Option<Value>)]) -> String {
    let adoption = adopted(edits);
    assert_eq!(adoption.left, []);
    adoption.files[&path.parse::<DocPath>().unwrap()].clone()
}

const FLAG_FILE: &str = "config/feature-flags.json";
const ACCESS_FILE: &str = "config/access-control.json";

#[test]
fn a_value_is_changed_where_it_stands_and_the_others_it_is_for_are_named() {
    let edits = [(
        "FeatureFlag/ai",
        Some(json!({"enabled": true, "rollout": 77, "owner": "sato"})),
    )];
    assert_eq!(
        text(FLAG_FILE, &edits),
        FLAGS.replace("\"rollout\": 10", "\"rollout\": 77")
    );
    let adoption = adopted(&edits);
    assert_eq!(adoption.adopted[0].others, [system("voicedrive")].into());
    assert_eq!(adoption.adopted[0].document.as_str(), FLAG_FILE);
}

#[test]
fn a_field_comes_and_goes() {
    let edits = [(
        "FeatureFlag/ai",
        Some(json!({"enabled": true, "rollout": 10, "expires": "2027-12-31"})),
    )];
    assert_eq!(
        text(FLAG_FILE, &edits),
        FLAGS.replace(", \"owner\": \"sato\"", ", \"expires\": \"2027-12-31\"")
    );
}

#[test]
fn what_is_gone_from_a_system_stays_for_the_others() {
    let gone = [("FeatureFlag/ai", None), ("FeatureFlag/all", None)];
    assert_eq!(
        text(FLAG_FILE, &gone),
        FLAGS
            .replace("[\"医療\", \"voicedrive\"]", "[\"voicedrive\"]")
            .replace(
                "{\"enabled\": true}",
                "{\"enabled\": true, \"teams\": [\"voicedrive\"]}"
            )
    );
    for adopted in adopted(&gone).adopted {
        assert_eq!(adopted.keeps, [system("voicedrive")].into());
        assert!(adopted.others.is_empty());
    }
    let flags = text(FLAG_FILE, &[("FeatureFlag/night", None)]);
    assert!(
        !flags.contains("night") && flags.contains("\"ai\""),
        "{flags}"
    );
}

#[test]
fn what_appeared_on_a_system_is_for_that_one() {
    let edits = [
        (
            "FeatureFlag/new",
            Some(json!({"enabled": true, "rollout": 5})),
        ),
        (
            "AccessGrant/readonly/user200",
            Some(json!({"id": "user200", "role": "readonly"})),
        ),
        (
            "IpBlock/198.51.100.0/24",
            Some(json!({"cidr": "198.51.100.0/24", "reason": "scan"})),
        ),
        (
            "InterviewType/exit",
            Some(json!({"id": "exit", "name": "退職", "classification": "退職"})),
        ),
        ("Ward/W3", Some(json!({"beds": 3, "name": "9階"}))),
        ("Bed/b3", Some(json!({"id": "b3", "beds": 3}))),
    ];
    let adoption = adopted(&edits);
    assert_eq!(adoption.left, []);
    assert_eq!(adoption.adopted.len(), 6);
    assert!(adoption.adopted.iter().all(|a| a.others.is_empty()));
    assert_eq!(adoption.files.len(), 5);
    // In the style of what stands before it.
    let file = |path: &str| adoption.files[&path.parse::<DocPath>().unwrap()].as_str();
    let beds = file("config/beds.json");
    assert!(
        beds.contains("2},\n  { \"beds\": 3, \"id\": \"b3\", \"systems\": [\"medical\"] }\n]"),
        "{beds}"
    );
    let wards = file("config/wards.yaml");
    assert!(wards.contains("name: '9階'"), "{wards}");
    let flags = file(FLAG_FILE);
    assert!(
        flags.contains(
            "\n  \"new\": { \"enabled\": true, \"rollout\": 5, \"teams\": [\"medical\"] }"
        ),
        "{flags}"
    );
}

#[test]
fn entries_of_access_lists_come_go_and_change() {
    assert_eq!(
        text(
            ACCESS_FILE,
            &[
                ("AccessGrant/admin/user001", None),
                ("AccessGrant/admin/user002", None),
                ("IpBlock/192.0.2.7/32", None),
                (
                    "AccessGrant/readonly/user100",
                    Some(json!({"id": "user100", "role": "readonly", "until": "2027-06-30"})),
                ),
            ]
        ),
        ACCESS
            .replace(
                "[\"user001\", { \"id\": \"user002\", \"until\": \"2027-01-15\", \"systems\": [\"medical\"] }]",
                "[{ \"id\": \"user001\", \"systems\": [\"voicedrive\"] }]"
            )
            .replace(
                "[\"192.0.2.7\"]",
                "[{ \"cidr\": \"192.0.2.7\", \"systems\": [\"voicedrive\"] }]"
            )
            .replace(
                "\"user100\", // auditor",
                "{ \"id\": \"user100\", \"until\": \"2027-06-30\" }, // auditor"
            )
    );
}

#[test]
fn one_that_another_stands_in_the_way_of_is_taken_after_it() {
    // Only on medical, so the entry goes altogether and the person can have the other role.
    let adoption = adopted(&[
        ("AccessGrant/admin/user002", None),
        (
            "AccessGrant/readonly/user002",
            Some(json!({"id": "user002", "role": "readonly"})),
        ),
    ]);
    assert_eq!(adoption.left, []);
    // For both, so it stays for voicedrive, and nobody has two roles.
    let adoption = adopted(&[
        ("AccessGrant/admin/user001", None),
        (
            "AccessGrant/readonly/user001",
            Some(json!({"id": "user001", "role": "readonly"})),
        ),
    ]);
    assert_eq!(adoption.adopted.len(), 1);
    assert!(matches!(adoption.left[0].why, Why::Unsound(_)));
}

#[test]
fn lists_and_yaml_keep_their_comments() {
    let edits = [
        (
            "InterviewType/monthly",
            Some(
                json!({"id": "monthly", "name": "月次", "classification": "定期", "duration_minutes": 20, "retired": true}),
            ),
        ),
        ("InterviewType/yearly", None),
    ];
    let types = text("config/interview-types.json", &edits);
    assert!(types.contains("// the short one"), "{types}");
    let wards = text(
        "config/wards.yaml",
        &[("Ward/W2", Some(json!({"beds": 21})))],
    );
    assert_eq!(wards, WARDS.replace("20", "21"));
    let beds = text(
        "config/beds.json",
        &[("Bed/b1", Some(json!({"id": "b1", "beds": 9})))],
    );
    assert_eq!(beds, BEDS.replace("\"beds\": 1", "\"beds\": 9"));
}

#[test]
fn a_tick_is_set_and_nothing_else_of_a_checklist() {
    let compiled = sound(&snapshot());
    let items = compiled.bundle.resources();
    let item = items
        .into_iter()
        .find(|r| r.item.id.kind() == "ComplianceItem");
    let item = &item.unwrap().item;
    let mut spec = item.spec.value();
    spec["done"] = json!(true);
    let edits = [(item.id.as_str(), Some(spec.clone()))];
    assert_eq!(
        text("compliance/law.md", &edits),
        LAW.replace("- [ ] medical", "- [x] medical")
    );
    spec["action"] = json!("keep no log");
    let adoption = adopted(&[(item.id.as_str(), Some(spec))]);
    assert_eq!(adoption.left[0].why, Why::Written(NotWritten::ByHand));
    let adoption = adopted(&[(item.id.as_str(), None)]);
    assert_eq!(adoption.left[0].why, Why::Written(NotWritten::ByHand));
}

#[test]
fn what_can_not_be_written_is_left_and_says_why() {
    let adoption = adopted(&[
        (
            "FeatureFlag/ai",
            Some(json!({"enabled": "perhaps", "rollout": 10, "owner": "sato"})),
        ),
        (
            "FeatureFlag/night",
            Some(json!({"enabled": false, "rollout": 100, "surprise": 1})),
        ),
        // The documents always say a rollout, so this can't be said.
        ("FeatureFlag/all", Some(json!({"enabled": true}))),
        (
            "Requirement/law",
            Some(json!({"title": "other", "effective": "2027-04-01"})),
        ),
        ("Unknown/x", Some(json!({"a": 1}))),
        ("Ward/W1", Some(json!({"beds": 11}))),
    ]);
    let whys: BTreeMap<&str, String> = adoption
        .left
        .iter()
        .map(|l| (l.change.id.as_str(), l.why.to_string()))
        .collect();
    assert_eq!(whys.len(), 5, "{whys:?}");
    assert!(whys["FeatureFlag/ai"].starts_with("the document would be wrong: "));
    assert!(whys["FeatureFlag/night"].contains("surprise"));
    assert_eq!(whys["Requirement/law"], "it is written by hand");
    assert_eq!(
        whys["Unknown/x"],
        "no document declares anything of its kind"
    );
    // The others are adopted all the same.
    assert_eq!(adoption.adopted[0].change.id.as_str(), "Ward/W1");
}

#[test]
fn a_system_s_first_thousand_flags_are_adopted_at_once() {
    let mut before = snapshot();
    for path in [FLAG_FILE, ACCESS_FILE, "config/interview-types.json"] {
        before.files.remove(&path.parse::<DocPath>().unwrap());
    }
    let compiled = sound(&before);
    let mut edits: Vec<(String, Option<Value>)> = (0..1_000)
        .map(|n| {
            (
                format!("FeatureFlag/f{n:04}"),
                Some(json!({"enabled": true, "rollout": n % 101})),
            )
        })
        .collect();
    for n in 0..60 {
        let (user, net) = (format!("user{n:03}"), format!("198.51.100.{n}/32"));
        let grant = json!({"id": user, "role": "admin"});
        edits.push((format!("AccessGrant/admin/{user}"), Some(grant)));
        edits.push((format!("IpBlock/{net}"), Some(json!({"cidr": net}))));
        let interview = json!({"id": user, "name": "面談", "classification": "x"});
        edits.push((format!("InterviewType/{user}"), Some(interview)));
    }
    // Two that can't be said stand in nobody's way.
    for (n, spec) in [
        (500, json!({"enabled": "perhaps"})),
        (777, json!({"rollout": 1})),
    ] {
        edits[n].1 = Some(spec);
    }
    let edits: Vec<(&str, Option<Value>)> = edits
        .iter()
        .map(|(id, spec)| (id.as_str(), spec.clone()))
        .collect();
    let live = live(&compiled, &edits);
    let adoption = adopt(
        &before,
        &compiled,
        &system("medical"),
        &drift(&compiled, &live),
    );
    let left: Vec<&str> = adoption.left.iter().map(|l| l.change.id.as_str()).collect();
    assert_eq!(left, ["FeatureFlag/f0500", "FeatureFlag/f0777"]);
    assert_eq!(adoption.adopted.len(), 998 + 180);
    let mut after = before.clone();
    for (path, text) in &adoption.files {
        put(&mut after, path.as_str(), text);
    }
    let then = sound(&after);
    assert_eq!(drift(&then, &live).len(), 2);
    let flags = &adoption.files[&FLAG_FILE.parse::<DocPath>().unwrap()];
    assert_eq!(flags.lines().count(), 998 + 2);
    let other = then.bundle.project(&system("voicedrive"));
    assert!(other.items().all(|i| i.id.kind() != "FeatureFlag"));
}

#[test]
fn many_are_written_after_what_a_document_has() {
    let mut edits: Vec<(String, Option<Value>)> = Vec::new();
    for n in 0..30 {
        let id = format!("b{n:02}x");
        edits.push((format!("Bed/{id}"), Some(json!({"id": id, "beds": n}))));
        let flag = json!({"enabled": true, "rollout": n, "owner": "sato"});
        edits.push((format!("FeatureFlag/n{n}"), Some(flag)));
        let user = format!("user3{n:02}");
        let grant = json!({"id": user, "role": "readonly"});
        edits.push((format!("AccessGrant/readonly/{user}"), Some(grant)));
    }
    edits.push(("FeatureFlag/night".to_owned(), None));
    let edits: Vec<(&str, Option<Value>)> = edits
        .iter()
        .map(|(id, spec)| (id.as_str(), spec.clone()))
        .collect();
    let adoption = adopted(&edits);
    assert_eq!(adoption.left, []);
    let file = |path: &str| adoption.files[&path.parse::<DocPath>().unwrap()].as_str();
    let access = file(ACCESS_FILE);
    assert!(
        access.contains("\"user100\", // auditor\n    \"user101\",\n    { \"id\": \"user300\", \"systems\": [\"medical\"] },\n"),
        "{access}"
    );
    assert!(file(FLAG_FILE).contains("// for both"));
    assert_eq!(
        file("config/beds.json").lines().count(),
        BEDS.lines().count() + 30
    );
}

#[test]
fn no_document_is_made_where_the_config_reads_another_kind() {
    let mut before = snapshot();
    before.files.remove(&FLAG_FILE.parse::<DocPath>().unwrap());
    let config = CONFIG.replace("config/beds.json", FLAG_FILE);
    put(&mut before, "lockstep.yaml", &config);
    before
        .files
        .remove(&"config/beds.json".parse::<DocPath>().unwrap());
    let compiled = sound(&before);
    let edits = [(
        "FeatureFlag/new",
        Some(json!({"enabled": true, "rollout": 5})),
    )];
    let drift = drift(&compiled, &live(&compiled, &edits));
    let adoption = adopt(&before, &compiled, &system("medical"), &drift);
    assert_eq!(adoption.left[0].why, Why::NoDocument);
    assert!(adoption.files.is_empty());
}

#[test]
fn a_very_long_drift_is_adopted_in_parts() {
    let edits: Vec<(String, Option<Value>)> = (0..MOST + 5)
        .map(|n| (format!("Ward/X{n:03}"), Some(json!({"beds": n}))))
        .collect();
    let edits: Vec<(&str, Option<Value>)> = edits
        .iter()
        .map(|(id, s)| (id.as_str(), s.clone()))
        .collect();
    let before = snapshot();
    let compiled = sound(&before);
    let drift = drift(&compiled, &live(&compiled, &edits));
    let adoption = adopt(&before, &compiled, &system("medical"), &drift);
    assert_eq!(adoption.adopted.len(), MOST);
    assert!(adoption.left.iter().all(|l| l.why == Why::TooMany));
    assert_eq!(adoption.left.len(), 5);
}

fn edit() -> impl Strategy<Value = (&'static str, Option<Value>)> {
    let flag = (
        any::<bool>(),
        0..=100_u8,
        proptest::option::of("[a-z 面談\"\\\\]{0,6}"),
    )
        .prop_map(|(enabled, rollout, text)| {
            let mut spec = json!({"enabled": enabled, "rollout": rollout});
            if let Some(text) = text {
                spec["description"] = json!(text);
            }
            spec
        });
    let flags = (
        proptest::sample::select(vec![
            "FeatureFlag/ai",
            "FeatureFlag/night",
            "FeatureFlag/all",
            "FeatureFlag/new",
            "FeatureFlag/a.b",
        ]),
        proptest::option::of(flag),
    );
    let wards = (
        proptest::sample::select(vec!["Ward/W1", "Ward/W2", "Ward/W3", "Ward/12"]),
        proptest::option::of((0..50_i32).prop_map(|beds| json!({"beds": beds}))),
    );
    let beds = (0..4_u8, proptest::option::of(0..50_i32)).prop_map(|(n, beds)| {
        let (id, name) = [
            ("Bed/b1", "b1"),
            ("Bed/b2", "b2"),
            ("Bed/b3", "b3"),
            ("Bed/b4", "b4"),
        ][usize::from(n)];
        (id, beds.map(|beds| json!({"id": name, "beds": beds})))
    });
    let grants = (
        0..6_u8,
        proptest::option::of(proptest::option::of("[a-z理由]{1,5}")),
    )
        .prop_map(|(n, spec)| {
            let (id, role, name) = [
                ("AccessGrant/admin/user001", "admin", "user001"),
                ("AccessGrant/admin/user002", "admin", "user002"),
                ("AccessGrant/admin/user100", "admin", "user100"),
                ("AccessGrant/readonly/user100", "readonly", "user100"),
                ("AccessGrant/readonly/user101", "readonly", "user101"),
                ("AccessGrant/readonly/user002", "readonly", "user002"),
            ][usize::from(n)];
            let spec = spec.map(|reason| match reason {
                Some(reason) => json!({"id": name, "role": role, "reason": reason}),
                None => json!({"id": name, "role": role}),
            });
            (id, spec)
        });
    prop_oneof![flags, wards, beds, grants]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever was done on the system: what is adopted is live, what is not is listed, and nothing else moved.
    #[test]
    fn adopting_says_what_is_live_and_nothing_else(edits in proptest::collection::vec(edit(), 0..6)) {
        adopted(&edits);
    }
}
