//! The end of a run and all that follows from it, in one transaction: outcome, where each system stands, what the group returns to, the ledger.

use std::collections::BTreeMap;

use super::execute::row;
use super::{Engine, EngineError};
use crate::ids::{Digest, SystemName};
use crate::plan::safety::PastChange;
use crate::record::{MemberState, Outcome, Run};
use crate::store::{FailedRevision, FailedUpdate, Finish, GroupUpdate, NewEntry, SystemState};

/// The digest a finished run left a system with, where it is known.
pub(super) fn left_with(run: &Run, system: &SystemName) -> Option<Digest> {
    let member = run.members.get(system)?;
    match member.state {
        MemberState::Verified { .. } => Some(member.target),
        MemberState::Planned
        | MemberState::Unprepared { .. }
        | MemberState::Aborted
        | MemberState::Unaborted { .. }
        | MemberState::Compensated => Some(member.base),
        MemberState::Preparing
        | MemberState::Prepared
        | MemberState::Aborting
        | MemberState::Committing
        | MemberState::Committed { .. }
        | MemberState::Uncommitted { .. }
        | MemberState::Unverified { .. }
        | MemberState::Withdrawing
        | MemberState::Undoing
        | MemberState::Undone
        | MemberState::NotUndone { .. }
        | MemberState::Left { .. }
        | MemberState::Stuck { .. } => None,
    }
}

/// Whether two outcomes say the same, so that the second need not be recorded.
pub(super) fn same(a: &Outcome, b: &Outcome) -> bool {
    a.name() == b.name()
        && match (a, b) {
            (Outcome::Held { plan, .. }, Outcome::Held { plan: other, .. }) => plan == other,
            _ => a.failures().keys().eq(b.failures().keys()),
        }
}

impl Engine {
    /// Writes the end of a run. `systems` are all of the group; `digests` those of systems that were observed where they should be.
    pub(super) async fn finish(
        &self,
        run: &Run,
        systems: impl Iterator<Item = &SystemName>,
        digests: &BTreeMap<SystemName, Digest>,
    ) -> Result<(), EngineError> {
        let now = self.clock.now();
        let Some(outcome) = &run.outcome else {
            return Ok(());
        };
        let conditions = run.conditions();
        let success = outcome.is_success();
        let states = systems.map(|system| {
            let changed = matches!(run.members.get(system).map(|m| &m.state), Some(MemberState::Verified { .. }));
            let condition = conditions.get(system).map_or_else(
                || serde_json::json!({"state": if success { "in_step" } else { "behind" }, "reason": if success { "already_in_step" } else { "waits_for_others" }, "message": outcome.to_string()}),
                |c| serde_json::to_value(c).unwrap_or_default(),
            );
            SystemState {
                system: system.clone(),
                revision: success.then(|| run.revision.clone()),
                digest: digests.get(system).copied().or_else(|| left_with(run, system)),
                condition,
                last_change_at: changed.then_some(now),
                last_seen_at: Some(now),
            }
        });
        let known = self.store.group_state(&run.group).await?;
        let failed = match outcome {
            Outcome::RolledBack { .. } => FailedUpdate::Set(FailedRevision {
                revision: run.revision.clone(),
                why: outcome.to_string(),
            }),
            // Healing drift at the last good revision says nothing about a newer one that failed.
            _ if success && known.good.as_ref() != Some(&run.revision) => FailedUpdate::Clear,
            _ => FailedUpdate::Keep,
        };
        let update = GroupUpdate {
            good: success.then(|| run.revision.clone()),
            failed,
            seen: Some(run.revision.clone()),
        };
        let entries = run.entries(&self.actor, now);
        let ledger = entries.into_iter().map(|e| NewEntry {
            at: e.at,
            actor: e.actor,
            action: e.action.to_string(),
            group: e.group,
            system: e.system,
            run: e.run,
            revision: e.revision,
            body: e.body,
        });
        let finish = Finish {
            run: row(run),
            outcome: serde_json::to_value(outcome).unwrap_or_default(),
            at: now,
            group: Some(update),
            systems: states.collect(),
            changes: verified_changes(run, now),
            ledger: ledger.collect(),
            outbox: Vec::new(),
        };
        self.store.finish_run(&finish).await?;
        tracing::info!(run.id = %run.id, group.name = %run.group, revision = %run.revision, outcome = outcome.name(), "run ended");
        Ok(())
    }
}

fn verified_changes(run: &Run, at: jiff::Timestamp) -> Vec<PastChange> {
    let verified = run
        .members
        .iter()
        .filter(|(_, m)| matches!(m.state, MemberState::Verified { .. }));
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
