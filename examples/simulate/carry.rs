//! Carrying out a run: the library's state machine says what is to be done, this does it in the simulated world and tells what it heard. It
//! follows the library's `engine::execute` effect by effect.

use std::collections::VecDeque;
use std::rc::Rc;

use lockstep::ids::{Fence, Stage};
use lockstep::protocol::{Call as Asked, Effect, Event as Step};
use lockstep::record::{Decision, Next, Phase, Run};

use super::bugs::{self, Bug};
use super::faults::Fault;
use super::invariants::Fact;
use super::replica::{Held, Job};
use super::store::{self, Answer, Call, LEASE, No};
use super::systems::{Ask, Request};
use super::universe::{moment, system_index};
use super::world::{Event, Tag, Token, World, say};

const PREPARE_TIME: u64 = 20_000;
const COMMIT_TIME: u64 = 40_000;

/// A run in a replica's hands.
#[derive(Debug)]
pub(crate) struct Carry {
    pub(crate) run: Run,
    todo: VecDeque<Effect>,
    /// What was heard while the store was waited for.
    heard: VecDeque<(u64, Came)>,
    pub(crate) waits: Waits,
    /// Grows when what was asked is not waited for any more.
    pub(crate) turn: u64,
    armed: u64,
    /// Open runs that are to be taken up after this one; `None` for a run of its own.
    pub(crate) rest: Option<(Held, Vec<Rc<Run>>)>,
    is_over: bool,
}

#[derive(Debug)]
pub(crate) enum Came {
    Event(Step),
    Deadline(Phase, u64),
    Renewal,
    /// The backoff before asking again is over.
    Again(usize, Asked),
    /// A system has prepared to undo.
    UndoStaged(usize),
}

/// What the store was asked that nothing goes on without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    Nothing,
    Save,
    Decide(Decision),
    UseRelease,
    GiveBack,
    Finish,
    Owe,
    Renew,
}

impl Carry {
    pub(crate) fn new(run: Run, effects: Vec<Effect>, rest: Option<(Held, Vec<Rc<Run>>)>) -> Self {
        Self {
            run,
            todo: effects.into(),
            heard: VecDeque::new(),
            waits: Waits::Nothing,
            turn: 0,
            armed: 0,
            rest,
            is_over: false,
        }
    }
}

impl World {
    /// Takes up the runs that were left open, one after the other; then the group is looked at.
    pub(crate) fn recover(
        &mut self,
        replica: usize,
        group: usize,
        held: Held,
        mut open: Vec<Rc<Run>>,
    ) {
        if open.is_empty() {
            self.read_group(replica, group, held);
            return;
        }
        let stored = open.remove(0);
        self.tally.recovered += 1;
        say!(
            self,
            "r{replica} g{group}   takes up #{} under fence {}",
            store::key(&stored),
            held.fence
        );
        let run = self.read_back(&stored);
        let (run, effects) = bugs::recover(self.bug, run, Fence(held.fence));
        self.carry_out(replica, group, Carry::new(run, effects, Some((held, open))));
    }

    /// A run as it comes back from the store. One of four is really written and read, which costs more than all else.
    fn read_back(&mut self, stored: &Run) -> Run {
        if !store::key(stored).is_multiple_of(4) {
            return stored.clone();
        }
        let text = serde_json::to_string(stored).unwrap_or_default();
        let mut read: Option<Run> = serde_json::from_str(&text).ok();
        if let (true, Some(run)) = (self.has(Bug::TimesNotStored), &mut read) {
            let members = run.members.values_mut();
            members.for_each(|member| member.prepared_at = None);
        }
        self.facts.push(Fact::ReadBack {
            is_same: read.as_ref() == Some(stored),
        });
        read.unwrap_or_else(|| stored.clone())
    }

    pub(crate) fn carry_out(&mut self, replica: usize, group: usize, carry: Carry) {
        self.replicas[replica].turns[group].job = Job::Carrying(Box::new(carry));
        let to = self.token(replica, group);
        self.queue.push(self.now + LEASE / 3, Event::Renewal(to));
        self.drive(replica, group);
    }

