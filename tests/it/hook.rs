//! A bare repository with the hook, and people with clones who push with the real git: first as they should, then trying to get round it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::left::{ACCESS, Bare, CONFIG, Folder, Ran, alone, git, lockstep, write};

mod main_branch;
mod notes;
mod places;
mod signed;

/// The bare repository, and a folder for the clones.
struct Server {
    bare: Bare,
    clones: Folder,
}

impl Server {
    fn new() -> Self {
        Self::with(CONFIG)
    }

    /// With this `lockstep.yaml`.
    fn with(config: &str) -> Self {
        let bare = Bare::new();
        if config != CONFIG {
            bare.push("main", &[("lockstep.yaml", config)]);
        }
        bare.run(&["hook", "install"]).code(0);
        Self {
            bare,
            clones: Folder::new(),
        }
    }

    /// A clone whose origin is somewhere else, as far as Lockstep can see: only git knows the way.
    fn clone(&self, name: &str) -> Clone {
        let (from, path) = (self.bare.path(), self.clones.join(name));
        let from = from.to_str().unwrap();
        git(self.clones.path(), &["clone", "-q", from, name]);
        let url = "https://git.invalid/config.git";
        git(&path, &["config", "remote.origin.url", url]);
        git(&path, &["config", &format!("url.{from}.insteadOf"), url]);
        let clone = Clone { path };
        clone.fetch();
        clone
    }

    /// Proposal 1 raises a flag, and has the two approvals it needs.
    fn approved(&self) {
        self.bare.propose(0, &["flag.ai_assistant.rollout=25"]);
        self.bare.act(0, "approve", 1, "takahashi");
        self.bare.act(0, "approve", 1, "mori");
    }

    fn main(&self) -> String {
        self.bare.git(&["rev-parse", "refs/heads/main"])
    }

    /// A file on main.
    fn file(&self, path: &str) -> String {
        self.bare.file("refs/heads/main", path)
    }

