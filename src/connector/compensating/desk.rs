//! The two phases on a shelf.
//!
//! The order of writes is what makes a crash harmless. A changeset is staged when the journal says so, which it does after `staged/<id>` is kept.
//! Before a batch of changes is written, `progress/<id>` says that it may have been; so whoever goes on knows what may have to be put back, and what
//! is already as it should be is not written again. Committed it is when the journal says so, after everything else.

use super::kept::{self, After, Head, Kept, PROGRESS, Page, Planned, Progress, STAGED, Staged};
use super::{Compensating, Look, Plain, Step};
use crate::connector::journal::{Due, Journal, advance, judge};
use crate::connector::shelf::Shelf;
use crate::connector::{Changeset, ConnectorError, Prepared, Reason, Receipt};
use crate::ids::{ChangesetId, Digest, Fence, SystemName};
use crate::plan::Change;
use crate::state::State;
use crate::system_api::ChangesetStatus;

/// The journal, and where it is kept.
pub(super) struct Desk<'a> {
    shelf: &'a dyn Shelf,
    journal: Journal,
    /// As it is on the shelf.
    saved: Option<Journal>,
    digest: Option<Digest>,
}

impl<'a> Desk<'a> {
    /// Reads the journal and judges the fence.
    pub(super) async fn open(
        shelf: &'a dyn Shelf,
        system: &SystemName,
        fence: Fence,
    ) -> Result<Self, ConnectorError> {
        let page = kept::journal(shelf).await?;
        let (saved, digest) = match page {
            Some(Page { value, digest }) => (Some(value), digest),
            None => (None, None),
        };
        let mut desk = Self {
            shelf,
            journal: saved.clone().unwrap_or_else(|| Journal::new(system)),
            saved,
            digest,
        };
        desk.journal.admit(fence)?;
        Ok(desk)
    }

    async fn save(&mut self) -> Result<(), ConnectorError> {
        self.journal.prune();
        if self.saved.as_ref() != Some(&self.journal) {
            let written = kept::put(self.shelf, kept::JOURNAL, self.digest, &self.journal).await?;
            self.digest = Some(written);
            self.saved = Some(self.journal.clone());
        }
        Ok(())
    }

    /// Makes durable what is to be remembered, also of a refusal, since its fence counts; and clears away what nothing needs any more.
    pub(super) async fn close(mut self) -> Result<(), ConnectorError> {
        self.save().await?;
        for folder in [STAGED, PROGRESS] {
            for name in self.shelf.list(folder).await? {
                let is_needed = |id: &ChangesetId| name.strip_prefix(folder) == Some(id.as_str());
                if !self.journal.staged().any(|entry| is_needed(&entry.id)) {
                    self.shelf.delete(&name).await?;
                }
            }
        }
        Ok(())
    }
}

impl<P: Plain> Compensating<P> {
    pub(super) async fn prepare_at(
        &self,
        desk: &mut Desk<'_>,
        changeset: &Changeset,
    ) -> Result<Prepared, ConnectorError> {
        // Whatever is said of the changeset, those of older leases end, also where the system can't be read.
        let look = self.look().await;
        let now = match &look {
            Ok(look) => look.state.digest(),
            Err(_) => changeset.base,
        };
        let repeated = desk.journal.prepare(changeset, now)?;
        let look = look?;
        if let Some(prepared) = repeated {
            return Ok(prepared);
        }
        judge(changeset, &look.state, self.plain.what())?;
        let plan = self.planned(changeset, &look).await?;
        let staged = Staged {
            revision: changeset.revision.clone(),
            plan,
        };
        let name = Staged::name(&changeset.id);
        // One may lie there from a crash before the journal was written.
        desk.shelf.delete(&name).await?;
        kept::put(desk.shelf, &name, None, &staged).await?;
        desk.journal.stage(changeset);
        Ok(Prepared { repeated: false })
    }

    /// What each change is to do and undo; or why the system will not have it.
    async fn planned(
        &self,
        changeset: &Changeset,
        look: &Look,
    ) -> Result<Vec<Planned>, ConnectorError> {
        let mut reasons = self.plain.check(changeset, &look.live).await?;
        let mut plan = Vec::with_capacity(changeset.changes.len());
        for change in &changeset.changes {
            match self.plan_one(change, changeset, &look.live) {
                Ok(planned) => plan.push(planned),
                Err(message) => reasons.push(Reason {
                    id: change.id.clone(),
                    message,
                }),
            }
        }
        if reasons.is_empty() {
            if self.plain.adds_first() {
                plan.sort_by_key(|planned| planned.after.is_none());
            }
            return Ok(plan);
        }
        reasons.sort_by(|a, b| a.id.cmp(&b.id));
        Err(ConnectorError::Refused {
            message: format!(
                "{} will not take {} of {} changes",
                self.plain.what(),
                reasons.len(),
                changeset.changes.len()
            ),
            reasons,
        })
    }

