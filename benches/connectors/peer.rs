//! The two sides that are compared.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use lockstep::config::{DriftPolicy, Mode, System};
use lockstep::connector::registry::{self, Timeouts};
use lockstep::connector::shelf::Shelf;
use lockstep::connector::{Apply, Changeset};
use lockstep::state::{Item, Spec, State};
use secrecy::SecretString;
use serde_json::{Value, json};

/// A server, and how its connector and a plain client are made.
#[async_trait]
pub(crate) trait Peer: Send {
    /// So many resources.
    fn all(&self, count: usize) -> anyhow::Result<State> {
        (0..count).map(|n| flag(n, 1)).collect()
    }

    /// The same but for one. Each edition differs from the one before.
    fn changed(&self, all: &State, edition: usize) -> anyhow::Result<State> {
        let new = flag(all.len() / 2, edition + 1)?;
        let items = all.items();
        Ok(items
            .map(|item| if item.id == new.id { &new } else { item })
            .cloned()
            .collect())
    }

    /// A connector to an empty place on the server. What was given out before is done with.
    async fn connector(&mut self) -> anyhow::Result<Box<dyn Apply>>;

    /// A plain client of an empty place on the server, connected.
    async fn bare(&mut self) -> anyhow::Result<Box<dyn Bare>>;
}

/// A client that only writes.
#[async_trait]
pub(crate) trait Bare: Send {
    /// Puts together what a changeset writes.
    async fn ready(&mut self, changeset: &Changeset) -> anyhow::Result<()>;

    /// Writes it. This alone is measured.
    async fn write(&mut self) -> anyhow::Result<()>;
}

pub(crate) fn item(name: &str, spec: &Value) -> anyhow::Result<Arc<Item>> {
    Ok(Arc::new(Item::new(name.parse()?, Spec::from_value(spec)?)))
}

/// About 110 bytes of a flag.
fn flag(n: usize, version: usize) -> anyhow::Result<Arc<Item>> {
    let spec = json!({
        "enabled": !n.is_multiple_of(3), "rollout": version % 101, "owner": "sato", "expires": "2027-04-01",
        "description": format!("the flag {n:06}"),
    });
    item(&format!("FeatureFlag/flag_{n:06}"), &spec)
}

/// A connector as the server makes it from `lockstep.yaml`.
pub(crate) fn connect(
    connector: &str,
    kind: &str,
    settings: Value,
    token: Option<&str>,
    (files, shelf): (Option<&Path>, Option<Arc<dyn Shelf>>),
) -> anyhow::Result<Box<dyn Apply>> {
    let Value::Object(settings) = settings else {
        anyhow::bail!("{settings} are no settings");
    };
    let system = System {
        title: None,
        aliases: Vec::new(),
        connector: connector.to_owned(),
        settings,
        credential: token.map(|_| "bench".to_owned()),
        kinds: BTreeSet::from([kind.parse()?]),
        mode: Mode::Enforce,
        drift: DriftPolicy::Heal,
        limits: lockstep::config::calls::CallLimits::default(),
        fields: lockstep::config::FieldModes::default(),
    };
    let credentials = |_: &str, _: &url::Url| token.map(SecretString::from);
    Ok(registry::connect(
        &"bench".parse()?,
        &system,
        &credentials,
        Timeouts::default(),
        files,
        shelf,
    )?)
}
