//! A merge that could not be applied: once the group is back at its last good revision, a proposal that takes the repo back too.

use std::collections::BTreeMap;

use super::{Engine, EngineError, GroupReport};
use crate::forge::{ForgeError, NewProposal};
use crate::ids::{DocPath, Revision};
use crate::record::Outcome;
use crate::repo::{Identity, RepoError};

/// Who opens reverting proposals. Not a person: somebody must approve what it proposes.
const AUTHOR: &str = "lockstep";

impl Engine {
    pub(super) async fn propose_reverts(&self, reports: &[GroupReport]) -> Result<(), EngineError> {
        for report in reports {
            let Some(Outcome::RolledBack { .. }) = &report.outcome else {
                continue;
            };
            let Some(good) = self.store.group_state(&report.group).await?.good else {
                continue;
            };
            let why = report
                .outcome
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            match self.propose_revert(&report.revision, &good, &why).await {
                Ok(()) => {}
                // The group is safe; the proposal is a service. It says so and is not tried for ever.
                Err(error) => {
                    tracing::warn!(revision = %report.revision, %error, "could not open the reverting proposal")
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
        let made = tokio::task::spawn_blocking(move || {
            if repo.resolve(&name).is_ok() {
                return Ok(false);
            }
            let delta = repo.delta(&from, &to)?;
            let files: BTreeMap<DocPath, Option<Vec<u8>>> = delta
                .files
                .into_iter()
                .chain(delta.policies)
                .filter_map(|(path, blob)| match blob {
                    None => Some((path, None)),
                    Some(blob) => match blob.content {
                        crate::document::Content::Bytes(bytes) => {
                            Some((path, Some(bytes.to_vec())))
                        }
                        crate::document::Content::Symlink
                        | crate::document::Content::Submodule
                        | crate::document::Content::TooLarge(_) => None,
                    },
                })
                .collect();
            let identity = Identity::new("Lockstep", "lockstep@localhost");
            repo.commit_files(&name, Some(&from), &files, &identity, &message, at)?;
            Ok::<bool, RepoError>(true)
        })
        .await??;
        if !made {
            return Ok(());
        }
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
        match self.forge.open(proposal).await {
            Ok(_) | Err(ForgeError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
