//! One pass over one group, up to the run: lead, observe, plan, guard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::adopt::{self, AllAdrift};
use super::drift::Hot;
use super::execute::{Ending, Links, unfinished};
use super::finish::standings;
use super::lead::{Held, Lead};
use super::look::Scene;
use super::observe::Link;
use super::ownership::Remembered;
use super::quarantine::LeftOut;
use super::source::Head;
use super::urgent::{Tried, hurried, keep_ahead, was_cut};
use super::{Engine, EngineError, GroupReport, ladder};
use crate::config::{Group, Mode, Safety};
use crate::ids::{Digest, Fence, GroupName, ResourceRef, Revision, RunId, SystemName};
use crate::plan::fields::Settled;
use crate::plan::safety;
use crate::plan::{Change, Plan, SystemPlan};
use crate::protocol;
use crate::record::{Condition, Opening, Outcome, Run, Trigger};
use crate::resource::Bundle;
use crate::state::State;

/// What the engine remembers of a group between passes. All of it can be lost: it saves work and repetition, nothing more.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) lease: Option<Held>,
    /// The desired state of each system, with the bundle and the moment it is of.
    pub(super) projected: BTreeMap<SystemName, (Arc<Bundle>, Timestamp, State)>,
    /// The same with fields that are not Lockstep's as they are on the system.
    pub(super) settled: BTreeMap<SystemName, Settled>,
    /// What was announced of dates.
    pub(super) announced: Option<BTreeSet<String>>,
    /// What each system should have at the last good revision.
    pub(super) good: BTreeMap<SystemName, Good>,
    /// The moment whose dates were carried out last.
    pub(super) carried: Option<Timestamp>,
    /// The ceilings of the last good revision.
    pub(super) safety: Option<(Revision, Safety)>,
    /// The digest each system was left with by the last run, or at which its drift was recorded.
    pub(super) known: BTreeMap<SystemName, Digest>,
    /// The conditions that were written down last.
    pub(super) conditions: BTreeMap<SystemName, Condition>,
    /// The outcome that was recorded last, so that the same one is not recorded on every retry.
    pub(super) outcome: Option<(Revision, Outcome)>,
    /// The newest revision that was refused because it does not compile.
    pub(super) refused: Option<Revision>,
    /// Rows that systems could not take, as they were kept last.
    pub(super) left_out: BTreeMap<SystemName, LeftOut>,
    /// Resources that somebody else keeps changing.
    pub(super) hot: Hot,
    /// What this pass leaves on each system as somebody else made it.
    pub(super) left: BTreeMap<SystemName, Vec<Change>>,
    /// The same at the end of the last pass, where adopting it is to be proposed.
    pub(super) adrift: AllAdrift,
    /// Urgent changes that came to nothing on a system.
    pub(super) urgent: BTreeMap<SystemName, Tried>,
    /// Urgent changes went first: what is left is to be planned anew.
    pub(super) again: bool,
    /// The revision that each system was verified at last.
    pub(super) verified: BTreeMap<SystemName, Revision>,
    /// Systems of which it is written down what was there at first.
    pub(super) looked_at: BTreeSet<SystemName>,
    /// What was found on systems beyond what they should have, and of which digests that holds.
    pub(super) beyond: Remembered,
    /// A head that was still main's after the forge's main had been brought here.
    pub(super) brought: Option<Revision>,
    /// What somebody else has put on systems, as it was recorded last.
    pub(super) arrived: BTreeMap<SystemName, Vec<ResourceRef>>,
}

/// What a system should have at a revision and a moment.
pub(super) struct Good {
    pub(super) revision: Revision,
    pub(super) bundle: Arc<Bundle>,
    pub(super) at: Timestamp,
    pub(super) state: State,
}

/// What one pass over a group is given.
pub(super) struct Pass<'a> {
    pub(super) name: &'a GroupName,
    pub(super) group: &'a Group,
    pub(super) links: &'a BTreeMap<SystemName, Result<Arc<Link>, String>>,
    /// The newest merged revision.
    pub(super) head: &'a Head,
    pub(super) trigger: Trigger,
}

/// How long a run waits to be prepared everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// Until it keeps urgent changes from a system that is ready.
    Short,
    /// All the time that systems may take.
    Full,
}

