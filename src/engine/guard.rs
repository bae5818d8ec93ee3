//! Asking the guard: what of a plan needs a person's release.
//!
//! Ceilings are those of the revision and those of the last good one, whichever are lower: a merge that loosens one and uses it at once is still
//! measured by what held before it. Freezes are the revision's: who lifts one has been judged for that.

use std::collections::BTreeSet;

use super::group::{Memory, Pass};
use super::look::Scene;
use super::{Engine, EngineError};
use crate::config::{Config, Safety};
use crate::ids::{ResourceRef, SystemName};
use crate::plan::safety::{self, Breach, GuardContext, PastChange};
use crate::plan::{Change, Plan};

/// What of a plan the repo still declares, and its dates take away.
fn by_date(scene: &Scene, plan: &Plan) -> BTreeSet<ResourceRef> {
    let shares = plan.systems.iter();
    let all = shares.flat_map(|(system, share)| share.changes.iter().map(move |c| (system, c)));
    let is_by_date = |(system, change): &(&SystemName, &Change)| {
        let declared = scene.bundle.get(&change.id);
        declared.is_some_and(|r| r.systems.contains(*system) && !r.holds(scene.at))
    };
    all.filter(is_by_date).map(|(_, c)| c.id.clone()).collect()
}

impl Engine {
    /// Everything that holds a plan; empty where it may go ahead.
    pub(super) async fn breaches(
        &self,
        pass: &Pass<'_>,
        scene: &Scene,
        plan: &Plan,
        memory: &mut Memory,
    ) -> Result<Vec<Breach>, EngineError> {
        let config = &*scene.bundle.config;
        let before = self.safety_before(scene, memory).await?;
        let before = before.filter(|before| *before != config.safety);
        let release = self.store.find_release(plan.digest()).await?;
        let all = [Some(&config.safety), before.as_ref()];
        let past = self.past_changes(pass, all.into_iter().flatten()).await?;
        let context = GuardContext {
            now: self.clock.now(),
            past: &past,
            observed: &scene.observed,
            released: release.as_ref().map(|r| r.plan),
            own: &self.own,
            by_date: &by_date(scene, plan),
        };
        let mut breaches = safety::guard(plan, config, &context);
        if let Some(safety) = before {
            let config = Config {
                safety,
                ..config.clone()
            };
            for breach in safety::guard(plan, &config, &context) {
                if !breaches.contains(&breach) {
                    breaches.push(breach);
                }
            }
        }
        Ok(breaches)
    }

    /// What holds a plan where the last good revision can't be read: nobody has checked it against what held before, and what that revision declared
    /// and this one does not is left on the systems. A person has to answer for that. What is urgent does not wait for it.
    pub(super) async fn without_history(
        &self,
        scene: &Scene,
        plan: &Plan,
    ) -> Result<Vec<Breach>, EngineError> {
        let Some(good) = scene.good.as_ref().filter(|_| scene.is_good_lost) else {
            return Ok(Vec::new());
        };
        if self.store.find_release(plan.digest()).await?.is_some() {
            return Ok(Vec::new());
        }
        let shares = plan.systems.iter();
        let shares = shares.filter(|(_, share)| !share.changes.is_empty());
        let breaches = shares.map(|(system, share)| Breach::lost(system, share, good));
        Ok(breaches.collect())
    }

    /// The ceilings of the last good revision, where there is one.
    async fn safety_before(
        &self,
        scene: &Scene,
        memory: &mut Memory,
    ) -> Result<Option<Safety>, EngineError> {
        let Some(good) = &scene.good else {
            return Ok(None);
        };
        if let Some((revision, safety)) = &memory.safety
            && revision == good
        {
            return Ok(Some(safety.clone()));
        }
        let safety = match self.bundle_of(good).await {
            Ok(bundle) => bundle.config.safety.clone(),
            // History was rewritten: what held before is not known, so the limits that hold where nothing is said do, for what does not wait for a person.
            Err(EngineError::Repo(error)) => {
                tracing::warn!(revision = %good, error = &error as &dyn std::error::Error, "its ceilings are not known any more");
                Safety::default()
            }
            Err(error) => return Err(error),
        };
        memory.safety = Some((good.clone(), safety.clone()));
        Ok(Some(safety))
    }

    /// What was done to the group's systems within the longest window.
    async fn past_changes<'s>(
        &self,
        pass: &Pass<'_>,
        safeties: impl Iterator<Item = &'s Safety>,
    ) -> Result<Vec<PastChange>, EngineError> {
        let now = self.clock.now();
        let since = safeties.map(|s| s.counted_since(now)).min().unwrap_or(now);
        let mut past = Vec::new();
        for system in &pass.group.systems {
            past.extend(self.store.changes_since(system, since).await?);
        }
        Ok(past)
    }
}
