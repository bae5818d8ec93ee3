//! The end of a run: what is written with it, and what comes after.

use std::rc::Rc;

use lockstep::plan::Op;
use lockstep::plan::safety::PastChange;
use lockstep::record::{Leaves, Outcome, Run};

use super::bugs::Bug;
use super::carry::Waits;
use super::replica::Job;
use super::store::{Call, Claims, Finish};
use super::universe::{moment, revision_index, slot_of, system_index};
use super::world::{Event, World};

impl World {
    /// The outcome is known: what is written before the run's end is.
    pub(crate) fn begin_end(&mut self, replica: usize, group: usize, outcome: &Outcome) {
        let to = self.token(replica, group);
        let keeps_fence = self.has(Bug::FenceKeptInDoubt);
        let Some(carry) = self.carry(replica, group) else {
            return;
        };
        if outcome.is_success() && !carry.run.members.is_empty() {
            carry.waits = Waits::UseRelease;
            let run = Rc::new(carry.run.clone());
            self.ask_store(to, Call::UseRelease { run });
        } else if carry.run.leaves_doubt() && !keeps_fence {
            // The next run is to be of a newer fence than what is still under way to that system. Written first, so that nobody sees the
            // run's end without it.
            self.give_back(replica, group);
        } else {
            self.finish(replica, group, false);
        }
    }

    fn give_back(&mut self, replica: usize, group: usize) {
        let to = self.token(replica, group);
        let Some(carry) = self.carry(replica, group) else {
            return;
        };
        carry.waits = Waits::GiveBack;
        let (fence, holder) = (carry.run.fence.0, (replica, to.inc));
        self.ask_store(
            to,
            Call::GiveBack {
                group,
                holder,
                fence,
            },
        );
    }

    pub(crate) fn finish(&mut self, replica: usize, group: usize, released: bool) {
        let to = self.token(replica, group);
        let Some(carry) = self.carry(replica, group) else {
            return;
        };
        carry.waits = Waits::Finish;
        let run = Rc::new(carry.run.clone());
        let finish = self.end_of(group, run, released);
        self.ask_store(to, Call::Finish(Box::new(finish)));
    }

    /// All that follows from a run's end.
    pub(crate) fn end_of(&self, group: usize, run: Rc<Run>, released: bool) -> Finish {
        let at = moment(self.now, 0);
        let good = run.outcome.as_ref().is_some_and(Outcome::is_success);
        let (mut past, mut claims) = (Vec::new(), Vec::new());
        for (name, member) in &run.members {
            let left = member.state.leaves();
            let is_there = left == Leaves::Target;
            let mut claim = Claims::default();
            for change in &member.changes {
                if is_there && !released {
                    past.push(PastChange {
                        at,
                        system: name.clone(),
                        id: change.id.clone(),
                        op: change.op,
                    });
                }
                let bit = 1 << slot_of(&change.id);
                match change.op {
                    Op::Delete if is_there => claim.gone |= bit,
                    Op::Create if !good && (is_there || left == Leaves::Unknown) => {
                        claim.own |= bit;
                    }
                    Op::Create | Op::Update | Op::Delete => {}
                }
            }
            if claim != Claims::default() {
                claims.push((system_index(name), claim));
            }
        }
        Finish {
            group,
            systems: self.groups[group].systems.clone(),
            revision: revision_index(&run.revision),
            past,
            claims,
            owes: self.bug != Some(Bug::OutboxOutsideTransaction),
            run,
        }
    }

    /// The run is over and that is written.
    pub(crate) fn ended(&mut self, replica: usize, group: usize) {
        let turn = &mut self.replicas[replica].turns[group];
        let Job::Carrying(carry) = std::mem::take(&mut turn.job) else {
            return;
        };
        let Some(outcome) = carry.run.outcome.clone() else {
            return;
        };
        let inc = self.replicas[replica].inc;
        self.queue
            .push(self.now + 1, Event::SendOwed { replica, inc });
        let turn = &mut self.replicas[replica].turns[group];
        let is_in_doubt = carry.run.leaves_doubt() && self.bug != Some(Bug::FenceKeptInDoubt);
        if is_in_doubt {
            turn.lease = None;
        }
        let Some((held, rest)) = carry.rest else {
            let (revision, next) = (revision_index(&carry.run.revision), outcome.next());
            turn.outcome = Some((revision, outcome));
            self.end_pass(replica, group, Some(next));
            return;
        };
        turn.pass += 1;
        if is_in_doubt {
            self.take_lease(replica, group);
        } else {
            self.recover(replica, group, held, rest);
        }
    }
}
