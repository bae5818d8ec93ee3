//! What lies between replicas, their store and the systems: messages that take their time, get lost, come late or twice.

use lockstep::ids::Stage;
use lockstep::record::ConnectorError;

use super::faults::Fault;
use super::invariants::Fact;
use super::store::{Call, No, Wrote};
use super::systems::{Ask, Did, Reply, Request, Sight};
use super::universe::{StateId, system_name};
use super::world::{Event, LeaseClock, Tag, Token, World, say};

/// How long a replica waits for the store, and for a system.
const STORE_LIMIT: u64 = 5_000;
const SYSTEM_LIMIT: u64 = 8_000;

impl World {
    /// How long a message is on its way: mostly a few milliseconds, sometimes much longer than the next one.
    fn way(&mut self) -> u64 {
        match self.chance.below(8) {
            0 => self.chance.between(20, 400),
            _ => self.chance.between(1, 20),
        }
    }

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

    pub(crate) fn at_store(&mut self, from: Option<Token>, call: Call, limit: u64, is_heard: bool) {
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

    pub(crate) fn at_system(
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
        let (reply, did) = self.systems[system].serve(request, self.now, refuses, self.bug);
        if matches!(reply, Reply::Done(_)) {
            let fence = request.fence;
            self.facts.push(Fact::Accepted { fence, seen });
        }
        self.note_deed(system, request, did);
        let reply = match reply {
            Reply::Seen(sight) => Reply::Seen(self.shown(system, request, sight)),
            Reply::Error(error) => Reply::Error(error),
            Reply::Done(_) if self.strikes(Fault::Nonsense) => {
                self.systems[system].disturbed = Some(self.now);
                let message = "that is no answer".to_owned();
                Reply::Error(ConnectorError::Terminal { message })
            }
            Reply::Done(digest) => Reply::Done(digest),
        };
        let Some((to, tag)) = from else {
            say!(
                self,
                "{}     hears {} {}{} of fence {}, for which nobody waits",
                system_name(system),
                ask_word(request),
                stage_word(request.stage),
                request.run,
                request.fence
            );
            return;
        };
        let back = self.now + self.way();
        if back > limit {
            self.give_up(to, tag, system, limit.max(self.now));
            return;
        }
        let answer = Event::FromSystem {
            to,
            tag,
            system,
            reply,
        };
        self.queue.push(back, answer);
    }

    /// What a look gets to see, with all that may be wrong with it.
    fn shown(&mut self, system: usize, request: &Request, mut sight: Sight) -> Sight {
        if self.strikes(Fault::StaleRead) {
            self.systems[system].disturbed = Some(self.now);
            sight = self.systems[system].earlier();
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
        sight
    }

    fn note_deed(&mut self, system: usize, request: &Request, did: Did) {
        let (run, stage) = (request.run, request.stage);
        match did {
            Did::Nothing => {}
            Did::Staged => self.facts.push(Fact::Staged { run, stage, system }),
            Did::Took { before, after } => {
                say!(
                    self,
                    "{}     takes {}{run} {} -> {}",
                    system_name(system),
                    stage_word(stage),
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

fn stage_word(stage: Stage) -> &'static str {
    match stage {
        Stage::Forward => "#",
        Stage::Undo => "undo of #",
    }
}

fn ask_word(request: &Request) -> &'static str {
    match request.ask {
        Ask::Prepare(_) => "prepare",
        Ask::Commit => "commit",
        Ask::Abort => "abort",
        Ask::Look => "look",
    }
}
