//! A reference system in a process of its own, behind its proxy.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::proxy::Proxy;
use super::{eventually, secrets, token};

/// A process that is killed when the test ends.
pub(crate) struct Process {
    child: Child,
    pub(crate) log: PathBuf,
}

impl Process {
    pub(crate) fn start(mut command: Command, log: PathBuf) -> Self {
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
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// How it ended, once it has.
    pub(crate) async fn ended(&mut self) -> std::process::ExitStatus {
        eventually("the process ends", async || self.child.try_wait().unwrap()).await
    }

    /// How it ended, which it must within this time: what it promises, and what a busy machine may add.
    pub(crate) async fn ended_within(&mut self, time: Duration) -> std::process::ExitStatus {
        let ended = tokio::time::timeout(time, self.ended()).await;
        ended.unwrap_or_else(|_| panic!("not ended within {time:?}: {}", self.output()))
    }

    /// Asks it to end, as an init system does.
    pub(crate) fn terminate(&self) {
        let done = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(done.success());
    }

    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A reference system in a process of its own, with a proxy in front of it.
pub(crate) struct System {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) proxy: Proxy,
    /// Where Lockstep is told that it is.
    pub(crate) at: SocketAddr,
    process: Option<Process>,
    dir: PathBuf,
}

impl System {
    pub(super) async fn start(name: &str, dir: &Path) -> Self {
        let process = Self::spawn(name, dir, "127.0.0.1:0");
        let address = Self::address(&process).await;
        let proxy = Proxy::start(address).await;
        Self {
            name: name.to_owned(),
            address,
            at: proxy.address,
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
        command.args(["--log", "trace", "--log-file"]);
        command.arg(dir.join(format!("{name}-trace.log")));
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

    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// The system's own process.
    pub(crate) fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap()
    }

    /// Its pages, where they show the secret.
    pub(super) fn leaks(&self) -> Vec<String> {
        let mut leaks = Vec::new();
        for path in [
            "/",
            "/fragment",
            "/healthz",
            "/faults",
            "/lockstep/v1/state",
        ] {
            let page = self
                .process
                .as_ref()
                .map(|_| secrets::page(self.address, path));
            if page.is_some_and(|page| secrets::is_in(&page)) {
                leaks.push(format!("{path} of {}", self.name));
            }
        }
        leaks
    }

    /// Starts it again where it was.
    pub(crate) async fn restart(&mut self) {
        self.process = None;
        let process = Self::spawn(&self.name, &self.dir, &self.address.to_string());
        Self::address(&process).await;
        self.process = Some(process);
    }

    /// How many changesets lie staged.
    pub(super) async fn staged(&mut self) -> i64 {
        self.process = None;
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(self.dir.join(format!("{}.db", self.name)));
        let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
        let staged: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM changesets WHERE status = 'staged'")
                .fetch_one(&mut connection)
                .await
                .unwrap();
        sqlx::Connection::close(connection).await.unwrap();
        self.restart().await;
        staged
    }

    /// Its state by `kind/name`, straight from the system.
    pub(crate) async fn resources(&self) -> BTreeMap<String, Value> {
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

    pub(crate) async fn state(&self) -> Value {
        self.call(reqwest::Method::GET, "/lockstep/v1/state", None)
            .await
            .1
    }

    /// Its own audit events, oldest first.
    pub(crate) async fn changes(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut path = "/lockstep/v1/audit".to_owned();
        loop {
            let (status, page) = self.call(reqwest::Method::GET, &path, None).await;
            assert!(status.is_success(), "{status}: {page}");
            all.extend(page["events"].as_array().unwrap().iter().cloned());
            match page["cursor"].as_str().or(page["next"].as_str()) {
                Some(cursor) => path = format!("/lockstep/v1/audit?cursor={cursor}"),
                None => return all,
            }
        }
    }

    pub(crate) async fn set_faults(&self, faults: Value) {
        let (status, body) = self
            .call(reqwest::Method::PUT, "/faults", Some(faults))
            .await;
        assert!(status.is_success(), "{status}: {body}");
    }

    /// Changes a resource behind Lockstep's back.
    pub(crate) async fn edit(&self, id: &str, spec: Value) {
        let (status, body) = self
            .call(
                reqwest::Method::PUT,
                &format!("/admin/resources/{id}"),
                Some(spec),
            )
            .await;
        assert!(status.is_success(), "{status}: {body}");
    }

    pub(crate) async fn call(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> (reqwest::StatusCode, Value) {
        let mut request = reqwest::Client::new()
            .request(method, format!("http://{}{path}", self.address))
            .bearer_auth(token());
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap_or(Value::Null))
    }
}
