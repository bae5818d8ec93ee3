//! `unleash` to a server on PostgreSQL. The plain client knows that nothing is there, and sends what makes each feature the same: the feature, its tag,
//! its strategy, and on.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use lockstep::connector::{Apply, Changeset};
use lockstep::state::Item;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::peer::{self, Bare, Peer};
use crate::postgres::server::database;
use crate::shelf::shelf;

#[path = "../../tests/it/world/unleash.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "the tests' own, which end where something is not as expected"
)]
mod server;

pub(crate) struct Unleash {
    folder: TempDir,
    made: usize,
    /// The one server, which is had by one at a time and then is empty.
    server: Option<server::Unleash>,
}

impl Unleash {
    pub(crate) async fn new() -> anyhow::Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let server = server::take(database).await;
        Ok(server.map(|server| Self {
            folder,
            made: 0,
            server: Some(server),
        }))
    }

    async fn url(&mut self) -> anyhow::Result<String> {
        self.server = None;
        let server = server::take(database).await;
        let server = server.context("the server was there")?;
        let url = server.url.clone();
        self.server = Some(server);
        Ok(url)
    }
}

#[async_trait]
impl Peer for Unleash {
    async fn connector(&mut self) -> anyhow::Result<Box<dyn Apply>> {
        self.made += 1;
        let shelf = shelf(&self.folder.path().join(format!("{}.db", self.made))).await?;
        let settings = json!({"url": self.url().await?, "environment": "development"});
        let token = Some(server::TOKEN);
        peer::connect(
            "unleash",
            "FeatureFlag",
            settings,
            token,
            (None, Some(shelf)),
        )
    }

    async fn bare(&mut self) -> anyhow::Result<Box<dyn Bare>> {
        let plain = Plain {
            client: Client::new(),
            url: format!("{}/api/admin", self.url().await?),
            strategies: BTreeMap::new(),
            features: Vec::new(),
        };
        // The tag's type is there: the connector, whose turn was first, has made it.
        plain.send(Method::GET, "/tag-types/lockstep", None).await?;
        Ok(Box::new(plain))
    }
}

struct Plain {
    client: Client,
    url: String,
    /// The strategy of each feature that is there.
    strategies: BTreeMap<String, String>,
    features: Vec<Feature>,
}

/// What is sent for one.
struct Feature {
    item: Arc<Item>,
    spec: Value,
    is_new: bool,
}

fn field<'a>(spec: &'a Value, name: &str) -> &'a Value {
    spec.get(name).unwrap_or(&Value::Null)
}

impl Plain {
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let request = self.client.request(method, format!("{}{path}", self.url));
        let mut request = request.header("authorization", server::TOKEN);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().await?.error_for_status()?;
        let text = answer.text().await?;
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    async fn feature(&mut self, feature: &Feature) -> anyhow::Result<()> {
        let (name, spec) = (feature.item.id.name(), &feature.spec);
        let features = "/projects/default/features";
        let place = format!("{features}/{name}/environments/development");
        let rollout = field(spec, "rollout").to_string();
        let strategy = json!({
            "name": "flexibleRollout", "disabled": false, "constraints": [], "segments": [], "variants": [], "sortOrder": 0,
            "parameters": {"rollout": rollout, "stickiness": "default", "groupId": name},
        });
        if !feature.is_new {
            let id = self.strategies.get(name).context("a strategy to change")?;
            let path = format!("{place}/strategies/{id}");
            self.send(Method::PUT, &path, Some(&strategy)).await?;
            return Ok(());
        }
        let body = json!({
            "name": name, "type": "release", "description": field(spec, "description"), "impressionData": false,
        });
        self.send(Method::POST, features, Some(&body)).await?;
        let tags =
            json!({"addedTags": [{"type": "lockstep", "value": "lockstep"}], "removedTags": []});
        let path = format!("/features/{name}/tags");
        self.send(Method::PUT, &path, Some(&tags)).await?;
        let path = format!("{place}/strategies");
        let made = self.send(Method::POST, &path, Some(&strategy)).await?;
        let id = made.get("id").and_then(Value::as_str);
        let id = id.context("a strategy's id")?.to_owned();
        self.strategies.insert(name.to_owned(), id);
        if field(spec, "enabled") == &Value::Bool(true) {
            let path = format!("{place}/on");
            self.send(Method::POST, &path, None).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Bare for Plain {
    async fn ready(&mut self, changeset: &Changeset) -> anyhow::Result<()> {
        self.features.clear();
        for change in &changeset.changes {
            let item = change.after.as_ref().context("nothing is deleted here")?;
            self.features.push(Feature {
                item: item.clone(),
                spec: item.spec.value(),
                is_new: change.before.is_none(),
            });
        }
        Ok(())
    }

    async fn write(&mut self) -> anyhow::Result<()> {
        for feature in std::mem::take(&mut self.features) {
            self.feature(&feature).await?;
        }
        Ok(())
    }
}
