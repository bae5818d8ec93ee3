//! The engine: carries merged state to the systems, one group at a time, over and over.
//!
//! [`Engine::pass`] reads as the pipeline: refresh, lead, observe, plan, guard, then the run itself, which `protocol` decides
//! and `execute` carries out. What can't wait for the whole group is in `urgent`, whose a resource is in `ownership`. Why the loop woke is recorded and never branched on: every pass starts from what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Mutex, OnceCell};

use crate::clock::Clock;
use crate::config::{Config, Group, System};
use crate::connector::Apply;
use crate::forge::{Forge, ForgeError};
use crate::ids::{Actor, Digest, GroupName, Revision, SystemName};
use crate::plan::safety::Own;
use crate::record::{Condition, Next, Outcome, Trigger};
use crate::repo::{Repo, RepoError};
use crate::resource::Bundle;
use crate::store::{Alive, Store, StoreError};

mod adopt;
mod conclude;
mod drift;
mod execute;
mod finish;
mod group;
mod guard;
mod lead;
mod observe;
mod ownership;
mod publish;
mod revert;
mod source;
mod statuses;
mod supervisor;
mod urgent;

use observe::Link;
pub use observe::{Hope, observe};
pub use source::{Head, read_head};
pub use supervisor::{Stopped, pass_once, supervise};

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
    /// The main branch does not compile, and never did: it is not even known which systems there are.
    #[error("nothing is applied: {0}")]
    Unsound(String),
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
    /// Says that the holder lives, from the first pass on.
    alive: OnceCell<Alive>,
    actor: Actor,
    owner: Option<Arc<str>>,
    own: Own,
    source: Arc<std::sync::Mutex<source::Source>>,
    head: Option<Head>,
    links: BTreeMap<SystemName, (System, Result<Arc<Link>, String>)>,
    memory: BTreeMap<GroupName, Mutex<group::Memory>>,
    /// The statuses written by this process, so that only what changed is compared with the forge again.
    published: BTreeMap<Revision, publish::Shown>,
    ended: std::sync::Mutex<publish::Ended>,
    /// Whether the last writing of statuses came to its end.
    publish_again: bool,
    /// Failed revisions whose reverting proposal is there.
    reverts: BTreeSet<Revision>,
    /// The drift of each system that was dealt with: what there is to propose is proposed, or can't be.
    adoptions: BTreeMap<SystemName, Option<Digest>>,
}

/// What a pass found or did for one group.
#[derive(Debug, Clone)]
pub struct GroupReport {
    pub group: GroupName,
    /// The revision that the group was held to.
    pub revision: Revision,
    /// `None` where there was nothing to do and nothing new to say.
    pub outcome: Option<Outcome>,
    /// Of systems that are not as they should be, or were changed.
    pub conditions: BTreeMap<SystemName, Condition>,
    /// Why the group is not at the newest revision whatever came of this pass: that one can't be applied, another process acts for the
    /// group, or a run is not over.
    pub waits: Option<String>,
}

impl GroupReport {
    /// When the group wants to be looked at again.
    pub fn next(&self) -> Next {
        match &self.outcome {
            Some(outcome) => outcome.next(),
            None if self.waits.is_some() => Next::Retry,
            None => Next::Done,
        }
    }

    /// Whether every system of the group is in step with the newest revision.
    pub fn in_step(&self) -> bool {
        self.waits.is_none()
            && self.outcome.as_ref().is_none_or(Outcome::is_success)
            && self.conditions.values().all(Condition::is_in_step)
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
        let source = source::Source::new(repo.clone(), branch.to_owned());
        Self {
            store,
            forge,
            repo,
            clock,
            connect,
            timing,
            holder,
            alive: OnceCell::new(),
            actor,
            owner: None,
            own: Own::default(),
            source: Arc::new(std::sync::Mutex::new(source)),
            head: None,
            links: BTreeMap::new(),
            memory: BTreeMap::new(),
            published: BTreeMap::new(),
            ended: std::sync::Mutex::default(),
            publish_again: true,
            reverts: BTreeSet::new(),
            adoptions: BTreeMap::new(),
        }
    }

    /// What systems that keep marks put on what comes from this config repo.
    #[must_use]
    pub fn owned_by(mut self, owner: Option<Arc<str>>) -> Self {
        self.owner = owner;
        self
    }

    /// What no plan may take from Lockstep itself.
    #[must_use]
    pub fn protecting(mut self, own: Own) -> Self {
        self.own = own;
        self
    }

