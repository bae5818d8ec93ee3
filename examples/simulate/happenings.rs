//! What happens by itself: merges, people, and the faults that strike without anybody doing anything. And how a seed's world begins.

use lockstep::config::OnFailure;
use lockstep::plan::safety::Rule;
use lockstep::record::{Next, Outcome};

use super::bugs::Bug;
use super::chance::Chance;
use super::faults::{Fault, Profile, Tally};
use super::forge::{Fate, Forge};
use super::invariants::{Fact, Ghost};
use super::queue::Queue;
use super::replica::Replica;
use super::store::Store;
use super::systems::System;
use super::universe::{OWN, SYSTEMS, StateId, THEIRS, system_name};
use super::world::{Event, GroupShape, LeaseClock, World, say};

/// How long faults go on, and how long everything may take to come to rest after that.
const STORM: u64 = 300_000;
const REST: u64 = 3_600_000;

/// Something that happens.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Happening {
    Merge,
    /// The same group's, soon after.
    MergeAgain(usize),
    /// A person looks at what is held or stuck.
    Person,
    ClockJump,
    StoreCut,
    PowerCut,
    StaleMain,
    Silence,
    Lie,
    Drift,
    /// Faults stop.
    Calm,
    /// Whether everything has come to rest.
    Rest,
}

impl World {
    pub(crate) fn new(seed: u64, bug: Option<Bug>, is_traced: bool) -> Self {
        let mut chance = Chance::new(seed);
        let weather = Profile::drawn(&mut chance);
        let mut count = 0;
        let groups: Vec<GroupShape> = (0..chance.between(1, 3))
            .filter_map(|n| {
                let first = count;
                count += usize::try_from(chance.between(2, 4)).unwrap_or(2);
                Some(GroupShape {
                    name: format!("g{n}").parse().ok()?,
                    systems: (first..count.min(SYSTEMS)).collect(),
                    on_failure: match chance.below(5) {
                        0 | 1 => OnFailure::Hold,
                        _ => OnFailure::Rollback,
                    },
                })
            })
            .collect();
        let contents = |chance: &mut Chance| [(); OWN].map(|()| content(chance, 4));
        let mut forge = Forge::default();
        let first: Vec<_> = groups
            .iter()
            .flat_map(|group| {
                let of_group = contents(&mut chance);
                group.systems.iter().map(move |_| of_group)
            })
            .collect();
        forge.first(first);
        let systems = (0..count)
            .map(|_| {
                // What stands there before Lockstep comes.
                let before = match chance.below(3) {
                    0 => contents(&mut chance),
                    _ => [0; OWN],
                };
                System::new(StateId::new(before, content(&mut chance, THEIRS)))
            })
            .collect();
        let replicas = (0..chance.between(1, 3))
            .map(|_| Replica::new(groups.len()))
            .collect();
        let mut world = Self {
            now: 0,
            queue: Queue::new(),
            bug,
            weather,
            lease_clock: match chance.below(2) {
                0 => LeaseClock::Store,
                _ => LeaseClock::Caller,
            },
            is_calm: false,
            is_over: false,
            store: Store::new(groups.len()),
            ghost: Ghost::new(count),
            groups,
            forge,
            systems,
            replicas,
            runs: 0,
            facts: Vec::new(),
            tally: Tally::default(),
            trace: is_traced.then(String::new),
            chance,
        };
        world.arrange();
        world
    }

    /// What will happen in this seed, and when.
    fn arrange(&mut self) {
        for replica in 0..self.replicas.len() {
            let soon = self.chance.below(3_000);
            self.queue.push(soon, Event::Start { replica });
            let ahead = self.chance.between(0, 4_000);
            self.replicas[replica].ahead = i64::try_from(ahead).unwrap_or(0) - 2_000;
        }
        let merges = self.chance.between(2, 6);
        self.at_random(merges, Happening::Merge);
        let by_itself = [
            (Fault::ClockJump, Happening::ClockJump),
            (Fault::StoreCut, Happening::StoreCut),
            (Fault::PowerCut, Happening::PowerCut),
            (Fault::StaleMain, Happening::StaleMain),
            (Fault::Silent, Happening::Silence),
            (Fault::Liar, Happening::Lie),
            (Fault::Drift, Happening::Drift),
        ];
        for (fault, happening) in by_itself {
            self.at_random(self.weather.rate(fault), happening);
        }
        self.at_random(STORM / 40_000, Happening::Person);
        self.queue.push(STORM, Event::Happens(Happening::Calm));
    }

    fn at_random(&mut self, times: u64, happening: Happening) {
        for _ in 0..times {
            let at = self.chance.below(STORM);
            self.queue.push(at, Event::Happens(happening));
        }
    }

