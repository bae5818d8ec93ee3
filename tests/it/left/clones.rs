//! Proposing from a clone: what was edited there becomes a proposal where the others see it.

use super::*;

fn status(clone: &Path) -> String {
    git(
        clone,
        &["status", "--porcelain=v1", "--untracked-files=all"],
    )
}

#[test]
fn what_was_edited_in_a_clone_is_proposed_in_its_origin() {
    let bare = Bare::new();
    let clone = bare.clone();
    write(
        &clone,
        "config/feature-flags.json",
        FLAGS.replace("  10,", "  25,"),
    );
    write(
        &clone,
        "alerts/power.md",
        "# 停電\n\n時刻: 21:00\n影響: 検査室\n対応: 予備電源\n",
    );
    // Something is staged already, and stays so.
    write(
        &clone,
        "config/access-control.json",
        ACCESS.replace("user101", "user109"),
    );
    git(&clone, &["add", "config/access-control.json"]);
    let before = status(&clone);
    let index = std::fs::read(clone.join(".git/index")).unwrap();

    let ran = lockstep(
        &clone,
        &["propose", "--as", "sato", "--title", "停電のお知らせ"],
    )
    .code(0);
    assert!(ran.err.contains("of origin,"), "{}", ran.err);
    assert!(ran.err.contains("config.git"), "{}", ran.err);
    assert_eq!(status(&clone), before);
    assert_eq!(std::fs::read(clone.join(".git/index")).unwrap(), index);
    assert_eq!(git(&clone, &["rev-parse", "--abbrev-ref", "HEAD"]), "main");

    let head = bare.show(1)["proposal"]["head"]
        .as_str()
        .unwrap()
        .to_owned();
    let changed = bare.git(&["diff", "--name-only", "main", &head]);
    assert_eq!(
        changed,
        "alerts/power.md\nconfig/access-control.json\nconfig/feature-flags.json"
    );

    // From the clone as from the repository itself.
    let shown = lockstep(&clone, &["proposal", "list"]).code(0).out;
    assert!(shown.contains("停電のお知らせ"), "{shown}");
    lockstep(&clone, &["proposal", "approve", "1", "--as", "takahashi"]).code(0);
    lockstep(&clone, &["proposal", "approve", "1", "--as", "mori"]).code(0);
    lockstep(&clone, &["proposal", "merge", "1", "--as", "mori"]).code(0);
    assert!(bare.file("main", "alerts/power.md").contains("停電"));
    // The clone has no proposals of its own.
    assert_eq!(
        git(&clone, &["for-each-ref", "refs/notes", "refs/lockstep"]),
        ""
    );
}

#[test]
fn edits_by_set_in_a_clone_go_there_too() {
    let bare = Bare::new();
    let clone = bare.clone();
    lockstep(
        &clone,
        &[
            "propose",
            "--as",
            "sato",
            "--set",
            "flag.ai_assistant.rollout=25",
        ],
    )
    .code(0);
    assert_eq!(bare.statuses(1)[2], "plan=success");
    assert_eq!(status(&clone), "");
    lockstep(
        &clone,
        &[
            "propose",
            "--as",
            "sato",
            "--update",
            "1",
            "--set",
            "flag.ai_assistant.rollout=20",
        ],
    )
    .code(0);
    let head = bare.show(1)["proposal"]["head"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        bare.file(&head, "config/feature-flags.json")
            .contains("  20,")
    );
}

#[test]
fn who_someone_is_may_be_set_in_the_clone() {
    let bare = Bare::new();
    let clone = bare.clone();
    git(&clone, &["config", "user.name", "watanabe"]);
    git(&clone, &["config", "user.email", "watanabe@example.com"]);
    lockstep(&clone, &["propose", "--set", "flag.ai_assistant.rollout=5"]).code(0);
    assert_eq!(bare.show(1)["proposal"]["author"], "watanabe");
    let ran = lockstep(&clone, &["proposal", "approve", "1"]).code(1);
    assert!(ran.err.contains("the author"), "{}", ran.err);
}

#[test]
fn a_clone_with_nothing_to_propose_says_so() {
    let bare = Bare::new();
    let clone = bare.clone();
    let ran = lockstep(&clone, &["propose", "--as", "sato"]).code(2);
    assert!(
        ran.err.contains("the work tree has no changes to propose"),
        "{}",
        ran.err
    );
    assert_eq!(bare.run(&["proposal", "list", "--all"]).code(0).out, "");
}

#[test]
fn a_clone_that_is_behind_proposes_against_today() {
    let bare = Bare::new();
    let clone = bare.clone();
    bare.push("main", &[("README.md", "# 設定\n")]);
    write(
        &clone,
        "config/feature-flags.json",
        FLAGS.replace("  10,", "  25,"),
    );
    lockstep(&clone, &["propose", "--as", "sato"]).code(0);
    assert_eq!(bare.statuses(1)[0], "check=success");
    let plan = &bare.show(1)["plan"]["systems"]["medical"];
    assert_eq!(plan["changes"].as_array().unwrap().len(), 1);
}

#[test]
fn a_branch_that_was_pushed_is_proposed_by_name() {
    let bare = Bare::new();
    bare.git(&["branch", "raise", "main"]);
    bare.push(
        "raise",
        &[(
            "config/feature-flags.json",
            &FLAGS.replace("  10,", "  25,"),
        )],
    );
    let clone = bare.clone();
    lockstep(&clone, &["propose", "--as", "sato", "--branch", "raise"]).code(0);
    let shown = bare.show(1);
    assert_eq!(shown["proposal"]["title"], "a push");
    assert_eq!(shown["proposal"]["branch"], "raise");
    let ran = lockstep(&clone, &["propose", "--as", "sato", "--branch", "raise"]).code(2);
    assert!(ran.err.contains("proposal #1 is open"), "{}", ran.err);
    let ran = lockstep(&clone, &["propose", "--as", "sato", "--branch", "main"]).code(2);
    assert!(ran.err.contains("main is the main branch"), "{}", ran.err);
    // A name for a branch that is not there yet.
    lockstep(
        &clone,
        &[
            "propose",
            "--as",
            "sato",
            "--branch",
            "mine",
            "--set",
            "flag.ai_assistant.rollout=5",
        ],
    )
    .code(0);
    assert_eq!(bare.branch(2), "mine");
}

#[test]
fn a_clone_of_a_repository_elsewhere_says_what_to_push() {
    let bare = Bare::new();
    let clone = bare.clone();
    git(
        &clone,
        &[
            "remote",
            "set-url",
            "origin",
            "https://sato:secret@git.invalid/config.git",
        ],
    );
    let ran = lockstep(
        &clone,
        &[
            "propose",
            "--as",
            "sato",
            "--set",
            "flag.ai_assistant.rollout=25",
        ],
    )
    .code(0);
    assert!(ran.err.contains("git push origin proposal/"), "{}", ran.err);
    assert!(
        ran.err.contains("'refs/notes/*:refs/notes/*'"),
        "{}",
        ran.err
    );
    assert!(!ran.err.contains("secret"), "{}", ran.err);
    lockstep(&clone, &["proposal", "show", "1"]).code(0);
    assert_eq!(bare.run(&["proposal", "list"]).code(0).out, "");
}
