//! Ways to get something onto main that nobody agreed to.

use super::*;

#[test]
fn a_commit_pushed_to_main() {
    let server = Server::new();
    let clone = server.clone("direct");
    clone.commit("main", &[("config/access-control.json", &widened())]);
    clone.is_refused(
        &server,
        &["main"],
        &[
            "refs/heads/main: ",
            "is no merge of a proposal",
            "lockstep propose --branch NAME",
        ],
    );
    clone.is_refused(&server, &["-f", "main"], &["is no merge of a proposal"]);
}

/// One more admin.
fn widened() -> String {
    ACCESS.replace("\"user002\"]", "\"user002\", \"user666\"]")
}

#[test]
fn a_forced_push_of_another_or_an_older_history() {
    let server = Server::new();
    server.approved();
    server.bare.act(0, "merge", 1, "mori");
    let clone = server.clone("force");
    clone.is_refused(&server, &["-f", "main~1:main"], &["it would lose commits"]);
    clone.git(&["checkout", "-q", "--orphan", "other"]);
    clone.git(&["commit", "-qm", "another history"]);
    clone.is_refused(&server, &["-f", "other:main"], &["it would lose commits"]);
    clone.git(&["checkout", "-q", "main"]);
    clone.git(&["commit", "-q", "--amend", "-m", "the same, but mine"]);
    clone.is_refused(&server, &["-f", "main"], &["it would lose commits"]);
}

#[test]
fn main_deleted_and_pushed_anew() {
    let server = Server::new();
    let clone = server.clone("delete");
    // git itself refuses to delete the branch that HEAD names, unless it is told not to.
    server
        .bare
        .git(&["config", "receive.denyDeleteCurrent", "ignore"]);
    clone.is_refused(&server, &[":main"], &["the main branch can't be deleted"]);
}

#[test]
fn a_merge_with_other_content() {
    let server = Server::new();
    server.approved();
    let clone = server.clone("evil");
    clone.git(&[
        "merge",
        "-q",
        "--no-ff",
        "--no-commit",
        "refs/lockstep/heads/1",
    ]);
    write(&clone.path, "config/access-control.json", widened());
    clone.git(&["add", "-A"]);
    clone.git(&["commit", "-qm", "Merge proposal #1"]);
    clone.is_refused(
        &server,
        &["main"],
        &[
            "is not what merging proposal 1 gives",
            "config/access-control.json",
        ],
    );
    // Nor with less than it says.
    clone.git(&["reset", "-q", "--hard", "origin/main"]);
    clone.git(&[
        "merge",
        "-q",
        "-s",
        "ours",
        "--no-edit",
        "refs/lockstep/heads/1",
    ]);
    clone.is_refused(
        &server,
        &["main"],
        &[
            "is not what merging proposal 1 gives",
            "config/feature-flags.json",
        ],
    );
}

#[test]
fn merges_of_a_shape_of_their_own() {
    let server = Server::new();
    server.approved();
    server.bare.propose(0, &["access.readonly_users+=user102"]);
    server.bare.act(0, "approve", 2, "takahashi");
    server.bare.act(0, "approve", 2, "watanabe");
    let clone = server.clone("shapes");
    let commit = |tree: &str, parents: &[&str]| {
        let tree = format!("{tree}^{{tree}}");
        let mut arguments = vec!["commit-tree", &tree, "-m", "Merge"];
        arguments.extend(parents.iter().flat_map(|p| ["-p", p]));
        clone.git(&arguments)
    };
    let to_main = |commit: &str| format!("{commit}:refs/heads/main");
    let (one, two) = ("refs/lockstep/heads/1", "refs/lockstep/heads/2");

    clone.git(&["merge", "-q", "--no-ff", "--no-edit", one, two]);
    clone.is_refused(
        &server,
        &["main"],
        &["has 3 parents", "one proposal at a time"],
    );
    let wrong = commit(one, &[one, "origin/main"]);
    clone.is_refused(&server, &[&to_main(&wrong)], &["the wrong way round"]);
    let clash = commit("origin/main", &[&commit(one, &[one]), "origin/main"]);
    clone.is_refused(&server, &[&to_main(&clash)], &["the wrong way round"]);
    // The head itself, without a merge.
    clone.is_refused(
        &server,
        &[&format!("{one}:refs/heads/main")],
        &["is no merge of a proposal"],
    );
    // A step between, though the end is the same.
    let empty = commit("origin/main", &["origin/main"]);
    let late = commit(one, &[&empty, one]);
    clone.is_refused(&server, &[&to_main(&late)], &["is no merge of a proposal"]);
    // The same parent twice.
    let twice = commit("origin/main", &["origin/main", &empty]);
    clone.is_refused(
        &server,
        &[&to_main(&twice)],
        &["the head of no proposal here"],
    );
    // Rightly made, by the same tools.
    clone.pushes(&[&to_main(&commit(one, &["origin/main", one]))]);
}

