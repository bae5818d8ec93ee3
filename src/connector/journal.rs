//! The two phases as far as they are the same for every system that has no staging of its own: what is remembered of changesets, and what
//! that says of the next request. Pure; where a [`Journal`] is kept, and how a changeset takes effect, is the connector's.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Changeset, ConnectorError, Prepared, Reason, Receipt};
use crate::ids::{ChangesetId, Digest, Fence, ResourceRef, Revision, SystemName};
use crate::plan::{Change, Op};
use crate::state::{Item, State};
use crate::system_api::{ChangesetStatus, WireSpec, op_word};

/// How many ended changesets are remembered. A request can only be late by a few, and its base and fence are judged as well.
const REMEMBERED: usize = 256;

/// Everything that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    pub(super) version: u32,
    pub(super) system: SystemName,
    /// The mark of the config repo that it is driven by, once a changeset came with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<String>,
    /// The highest fence seen.
    pub(super) fence: Fence,
    /// Whether the system has ever held anything.
    pub(super) existed: bool,
    /// Oldest first.
    pub(super) changesets: Vec<Entry>,
}

/// One changeset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) id: ChangesetId,
    pub(super) status: ChangesetStatus,
    /// Of everything but the fence; absent for one that was aborted before it was ever seen.
    pub(super) content: Option<Digest>,
    /// Of whoever prepared it last.
    pub(super) fence: Fence,
    pub(super) base: Option<Digest>,
    /// The digest of the state that it leads to: what a commit answers.
    pub(super) lands: Option<Digest>,
    /// Why its commit failed, where it did: what a commit is answered again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failed: Option<ConnectorError>,
}

impl Journal {
    pub(super) fn new(system: &SystemName) -> Self {
        Self {
            version: 1,
            system: system.clone(),
            owner: None,
            fence: Fence(0),
            existed: false,
            changesets: Vec::new(),
        }
    }

    /// Refuses a changeset of another config repo than the one that the system is driven by. `what` names what has an owner (`the file`), `release`
    /// what to do to give it to another.
    pub(super) fn judge_sender(
        &self,
        changeset: &Changeset,
        what: &str,
        release: &str,
    ) -> Result<(), ConnectorError> {
        let Some(owner) = self.owner.as_deref() else {
            return Ok(());
        };
        if changeset.owner.as_deref() == Some(owner) {
            return Ok(());
        }
        let sender = changeset.owner.as_deref();
        let sender = sender.unwrap_or("who sends this and carries no mark");
        Err(ConnectorError::Refused {
            message: format!(
                "{what} belongs to {owner}, so {sender} may not change it; declare the system in one of the two, or {release}"
            ),
            reasons: Vec::new(),
        })
    }

    /// Refuses an older holder of the lease than the newest one seen, and remembers this one.
    pub(super) fn admit(&mut self, fence: Fence) -> Result<(), ConnectorError> {
        if fence < self.fence {
            return Err(ConnectorError::Fenced {
                message: format!(
                    "the fence {} is older than {}: the lease has a new holder",
                    fence.0, self.fence.0
                ),
            });
        }
        self.fence = fence;
        Ok(())
    }

    /// Whether a changeset is to be staged (`None`), or was before, or can't be. Those of older leases have lost their owner.
    pub(super) fn prepare(
        &mut self,
        changeset: &Changeset,
        now: Digest,
    ) -> Result<Option<Prepared>, ConnectorError> {
        let content = content_digest(changeset);
        let known = self.find(&changeset.id).cloned();
        for entry in &mut self.changesets {
            if entry.status != ChangesetStatus::Staged || entry.fence >= self.fence {
                continue;
            }
            if entry.id == changeset.id && entry.content == Some(content) {
                entry.fence = self.fence;
            } else {
                entry.status = ChangesetStatus::Aborted;
            }
        }
        match &known {
            Some(known) if known.status == ChangesetStatus::Aborted => {
                return Err(stale(
                    "this changeset was aborted; plan again and use a new id".to_owned(),
                ));
            }
            Some(known) if known.content != Some(content) => {
                return Err(stale(
                    "this id was used for a changeset with other content".to_owned(),
                ));
            }
            Some(known) if known.status == ChangesetStatus::Committed => {
                return Ok(Some(Prepared { repeated: true }));
            }
            Some(_) | None => {}
        }
        if changeset.base != now {
            return Err(stale(format!(
                "the state is {}, not {} that the changes were planned on; observe and plan again",
                now.short(),
                changeset.base.short()
            )));
        }
        Ok(known.map(|_| Prepared { repeated: true }))
    }

