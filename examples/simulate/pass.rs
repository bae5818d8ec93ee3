//! One pass of a replica over a group: lead, take up what is open, look. It follows the library's `engine::lead`, `group` and `look`; urgent
//! changes that go ahead of the others are left out.

use lockstep::record::Next;

use super::bugs::Bug;
use super::replica::{Held, Job, Scene};
use super::store::{Answer, Call, Known, LEASE, No};
use super::systems::{Ask, Reply, Request, Sight};
use super::universe::StateId;
use super::world::{Tag, Token, World, say};

impl World {
    pub(crate) fn due(&mut self, to: Token) {
        let turn = &self.replicas[to.replica].turns[to.group];
        if turn.pass == to.pass && matches!(turn.job, Job::Idle) {
            self.begin_pass(to.replica, to.group);
        }
    }

    pub(crate) fn begin_pass(&mut self, replica: usize, group: usize) {
        if self.now >= self.replicas[replica].behind_until {
            self.replicas[replica].head = match self.bug {
                Some(Bug::ProposalTakenForMain) => self.forge.revisions.len() - 1,
                _ => self.forge.head(),
            };
        }
        let turn = &mut self.replicas[replica].turns[group];
        turn.pass += 1;
        match turn.lease {
            Some(held) if self.now < held.fresh_until => self.read_group(replica, group, held),
            Some(held) => {
                turn.job = Job::Leading {
                    asked_at: self.now,
                    renews: Some(held.fence),
                };
                let (now, to) = (self.clock_of(replica), self.token(replica, group));
                let (holder, fence) = ((replica, to.inc), held.fence);
                self.ask_store(
                    to,
                    Call::Renew {
                        group,
                        holder,
                        fence,
                        now,
                    },
                );
            }
            None => self.take_lease(replica, group),
        }
    }

    pub(crate) fn take_lease(&mut self, replica: usize, group: usize) {
        let turn = &mut self.replicas[replica].turns[group];
        turn.lease = None;
        turn.outcome = None;
        turn.job = Job::Leading {
            asked_at: self.now,
            renews: None,
        };
        let (now, to) = (self.clock_of(replica), self.token(replica, group));
        let holder = (replica, to.inc);
        self.ask_store(to, Call::Acquire { group, holder, now });
    }

    pub(crate) fn read_group(&mut self, replica: usize, group: usize, held: Held) {
        let systems = self.groups[group].systems.clone();
        let turn = &mut self.replicas[replica].turns[group];
        turn.job = Job::Reading { held };
        let to = self.token(replica, group);
        self.ask_store(to, Call::Group { group, systems });
    }

    /// The store's answer to a pass.
    pub(crate) fn store_says(&mut self, to: Token, answer: Result<Answer, No>) {
        if Self::is_for_sender(to) {
            self.sender_hears(to, answer);
            return;
        }
        let (replica, group) = (to.replica, to.group);
        let turn = &mut self.replicas[replica].turns[group];
        if turn.pass != to.pass {
            return;
        }
        if matches!(turn.job, Job::Carrying(_)) {
            self.carried(to, answer);
            return;
        }
        let Ok(answer) = answer else {
            self.drop_pass(replica, group);
            return;
        };
        match (std::mem::take(&mut turn.job), answer) {
            (
                Job::Leading {
                    asked_at,
                    renews: Some(fence),
                },
                Answer::Is(true),
            ) => {
                let held = Held {
                    fence,
                    fresh_until: asked_at + LEASE / 2,
                };
                turn.lease = Some(held);
                self.read_group(replica, group, held);
            }
            (Job::Leading { .. }, Answer::Is(_)) => self.take_lease(replica, group),
            (Job::Leading { asked_at, .. }, Answer::Fence(Some(fence))) => {
                let held = Held {
                    fence,
                    fresh_until: asked_at + LEASE / 2,
                };
                say!(self, "r{replica} g{group}   leads under fence {fence}");
                self.replicas[replica].turns[group].job = Job::Opening { held };
                self.ask_store(to, Call::Open { group });
            }
            (Job::Leading { .. }, Answer::Fence(None)) => {
                self.end_pass(replica, group, Some(Next::Retry))
            }
            (Job::Opening { held }, Answer::Open(open)) => {
                let open = match self.bug {
                    Some(Bug::OpenRunsForgotten) => Vec::new(),
                    _ => open,
                };
                self.recover(replica, group, held, open);
            }
            (Job::Reading { held }, Answer::Group(known)) => {
                if turn.lease.is_none() {
                    turn.outcome.clone_from(&known.last);
                    turn.lease = Some(held);
                }
                self.look(to, held.fence, *known);
            }
            (Job::Noting(scene), _) => self.consider(replica, group, *scene),
            (Job::Guarding(scene, plan, digest), Answer::Guard { released, past }) => {
                let released = released.then_some(digest);
                self.guarded(replica, group, &scene, (plan, digest), released, &past);
            }
            (Job::Concluding(revision, outcome), _) => {
                let next = outcome.next();
                turn.outcome = Some((revision, outcome));
                self.end_pass(replica, group, Some(next));
            }
            // An answer that fits no question.
            _ => self.drop_pass(replica, group),
        }
    }

