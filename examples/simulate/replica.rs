//! A replica: one process with its clock, what it remembers of each group, and what it is doing for it. It may die or fall asleep between
//! any two effects; what it remembers is gone with it.

use std::collections::VecDeque;

use lockstep::ids::PlanDigest;
use lockstep::plan::Plan;
use lockstep::protocol::LONGEST_BACKOFF;
use lockstep::record::{Next, Outcome};

use super::carry::Carry;
use super::sender::{LOOK_FOR_OWED, Sender};
use super::universe::StateId;
use super::world::{Event, Token, World, say};

/// The store's clock when the simulation begins, in milliseconds: clocks that are behind are still above zero.
pub(crate) const EPOCH: u64 = 10_000_000;
/// How long a group whose pass ended in order is left alone.
const INTERVAL: u64 = 60_000;
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) fence: u64,
    /// Until then it is not asked about.
    pub(crate) fresh_until: u64,
}

/// What a pass over a group waits for.
#[derive(Debug, Default)]
pub(crate) enum Job {
    #[default]
    Idle,
    Leading {
        asked_at: u64,
        renews: Option<u64>,
    },
    Opening {
        held: Held,
    },
    Reading {
        held: Held,
    },
    /// Its systems are asked what they hold.
    Looking(Box<Scene>),
    /// Who owns what is being written down.
    Noting(Box<Scene>),
    Guarding(Box<Scene>, Plan, PlanDigest),
    Concluding(usize, Outcome),
    Carrying(Box<Carry>),
}

impl Job {
    /// The run in hand, if there is one.
    pub(crate) fn carried(&self) -> Option<&Carry> {
        if let Self::Carrying(carry) = self {
            Some(carry)
        } else {
            None
        }
    }
}

/// What a pass knows before it plans.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) fence: u64,
    pub(crate) known: super::store::Known,
    /// The revision that the group is to be held to.
    pub(crate) revision: usize,
    /// The newest good revision is not in this replica's repository.
    pub(crate) is_good_lost: bool,
    pub(crate) seen: Vec<Option<Result<StateId, String>>>,
    /// What each system should have, and what else may stay there.
    pub(crate) desired: Vec<StateId>,
}

#[derive(Debug, Default)]
pub(crate) struct Turn {
    pub(crate) pass: u64,
    pub(crate) job: Job,
    pub(crate) lease: Option<Held>,
    pub(crate) outcome: Option<(usize, Outcome)>,
    failures: u8,
    is_missed: bool,
}

#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) inc: u32,
    pub(crate) is_up: bool,
    pub(crate) asleep_until: Option<u64>,
    pub(crate) inbox: VecDeque<Event>,
    /// How far its clock is ahead.
    pub(crate) ahead: i64,
    pub(crate) cut_until: u64,
    /// Until then its next call to the store is behind the one before.
    pub(crate) line_free: u64,
    /// The main branch, as it knows it.
    pub(crate) head: usize,
    /// Until then it sees it as it was.
    pub(crate) behind_until: u64,
    pub(crate) turns: Vec<Turn>,
    pub(crate) sender: Sender,
}

impl Replica {
    pub(crate) fn new(groups: usize) -> Self {
        Self {
            inc: 0,
            is_up: false,
            asleep_until: None,
            inbox: VecDeque::new(),
            ahead: 0,
            cut_until: 0,
            line_free: 0,
            head: 0,
            behind_until: 0,
            turns: (0..groups).map(|_| Turn::default()).collect(),
            sender: Sender::default(),
        }
    }
}

impl World {
    pub(crate) fn token(&self, replica: usize, group: usize) -> Token {
        let is = &self.replicas[replica];
        let turn = &is.turns[group];
        Token {
            replica,
            inc: is.inc,
            group,
            pass: turn.pass,
            turn: turn.job.carried().map_or(0, |carry| carry.turn),
        }
    }

    /// What a replica's clock says.
    pub(crate) fn clock_of(&self, replica: usize) -> u64 {
        (EPOCH + self.now).saturating_add_signed(self.replicas[replica].ahead)
    }

