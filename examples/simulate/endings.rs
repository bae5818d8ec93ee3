//! What must hold when a run ends, and when everything has come to rest.

use lockstep::config::OnFailure;
use lockstep::ids::Stage;
use lockstep::record::{Decision, Leaves, MemberState, Outcome};

use super::invariants::GhostMember;
use super::promises::{Broken, Promise, broken};
use super::store::Row;
use super::systems::{RunKey, Status};
use super::universe::{OWN, StateId, system_index, system_name};
use super::world::World;

impl World {
    /// A run has just got its outcome: it, the ledger and the outbox must say what is so.
    pub(crate) fn judge_end(&mut self, run: RunKey) -> Result<(), Broken> {
        self.judge_entries(run)?;
        let (Some(row), Some(known)) = (self.store.row(run), self.ghost.run(run)) else {
            return broken(
                Promise::OneOutcome,
                format!("#{run} ended, and nobody knows of it"),
            );
        };
        if self.place(known.revision) == usize::MAX {
            return broken(
                Promise::MergedOnly,
                format!(
                    "#{run} is for revision {}, which is not on main",
                    known.revision
                ),
            );
        }
        if row.ends > 1 {
            return broken(Promise::OneOutcome, format!("#{run} ended again"));
        }
        if !self.store.outbox.iter().any(|d| d.run == run) {
            return broken(Promise::Outbox, format!("#{run} ended and owes no status"));
        }
        let Some(outcome) = row.run.outcome.clone() else {
            return broken(
                Promise::OneOutcome,
                format!("#{run} ended without an outcome"),
            );
        };
        self.judge_records(run, row, &known.members)?;
        self.judge_outcome(run, row, &outcome)?;
        self.tally.count_outcome(outcome.name());
        self.note_end(run, &outcome);
        Ok(())
    }

    fn judge_entries(&mut self, run: RunKey) -> Result<(), Broken> {
        let from = std::mem::replace(&mut self.ghost.entries, self.store.ledger.len());
        let entries = &self.store.ledger[from..];
        self.tally.entries += u64::try_from(entries.len()).unwrap_or(0);
        let Some(row) = self.store.row(run) else {
            return Ok(());
        };
        let members = row.run.members.iter();
        let owed = members.map(|(name, m)| (Some(system_index(name)), Some(m.state.leaves())));
        let owed: Vec<_> = owed.chain([(None, None)]).collect();
        let has: Vec<_> = entries.iter().map(|e| (e.system, e.leaves)).collect();
        if has != owed || entries.iter().any(|e| e.run != run) {
            return broken(
                Promise::Ledger,
                format!("#{run} ended with other entries than it owes"),
            );
        }
        for (place, entry) in self.store.ledger.iter().enumerate().skip(from) {
            if usize::try_from(entry.seq).ok() != Some(place + 1) {
                return broken(
                    Promise::Ledger,
                    format!("entry {} stands where {} should", entry.seq, place + 1),
                );
            }
        }
        Ok(())
    }

    /// What the record says of each system.
    fn judge_records(&self, run: RunKey, row: &Row, members: &[GhostMember]) -> Result<(), Broken> {
        for member in members {
            let name = system_name(member.system);
            let Some(record) = row.run.members.get(&name) else {
                continue;
            };
            let kept = self.systems[member.system].kept.get(&(run, Stage::Forward));
            let is_aborted = kept.is_some_and(|kept| kept.status == Status::Aborted);
            let is_verified = matches!(record.state, MemberState::Verified { .. });
            let is_true = (record.state != MemberState::Aborted || is_aborted)
                && (!is_verified || member.is_seen)
                && (record.state != MemberState::Compensated
                    || self.stands(run, member, member.base));
            if !is_true {
                let promise = match record.state.leaves() {
                    Leaves::Target => Promise::Counted,
                    Leaves::Untouched | Leaves::Base | Leaves::Unknown => Promise::Truthful,
                };
                return broken(
                    promise,
                    format!("#{run} says of {name}: {:?}", record.state),
                );
            }
        }
        Ok(())
    }

