//! The simulated store: transactions that are whole or not at all, leases with fencing numbers, runs and their decisions, and with the end of
//! a run its ledger entries, its deliveries and what is known of its systems. What was written without syncing goes with the power.
//!
//! Its rules are those of the library's `store`: a write under an older fence is refused, a decision stands once, a run ends once.

use std::rc::Rc;

use lockstep::ids::{PlanDigest, RunId};
use lockstep::plan::safety::PastChange;
use lockstep::record::{Decision, Leaves, Outcome, Run};

use super::bugs::Bug;
use super::systems::RunKey;
use super::universe::SYSTEMS;

/// A replica and which start of it.
pub(crate) type Holder = (usize, u32);

/// How long a lease lasts, in milliseconds.
pub(crate) const LEASE: u64 = 30_000;

#[derive(Debug, Clone)]
pub(crate) enum Call {
    /// `now` is the caller's clock.
    Acquire {
        group: usize,
        holder: Holder,
        now: u64,
    },
    Renew {
        group: usize,
        holder: Holder,
        fence: u64,
        now: u64,
    },
    GiveBack {
        group: usize,
        holder: Holder,
        fence: u64,
    },
    Open {
        group: usize,
    },
    Group {
        group: usize,
        systems: Vec<usize>,
    },
    /// What the guard must know about a plan.
    Guard {
        plan: PlanDigest,
    },
    Note {
        claims: Vec<(usize, Claims)>,
    },
    Save {
        group: usize,
        run: Rc<Run>,
    },
    Decide {
        group: usize,
        run: Rc<Run>,
        decision: Decision,
    },
    UseRelease {
        run: Rc<Run>,
    },
    Finish(Box<Finish>),
    Owe {
        run: RunKey,
        group: usize,
    },
    Owed {
        now: u64,
    },
    Delivered {
        id: usize,
    },
    Failed {
        id: usize,
        next: u64,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Finish {
    pub(crate) run: Rc<Run>,
    pub(crate) group: usize,
    /// All systems of the group.
    pub(crate) systems: Vec<usize>,
    pub(crate) revision: usize,
    /// What counts for later ceilings.
    pub(crate) past: Vec<PastChange>,
    pub(crate) claims: Vec<(usize, Claims)>,
    pub(crate) owes: bool,
}

/// Resources of a system, a bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) own: u8,
    pub(crate) other: u8,
    pub(crate) gone: u8,
}

#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Done,
    Fence(Option<u64>),
    Is(bool),
    Open(Vec<Rc<Run>>),
    Group(Box<Known>),
    Guard {
        released: bool,
        past: Vec<PastChange>,
    },
    Owed(Vec<Delivery>),
}

/// Why a call came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum No {
    /// A newer holder was here.
    Fenced,
    /// It contradicts what is written.
    Contradiction,
    /// No answer in time: it may have been done, or not, or be done later.
    Silence,
}

/// What is known of a group.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) good: Option<usize>,
    pub(crate) failed: Option<usize>,
    pub(crate) last: Option<(usize, Outcome)>,
    pub(crate) systems: Vec<(usize, SystemRow)>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemRow {
    pub(crate) revision: Option<usize>,
    pub(crate) own: u8,
    pub(crate) other: u8,
    pub(crate) is_known: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) id: usize,
    pub(crate) group: usize,
    pub(crate) run: RunKey,
    pub(crate) attempts: u8,
    pub(crate) next: u64,
    pub(crate) is_delivered: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) run: RunKey,
    /// `None` for the run as a whole.
    pub(crate) system: Option<usize>,
    pub(crate) leaves: Option<Leaves>,
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) group: usize,
    pub(crate) run: Rc<Run>,
    pub(crate) decisions: Vec<(Decision, Rc<Run>)>,
    pub(crate) ends: u32,
}

impl Row {
    pub(crate) fn has(&self, decision: Decision) -> bool {
        self.decisions.iter().any(|(taken, _)| *taken == decision)
    }
}

#[derive(Debug, Default)]
pub(super) struct Lease {
    pub(super) holder: Option<Holder>,
    pub(super) fence: u64,
    pub(super) expires: u64,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct GroupRow {
    pub(crate) good: Option<usize>,
    pub(crate) failed: Option<usize>,
    pub(crate) last: Option<(usize, Outcome)>,
}

/// What takes back a write that was not synced.
#[derive(Debug)]
pub(super) enum Undo {
    Lease { group: usize, expires: u64 },
    Attempt { id: usize, attempts: u8, next: u64 },
    Decision { run: RunKey },
}

/// What was written, for who watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrote {
    Nothing,
    /// Somebody else than before has a lease.
    Lease {
        group: usize,
        before: u64,
        fence: u64,
    },
    Saved(RunKey),
    Decided(RunKey, Decision),
    Ended(RunKey),
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(super) leases: Vec<Lease>,
    /// By number; a run that was never written has no row.
    pub(crate) runs: Vec<Option<Row>>,
    pub(crate) groups: Vec<GroupRow>,
    pub(super) systems: [SystemRow; SYSTEMS],
    pub(super) past: Vec<PastChange>,
    pub(crate) releases: Vec<(PlanDigest, Option<RunId>)>,
    pub(crate) ledger: Vec<Entry>,
    pub(super) next_entry: u64,
    pub(crate) outbox: Vec<Delivery>,
    pub(super) unsynced: Vec<Undo>,
    pub(crate) down_until: u64,
}

