//! `unleash` against a server of its own sort, on PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::json;

use super::{Rig, item};
use crate::connector::Apply;
use crate::connector::compensating::Compensating;
use crate::connector::rest::RestSettings;
use crate::connector::shelf::MemoryShelf;
use crate::connector::unleash::{Project, UnleashSettings, connect};
use crate::state::Item;
use crate::store::tests::server::database;

#[path = "../../../tests/it/world/unleash.rs"]
#[expect(
    dead_code,
    reason = "what is read and done by hand is for the tests of behaviour"
)]
mod server;

pub(super) struct OverUnleash {
    server: server::Unleash,
    shelf: MemoryShelf,
    connector: Compensating<Project>,
}

fn to(server: &server::Unleash, shelf: &MemoryShelf) -> Compensating<Project> {
    let rest = RestSettings {
        base: server.url.parse().unwrap(),
        authorization: Some(SecretString::from(server::TOKEN)),
        credential: None,
        media: "application/json",
        connect_timeout: Duration::from_secs(10),
        timeout: Duration::from_secs(60),
    };
    let settings = UnleashSettings {
        rest,
        project: "default".to_owned(),
        environment: "development".to_owned(),
    };
    connect("flags".parse().unwrap(), settings, Arc::new(shelf.clone())).unwrap()
}

#[async_trait]
impl Rig for OverUnleash {
    const EXEMPT: &'static [(&'static str, &'static str)] = &[
        (
            "any_name_and_spec_comes_back_as_it_was",
            "flags alone, by names that Unleash takes",
        ),
        ("what_another_hand_changed_is_seen", "see its own tests"),
    ];
    const MANY: u32 = 100;
    const SOME: u32 = 20;

    async fn new() -> Option<Self> {
        let server = server::take(database).await?;
        let shelf = MemoryShelf::default();
        Some(Self {
            connector: to(&server, &shelf),
            server,
            shelf,
        })
    }

    fn connector(&self) -> &dyn Apply {
        &self.connector
    }

    /// The server keeps what it has in PostgreSQL whether it is restarted or not.
    async fn restart(self) -> Self {
        Self {
            connector: to(&self.server, &self.shelf),
            ..self
        }
    }

    fn another(&self) -> Box<dyn Apply> {
        Box::new(to(&self.server, &self.shelf))
    }

    fn flag(n: u32, version: u32) -> Arc<Item> {
        let spec = json!({
            "enabled": n.is_multiple_of(2), "rollout": version, "owner": "sato", "expires": "2027-04-01",
            "description": format!("the flag {n}"),
        });
        item(&format!("FeatureFlag/flag_{n}"), spec)
    }
}
