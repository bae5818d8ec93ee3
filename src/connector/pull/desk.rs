//! The journal on the shelf: Lockstep's own side, which the system never writes.
//!
//! A changeset is offered when the journal says that it is staged, which it does after `offer/<id>` and `changes/<id>` lie there; an offer that the
//! journal does not know is a leftover. Committed it is when the system has said so and the journal says it after.

use super::kept::{self, OFFER, Offer, Page};
use crate::connector::journal::Journal;
use crate::connector::shelf::Shelf;
use crate::connector::{Changeset, ConnectorError};
use crate::ids::{ChangesetId, Fence, SystemName};
use crate::system_api::ChangesetStatus;

/// The journal, and where it is kept.
pub(super) struct Desk<'a> {
    shelf: &'a dyn Shelf,
    pub(super) journal: Journal,
    /// As it is on the shelf.
    saved: Option<Page<Journal>>,
}

impl<'a> Desk<'a> {
    /// Reads the journal and judges the fence.
    pub(super) async fn open(
        shelf: &'a dyn Shelf,
        system: &SystemName,
        fence: Fence,
    ) -> Result<Self, ConnectorError> {
        let saved = kept::journal(shelf).await?;
        let journal = saved.as_ref().map(|page| page.value.clone());
        let mut desk = Self {
            shelf,
            journal: journal.unwrap_or_else(|| Journal::new(system)),
            saved,
        };
        desk.journal.admit(fence)?;
        Ok(desk)
    }

    /// Refuses what comes from another config repo than the one the system is driven by.
    pub(super) fn judge_sender(&self, changeset: &Changeset) -> Result<(), ConnectorError> {
        let release = "give it another name here";
        self.journal.judge_sender(changeset, "the system", release)
    }

    /// Makes durable what is to be remembered.
    pub(super) async fn save(&mut self) -> Result<(), ConnectorError> {
        self.journal.prune();
        if self.saved.as_ref().map(|page| &page.value) == Some(&self.journal) {
            return Ok(());
        }
        let over = self.saved.as_ref().map(|page| page.digest);
        let digest = kept::put(self.shelf, kept::JOURNAL, over, &self.journal).await?;
        self.saved = Some(Page {
            value: self.journal.clone(),
            digest,
        });
        Ok(())
    }

    /// Makes durable what is to be remembered, also of a refusal, since its fence counts; and clears away what nothing needs any more. What was
    /// aborted stays until the system has heard of it, or until it is forgotten.
    pub(super) async fn close(mut self) -> Result<(), ConnectorError> {
        self.save().await?;
        for name in self.shelf.list(OFFER).await? {
            let id = name.strip_prefix(OFFER).and_then(|id| id.parse().ok());
            let entry = id
                .as_ref()
                .and_then(|id: &ChangesetId| self.journal.find(id));
            match (entry.map(|entry| entry.status), &id) {
                (Some(ChangesetStatus::Staged), _) => {}
                // What the system has not taken it need not drop.
                (Some(ChangesetStatus::Aborted), Some(id)) => {
                    Offer::clear_untaken(self.shelf, id).await?;
                }
                (Some(ChangesetStatus::Committed) | None, Some(id)) => {
                    Offer::clear(self.shelf, id).await?;
                }
                (_, None) => self.shelf.delete(&name).await?,
            }
        }
        Ok(())
    }
}