    fn judge_outcome(&self, run: RunKey, row: &Row, outcome: &Outcome) -> Result<(), Broken> {
        let Some(known) = self.ghost.run(run) else {
            return Ok(());
        };
        let all_at = |at: fn(&GhostMember) -> StateId, left: &dyn Fn(usize) -> bool| {
            let mut rest = known.members.iter().filter(|m| !left(m.system));
            match rest.find(|m| !self.stands(run, m, at(m))) {
                None => Ok(()),
                Some(m) => broken(
                    Promise::AllOrNone,
                    format!(
                        "#{run} ended {}, and {} is at {}",
                        outcome.name(),
                        system_name(m.system),
                        self.systems[m.system].state.words()
                    ),
                ),
            }
        };
        let base: fn(&GhostMember) -> StateId = |m| m.base;
        let target: fn(&GhostMember) -> StateId = |m| m.target;
        match outcome {
            Outcome::InStep => self.judge_in_step(run, known.group, known.revision),
            Outcome::Applied { changes } => {
                if *changes != row.run.changes() || known.members.iter().any(|m| !m.is_seen) {
                    return broken(
                        Promise::Counted,
                        format!("#{run} is a success that nobody saw"),
                    );
                }
                all_at(target, &|_| false)
            }
            Outcome::Refused { .. }
            | Outcome::Unreachable { .. }
            | Outcome::Misconfigured { .. }
            | Outcome::Stale { .. }
            | Outcome::Interrupted
            | Outcome::Held { .. } => {
                if row.has(Decision::Commit) {
                    return broken(
                        Promise::Justified,
                        format!("#{run} was decided and given up"),
                    );
                }
                let kept =
                    |m: &GhostMember| self.systems[m.system].kept.get(&(run, Stage::Forward));
                let took = known
                    .members
                    .iter()
                    .find(|m| kept(m).is_some_and(|k| k.effects > 0));
                took.map_or(Ok(()), |m| {
                    broken(
                        Promise::AllOrNone,
                        format!(
                            "#{run} was given up and took effect on {}",
                            system_name(m.system)
                        ),
                    )
                })
            }
            Outcome::RolledBack { left, .. } => {
                all_at(base, &|s| left.contains_key(&system_name(s)))
            }
            Outcome::Stuck { systems } => {
                let is_disturbed = known
                    .members
                    .iter()
                    .any(|m| self.is_disturbed(m.system, known.started));
                if row.run.on_failure == OnFailure::Rollback && !is_disturbed {
                    return broken(
                        Promise::Justified,
                        format!("#{run} calls a person where every system kept its word"),
                    );
                }
                let there = match row.has(Decision::Compensate) {
                    true => base,
                    false => target,
                };
                all_at(there, &|s| systems.contains_key(&system_name(s)))
            }
        }
    }

    /// Zero of zero changes: what the revision declares is there.
    fn judge_in_step(&self, run: RunKey, group: usize, revision: usize) -> Result<(), Broken> {
        for system in &self.groups[group].systems {
            let is_there = self.differs(*system, revision).is_none();
            // The look was a moment ago.
            let since = self.now.saturating_sub(60_000);
            if !is_there && !self.is_disturbed(*system, since) {
                return broken(
                    Promise::Counted,
                    format!(
                        "#{run} finds {} in step, which is not",
                        system_name(*system)
                    ),
                );
            }
        }
        Ok(())
    }

    /// Whether a system's share of a run is in this state. One that somebody moved, or that broke its word, is where nobody can answer for.
    fn stands(&self, run: RunKey, member: &GhostMember, at: StateId) -> bool {
        let started = self.ghost.run(run).map_or(0, |known| known.started);
        let (has, base, target) = (
            self.systems[member.system].state.own(),
            member.base.own(),
            member.target.own(),
        );
        let touched = |slot: &usize| base[*slot] != target[*slot];
        (0..OWN)
            .filter(touched)
            .all(|slot| has[slot] == at.own()[slot])
            || self.is_disturbed(member.system, started)
    }

    pub(crate) fn is_disturbed(&self, system: usize, since: u64) -> bool {
        let system = &self.systems[system];
        system.pretends.is_some() || system.disturbed.is_some_and(|at| at >= since)
    }

