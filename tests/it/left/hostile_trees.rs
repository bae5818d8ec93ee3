//! Git trees that no honest git would write: a million files in a few kilobytes, names that climb out, folders in folders.

use lockstep::repo::Repo;

use super::hostile::found;
use super::*;

/// A git tree with these entries, `mode sort name` each with its object, written by git itself without a check of names.
fn tree(folder: &Folder, entries: &[(&str, &str, &str, &str)]) -> String {
    use std::io::Write as _;
    let mut git = alone("git", folder.path())
        .args(["mktree", "--missing", "-z"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("git starts");
    let lines: String = entries
        .iter()
        .map(|(mode, sort, object, name)| format!("{mode} {sort} {object}\t{name}\0"))
        .collect();
    let mut stdin = git.stdin.take().expect("a pipe");
    stdin.write_all(lines.as_bytes()).expect("git reads");
    drop(stdin);
    let ran = Ran::of(git.wait_with_output().expect("git ends")).code(0);
    ran.out.trim().to_owned()
}

fn blob(folder: &Folder, text: &str) -> String {
    folder.write("a-blob", text);
    git(folder.path(), &["hash-object", "-w", "a-blob"])
}

/// A bare repository whose main branch has this tree.
fn commit(folder: &Folder, tree: &str) {
    let commit = git(folder.path(), &["commit-tree", "-m", "odd", tree]);
    git(folder.path(), &["update-ref", "refs/heads/main", &commit]);
}

fn bare() -> Folder {
    let folder = Folder::new();
    git(folder.path(), &["init", "-q", "--bare"]);
    folder
}

/// A hundred files in each of a hundred folders in each of a hundred: a million files in a repository of a few kilobytes.
#[test]
fn a_million_files_are_too_many_and_said_so() {
    let folder = bare();
    let file = blob(&folder, "# a\n\n影響: x\n");
    let names: Vec<String> = (0..100).map(|n| format!("{n:02}.md")).collect();
    let files: Vec<_> = names
        .iter()
        .map(|name| ("100644", "blob", file.as_str(), name.as_str()))
        .collect();
    let mut folder_id = tree(&folder, &files);
    for _ in 0..2 {
        let entries: Vec<_> = names
            .iter()
            .map(|name| ("040000", "tree", folder_id.as_str(), name.as_str()))
            .collect();
        folder_id = tree(&folder, &entries);
    }
    let config = blob(&folder, CONFIG);
    let root = tree(
        &folder,
        &[
            ("040000", "tree", &folder_id, "alerts"),
            ("100644", "blob", &config, "lockstep.yaml"),
        ],
    );
    commit(&folder, &root);
    assert_eq!(found(&folder), ["error tree/beyond-limits lockstep.yaml"]);
    let ran = folder.run(&["check"]).code(1);
    assert!(ran.out.contains("500000 files and folders"), "{}", ran.out);
    assert!(!ran.out.contains("no lockstep.yaml"), "{}", ran.out);
}

/// The same where they lie as files: hard links, so that only the folders take room.
#[test]
#[ignore = "writes a million names, which takes a dozen seconds"]
fn a_million_files_in_a_work_tree_are_too_many_and_said_so() {
    let folder = Folder::new();
    folder.write("lockstep.yaml", CONFIG);
    for n in 0..100 {
        let first = format!("alerts/{n}/0.md");
        folder.write(&first, "# a\n\n影響: x\n");
        // No file system takes more links to one file than this.
        for other in 1..10_000 {
            let link = folder.join(&format!("alerts/{n}/{other}.md"));
            std::fs::hard_link(folder.join(&first), link).expect("a link");
        }
    }
    assert_eq!(found(&folder), ["error tree/beyond-limits lockstep.yaml"]);
    let ran = folder.run(&["check"]).code(1);
    assert!(ran.out.contains("500000 files and folders"), "{}", ran.out);
}

/// The same trick with bytes, and with paths.
#[test]
fn a_small_repository_does_not_unpack_to_more_than_there_is_memory_for() {
    let folder = bare();
    let config = blob(&folder, CONFIG);
    let megabytes = blob(&folder, &"# a\n".repeat(1 << 20));
    let names: Vec<String> = (0..300).map(|n| format!("{n:03}.md")).collect();
    let files: Vec<_> = names
        .iter()
        .map(|name| ("100644", "blob", megabytes.as_str(), name.as_str()))
        .collect();
    let alerts = tree(&folder, &files);
    // One object that is named often is held once, whatever it is called.
    let root = |alerts: &str| {
        [
            ("040000", "tree", alerts.to_owned(), "alerts"),
            ("100644", "blob", config.clone(), "lockstep.yaml"),
        ]
    };
    let entries = root(&alerts);
    let entries: Vec<_> = entries
        .iter()
        .map(|(a, b, c, d)| (*a, *b, c.as_str(), *d))
        .collect();
    let whole = tree(&folder, &entries);
    commit(&folder, &whole);
    let snapshot = Repo::open(folder.path())
        .and_then(|repo| {
            let head = repo.head("main")?.expect("a branch");
            repo.snapshot(&head)
        })
        .expect("a snapshot");
    assert_eq!((snapshot.files.len(), snapshot.beyond), (301, None));
    // Names of 250 bytes in folders of such names.
    let long: Vec<String> = (0..100)
        .map(|n| format!("{n:02}{}.md", "x".repeat(245)))
        .collect();
    let small = blob(&folder, "# a\n");
    let leaves: Vec<_> = long
        .iter()
        .map(|name| ("100644", "blob", small.as_str(), name.as_str()))
        .collect();
    let mut below = tree(&folder, &leaves);
    for _ in 0..12 {
        let name = format!("d{}", "y".repeat(248));
        below = tree(&folder, &[("040000", "tree", &below, &name)]);
    }
    for _ in 0..2 {
        let names: Vec<String> = (0..60).map(|n| format!("f{n:02}")).collect();
        let entries: Vec<_> = names
            .iter()
            .map(|name| ("040000", "tree", below.as_str(), name.as_str()))
            .collect();
        below = tree(&folder, &entries);
    }
    let entries = root(&below);
    let entries: Vec<_> = entries
        .iter()
        .map(|(a, b, c, d)| (*a, *b, c.as_str(), *d))
        .collect();
    let whole = tree(&folder, &entries);
    commit(&folder, &whole);
    assert_eq!(found(&folder), ["error tree/beyond-limits lockstep.yaml"]);
}

#[test]
fn names_that_climb_out_nest_or_stand_twice_are_reported() {
    let folder = bare();
    let config = blob(&folder, CONFIG);
    let file = blob(&folder, "# a\n\n影響: x\n");
    let mut deep = tree(&folder, &[("100644", "blob", &file, "a.md")]);
    for _ in 0..3_000 {
        deep = tree(&folder, &[("040000", "tree", &deep, "d")]);
    }
    let inner = tree(
        &folder,
        &[
            ("100644", "blob", &file, "a.md"),
            ("120000", "blob", &file, "link.md"),
            (
                "160000",
                "commit",
                "1111111111111111111111111111111111111111",
                "module",
            ),
            ("040000", "tree", &deep, "d"),
        ],
    );
    let up = tree(&folder, &[("100644", "blob", &file, "passwd.md")]);
    let root = tree(
        &folder,
        &[
            ("040000", "tree", &up, ".."),
            ("040000", "tree", &inner, "alerts"),
            ("100644", "blob", &file, "a\\..\\b.md"),
            ("100644", "blob", &file, "caf\u{7f}.md"),
            ("100644", "blob", &config, "lockstep.yaml"),
        ],
    );
    commit(&folder, &root);
    let found = found(&folder);
    for wanted in [
        "error tree/name lockstep.yaml",
        "error tree/symlink alerts/link.md",
        "error tree/submodule alerts/module",
    ] {
        assert!(found.iter().any(|f| f == wanted), "{wanted}: {found:?}");
    }
    let ran = folder.run(&["check"]).code(1);
    for told in [
        "../passwd.md",
        "caf\\u{7f}.md",
        "lies in more than 128 folders",
    ] {
        assert!(ran.out.contains(told), "{told}: {}", ran.out);
    }
}
