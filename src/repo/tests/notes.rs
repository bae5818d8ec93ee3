use super::*;

const NOTES: &str = "refs/notes/devtools/discuss";

#[test]
fn lines_are_added_and_git_reads_them() {
    let bare = Bare::new();
    let head = bare.commit("main", &[("a.json", Some("1"))]);
    assert_eq!(
        bare.repo.read_notes(NOTES, &head).unwrap(),
        Vec::<String>::new()
    );
    bare.repo
        .append_note(NOTES, &head, "{\"a\":1}", at(1))
        .unwrap();
    bare.repo
        .append_note(NOTES, &head, "{\"a\":\"二\"}", at(2))
        .unwrap();
    assert_eq!(
        bare.git(&["notes", "--ref=devtools/discuss", "show", head.as_str()]),
        "{\"a\":1}\n{\"a\":\"二\"}\n"
    );
    assert_eq!(
        bare.repo.list_notes(NOTES).unwrap(),
        [(
            head.clone(),
            vec!["{\"a\":1}".to_owned(), "{\"a\":\"二\"}".to_owned()]
        )]
    );
    // A line break would turn one line into two; another reference might be a branch.
    for (notes, line) in [
        (NOTES, "a\nb"),
        ("refs/heads/main", "a"),
        ("refs/notes/a\0", "a"),
    ] {
        assert!(matches!(
            bare.repo.append_note(notes, &head, line, at(3)),
            Err(RepoError::Invalid(_))
        ));
    }
}

#[test]
fn what_git_wrote_is_kept_byte_for_byte_at_any_fan_out() {
    let bare = Bare::new();
    let commits: Vec<_> = (0..3)
        .map(|n| bare.commit("main", &[("a.json", Some(&*n.to_string()))]))
        .collect();
    // git itself writes few notes flat, without a line break at the end where it is told so.
    for commit in &commits {
        bare.git(&[
            "notes",
            "--ref=devtools/discuss",
            "add",
            "-m",
            "by git",
            commit.as_str(),
        ]);
    }
    bare.repo
        .append_note(NOTES, &commits[0], "ours", at(1))
        .unwrap();
    assert_eq!(
        bare.repo.read_notes(NOTES, &commits[0]).unwrap(),
        ["by git", "ours"]
    );
    assert_eq!(bare.repo.list_notes(NOTES).unwrap().len(), 3);

    // The same note at two depths, as after merging clones: read as one, and neither half is lost.
    let (folder, rest) = commits[1].as_str().split_at(2);
    let (middle, deep) = rest.split_at(2);
    let git = git2::Repository::open(bare.repo.path()).unwrap();
    let tip = history::ref_oid(&git, NOTES).unwrap().unwrap();
    let tree = git.find_commit(tip).unwrap().tree().unwrap();
    let mut edits = edits::Edits::default();
    let path = format!("{folder}/{middle}/{deep}");
    edits.set(&path, Some(git.blob(b"deeper").unwrap()));
    let tree = edits.write(&git, Some(&tree)).unwrap();
    let commit = write::write_commit(&git, tree, &[tip], &who(), "x", at(1)).unwrap();
    write::move_ref(&git, NOTES, Some(tip), commit, "x").unwrap();
    bare.repo
        .append_note(NOTES, &commits[1], "ours", at(2))
        .unwrap();
    assert_eq!(
        bare.repo.read_notes(NOTES, &commits[1]).unwrap(),
        ["by git", "ours", "deeper"]
    );
    assert_eq!(bare.repo.list_notes(NOTES).unwrap().len(), 3);
    // And git adds on top of ours.
    bare.git(&[
        "notes",
        "--ref=devtools/discuss",
        "append",
        "-m",
        "again",
        commits[0].as_str(),
    ]);
    assert_eq!(
        bare.repo.read_notes(NOTES, &commits[0]).unwrap(),
        ["by git", "ours", "again"]
    );
}

