//! The tests' outside: a temporary config repo, real reference systems as processes, proxies that can stop the world in front of them,
//! and the built binary.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) mod front;
#[cfg(test)]
pub(crate) mod postgres;
pub(crate) mod proxy;
#[cfg(test)]
pub(crate) mod redis;
#[cfg(test)]
pub(crate) mod scim;
pub(crate) mod secrets;
mod system;
#[cfg(test)]
pub(crate) mod unleash;

pub(crate) use system::{Process, System};

/// How long anything may take before a test gives up: generous, for machines that are busy with other things.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// The one place where the tests start a task; it ends with the test's runtime.
#[expect(
    clippy::disallowed_methods,
    reason = "a test's tasks end with its runtime"
)]
pub(crate) fn spawn(
    task: impl Future<Output = ()> + Send + 'static,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(task)
}

/// Waits for a condition, asking again and again until the deadline.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "never came true within {DEADLINE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The secret of every world: nothing but the file that holds it, and requests to systems, may ever show it.
pub(crate) fn token() -> &'static str {
    static TOKEN: LazyLock<String> =
        LazyLock::new(|| format!("planted-{}", uuid::Uuid::new_v4().simple()));
    &TOKEN
}

/// A config repo with two systems, and a folder for everything.
///
/// When it ends, everything that was written or said in it is searched for the secret that was planted.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) systems: Vec<System>,
    /// Where the store is, as the settings say it.
    store: String,
    /// The lines of `lockstep.yaml` under `groups:`.
    groups: String,
    /// What commands have printed.
    said: Mutex<Vec<u8>>,
}

/// How a world is made that is not as usual.
pub(crate) struct Layout<'a> {
    pub(crate) systems: &'a [String],
    /// The lines of `lockstep.yaml` under `groups:`.
    pub(crate) groups: &'a str,
    /// A path or URL.
    pub(crate) store: &'a str,
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
            return;
        }
        let leaks = self.leaks();
        assert!(leaks.is_empty(), "the secret is in: {leaks:#?}");
    }
}

impl World {
    /// The ends of all logs, for whoever reads of a test that failed.
    #[expect(clippy::print_stderr, reason = "the tests' runner shows it")]
    fn show_logs(&self) {
        let files = std::fs::read_dir(self.dir.path()).into_iter().flatten();
        for file in files.flatten().map(|entry| entry.path()) {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(".log")
                && !name.ends_with("trace.log")
                && let Ok(text) = std::fs::read_to_string(&file)
            {
                let from = text.lines().count().saturating_sub(60);
                let end: Vec<&str> = text.lines().skip(from).collect();
                eprintln!("\n== {}\n{}", file.display(), end.join("\n"));
            }
        }
    }

    /// A bare repository with a small configuration, both systems running, nothing applied yet.
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    /// The same, applied once.
    pub(crate) async fn in_step() -> Self {
        let world = Self::new().await;
        world.ok(&["apply"]).await;
        world.forget_requests();
        world
    }

    /// The same as [`World::new`], with more lines at the end of `lockstep.yaml`.
    pub(crate) async fn with(more: &str) -> Self {
        let world = Self::bare(Layout {
            systems: &["medical".to_owned(), "voicedrive".to_owned()],
            groups: "  hospital: {systems: [medical, voicedrive], consistency: lockstep}\n",
            store: "store.db",
        })
        .await;
        world.write("lockstep.yaml", &world.config(more));
        world.write("config/feature-flags.json", FLAGS);
        world.write("config/access-control.json", ACCESS);
        world.write("policies/approvals.rego", POLICY);
        world.commit("start");
        world.settings(&SETTINGS);
        world
    }

    /// A repository without a commit, and its systems.
    pub(crate) async fn bare(layout: Layout<'_>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        secrets::plant(&dir.path().join("token"));
        let starting = layout.systems.iter().map(|s| System::start(s, dir.path()));
        let systems = futures_util::future::join_all(starting).await;
        let world = Self {
            dir,
            systems,
            store: layout.store.to_owned(),
            groups: layout.groups.to_owned(),
            said: Mutex::default(),
        };
        world.git(&[
            "init",
            "--quiet",
            "--bare",
            "--initial-branch=main",
            "config.git",
        ]);
        world.git(&["clone", "--quiet", "config.git", "work"]);
        world.git_in("work", &["config", "user.name", "Sato"]);
        world.git_in("work", &["config", "user.email", "sato@example.org"]);
        world
    }

    /// Writes `lockstep.toml`.
    pub(crate) fn settings(&self, settings: &Settings) {
        let Settings {
            git,
            systems,
            request,
            prepare,
            commit,
            urgent,
            lease,
        } = settings;
        let store = &self.store;
        let hosts: Vec<String> = self.systems.iter().map(|s| s.at.to_string()).collect();
        let text = format!(
            "store = {store:?}\n\
             [intervals]\ngit = {git:?}\nsystems = {systems:?}\n\
             [timeouts]\nrequest = {request:?}\nprepare = {prepare:?}\ncommit = {commit:?}\nurgent = {urgent:?}\nlease = {lease:?}\n\
             [credentials.test]\ntoken_file = \"token\"\nhosts = {hosts:?}\n"
        );
        std::fs::write(self.path("lockstep.toml"), text).unwrap();
    }

