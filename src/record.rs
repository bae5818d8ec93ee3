//! What happened, as values: a run and its members, what came of it, and what the ledger says about it.
//!
//! The store keeps a [`Run`] as JSON and an engine that is killed is continued from it alone, so it holds everything: each
//! system's changes with what was there before, the decision, the outcome. Only `protocol` moves a run from state to state; nothing
//! here knows a clock, a store or a connector.
//!
//! Stored forms last for years: variants and fields may be added (with a default), never renamed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::{Consistency, OnFailure};
use crate::ids::{
    Digest, Fence, GroupName, PlanDigest, ResourceRef, Revision, RunId, Stage, SystemName,
};
use crate::plan::{Change, Plan, SystemPlan};
use crate::resource::dating::Effect;

mod answer;
mod changes;
mod condition;
mod ledger;
mod outcome;

pub use answer::{ConnectorError, Reason, Receipt};
pub use condition::{Condition, ConditionReason, ConditionState};
pub use ledger::{Action, LedgerEntry};
pub use outcome::{Failure, Failures, Next, Outcome};

#[cfg(test)]
mod tests;

/// Why the engine looked at a group. Recorded for people, never branched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// The main branch moved.
    Merge,
    /// A system differs from what the last run left.
    Drift,
    /// An earlier run did not come through.
    Retry,
    /// The engine started.
    Start,
    /// A person asked.
    Manual,
    /// A run that an earlier process left unfinished.
    Resume,
    /// Something began or ended by its date.
    Date,
}

/// How far a run has come. A run in the store is `Planned`, `Deciding` or `Finished`: the rest is lived through in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not sent anywhere yet.
    Planned,
    /// Every system is asked to validate and stage.
    Preparing,
    /// What was staged is dropped again; nothing was committed.
    Aborting,
    /// A decision is on its way into the store.
    Deciding,
    /// Decided: every system is told to commit.
    Committing,
    /// Every system has committed and is observed again.
    Verifying,
    /// Decided: what was committed is taken back.
    Compensating,
    /// The outcome is known.
    Finished,
    /// A newer holder of the lease has the run; this process is done with it.
    Yielded,
}

/// What is durable before the first request that depends on it is sent. To abort needs no decision: a run without one is aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    Commit,
    /// Take back what was committed.
    Compensate,
}

/// One pass of the engine over one group for one revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub id: RunId,
    pub group: GroupName,
    pub revision: Revision,
    /// What a release or an approval was bound to.
    pub plan: PlanDigest,
    pub trigger: Trigger,
    /// Recorded for readers. The protocol moves all members together; for an independent group the engine opens one run a system.
    pub consistency: Consistency,
    pub on_failure: OnFailure,
    #[serde(default, skip_serializing_if = "Scope::is_whole")]
    pub scope: Scope,
    /// Of the holder that drives it now.
    pub fence: Fence,
    /// The systems that have something to change, and only those.
    pub members: BTreeMap<SystemName, Member>,
    pub phase: Phase,
    pub decision: Option<Decision>,
    /// Who failed and why: what led to aborting or compensating.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cause: Failures,
    pub outcome: Option<Outcome>,
    pub started_at: Timestamp,
    /// When the decision to commit was durable.
    pub decided_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// The moment whose dates it carries out; `None` in runs of versions that knew none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
    /// What began or ended by its date since the group was last brought in step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dates: Vec<DateReached>,
}

/// A resource that began or ended by its date.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DateReached {
    pub id: ResourceRef,
    pub effect: Effect,
    /// When, as its document says: what was down or out of reach then carries it out later.
    pub at: Timestamp,
}

/// How much of a group's plan a run carries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Scope {
    /// All of it, on all systems together.
    #[default]
    Whole,
    /// What one system can't wait for the others with: that the group is at the revision does not follow.
    Urgent {
        /// How many of the system's changes wait.
        rest: usize,
        /// What for.
        waits_for: String,
    },
}

impl Scope {
    pub fn is_whole(&self) -> bool {
        *self == Self::Whole
    }
}

/// What identifies a run and sets its rules; the rest comes from the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    pub id: RunId,
    pub group: GroupName,
    pub revision: Revision,
    pub trigger: Trigger,
    pub consistency: Consistency,
    pub on_failure: OnFailure,
    pub fence: Fence,
    pub started_at: Timestamp,
}

impl Run {
    /// A run that is to carry out a plan. Systems with nothing to change are left out.
    pub fn open(opening: Opening, plan: &Plan) -> Self {
        let Opening {
            id,
            group,
            revision,
            trigger,
            consistency,
            on_failure,
            fence,
            started_at,
        } = opening;
        Self {
            id,
            group,
            revision,
            plan: plan.digest(),
            trigger,
            consistency,
            on_failure,
            scope: Scope::Whole,
            fence,
            members: plan
                .systems
                .iter()
                .filter(|(_, share)| !share.changes.is_empty())
                .map(|(system, share)| (system.clone(), Member::new(share)))
                .collect(),
            phase: Phase::Planned,
            decision: None,
            cause: Failures::new(),
            outcome: None,
            started_at,
            decided_at: None,
            finished_at: None,
            as_of: None,
            dates: Vec::new(),
        }
    }

    /// The same run with the moment whose dates it carries out, and what began or ended by then.
    #[must_use]
    pub fn as_of(mut self, moment: Timestamp, dates: Vec<DateReached>) -> Self {
        self.as_of = Some(moment);
        self.dates = dates;
        self
    }

