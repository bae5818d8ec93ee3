//! The engine: carries merged state to the systems, one group at a time, over and over.
//!
//! [`Rounds`] says whose turn it is. A group's pass, in `group`, reads as the pipeline: lead, observe, plan, guard, then the run itself, which
//! `protocol` decides and `execute` carries out. What can't wait for the whole group is in `urgent`, whose a resource is in `ownership`. Why the loop woke is recorded and never branched on: every pass starts from what is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::OnceCell;

use crate::clock::Clock;
use crate::config::System;
use crate::connector::Apply;
use crate::forge::{Forge, ForgeError};
use crate::ids::{Actor, GroupName, Revision, SystemName};
use crate::plan::safety::Own;
use crate::record::{Condition, Next, Outcome};
use crate::repo::{Repo, RepoError};
use crate::resource::Bundle;
use crate::store::{Alive, Duty, Store, StoreError};

mod adopt;
mod announce;
mod conclude;
mod dates;
mod drift;
mod execute;
mod finish;
mod group;
mod guard;
mod ladder;
mod lead;
mod look;
mod news;
mod observe;
mod ownership;
mod publish;
mod quarantine;
mod rejudge;
mod revert;
mod rounds;
mod share;
mod source;
mod statuses;
mod supervisor;
mod target;
mod urgent;

pub use announce::ANNOUNCED;
use observe::Link;
pub use observe::{Hope, observe};
pub use rounds::Rounds;
pub use source::{Head, read_head};
pub use supervisor::{Called, Stopped, pass_once, supervise};

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
    /// For a system to answer before urgent changes go to the others of its group without it.
    pub urgent: Duration,
    /// How long a group's lease lasts without being renewed.
    pub lease: Duration,
}

/// Makes the connection to a system from its definition on the main branch. The composition root gives it: the engine knows no connector.
pub type Connect =
    Box<dyn Fn(&SystemName, &System) -> Result<Arc<dyn Apply>, String> + Send + Sync>;

/// What passes of the groups of one config repo need; [`Rounds`] makes them.
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
    ended: std::sync::Mutex<publish::Ended>,
    share: std::sync::Mutex<share::Share>,
    scribe: Duty,
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
    /// When the next thing begins or ends by its date.
    pub next_date: Option<Timestamp>,
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
        let scribe = Duty::new(store.clone(), Duty::FORGE, holder.clone(), timing.lease);
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
            ended: std::sync::Mutex::default(),
            share: std::sync::Mutex::default(),
            scribe,
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

    /// Gives back what other processes may be waiting for.
    async fn rest(mut self) -> Result<(), EngineError> {
        if let Some(alive) = self.alive.take() {
            self.store.depart(&self.holder, alive).await?;
        }
        Ok(())
    }

    /// Whether it is this process that writes to the forge.
    async fn is_scribe(&self) -> Result<bool, EngineError> {
        Ok(self.scribe.is_ours(self.clock.now()).await?)
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

    fn link(&self, name: &SystemName, system: &System) -> Result<Arc<Link>, String> {
        let connector = (self.connect)(name, system)?;
        Ok(Arc::new(Link::new(connector, self.owner.clone())))
    }

    /// Whether a revision is in the repository: one that history was rewritten over is there until git forgets it.
    async fn is_there(&self, revision: &Revision) -> Result<bool, EngineError> {
        let (repo, wanted) = (self.repo.clone(), revision.clone());
        let read = tokio::task::spawn_blocking(move || repo.commit(&wanted));
        match read.await? {
            Ok(_) => Ok(true),
            Err(RepoError::NotFound(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The bundle of a revision that is to be applied again, or why it can't be: what compiled for an earlier version, or while all of it was
    /// there, is not taken on trust.
    async fn sound_bundle_of(
        &self,
        revision: &Revision,
    ) -> Result<Result<Arc<Bundle>, String>, EngineError> {
        let wanted = revision.clone();
        self.with_source(move |source| source.sound_bundle_of(&wanted))
            .await
    }

    async fn bundle_of(&self, revision: &Revision) -> Result<Arc<Bundle>, EngineError> {
        let wanted = revision.clone();
        self.with_source(move |source| source.bundle_of(&wanted))
            .await
    }
}
