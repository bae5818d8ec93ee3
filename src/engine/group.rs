//! One pass over one group, up to the run: recover what an earlier process left, observe, plan, guard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::execute::{Links, restore};
use super::observe::Link;
use super::{Engine, EngineError, GroupReport, Turn};
use crate::config::{DriftPolicy, Group};
use crate::ids::{Digest, Fence, GroupName, ResourceRef, Revision, RunId, SystemName};
use crate::plan::safety::{self, GuardContext};
use crate::plan::{self, Change, Plan, SystemPlan};
use crate::protocol;
use crate::record::{
    Condition, ConditionReason, ConditionState, ConnectorError, Failure, Failures, Opening,
    Outcome, Run, Trigger,
};
use crate::resource::Bundle;
use crate::state::State;
use crate::store::{GroupState, NewEntry, Store, SystemState};

/// What the engine remembers of a group between passes. All of it can be lost: it saves work and repetition, nothing more.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Whether runs of an earlier process have been taken up.
    recovered: bool,
    /// The desired state of each system, and the bundle it is of.
    projected: BTreeMap<SystemName, (Arc<Bundle>, State)>,
    /// The digest each system was left with by the last run, or at which its drift was reported.
    known: BTreeMap<SystemName, Digest>,
    /// The conditions that were written down last.
    conditions: BTreeMap<SystemName, Condition>,
    /// The outcome that was recorded last, so that the same one is not recorded on every retry.
    outcome: Option<(Revision, Outcome)>,
}

/// What a group is to be brought to.
pub(super) enum Target {
    /// This revision's bundle.
    Bundle {
        revision: Revision,
        bundle: Arc<Bundle>,
    },
    /// The newest revision can't be applied, and there is no earlier one to hold.
    Nothing { why: String },
}

/// What one pass over a group is given.
pub(super) struct Pass<'a> {
    pub(super) name: &'a GroupName,
    pub(super) group: &'a Group,
    pub(super) links: &'a BTreeMap<SystemName, Result<Arc<Link>, String>>,
    /// The newest merged revision.
    pub(super) head: &'a Revision,
    pub(super) target: Target,
    pub(super) trigger: Trigger,
}

/// What was seen of the systems.
struct Observation {
    desired: BTreeMap<SystemName, State>,
    observed: BTreeMap<SystemName, State>,
    failures: Failures,
}

