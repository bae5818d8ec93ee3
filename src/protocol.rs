//! The two-phase run as a state machine: how a group of systems moves together, or not at all.
//!
//! Pure: [`step`] takes a run and what was heard and gives back the run and what is to be done. The engine does it and comes back with
//! what it heard; the model test beside this file does the same with every order of faults. Nothing here knows a clock, a
//! socket or a store.
//!
//! ```text
//!  Planned ──Saved──▶ Preparing ──all prepared──▶ Deciding(Commit) ──Decided──▶ Committing ──▶ Verifying ──▶ Applied
//!                        │ one did not                                              │ one did not  │ one is elsewhere
//!                        ▼                                                          └──────┬───────┘
//!                     Aborting ──▶ Refused, Unreachable, …                   on_failure:   ├─ hold ──────────▶ Stuck
//!                                                                                          └─ rollback
//!                                   RolledBack, Stuck ◀── Compensating ◀──Decided── Deciding(Compensate)
//! ```
//!
//! What holds whatever is lost, late or killed:
//!
//! - Nothing is sent before the run is in the store, no commit before the decision to commit is, no undoing before that to compensate.
//! - A run found without a decision is aborted (presumed abort); with one, it is carried on from there. Every request may be repeated.
//! - One outcome, and nothing is sent after it. `Applied` only if every system was *observed* at its target.
//! - After a [`Fenced`](ConnectorError::Fenced) answer nothing is sent and nothing written: the run belongs to a newer holder of the lease, who ends it.
//!
//! All members move together. A group whose systems are independent is run one system at a time, a run each.
//!
//! What the machine relies on: a system that has aborted a changeset never commits or stages it afterwards, one that has committed it refuses to
//! abort it and takes its commit again as done, and an older fence is refused once a newer was seen.

use jiff::Timestamp;

use crate::ids::{Digest, Fence, Stage, SystemName};
use crate::record::{
    ConnectorError, Decision, Failure, Failures, Member, MemberState, Outcome, Phase, Receipt, Run,
};

mod commit;
mod compensate;
mod prepare;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

/// What was heard. A write to the store that fails is no event: the engine drops the run and, when the store is back, continues it
/// with [`recover`], because only the store knows what was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// The run is in the store.
    Saved,
    /// The decision is in the store, with the run as it was given out.
    Decided(Decision),
    Answered(SystemName, Answer),
    /// The time for a phase is over. Requests under way may still be answered; dropping them is right too.
    Deadline(Phase),
}

/// What a system answered to a [`Call`]. No answer within the connector's own time limit is a `Transient` error.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    Prepared(Result<(), ConnectorError>),
    Committed(Result<Receipt, ConnectorError>),
    Aborted(Result<(), ConnectorError>),
    Undone(Result<Receipt, ConnectorError>),
    /// The digest now, for the stage that was asked about.
    Observed(Stage, Result<Digest, ConnectorError>),
}

/// What is asked of a system. Each may be repeated without further effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// Stage the member's changes.
    Prepare,
    /// Make them take effect.
    Commit,
    /// Drop them.
    Abort,
    /// Prepare and commit the reverse, as the changeset of [`Stage::Undo`].
    Undo,
    /// Say the state's digest: after committing (`Forward`) or after undoing (`Undo`).
    Observe(Stage),
}

/// What is to be done, in the order given. Calls to different systems go out at once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Write the run to the store; then [`Event::Saved`].
    Save,
    /// Write the run, which now carries this decision, to the store; then [`Event::Decided`].
    Decide(Decision),
    /// Start the time of this phase, in place of the one before; then [`Event::Deadline`].
    Arm(Phase),
    /// Ask a system, at once for attempt 0, else after the backoff of that many failures; then [`Event::Answered`].
    Ask {
        system: SystemName,
        call: Call,
        attempt: u8,
    },
    /// Write the run, its outcome and its ledger entries to the store in one transaction. The run is over.
    Finish(Outcome),
    /// This system has seen a newer fence. Write nothing, ask nothing; whoever holds the lease continues the run with [`recover`]. If that is
    /// still this process, it needs a new fence and somebody should know: fences went backwards, as after restoring an old store.
    Yield { system: SystemName },
}

/// The longest backoff is reached after so many failures (1 s doubling to 3 min); counting further would change nothing.
pub const LONGEST_BACKOFF: u8 = 8;

/// Begins a run that was just opened. One without members is in step already.
pub fn start(mut run: Run, at: Timestamp) -> (Run, Vec<Effect>) {
    let effects = if run.outcome.is_some() {
        Vec::new()
    } else if run.members.is_empty() {
        finish(&mut run, Outcome::InStep, at)
    } else {
        vec![Effect::Save]
    };
    (run, effects)
}

/// Moves a run on by one event. Events that come too late to matter change nothing.
pub fn step(mut run: Run, event: Event, at: Timestamp) -> (Run, Vec<Effect>) {
    if run.outcome.is_some() || run.phase == Phase::Yielded {
        return (run, Vec::new());
    }
    let effects = match event {
        Event::Saved => prepare::begin(&mut run),
        Event::Decided(decision) if run.decision != Some(decision) => Vec::new(),
        Event::Decided(Decision::Commit) => commit::begin(&mut run, at),
        Event::Decided(Decision::Compensate) => compensate::begin(&mut run),
        Event::Answered(system, answer) if answer.is_fenced() => {
            run.phase = Phase::Yielded;
            vec![Effect::Yield { system }]
        }
        Event::Answered(system, answer) => answered(&mut run, &system, answer, at),
        Event::Deadline(phase) if phase != run.phase => Vec::new(),
        Event::Deadline(_) => deadline(&mut run, at),
    };
    (run, effects)
}

