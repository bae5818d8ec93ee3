//! What lies on the shelf of a system that pulls, text by text.
//!
//! `journal`: the changesets, as Lockstep has decided on them. `offer/<id>`: how far one has come with the system, and `changes/<id>`: what it is to do.
//! `events`: what was told lately. `report`: what the system said last, with `seen/<bucket>`: what it holds; `desired` and `desired/<bucket>`: what it
//! should hold since the last decision.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::pages::{self, DESIRED, Holding, SEEN};
use super::wire::Changes;
use crate::connector::journal::Journal;
pub(super) use crate::connector::shelf::put;
use crate::connector::shelf::{self, Shelf};
use crate::connector::{Changeset, ConnectorError, Reason};
use crate::ids::{ChangesetId, Digest, Fence, Revision};

pub(super) const JOURNAL: &str = "journal";
pub(super) const OFFER: &str = "offer/";
const CHANGES: &str = "changes/";
const EVENTS: &str = "events";
const REPORT: &str = "report";

/// How many events are kept for a client that comes back.
const TOLD: usize = 256;

/// A text as it was read, with what a write in its place has to name.
#[derive(Debug, Clone)]
pub(super) struct Page<T> {
    pub(super) value: T,
    pub(super) digest: Digest,
}

/// Reads a text of ours.
pub(super) async fn page<T: DeserializeOwned>(
    shelf: &dyn Shelf,
    name: &str,
) -> Result<Option<Page<T>>, ConnectorError> {
    let page = shelf::page(shelf, name).await?;
    Ok(page.map(|(value, digest)| Page { value, digest }))
}

pub(super) async fn journal(shelf: &dyn Shelf) -> Result<Option<Page<Journal>>, ConnectorError> {
    page(shelf, JOURNAL).await
}

/// What the system is to do with a changeset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Prepare,
    Commit,
    Abort,
}

/// What the system has said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ack {
    Prepared,
    Refused {
        message: String,
        reasons: Vec<Reason>,
    },
    /// Its state was another one.
    OtherBase,
    Committed {
        digest: Digest,
    },
    Aborted,
}

/// How far a changeset has come with the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Offer {
    pub(super) phase: Phase,
    pub(super) revision: Revision,
    pub(super) base: Digest,
    pub(super) target: Digest,
    pub(super) fence: Fence,
    pub(super) ack: Option<Ack>,
}

impl Offer {
    fn name(id: &ChangesetId) -> String {
        format!("{OFFER}{id}")
    }

    pub(super) async fn read(
        shelf: &dyn Shelf,
        id: &ChangesetId,
    ) -> Result<Option<Page<Self>>, ConnectorError> {
        page(shelf, &Self::name(id)).await
    }

    /// Writes it in the place of what was read.
    pub(super) async fn replace(
        shelf: &dyn Shelf,
        id: &ChangesetId,
        over: Digest,
        offer: &Self,
    ) -> Result<(), ConnectorError> {
        put(shelf, &Self::name(id), Some(over), offer)
            .await
            .map(drop)
    }

    /// Lays a changeset on the shelf. One of the same id that lies there was never staged.
    pub(super) async fn make(
        shelf: &dyn Shelf,
        changeset: &Changeset,
    ) -> Result<(), ConnectorError> {
        let id = &changeset.id;
        Self::clear(shelf, id).await?;
        let changes = Changes::of(changeset);
        put(shelf, &format!("{CHANGES}{id}"), None, &changes).await?;
        let offer = Self {
            phase: Phase::Prepare,
            revision: changeset.revision.clone(),
            base: changeset.base,
            target: changeset.target,
            fence: changeset.fence,
            ack: None,
        };
        put(shelf, &Self::name(id), None, &offer).await.map(drop)
    }

    /// What a changeset is to do.
    pub(super) async fn changes(
        shelf: &dyn Shelf,
        id: &ChangesetId,
    ) -> Result<Option<Changes>, ConnectorError> {
        let page = page(shelf, &format!("{CHANGES}{id}")).await?;
        Ok(page.map(|page| page.value))
    }

    pub(super) async fn clear(shelf: &dyn Shelf, id: &ChangesetId) -> Result<(), ConnectorError> {
        shelf.delete(&Self::name(id)).await?;
        shelf.delete(&format!("{CHANGES}{id}")).await
    }

    /// The same for one that the system has refused.
    pub(super) async fn clear_untaken(
        shelf: &dyn Shelf,
        id: &ChangesetId,
    ) -> Result<(), ConnectorError> {
        let ack = Self::read(shelf, id).await?.and_then(|page| page.value.ack);
        if matches!(ack, Some(Ack::Refused { .. } | Ack::OtherBase)) {
            Self::clear(shelf, id).await?;
        }
        Ok(())
    }

