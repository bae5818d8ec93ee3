//! A merge that could not be applied: once the group is back at its last good revision, a proposal that takes the repo back too.
//!
//! Level-triggered like the statuses: what is missing is made, on whichever pass finds it missing.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Head;
use super::{Engine, EngineError};
use crate::config::Group;
use crate::document::Content;
use crate::forge::{ForgeError, NewProposal};
use crate::ids::{DocPath, GroupName, Revision};
use crate::repo::{Identity, RepoError};

/// Who opens reverting proposals. Not a person: somebody must approve what it proposes.
const AUTHOR: &str = "lockstep";

impl Engine {
    pub(super) async fn propose_reverts(
        &self,
        groups: &BTreeMap<GroupName, Group>,
        head: &Head,
        reverts: &mut BTreeSet<Revision>,
    ) -> Result<(), EngineError> {
        if reverts.contains(&head.revision) {
            return Ok(());
        }
        for group in groups.keys() {
            let state = self.store.group_state(group).await?;
            let failed = state.failed.filter(|f| f.revision == head.revision);
            let (Some(failed), Some(good)) = (failed, state.good) else {
                continue;
            };
            match self
                .propose_revert(&failed.revision, &good, &failed.why)
                .await
            {
                Ok(()) => {
                    reverts.insert(failed.revision);
                    break;
                }
                // The group is safe; the proposal is a service, and is tried again on the next pass.
                Err(error) => {
                    tracing::warn!(revision = %failed.revision, error = &error as &dyn std::error::Error, "could not open the reverting proposal");
                }
            }
        }
        Ok(())
    }

    async fn propose_revert(
        &self,
        failed: &Revision,
        good: &Revision,
        why: &str,
    ) -> Result<(), EngineError> {
        let branch = format!("lockstep/revert-{}", failed.short());
        if self.forge.find(&branch).await?.is_some() {
            return Ok(());
        }
        let (repo, from, to, at, name) = (
            self.repo.clone(),
            failed.clone(),
            good.clone(),
            self.clock.now(),
            branch.clone(),
        );
        let message = format!(
            "Return to {}\n\n{} could not be applied: {why}\n",
            good.short(),
            failed.short()
        );
        tokio::task::spawn_blocking(move || {
            // It may be there without a proposal: this process, or one before it, was stopped in between.
            if repo.resolve(&name).is_ok() {
                return Ok(());
            }
            let delta = repo.delta(&from, &to)?;
            let files: BTreeMap<DocPath, Option<Vec<u8>>> = delta
                .files
                .into_iter()
                .chain(delta.policies)
                .filter_map(|(path, blob)| match blob {
                    None => Some((path, None)),
                    Some(blob) => match blob.content {
                        Content::Bytes(bytes) => Some((path, Some(bytes.to_vec()))),
                        Content::Symlink
                        | Content::Submodule
                        | Content::TooLarge(_)
                        | Content::Odd(_) => None,
                    },
                })
                .collect();
            let identity = Identity::new("Lockstep", "lockstep@localhost");
            repo.commit_files(&name, Some(&from), &files, &identity, &message, at)?;
            Ok::<(), RepoError>(())
        })
        .await??;
        let proposal = NewProposal {
            title: format!(
                "Return to {} because {} could not be applied",
                good.short(),
                failed.short()
            ),
            description: why.to_owned(),
            author: AUTHOR.to_owned(),
            branch,
            labels: vec!["revert".to_owned()],
        };
        let proposed = proposal.branch.clone();
        match self.forge.open(proposal).await {
            Ok(_) => Ok(()),
            // Another process was quicker; or somebody else has a branch of that name, and then nothing was opened.
            Err(error @ ForgeError::Conflict(_)) => match self.forge.find(&proposed).await? {
                Some(_) => Ok(()),
                None => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }
}
