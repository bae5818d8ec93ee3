use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::changeset::{Step, advance};
use super::*;
use crate::ids::{Digest, ResourceRef};
use crate::plan::Op;
use crate::state::{Item, Spec, State};

mod changesets;
mod connections;
mod page;
mod reading;

const REVISION: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// A clock that goes on by a second whenever it is looked at.
struct Ticking(Mutex<Timestamp>);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        let mut now = self.0.lock().unwrap();
        *now += SignedDuration::from_secs(1);
        *now
    }
}

/// A reference system in a folder of its own, and a client to it.
struct World {
    folder: TempDir,
    server: Server,
    client: reqwest::Client,
    options: Options,
    /// The state that it should have.
    state: State,
}

fn options(folder: &TempDir) -> Options {
    Options {
        name: "medical".parse().unwrap(),
        title: Some("医療職員管理システム".to_owned()),
        listen: "127.0.0.1:0".parse().unwrap(),
        database: folder.path().join("medical.db"),
        token: None,
        kinds: BTreeSet::new(),
        faults: Some(Faults::default()),
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(Ticking(Mutex::new("2026-11-22T00:00:00Z".parse().unwrap())))
}

fn id(text: &str) -> ResourceRef {
    text.parse().unwrap()
}

/// A change as it is sent, and as it is understood.
fn change(op: Op, name: &str, spec: Option<Value>) -> (Value, Step) {
    let id = id(name);
    let mut sent = json!({
        "op": crate::system_api::op_word(op), "kind": id.kind(), "name": id.name()
    });
    let item = spec.map(|spec| {
        sent["spec"] = spec.clone();
        Arc::new(Item::new(id.clone(), Spec::from_value(&spec).unwrap()))
    });
    (sent, Step { op, id, item })
}

fn create(name: &str, spec: Value) -> (Value, Step) {
    change(Op::Create, name, Some(spec))
}

impl World {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let options = options(&folder);
        Self::with(folder, options).await
    }

    async fn with(folder: TempDir, options: Options) -> Self {
        let server = bind_with(options.clone(), clock()).await.unwrap();
        Self {
            folder,
            server,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            options,
            state: State::default(),
        }
    }

    /// Stops the system and starts it on the same file.
    async fn restart(self) -> Self {
        self.server.stop().await.unwrap();
        let server = bind_with(self.options.clone(), clock()).await.unwrap();
        Self { server, ..self }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Response {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.server.url()));
        if let Some(body) = body {
            request = request.json(&body);
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let response = self.call(Method::GET, path, None).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    }

    async fn digest(&self) -> Digest {
        let digests = self.get("/lockstep/v1/state/digests").await;
        digests["digest"].as_str().unwrap().parse().unwrap()
    }

    /// The request for these changes on the state as it should be.
    fn request(&self, fence: u64, changes: &[(Value, Step)]) -> Value {
        let steps: Vec<Step> = changes.iter().map(|(_, step)| step.clone()).collect();
        json!({
            "revision": REVISION,
            "base_digest": self.state.digest(),
            "target_digest": advance(&self.state, &steps).digest(),
            "fence": fence,
            "changes": changes.iter().map(|(sent, _)| sent).collect::<Vec<_>>(),
        })
    }

    async fn prepare(&self, id: &str, request: &Value) -> (StatusCode, Value) {
        let path = format!("/lockstep/v1/changesets/{id}");
        let response = self.call(Method::PUT, &path, Some(request.clone())).await;
        (response.status(), response.json().await.unwrap())
    }

    async fn end(&self, id: &str, verb: &str, fence: u64) -> (StatusCode, Value) {
        let path = format!("/lockstep/v1/changesets/{id}/{verb}");
        let body = json!({ "fence": fence });
        let response = self.call(Method::POST, &path, Some(body)).await;
        (response.status(), response.json().await.unwrap())
    }

    /// Prepares and commits, and checks that the system has what it should.
    async fn apply(&mut self, id: &str, changes: &[(Value, Step)]) {
        let (status, answer) = self.prepare(id, &self.request(1, changes)).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        let (status, answer) = self.end(id, "commit", 1).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let steps: Vec<Step> = changes.iter().map(|(_, step)| step.clone()).collect();
        self.state = advance(&self.state, &steps);
        assert_eq!(answer["digest"], json!(self.state.digest()));
        assert_eq!(self.digest().await, self.state.digest());
    }
}