    /// Remembers a changeset as staged. From the first one that is taken the system is its sender's.
    pub(super) fn stage(&mut self, changeset: &Changeset) {
        if self.owner.is_none() {
            self.owner = changeset.owner.as_deref().map(str::to_owned);
        }
        self.changesets.push(Entry {
            id: changeset.id.clone(),
            status: ChangesetStatus::Staged,
            content: Some(content_digest(changeset)),
            fence: self.fence,
            base: Some(changeset.base),
            lands: Some(changeset.target),
            failed: None,
        });
    }

    /// The changeset that is to take effect now, or what it was answered before.
    pub(super) fn commit(&self, id: &ChangesetId) -> Result<Due, ConnectorError> {
        let entry = self.find(id);
        let entry = entry.ok_or_else(|| refused("no changeset with this id was prepared here"))?;
        match entry.status {
            ChangesetStatus::Aborted => Err(entry.failed.clone().unwrap_or_else(|| {
                refused("this changeset was aborted; plan again and use a new id")
            })),
            ChangesetStatus::Committed => receipt(entry.lands).map(Due::Done),
            ChangesetStatus::Staged => Ok(Due::Now(entry.clone())),
        }
    }

    /// Remembers that a changeset took effect, and where it led.
    pub(super) fn committed(
        &mut self,
        id: &ChangesetId,
        lands: Option<Digest>,
    ) -> Result<Receipt, ConnectorError> {
        self.existed = true;
        if let Some(entry) = self.find_mut(id) {
            entry.status = ChangesetStatus::Committed;
            entry.lands = lands;
        }
        receipt(lands)
    }

    /// Remembers that a changeset can't take effect, and that nothing is left of it.
    pub(super) fn fail(&mut self, id: &ChangesetId, error: ConnectorError) {
        if let Some(entry) = self.find_mut(id) {
            entry.status = ChangesetStatus::Aborted;
            entry.failed = Some(error);
        }
    }

    pub(super) fn abort(&mut self, id: &ChangesetId) -> Result<(), ConnectorError> {
        let fence = self.fence;
        match self.find_mut(id) {
            Some(entry) if entry.status == ChangesetStatus::Committed => Err(refused(
                "this changeset is committed; undo it with a new one",
            )),
            Some(entry) => {
                entry.status = ChangesetStatus::Aborted;
                Ok(())
            }
            None => {
                // Remembered: its prepare may still be on its way.
                self.changesets.push(Entry {
                    id: id.clone(),
                    status: ChangesetStatus::Aborted,
                    content: None,
                    fence,
                    base: None,
                    lands: None,
                    failed: None,
                });
                Ok(())
            }
        }
    }

    /// Whether a changeset is known to have taken effect.
    pub(super) fn has_committed(&self) -> bool {
        let mut all = self.changesets.iter();
        all.any(|e| e.status == ChangesetStatus::Committed)
    }

    /// The changesets that wait for their commit.
    pub(super) fn staged(&self) -> impl Iterator<Item = &Entry> {
        self.changesets
            .iter()
            .filter(|e| e.status == ChangesetStatus::Staged)
    }

    /// Forgets the oldest of those that have ended, where they are many.
    pub(super) fn prune(&mut self) {
        let ended = |e: &Entry| e.status != ChangesetStatus::Staged;
        let mut surplus = self
            .changesets
            .iter()
            .filter(|e| ended(e))
            .count()
            .saturating_sub(REMEMBERED);
        self.changesets.retain(|entry| {
            let dropped = surplus > 0 && ended(entry);
            surplus -= usize::from(dropped);
            !dropped
        });
    }

    pub(super) fn find(&self, id: &ChangesetId) -> Option<&Entry> {
        self.changesets.iter().find(|e| e.id == *id)
    }

    pub(super) fn find_mut(&mut self, id: &ChangesetId) -> Option<&mut Entry> {
        self.changesets.iter_mut().find(|e| e.id == *id)
    }
}

/// What a request to commit finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Due {
    /// It took effect before.
    Done(Receipt),
    /// It is staged.
    Now(Entry),
}

