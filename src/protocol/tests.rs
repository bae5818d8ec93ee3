use super::*;
use crate::config::{Consistency, OnFailure};
use crate::ids::RunId;
use crate::plan::{Change, Plan, SystemPlan};
use crate::record::{Opening, Trigger};
use crate::resource::Direction;
use crate::state::{Item, Spec};

use serde_json::json;
use std::sync::Arc;

/// A run with one change on each of these systems.
pub(super) fn run_of(systems: &[&str], on_failure: OnFailure, base: Digest, target: Digest) -> Run {
    let spec = Spec::from_value(&json!({"enabled": true})).unwrap();
    let item = Arc::new(Item::new("FeatureFlag/a".parse().unwrap(), spec));
    let change = Change::between(None, Some(item), |_, _| Direction::Widening).unwrap();
    let share = SystemPlan {
        base,
        target,
        changes: vec![change],
        existing: std::collections::BTreeMap::new(),
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
struct Story {
    run: Run,
    text: String,
}

impl Story {
    fn of(on_failure: OnFailure) -> Self {
        let (run, effects) = start(run(on_failure), NOW);
        Self {
            run,
            text: format!("start: {}\n", show(&effects)),
        }
    }

    fn then(mut self, words: &str, event: Event) -> Self {
        let (run, effects) = step(self.run, event, NOW);
        self.run = run;
        self.text += &format!("{words}: {}\n", show(&effects));
        self
    }

    fn saved(self) -> Self {
        self.then("saved", Event::Saved)
    }

    fn decided(self, decision: Decision) -> Self {
        self.then("decided", Event::Decided(decision))
    }

    fn late(self) -> Self {
        let phase = self.run.phase;
        self.then("deadline", Event::Deadline(phase))
    }

    fn answer(self, system: &str, answer: Answer) -> Self {
        let words = format!("{system} {}", word(&answer));
        self.then(&words, Event::Answered(system.parse().unwrap(), answer))
    }

    fn both(self, answer: Answer) -> Self {
        self.answer("medical", answer.clone())
            .answer("voicedrive", answer)
    }

    /// Both have committed, as far as is known.
    fn to_commit(on_failure: OnFailure) -> Self {
        Self::of(on_failure)
            .saved()
            .both(Answer::Prepared(Ok(())))
            .decided(Decision::Commit)
    }
}

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn receipt() -> Receipt {
    Receipt {
        digest: Digest::of(b"target"),
        reference: None,
    }
}

fn transient() -> ConnectorError {
    ConnectorError::Transient {
        message: "connection refused".to_owned(),
    }
}

fn refused() -> ConnectorError {
    ConnectorError::Refused {
        message: "no such ward".to_owned(),
        reasons: Vec::new(),
    }
}

fn seen(stage: Stage, state: &str) -> Answer {
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

fn show(effects: &[Effect]) -> String {
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

#[test]
fn a_change_reaches_both() {
    let story = Story::to_commit(OnFailure::Rollback)
        .both(Answer::Committed(Ok(receipt())))
        .both(seen(Stage::Forward, "target"));
    insta::assert_snapshot!(story.text, @"");
}

#[test]
fn one_refuses_and_all_stay() {
    let story = Story::of(OnFailure::Rollback)
        .saved()
        .answer("medical", Answer::Prepared(Err(refused())))
        .answer("voicedrive", Answer::Prepared(Ok(())))
        .answer("voicedrive", Answer::Aborted(Err(transient())))
        .answer("voicedrive", Answer::Aborted(Ok(())));
    insta::assert_snapshot!(story.text, @"");
}

#[test]
fn one_hangs_and_all_stay() {
    let story = Story::of(OnFailure::Rollback)
        .saved()
        .answer("voicedrive", Answer::Prepared(Ok(())))
        .late()
        .answer("voicedrive", Answer::Aborted(Ok(())))
        .late();
    insta::assert_snapshot!(story.text, @"");
}

#[test]
fn one_falls_silent_after_the_decision_and_the_other_is_taken_back() {
    let story = Story::to_commit(OnFailure::Rollback)
        .answer("medical", Answer::Committed(Ok(receipt())))
        .answer("voicedrive", Answer::Committed(Err(transient())))
        .answer("voicedrive", Answer::Committed(Err(transient())))
        .late()
        .decided(Decision::Compensate)
        .answer("medical", Answer::Undone(Ok(receipt())))
        .answer("medical", seen(Stage::Undo, "base"))
        .late();
    insta::assert_snapshot!(story.text, @"");
}

#[test]
fn a_silent_one_that_had_committed_is_taken_back_too() {
    let story = Story::to_commit(OnFailure::Rollback)
        .answer("medical", Answer::Committed(Ok(receipt())))
        .late()
        .decided(Decision::Compensate)
        .answer("voicedrive", Answer::Aborted(Err(refused())))
        .both(Answer::Undone(Ok(receipt())))
        .both(seen(Stage::Undo, "base"));
    insta::assert_snapshot!(story.text, @"");
}

#[test]
fn a_system_that_is_left_may_still_answer_while_the_run_is_open() {
    let story = Story::to_commit(OnFailure::Rollback)
        .answer("medical", Answer::Committed(Ok(receipt())))
        .late()
        .decided(Decision::Compensate)
        .late()
        .answer("voicedrive", Answer::Aborted(Err(transient())))
        .answer("voicedrive", Answer::Aborted(Ok(())))
        .answer("medical", Answer::Undone(Err(transient())))
        .answer("medical", Answer::Undone(Ok(receipt())))
        .answer("medical", seen(Stage::Undo, "base"));
    insta::assert_snapshot!(story.text, @"");
}

#[test]
fn a_liar_is_caught_and_found_back_at_the_base() {
    let story = Story::to_commit(OnFailure::Rollback)
        .both(Answer::Committed(Ok(receipt())))
        .answer("medical", seen(Stage::Forward, "target"))
        .answer("voicedrive", seen(Stage::Forward, "base"))
        .decided(Decision::Compensate)
        .answer("medical", Answer::Undone(Ok(receipt())))
        .answer("voicedrive", Answer::Undone(Err(refused())))
        .both(seen(Stage::Undo, "base"));
    insta::assert_snapshot!(story.text, @"");
}

#[test]
fn a_group_that_holds_says_who_is_where() {
    let story = Story::to_commit(OnFailure::Hold)
        .answer("medical", Answer::Committed(Ok(receipt())))
        .answer("voicedrive", Answer::Committed(Err(refused())))
        .answer("medical", seen(Stage::Forward, "target"));
    insta::assert_snapshot!(story.text, @"");
    let conditions = story.run.conditions();
    insta::assert_json_snapshot!(conditions, @"");
}

#[test]
fn a_newer_holder_ends_it_without_a_word() {
    let fenced = ConnectorError::Fenced {
        message: "fence 2 was seen".to_owned(),
    };
    let story = Story::to_commit(OnFailure::Rollback)
        .answer("medical", Answer::Committed(Err(fenced)))
        .answer("voicedrive", Answer::Committed(Ok(receipt())))
        .late();
    insta::assert_snapshot!(story.text, @"");
    assert_eq!(story.run.outcome, None);
}

#[test]
fn backoff_stops_growing() {
    let mut story = Story::to_commit(OnFailure::Rollback);
    for _ in 0..300 {
        story = story.answer("medical", Answer::Committed(Err(transient())));
    }
    let last = story.text.lines().last().unwrap();
    assert!(last.ends_with("again (8)"), "{last}");
}

#[test]
fn a_restarted_engine_goes_by_the_decision_alone() {
    let recovered = |run: &Run| show(&recover(run.clone(), Fence(2)).1);
    let undecided = Story::of(OnFailure::Rollback).saved();
    insta::assert_snapshot!(recovered(&undecided.run), @"");
    let decided = undecided.both(Answer::Prepared(Ok(())));
    insta::assert_snapshot!(recovered(&decided.run), @"");
    let failed = decided
        .decided(Decision::Commit)
        .answer("medical", Answer::Committed(Ok(receipt())))
        .late();
    insta::assert_snapshot!(recovered(&failed.run), @"");
    let ended = failed
        .decided(Decision::Compensate)
        .answer("voicedrive", Answer::Aborted(Ok(())))
        .answer("medical", Answer::Undone(Ok(receipt())))
        .answer("medical", seen(Stage::Undo, "base"));
    insta::assert_snapshot!(recovered(&ended.run), @"");
}

#[test]
fn a_run_survives_the_store_at_every_point() {
    let check = |run: &Run| {
        let text = serde_json::to_string(run).unwrap();
        assert_eq!(&serde_json::from_str::<Run>(&text).unwrap(), run);
    };
    let mut story = Story::to_commit(OnFailure::Rollback);
    check(&story.run);
    for event in [
        Event::Answered("medical".parse().unwrap(), Answer::Committed(Ok(receipt()))),
        Event::Deadline(Phase::Committing),
        Event::Decided(Decision::Compensate),
        Event::Deadline(Phase::Compensating),
        Event::Answered("medical".parse().unwrap(), Answer::Undone(Err(refused()))),
        Event::Answered("medical".parse().unwrap(), seen(Stage::Undo, "elsewhere")),
    ] {
        story = story.then("", event);
        check(&story.run);
    }
    assert_eq!(story.run.phase, Phase::Finished);
}

#[test]
fn a_run_with_nothing_to_do_is_in_step() {
    let empty = run_of(&[], OnFailure::Rollback, Digest::of(b""), Digest::of(b""));
    let (run, effects) = start(empty, NOW);
    assert_eq!(effects, [Effect::Finish(Outcome::InStep)]);
    assert_eq!(run.phase, Phase::Finished);
}

#[test]
fn the_gravest_failure_names_the_outcome() {
    let stale = || ConnectorError::Stale {
        message: "another base".to_owned(),
    };
    let outcome = |medical: ConnectorError, voicedrive: ConnectorError| {
        let story = Story::of(OnFailure::Rollback)
            .saved()
            .answer("medical", Answer::Prepared(Err(medical)))
            .answer("voicedrive", Answer::Prepared(Err(voicedrive)))
            .both(Answer::Aborted(Ok(())));
        story.run.outcome.unwrap().name()
    };
    assert_eq!(outcome(stale(), stale()), "stale");
    assert_eq!(outcome(stale(), transient()), "unreachable");
    assert_eq!(outcome(refused(), transient()), "refused");
}
