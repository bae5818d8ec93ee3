//! One pass of a replica over a group, up to the run: lead, look, plan, ask the guard. It follows the library's `engine::lead`, `group` and
//! `conclude`; urgent changes that go ahead of the others are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::LazyLock;

use lockstep::config::{Ceiling, Config, Consistency, Percent, Safety};
use lockstep::ids::{Fence, PlanDigest, RunId};
use lockstep::plan::Plan;
use lockstep::plan::safety::{Breach, GuardContext, Own, PastChange, Rule, guard};
use lockstep::record::{ConnectorError, Failure, Failures, Next, Opening, Outcome, Run, Trigger};
use uuid::Uuid;

use super::bugs::{self, Bug};
use super::carry::Carry;
use super::invariants::Fact;
use super::replica::{Held, Job, Scene};
use super::store::{Answer, Call, Claims, Known, LEASE, No, key};
use super::systems::{Ask, Reply, Request, Sight};
use super::universe::{OWN, StateId, moment, revision, system_name};
use super::world::{Tag, Token, World, say};

/// The deletes that pass unasked on one system, in one run and over the window.
pub(crate) const DELETES: u64 = 1;
/// The window, in hours.
pub(crate) const WINDOW: u64 = 1;

/// The ceilings that hold in every simulation.
static CONFIG: LazyLock<Config> = LazyLock::new(|| Config {
    safety: Safety {
        default: Ceiling {
            delete_percent: Percent::new(100.0).unwrap_or(Ceiling::DEFAULT.delete_percent),
            delete_count: DELETES,
            update_percent: Percent::new(75.0).unwrap_or(Ceiling::DEFAULT.update_percent),
            window_hours: WINDOW,
            small: 0,
        },
        overrides: BTreeMap::new(),
    },
    ..Config::default()
});

