//! Bugs planted around the machine. Each breaks a promise, and the model must say which.

use std::collections::BTreeSet;

use super::*;

/// The model finds this bug, as a break of one of these promises.
fn is_found(bug: Machine, on_failure: OnFailure, faults: Faults, expected: &[Promise]) {
    let violation = explore(bug, World::new(on_failure, faults)).unwrap_err();
    assert!(expected.contains(&violation.promise), "{violation:?}");
}

const REFUSING: Faults = Faults {
    refusals: 1,
    deadlines: 1,
    ..NONE
};
const LATE: Faults = Faults {
    timeouts: 1,
    deadlines: 2,
    ..NONE
};
const KILLED: Faults = Faults { crashes: 1, ..NONE };

fn is_ask(effect: &Effect, asked: Call) -> bool {
    matches!(effect, Effect::Ask { call, .. } if *call == asked)
}

/// Answers for every member that is in a state, instead of asking it.
fn invent(
    run: Run,
    is: fn(&MemberState) -> bool,
    answer: impl Fn(&Run) -> Answer,
) -> (Run, Vec<Effect>) {
    let asked: Vec<SystemName> = run
        .members
        .iter()
        .filter(|(_, m)| is(&m.state))
        .map(|(system, _)| system.clone())
        .collect();
    asked
        .into_iter()
        .fold((run, Vec::new()), |(run, mut all), system| {
            let answer = answer(&run);
            let (run, effects) = step(run, Event::Answered(system, answer), Timestamp::UNIX_EPOCH);
            all.extend(effects);
            (run, all)
        })
}

fn receipt() -> Receipt {
    Receipt {
        digest: Digest::of(b""),
        reference: None,
    }
}

/// Puts requests in front of the decision that should be durable first.
fn before(decision: Decision, call: Call) -> impl Fn(Run, Vec<Effect>) -> (Run, Vec<Effect>) {
    move |run, effects| {
        if !effects.contains(&Effect::Decide(decision)) {
            return (run, effects);
        }
        let hasty = run.members.keys().map(|system| ask(system, call, 0));
        let all = hasty.chain(effects).collect();
        (run, all)
    }
}

#[test]
fn committing_before_the_decision_is_durable_is_found() {
    let bug = Machine {
        step: |run, event, at| {
            let (run, effects) = step(run, event, at);
            before(Decision::Commit, Call::Commit)(run, effects)
        },
        ..REAL
    };
    is_found(bug, OnFailure::Rollback, NONE, &[Promise::DecidedFirst]);
}

#[test]
fn undoing_before_the_decision_is_durable_is_found() {
    let bug = Machine {
        step: |run, event, at| {
            let (run, effects) = step(run, event, at);
            before(Decision::Compensate, Call::Undo)(run, effects)
        },
        ..REAL
    };
    is_found(bug, OnFailure::Rollback, LATE, &[Promise::DecidedFirst]);
}

#[test]
fn preparing_before_the_run_is_saved_is_found() {
    let bug = Machine {
        start: |run, at| step(run, Event::Saved, at),
        ..REAL
    };
    is_found(bug, OnFailure::Rollback, NONE, &[Promise::SavedFirst]);
}

#[test]
fn committing_where_one_has_not_prepared_is_found() {
    let bug = Machine {
        step: |run, event, at| {
            let event = if let Event::Answered(system, Answer::Prepared(Err(_))) = event {
                Event::Answered(system, Answer::Prepared(Ok(())))
            } else {
                event
            };
            step(run, event, at)
        },
        ..REAL
    };
    for faults in [REFUSING, LATE] {
        is_found(bug, OnFailure::Rollback, faults, &[Promise::InStep]);
    }
}

#[test]
fn leaving_out_the_abort_is_found() {
    let bug = Machine {
        step: |run, event, at| {
            let (run, mut effects) = step(run, event, at);
            if run.phase != Phase::Aborting {
                return (run, effects);
            }
            effects.retain(|e| !is_ask(e, Call::Abort));
            let is = |s: &MemberState| *s == MemberState::Aborting;
            let (run, more) = invent(run, is, |_| Answer::Aborted(Ok(())));
            effects.extend(more);
            (run, effects)
        },
        ..REAL
    };
    is_found(bug, OnFailure::Rollback, REFUSING, &[Promise::Truthful]);
}

#[test]
fn taking_the_silent_for_uncommitted_is_found() {
    let bug = Machine {
        step: |run, event, at| {
            let (run, mut effects) = step(run, event, at);
            if run.phase != Phase::Compensating {
                return (run, effects);
            }
            effects.retain(|e| !is_ask(e, Call::Abort));
            let is = |s: &MemberState| *s == MemberState::Withdrawing;
            let (run, more) = invent(run, is, |_| Answer::Aborted(Ok(())));
            effects.extend(more);
            (run, effects)
        },
        ..REAL
    };
    let expected = [Promise::AllOrNone, Promise::Truthful];
    is_found(bug, OnFailure::Rollback, LATE, &expected);
}