impl Engine {
    pub(super) async fn pass_group(
        &self,
        pass: Pass<'_>,
        memory: &mut Memory,
    ) -> Result<GroupReport, EngineError> {
        if !memory.recovered {
            if !self.recover_group(&pass).await? {
                return Ok(others_turn(&pass, pass.head));
            }
            memory.recovered = true;
            self.recall(&pass, memory).await?;
        }
        let (revision, bundle) = match &pass.target {
            Target::Bundle { revision, bundle } => (revision.clone(), bundle.clone()),
            Target::Nothing { why } => {
                let error = ConnectorError::Terminal {
                    message: why.clone(),
                };
                let systems = pass.group.systems.iter().map(|s| {
                    (
                        s.clone(),
                        Failure::Said {
                            error: error.clone(),
                        },
                    )
                });
                let outcome = Outcome::Misconfigured {
                    systems: systems.collect(),
                };
                return self
                    .conclude(
                        &pass,
                        pass.head,
                        memory,
                        &Plan::default(),
                        outcome,
                        &BTreeMap::new(),
                    )
                    .await;
            }
        };
        let state = self.store.group_state(pass.name).await?;
        let seen = self.observe_group(&pass, &bundle, memory).await;
        if !seen.failures.is_empty() {
            return self
                .out_of_reach(&pass, &revision, &state, memory, seen)
                .await;
        }
        let settled = state.good.as_ref() == Some(&revision);
        let in_step = seen.observed.iter().all(|(system, o)| {
            seen.desired
                .get(system)
                .is_some_and(|d| d.digest() == o.digest())
        });
        if in_step {
            return self
                .already_there(&pass, &revision, settled, memory, &seen)
                .await;
        }
        let mut plan = self
            .plan_group(&pass, &revision, &bundle, &state, memory, &seen)
            .await?;
        self.cool_flapping(&mut plan, &seen, settled).await?;
        if plan.is_empty() {
            return self
                .left_alone(&pass, &revision, settled, memory, &seen)
                .await;
        }
        let release = self.store.find_release(plan.digest()).await?;
        let past = self.past_changes(&bundle, &pass).await?;
        let context = GuardContext {
            now: self.clock.now(),
            past: &past,
            observed: &seen.observed,
            released: release.as_ref().map(|r| r.plan),
        };
        let breaches = safety::guard(&plan, &bundle.config, &context);
        if !breaches.is_empty() {
            let outcome = Outcome::Held {
                plan: plan.digest(),
                breaches,
            };
            return self
                .conclude(&pass, &revision, memory, &plan, outcome, &BTreeMap::new())
                .await;
        }
        let Some(fence) = self.lease(pass.name).await? else {
            return Ok(others_turn(&pass, &revision));
        };
        let trigger = if settled {
            Trigger::Drift
        } else {
            pass.trigger
        };
        let run = Run::open(self.opening(&pass, &revision, trigger, fence), &plan);
        if release.is_some() {
            self.store.use_release(run.plan, run.id).await?;
        }
        let (run, effects) = protocol::start(run, self.clock.now());
        tracing::info!(run.id = %run.id, group.name = %pass.name, %revision, changes = run.changes(), "run starts");
        let run = self.carry_out(run, effects, &connected(pass.links)).await?;
        self.learn(&pass, &revision, memory, &run, &seen);
        Ok(GroupReport {
            group: pass.name.clone(),
            revision,
            conditions: run.conditions(),
            // A run that ended without an outcome was taken over by a newer holder of the lease.
            turn: run.outcome.as_ref().map_or(Turn::Others, |_| Turn::Ours),
            outcome: run.outcome,
        })
    }