static OWN_ACCESS: LazyLock<Own> = LazyLock::new(Own::default);

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
    pub(crate) fn from_store(&mut self, to: Token, answer: Result<Answer, No>) {
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

    pub(crate) fn from_system(&mut self, to: Token, tag: Tag, system: usize, reply: Reply) {
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

    /// Every system has answered or not: what is whose, and what each should have.
    fn looked(&mut self, replica: usize, group: usize, mut scene: Scene) {
        let mut claims = Vec::new();
        for (n, system) in self.groups[group].systems.iter().enumerate() {
            let repo = self.forge.revisions[scene.revision].contents[*system];
            let mut desired = StateId::new(repo, 0);
            if let Some(Ok(observed)) = &scene.seen[n] {
                let row = scene.known.systems[n].1;
                let declared = row
                    .revision
                    .map(|r| self.forge.revisions[r].contents[*system]);
                let (mut own, mut claim) = (repo, Claims::default());
                for slot in (0..OWN).filter(|slot| repo[*slot] == 0 && observed.own()[*slot] != 0) {
                    let bit = 1 << slot;
                    let is_declared = declared.is_some_and(|d| d[slot] != 0);
                    let is_ours =
                        row.own & bit != 0 || is_declared || self.bug == Some(Bug::OthersDeleted);
                    claim.own |= if is_declared { bit & !row.own } else { 0 };
                    claim.other |= if !is_ours && !row.is_known { bit } else { 0 };
                    if !is_ours {
                        own[slot] = observed.own()[slot];
                    }
                }
                let theirs = match self.bug {
                    Some(Bug::OthersOverwritten) => 0,
                    _ => observed.theirs(),
                };
                desired = StateId::new(own, theirs);
                if !row.is_known || claim != Claims::default() {
                    claims.push((*system, claim));
                }
                self.facts.push(Fact::Observed {
                    system: *system,
                    state: *observed,
                });
            }
            scene.desired.push(desired);
        }
        if self.bug == Some(Bug::SuccessUnseen) {
            for (seen, desired) in scene.seen.iter_mut().zip(&scene.desired) {
                if matches!(seen, Some(Err(_))) {
                    *seen = Some(Ok(*desired));
                }
            }
        }
        if claims.is_empty() {
            self.consider(replica, group, scene);
            return;
        }
        self.replicas[replica].turns[group].job = Job::Noting(Box::new(scene));
        let to = self.token(replica, group);
        self.ask_store(to, Call::Note { claims });
    }

    /// From what was seen to a plan, or to the reason why there is none.
    fn consider(&mut self, replica: usize, group: usize, scene: Scene) {
        let settled = scene.known.good == Some(scene.revision);
        let systems = self.groups[group].systems.clone();
        let mut failures = Failures::new();
        let mut plan = Plan {
            revision: Some(revision(scene.revision)),
            systems: BTreeMap::new(),
        };
        for (n, system) in systems.iter().enumerate() {
            match &scene.seen[n] {
                Some(Ok(observed)) => {
                    if *observed != scene.desired[n] {
                        plan.systems
                            .insert(system_name(*system), observed.plan_to(scene.desired[n]));
                    }
                }
                Some(Err(message)) => {
                    let error = ConnectorError::Transient {
                        message: message.clone(),
                    };
                    failures.insert(system_name(*system), Failure::Said { error });
                }
                None => {}
            }
        }
        if !failures.is_empty() {
            if settled {
                self.end_pass(replica, group, Some(Next::Retry));
            } else {
                let outcome = Outcome::Unreachable { systems: failures };
                self.conclude(replica, group, &scene, &Plan::default(), outcome);
            }
            return;
        }
        if plan.is_empty() {
            if settled {
                self.end_pass(replica, group, Some(Next::Done));
            } else {
                self.conclude(replica, group, &scene, &Plan::default(), Outcome::InStep);
            }
            return;
        }
        let turn = &self.replicas[replica].turns[group];
        if let Some((at, Outcome::Stuck { .. })) = &turn.outcome
            && *at == scene.revision
        {
            self.end_pass(replica, group, Some(Next::Person));
            return;
        }
        let digest = plan.digest();
        self.replicas[replica].turns[group].job = Job::Guarding(Box::new(scene), plan, digest);
        let to = self.token(replica, group);
        self.ask_store(to, Call::Guard { plan: digest });
    }

    fn guarded(
        &mut self,
        replica: usize,
        group: usize,
        scene: &Scene,
        (plan, digest): (Plan, PlanDigest),
        released: Option<PlanDigest>,
        past: &[PastChange],
    ) {
        let context = GuardContext {
            now: moment(self.now, self.replicas[replica].ahead),
            past,
            observed: &BTreeMap::new(),
            released,
            own: &OWN_ACCESS,
            by_date: &BTreeSet::new(),
        };
        let mut breaches = guard(&plan, &CONFIG, &context);
        if let (true, Some(good)) = (scene.is_good_lost, scene.known.good) {
            breaches.extend(plan.systems.keys().map(|system| Breach {
                system: system.clone(),
                kind: String::new(),
                rule: Rule::Lost {
                    revision: revision(good),
                },
                count: 1,
                rows: 1,
                limit: 0,
            }));
        }
        if !breaches.is_empty() && self.bug != Some(Bug::CeilingIgnored) {
            let outcome = Outcome::Held {
                plan: digest,
                breaches,
            };
            self.conclude(replica, group, scene, &plan, outcome);
            return;
        }
        let run = self.open(replica, group, scene, &plan);
        say!(
            self,
            "r{replica} g{group}   opens #{} for revision {}: {} changes on {} systems",
            key(&run),
            scene.revision,
            run.changes(),
            run.members.len()
        );
        let (run, effects) = bugs::start(
            self.bug,
            run,
            moment(self.now, self.replicas[replica].ahead),
        );
        self.carry_out(replica, group, Carry::new(run, effects, None));
    }

    fn open(&mut self, replica: usize, group: usize, scene: &Scene, plan: &Plan) -> Run {
        self.runs += 1;
        self.tally.runs += 1;
        let shape = &self.groups[group];
        let opening = Opening {
            id: RunId(Uuid::from_u128(self.runs)),
            group: shape.name.clone(),
            revision: revision(scene.revision),
            trigger: Trigger::Merge,
            consistency: Consistency::Lockstep,
            on_failure: shape.on_failure,
            fence: Fence(scene.fence),
            started_at: moment(self.now, self.replicas[replica].ahead),
        };
        let run = Run::open(opening, plan);
        self.ghost.opened(self.now, group, scene.revision, &run);
        run
    }

    /// Ends a pass without a run of the protocol. The same outcome for the same revision is recorded once.
    fn conclude(
        &mut self,
        replica: usize,
        group: usize,
        scene: &Scene,
        plan: &Plan,
        outcome: Outcome,
    ) {
        let turn = &self.replicas[replica].turns[group];
        let is_said = turn
            .outcome
            .as_ref()
            .is_some_and(|(at, before)| *at == scene.revision && is_same(before, &outcome));
        if is_said {
            self.end_pass(replica, group, Some(outcome.next()));
            return;
        }
        let at = moment(self.now, self.replicas[replica].ahead);
        let run = self
            .open(replica, group, scene, plan)
            .concluded(outcome.clone(), at);
        say!(
            self,
            "r{replica} g{group}   concludes #{} for revision {}: {outcome}",
            key(&run),
            scene.revision
        );
        self.replicas[replica].turns[group].job = Job::Concluding(scene.revision, outcome);
        let to = self.token(replica, group);
        let mut finish = self.end_of(group, Rc::new(run), false);
        finish.owes = true;
        self.ask_store(to, Call::Finish(Box::new(finish)));
    }
}

fn is_same(a: &Outcome, b: &Outcome) -> bool {
    a.name() == b.name()
        && match (a, b) {
            (Outcome::Held { plan, .. }, Outcome::Held { plan: other, .. }) => plan == other,
            _ => a.failures() == b.failures(),
        }
}
