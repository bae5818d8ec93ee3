//! Looking at a group's systems: what they hold, and what is known beside that.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::join;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;

use super::group::{Memory, Pass};
use super::observe::Link;
use super::ownership::Beyond;
use super::target::Target;
use super::urgent::Ahead;
use super::{Engine, EngineError};
use crate::ids::{Digest, Fence, Revision, SystemName};
use crate::plan;
use crate::record::{ConnectorError, Failure, Failures};
use crate::resource::Bundle;
use crate::resource::dating::Occasion;
use crate::state::State;

/// What was heard of a group's systems.
#[derive(Default)]
struct Seen {
    observed: BTreeMap<SystemName, State>,
    failures: Failures,
}

impl Seen {
    /// Takes in every answer that is still waited for.
    async fn hear(
        &mut self,
        waiting: &mut FuturesUnordered<impl Future<Output = (SystemName, Look)>>,
    ) {
        while let Some((system, look)) = waiting.next().await {
            match look {
                Ok(state) => drop(self.observed.insert(system, state)),
                Err(error) => drop(self.failures.insert(system, Failure::Said { error })),
            }
        }
    }

    /// The same, with those that have not answered yet among the failures.
    fn without_the_silent<'s>(&self, all: impl Iterator<Item = &'s SystemName>) -> Self {
        let mut failures = self.failures.clone();
        for system in all.filter(|s| !self.observed.contains_key(*s)) {
            let message = "has not answered yet".to_owned();
            failures.entry(system.clone()).or_insert(Failure::Said {
                error: ConnectorError::Transient { message },
            });
        }
        Self {
            observed: self.observed.clone(),
            failures,
        }
    }
}

/// What comes of observing a system.
type Look = Result<State, ConnectorError>;

async fn look_at(
    link: Option<Result<Arc<Link>, String>>,
    system: SystemName,
    desired: State,
    known: Option<Digest>,
) -> (SystemName, Look) {
    let look = match link {
        Some(Ok(link)) => link.observe(&desired, known).await,
        Some(Err(message)) => Err(ConnectorError::Terminal { message }),
        None => Err(ConnectorError::Terminal {
            message: format!("{system} has no connection"),
        }),
    };
    (system, look)
}

/// What the bundle says each system should have at a moment.
fn project(
    pass: &Pass<'_>,
    (bundle, at): (&Arc<Bundle>, Timestamp),
    memory: &mut Memory,
) -> BTreeMap<SystemName, State> {
    let mut projected = BTreeMap::new();
    for system in &pass.group.systems {
        let state = match memory.projected.get(system) {
            Some((of, then, state)) if Arc::ptr_eq(of, bundle) && bundle.is_alike(*then, at) => {
                state.clone()
            }
            Some((of, then, state)) => bundle.project_after_at(system, at, (of, *then), state),
            None => bundle.project_at(system, at),
        };
        memory
            .projected
            .insert(system.clone(), (bundle.clone(), at, state.clone()));
        projected.insert(system.clone(), state);
    }
    projected
}

/// What each system should have, with the fields that are not Lockstep's to write as they are there.
fn settled(
    target: &Target,
    projected: &BTreeMap<SystemName, State>,
    observed: &BTreeMap<SystemName, State>,
    memory: &mut Memory,
) -> BTreeMap<SystemName, State> {
    let mut all = projected.clone();
    for (system, desired) in &mut all {
        let definition = target.bundle.config.systems.get(system);
        let modes = definition.map(|d| &d.fields).filter(|m| !m.is_empty());
        let (Some(modes), Some(there)) = (modes, observed.get(system)) else {
            memory.settled.remove(system);
            continue;
        };
        let last = memory.settled.entry(system.clone()).or_default();
        *desired = last.next(desired, there, modes);
    }
    all
}

/// What a group is to be held to, and what was seen of its systems.
pub(super) struct Scene {
    pub(super) fence: Fence,
    pub(super) revision: Revision,
    pub(super) bundle: Arc<Bundle>,
    /// The last good revision.
    pub(super) good: Option<Revision>,
    /// It can't be read any more: its ceilings, and what it declared, are not known.
    pub(super) is_good_lost: bool,
    /// What the bundle says each system should have, fields that are not Lockstep's there too.
    pub(super) projected: BTreeMap<SystemName, State>,
    /// The same with those fields as they are there, and what else may stay there.
    pub(super) desired: BTreeMap<SystemName, State>,
    pub(super) observed: BTreeMap<SystemName, State>,
    pub(super) failures: Failures,
    /// What systems have beyond what they should.
    pub(super) beyond: BTreeMap<SystemName, Arc<Beyond>>,
    /// What urgent runs did since the good revision, where the systems are held to that one: it is not taken back.
    pub(super) ahead: Ahead,
    /// The moment for which it was asked what the systems should have, and what has begun or ended by its date since the group was last in step.
    pub(super) at: Timestamp,
    pub(super) turned: Vec<Occasion>,
}