pub(super) fn refused(message: &str) -> ConnectorError {
    ConnectorError::Refused {
        message: message.to_owned(),
        reasons: Vec::new(),
    }
}

pub(super) fn stale(message: String) -> ConnectorError {
    ConnectorError::Stale { message }
}

fn receipt(lands: Option<Digest>) -> Result<Receipt, ConnectorError> {
    let digest = lands.ok_or_else(|| ConnectorError::Terminal {
        message: "the journal does not say what this changeset led to".to_owned(),
    })?;
    Ok(Receipt {
        digest,
        reference: None,
    })
}

/// Whether the changes fit the state and lead where they should; the state after them. `what` names what holds it (`the file`).
pub(super) fn judge(
    changeset: &Changeset,
    state: &State,
    what: &str,
) -> Result<State, ConnectorError> {
    let reasons: Vec<Reason> = changeset
        .changes
        .iter()
        .filter_map(|change| misfit(change, state))
        .collect();
    if !reasons.is_empty() {
        return Err(ConnectorError::Refused {
            message: format!(
                "{} of {} changes do not fit what {what} holds",
                reasons.len(),
                changeset.changes.len()
            ),
            reasons,
        });
    }
    let steps = changeset.changes.iter();
    let next = advance(state, steps.map(|c| (c.id.clone(), c.after.clone())));
    if next.digest() != changeset.target {
        return Err(refused(&format!(
            "the changes lead to the digest {}, not to the target {}",
            next.digest().short(),
            changeset.target.short()
        )));
    }
    Ok(next)
}

fn misfit(change: &Change, state: &State) -> Option<Reason> {
    let message = match (change.op, state.get(&change.id)) {
        (Op::Create, Some(_)) => "exists already, so it cannot be created",
        (Op::Update, None) => "does not exist, so it cannot be updated",
        (Op::Delete, None) => "does not exist, so it cannot be deleted",
        (Op::Create, None) | (Op::Update | Op::Delete, Some(_)) => return None,
    };
    Some(Reason {
        id: change.id.clone(),
        message: message.to_owned(),
    })
}

/// The state after the steps.
pub(super) fn advance(state: &State, steps: impl IntoIterator<Item = Becomes>) -> State {
    let mut items: BTreeMap<_, _> = state
        .items()
        .map(|i| (i.id.clone(), Some(i.clone())))
        .collect();
    items.extend(steps);
    items.into_values().flatten().collect()
}

/// Of everything but the fence: after a change of leader the same changeset comes again with a newer one.
pub(super) fn content_digest(changeset: &Changeset) -> Digest {
    let Changeset {
        id: _,
        revision,
        base,
        target,
        fence: _,
        owner: _,
        changes,
    } = changeset;
    let mut hash = Sha256::new();
    hash.update(format!("{revision} {base} {target}\n"));
    for change in changes {
        let after = change.after.as_ref();
        hash.update(op_word(change.op));
        hash.update(b" ");
        hash.update(change.id.as_str());
        hash.update(b" ");
        hash.update(after.map_or([0; 32], |item| *item.digest().as_bytes()));
    }
    Digest::from_bytes(hash.finalize().into())
}

/// A resource and what it becomes; `None` is deleted.
pub(super) type Becomes = (ResourceRef, Option<Arc<Item>>);

/// What a changeset makes of each resource, as it is kept for its commit.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Steps {
    pub(super) revision: Revision,
    /// By `kind/name`: the spec, or none to delete. A list, so that a spec may be `null` itself.
    steps: BTreeMap<ResourceRef, Vec<WireSpec>>,
}

impl Steps {
    pub(super) fn of(changeset: &Changeset) -> Self {
        let steps = changeset.changes.iter().map(|change| {
            let spec = change.after.iter();
            let spec = spec.map(|item| WireSpec(item.spec.clone()));
            (change.id.clone(), spec.collect())
        });
        Self {
            revision: changeset.revision.clone(),
            steps: steps.collect(),
        }
    }

    /// What the changeset makes of each resource.
    pub(super) fn items(&self) -> Vec<Becomes> {
        let item = |(id, spec): (&ResourceRef, &Vec<WireSpec>)| {
            let spec = spec.first();
            let item = spec.map(|spec| Arc::new(Item::new(id.clone(), spec.0.clone())));
            (id.clone(), item)
        };
        self.steps.iter().map(item).collect()
    }
}
