//! Changes that do not wait: where a group can't move together, every system that can gets its urgent ones by itself.
//!
//! A revoked admin or a blocked address must not stay because another system is away, refuses something else, or because a freeze
//! holds the rest. The others get theirs when they are back: the next whole plan holds it for them.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use super::drift::split;
use super::execute::{Ending, unfinished};
use super::group::{Memory, Pass, Scene, connected};
use super::{Engine, EngineError, GroupReport};
use crate::ids::SystemName;
use crate::plan::safety::{self, Breach, Rule};
use crate::plan::{Plan, SystemPlan};
use crate::protocol;
use crate::record::{Condition, Outcome, Run};

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
        let shares = self.urgent_shares(pass, scene, &unable, memory).await?;
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
            let run = Run::open(self.opening(pass, scene, pass.trigger), &share.plan)
                .urgent(share.rest, why.to_string());
            runs.extend(self.guarded(pass, scene, run, share, memory).await?);
        }
        for (system, condition) in self.carry_out_urgent(pass, scene, runs, memory).await? {
            memory.conditions.insert(system.clone(), condition.clone());
            done.conditions.insert(system, condition);
        }
        Ok(done)
    }

    /// What of each system's plan is urgent, where the system can take it and it is not what was tried just now.
    async fn urgent_shares(
        &self,
        pass: &Pass<'_>,
        scene: &Scene,
        unable: &BTreeSet<SystemName>,
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
            let plan = of_one(scene, &system, urgent);
            let digest = plan.digest();
            if !plan.is_empty() && memory.urgent.get(&system) != Some(&digest) {
                shares.push(Share {
                    system,
                    plan,
                    rest: waiting.len(),
                    is_told: scene.failures.is_empty() && digest == whole,
                });
            }
        }
        Ok(shares)
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
        let held: BTreeSet<&str> = breaches.iter().map(|b| b.kind.as_str()).collect();
        let (Some(share), Some(observed)) =
            (plan.systems.remove(&system), scene.observed.get(&system))
        else {
            return Ok(None);
        };
        let (free, waiting) = split(share, observed, |c| !held.contains(c.id.kind()));
        let free = of_one(scene, &system, free);
        if !free.is_empty() && self.breaches(pass, scene, &free, memory).await?.is_empty() {
            let waits_for = Outcome::Held {
                plan: digest,
                breaches,
            };
            return Ok(Some(
                Run::open(self.opening(pass, scene, pass.trigger), &free)
                    .urgent(rest + waiting.len(), waits_for.to_string()),
            ));
        }
        memory.urgent.insert(system.clone(), digest);
        if is_told {
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
        let (links, ending) = (connected(pass.links), Ending::default());
        let carried = join_all(runs.into_iter().map(async |run| {
            let (run, effects) = protocol::start(run, self.clock.now());
            tracing::info!(run.id = %run.id, group.name = %pass.name, revision = %run.revision, changes = run.changes(), "urgent changes do not wait");
            self.carry_out(run, effects, &links, &ending).await
        }))
        .await;
        let mut conditions = BTreeMap::new();
        for run in carried {
            let run = run?;
            let Some(outcome) = &run.outcome else {
                // Whoever leads next takes it up from the store.
                tracing::warn!(run.id = %run.id, "{}", unfinished(&run));
                memory.lease = None;
                continue;
            };
            for (system, member) in &run.members {
                if let Some(left) = super::finish::left_with(&run, system) {
                    memory.known.insert(system.clone(), left);
                }
                if outcome.is_success() {
                    if let (Some(Ok(link)), Some(observed)) =
                        (pass.links.get(system), scene.observed.get(system))
                    {
                        link.remember(&crate::plan::apply(&member.changes, observed));
                    }
                } else if matches!(outcome, Outcome::Refused { .. }) {
                    memory.urgent.insert(system.clone(), run.plan);
                }
            }
            conditions.extend(run.conditions());
        }
        Ok(conditions)
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
        // Who refused one change may take another.
        Outcome::Refused { .. } => Some(BTreeSet::new()),
        // A freeze is about what widens. What is past a ceiling is looked at by a person as it is, whole.
        Outcome::Held { breaches, .. } => {
            let frozen = |b: &Breach| matches!(b.rule, Rule::Freeze { .. });
            breaches.iter().all(frozen).then(BTreeSet::new)
        }
        Outcome::InStep
        | Outcome::Applied { .. }
        | Outcome::Stale { .. }
        | Outcome::Interrupted
        | Outcome::RolledBack { .. }
        | Outcome::Stuck { .. } => None,
    }
}
