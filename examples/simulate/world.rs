//! Everything there is in one seed, and time: one event after the other, each followed by a look at what it did.

use lockstep::config::OnFailure;
use lockstep::ids::GroupName;
use lockstep::record::Phase;

use super::bugs::Bug;
use super::chance::Chance;
use super::faults::{Fault, Profile, Tally};
use super::forge::Forge;
use super::happenings::Happening;
use super::invariants::{Fact, Ghost};
use super::promises::Broken;
use super::queue::Queue;
use super::replica::Replica;
use super::store::{Answer, Call, Delivery, No, Store};
use super::systems::{Reply, Request, System};

/// Who waits for an answer: a replica's start, one of its groups, and which pass of that; where a run has given up on what it asked, the next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) replica: usize,
    pub(crate) inc: u32,
    pub(crate) group: usize,
    pub(crate) pass: u64,
    pub(crate) turn: u64,
}

/// Why a system was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    /// By a run.
    Call(lockstep::protocol::Call),
    /// The first half of undoing.
    UndoPrepare,
    /// Before planning.
    Look,
}

#[derive(Debug)]
pub(crate) enum Event {
    Due(Token),
    News {
        replica: usize,
        inc: u32,
    },
    Deadline {
        to: Token,
        phase: Phase,
        armed: u64,
    },
    Renewal(Token),
    Again {
        to: Token,
        system: usize,
        call: lockstep::protocol::Call,
    },
    AtStore {
        from: Option<Token>,
        call: Box<Call>,
        limit: u64,
        is_heard: bool,
    },
    FromStore {
        to: Token,
        answer: Box<Result<Answer, No>>,
    },
    AtSystem {
        system: usize,
        request: Request,
        from: Option<(Token, Tag)>,
        limit: u64,
    },
    FromSystem {
        to: Token,
        tag: Tag,
        system: usize,
        reply: Reply,
    },
    SendOwed {
        replica: usize,
        inc: u32,
    },
    AtForge {
        delivery: Delivery,
        from: Option<Token>,
        limit: u64,
    },
    FromForge {
        to: Token,
        id: usize,
        is_done: bool,
    },
    Start {
        replica: usize,
    },
    Wake {
        replica: usize,
    },
    Happens(Happening),
}

impl Event {
    /// The replica it is for, and which start of it.
    fn addressee(&self) -> Option<(usize, u32)> {
        match self {
            Self::Due(to) | Self::Renewal(to) => Some((to.replica, to.inc)),
            Self::Deadline { to, .. }
            | Self::Again { to, .. }
            | Self::FromStore { to, .. }
            | Self::FromSystem { to, .. }
            | Self::FromForge { to, .. } => Some((to.replica, to.inc)),
            Self::News { replica, inc } | Self::SendOwed { replica, inc } => Some((*replica, *inc)),
            Self::AtStore { .. }
            | Self::AtSystem { .. }
            | Self::AtForge { .. }
            | Self::Start { .. }
            | Self::Wake { .. }
            | Self::Happens(_) => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct GroupShape {
    pub(crate) name: GroupName,
    pub(crate) systems: Vec<usize>,
    pub(crate) on_failure: OnFailure,
}

/// Whose clock leases obey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseClock {
    Store,
    Caller,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) queue: Queue<Event>,
    pub(crate) chance: Chance,
    pub(crate) bug: Option<Bug>,
    pub(crate) weather: Profile,
    pub(crate) lease_clock: LeaseClock,
    /// Faults have stopped.
    pub(crate) is_calm: bool,
    pub(crate) is_over: bool,
    pub(crate) groups: Vec<GroupShape>,
    pub(crate) store: Store,
    pub(crate) forge: Forge,
    pub(crate) systems: Vec<System>,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) runs: u128,
    pub(crate) ghost: Ghost,
    pub(crate) facts: Vec<Fact>,
    pub(crate) tally: Tally,
    pub(crate) trace: Option<String>,
}

/// Writes a line of the trace, where one is kept: its words are not even put together otherwise.
macro_rules! say {
    ($world:expr, $($words:tt)*) => {
        if $world.trace.is_some() {
            let words = format!($($words)*);
            $world.write(&words);
        }
    };
}
pub(crate) use say;

impl World {
    pub(crate) fn write(&mut self, words: &str) {
        let (seconds, milliseconds) = (self.now / 1000, self.now % 1000);
        if let Some(trace) = &mut self.trace {
            trace.push_str(&format!("{seconds:>6}.{milliseconds:03}  {words}\n"));
        }
    }

    /// The next event and its check. `None` when nothing is left to happen.
    pub(crate) fn step(&mut self) -> Option<Result<(), Broken>> {
        let (at, event) = self.queue.pop()?;
        self.now = at;
        self.tally.steps += 1;
        self.turn_to(event);
        Some(self.judge())
    }

    fn turn_to(&mut self, event: Event) {
        let Some((replica, inc)) = event.addressee() else {
            self.happen(event);
            return;
        };
        let to = &mut self.replicas[replica];
        if !to.is_up || to.inc != inc {
            return;
        }
        if to.asleep_until.is_some() {
            to.inbox.push_back(event);
            return;
        }
        self.hear(event);
    }

    /// An event that a replica has to do with.
    pub(crate) fn hear(&mut self, event: Event) {
        match event {
            Event::Due(to) => self.due(to),
            Event::News { replica, inc: _ } => self.news(replica),
            Event::Deadline { to, phase, armed } => self.deadline(to, phase, armed),
            Event::Renewal(to) => self.renewal(to),
            Event::Again { to, system, call } => self.again(to, system, call),
            Event::FromStore { to, answer } => self.store_says(to, *answer),
            Event::FromSystem {
                to,
                tag,
                system,
                reply,
            } => self.system_says(to, tag, system, reply),
            Event::SendOwed { replica, inc: _ } => self.send_owed(replica),
            Event::FromForge { to, id, is_done } => self.forge_says(to, id, is_done),
            Event::AtStore { .. }
            | Event::AtSystem { .. }
            | Event::AtForge { .. }
            | Event::Start { .. }
            | Event::Wake { .. }
            | Event::Happens(_) => {}
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::AtStore {
                from,
                call,
                limit,
                is_heard,
            } => self.at_store(from, *call, limit, is_heard),
            Event::AtSystem {
                system,
                request,
                from,
                limit,
            } => self.at_system(system, &request, from, limit),
            Event::AtForge {
                delivery,
                from,
                limit,
            } => self.at_forge(&delivery, from, limit),
            Event::Start { replica } => self.start(replica),
            Event::Wake { replica } => self.wake(replica),
            Event::Happens(happening) => self.happens(happening),
            Event::Due(_)
            | Event::News { .. }
            | Event::Deadline { .. }
            | Event::Renewal(_)
            | Event::Again { .. }
            | Event::FromStore { .. }
            | Event::FromSystem { .. }
            | Event::SendOwed { .. }
            | Event::FromForge { .. } => {}
        }
    }

    /// Whether a fault happens now.
    pub(crate) fn strikes(&mut self, fault: Fault) -> bool {
        let strikes = !self.is_calm && self.chance.of_1000(self.weather.rate(fault));
        if strikes {
            self.tally.count(fault);
        }
        strikes
    }

    pub(crate) fn store_clock(&self) -> u64 {
        super::replica::EPOCH + self.now
    }
}
