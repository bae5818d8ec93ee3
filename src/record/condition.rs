//! A system's current state in one line, derived from a run: what dashboards and statuses are made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Failure, Failures, Outcome, Phase, Run, Scope};
use crate::ids::SystemName;

/// Where a system stands, why, and in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    pub state: ConditionState,
    /// For code and translations; the message is for people, in English.
    pub reason: ConditionReason,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConditionState {
    /// At the revision.
    InStep,
    /// On its way.
    Moving,
    /// At an earlier revision, safe and known.
    Behind,
    /// Waits for a person's release.
    Held,
    /// A person must look.
    Incident,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConditionReason {
    AlreadyInStep,
    Applied,
    Preparing,
    Aborting,
    Committing,
    Verifying,
    RollingBack,
    Refused,
    Unreachable,
    Misconfigured,
    Stale,
    Interrupted,
    Held,
    RolledBack,
    /// Out of reach while its group was rolled back.
    Left,
    Stuck,
    /// Someone else changed it since the last run.
    Drifted,
    /// Rows that it can't take yet are left out; all else is there.
    LeftOut,
    /// Nothing is wrong with this one; it waits for another of its group.
    WaitsForOthers,
}

impl Condition {
    /// Whether the system is where its revision says.
    pub fn is_in_step(&self) -> bool {
        self.state == ConditionState::InStep
    }
}

impl Run {
    /// The condition of every system the run concerns: its members and whom its outcome names.
    pub fn conditions(&self) -> BTreeMap<SystemName, Condition> {
        let named = self.outcome.as_ref().map(Outcome::failures);
        self.members
            .keys()
            .chain(named.iter().flat_map(BTreeMap::keys))
            .map(|system| (system.clone(), self.condition(system)))
            .collect()
    }

    fn condition(&self, system: &SystemName) -> Condition {
        use ConditionReason as Why;
        use ConditionState as Is;
        let Some(outcome) = &self.outcome else {
            return self.moving(system);
        };
        let say = |state, reason| Condition {
            state,
            reason,
            message: outcome.to_string(),
        };
        let stays = |systems: &Failures, own: Why| match systems.get(system) {
            Some(failure) => own_fault(Is::Behind, own, failure),
            None => say(Is::Behind, Why::WaitsForOthers),
        };
        match outcome {
            Outcome::InStep => say(Is::InStep, Why::AlreadyInStep),
            Outcome::Applied { .. } => {
                self.applied(self.members.get(system).map_or(0, |m| m.changes.len()))
            }
            Outcome::Refused { systems } => stays(systems, Why::Refused),
            Outcome::Unreachable { systems } => stays(systems, Why::Unreachable),
            Outcome::Misconfigured { systems } => stays(systems, Why::Misconfigured),
            Outcome::Stale { systems } => stays(systems, Why::Stale),
            Outcome::Interrupted => say(Is::Behind, Why::Interrupted),
            Outcome::Held { .. } => say(Is::Held, Why::Held),
            Outcome::RolledBack { cause, left } => match (left.get(system), cause.get(system)) {
                (Some(failure), _) => own_fault(Is::Incident, Why::Left, failure),
                (None, Some(failure)) => own_fault(Is::Behind, Why::RolledBack, failure),
                (None, None) => say(Is::Behind, Why::RolledBack),
            },
            Outcome::Stuck { systems } => match systems.get(system) {
                Some(failure) => own_fault(Is::Incident, Why::Stuck, failure),
                None => say(Is::Held, Why::WaitsForOthers),
            },
        }
    }

    /// Where a system stands with so many changes verified.
    fn applied(&self, n: usize) -> Condition {
        use ConditionReason as Why;
        use ConditionState as Is;
        let changes = if n == 1 { "change" } else { "changes" };
        let (state, reason, message) = match &self.scope {
            Scope::Whole => (Is::InStep, Why::Applied, format!("{n} {changes} verified")),
            Scope::Urgent { rest: 0, .. } => (
                Is::InStep,
                Why::Applied,
                format!("{n} urgent {changes} verified, ahead of the others"),
            ),
            Scope::Urgent { rest, waits_for } => (
                Is::Behind,
                Why::WaitsForOthers,
                format!("{n} urgent {changes} verified; {rest} more wait: {waits_for}"),
            ),
        };
        Condition {
            state,
            reason,
            message,
        }
    }

    fn moving(&self, system: &SystemName) -> Condition {
        use ConditionReason as Why;
        let (reason, words) = match (self.phase, self.decision) {
            (Phase::Planned | Phase::Preparing, _) => (Why::Preparing, "preparing"),
            (Phase::Aborting, _) => (Why::Aborting, "dropping what was prepared for"),
            (Phase::Deciding, Some(super::Decision::Compensate)) | (Phase::Compensating, _) => {
                (Why::RollingBack, "rolling back")
            }
            (Phase::Deciding | Phase::Committing, _) => (Why::Committing, "committing"),
            (Phase::Verifying | Phase::Finished | Phase::Yielded, _) => {
                (Why::Verifying, "verifying")
            }
        };
        let mut message = format!("{words} {}", self.revision.short());
        if let Some(trouble) = self.members.get(system).and_then(|m| m.trouble.as_ref()) {
            message.push_str(": ");
            message.push_str(trouble);
        }
        Condition {
            state: ConditionState::Moving,
            reason,
            message,
        }
    }
}

fn own_fault(state: ConditionState, reason: ConditionReason, failure: &Failure) -> Condition {
    Condition {
        state,
        reason,
        message: failure.to_string(),
    }
}
