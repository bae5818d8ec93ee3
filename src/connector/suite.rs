//! What every connector must do, as one suite over the real server of each. Its results are the table in docs/connectors.md.
//!
//! A connector adds a [`Rig`] in a file of its own, and a line under `rigs!`. `lockstep system test` asks the same of a system over the wire.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Apply, Changeset, ConnectorError, Prepared};
use crate::ids::{Fence, ResourceRef};
use crate::plan::diff;
use crate::resource::Direction;
use crate::state::{Item, Spec, State};

mod behaviours;
mod file;
mod http;
mod postgres;
mod pull;
pub(super) mod redis;
mod scim;
mod table;
mod unleash;

const REVISION: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// A system with a connector to it.
#[async_trait]
trait Rig: Send + Sync + Sized + 'static {
    /// Behaviours that this connector can't have, and why: the words for the table.
    const EXEMPT: &'static [(&'static str, &'static str)] = &[];

    /// How many resources the largest changeset has. Fewer where each costs requests of its own.
    const MANY: u32 = 10_000;
    /// How many a state has in which one is looked for.
    const SOME: u32 = 300;

    /// An empty system; `None`, said aloud, where its server is not installed.
    async fn new() -> Option<Self>;

    fn connector(&self) -> &dyn Apply;

    /// Ends system and connector, and starts both on what was kept.
    async fn restart(self) -> Self;

    /// A second connector, as another process would have it.
    fn another(&self) -> Box<dyn Apply>;

    /// Makes a resource what it is not yet, past Lockstep; without a spec there is none afterwards.
    async fn edit(&self, _id: &ResourceRef, _spec: Option<&Spec>) {
        unreachable!("a rig that can't is exempt from what needs it")
    }

    /// One resource of a sort that the system takes, in a version of it.
    fn flag(n: u32, version: u32) -> Arc<Item> {
        let spec = json!({"rollout": version});
        item(&format!("FeatureFlag/flag_{n}"), spec)
    }

    fn flags(count: u32, version: u32) -> State {
        (0..count).map(|n| Self::flag(n, version)).collect()
    }
}

/// A test for each connector: all behaviours, each on a system of its own.
macro_rules! rigs {
    ($($name:ident: $rig:ty),+ $(,)?) => {
        $(#[tokio::test]
        async fn $name() {
            let mut results: table::Results = Vec::new();
            behaviours!(results, $rig);
            table::check(stringify!($name), &results);
        })+
    };
}

macro_rules! behaviours {
    ($results:ident, $rig:ty: $($behaviour:ident),+ $(,)?) => {
        $(
            let exempt = <$rig>::EXEMPT.iter().find(|(name, _)| *name == stringify!($behaviour));
            let result = match exempt {
                Some((_, why)) => table::Outcome::Exempt(why),
                None => match <$rig>::new().await {
                    Some(rig) => table::outcome(behaviours::$behaviour(rig)).await,
                    None => return,
                },
            };
            $results.push((stringify!($behaviour), result));
        )+
    };
    ($results:ident, $rig:ty) => {
        behaviours!($results, $rig:
            nothing_is_visible_before_the_commit,
            repetitions_have_no_further_effect,
            one_change_costs_one_bucket,
            an_aborted_changeset_stays_aborted,
            what_was_never_prepared_is_not_committed,
            another_base_and_other_content_are_stale,
            an_older_fence_can_do_nothing,
            a_newer_fence_ends_what_the_older_staged,
            the_next_holder_of_the_lease_finishes,
            a_restart_forgets_nothing,
            what_does_not_fit_is_refused_with_reasons,
            a_state_that_moves_while_it_is_read_is_stale,
            what_another_hand_changed_is_seen,
            ten_thousand_changes_are_one_changeset,
            any_name_and_spec_comes_back_as_it_was,
            another_repo_is_refused_and_both_are_named,
            looking_changes_nothing,
            what_it_says_it_can_do_is_so,
        );
    };
}

rigs! {
    http: http::OverHttp,
    file: file::OverFile<file::Json>,
    file_yaml: file::OverFile<file::Yaml>,
    file_toml: file::OverFile<file::Toml>,
    file_env: file::OverFile<file::Env>,
    file_flagd: file::OverFile<file::Flagd>,
    file_folder: file::OverFile<file::Folder>,
    pull: pull::OverPull,
    unleash: unleash::OverUnleash,
    scim: scim::OverScim,
    postgres: postgres::Plain,
    postgres_prepared: postgres::Preparing,
    redis: redis::OverRedis,
}

pub(super) fn item(name: &str, spec: Value) -> Arc<Item> {
    Arc::new(Item::new(
        name.parse().unwrap(),
        Spec::from_value(&spec).unwrap(),
    ))
}

pub(super) fn changeset(id: &str, fence: u64, before: &State, after: &State) -> Changeset {
    Changeset {
        id: id.parse().unwrap(),
        revision: REVISION.parse().unwrap(),
        base: before.digest(),
        target: after.digest(),
        fence: Fence(fence),
        owner: None,
        changes: diff(before, after, |_, _, _| Direction::Neutral),
    }
}

/// Reads the whole state through the port.
pub(super) async fn observe(connector: &dyn Apply) -> Result<State, ConnectorError> {
    connector.digests(None).await?;
    let all: Vec<u8> = (0..=255).collect();
    Ok(connector.items(&all).await?.into_iter().collect())
}

pub(super) async fn apply(connector: &dyn Apply, changeset: &Changeset) {
    let prepared = connector.prepare(changeset).await;
    assert_eq!(prepared, Ok(Prepared { repeated: false }));
    let receipt = connector.commit(&changeset.id, changeset.fence).await;
    assert_eq!(receipt.unwrap().digest, changeset.target);
}

pub(super) fn class<T>(answer: Result<T, ConnectorError>) -> &'static str {
    match answer {
        Ok(_) => "done",
        Err(ConnectorError::Transient { .. }) => "transient",
        Err(ConnectorError::Refused { .. }) => "refused",
        Err(ConnectorError::Terminal { .. }) => "terminal",
        Err(ConnectorError::Stale { .. }) => "stale",
        Err(ConnectorError::Fenced { .. }) => "fenced",
    }
}