    /// What became of a proposal: `open`, `merged` or `closed`.
    fn state(&self, number: u64) -> String {
        self.bare.show(number)["proposal"]["state"]["state"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

/// Somebody's clone.
struct Clone {
    path: PathBuf,
}

impl Clone {
    #[track_caller]
    fn git(&self, arguments: &[&str]) -> String {
        git(&self.path, arguments)
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ran {
        lockstep(&self.path, arguments)
    }

    /// All that the server has, notes and proposals too, and its main in place of the clone's own.
    fn fetch(&self) {
        self.git(&[
            "fetch",
            "-q",
            "origin",
            "+refs/heads/*:refs/remotes/origin/*",
            "+refs/notes/*:refs/notes/*",
            "+refs/lockstep/*:refs/lockstep/*",
        ]);
        self.git(&["checkout", "-q", "-f", "-B", "main", "origin/main"]);
    }

    fn push(&self, what: &[&str]) -> Ran {
        let output = alone("git", &self.path)
            .args(["push", "origin"])
            .args(what)
            .output();
        Ran::of(output.unwrap())
    }

    #[track_caller]
    fn pushes(&self, what: &[&str]) -> Ran {
        self.push(what).code(0)
    }

    /// A push that must be refused by the hook, in these words, and move nothing.
    #[track_caller]
    fn is_refused(&self, server: &Server, what: &[&str], words: &[&str]) {
        let refs = || server.bare.git(&["for-each-ref"]);
        let before = refs();
        let ran = self.push(what).code(1);
        let said: Vec<&str> = ran
            .err
            .lines()
            .filter_map(|line| line.strip_prefix("remote: "))
            .map(str::trim_end)
            .collect();
        let said = said.join("\n");
        assert!(
            said.starts_with("lockstep refuses this push, all of it:"),
            "{}",
            ran.err
        );
        for word in words {
            assert!(said.contains(word), "no {word:?} in:\n{said}");
        }
        assert_eq!(refs(), before);
        // What was refused leaves nothing behind that could break the repository.
        server.bare.git(&["fsck", "--strict", "--no-dangling"]);
    }

    /// Commits files on a branch, new or checked out again.
    fn commit(&self, branch: &str, files: &[(&str, &str)]) -> String {
        if !self.git(&["branch", "--list", branch]).is_empty() {
            self.git(&["checkout", "-q", branch]);
        } else {
            self.git(&["checkout", "-q", "-b", branch]);
        }
        for (name, text) in files {
            write(&self.path, name, text);
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-qm", "by hand"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Merges the head of a proposal into main, with plain git.
    fn merge_by_hand(&self, number: u64) -> String {
        self.git(&["checkout", "-q", "main"]);
        let head = format!("refs/lockstep/heads/{number}");
        self.git(&["merge", "-q", "--no-ff", "--no-edit", &head]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Adds a line to a note of the first commit of a proposal, as anybody can with plain git.
    fn add_line(&self, notes: &str, number: u64, line: &str) {
        let first = self.git(&["rev-parse", &format!("refs/lockstep/proposals/{number}")]);
        self.git(&["notes", "--ref", notes, "append", "-m", line, &first]);
    }

    /// The lines of such a note.
    fn lines(&self, notes: &str, number: u64) -> Vec<String> {
        let first = self.git(&["rev-parse", &format!("refs/lockstep/proposals/{number}")]);
        let text = self.git(&["notes", "--ref", notes, "show", &first]);
        text.lines()
            .filter(|l| !l.is_empty())
            .map(ToOwned::to_owned)
            .collect()
    }
}

/// All notes, as people push them.
const NOTES: &str = "refs/notes/*:refs/notes/*";
/// The proposals' numbers and heads.
const PROPOSALS: &str = "refs/lockstep/*:refs/lockstep/*";

#[test]
fn it_is_installed_and_leaves_others_hooks_alone() {
    let bare = Bare::new();
    let hook = bare.path().join("hooks/pre-receive");
    assert!(!hook.exists());
    let ran = bare.run(&["hook", "install"]).code(0);
    assert!(ran.err.starts_with("wrote "), "{}", ran.err);
    let text = std::fs::read_to_string(&hook).unwrap();
    assert!(text.contains(env!("CARGO_BIN_EXE_lockstep")), "{text}");
    assert!(text.contains("unset LOCKSTEP_SETTINGS"), "{text}");
    let mode = hook.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    // Again, after an update of the binary.
    bare.run(&["hook", "install"]).code(0);

    std::fs::write(&hook, "#!/bin/sh\nexit 0\n").unwrap();
    let ran = bare.run(&["hook", "install"]).code(2);
    assert!(ran.err.contains("not one of ours"), "{}", ran.err);
    assert_eq!(
        std::fs::read_to_string(&hook).unwrap(),
        "#!/bin/sh\nexit 0\n"
    );
    let ran = lockstep(&bare.clone(), &["hook", "install"]).code(2);
    assert!(ran.err.contains("no bare repository"), "{}", ran.err);
    std::fs::remove_file(&hook).unwrap();
    bare.git(&["config", "core.hooksPath", "/srv/hooks"]);
    let ran = bare.run(&["hook", "install"]).code(2);
    assert!(ran.err.contains("core.hooksPath"), "{}", ran.err);
}

#[test]
fn what_is_no_call_of_gits_is_no_permission() {
    let bare = Bare::new();
    // Nothing on stdin moves nothing.
    bare.run(&["hook", "pre-receive"]).code(0);
    let mut child = alone(env!("CARGO_BIN_EXE_lockstep"), &bare.path())
        .args(["hook", "pre-receive"])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"refs/heads/main\n").unwrap();
    drop(stdin);
    let ran = Ran::of(child.wait_with_output().unwrap()).code(2);
    assert!(ran.err.contains("no line of git's"), "{}", ran.err);
}

#[test]
fn the_first_push_begins_and_the_next_is_judged() {
    let server = Server::new();
    let empty = server.clones.join("empty.git");
    git(server.clones.path(), &["init", "-q", "--bare", "empty.git"]);
    lockstep(&empty, &["hook", "install"]).code(0);
    let clone = server.clone("begin");
    let to = empty.to_str().unwrap();
    clone.git(&["config", "--unset-all", "remote.origin.url"]);
    clone.git(&["config", "remote.origin.url", to]);
    let ran = clone.pushes(&["main"]);
    assert!(ran.err.contains("the first push"), "{}", ran.err);
    clone.commit("main", &[("README.md", "# 設定\n")]);
    let ran = clone.push(&["main"]).code(1);
    assert!(ran.err.contains("is no merge of a proposal"), "{}", ran.err);
}

#[test]
fn people_with_clones_propose_approve_and_merge() {
    let server = Server::new();
    let (sato, mori) = (server.clone("sato"), server.clone("mori"));
    sato.run(&[
        "propose",
        "--as",
        "sato",
        "--branch",
        "raise",
        "--set",
        "flag.ai_assistant.rollout=25",
    ])
    .code(0);
    sato.pushes(&["raise", NOTES, PROPOSALS]);

    mori.fetch();
    mori.run(&["proposal", "approve", "1", "--as", "takahashi"])
        .code(0);
    mori.run(&["proposal", "merge", "1", "--as", "mori"])
        .code(1);
    mori.pushes(&[NOTES]);
    assert_eq!(server.bare.statuses(1)[3], "approval=pending");

    // The second approval, the merge and the record of both come in one push.
    mori.run(&["proposal", "approve", "1", "--as", "mori"])
        .code(0);
    mori.run(&["proposal", "merge", "1", "--as", "mori"])
        .code(0);
    let ran = mori.pushes(&["main", NOTES, PROPOSALS]);
    assert!(ran.err.contains("the merge passed the gate"), "{}", ran.err);
    assert_eq!(server.state(1), "merged");
    assert!(server.file("config/feature-flags.json").contains("  25,"));
    // Nothing is left to push, and the others follow.
    mori.pushes(&["main", NOTES, PROPOSALS]);
    sato.fetch();
    sato.run(&["proposal", "show", "1"]).code(0);
}

#[test]
fn a_merge_by_plain_git_is_as_good_if_it_is_the_same() {
    let server = Server::new();
    server.approved();
    let clone = server.clone("by-hand");
    let merge = clone.merge_by_hand(1);
    clone.pushes(&["main"]);
    assert_eq!(server.main(), merge);
    assert_eq!(server.state(1), "merged");
}

#[test]
fn main_alone_without_its_approvals_is_told_what_is_missing() {
    let server = Server::new();
    server.bare.propose(0, &["flag.ai_assistant.rollout=25"]);
    let clone = server.clone("eager");
    clone
        .run(&["proposal", "approve", "1", "--as", "takahashi"])
        .code(0);
    clone
        .run(&["proposal", "approve", "1", "--as", "mori"])
        .code(0);
    clone
        .run(&["proposal", "merge", "1", "--as", "mori"])
        .code(0);
    // The approvals are in the clone alone.
    clone.is_refused(
        &server,
        &["main"],
        &[
            "refs/heads/main: proposal 1 may not be merged yet:",
            "lockstep/approval: 0 of 2 from *",
        ],
    );
    clone.pushes(&["main", NOTES]);
    assert_eq!(server.state(1), "merged");
}

#[test]
fn the_record_of_a_merge_may_come_later() {
    let server = Server::new();
    server.approved();
    let clone = server.clone("later");
    clone
        .run(&["proposal", "merge", "1", "--as", "mori"])
        .code(0);
    clone.pushes(&["main"]);
    clone.pushes(&[NOTES, PROPOSALS]);
    let record = clone.lines("refs/notes/lockstep/proposals", 1);
    assert!(record[1].contains("\"by\":\"mori\""), "{record:?}");
    assert_eq!(server.state(1), "merged");
}

#[test]
fn before_there_is_a_main_branch_there_is_nothing_to_judge_by() {
    let server = Server::new();
    let empty = server.clones.join("empty.git");
    git(server.clones.path(), &["init", "-q", "--bare", "empty.git"]);
    lockstep(&empty, &["hook", "install"]).code(0);
    let clone = server.clone("early");
    clone.git(&["remote", "add", "empty", empty.to_str().unwrap()]);
    // Its places are kept all the same.
    let output = alone("git", &clone.path)
        .args(["push", "empty", "main:refs/replace/x"])
        .output();
    Ran::of(output.unwrap()).code(1);
    clone.git(&["push", "-q", "empty", "main:side"]);
    clone.git(&["push", "-q", "empty", "main"]);
}

#[test]
fn two_merges_in_one_push_are_judged_one_after_the_other() {
    let server = Server::new();
    server.approved();
    server.bare.propose(0, &["access.readonly_users+=user102"]);
    let clone = server.clone("both");
    clone.merge_by_hand(1);
    clone.merge_by_hand(2);
    clone.is_refused(
        &server,
        &["main"],
        &["proposal 2 may not be merged yet", "0 of 2"],
    );
    server.bare.act(0, "approve", 2, "takahashi");
    server.bare.act(0, "approve", 2, "watanabe");
    let ran = clone.pushes(&["main"]);
    assert!(ran.err.contains("2 merges passed the gate"), "{}", ran.err);
    assert_eq!(
        (server.state(1), server.state(2)),
        ("merged".into(), "merged".into())
    );
}

#[test]
fn what_the_first_merge_changes_judges_the_second() {
    let server = Server::new();
    server.approved();
    // The first denies what the second does.
    let clone = server.clone("rules");
    let rule = "package lockstep\n\ndeny contains \"no grants today\" if {\n\tsome change in input.changes\n\tchange.kind == \"AccessGrant\"\n}\n";
    clone.commit("rule", &[("policies/today.rego", rule)]);
    clone.pushes(&["rule"]);
    server
        .bare
        .run(&["propose", "--as", "sato", "--branch", "rule"])
        .code(0);
    server.bare.act(0, "approve", 2, "watanabe");
    server.bare.act(0, "approve", 2, "mori");
    server.bare.propose(0, &["access.readonly_users+=user102"]);
    server.bare.act(0, "approve", 3, "takahashi");
    server.bare.act(0, "approve", 3, "watanabe");
    clone.git(&["checkout", "-q", "main"]);
    clone.fetch();
    clone.merge_by_hand(2);
    clone.merge_by_hand(3);
    clone.is_refused(
        &server,
        &["main"],
        &["proposal 3 may not be merged yet", "no grants today"],
    );
}
