//! Every order of faults, up to a bound: two systems, an engine, a store and a network as one small value, searched state by state.
//!
//! Answers come in any order; requests and answers are lost or arrive long after they were given up; systems refuse, lie and drift;
//! time runs out in any phase at any moment; the engine is killed between any two effects, or overtaken and wakes up again. In every state
//! what the protocol promises is checked, and that an end can still be reached. Bugs planted into the machine must each be found:
//! a model that finds nothing proves nothing.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;

use super::*;
use crate::config::OnFailure;

mod bugs;
mod mixer;
mod promises;
mod systems;
mod world;

use world::{Faults, Move, World};

/// A promise of the protocol, as the model checks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Promise {
    /// No decision to commit, and no commit, before every system has prepared.
    InStep,
    /// No commit without a durable decision to commit; no undoing without one to compensate.
    DecidedFirst,
    /// Nothing is sent before the run is in the store.
    SavedFirst,
    /// At the end all systems are at the target, or all at the base, or the outcome names the others.
    AllOrNone,
    /// Exactly one outcome.
    OneOutcome,
    /// Applied only if every system was seen at its target.
    Counted,
    /// Nothing is sent after the outcome.
    QuietAfterEnd,
    /// Nothing is sent or written after a system has shown a newer fence.
    Fenced,
    /// What a run's record says of a system is so.
    Truthful,
    /// No one is called, and nothing is given up, where the systems kept their word.
    Justified,
    /// An end can be reached from every state.
    Ends,
}

struct Violation {
    promise: Promise,
    /// What was done to get there.
    trace: String,
}

impl std::fmt::Debug for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} is broken by\n{}", self.promise, self.trace)
    }
}

/// The functions under test, so that bugs can be planted around them.
#[derive(Clone, Copy)]
struct Machine {
    start: fn(Run, Timestamp) -> (Run, Vec<Effect>),
    step: fn(Run, Event, Timestamp) -> (Run, Vec<Effect>),
    recover: fn(Run, Fence) -> (Run, Vec<Effect>),
}

const REAL: Machine = Machine {
    start,
    step,
    recover,
};

/// States explored, and how often each outcome was an end.
#[derive(Debug, Default)]
struct Explored {
    states: usize,
    outcomes: BTreeMap<&'static str, usize>,
}

/// Breadth first, so that the trace of a violation is as short as there is one.
fn explore(machine: Machine, initial: World) -> Result<Explored, Violation> {
    let mut seen: HashMap<u64, usize> = HashMap::new();
    // By state: where it was first reached from, where it is reached from at all, whether it is an end.
    let mut first: Vec<Option<(usize, Move)>> = vec![None];
    let mut before: Vec<Vec<usize>> = vec![Vec::new()];
    let mut ended = vec![false];
    let mut explored = Explored::default();
    seen.insert(initial.key(), 0);
    let mut queue = VecDeque::from([(0, initial)]);
    while let Some((at, world)) = queue.pop_front() {
        if let Some(end) = world.ended() {
            ended[at] = true;
            *explored.outcomes.entry(end).or_default() += 1;
        }
        for movement in world.moves() {
            let mut next = world.clone();
            if let Err(promise) = next.make(movement, machine) {
                let trace = trace(&first, at, Some(movement));
                return Err(Violation { promise, trace });
            }
            let to = *seen.entry(next.key()).or_insert(first.len());
            if to == first.len() {
                first.push(Some((at, movement)));
                before.push(Vec::new());
                ended.push(false);
                queue.push_back((to, next));
            }
            before[to].push(at);
        }
    }
    if let Some(lost) = cannot_end(&before, &ended) {
        let (promise, trace) = (Promise::Ends, trace(&first, lost, None));
        return Err(Violation { promise, trace });
    }
    explored.states = first.len();
    Ok(explored)
}

/// The first state from which no end can be reached, searched backwards from the ends.
fn cannot_end(before: &[Vec<usize>], ended: &[bool]) -> Option<usize> {
    let mut reaches = ended.to_vec();
    let mut todo: Vec<usize> = (0..ended.len()).filter(|s| ended[*s]).collect();
    while let Some(state) = todo.pop() {
        for earlier in &before[state] {
            if !std::mem::replace(&mut reaches[*earlier], true) {
                todo.push(*earlier);
            }
        }
    }
    reaches.iter().position(|reaches| !reaches)
}

fn trace(first: &[Option<(usize, Move)>], mut at: usize, last: Option<Move>) -> String {
    let mut moves: Vec<Move> = last.into_iter().collect();
    while let Some((from, movement)) = first[at] {
        moves.push(movement);
        at = from;
    }
    moves
        .iter()
        .rev()
        .fold(String::new(), |mut text, movement| {
            let _ = writeln!(text, "  {movement:?}");
            text
        })
}

/// Explores, and checks that all these outcomes and no others are ends. `floor` keeps the model from shrinking unseen.
fn holds(on_failure: OnFailure, faults: Faults, floor: usize, outcomes: &[&str]) {
    let explored = explore(REAL, World::new(on_failure, faults)).unwrap();
    assert!(
        explored.states > floor,
        "only {} states were explored, where there used to be more than {floor}: {explored:?}",
        explored.states,
    );
    let reached: Vec<_> = explored.outcomes.into_keys().collect();
    assert_eq!(reached, outcomes, "of {} states", explored.states);
}

