//! The two phases on a file. One request at a time, under the place's lock.
//!
//! The order of writes is what makes a crash harmless. A changeset is staged when the journal says so, which it does after its files
//! are on disk. It is committed when its staged file has been renamed into place, which the journal says after: so a changeset that
//! the journal calls staged and whose staged file is gone has been committed. Aborted it is when the journal says so; its files are
//! removed after that.

use std::sync::Arc;

use super::content::Content;
use super::journal::{self, Entry, Journal, Steps, changes_name, content_digest, staged_name};
use super::place::{Lock, Place};
use super::{Changeset, ConnectorError, Prepared, Receipt, advance, lost};
use crate::ids::{ChangesetId, Digest, Fence, SystemName};
use crate::plan::{Change, Op};
use crate::record::Reason;
use crate::state::State;
use crate::system_api::ChangesetStatus;

/// A place with its lock, its journal and the content of its file.
pub(super) struct Desk {
    place: Place,
    journal: Journal,
    /// The journal as it is on disk.
    saved: Option<Journal>,
    content: Option<Arc<Content>>,
    fence: Fence,
    _lock: Lock,
}

fn refused(message: &str) -> ConnectorError {
    ConnectorError::Refused {
        message: message.to_owned(),
        reasons: Vec::new(),
    }
}

fn stale(message: String) -> ConnectorError {
    ConnectorError::Stale { message }
}

impl Desk {
    /// Judges the fence, and brings to an end what a crash left half done.
    pub(super) fn open(
        place: Place,
        lock: Lock,
        system: &SystemName,
        saved: Option<Journal>,
        content: Option<Arc<Content>>,
        fence: Fence,
    ) -> Result<Self, ConnectorError> {
        let mut desk = Self {
            place,
            journal: saved.clone().unwrap_or_else(|| Journal::new(system)),
            saved,
            content,
            fence,
            _lock: lock,
        };
        if fence < desk.journal.fence {
            return Err(ConnectorError::Fenced {
                message: format!(
                    "the fence {} is older than {}: the lease has a new holder",
                    fence.0, desk.journal.fence.0
                ),
            });
        }
        desk.recover()?;
        desk.journal.fence = fence;
        desk.journal.existed |= desk.content.is_some();
        Ok(desk)
    }

    /// Does one thing, and makes durable what is to be remembered of it, also of a refusal: its fence counts.
    pub(super) fn done<T>(
        mut self,
        act: impl FnOnce(&mut Self) -> Result<T, ConnectorError>,
    ) -> Result<T, ConnectorError> {
        let answer = act(&mut self);
        self.save()?;
        self.sweep()?;
        answer
    }

    fn save(&mut self) -> Result<(), ConnectorError> {
        if self.saved.as_ref() != Some(&self.journal) {
            self.journal.save(&self.place)?;
            self.saved = Some(self.journal.clone());
        }
        Ok(())
    }

    fn sweep(&self) -> Result<(), ConnectorError> {
        let staged = |e: &&Entry| e.status == ChangesetStatus::Staged;
        let kept: Vec<String> = self
            .journal
            .changesets
            .iter()
            .filter(staged)
            .flat_map(|e| [staged_name(&e.id), changes_name(&e.id)])
            .collect();
        self.place.sweep(|name| {
            matches!(name, "lock" | journal::NAME) || kept.iter().any(|kept| kept == name)
        })
    }

    fn recover(&mut self) -> Result<(), ConnectorError> {
        let now = self.content.as_ref().map(|c| c.state.digest());
        for entry in &mut self.journal.changesets {
            if entry.status != ChangesetStatus::Staged
                || self.place.has_beside(&staged_name(&entry.id))?
            {
                continue;
            }
            // Gone, and the file is as before: not renamed but removed by someone.
            entry.status = if now == entry.base && entry.base != entry.lands {
                ChangesetStatus::Aborted
            } else {
                ChangesetStatus::Committed
            };
        }
        Ok(())
    }

    /// The state now. A file that is gone is no empty state.
    fn state(&self) -> Result<State, ConnectorError> {
        match &self.content {
            Some(content) => Ok(content.state.clone()),
            None if self.journal.existed => Err(lost(&self.place)),
            None => Ok(State::default()),
        }
    }