/// A run's number.
pub(crate) fn key(run: &Run) -> RunKey {
    usize::try_from(run.id.0.as_u128()).unwrap_or(usize::MAX)
}

impl Store {
    pub(crate) fn new(groups: usize) -> Self {
        Self {
            leases: (0..groups).map(|_| Lease::default()).collect(),
            groups: vec![GroupRow::default(); groups],
            ..Self::default()
        }
    }

    pub(crate) fn row(&self, run: RunKey) -> Option<&Row> {
        self.runs.get(run)?.as_ref()
    }

    pub(crate) fn fence(&self, group: usize) -> u64 {
        self.leases[group].fence
    }

    pub(crate) fn open(&self, group: usize) -> impl Iterator<Item = &Row> {
        let rows = self.runs.iter().flatten();
        rows.filter(move |row| row.group == group && row.ends == 0)
    }

    /// The machine under the store loses power.
    pub(crate) fn power_cut(&mut self) {
        for undo in std::mem::take(&mut self.unsynced).into_iter().rev() {
            match undo {
                Undo::Lease { group, expires } => self.leases[group].expires = expires,
                Undo::Attempt { id, attempts, next } => {
                    self.outbox[id].attempts = attempts;
                    self.outbox[id].next = next;
                }
                Undo::Decision { run } => {
                    if let Some(Some(row)) = self.runs.get_mut(run) {
                        row.decisions.pop();
                    }
                }
            }
        }
    }

    /// One call, as one transaction. `clock` is the store's own, where leases obey that.
    pub(crate) fn call(
        &mut self,
        call: Call,
        clock: Option<u64>,
        bug: Option<Bug>,
    ) -> (Result<Answer, No>, Wrote) {
        let done = |answer| (Ok(answer), Wrote::Nothing);
        match call {
            Call::Acquire { group, holder, now } => {
                self.acquire(group, holder, clock.unwrap_or(now), now, bug)
            }
            Call::Renew {
                group,
                holder,
                fence,
                now,
            } => {
                let kept = self.renew(group, holder, fence, clock.unwrap_or(now));
                done(Answer::Is(kept))
            }
            Call::Open { group } => {
                let open = self.open(group).map(|row| {
                    let last = row.decisions.last();
                    last.map_or(&row.run, |(_, body)| body).clone()
                });
                done(Answer::Open(open.collect()))
            }
            Call::Group { group, systems } => {
                done(Answer::Group(Box::new(self.known(group, &systems))))
            }
            Call::Guard { plan } => {
                let any = bug == Some(Bug::ReleaseForAnyPlan);
                let is_for = |of: &PlanDigest| *of == plan || any;
                let mut releases = self.releases.iter();
                let released = releases.any(|(of, used)| is_for(of) && (used.is_none() || any));
                // The guard itself picks the systems it is about.
                let past = self.past.clone();
                done(Answer::Guard { released, past })
            }
            Call::Note { claims } => {
                self.sync();
                self.claim(&claims);
                done(Answer::Done)
            }
            Call::Save { group, run } => self.save(group, run, bug),
            Call::Decide {
                group,
                run,
                decision,
            } => self.decide(group, run, decision, bug),
            Call::GiveBack {
                group,
                holder,
                fence,
            } => {
                self.give_back(group, holder, fence);
                done(Answer::Done)
            }
            Call::UseRelease { run } => {
                self.sync();
                let used = self
                    .releases
                    .iter_mut()
                    .find(|(plan, by)| *plan == run.plan && by.is_none_or(|by| by == run.id));
                let found = used.is_some();
                if let Some((_, by)) = used {
                    *by = Some(run.id);
                }
                done(Answer::Is(found))
            }
            Call::Finish(finish) => self.finish(*finish, bug),
            Call::Owe { run, group } => {
                self.sync();
                self.owe(run, group);
                done(Answer::Done)
            }
            Call::Owed { now } => done(Answer::Owed(self.owed(now, bug))),
            Call::Delivered { id } => {
                self.sync();
                self.outbox[id].is_delivered = true;
                done(Answer::Done)
            }
            Call::Failed { id, next } => {
                let delivery = &mut self.outbox[id];
                let (attempts, before) = (delivery.attempts, delivery.next);
                self.unsynced.push(Undo::Attempt {
                    id,
                    attempts,
                    next: before,
                });
                delivery.attempts = attempts.saturating_add(1);
                delivery.next = next;
                done(Answer::Done)
            }
        }
    }

    /// A synced write takes everything before it along.
    pub(super) fn sync(&mut self) {
        self.unsynced.clear();
    }
}