    fn plan_one(
        &self,
        change: &Change,
        changeset: &Changeset,
        live: &State,
    ) -> Result<Planned, String> {
        let before = live.get(&change.id).map(|form| form.spec.value());
        let after = match &change.after {
            None => None,
            Some(item) => {
                let form = self.plain.form(item, changeset.owner.as_deref())?;
                Some(After {
                    is_said: self.plain.spec(&item.id, &form) == item.spec,
                    form: form.value(),
                    spec: item.spec.value(),
                })
            }
        };
        Ok(Planned {
            id: change.id.clone(),
            before,
            after,
        })
    }

    pub(super) async fn commit_at(
        &self,
        desk: &mut Desk<'_>,
        id: &ChangesetId,
    ) -> Result<Receipt, ConnectorError> {
        if let Due::Done(receipt) = desk.journal.commit(id)? {
            return Ok(receipt);
        }
        // Before anything is written, so that whoever prepares with an older fence in between is refused after a crash too.
        desk.save().await?;
        let staged = Staged::read(desk.shelf, id).await?;
        let mut progress = Progress::read(desk.shelf, id).await?;
        if progress.value.failed.is_none() {
            let look = self.look().await?;
            // What others wrote since the prepare stays, except for what the changeset itself changes.
            let lands = advance(&look.state, staged.items()?).digest();
            let written = self.carry_out(desk, id, &staged, &mut progress, &look.live);
            match written.await {
                Ok(()) => {
                    Kept::keep(desk.shelf, &staged.plan).await?;
                    Head::advance(desk.shelf, &staged.revision).await?;
                    return desk.journal.committed(id, Some(lands));
                }
                // Asked again, it goes on where it is.
                Err(error @ ConnectorError::Transient { .. }) => return Err(error),
                Err(error) => {
                    progress.value.failed = Some(error);
                    note(desk, id, &mut progress).await?;
                }
            }
        }
        let Some(error) = progress.value.failed.clone() else {
            return Err(ConnectorError::Terminal {
                message: "the commit ended without an end".to_owned(),
            });
        };
        self.put_back(&staged, progress.value.begun).await?;
        desk.journal.fail(id, error.clone());
        Err(error)
    }

    /// Writes what is not as it should be yet, in the order of the plan.
    async fn carry_out(
        &self,
        desk: &Desk<'_>,
        id: &ChangesetId,
        staged: &Staged,
        progress: &mut Page<Progress>,
        live: &State,
    ) -> Result<(), ConnectorError> {
        let size = self.plain.batch().max(1);
        for (n, batch) in staged.plan.chunks(size).enumerate() {
            let mut steps = Vec::new();
            for planned in batch {
                let to = Planned::form(planned.after.as_ref().map(|after| &after.form))?;
                if live.get(&planned.id).map(|form| &form.spec) != to.as_ref() {
                    let id = planned.id.clone();
                    steps.push(Step { id, to });
                }
            }
            if steps.is_empty() {
                continue;
            }
            let end = n * size + batch.len();
            if progress.value.begun < end {
                progress.value.begun = end;
                note(desk, id, progress).await?;
            }
            self.plain.write(&steps).await?;
        }
        Ok(())
    }

    /// Puts everything that may have been written back as it was, the last first.
    async fn put_back(&self, staged: &Staged, begun: usize) -> Result<(), ConnectorError> {
        let undone = async {
            let live = self.plain.read().await?;
            let mut steps = Vec::new();
            for planned in staged.plan.iter().take(begun).rev() {
                let to = Planned::form(planned.before.as_ref())?;
                if live.get(&planned.id).map(|form| &form.spec) != to.as_ref() {
                    let id = planned.id.clone();
                    steps.push(Step { id, to });
                }
            }
            for batch in steps.chunks(self.plain.batch().max(1)) {
                self.plain.write(batch).await?;
            }
            Ok(())
        };
        undone.await.map_err(|error: ConnectorError| match error {
            ConnectorError::Transient { message } => ConnectorError::Transient {
                message: format!("is being put back as it was: {message}"),
            },
            error @ (ConnectorError::Refused { .. }
            | ConnectorError::Terminal { .. }
            | ConnectorError::Stale { .. }
            | ConnectorError::Fenced { .. }) => ConnectorError::Terminal {
                message: format!(
                    "a commit failed half way, and what it wrote can't be put back: {error}; look at {} and mend it by hand",
                    self.plain.what()
                ),
            },
        })
    }

    pub(super) async fn abort_at(
        &self,
        desk: &mut Desk<'_>,
        id: &ChangesetId,
    ) -> Result<(), ConnectorError> {
        let status = desk.journal.find(id).map(|entry| entry.status);
        if status == Some(ChangesetStatus::Staged) {
            let begun = Progress::read(desk.shelf, id).await?.value.begun;
            if begun > 0 {
                desk.save().await?;
                self.put_back(&Staged::read(desk.shelf, id).await?, begun)
                    .await?;
            }
        }
        desk.journal.abort(id)
    }
}

/// Keeps how far a commit came.
async fn note(
    desk: &Desk<'_>,
    id: &ChangesetId,
    progress: &mut Page<Progress>,
) -> Result<(), ConnectorError> {
    let name = Progress::name(id);
    let written = kept::put(desk.shelf, &name, progress.digest, &progress.value).await?;
    progress.digest = Some(written);
    Ok(())
}
