//! Whose approval counts, and for how long.

use super::*;

/// A proposal that needs two approvals and has them.
fn approved() -> Bare {
    let bare = Bare::new();
    bare.propose(0, &["flag.ai_assistant.rollout=25"]);
    bare.act(0, "approve", 1, "takahashi");
    bare.act(0, "approve", 1, "mori");
    assert_eq!(bare.statuses(1), GREEN);
    bare
}

/// The flags with the proposal's rollout.
fn raised() -> String {
    FLAGS.replace("  10,", "  25,")
}

#[test]
fn a_push_that_leaves_the_plan_keeps_them() {
    let bare = approved();
    let branch = bare.branch(1);
    let commented = raised().replace("// 段階公開中", "// 段階公開中。二段階目");
    bare.push(&branch, &[("config/feature-flags.json", &commented)]);
    assert_eq!(bare.statuses(1), GREEN);
    bare.act(0, "merge", 1, "mori");
}

#[test]
fn a_push_that_takes_away_from_the_plan_keeps_them() {
    let bare = Bare::new();
    bare.propose(
        0,
        &[
            "flag.ai_assistant.rollout=25",
            "access.readonly_users+=user102",
        ],
    );
    bare.act(0, "approve", 1, "takahashi");
    bare.act(0, "approve", 1, "mori");
    let branch = bare.branch(1);
    bare.push(&branch, &[("config/access-control.json", ACCESS)]);
    assert_eq!(bare.statuses(1), GREEN);
}

#[test]
fn a_push_that_adds_to_the_plan_voids_them() {
    let bare = approved();
    let branch = bare.branch(1);
    let more = ACCESS.replace("\"user002\"]", "\"user002\", \"user666\"]");
    bare.push(&branch, &[("config/access-control.json", &more)]);
    assert_eq!(bare.statuses(1)[3], "approval=pending");
    let shown = bare.show(1);
    let standings: Vec<&Value> = shown["reviews"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["counts"])
        .collect();
    assert_eq!(standings, [false, false]);
    let ran = bare.act(1, "merge", 1, "mori");
    assert!(ran.err.contains("0 of 2"), "{}", ran.err);
}

#[test]
fn another_value_for_the_same_resource_voids_them() {
    let bare = approved();
    let branch = bare.branch(1);
    bare.push(
        &branch,
        &[(
            "config/feature-flags.json",
            &FLAGS.replace("  10,", "  30,"),
        )],
    );
    assert_eq!(bare.statuses(1)[3], "approval=pending");
}

