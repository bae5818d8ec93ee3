//! The whole small world as one value: engines, store, network, systems; what can happen next, and what must hold.

use std::hash::{Hash, Hasher as _};
use std::sync::Arc;

use super::super::*;
use super::mixer::Mixer;
use super::systems::{At, Broken, System, digest_of, fail, refuse};
use super::{Machine, Promise};
use crate::config::OnFailure;

/// How often each fault may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Faults {
    /// A request is given up. It may still arrive at any later time, or never.
    pub(super) timeouts: u8,
    /// A system says no, or nonsense, where it should not.
    pub(super) refusals: u8,
    /// Somebody changes a system behind everyone's back.
    pub(super) drifts: u8,
    /// The engine is killed and started again.
    pub(super) crashes: u8,
    /// Another engine takes over while the first sleeps.
    pub(super) overtakes: u8,
    /// A phase runs out of time.
    pub(super) deadlines: u8,
    /// The first system says that it commits, and doesn't.
    pub(super) liar: bool,
}

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Move {
    /// An engine carries out its next effect.
    Execute {
        engine: usize,
    },
    /// A request arrives, and its answer. One that arrives and whose answer doesn't is one that is given up and arrives later.
    Serve {
        message: usize,
    },
    Refuse {
        message: usize,
        how: Broken,
    },
    /// The one who asked gives up waiting.
    TimeOut {
        message: usize,
    },
    Deadline {
        engine: usize,
    },
    Crash,
    Overtake,
    Drift {
        system: usize,
    },
}

#[derive(Debug, Clone)]
struct Engine {
    fence: u64,
    run: Arc<Run>,
    todo: Vec<Effect>,
    /// A phase's time is running.
    armed: bool,
    finished: bool,
    /// A system has told it of a newer fence.
    fenced: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Store {
    fence: u64,
    pub(super) run: Option<Arc<Run>>,
    /// Whether such a decision was ever durable.
    pub(super) commit: bool,
    compensate: bool,
    pub(super) outcomes: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Message {
    engine: u64,
    to: usize,
    call: Call,
    /// Whether somebody still waits for the answer. Else it arrives at any later time, or never.
    awaited: bool,
}

#[derive(Debug, Clone)]
pub(super) struct World {
    engines: Vec<Engine>,
    pub(super) store: Store,
    pub(super) systems: [System; 2],
    network: Vec<Message>,
    faults: Faults,
    /// Whether a system has broken its word: only then may a person be called.
    pub(super) broken: bool,
    begun: bool,
}

pub(super) const NAMES: [&str; 2] = ["a", "b"];

pub(super) fn index_of(system: &SystemName) -> usize {
    usize::from(system.as_str() == NAMES[1])
}

impl World {
    pub(super) fn new(on_failure: OnFailure, faults: Faults) -> Self {
        let run = Arc::new(super::super::tests::run_of(
            &NAMES,
            on_failure,
            digest_of(At::Base),
            digest_of(At::Target),
        ));
        Self {
            engines: vec![Engine::new(1, run)],
            store: Store {
                fence: 1,
                run: None,
                commit: false,
                compensate: false,
                outcomes: 0,
            },
            systems: [System::new(faults.liar), System::new(false)],
            network: Vec::new(),
            faults,
            broken: faults.liar,
            begun: false,
        }
    }

    /// A state's identity. Attempts only set how long is waited and troubles what is said, so they are left out.
    pub(super) fn key(&self) -> u64 {
        let mut hash = Mixer(0);
        for engine in &self.engines {
            let Engine {
                fence,
                run,
                todo,
                armed,
                finished,
                fenced,
            } = engine;
            (fence, todo, armed, finished, fenced).hash(&mut hash);
            hash_run(run, &mut hash);
        }
        let Store {
            fence,
            run,
            commit,
            compensate,
            outcomes,
        } = &self.store;
        (fence, commit, compensate, outcomes, run.is_some()).hash(&mut hash);
        if let Some(run) = run {
            hash_run(run, &mut hash);
        }
        (&self.systems, &self.network, self.faults).hash(&mut hash);
        (self.broken, self.begun).hash(&mut hash);
        hash.finish()
    }

    /// How the run ended, if it has.
    pub(super) fn ended(&self) -> Option<&'static str> {
        match &self.store.run {
            Some(run) => run.outcome.as_ref().map(Outcome::name),
            None if self.begun && self.engines.is_empty() => Some("never begun"),
            None => None,
        }
    }

    /// All that can happen now. Effects are carried out before anything else is heard: they only put messages under way, which wait
    /// as long as they like anyway. The engine may be killed before each of them.
    pub(super) fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        if !self.begun {
            return vec![Move::Execute { engine: 0 }];
        }
        let holder = self.engines.iter().find(|e| e.fence == self.store.fence);
        if holder.is_some_and(|e| !e.finished) {
            moves.extend((self.faults.crashes > 0).then_some(Move::Crash));
            moves.extend((self.faults.overtakes > 0).then_some(Move::Overtake));
        }
        let busy = moves.len();
        for (engine, is) in self.engines.iter().enumerate() {
            if !is.todo.is_empty() {
                moves.push(Move::Execute { engine });
            }
        }
        if moves.len() > busy {
            return moves;
        }
        for (engine, is) in self.engines.iter().enumerate() {
            if is.armed && !is.finished && self.faults.deadlines > 0 {
                moves.push(Move::Deadline { engine });
            }
        }
        for (message, sent) in self.network.iter().enumerate() {
            moves.push(Move::Serve { message });
            if sent.awaited && self.faults.timeouts > 0 {
                moves.push(Move::TimeOut { message });
            }
            if sent.awaited && self.faults.refusals > 0 {
                let how = breaches(sent.call).iter();
                moves.extend(how.map(|how| Move::Refuse { message, how: *how }));
            }
        }
        if self.faults.drifts > 0 && self.store.outcomes == 0 {
            let moved = |s: &&usize| self.systems[**s].at == At::Target;
            moves.extend(
                [0, 1]
                    .iter()
                    .filter(moved)
                    .map(|s| Move::Drift { system: *s }),
            );
        }
        moves
    }

