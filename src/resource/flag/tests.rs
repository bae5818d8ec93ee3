use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::Config;
use crate::finding::Severity;
use crate::ids::DocPath;
use crate::resource::form::Declared;

fn config() -> Config {
    let text = "
version: 1
systems:
  medical: {title: 医療職員管理システム, aliases: [医療システム], connector: http, url: 'http://a.example', kinds: [FeatureFlag]}
  voicedrive: {connector: http, url: 'http://a.example', kinds: [FeatureFlag]}
  payroll: {title: 給与, connector: http, url: 'http://a.example', kinds: []}
";
    let path: DocPath = "lockstep.yaml".parse().unwrap();
    let (config, findings) =
        crate::config::read::read(&path, text, &["FeatureFlag".parse().unwrap()]);
    assert_eq!(findings, []);
    config
}

fn read(path: &str, text: &str) -> Reading {
    let config = config();
    let kinds = Arc::default();
    let context = Context {
        config: &config,
        kinds: &kinds,
    };
    let path: DocPath = path.parse().unwrap();
    FlagForm.read(Source { path: &path, text }, context)
}

/// Resources as `name -> systems spec`, then findings with the text they underline.
fn check(path: &str, text: &str) -> String {
    let reading = read(path, text);
    let mut lines: Vec<String> = reading.resources.iter().map(resource_line).collect();
    for f in &reading.findings {
        let span = f.location.span.unwrap();
        let under = &text[span.start..span.end];
        let hint = f.hint.as_deref().unwrap_or("-");
        let mark = if f.severity == Severity::Error {
            ""
        } else {
            "~"
        };
        lines.push(format!(
            "{}:{} {mark}{}: {} ({under}) {hint}",
            span.line, span.column, f.rule, f.message
        ));
    }
    lines.join("\n")
}

fn resource_line(declared: &Declared) -> String {
    let systems: Vec<&str> = declared.systems.iter().map(|s| s.as_str()).collect();
    format!(
        "{} -> {} {:?}",
        declared.id,
        systems.join("+"),
        declared.spec
    )
}

const JSON: &str = "config/feature-flags.json";
const YAML: &str = "config/feature-flags.yaml";

