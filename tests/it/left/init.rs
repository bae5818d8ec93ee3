//! `lockstep init`: a repo that is right from its first commit.

use super::*;

#[test]
fn a_new_repo_passes_its_own_check_and_tests() {
    for language in ["en", "ja"] {
        let folder = Folder::new();
        let ran = folder.run(&["--lang", language, "init", "config"]).code(0);
        assert_eq!(ran.out, "");
        let repo = folder.join("config");
        let check = lockstep(&repo, &["check", "--format", "json"])
            .code(0)
            .json();
        assert_eq!(check["findings"], serde_json::json!([]), "{language}");
        lockstep(&repo, &["check", "--rev", "main"]).code(0);
        let tests = lockstep(&repo, &["policy", "test"]).code(0).out;
        assert!(tests.ends_with(" passed, 0 failed, 0 skipped\n"), "{tests}");
        assert!(!tests.contains(" 0 passed"), "{tests}");
        // Everything is in the first commit, on main.
        assert_eq!(git(&repo, &["status", "--porcelain"]), "");
        assert_eq!(git(&repo, &["rev-list", "--count", "main"]), "1");
        let plan = lockstep(&repo, &["plan"]).code(0).out;
        assert!(
            plan.contains("FeatureFlag") || plan.contains("ai_assistant"),
            "{plan}"
        );
    }
}

#[test]
fn the_first_proposal_works_in_it() {
    let folder = Folder::new();
    folder.run(&["init"]).code(0);
    let config = std::fs::read_to_string(folder.join("lockstep.yaml")).unwrap();
    let ran = folder.run(&[
        "propose",
        "--as",
        "someone",
        "--set",
        "flag.ai_assistant.rollout=20",
    ]);
    assert!(ran.code < 2, "{}\n{}\n{config}", ran.out, ran.err);
    assert!(ran.out.contains("10% → 20%"), "{}", ran.out);
}

#[test]
fn what_exists_is_never_overwritten() {
    let folder = Folder::new();
    folder
        .write("lockstep.yaml", "version: 1\n")
        .write("notes.txt", "x");
    let ran = folder.run(&["init"]).code(2);
    assert!(ran.err.contains("is not empty"), "{}", ran.err);
    assert!(!folder.join(".git").exists());
    let ran = folder.run(&["init", "--fill"]).code(0);
    assert!(
        ran.err.contains("kept as they were: lockstep.yaml"),
        "{}",
        ran.err
    );
    assert_eq!(
        std::fs::read_to_string(folder.join("lockstep.yaml")).unwrap(),
        "version: 1\n"
    );
    git(folder.path(), &["init", "-q", "--bare", "bare.git"]);
    folder.run(&["init", "bare.git"]).code(2);
}

#[test]
fn a_folder_made_by_git_init_is_empty_too() {
    let folder = Folder::new();
    git(folder.path(), &["init", "-q", "-b", "trunk"]);
    folder.run(&["init"]).code(0);
    assert_eq!(
        git(folder.path(), &["rev-parse", "--abbrev-ref", "HEAD"]),
        "main"
    );
    folder.run(&["check", "--rev", "main"]).code(0);
}

#[test]
fn the_shipped_policies_pass_their_tests_beside_the_sample() {
    let ran = lockstep(
        here(),
        &[
            "policy",
            "test",
            "--repo",
            ".",
            "--coverage",
            "--format",
            "json",
        ],
    )
    .code(0);
    let results = ran.json()["results"].as_array().unwrap().len();
    assert!(results > 50, "{results}");
    let check = lockstep(here(), &["check", "--format", "json"])
        .code(0)
        .json();
    assert_eq!(check["findings"], serde_json::json!([]));
}
