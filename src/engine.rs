//! The engine: carries merged state to the systems, one group at a time, over and over.
//!
//! [`Engine::pass`] reads as the pipeline: refresh, recover, observe, plan, guard, then the run itself, which `protocol` decides
//! and `execute` carries out. Why the loop woke is recorded and never branched on: every pass starts from what is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::clock::Clock;
use crate::config::{Config, Group, System};
use crate::connector::Apply;
use crate::finding::Severity;
use crate::forge::{Forge, ForgeError};
use crate::ids::{Actor, GroupName, Revision, SystemName};
use crate::record::{Condition, Next, Outcome, Trigger};
use crate::repo::{Repo, RepoError};
use crate::resource::Bundle;
use crate::store::{Store, StoreError};

mod execute;
mod finish;
mod group;
mod observe;
mod publish;
mod revert;
mod source;
mod statuses;
mod supervisor;

use observe::Link;
pub use observe::observe;
pub use supervisor::supervise;

/// What the engine itself can't get past. What a system or a revision does wrong is an outcome, not an error.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Repo(#[from] RepoError),
    #[error(transparent)]
    Forge(#[from] ForgeError),
    /// A stored run that this version can't read.
    #[error("the stored run {run} can't be read: {why}; it was written by another version")]
    Unreadable { run: String, why: String },
    #[error("the engine's work was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// How long things may take, and how the lease is kept.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Until every system has prepared.
    pub prepare: Duration,
    /// From the decision until every system has committed and been verified; and again for taking it back.
    pub commit: Duration,
    /// How long a group's lease lasts without being renewed.
    pub lease: Duration,
}

/// Makes the connection to a system from its definition on the main branch. The composition root gives it: the engine knows no connector.
pub type Connect =
    Box<dyn Fn(&SystemName, &System) -> Result<Arc<dyn Apply>, String> + Send + Sync>;

/// Keeps the groups of one config repo in step.
pub struct Engine {
    store: Store,
    forge: Arc<dyn Forge>,
    repo: Arc<Repo>,
    clock: Arc<dyn Clock>,
    connect: Connect,
    timing: Timing,
    /// Unique to this start of the process.
    holder: String,
    actor: Actor,
    source: Option<source::Source>,
    links: BTreeMap<SystemName, (System, Result<Arc<Link>, String>)>,
    memory: BTreeMap<GroupName, group::Memory>,
    /// The statuses written by this process, so that only what changed is compared with the forge again.
    published: BTreeMap<Revision, Vec<(String, String)>>,
}

/// Which process acts for a group at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Ours,
    /// Another process has the group's lease, or had it when it was killed: nothing was looked at, so nothing can be said of the systems.
    Others,
}

/// What a pass found or did for one group.
#[derive(Debug, Clone)]
pub struct GroupReport {
    pub group: GroupName,
    pub revision: Revision,
    /// `None` where there was nothing to do and nothing new to say, or where it was not this process's turn.
    pub outcome: Option<Outcome>,
    pub turn: Turn,
    /// Of systems that are not as they should be, or were changed.
    pub conditions: BTreeMap<SystemName, Condition>,
}

impl GroupReport {
    /// When the group wants to be looked at again.
    pub fn next(&self) -> Next {
        match self.turn {
            Turn::Ours => self.outcome.as_ref().map_or(Next::Done, Outcome::next),
            Turn::Others => Next::Retry,
        }
    }

    /// Whether every system of the group is in step with the revision.
    pub fn in_step(&self) -> bool {
        self.turn == Turn::Ours
            && self.outcome.as_ref().is_none_or(Outcome::is_success)
            && self.conditions.values().all(|c| c.is_in_step())
    }
}