    /// Takes up the runs that an earlier process left open. `false`: another process holds the group.
    async fn recover_group(&self, pass: &Pass<'_>) -> Result<bool, EngineError> {
        let open = self.store.open_runs(pass.name).await?;
        if open.is_empty() {
            return Ok(true);
        }
        let Some(fence) = self.lease(pass.name).await? else {
            return Ok(false);
        };
        for stored in open {
            let run = restore(&stored)?;
            tracing::info!(run.id = %run.id, decision = ?run.decision, "an unfinished run is taken up");
            let (run, effects) = protocol::recover(run, fence);
            let run = self.carry_out(run, effects, &connected(pass.links)).await?;
            if run.outcome.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads what the last process knew of the group's systems.
    async fn recall(&self, pass: &Pass<'_>, memory: &mut Memory) -> Result<(), EngineError> {
        for system in &pass.group.systems {
            if let Some(stored) = self.store.system_state(system).await? {
                if let Some(digest) = stored.digest {
                    memory.known.insert(system.clone(), digest);
                }
                if let Ok(condition) = serde_json::from_value(stored.condition) {
                    memory.conditions.insert(system.clone(), condition);
                }
            }
        }
        if let Some(last) = self.store.recent_runs(pass.name, 1).await?.first() {
            let run = restore(last)?;
            let outcome = last
                .outcome
                .clone()
                .and_then(|o| serde_json::from_value(o).ok());
            memory.outcome = outcome.map(|o| (run.revision, o));
        }
        Ok(())
    }

    /// The group's lease, or `None` while another process has it.
    pub(super) async fn lease(&self, group: &GroupName) -> Result<Option<Fence>, EngineError> {
        let lease = Store::group_lease(group);
        let fence = self
            .store
            .acquire(&lease, &self.holder, self.clock.now(), self.timing.lease)
            .await?;
        if fence.is_none() {
            tracing::info!(group.name = %group, "another process holds the lease of this group");
        }
        Ok(fence)
    }

    /// Asks all systems at once.
    async fn observe_group(
        &self,
        pass: &Pass<'_>,
        bundle: &Arc<Bundle>,
        memory: &mut Memory,
    ) -> Observation {
        let mut desired = BTreeMap::new();
        for system in &pass.group.systems {
            let state = match memory.projected.get(system) {
                Some((of, state)) if Arc::ptr_eq(of, bundle) => state.clone(),
                Some((of, state)) => bundle.project_after(system, of, state),
                None => bundle.project(system),
            };
            memory
                .projected
                .insert(system.clone(), (bundle.clone(), state.clone()));
            desired.insert(system.clone(), state);
        }
        let asked = desired.iter().map(async |(system, desired)| {
            let result = match pass.links.get(system) {
                Some(Ok(link)) => link.observe(desired).await,
                Some(Err(why)) => Err(ConnectorError::Terminal {
                    message: why.clone(),
                }),
                None => Err(ConnectorError::Terminal {
                    message: format!("{system} has no connection"),
                }),
            };
            (system.clone(), result)
        });
        let (mut observed, mut failures) = (BTreeMap::new(), Failures::new());
        for (system, result) in join_all(asked).await {
            match result {
                Ok(state) => {
                    observed.insert(system, state);
                }
                Err(error) => {
                    failures.insert(system, Failure::Said { error });
                }
            }
        }
        Observation {
            desired,
            observed,
            failures,
        }
    }

    /// A system can't be observed: nothing moves. Where the revision is applied already it is only noted on the system.
    async fn out_of_reach(
        &self,
        pass: &Pass<'_>,
        revision: &Revision,
        state: &GroupState,
        memory: &mut Memory,
        seen: Observation,
    ) -> Result<GroupReport, EngineError> {
        let outcome = Outcome::aborted(seen.failures.clone());
        if state.good.as_ref() != Some(revision) {
            return self
                .conclude(
                    pass,
                    revision,
                    memory,
                    &Plan::default(),
                    outcome,
                    &BTreeMap::new(),
                )
                .await;
        }
        let mut conditions = BTreeMap::new();
        for (system, failure) in &seen.failures {
            let condition = Condition {
                state: ConditionState::Behind,
                reason: ConditionReason::Unreachable,
                message: failure.to_string(),
            };
            self.note(system, &condition, None, memory).await?;
            conditions.insert(system.clone(), condition);
        }
        Ok(GroupReport {
            group: pass.name.clone(),
            revision: revision.clone(),
            outcome: Some(outcome),
            turn: Turn::Ours,
            conditions,
        })
    }

    /// Zero changes: recorded once for a revision, and afterwards only where a system's condition was another.
    async fn already_there(
        &self,
        pass: &Pass<'_>,
        revision: &Revision,
        settled: bool,
        memory: &mut Memory,
        seen: &Observation,
    ) -> Result<GroupReport, EngineError> {
        let digests: BTreeMap<_, _> = seen
            .observed
            .iter()
            .map(|(s, o)| (s.clone(), o.digest()))
            .collect();
        if !settled {
            return self
                .conclude(
                    pass,
                    revision,
                    memory,
                    &Plan::default(),
                    Outcome::InStep,
                    &digests,
                )
                .await;
        }
        let condition = Condition {
            state: ConditionState::InStep,
            reason: ConditionReason::AlreadyInStep,
            message: Outcome::InStep.to_string(),
        };
        for (system, digest) in &digests {
            memory.known.insert(system.clone(), *digest);
            if !memory
                .conditions
                .get(system)
                .is_some_and(Condition::is_in_step)
            {
                self.note(system, &condition, Some(*digest), memory).await?;
            }
        }
        Ok(report(pass, revision, None))
    }

    /// There are differences, and what is to be done about them is nothing: the systems are only watched, or their drift is only reported.
    async fn left_alone(
        &self,
        pass: &Pass<'_>,
        revision: &Revision,
        settled: bool,
        memory: &mut Memory,
        seen: &Observation,
    ) -> Result<GroupReport, EngineError> {
        let mut conditions = BTreeMap::new();
        for (system, observed) in &seen.observed {
            if seen
                .desired
                .get(system)
                .is_some_and(|d| d.digest() == observed.digest())
            {
                continue;
            }
            let condition = memory
                .conditions
                .get(system)
                .filter(|c| c.reason == ConditionReason::Drifted);
            let condition = condition.cloned().unwrap_or_else(|| Condition {
                state: ConditionState::Behind,
                reason: ConditionReason::Drifted,
                message: "differs from the repo, and is only watched".to_owned(),
            });
            self.note(system, &condition, None, memory).await?;
            conditions.insert(system.clone(), condition);
        }
        if !settled {
            let mut done = self
                .conclude(
                    pass,
                    revision,
                    memory,
                    &Plan::default(),
                    Outcome::InStep,
                    &BTreeMap::new(),
                )
                .await?;
            done.conditions.extend(conditions);
            return Ok(done);
        }
        Ok(GroupReport {
            group: pass.name.clone(),
            revision: revision.clone(),
            outcome: None,
            turn: Turn::Ours,
            conditions,
        })
    }

    /// What every system's share is, after its mode and its drift policy.
    async fn plan_group(
        &self,
        pass: &Pass<'_>,
        revision: &Revision,
        bundle: &Bundle,
        state: &GroupState,
        memory: &mut Memory,
        seen: &Observation,
    ) -> Result<Plan, EngineError> {
        let settled = state.good.as_ref() == Some(revision);
        let mut systems = BTreeMap::new();
        for (system, observed) in &seen.observed {
            let (Some(desired), Some(definition)) =
                (seen.desired.get(system), bundle.config.systems.get(system))
            else {
                continue;
            };
            let share = SystemPlan::new(desired, observed, bundle);
            let (share, _skipped) = safety::apply_mode(share, observed, definition.mode);
            let left_with = memory.known.get(system).copied();
            let drifted = left_with.is_some_and(|digest| digest != observed.digest());
            let share = if drifted {
                self.drift(
                    pass,
                    revision,
                    (system, definition.drift),
                    share,
                    observed,
                    settled,
                    memory,
                )
                .await?
            } else {
                share
            };
            systems.insert(system.clone(), share);
        }
        Ok(Plan {
            revision: Some(revision.clone()),
            systems,
        })
    }

    /// A system was changed by someone else since the last run: recorded once, and healed or left according to its policy.
    #[expect(
        clippy::too_many_arguments,
        reason = "one step of the pipeline, called in one place"
    )]
    async fn drift(
        &self,
        pass: &Pass<'_>,
        revision: &Revision,
        (system, policy): (&SystemName, DriftPolicy),
        share: SystemPlan,
        observed: &State,
        settled: bool,
        memory: &mut Memory,
    ) -> Result<SystemPlan, EngineError> {
        let heals = policy == DriftPolicy::Heal;
        let names: Vec<&str> = share
            .changes
            .iter()
            .map(|c| c.id.as_str())
            .take(20)
            .collect();
        let message = format!(
            "{} changed by someone else ({}); {}",
            share.changes.len(),
            names.join(", "),
            if heals { "put back" } else { "left as it is" }
        );
        let first_seen = memory
            .conditions
            .get(system)
            .is_none_or(|c| c.message != message);
        if first_seen && !share.changes.is_empty() {
            let changes: Vec<_> = share
                .changes
                .iter()
                .take(100)
                .map(|c| json!({"id": c.id, "found": c.before.as_ref().map(|i| i.spec.value()), "desired": c.after.as_ref().map(|i| i.spec.value())}))
                .collect();
            let body = json!({"policy": policy, "count": share.changes.len(), "changes": changes});
            self.store
                .append(&[self.entry("drift.found", pass, Some(system), revision, body)])
                .await?;
            let condition = Condition {
                state: ConditionState::Behind,
                reason: ConditionReason::Drifted,
                message,
            };
            self.note(system, &condition, None, memory).await?;
        }
        if heals {
            return Ok(share);
        }
        if settled {
            return Ok(only(share, observed, |_| false));
        }
        // A new revision carries what it changes, and leaves what somebody else changed.
        let before: Option<&State> = memory.projected.get(system).map(|(_, state)| state);
        let touched: BTreeSet<ResourceRef> = match before {
            Some(_) => self.changed_by(pass, system, revision).await?,
            None => BTreeSet::new(),
        };
        Ok(only(share, observed, |change| touched.contains(&change.id)))
    }

