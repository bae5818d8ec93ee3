//! `scim` to a server that keeps versions: a hundred people, and roles that all of them have. The plain client knows everybody's id, makes each group
//! with its members in one request, and adds or removes one with one.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use lockstep::connector::{Apply, Changeset};
use lockstep::state::{Item, State};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::peer::{self, Bare, Peer};
use crate::shelf::shelf;

#[path = "../../tests/it/world/scim.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "the tests' own, which end where something is not as expected"
)]
mod server;

const PEOPLE: usize = 100;

pub(crate) struct Scim {
    folder: TempDir,
    made: usize,
    people: usize,
}

impl Scim {
    pub(crate) async fn new(count: usize) -> anyhow::Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let is_there = server::store(server::Sort::Versioned).await.is_some();
        Ok(is_there.then_some(Self {
            folder,
            made: 0,
            people: count.min(PEOPLE),
        }))
    }

    /// An empty directory with everybody in it, and their ids.
    async fn directory(&self) -> anyhow::Result<(server::Scim, BTreeMap<String, String>)> {
        let store = server::store(server::Sort::Versioned).await;
        let store = store.context("the server was there")?;
        let mut ids = BTreeMap::new();
        for n in 0..self.people {
            let name = format!("user{n}");
            let id = store.user(&name, None, true).await;
            ids.insert(name, id);
        }
        Ok((store, ids))
    }
}

fn grant(n: usize) -> anyhow::Result<Arc<Item>> {
    let name = format!("AccessGrant/role{:03}/user{}", n / PEOPLE, n % PEOPLE);
    peer::item(&name, &json!({"reason": "duty", "until": "2027-04-01"}))
}

#[async_trait]
impl Peer for Scim {
    fn all(&self, count: usize) -> anyhow::Result<State> {
        (0..count).map(grant).collect()
    }

    /// Somebody goes, and comes back.
    fn changed(&self, all: &State, edition: usize) -> anyhow::Result<State> {
        let one = grant(all.len() / 2)?;
        let is_gone = !edition.is_multiple_of(2);
        let items = all.items().filter(|item| !is_gone || item.id != one.id);
        Ok(items.cloned().collect())
    }

    async fn connector(&mut self) -> anyhow::Result<Box<dyn Apply>> {
        let (store, _) = self.directory().await?;
        self.made += 1;
        let shelf = shelf(&self.folder.path().join(format!("{}.db", self.made))).await?;
        let settings = json!({"url": store.url});
        let token = Some(server::TOKEN);
        peer::connect("scim", "AccessGrant", settings, token, (None, Some(shelf)))
    }

    async fn bare(&mut self) -> anyhow::Result<Box<dyn Bare>> {
        let (store, ids) = self.directory().await?;
        let plain = Plain {
            client: Client::new(),
            url: store.url.clone(),
            ids,
            groups: BTreeMap::new(),
            requests: Vec::new(),
        };
        plain.send(Method::GET, "/Groups", None).await?;
        Ok(Box::new(plain))
    }
}

struct Plain {
    client: Client,
    url: String,
    ids: BTreeMap<String, String>,
    /// The groups that are there, by role.
    groups: BTreeMap<String, String>,
    /// By role: a group that is to be made, or what is done to the one that is there.
    requests: Vec<(String, Method, Value)>,
}

impl Plain {
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let request = self.client.request(method, format!("{}{path}", self.url));
        let mut request = request.bearer_auth(server::TOKEN);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/scim+json")
                .body(body.to_string());
        }
        let answer = request.send().await?.error_for_status()?;
        let text = answer.text().await?;
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}

#[async_trait]
impl Bare for Plain {
    async fn ready(&mut self, changeset: &Changeset) -> anyhow::Result<()> {
        let mut new: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        self.requests.clear();
        for change in &changeset.changes {
            let (role, who) = change.id.name().split_once('/').context("a grant")?;
            let id = self.ids.get(who).context("somebody who is there")?;
            if !self.groups.contains_key(role) {
                let members = new.entry(role.to_owned()).or_default();
                members.push(json!({"value": id}));
                continue;
            }
            let operation = match change.after {
                Some(_) => json!({"op": "add", "path": "members", "value": [{"value": id}]}),
                None => json!({"op": "remove", "path": format!("members[value eq \"{id}\"]")}),
            };
            let schema = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
            let body = json!({"schemas": [schema], "Operations": [operation]});
            self.requests.push((role.to_owned(), Method::PATCH, body));
        }
        for (role, members) in new {
            let schema = "urn:ietf:params:scim:schemas:core:2.0:Group";
            let body = json!({
                "schemas": [schema], "displayName": role, "externalId": format!("lockstep:{role}"), "members": members,
            });
            self.requests.push((role, Method::POST, body));
        }
        Ok(())
    }

    async fn write(&mut self) -> anyhow::Result<()> {
        for (role, method, body) in std::mem::take(&mut self.requests) {
            let path = match self.groups.get(&role) {
                Some(id) => format!("/Groups/{id}"),
                None => "/Groups".to_owned(),
            };
            let answer = self.send(method, &path, Some(&body)).await?;
            if let Some(id) = answer.get("id").and_then(Value::as_str) {
                self.groups.insert(role, id.to_owned());
            }
        }
        Ok(())
    }
}