impl Engine {
    pub(super) async fn pass_group(
        &self,
        pass: &Pass<'_>,
        memory: &mut Memory,
    ) -> Result<GroupReport, EngineError> {
        memory.left.clear();
        memory.adrift.clear();
        let fence = match self.lead(pass, memory).await? {
            Lead::Ours(fence) => fence,
            Lead::Others => return Ok(report(pass, &pass.head.revision, None)),
            Lead::Not(why) => return Ok(report(pass, &pass.head.revision, Some(why))),
        };
        if let Some(why) = &pass.head.broken {
            self.refuse_head(pass, fence, why, memory).await?;
        }
        let target = match self.target(pass, fence, memory).await? {
            Ok(target) => target,
            Err(nothing) => return Ok(report(pass, &pass.head.revision, Some(nothing))),
        };
        self.announce_dates(pass, &target.bundle, target.at, memory)
            .await?;
        let mut scene = self.look(pass, &target, memory).await?;
        let mut report = self.bring_to(pass, &scene, Patience::Short, memory).await?;
        if std::mem::take(&mut memory.again) {
            memory.left.clear();
            scene = self.look(pass, &target, memory).await?;
            report = self.bring_to(pass, &scene, Patience::Full, memory).await?;
            memory.again = false;
        }
        report.waits = report.waits.or(target.instead_of_newest);
        report.next_date = target.bundle.next_boundary(target.at);
        memory.adrift = adopt::to_adopt(pass, &scene, memory);
        Ok(report)
    }

    /// From what was observed to a run, or to the reason why there is none.
    async fn bring_to(
        &self,
        pass: &Pass<'_>,
        scene: &Scene,
        patience: Patience,
        memory: &mut Memory,
    ) -> Result<GroupReport, EngineError> {
        if !scene.failures.is_empty() {
            let done = self.out_of_reach(pass, scene, memory).await?;
            return self.and_urgent(pass, scene, done, memory).await;
        }
        if scene.observed.iter().all(|(s, o)| scene.is_there(s, o)) {
            return self.already_there(pass, scene, memory).await;
        }
        // To try again what left a system stuck would only swing it to and fro: it takes a person, on the system or with another change.
        if let Some((at, stuck @ Outcome::Stuck { .. })) = &memory.outcome
            && *at == scene.revision
        {
            let mut held = report(pass, &scene.revision, Some(stuck.to_string()));
            held.conditions = memory.conditions.clone();
            return Ok(held);
        }
        let arrived = self.record_arrivals(pass, scene, memory).await?;
        let (plan, mut adrift) = self.plan_group(pass, scene, memory).await?;
        for (system, condition) in arrived {
            adrift
                .entry(system)
                .and_modify(|left| left.message.push_str(&format!("; {}", condition.message)))
                .or_insert(condition);
        }
        if plan.is_empty() {
            return self.left_alone(pass, scene, adrift, memory).await;
        }
        let mut breaches = self.breaches(pass, scene, &plan, memory).await?;
        breaches.extend(self.without_history(scene, &plan).await?);
        if !breaches.is_empty() {
            let outcome = Outcome::Held {
                plan: plan.digest(),
                breaches,
            };
            let mut held = report(pass, &scene.revision, None);
            held.outcome = Some(outcome.clone());
            // First, because what is held afterwards is another plan.
            let held = self.and_urgent(pass, scene, held, memory).await?;
            if !held.conditions.is_empty() {
                memory.again = true;
                return Ok(held);
            }
            let ending = Ending::of(pass.group);
            return self
                .conclude(pass, scene, &plan, outcome, ending, memory)
                .await;
        }
        let trigger = if scene.settled() {
            Trigger::Drift
        } else {
            scene.trigger(pass)
        };
        let run = scene.dating(Run::open(self.opening(pass, scene, trigger), &plan));
        let (run, effects) = protocol::start(run, self.clock.now());
        tracing::info!(run.id = %run.id, group.name = %pass.name, revision = %run.revision, changes = run.changes(), "run starts");
        let ending = Ending {
            systems: pass.group.systems.clone(),
            digests: scene
                .digests()
                .into_iter()
                .filter(|(s, _)| !adrift.contains_key(s))
                .collect(),
            adrift,
        };
        let hurried = match patience {
            Patience::Short => hurried(pass.group, &plan, memory),
            Patience::Full => BTreeSet::new(),
        };
        let run = self
            .carry_out(run, effects, &connected(pass.links), &ending, &hurried)
            .await?;
        memory.again = was_cut(&run, &hurried);
        if run.outcome.is_none() {
            self.note_open(&run, memory).await?;
        }
        let done = self.learn(pass, scene, &run, &ending, memory);
        self.and_urgent(pass, scene, done, memory).await
    }