    /// The same run as one of urgent changes alone.
    #[must_use]
    pub fn urgent(mut self, rest: usize, waits_for: String) -> Self {
        self.scope = Scope::Urgent { rest, waits_for };
        self
    }

    /// The same run ended before anything was sent: held by the guard, or a system out of reach when it was observed.
    #[must_use]
    pub fn concluded(mut self, outcome: Outcome, at: Timestamp) -> Self {
        self.outcome = Some(outcome);
        self.phase = Phase::Finished;
        self.finished_at = Some(at);
        self
    }

    /// Whether it leaves a system of which nobody knows where it stands. What it was sent may still be under way, and take effect there.
    pub fn leaves_doubt(&self) -> bool {
        let unknown = |m: &Member| m.state.leaves() == Leaves::Unknown;
        self.members.values().any(unknown)
    }

    /// How many changes it carries, over all systems.
    pub fn changes(&self) -> usize {
        self.members.values().map(|m| m.changes.len()).sum()
    }
}

/// One system's share of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The digest the changes were planned on.
    pub base: Digest,
    /// The digest when all of them are made.
    pub target: Digest,
    #[serde(with = "changes")]
    pub changes: Vec<Change>,
    pub state: MemberState,
    /// How often the request that it is being sent now has failed in passing; grows to the longest backoff and stays there.
    #[serde(default)]
    pub attempt: u8,
    /// What the last of them failed with, for who waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    #[serde(default)]
    pub prepared_at: Option<Timestamp>,
    #[serde(default)]
    pub committed_at: Option<Timestamp>,
    #[serde(default)]
    pub verified_at: Option<Timestamp>,
}

impl Member {
    /// A system's plan, not sent yet.
    pub fn new(share: &SystemPlan) -> Self {
        Self {
            base: share.base.get(),
            target: share.target.get(),
            changes: share.changes.clone(),
            state: MemberState::Planned,
            attempt: 0,
            trouble: None,
            prepared_at: None,
            committed_at: None,
            verified_at: None,
        }
    }

    /// What is sent for a stage: the digest to start from, the one to reach, and the changes between.
    pub fn share(&self, stage: Stage) -> SystemPlan {
        let forward = SystemPlan {
            base: self.base.into(),
            target: self.target.into(),
            changes: self.changes.clone(),
            existing: BTreeMap::new(),
        };
        match stage {
            Stage::Forward => forward,
            Stage::Undo => forward.reversed(),
        }
    }
}

/// Where one system stands in a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum MemberState {
    Planned,
    /// Asked to prepare.
    Preparing,
    Prepared,
    /// Did not prepare, or did not say so.
    Unprepared {
        failure: Failure,
    },
    /// Asked to drop what it may have staged, before any decision.
    Aborting,
    /// Has nothing of this run.
    Aborted,
    /// Never confirmed that it dropped what it had staged. Harmless: nothing commits it any more.
    Unaborted {
        failure: Failure,
    },
    /// Told to commit.
    Committing,
    /// Says that it has committed.
    Committed {
        receipt: Receipt,
    },
    /// Did not commit, or did not say so: it may have.
    Uncommitted {
        failure: Failure,
    },
    /// Observed at the target.
    Verified {
        receipt: Receipt,
    },
    /// Says that it has committed, but is not where that leads, or can't be observed.
    Unverified {
        receipt: Receipt,
        failure: Failure,
    },
    /// Not known whether it has committed: asked to abort, which a system that has refuses.
    Withdrawing,
    /// Sent the reverse of its changes.
    Undoing,
    /// Says that it has undone them; to be observed.
    Undone,
    /// Refuses to undo; observed before anyone is called.
    NotUndone {
        failure: Failure,
    },
    /// Observed back at the base.
    Compensated,
    /// Out of reach while the others were taken back: not known where it stands.
    Left {
        failure: Failure,
    },
    /// Not where it should be, and nothing the protocol can do about it.
    Stuck {
        failure: Failure,
    },
}

/// What a run leaves on a system, by the state that its member ended in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// What was there: nothing took effect, and nobody will make it.
    Untouched,
    /// The target, observed.
    Target,
    /// The base again, observed.
    Base,
    /// Nobody knows, or neither.
    Unknown,
}

impl MemberState {
    /// What this state leaves on the system if the run ends with it.
    pub fn leaves(&self) -> Leaves {
        match self {
            Self::Planned
            | Self::Preparing
            | Self::Prepared
            | Self::Unprepared { .. }
            | Self::Aborting
            | Self::Aborted
            | Self::Unaborted { .. } => Leaves::Untouched,
            Self::Verified { .. } => Leaves::Target,
            Self::Compensated => Leaves::Base,
            Self::Committing
            | Self::Committed { .. }
            | Self::Uncommitted { .. }
            | Self::Unverified { .. }
            | Self::Withdrawing
            | Self::Undoing
            | Self::Undone
            | Self::NotUndone { .. }
            | Self::Left { .. }
            | Self::Stuck { .. } => Leaves::Unknown,
        }
    }

    /// What is wrong, in the states that say so.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Unprepared { failure }
            | Self::Unaborted { failure }
            | Self::Uncommitted { failure }
            | Self::Unverified {
                failure,
                receipt: _,
            }
            | Self::NotUndone { failure }
            | Self::Left { failure }
            | Self::Stuck { failure } => Some(failure),
            Self::Planned
            | Self::Preparing
            | Self::Prepared
            | Self::Aborting
            | Self::Aborted
            | Self::Committing
            | Self::Committed { .. }
            | Self::Verified { .. }
            | Self::Withdrawing
            | Self::Undoing
            | Self::Undone
            | Self::Compensated => None,
        }
    }
}
