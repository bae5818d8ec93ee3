//! `scim` against a server that keeps versions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::json;

use super::{Rig, item};
use crate::connector::Apply;
use crate::connector::compensating::Compensating;
use crate::connector::rest::RestSettings;
use crate::connector::scim::{Grants, ScimSettings, connect};
use crate::connector::shelf::MemoryShelf;
use crate::state::Item;

#[path = "../../../tests/it/world/scim.rs"]
#[expect(
    dead_code,
    reason = "what is done by hand is for the tests of behaviour"
)]
mod server;

/// The people who may be granted something.
const PEOPLE: u32 = 60;

pub(super) struct OverScim {
    server: server::Scim,
    shelf: MemoryShelf,
    connector: Compensating<Grants>,
}

fn to(server: &server::Scim, shelf: &MemoryShelf) -> Compensating<Grants> {
    let rest = RestSettings {
        base: server.url.parse().unwrap(),
        authorization: Some(SecretString::from(format!("Bearer {}", server::TOKEN))),
        credential: None,
        media: "application/scim+json",
        connect_timeout: Duration::from_secs(10),
        timeout: Duration::from_secs(60),
    };
    let settings = ScimSettings {
        rest,
        prefix: "lockstep:".to_owned(),
        groups: BTreeMap::new(),
    };
    connect("auth".parse().unwrap(), settings, Arc::new(shelf.clone())).unwrap()
}

#[async_trait]
impl Rig for OverScim {
    const EXEMPT: &'static [(&'static str, &'static str)] = &[
        (
            "any_name_and_spec_comes_back_as_it_was",
            "grants alone, to users that are there",
        ),
        ("what_another_hand_changed_is_seen", "see its own tests"),
        (
            "another_repo_is_refused_and_both_are_named",
            "by the marks of groups",
        ),
    ];
    const MANY: u32 = PEOPLE;
    const SOME: u32 = 20;

    async fn new() -> Option<Self> {
        let server = server::store(server::Sort::Versioned).await?;
        for n in 0..PEOPLE {
            server.user(&format!("user{n}"), None, true).await;
        }
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

    /// The server keeps what it has in memory, so it stays.
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
        let spec = json!({"reason": format!("duty {version}"), "until": "2027-04-01"});
        item(&format!("AccessGrant/admin/user{n}"), spec)
    }
}