/// Continues a run that was read from the store, under the fence of whoever holds the lease now. What a process knew and didn't write is gone:
/// the decision alone says what is true of the systems.
pub fn recover(mut run: Run, fence: Fence) -> (Run, Vec<Effect>) {
    if run.outcome.is_some() {
        return (run, Vec::new());
    }
    run.fence = fence;
    let effects = match run.decision {
        None => prepare::abandon(&mut run),
        Some(Decision::Commit) => commit::send(&mut run),
        Some(Decision::Compensate) => compensate::send(&mut run),
    };
    (run, effects)
}

fn answered(run: &mut Run, system: &SystemName, answer: Answer, at: Timestamp) -> Vec<Effect> {
    if let Some(member) = run.members.get_mut(system) {
        member.trouble = None;
    }
    match (run.phase, answer) {
        (Phase::Preparing, Answer::Prepared(result)) => prepare::prepared(run, system, result, at),
        (Phase::Aborting, Answer::Aborted(result)) => prepare::aborted(run, system, result, at),
        (Phase::Committing, Answer::Committed(result)) => {
            commit::committed(run, system, result, at)
        }
        (Phase::Verifying, Answer::Observed(Stage::Forward, result)) => {
            commit::observed(run, system, result, at)
        }
        (Phase::Compensating, Answer::Aborted(result)) => {
            compensate::withdrawn(run, system, result, at)
        }
        (Phase::Compensating, Answer::Undone(result)) => compensate::undone(run, system, result),
        (Phase::Compensating, Answer::Observed(Stage::Undo, result)) => {
            compensate::observed(run, system, result, at)
        }
        // Answers to an earlier phase: what they say is asked again where it matters.
        (
            _,
            Answer::Prepared(_)
            | Answer::Aborted(_)
            | Answer::Committed(_)
            | Answer::Undone(_)
            | Answer::Observed(..),
        ) => Vec::new(),
    }
}

fn deadline(run: &mut Run, at: Timestamp) -> Vec<Effect> {
    match run.phase {
        Phase::Preparing => prepare::unprepared_in_time(run, at),
        Phase::Aborting => prepare::unaborted_in_time(run, at),
        Phase::Committing => commit::uncommitted_in_time(run, at),
        Phase::Verifying => commit::unverified_in_time(run, at),
        Phase::Compensating => compensate::unreached_in_time(run, at),
        Phase::Planned | Phase::Deciding | Phase::Finished | Phase::Yielded => Vec::new(),
    }
}

impl Answer {
    fn is_fenced(&self) -> bool {
        let error = match self {
            Self::Prepared(result) | Self::Aborted(result) => result.as_ref().err(),
            Self::Committed(result) | Self::Undone(result) => result.as_ref().err(),
            Self::Observed(_, result) => result.as_ref().err(),
        };
        matches!(error, Some(ConnectorError::Fenced { .. }))
    }
}

/// Enters a phase: its time starts, and each member that `first` gives a request to gets it.
fn enter(
    run: &mut Run,
    phase: Phase,
    mut first: impl FnMut(&MemberState) -> Option<(MemberState, Call)>,
) -> Vec<Effect> {
    run.phase = phase;
    let mut effects = vec![Effect::Arm(phase)];
    for (system, member) in &mut run.members {
        if let Some((state, call)) = first(&member.state) {
            member.state = state;
            member.attempt = 0;
            member.trouble = None;
            effects.push(ask(system, call, 0));
        }
    }
    effects
}

fn ask(system: &SystemName, call: Call, attempt: u8) -> Effect {
    Effect::Ask {
        system: system.clone(),
        call,
        attempt,
    }
}

/// Puts a member into a new state in which it is asked something.
fn advance(run: &mut Run, system: &SystemName, state: MemberState, call: Call) -> Vec<Effect> {
    if let Some(member) = run.members.get_mut(system) {
        member.state = state;
        member.attempt = 0;
        member.trouble = None;
    }
    vec![ask(system, call, 0)]
}

/// Asks the same again, later.
fn retry(run: &mut Run, system: &SystemName, call: Call, trouble: String) -> Vec<Effect> {
    let attempt = run.members.get_mut(system).map_or(1, |member| {
        member.trouble = Some(trouble);
        member.attempt = member.attempt.saturating_add(1).min(LONGEST_BACKOFF);
        member.attempt
    });
    vec![ask(system, call, attempt)]
}

/// Whether a member's state is like this.
fn any(run: &Run, is: impl Fn(&MemberState) -> bool) -> bool {
    run.members.values().any(|m| is(&m.state))
}

/// The members whose state says that something is wrong.
fn failures(run: &Run) -> Failures {
    let members = run.members.iter();
    members
        .filter_map(|(system, m)| Some((system.clone(), m.state.failure()?.clone())))
        .collect()
}

fn set(run: &mut Run, system: &SystemName, state: MemberState) {
    if let Some(member) = run.members.get_mut(system) {
        member.state = state;
    }
}

/// Writes down a decision. What depends on it waits for [`Event::Decided`].
fn decide(run: &mut Run, decision: Decision) -> Vec<Effect> {
    run.phase = Phase::Deciding;
    run.decision = Some(decision);
    vec![Effect::Decide(decision)]
}

fn finish(run: &mut Run, outcome: Outcome, at: Timestamp) -> Vec<Effect> {
    run.phase = Phase::Finished;
    run.finished_at = Some(at);
    run.outcome = Some(outcome.clone());
    vec![Effect::Finish(outcome)]
}

/// Why a member that was still asked at the deadline failed.
fn silent(member: &mut Member) -> Failure {
    Failure::Silent {
        last: member.trouble.take(),
    }
}

fn said(error: ConnectorError) -> Failure {
    Failure::Said { error }
}