impl Scene {
    /// A state as a system is to be compared with it: with the fields that are not Lockstep's there as they are.
    pub(super) fn yielding(&self, system: &SystemName, state: &State) -> State {
        let definition = self.bundle.config.systems.get(system);
        match (definition, self.observed.get(system)) {
            (Some(definition), Some(there)) => {
                plan::fields::settled(state, there, &definition.fields)
            }
            _ => state.clone(),
        }
    }

    /// Whether the revision was applied before, and nothing has begun or ended since: any difference is drift.
    pub(super) fn settled(&self) -> bool {
        self.good.as_ref() == Some(&self.revision) && self.turned.is_empty()
    }

    pub(super) fn is_there(&self, system: &SystemName, observed: &State) -> bool {
        self.desired
            .get(system)
            .is_some_and(|d| d.digest() == observed.digest())
    }

    pub(super) fn digests(&self) -> BTreeMap<SystemName, Digest> {
        let observed = self.observed.iter();
        observed.map(|(s, o)| (s.clone(), o.digest())).collect()
    }
}

impl Engine {
    /// Observes the systems and puts together what there is to know for bringing them to a revision. Where one does not answer, the urgent
    /// changes of the others go ahead while it is waited for.
    pub(super) async fn look(
        &self,
        pass: &Pass<'_>,
        target: &Target,
        memory: &mut Memory,
    ) -> Result<Scene, EngineError> {
        let projected = project(pass, (&target.bundle, target.at), memory);
        let ask = |system: &SystemName, known: Option<Digest>| {
            let desired = projected.get(system).cloned().unwrap_or_default();
            look_at(
                pass.links.get(system).cloned(),
                system.clone(),
                desired,
                known,
            )
        };
        let asked = projected.keys();
        let mut waiting: FuturesUnordered<_> = asked
            .map(|system| ask(system, memory.known.get(system).copied()))
            .collect();
        let mut seen = Seen::default();
        let in_time = tokio::time::timeout(self.timing.urgent, seen.hear(&mut waiting)).await;
        let is_ahead = !pass.group.urgent.is_empty() && !seen.observed.is_empty();
        if in_time.is_err() && is_ahead {
            let partly = seen.without_the_silent(projected.keys());
            let scene = self.scene(pass, target, &projected, partly, memory).await?;
            let ahead = self.ahead_of_the_silent(pass, &scene, memory);
            let (moved, ()) = join(ahead, seen.hear(&mut waiting)).await;
            for system in moved? {
                seen.observed.remove(&system);
                waiting.push(ask(&system, memory.known.get(&system).copied()));
            }
        }
        seen.hear(&mut waiting).await;
        self.scene(pass, target, &projected, seen, memory).await
    }

    async fn scene(
        &self,
        pass: &Pass<'_>,
        target: &Target,
        projected: &BTreeMap<SystemName, State>,
        seen: Seen,
        memory: &mut Memory,
    ) -> Result<Scene, EngineError> {
        let Seen { observed, failures } = seen;
        let mut desired = settled(target, projected, &observed, memory);
        let mut beyond = BTreeMap::new();
        for (system, (found, with)) in self.beyond(&desired, &observed, memory).await? {
            desired.insert(system.clone(), with);
            beyond.insert(system, found);
        }
        let ahead = if target.instead_of_newest.is_some() {
            self.gone_ahead(pass.name).await?
        } else {
            Ahead::new()
        };
        Ok(Scene {
            fence: target.fence,
            revision: target.revision.clone(),
            bundle: target.bundle.clone(),
            good: target.good.clone(),
            is_good_lost: target.is_good_lost,
            desired,
            projected: projected.clone(),
            observed,
            failures,
            beyond,
            ahead,
            at: target.at,
            turned: target.turned.clone(),
        })
    }
}
