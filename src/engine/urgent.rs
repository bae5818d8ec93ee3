//! Changes that do not wait: where a group can't move together, every system that can gets its urgent ones by itself.
//!
//! A revoked admin or a blocked address must not stay because another system is away, hangs, refuses something else, or because a freeze, or a ceiling
//! of another kind, holds the rest. The others get theirs when they are back: the next whole plan holds it for them.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};

use super::drift::split;
use super::execute::{Ending, unfinished};
use super::group::{Memory, Pass, connected, report};
use super::look::Scene;
use super::{Engine, EngineError, GroupReport};
use crate::config::Group;
use crate::ids::{GroupName, PlanDigest, ResourceRef, SystemName};
use crate::plan::safety::{self, Rule};
use crate::plan::{Change, Plan, SystemPlan};
use crate::protocol;
use crate::record::{Condition, ConditionReason, ConditionState, Failure, Leaves, Outcome, Run};
use crate::resource::Direction;
use crate::state::State;
use crate::store::Reach;

/// What urgent runs did, by system.
pub(super) type Ahead = BTreeMap<SystemName, BTreeSet<ResourceRef>>;

/// Urgent changes that came to nothing.
#[derive(Debug, Clone)]
pub(super) struct Tried {
    plan: PlanDigest,
    failures: u32,
    /// `None`: not again as they are.
    again_at: Option<Timestamp>,
}

/// How many of a group's latest runs are looked through.
const LOOK_BACK: u32 = 30;

/// 5 s doubling to about 40 min.
const PAUSE_SECONDS: i64 = 5;
const DOUBLINGS: u32 = 9;

/// One system's urgent changes, and how many of its others wait.
struct Share {
    system: SystemName,
    plan: Plan,
    rest: usize,
    /// It was part of what came to nothing just now: if it can't go by itself either, nothing new is to be said.
    is_told: bool,
}

impl Engine {
    /// A pass that came to `done`, and after it the urgent changes of the systems that can take them.
    pub(super) async fn and_urgent(
        &self,
        pass: &Pass<'_>,
        scene: &Scene,
        mut done: GroupReport,
        memory: &mut Memory,
    ) -> Result<GroupReport, EngineError> {
        let Some(why) = &done.outcome else {
            return Ok(done);
        };
        let Some(unable) = unable(why) else {
            memory.urgent.clear();
            return Ok(done);
        };
        let held = matches!(why, Outcome::Held { .. });
        let shares = self
            .urgent_shares(pass, scene, (why, &unable), memory)
            .await?;
        let shares = shares.into_iter().filter_map(|share| match held {
            // What the guard holds as a whole may go in part.
            true => Some(Share {
                is_told: true,
                ..share
            }),
            false => (!share.is_told).then_some(share),
        });
        let mut runs = Vec::new();
        for share in shares {
            let run = self
                .share_run(pass, scene, &share.plan)
                .urgent(share.rest, why.to_string());
            runs.extend(self.guarded(pass, scene, run, share, memory).await?);
        }
        for (system, condition) in self.carry_out_urgent(pass, scene, runs, memory).await? {
            memory.conditions.insert(system.clone(), condition.clone());
            done.conditions.insert(system, condition);
        }
        Ok(done)
    }

    /// The urgent changes of the systems that have answered, while the others are still waited for. Gives back which of them it was tried on.
    pub(super) async fn ahead_of_the_silent(
        &self,
        pass: &Pass<'_>,
        scene: &Scene,
        memory: &mut Memory,
    ) -> Result<Vec<SystemName>, EngineError> {
        let mut partly = report(pass, &scene.revision, None);
        partly.outcome = Some(Outcome::aborted(scene.failures.clone()));
        let done = self.and_urgent(pass, scene, partly, memory).await?;
        Ok(done.conditions.into_keys().collect())
    }

    /// What of each system's plan is urgent, where the system can take it and it is not what was tried just now.
    async fn urgent_shares(
        &self,
        pass: &Pass<'_>,
        scene: &Scene,
        (why, unable): (&Outcome, &BTreeSet<SystemName>),
        memory: &mut Memory,
    ) -> Result<Vec<Share>, EngineError> {
        if pass.group.urgent.is_empty() {
            return Ok(Vec::new());
        }
        let (plan, _) = self.plan_group(pass, scene, memory).await?;
        let whole = plan.digest();
        let mut shares = Vec::new();
        for (system, share) in plan.systems {
            let Some(observed) = scene
                .observed
                .get(&system)
                .filter(|_| !unable.contains(&system))
            else {
                continue;
            };
            let (urgent, waiting) = safety::urgent(share, observed, &pass.group.urgent);
            // What a ceiling holds is looked at by a person as it is, all of its kind.
            let (urgent, held) = split(urgent, observed, |c| !is_past_ceiling(why, c));
            let plan = of_one(scene, &system, urgent);
            let digest = plan.digest();
            let tried = memory.urgent.get(&system).filter(|t| t.plan == digest);
            let now = self.clock.now();
            if !plan.is_empty() && tried.is_none_or(|t| t.again_at.is_some_and(|at| at <= now)) {
                shares.push(Share {
                    system,
                    plan,
                    rest: waiting.len() + held.len(),
                    is_told: scene.failures.is_empty() && digest == whole,
                });
            }
        }
        Ok(shares)
    }

