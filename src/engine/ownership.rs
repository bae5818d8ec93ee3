//! Only its own: Lockstep deletes what it made or what the repo declared, and nothing else that stands on a system.
//!
//! A resource that is on a system and not in what it should have was declared by the revision that the system was last verified at, or is written
//! down as Lockstep's: then it is deleted. Any other is somebody else's. It is added to what the system should have, as it is, so that nothing
//! is planned about it and the digests come out. What was there at the first look is left silently; what came since is said, and left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::group::{Memory, Pass};
use super::look::Scene;
use super::{Engine, EngineError};
use crate::config::Mode;
use crate::ids::{Digest, ResourceRef, Revision, SystemName};
use crate::plan::safety::LOST;
use crate::plan::{Change, Op};
use crate::record::{Condition, ConditionReason, ConditionState, Leaves, Outcome, Run};
use crate::resource::Direction;
use crate::state::{Bucket, Item, State};
use crate::store::{Claims, Owner};

/// How many resources a message names.
const NAMED: usize = 5;

/// What is on a system beyond what it should have.
#[derive(Debug, Clone, Default)]
pub(super) struct Beyond {
    /// Lockstep's own, to be deleted.
    own: Vec<ResourceRef>,
    /// Somebody else's.
    foreign: Vec<Arc<Item>>,
    /// Of those, what was not there when the system was first looked at.
    arrived: Vec<ResourceRef>,
    /// The revision that the system was verified at can't be read: what arrived may as well be what that declared.
    lost: Option<Revision>,
}

/// The same as of one observed and one desired digest, so that a pass with nothing new does not look for it again.
pub(super) struct Known {
    of: (Digest, Digest),
    found: (Arc<Beyond>, State),
}

pub(super) type Remembered = BTreeMap<SystemName, Known>;

impl Beyond {
    /// What a system should have and what else may stay there.
    pub(super) fn with(&self, desired: &State) -> State {
        let mut touched: BTreeMap<u8, Vec<Arc<Item>>> = BTreeMap::new();
        for item in &self.foreign {
            let bucket = touched.entry(item.bucket).or_insert_with(|| {
                let bucket = desired.buckets().get(usize::from(item.bucket));
                bucket.map(|b| b.items().to_vec()).unwrap_or_default()
            });
            bucket.push(item.clone());
        }
        if touched.is_empty() {
            return desired.clone();
        }
        let buckets = touched.into_iter();
        desired.with_buckets(buckets.map(|(index, items)| (index, Arc::new(Bucket::new(items)))))
    }

    /// How a system stands on which somebody else has put something.
    pub(super) fn condition(&self) -> Option<Condition> {
        if self.arrived.is_empty() {
            return None;
        }
        let names = self.arrived.iter().take(NAMED).map(ResourceRef::as_str);
        let mut named = names.collect::<Vec<_>>().join(", ");
        if self.arrived.len() > NAMED {
            named.push_str(&format!(" and {} more", self.arrived.len() - NAMED));
        }
        let message = match &self.lost {
            None => format!(
                "added by someone else: {named}; not Lockstep's to delete: declare it in the repo, or delete it on the system"
            ),
            Some(revision) => format!(
                "not in the repo: {named}; not deleted, because {} {LOST} and may not have declared it: fetch it back, declare it in the \
                 repo, or delete it on the system",
                revision.short()
            ),
        };
        Some(Condition {
            state: ConditionState::Behind,
            reason: ConditionReason::Drifted,
            message,
        })
    }

    /// What somebody else has put there, as the changes that would take it away.
    pub(super) fn arrivals(&self) -> Vec<Change> {
        let arrived = self.foreign.iter().filter(|i| self.arrived.contains(&i.id));
        arrived
            .filter_map(|item| Change::between(Some(item.clone()), None, |_, _| Direction::Neutral))
            .collect()
    }
}

impl Engine {
    /// What each system has beyond what it should have, and what it should have together with what else may stay there.
    pub(super) async fn beyond(
        &self,
        projected: &BTreeMap<SystemName, State>,
        observed: &BTreeMap<SystemName, State>,
        memory: &mut Memory,
    ) -> Result<BTreeMap<SystemName, (Arc<Beyond>, State)>, EngineError> {
        let mut all = BTreeMap::new();
        for (system, observed) in observed {
            let Some(desired) = projected.get(system) else {
                continue;
            };
            let is_known = self.is_known(system, memory).await?;
            let digests = (observed.digest(), desired.digest());
            if is_known && digests.0 == digests.1 {
                continue;
            }
            let found = match memory.beyond.get(system) {
                // What is lost may have been fetched back since.
                Some(known) if is_known && known.of == digests && known.found.0.lost.is_none() => {
                    known.found.clone()
                }
                _ => {
                    let beyond = self
                        .find_beyond(system, desired, observed, is_known, memory)
                        .await?;
                    let with = beyond.with(desired);
                    (Arc::new(beyond), with)
                }
            };
            let known = Known {
                of: digests,
                found: found.clone(),
            };
            memory.beyond.insert(system.clone(), known);
            all.insert(system.clone(), found);
        }
        Ok(all)
    }

    /// Whether it is written down what was there when the system was first looked at.
    async fn is_known(
        &self,
        system: &SystemName,
        memory: &mut Memory,
    ) -> Result<bool, EngineError> {
        let known = memory.looked_at.contains(system) || self.store.is_known_system(system).await?;
        if known {
            memory.looked_at.insert(system.clone());
        }
        Ok(known)
    }

