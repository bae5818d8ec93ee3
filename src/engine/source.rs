//! The merged state, resident: the newest revision of the main branch, compiled, and moved on at the cost of what changed.

use std::sync::Arc;

use crate::compile::{self, Adoption, Compiled};
use crate::config::Config;
use crate::document::Snapshot;
use crate::finding::Severity;
use crate::ids::{Revision, SystemName};
use crate::plan::Change;
use crate::repo::{Repo, RepoError};
use crate::resource::Bundle;

/// Where the definitions are.
const CONFIG: &str = "lockstep.yaml";

/// How far back a revision that compiles is looked for, where the newest does not.
const LOOK_BACK: usize = 50;

/// The newest merged revision, as far as the engine is concerned.
#[derive(Clone)]
pub struct Head {
    pub revision: Revision,
    pub bundle: Arc<Bundle>,
    /// Why it can't be applied: its first error.
    pub broken: Option<String>,
    /// Systems and groups: its own, or those of the newest earlier revision that compiles.
    pub config: Arc<Config>,
}

/// The newest revision of a branch, for who only looks. Blocking: git and parsing.
pub fn read_head(repo: Arc<Repo>, branch: &str) -> Result<Head, RepoError> {
    Source::new(repo, branch.to_owned()).refresh()
}

/// Follows one branch of a config repo.
pub(super) struct Source {
    repo: Arc<Repo>,
    branch: String,
    resident: Option<Resident>,
    /// The newest sound definitions, for while the newest revision is broken.
    config: Option<Arc<Config>>,
    /// The last good revision of a group whose newest one failed, compiled when it is needed.
    earlier: Option<Earlier>,
}

/// Another revision, and its first error.
struct Earlier {
    revision: Revision,
    bundle: Arc<Bundle>,
    fault: Option<String>,
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
            resident: None,
            config: None,
            earlier: None,
        }
    }

    /// Reads the branch again. Blocking: git and parsing.
    pub(super) fn refresh(&mut self) -> Result<Head, RepoError> {
        let newest = self
            .repo
            .head(&self.branch)?
            .ok_or_else(|| RepoError::NotFound(format!("there is no branch {}", self.branch)))?;
        // A snapshot that was not read in full can't be continued.
        let resident = self.resident.take().filter(|r| r.snapshot.beyond.is_none());
        let resident = match resident {
            Some(resident) if resident.revision == newest => resident,
            Some(mut resident) => {
                let delta = self.repo.delta(&resident.revision, &newest)?;
                resident.snapshot.succeed(Some(newest.clone()), &delta);
                resident.compiled.succeed(&resident.snapshot, &delta);
                resident.revision = newest;
                resident
            }
            None => {
                let snapshot = self.repo.snapshot(&newest)?;
                let compiled = compile::compile(&snapshot);
                Resident {
                    snapshot,
                    compiled,
                    revision: newest,
                }
            }
        };
        let revision = resident.revision.clone();
        let bundle = resident.compiled.bundle.clone();
        let broken = first_error(&resident.compiled, &revision);
        self.resident = Some(resident);
        if broken.is_none() {
            self.config = Some(bundle.config.clone());
        } else if self.config.is_none() {
            self.config = self.look_back()?;
        }
        Ok(Head {
            config: self.config.clone().unwrap_or_default(),
            revision,
            bundle,
            broken,
        })
    }

    /// The branch's head as it is in the repository now.
    pub(super) fn newest(&self) -> Result<Option<Revision>, RepoError> {
        self.repo.head(&self.branch)
    }

    /// The last commits of the branch, newest first.
    pub(super) fn log(&mut self, count: usize) -> Result<Vec<Revision>, RepoError> {
        let log = self.repo.log(&self.branch, count)?;
        Ok(log.into_iter().map(|commit| commit.revision).collect())
    }

    /// The definitions of the newest earlier revision that compiles.
    fn look_back(&self) -> Result<Option<Arc<Config>>, RepoError> {
        for earlier in self.repo.log(&self.branch, LOOK_BACK)?.iter().skip(1) {
            let compiled = compile::compile(&self.repo.snapshot(&earlier.revision)?);
            if first_error(&compiled, &earlier.revision).is_none() {
                return Ok(Some(compiled.bundle.config.clone()));
            }
        }
        Ok(None)
    }

    /// The documents of the newest revision, edited until they declare what is live on a system; `None` where this is not the newest one
    /// any more.
    pub(super) fn adopt(
        &self,
        revision: &Revision,
        system: &SystemName,
        drift: &[Change],
    ) -> Option<Adoption> {
        let resident = self.resident.as_ref()?;
        let is_newest = resident.revision == *revision && resident.snapshot.beyond.is_none();
        is_newest.then(|| compile::adopt(&resident.snapshot, &resident.compiled, system, drift))
    }

    /// The bundle of any revision. Blocking.
    pub(super) fn bundle_of(&mut self, revision: &Revision) -> Result<Arc<Bundle>, RepoError> {
        if let Some(resident) = self.resident.as_ref().filter(|r| r.revision == *revision) {
            return Ok(resident.compiled.bundle.clone());
        }
        Ok(self.earlier(revision)?.bundle.clone())
    }

    /// The same, or its first error. Blocking.
    pub(super) fn sound_bundle_of(
        &mut self,
        revision: &Revision,
    ) -> Result<Result<Arc<Bundle>, String>, RepoError> {
        let resident = self.resident.as_ref();
        if let Some(resident) = resident.filter(|r| r.revision == *revision) {
            return Ok(match first_error(&resident.compiled, revision) {
                Some(fault) => Err(fault),
                None => Ok(resident.compiled.bundle.clone()),
            });
        }
        let earlier = self.earlier(revision)?;
        Ok(match &earlier.fault {
            Some(fault) => Err(fault.clone()),
            None => Ok(earlier.bundle.clone()),
        })
    }

    fn earlier(&mut self, revision: &Revision) -> Result<&Earlier, RepoError> {
        if let Some(known) = self.earlier.take_if(|e| e.revision == *revision) {
            return Ok(self.earlier.insert(known));
        }
        let snapshot = self.repo.snapshot(revision)?;
        if let Some(why) = snapshot.beyond {
            return Err(RepoError::TooLarge(why));
        }
        let compiled = compile::compile(&snapshot);
        Ok(self.earlier.insert(Earlier {
            revision: revision.clone(),
            fault: first_error(&compiled, revision),
            bundle: compiled.bundle,
        }))
    }
}

fn first_error(compiled: &Compiled, revision: &Revision) -> Option<String> {
    let findings = compiled.report.findings();
    let errors = || findings.iter().filter(|f| f.severity == Severity::Error);
    // What is wrong in the definitions makes documents wrong that are not.
    let first = errors()
        .find(|f| f.location.path.as_str() == CONFIG)
        .or_else(|| errors().next())?;
    Some(format!(
        "{} does not compile: {}: {}",
        revision.short(),
        first.location.path,
        first.message
    ))
}
