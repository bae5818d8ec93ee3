use super::*;

#[test]
fn a_commit_keeps_what_it_does_not_name_and_leaves_no_empty_folder() {
    let bare = Bare::new();
    let first = bare.commit(
        "main",
        &[
            ("lockstep.yaml", Some("version: 1")),
            ("config/a.json", Some("{}")),
            ("alerts/old/x.md", Some("# x")),
        ],
    );
    let second = bare.commit(
        "main",
        &[
            ("config/a.json", Some("{\"b\": 1}")),
            ("alerts/old/x.md", None),
            ("not/there.md", None),
        ],
    );
    assert_eq!(
        bare.git(&["ls-tree", "-r", "-t", "--name-only", second.as_str()]),
        "config\nconfig/a.json\nlockstep.yaml\n"
    );
    assert_eq!(
        bare.git(&["log", "-1", "--format=%an <%ae>|%ct|%P|%s", second.as_str()]),
        format!("佐藤 <sato@example.com>|1760000002|{first}|設定を変える\n")
    );
    bare.git(&["fsck", "--strict"]);
}

#[test]
fn a_file_can_become_a_folder_only_when_it_is_removed_too() {
    let bare = Bare::new();
    let head = bare.commit("main", &[("a", Some("1")), ("b/c.json", Some("2"))]);
    let refuse = |files: &[(&str, Option<&str>)]| {
        let result = bare
            .repo
            .commit_files("main", Some(&head), &edits(files), &who(), "x", at(9));
        assert!(matches!(result, Err(RepoError::Invalid(_))), "{result:?}");
    };
    refuse(&[("a/x.json", Some("1"))]);
    refuse(&[("b", Some("1"))]);
    refuse(&[("b", None)]);
    refuse(&[("n", Some("1")), ("n/x", Some("1"))]);
    refuse(&[(".git/config", Some("[core]"))]);
    assert_eq!(bare.repo.head("main").unwrap(), Some(head));
    let moved = bare.commit("main", &[("a", None), ("a/x.json", Some("1"))]);
    assert_eq!(
        bare.git(&["ls-tree", "-r", "--name-only", moved.as_str()]),
        "a/x.json\nb/c.json\n"
    );
}

#[test]
fn a_branch_is_moved_only_from_where_it_was_seen() {
    let bare = Bare::new();
    let first = bare.commit("main", &[("a.json", Some("1"))]);
    bare.commit("main", &[("a.json", Some("2"))]);
    let stale = |parent: Option<&Revision>| {
        let files = edits(&[("a.json", Some("3"))]);
        bare.repo
            .commit_files("main", parent, &files, &who(), "x", at(9))
    };
    assert!(matches!(stale(Some(&first)), Err(RepoError::Moved { name }) if name == "main"));
    assert!(matches!(stale(None), Err(RepoError::Moved { .. })));
}