#[test]
fn an_approval_of_an_older_head() {
    let server = Server::new();
    server.approved();
    let branch = server.bare.branch(1);
    let clone = server.clone("later");
    clone.git(&["checkout", "-q", "-b", &branch, &format!("origin/{branch}")]);
    clone.commit(&branch, &[("config/access-control.json", &widened())]);
    clone.pushes(&[&branch]);

    clone.git(&["checkout", "-q", "main"]);
    clone.git(&["merge", "-q", "--no-ff", "--no-edit", &branch]);
    clone.is_refused(
        &server,
        &["main"],
        &[
            "proposal 1 may not be merged yet",
            "lockstep/approval: 0 of 2",
        ],
    );
    // The head that was approved is not the proposal any more.
    clone.git(&["reset", "-q", "--hard", "origin/main"]);
    clone.git(&[
        "merge",
        "-q",
        "--no-ff",
        "--no-edit",
        &format!("{branch}~1"),
    ]);
    clone.is_refused(&server, &["main"], &["but proposal 1 has moved on to"]);
    // Not even by the push that takes the branch back does it pass unseen: it is judged, and was approved.
    clone.pushes(&["-f", "main", &format!("{branch}~1:refs/heads/{branch}")]);
    assert_eq!(server.state(1), "merged");
    assert_eq!(server.file("config/access-control.json"), ACCESS);
}

#[test]
fn rules_that_are_loosened_in_the_same_proposal() {
    let lax = "package lockstep\n\nimport data.lockstep.lib\n";
    let nobody = CONFIG.replace("roles: [operator]", "roles: [operator, security, approver]");
    for (file, text) in [
        ("policies/approvals.rego", lax),
        ("lockstep.yaml", nobody.as_str()),
    ] {
        let server = Server::new();
        let clone = server.clone("lax");
        clone.commit(
            "lax",
            &[(file, text), ("config/access-control.json", &widened())],
        );
        clone
            .run(&["propose", "--as", "watanabe", "--branch", "lax"])
            .code(0);
        clone.git(&["checkout", "-q", "main"]);
        clone.git(&["merge", "-q", "--no-ff", "--no-edit", "lax"]);
        clone.is_refused(
            &server,
            &["main", "lax", NOTES, PROPOSALS],
            &[
                "proposal 1 may not be merged yet",
                "0 of 2",
                "it changes the rules",
            ],
        );
        // All policies gone leave nothing that allows.
        clone.git(&["checkout", "-q", "lax"]);
        clone.git(&["rm", "-rq", "policies"]);
        clone.git(&["commit", "-qm", "no rules at all"]);
        clone.git(&["checkout", "-q", "main"]);
        clone.git(&["reset", "-q", "--hard", "origin/main"]);
        clone.git(&["merge", "-q", "--no-ff", "--no-edit", "lax"]);
        clone.is_refused(
            &server,
            &["main", "lax", NOTES, PROPOSALS],
            &[
                "proposal 1 may not be merged yet",
                "no policy would be left",
            ],
        );
    }
}

#[test]
fn what_nobody_proposed_or_somebody_closed() {
    let server = Server::new();
    server.approved();
    let clone = server.clone("closed");
    clone.commit("mine", &[("README.md", "# 設定\n")]);
    clone.git(&["checkout", "-q", "main"]);
    clone.git(&["merge", "-q", "--no-ff", "--no-edit", "mine"]);
    clone.is_refused(
        &server,
        &["main", "mine"],
        &[
            "the head of no proposal here",
            "lockstep propose --branch NAME",
        ],
    );
    clone.git(&["reset", "-q", "--hard", "origin/main"]);
    clone.merge_by_hand(1);
    server.bare.act(0, "close", 1, "takahashi");
    clone.is_refused(&server, &["main"], &["proposal 1 is closed"]);
    // Merged once, it is no ticket for more.
    let server = Server::new();
    server.approved();
    server.bare.act(0, "merge", 1, "mori");
    let clone = server.clone("again");
    let head = "refs/lockstep/heads/1";
    let tree = clone.git(&["rev-parse", "main~1^{tree}"]);
    let back = clone.git(&["commit-tree", &tree, "-p", "main", "-p", head, "-m", "back"]);
    clone.is_refused(
        &server,
        &[&format!("{back}:refs/heads/main")],
        &["proposal 1 is merged already"],
    );
}

#[test]
fn a_refused_reference_refuses_the_push() {
    let server = Server::new();
    server.approved();
    let clone = server.clone("mixed");
    clone.merge_by_hand(1);
    clone.git(&["tag", "heads/main"]);
    clone.is_refused(
        &server,
        &["main", "refs/tags/heads/main"],
        &["refs/tags/heads/main: a tag named"],
    );
    assert_eq!(server.state(1), "open");
    clone.pushes(&["main"]);
}

#[test]
fn the_environment_of_who_pushes_chooses_no_other_settings() {
    let server = Server::new();
    let clone = server.clone("settings");
    let settings = clone.path.join("mine.toml");
    std::fs::write(&settings, "branch = \"other\"\n").unwrap();
    clone.commit("main", &[("README.md", "# 設定\n")]);
    let output = alone("git", &clone.path)
        .env("LOCKSTEP_SETTINGS", &settings)
        .args(["push", "origin", "main"])
        .output();
    let ran = Ran::of(output.unwrap()).code(1);
    assert!(ran.err.contains("is no merge of a proposal"), "{}", ran.err);
}