    /// Settles what the group is to be held to, and asks its systems what they hold.
    fn look(&mut self, to: Token, fence: u64, known: Known) {
        let (replica, group) = (to.replica, to.group);
        let head = self.replicas[replica].head;
        let is_known = |good: usize| self.place(good) <= self.place(head);
        let is_good_lost =
            known.good.is_some_and(|good| !is_known(good)) && self.bug != Some(Bug::MovesBackwards);
        let is_failed = known.failed == Some(head);
        if self.bug == Some(Bug::FailedIsFinal) && known.failed.is_some() {
            self.end_pass(replica, group, None);
            return;
        }
        let revision = match (is_failed, known.good) {
            (false, _) => head,
            (true, Some(good)) if !is_good_lost => good,
            (true, _) => {
                self.end_pass(replica, group, None);
                return;
            }
        };
        let systems = self.groups[group].systems.clone();
        let scene = Scene {
            fence,
            known,
            revision,
            is_good_lost,
            seen: vec![None; systems.len()],
            desired: Vec::new(),
        };
        self.replicas[replica].turns[group].job = Job::Looking(Box::new(scene));
        for system in systems {
            let request = Request {
                run: 0,
                stage: lockstep::ids::Stage::Forward,
                ask: Ask::Look,
                fence,
            };
            self.ask_system(to, Tag::Look, system, request);
        }
    }

    /// How far along the main branch a revision is; one that is not on it counts as the newest.
    pub(crate) fn place(&self, revision: usize) -> usize {
        let known = self.forge.revisions.get(revision);
        known.and_then(|r| r.place).unwrap_or(usize::MAX)
    }

    pub(crate) fn system_says(&mut self, to: Token, tag: Tag, system: usize, reply: Reply) {
        if self.replicas[to.replica].turns[to.group].pass != to.pass {
            return;
        }
        if tag != Tag::Look {
            self.run_hears(to, tag, system, reply);
            return;
        }
        let seen = match reply {
            Reply::Seen(sight) => self.observed(to, system, sight),
            Reply::Error(error) => Err(error.to_string()),
            Reply::Done(_) => Err("that is no state".to_owned()),
        };
        let Some(place) = self.groups[to.group]
            .systems
            .iter()
            .position(|s| *s == system)
        else {
            return;
        };
        let turn = &mut self.replicas[to.replica].turns[to.group];
        let Job::Looking(scene) = &mut turn.job else {
            return;
        };
        scene.seen[place] = Some(seen);
        if scene.seen.iter().all(Option::is_some)
            && let Job::Looking(scene) = std::mem::take(&mut turn.job)
        {
            self.looked(to.replica, to.group, *scene);
        }
    }

    /// What is made of a look: a listing that does not give the digest announced is an error, and what is as it should be is not read.
    fn observed(&mut self, to: Token, system: usize, sight: Sight) -> Result<StateId, String> {
        if self.bug == Some(Bug::PartialTakenForWhole) {
            return Ok(sight.listed);
        }
        let Job::Looking(scene) = &self.replicas[to.replica].turns[to.group].job else {
            return Err("nobody looks".to_owned());
        };
        let repo = self.forge.revisions[scene.revision].contents[system];
        let is_desired = sight.announced == StateId::new(repo, sight.announced.theirs());
        if sight.announced == sight.listed || is_desired {
            Ok(sight.announced)
        } else {
            Err("a bucket does not match its digest".to_owned())
        }
    }
}
