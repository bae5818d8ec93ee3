//! `lockstep policy input`: what the policies are asked, for other tools to ask it again.

use std::collections::BTreeSet;

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::*;

/// The policies of a revision in a Rego engine that knows nothing of Lockstep, asked for one rule with an input.
fn asked(bare: &Bare, revision: &str, input: &str, rule: &str) -> BTreeSet<String> {
    let mut engine = regorus::Engine::new();
    let listed = bare.git(&["ls-tree", "-r", "--name-only", revision, "policies"]);
    for path in listed.lines().filter(|l| !l.ends_with("_test.rego")) {
        engine
            .add_policy(path.to_owned(), bare.file(revision, path))
            .expect("a policy");
    }
    engine.set_input(regorus::Value::from_json_str(input).expect("JSON"));
    // All packages together: see what is said of packages in several files where Lockstep asks them.
    let all = engine
        .eval_query("data".to_owned(), false)
        .expect("an answer");
    let all = serde_json::to_value(&all.result[0].expressions[0].value).expect("JSON");
    let values = all["lockstep"][rule].as_array().expect("a set");
    values.iter().map(ToString::to_string).collect()
}

fn said(shown: &Value, list: &str, fields: &[&str]) -> BTreeSet<String> {
    let items = shown[list].as_array().expect("a list").iter();
    let pick = |item: &Value| {
        let kept = fields.iter().filter(|f| !item[**f].is_null());
        json!(
            kept.map(|f| (*f, item[*f].clone()))
                .collect::<std::collections::BTreeMap<_, _>>()
        )
    };
    items.map(|item| pick(item).to_string()).collect()
}

fn only(values: BTreeSet<String>, fields: &[&str]) -> BTreeSet<String> {
    let list: Vec<Value> = values
        .iter()
        .map(|v| serde_json::from_str(v).expect("JSON"))
        .collect();
    said(&json!({ "list": list }), "list", fields)
}

#[test]
fn the_written_input_gives_the_same_verdict_in_another_engine() {
    let bare = Bare::new();
    bare.propose(
        1,
        &[
            "flag.ai_assistant.rollout=70",
            "access.admin_users+=user300",
        ],
    );
    bare.act(0, "approve", 1, "mori-r");
    let shown = bare.show(1);
    let input = bare
        .run(&["policy", "input", "--proposal", "1", "--format", "json"])
        .code(0);
    // The judgement is of this moment; all else is the same to the byte.
    let value: Value = input.json();
    assert_eq!(value["proposal"]["approvals"][0]["user"], "mori");
    let digest = hex::encode(Sha256::digest(input.out.as_bytes()));
    assert!(
        input
            .err
            .starts_with(&format!("input {digest}; policies at ")),
        "{}",
        input.err
    );

    let base = bare.git(&["rev-parse", "main"]);
    let message = ["code", "msg", "resource"];
    for (rule, list) in [("deny", "denials"), ("warn", "warnings")] {
        let there = only(asked(&bare, &base, &input.out, rule), &message);
        assert_eq!(there, said(&shown, list, &message), "{rule}");
    }
    assert!(shown["denials"].as_array().is_some_and(|d| !d.is_empty()));
    let need = ["from", "count", "because"];
    let there = only(asked(&bare, &base, &input.out, "approval"), &need);
    assert_eq!(there, said(&shown, "approvals", &need));
}

#[test]
fn what_lies_between_two_revisions_is_written_as_if_it_were_proposed() {
    let bare = Bare::new();
    bare.propose(1, &["flag.ai_assistant.rollout=70"]);
    let head = bare.branch(1);
    let between = ["policy", "input", "--base", "main", "--head", &head];
    let input = bare.run(&between).code(0).json();
    assert_eq!(input["proposal"]["author"], "sato");
    assert_eq!(input["proposal"]["approvals"], json!([]));
    assert_eq!(input["changes"][0]["after"]["rollout"], 70);
    // Only the kinds that the policies look at, unless all are wanted.
    let kinds = |input: &Value| input["before"].as_object().expect("kinds").len();
    let all = bare
        .run(&[&between[..], &["--all", "--format", "pretty"]].concat())
        .code(0)
        .json();
    assert!(input["before"]["FeatureFlag"].is_null(), "{input}");
    assert_eq!(
        all["before"]["FeatureFlag"]["ai_assistant"]["spec"]["rollout"],
        10
    );
    assert!(kinds(&all) >= kinds(&input) - 1);

    let ran = bare.run(&["policy", "input"]).code(2);
    assert!(ran.err.contains("give its number"), "{}", ran.err);
}
