//! Promise 3: what judges a proposal is read at its base, never from the proposal.

use super::*;

/// Opens a proposal from a pushed branch with these files.
fn pushed(bare: &Bare, code: i32, files: &[(&str, &str)]) -> Ran {
    bare.git(&["branch", "change", "main"]);
    bare.push("change", files);
    bare.run(&["propose", "--as", "sato", "--branch", "change"])
        .code(code)
}

#[test]
fn promise_03_judged_by_the_base() {
    // The step is raised to 100 in the very proposal that jumps by 60.
    let bare = Bare::new();
    let loosened = bare
        .file("main", "policies/rollout.rego")
        .replace("rollout_step := 25", "rollout_step := 100");
    let ran = pushed(
        &bare,
        1,
        &[
            ("policies/rollout.rego", &loosened),
            (
                "config/feature-flags.json",
                &FLAGS.replace("  10,", "  70,"),
            ),
        ],
    );
    assert!(ran.out.contains("at most 25 points"), "{}", ran.out);
    assert_eq!(bare.statuses(1)[1], "policy=failure");

    // Merged by itself, with the approvals that rules need, it judges the next one.
    let branch = bare.branch(1);
    bare.push(&branch, &[("config/feature-flags.json", FLAGS)]);
    bare.act(0, "approve", 1, "takahashi");
    bare.act(0, "approve", 1, "mori");
    assert_eq!(bare.statuses(1), GREEN);
    bare.act(0, "merge", 1, "mori");
    bare.propose(0, &["flag.ai_assistant.rollout=70"]);
}

#[test]
fn promise_03_people_come_from_the_base() {
    // A second self in the proposal's own people: approves nothing.
    let bare = Bare::new();
    let more =
        format!("{CONFIG}  mallory: {{name: M, forge: mallory, roles: [security, approver]}}\n");
    pushed(&bare, 0, &[("lockstep.yaml", &more)]);
    let ran = bare.act(1, "approve", 1, "mallory");
    assert!(
        ran.err.contains("mallory is not under people:"),
        "{}",
        ran.err
    );
    bare.act(1, "merge", 1, "mallory");
}

#[test]
fn promise_03_freezes_come_from_the_base() {
    let frozen = format!(
        "{CONFIG}freezes:\n  - {{name: long, from: 2000-01-01T00:00+09:00, until: 2099-01-01T00:00+09:00, except: [narrowing]}}\n"
    );
    let bare = Bare::new();
    bare.push("main", &[("lockstep.yaml", &frozen)]);
    let ran = pushed(
        &bare,
        1,
        &[
            ("lockstep.yaml", CONFIG),
            (
                "config/feature-flags.json",
                &FLAGS.replace("  10,", "  20,"),
            ),
        ],
    );
    assert!(ran.out.contains("long"), "{}", ran.out);
    assert_eq!(bare.statuses(1)[1], "policy=failure");
}

#[test]
fn a_broken_policy_is_refused_before_it_locks_the_gate() {
    for (file, text, said) in [
        (
            "policies/own.rego",
            "package lockstep\n\ndeny contains msg if {\n",
            "policies/own.rego",
        ),
        (
            "policies/own.rego",
            "package lockstep\n\ndeny contains \"x\" if time.now_ns() > 0\n",
            "policies/own.rego:3",
        ),
        (
            "policies/own_test.rego",
            "package lockstep\n\ntest_x if {{{\n",
            "policies/own_test.rego",
        ),
    ] {
        let bare = Bare::new();
        let ran = pushed(&bare, 1, &[(file, text)]);
        assert!(ran.out.contains(said), "{}", ran.out);
        assert_eq!(
            bare.statuses(1),
            [
                "check=failure",
                "policy=pending",
                "plan=failure",
                "approval=pending"
            ],
            "{text}"
        );
        bare.act(0, "approve", 1, "takahashi");
        bare.act(0, "approve", 1, "mori");
        bare.act(1, "merge", 1, "mori");
        // Corrected, it goes through.
        let branch = bare.branch(1);
        bare.push(
            &branch,
            &[(file, "package lockstep\n\nwarn contains \"x\" if false\n")],
        );
        bare.act(0, "approve", 1, "takahashi");
        bare.act(0, "approve", 1, "mori");
        bare.act(0, "merge", 1, "mori");
    }
}

#[test]
fn the_last_policy_can_not_be_deleted() {
    let bare = Bare::new();
    let clone = bare.clone();
    git(&clone, &["checkout", "-q", "-b", "change"]);
    git(&clone, &["rm", "-qr", "policies"]);
    git(&clone, &["commit", "-qm", "no policies"]);
    git(&clone, &["push", "-q", "origin", "change"]);
    let ran = bare
        .run(&["propose", "--as", "sato", "--branch", "change"])
        .code(1);
    assert!(
        ran.out
            .contains("error[policy/missing]: no policy would be left"),
        "{}",
        ran.out
    );
    assert_eq!(bare.statuses(1)[0], "check=failure");
}

#[test]
fn where_the_base_has_no_policies_everything_is_denied() {
    let bare = Bare::new();
    let clone = bare.clone();
    git(&clone, &["rm", "-qr", "policies"]);
    git(&clone, &["commit", "-qm", "no policies"]);
    git(&clone, &["push", "-q", "origin", "main"]);
    let ran = bare.propose(1, &["flag.ai_assistant.rollout=11"]);
    assert!(ran.out.contains("there are no policies"), "{}", ran.out);
    assert_eq!(bare.statuses(1)[1], "policy=failure");
    assert_ne!(bare.statuses(1)[3], "approval=success");
}

#[test]
fn lockstep_s_own_way_to_the_systems_is_not_blocked() {
    let bare = Bare::new();
    let ran = bare.propose(1, &["access.blocked_ips+=127.0.0.1"]);
    assert!(
        ran.out.contains("over which Lockstep reaches the systems"),
        "{}",
        ran.out
    );
    // The policy is told where the change stands, and the plan shows it.
    let shown = bare.show(1);
    let change = &shown["plan"]["systems"]["medical"]["changes"][0];
    assert_eq!(
        (&change["path"], &change["line"]),
        (&"config/access-control.json".into(), &4.into())
    );
}

#[test]
fn merges_at_the_same_time_all_happen_or_say_why() {
    let bare = Bare::new();
    let edits = [
        "flag.ai_assistant.rollout=9",
        "access.readonly_users-=user101",
        "flag.old_banner.description=古い",
    ];
    for (number, edit) in (1..).zip(edits) {
        bare.propose(0, &[edit]);
        bare.act(0, "approve", number, "mori");
    }
    let path = bare.path();
    let merged: Vec<Ran> = std::thread::scope(|scope| {
        let merges: Vec<_> = (1..=3)
            .map(|n: u64| {
                let path = &path;
                scope.spawn(move || {
                    lockstep(path, &["proposal", "merge", &n.to_string(), "--as", "mori"])
                })
            })
            .collect();
        merges.into_iter().map(|m| m.join().unwrap()).collect()
    });
    for ran in merged {
        ran.code(0);
    }
    assert_eq!(
        bare.git(&["rev-list", "--count", "--first-parent", "main"]),
        "4"
    );
    assert_eq!(bare.git(&["rev-list", "--count", "--merges", "main"]), "3");
    let flags = bare.file("main", "config/feature-flags.json");
    assert!(flags.contains("  9,") && flags.contains("古い"), "{flags}");
    assert!(
        !bare
            .file("main", "config/access-control.json")
            .contains("user101")
    );
}
