//! What must hold after every step. What happened comes in as facts, and is held against the state of the store, the systems and the
//! forge themselves: not against what a replica believes.

use std::fmt;

use lockstep::ids::Stage;
use lockstep::protocol::Call;
use lockstep::record::{Decision, Leaves, Run};

use super::bugs::Bug;
use super::store::{Row, Wrote, key};
use super::systems::{RunKey, Status};
use super::universe::{OWN, StateId, slot_of, system_index, system_name};
use super::world::World;

/// A promise, by its number in the list of the documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    InStep,
    OneAtATime,
    MergedOnly,
    NeverBackwards,
    CompleteOrError,
    Counted,
    SavedFirst,
    DecidedFirst,
    AllOrNone,
    Truthful,
    Justified,
    OneOutcome,
    QuietAfterEnd,
    OnceOnly,
    Fenced,
    ReadBack,
    Ends,
    Ceilings,
    OnlyItsOwn,
    Ledger,
    Outbox,
    Converges,
}

impl Promise {
    pub(crate) const ALL: [(Self, &'static str); 22] = [
        (
            Self::InStep,
            "no decision and no commit before every system has prepared; no older run takes effect where a newer one is prepared",
        ),
        (Self::OneAtATime, "at most one open run in a group"),
        (
            Self::MergedOnly,
            "what is not on the main branch reaches no system, and no run is for it",
        ),
        (
            Self::NeverBackwards,
            "no run for a revision before the last good one",
        ),
        (
            Self::CompleteOrError,
            "nothing is planned on a state that the system never showed in full",
        ),
        (
            Self::Counted,
            "a success was seen on every system, change for change",
        ),
        (
            Self::SavedFirst,
            "nothing is asked before the run is in the store",
        ),
        (
            Self::DecidedFirst,
            "no commit without a durable decision to commit, no undoing without one to compensate",
        ),
        (
            Self::AllOrNone,
            "at the end all are at the target or all at the base, or the outcome names the others",
        ),
        (Self::Truthful, "what a run's record says of a system is so"),
        (
            Self::Justified,
            "no one is called, and nothing given up, where the systems kept their word",
        ),
        (Self::OneOutcome, "a run ends once"),
        (Self::QuietAfterEnd, "nothing is asked after the outcome"),
        (Self::OnceOnly, "a changeset takes effect at most once"),
        (
            Self::Fenced,
            "nothing is written or done under an older fence; a new holder has a newer one",
        ),
        (Self::ReadBack, "a stored run comes back as it was"),
        (Self::Ends, "every run ends once faults stop"),
        (
            Self::Ceilings,
            "what goes past a ceiling waits for the release of that very plan",
        ),
        (
            Self::OnlyItsOwn,
            "nothing is touched or deleted that is somebody else's",
        ),
        (
            Self::Ledger,
            "an ended run has its entries, all of them, numbered without a gap",
        ),
        (
            Self::Outbox,
            "an ended run owes its status from the same moment; each arrives, in order, and takes effect once",
        ),
        (
            Self::Converges,
            "once faults stop every group comes to the newest revision",
        ),
    ];
}

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

/// A promise that was broken.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    pub(crate) promise: Promise,
    pub(crate) words: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.words)
    }
}