    /// Takes what an end means into account: whose resources are, and what counts for ceilings.
    fn note_end(&mut self, run: RunKey, outcome: &Outcome) {
        let (Some(known), Some(row)) = (self.ghost.run(run), self.store.row(run)) else {
            return;
        };
        // What may be there after all was made by Lockstep, whatever is put in its place later. What a system showed to be gone is nobody's,
        // though it be there.
        let (mut made, mut disowned) = (Vec::new(), Vec::new());
        for member in &known.members {
            let record = row.run.members.get(&system_name(member.system));
            let left = record.map(|r| r.state.leaves());
            let (base, target) = (member.base.own(), member.target.own());
            let created = (0..OWN).filter(|slot| base[*slot] == 0 && target[*slot] != 0);
            let created = created.map(|slot| (member.system, slot));
            if left == Some(Leaves::Unknown) {
                made.extend(created);
            } else if left == Some(Leaves::Base) {
                disowned.extend(created);
            }
        }
        let (group, revision, now) = (known.group, known.revision, self.now);
        let mut releases = self.store.releases.iter();
        let counts = outcome.is_success() && !releases.any(|(plan, _)| *plan == row.run.plan);
        let deleted = known.members.iter().filter(|m| counts && m.deletes != 0);
        let deleted: Vec<_> = deleted.map(|m| (now, m.system, m.deletes)).collect();
        let gone: Vec<_> = known
            .members
            .iter()
            .map(|m| (m.system, m.deletes))
            .collect();
        self.ghost.deleted.extend(deleted);
        for (system, slot) in made {
            self.ghost.ours[system] |= 1 << slot;
        }
        for (system, slot) in disowned {
            self.ghost.strange[system] |=
                u8::from(self.systems[system].state.own()[slot] != 0) << slot;
        }
        if outcome.is_success() {
            for (system, deletes) in gone {
                self.ghost.ours[system] &= !deletes;
            }
            for system in &self.groups[group].systems {
                let declared = self.forge.revisions[revision].contents[*system];
                for (slot, content) in declared.iter().enumerate() {
                    self.ghost.ours[*system] |= u8::from(*content != 0) << slot;
                }
            }
        }
    }

    /// What has not come to rest, if anything.
    pub(crate) fn restless(&self) -> Option<(Promise, String)> {
        let head = self.forge.head();
        for (group, shape) in self.groups.iter().enumerate() {
            if let Some(row) = self.store.open(group).next() {
                return Some((
                    Promise::Ends,
                    format!("#{} of g{group} is open", super::store::key(&row.run)),
                ));
            }
            let row = &self.store.groups[group];
            if row.good != Some(head) {
                let last = row.last.as_ref().map_or_else(
                    || "nothing".to_owned(),
                    |(at, outcome)| format!("revision {at}: {outcome}"),
                );
                return Some((
                    Promise::Converges,
                    format!(
                        "g{group} is at {:?} and not at {head}; last was {last}",
                        row.good
                    ),
                ));
            }
            for system in &shape.systems {
                if let Some(words) = self.differs(*system, head) {
                    return Some((Promise::Converges, words));
                }
            }
        }
        for delivery in &self.store.outbox {
            let times = self.forge.arrived.get(&delivery.id);
            if !delivery.is_delivered || times.is_none() {
                return Some((
                    Promise::Outbox,
                    format!(
                        "status {} of g{} was never shown",
                        delivery.id, delivery.group
                    ),
                ));
            }
        }
        None
    }

    fn differs(&self, system: usize, head: usize) -> Option<String> {
        let wanted = self.forge.revisions[head].contents[system];
        let has = self.systems[system].state.own();
        let is_right = |slot: usize| {
            let bit = 1 << slot;
            // What nobody declares stays, where it is somebody else's.
            let may_stay =
                self.ghost.ours[system] & bit == 0 || self.ghost.strange[system] & bit != 0;
            wanted[slot] == has[slot] || (wanted[slot] == 0 && may_stay)
        };
        let wrong = (0..OWN).find(|slot| !is_right(*slot))?;
        Some(format!(
            "{} has {} where revision {head} says otherwise of resource {wrong}",
            system_name(system),
            self.systems[system].state.words()
        ))
    }
}
