use super::*;

/// The config repo in its usual place, with things around it that are no documents.
fn nested() -> Bare {
    let bare = Bare::new();
    bare.commit(
        "main",
        &[
            ("README.md", Some("# all")),
            ("policies/rollout.rego", Some("package lockstep")),
            ("policies/lib/time.rego", Some("package lib")),
            ("policies/README.md", Some("# policies")),
            ("shared-config/lockstep.yaml", Some("version: 1")),
            ("shared-config/config/feature-flags.json", Some("{}")),
            ("shared-config/config/picture.png", Some("png")),
            ("shared-config/.github/workflows/ci.yml", Some("on: push")),
            ("shared-config/alerts/緊急.md", Some("# 緊急")),
        ],
    );
    bare
}

#[test]
fn documents_are_those_of_the_config_folder_and_policies_lie_beside_it() {
    let bare = nested();
    let head = bare.repo.head("main").unwrap().unwrap();
    let snapshot = bare.repo.snapshot(&head).unwrap();
    assert_eq!(
        names(&snapshot),
        [
            "alerts/緊急.md",
            "config/feature-flags.json",
            "lockstep.yaml",
            "[policies/lib/time.rego]",
            "[policies/rollout.rego]"
        ]
    );
    assert_eq!(snapshot.revision, Some(head));
    assert_eq!(snapshot.text(&path("lockstep.yaml")), Some("version: 1"));
    assert_eq!(bare.repo.prefix(), "shared-config/");
    assert_eq!(
        bare.repo.git_path(&path("config/feature-flags.json")),
        "shared-config/config/feature-flags.json"
    );
    assert_eq!(
        bare.repo.git_path(&path("policies/rollout.rego")),
        "policies/rollout.rego"
    );
}

#[test]
fn policies_inside_the_config_folder_win_and_are_no_documents() {
    let bare = nested();
    let head = bare.commit("main", &[("policies/extra.rego", Some("package lockstep"))]);
    assert!(
        bare.git(&["ls-tree", "-r", "--name-only", head.as_str()])
            .contains("policies/extra.rego")
    );
    let root = Bare::new();
    let head = root.commit(
        "main",
        &[
            ("lockstep.yaml", Some("version: 1")),
            ("policies/a.rego", Some("package lockstep")),
            ("policies/notes.md", Some("# notes")),
            ("docs/policies/b.md", Some("# b")),
        ],
    );
    assert_eq!(
        names(&root.repo.snapshot(&head).unwrap()),
        ["docs/policies/b.md", "lockstep.yaml", "[policies/a.rego]"]
    );
    assert_eq!(root.repo.prefix(), "");
}

/// A tree with names and modes that only a hand-made push would bring.
fn hostile(bare: &Bare, entries: &[(&[u8], &str, i32)]) -> Revision {
    let git = git2::Repository::open(bare.repo.path()).unwrap();
    let mut bytes = Vec::new();
    for (name, text, mode) in entries {
        bytes.extend_from_slice(format!("{mode:o} ").as_bytes());
        bytes.extend_from_slice(name);
        bytes.push(0);
        let id = match mode {
            0o160_000 => git2::Oid::from_str(&"1".repeat(40)).unwrap(),
            _ => git.blob(text.as_bytes()).unwrap(),
        };
        bytes.extend_from_slice(id.as_bytes());
    }
    let tree = git
        .odb()
        .unwrap()
        .write(git2::ObjectType::Tree, &bytes)
        .unwrap();
    let commit = write::write_commit(&git, tree, &[], &who(), "hostile", at(1)).unwrap();
    to_revision(commit).unwrap()
}

#[test]
fn names_and_modes_of_a_hand_made_tree_are_reported_and_never_followed() {
    let bare = Bare::new();
    let head = hostile(
        &bare,
        &[
            (b"..", "up", 0o100_644),
            (b"a\xff.json", "{}", 0o100_644),
            (b"b\x1b[31m.json", "{}", 0o100_644),
            (b"link", "/etc/passwd", 0o120_000),
            (b"lockstep.yaml", "version: 1", 0o100_755),
            (b"module", "", 0o160_000),
            (b"twice.json", "1", 0o100_644),
            (b"twice.json", "2", 0o100_644),
        ],
    );
    let snapshot = bare.repo.snapshot(&head).unwrap();
    let shape: Vec<_> = snapshot
        .files
        .iter()
        .map(|(path, blob)| (path.as_str(), blob.content.clone()))
        .collect();
    assert_eq!(
        shape,
        [
            ("link", Content::Symlink),
            ("lockstep.yaml", Content::Bytes((*b"version: 1").into())),
            ("module", Content::Submodule),
            ("twice.json", Content::Bytes((*b"2").into())),
        ]
    );
    let unreadable: Vec<_> = snapshot
        .unreadable
        .iter()
        .map(|u| (u.name.as_str(), u.why))
        .collect();
    assert_eq!(
        unreadable,
        [
            ("a\u{fffd}.json", Unnamed::NoText),
            ("b\\u{1b}[31m.json", Unnamed::NoText),
            ("twice.json", Unnamed::Twice)
        ]
    );
}