#[test]
fn of_many_that_create_one_reference_one_succeeds() {
    let bare = Bare::new();
    bare.commit("main", &[("a.json", Some("1"))]);
    let won: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|n| {
                let path = bare.repo.path().to_owned();
                scope.spawn(move || {
                    let repo = Repo::open(&path).unwrap();
                    let files = edits(&[("a.json", Some(&*format!("{n}")))]);
                    match repo.commit_files("new", None, &files, &who(), "x", at(n)) {
                        Ok(_) => 1,
                        Err(error) => {
                            assert!(matches!(error, RepoError::Moved { .. }), "{error}");
                            0
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(won, 1);
}

fn merge<'a>(base: &'a Revision, head: &'a Revision, who: &'a Identity) -> Merge<'a> {
    Merge {
        branch: "main",
        base,
        head,
        message: "merge",
        who,
        at: at(1_760_001_000),
    }
}

#[test]
fn a_merge_makes_one_step_and_judges_the_tree_beforehand() {
    let bare = Bare::new();
    let who = who();
    bare.commit(
        "main",
        &[("lockstep.yaml", Some("version: 1")), ("a.json", Some("1"))],
    );
    let head = bare.commit("work", &[("b.json", Some("2"))]);
    bare.commit("work", &[("c.json", Some("3"))]);
    let old = bare.repo.head("main").unwrap().unwrap();
    let base = bare.commit("main", &[("a.json", Some("10"))]);
    assert_eq!(
        bare.repo.merge(&merge(&old, &head, &who)).unwrap(),
        MergeResult::Moved
    );

    let head = bare.repo.head("work").unwrap().unwrap();
    let (before, tree) = bare.repo.snapshot_merged(&base, &head).unwrap().unwrap();
    let result = bare.repo.merge(&merge(&base, &head, &who)).unwrap();
    let merged = bare.repo.head("main").unwrap().unwrap();
    assert_eq!(result, MergeResult::Merged(merged.clone()));
    assert_eq!(before.files, bare.repo.snapshot(&merged).unwrap().files);
    assert_eq!(
        bare.git(&["rev-parse", &format!("{merged}^{{tree}}")])
            .trim(),
        tree.to_string()
    );
    assert_eq!(
        bare.repo.commit(&merged).unwrap().parents,
        [base.clone(), head.clone()]
    );
    assert_eq!(
        bare.repo.merge(&merge(&merged, &head, &who)).unwrap(),
        MergeResult::UpToDate
    );
    assert_eq!(bare.repo.log("main", 9).unwrap().len(), 3);
    let delta = bare.repo.delta_to_tree(&base, tree).unwrap();
    assert_eq!(
        delta.files.keys().map(DocPath::as_str).collect::<Vec<_>>(),
        ["b.json", "c.json"]
    );
    bare.git(&["fsck", "--strict"]);
}

#[test]
fn a_conflict_names_the_files_and_changes_nothing() {
    let bare = Bare::new();
    let who = who();
    bare.commit("main", &[("a.json", Some("1\n")), ("b.json", Some("1\n"))]);
    let head = bare.commit("work", &[("a.json", Some("2\n")), ("b.json", None)]);
    let base = bare.commit("main", &[("a.json", Some("3\n")), ("b.json", Some("4\n"))]);
    let paths = vec!["a.json".to_owned(), "b.json".to_owned()];
    assert_eq!(
        bare.repo.merged_tree(&base, &head).unwrap(),
        MergedTree::Conflict(paths.clone())
    );
    assert_eq!(
        bare.repo.merge(&merge(&base, &head, &who)).unwrap(),
        MergeResult::Conflict(paths)
    );
    assert_eq!(bare.repo.head("main").unwrap(), Some(base));
}

#[test]
fn histories_that_share_nothing_are_not_merged() {
    let bare = Bare::new();
    let base = bare.commit("main", &[("a.json", Some("1"))]);
    let files = edits(&[("b.json", Some("1"))]);
    let head = bare
        .repo
        .commit_files("other", None, &files, &who(), "x", at(1))
        .unwrap();
    assert_eq!(bare.repo.merge_base(&base, &head).unwrap(), None);
    assert!(matches!(
        bare.repo.merged_tree(&base, &head),
        Err(RepoError::Invalid(_))
    ));
}

#[test]
fn a_branch_is_brought_over_whatever_other_references_lead_to() {
    let (here, there) = (Bare::new(), Bare::new());
    here.commit("main", &[("config/a.json", Some("{}"))]);
    there.git(&[
        "fetch",
        "-q",
        here.repo.path().to_str().unwrap(),
        "main:main",
    ]);
    for side in [&here, &there] {
        let main = side.git(&["rev-parse", "main^{tree}"]);
        side.git(&["update-ref", "refs/tags/of-a-tree", main.trim()]);
        let blob = side.git(&["rev-parse", "main:config/a.json"]);
        side.git(&["update-ref", "refs/tags/of-a-file", blob.trim()]);
        side.git(&["tag", "-a", "-m", "x", "annotated", "of-a-tree"]);
    }
    // What only the one has is of no use to the other.
    here.commit("aside", &[("config/b.json", Some("{}"))]);
    there.commit("idea", &[("config/c.json", Some("{}"))]);
    let head = there.commit("idea", &[("config/deep/d.json", Some("[]"))]);
    here.repo.bring_branch(&there.repo, "idea").unwrap();
    assert_eq!(here.repo.head("idea").unwrap(), Some(head));
    assert_eq!(here.git(&["show", "idea:config/deep/d.json"]), "[]");
    here.git(&["fsck", "--connectivity-only"]);
    // It is new, or nothing: and one that begins here needs nothing more.
    let again = here.repo.bring_branch(&there.repo, "idea");
    assert!(matches!(again, Err(RepoError::Moved { .. })));
    there.git(&["branch", "same", "main"]);
    here.repo.bring_branch(&there.repo, "same").unwrap();
    assert_eq!(
        here.repo.head("same").unwrap(),
        there.repo.head("main").unwrap()
    );
    let none = here.repo.bring_branch(&there.repo, "nowhere");
    assert!(matches!(none, Err(RepoError::NotFound(_))));
}