    /// One pass over all groups: each ends in step, or the reports say why not. The groups' runs do not wait for each other.
    pub async fn pass(&mut self, trigger: Trigger) -> Result<Vec<GroupReport>, EngineError> {
        let moved = self.refresh().await?;
        let Some(head) = self.head.clone() else {
            return Ok(Vec::new());
        };
        if moved {
            self.connect_systems(&head.config);
            self.publish_again = true;
        }
        let groups = head.config.effective_groups();
        self.memory.retain(|name, _| groups.contains_key(name));
        for name in groups.keys() {
            self.memory.entry(name.clone()).or_default();
        }
        let engine = &*self;
        let runs = join_all(groups.iter().map(async |(name, group)| {
            let links = engine.links_of(group);
            let pass = group::Pass {
                name,
                group,
                links: &links,
                head: &head,
                trigger,
            };
            engine.pass_remembering(pass).await
        }));
        let announced = async {
            if moved {
                engine.publish(&groups, &head).await.map(Some)
            } else {
                Ok(None)
            }
        };
        let (runs, announced) = futures_util::future::join(runs, announced).await;
        // The other groups' passes are done and stay done; what could not be is tried again.
        let reports: Vec<GroupReport> = runs
            .iter()
            .filter_map(|r| r.as_ref().ok().cloned())
            .collect();
        if let Some(shown) = announced? {
            self.published = shown;
        }
        if self.publish_again || reports.iter().any(|r| r.outcome.is_some()) {
            self.publish_again = true;
            self.published = self.publish(&groups, &head).await?;
            self.publish_again = false;
        }
        self.propose_reverts(&groups, &head).await?;
        self.propose_adoptions(&head).await;
        for run in runs {
            run?;
        }
        match head.broken {
            Some(why) if groups.is_empty() => Err(EngineError::Unsound(why)),
            _ => Ok(reports),
        }
    }

    /// Gives back what other processes may be waiting for.
    pub async fn rest(&mut self) -> Result<(), EngineError> {
        self.memory.clear();
        if let Some(alive) = self.alive.take() {
            self.store.depart(&self.holder, alive).await?;
        }
        Ok(())
    }

    /// A group's pass with what is remembered of the group. After an error nothing is: what holds is in the store.
    async fn pass_remembering(&self, pass: group::Pass<'_>) -> Result<GroupReport, EngineError> {
        let Some(memory) = self.memory.get(pass.name) else {
            return Err(EngineError::Unsound(format!("{} is no group", pass.name)));
        };
        let mut memory = memory.lock().await;
        let result = self.pass_group(&pass, &mut memory).await;
        if result.is_err() {
            *memory = group::Memory::default();
        }
        result
    }

    /// Follows the main branch. Returns whether it moved.
    async fn refresh(&mut self) -> Result<bool, EngineError> {
        // While the forge is away the systems are kept at what was fetched last.
        if let Err(error) = self.forge.fetch().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the config repo is as it was fetched last"
            );
        }
        let head = self.with_source(source::Source::refresh).await?;
        let moved = self.head.as_ref().map(|h| &h.revision) != Some(&head.revision);
        if moved {
            self.head = Some(head);
        }
        Ok(moved)
    }

    /// Reads git and documents where blocking is fine.
    async fn with_source<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut source::Source) -> Result<T, RepoError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let source = self.source.clone();
        let result = tokio::task::spawn_blocking(move || {
            let mut source = source
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            read(&mut source)
        });
        Ok(result.await??)
    }

    /// Whether the main branch is elsewhere than at the last pass. What can't be read is no news; the next pass will say why.
    async fn has_news(&self) -> bool {
        let Some(known) = self.head.as_ref().map(|h| &h.revision) else {
            return true;
        };
        self.forge.main().await.is_ok_and(|newest| newest != *known)
    }

    /// Connects to what `lockstep.yaml` names. A system whose definition is as before keeps its connection and what is known of it.
    fn connect_systems(&mut self, config: &Config) {
        let mut earlier = std::mem::take(&mut self.links);
        for (name, system) in &config.systems {
            let link = match earlier.remove(name) {
                Some((definition, link)) if definition == *system && link.is_ok() => link,
                _ => (self.connect)(name, system)
                    .map(|connector| Arc::new(Link::new(connector, self.owner.clone()))),
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

    async fn bundle_of(&self, revision: &Revision) -> Result<Arc<Bundle>, EngineError> {
        let wanted = revision.clone();
        self.with_source(move |source| source.bundle_of(&wanted))
            .await
    }
}
