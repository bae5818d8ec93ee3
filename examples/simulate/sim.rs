//! A deterministic simulation of Lockstep: replicas of the engine, their store, the forge, systems and clocks, in one thread on virtual time,
//! with faults from a seed. What decides is the library's own: the state machine, its records, plans, digests and guard.

mod bugs;
mod carry;
mod chance;
mod endings;
mod faults;
mod forge;
mod happenings;
mod invariants;
mod pass;
mod queue;
mod replica;
mod store;
mod systems;
mod transactions;
mod universe;
mod world;

pub(crate) use bugs::{ALL as BUGS, Bug};
pub(crate) use faults::{Fault, Tally};
pub(crate) use invariants::{Broken, Promise};

use world::World;

/// What came of one seed.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    pub(crate) broken: Option<Broken>,
    /// Line by line what happened, where that was asked for.
    pub(crate) trace: String,
}

/// Whether a trace is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracing {
    Kept,
    Not,
}

/// Runs one seed until everything has come to rest, or a promise is broken.
pub(crate) fn run(seed: u64, bug: Option<Bug>, tracing: Tracing) -> Outcome {
    let mut world = World::new(seed, bug, tracing == Tracing::Kept);
    let mut broken = None;
    while !world.is_over {
        match world.step() {
            Some(Ok(())) => {}
            Some(Err(found)) => {
                broken = Some(found);
                break;
            }
            None => break,
        }
    }
    if let Some(found) = &broken {
        world.write(&format!("BROKEN  {found}"));
    }
    Outcome {
        tally: world.tally,
        broken,
        trace: world.trace.unwrap_or_default(),
    }
}