#[test]
fn no_line_of_many_writers_is_lost() {
    const WRITERS: usize = 8;
    const LINES: usize = 20;
    let bare = Bare::new();
    let commits: Vec<_> = (0..3)
        .map(|n| bare.commit("main", &[("a.json", Some(&*n.to_string()))]))
        .collect();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (path, commits) = (bare.repo.path().to_owned(), &commits);
            scope.spawn(move || {
                let repo = Repo::open(&path).unwrap();
                for line in 0..LINES {
                    let commit = &commits[line % commits.len()];
                    repo.append_note(NOTES, commit, &format!("{writer}-{line}"), at(1))
                        .unwrap();
                }
            });
        }
    });
    let all: Vec<_> = bare.repo.list_notes(NOTES).unwrap();
    let lines: std::collections::BTreeSet<_> = all.into_iter().flat_map(|(_, l)| l).collect();
    assert_eq!(lines.len(), WRITERS * LINES);
    bare.git(&["fsck", "--strict"]);
}

#[test]
fn an_update_that_adds_nothing_writes_nothing() {
    let bare = Bare::new();
    let head = bare.commit("main", &[("a.json", Some("1"))]);
    bare.repo.append_note(NOTES, &head, "one", at(1)).unwrap();
    let before = bare.git(&["rev-parse", NOTES]);
    let added = bare
        .repo
        .update_note::<RepoError>(NOTES, &head, at(2), &mut |lines| {
            assert_eq!(lines, ["one"]);
            Ok(Vec::new())
        })
        .unwrap();
    assert!(added.is_empty());
    assert_eq!(bare.git(&["rev-parse", NOTES]), before);
}

#[test]
fn a_name_that_stands_twice_is_read_twice_and_not_written() {
    let bare = Bare::new();
    let head = bare.commit("main", &[("a.json", Some("1"))]);
    let git = git2::Repository::open(bare.repo.path()).unwrap();
    let odb = git.odb().unwrap();
    let (folder, rest) = head.as_str().split_at(2);
    let tree = |entries: &[(&str, &str, git2::Oid)]| {
        let mut bytes = Vec::new();
        for (mode, name, id) in entries {
            bytes.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            bytes.extend_from_slice(id.as_bytes());
        }
        odb.write(git2::ObjectType::Tree, &bytes).unwrap()
    };
    let [one, two] = ["one", "two"].map(|text| git.blob(text.as_bytes()).unwrap());
    let twice = tree(&[("100644", rest, one), ("100644", rest, two)]);
    let [first, second] = [one, two].map(|id| tree(&[("100644", rest, id)]));
    for (case, root) in [
        tree(&[("40000", folder, twice)]),
        tree(&[("40000", folder, first), ("40000", folder, second)]),
    ]
    .into_iter()
    .enumerate()
    {
        let tip = history::ref_oid(&git, NOTES).unwrap();
        let parents: Vec<_> = tip.into_iter().collect();
        let commit = write::write_commit(&git, root, &parents, &who(), "x", at(1)).unwrap();
        write::move_ref(&git, NOTES, tip, commit, "x").unwrap();
        let mut read = bare.repo.read_notes(NOTES, &head).unwrap();
        read.sort();
        assert_eq!(read, ["one", "two"], "{case}");
        assert_eq!(bare.repo.list_notes(NOTES).unwrap()[0].1.len(), 2);
        let written = bare.repo.append_note(NOTES, &head, "three", at(2));
        assert!(matches!(written, Err(RepoError::Invalid(_))), "{written:?}");
    }
}

/// Brings another clone's notes here, beside ours.
fn bring(here: &Bare, there: &Bare) -> Revision {
    let path = there.repo.path().to_str().unwrap();
    here.git(&[
        "fetch",
        "--quiet",
        path,
        &format!("+{NOTES}:refs/lockstep/theirs"),
    ]);
    here.repo.read_ref("refs/lockstep/theirs").unwrap().unwrap()
}

fn lines_of(bare: &Bare, commit: &Revision) -> std::collections::BTreeSet<String> {
    let lines = bare.repo.read_notes(NOTES, commit).unwrap();
    lines.into_iter().collect()
}

