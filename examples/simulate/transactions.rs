//! What each of the store's writes does.

use std::rc::Rc;

use lockstep::ids::SystemName;
use lockstep::record::{Decision, Leaves, Member, Outcome, Run};

use super::bugs::Bug;
use super::store::{
    Answer, Claims, Delivery, Entry, Finish, Holder, Known, LEASE, No, Row, Store, Undo, Wrote, key,
};
use super::systems::RunKey;
use super::universe::{SYSTEMS, system_index};

type Done = (Result<Answer, No>, Wrote);

fn no(why: No) -> Done {
    (Err(why), Wrote::Nothing)
}

impl Store {
    pub(super) fn acquire(
        &mut self,
        group: usize,
        holder: Holder,
        now: u64,
        seconds: u64,
        bug: Option<Bug>,
    ) -> Done {
        let lease = &mut self.leases[group];
        let is_own = lease.holder == Some(holder);
        if lease.holder.is_some() && lease.expires >= now && !is_own {
            return (Ok(Answer::Fence(None)), Wrote::Nothing);
        }
        let before = lease.fence;
        let keeps = is_own && lease.expires >= now;
        if !keeps && (bug != Some(Bug::FenceNotRaised) || before == 0) {
            // Follows the caller's clock, and grows in any case.
            lease.fence = (before + 1).max(seconds / 1000);
        }
        let fence = lease.fence;
        lease.holder = Some(holder);
        lease.expires = now + LEASE;
        self.sync();
        let wrote = match is_own {
            true => Wrote::Nothing,
            false => Wrote::Lease {
                group,
                before,
                fence,
            },
        };
        (Ok(Answer::Fence(Some(fence))), wrote)
    }

    pub(super) fn renew(&mut self, group: usize, holder: Holder, fence: u64, now: u64) -> bool {
        let lease = &mut self.leases[group];
        if lease.holder != Some(holder) || lease.fence != fence || lease.expires < now {
            return false;
        }
        self.unsynced.push(Undo::Lease {
            group,
            expires: lease.expires,
        });
        lease.expires = now + LEASE;
        true
    }

    /// Gives a lease back, so that whoever takes it next, the same holder too, gets a new number.
    pub(super) fn give_back(&mut self, group: usize, holder: Holder, fence: u64) {
        let lease = &mut self.leases[group];
        if lease.holder == Some(holder) && lease.fence == fence {
            self.unsynced.push(Undo::Lease {
                group,
                expires: lease.expires,
            });
            lease.expires = 0;
        }
    }

    pub(super) fn known(&self, group: usize, systems: &[usize]) -> Known {
        let row = &self.groups[group];
        Known {
            good: row.good,
            failed: row.failed,
            last: row.last.clone(),
            systems: systems.iter().map(|s| (*s, self.systems[*s])).collect(),
        }
    }

    pub(super) fn claim(&mut self, claims: &[(usize, Claims)]) {
        for (system, Claims { own, other, gone }) in claims {
            let row = &mut self.systems[*system];
            row.own = (row.own | own) & !gone;
            row.other = (row.other | other) & !gone & !own;
            row.is_known = true;
        }
    }

    /// Whether a run may be written: not under an older fence, not as another group's, not after its end.
    fn guard(&self, group: usize, run: &Run, bug: Option<Bug>) -> Result<(), No> {
        let fenced = self.fence(group) > run.fence.0 && bug != Some(Bug::StoreIgnoresFences);
        if fenced {
            return Err(No::Fenced);
        }
        Ok(())
    }

    fn place(&mut self, run: RunKey) -> &mut Option<Row> {
        if self.runs.len() <= run {
            self.runs.resize_with(run + 1, || None);
        }
        &mut self.runs[run]
    }

    pub(super) fn save(&mut self, group: usize, run: Rc<Run>, bug: Option<Bug>) -> Done {
        if let Err(why) = self.guard(group, &run, bug) {
            return no(why);
        }
        let run_key = key(&run);
        match self.place(run_key) {
            Some(row) if row.ends > 0 => return no(No::Contradiction),
            Some(row) => row.run = run,
            place @ None => {
                *place = Some(Row {
                    group,
                    run,
                    decisions: Vec::new(),
                    ends: 0,
                });
            }
        }
        self.sync();
        (Ok(Answer::Done), Wrote::Saved(run_key))
    }

