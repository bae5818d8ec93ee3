use std::path::Path;
use std::process::Command;

use super::*;
use crate::document::{Content, Odd, Snapshot, Unnamed, Unreadable};
use std::collections::BTreeMap;

mod notes;
mod pushed;
mod snapshots;
mod work_tree;
mod writes;

pub(crate) fn at(second: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(second).unwrap()
}

pub(crate) fn who() -> Identity {
    Identity::new("佐藤", "sato@example.com")
}

pub(crate) fn path(text: &str) -> DocPath {
    text.parse().unwrap()
}

/// A bare repository in a folder that goes away with it.
pub(crate) struct Bare {
    _folder: tempfile::TempDir,
    pub(crate) repo: Repo,
    clock: std::cell::Cell<i64>,
}

impl Bare {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repo = Repo::init_bare(&folder.path().join("config.git")).unwrap();
        Self {
            _folder: folder,
            repo,
            clock: std::cell::Cell::new(1_760_000_000),
        }
    }

    /// Commits files on top of a branch's head or, where there is no such branch, of `main`'s; `None` deletes.
    pub(crate) fn commit(&self, branch: &str, files: &[(&str, Option<&str>)]) -> Revision {
        let parent = self
            .repo
            .head(branch)
            .unwrap()
            .or_else(|| self.repo.head("main").unwrap());
        self.clock.set(self.clock.get() + 1);
        self.repo
            .commit_files(
                branch,
                parent.as_ref(),
                &edits(files),
                &who(),
                "設定を変える",
                at(self.clock.get()),
            )
            .unwrap()
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        git(self.repo.path(), arguments)
    }
}

pub(crate) fn edits(files: &[(&str, Option<&str>)]) -> BTreeMap<DocPath, Option<Vec<u8>>> {
    files
        .iter()
        .map(|(name, text)| (path(name), text.map(|t| t.as_bytes().to_vec())))
        .collect()
}

/// The real git, as people use it beside Lockstep.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=git", "-c", "user.email=git@example.com"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn names(snapshot: &Snapshot) -> Vec<String> {
    let files = snapshot.files.keys().map(ToString::to_string);
    let policies = snapshot.policies.keys().map(|p| format!("[{p}]"));
    files.chain(policies).collect()
}

#[test]
fn what_can_not_be_opened_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Repo::open(&folder.path().join("nowhere")).unwrap_err();
    assert!(matches!(&missing, RepoError::NotFound(m) if m.contains("lockstep init")));
    let file = folder.path().join("lockstep.yaml");
    std::fs::write(&file, "version: 1").unwrap();
    assert!(matches!(Repo::open(&file), Err(RepoError::Invalid(_))));

    let plain = Repo::open(folder.path()).unwrap();
    assert!(!plain.has_git());
    assert!(matches!(plain.head("main"), Err(RepoError::Unsupported(_))));
    assert_eq!(
        names(&plain.snapshot_work_tree().unwrap()),
        ["lockstep.yaml"]
    );

    let bare = Bare::new();
    assert!(matches!(
        bare.repo.snapshot_work_tree(),
        Err(RepoError::Unsupported(m)) if m.contains("--rev")
    ));
}

#[test]
fn revisions_are_found_by_what_people_call_them() {
    let bare = Bare::new();
    let first = bare.commit("main", &[("lockstep.yaml", Some("version: 1"))]);
    let second = bare.commit("main", &[("config/a.json", Some("{}"))]);
    bare.git(&["tag", "-a", "v1", "-m", "one", first.as_str()]);
    bare.git(&["update-ref", "refs/remotes/origin/far", first.as_str()]);
    // What is pushed beside a branch under its name does not take its place.
    bare.git(&["tag", "main", first.as_str()]);
    bare.git(&["update-ref", "refs/main", first.as_str()]);
    for (text, expected) in [
        ("main", &second),
        ("HEAD", &second),
        ("main~1", &first),
        ("v1", &first),
        ("far", &first),
        (first.short(), &first),
    ] {
        assert_eq!(bare.repo.resolve(text).unwrap(), *expected, "{text}");
    }
    for text in ["", "nope", "a\0b", "main~9", "@{", ":/", "refs/heads/"] {
        assert!(
            matches!(bare.repo.resolve(text), Err(RepoError::NotFound(_))),
            "{text:?}"
        );
    }
    assert_eq!(bare.repo.head("main").unwrap(), Some(second.clone()));
    assert_eq!(bare.repo.head("other").unwrap(), None);
    for branch in ["", "-x", "a..b", "a b", "a\0b", "x.lock", "a/"] {
        assert!(
            matches!(bare.repo.head(branch), Err(RepoError::Invalid(_))),
            "{branch:?}"
        );
    }
    assert_eq!(bare.repo.current_branch().unwrap().as_deref(), Some("main"));
    assert_eq!(
        bare.repo.commits_between(&first, &second).unwrap(),
        std::slice::from_ref(&second)
    );
    let log = bare.repo.log("main", 10).unwrap();
    assert_eq!(
        log.iter().map(|c| c.revision.clone()).collect::<Vec<_>>(),
        [second, first]
    );
    assert_eq!(log[0].subject(), "設定を変える");
    assert_eq!(log[0].author, who());
}

#[test]
fn a_name_that_git_would_refuse_is_cleaned() {
    let signature = |name: &str| {
        let signature = Identity::new(name, "a<b>@c").signature(at(0)).unwrap();
        (
            signature.name().unwrap().to_owned(),
            signature.email().unwrap().to_owned(),
        )
    };
    assert_eq!(signature("Eve <x>\n\0"), ("Eve x".into(), "ab@c".into()));
    assert_eq!(signature(" .,; ").0, "unknown");
    assert_eq!(signature("").0, "unknown");
}

#[tokio::test]
async fn a_moved_branch_is_heard_of() {
    let bare = Bare::new();
    bare.commit("main", &[("lockstep.yaml", Some("version: 1"))]);
    let mut watch = bare.repo.watch().unwrap();
    bare.commit("main", &[("lockstep.yaml", Some("version: 2"))]);
    assert_eq!(watch.changed().await, Some(()));
}

#[test]
fn the_users_identity_is_gits() {
    let bare = Bare::new();
    bare.git(&["config", "user.name", "鈴木"]);
    bare.git(&["config", "user.email", "suzuki@example.com"]);
    assert_eq!(
        bare.repo.identity().unwrap(),
        Some(Identity::new("鈴木", "suzuki@example.com"))
    );
    assert_eq!(bare.repo.config_get("lockstep.nothing").unwrap(), None);
}

#[test]
fn a_lock_that_a_killed_process_left_behind_is_taken_away() {
    let bare = Bare::new();
    let first = bare.commit("main", &[("lockstep.yaml", Some("version: 1"))]);
    let lock = bare
        .repo
        .git_dir()
        .unwrap()
        .join("refs/notes/lockstep/statuses.lock");
    std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
    std::fs::write(&lock, "").unwrap();
    let notes = "refs/notes/lockstep/statuses";
    bare.repo.append_note(notes, &first, "{}", at(1)).unwrap();
    assert_eq!(bare.repo.read_notes(notes, &first).unwrap(), ["{}"]);
    assert!(!lock.exists());
}
