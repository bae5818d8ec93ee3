use super::*;

/// A clone with a work tree, as a person has it.
fn cloned(files: &[(&str, Option<&str>)]) -> (Bare, tempfile::TempDir, Repo) {
    let bare = Bare::new();
    bare.commit("main", files);
    let folder = tempfile::tempdir().unwrap();
    git(
        folder.path(),
        &["clone", "-q", bare.repo.path().to_str().unwrap(), "."],
    );
    let repo = Repo::open(folder.path()).unwrap();
    (bare, folder, repo)
}

fn sample() -> (Bare, tempfile::TempDir, Repo) {
    cloned(&[
        (".gitignore", Some("/shared-config/target/\nsecret.json\n")),
        ("policies/a.rego", Some("package lockstep")),
        ("src/main.rs", Some("fn main() {}")),
        ("shared-config/lockstep.yaml", Some("version: 1\n")),
        ("shared-config/config/a.json", Some("{}")),
        ("shared-config/config/b.json", Some("{}")),
    ])
}

#[test]
fn files_as_they_lie_are_what_a_commit_of_them_would_hold() {
    let (_bare, folder, repo) = sample();
    let head = repo.resolve("HEAD").unwrap();
    let (lying, committed) = (
        repo.snapshot_work_tree().unwrap(),
        repo.snapshot(&head).unwrap(),
    );
    let contents = |snapshot: &Snapshot| {
        let both = snapshot.files.iter().chain(&snapshot.policies);
        both.map(|(path, blob)| (path.clone(), blob.content.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(contents(&lying), contents(&committed));
    assert_eq!(lying.revision, None);
    assert_eq!(repo.prefix(), "shared-config/");

    // The same from the folder itself, and from one inside it.
    for inside in ["shared-config", "shared-config/config"] {
        let repo = Repo::open(&folder.path().join(inside)).unwrap();
        assert_eq!(
            contents(&repo.snapshot_work_tree().unwrap()),
            contents(&committed)
        );
        assert_eq!(repo.snapshot(&head).unwrap(), committed);
        assert_eq!(repo.prefix(), "shared-config/");
    }
}

#[test]
fn a_plain_folder_has_its_policies_in_it_or_beside_shared_config() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    };
    for name in [
        "policies/p.rego",
        "shared-config/lockstep.yaml",
        "other/lockstep.yaml",
        "other/target/built.json",
        "other/config/target/kept.json",
        "other/.hidden/a.json",
    ] {
        write(name);
    }
    let read = |inside: &str| {
        let repo = Repo::open(&folder.path().join(inside)).unwrap();
        names(&repo.snapshot_work_tree().unwrap())
    };
    assert_eq!(
        read("shared-config"),
        ["lockstep.yaml", "[policies/p.rego]"]
    );
    assert_eq!(read(""), ["lockstep.yaml", "[policies/p.rego]"]);
    assert_eq!(read("other"), ["lockstep.yaml"]);
}

#[cfg(unix)]
#[test]
fn links_pipes_and_nested_repositories_are_not_entered() {
    use std::os::unix::ffi::OsStrExt as _;
    let (_bare, folder, repo) = sample();
    let config = folder.path().join("shared-config");
    std::os::unix::fs::symlink("/etc", config.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", config.join("users.json")).unwrap();
    git(&config, &["init", "-q", "nested"]);
    std::fs::write(config.join("nested/x.json"), "{}").unwrap();
    std::fs::write(config.join(OsStr::from_bytes(b"\xff.json")), "{}").unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(config.join("pipe.json"))
            .status()
            .unwrap()
            .success()
    );
    let snapshot = repo.snapshot_work_tree().unwrap();
    let content = |name: &str| snapshot.files[&path(name)].content.clone();
    assert_eq!(content("elsewhere"), Content::Symlink);
    assert_eq!(content("users.json"), Content::Symlink);
    assert_eq!(content("nested"), Content::Submodule);
    assert_eq!(
        snapshot.unreadable,
        [Unreadable {
            name: "\u{fffd}.json".to_owned(),
            why: Unnamed::NoText
        }]
    );
    assert_eq!(content("pipe.json"), Content::Odd(Odd::Pipe));
}

#[test]
fn changes_become_a_commit_on_a_branch_and_nothing_else_moves() {
    let (_bare, folder, repo) = sample();
    let root = folder.path();
    let propose =
        |branch: &str| repo.commit_work_tree_changes(branch, "提案", &who(), at(1_760_000_100));
    assert_eq!(propose("nothing").unwrap(), None);

    std::fs::write(root.join("shared-config/config/a.json"), "{\"x\": 1}").unwrap();
    std::fs::remove_file(root.join("shared-config/config/b.json")).unwrap();
    std::fs::create_dir_all(root.join("shared-config/alerts")).unwrap();
    std::fs::write(root.join("shared-config/alerts/新.md"), "# 新").unwrap();
    std::fs::write(root.join("shared-config/config/secret.json"), "{}").unwrap();
    std::fs::create_dir_all(root.join("shared-config/target")).unwrap();
    std::fs::write(root.join("shared-config/target/out.json"), "{}").unwrap();
    std::fs::write(root.join("policies/b.rego"), "package lockstep").unwrap();
    // Not of the config repo.
    std::fs::write(root.join("src/main.rs"), "fn main() { }").unwrap();
    let before = git(root, &["status", "--porcelain=v2", "--branch", "-uall"]);

    let made = propose("proposal/1").unwrap().unwrap();
    assert_eq!(
        made.paths.iter().map(DocPath::as_str).collect::<Vec<_>>(),
        [
            "policies/b.rego",
            "alerts/新.md",
            "config/a.json",
            "config/b.json"
        ]
    );
    assert_eq!(
        git(root, &["status", "--porcelain=v2", "--branch", "-uall"]),
        before
    );
    assert_eq!(
        git(
            root,
            &[
                "-c",
                "core.quotePath=false",
                "diff",
                "--name-status",
                "HEAD",
                "proposal/1"
            ]
        ),
        "A\tpolicies/b.rego\nA\tshared-config/alerts/新.md\nM\tshared-config/config/a.json\n\
         D\tshared-config/config/b.json\n"
    );
    assert!(matches!(
        propose("proposal/1"),
        Err(RepoError::Invalid(m)) if m.contains("already")
    ));
}

#[test]
fn staged_changes_are_proposed_as_the_files_are() {
    let (_bare, folder, repo) = sample();
    let root = folder.path();
    std::fs::write(root.join("shared-config/config/a.json"), "{\"staged\": 1}").unwrap();
    std::fs::write(root.join("shared-config/config/new.json"), "{}").unwrap();
    git(root, &["add", "-A"]);
    std::fs::write(root.join("shared-config/config/a.json"), "{\"lying\": 2}").unwrap();
    let made = repo
        .commit_work_tree_changes("p", "m", &who(), at(1))
        .unwrap()
        .unwrap();
    let snapshot = repo.snapshot(&made.revision).unwrap();
    assert_eq!(
        snapshot.text(&path("config/a.json")),
        Some("{\"lying\": 2}")
    );
    assert_eq!(snapshot.text(&path("config/new.json")), Some("{}"));
}

#[cfg(unix)]
#[test]
fn a_link_is_not_proposed() {
    let (_bare, folder, repo) = sample();
    let link = folder.path().join("shared-config/users.json");
    std::os::unix::fs::symlink("/etc/passwd", link).unwrap();
    assert!(matches!(
        repo.commit_work_tree_changes("p", "m", &who(), at(1)),
        Err(RepoError::Invalid(m)) if m.contains("users.json")
    ));
}

#[test]
fn a_merge_takes_the_checked_out_files_along_and_leaves_somebodys_work() {
    let (_bare, folder, repo) = sample();
    let read = |name: &str| std::fs::read_to_string(folder.path().join("shared-config").join(name));
    let branch = git(folder.path(), &["symbolic-ref", "--short", "HEAD"]);
    let merge = |files: &[(&str, Option<&str>)], name: &str| {
        let base = repo.resolve("HEAD").unwrap();
        let head = repo
            .commit_files(name, Some(&base), &edits(files), &who(), "x", at(5))
            .unwrap();
        let merge = Merge {
            branch: branch.trim(),
            base: &base,
            head: &head,
            message: "merge",
            who: &who(),
            at: at(6),
        };
        let merged = repo.merge(&merge).unwrap();
        assert!(matches!(merged, MergeResult::Merged(_)), "{merged:?}");
    };
    let status = || git(folder.path(), &["status", "--porcelain"]);
    merge(
        &[
            ("config/a.json", Some("{\"a\": 1}")),
            ("config/b.json", None),
            ("alerts/new.md", Some("# new")),
        ],
        "one",
    );
    assert_eq!(read("config/a.json").unwrap(), "{\"a\": 1}");
    assert!(read("config/b.json").is_err());
    assert_eq!(read("alerts/new.md").unwrap(), "# new");
    assert_eq!(status(), "");

    std::fs::write(folder.path().join("shared-config/alerts/new.md"), "# mine").unwrap();
    merge(
        &[
            ("alerts/new.md", Some("# newer")),
            ("config/a.json", Some("{}")),
        ],
        "two",
    );
    assert_eq!(read("alerts/new.md").unwrap(), "# mine");
    assert_eq!(read("config/a.json").unwrap(), "{}");
}
