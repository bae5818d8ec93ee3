//! Passes that end without a run of the protocol: nothing to do, nothing that may be done, or a system out of reach. Each says why, and what
//! has been said is not recorded again.

use std::collections::BTreeMap;

use super::execute::{Ending, open_conditions};
use super::finish::{same, standings};
use super::group::{Memory, Pass, report};
use super::look::Scene;
use super::{Engine, EngineError, GroupReport};
use crate::ids::{Digest, Fence, SystemName};
use crate::plan::Plan;
use crate::record::{
    Condition, ConditionReason, ConditionState, ConnectorError, Failure, Outcome, Run,
};
use crate::store::SystemState;

impl Engine {
    /// The newest revision does not compile: recorded once, against every system of the group.
    pub(super) async fn refuse_head(
        &self,
        pass: &Pass<'_>,
        fence: Fence,
        why: &str,
        memory: &mut Memory,
    ) -> Result<(), EngineError> {
        let revision = &pass.head.revision;
        if memory.refused.as_ref() == Some(revision) {
            return Ok(());
        }
        let earlier = self.store.runs_of_revision(revision).await?;
        if !earlier
            .iter()
            .any(|r| r.run.group == *pass.name && r.outcome.is_some())
        {
            let error = ConnectorError::Terminal {
                message: why.to_owned(),
            };
            let failure = Failure::Said { error };
            let systems = pass.group.systems.iter();
            let outcome = Outcome::Misconfigured {
                systems: systems.map(|s| (s.clone(), failure.clone())).collect(),
            };
            let opening = self.opening_for(pass, revision, fence, pass.trigger);
            let run = Run::open(opening, &Plan::default()).concluded(outcome, self.clock.now());
            // Where the systems stand is as before: it is the revision that is at fault.
            self.finish(&run, &Ending::default()).await?;
        }
        memory.refused = Some(revision.clone());
        Ok(())
    }

    /// A system can't be observed: nothing moves. Where the revision is applied already it is only noted on the system.
    pub(super) async fn out_of_reach(
        &self,
        pass: &Pass<'_>,
        scene: &Scene,
        memory: &mut Memory,
    ) -> Result<GroupReport, EngineError> {
        let outcome = Outcome::aborted(scene.failures.clone());
        if !scene.settled() {
            let ending = Ending::of(pass.group);
            return self
                .conclude(pass, scene, &Plan::default(), outcome, ending, memory)
                .await;
        }
        let reason = match outcome {
            Outcome::Misconfigured { .. } => ConditionReason::Misconfigured,
            Outcome::Refused { .. } => ConditionReason::Refused,
            Outcome::Stale { .. } => ConditionReason::Stale,
            Outcome::InStep
            | Outcome::Applied { .. }
            | Outcome::Unreachable { .. }
            | Outcome::Interrupted
            | Outcome::Held { .. }
            | Outcome::RolledBack { .. }
            | Outcome::Stuck { .. } => ConditionReason::Unreachable,
        };
        let mut done = report(pass, &scene.revision, None);
        for (system, failure) in &scene.failures {
            let condition = Condition {
                state: ConditionState::Behind,
                reason,
                message: failure.to_string(),
            };
            self.note(system, &condition, None, memory).await?;
            done.conditions.insert(system.clone(), condition);
        }
        done.outcome = Some(outcome);
        Ok(done)
    }

    /// Zero changes: recorded once for a revision, and afterwards only where a system's condition was another.
    pub(super) async fn already_there(
        &self,
        pass: &Pass<'_>,
        scene: &Scene,
        memory: &mut Memory,
    ) -> Result<GroupReport, EngineError> {
        memory.hot.clear();
        self.remember_good(scene, memory);
        let arrived = self.record_arrivals(pass, scene, memory).await?;
        let digests = scene.digests();
        if !scene.settled() {
            let ending = Ending {
                digests: digests.clone(),
                adrift: arrived,
                ..Ending::of(pass.group)
            };
            memory.known.extend(digests);
            return self
                .conclude(
                    pass,
                    scene,
                    &Plan::default(),
                    Outcome::InStep,
                    ending,
                    memory,
                )
                .await;
        }
        let condition = Condition {
            state: ConditionState::InStep,
            reason: ConditionReason::AlreadyInStep,
            message: Outcome::InStep.to_string(),
        };
        for (system, digest) in digests {
            let known = memory.known.insert(system.clone(), digest);
            let condition = arrived.get(&system).unwrap_or(&condition);
            let before = memory.conditions.get(&system);
            let same = match condition.is_in_step() {
                true => before.is_some_and(Condition::is_in_step),
                false => before == Some(condition),
            };
            if known != Some(digest) || !same {
                self.note(&system, condition, Some(digest), memory).await?;
            }
        }
        let mut done = report(pass, &scene.revision, None);
        done.conditions = arrived;
        Ok(done)
    }

    /// There are differences, and what is to be done about them is nothing: the systems are only watched, or their drift is only reported.
    pub(super) async fn left_alone(
        &self,
        pass: &Pass<'_>,
        scene: &Scene,
        mut adrift: BTreeMap<SystemName, Condition>,
        memory: &mut Memory,
    ) -> Result<GroupReport, EngineError> {
        for (system, observed) in &scene.observed {
            if !scene.is_there(system, observed) {
                adrift.entry(system.clone()).or_insert_with(|| Condition {
                    state: ConditionState::Behind,
                    reason: ConditionReason::Drifted,
                    message: "differs from the repo, and is left as it is".to_owned(),
                });
            }
        }
        if !scene.settled() {
            let ending = Ending {
                adrift,
                ..Ending::of(pass.group)
            };
            self.remember_good(scene, memory);
            return self
                .conclude(
                    pass,
                    scene,
                    &Plan::default(),
                    Outcome::InStep,
                    ending,
                    memory,
                )
                .await;
        }
        for (system, condition) in &adrift {
            self.note(system, condition, None, memory).await?;
        }
        let mut done = report(pass, &scene.revision, None);
        done.conditions = adrift;
        Ok(done)
    }

    /// Ends a pass without a run of the protocol. The same outcome for the same revision is recorded once.
    pub(super) async fn conclude(
        &self,
        pass: &Pass<'_>,
        scene: &Scene,
        plan: &Plan,
        outcome: Outcome,
        ending: Ending,
        memory: &mut Memory,
    ) -> Result<GroupReport, EngineError> {
        let known = memory
            .outcome
            .as_ref()
            .is_some_and(|(r, o)| *r == scene.revision && same(o, &outcome))
            // That dates were carried out is news, even where they changed nothing.
            && (scene.turned.is_empty() || !outcome.is_success());
        let mut done = report(pass, &scene.revision, None);
        if !known {
            let run = Run::open(self.opening(pass, scene, scene.trigger(pass)), plan);
            let run = scene
                .dating(run)
                .concluded(outcome.clone(), self.clock.now());
            self.finish(&run, &ending).await?;
            memory.conditions = standings(&run, &outcome, &ending);
            memory.outcome = Some((scene.revision.clone(), outcome.clone()));
        }
        done.conditions = memory.conditions.clone();
        done.outcome = Some(outcome);
        Ok(done)
    }

    /// Writes down where the systems of a run stand that is left open: it may stay so for long.
    pub(super) async fn note_open(
        &self,
        run: &Run,
        memory: &mut Memory,
    ) -> Result<(), EngineError> {
        for (system, condition) in open_conditions(run) {
            self.note(&system, &condition, None, memory).await?;
        }
        Ok(())
    }

    /// Writes a system's condition down where it is another than before.
    pub(super) async fn note(
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
}
