//! The left half as people meet it: `check`, `plan`, `schema`, `init` and proposals, through the built binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::world::{secrets, token};

mod approvals;
mod cases;
mod check;
mod clones;
mod explain;
mod foresight;
mod hostile;
mod hostile_names;
mod hostile_trees;
mod init;
mod input;
mod plan;
mod promises;
mod proposals;
mod schema;
mod trees;

/// The repository of this crate: the sample config repo and the shipped policies lie there.
pub(crate) fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn of(output: Output) -> Self {
        let leaks = [&output.stdout, &output.stderr].map(|said| secrets::is_in(said));
        assert_eq!(leaks, [false; 2], "the secret is in what was printed");
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        Self {
            code: output.status.code().expect("not killed"),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// The exit code is part of the contract: asserted wherever a command is run.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "out:\n{}\nerr:\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).expect(&self.out)
    }
}

/// A server's settings, which bind a credential that comes by the environment: nothing here needs it, and nothing may show it.
fn settings() -> String {
    format!("[credentials.planted]\ntoken_env = {PLANTED:?}\nhosts = [\"127.0.0.1\"]\n")
}

/// The variable that the secret is in.
const PLANTED: &str = "PLANTED";

/// Neither the user's nor the machine's git configuration, locale or settings come in; what comes in is a secret, into git's hooks too.
pub(crate) fn alone(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env("HOME", "/nonexistent")
        .env("XDG_CONFIG_HOME", "/nonexistent")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("LC_ALL", "C.UTF-8")
        .env(PLANTED, token())
        .env_remove("LOCKSTEP_USER")
        .env_remove("LOCKSTEP_SETTINGS");
    command
}

/// Runs the binary, which logs as loudly as it can, for the search.
#[track_caller]
pub(crate) fn lockstep(folder: &Path, arguments: &[&str]) -> Ran {
    let of_server = tempfile::tempdir().expect("a temporary folder");
    let place = |name| of_server.path().join(name);
    std::fs::write(place("lockstep.toml"), settings()).expect("written settings");
    let output = alone(env!("CARGO_BIN_EXE_lockstep"), folder)
        .args(arguments)
        .args(["--log", "trace", "--log-file"])
        .arg(place("log"))
        .arg("--settings")
        .arg(place("lockstep.toml"))
        .output();
    // Arguments that are none are said before there is a log.
    let logged = std::fs::read(place("log")).unwrap_or_default();
    assert!(!secrets::is_in(&logged), "the secret is in the log");
    Ran::of(output.expect("the binary starts"))
}

/// Runs the real git, which must not fail.
#[track_caller]
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = alone("git", folder)
        .args(["-c", "user.name=sato", "-c", "user.email=sato@example.com"])
        .args(["-c", "init.defaultBranch=main"])
        .args(arguments)
        .output();
    let ran = Ran::of(output.expect("git starts")).code(0);
    ran.out.trim_end().to_owned()
}

/// A folder that goes away, after it was searched for the secret.
pub(crate) struct Folder(tempfile::TempDir);

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let leaks = self.leaks();
        assert!(leaks.is_empty(), "the secret is in: {leaks:#?}");
    }
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// Where the secret is that should not be there.
    fn leaks(&self) -> Vec<String> {
        let mut leaks = secrets::in_files(self.path());
        for repository in secrets::repositories(self.path()) {
            leaks.extend(secrets::in_repository(&repository));
        }
        leaks
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file and the folders it is in.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        write(self.path(), name, content);
        self
    }

    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        lockstep(self.path(), arguments)
    }
}

pub(crate) fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a new folder");
    std::fs::write(path, content).expect("a written file");
}

/// Two systems in step, people, and the documents that the tests change. No date in it comes or goes.
pub(crate) const CONFIG: &str = "\
version: 1
timezone: Asia/Tokyo
systems:
  medical: {title: 医療システム, connector: http, url: 'http://127.0.0.1:1', kinds: [FeatureFlag, AccessGrant, IpBlock, InterviewType, Notice]}
  voicedrive: {title: VoiceDrive, connector: http, url: 'http://127.0.0.1:2', kinds: [FeatureFlag, AccessGrant, IpBlock, Notice]}
groups:
  hospital: {systems: [medical, voicedrive]}
people:
  sato: {name: 佐藤, forge: sato, roles: [operator], systems: [medical]}
  takahashi: {name: 高橋, forge: takahashi, roles: [approver], systems: [medical]}
  watanabe: {name: 渡辺, forge: watanabe, roles: [approver], systems: [voicedrive]}
  mori: {name: 森, forge: mori-r, roles: [security, approver], systems: [medical, voicedrive]}
";

pub(crate) const FLAGS: &str = r#"{
  // 段階公開中
  "ai_assistant": {
    "enabled": true,
    "rollout":   10,  // 25 ポイントずつ
    "teams": ["medical", "voicedrive"],
    "owner": "sato", "expires": "2099-12-31",
  },
  "old_banner": { "enabled": false, "teams": ["medical"], "owner": "sato", "expires": "2099-12-31" },
}
"#;

pub(crate) const ACCESS: &str = r#"{
  "admin_users": ["user001", "user002"],
  "readonly_users": ["user101"],
  "blocked_ips": ["203.0.113.7"]
}
"#;

