//! What will come of a merge that the proposal itself does not show: what the engine will hold it for, and how the systems stood before it.
//!
//! The same guard that the engine asks before it applies anything, over what the merge would do. It foretells and forbids nothing: systems may
//! move, time passes, and the engine asks again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::Judgement;
use crate::config::{Config, Mode};
use crate::ids::{GroupName, PlanDigest, ResourceRef, Revision, SystemName};
use crate::plan::safety::{self, Breach, GuardContext, PastChange};
use crate::plan::{Op, Plan, SystemPlan, fields};
use crate::record::Condition;
use crate::state::State;
use crate::store::{Store, StoreError};
use crate::view::{DateView, Standing};

/// What is remembered of the systems; empty where there is no store at hand.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    past: Vec<PastChange>,
    /// The systems of the base that the store has seen, as they were last seen.
    standings: BTreeMap<SystemName, Standing>,
}

impl Known {
    /// Reads as far back as the longest window of any ceiling.
    pub(super) async fn read(
        store: &Store,
        config: &Config,
        base: &Revision,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let since = config.safety.counted_since(now);
        let mut known = Self::default();
        for state in store.system_states().await? {
            if !config.systems.contains_key(&state.system) {
                continue;
            }
            known
                .past
                .extend(store.changes_since(&state.system, since).await?);
            let condition = serde_json::from_value::<Condition>(state.condition).ok();
            let standing = Standing::of(condition, state.revision.as_ref(), base);
            known.standings.insert(state.system, standing);
        }
        Ok(known)
    }
}

/// One group's share of a proposal that will wait for a person after the merge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hold {
    pub group: GroupName,
    /// The plan's digest as it will be, unless a system moves meanwhile: what `lockstep release` is given.
    pub plan: PlanDigest,
    pub breaches: Vec<Breach>,
}

/// What will come of a merge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Foresight {
    pub holds: Vec<Hold>,
    /// What will be held afterwards, when dates of the proposal come.
    pub later: Vec<(DateView, Hold)>,
    /// Systems with deletes or updates of which it is not known what was changed on them before: only this proposal is counted.
    pub uncounted: BTreeSet<SystemName>,
    /// How each system of the base stands, as it was last seen; `None` where nothing is known of any.
    pub before: Option<BTreeMap<SystemName, Standing>>,
}

impl Foresight {
    /// Limits, freezes and modes are the base's, as everything that judges; the rows are what the base says the systems have now.
    pub(super) fn of(j: &Judgement, known: &Known) -> Self {
        let config = &j.base.bundle.config;
        let counted =
            |share: &crate::plan::SystemPlan| share.changes.iter().any(|c| c.op != Op::Create);
        let uncounted = j
            .plan
            .systems
            .iter()
            .filter(|(system, share)| counted(share) && !known.standings.contains_key(*system));
        let before = config.systems.keys().map(|system| {
            let standing = known.standings.get(system).cloned();
            (system.clone(), standing.unwrap_or(Standing::NeverSynced))
        });
        Self {
            holds: holds(j, known),
            later: holds_later(j, known),
            uncounted: uncounted.map(|(system, _)| system.clone()).collect(),
            before: (!known.standings.is_empty()).then(|| before.collect()),
        }
    }
}

/// Something that is to be done: a plan, the moment of it, and what the systems have before.
struct Step<'a> {
    plan: &'a Plan,
    at: Timestamp,
    before: &'a dyn Fn(&SystemName) -> State,
}

/// What will be held of the merge itself.
fn holds(j: &Judgement, known: &Known) -> Vec<Hold> {
    let step = Step {
        plan: j.at_once(),
        at: j.at,
        before: &|system| j.base.bundle.project_at(system, j.at),
    };
    held(j, known, &step)
}

/// How many of a proposal's dates are looked at beforehand: each costs what the systems have as a whole.
const MOMENTS: usize = 10;

/// What will be held when the proposal's dates come, if nothing else changes until then.
fn holds_later(j: &Judgement, known: &Known) -> Vec<(DateView, Hold)> {
    let head = &j.compiled.bundle;
    let mut dates = DateView::of_plan(&j.plan, head, j.at);
    dates.dedup_by_key(|date| date.at);
    let mut holds = Vec::new();
    for date in dates.into_iter().take(MOMENTS) {
        let Ok(just_before) = date.at.checked_sub(SignedDuration::from_nanos(1)) else {
            continue;
        };
        let before = |system: &SystemName| head.project_at(system, just_before);
        let shares = head.config.systems.keys().map(|system| {
            let had = before(system);
            let has = head.project_after_at(system, date.at, (head, just_before), &had);
            let definition = head.config.systems.get(system);
            let has = definition.map_or(has.clone(), |d| fields::settled(&has, &had, &d.fields));
            (system.clone(), SystemPlan::new(&has, &had, head))
        });
        let plan = Plan {
            revision: None,
            systems: shares.collect(),
        };
        let step = Step {
            plan: &plan,
            at: date.at,
            before: &before,
        };
        let held = held(j, known, &step);
        holds.extend(held.into_iter().map(|hold| (date.clone(), hold)));
    }
    holds
}

/// What of a plan the tree after the merge declares, and its dates take away.
fn by_date(j: &Judgement, step: &Step<'_>) -> BTreeSet<ResourceRef> {
    let changes = step.plan.systems.values().flat_map(|share| &share.changes);
    let is_over = |id: &&ResourceRef| {
        let declared = j.compiled.bundle.get(id);
        declared.is_some_and(|resource| !resource.holds(step.at))
    };
    let ids = changes.map(|change| &change.id);
    ids.filter(is_over).cloned().collect()
}

fn held(j: &Judgement, known: &Known, step: &Step<'_>) -> Vec<Hold> {
    let base = &j.base.bundle;
    let by_date = by_date(j, step);
    let mut holds = Vec::new();
    for (group, members) in base.config.effective_groups() {
        let (mut systems, mut observed) = (BTreeMap::new(), BTreeMap::new());
        for system in &members.systems {
            let (Some(share), Some(definition)) = (
                step.plan.systems.get(system),
                base.config.systems.get(system),
            ) else {
                continue;
            };
            if share.changes.is_empty() {
                continue;
            }
            // What a system has as a whole costs its size; only deletes and modes are judged by it.
            let whole = definition.mode != Mode::Enforce || share.count(Op::Delete) > 0;
            let state = if whole {
                (step.before)(system)
            } else {
                State::default()
            };
            let (share, _skipped) = safety::apply_mode(share.clone(), &state, definition.mode);
            systems.insert(system.clone(), share);
            observed.insert(system.clone(), state);
        }
        let plan = Plan {
            revision: None,
            systems,
        };
        let context = GuardContext {
            now: step.at,
            past: &known.past,
            observed: &observed,
            released: None,
            own: &j.own,
            by_date: &by_date,
        };
        let breaches = safety::guard(&plan, &base.config, &context);
        if !breaches.is_empty() {
            holds.push(Hold {
                group,
                plan: plan.digest(),
                breaches,
            });
        }
    }
    holds
}