#[test]
fn a_change_of_definitions_voids_them() {
    for (file, text) in [
        (
            "policies/rollout.rego",
            "package lockstep\n\ndeny contains \"no\" if false\n".to_owned(),
        ),
        (
            "lockstep.yaml",
            CONFIG.replace("roles: [operator]", "roles: [operator, security]"),
        ),
        ("kinds/Ward.schema.json", r#"{"type": "object"}"#.to_owned()),
    ] {
        let bare = approved();
        let branch = bare.branch(1);
        bare.push(&branch, &[(file, &text)]);
        assert_eq!(bare.statuses(1)[3], "approval=pending", "{file}");
        bare.act(1, "merge", 1, "mori");
        // Taken back, what was approved is there again.
        let clone = bare.clone();
        git(&clone, &["checkout", "-q", &branch]);
        git(&clone, &["revert", "--no-edit", "HEAD"]);
        git(&clone, &["push", "-q", "origin", &branch]);
        assert_eq!(bare.statuses(1), GREEN, "{file}");
    }
}

/// What no plan shows, because it is for no system: an open incident keeps rollouts from being raised, so its end is no trifle.
#[test]
fn a_change_that_no_plan_shows_voids_them() {
    let name = "incidents/2025-09-15-db-pool.md";
    let resolved = include_str!("../../../shared-config/incidents/2025-09-15-db-pool.md");
    let open = resolved
        .replace("status: resolved", "status: open")
        .replace("resolved_at: 2025-09-15T09:31\n", "");
    for (file, old, new) in [
        (name, open.as_str(), resolved.to_owned()),
        (
            "docs/howto.md",
            "# 手順\n",
            "# 手順\n\nもう一行\n".to_owned(),
        ),
    ] {
        let bare = Bare::new();
        bare.push("main", &[(file, old)]);
        bare.propose(0, &["access.readonly_users+=user102"]);
        let branch = bare.branch(1);
        let before = bare.show(1)["scope"].clone();
        bare.push(&branch, &[(file, &new)]);
        let after = bare.show(1)["scope"].clone();
        assert_ne!(before, after, "{file}");
    }
    let bare = Bare::new();
    bare.push("main", &[(name, &open)]);
    bare.propose(0, &["access.readonly_users+=user102"]);
    bare.act(0, "approve", 1, "takahashi");
    bare.act(0, "approve", 1, "mori");
    assert_eq!(bare.statuses(1), GREEN);
    let branch = bare.branch(1);
    bare.push(&branch, &[(name, resolved)]);
    assert_eq!(bare.statuses(1)[3], "approval=pending");
    // Given with it, they hold.
    bare.act(0, "approve", 1, "takahashi");
    bare.act(0, "approve", 1, "mori");
    assert_eq!(bare.statuses(1), GREEN);
    // A comment in data is no change.
    let commented = FLAGS.replace("// 段階公開中", "// 段階公開中。二段階目");
    bare.push(&branch, &[("config/feature-flags.json", &commented)]);
    assert_eq!(bare.statuses(1), GREEN);
}

#[test]
fn main_moving_on_keeps_them_where_the_plan_is_the_same() {
    let bare = approved();
    let more = ACCESS.replace("[\"user101\"]", "[\"user101\", \"user109\"]");
    bare.push("main", &[("config/access-control.json", &more)]);
    assert_eq!(bare.statuses(1), GREEN);
    bare.act(0, "merge", 1, "mori");
    // The merge has both.
    assert!(
        bare.file("main", "config/access-control.json")
            .contains("user109")
    );
    assert!(
        bare.file("main", "config/feature-flags.json")
            .contains("  25,")
    );
}

#[test]
fn authors_and_strangers_can_not_approve() {
    let bare = Bare::new();
    bare.propose(0, &["flag.ai_assistant.rollout=25"]);
    let ran = bare.act(1, "approve", 1, "sato");
    assert!(
        ran.err
            .contains("the author of a proposal can't approve it"),
        "{}",
        ran.err
    );
    let ran = bare.act(1, "approve", 1, "mallory");
    assert!(
        ran.err.contains("mallory is not under people:"),
        "{}",
        ran.err
    );
    assert!(
        ran.err
            .contains("known are: mori, sato, takahashi, watanabe"),
        "{}",
        ran.err
    );
    assert_eq!(bare.show(1)["reviews"], serde_json::json!([]));
    let ran = bare.act(1, "merge", 1, "mallory");
    assert!(
        ran.err.contains("mallory is not under people:"),
        "{}",
        ran.err
    );
}

#[test]
fn one_person_counts_once_by_either_name() {
    let bare = Bare::new();
    bare.propose(0, &["flag.ai_assistant.rollout=25"]);
    bare.act(0, "approve", 1, "mori");
    bare.act(0, "approve", 1, "mori-r");
    assert_eq!(bare.statuses(1)[3], "approval=pending");
    assert_eq!(
        bare.show(1)["approvals"][0]["satisfied_by"],
        serde_json::json!(["mori"])
    );
}

#[test]
fn an_objection_blocks_until_its_author_approves() {
    let bare = approved();
    let ran = bare
        .run(&[
            "proposal",
            "request-changes",
            "1",
            "--as",
            "watanabe",
            "-m",
            "来週にしてください",
        ])
        .code(0);
    assert!(
        ran.err.contains("changes requested by watanabe"),
        "{}",
        ran.err
    );
    let ran = bare.run(&["proposal", "show", "1"]).code(1);
    assert!(
        ran.out.contains("changes requested by watanabe"),
        "{}",
        ran.out
    );
    let markdown = bare
        .run(&["proposal", "show", "1", "--format", "markdown"])
        .code(1)
        .out;
    assert!(markdown.contains("## ❌"), "{markdown}");
    bare.act(1, "merge", 1, "mori");
    // A push does not take it away.
    let branch = bare.branch(1);
    let commented = raised().replace("// 段階公開中", "// 段階公開中。来週");
    bare.push(&branch, &[("config/feature-flags.json", &commented)]);
    assert_eq!(bare.statuses(1)[3], "approval=failure");
    bare.act(0, "approve", 1, "watanabe");
    assert_eq!(bare.statuses(1), GREEN);
}

#[test]
fn who_withdraws_an_approval_is_missing_again() {
    let bare = approved();
    bare.run(&[
        "proposal",
        "request-changes",
        "1",
        "--as",
        "mori",
        "-m",
        "待って",
    ])
    .code(0);
    assert_eq!(bare.statuses(1)[3], "approval=failure");
    assert_eq!(
        bare.show(1)["approvals"][0]["satisfied_by"],
        serde_json::json!(["takahashi"])
    );
}

#[test]
fn narrowing_needs_one() {
    let bare = Bare::new();
    bare.propose(0, &["flag.ai_assistant.rollout=5"]);
    bare.act(0, "approve", 1, "watanabe");
    assert_eq!(bare.statuses(1), GREEN);
}

#[test]
fn who_has_no_name_is_nobody() {
    let bare = Bare::new();
    bare.propose(0, &["flag.ai_assistant.rollout=25"]);
    for nobody in ["", " ", "\u{200b}"] {
        for what in ["approve", "merge"] {
            let ran = bare.act(1, what, 1, nobody);
            assert!(!ran.err.is_empty(), "{nobody:?} {what}");
        }
    }
    assert_eq!(bare.show(1)["reviews"], serde_json::json!([]));
}