#[test]
fn two_clones_notes_become_one_with_all_lines_and_can_be_pushed() {
    let (one, two) = (Bare::new(), Bare::new());
    let commits = ["1", "2"].map(|text| one.commit("main", &[("a.json", Some(text))]));
    let add = |bare: &Bare, commit: usize, line: &str| {
        let commit = &commits[commit];
        bare.repo.append_note(NOTES, commit, line, at(1)).unwrap();
    };
    add(&one, 0, "first");
    // Where there are none, theirs are taken as they are.
    two.repo.merge_notes(NOTES, &bring(&two, &one)).unwrap();
    let tip = |bare: &Bare| bare.repo.read_ref(NOTES).unwrap();
    assert_eq!(tip(&two), tip(&one));

    add(&one, 0, "of one");
    add(&one, 1, "of one alone");
    add(&two, 0, "of two");
    two.repo.merge_notes(NOTES, &bring(&two, &one)).unwrap();
    let expected = ["first", "of one", "of two"].map(str::to_owned);
    assert_eq!(lines_of(&two, &commits[0]), expected.into());
    assert_eq!(
        lines_of(&two, &commits[1]),
        ["of one alone".to_owned()].into()
    );
    // Again is nothing new.
    let merged = tip(&two);
    two.repo.merge_notes(NOTES, &bring(&two, &one)).unwrap();
    assert_eq!(tip(&two), merged);

    // It carries on what the other has, so that git takes it without force.
    let path = one.repo.path().to_str().unwrap();
    two.git(&["push", "--quiet", path, &format!("{NOTES}:{NOTES}")]);
    assert_eq!(tip(&one), merged);
    add(&one, 1, "later");
    two.repo.merge_notes(NOTES, &bring(&two, &one)).unwrap();
    assert_eq!(tip(&two), tip(&one));
    two.git(&["fsck", "--strict"]);
}

#[test]
fn a_line_that_a_clone_has_dropped_is_not_lost_here() {
    let (one, two) = (Bare::new(), Bare::new());
    let commit = one.commit("main", &[("a.json", Some("1"))]);
    for line in ["kept", "dropped"] {
        one.repo.append_note(NOTES, &commit, line, at(1)).unwrap();
    }
    two.repo.merge_notes(NOTES, &bring(&two, &one)).unwrap();
    one.git(&[
        "notes",
        "--ref=devtools/discuss",
        "add",
        "-f",
        "-m",
        "kept",
        commit.as_str(),
    ]);
    let theirs = bring(&two, &one);
    two.repo.merge_notes(NOTES, &theirs).unwrap();
    let expected = ["kept", "dropped"].map(str::to_owned);
    assert_eq!(lines_of(&two, &commit), expected.into());
    let ours = two.repo.read_ref(NOTES).unwrap().unwrap();
    assert!(two.repo.is_ancestor(&theirs, &ours).unwrap());
}

#[test]
fn a_clone_s_tree_with_a_name_twice_is_read_and_not_taken_over() {
    let (one, two) = (Bare::new(), Bare::new());
    let commit = one.commit("main", &[("a.json", Some("1"))]);
    two.repo.append_note(NOTES, &commit, "ours", at(1)).unwrap();
    let git = git2::Repository::open(two.repo.path()).unwrap();
    let (folder, rest) = commit.as_str().split_at(2);
    let tree = |entries: &[(&str, &str, git2::Oid)]| {
        let mut bytes = Vec::new();
        for (mode, name, id) in entries {
            bytes.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            bytes.extend_from_slice(id.as_bytes());
        }
        let odb = git.odb().unwrap();
        odb.write(git2::ObjectType::Tree, &bytes).unwrap()
    };
    let [ours, theirs] = ["ours\n", "theirs\n"].map(|text| git.blob(text.as_bytes()).unwrap());
    let twice = tree(&[("100644", rest, ours), ("100644", rest, theirs)]);
    let root = tree(&[("40000", folder, twice)]);
    let tip = history::ref_oid(&git, NOTES).unwrap().unwrap();
    let theirs = write::write_commit(&git, root, &[tip], &who(), "x", at(1)).unwrap();
    let theirs = to_revision(theirs).unwrap();
    two.repo.merge_notes(NOTES, &theirs).unwrap();
    // More can be written, which such a tree refuses.
    two.repo.append_note(NOTES, &commit, "more", at(2)).unwrap();
    let expected = ["ours", "theirs", "more"].map(str::to_owned);
    assert_eq!(lines_of(&two, &commit), expected.into());
    let tip = two.repo.read_ref(NOTES).unwrap().unwrap();
    assert!(two.repo.is_ancestor(&theirs, &tip).unwrap());
}
