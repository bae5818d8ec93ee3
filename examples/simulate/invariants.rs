//! What must hold after every step. What happened comes in as facts, and is held against the state of the store, the systems and the
//! forge themselves: not against what a replica believes.

use lockstep::ids::Stage;
use lockstep::protocol::Call;
use lockstep::record::{Decision, Run};

use super::bugs::Bug;
use super::promises::{Broken, Promise, broken};
use super::store::{Wrote, key};
use super::systems::RunKey;
use super::universe::{OWN, StateId, slot_of, system_index, system_name};
use super::world::World;

/// Something that happened and is to be judged.
#[derive(Debug, Clone)]
pub(crate) enum Fact {
    /// The store took a write.
    Wrote {
        fence: u64,
        current: u64,
    },
    Stored(Wrote),
    PowerCut,
    ReadBack {
        is_same: bool,
    },
    /// A replica took this for what a system holds.
    Observed {
        system: usize,
        state: StateId,
    },
    Asked {
        run: RunKey,
        call: Call,
        is_over: bool,
    },
    /// A system did what it was asked.
    Accepted {
        fence: u64,
        seen: u64,
    },
    Showed {
        run: RunKey,
        stage: Stage,
        system: usize,
        listed: StateId,
    },
    Staged {
        run: RunKey,
        stage: Stage,
        system: usize,
    },
    Took {
        run: RunKey,
        stage: Stage,
        system: usize,
        before: StateId,
        after: StateId,
    },
    Drifted {
        system: usize,
        slot: usize,
    },
    Shown {
        destination: usize,
        status: usize,
    },
    /// The end, and what has not come to rest.
    Over {
        restless: Option<(Promise, String)>,
    },
}

/// What is known of a run besides what is in the store.
#[derive(Debug)]
pub(crate) struct GhostRun {
    pub(crate) started: u64,
    pub(crate) group: usize,
    pub(crate) revision: usize,
    pub(crate) members: Vec<GhostMember>,
}

#[derive(Debug)]
pub(crate) struct GhostMember {
    pub(crate) system: usize,
    pub(crate) base: StateId,
    pub(crate) target: StateId,
    /// Resources that it deletes.
    pub(crate) deletes: u8,
    /// It listed the target to this run.
    pub(crate) is_seen: bool,
}

/// What the observer of the simulation keeps in mind.
#[derive(Debug)]
pub(crate) struct Ghost {
    runs: Vec<GhostRun>,
    /// Resources on each system that are Lockstep's: it made them, or a revision that held there declared them.
    pub(crate) ours: Vec<u8>,
    /// Resources that somebody has changed by hand, or that a system falsely showed to be gone: they may stay.
    pub(crate) strange: Vec<u8>,
    /// When which resources were deleted where, as far as that counts for ceilings.
    pub(crate) deleted: Vec<(u64, usize, u8)>,
    pub(crate) entries: usize,
    shown: Vec<Option<usize>>,
}

impl Ghost {
    pub(crate) fn new(systems: usize) -> Self {
        Self {
            runs: Vec::new(),
            ours: vec![0; systems],
            strange: vec![0; systems],
            deleted: Vec::new(),
            entries: 0,
            shown: vec![None; systems],
        }
    }

    /// A run is opened; runs are numbered from 1.
    pub(crate) fn opened(&mut self, now: u64, group: usize, revision: usize, run: &Run) {
        let members = run.members.iter().filter_map(|(name, member)| {
            let deletes = member.changes.iter().filter(|c| c.after.is_none());
            Some(GhostMember {
                system: system_index(name),
                base: StateId::of(member.base)?,
                target: StateId::of(member.target)?,
                deletes: deletes.fold(0, |mask, c| mask | 1 << slot_of(&c.id)),
                is_seen: false,
            })
        });
        self.runs.push(GhostRun {
            started: now,
            group,
            revision,
            members: members.collect(),
        });
        debug_assert_eq!(self.runs.len(), key(run));
    }

    /// A system listed this to a run.
    fn showed(&mut self, run: RunKey, system: usize, listed: StateId) {
        let known = run.checked_sub(1).and_then(|n| self.runs.get_mut(n));
        let members = known.map_or(&mut [][..], |known| &mut known.members);
        let seen = members.iter_mut();
        let seen = seen.filter(|m| m.system == system && m.target == listed);
        seen.for_each(|member| member.is_seen = true);
    }

    pub(crate) fn run(&self, run: RunKey) -> Option<&GhostRun> {
        self.runs.get(run.checked_sub(1)?)
    }
}

impl World {
    /// Holds what happened in this step against the promises.
    pub(crate) fn judge(&mut self) -> Result<(), Broken> {
        let facts = std::mem::take(&mut self.facts);
        for fact in &facts {
            self.tally.checks += 1;
            self.judge_fact(fact)?;
        }
        self.facts = facts;
        self.facts.clear();
        if self.store.ledger.len() != self.ghost.entries {
            return broken(
                Promise::Ledger,
                "an entry was written without the end of a run".to_owned(),
            );
        }
        Ok(())
    }

