//! How things stand, and what has happened: the shapes behind `lockstep status` and `lockstep audit show`.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::DateView;
use crate::config::Mode;
use crate::ids::{Digest, GroupName, PlanDigest, ResourceRef, Revision, SystemName};
use crate::plan::Op;
use crate::plan::safety::Breach;
use crate::record::{Condition, ConditionReason, ConditionState, Run};
use crate::resource::Language;

/// All groups with their systems.
#[derive(Debug, Clone, Serialize)]
pub struct StatusView {
    #[serde(skip)]
    pub language: Language,
    /// The zone in which times are shown to people; JSON has them in UTC.
    #[serde(skip)]
    pub timezone: TimeZone,
    pub groups: Vec<GroupStatus>,
    /// The plans that wait for a person.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldPlan>,
    /// What begins or ends by its date within a week.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upcoming: Vec<DateView>,
}

/// A plan that a person has to release, and what it would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldPlan {
    pub plan: PlanDigest,
    pub group: GroupName,
    pub deletes: usize,
    pub creates: usize,
    pub updates: usize,
    /// The first of them, deletes before all others.
    pub changes: Vec<HeldChange>,
    /// Whether a release would let it pass: nobody can release what would lock everybody out.
    pub releasable: bool,
}

/// One change of a plan that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldChange {
    pub op: Op,
    pub system: SystemName,
    pub id: ResourceRef,
}

impl HeldPlan {
    /// How many changes are shown.
    const SHOWN: usize = 20;

    /// From the run that was held.
    pub fn new(run: &Run, breaches: &[Breach]) -> Self {
        let mut changes: Vec<HeldChange> = run
            .members
            .iter()
            .flat_map(|(system, member)| member.changes.iter().map(move |change| (system, change)))
            .map(|(system, change)| HeldChange {
                op: change.op,
                system: system.clone(),
                id: change.id.clone(),
            })
            .collect();
        let count = |op| changes.iter().filter(|c| c.op == op).count();
        let (deletes, creates, updates) = (count(Op::Delete), count(Op::Create), count(Op::Update));
        changes.sort_by(|a, b| (a.op, &a.system, &a.id).cmp(&(b.op, &b.system, &b.id)));
        changes.truncate(Self::SHOWN);
        Self {
            plan: run.plan,
            group: run.group.clone(),
            deletes,
            creates,
            updates,
            changes,
            releasable: !breaches.iter().any(|b| b.rule.is_final()),
        }
    }

    pub(super) fn more(&self) -> usize {
        (self.deletes + self.creates + self.updates).saturating_sub(self.changes.len())
    }
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupStatus {
    pub group: GroupName,
    /// The revision it should have: the newest merged one.
    pub revision: Option<Revision>,
    /// Something to say of the group as a whole: a run that is held and who can release it.
    pub note: Option<String>,
    pub systems: Vec<SystemStatus>,
}

/// One system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SystemStatus {
    pub system: SystemName,
    pub mode: Mode,
    /// The revision it has now.
    pub revision: Option<Revision>,
    /// Its state's digest as last observed.
    pub digest: Option<Digest>,
    #[serde(flatten)]
    pub standing: Standing,
    pub last_change: Option<LastChange>,
}

/// Whether a system has what it should have, or why not. `why` is for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "standing", rename_all = "snake_case")]
pub enum Standing {
    InStep,
    /// Nothing has been applied to it yet.
    NeverSynced,
    /// An older revision: a run is under way or waits for another system.
    Behind {
        why: String,
    },
    /// Changed by something other than Lockstep, or without rows that it can't take yet.
    Adrift {
        why: String,
    },
    /// A person has to release the run.
    Held {
        why: String,
    },
    Unreachable {
        why: String,
    },
    /// It refused, or a commit went wrong.
    Failed {
        why: String,
    },
}

impl Standing {
    /// From the condition that was last written down, and the revision that was last verified. `head` is the newest merged one.
    pub fn of(condition: Option<Condition>, revision: Option<&Revision>, head: &Revision) -> Self {
        let Some(condition) = condition else {
            return Self::NeverSynced;
        };
        let why = condition.message;
        match (condition.state, condition.reason) {
            (_, ConditionReason::Drifted | ConditionReason::LeftOut) => Self::Adrift { why },
            (_, ConditionReason::Unreachable) => Self::Unreachable { why },
            (_, ConditionReason::Refused | ConditionReason::Misconfigured)
            | (ConditionState::Incident, _) => Self::Failed { why },
            (ConditionState::InStep, _) if revision == Some(head) => Self::InStep,
            (ConditionState::InStep, _) => Self::Behind {
                why: format!("{} is merged and not applied yet", head.short()),
            },
            (ConditionState::Held, _) => Self::Held { why },
            (ConditionState::Moving | ConditionState::Behind, _) => Self::Behind { why },
        }
    }

    pub(super) fn why(&self) -> Option<&str> {
        match self {
            Self::InStep | Self::NeverSynced => None,
            Self::Behind { why }
            | Self::Adrift { why }
            | Self::Held { why }
            | Self::Unreachable { why }
            | Self::Failed { why } => Some(why),
        }
    }
}

/// The last change made on a system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastChange {
    pub at: Timestamp,
    pub by: String,
    pub what: String,
}

/// Entries of the ledger, oldest first.
#[derive(Debug, Clone, Serialize)]
pub struct HistoryView {
    #[serde(skip)]
    pub language: Language,
    /// The zone in which times are shown to people; JSON has them in UTC.
    #[serde(skip)]
    pub timezone: TimeZone,
    /// How many entries there are before these.
    pub earlier: usize,
    pub entries: Vec<HistoryEntry>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HistoryEntry {
    /// Its place in the ledger.
    pub seq: u64,
    pub at: Timestamp,
    pub actor: String,
    pub what: String,
    pub outcome: Outcome,
    /// The reason, where there is one to give.
    pub detail: Option<String>,
}

/// What came of it, as far as a reader's eye needs it: which lines are good news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Happened as meant.
    Done,
    /// Nothing had to happen.
    Unchanged,
    /// Waits for a person or a system.
    Held,
    /// Was refused, or undone again.
    Refused,
    Failed,
}