    /// What every system's share is, after its mode and its drift policy; and the systems that are left with what somebody else
    /// changed on them.
    pub(super) async fn plan_group(
        &self,
        pass: &Pass<'_>,
        scene: &Scene,
        memory: &mut Memory,
    ) -> Result<(Plan, BTreeMap<SystemName, Condition>), EngineError> {
        let mut systems = BTreeMap::new();
        let mut adrift = BTreeMap::new();
        for (system, observed) in &scene.observed {
            let (Some(desired), Some(definition)) = (
                scene.desired.get(system),
                scene.bundle.config.systems.get(system),
            ) else {
                continue;
            };
            let share = SystemPlan::new(desired, observed, &scene.bundle);
            let (share, skipped) = safety::apply_mode(share, observed, definition.mode);
            let (share, kept) = keep_ahead(share, observed, scene.ahead.get(system));
            let (share, unfit) = self
                .without_unfit(pass, scene, system, (share, observed), memory)
                .await?;
            // What is only watched is nobody's drift.
            let (share, left) = if definition.mode == Mode::Observe {
                (share, None)
            } else {
                let policy = (system, definition.drift);
                self.without_drift(pass, scene, policy, share, observed, memory)
                    .await?
            };
            let held_back = ladder::condition(definition.mode, &skipped);
            let all = [unfit, left.or(kept), held_back].into_iter().flatten();
            let condition = all.reduce(|a, b| Condition {
                message: format!("{}; {}", a.message, b.message),
                ..a
            });
            adrift.extend(condition.map(|condition| (system.clone(), condition)));
            systems.insert(system.clone(), share);
        }
        let plan = Plan {
            revision: Some(scene.revision.clone()),
            systems,
        };
        Ok((plan, adrift))
    }

    pub(super) fn opening(&self, pass: &Pass<'_>, scene: &Scene, trigger: Trigger) -> Opening {
        self.opening_for(pass, &scene.revision, scene.fence, trigger)
    }

    pub(super) fn opening_for(
        &self,
        pass: &Pass<'_>,
        revision: &Revision,
        fence: Fence,
        trigger: Trigger,
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

    pub(super) fn remember_good(&self, scene: &Scene, memory: &mut Memory) {
        memory.carried = Some(scene.at);
        memory.safety = Some((scene.revision.clone(), scene.bundle.config.safety.clone()));
        for (system, state) in &scene.projected {
            memory
                .verified
                .insert(system.clone(), scene.revision.clone());
            let good = Good {
                revision: scene.revision.clone(),
                bundle: scene.bundle.clone(),
                at: scene.at,
                state: state.clone(),
            };
            memory.good.insert(system.clone(), good);
        }
    }

    /// Takes what a run taught into memory, and says what came of it.
    fn learn(
        &self,
        pass: &Pass<'_>,
        scene: &Scene,
        run: &Run,
        ending: &Ending,
        memory: &mut Memory,
    ) -> GroupReport {
        let mut done = report(pass, &scene.revision, None);
        let Some(outcome) = &run.outcome else {
            // Whoever leads next, perhaps this process, takes the run up from the store.
            memory.lease = None;
            done.conditions = run.conditions();
            done.waits = Some(unfinished(run));
            return done;
        };
        if run.leaves_doubt() {
            // Its end has given the lease back.
            memory.lease = None;
        }
        for (system, observed) in &scene.observed {
            if let Some(left) = super::finish::left_with(run, system) {
                memory.known.insert(system.clone(), left);
            } else if let Some(digest) = ending.digests.get(system) {
                memory.known.entry(system.clone()).or_insert(*digest);
            }
            // The next request can ask whether that has changed.
            if let (Some(Ok(link)), Some(member)) =
                (pass.links.get(system), run.members.get(system))
                && outcome.is_success()
            {
                link.remember(&crate::plan::apply(&member.changes, observed));
            }
        }
        if outcome.is_success() {
            self.remember_good(scene, memory);
        }
        memory.conditions = standings(run, outcome, ending);
        memory.outcome = Some((scene.revision.clone(), outcome.clone()));
        done.conditions = run.conditions();
        if outcome.is_success() {
            done.conditions.extend(ending.adrift.clone());
        }
        done.outcome = Some(outcome.clone());
        done
    }
}

pub(super) fn connected(links: &BTreeMap<SystemName, Result<Arc<Link>, String>>) -> Links {
    links
        .iter()
        .filter_map(|(name, link)| Some((name.clone(), link.as_ref().ok()?.clone())))
        .collect()
}

pub(super) fn report(pass: &Pass<'_>, revision: &Revision, waits: Option<String>) -> GroupReport {
    GroupReport {
        group: pass.name.clone(),
        revision: revision.clone(),
        outcome: None,
        conditions: BTreeMap::new(),
        waits,
        next_date: None,
    }
}