    pub(super) fn decide(
        &mut self,
        group: usize,
        run: Rc<Run>,
        decision: Decision,
        bug: Option<Bug>,
    ) -> Done {
        if let Err(why) = self.guard(group, &run, bug) {
            return no(why);
        }
        let run_key = key(&run);
        let Some(row) = self.place(run_key) else {
            return no(No::Contradiction);
        };
        if row.has(decision) {
            return (Ok(Answer::Done), Wrote::Nothing);
        }
        let allowed = match row.decisions.last() {
            None => decision == Decision::Commit,
            Some((last, _)) => *last == Decision::Commit && decision == Decision::Compensate,
        };
        if row.ends > 0 || !allowed {
            return no(No::Contradiction);
        }
        row.decisions.push((decision, run));
        if bug == Some(Bug::DecisionNotSynced) {
            self.unsynced.push(Undo::Decision { run: run_key });
        } else {
            self.sync();
        }
        (Ok(Answer::Done), Wrote::Decided(run_key, decision))
    }

    /// The end of a run and all that follows from it.
    pub(super) fn finish(&mut self, finish: Finish, bug: Option<Bug>) -> Done {
        let Finish {
            run,
            group,
            systems,
            revision,
            past,
            claims,
            owes,
        } = finish;
        if let Err(why) = self.guard(group, &run, bug) {
            if bug == Some(Bug::LedgerNumberLost) {
                self.next_entry += 1;
            }
            return no(why);
        }
        let run_key = key(&run);
        let Some(outcome) = run.outcome.clone() else {
            return no(No::Contradiction);
        };
        let row = self.place(run_key).get_or_insert_with(|| Row {
            group,
            run: run.clone(),
            decisions: Vec::new(),
            ends: 0,
        });
        if row.ends > 0 && bug != Some(Bug::EndsTwice) {
            return (Ok(Answer::Done), Wrote::Nothing);
        }
        row.ends += 1;
        row.run = run.clone();
        let success = outcome.is_success();
        let known = &mut self.groups[group];
        // Healing drift at the last good revision says nothing about a newer one that failed.
        let healing = known.good == Some(revision);
        if !healing && success {
            known.failed = None;
        } else if !healing && matches!(outcome, Outcome::RolledBack { .. }) {
            known.failed = Some(revision);
        }
        if success {
            known.good = Some(revision);
            for system in &systems {
                self.systems[*system].revision = Some(revision);
            }
        }
        known.last = Some((revision, outcome));
        self.past.extend(past);
        self.claim(&claims);
        self.enter(&run, run_key, bug);
        if owes {
            self.owe(run_key, group);
        }
        self.sync();
        (Ok(Answer::Done), Wrote::Ended(run_key))
    }

    /// The ledger's entries of a run: one for each system, then one for the whole.
    fn enter(&mut self, run: &Run, run_key: RunKey, bug: Option<Bug>) {
        let of_system = |(name, member): (&SystemName, &Member)| {
            (Some(system_index(name)), Some(member.state.leaves()))
        };
        let entries: Vec<(Option<usize>, Option<Leaves>)> = run
            .members
            .iter()
            .map(of_system)
            .chain([(None, None)])
            .collect();
        for (system, leaves) in entries {
            let is_rolled_back = leaves == Some(Leaves::Base);
            if bug == Some(Bug::LedgerEntryDropped) && is_rolled_back {
                continue;
            }
            let seq = match bug {
                Some(Bug::LedgerNumberLost) => self.next_entry + 1,
                _ => u64::try_from(self.ledger.len()).unwrap_or(u64::MAX) + 1,
            };
            self.next_entry = seq;
            self.ledger.push(Entry {
                seq,
                run: run_key,
                system,
                leaves,
            });
        }
    }

    pub(super) fn owe(&mut self, run: RunKey, group: usize) {
        self.outbox.push(Delivery {
            id: self.outbox.len(),
            group,
            run,
            attempts: 0,
            next: 0,
            is_delivered: false,
        });
    }

    /// The longest owed delivery of each destination, where its time has come: the next one waits for it.
    pub(super) fn owed(&self, now: u64, bug: Option<Bug>) -> Vec<Delivery> {
        let mut due = Vec::new();
        let mut is_waiting = [false; SYSTEMS];
        for delivery in self.outbox.iter().filter(|d| !d.is_delivered) {
            let waits = std::mem::replace(&mut is_waiting[delivery.group], true);
            if (!waits || bug == Some(Bug::DeliveriesOvertake)) && delivery.next <= now {
                due.push(delivery.clone());
            }
        }
        due
    }
}