    pub(super) fn make(&mut self, movement: Move, machine: Machine) -> Result<(), Promise> {
        match movement {
            Move::Execute { .. } if !self.begun => {
                self.begun = true;
                let (run, effects) = (machine.start)(Run::clone(&self.engines[0].run), NOW);
                self.engines[0].take(run, effects);
            }
            Move::Execute { engine } => {
                self.execute(engine, machine)?;
                // Where nothing can come between two effects, they are one step.
                while self.faults.crashes + self.faults.overtakes == 0 && self.is_busy(engine) {
                    self.execute(engine, machine)?;
                }
            }
            Move::Serve { message } => {
                let sent = self.network.remove(message);
                let answer = self.systems[sent.to].answer(sent.call, sent.engine);
                self.deliver(&sent, answer, machine);
            }
            Move::Refuse { message, how } => {
                self.faults.refusals -= 1;
                self.broken = true;
                let sent = self.network.remove(message);
                self.deliver(&sent, refuse(sent.call, how), machine);
            }
            Move::TimeOut { message } => {
                self.faults.timeouts -= 1;
                let sent = self.network.remove(message);
                let error = ConnectorError::Transient {
                    message: String::new(),
                };
                self.deliver(&sent, fail(sent.call, error), machine);
                self.forget(sent);
            }
            Move::Deadline { engine } => {
                self.faults.deadlines -= 1;
                self.engines[engine].armed = false;
                let phase = self.engines[engine].run.phase;
                self.hear(engine, Event::Deadline(phase), machine);
            }
            Move::Crash => {
                self.faults.crashes -= 1;
                let fence = self.store.fence;
                self.engines.retain(|e| e.fence != fence);
                let (lost, kept) = std::mem::take(&mut self.network)
                    .into_iter()
                    .partition(|m: &Message| m.engine == fence && m.awaited);
                self.network = kept;
                lost.into_iter().for_each(|sent| self.forget(sent));
                self.succeed(machine);
            }
            Move::Overtake => {
                self.faults.overtakes -= 1;
                self.succeed(machine);
            }
            Move::Drift { system } => {
                self.faults.drifts -= 1;
                self.broken = true;
                self.systems[system].at = At::Elsewhere;
            }
        }
        self.prune();
        self.check()
    }

    fn is_busy(&self, engine: usize) -> bool {
        self.engines.get(engine).is_some_and(|e| !e.todo.is_empty())
    }

    /// Drops requests that nobody waits for and that can't change their system any more.
    fn prune(&mut self) {
        let systems = &self.systems;
        self.network
            .retain(|m| m.awaited || systems[m.to].can_change(m.call, m.engine));
        self.network.sort_unstable();
        self.network.dedup_by(|a, b| a == b && !a.awaited);
    }

