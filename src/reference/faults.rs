//! Faults on request: a system that refuses, hangs, fails, lies or forgets, for tests and demonstrations.
//!
//! They exist only where the system was started with them, and are set at `PUT /faults`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::problem::Problem;
use crate::system_api::{PrepareRequest, WireReason};

/// What goes wrong, until it is set otherwise. Counters count down to nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Refuse every prepare (422): `true`, or the reason to give for each change.
    pub refuse_prepare: Refusal,
    /// Wait this long before a prepare is looked at; a caller that gives up by then leaves no trace.
    pub hang_prepare_ms: u64,
    /// Wait this long before a commit is looked at.
    pub hang_commit_ms: u64,
    /// Wait this long before the state or its digests are answered.
    pub hang_state_ms: u64,
    /// Answer this many prepares with 500, undone.
    pub fail_prepare: u32,
    /// Answer this many commits with 500, undone.
    pub fail_commit: u32,
    /// Answer this many aborts with 500, undone.
    pub fail_abort: u32,
    /// Answer this many readings of the state or its digests with 500.
    pub fail_state: u32,
    /// Carry this many prepares out and answer 500 all the same.
    pub lose_prepare_answer: u32,
    /// Carry this many commits out and answer 500 all the same.
    pub lose_commit_answer: u32,
    /// Answer commits as if they had been carried out, and change nothing.
    pub lie_digest: bool,
    /// Answer another state than the one there is.
    pub drop_state: Option<DropState>,
}

/// Whether and why prepares are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Refusal {
    Refuse(bool),
    Because(String),
}

impl Default for Refusal {
    fn default() -> Self {
        Self::Refuse(false)
    }
}

/// How the state is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DropState {
    /// As if the system held nothing: empty, and consistent in itself.
    Empty,
    /// The listing leaves out the last resource; the digests are right.
    Partial,
    /// The body ends in the middle.
    Cut,
}

impl Faults {
    pub(super) fn refusal<S>(&self, request: &PrepareRequest<'_, S>) -> Result<(), Problem> {
        let message = match &self.refuse_prepare {
            Refusal::Refuse(false) => return Ok(()),
            Refusal::Refuse(true) => "refused on purpose",
            Refusal::Because(reason) => reason,
        };
        let reasons = request.changes.iter().map(|change| WireReason {
            kind: change.kind.clone().into_owned(),
            name: change.name.clone().into_owned(),
            message: message.to_owned(),
        });
        Err(Problem::Refused {
            message: message.to_owned(),
            reasons: reasons.collect(),
        })
    }
}

/// Counts a counter down. An error where it was not at its end.
pub(super) fn spend(counter: &mut u32) -> Result<(), Problem> {
    match counter.checked_sub(1) {
        Some(left) => {
            *counter = left;
            Err(Problem::Injected)
        }
        None => Ok(()),
    }
}

pub(super) async fn hang(milliseconds: u64) {
    if milliseconds > 0 {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}
