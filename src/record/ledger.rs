//! What the ledger keeps of a run: who did what to which system, with before, after, receipts and times.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use super::{Leaves, MemberState, Outcome, Run};
use crate::ids::{Actor, GroupName, InvalidId, Revision, RunId, SystemName};
use crate::resource::dating::Effect;

/// What was done, as a dotted name: `run.finished`, `plan.released`. Text, not a closed enum: a ledger outlives the version that wrote it and must stay
/// readable to older and newer ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Action(Cow<'static, str>);

impl Action {
    /// A run got its outcome.
    pub const RUN_FINISHED: Self = Self(Cow::Borrowed("run.finished"));
    /// A system was verified at the revision.
    pub const SYSTEM_APPLIED: Self = Self(Cow::Borrowed("system.applied"));
    /// A system stayed where it was.
    pub const SYSTEM_UNCHANGED: Self = Self(Cow::Borrowed("system.unchanged"));
    /// A system committed and was taken back.
    pub const SYSTEM_ROLLED_BACK: Self = Self(Cow::Borrowed("system.rolled_back"));
    /// It is not known where a system stands, or it is not where it should be.
    pub const SYSTEM_INCIDENT: Self = Self(Cow::Borrowed("system.incident"));
    /// A message has arrived.
    pub const DELIVERY_SENT: Self = Self(Cow::Borrowed("delivery.sent"));
    /// A message was given up.
    pub const DELIVERY_DEAD: Self = Self(Cow::Borrowed("delivery.dead"));
    /// A person had a message that was given up sent again.
    pub const DELIVERY_RESENT: Self = Self(Cow::Borrowed("delivery.resent"));
    /// Resources began or ended by their dates.
    pub const DATE_REACHED: Self = Self(Cow::Borrowed("date.reached"));
    /// It was said that a resource begins or ends within a week.
    pub const DATE_ANNOUNCED: Self = Self(Cow::Borrowed("date.announced"));
    /// A named person released a held plan by its digest.
    pub const PLAN_RELEASED: Self = Self(Cow::Borrowed("plan.released"));
    /// A person showed who they are.
    pub const SIGN_IN: Self = Self(Cow::Borrowed("sign_in"));

    /// Checks a name: lower-case words of letters, digits and `_`, joined by dots.
    pub fn new(name: &str) -> Result<Self, InvalidId> {
        let word = |w: &str| {
            !w.is_empty()
                && w.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        if name.len() <= 64 && name.split('.').all(word) {
            Ok(Self(Cow::Owned(name.to_owned())))
        } else {
            Err(InvalidId {
                text: name.chars().take(200).collect(),
                expected: "an action such as run.finished, at most 64 long",
            })
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
impl Serialize for Action {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}
impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

/// One line of the ledger, before it is numbered and chained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    pub at: Timestamp,
    pub actor: Actor,
    pub action: Action,
    pub run: Option<RunId>,
    pub group: Option<GroupName>,
    pub system: Option<SystemName>,
    pub revision: Option<Revision>,
    /// What is particular to the action.
    pub body: Value,
}

impl Run {
    /// What the ledger says of a finished run: one entry for each system, one for what came of dates, then one for the whole. Written together with the outcome.
    pub fn entries(&self, actor: &Actor, at: Timestamp) -> Vec<LedgerEntry> {
        let entry = |action, system: Option<&SystemName>, body| LedgerEntry {
            at,
            actor: actor.clone(),
            action,
            run: Some(self.id),
            group: Some(self.group.clone()),
            system: system.cloned(),
            revision: Some(self.revision.clone()),
            body,
        };
        let members = self.members.iter().map(|(system, member)| {
            // A member is made of strings, numbers and JSON, so it always has a JSON form.
            let mut body = serde_json::to_value(member).unwrap_or(Value::Null);
            if let Value::Object(fields) = &mut body {
                // So that each entry answers by itself when it was planned and decided.
                fields.insert("plan".to_owned(), json!(self.plan));
                fields.insert("started_at".to_owned(), json!(self.started_at));
                fields.insert("decided_at".to_owned(), json!(self.decided_at));
            }
            entry(action_for(&member.state), Some(system), body)
        });
        let whole = json!({
            "outcome": self.outcome,
            "scope": self.scope,
            "trigger": self.trigger,
            "plan": self.plan,
            "decision": self.decision,
            "cause": self.cause,
            "started_at": self.started_at,
            "decided_at": self.decided_at,
            "finished_at": self.finished_at,
        });
        let success = self.outcome.as_ref().is_some_and(Outcome::is_success);
        let dates = (success && !self.dates.is_empty()).then(|| {
            let of = |effect| self.dates.iter().filter(move |d| d.effect == effect);
            let body = json!({
                "began": of(Effect::Begins).collect::<Vec<_>>(),
                "ended": of(Effect::Ends).collect::<Vec<_>>(),
                "as_of": self.as_of,
            });
            entry(Action::DATE_REACHED, None, body)
        });
        members
            .chain(dates)
            .chain([entry(Action::RUN_FINISHED, None, whole)])
            .collect()
    }
}

/// A member's state at the end of its run, as an action.
fn action_for(state: &MemberState) -> Action {
    match state.leaves() {
        Leaves::Target => Action::SYSTEM_APPLIED,
        Leaves::Base => Action::SYSTEM_ROLLED_BACK,
        Leaves::Untouched => Action::SYSTEM_UNCHANGED,
        Leaves::Unknown => Action::SYSTEM_INCIDENT,
    }
}