    pub(crate) fn carry(&mut self, replica: usize, group: usize) -> Option<&mut Carry> {
        let job = &mut self.replicas[replica].turns[group].job;
        if let Job::Carrying(carry) = job {
            Some(carry)
        } else {
            None
        }
    }

    /// Does what can be done without hearing anything more. Between any two effects the process may die or fall asleep.
    pub(crate) fn drive(&mut self, replica: usize, group: usize) {
        loop {
            if !self.replicas[replica].is_up || self.replicas[replica].asleep_until.is_some() {
                return;
            }
            let Some(carry) = self
                .carry(replica, group)
                .filter(|c| c.waits == Waits::Nothing)
            else {
                return;
            };
            if let Some(effect) = carry.todo.pop_front() {
                if self.strikes(Fault::Crash) {
                    self.crash(replica);
                    return;
                }
                if self.strikes(Fault::Pause) {
                    if let Some(carry) = self.carry(replica, group) {
                        carry.todo.push_front(effect);
                    }
                    self.pause(replica);
                    return;
                }
                self.execute(replica, group, effect);
            } else if carry.is_over {
                self.ended(replica, group);
                return;
            } else if let Some((turn, came)) = carry.heard.pop_front() {
                self.take_in(replica, group, turn, came);
            } else {
                return;
            }
        }
    }

    fn execute(&mut self, replica: usize, group: usize, effect: Effect) {
        let to = self.token(replica, group);
        let Some(carry) = self.carry(replica, group) else {
            return;
        };
        match effect {
            Effect::Save => {
                carry.waits = Waits::Save;
                let run = Rc::new(carry.run.clone());
                self.ask_store(to, Call::Save { group, run });
            }
            Effect::Decide(decision) => {
                carry.waits = Waits::Decide(decision);
                let run = Rc::new(carry.run.clone());
                self.ask_store(
                    to,
                    Call::Decide {
                        group,
                        run,
                        decision,
                    },
                );
            }
            Effect::Arm(phase) => {
                carry.armed += 1;
                let (armed, time) = (carry.armed, time_for(phase));
                let event = Event::Deadline { to, phase, armed };
                self.queue.push(self.now + time, event);
            }
            Effect::Ask {
                system,
                call,
                attempt,
            } => {
                let system = system_index(&system);
                if attempt == 0 {
                    self.call(to, system, call);
                } else {
                    let pause = self.backoff(attempt);
                    self.queue
                        .push(self.now + pause, Event::Again { to, system, call });
                }
            }
            Effect::Finish(outcome) => self.begin_end(replica, group, &outcome),
            Effect::Yield { system } => {
                let run = store::key(&carry.run);
                say!(
                    self,
                    "r{replica} g{group}   leaves #{run} to a newer holder, as {system} says"
                );
                self.leave_open(replica, group);
            }
        }
    }

    fn leave_open(&mut self, replica: usize, group: usize) {
        self.replicas[replica].turns[group].lease = None;
        self.end_pass(replica, group, Some(Next::Retry));
    }

    /// The store's answer to what the run waits for.
    pub(crate) fn carried(&mut self, to: Token, answer: Result<Answer, No>) {
        let (replica, group) = (to.replica, to.group);
        let owes_after = self.has(Bug::OutboxOutsideTransaction);
        let Some(carry) = self.carry(replica, group) else {
            return;
        };
        let waits = std::mem::replace(&mut carry.waits, Waits::Nothing);
        let Ok(answer) = answer else {
            if self.bug == Some(Bug::EndsTwice) && waits == Waits::Finish {
                self.finish(replica, group, false);
                return;
            }
            self.drop_pass(replica, group);
            return;
        };
        match waits {
            Waits::Nothing => {}
            Waits::Save => self.advance(replica, group, Step::Saved),
            Waits::Decide(decision) => self.advance(replica, group, Step::Decided(decision)),
            Waits::UseRelease => {
                self.finish(replica, group, matches!(answer, Answer::Is(true)));
                return;
            }
            Waits::GiveBack => {
                self.finish(replica, group, false);
                return;
            }
            Waits::Finish if owes_after => {
                carry.waits = Waits::Owe;
                let run = store::key(&carry.run);
                self.ask_store(to, Call::Owe { run, group });
                return;
            }
            Waits::Finish | Waits::Owe => carry.is_over = true,
            Waits::Renew if matches!(answer, Answer::Is(true)) => {
                self.queue.push(self.now + LEASE / 3, Event::Renewal(to));
            }
            Waits::Renew => {
                say!(self, "r{replica} g{group}   has lost the lease");
                self.leave_open(replica, group);
                return;
            }
        }
        self.drive(replica, group);
    }

