//! Everything there is in one seed, and time: one event after the other, each followed by a look at what it did.

use lockstep::config::OnFailure;
use lockstep::ids::{GroupName, Stage};
use lockstep::record::{ConnectorError, Phase};

use super::bugs::Bug;
use super::chance::Chance;
use super::faults::{Fault, Profile, Tally};
use super::forge::Forge;
use super::happenings::Happening;
use super::invariants::{Broken, Fact, Ghost};
use super::queue::Queue;
use super::replica::Replica;
use super::store::{Answer, Call, Delivery, No, Store, Wrote};
use super::systems::{Ask, Did, Reply, Request, System};
use super::universe::{StateId, system_name};

/// How long a replica waits for the store, and for a system.
const STORE_LIMIT: u64 = 5_000;
const SYSTEM_LIMIT: u64 = 8_000;

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
            Event::FromStore { to, answer } => self.from_store(to, *answer),
            Event::FromSystem {
                to,
                tag,
                system,
                reply,
            } => self.from_system(to, tag, system, reply),
            Event::SendOwed { replica, inc: _ } => self.send_owed(replica),
            Event::FromForge { to, id, is_done } => self.from_forge(to, id, is_done),
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

    /// How long a message is on its way: mostly a few milliseconds, sometimes much longer than the next one.
    fn way(&mut self) -> u64 {
        match self.chance.below(8) {
            0 => self.chance.between(20, 400),
            _ => self.chance.between(1, 20),
        }
    }

    // The store.

    /// Calls the store. Calls of one replica arrive in the order in which they were made.
    pub(crate) fn ask_store(&mut self, from: Token, call: Call) {
        let limit = self.now + STORE_LIMIT;
        let way = self.way();
        let is_cut = self.now < self.replicas[from.replica].cut_until;
        if is_cut || self.strikes(Fault::StoreLost) {
            let answer = Box::new(Err(No::Silence));
            self.queue
                .push(limit, Event::FromStore { to: from, answer });
            return;
        }
        let is_late = self.strikes(Fault::StoreLate);
        let is_heard = !is_late && !self.strikes(Fault::StoreUnheard);
        let arrival = match is_late {
            true => limit + self.chance.between(1, 20_000),
            false => self.now + way,
        };
        let arrival = arrival.max(self.replicas[from.replica].line_free);
        self.replicas[from.replica].line_free = arrival;
        if !is_heard {
            let answer = Box::new(Err(No::Silence));
            self.queue
                .push(limit, Event::FromStore { to: from, answer });
        }
        let (from, call) = (Some(from), Box::new(call));
        self.queue.push(
            arrival,
            Event::AtStore {
                from,
                call,
                limit,
                is_heard,
            },
        );
    }

    fn at_store(&mut self, from: Option<Token>, call: Call, limit: u64, is_heard: bool) {
        let back = self.now + self.way();
        let silence = Err(No::Silence);
        let answer = if self.now < self.store.down_until {
            silence
        } else {
            let clock = (self.lease_clock == LeaseClock::Store).then(|| self.store_clock());
            let before = self.write_of(&call);
            let (answer, wrote) = self.store.call(call, clock, self.bug);
            if let (Some((group, fence)), Ok(_)) = (before, &answer) {
                let current = self.store.fence(group);
                self.facts.push(Fact::Wrote { fence, current });
            }
            if wrote != Wrote::Nothing {
                say!(self, "store   {wrote:?}");
                self.facts.push(Fact::Stored(wrote));
            }
            if let Err(why) = answer {
                say!(self, "store   refuses: {why:?}");
            }
            answer
        };
        let Some(to) = from.filter(|_| is_heard) else {
            return;
        };
        let is_silence = matches!(answer, Err(No::Silence)) || back > limit;
        let answer = Box::new(if is_silence { Err(No::Silence) } else { answer });
        let at = if is_silence {
            limit.max(self.now)
        } else {
            back
        };
        self.queue.push(at, Event::FromStore { to, answer });
    }

    /// The group and the fence under which something is written.
    fn write_of(&self, call: &Call) -> Option<(usize, u64)> {
        match call {
            Call::Save { group, run } | Call::Decide { group, run, .. } => {
                Some((*group, run.fence.0))
            }
            Call::Finish(finish) => Some((finish.group, finish.run.fence.0)),
            Call::Acquire { .. }
            | Call::Renew { .. }
            | Call::GiveBack { .. }
            | Call::Open { .. }
            | Call::Group { .. }
            | Call::Guard { .. }
            | Call::Note { .. }
            | Call::UseRelease { .. }
            | Call::Owe { .. }
            | Call::Owed { .. }
            | Call::Delivered { .. }
            | Call::Failed { .. } => None,
        }
    }

    pub(crate) fn store_clock(&self) -> u64 {
        super::replica::EPOCH + self.now
    }

    // Systems.

    /// Sends a request to a system. Nothing keeps two of them in order.
    pub(crate) fn ask_system(&mut self, from: Token, tag: Tag, system: usize, request: Request) {
        let limit = self.now + SYSTEM_LIMIT;
        let way = self.way();
        if self.strikes(Fault::CallLost) {
            self.give_up(from, tag, system, limit);
            return;
        }
        if self.strikes(Fault::CallTwice) {
            let again = self.now + way + self.chance.between(1, 60_000);
            let request = request.clone();
            self.queue.push(
                again,
                Event::AtSystem {
                    system,
                    request,
                    from: None,
                    limit: again,
                },
            );
        }
        if self.strikes(Fault::CallLate) {
            let arrival = self.now + way + self.chance.between(100, 90_000);
            let is_awaited = arrival < limit;
            if !is_awaited {
                self.give_up(from, tag, system, limit);
            }
            let from = is_awaited.then_some((from, tag));
            self.queue.push(
                arrival,
                Event::AtSystem {
                    system,
                    request,
                    from,
                    limit,
                },
            );
            return;
        }
        let is_heard = !self.strikes(Fault::CallUnheard);
        if !is_heard {
            self.give_up(from, tag, system, limit);
        }
        let from = is_heard.then_some((from, tag));
        self.queue.push(
            self.now + way,
            Event::AtSystem {
                system,
                request,
                from,
                limit,
            },
        );
    }

    /// The one who asked will have waited long enough.
    fn give_up(&mut self, to: Token, tag: Tag, system: usize, limit: u64) {
        let message = "no answer in time".to_owned();
        let reply = Reply::Error(ConnectorError::Transient { message });
        self.queue.push(
            limit,
            Event::FromSystem {
                to,
                tag,
                system,
                reply,
            },
        );
    }

    fn at_system(
        &mut self,
        system: usize,
        request: &Request,
        from: Option<(Token, Tag)>,
        limit: u64,
    ) {
        if self.now < self.systems[system].silent_until {
            if let Some((to, tag)) = from {
                self.give_up(to, tag, system, limit);
            }
            return;
        }
        let refuses = self.refuses(system, request);
        let seen = self.systems[system].fence;
        let (mut reply, did) = self.systems[system].serve(request, self.now, refuses, self.bug);
        if let Reply::Seen(sight) = &mut reply {
            if self.strikes(Fault::StaleRead) {
                self.systems[system].disturbed = Some(self.now);
                *sight = self.systems[system].earlier();
            }
            if self.strikes(Fault::PartialListing) {
                let mut own = sight.listed.own();
                own[self.chance.index(own.len())] = 0;
                sight.listed = StateId::new(own, 0);
                sight.is_whole = false;
            } else if sight.announced != sight.listed {
                self.systems[system].disturbed = Some(self.now);
            }
            self.facts.push(Fact::Showed {
                run: request.run,
                stage: request.stage,
                system,
                listed: sight.listed,
            });
        } else if !matches!(reply, Reply::Error(_)) {
            self.facts.push(Fact::Accepted {
                fence: request.fence,
                seen,
            });
            if self.strikes(Fault::Nonsense) {
                self.systems[system].disturbed = Some(self.now);
                let message = "that is no answer".to_owned();
                reply = Reply::Error(ConnectorError::Terminal { message });
            }
        }
        let (run, stage) = (request.run, request.stage);
        match did {
            Did::Nothing => {}
            Did::Staged => self.facts.push(Fact::Staged { run, stage, system }),
            Did::Took { before, after } => {
                say!(
                    self,
                    "{}     takes {}{} {} -> {}",
                    system_name(system),
                    stage_word(stage),
                    run,
                    before.words(),
                    after.words()
                );
                self.facts.push(Fact::Took {
                    run,
                    stage,
                    system,
                    before,
                    after,
                });
            }
        }
        let Some((to, tag)) = from else {
            say!(
                self,
                "{}     hears {} {}{} of fence {}, for which nobody waits",
                system_name(system),
                ask_word(request),
                stage_word(stage),
                run,
                request.fence
            );
            return;
        };
        let back = self.now + self.way();
        if back > limit {
            self.give_up(to, tag, system, limit.max(self.now));
        } else {
            self.queue.push(
                back,
                Event::FromSystem {
                    to,
                    tag,
                    system,
                    reply,
                },
            );
        }
    }

    /// Whether a system says no to what it is asked, for reasons of its own.
    fn refuses(&mut self, system: usize, request: &Request) -> bool {
        match (&request.ask, request.stage) {
            (Ask::Prepare(share), Stage::Forward) => {
                let poisoned = self.forge.revisions[share.revision].poison == Some(system);
                if poisoned && !self.is_calm {
                    self.tally.count(Fault::Refusal);
                }
                poisoned || self.strikes(Fault::Refusal)
            }
            (Ask::Commit, _) | (Ask::Prepare(_), Stage::Undo) => {
                let refuses = self.strikes(Fault::BrokenWord);
                if refuses {
                    self.systems[system].disturbed = Some(self.now);
                }
                refuses
            }
            (Ask::Abort | Ask::Look, _) => false,
        }
    }
}

pub(crate) fn stage_word(stage: Stage) -> &'static str {
    match stage {
        Stage::Forward => "#",
        Stage::Undo => "undo of #",
    }
}

pub(crate) fn ask_word(request: &Request) -> &'static str {
    match request.ask {
        Ask::Prepare(_) => "prepare",
        Ask::Commit => "commit",
        Ask::Abort => "abort",
        Ask::Look => "look",
    }
}
