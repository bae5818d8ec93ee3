use super::*;

fn files(known: &'static [&'static str]) -> impl Fn(&DocPath) -> bool {
    move |path| known.contains(&path.as_str())
}

const ALL: &[&str] = &[
    "config/feature-flags.json",
    "config/interview-types.yaml",
    "config/access-control.yml",
    "kinds/x.json",
];

fn parsed(expr: &str) -> (String, Vec<PathSegment>, Action) {
    let edit = parse_set(expr, files(ALL)).unwrap();
    (edit.document.to_string(), edit.pointer, edit.action)
}

#[test]
fn short_addresses_lead_to_their_documents() {
    let flags = "config/feature-flags.json".to_owned();
    assert_eq!(
        parsed("flag.ai_assistant.rollout=25"),
        (
            flags.clone(),
            keys(&["ai_assistant", "rollout"]),
            Action::Set(json!(25))
        )
    );
    assert_eq!(
        parsed("flag.\"a.b=c\".owner=team=x"),
        (
            flags.clone(),
            keys(&["a.b=c", "owner"]),
            Action::Set(json!("team=x"))
        )
    );
    assert_eq!(
        parsed("flag.a.teams+=medical"),
        (flags, keys(&["a", "teams"]), Action::Add(json!("medical")))
    );
    let select = PathSegment::Select {
        field: "id".to_owned(),
        value: "mental_health".to_owned(),
    };
    assert_eq!(
        parsed("interview.mental_health.retired=true"),
        (
            "config/interview-types.yaml".to_owned(),
            [vec![select], keys(&["retired"])].concat(),
            Action::Set(json!(true))
        )
    );
    assert_eq!(
        parsed("access.blocked_ips-=10.0.0.5"),
        (
            "config/access-control.yml".to_owned(),
            keys(&["blocked_ips"]),
            Action::Remove(json!("10.0.0.5"))
        )
    );
    assert_eq!(
        parsed("kinds/x.json#/a~1b/0/m~0n={\"x\":[1]}"),
        (
            "kinds/x.json".to_owned(),
            keys(&["a/b", "0", "m~n"]),
            Action::Set(json!({"x": [1]}))
        )
    );
}

#[test]
fn what_is_no_address_says_what_is() {
    let fails = |expr: &str| parse_set(expr, files(ALL)).unwrap_err().to_string();
    assert_snapshot!(fails("flag.ai_assistant.rollout"), @r#""flag.ai_assistant.rollout" is no edit: write PLACE=VALUE, or LIST+=ENTRY and LIST-=ENTRY, as in flag.ai_assistant.rollout=25"#);
    assert_snapshot!(fails("flags.ai_assistant=1"), @r#""flags.ai_assistant=1" is no edit: a place starts with flag, interview, access or is PATH#/POINTER"#);
    assert_snapshot!(fails("flag..rollout=1"), @r#""flag..rollout=1" is no edit: a name is empty or its quote is not closed"#);
    assert_snapshot!(fails("flag=1"), @r#""flag=1" is no edit: a name is missing, as in flag.ai_assistant.rollout=25"#);
    assert_snapshot!(fails("../x.json#/a=1"), @r#""../x.json#/a=1" is no edit: before # stands a document's path inside the repository"#);
    assert_snapshot!(fails("kinds/x.json#a=1"), @r#""kinds/x.json#a=1" is no edit: after # stands a JSON pointer such as /ai_assistant/rollout"#);
    assert_snapshot!(fails("kinds/y.json#/a=1"), @"there is no kinds/y.json in the repository");
    let none = parse_set("flag.a.rollout=1", |_| false).unwrap_err();
    assert_snapshot!(none, @"there is no config/feature-flags.json, config/feature-flags.yaml, config/feature-flags.yml in the repository");
}

#[test]
fn an_edit_applies_itself() {
    let edit = parse_set("flag.ai_assistant.rollout=25", files(ALL)).unwrap();
    assert_eq!(edit.apply(JSON).unwrap(), JSON.replace("  10,", "  25,"));
}
