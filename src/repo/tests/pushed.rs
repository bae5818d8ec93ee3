use super::*;
use crate::repo::{MergedTree, Refs, Steps};

const NOTES: &str = "refs/notes/devtools/discuss";

#[test]
fn what_a_push_brought_is_read_before_it_is_let_in() {
    let bare = Bare::new();
    bare.commit("main", &[("lockstep.yaml", Some("version: 1"))]);
    let other = Bare::new();
    let pushed = other.commit("main", &[("lockstep.yaml", Some("version: 2"))]);
    assert!(matches!(
        bare.repo.snapshot(&pushed),
        Err(RepoError::NotFound(_))
    ));
    let gate = Repo::open(bare.repo.path())
        .unwrap()
        .with_objects(vec![other.repo.path().join("objects")]);
    assert_eq!(
        gate.snapshot(&pushed).unwrap(),
        other.repo.snapshot(&pushed).unwrap()
    );
}

#[test]
fn references_are_seen_as_they_would_be() {
    let bare = Bare::new();
    let first = bare.commit("main", &[("a.json", Some("1"))]);
    let second = bare.commit("side", &[("a.json", Some("2"))]);
    bare.repo.append_note(NOTES, &first, "{}", at(1)).unwrap();
    for number in ["1", "2"] {
        let name = format!("refs/lockstep/proposals/{number}");
        bare.repo.move_ref(&name, None, &first).unwrap();
    }
    let ahead = Repo::open(bare.repo.path()).unwrap().with_refs(Refs::from([
        ("refs/heads/main".to_owned(), Some(second.clone())),
        ("refs/heads/side".to_owned(), None),
        (NOTES.to_owned(), None),
        ("refs/lockstep/proposals/1".to_owned(), None),
        ("refs/lockstep/proposals/3".to_owned(), Some(second.clone())),
    ]));
    assert_eq!(ahead.head("main").unwrap(), Some(second.clone()));
    assert_eq!(ahead.head("side").unwrap(), None);
    assert!(ahead.read_notes(NOTES, &first).unwrap().is_empty());
    let mut numbers = ahead.list_refs("refs/lockstep/proposals").unwrap();
    numbers.sort();
    let found: Vec<&str> = numbers.iter().map(|(n, _)| n.as_str()).collect();
    assert_eq!(found, ["2", "3"]);
    // The repository itself is where it was.
    assert_eq!(bare.repo.head("main").unwrap(), Some(first));
}

#[test]
fn looking_ahead_leaves_nothing_behind() {
    let bare = Bare::new();
    let base = bare.commit("main", &[("a.json", Some("1")), ("b.json", Some("1"))]);
    let side = bare.commit("side", &[("a.json", Some("2"))]);
    let main = bare.commit("main", &[("b.json", Some("2"))]);
    let objects = || bare.git(&["count-objects"]);
    let before = objects();
    let ahead = Repo::open(bare.repo.path()).unwrap().with_refs(Refs::new());
    // A tree that neither side has.
    let (merged, tree) = ahead.snapshot_merged(&main, &side).unwrap().unwrap();
    assert_eq!(merged.files.len(), 2);
    assert_eq!(ahead.changed_paths(&base, tree).unwrap().len(), 2);
    assert_eq!(objects(), before);
    assert!(matches!(
        ahead.append_note(NOTES, &base, "{}", at(1)),
        Err(RepoError::Unsupported(_))
    ));
    assert!(matches!(
        ahead.move_ref("refs/heads/x", None, &base),
        Err(RepoError::Unsupported(_))
    ));
    assert_eq!(
        bare.git(&["for-each-ref", "refs/notes", "refs/heads/x"]),
        ""
    );
    assert_eq!(
        bare.repo.merged_tree(&main, &side).unwrap(),
        MergedTree::Clean(tree)
    );
}

#[test]
fn the_steps_of_a_branch_are_its_first_parents() {
    let bare = Bare::new();
    let first = bare.commit("main", &[("a.json", Some("1"))]);
    let side = bare.commit("side", &[("b.json", Some("1"))]);
    let second = bare.commit("main", &[("a.json", Some("2"))]);
    let merge = |parents: [&Revision; 2]| {
        let tree = format!("{}^{{tree}}", parents[0]);
        let [a, b] = parents.map(Revision::as_str);
        let made = bare.git(&["commit-tree", &tree, "-p", a, "-p", b, "-m", "merge"]);
        made.trim().parse::<Revision>().unwrap()
    };
    let (right, wrong) = (merge([&second, &side]), merge([&side, &second]));
    let steps = |from, to, limit| match bare.repo.steps(from, to, limit).unwrap() {
        Steps::Forward(steps) => Ok(steps.into_iter().map(|s| s.revision).collect::<Vec<_>>()),
        other @ (Steps::Beside | Steps::Lost | Steps::TooMany) => Err(other),
    };
    assert_eq!(
        steps(&first, &right, 2),
        Ok(vec![second.clone(), right.clone()])
    );
    assert_eq!(steps(&first, &first, 0), Ok(Vec::new()));
    assert_eq!(steps(&first, &right, 1), Err(Steps::TooMany));
    assert_eq!(steps(&second, &wrong, 9), Err(Steps::Beside));
    assert_eq!(steps(&right, &second, 9), Err(Steps::Lost));
    assert_eq!(steps(&second, &side, 9), Err(Steps::Lost));
}

#[test]
fn lines_that_would_be_lost_are_found_whatever_the_fan_out() {
    let bare = Bare::new();
    let commit = bare.commit("main", &[("a.json", Some("1"))]);
    let notes = |reference: &str, lines: &str| {
        bare.git(&[
            "notes",
            "--ref",
            reference,
            "add",
            "-f",
            "-m",
            lines,
            commit.as_str(),
        ]);
        let tip = bare.git(&["rev-parse", &format!("refs/notes/{reference}")]);
        tip.trim().parse::<Revision>().unwrap()
    };
    let lost = |from, to| {
        let lost = bare.repo.lost_lines(from, to).unwrap();
        lost.into_iter().map(|(_, line)| line).collect::<Vec<_>>()
    };
    let flat = notes("x", "{\"a\":1}\n{\"b\":2}\n{\"b\":2}");
    // Ours are one folder deep; sorted and each once, as `cat_sort_uniq` leaves them, with a new one.
    for line in ["{\"0\":0}", "{\"b\":2}", "{\"a\":1}"] {
        bare.repo.append_note(NOTES, &commit, line, at(1)).unwrap();
    }
    let deep = bare.repo.read_ref(NOTES).unwrap().unwrap();
    assert!(lost(&flat, &deep).is_empty());
    assert_eq!(lost(&deep, &flat), ["{\"0\":0}"]);
    let more = notes("x", "{\"a\":1}\n{\"b\":2}\n{\"a\":2}");
    assert_eq!(lost(&flat, &more), Vec::<String>::new());
    let other = notes("x", "{\"a\":10}\n{\"b\":2}");
    assert_eq!(lost(&flat, &other), ["{\"a\":1}"]);
    // No note at all any more.
    bare.git(&["notes", "--ref", "x", "remove", commit.as_str()]);
    let none = bare.git(&["rev-parse", "refs/notes/x"]);
    let none: Revision = none.trim().parse().unwrap();
    assert_eq!(lost(&flat, &none).len(), 2);
}