    pub(super) fn prepare(&mut self, changeset: &Changeset) -> Result<Prepared, ConnectorError> {
        let content = content_digest(changeset);
        let id = &changeset.id;
        let known = self.journal.find(id).cloned();
        // Whatever is said of this changeset, those of older leases have lost their owner.
        for entry in &mut self.journal.changesets {
            if entry.status != ChangesetStatus::Staged || entry.fence >= self.fence {
                continue;
            }
            if entry.id == *id && entry.content == Some(content) {
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
                return Ok(Prepared { repeated: true });
            }
            Some(_) | None => {}
        }
        let state = self.state()?;
        if changeset.base != state.digest() {
            return Err(stale(format!(
                "the state is {}, not {} that the changes were planned on; observe and plan again",
                state.digest().short(),
                changeset.base.short()
            )));
        }
        if known.is_some() {
            return Ok(Prepared { repeated: true });
        }
        let next = judge(changeset, &state)?;
        let bytes = Content {
            revision: Some(changeset.revision.clone()),
            state: next,
        }
        .write()?;
        // From the first changeset that is taken the file is its sender's.
        if self.journal.owner.is_none() {
            self.journal.owner = changeset.owner.as_deref().map(str::to_owned);
        }
        Steps::of(changeset).save(&self.place, id)?;
        self.place.stage(&staged_name(id), &bytes)?;
        self.journal.changesets.push(Entry {
            id: id.clone(),
            status: ChangesetStatus::Staged,
            content: Some(content),
            fence: self.fence,
            base: Some(changeset.base),
            lands: Some(changeset.target),
        });
        Ok(Prepared { repeated: false })
    }

    pub(super) fn commit(&mut self, id: &ChangesetId) -> Result<Receipt, ConnectorError> {
        let entry = self.journal.find(id).cloned();
        let entry = entry.ok_or_else(|| refused("no changeset with this id was prepared here"))?;
        match entry.status {
            ChangesetStatus::Aborted => {
                return Err(refused(
                    "this changeset was aborted; plan again and use a new id",
                ));
            }
            ChangesetStatus::Committed => return receipt(entry.lands),
            ChangesetStatus::Staged => {}
        }
        // Before the rename, so that whoever prepares with an older fence in between is refused after a crash too.
        let mut lands = entry.lands;
        let edited = self.content.as_ref().map(|c| c.state.digest());
        if let Some(content) = self.content.clone().filter(|_| edited != entry.base) {
            // Edited since the prepare. What was decided happens all the same, and what others wrote stays.
            let steps = Steps::load(&self.place, id)?;
            let next = Content {
                state: advance(&content.state, steps.items()?),
                revision: Some(steps.revision),
            };
            self.place.stage(&staged_name(id), &next.write()?)?;
            lands = Some(next.state.digest());
            if let Some(entry) = self.journal.find_mut(id) {
                entry.lands = lands;
            }
        }
        self.save()?;
        self.place.put(&staged_name(id))?;
        self.journal.existed = true;
        if let Some(entry) = self.journal.find_mut(id) {
            entry.status = ChangesetStatus::Committed;
        }
        receipt(lands)
    }

    pub(super) fn abort(&mut self, id: &ChangesetId) -> Result<(), ConnectorError> {
        let fence = self.fence;
        match self.journal.find_mut(id) {
            Some(entry) if entry.status == ChangesetStatus::Committed => Err(refused(
                "this changeset is committed; undo it with a new one",
            )),
            Some(entry) => {
                entry.status = ChangesetStatus::Aborted;
                Ok(())
            }
            None => {
                // Remembered: its prepare may still be on its way.
                self.journal.changesets.push(Entry {
                    id: id.clone(),
                    status: ChangesetStatus::Aborted,
                    content: None,
                    fence,
                    base: None,
                    lands: None,
                });
                Ok(())
            }
        }
    }
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

/// Whether the changes fit the state and lead where they should; the state after them.
fn judge(changeset: &Changeset, state: &State) -> Result<State, ConnectorError> {
    let reasons: Vec<Reason> = changeset
        .changes
        .iter()
        .filter_map(|change| misfit(change, state))
        .collect();
    if !reasons.is_empty() {
        return Err(ConnectorError::Refused {
            message: format!(
                "{} of {} changes do not fit what the file holds",
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