    fn judge_fact(&mut self, fact: &Fact) -> Result<(), Broken> {
        match fact {
            Fact::Wrote { fence, current } if fence < current => broken(
                Promise::Fenced,
                format!("the store took a write under fence {fence} after {current}"),
            ),
            Fact::Accepted { fence, seen } if fence < seen => broken(
                Promise::Fenced,
                format!("a system did what was asked under fence {fence} after {seen}"),
            ),
            Fact::ReadBack { is_same: false } => broken(
                Promise::ReadBack,
                "a run read from the store is another than was written".to_owned(),
            ),
            Fact::Wrote { .. } | Fact::Accepted { .. } | Fact::ReadBack { .. } => Ok(()),
            Fact::Stored(wrote) => self.judge_write(*wrote),
            Fact::PowerCut => self.judge_power_cut(),
            Fact::Observed { system, state } => self.judge_look(*system, *state),
            Fact::Asked { run, call, is_over } => self.judge_question(*run, *call, *is_over),
            Fact::Showed {
                run,
                stage,
                system,
                listed,
            } => {
                if *stage == Stage::Forward {
                    self.ghost.showed(*run, *system, *listed);
                }
                Ok(())
            }
            Fact::Staged { run, stage, system } => self.judge_staging(*run, *stage, *system),
            Fact::Took {
                run,
                stage,
                system,
                before,
                after,
            } => {
                self.judge_effect(*run, *stage, *system)?;
                self.judge_ownership(*stage, *system, *before, *after)
            }
            Fact::Drifted { system, slot } => {
                self.ghost.strange[*system] |= 1 << slot;
                Ok(())
            }
            Fact::Shown {
                destination,
                status,
            } => self.judge_status(*destination, *status),
            Fact::Over {
                restless: Some((promise, words)),
            } => broken(*promise, words.clone()),
            Fact::Over { restless: None } => Ok(()),
        }
    }

    /// What a replica took for a system's state. What was hidden from it, it can't know to be Lockstep's.
    fn judge_look(&mut self, system: usize, state: StateId) -> Result<(), Broken> {
        if !self.systems[system].was_ever(state) {
            return broken(
                Promise::CompleteOrError,
                format!(
                    "{} was taken to hold {}, which it never did",
                    system_name(system),
                    state.words()
                ),
            );
        }
        let (has, shown) = (self.systems[system].state.own(), state.own());
        for slot in (0..OWN).filter(|slot| has[*slot] != 0 && shown[*slot] == 0) {
            self.ghost.strange[system] |= 1 << slot;
        }
        Ok(())
    }

    fn judge_status(&mut self, destination: usize, status: usize) -> Result<(), Broken> {
        let before = self.ghost.shown[destination].replace(status);
        if before.is_some_and(|before| before >= status) {
            return broken(
                Promise::Outbox,
                format!("status {status} of g{destination} took effect after {before:?}"),
            );
        }
        Ok(())
    }

    fn judge_write(&mut self, wrote: Wrote) -> Result<(), Broken> {
        match wrote {
            Wrote::Nothing => Ok(()),
            Wrote::Lease {
                group,
                before,
                fence,
            } => {
                self.tally.overtaken += 1;
                if fence <= before {
                    return broken(
                        Promise::Fenced,
                        format!("a new holder of g{group} got fence {fence} after {before}"),
                    );
                }
                Ok(())
            }
            Wrote::Saved(run) => {
                let group = self.store.row(run).map_or(0, |row| row.group);
                let open = self.store.open(group).count();
                if open > 1 {
                    return broken(
                        Promise::OneAtATime,
                        format!("g{group} has {open} open runs"),
                    );
                }
                Ok(())
            }
            Wrote::Decided(run, Decision::Commit) => self.judge_decision(run),
            Wrote::Decided(_, Decision::Compensate) => Ok(()),
            Wrote::Ended(run) => self.judge_end(run),
        }
    }

    fn judge_decision(&self, run: RunKey) -> Result<(), Broken> {
        let (Some(known), Some(row)) = (self.ghost.run(run), self.store.row(run)) else {
            return Ok(());
        };
        for member in &known.members {
            if !self.has_prepared(run, member.system) {
                return broken(
                    Promise::InStep,
                    format!(
                        "#{run} is decided, and {} has not prepared",
                        system_name(member.system)
                    ),
                );
            }
        }
        let good = self.store.groups[known.group].good;
        if good.is_some_and(|good| self.place(known.revision) < self.place(good)) {
            return broken(
                Promise::NeverBackwards,
                format!(
                    "#{run} goes to revision {}, and g{} is at {good:?}",
                    known.revision, known.group
                ),
            );
        }
        self.judge_ceilings(known, &row.run)
    }

    fn judge_ceilings(&self, known: &GhostRun, run: &Run) -> Result<(), Broken> {
        if self
            .store
            .releases
            .iter()
            .any(|(plan, _)| *plan == run.plan)
        {
            return Ok(());
        }
        // Clocks are some minutes apart, so the edge of the window is nobody's.
        let window = super::planning::WINDOW * 3_600_000 - 600_000;
        for member in known.members.iter().filter(|m| m.deletes != 0) {
            let counts = |(at, system, _): &&(u64, usize, u8)| {
                *system == member.system && at + window > self.now
            };
            let past = self.ghost.deleted.iter().filter(counts);
            let all = past.fold(member.deletes, |mask, (_, _, slots)| mask | slots);
            if u64::from(all.count_ones()) > super::planning::DELETES {
                return broken(
                    Promise::Ceilings,
                    format!(
                        "{} of {} is decided without a release",
                        all.count_ones(),
                        system_name(member.system)
                    ),
                );
            }
        }
        Ok(())
    }

    /// Whether a system has staged a run's share at some time.
    pub(crate) fn has_prepared(&self, run: RunKey, system: usize) -> bool {
        let kept = self.systems[system].kept.get(&(run, Stage::Forward));
        kept.is_some_and(|kept| kept.was_staged)
    }

    /// Whether this bug is planted.
    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }
}
