//! What somebody else changed on a system: seen once, and put back or left according to the system's policy. What keeps being changed to and
//! fro is not fought over.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::group::{Good, Memory, Pass};
use super::look::Scene;
use super::{Engine, EngineError};
use crate::config::{DriftPolicy, FieldModes, System};
use crate::ids::{ResourceRef, SystemName};
use crate::plan::{self, Change, SystemPlan};
use crate::record::{Condition, ConditionReason, ConditionState};
use crate::resource::Direction;
use crate::state::State;
use crate::store::NewEntry;

/// Resources by system that are left alone until nobody changes them any more.
pub(super) type Hot = BTreeMap<SystemName, BTreeSet<ResourceRef>>;

/// At this heat a resource is not put back any more.
const TOO_HOT: f64 = 5.0;
/// Below this it is again: some minutes without a change.
const COOL: f64 = 1.0;

/// How many resources a message names, and how many a ledger entry holds.
const NAMED: usize = 20;
const KEPT: usize = 100;

impl Engine {
    /// A system's share without what is to be left as somebody else made it; and that system's condition, where something is left.
    pub(super) async fn without_drift(
        &self,
        pass: &Pass<'_>,
        scene: &Scene,
        (system, policy): (&SystemName, DriftPolicy),
        share: SystemPlan,
        observed: &State,
        memory: &mut Memory,
    ) -> Result<(SystemPlan, Option<Condition>), EngineError> {
        let left_with = memory.known.get(system);
        let is_new = left_with.is_some_and(|digest| *digest != observed.digest());
        // Whether somebody changed something since a revision that can't be read is not known: a person looks at all of the plan.
        let found = if !is_new || scene.is_good_lost {
            Vec::new()
        } else if scene.settled() {
            share.changes.clone()
        } else {
            let good = self.at_good(scene, system, memory).await?;
            let good = scene.yielding(system, &as_then(scene, system, &good, memory));
            let expected = match scene.beyond.get(system) {
                Some(beyond) => beyond.with(&good),
                None => good,
            };
            plan::diff(observed, &expected, |_, _, _| Direction::Neutral)
        };
        let heals = policy == DriftPolicy::Heal;
        if heals && scene.settled() {
            self.take_heat(system, &found, &share, memory).await?;
        }
        if !scene.settled() && !scene.is_good_lost {
            // What held then is at hand from here on.
            self.at_good(scene, system, memory).await?;
        }
        let keep: Option<BTreeSet<ResourceRef>> = if heals {
            let hot = memory.hot.get(system).filter(|_| scene.settled());
            hot.map(|hot| {
                let ids = share.changes.iter().map(|c| c.id.clone());
                ids.filter(|id| !hot.contains(id)).collect()
            })
        } else if scene.settled() {
            Some(late(system, &share, memory))
        } else if has_climbed(scene, system, memory) {
            // What a lower mode kept back is nobody's drift.
            None
        } else if scene.good.is_some() && !scene.is_good_lost {
            // A new revision carries what it changes, and leaves what somebody else changed.
            let mut keep = self.changed_since_good(scene, system, memory).await?;
            let mut ahead = self.gone_ahead(pass.name).await?;
            keep.extend(ahead.remove(system).unwrap_or_default());
            keep.extend(late(system, &share, memory));
            Some(keep)
        } else {
            None
        };
        let (share, left) = match keep {
            None => (share, Vec::new()),
            Some(keep) => split(share, observed, |change| keep.contains(&change.id)),
        };
        memory.left.insert(system.clone(), left.clone());
        let condition = (!left.is_empty()).then(|| condition(&left, heals));
        if !found.is_empty() {
            self.record(pass, scene, (system, policy), &found).await?;
            let now = condition.clone().unwrap_or_else(|| Condition {
                state: ConditionState::Behind,
                reason: ConditionReason::Drifted,
                message: format!("changed by someone else: {}; is put back", named(&found)),
            });
            memory.known.insert(system.clone(), observed.digest());
            self.note(system, &now, Some(observed.digest()), memory)
                .await?;
        }
        Ok((share, condition))
    }

    /// Counts a new drift of a resource, and finds out which are too hot to be put back.
    async fn take_heat(
        &self,
        system: &SystemName,
        found: &[Change],
        share: &SystemPlan,
        memory: &mut Memory,
    ) -> Result<(), EngineError> {
        let now = self.clock.now();
        let ids: Vec<ResourceRef> = found.iter().map(|c| c.id.clone()).collect();
        if !ids.is_empty() {
            let heats = self.store.add_heats(system, &ids, now).await?;
            let too_hot = ids.iter().zip(heats).filter(|(_, heat)| *heat >= TOO_HOT);
            for (id, _) in too_hot {
                tracing::warn!(system.name = %system, resource = %id, "keeps being changed by someone else: not put back any more");
                let hot = memory.hot.entry(system.clone()).or_default();
                hot.insert(id.clone());
            }
        }
        let hot: Vec<ResourceRef> = memory
            .hot
            .get(system)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        for id in hot {
            let still_differs = share.changes.iter().any(|c| c.id == id);
            let cool = !still_differs || self.store.heat(system, &id, now).await? < COOL;
            if let Some(hot) = memory.hot.get_mut(system).filter(|_| cool) {
                hot.remove(&id);
            }
        }
        Ok(())
    }

