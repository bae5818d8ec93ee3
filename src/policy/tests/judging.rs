use std::time::Duration;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

const ALLOW: &str = "deny contains \"no\" if input.version > 1";

#[test]
fn texts_and_objects_are_messages_under_every_name_conftest_knows() {
    let verdict = judge(
        r#"
        deny contains "plain"
        deny_rollout_step contains {"msg": "object", "msg_ja": "日本語", "resource": "FeatureFlag/x", "code": "c", "more": 1}
        violation contains {"msg": "violation"}
        violation_2 contains "numbered"
        warn contains "careful"
        warn_x contains {"msg": "careful too"}
        helper contains "not a message"
        "#,
        &[],
    );
    assert_snapshot!(told(&verdict), @r#"
        deny [-] -: numbered
        deny [-] -: plain
        deny [-] -: violation
        deny [c] FeatureFlag/x: object
        warn [-] -: careful
        warn [-] -: careful too
        passes false approved true
        "#);
    assert_eq!(
        verdict.denials.last().unwrap().msg_ja.as_deref(),
        Some("日本語")
    );
}

#[test]
fn nothing_denied_passes() {
    assert_snapshot!(told(&judge(ALLOW, &[])), @r#"passes true approved true"#);
}

#[test]
fn without_rules_everything_is_denied() {
    for files in [
        files(&[]),
        files(&[("policies/README.md", "deny contains \"x\"")]),
        files(&[(
            "policies/a_test.rego",
            "package lockstep\n\ndeny contains \"x\" if false",
        )]),
        rules("helper := 1"),
        files(&[("policies/lib.rego", "package lockstep.lib\n\nx := 1")]),
    ] {
        let verdict = PolicySet::compile(&files).0.judge(&input(&["mori", "abe"]));
        assert!(!verdict.passes() && !verdict.approved(), "{files:?}");
        assert!(verdict.denials[0].msg.starts_with("there are no policies"));
    }
}

#[test]
fn a_policy_that_does_not_compile_denies_all_the_others_would_allow() {
    let broken = files(&[
        ("policies/a.rego", &format!("package lockstep\n\n{ALLOW}\n")),
        (
            "policies/b.rego",
            "package lockstep\n\ndeny contains msg if {\n\tmsg :=\n}\n",
        ),
    ]);
    let (set, findings) = PolicySet::compile(&broken);
    assert_eq!(findings.len(), 1);
    assert_snapshot!(told(&set.judge(&input(&["mori", "abe"]))), @r#"
        deny [policy/error] -: policies/b.rego:4: expecting `}` while parsing set
        passes false approved false
        "#);
}

#[test]
fn a_broken_test_file_is_a_finding_but_judges_nothing() {
    let files = files(&[
        ("policies/a.rego", &format!("package lockstep\n\n{ALLOW}\n")),
        (
            "policies/a_test.rego",
            "package lockstep_test\n\ntest_x if {\n",
        ),
    ]);
    let (set, findings) = PolicySet::compile(&files);
    assert_eq!(findings[0].location.path.as_str(), "policies/a_test.rego");
    assert!(set.judge(&input(&[])).passes());
}

#[test]
fn a_policy_that_fails_denies() {
    // A variable without a value, a builtin that is given nonsense, a conflict, a function that is nowhere, a rule that needs itself.
    for (text, reason) in [
        (
            "deny contains msg if input.version == 1",
            "policies/a.rego:3: var msg is unsafe",
        ),
        (
            "deny contains \"x\" if net.cidr_contains(\"no\", \"way\")",
            "policies/a.rego:3: Error parsing",
        ),
        (
            "deny contains \"x\" if not to_number(\"a\")",
            "policies/a.rego:3: ",
        ),
        (
            "deny contains \"x\" if a == 1\na := 1\na := 2",
            "policies/a.rego:5: rule conflicts",
        ),
        (
            "deny contains \"x\" if nowhere.f(1)",
            "policies/a.rego:3: could not find function",
        ),
        (
            "deny contains \"x\" if a\na if b\nb if a",
            "recursion detected",
        ),
    ] {
        let verdict = judge(text, &["mori", "abe"]);
        assert!(!verdict.passes() && !verdict.approved());
        let msg = &verdict.denials[0].msg;
        assert!(msg.contains(reason), "{text}: {msg}");
        assert_eq!(verdict.denials[0].code.as_deref(), Some("policy/error"));
    }
}

/// The engine, asked for a package that lies in several files, forgets rules of all but the first.
#[test]
fn rules_in_several_files_that_lean_on_others_are_all_heard() {
    let (a, b) = (
        "package lockstep\n\nimport data.lockstep.lib\n\napproval contains {\"from\": [\"security\"], \"count\": 1, \"because\": \"a\"} if count(names_a) > lib.none\n\nnames_a := [1]\n",
        "package lockstep\n\nimport data.lockstep.lib\n\napproval contains {\"from\": [\"*\"], \"count\": 1, \"because\": \"b\"} if count(names_b) > lib.none\n\nnames_b := [1]\n",
    );
    let lib = ("policies/lib.rego", "package lockstep.lib\n\nnone := 0\n");
    for (first, second) in [(a, b), (b, a)] {
        let set = files(&[("policies/a.rego", first), ("policies/b.rego", second), lib]);
        assert_eq!(
            PolicySet::compile(&set)
                .0
                .judge(&input(&[]))
                .approvals
                .len(),
            2
        );
    }
}

#[test]
fn a_policy_that_takes_too_long_denies() {
    let endless = rules(
        "deny contains \"x\" if {\n\tsome i in numbers.range(1, 2000)\n\tsome j in numbers.range(1, 2000)\n\ti * j < 0\n}",
    );
    let (set, findings) = PolicySet::compile_within(&endless, Duration::from_millis(1));
    assert_eq!(findings, []);
    assert_snapshot!(told(&set.judge(&input(&[]))), @r#"
        deny [policy/error] -: the policies did not answer within their time limit; simplify the one that loops
        passes false approved false
        "#);
}

#[test]
fn an_answer_of_any_other_shape_is_a_denial() {
    let verdict = judge(
        r#"
        deny contains 42
        warn contains {"message": "not msg"}
        deny_code contains {"msg": "x", "code": 1}
        approval contains "two people"
        approval_count contains {"from": ["*"], "count": 0, "because": "x"}
        approval_from contains {"from": [], "count": 1, "because": "x"}
        approval_because contains {"from": ["*"], "count": 1.5, "because": "x"}
        recuse contains {"person": "sato"}
        "#,
        &["mori", "abe"],
    );
    assert_snapshot!(told(&verdict), @r#"
        deny [policy/error] -: the policy rule approval gave "two people" where {"from": [roles or people], "count": a number from 1, "because": "…"} is expected; correct the policy
        deny [policy/error] -: the policy rule approval_because gave {"because":"x","count":1.5,"from":["*"]} where {"from": [roles or people], "count": a number from 1, "because": "…"} is expected; correct the policy
        deny [policy/error] -: the policy rule approval_count gave {"because":"x","count":0,"from":["*"]} where {"from": [roles or people], "count": a number from 1, "because": "…"} is expected; correct the policy
        deny [policy/error] -: the policy rule approval_from gave {"because":"x","count":1,"from":[]} where {"from": [roles or people], "count": a number from 1, "because": "…"} is expected; correct the policy
        deny [policy/error] -: the policy rule deny gave 42 where a text or an object with the text `msg` is expected; correct the policy
        deny [policy/error] -: the policy rule deny_code gave {"code":1,"msg":"x"} where a text or an object with the text `msg` is expected; correct the policy
        deny [policy/error] -: the policy rule recuse gave {"person":"sato"} where {"person": a key of people, "because": "…"} is expected; correct the policy
        deny [policy/error] -: the policy rule warn gave {"message":"not msg"} where a text or an object with the text `msg` is expected; correct the policy
        passes false approved false
        "#);
}

#[test]
fn a_package_in_the_place_of_a_rule_denies() {
    let files = files(&[
        ("policies/a.rego", &format!("package lockstep\n\n{ALLOW}\n")),
        ("policies/b.rego", "package lockstep.warn\n\nx := 1\n"),
    ]);
    assert_snapshot!(told(&PolicySet::compile(&files).0.judge(&input(&[]))), @r#"
        deny [policy/error] -: the policy rule warn gave no set of messages where a set, written with `contains` is expected; correct the policy
        passes false approved false
        "#);
}

#[test]
fn approvals_are_by_role_person_system_or_anyone_and_the_authors_never_counts() {
    let needs = r#"
        approval contains {"from": ["security"], "count": 1, "because": "role"}
        approval contains {"from": ["abe"], "count": 1, "because": "person"}
        approval contains {"from": ["system:voicedrive"], "count": 2, "because": "system"}
        approval contains {"from": ["*"], "count": 2, "because": "anyone"}
    "#;
    assert_snapshot!(told(&judge(needs, &["sato", "stranger", "mori", "mori"])), @r#"
        need 2 of * for anyone: has ["mori"], may ask ["abe","mori"]
        need 1 of abe for person: has [], may ask ["abe"]
        need 1 of security for role: has ["mori"], may ask ["mori"]
        need 2 of system:voicedrive for system: has ["mori"], may ask ["abe","mori"]
        passes true approved false
        "#);
    assert!(judge(needs, &["mori", "abe"]).approved());
}

#[test]
fn the_author_is_known_by_key_and_by_login_whatever_the_case() {
    for author in ["sato", "SATO", "sato-h", "Sato-H"] {
        let (set, _) = PolicySet::compile(&rules(
            r#"approval contains {"from": ["operator"], "count": 1, "because": "x"}"#,
        ));
        let mut input = input(&["sato"]);
        input.proposal.author = author.to_owned();
        let verdict = set.judge(&input);
        assert!(!verdict.approved(), "{author}");
        assert_eq!(verdict.approvals[0].eligible, Vec::<String>::new());
    }
}

#[test]
fn who_is_recused_does_not_count() {
    let verdict = judge(
        r#"
        approval contains {"from": ["*"], "count": 2, "because": "anyone"}
        recuse contains {"person": "abe", "because": "abe gains"}
        "#,
        &["mori", "abe"],
    );
    assert_snapshot!(told(&verdict), @r#"
        warn [approval/unreachable] -: 2 of * must approve because anyone, but only 1 could; the author and those who gain do not count
        need 2 of * for anyone: has ["mori"], may ask ["mori"]
        recused abe: abe gains
        passes true approved false
        "#);
}

#[test]
fn the_same_question_has_the_same_answer_to_the_byte() {
    let (set, _) = PolicySet::compile(&shipped::shipped());
    let input = input(&["mori"]);
    let first = serde_json::to_string(&set.judge(&input)).unwrap();
    for _ in 0..10 {
        assert_eq!(serde_json::to_string(&set.judge(&input)).unwrap(), first);
    }
}

#[test]
fn digests_tell_inputs_and_policies_apart_and_leave_tests_out() {
    let base = judge(ALLOW, &[]);
    assert_ne!(base.input_digest, judge(ALLOW, &["mori"]).input_digest);
    assert_eq!(
        base.policies_digest,
        judge(ALLOW, &["mori"]).policies_digest
    );
    assert_ne!(
        base.policies_digest,
        judge("deny contains \"x\"", &[]).policies_digest
    );
    let mut with_test = rules(ALLOW);
    let test = blob("package t\n\ntest_x if true\n");
    with_test.insert("policies/a_test.rego".parse().unwrap(), test);
    assert_eq!(
        PolicySet::compile(&with_test).0.digest(),
        base.policies_digest
    );
}

#[test]
fn printing_reaches_nobody_and_changes_nothing() {
    assert!(
        judge(
            "deny contains \"x\" if {\n\tprint(\"hello\")\n\tinput.version > 1\n}",
            &[]
        )
        .passes()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever value a rule gives, it is a message or a denial, and never a pass.
    #[test]
    fn no_value_of_deny_passes(value in "[0-9]{1,3}|true|null|\"[a-z]{0,3}\"|\\[1\\]|\\{\"msg\": (\"[a-z]{0,3}\"|1)\\}|\\{1\\}") {
        let verdict = judge(&format!("deny contains {value}"), &[]);
        prop_assert!(!verdict.passes());
        prop_assert!(!verdict.denials.is_empty());
    }
}

#[test]
fn the_input_as_it_is_written_is_the_one_that_was_judged() {
    let set = PolicySet::compile(&rules("deny contains \"no\" if input.after.FeatureFlag.x")).0;
    let input = input(&["mori"]);
    let text = set.input_text(&input).unwrap();
    assert_eq!(Digest::of(text.as_bytes()), set.judge(&input).input_digest);
    let seen: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(seen["before"], json!({"FeatureFlag": {}}));
    assert_eq!(seen["proposal"]["approvals"][0]["user"], "mori");
}