#[test]
fn leaving_out_the_verification_is_found() {
    let bug = Machine {
        step: |run, event, at| {
            let (run, effects) = step(run, event, at);
            if run.phase != Phase::Verifying {
                return (run, effects);
            }
            let is = |s: &MemberState| matches!(s, MemberState::Committed { .. });
            invent(run, is, |run| {
                let target = run.members.values().next().unwrap().target;
                Answer::Observed(Stage::Forward, Ok(target))
            })
        },
        ..REAL
    };
    let liar = Faults { liar: true, ..NONE };
    for faults in [NONE, liar] {
        is_found(bug, OnFailure::Rollback, faults, &[Promise::Counted]);
    }
}

#[test]
fn giving_up_on_undoing_is_found() {
    let bug = Machine {
        step: |run, event, at| {
            let Event::Answered(system, Answer::Undone(Err(ConnectorError::Transient { .. }))) =
                event
            else {
                return step(run, event, at);
            };
            let base = run.members.get(&system).unwrap().base;
            let undone = Answer::Undone(Ok(receipt()));
            let (run, _) = step(run, Event::Answered(system.clone(), undone), at);
            let seen = Answer::Observed(Stage::Undo, Ok(base));
            step(run, Event::Answered(system, seen), at)
        },
        ..REAL
    };
    let expected = [Promise::AllOrNone, Promise::Truthful];
    is_found(bug, OnFailure::Rollback, LATE, &expected);
}

#[test]
fn never_asking_again_is_found() {
    let bug = Machine {
        step: |run, event, at| {
            let (run, mut effects) = step(run, event, at);
            effects.retain(|e| !matches!(e, Effect::Ask { attempt, .. } if *attempt > 0));
            (run, effects)
        },
        ..REAL
    };
    is_found(bug, OnFailure::Rollback, LATE, &[Promise::Ends]);
}

#[test]
fn forgetting_the_decision_in_recovery_is_found() {
    let bug = Machine {
        recover: |mut run, fence| {
            run.decision = None;
            recover(run, fence)
        },
        ..REAL
    };
    let expected = [Promise::Justified, Promise::AllOrNone];
    is_found(bug, OnFailure::Rollback, KILLED, &expected);
}

#[test]
fn compensating_only_what_is_remembered_is_found() {
    // What one process knew of the systems is old when another one reads it.
    let bug = Machine {
        recover: |run, fence| {
            let (mut run, mut effects) = recover(run, fence);
            if run.phase == Phase::Compensating {
                effects.retain(|e| !is_ask(e, Call::Abort));
                let is = |s: &MemberState| *s == MemberState::Withdrawing;
                let (invented, more) = invent(run, is, |_| Answer::Aborted(Ok(())));
                run = invented;
                effects.extend(more);
            }
            (run, effects)
        },
        ..REAL
    };
    let faults = Faults { crashes: 1, ..LATE };
    let expected = [Promise::AllOrNone, Promise::Truthful];
    is_found(bug, OnFailure::Rollback, faults, &expected);
}

#[test]
fn not_hearing_of_a_newer_fence_is_found() {
    let bug = Machine {
        step: |run, event, at| {
            let event = match event {
                Event::Answered(
                    system,
                    Answer::Committed(Err(ConnectorError::Fenced { message })),
                ) => {
                    let error = ConnectorError::Transient { message };
                    Event::Answered(system, Answer::Committed(Err(error)))
                }
                Event::Saved | Event::Decided(_) | Event::Answered(..) | Event::Deadline(_) => {
                    event
                }
            };
            step(run, event, at)
        },
        ..REAL
    };
    let faults = Faults {
        overtakes: 1,
        ..LATE
    };
    is_found(bug, OnFailure::Rollback, faults, &[Promise::Fenced]);
}

#[test]
fn speaking_after_the_end_is_found() {
    let bug = Machine {
        step: |run, event, at| {
            let (run, mut effects) = step(run, event, at);
            if run.phase == Phase::Finished {
                let systems: BTreeSet<_> = run.members.keys().collect();
                effects.extend(systems.into_iter().map(|s| ask(s, Call::Abort, 0)));
            }
            (run, effects)
        },
        ..REAL
    };
    is_found(bug, OnFailure::Hold, LATE, &[Promise::QuietAfterEnd]);
}

#[test]
fn a_second_outcome_is_found() {
    let bug = Machine {
        step: |run, event, at| {
            let ended = run.outcome.clone();
            let (run, mut effects) = step(run, event, at);
            effects.extend(ended.map(Effect::Finish));
            (run, effects)
        },
        ..REAL
    };
    is_found(bug, OnFailure::Hold, LATE, &[Promise::OneOutcome]);
}

#[test]
fn calling_a_person_without_need_is_found() {
    let bug = Machine {
        step: |mut run, event, at| {
            run.on_failure = OnFailure::Hold;
            let (mut run, effects) = step(run, event, at);
            run.on_failure = OnFailure::Rollback;
            (run, effects)
        },
        ..REAL
    };
    is_found(bug, OnFailure::Rollback, LATE, &[Promise::Justified]);
}
