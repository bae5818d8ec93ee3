//! What will come of a merge that the proposal itself does not show: what the engine will hold it for, and how the systems stood before it.
//!
//! The same guard that the engine asks before it applies anything, over what the merge would do. It foretells and forbids nothing: systems may
//! move, time passes, and the engine asks again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::Judgement;
use crate::config::{Config, Mode};
use crate::ids::{GroupName, PlanDigest, Revision, SystemName};
use crate::plan::safety::{self, Breach, GuardContext, PastChange};
use crate::plan::{Op, Plan};
use crate::record::Condition;
use crate::state::State;
use crate::store::{Store, StoreError};
use crate::view::Standing;

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
    /// Systems with deletes or updates of which it is not known what was changed on them before: only this proposal is counted.
    pub uncounted: BTreeSet<SystemName>,
    /// How each system of the base stands, as it was last seen; `None` where nothing is known of any.
    pub before: Option<BTreeMap<SystemName, Standing>>,
}

impl Foresight {
    /// Limits, freezes and modes are the base's, as everything that judges; the rows are what the base says the systems have.
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
            uncounted: uncounted.map(|(system, _)| system.clone()).collect(),
            before: (!known.standings.is_empty()).then(|| before.collect()),
        }
    }
}

fn holds(j: &Judgement, known: &Known) -> Vec<Hold> {
    let base = &j.base.bundle;
    let mut holds = Vec::new();
    for (group, members) in base.config.effective_groups() {
        let (mut systems, mut observed) = (BTreeMap::new(), BTreeMap::new());
        for system in &members.systems {
            let (Some(share), Some(definition)) =
                (j.plan.systems.get(system), base.config.systems.get(system))
            else {
                continue;
            };
            if share.changes.is_empty() {
                continue;
            }
            // What a system has as a whole costs its size; only deletes and modes are judged by it.
            let whole = definition.mode != Mode::Enforce || share.count(Op::Delete) > 0;
            let state = if whole {
                base.project(system)
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
            now: j.at,
            past: &known.past,
            observed: &observed,
            released: None,
            own: &j.own,
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