    /// What a system should have had at the group's last good revision, when that was carried out.
    async fn at_good(
        &self,
        scene: &Scene,
        system: &SystemName,
        memory: &mut Memory,
    ) -> Result<State, EngineError> {
        let Some(good) = &scene.good else {
            return Ok(State::default());
        };
        let at = memory.since();
        let known = memory.good.get(system).filter(|g| g.revision == *good);
        let (bundle, state) = match known {
            Some(known) if known.at == at => return Ok(known.state.clone()),
            Some(Good {
                bundle,
                at: then,
                state,
                revision: _,
            }) => (
                bundle.clone(),
                bundle.project_after_at(system, at, (bundle, *then), state),
            ),
            None => {
                let bundle = self.bundle_of(good).await?;
                let state = bundle.project_at(system, at);
                (bundle, state)
            }
        };
        let good = Good {
            revision: good.clone(),
            bundle,
            at,
            state: state.clone(),
        };
        memory.good.insert(system.clone(), good);
        Ok(state)
    }

    /// The resources that differ on a system between the group's last good revision and this one.
    async fn changed_since_good(
        &self,
        scene: &Scene,
        system: &SystemName,
        memory: &mut Memory,
    ) -> Result<BTreeSet<ResourceRef>, EngineError> {
        let before = self.at_good(scene, system, memory).await?;
        let Some(after) = scene.projected.get(system) else {
            return Ok(BTreeSet::new());
        };
        // A field that only now is to be written was not written then.
        let (was, is) = modes(scene, system, memory);
        let before = plan::fields::written(&before, &was, &is);
        let (before, after) = (
            scene.yielding(system, &before),
            scene.yielding(system, after),
        );
        let changes = plan::diff(&before, &after, |_, _, _| Direction::Neutral);
        Ok(changes.into_iter().map(|c| c.id).collect())
    }

    pub(super) async fn record(
        &self,
        pass: &Pass<'_>,
        scene: &Scene,
        (system, policy): (&SystemName, DriftPolicy),
        found: &[Change],
    ) -> Result<(), EngineError> {
        let changes: Vec<_> = found
            .iter()
            .take(KEPT)
            .map(|c| json!({"id": c.id, "found": c.before.as_ref().map(|i| i.spec.value()), "desired": c.after.as_ref().map(|i| i.spec.value())}))
            .collect();
        let entry = NewEntry {
            at: self.clock.now(),
            actor: self.actor.clone(),
            action: "drift.found".to_owned(),
            group: Some(pass.name.clone()),
            system: Some(system.clone()),
            run: None,
            revision: scene.good.clone(),
            body: json!({"policy": policy, "count": found.len(), "changes": changes}),
        };
        Ok(self.store.append(&[entry]).await?)
    }
}

/// The definition that a system had at the last good revision, once that is at hand.
fn then<'m>(system: &SystemName, memory: &'m Memory) -> Option<&'m System> {
    let good = memory.good.get(system)?;
    good.bundle.config.systems.get(system)
}

/// The field modes at the last good revision and now.
fn modes(scene: &Scene, system: &SystemName, memory: &Memory) -> (FieldModes, FieldModes) {
    let of = |definition: Option<&System>| definition.map(|d| d.fields.clone());
    let now = of(scene.bundle.config.systems.get(system)).unwrap_or_default();
    (of(then(system, memory)).unwrap_or_else(|| now.clone()), now)
}

/// What the system should have had at the last good revision, fields as they are there that were not Lockstep's then.
fn as_then(scene: &Scene, system: &SystemName, good: &State, memory: &Memory) -> State {
    match scene.observed.get(system) {
        Some(there) => plan::fields::settled(good, there, &modes(scene, system, memory).0),
        None => good.clone(),
    }
}

/// Whether more may be written there than at the last good revision.
fn has_climbed(scene: &Scene, system: &SystemName, memory: &Memory) -> bool {
    let now = scene.bundle.config.systems.get(system);
    let then = then(system, memory);
    then.zip(now)
        .is_some_and(|(then, now)| then.mode < now.mode)
}

/// What of a share a system could not take before.
fn late(system: &SystemName, share: &SystemPlan, memory: &Memory) -> BTreeSet<ResourceRef> {
    let known = memory.left_out.get(system);
    let ids = share.changes.iter().map(|change| &change.id);
    ids.filter(|id| known.is_some_and(|known| known.is_late(id)))
        .cloned()
        .collect()
}

/// How a system stands that is left with somebody else's changes.
fn condition(left: &[Change], heals: bool) -> Condition {
    let names = named(left);
    Condition {
        state: ConditionState::Behind,
        reason: ConditionReason::Drifted,
        message: if heals {
            format!("someone else keeps changing {names}; not put back any more")
        } else {
            format!("changed by someone else: {names}; left as it is")
        },
    }
}

fn named(changes: &[Change]) -> String {
    let names = changes.iter().map(|c| c.id.as_str()).take(NAMED);
    let mut text = names.collect::<Vec<_>>().join(", ");
    if changes.len() > NAMED {
        text.push_str(&format!(" and {} more", changes.len() - NAMED));
    }
    text
}

/// A share with only some of its changes, which leads to another target; and the changes that were left out.
pub(super) fn split(
    share: SystemPlan,
    observed: &State,
    keep: impl Fn(&Change) -> bool,
) -> (SystemPlan, Vec<Change>) {
    let (changes, left): (Vec<_>, Vec<_>) = share.changes.into_iter().partition(keep);
    let target = (&plan::apply(&changes, observed)).into();
    let share = SystemPlan {
        changes,
        target,
        ..share
    };
    (share, left)
}