    /// The resources that differ on a system between the group's last good revision and this one.
    async fn changed_by(
        &self,
        pass: &Pass<'_>,
        system: &SystemName,
        revision: &Revision,
    ) -> Result<BTreeSet<ResourceRef>, EngineError> {
        let Some(good) = self.store.group_state(pass.name).await?.good else {
            return Ok(BTreeSet::new());
        };
        let (repo, system, revision) = (self.repo.clone(), system.clone(), revision.clone());
        tokio::task::spawn_blocking(move || {
            let of = |revision: &Revision| {
                repo.snapshot(revision)
                    .map(|s| crate::compile::compile(&s).bundle)
            };
            let (before, after) = (of(&good)?.project(&system), of(&revision)?.project(&system));
            let changes = plan::diff(&before, &after, |_, _, _| {
                crate::resource::Direction::Neutral
            });
            Ok(changes.into_iter().map(|c| c.id).collect())
        })
        .await?
    }

    /// What keeps being changed back and forth is not fought over: it is left and reported.
    async fn cool_flapping(
        &self,
        plan: &mut Plan,
        seen: &Observation,
        settled: bool,
    ) -> Result<(), EngineError> {
        const TOO_HOT: f64 = 5.0;
        if !settled {
            return Ok(());
        }
        for (system, share) in &mut plan.systems {
            let ids: Vec<ResourceRef> = share.changes.iter().map(|c| c.id.clone()).collect();
            let heats = self.store.add_heats(system, &ids, self.clock.now()).await?;
            let hot: BTreeSet<&ResourceRef> = ids
                .iter()
                .zip(&heats)
                .filter(|(_, heat)| **heat >= TOO_HOT)
                .map(|(id, _)| id)
                .collect();
            if let Some(observed) = seen.observed.get(system).filter(|_| !hot.is_empty()) {
                tracing::warn!(system.name = %system, resources = ?hot, "keeps being changed by someone else: not healed any more");
                *share = only(share.clone(), observed, |change| !hot.contains(&change.id));
            }
        }
        Ok(())
    }