    /// Says that the changeset is to be committed, and what the system should hold from now on; whether that was not said before.
    pub(super) async fn decide(
        shelf: &dyn Shelf,
        id: &ChangesetId,
    ) -> Result<bool, ConnectorError> {
        let gone = || ConnectorError::Terminal {
            message: "the store does not have the changeset any more; plan again".to_owned(),
        };
        let page = Self::read(shelf, id).await?.ok_or_else(gone)?;
        if page.value.phase == Phase::Commit {
            return Ok(false);
        }
        let changes = Self::changes(shelf, id).await?.ok_or_else(gone)?;
        let seen = Report::read(shelf).await?.and_then(|p| p.value.seen);
        let seen = seen.ok_or_else(gone)?;
        let next = match pages::after(shelf, SEEN, &seen, &changes).await {
            Ok(next) => next,
            // It is reporting at this very moment.
            Err(ConnectorError::Stale { message }) => {
                return Err(ConnectorError::Transient { message });
            }
            Err(error) => return Err(error),
        };
        let revision = page.value.revision.clone();
        pages::keep(shelf, DESIRED, &next, Some(revision)).await?;
        let decided = Self {
            phase: Phase::Commit,
            ..page.value
        };
        Self::replace(shelf, id, page.digest, &decided).await?;
        Ok(true)
    }

    /// Says that the changeset is to be dropped; whether the system may know of it.
    pub(super) async fn drop(shelf: &dyn Shelf, id: &ChangesetId) -> Result<bool, ConnectorError> {
        let Some(page) = Self::read(shelf, id).await? else {
            return Ok(false);
        };
        if page.value.phase == Phase::Abort {
            return Ok(false);
        }
        let dropped = Self {
            phase: Phase::Abort,
            ..page.value
        };
        Self::replace(shelf, id, page.digest, &dropped).await?;
        Ok(true)
    }
}

/// What the system reported last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Report {
    pub(super) at: Timestamp,
    /// Why it could not say what it holds.
    pub(super) failed: Option<String>,
    pub(super) seen: Option<Holding>,
}

impl Report {
    pub(super) async fn read(shelf: &dyn Shelf) -> Result<Option<Page<Self>>, ConnectorError> {
        page(shelf, REPORT).await
    }

    pub(super) async fn write(
        shelf: &dyn Shelf,
        over: Option<Digest>,
        report: &Self,
    ) -> Result<(), ConnectorError> {
        put(shelf, REPORT, over, report).await.map(drop)
    }
}

/// Something that happened, for a client to look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub id: u64,
    pub event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changeset: Option<ChangesetId>,
}

/// What was told lately.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Events {
    /// The last id given.
    pub(super) last: u64,
    /// Oldest first.
    pub(super) list: Vec<Told>,
}

pub(super) async fn events(shelf: &dyn Shelf) -> Result<Events, ConnectorError> {
    let page = page(shelf, EVENTS).await?;
    Ok(page.map_or_else(Events::default, |page| page.value))
}

/// How often a write is tried that another came before.
const TRIES: usize = 10;

/// Tells of a phase of a changeset; of a commit also that what is desired has changed. Who is not told sees it when it looks.
pub(super) async fn tell(
    shelf: &dyn Shelf,
    phase: Phase,
    id: &ChangesetId,
) -> Result<(), ConnectorError> {
    for _ in 0..TRIES {
        match try_tell(shelf, phase, id).await {
            Err(ConnectorError::Transient { .. }) => {}
            told => return told,
        }
    }
    tracing::warn!(changeset = %id, "an event could not be told; the system sees it when it looks");
    Ok(())
}

async fn try_tell(shelf: &dyn Shelf, phase: Phase, id: &ChangesetId) -> Result<(), ConnectorError> {
    let (mut events, over) = match page::<Events>(shelf, EVENTS).await? {
        Some(page) => (page.value, Some(page.digest)),
        None => (Events::default(), None),
    };
    let mut say = |event: &str, changeset: Option<ChangesetId>| {
        events.last += 1;
        events.list.push(Told {
            id: events.last,
            event: event.to_owned(),
            changeset,
        });
    };
    match phase {
        Phase::Prepare => say("prepare", Some(id.clone())),
        Phase::Abort => say("abort", Some(id.clone())),
        Phase::Commit => {
            say("commit", Some(id.clone()));
            say("changed", None);
        }
    }
    let surplus = events.list.len().saturating_sub(TOLD);
    events.list.drain(..surplus);
    put(shelf, EVENTS, over, &events).await.map(drop)
}