    /// Forgets what the proxies have seen so far.
    pub(crate) fn forget_requests(&self) {
        for system in &self.systems {
            system.proxy.take_log();
        }
    }

    /// Sets a flag's rollout in the documents; not committed yet.
    pub(crate) fn set_rollout(&self, rollout: u32) {
        self.write(
            "config/feature-flags.json",
            &FLAGS.replace("\"rollout\": 10", &format!("\"rollout\": {rollout}")),
        );
    }

    /// The rollout of that flag on each system.
    pub(crate) async fn rollouts(&self) -> Vec<Option<u64>> {
        let mut all = Vec::new();
        for system in &self.systems {
            let resources = system.resources().await;
            all.push(
                resources
                    .get("FeatureFlag/ai_assistant")
                    .and_then(|spec| spec["rollout"].as_u64()),
            );
        }
        all
    }

    /// One pass, and how it ended: exit code, stdout and stderr.
    pub(crate) async fn apply(&self) -> Ended {
        Ended::of(&self.run(&["apply"]).await)
    }

    /// The store, for looking into it.
    pub(crate) async fn store(&self) -> lockstep::store::Store {
        let place = match self.store.contains("://") {
            true => self.store.clone().into(),
            false => self.path(&self.store),
        };
        lockstep::store::Store::open(place).await.unwrap()
    }

    /// How many changesets lie staged on the systems. They are stopped meanwhile: a running one has its file to itself.
    pub(crate) async fn staged(&mut self) -> i64 {
        let mut all = 0;
        for system in &mut self.systems {
            all += system.staged().await;
        }
        all
    }

    /// The ledger's entries of one action, oldest first.
    pub(crate) async fn entries(&self, action: &str) -> Vec<lockstep::store::Entry> {
        let filter = lockstep::store::EntryFilter {
            action: Some(action.to_owned()),
            ..lockstep::store::EntryFilter::default()
        };
        self.store().await.entries(&filter).await.unwrap()
    }

    /// The outcomes of all finished runs, oldest first.
    pub(crate) async fn outcomes(&self) -> Vec<String> {
        let entries = self.entries("run.finished").await;
        entries
            .iter()
            .map(|e| e.body["outcome"]["outcome"].as_str().unwrap().to_owned())
            .collect()
    }

    /// How a system stands, as `lockstep status` says: its standing and why.
    pub(crate) async fn standing(&self, system: &str) -> (String, String) {
        let status = self.status().await;
        let groups = status["groups"].as_array().cloned().unwrap_or_default();
        let of = groups
            .iter()
            .flat_map(|g| g["systems"].as_array().cloned().unwrap_or_default())
            .find(|s| s["system"] == system)
            .unwrap_or_else(|| panic!("no {system} in {status}"));
        (
            of["standing"].as_str().unwrap().to_owned(),
            of["why"].as_str().unwrap_or_default().to_owned(),
        )
    }