    pub(crate) fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Merge => {
                // Who merges once often merges again.
                let group = self.chance.index(self.groups.len());
                if self.chance.of_1000(500) {
                    let soon = self.now + self.chance.between(1_000, 30_000);
                    self.queue.push(
                        soon.min(STORM - 1),
                        Event::Happens(Happening::MergeAgain(group)),
                    );
                }
                self.merge_into(group);
            }
            Happening::MergeAgain(group) => self.merge_into(group),
            Happening::Person => self.person(),
            Happening::ClockJump => {
                let replica = self.chance.index(self.replicas.len());
                let by = i64::try_from(self.chance.between(0, 240_000)).unwrap_or(0) - 120_000;
                self.replicas[replica].ahead = by;
                self.tally.count(Fault::ClockJump);
                say!(self, "r{replica}      has its clock set {by} ms ahead");
            }
            Happening::StoreCut => {
                let replica = self.chance.index(self.replicas.len());
                self.replicas[replica].cut_until = self.now + self.chance.between(5_000, 90_000);
                self.tally.count(Fault::StoreCut);
                say!(self, "r{replica}      is cut off from the store");
            }
            Happening::StaleMain => {
                let replica = self.chance.index(self.replicas.len());
                self.replicas[replica].behind_until =
                    self.now + self.chance.between(20_000, 150_000);
                self.tally.count(Fault::StaleMain);
                say!(self, "r{replica}      sees main as it was");
            }
            Happening::PowerCut => {
                self.store.power_cut();
                self.store.down_until = self.now + self.chance.between(100, 20_000);
                self.tally.count(Fault::PowerCut);
                self.facts.push(Fact::PowerCut);
                say!(self, "store   loses power");
            }
            Happening::Silence => {
                let system = self.chance.index(self.systems.len());
                self.systems[system].silent_until = self.now + self.chance.between(1_000, 90_000);
                self.tally.count(Fault::Silent);
                say!(self, "{}     falls silent", system_name(system));
            }
            Happening::Lie => {
                let system = self.chance.index(self.systems.len());
                self.systems[system].lies_until = self.now + self.chance.between(20_000, 120_000);
                self.tally.count(Fault::Liar);
                say!(self, "{}     begins to lie", system_name(system));
            }
            Happening::Drift => self.drift(),
            Happening::Calm => self.calm(),
            Happening::Rest => self.rest(),
        }
    }

    fn merge_into(&mut self, group: usize) {
        let fate = match self.chance.below(8) {
            0 if self.weather.rate(Fault::Refusal) > 0 => Fate::Refused,
            1 => Fate::Proposed,
            _ => Fate::Merged,
        };
        if !self.forge.is_full() {
            self.merge(group, fate);
        }
    }

    fn merge(&mut self, group: usize, fate: Fate) {
        let systems = self.groups[group].systems.clone();
        let Some(revision) = self.forge.write(&mut self.chance, &systems, fate) else {
            return;
        };
        say!(self, "forge   revision {revision} for g{group}: {fate:?}");
        if fate == Fate::Proposed && self.bug != Some(Bug::ProposalTakenForMain) {
            return;
        }
        for replica in 0..self.replicas.len() {
            if self.strikes(Fault::NewsLost) {
                continue;
            }
            let at = self.now + self.chance.between(20, 2_000);
            let inc = self.replicas[replica].inc;
            self.queue.push(at, Event::News { replica, inc });
        }
    }

    fn drift(&mut self) {
        let system = self.chance.index(self.systems.len());
        let before = self.systems[system].state;
        let (mut own, mut theirs) = (before.own(), before.theirs());
        let slot = self.chance.index(OWN + 2).min(OWN);
        match own.get_mut(slot) {
            Some(place) => *place = content(&mut self.chance, 4),
            None => theirs = content(&mut self.chance, THEIRS),
        }
        self.facts.push(Fact::Drifted { system, slot });
        let after = StateId::new(own, theirs);
        self.systems[system].drift(after, self.now);
        self.tally.count(Fault::Drift);
        say!(
            self,
            "{}     is changed by hand: {} -> {}",
            system_name(system),
            before.words(),
            after.words()
        );
    }

    /// A person who reads what groups wait for, and mostly acts.
    fn person(&mut self) {
        for group in 0..self.groups.len() {
            let Some((revision, outcome)) = self.store.groups[group].last.clone() else {
                continue;
            };
            if !self.is_calm && self.chance.of_1000(400) {
                continue;
            }
            match &outcome {
                Outcome::Held { plan, breaches } => {
                    // What nobody has checked is fetched, not released.
                    let is_lost = breaches.iter().any(|b| matches!(b.rule, Rule::Lost { .. }));
                    let is_there = self
                        .store
                        .releases
                        .iter()
                        .any(|(p, used)| p == plan && used.is_none());
                    if !is_lost && !is_there {
                        self.store.releases.push((*plan, None));
                        say!(self, "person  releases plan {} of g{group}", plan.0.short());
                    }
                }
                // Another revision is what helps.
                Outcome::InStep
                | Outcome::Applied { .. }
                | Outcome::Refused { .. }
                | Outcome::Unreachable { .. }
                | Outcome::Misconfigured { .. }
                | Outcome::Stale { .. }
                | Outcome::Interrupted
                | Outcome::RolledBack { .. }
                | Outcome::Stuck { .. } => {
                    let wants = matches!(outcome.next(), Next::Person | Next::NewRevision);
                    if wants && self.is_calm && revision == self.forge.head() {
                        self.merge(group, Fate::Merged);
                    }
                }
            }
        }
    }

    /// Faults stop: what is broken is mended, clocks are set, and one more revision is merged for every group.
    fn calm(&mut self) {
        say!(self, "        calm");
        self.is_calm = true;
        for replica in &mut self.replicas {
            replica.ahead = 0;
            replica.cut_until = 0;
            replica.behind_until = 0;
        }
        for system in &mut self.systems {
            system.silent_until = 0;
            system.lies_until = 0;
            system.pretends = None;
        }
        for group in 0..self.groups.len() {
            self.merge(group, Fate::Merged);
        }
        self.queue
            .push(self.now + 20_000, Event::Happens(Happening::Rest));
    }

    fn rest(&mut self) {
        self.person();
        let restless = self.restless();
        if restless.is_none() || self.now > STORM + REST {
            self.facts.push(Fact::Over { restless });
            self.is_over = true;
            return;
        }
        self.queue
            .push(self.now + 20_000, Event::Happens(Happening::Rest));
    }
}

fn content(chance: &mut Chance, of: usize) -> u8 {
    u8::try_from(chance.index(of)).unwrap_or(0)
}