    async fn find_beyond(
        &self,
        system: &SystemName,
        desired: &State,
        observed: &State,
        is_known: bool,
        memory: &mut Memory,
    ) -> Result<Beyond, EngineError> {
        let extra = extra(desired, observed);
        let ids: Vec<ResourceRef> = extra.iter().map(|item| item.id.clone()).collect();
        let owners = self.store.owners(system, &ids).await?;
        let (declared, lost) = self.declared(system, &ids, memory).await?;
        let mut beyond = Beyond {
            lost,
            ..Beyond::default()
        };
        let mut claims = Claims::default();
        for item in extra {
            let id = item.id.clone();
            match (owners.get(&id), declared.contains(&id)) {
                (Some(Owner::Lockstep), _) => beyond.own.push(id),
                // The revision that declared it will be left behind; who made it must not be forgotten with it.
                (_, true) => {
                    claims.own.push(id.clone());
                    beyond.own.push(id);
                }
                (Some(Owner::Other), false) => beyond.foreign.push(item),
                (None, false) if !is_known => {
                    claims.other.push(id);
                    beyond.foreign.push(item);
                }
                (None, false) => {
                    beyond.arrived.push(id);
                    beyond.foreign.push(item);
                }
            }
        }
        if !is_known || claims != Claims::default() {
            self.store.note_owners(system, claims).await?;
            memory.looked_at.insert(system.clone());
        }
        Ok(beyond)
    }

    /// Which of these the revision declared for a system that it was last verified at, in whatever group it was then; also what that says is over or
    /// has not begun. Where it can't be read any more nothing is taken for Lockstep's, better left than deleted, and the revision is given back.
    async fn declared(
        &self,
        system: &SystemName,
        wanted: &[ResourceRef],
        memory: &Memory,
    ) -> Result<(BTreeSet<ResourceRef>, Option<Revision>), EngineError> {
        let Some(revision) = memory.verified.get(system).filter(|_| !wanted.is_empty()) else {
            return Ok((BTreeSet::new(), None));
        };
        let revision = revision.clone();
        let known = memory.good.get(system).filter(|g| g.revision == revision);
        let bundle = match known {
            Some(known) => known.bundle.clone(),
            None => match self.bundle_of(&revision).await {
                Ok(bundle) => bundle,
                Err(EngineError::Repo(error)) => {
                    tracing::warn!(system.name = %system, revision = %revision, error = &error as &dyn std::error::Error, "what it declared is not known any more");
                    return Ok((BTreeSet::new(), Some(revision)));
                }
                Err(error) => return Err(error),
            },
        };
        let declares = |id: &&ResourceRef| {
            let resource = bundle.get(id);
            resource.is_some_and(|r| r.systems.contains(system))
        };
        Ok((wanted.iter().filter(declares).cloned().collect(), None))
    }
}

/// The items that are observed and not desired.
fn extra(desired: &State, observed: &State) -> Vec<Arc<Item>> {
    let mut extra = Vec::new();
    for (wanted, there) in desired.buckets().iter().zip(observed.buckets()) {
        if there.is_known_same(wanted) {
            continue;
        }
        let wanted = wanted.items();
        let is_wanted = |item: &Arc<Item>| wanted.binary_search_by(|w| w.id.cmp(&item.id)).is_ok();
        extra.extend(there.items().iter().filter(|i| !is_wanted(i)).cloned());
    }
    extra
}

/// What a run's end says about who owns what: what it deleted is nobody's, and what it made without its revision becoming good is
/// declared nowhere that counts.
pub(super) fn claims(run: &Run) -> BTreeMap<SystemName, Claims> {
    let good = run.scope.is_whole() && run.outcome.as_ref().is_some_and(Outcome::is_success);
    let mut claims: BTreeMap<SystemName, Claims> = BTreeMap::new();
    for (system, member) in &run.members {
        let claim = claims.entry(system.clone()).or_default();
        let left = member.state.leaves();
        let verified = left == Leaves::Target;
        let may_hold = verified || left == Leaves::Unknown;
        for change in &member.changes {
            match change.op {
                Op::Delete if verified => claim.gone.push(change.id.clone()),
                Op::Create if !good && may_hold => claim.own.push(change.id.clone()),
                Op::Create | Op::Update | Op::Delete => {}
            }
        }
    }
    claims.retain(|_, claim| *claim != Claims::default());
    claims
}

impl Engine {
    /// Writes down once what somebody else has put on a system.
    pub(super) async fn record_arrivals(
        &self,
        pass: &Pass<'_>,
        scene: &Scene,
        memory: &mut Memory,
    ) -> Result<BTreeMap<SystemName, Condition>, EngineError> {
        let mut adrift = BTreeMap::new();
        for (system, beyond) in &scene.beyond {
            let definition = scene.bundle.config.systems.get(system);
            if definition.is_some_and(|d| d.mode == Mode::Observe) {
                continue;
            }
            let (Some(condition), Some(observed)) =
                (beyond.condition(), scene.observed.get(system))
            else {
                continue;
            };
            let is_new = memory
                .known
                .get(system)
                .is_some_and(|known| *known != observed.digest());
            if is_new && memory.arrived.get(system) != Some(&beyond.arrived) {
                let drift = definition.map(|s| s.drift);
                let policy = (system, drift.unwrap_or_default());
                self.record(pass, scene, policy, &beyond.arrivals()).await?;
                memory
                    .arrived
                    .insert(system.clone(), beyond.arrived.clone());
            }
            adrift.insert(system.clone(), condition);
        }
        Ok(adrift)
    }
}