pub(crate) fn broken<T>(promise: Promise, words: String) -> Result<T, Broken> {
    Err(Broken { promise, words })
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
            Fact::Observed { system, state } if !self.systems[*system].was_ever(*state) => broken(
                Promise::CompleteOrError,
                format!(
                    "{} was taken to hold {}, which it never did",
                    system_name(*system),
                    state.words()
                ),
            ),
            Fact::Observed { system, state } => {
                let (has, shown) = (self.systems[*system].state.own(), state.own());
                for slot in (0..OWN).filter(|slot| has[*slot] != 0 && shown[*slot] == 0) {
                    self.ghost.strange[*system] |= 1 << slot;
                }
                Ok(())
            }
            Fact::Asked { run, call, is_over } => self.judge_question(*run, *call, *is_over),
            Fact::Showed {
                run,
                stage,
                system,
                listed,
            } => {
                if let (Stage::Forward, Some(known)) = (
                    stage,
                    run.checked_sub(1).and_then(|n| self.ghost.runs.get_mut(n)),
                ) {
                    let seen = known
                        .members
                        .iter_mut()
                        .filter(|m| m.system == *system && m.target == *listed);
                    seen.for_each(|member| member.is_seen = true);
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
            } => {
                let before = self.ghost.shown[*destination].replace(*status);
                if before.is_some_and(|before| before >= *status) {
                    return broken(
                        Promise::Outbox,
                        format!("status {status} of g{destination} took effect after {before:?}"),
                    );
                }
                Ok(())
            }
            Fact::Over {
                restless: Some((promise, words)),
            } => broken(*promise, words.clone()),
            Fact::Over { restless: None } => Ok(()),
        }
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
        let window = super::pass::WINDOW * 3_600_000 - 600_000;
        for member in known.members.iter().filter(|m| m.deletes != 0) {
            let counts = |(at, system, _): &&(u64, usize, u8)| {
                *system == member.system && at + window > self.now
            };
            let past = self.ghost.deleted.iter().filter(counts);
            let all = past.fold(member.deletes, |mask, (_, _, slots)| mask | slots);
            if u64::from(all.count_ones()) > super::pass::DELETES {
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

    fn judge_power_cut(&self) -> Result<(), Broken> {
        let took = |run: RunKey, stage| {
            let all = self.systems.iter();
            all.filter_map(|s| s.kept.get(&(run, stage)))
                .any(|kept| kept.effects > 0)
        };
        for row in self.store.runs.iter().flatten() {
            let run = key(&row.run);
            let is_lost = (!row.has(Decision::Commit) && took(run, Stage::Forward))
                || (!row.has(Decision::Compensate) && took(run, Stage::Undo));
            if is_lost {
                return broken(
                    Promise::DecidedFirst,
                    format!("the decision about #{run} went with the power, and it is carried out"),
                );
            }
        }
        Ok(())
    }

    fn judge_question(&self, run: RunKey, call: Call, is_over: bool) -> Result<(), Broken> {
        let row = self.store.row(run);
        let has = |decision| row.is_some_and(|row: &Row| row.has(decision));
        if is_over {
            return broken(
                Promise::QuietAfterEnd,
                format!("{call:?} of #{run} is asked, which is over"),
            );
        }
        match call {
            _ if row.is_none() => broken(
                Promise::SavedFirst,
                format!("{call:?} of #{run}, which is not in the store"),
            ),
            Call::Commit if !has(Decision::Commit) => broken(
                Promise::DecidedFirst,
                format!("commit of #{run} without a decision"),
            ),
            Call::Undo if !has(Decision::Compensate) => broken(
                Promise::DecidedFirst,
                format!("undoing of #{run} without a decision"),
            ),
            Call::Prepare | Call::Commit | Call::Abort | Call::Undo | Call::Observe(_) => Ok(()),
        }
    }

    fn judge_staging(&self, run: RunKey, stage: Stage, system: usize) -> Result<(), Broken> {
        let Some(known) = self.ghost.run(run).filter(|_| stage == Stage::Forward) else {
            return Ok(());
        };
        if self.place(known.revision) == usize::MAX {
            return broken(
                Promise::MergedOnly,
                format!(
                    "{} staged revision {}, which is not on main",
                    system_name(system),
                    known.revision
                ),
            );
        }
        Ok(())
    }

    /// What was still under way when its run ended may take effect only where that end leaves open where the system stands.
    fn judge_late_effect(&mut self, run: RunKey, system: usize) -> Result<(), Broken> {
        let Some(row) = self.store.row(run).filter(|row| row.ends > 0) else {
            return Ok(());
        };
        let name = system_name(system);
        let left = row.run.members.get(&name).map(|m| m.state.leaves());
        let started = self.ghost.run(run).map_or(0, |known| known.started);
        if left != Some(Leaves::Unknown) && !self.is_disturbed(system, started) {
            return broken(
                Promise::Truthful,
                format!("#{run} took effect on {name}, of which its end says {left:?}"),
            );
        }
        self.systems[system].disturbed = Some(self.now);
        Ok(())
    }

    fn judge_effect(&mut self, run: RunKey, stage: Stage, system: usize) -> Result<(), Broken> {
        let name = system_name(system);
        let kept = &self.systems[system].kept;
        if kept.get(&(run, stage)).is_some_and(|k| k.effects > 1) {
            return broken(
                Promise::OnceOnly,
                format!("#{run} took effect twice on {name}"),
            );
        }
        let decision = match stage {
            Stage::Forward => Decision::Commit,
            Stage::Undo => Decision::Compensate,
        };
        if !self.store.row(run).is_some_and(|row| row.has(decision)) {
            return broken(
                Promise::DecidedFirst,
                format!("#{run} took effect on {name} without a decision"),
            );
        }
        self.judge_late_effect(run, system)?;
        if stage == Stage::Undo {
            return Ok(());
        }
        let kept = &self.systems[system].kept;
        let newer = kept
            .range((run + 1, Stage::Forward)..)
            .find(|(_, k)| k.was_staged && k.status != Status::Aborted);
        if let Some(((newer, _), _)) = newer {
            return broken(
                Promise::InStep,
                format!("#{run} took effect on {name}, where #{newer} is prepared already"),
            );
        }
        let members = self.ghost.run(run).map_or(&[][..], |known| &known.members);
        match members.iter().find(|m| !self.has_prepared(run, m.system)) {
            Some(member) => broken(
                Promise::InStep,
                format!(
                    "#{run} took effect on {name}, and {} has not prepared",
                    system_name(member.system)
                ),
            ),
            None => Ok(()),
        }
    }

    fn judge_ownership(
        &mut self,
        stage: Stage,
        system: usize,
        before: StateId,
        after: StateId,
    ) -> Result<(), Broken> {
        let name = system_name(system);
        if before.theirs() != after.theirs() {
            return broken(
                Promise::OnlyItsOwn,
                format!("what is somebody else's on {name} was changed"),
            );
        }
        for slot in 0..OWN {
            let bit = 1 << slot;
            let (was, is) = (before.own()[slot] != 0, after.own()[slot] != 0);
            let ours = &mut self.ghost.ours[system];
            if was && !is && stage == Stage::Forward && *ours & bit == 0 {
                return broken(
                    Promise::OnlyItsOwn,
                    format!("what is not Lockstep's on {name} was deleted"),
                );
            }
            if !was && is {
                *ours |= bit;
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