    fn share_run(&self, pass: &Pass<'_>, scene: &Scene, plan: &Plan) -> Run {
        let opening = self.opening(pass, scene, scene.trigger(pass));
        scene.dating_of(Run::open(opening, plan), plan)
    }

    /// The run of a share as far as the guard lets it go. Kinds that are held are left out; where nothing else is left, that is recorded, so that a
    /// person can release it.
    async fn guarded(
        &self,
        pass: &Pass<'_>,
        scene: &Scene,
        run: Run,
        share: Share,
        memory: &mut Memory,
    ) -> Result<Option<Run>, EngineError> {
        let Share {
            system,
            mut plan,
            rest,
            is_told,
        } = share;
        let breaches = self.breaches(pass, scene, &plan, memory).await?;
        if breaches.is_empty() {
            return Ok(Some(run));
        }
        let digest = plan.digest();
        let (Some(share), Some(observed)) =
            (plan.systems.remove(&system), scene.observed.get(&system))
        else {
            return Ok(None);
        };
        let (free, waiting) = split(share, observed, |c| {
            !breaches.iter().any(|b| safety::concerns(b, c))
        });
        let free = of_one(scene, &system, free);
        if !free.is_empty() && self.breaches(pass, scene, &free, memory).await?.is_empty() {
            let waits_for: Vec<String> = breaches.iter().map(ToString::to_string).collect();
            return Ok(Some(
                self.share_run(pass, scene, &free)
                    .urgent(rest + waiting.len(), waits_for.join("; ")),
            ));
        }
        // Asked again on every pass, because somebody may release it; said once.
        let tried = Tried {
            plan: digest,
            failures: 0,
            again_at: Some(Timestamp::MIN),
        };
        let before = memory.urgent.insert(system.clone(), tried);
        if is_told || before.is_some_and(|b| b.plan == digest) {
            return Ok(None);
        }
        let outcome = Outcome::Held {
            plan: digest,
            breaches,
        };
        let run = run.concluded(outcome, self.clock.now());
        self.finish(&run, &Ending::default()).await?;
        memory.conditions.extend(run.conditions());
        Ok(None)
    }

    /// Carries the runs out, each by itself, and says where their systems stand afterwards.
    async fn carry_out_urgent(
        &self,
        pass: &Pass<'_>,
        scene: &Scene,
        runs: Vec<Run>,
        memory: &mut Memory,
    ) -> Result<BTreeMap<SystemName, Condition>, EngineError> {
        let (links, ending, patient) = (connected(pass.links), Ending::default(), BTreeSet::new());
        let carried = join_all(runs.into_iter().map(async |run| {
            let (run, effects) = protocol::start(run, self.clock.now());
            tracing::info!(run.id = %run.id, group.name = %pass.name, revision = %run.revision, changes = run.changes(), "urgent changes do not wait");
            self.carry_out(run, effects, &links, &ending, &patient).await
        }))
        .await;
        let mut conditions = BTreeMap::new();
        for run in carried {
            let run = run?;
            let Some(outcome) = &run.outcome else {
                // Whoever leads next takes it up from the store.
                tracing::warn!(run.id = %run.id, "{}", unfinished(&run));
                self.note_open(&run, memory).await?;
                memory.lease = None;
                continue;
            };
            if run.leaves_doubt() {
                memory.lease = None;
            }
            for (system, member) in &run.members {
                if let Some(left) = super::finish::left_with(&run, system) {
                    memory.known.insert(system.clone(), left);
                }
                if outcome.is_success() {
                    memory.urgent.remove(system);
                    if let (Some(Ok(link)), Some(observed)) =
                        (pass.links.get(system), scene.observed.get(system))
                    {
                        link.remember(&crate::plan::apply(&member.changes, observed));
                    }
                } else {
                    let failed = tried(
                        memory.urgent.get(system),
                        run.plan,
                        outcome,
                        self.clock.now(),
                    );
                    memory.urgent.insert(system.clone(), failed);
                }
            }
            conditions.extend(run.conditions());
        }
        Ok(conditions)
    }
}

impl Engine {
    /// What urgent runs did on the group's systems since it was last at a revision as a whole.
    pub(super) async fn gone_ahead(&self, group: &GroupName) -> Result<Ahead, EngineError> {
        let whole = self
            .store
            .recent_runs(group, Reach::Whole, LOOK_BACK)
            .await?;
        let is_good = |outcome: &serde_json::Value| {
            serde_json::from_value::<Outcome>(outcome.clone()).is_ok_and(|o| o.is_success())
        };
        let good = whole
            .iter()
            .find(|run| run.outcome.as_ref().is_some_and(is_good))
            .map(|run| run.run.id);
        let urgent = self
            .store
            .recent_runs(group, Reach::Urgent, LOOK_BACK)
            .await?;
        let mut ahead = Ahead::new();
        for stored in urgent.into_iter().filter(|run| Some(run.run.id) > good) {
            let Ok(run) = serde_json::from_value::<Run>(stored.run.body) else {
                continue;
            };
            for (system, member) in run.members {
                if member.state.leaves() == Leaves::Target {
                    let ids = member.changes.into_iter().map(|c| c.id);
                    ahead.entry(system).or_default().extend(ids);
                }
            }
        }
        Ok(ahead)
    }
}

