//! Runs told as stories: what was heard, and what is done about it, a line each.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::super::*;
use crate::config::{Consistency, OnFailure};
use crate::ids::RunId;
use crate::plan::{Change, Plan, SystemPlan};
use crate::record::{Opening, Trigger};
use crate::resource::Direction;
use crate::state::{Item, Spec};

/// A run with one change on each of these systems.
pub(in super::super) fn run_of(
    systems: &[&str],
    on_failure: OnFailure,
    base: Digest,
    target: Digest,
) -> Run {
    let spec = Spec::from_value(&json!({"enabled": true})).unwrap();
    let item = Arc::new(Item::new("FeatureFlag/a".parse().unwrap(), spec));
    let change = Change::between(None, Some(item), |_, _| Direction::Widening).unwrap();
    let share = SystemPlan {
        base: base.into(),
        target: target.into(),
        changes: vec![change],
        existing: BTreeMap::new(),
    };
    let plan = Plan {
        revision: None,
        systems: systems
            .iter()
            .map(|s| (s.parse().unwrap(), share.clone()))
            .collect(),
    };
    let opening = Opening {
        id: RunId(uuid::Uuid::nil()),
        group: "hospital".parse().unwrap(),
        revision: "0123456789012345678901234567890123456789".parse().unwrap(),
        trigger: Trigger::Merge,
        consistency: Consistency::Lockstep,
        on_failure,
        fence: Fence(1),
        started_at: Timestamp::UNIX_EPOCH,
    };
    Run::open(opening, &plan)
}

fn run(on_failure: OnFailure) -> Run {
    run_of(
        &["medical", "voicedrive"],
        on_failure,
        Digest::of(b"base"),
        Digest::of(b"target"),
    )
}

/// Feeds events to a run and writes down what is done after each, one line an event.
pub(super) struct Story {
    pub(super) run: Run,
    pub(super) text: String,
}

impl Story {
    pub(super) fn of(on_failure: OnFailure) -> Self {
        let (run, effects) = start(run(on_failure), NOW);
        Self {
            run,
            text: format!("start: {}\n", show(&effects)),
        }
    }

    pub(super) fn then(mut self, words: &str, event: Event) -> Self {
        let (run, effects) = step(self.run, event, NOW);
        self.run = run;
        self.text += &format!("{words}: {}\n", show(&effects));
        self
    }

    pub(super) fn saved(self) -> Self {
        self.then("saved", Event::Saved)
    }

    pub(super) fn decided(self, decision: Decision) -> Self {
        self.then("decided", Event::Decided(decision))
    }

    pub(super) fn late(self) -> Self {
        let phase = self.run.phase;
        self.then("deadline", Event::Deadline(phase))
    }

    pub(super) fn answer(self, system: &str, answer: Answer) -> Self {
        let words = format!("{system} {}", word(&answer));
        self.then(&words, Event::Answered(system.parse().unwrap(), answer))
    }

    /// The same answer of both.
    pub(super) fn both(self, answer: Answer) -> Self {
        self.answer("medical", answer.clone())
            .answer("voicedrive", answer)
    }

    /// Both have committed, as far as is known.
    pub(super) fn to_commit(on_failure: OnFailure) -> Self {
        Self::of(on_failure)
            .saved()
            .both(Answer::Prepared(Ok(())))
            .decided(Decision::Commit)
    }
}

pub(super) const NOW: Timestamp = Timestamp::UNIX_EPOCH;

pub(super) fn receipt() -> Receipt {
    Receipt {
        digest: Digest::of(b"target"),
        reference: None,
    }
}

pub(super) fn transient() -> ConnectorError {
    ConnectorError::Transient {
        message: "connection refused".to_owned(),
    }
}

pub(super) fn refused() -> ConnectorError {
    ConnectorError::Refused {
        message: "no such ward".to_owned(),
        reasons: Vec::new(),
    }
}

pub(super) fn seen(stage: Stage, state: &str) -> Answer {
    Answer::Observed(stage, Ok(Digest::of(state.as_bytes())))
}

fn word(answer: &Answer) -> String {
    let said = |what: &str, error: Option<&ConnectorError>| match error {
        None => what.to_owned(),
        Some(error) => format!("not {what} ({error})"),
    };
    match answer {
        Answer::Prepared(r) => said("prepared", r.as_ref().err()),
        Answer::Committed(r) => said("committed", r.as_ref().err()),
        Answer::Aborted(r) => said("aborted", r.as_ref().err()),
        Answer::Undone(r) => said("undone", r.as_ref().err()),
        Answer::Observed(_, r) => said("observed", r.as_ref().err()),
    }
}

pub(super) fn show(effects: &[Effect]) -> String {
    let words = effects.iter().map(|effect| match effect {
        Effect::Save => "save".to_owned(),
        Effect::Decide(decision) => format!("decide {decision:?}"),
        Effect::Arm(phase) => format!("[{phase:?}]"),
        Effect::Ask {
            system,
            call,
            attempt: 0,
        } => format!("{call:?} {system}"),
        Effect::Ask {
            system,
            call,
            attempt,
        } => format!("{call:?} {system} again ({attempt})"),
        Effect::Finish(outcome) => format!("finish: {outcome}"),
        Effect::Yield { system } => format!("yield to whom {system} has seen"),
    });
    let words: Vec<_> = words.collect();
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(", ")
    }
}
