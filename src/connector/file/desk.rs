//! The two phases on a file. One request at a time, under the place's lock.
//!
//! The order of writes is what makes a crash harmless. A changeset is staged when the journal says so, which it does after its files
//! are on disk. It is committed when its staged file has been renamed into place, which the journal says after: so a changeset that
//! the journal calls staged and whose staged file is gone has been committed. Aborted it is when the journal says so; its files are
//! removed after that.

use std::sync::Arc;

use super::content::Content;
use super::folder;
use super::format::{Format, Written};
use super::kept::{self, changes_name, part_prefix, staged_name};
use super::lost;
use super::place::{Lock, Place};
use crate::connector::journal::{Due, Journal, Steps, advance, judge};
use crate::connector::{Changeset, ConnectorError, Prepared, Receipt};
use crate::ids::{ChangesetId, Fence, Revision, SystemName};
use crate::state::State;
use crate::system_api::ChangesetStatus;

/// A place with its lock, its journal and the content of its file.
pub(super) struct Desk {
    place: Place,
    format: Format,
    journal: Journal,
    /// The journal as it is on disk.
    saved: Option<Journal>,
    content: Option<Arc<Content>>,
    _lock: Lock,
}

impl Desk {
    /// Judges the fence, and brings to an end what a crash left half done.
    pub(super) fn open(
        (place, format): (Place, Format),
        lock: Lock,
        system: &SystemName,
        saved: Option<Journal>,
        content: Option<Arc<Content>>,
        fence: Fence,
    ) -> Result<Self, ConnectorError> {
        let mut desk = Self {
            place,
            format,
            journal: saved.clone().unwrap_or_else(|| Journal::new(system)),
            saved,
            content,
            _lock: lock,
        };
        desk.journal.admit(fence)?;
        desk.recover()?;
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
            kept::keep_journal(&mut self.journal, &self.place)?;
            self.saved = Some(self.journal.clone());
        }
        Ok(())
    }

    fn sweep(&self) -> Result<(), ConnectorError> {
        let kept: Vec<String> = self
            .journal
            .staged()
            .flat_map(|e| [staged_name(&e.id), changes_name(&e.id)])
            .collect();
        let parts: Vec<String> = (self.journal.staged())
            .map(|e| part_prefix(&e.id))
            .collect();
        self.place.sweep(|name| {
            matches!(name, "lock" | kept::NAME)
                || kept.iter().any(|kept| kept == name)
                || parts.iter().any(|parts| name.starts_with(parts))
        })
    }

    fn recover(&mut self) -> Result<(), ConnectorError> {
        if self.format == Format::Folder {
            folder::finish(&self.place)?;
        }
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
        // Whatever is said of the changeset, those of older leases end, also where the file can't be read.
        let state = self.state();
        let now = match &state {
            Ok(state) => state.digest(),
            Err(_) => changeset.base,
        };
        let repeated = self.journal.prepare(changeset, now)?;
        if let Some(prepared) = repeated {
            return state.map(|_| prepared);
        }
        let next = judge(changeset, &state?, "the file")?;
        let next = self.content_of(changeset.revision.clone(), next);
        let now = self.content.as_deref();
        let written = self.format.prepare(&next, now, changeset)?;
        let id = &changeset.id;
        kept::keep_steps(&Steps::of(changeset), &self.place, id)?;
        self.stage(id, &written)?;
        self.journal.stage(changeset);
        Ok(Prepared { repeated: false })
    }

    pub(super) fn commit(&mut self, id: &ChangesetId) -> Result<Receipt, ConnectorError> {
        let entry = match self.journal.commit(id)? {
            Due::Done(receipt) => return Ok(receipt),
            Due::Now(entry) => entry,
        };
        // Before the rename, so that whoever prepares with an older fence in between is refused after a crash too.
        let mut lands = entry.lands;
        let edited = self.content.as_ref().map(|c| c.state.digest());
        let moved = edited != entry.base || self.format.has_more();
        if let Some(content) = self.content.clone().filter(|_| moved) {
            // Edited since the prepare. What was decided happens all the same, and what others wrote stays.
            let steps = kept::steps(&self.place, id)?;
            let state = advance(&content.state, steps.items());
            let next = self.content_of(steps.revision, state);
            let written = self.format.decided(&next, Some(&content))?;
            self.stage(id, &written)?;
            lands = Some(next.state.digest());
            if let Some(entry) = self.journal.find_mut(id) {
                entry.lands = lands;
            }
        }
        self.save()?;
        self.place.put(&staged_name(id), self.place.name())?;
        if self.format == Format::Folder {
            folder::finish(&self.place)?;
        }
        self.journal.committed(id, lands)
    }

    /// A state to be written, among what others have there now.
    fn content_of(&self, revision: Revision, state: State) -> Content {
        let around = self.content.as_ref().map(|now| now.around.clone());
        Content {
            revision: Some(revision),
            state,
            around: around.unwrap_or_default(),
        }
    }

    fn stage(&self, id: &ChangesetId, written: &Written) -> Result<(), ConnectorError> {
        if self.format == Format::Folder {
            return folder::stage(&self.place, id, written);
        }
        let target = self.place.name();
        self.place.stage(&staged_name(id), &written.main, target)
    }

    pub(super) fn abort(&mut self, id: &ChangesetId) -> Result<(), ConnectorError> {
        self.journal.abort(id)
    }
}