    /// The usual `lockstep.yaml`, with more lines at its end.
    pub(crate) fn config(&self, more: &str) -> String {
        let mut text = String::from("version: 1\ntimezone: Asia/Tokyo\nsystems:\n");
        for system in &self.systems {
            text.push_str(&format!(
                "  {}:\n    connector: http\n    url: http://{}\n    credential: test\n    kinds: [FeatureFlag, AccessGrant, IpBlock, Notice]\n",
                system.name, system.at
            ));
        }
        text.push_str("groups:\n");
        text.push_str(&self.groups);
        text.push_str("people:\n  sato: {name: 佐藤, forge: sato, roles: [operator]}\n");
        text.push_str("  suzuki: {name: 鈴木, forge: suzuki, roles: [approver]}\n");
        text.push_str("  tanaka: {name: 田中, forge: tanaka, roles: [approver, security]}\n");
        text.push_str(more);
        text
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn system(&self, name: &str) -> &System {
        self.systems.iter().find(|s| s.name == name).unwrap()
    }

    pub(crate) fn system_mut(&mut self, name: &str) -> &mut System {
        self.systems.iter_mut().find(|s| s.name == name).unwrap()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path("work").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Commits the work tree and pushes it to main, past every gate: tests of the engine start from merged state.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git_in("work", &["add", "-A"]);
        self.git_in(
            "work",
            &["commit", "--quiet", "--allow-empty", "-m", message],
        );
        self.git_in("work", &["push", "--quiet", "origin", "HEAD:main"]);
        self.git_in("work", &["rev-parse", "HEAD"])
            .trim()
            .to_owned()
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        self.git_in(".", args)
    }

    pub(crate) fn git_in(&self, folder: &str, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(args)
            .current_dir(self.path(folder))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "git {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// The binary with arguments, on the bare repository.
    pub(crate) fn lockstep(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command
            .args(args)
            .args([
                "--repo",
                "config.git",
                "--settings",
                "lockstep.toml",
                "--lang",
                "en",
            ])
            .current_dir(self.dir.path())
            .env("LOCKSTEP_USER", "sato")
            .env("NO_COLOR", "1");
        // As loud as can be, for the search at the end; a test that reads the log has it where it asked for it.
        if !args.contains(&"--log") {
            command.args(["--log", "trace", "--log-file", "trace.log"]);
        }
        command
    }

    /// Where the secret is that should not be there.
    pub(crate) fn leaks(&self) -> Vec<String> {
        let mut leaks = secrets::in_files(self.dir.path());
        leaks.extend(secrets::in_repository(&self.path("config.git")));
        leaks.extend(secrets::in_repository(&self.path("work")));
        if secrets::is_in(&self.said.lock().unwrap()) {
            leaks.push("what commands printed".to_owned());
        }
        for system in &self.systems {
            leaks.extend(system.leaks());
        }
        leaks
    }

    /// Runs a command to its end, off the async threads: a proxy may have to answer meanwhile.
    pub(crate) async fn run(&self, args: &[&str]) -> Output {
        self.run_as("sato", args).await
    }

    pub(crate) async fn run_as(&self, user: &str, args: &[&str]) -> Output {
        let mut command = self.lockstep(args);
        command.env("LOCKSTEP_USER", user);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap();
        let mut said = self.said.lock().unwrap();
        said.extend_from_slice(&output.stdout);
        said.extend_from_slice(&output.stderr);
        drop(said);
        output
    }

    /// Runs a command that must end with 0, and gives its stdout.
    pub(crate) async fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args).await;
        assert!(
            output.status.success(),
            "lockstep {args:?}: {}\n{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// A command in the background.
    pub(crate) fn start(&self, args: &[&str], log: &str) -> Process {
        Process::start(self.lockstep(args), self.path(log))
    }

    /// What `lockstep status --format json` says.
    pub(crate) async fn status(&self) -> Value {
        let output = self.run(&["status", "--format", "json"]).await;
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// The apply statuses on a commit, as plain git shows them: context to state and description.
    pub(crate) fn statuses(&self, commit: &str) -> BTreeMap<String, (String, String)> {
        let output = Command::new("git")
            .args(["notes", "--ref=lockstep/statuses", "show", commit])
            .current_dir(self.path("config.git"))
            .output()
            .unwrap();
        let mut newest = BTreeMap::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if let Ok(note) = serde_json::from_str::<Value>(line)
                && let (Some(context), Some(state)) =
                    (note["context"].as_str(), note["state"].as_str())
            {
                let description = note["description"].as_str().unwrap_or_default();
                newest.insert(
                    context.to_owned(),
                    (state.to_owned(), description.to_owned()),
                );
            }
        }
        newest
    }

    /// The state of each apply status on a commit: the whole, then each system.
    pub(crate) fn states(&self, commit: &str) -> Vec<String> {
        let statuses = self.statuses(commit);
        ["", "/medical", "/voicedrive"]
            .iter()
            .map(|of| {
                statuses
                    .get(&format!("lockstep/apply{of}"))
                    .map_or("none".to_owned(), |(state, _)| state.clone())
            })
            .collect()
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The server's intervals and time limits.
pub(crate) struct Settings {
    pub(crate) git: &'static str,
    pub(crate) systems: &'static str,
    pub(crate) request: &'static str,
    pub(crate) prepare: &'static str,
    pub(crate) commit: &'static str,
    pub(crate) urgent: &'static str,
    pub(crate) lease: &'static str,
}

/// Generous, for machines that are busy with other things; tests of what is timed out take their own.
pub(crate) const SETTINGS: Settings = Settings {
    git: "200ms",
    systems: "500ms",
    request: "20s",
    prepare: "40s",
    commit: "40s",
    urgent: "20s",
    lease: "30s",
};

/// Four flags on both systems and one on each.
pub(crate) const FLAGS: &str = r#"{
  // flags for both
  "ai_assistant": { "enabled": true, "rollout": 10, "teams": ["medical", "voicedrive"], "owner": "sato", "expires": "2027-12-31" },
  "night_mode": { "enabled": false, "teams": ["medical", "voicedrive"], "owner": "sato", "expires": "2027-12-31" },
  "shift_swap": { "enabled": true, "teams": ["medical"], "owner": "sato", "expires": "2027-12-31" },
  "voice_memo": { "enabled": true, "teams": ["voicedrive"], "owner": "sato", "expires": "2027-12-31" },
}
"#;

const ACCESS: &str = r#"{ "admin_users": ["user001"], "readonly_users": ["user100"], "blocked_ips": ["203.0.113.7"] }
"#;

/// One approval for anything: the shipped policies have tests of their own.
pub(crate) const POLICY: &str = r#"package lockstep

approval contains {"from": ["approver"], "count": 1, "because": "every change has a second pair of eyes"} if count(input.changes) > 0
"#;
