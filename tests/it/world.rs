//! The tests' outside: a temporary config repo, real reference systems as processes, proxies that can stop the world in front of them,
//! and the built binary.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub mod proxy;

use proxy::Proxy;

/// How long anything may take before a test gives up: generous, for machines that are busy with other things.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The one place where the tests start a task; it ends with the test's runtime.
#[expect(
    clippy::disallowed_methods,
    reason = "a test's tasks end with its runtime"
)]
pub fn spawn(task: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
    tokio::spawn(task)
}

/// Waits for a condition, asking again and again until the deadline.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
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

/// A process that is killed when the test ends.
pub struct Process {
    child: Child,
    pub log: PathBuf,
}

impl Process {
    fn start(mut command: Command, log: PathBuf) -> Self {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        Self {
            child: command.spawn().unwrap(),
            log,
        }
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A reference system in a process of its own, with a proxy in front of it.
pub struct System {
    pub name: String,
    pub address: SocketAddr,
    pub proxy: Proxy,
    process: Option<Process>,
    dir: PathBuf,
}

impl System {
    async fn start(name: &str, dir: &Path) -> Self {
        let process = Self::spawn(name, dir, "127.0.0.1:0");
        let address = Self::address(&process).await;
        let proxy = Proxy::start(address).await;
        Self {
            name: name.to_owned(),
            address,
            proxy,
            process: Some(process),
            dir: dir.to_owned(),
        }
    }

    fn spawn(name: &str, dir: &Path, listen: &str) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command.args([
            "system",
            "serve",
            "--name",
            name,
            "--listen",
            listen,
            "--faults",
            "--database",
        ]);
        command.arg(dir.join(format!("{name}.db")));
        command.arg("--token-file").arg(dir.join("token"));
        let log = dir.join(format!("{name}.log"));
        let _ = std::fs::remove_file(&log);
        Process::start(command, log)
    }

    async fn address(process: &Process) -> SocketAddr {
        eventually("the reference system says where it listens", async || {
            let said = process.output();
            let at = said.find("http://")?;
            let text: String = said[at + 7..]
                .chars()
                .take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':'))
                .collect();
            text.parse().ok()
        })
        .await
    }

    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again where it was.
    pub async fn restart(&mut self) {
        self.process = None;
        let process = Self::spawn(&self.name, &self.dir, &self.address.to_string());
        Self::address(&process).await;
        self.process = Some(process);
    }

    /// Its state by `kind/name`, straight from the system.
    pub async fn resources(&self) -> BTreeMap<String, Value> {
        let state = self.state().await;
        state["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| {
                (
                    format!(
                        "{}/{}",
                        r["kind"].as_str().unwrap(),
                        r["name"].as_str().unwrap()
                    ),
                    r["spec"].clone(),
                )
            })
            .collect()
    }

    pub async fn state(&self) -> Value {
        self.call(reqwest::Method::GET, "/lockstep/v1/state", None)
            .await
            .1
    }

    pub async fn set_faults(&self, faults: Value) {
        let (status, body) = self
            .call(reqwest::Method::PUT, "/faults", Some(faults))
            .await;
        assert!(status.is_success(), "{status}: {body}");
    }

    /// Changes a resource behind Lockstep's back.
    pub async fn edit(&self, id: &str, spec: Value) {
        let (status, body) = self
            .call(
                reqwest::Method::PUT,
                &format!("/admin/resources/{id}"),
                Some(spec),
            )
            .await;
        assert!(status.is_success(), "{status}: {body}");
    }

    pub async fn call(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> (reqwest::StatusCode, Value) {
        let mut request = reqwest::Client::new()
            .request(method, format!("http://{}{path}", self.address))
            .bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap_or(Value::Null))
    }
}

const TOKEN: &str = "a-token-for-tests";

/// A config repo with two systems, and a folder for everything.
pub struct World {
    pub dir: tempfile::TempDir,
    pub systems: Vec<System>,
}

