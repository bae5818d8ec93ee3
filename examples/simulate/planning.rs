//! From what was seen of a group's systems to a run, or to the reason why there is none. It follows the library's `engine::group`, `ownership`
//! and `conclude`.

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
use super::replica::{Job, Scene};
use super::store::{Call, Claims, key};
use super::universe::{OWN, StateId, moment, revision, system_name};
use super::world::{World, say};

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
    /// Every system has answered or not: what is whose, and what each should have.
    pub(crate) fn looked(&mut self, replica: usize, group: usize, mut scene: Scene) {
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
    pub(crate) fn consider(&mut self, replica: usize, group: usize, scene: Scene) {
        let settled = scene.known.good == Some(scene.revision);
        let systems = self.groups[group].systems.clone();
        let mut failures = Failures::new();
        let mut plan = Plan {
            revision: Some(revision(scene.revision)),
            systems: BTreeMap::new(),
        };
        for (n, system) in systems.iter().enumerate() {
            match &scene.seen[n] {
                Some(Ok(observed)) if *observed == scene.desired[n] => {}
                Some(Ok(observed)) => {
                    plan.systems
                        .insert(system_name(*system), observed.plan_to(scene.desired[n]));
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

    pub(crate) fn guarded(
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