    /// A request whose sender is gone may still arrive. A read that nobody waits for is nothing.
    fn forget(&mut self, mut sent: Message) {
        if !matches!(sent.call, Call::Observe(_)) {
            sent.awaited = false;
            self.network.push(sent);
        }
    }

    fn deliver(&mut self, sent: &Message, answer: Answer, machine: Machine) {
        let receiver = self.engines.iter().position(|e| e.fence == sent.engine);
        if let Some(receiver) = receiver.filter(|_| sent.awaited) {
            self.engines[receiver].fenced |= answer.is_fenced();
            self.hear(receiver, Event::Answered(name(sent.to), answer), machine);
        }
    }

    /// A new engine gets the lease and continues what it finds.
    fn succeed(&mut self, machine: Machine) {
        self.store.fence += 1;
        if let Some(run) = &self.store.run {
            let (run, effects) = (machine.recover)(Run::clone(run), Fence(self.store.fence));
            let mut engine = Engine::new(self.store.fence, Arc::new(run));
            engine.todo = effects;
            self.engines.push(engine);
        }
    }

    fn hear(&mut self, engine: usize, event: Event, machine: Machine) {
        let engine = &mut self.engines[engine];
        let (run, effects) = (machine.step)(Run::clone(&engine.run), event, NOW);
        engine.take(run, effects);
    }

    fn execute(&mut self, index: usize, machine: Machine) -> Result<(), Promise> {
        let holds_lease = self.engines[index].fence == self.store.fence;
        let engine = &mut self.engines[index];
        let effect = engine.todo.remove(0);
        let is_write = matches!(effect, Effect::Save | Effect::Decide(_) | Effect::Finish(_));
        if engine.fenced && !matches!(effect, Effect::Yield { .. }) {
            return Err(Promise::Fenced);
        }
        if is_write && !holds_lease {
            // The store refuses; the engine drops the run.
            self.engines.remove(index);
            return Ok(());
        }
        match effect {
            Effect::Save => {
                self.store.run = Some(engine.run.clone());
                self.hear(index, Event::Saved, machine);
            }
            Effect::Decide(decision) => {
                match decision {
                    Decision::Commit if !self.systems.iter().all(System::has_prepared) => {
                        return Err(Promise::InStep);
                    }
                    Decision::Commit => self.store.commit = true,
                    Decision::Compensate => self.store.compensate = true,
                }
                self.store.run = Some(engine.run.clone());
                self.hear(index, Event::Decided(decision), machine);
            }
            Effect::Arm(_) => engine.armed = true,
            Effect::Ask { system, call, .. } => {
                if engine.finished {
                    return Err(Promise::QuietAfterEnd);
                }
                if self.store.run.is_none() {
                    return Err(Promise::SavedFirst);
                }
                if (call == Call::Commit && !self.store.commit)
                    || (call == Call::Undo && !self.store.compensate)
                {
                    return Err(Promise::DecidedFirst);
                }
                self.network.push(Message {
                    engine: engine.fence,
                    to: index_of(&system),
                    call,
                    awaited: true,
                });
            }
            Effect::Finish(_) => {
                engine.finished = true;
                self.store.outcomes += 1;
                self.store.run = Some(engine.run.clone());
            }
            Effect::Yield { .. } => engine.todo.clear(),
        }
        Ok(())
    }
}

impl Engine {
    fn new(fence: u64, run: Arc<Run>) -> Self {
        Self {
            fence,
            run,
            todo: Vec::new(),
            armed: false,
            finished: false,
            fenced: false,
        }
    }

    fn take(&mut self, run: Run, effects: Vec<Effect>) {
        self.run = Arc::new(run);
        self.todo.extend(effects);
    }
}

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn name(system: usize) -> SystemName {
    NAMES[system].parse().unwrap()
}

/// How a call can be answered by a system that breaks its word.
fn breaches(call: Call) -> &'static [Broken] {
    match call {
        Call::Prepare => &[Broken::Refused, Broken::Stale, Broken::Terminal],
        Call::Commit | Call::Undo => &[Broken::Refused, Broken::Terminal],
        Call::Abort | Call::Observe(_) => &[Broken::Terminal],
    }
}

fn hash_run(run: &Run, hash: &mut Mixer) {
    (run.phase, run.decision, &run.cause, &run.outcome).hash(hash);
    for member in run.members.values() {
        member.state.hash(hash);
    }
}