impl World {
    /// A bare repository with a small configuration, both systems running, nothing applied yet.
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), TOKEN).unwrap();
        let mut systems = Vec::new();
        for name in ["medical", "voicedrive"] {
            systems.push(System::start(name, dir.path()).await);
        }
        let world = Self { dir, systems };
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
        world.write("lockstep.yaml", &world.config(""));
        world.write("config/feature-flags.json", FLAGS);
        world.write("config/access-control.json", ACCESS);
        world.write("policies/approvals.rego", POLICY);
        world.commit("start");
        let settings = "\
[intervals]
git = \"200ms\"
systems = \"500ms\"
[timeouts]
request = \"5s\"
prepare = \"10s\"
commit = \"10s\"
[credentials.test]
token_file = \"token\"
";
        let hosts: Vec<String> = world
            .systems
            .iter()
            .map(|s| s.proxy.address.to_string())
            .collect();
        std::fs::write(
            world.path("lockstep.toml"),
            format!("{settings}hosts = {hosts:?}\n"),
        )
        .unwrap();
        world
    }

    /// The usual `lockstep.yaml`, with more lines at its end.
    pub fn config(&self, more: &str) -> String {
        let mut text = String::from("version: 1\ntimezone: Asia/Tokyo\nsystems:\n");
        for system in &self.systems {
            text.push_str(&format!(
                "  {}:\n    connector: http\n    url: http://{}\n    credential: test\n    kinds: [FeatureFlag, AccessGrant, IpBlock, Notice]\n",
                system.name, system.proxy.address
            ));
        }
        text.push_str(
            "groups:\n  hospital: {systems: [medical, voicedrive], consistency: lockstep}\n",
        );
        text.push_str("people:\n  sato: {name: 佐藤, forge: sato, roles: [operator]}\n");
        text.push_str("  suzuki: {name: 鈴木, forge: suzuki, roles: [approver]}\n");
        text.push_str("  tanaka: {name: 田中, forge: tanaka, roles: [approver, security]}\n");
        text.push_str(more);
        text
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn system(&self, name: &str) -> &System {
        self.systems.iter().find(|s| s.name == name).unwrap()
    }

    pub fn system_mut(&mut self, name: &str) -> &mut System {
        self.systems.iter_mut().find(|s| s.name == name).unwrap()
    }

    pub fn write(&self, path: &str, text: &str) {
        let path = self.path("work").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Commits the work tree and pushes it to main, past every gate: tests of the engine start from merged state.
    pub fn commit(&self, message: &str) -> String {
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

    pub fn git(&self, args: &[&str]) -> String {
        self.git_in(".", args)
    }

    pub fn git_in(&self, folder: &str, args: &[&str]) -> String {
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
    pub fn lockstep(&self, args: &[&str]) -> Command {
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
        command
    }

    /// Runs a command to its end, off the async threads: a proxy may have to answer meanwhile.
    pub async fn run(&self, args: &[&str]) -> Output {
        self.run_as("sato", args).await
    }

    pub async fn run_as(&self, user: &str, args: &[&str]) -> Output {
        let mut command = self.lockstep(args);
        command.env("LOCKSTEP_USER", user);
        tokio::task::spawn_blocking(move || command.output().unwrap())
            .await
            .unwrap()
    }

    /// Runs a command that must end with 0, and gives its stdout.
    pub async fn ok(&self, args: &[&str]) -> String {
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
    pub fn start(&self, args: &[&str], log: &str) -> Process {
        Process::start(self.lockstep(args), self.path(log))
    }

    /// What `lockstep status --format json` says.
    pub async fn status(&self) -> Value {
        let output = self.run(&["status", "--format", "json"]).await;
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// The apply statuses on a commit, as plain git shows them: context to state.
    pub fn statuses(&self, commit: &str) -> BTreeMap<String, String> {
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
                newest.insert(context.to_owned(), (note["seq"].as_u64(), state.to_owned()));
            }
        }
        newest
            .into_iter()
            .map(|(context, (_, state))| (context, state))
            .collect()
    }
}

/// Four flags on both systems and one on each.
pub const FLAGS: &str = r#"{
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
const POLICY: &str = r#"package lockstep

approval contains {"from": ["approver"], "count": 1, "because": "every change has a second pair of eyes"} if count(input.changes) > 0
"#;
