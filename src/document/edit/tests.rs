use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::json;

use super::*;

mod addresses;

fn path(text: &str) -> DocPath {
    text.parse().unwrap()
}

fn keys(names: &[&str]) -> Vec<PathSegment> {
    names
        .iter()
        .map(|n| PathSegment::Key((*n).to_owned()))
        .collect()
}

fn set_json(text: &str, names: &[&str], value: Value) -> String {
    set(&path("a.json"), text, &keys(names), value).unwrap()
}

fn set_yaml(text: &str, names: &[&str], value: Value) -> String {
    set(&path("a.yaml"), text, &keys(names), value).unwrap()
}

const JSON: &str = r#"Feature flags
// All of them
{
  "ai_assistant": {  // on since May
    "enabled": true,
    "rollout":   10, /* percent */
    "teams": ["medical", "voicedrive"],
  },

  "beta": { "enabled": false, "rollout": 0 },
}
"#;

#[test]
fn only_the_value_changes() {
    let out = set_json(JSON, &["ai_assistant", "rollout"], json!(25));
    assert_eq!(out, JSON.replace("  10,", "  25,"));
    let out = set_json(JSON, &["ai_assistant", "teams"], json!(["medical"]));
    assert_eq!(
        out,
        JSON.replace(r#"["medical", "voicedrive"]"#, r#"["medical"]"#)
    );
    let out = set_json(JSON, &["beta"], json!({"enabled": true}));
    assert_eq!(
        out,
        JSON.replace(
            r#"{ "enabled": false, "rollout": 0 }"#,
            r#"{ "enabled": true }"#
        )
    );
}

#[test]
fn a_missing_key_takes_the_style_of_its_neighbours() {
    let out = set_json(JSON, &["ai_assistant", "owner"], json!("sato"));
    let out = set_json(&out, &["beta", "owner"], json!("田中 \"T\""));
    let out = set_json(
        &out,
        &["gamma"],
        json!({"enabled": true, "teams": ["medical"]}),
    );
    assert_snapshot!(out, @r#"
    Feature flags
    // All of them
    {
      "ai_assistant": {  // on since May
        "enabled": true,
        "rollout":   10, /* percent */
        "teams": ["medical", "voicedrive"],
        "owner": "sato",
      },

      "beta": { "enabled": false, "rollout": 0, "owner": "田中 \"T\"" },
      "gamma": { "enabled": true, "teams": ["medical"] },
    }
    "#);
    assert_snapshot!(set_json("{\"a\":{\"b\":1}}", &["a", "c"], json!([1, 2])), @r#"{"a":{"b":1,"c":[1,2]}}"#);
    assert_snapshot!(set_json("{\n\t\"a\": 1 // one\n}", &["b"], json!(2)), @r#"
    {
    	"a": 1, // one
    	"b": 2
    }
    "#);
    assert_snapshot!(set_json("{}", &["b"], json!(2)), @r#"
    {
      "b": 2
    }
    "#);
}

#[test]
fn what_is_removed_takes_its_line() {
    let out = remove(&path("a.json"), JSON, &keys(&["ai_assistant", "rollout"])).unwrap();
    assert_snapshot!(out, @r#"
    Feature flags
    // All of them
    {
      "ai_assistant": {  // on since May
        "enabled": true,
        "teams": ["medical", "voicedrive"],
      },

      "beta": { "enabled": false, "rollout": 0 },
    }
    "#);
    let out = remove(&path("a.json"), JSON, &keys(&["beta", "rollout"])).unwrap();
    assert_eq!(
        out,
        JSON.replace(
            r#"{ "enabled": false, "rollout": 0 }"#,
            r#"{ "enabled": false }"#
        )
    );
    let out = remove(
        &path("a.json"),
        JSON,
        &keys(&["ai_assistant", "teams", "0"]),
    )
    .unwrap();
    assert_eq!(out, JSON.replace(r#""medical", "#, ""));
}

#[test]
fn lists_gain_and_lose_entries() {
    let text = "{\n  \"admin_users\": [\n    \"user001\", // the first\n    {\"id\": \"user002\", \"reason\": \"night shift\"}\n  ],\n  \"blocked_ips\": [\"10.0.0.5/32\", \"192.168.1.100\"]\n}\n";
    let file = path("config/access-control.json");
    let out = add(&file, text, &keys(&["admin_users"]), json!("user042")).unwrap();
    let out = add(&file, &out, &keys(&["readonly_users"]), json!("user050")).unwrap();
    let out = remove_entry(&file, &out, &keys(&["blocked_ips"]), &json!("10.0.0.5")).unwrap();
    let out = remove_entry(&file, &out, &keys(&["admin_users"]), &json!("user002")).unwrap();
    assert_snapshot!(out, @r#"
    {
      "admin_users": [
        "user001", // the first
        "user042"
      ],
      "blocked_ips": ["192.168.1.100"],
      "readonly_users": ["user050"]
    }
    "#);
    assert_eq!(
        add(&file, text, &keys(&["admin_users"]), json!("user002")).unwrap(),
        text
    );
    let error = remove_entry(&file, text, &keys(&["admin_users"]), &json!("user01")).unwrap_err();
    assert_snapshot!(error, @"there is no user01 in admin_users; did you mean user001?");
}

fn append_json(text: &str, names: &[&str], entries: &[(Option<&str>, Value)]) -> String {
    let entries: Vec<_> = entries
        .iter()
        .map(|(key, value)| (key.map(str::to_owned), value.clone()))
        .collect();
    append(&path("a.json"), text, &keys(names), &entries).unwrap()
}

#[test]
fn many_entries_come_at_once() {
    let more = [
        (
            Some("gamma"),
            json!({"enabled": true, "teams": ["medical"]}),
        ),
        (Some("デルタ"), json!({})),
    ];
    assert_snapshot!(append_json(JSON, &[], &more), @r#"
    Feature flags
    // All of them
    {
      "ai_assistant": {  // on since May
        "enabled": true,
        "rollout":   10, /* percent */
        "teams": ["medical", "voicedrive"],
      },

      "beta": { "enabled": false, "rollout": 0 },
      "gamma": { "enabled": true, "teams": ["medical"] },
      "デルタ": {},
    }
    "#);
    assert_snapshot!(append_json("{}\n", &[], &more), @r#"
    {
      "gamma": { "enabled": true, "teams": ["medical"] },
      "デルタ": {}
    }
    "#);
    let lists = "{\n  \"admin_users\": [\"user001\"],\n  \"readonly_users\": [\n    \"user100\" // auditor\n  ]\n}\n";
    let users = [(None, json!("user002")), (None, json!({"id": "user003"}))];
    let out = append_json(lists, &["admin_users"], &users);
    assert_snapshot!(append_json(&out, &["readonly_users"], &users), @r#"
    {
      "admin_users": [
        "user001",
        "user002",
        { "id": "user003" }
      ],
      "readonly_users": [
        "user100", // auditor
        "user002",
        { "id": "user003" }
      ]
    }
    "#);
    let long = "長".repeat(100);
    assert_eq!(
        append_json("[]", &[], &[(None, json!({"a": long}))]),
        format!("[\n  {{\n    \"a\": \"{long}\"\n  }}\n]")
    );
}

#[test]
fn many_entries_are_added_to_what_has_none_of_them() {
    let entries = [(Some("beta".to_owned()), json!(1))];
    let error = append(&path("a.json"), JSON, &[], &entries).unwrap_err();
    assert_snapshot!(error, @"a.json can't be edited here without changing other parts of it: one of the entries is there already; edit the file by hand");
    let text = "{ /* none yet */ }";
    let error = append(&path("a.json"), text, &[], &entries).unwrap_err();
    assert_snapshot!(error, @"a.json can't be edited here without changing other parts of it: there are comments between its entries; edit the file by hand");
    let error = append(&path("a.json"), "{\"a\": 1}", &keys(&["a"]), &entries).unwrap_err();
    assert!(matches!(error, EditError::WrongType { .. }), "{error}");
}

#[test]
fn entries_are_found_by_their_field() {
    let select = |id: &str| PathSegment::Select {
        field: "id".to_owned(),
        value: id.to_owned(),
    };
    let name = |id: &str| [vec![select(id)], keys(&["name"])].concat();
    let file = path("config/interview-types.json");
    let list = r#"[{"id": "a", "name": "A"}, {"id": "b", "name": "B"}]"#;
    assert_eq!(
        set(&file, list, &name("b"), json!("C")).unwrap(),
        list.replace("\"B\"", "\"C\"")
    );
    assert_eq!(
        remove(&file, list, &[select("a")]).unwrap(),
        r#"[{"id": "b", "name": "B"}]"#
    );
    let one = r#"{"id": "a", "name": "A"}"#;
    assert_eq!(
        set(&file, one, &name("a"), json!("C")).unwrap(),
        one.replace("\"A\"", "\"C\"")
    );
    let twice = r#"[{"id": "a", "name": "A"}, {"id": "a", "name": "B"}]"#;
    let error = set(&file, twice, &name("a"), json!("C")).unwrap_err();
    assert_eq!(
        error,
        EditError::Ambiguous {
            place: "[id=a]".to_owned()
        }
    );
}

const YAML: &str = "# All flags\nai_assistant:  # on since May\n  enabled: true\n  rollout: 10   # percent\n  teams: [medical, voicedrive]\n\nbeta:\n  enabled: false\n  # none yet\n  teams:\n    - medical\n    - voicedrive # later\n";

#[test]
fn yaml_keeps_its_comments() {
    let out = set_yaml(YAML, &["ai_assistant", "rollout"], json!(25));
    assert_eq!(out, YAML.replace("rollout: 10 ", "rollout: 25 "));
    let out = set_yaml(YAML, &["ai_assistant", "owner"], json!("佐藤"));
    let out = set_yaml(&out, &["beta", "expires"], json!("2027-01-01"));
    let out = set_yaml(&out, &["gamma"], json!({"enabled": true, "teams": ["no"]}));
    let out = add(
        &path("a.yaml"),
        &out,
        &keys(&["beta", "teams"]),
        json!("payroll"),
    )
    .unwrap();
    let out = remove_entry(
        &path("a.yaml"),
        &out,
        &keys(&["ai_assistant", "teams"]),
        &json!("medical"),
    )
    .unwrap();
    let out = remove(&path("a.yaml"), &out, &keys(&["beta", "enabled"])).unwrap();
    assert_snapshot!(out, @r#"
    # All flags
    ai_assistant:  # on since May
      enabled: true
      rollout: 10   # percent
      teams: [voicedrive]
      owner: 佐藤

    beta:
      # none yet
      teams:
        - medical
        - voicedrive # later
        - payroll
      expires: "2027-01-01"
    gamma:
      enabled: true
      teams:
        - "no"
    "#);
}

#[test]
fn shared_yaml_is_left_alone() {
    let text = "a: &x\n  n: 1\nb: *x\n";
    let error = set(&path("a.yaml"), text, &keys(&["b", "n"]), json!(2)).unwrap_err();
    assert_snapshot!(error, @"a.yaml can't be edited here without changing other parts of it: the place is shared by an alias; edit the file by hand");
    let error = set(&path("a.yaml"), text, &keys(&["a", "n"]), json!(2)).unwrap_err();
    assert_snapshot!(error, @"a.yaml can't be edited here without changing other parts of it: the outcome would not read as what was meant; edit the file by hand");
}

#[test]
fn errors_say_what_is_wrong_and_where() {
    let fails = |names: &[&str]| {
        set(&path("a.json"), JSON, &keys(names), json!(1))
            .unwrap_err()
            .to_string()
    };
    assert_snapshot!(fails(&["ai_asistant", "rollout"]), @"there is no ai_asistant; did you mean ai_assistant?");
    assert_snapshot!(fails(&["ai_assistant", "rollout", "x"]), @"ai_assistant.rollout is a number; expected an object");
    assert_snapshot!(fails(&["ai_assistant", "teams", "7"]), @"there is no ai_assistant.teams[7]");
    assert_snapshot!(fails(&[]), @"the document is an object; expected a place inside it");
    let error = remove(&path("a.json"), JSON, &keys(&["ai_assistant", "rolout"])).unwrap_err();
    assert_snapshot!(error, @"there is no ai_assistant.rolout; did you mean rollout?");
    let twice = set(
        &path("a.json"),
        r#"{"a": 1, "a": 2}"#,
        &keys(&["a"]),
        json!(1),
    )
    .unwrap_err();
    assert_snapshot!(twice, @"a.json can't be edited here without changing other parts of it: a key is there twice; edit the file by hand");
    let broken = set(&path("a.json"), "{\"a\": ", &keys(&["a"]), json!(1)).unwrap_err();
    assert_snapshot!(broken, @"a.json can't be read, so it can't be edited: unexpected end of input; `lockstep check` says where");
    let markdown = set(&path("a.md"), "# a", &keys(&["a"]), json!(1)).unwrap_err();
    assert_snapshot!(markdown, @"a.md can't be edited: only .json, .jsonc, .yaml and .yml documents can");
}

#[test]
fn what_only_the_syntax_tree_can_read_is_not_edited() {
    for (name, text) in [
        ("a.json", "{\"a\": \"\0\"}"),
        ("a.json", r#"{"a": "\ud800"}"#),
        ("a.yaml", "a: !!python/object\n  b: true\n"),
    ] {
        let error = set(&path(name), text, &keys(&["c"]), json!(1)).unwrap_err();
        assert!(matches!(error, EditError::Unreadable { .. }), "{error}");
    }
}

#[test]
fn byte_order_marks_and_line_ends_stay() {
    let text = "\u{feff}{\r\n  \"a\": 1,\r\n  \"b\": 2\r\n}\r\n";
    assert_eq!(set_json(text, &["a"], json!(3)), text.replace("1", "3"));
    assert_eq!(
        set_json(text, &["c"], json!(3)),
        text.replace("2\r\n", "2,\r\n  \"c\": 3\r\n")
    );
}

/// A scalar as people write them.
fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "no",
            "~",
            "1",
            "0x1f",
            "1e3",
            "- a",
            "a: b",
            "# c",
            "'",
            "\"",
            "a\nb\n",
            " x ",
            "2025-10-01",
            "*a",
            "{",
            "yes",
            ""
        ])
        .prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,3}", inner, 0..3)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// A document with spacing and comments thrown in; U+0001 stands before and after the value of the key `k1`.
fn document() -> impl Strategy<Value = String> {
    let trivia = || prop::sample::select(vec!["", " ", "\n  ", " /* c, \" } */ ", " // line {\n"]);
    (
        prop::collection::vec((trivia(), trivia(), trivia(), trivia(), scalar()), 2..5),
        any::<bool>(),
        trivia(),
    )
        .prop_map(|(fields, trailing, end)| {
            let mut out = String::from("{");
            let count = fields.len();
            for (n, (a, b, c, d, value)) in fields.into_iter().enumerate() {
                let mark = if n == 1 { "\u{1}" } else { "" };
                let comma = if n + 1 < count || trailing { "," } else { "" };
                out.push_str(&format!("{a}\"k{n}\"{b}:{c}{mark}{value}{mark}{d}{comma}"));
            }
            out + end + "}\n"
        })
}

proptest! {
    /// The new value is there when the text is read again, and all bytes around it are the old ones.
    #[test]
    fn json_keeps_every_other_byte(marked in document(), new in scalar()) {
        let parts: Vec<&str> = marked.split('\u{1}').collect();
        let (before, after) = (parts[0], parts[2]);
        let text = marked.replace('\u{1}', "");
        let out = set(&path("a.json"), &text, &keys(&["k1"]), new.clone()).unwrap();
        prop_assert_eq!(&out, &format!("{before}{new}{after}"));
        prop_assert_eq!(json::read(&out).unwrap()["k1"].clone(), new);
    }

    /// Anything can be set, added and removed again in JSON, and reads as meant.
    #[test]
    fn json_takes_any_value(marked in document(), new in value(), key in "[a-z~\"\\\\é]{1,4}") {
        let text = marked.replace('\u{1}', "");
        let file = path("a.json");
        let out = set(&file, &text, &keys(&["k0"]), new.clone()).unwrap();
        let out = set(&file, &out, &keys(&[&key]), new.clone()).unwrap();
        prop_assert_eq!(json::read(&out).unwrap()[&key].clone(), new);
        let out = remove(&file, &out, &keys(&["k0"])).unwrap();
        let out = remove(&file, &out, &keys(&[&key])).unwrap();
        prop_assert_eq!(json::read(&out).unwrap().as_object().unwrap().len(), json::read(&text).unwrap().as_object().unwrap().len() - 1);
    }

    /// YAML either takes a value and reads as meant, or is left alone: scalars always go in.
    #[test]
    fn yaml_takes_any_scalar(new in scalar(), key in "[a-z]{1,4}") {
        let out = set(&path("a.yaml"), YAML, &keys(&["beta", &key]), new.clone()).unwrap();
        let out = set(&path("a.yaml"), &out, &keys(&["ai_assistant", "rollout"]), new).unwrap();
        prop_assert!(out.contains("# All flags") && out.contains("# percent") && out.contains("# later"), "{}", out);
    }

    #[test]
    fn no_text_panics(text in "[\\{\\}\\[\\],:\"a/*# \n-]{0,24}", new in value()) {
        for file in ["a.json", "a.yaml"] {
            let _ = set(&path(file), &text, &keys(&["a"]), new.clone());
            let _ = add(&path(file), &text, &keys(&["a"]), new.clone());
            let _ = remove(&path(file), &text, &keys(&["a"]));
        }
    }
}

/// Found by fuzzing: the first time the character was escaped and the second time not, so that an edit made twice was two edits.
#[test]
fn what_is_there_already_is_not_written_again() {
    let edit = parse_set("flag.a.note=x\u{7f}y", |_| true).unwrap();
    let once = edit.apply("{\"a\": {\"enabled\": true}}\n").unwrap();
    assert!(once.contains("\\u007f"), "{once}");
    assert_eq!(edit.apply(&once).as_ref(), Ok(&once));
    // Nor is another way to write the same.
    let edit = parse_set("flag.a.note=ab", |_| true).unwrap();
    let text = "{\"a\": {\"note\": \"\\u0061b\"}}\n";
    assert_eq!(edit.apply(text).as_deref(), Ok(text));
}
