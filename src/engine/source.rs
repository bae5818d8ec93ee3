//! The merged state, resident: the newest revision of the main branch, compiled, and moved on at the cost of what changed.

use std::sync::Arc;

use crate::compile::{self, Compiled};
use crate::document::Snapshot;
use crate::ids::Revision;
use crate::repo::{Repo, RepoError};
use crate::resource::Bundle;

/// Follows one branch of a config repo.
pub(super) struct Source {
    repo: Arc<Repo>,
    branch: String,
    head: Option<Resident>,
    /// The last good revision of a group whose newest one failed, compiled when it is needed.
    earlier: Option<(Revision, Arc<Bundle>)>,
}

struct Resident {
    snapshot: Snapshot,
    compiled: Compiled,
    revision: Revision,
}

impl Source {
    pub(super) fn new(repo: Arc<Repo>, branch: String) -> Self {
        Self {
            repo,
            branch,
            head: None,
            earlier: None,
        }
    }

    /// Reads the branch again. Returns whether it moved. Blocking: git and parsing.
    pub(super) fn refresh(&mut self) -> Result<bool, RepoError> {
        let newest = self
            .repo
            .head(&self.branch)?
            .ok_or_else(|| RepoError::NotFound(format!("there is no branch {}", self.branch)))?;
        match &mut self.head {
            Some(resident) if resident.revision == newest => return Ok(false),
            Some(resident) => {
                let delta = self.repo.delta(&resident.revision, &newest)?;
                resident.snapshot.succeed(Some(newest.clone()), &delta);
                resident.compiled.succeed(&resident.snapshot, &delta);
                resident.revision = newest;
            }
            None => {
                let snapshot = self.repo.snapshot(&newest)?;
                let compiled = compile::compile(&snapshot);
                self.head = Some(Resident {
                    snapshot,
                    compiled,
                    revision: newest,
                });
            }
        }
        Ok(true)
    }

    /// The newest revision, compiled; `None` before the first [`Source::refresh`].
    pub(super) fn head(&self) -> Option<(&Revision, &Compiled)> {
        self.head.as_ref().map(|r| (&r.revision, &r.compiled))
    }

    /// The bundle of a revision other than the newest. Blocking.
    pub(super) fn bundle_of(&mut self, revision: &Revision) -> Result<Arc<Bundle>, RepoError> {
        if let Some(resident) = self.head.as_ref().filter(|r| r.revision == *revision) {
            return Ok(resident.compiled.bundle.clone());
        }
        if let Some((known, bundle)) = &self.earlier
            && known == revision
        {
            return Ok(bundle.clone());
        }
        let bundle = compile::compile(&self.repo.snapshot(revision)?).bundle;
        self.earlier = Some((revision.clone(), bundle.clone()));
        Ok(bundle)
    }
}