    /// Ends a pass without a run of the protocol. The same outcome for the same revision is recorded once.
    async fn conclude(
        &self,
        pass: &Pass<'_>,
        revision: &Revision,
        memory: &mut Memory,
        plan: &Plan,
        outcome: Outcome,
        digests: &BTreeMap<SystemName, Digest>,
    ) -> Result<GroupReport, EngineError> {
        let known = memory
            .outcome
            .as_ref()
            .is_some_and(|(r, o)| r == revision && super::finish::same(o, &outcome));
        let Some(fence) = (if known {
            None
        } else {
            self.lease(pass.name).await?
        }) else {
            let conditions = memory.conditions.clone();
            return Ok(GroupReport {
                group: pass.name.clone(),
                revision: revision.clone(),
                outcome: Some(outcome),
                turn: if known { Turn::Ours } else { Turn::Others },
                conditions,
            });
        };
        let run = Run::open(self.opening(pass, revision, pass.trigger, fence), plan)
            .concluded(outcome, self.clock.now());
        self.store.save_run(&super::execute::row(&run)).await?;
        self.finish(&run, pass.group.systems.iter(), digests)
            .await?;
        let mut conditions = run.conditions();
        if run.outcome.as_ref().is_some_and(|o| !o.is_success()) {
            for system in &pass.group.systems {
                conditions
                    .entry(system.clone())
                    .or_insert_with(|| Condition {
                        state: ConditionState::Behind,
                        reason: ConditionReason::WaitsForOthers,
                        message: run
                            .outcome
                            .as_ref()
                            .map(ToString::to_string)
                            .unwrap_or_default(),
                    });
            }
        }
        for (system, condition) in &conditions {
            self.note(system, condition, None, memory).await?;
        }
        memory
            .known
            .extend(digests.iter().map(|(s, d)| (s.clone(), *d)));
        memory.outcome = run.outcome.clone().map(|o| (revision.clone(), o));
        Ok(GroupReport {
            group: pass.name.clone(),
            revision: revision.clone(),
            outcome: run.outcome,
            turn: Turn::Ours,
            conditions,
        })
    }

