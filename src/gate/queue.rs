//! The merge queue: the statuses of a proposal, on the commit that the forge has made of it to become the main branch.
//!
//! An entry is put on the one before it, so it passes only if that one does. What is judged is the pull request as it is put there;
//! the commit is only compared with it, since its content is the forge's word.

use std::collections::BTreeMap;

use super::{CONTEXTS, Gate, GateError, statuses};
use crate::forge::{Proposal, Queued, Status, StatusState};
use crate::ids::Revision;
use crate::resource::Language;

impl Gate {
    /// Judges what waits in the queue and puts statuses on each commit there.
    pub(super) async fn publish_queue(&self) -> Result<(), GateError> {
        let entries = self.forge.queued().await?;
        if entries.is_empty() {
            return Ok(());
        }
        let main = self.forge.main().await?;
        let mut passing: BTreeMap<Revision, bool> = BTreeMap::from([(main.clone(), true)]);
        let mut left = entries;
        // Each after the one that it is put on, in whatever order they come.
        loop {
            let ready = left.iter().position(|e| passing.contains_key(&e.base));
            let Some(at) = ready else { break };
            let entry = left.swap_remove(at);
            let before = passing.get(&entry.base).copied().unwrap_or(false);
            let passes = match self.judge_and_show(&entry, before).await {
                Ok(passes) => passes,
                // One that can't be judged keeps only those back that are put on it.
                Err(error) => {
                    tracing::warn!(
                        proposal = entry.number,
                        error = &error as &dyn std::error::Error,
                        "an entry of the merge queue could not be judged"
                    );
                    false
                }
            };
            passing.insert(entry.head, passes);
        }
        for entry in left {
            // It may have become main, or part of it, since it was listed.
            if self.is_merged(&entry.head, &main).await? {
                continue;
            }
            // Put on something that is not known here yet.
            let waits =
                CONTEXTS.map(|context| statuses::pending(context, self.clock.now(), self.language));
            self.show(&entry.head, waits.to_vec()).await?;
        }
        Ok(())
    }

    async fn judge_and_show(&self, entry: &Queued, before: bool) -> Result<bool, GateError> {
        let wanted = self.judge_queued(entry, before).await?;
        let passes = wanted.iter().all(|s| s.state == StatusState::Success);
        self.show(&entry.head, wanted).await?;
        Ok(passes)
    }

    async fn is_merged(&self, commit: &Revision, main: &Revision) -> Result<bool, GateError> {
        let (repo, commit, main) = (self.repo.clone(), commit.clone(), main.clone());
        Ok(tokio::task::spawn_blocking(move || repo.is_ancestor(&commit, &main)).await??)
    }

    async fn judge_queued(&self, entry: &Queued, before: bool) -> Result<Vec<Status>, GateError> {
        let proposal = self.forge.proposal(entry.number).await?;
        let judgement = self
            .judge_as(Proposal {
                base: entry.base.clone(),
                ..proposal
            })
            .await?;
        let (repo, base) = (self.repo.clone(), entry.base.clone());
        let (head, queued) = (judgement.proposal.head.clone(), entry.head.clone());
        let same = tokio::task::spawn_blocking(move || {
            let merged = repo.snapshot_merged(&base, &head)?;
            let Ok((_, tree)) = merged else {
                return Ok(false);
            };
            Ok::<_, GateError>(tree == repo.tree_of(&queued)?)
        })
        .await??;
        let mut wanted = judgement.statuses;
        let fault = match (before, same, self.language) {
            (true, true, _) => None,
            (false, _, Language::English) => Some("the entry before it in the queue does not pass"),
            (false, _, Language::Japanese) => Some("キューの前の提案が通っていません"),
            (true, false, Language::English) => {
                Some("this commit holds something else than the proposal put on its base")
            }
            (true, false, Language::Japanese) => {
                Some("このコミットの内容は、提案をマージした結果と違います")
            }
        };
        if let Some(fault) = fault
            && let Some(check) = wanted.first_mut()
        {
            check.state = StatusState::Failure;
            fault.clone_into(&mut check.description);
        }
        Ok(wanted)
    }
}
