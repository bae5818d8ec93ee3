//! How things stand, and what has happened: the shapes behind `lockstep status` and `lockstep audit show`.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::config::Mode;
use crate::ids::{Digest, GroupName, Revision, SystemName};
use crate::record::{Condition, ConditionReason, ConditionState};
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
    /// Changed by something other than Lockstep.
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
            (_, ConditionReason::Drifted) => Self::Adrift { why },
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
