//! What a proposal says will come of its merge.

use super::*;

/// Proposes files on a branch of their own, and shows the proposal.
fn proposed(bare: &Bare, branch: &str, files: &[(&str, &str)]) -> Value {
    bare.git(&["branch", branch, "main"]);
    bare.push(branch, files);
    let ran = bare.run(&["propose", "--as", "sato", "--branch", branch]);
    assert!(ran.code < 2, "{ran:?}");
    let number = bare.run(&["proposal", "list", "--format", "json"]).json();
    let number = number[0]["number"].as_u64().expect("a number");
    bare.show(number)
}

fn rules(shown: &Value) -> Vec<String> {
    let holds = shown["held"].as_array().expect("a list");
    let breaches = holds
        .iter()
        .flat_map(|h| h["breaches"].as_array().cloned().unwrap_or_default());
    breaches
        .map(|b| {
            let text = |key: &str| b[key].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", text("system"), text("kind"), text("rule"))
        })
        .collect()
}

fn plan_status(shown: &Value) -> (String, String) {
    let all = shown["statuses"].as_array().expect("statuses");
    let plan = all.iter().find(|s| s["context"] == "lockstep/plan");
    let text = |key: &str| {
        plan.expect("a status")[key]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    (text("state"), text("description"))
}

#[test]
fn a_proposal_that_empties_a_kind_says_that_it_will_be_held_and_what_to_do() {
    let bare = Bare::new();
    let shown = proposed(&bare, "none", &[("config/feature-flags.json", "{}\n")]);
    assert_eq!(
        rules(&shown),
        [
            "medical FeatureFlag emptied",
            "voicedrive FeatureFlag emptied"
        ]
    );
    // It is a warning: whoever wants it may merge it, and is asked a second time.
    let (state, said) = plan_status(&shown);
    assert_eq!(state, "success");
    assert_eq!(
        said,
        "2 to delete, 0 to create, 0 to update; held after the merge, medical: deletes 2 of 2 FeatureFlag, and none would be left, and 1 more"
            .chars()
            .take(140)
            .collect::<String>()
    );
    assert_eq!(
        shown["uncounted"],
        serde_json::json!(["medical", "voicedrive"])
    );
    assert!(shown["before"].is_null());
    let digest = &shown["held"][0]["plan"].as_str().expect("a digest")[..12];
    for (language, wanted) in [
        (
            "en",
            [
                "Held after the merge (group hospital): medical: deletes 2 of 2 FeatureFlag, and none would be left.",
                "Once it is merged, someone with one of the roles approver, security, admin lets it pass: lockstep release --plan ",
                "what was changed on medical, voicedrive before is not known here",
                "Not known: no record of the systems is at hand here.",
            ],
        ),
        (
            "ja",
            [
                "マージ後に保留されます（グループ hospital）: medical: FeatureFlag 2件のうち2件を削除すると、1件も残りません。",
                "のいずれかの役割の人が解除できます: lockstep release --plan ",
                "medical, voicedrive のこれまでの変更は、ここでは分かりません。",
                "分かりません。システムの記録がここにはありません。",
            ],
        ),
    ] {
        let human = bare.run(&["proposal", "show", "1", "--lang", language]).out;
        assert!(human.contains(digest), "{human}");
        for text in wanted {
            assert!(human.contains(text), "{text}\n{human}");
        }
    }
    let comment = bare
        .run(&["proposal", "show", "1", "--format", "markdown"])
        .out;
    let third = comment
        .split("### What will happen on merge")
        .nth(1)
        .expect("three parts");
    assert!(
        third.contains("Held after the merge") && third.contains(digest),
        "{comment}"
    );
}

#[test]
fn what_passes_unasked_says_nothing() {
    let bare = Bare::new();
    // Of three grants one is revoked: safety does not wait for a release.
    bare.propose(0, &["access.readonly_users-=user101"]);
    let shown = bare.show(1);
    assert_eq!(rules(&shown), [""; 0]);
    assert_eq!(
        plan_status(&shown).1,
        "1 to delete, 0 to create, 0 to update"
    );
    // A flag that reaches nobody is no danger to be rid of, so that its end can wait.
    let rest = FLAGS.lines().filter(|l| !l.contains("old_banner"));
    let rest: Vec<&str> = rest.collect();
    let shown = proposed(
        &bare,
        "tidy",
        &[("config/feature-flags.json", &rest.join("\n"))],
    );
    assert_eq!(rules(&shown), ["medical FeatureFlag small_table"]);
}

/// All the time from long ago to far ahead, but for people with the role approver.
const FREEZE: &str = "freezes:\n  - {name: always, from: 2000-01-01, until: 2999-01-01, except: [narrowing, 'role:approver']}\n";

#[test]
fn in_a_freeze_a_role_lets_a_proposal_pass_and_the_engine_asks_for_it_again() {
    let bare = Bare::new();
    bare.push("main", &[("lockstep.yaml", &format!("{CONFIG}{FREEZE}"))]);
    bare.propose(1, &["flag.ai_assistant.rollout=20"]);
    let shown = bare.show(1);
    assert_eq!(shown["denials"][0]["code"], "freeze/widening");
    assert_eq!(
        rules(&shown),
        [
            "medical FeatureFlag freeze",
            "voicedrive FeatureFlag freeze"
        ]
    );
    bare.act(0, "approve", 1, "takahashi");
    let shown = bare.show(1);
    assert_eq!(shown["denials"], serde_json::json!([]));
    assert_eq!(rules(&shown).len(), 2);
    let human = bare.run(&["proposal", "show", "1"]).code(0).out;
    assert!(
        human.contains("After the freeze it is planned again"),
        "{human}"
    );
    // Narrowing is excepted for everyone.
    bare.propose(0, &["flag.ai_assistant.rollout=5"]);
    assert_eq!(rules(&bare.show(2)), [""; 0]);
}