#[test]
fn flags_are_read_with_defaults_and_by_any_name_of_a_system() {
    let json = r##"機能フラグ設定
{
  "$schema": "./flags.schema.json",
  // the assistant
  "ai_assistant": {"enabled": true, "rollout": 10, "teams": ["医療システム", "voicedrive"]},
  "new_shift_ui": {"enabled": false, "description": "a \"new\"\nUI", "owner": "sato", "expires": "2026-12-31"},
  "theme": {
    "enabled": true, "teams": ["ＭＥＤＩＣＡＬ"],
    "variants": {"dark": "#000", "light": "#fff"}, "default_variant": "light",
    "targeting": {"if": [{"in": [{"var": "team"}, ["icu"]]}, "dark", null]},
  },
}
"##;
    let expected = check(JSON, json);
    insta::assert_snapshot!(expected, @r##"
    FeatureFlag/ai_assistant -> medical+voicedrive {"enabled":true,"rollout":10}
    FeatureFlag/new_shift_ui -> medical+voicedrive {"description":"a \"new\"\nUI","enabled":false,"expires":"2026-12-31","owner":"sato","rollout":100}
    FeatureFlag/theme -> medical {"default_variant":"light","enabled":true,"rollout":100,"targeting":{"if":[{"in":[{"var":"team"},["icu"]]},"dark",null]},"variants":{"dark":"#000","light":"#fff"}}
    "##);
    let yaml = r##"
$schema: ./flags.schema.json
ai_assistant: {enabled: true, rollout: 10, teams: [医療システム, voicedrive]}
new_shift_ui:
  enabled: false
  description: "a \"new\"\nUI"
  owner: sato
  expires: 2026-12-31
theme:
  enabled: true
  teams: [ＭＥＤＩＣＡＬ]
  variants: {dark: "#000", light: "#fff"}
  default_variant: light
  targeting: {if: [{in: [{var: team}, [icu]]}, dark, null]}
"##;
    assert_eq!(check(YAML, yaml), expected);
}

#[test]
fn every_fault_is_reported_in_one_pass() {
    let text = r#"{
  "a": {"enabeld": true, "rollout": 101, "teams": []},
  "b b": {"enabled": "yes", "rollout": 2.5, "teams": ["medcal", "payroll", "medical", "医療システム", 7]},
  "c": true,
  "d": {"enabled": true, "expires": "2026-02-30", "owner": 5, "enabled": false},
  "e": {"enabled": true, "variants": {"x": 1, "y": "2", "z": null}, "default_variant": "w", "targeting": []},
  "f": {"enabled": true, "default_variant": "of", "variants": {}, "description": null},
  "g": {"enabled": true, "rollout": "50"},
  "g": {"enabled": true},
  "h": {"enabled": true, "teams": "medical"},
  "$schema": 5
}"#;
    insta::assert_snapshot!(check(JSON, text), @r##"
    FeatureFlag/d -> medical+voicedrive {"enabled":true,"rollout":100}
    FeatureFlag/e -> medical+voicedrive {"default_variant":"w","enabled":true,"rollout":100,"variants":{"x":1,"y":"2","z":null}}
    FeatureFlag/f -> medical+voicedrive {"default_variant":"of","enabled":true,"rollout":100,"variants":{}}
    FeatureFlag/h ->  {"enabled":true,"rollout":100}
    2:3 document/missing-field: the flag `a` has no `enabled` ("a") add "enabled": false
    2:9 document/unknown-field: the flag `a` has no field `enabeld` ("enabeld") did you mean `enabled`?
    2:37 flag/rollout-range: a rollout of 101% is not possible (101) give a whole number from 0 to 100
    2:51 document/empty-list: `teams` names no system ([]) name one, or leave `teams` out for all of them
    3:3 document/bad-name: "b b" is not a resource name: not empty, at most 512 bytes, no white space ("b b") -
    3:22 document/wrong-type: `enabled` must be true or false, not a string ("yes") write true, without quotes
    3:40 document/wrong-type: `rollout` must be a whole number (2.5) -
    3:55 reference/unknown-system: there is no system `medcal` ("medcal") did you mean `medical`?
    3:65 reference/kind-not-taken: the system `payroll` does not take FeatureFlag ("payroll") add FeatureFlag to its `kinds` in lockstep.yaml, or leave it out here
    3:87 ~reference/repeated-system: `medical` is named twice ("医療システム") keep one of the two
    3:97 document/wrong-type: each item of `teams` must be a string, not a number (7) -
    4:8 document/wrong-type: the flag `c` must be an object, not a boolean (true) -
    5:37 date/invalid: "2026-02-30" is not a date ("2026-02-30") write it like 2026-03-31
    5:60 document/wrong-type: `owner` must be a string, not a number (5) -
    5:63 json/duplicate-key: `enabled` is here a second time ("enabled") keep one of the two
    6:47 flag/variants: the variant `y` is a string, but the first one is a number ("y") give all variants the same type: boolean, string, number or object
    6:57 flag/variants: the variant `z` can't be null ("z") give all variants the same type: boolean, string, number or object
    6:88 flag/default-variant: there is no variant `w` ("w") known: x, y, z
    6:106 document/wrong-type: `targeting` must be an object, not a list ([) -
    7:45 flag/default-variant: there is no variant `of` ("of") -
    7:63 flag/variants: `variants` names none ({}) add one, or leave `variants` out
    7:82 document/wrong-type: `description` must be a string, not null (null) -
    8:37 document/wrong-type: `rollout` must be a whole number, not a string ("50") write 50, without quotes
    9:3 json/duplicate-key: `g` is here a second time ("g") keep one of the two
    10:35 document/wrong-type: `teams` must be a list of strings, not a string ("medical") write ["medical"]
    11:14 document/wrong-type: `$schema` must be a string, not a number (5) -
    "##);
    assert!(check(JSON, "[]").contains("document/wrong-type"));
    assert!(
        check(YAML, "").contains("document/wrong-type"),
        "{}",
        check(YAML, "")
    );
}

#[test]
fn a_flag_that_no_system_takes_is_a_warning() {
    let config = Config::default();
    let kinds = Arc::default();
    let context = Context {
        config: &config,
        kinds: &kinds,
    };
    let path: DocPath = JSON.parse().unwrap();
    let source = Source {
        path: &path,
        text: r#"{"a": {"enabled": true}}"#,
    };
    let reading = FlagForm.read(source, context);
    assert_eq!(reading.resources.len(), 1);
    assert_eq!(reading.resources[0].systems.len(), 0);
    let rules: Vec<_> = reading
        .findings
        .iter()
        .map(|f| (f.rule, f.severity))
        .collect();
    assert_eq!(rules, [("reference/no-system", Severity::Warning)]);
}

#[test]
fn a_flag_is_found_at_its_key() {
    let text = "Flags\n{\"a\": {\"enabled\": true},\n \"b\": {\"enabled\": true}}";
    let config = config();
    let kinds = Arc::default();
    let context = Context {
        config: &config,
        kinds: &kinds,
    };
    let path: DocPath = JSON.parse().unwrap();
    let source = Source { path: &path, text };
    let id = |name: &str| ResourceRef::new(KIND, name).unwrap();
    let b = FlagForm.locate(source, context, &id("b")).unwrap();
    assert_eq!((b.line, b.column, &text[b.start..b.end]), (3, 2, "\"b\""));
    assert_eq!(FlagForm.locate(source, context, &id("c")), None);
    let all = FlagForm.locate_all(source, context, &[id("a"), id("b"), id("c")]);
    assert_eq!(all.len(), 2);
}

#[test]
fn direction_follows_who_has_the_flag() {
    use Direction::{Narrowing, Neutral, Widening};
    let flag = |enabled: bool, rollout: u8| Some(json!({"enabled": enabled, "rollout": rollout}));
    let cases = [
        (None, flag(true, 10), Widening),
        (None, flag(true, 0), Neutral),
        (None, flag(false, 100), Neutral),
        (flag(true, 10), flag(true, 25), Widening),
        (flag(true, 25), flag(false, 100), Narrowing),
        (flag(false, 10), flag(false, 90), Neutral),
        (flag(true, 90), None, Narrowing),
    ];
    for (before, after, expected) in cases {
        let direction = FeatureFlag.direction(before.as_ref(), after.as_ref());
        assert_eq!(direction, expected, "{before:?} {after:?}");
    }
}

#[test]
fn changes_are_told_in_two_languages() {
    let spec = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let low = spec(r#"{"enabled": true, "rollout": 10}"#);
    let high = spec(r#"{"enabled": true, "rollout": 25, "owner": "sato"}"#);
    let off = spec(r#"{"enabled": false, "rollout": 10, "targeting": {}}"#);
    let cases = [
        (Some(&low), Some(&high)),
        (Some(&low), Some(&off)),
        (Some(&off), Some(&high)),
        (None, Some(&low)),
        (None, Some(&off)),
        (Some(&high), None),
        (Some(&low), Some(&low)),
    ];
    let mut lines = Vec::new();
    for language in [Language::English, Language::Japanese] {
        for (before, after) in cases {
            lines.push(FeatureFlag.describe("ai_assistant", before, after, language));
        }
    }
    insta::assert_snapshot!(lines.join("\n"), @r##"
    ai_assistant: rollout 10% → 25%, owner none → sato
    ai_assistant: switched off, targeting changed
    ai_assistant: switched on at 25%, owner none → sato, targeting changed
    ai_assistant: new, on at 10%
    ai_assistant: new, off
    ai_assistant: removed (was on at 25%)
    ai_assistant: no visible change
    ai_assistant: 公開率 10% → 25%、担当 なし → sato
    ai_assistant: 無効化、対象条件を変更
    ai_assistant: 有効化（公開率 25%）、担当 なし → sato、対象条件を変更
    ai_assistant: 新規、有効・公開率 10%
    ai_assistant: 新規、無効
    ai_assistant: 削除（変更前: 有効・公開率 25%）
    ai_assistant: 表示上の変更なし
    "##);
}

fn careful_of(path: &str, text: &str) -> Reading {
    let config = config();
    let path: DocPath = path.parse().unwrap();
    let mut targets = Targets::new(&config, KIND);
    careful::read(Source { path: &path, text }, &mut targets)
}

fn quick_of(path: &str, text: &str) -> Option<Vec<Declared>> {
    let config = config();
    let path: DocPath = path.parse().unwrap();
    let mut targets = Targets::new(&config, KIND);
    quick::read(Source { path: &path, text }, &mut targets)
}

fn text() -> impl Strategy<Value = String> {
    "[ -~あ-う\n\t\u{1}\"\\\\é😀]{0,8}"
}

fn variants() -> impl Strategy<Value = (Value, String)> {
    let value = prop_oneof![
        prop::collection::btree_map("[a-c]{1,2}", any::<bool>().prop_map(Value::from), 1..3),
        prop::collection::btree_map("[a-c]{1,2}", text().prop_map(Value::from), 1..3),
        prop::collection::btree_map("[a-c]{1,2}", (-1e3..1e3).prop_map(|f: f64| json!(f)), 1..3),
        prop::collection::btree_map(
            "[a-c]{1,2}",
            any::<i32>().prop_map(|n| json!({"é": n, "a": [n]})),
            1..3
        ),
    ];
    value.prop_map(|map| {
        let first = map.keys().next().unwrap().clone();
        (Value::Object(map.into_iter().collect()), first)
    })
}

prop_compose! {
    fn flag()(
        enabled in any::<bool>(),
        rollout in prop::option::of(0..=100_u8),
        teams in prop::option::of(prop::sample::subsequence(vec!["医療職員管理システム", "voicedrive"], 1..=2)),
        description in prop::option::of(text()),
        owner in prop::option::of(text()),
        expires in prop::option::of(Just("2026-12-31")),
        variants in prop::option::of(variants()),
        targeting in prop::option::of(Just(json!({"if": [{"var": "team"}, "on", 1.5, null, {"b": [], "a": {}}]}))),
    ) -> Value {
        let mut flag = serde_json::Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                flag.insert(key.to_owned(), value);
            }
        };
        put("enabled", Some(enabled.into()));
        put("rollout", rollout.map(Value::from));
        put("teams", teams.map(Value::from));
        put("description", description.map(Value::from));
        put("owner", owner.map(Value::from));
        put("expires", expires.map(Value::from));
        put("targeting", targeting);
        if let Some((variants, default)) = variants {
            put("variants", Some(variants));
            put("default_variant", Some(default.into()));
        }
        Value::Object(flag)
    }
}

/// Values in places where they do not belong.
fn wild() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..200_i64).prop_map(Value::from),
        Just(json!(2.0)),
        Just(json!("2026-12-31")),
        Just(json!("medical")),
        Just(json!(["medical"])),
        Just(json!(["medical", "Medical"])),
        Just(json!([])),
        Just(json!({})),
        Just(json!({"on": true})),
        Just(json!({"on": 1, "off": null})),
    ]
}

const FIELD_NAMES: [&str; 12] = [
    "enabled",
    "rollout",
    "teams",
    "description",
    "owner",
    "expires",
    "from",
    "until",
    "variants",
    "default_variant",
    "targeting",
    "other",
];

proptest! {
    #[test]
    fn the_quick_pass_reads_what_the_careful_one_does(
        flags in prop::collection::btree_map("[a-z_漢]{1,6}", flag(), 0..6),
    ) {
        let value = serde_json::to_value(&flags).unwrap();
        let json = format!("Title\n{} // end", serde_json::to_string_pretty(&value).unwrap());
        let yaml = serde_yaml::to_string(&value).unwrap();
        for (path, text) in [(JSON, &json), (YAML, &yaml)] {
            let careful = careful_of(path, text);
            prop_assert_eq!(&careful.findings, &[]);
            prop_assert_eq!(quick_of(path, text), Some(careful.resources), "{}", text);
        }
    }

    #[test]
    fn the_quick_pass_takes_nothing_that_the_careful_one_faults(
        fields in prop::collection::btree_map(prop::sample::select(&FIELD_NAMES[..]), wild(), 0..4),
        key in "[a-c $]{0,3}",
    ) {
        let mut flag = serde_json::to_value(&fields).unwrap();
        if flag.get("enabled").is_none() {
            flag["enabled"] = json!(true);
        }
        let value = json!({key: flag});
        let json = serde_json::to_string(&value).unwrap();
        let yaml = serde_yaml::to_string(&value).unwrap();
        for (path, text) in [(JSON, &json), (YAML, &yaml)] {
            let careful = careful_of(path, text);
            match quick_of(path, text) {
                Some(resources) => {
                    prop_assert_eq!(&careful.findings, &[], "{}", text);
                    prop_assert_eq!(resources, careful.resources);
                }
                None => prop_assert!(!careful.findings.is_empty(), "{}", text),
            }
        }
    }

    #[test]
    fn direction_is_antisymmetric(before in prop::option::of(flag()), after in prop::option::of(flag())) {
        let forth = FeatureFlag.direction(before.as_ref(), after.as_ref());
        let back = FeatureFlag.direction(after.as_ref(), before.as_ref());
        prop_assert_eq!(forth, back.reversed());
    }
}

#[test]
fn flags_for_the_same_systems_share_their_set() {
    let reading = read(
        JSON,
        r#"{"a": {"enabled": true, "teams": ["medical"]}, "b": {"enabled": true, "teams": ["医療システム"]},
            "c": {"enabled": true}}"#,
    );
    let sets: Vec<_> = reading.resources.iter().map(|r| &r.systems).collect();
    assert!(Arc::ptr_eq(sets[0], sets[1]));
    let all: BTreeSet<&str> = sets[2].iter().map(|s| s.as_str()).collect();
    assert_eq!(all, BTreeSet::from(["medical", "voicedrive"]));
}

proptest! {
    #[test]
    fn a_place_found_without_a_tree_is_the_tree_s(
        keys in prop::collection::vec("[a-cé日]{1,2}|\\$schema", 0..6),
        title in "(日 title\n)?",
        comment in prop::bool::ANY,
    ) {
        let remark = if comment { "/* 日 */ " } else { "" };
        let members: Vec<String> =
            keys.iter().map(|k| format!("{remark}\"{k}\":\n {{\"enabled\": true, \"日\": [{{\"a\": 1}}]}}")).collect();
        let text = format!("{title}{{{}}}", members.join(", "));
        let path: DocPath = JSON.parse().unwrap();
        let source = Source { path: &path, text: &text };
        let mut ids: Vec<_> =
            keys.iter().filter(|k| *k != "$schema").map(|k| ResourceRef::new(KIND, k).unwrap()).collect();
        ids.push(ResourceRef::new(KIND, "absent").unwrap());
        prop_assert_eq!(quick::places(source, &ids), Some(places(source, &ids, declared)), "{}", text);
    }
}
