//! The end of a run and all that follows from it, in one transaction: outcome, where each system stands, what the group returns to, the ledger.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::execute::{Ending, row};
use super::ownership::claims;
use super::{Engine, EngineError, news};
use crate::ids::{Actor, Digest, SystemName};
use crate::plan::safety::PastChange;
use crate::record::{Condition, ConditionReason, ConditionState, Leaves, Outcome, Run};
use crate::store::{
    FailedRevision, FailedUpdate, Finish, GroupState, GroupUpdate, NewEntry, Store, SystemState,
};

/// The digest a finished run left a system with, where it is known.
pub(super) fn left_with(run: &Run, system: &SystemName) -> Option<Digest> {
    let member = run.members.get(system)?;
    match member.state.leaves() {
        Leaves::Target => Some(member.target),
        Leaves::Base => Some(member.base),
        // Nothing was done there, so what was known of it before still is: above all that somebody else had changed it.
        Leaves::Untouched | Leaves::Unknown => None,
    }
}

/// Whether two outcomes say the same, so that the second need not be recorded. Another reason is news: whoever mends a system goes by it. Only
/// what moved meanwhile is another each time, and nobody's to mend.
pub(super) fn same(a: &Outcome, b: &Outcome) -> bool {
    a.name() == b.name()
        && match (a, b) {
            (Outcome::Held { plan, .. }, Outcome::Held { plan: other, .. }) => plan == other,
            (Outcome::Stale { systems }, Outcome::Stale { systems: other }) => {
                systems.keys().eq(other.keys())
            }
            _ => a.failures() == b.failures(),
        }
}

/// Where every system of the group stands after a run.
pub(super) fn standings(
    run: &Run,
    outcome: &Outcome,
    ending: &Ending,
) -> BTreeMap<SystemName, Condition> {
    let mut standings = run.conditions();
    if !run.scope.is_whole() {
        // The others of the group stand where they stood.
        return standings;
    }
    let (state, reason) = if outcome.is_success() {
        (ConditionState::InStep, ConditionReason::AlreadyInStep)
    } else {
        (ConditionState::Behind, ConditionReason::WaitsForOthers)
    };
    for system in &ending.systems {
        standings
            .entry(system.clone())
            .or_insert_with(|| Condition {
                state,
                reason,
                message: match outcome.is_success() {
                    true => Outcome::InStep.to_string(),
                    false => outcome.to_string(),
                },
            });
    }
    if outcome.is_success() {
        standings.extend(ending.adrift.clone());
    }
    standings.retain(|system, _| ending.systems.contains(system));
    standings
}

impl Engine {
    /// Writes the end of a run.
    pub(super) async fn finish(&self, run: &Run, ending: &Ending) -> Result<(), EngineError> {
        let now = self.clock.now();
        let Some(outcome) = &run.outcome else {
            return Ok(());
        };
        let known = self.store.group_state(&run.group).await?;
        // A release is used up by the run that came through, not by one that was killed or refused on the way.
        let released = outcome.is_success()
            && !run.members.is_empty()
            && self.store.use_release(run.plan, run.id, now).await?;
        let release = match released {
            true => self.store.release_of(run.plan, run.id).await?,
            false => None,
        };
        let release = release.map(|r| json!({"by": r.by, "because": r.because, "at": r.at}));
        if run.leaves_doubt() {
            // A request that was given up may still reach that system, even after it was asked for the next run. That one is to be of a newer
            // fence, and so is whatever follows a crash here: the lease goes before the end is seen, and whoever takes it gets a new number.
            let lease = Store::group_lease(&run.group);
            self.store
                .release_lease(&lease, &self.holder, run.fence)
                .await?;
        }
        let finish = Finish {
            run: row(run),
            outcome: serde_json::to_value(outcome).unwrap_or_default(),
            at: now,
            group: Some(group_update(run, outcome, &known)),
            systems: states(run, outcome, ending, now),
            // What a person has answered for does not count against the next plan.
            changes: if released {
                Vec::new()
            } else {
                verified_changes(run, now)
            },
            claims: claims(run),
            ledger: entries(run, &self.actor, release.as_ref(), now),
            outbox: news::owed(run, outcome, ending),
        };
        self.store.finish_run(&finish).await?;
        tracing::info!(run.id = %run.id, group.name = %run.group, revision = %run.revision, outcome = outcome.name(), "run ended");
        Ok(())
    }
}

/// Whether a run's success is its group's: urgent changes are on their system, and the group is where it was.
fn is_groups_success(run: &Run, outcome: &Outcome) -> bool {
    run.scope.is_whole() && outcome.is_success()
}

/// Where the systems stand, as the store keeps it.
fn states(run: &Run, outcome: &Outcome, ending: &Ending, now: Timestamp) -> Vec<SystemState> {
    let success = is_groups_success(run, outcome);
    let standings = standings(run, outcome, ending).into_iter();
    let states = standings.map(|(system, condition)| {
        let member = run.members.get(&system).map(|m| m.state.leaves());
        let changed = member == Some(Leaves::Target);
        let digest = left_with(run, &system).or_else(|| ending.digests.get(&system).copied());
        SystemState {
            revision: success.then(|| run.revision.clone()),
            digest,
            condition: serde_json::to_value(condition).unwrap_or_default(),
            last_change_at: changed.then_some(now),
            last_seen_at: Some(now),
            system,
        }
    });
    states.collect()
}

/// What the run's end says of its group.
fn group_update(run: &Run, outcome: &Outcome, known: &GroupState) -> GroupUpdate {
    let success = is_groups_success(run, outcome);
    // Healing drift at the last good revision says nothing about a newer one that failed.
    let healing = known.good.as_ref() == Some(&run.revision);
    let failed = if healing || !run.scope.is_whole() {
        FailedUpdate::Keep
    } else if success {
        FailedUpdate::Clear
    } else if matches!(outcome, Outcome::RolledBack { .. }) {
        FailedUpdate::Set(FailedRevision {
            revision: run.revision.clone(),
            why: outcome.to_string(),
        })
    } else {
        FailedUpdate::Keep
    };
    GroupUpdate {
        good: success.then(|| run.revision.clone()),
        failed,
        seen: Some(run.revision.clone()),
    }
}

/// What the ledger says of the run.
fn entries(run: &Run, actor: &Actor, release: Option<&Value>, now: Timestamp) -> Vec<NewEntry> {
    let entries = run.entries(actor, now).into_iter();
    let entries = entries.map(|e| NewEntry {
        at: e.at,
        actor: e.actor,
        action: e.action.to_string(),
        group: e.group,
        system: e.system,
        run: e.run,
        revision: e.revision,
        body: with_release(e.body, release),
    });
    entries.collect()
}

/// What went past a ceiling says on whose word.
fn with_release(mut body: Value, release: Option<&Value>) -> Value {
    if let (Value::Object(fields), Some(release)) = (&mut body, release) {
        fields.insert("release".to_owned(), release.clone());
    }
    body
}

fn verified_changes(run: &Run, at: Timestamp) -> Vec<PastChange> {
    let verified = run
        .members
        .iter()
        .filter(|(_, m)| m.state.leaves() == Leaves::Target);
    verified
        .flat_map(|(system, member)| {
            member.changes.iter().map(|c| PastChange {
                at,
                system: system.clone(),
                id: c.id.clone(),
                op: c.op,
            })
        })
        .collect()
}