    fn advance(&mut self, replica: usize, group: usize, event: Step) {
        let ahead = self.replicas[replica].ahead;
        let (at, bug) = (moment(self.now, ahead), self.bug);
        let job = &mut self.replicas[replica].turns[group].job;
        if let Job::Carrying(mut carry) = std::mem::take(job) {
            let (run, effects) = bugs::step(bug, carry.run, event, at);
            carry.run = run;
            carry.todo.extend(effects);
            *job = Job::Carrying(carry);
        }
    }

    fn take_in(&mut self, replica: usize, group: usize, turn: u64, came: Came) {
        let to = self.token(replica, group);
        let Some(carry) = self.carry(replica, group) else {
            return;
        };
        match came {
            Came::Event(_) | Came::Again(..) | Came::UndoStaged(_) if turn != carry.turn => {}
            Came::Event(event) => self.advance(replica, group, event),
            Came::Again(system, call) => self.call(to, system, call),
            Came::UndoStaged(system) => {
                let (run, fence) = (store::key(&carry.run), carry.run.fence.0);
                let request = Request {
                    run,
                    stage: Stage::Undo,
                    ask: Ask::Commit,
                    fence,
                };
                self.ask_system(to, Tag::Call(Asked::Undo), system, request);
            }
            Came::Deadline(_, armed) if armed != carry.armed => {}
            Came::Deadline(phase, _) => {
                say!(self, "r{replica} g{group}   time is up for {phase:?}");
                // Who is still to be taken back is asked again by the next pass; else the next phase asks anew.
                if let Some(carry) = self
                    .carry(replica, group)
                    .filter(|_| phase != Phase::Compensating)
                {
                    carry.turn += 1;
                }
                self.advance(replica, group, Step::Deadline(phase));
                let is_open = self
                    .carry(replica, group)
                    .is_some_and(|c| c.run.outcome.is_none());
                if phase == Phase::Compensating && is_open {
                    self.leave_open(replica, group);
                }
            }
            Came::Renewal => {
                carry.waits = Waits::Renew;
                let fence = carry.run.fence.0;
                let now = self.clock_of(replica);
                let holder = (replica, to.inc);
                self.ask_store(
                    to,
                    Call::Renew {
                        group,
                        holder,
                        fence,
                        now,
                    },
                );
            }
        }
    }

    pub(crate) fn came(&mut self, to: Token, came: Came) {
        if let Some(carry) = self.carry(to.replica, to.group) {
            carry.heard.push_back((to.turn, came));
            self.drive(to.replica, to.group);
        }
    }

    /// Whether this is still about the pass in hand.
    fn is_current(&self, to: Token) -> bool {
        self.replicas[to.replica].turns[to.group].pass == to.pass
    }

    pub(crate) fn deadline(&mut self, to: Token, phase: Phase, armed: u64) {
        if self.is_current(to) {
            self.came(to, Came::Deadline(phase, armed));
        }
    }

    pub(crate) fn renewal(&mut self, to: Token) {
        if self.is_current(to) {
            self.came(to, Came::Renewal);
        }
    }

    /// Like all that was begun, what is to be asked again waits while the store is waited for.
    pub(crate) fn again(&mut self, to: Token, system: usize, call: Asked) {
        if self.is_current(to) {
            self.came(to, Came::Again(system, call));
        }
    }
}

fn time_for(phase: Phase) -> u64 {
    match phase {
        Phase::Planned | Phase::Preparing | Phase::Aborting => PREPARE_TIME,
        Phase::Deciding
        | Phase::Committing
        | Phase::Verifying
        | Phase::Compensating
        | Phase::Finished
        | Phase::Yielded => COMMIT_TIME,
    }
}
