//! Only its own: Lockstep deletes what it made or what the repo declared, and nothing else that stands on a system.
//!
//! A resource that is on a system and not in what it should have was declared by the last good revision, or was made by Lockstep (the store
//! says so): then it is deleted. Any other is somebody else's. It is added to what the system should have, as it is, so that nothing is
//! planned about it and the digests come out; what came since the system was brought in step is said, and left.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::group::{Memory, Pass, Scene};
use super::{Engine, EngineError};
use crate::ids::{Digest, ResourceRef, Revision, SystemName};
use crate::plan::{Change, Op};
use crate::record::{Condition, ConditionReason, ConditionState, MemberState, Run};
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
    /// Of those, what was not there when the system was first brought in step.
    arrived: Vec<ResourceRef>,
}

/// The same as of one observed and one desired digest.
pub(super) type Remembered = BTreeMap<SystemName, (Digest, Digest, Beyond)>;

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
        Some(Condition {
            state: ConditionState::Behind,
            reason: ConditionReason::Drifted,
            message: format!(
                "added by someone else: {named}; not Lockstep's to delete: declare it in the repo, or delete it on the system"
            ),
        })
    }

    /// What somebody else has put there, as the changes that would take it away.
    fn arrivals(&self) -> Vec<Change> {
        let arrived = self.foreign.iter().filter(|i| self.arrived.contains(&i.id));
        arrived
            .filter_map(|item| Change::between(Some(item.clone()), None, |_, _| Direction::Neutral))
            .collect()
    }
}

impl Engine {
    /// What each system has beyond what it should have.
    pub(super) async fn beyond(
        &self,
        good: Option<&Revision>,
        projected: &BTreeMap<SystemName, State>,
        observed: &BTreeMap<SystemName, State>,
        memory: &mut Memory,
    ) -> Result<BTreeMap<SystemName, Beyond>, EngineError> {
        let mut all = BTreeMap::new();
        for (system, observed) in observed {
            let Some(desired) = projected.get(system) else {
                continue;
            };
            let digests = (observed.digest(), desired.digest());
            if digests.0 == digests.1 {
                continue;
            }
            let beyond = match memory.beyond.get(system) {
                Some((o, d, beyond)) if (*o, *d) == digests => beyond.clone(),
                _ => {
                    let beyond = self
                        .find_beyond(good, system, desired, observed, memory)
                        .await?;
                    let known = (digests.0, digests.1, beyond.clone());
                    memory.beyond.insert(system.clone(), known);
                    beyond
                }
            };
            all.insert(system.clone(), beyond);
        }
        Ok(all)
    }

    async fn find_beyond(
        &self,
        good: Option<&Revision>,
        system: &SystemName,
        desired: &State,
        observed: &State,
        memory: &mut Memory,
    ) -> Result<Beyond, EngineError> {
        let extra = extra(desired, observed);
        if extra.is_empty() {
            return Ok(Beyond::default());
        }
        let declared = self.at_good(good, system, memory).await?;
        let (own, rest): (Vec<_>, Vec<_>) = extra
            .into_iter()
            .partition(|item| declared.get(&item.id).is_some());
        let mut beyond = Beyond {
            own: own.into_iter().map(|item| item.id.clone()).collect(),
            ..Beyond::default()
        };
        let ids: Vec<ResourceRef> = rest.iter().map(|item| item.id.clone()).collect();
        let owners = self.store.owners(system, &ids).await?;
        for item in rest {
            match owners.get(&item.id) {
                Some(Owner::Lockstep) => beyond.own.push(item.id.clone()),
                Some(Owner::Other) => beyond.foreign.push(item),
                None => {
                    // Before the first good revision everything there was there before.
                    if good.is_some() {
                        beyond.arrived.push(item.id.clone());
                    }
                    beyond.foreign.push(item);
                }
            }
        }
        Ok(beyond)
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

/// What a run's end says about who owns what. At the first good revision what else is there becomes somebody else's for good; what
/// is Lockstep's and was not deleted, as in a mode that deletes nothing, is written down, because no revision declares it any more.
pub(super) fn claims(
    run: &Run,
    beyond: &BTreeMap<SystemName, Beyond>,
    first: bool,
) -> BTreeMap<SystemName, Claims> {
    let mut claims: BTreeMap<SystemName, Claims> = BTreeMap::new();
    let succeeded = run.outcome.as_ref().is_some_and(|o| o.is_success());
    let good = succeeded && run.scope.is_whole();
    for (system, member) in &run.members {
        let claim = claims.entry(system.clone()).or_default();
        let verified = matches!(member.state, MemberState::Verified { .. });
        for change in &member.changes {
            match change.op {
                Op::Delete if verified => claim.gone.push(change.id.clone()),
                // What is made without its revision becoming good is declared nowhere that counts.
                Op::Create if !good && may_hold(&member.state) => claim.own.push(change.id.clone()),
                Op::Create | Op::Update | Op::Delete => {}
            }
        }
    }
    if good {
        for (system, beyond) in beyond {
            let claim = claims.entry(system.clone()).or_default();
            let left = beyond.own.iter().filter(|id| !claim.gone.contains(id));
            let left: Vec<ResourceRef> = left.cloned().collect();
            claim.own.extend(left);
            if first {
                claim.other = beyond.foreign.iter().map(|i| i.id.clone()).collect();
            }
        }
    }
    claims.retain(|_, claim| *claim != Claims::default());
    claims
}

/// Whether a system may hold what it was sent.
fn may_hold(state: &MemberState) -> bool {
    match state {
        MemberState::Planned
        | MemberState::Preparing
        | MemberState::Prepared
        | MemberState::Unprepared { .. }
        | MemberState::Aborting
        | MemberState::Aborted
        | MemberState::Compensated => false,
        MemberState::Unaborted { .. }
        | MemberState::Committing
        | MemberState::Committed { .. }
        | MemberState::Uncommitted { .. }
        | MemberState::Verified { .. }
        | MemberState::Unverified { .. }
        | MemberState::Withdrawing
        | MemberState::Undoing
        | MemberState::Undone
        | MemberState::NotUndone { .. }
        | MemberState::Left { .. }
        | MemberState::Stuck { .. } => true,
    }
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
                let drift = scene.bundle.config.systems.get(system).map(|s| s.drift);
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