impl Engine {
    #[expect(
        clippy::too_many_arguments,
        reason = "the composition root's one call; each is a part of its own"
    )]
    pub fn new(
        store: Store,
        forge: Arc<dyn Forge>,
        repo: Arc<Repo>,
        branch: &str,
        clock: Arc<dyn Clock>,
        connect: Connect,
        timing: Timing,
        holder: String,
        actor: Actor,
    ) -> Self {
        let source = Some(source::Source::new(repo.clone(), branch.to_owned()));
        Self {
            store,
            forge,
            repo,
            clock,
            connect,
            timing,
            holder,
            actor,
            source,
            links: BTreeMap::new(),
            memory: BTreeMap::new(),
            published: BTreeMap::new(),
        }
    }

    /// One pass over all groups: each ends in step, or the reports say why not. Groups do not wait for each other.
    pub async fn pass(&mut self, trigger: Trigger) -> Result<Vec<GroupReport>, EngineError> {
        let moved = self.refresh().await?;
        let Some((revision, config)) = self.head_config() else {
            return Ok(Vec::new());
        };
        if moved {
            self.connect_systems(&config);
        }
        let groups = config.effective_groups();
        let mut tasks = Vec::new();
        for (name, group) in &groups {
            let memory = self.memory.remove(name).unwrap_or_default();
            let target = self.target(name, &revision).await?;
            tasks.push((name, group, memory, target, self.links_of(group)));
        }
        let engine = &*self;
        let head = &revision;
        let runs = join_all(tasks.into_iter().map(
            async |(name, group, mut memory, target, links)| {
                let pass = group::Pass {
                    name,
                    group,
                    links: &links,
                    head,
                    target,
                    trigger,
                };
                let result = engine.pass_group(pass, &mut memory).await;
                (name.clone(), memory, result)
            },
        ));
        let announced = async {
            if moved {
                engine.publish(&groups, head, &[]).await
            } else {
                Ok(BTreeMap::new())
            }
        };
        let (runs, announced) = futures_util::future::join(runs, announced).await;
        let mut memories = BTreeMap::new();
        let mut reports = Vec::new();
        let mut failure = None;
        for (name, memory, result) in runs {
            memories.insert(name, memory);
            match result {
                Ok(report) => reports.push(report),
                // The other groups' passes are done and stay done; what could not be is tried again.
                Err(error) => failure = Some(error),
            }
        }
        self.memory = memories;
        self.published.extend(announced?);
        if moved || self.published.is_empty() || reports.iter().any(|r| r.outcome.is_some()) {
            let published = self.publish(&groups, &revision, &reports).await?;
            self.published.extend(published);
        }
        if let Some(error) = failure {
            return Err(error);
        }
        self.propose_reverts(&reports).await?;
        Ok(reports)
    }

    /// Gives the groups' leases back, so that the next process need not wait until they run out. For the orderly end of a process.
    pub async fn resign(&self) {
        for group in self.memory.keys() {
            let lease = Store::group_lease(group);
            let given_back = match self.lease(group).await {
                Ok(Some(fence)) => self.store.release_lease(&lease, &self.holder, fence).await,
                Ok(None) => Ok(()),
                Err(EngineError::Store(error)) => Err(error),
                Err(_) => Ok(()),
            };
            if let Err(error) = given_back {
                tracing::warn!(group.name = %group, %error, "the lease stays until it runs out");
            }
        }
    }

    /// Follows the main branch. Returns whether it moved.
    async fn refresh(&mut self) -> Result<bool, EngineError> {
        let Some(mut source) = self.source.take() else {
            return Ok(false);
        };
        let (source, moved) = tokio::task::spawn_blocking(move || {
            let moved = source.refresh();
            (source, moved)
        })
        .await?;
        self.source = Some(source);
        Ok(moved?)
    }

    /// Whether the main branch is elsewhere than at the last pass. What can't be read is no news; the next pass will say why.
    async fn has_news(&self) -> bool {
        let Some(known) = self
            .source
            .as_ref()
            .and_then(|s| s.head())
            .map(|(revision, _)| revision.clone())
        else {
            return true;
        };
        self.forge.main().await.is_ok_and(|newest| newest != known)
    }

    fn head_config(&self) -> Option<(Revision, Arc<Config>)> {
        let (revision, compiled) = self.source.as_ref()?.head()?;
        Some((revision.clone(), compiled.bundle.config.clone()))
    }

    /// Connects to what `lockstep.yaml` names. A system whose definition is as before keeps its connection and what is known of it.
    fn connect_systems(&mut self, config: &Config) {
        let mut earlier = std::mem::take(&mut self.links);
        for (name, system) in &config.systems {
            let link = match earlier.remove(name) {
                Some((definition, link)) if definition == *system && link.is_ok() => link,
                _ => (self.connect)(name, system).map(|connector| Arc::new(Link::new(connector))),
            };
            self.links.insert(name.clone(), (system.clone(), link));
        }
    }

    fn links_of(&self, group: &Group) -> BTreeMap<SystemName, Result<Arc<Link>, String>> {
        let known = group
            .systems
            .iter()
            .filter_map(|s| Some((s.clone(), self.links.get(s)?.1.clone())));
        known.collect()
    }

    /// What a group is to be brought to: the newest revision, or the last good one while the newest can't be applied.
    async fn target(
        &mut self,
        group: &GroupName,
        head: &Revision,
    ) -> Result<group::Target, EngineError> {
        let Some((_, compiled)) = self.source.as_ref().and_then(source::Source::head) else {
            return Ok(group::Target::Nothing {
                why: "the config repo has not been read".to_owned(),
            });
        };
        let newest = compiled.bundle.clone();
        let invalid = compiled
            .report
            .findings()
            .iter()
            .find(|f| f.severity == Severity::Error);
        let why = invalid.map(|f| {
            format!(
                "{} does not compile: {}: {}",
                head.short(),
                f.location.path,
                f.message
            )
        });
        let state = self.store.group_state(group).await?;
        let failed = state.failed.filter(|f| f.revision == *head).map(|f| f.why);
        match (failed.or(why.clone()), state.good) {
            (None, _) => Ok(group::Target::Bundle {
                revision: head.clone(),
                bundle: newest,
            }),
            // An invalid revision is said on its own commit; a failed one has been said by the run that failed.
            (Some(_), Some(good)) if why.is_none() => {
                let bundle = self.bundle_of(&good).await?;
                Ok(group::Target::Bundle {
                    revision: good,
                    bundle,
                })
            }
            (Some(why), _) => Ok(group::Target::Nothing { why }),
        }
    }

    async fn bundle_of(&mut self, revision: &Revision) -> Result<Arc<Bundle>, EngineError> {
        let Some(mut source) = self.source.take() else {
            return Err(EngineError::Unreadable {
                run: revision.to_string(),
                why: "no source".to_owned(),
            });
        };
        let wanted = revision.clone();
        let (source, bundle) = tokio::task::spawn_blocking(move || {
            let bundle = source.bundle_of(&wanted);
            (source, bundle)
        })
        .await?;
        self.source = Some(source);
        Ok(bundle?)
    }
}