#[test]
fn a_delta_holds_what_changed_and_nothing_else() {
    let bare = nested();
    let from = bare.repo.head("main").unwrap().unwrap();
    let to = bare.commit(
        "main",
        &[
            ("config/feature-flags.json", Some("{\"a\": 1}")),
            ("alerts/緊急.md", None),
            ("security/urgent.md", Some("# new")),
            ("policies/lib/time.rego", Some("package lib2")),
        ],
    );
    let delta = bare.repo.delta(&from, &to).unwrap();
    let shape = |delta: &crate::document::Delta| {
        delta
            .iter()
            .map(|(path, blob)| (path.to_string(), blob.is_some()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        shape(&delta.files),
        [
            ("alerts/緊急.md".to_owned(), false),
            ("config/feature-flags.json".to_owned(), true),
            ("security/urgent.md".to_owned(), true)
        ]
    );
    assert_eq!(
        shape(&delta.policies),
        [("policies/lib/time.rego".to_owned(), true)]
    );
    assert!(delta.policies_changed());
    assert!(bare.repo.delta(&to, &to).unwrap().is_empty());
}

#[test]
fn moving_the_config_repo_inside_its_repository_changes_no_document() {
    let bare = nested();
    let from = bare.repo.head("main").unwrap().unwrap();
    let folder = tempfile::tempdir().unwrap();
    git(
        folder.path(),
        &["clone", "-q", bare.repo.path().to_str().unwrap(), "."],
    );
    git(folder.path(), &["rm", "-q", "README.md"]);
    for name in ["lockstep.yaml", "config", "alerts", ".github"] {
        git(
            folder.path(),
            &["mv", &format!("shared-config/{name}"), name],
        );
    }
    git(folder.path(), &["commit", "-qm", "move"]);
    git(folder.path(), &["push", "-q"]);
    let to = bare.repo.head("main").unwrap().unwrap();
    let delta = bare.repo.delta(&from, &to).unwrap();
    assert_eq!(
        delta.files.keys().collect::<Vec<_>>(),
        Vec::<&DocPath>::new()
    );
    assert_eq!(bare.repo.prefix(), "");
}

#[test]
fn without_its_lockstep_yaml_a_repository_is_read_where_it_was() {
    let bare = nested();
    let from = bare.repo.head("main").unwrap().unwrap();
    let to = bare.commit("proposal", &[("lockstep.yaml", None)]);
    let delta = bare.repo.delta(&from, &to).unwrap();
    assert_eq!(
        delta.files.into_iter().collect::<Vec<_>>(),
        [(path("lockstep.yaml"), None)]
    );
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    /// Few names, so that files turn into folders and back.
    fn files() -> impl Strategy<Value = BTreeMap<String, String>> {
        let part = prop::sample::select(vec!["a", "a-b", "b.json", "policies", "z"]);
        let name = prop::collection::vec(part, 0..3).prop_map(|parts| {
            let mut parts: Vec<String> = parts.iter().map(|p| (*p).to_owned()).collect();
            parts.push("f.json".to_owned());
            parts.join("/")
        });
        let link = prop::sample::select(vec!["b.json", "a.md", "policies/p.rego", "lockstep.yaml"])
            .prop_map(str::to_owned);
        prop::collection::btree_map(prop_oneof![name, link], "[xyz]{0,2}", 0..12)
    }

    /// A tree of such files, where a name that would be file and folder at once is a folder.
    fn commit(bare: &Bare, files: &BTreeMap<String, String>) -> Revision {
        let git = git2::Repository::open(bare.repo.path()).unwrap();
        let mut edits = edits::Edits::default();
        for (name, text) in files {
            let folder = format!("{name}/");
            if !files.keys().any(|other| other.starts_with(&folder)) {
                edits.set(name, Some(git.blob(text.as_bytes()).unwrap()));
            }
        }
        let tree = edits.write(&git, None).unwrap();
        to_revision(write::write_commit(&git, tree, &[], &who(), "x", at(1)).unwrap()).unwrap()
    }

    #[test]
    fn a_delta_applied_to_one_snapshot_gives_the_other() {
        // One repository for all cases: making one costs more than a case does.
        let bare = Bare::new();
        let mut runner = proptest::test_runner::TestRunner::default();
        runner
            .run(&(files(), files()), |(a, b)| {
                let (from, to) = (commit(&bare, &a), commit(&bare, &b));
                let mut snapshot = bare.repo.snapshot(&from).unwrap();
                let delta = bare.repo.delta(&from, &to).unwrap();
                snapshot.succeed(Some(to.clone()), &delta);
                prop_assert_eq!(snapshot, bare.repo.snapshot(&to).unwrap());
                Ok(())
            })
            .unwrap();
    }
}