    pub(crate) fn start(&mut self, replica: usize) {
        let head = self.forge.head();
        let is = &mut self.replicas[replica];
        if is.is_up {
            return;
        }
        is.is_up = true;
        is.head = head;
        is.line_free = 0;
        is.sender = Sender::default();
        let inc = is.inc;
        for group in 0..self.groups.len() {
            self.replicas[replica].turns[group] = Turn::default();
            let soon = self.now + self.chance.between(10, 2_000);
            let to = self.token(replica, group);
            self.queue.push(soon, Event::Due(to));
        }
        let soon = self.now + self.chance.between(500, LOOK_FOR_OWED);
        self.queue.push(soon, Event::SendOwed { replica, inc });
        say!(self, "r{replica}      starts");
    }

    pub(crate) fn crash(&mut self, replica: usize) {
        let is = &mut self.replicas[replica];
        if !is.is_up {
            return;
        }
        is.is_up = false;
        is.inc += 1;
        is.asleep_until = None;
        is.inbox.clear();
        let again = self.now + self.chance.between(200, 40_000);
        self.queue.push(again, Event::Start { replica });
        say!(self, "r{replica}      dies");
    }

    pub(crate) fn pause(&mut self, replica: usize) {
        let is = &mut self.replicas[replica];
        if !is.is_up || is.asleep_until.is_some() {
            return;
        }
        let until = self.now + self.chance.between(1_000, 70_000);
        self.replicas[replica].asleep_until = Some(until);
        self.queue.push(until, Event::Wake { replica });
        say!(self, "r{replica}      sleeps");
    }

    /// Goes on where it was, and then hears what came meanwhile.
    pub(crate) fn wake(&mut self, replica: usize) {
        let is = &mut self.replicas[replica];
        if is.asleep_until.is_none_or(|until| until > self.now) {
            return;
        }
        is.asleep_until = None;
        say!(self, "r{replica}      wakes");
        for group in 0..self.groups.len() {
            self.drive(replica, group);
        }
        while self.replicas[replica].asleep_until.is_none() {
            let Some(event) = self.replicas[replica].inbox.pop_front() else {
                return;
            };
            self.hear(event);
        }
    }

    /// Told of a merge: every group is looked at again.
    pub(crate) fn news(&mut self, replica: usize) {
        for group in 0..self.groups.len() {
            let turn = &mut self.replicas[replica].turns[group];
            if matches!(turn.job, Job::Idle) {
                self.begin_pass(replica, group);
            } else {
                turn.is_missed = true;
            }
        }
    }

    /// The pass is over; when the next one is due.
    pub(crate) fn end_pass(&mut self, replica: usize, group: usize, next: Option<Next>) {
        let turn = &mut self.replicas[replica].turns[group];
        turn.job = Job::Idle;
        turn.pass += 1;
        let is_missed = std::mem::take(&mut turn.is_missed);
        let pause = if next == Some(Next::Done) {
            turn.failures = 0;
            INTERVAL
        } else {
            turn.failures = turn.failures.saturating_add(1).min(LONGEST_BACKOFF);
            let attempt = turn.failures;
            self.backoff(attempt).min(INTERVAL)
        };
        let pause = if is_missed { 0 } else { pause };
        let to = self.token(replica, group);
        self.queue.push(self.now + pause, Event::Due(to));
    }

    /// The store did not do what was asked: what is remembered may be wrong, and what is in the store decides.
    pub(crate) fn drop_pass(&mut self, replica: usize, group: usize) {
        let turn = &mut self.replicas[replica].turns[group];
        turn.lease = None;
        turn.outcome = None;
        say!(self, "r{replica} g{group}   drops what it was doing");
        self.end_pass(replica, group, None);
    }

    /// 1 s doubling to 3 min, of which a random part between half and all.
    pub(crate) fn backoff(&mut self, attempt: u8) -> u64 {
        let longest = (1_000_u64 << attempt.saturating_sub(1).min(LONGEST_BACKOFF)).min(180_000);
        self.chance.between(longest / 2, longest)
    }
}