/// A share that does not take back what was urgent, and how the system stands that keeps it: to give a revoked right again because its
/// revision could not be applied as a whole is nobody's wish.
pub(super) fn keep_ahead(
    share: SystemPlan,
    observed: &State,
    ahead: Option<&BTreeSet<ResourceRef>>,
) -> (SystemPlan, Option<Condition>) {
    let Some(ahead) = ahead else {
        return (share, None);
    };
    let (share, kept) = split(share, observed, |change| {
        change.direction == Direction::Narrowing || !ahead.contains(&change.id)
    });
    let condition = (!kept.is_empty()).then(|| Condition {
        state: ConditionState::Behind,
        reason: ConditionReason::WaitsForOthers,
        message: format!(
            "keeps {} urgent changes of a revision that can't be applied as a whole",
            kept.len()
        ),
    });
    (share, condition)
}

/// The systems that a plan has urgent changes for, as far as those have not come to nothing before: the others of the plan may not keep them waiting.
pub(super) fn hurried(group: &Group, plan: &Plan, memory: &Memory) -> BTreeSet<SystemName> {
    let shares = plan.systems.iter();
    let urgent = shares.filter(|(system, share)| {
        let is_urgent = |change| safety::is_of(change, &group.urgent);
        !memory.urgent.contains_key(*system) && share.changes.iter().any(is_urgent)
    });
    urgent.map(|(system, _)| system.clone()).collect()
}

/// Whether a run was given up because it kept one of these systems waiting, which was ready.
pub(super) fn was_cut(run: &Run, hurried: &BTreeSet<SystemName>) -> bool {
    let failures = run.outcome.as_ref().map(Outcome::failures);
    failures.is_some_and(|failures| {
        let is_silent = |failure: &Failure| matches!(failure, Failure::Silent { .. });
        failures.values().any(is_silent) && hurried.iter().any(|s| !failures.contains_key(s))
    }) && run.decision.is_none()
}

/// Whether a plan is held because it goes past a ceiling with changes like this one.
fn is_past_ceiling(why: &Outcome, change: &Change) -> bool {
    let Outcome::Held { breaches, .. } = why else {
        return false;
    };
    let frozen = |rule: &Rule| matches!(rule, Rule::Freeze { .. });
    let mut breaches = breaches.iter();
    breaches.any(|b| safety::concerns(b, change) && !frozen(&b.rule))
}

/// When to try again what has just failed. What was taken back, or is stuck, would only swing.
fn tried(before: Option<&Tried>, plan: PlanDigest, outcome: &Outcome, now: Timestamp) -> Tried {
    let failures = before
        .filter(|b| b.plan == plan)
        .map_or(0, |b| b.failures)
        .saturating_add(1);
    let pause = PAUSE_SECONDS << failures.saturating_sub(1).min(DOUBLINGS);
    let again = match outcome {
        Outcome::RolledBack { .. } | Outcome::Stuck { .. } => None,
        Outcome::InStep
        | Outcome::Applied { .. }
        | Outcome::Refused { .. }
        | Outcome::Unreachable { .. }
        | Outcome::Misconfigured { .. }
        | Outcome::Stale { .. }
        | Outcome::Interrupted
        | Outcome::Held { .. } => now.checked_add(SignedDuration::from_secs(pause)).ok(),
    };
    Tried {
        plan,
        failures,
        again_at: again,
    }
}

fn of_one(scene: &Scene, system: &SystemName, share: SystemPlan) -> Plan {
    Plan {
        revision: Some(scene.revision.clone()),
        systems: BTreeMap::from([(system.clone(), share)]),
    }
}

/// The systems that can take nothing now, where an outcome leaves the group where it was for a reason that does not pass by itself;
/// else `None`.
fn unable(outcome: &Outcome) -> Option<BTreeSet<SystemName>> {
    match outcome {
        Outcome::Unreachable { systems } | Outcome::Misconfigured { systems } => {
            Some(systems.keys().cloned().collect())
        }
        // Whoever did not fail was taken back with the others, and need not wait for them with what is urgent.
        Outcome::RolledBack { cause, left } => {
            Some(cause.keys().chain(left.keys()).cloned().collect())
        }
        // Who refused one change may take another.
        Outcome::Refused { .. } | Outcome::Held { .. } => Some(BTreeSet::new()),
        Outcome::InStep
        | Outcome::Applied { .. }
        | Outcome::Stale { .. }
        | Outcome::Interrupted
        | Outcome::Stuck { .. } => None,
    }
}
