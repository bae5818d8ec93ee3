//! `http` to the reference system; the plain client sends the same bytes to it.

use anyhow::Context as _;
use async_trait::async_trait;
use lockstep::connector::{Apply, Changeset};
use lockstep::system_api::{FenceRequest, PrepareRequest, WireChange};
use reqwest::{Client, Method};
use serde_json::json;
use tempfile::TempDir;

use crate::peer::{self, Bare, Peer};
use crate::system::{self, Ended};

pub(crate) struct Http {
    folder: TempDir,
    started: usize,
    /// The one that is in use.
    system: Option<Ended>,
}

impl Http {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
            started: 0,
            system: None,
        })
    }

    /// A new, empty system in the place of the one before.
    fn start(&mut self) -> anyhow::Result<String> {
        self.started += 1;
        let name = format!("system{}", self.started);
        let (system, ports) = system::start(self.folder.path(), &[name])?;
        self.system = Some(system);
        let port = ports.first().context("a port")?;
        Ok(format!("http://127.0.0.1:{port}"))
    }
}

#[async_trait]
impl Peer for Http {
    async fn connector(&mut self) -> anyhow::Result<Box<dyn Apply>> {
        let settings = json!({"url": self.start()?});
        peer::connect("http", "FeatureFlag", settings, None, (None, None))
    }

    async fn bare(&mut self) -> anyhow::Result<Box<dyn Bare>> {
        let plain = Plain {
            client: Client::new(),
            url: format!("{}/lockstep/v1", self.start()?),
            changeset: String::new(),
            body: Vec::new(),
            end: Vec::new(),
        };
        let digests = plain.client.get(format!("{}/state/digests", plain.url));
        digests.send().await?.error_for_status()?;
        Ok(Box::new(plain))
    }
}

struct Plain {
    client: Client,
    url: String,
    changeset: String,
    body: Vec<u8>,
    end: Vec<u8>,
}

impl Plain {
    async fn send(&self, method: Method, path: &str, body: &[u8]) -> anyhow::Result<()> {
        let url = format!("{}/changesets/{}{path}", self.url, self.changeset);
        let request = self.client.request(method, url).body(body.to_vec());
        let request = request.header("content-type", "application/json");
        let answer = request.send().await?.error_for_status()?;
        answer.bytes().await?;
        Ok(())
    }
}

#[async_trait]
impl Bare for Plain {
    async fn ready(&mut self, changeset: &Changeset) -> anyhow::Result<()> {
        self.changeset = changeset.id.to_string();
        self.body = serde_json::to_vec(&PrepareRequest {
            revision: changeset.revision.clone(),
            base_digest: changeset.base,
            target_digest: changeset.target,
            fence: changeset.fence,
            owner: None,
            changes: changeset.changes.iter().map(WireChange::of).collect(),
        })?;
        let fence = changeset.fence;
        self.end = serde_json::to_vec(&FenceRequest { fence })?;
        Ok(())
    }

    async fn write(&mut self) -> anyhow::Result<()> {
        self.send(Method::PUT, "", &self.body).await?;
        self.send(Method::POST, "/commit", &self.end).await
    }
}