/// Writes a config repo that passes, with the shipped policies.
pub(crate) fn write_config(folder: &Path) {
    write(folder, "lockstep.yaml", CONFIG);
    write(folder, "config/feature-flags.json", FLAGS);
    write(folder, "config/access-control.json", ACCESS);
    for entry in std::fs::read_dir(here().join("policies")).expect("policies") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|n| n.to_str()).expect("a name");
        if path.extension().is_some_and(|e| e == "rego") && !name.ends_with("_test.rego") {
            let text = std::fs::read(&path).expect("a policy");
            write(folder, &format!("policies/{name}"), text);
        }
    }
}

/// A bare config repo on its main branch, and a clone of it that someone works in.
pub(crate) struct Bare {
    folder: Folder,
}

impl Bare {
    pub(crate) fn new() -> Self {
        let folder = Folder::new();
        let first = folder.join("first");
        write_config(&first);
        git(&first, &["init", "-q"]);
        git(&first, &["add", "-A"]);
        git(&first, &["commit", "-qm", "begin"]);
        git(
            folder.path(),
            &["clone", "-q", "--bare", "first", "config.git"],
        );
        std::fs::remove_dir_all(&first).expect("only the bare repository is left");
        git(&folder.join("config.git"), &["remote", "remove", "origin"]);
        // The hook reads these, whatever the environment of who pushes says.
        folder.write("config.git/lockstep/lockstep.toml", settings());
        Self { folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join("config.git")
    }

    /// Runs the binary in the bare repository.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        lockstep(&self.path(), arguments)
    }

    #[track_caller]
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        git(&self.path(), arguments)
    }

    /// A file as a revision has it.
    #[track_caller]
    pub(crate) fn file(&self, revision: &str, path: &str) -> String {
        let output = alone("git", &self.path())
            .args(["show", &format!("{revision}:{path}")])
            .output();
        Ran::of(output.expect("git starts")).code(0).out
    }

    /// A clone to work in.
    pub(crate) fn clone(&self) -> PathBuf {
        let clone = self.folder.join("clone");
        git(self.folder.path(), &["clone", "-q", "config.git", "clone"]);
        clone
    }

    /// Commits files on top of a branch and pushes, with plain git.
    pub(crate) fn push(&self, branch: &str, files: &[(&str, &str)]) -> String {
        let work = Folder::new();
        let from = self.path();
        let from = from.to_str().expect("UTF-8");
        git(work.path(), &["clone", "-q", from, "w"]);
        let clone = work.join("w");
        git(&clone, &["checkout", "-q", branch]);
        for (name, text) in files {
            write(&clone, name, text);
        }
        git(&clone, &["add", "-A"]);
        git(&clone, &["commit", "-qm", "a push"]);
        git(&clone, &["push", "-q", "origin", branch]);
        git(&clone, &["rev-parse", "HEAD"])
    }

    /// Proposes edits as sato: `propose --set EDIT …`, which must end as `code` says.
    #[track_caller]
    pub(crate) fn propose(&self, code: i32, edits: &[&str]) -> Ran {
        let mut arguments = vec!["propose", "--as", "sato"];
        arguments.extend(edits.iter().flat_map(|e| ["--set", e]));
        self.run(&arguments).code(code)
    }

    /// `proposal VERB NUMBER --as WHO`.
    #[track_caller]
    pub(crate) fn act(&self, code: i32, verb: &str, number: u64, who: &str) -> Ran {
        let number = number.to_string();
        self.run(&["proposal", verb, &number, "--as", who])
            .code(code)
    }

    /// The proposal as `show --format json` tells it, whatever the exit code.
    #[track_caller]
    pub(crate) fn show(&self, number: u64) -> Value {
        let number = number.to_string();
        self.run(&["proposal", "show", &number, "--format", "json"])
            .json()
    }

    /// `lockstep/check=success` … of a proposal's head.
    #[track_caller]
    pub(crate) fn statuses(&self, number: u64) -> Vec<String> {
        let shown = self.show(number);
        let all = shown["statuses"].as_array().expect("statuses");
        all.iter()
            .map(|s| {
                let text = |key: &str| s[key].as_str().unwrap_or_default().to_owned();
                let context = text("context");
                let context = context.trim_start_matches("lockstep/");
                format!("{context}={}", text("state"))
            })
            .collect()
    }

    pub(crate) fn branch(&self, number: u64) -> String {
        self.show(number)["proposal"]["branch"]
            .as_str()
            .expect("a branch")
            .to_owned()
    }
}

/// All green.
pub(crate) const GREEN: [&str; 4] = [
    "check=success",
    "policy=success",
    "plan=success",
    "approval=success",
];

#[test]
fn the_search_of_a_folder_finds_what_lies_about() {
    let bare = Bare::new();
    let folder = &bare.folder;
    assert_eq!(folder.leaks(), [""; 0]);
    folder.write("a/notes.txt", format!("remember {}!", token()));
    bare.git(&["notes", "add", "-m", token(), "main"]);
    let leaks = folder.leaks();
    for place in ["notes.txt", "an object of"] {
        assert!(leaks.iter().any(|leak| leak.contains(place)), "{leaks:#?}");
    }
    assert!(!leaks.concat().contains(token()));
    std::fs::remove_dir_all(folder.join("a")).expect("it was there");
    std::fs::remove_dir_all(bare.path()).expect("it was there");
}