    fn opening(
        &self,
        pass: &Pass<'_>,
        revision: &Revision,
        trigger: Trigger,
        fence: Fence,
    ) -> Opening {
        Opening {
            id: RunId(uuid::Uuid::now_v7()),
            group: pass.name.clone(),
            revision: revision.clone(),
            trigger,
            consistency: pass.group.consistency,
            on_failure: pass.group.on_failure,
            fence,
            started_at: self.clock.now(),
        }
    }

    /// Writes a system's condition down where it is another than before.
    async fn note(
        &self,
        system: &SystemName,
        condition: &Condition,
        digest: Option<Digest>,
        memory: &mut Memory,
    ) -> Result<(), EngineError> {
        if memory.conditions.get(system) == Some(condition) && digest.is_none() {
            return Ok(());
        }
        let state = SystemState {
            system: system.clone(),
            revision: None,
            digest,
            condition: serde_json::to_value(condition).unwrap_or_default(),
            last_change_at: None,
            last_seen_at: Some(self.clock.now()),
        };
        self.store.put_system_state(&state).await?;
        memory.conditions.insert(system.clone(), condition.clone());
        Ok(())
    }

    /// Takes what a run taught into memory.
    fn learn(
        &self,
        pass: &Pass<'_>,
        revision: &Revision,
        memory: &mut Memory,
        run: &Run,
        seen: &Observation,
    ) {
        for (system, state) in &seen.observed {
            memory.known.insert(
                system.clone(),
                super::finish::left_with(run, system).unwrap_or(state.digest()),
            );
        }
        if run.outcome.as_ref().is_some_and(Outcome::is_success) {
            for system in &pass.group.systems {
                memory.conditions.remove(system);
            }
        }
        memory.conditions.extend(run.conditions());
        memory.outcome = run.outcome.clone().map(|o| (revision.clone(), o));
        memory.recovered = run.outcome.is_some();
    }

    fn entry(
        &self,
        action: &str,
        pass: &Pass<'_>,
        system: Option<&SystemName>,
        revision: &Revision,
        body: serde_json::Value,
    ) -> NewEntry {
        NewEntry {
            at: self.clock.now(),
            actor: self.actor.clone(),
            action: action.to_owned(),
            group: Some(pass.name.clone()),
            system: system.cloned(),
            run: None,
            revision: Some(revision.clone()),
            body,
        }
    }

    async fn past_changes(
        &self,
        bundle: &Bundle,
        pass: &Pass<'_>,
    ) -> Result<Vec<safety::PastChange>, EngineError> {
        let safety = &bundle.config.safety;
        let hours = safety
            .overrides
            .values()
            .chain([&safety.default])
            .map(|c| c.window_hours)
            .max()
            .unwrap_or(24);
        let window = i64::try_from(hours)
            .ok()
            .and_then(|h| SignedDuration::try_from_hours(h));
        let since = window
            .and_then(|w| self.clock.now().checked_sub(w).ok())
            .unwrap_or(Timestamp::MIN);
        let mut past = Vec::new();
        for system in &pass.group.systems {
            past.extend(self.store.changes_since(system, since).await?);
        }
        Ok(past)
    }
}

fn connected(links: &BTreeMap<SystemName, Result<Arc<Link>, String>>) -> Links {
    links
        .iter()
        .filter_map(|(name, link)| Some((name.clone(), link.as_ref().ok()?.clone())))
        .collect()
}

fn report(pass: &Pass<'_>, revision: &Revision, outcome: Option<Outcome>) -> GroupReport {
    GroupReport {
        group: pass.name.clone(),
        revision: revision.clone(),
        outcome,
        turn: Turn::Ours,
        conditions: BTreeMap::new(),
    }
}

fn others_turn(pass: &Pass<'_>, revision: &Revision) -> GroupReport {
    GroupReport {
        turn: Turn::Others,
        ..report(pass, revision, None)
    }
}

/// A share with only some of its changes, which leads to another target.
fn only(share: SystemPlan, observed: &State, keep: impl Fn(&Change) -> bool) -> SystemPlan {
    let changes: Vec<Change> = share.changes.into_iter().filter(keep).collect();
    let target = plan::apply(&changes, observed).digest();
    SystemPlan {
        changes,
        target,
        ..share
    }
}