const NONE: Faults = Faults {
    timeouts: 0,
    refusals: 0,
    drifts: 0,
    crashes: 0,
    overtakes: 0,
    deadlines: 0,
    liar: false,
};

use OnFailure::{Hold, Rollback};

#[test]
fn without_faults_every_order_of_answers_ends_applied() {
    holds(Rollback, NONE, 10, &["applied"]);
    holds(Hold, NONE, 10, &["applied"]);
}

#[test]
fn promises_hold_when_systems_refuse_and_networks_lose() {
    let faults = Faults {
        timeouts: 2,
        refusals: 1,
        deadlines: 1,
        ..NONE
    };
    let before = ["misconfigured", "refused"];
    let ends = [
        &["applied"],
        &before[..],
        &["rolled_back", "stale", "stuck", "unreachable"],
    ];
    holds(Rollback, faults, 25_000, &ends.concat());
    let ends = [
        &["applied"],
        &before[..],
        &["stale", "stuck", "unreachable"],
    ];
    holds(Hold, faults, 4_000, &ends.concat());
}

#[test]
fn promises_hold_when_time_runs_out_in_every_phase() {
    let faults = Faults {
        timeouts: 1,
        deadlines: 3,
        ..NONE
    };
    let ends = ["applied", "rolled_back", "unreachable"];
    holds(Rollback, faults, 4_000, &ends);
    holds(Hold, faults, 900, &["applied", "stuck", "unreachable"]);
}

#[test]
fn promises_hold_when_the_engine_is_killed() {
    let faults = Faults {
        timeouts: 1,
        crashes: 2,
        deadlines: 1,
        ..NONE
    };
    let ends = ["applied", "interrupted", "never begun"];
    let rollback = [&ends[..], &["rolled_back", "unreachable"]].concat();
    holds(Rollback, faults, 30_000, &rollback);
    let hold = [&ends[..], &["stuck", "unreachable"]].concat();
    holds(Hold, faults, 6_000, &hold);
}

#[test]
fn promises_hold_when_the_engine_is_killed_among_refusals() {
    let faults = Faults {
        refusals: 1,
        crashes: 1,
        deadlines: 1,
        ..NONE
    };
    let before = ["applied", "interrupted", "misconfigured", "never begun"];
    let ends = ["refused", "rolled_back", "stale", "stuck", "unreachable"];
    holds(Rollback, faults, 15_000, &[&before[..], &ends].concat());
    let ends = ["refused", "stale", "stuck", "unreachable"];
    holds(Hold, faults, 1_500, &[&before[..], &ends].concat());
}

#[test]
fn promises_hold_when_the_engine_is_overtaken_and_wakes_up() {
    let faults = Faults {
        overtakes: 1,
        deadlines: 1,
        ..NONE
    };
    let ends = ["applied", "interrupted", "never begun"];
    let rollback = [&ends[..], &["rolled_back", "unreachable"]].concat();
    holds(Rollback, faults, 15_000, &rollback);
    let hold = [&ends[..], &["stuck", "unreachable"]].concat();
    holds(Hold, faults, 1_500, &hold);
}

#[test]
fn promises_hold_when_systems_drift() {
    let faults = Faults {
        timeouts: 1,
        drifts: 1,
        crashes: 1,
        deadlines: 1,
        ..NONE
    };
    let ends = ["applied", "interrupted", "never begun"];
    let rollback = [&ends[..], &["rolled_back", "stuck", "unreachable"]].concat();
    holds(Rollback, faults, 30_000, &rollback);
    let hold = [&ends[..], &["stuck", "unreachable"]].concat();
    holds(Hold, faults, 3_000, &hold);
}

#[test]
fn promises_hold_when_a_system_lies() {
    let faults = Faults {
        timeouts: 1,
        drifts: 1,
        crashes: 1,
        deadlines: 1,
        liar: true,
        ..NONE
    };
    // What a liar takes part in is never a success.
    let ends = ["interrupted", "never begun"];
    let rollback = [&ends[..], &["rolled_back", "stuck", "unreachable"]].concat();
    holds(Rollback, faults, 15_000, &rollback);
    let hold = [&ends[..], &["stuck", "unreachable"]].concat();
    holds(Hold, faults, 2_000, &hold);
}

/// The same with more of everything: a minute or two, for a change to the protocol.
#[test]
#[ignore = "takes a minute or two: cargo test --lib protocol::model -- --ignored"]
fn promises_hold_further_out() {
    let deep = [
        Faults {
            timeouts: 2,
            refusals: 2,
            deadlines: 2,
            ..NONE
        },
        Faults {
            timeouts: 1,
            refusals: 1,
            crashes: 2,
            deadlines: 1,
            ..NONE
        },
        Faults {
            timeouts: 1,
            overtakes: 1,
            crashes: 1,
            deadlines: 1,
            ..NONE
        },
    ];
    for (faults, floor) in deep.into_iter().zip([50_000, 100_000, 100_000]) {
        for on_failure in [Rollback, Hold] {
            let explored = explore(REAL, World::new(on_failure, faults)).unwrap();
            let states = explored.states;
            assert!(
                states > floor || on_failure == Hold,
                "only {states} states were explored, where there used to be more than {floor}"
            );
        }
    }
}
