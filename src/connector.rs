//! The port to connected systems: what can be read from one, and what can be changed.
//!
//! [`Observe`] is all that planning ever gets: a write method does not exist on it. [`Apply`] adds the two-phase change and is handed
//! only to the engine. A connector says what it can do in [`Capabilities`], and a plan says where that weakens a promise.
//! `connector::registry` is the only place where a connector is registered.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{ChangesetId, Digest, Fence, ResourceRef, Revision};
use crate::plan::Change;
use crate::state::Item;
use crate::system_api::AuditAnswer;

pub use crate::record::{ConnectorError, Reason, Receipt};

mod compensating;
pub mod file;
pub mod http;
mod journal;
mod limited;
pub mod postgres;
pub mod pull;
pub mod redis;
pub mod registry;
mod rest;
mod scim;
pub mod shelf;
mod unleash;

#[cfg(test)]
mod suite;

/// What a connector can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    pub staging: Staging,
    /// Answers with a digest, so that a pass with nothing to do costs one conditional request.
    pub digest: bool,
    /// Keeps an audit feed of its own.
    pub audit: bool,
}

/// How prepare works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Staging {
    /// The system stages the changeset itself.
    Native,
    /// Lockstep validates and snapshots; a failed commit is compensated from the snapshot.
    Compensating,
}

/// A system's digest, as far as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The state is still the one whose digest was sent along.
    Unchanged,
    /// The state now: its digest and those of its 256 buckets.
    Digests {
        revision: Option<Revision>,
        digest: Digest,
        buckets: Vec<Digest>,
    },
}

/// A system's share of a run, handed over to be prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changeset {
    pub id: ChangesetId,
    pub revision: Revision,
    pub base: Digest,
    pub target: Digest,
    pub fence: Fence,
    /// Which config repo this comes from. A system that keeps marks puts it on what it creates, and refuses changes to what carries another.
    pub owner: Option<Arc<str>>,
    pub changes: Vec<Change>,
}

/// A changeset a system has staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The system had it already: this is a repetition after a crash or a lost answer.
    pub repeated: bool,
}

/// Reading from a system. Complete or an error: a listing cut short, a page that fails is never an empty state.
///
/// It is all that code which plans is given, and writing does not exist on it:
///
/// ```compile_fail,E0599
/// # use lockstep::connector::{Changeset, Observe};
/// async fn plan(system: &dyn Observe, changeset: &Changeset) {
///     let _ = system.prepare(changeset).await;
/// }
/// ```
#[async_trait]
pub trait Observe: Send + Sync {
    fn capabilities(&self) -> Capabilities;

    /// The digests, or [`Seen::Unchanged`] where the system still has `known`. One conditional request where nothing changed.
    async fn digests(&self, known: Option<Digest>) -> Result<Seen, ConnectorError>;

    /// All items in the given buckets. The connector checks that what it read gives the digests it was told, or fails.
    async fn items(&self, buckets: &[u8]) -> Result<Vec<Arc<Item>>, ConnectorError>;

    /// Which config repos own these resources, by their marks, so far as the system says so without being asked to change them; nothing where it
    /// keeps no marks, or only refuses by them.
    async fn marks(
        &self,
        _ids: &[ResourceRef],
    ) -> Result<BTreeMap<ResourceRef, String>, ConnectorError> {
        Ok(BTreeMap::new())
    }

    /// Which of these changes the system can't take as things stand there, each with its reason, where all others can go without them: they are left
    /// out and said until it can. What speaks against the changeset as a whole is for [`Apply::prepare`] to refuse.
    async fn unfit(&self, _changes: &[Change]) -> Result<Vec<Reason>, ConnectorError> {
        Ok(Vec::new())
    }

    /// Waits until the system says that somebody else has changed something, or may have. It makes the next look sooner and is never taken for
    /// one. A system that says nothing is waited for for ever.
    async fn changed(&self) {
        std::future::pending().await
    }

    /// A page of the system's own audit feed: what happened from a time until before another, after `cursor`. Only where
    /// [`Capabilities::audit`] says that there is one. What is in it is for whoever asks to check.
    async fn audit(
        &self,
        _span: (Timestamp, Timestamp),
        _cursor: Option<&str>,
    ) -> Result<AuditAnswer, ConnectorError> {
        Err(ConnectorError::Terminal {
            message: "it keeps no audit feed".to_owned(),
        })
    }
}

/// Changing a system, in two phases. Every call may be repeated and then has no further effect.
#[async_trait]
pub trait Apply: Observe {
    /// Validates and stages; nothing is visible to the system's users yet.
    async fn prepare(&self, changeset: &Changeset) -> Result<Prepared, ConnectorError>;

    /// Makes a prepared changeset take effect.
    async fn commit(&self, id: &ChangesetId, fence: Fence) -> Result<Receipt, ConnectorError>;

    /// Drops a prepared changeset. Dropping one the system never saw is a success; one it has committed is `Refused`.
    async fn abort(&self, id: &ChangesetId, fence: Fence) -> Result<(), ConnectorError>;
}

/// The error with who it is about in front.
fn named(error: ConnectorError, who: &str) -> ConnectorError {
    error.map_message(|message| format!("{who}: {message}"))
}
