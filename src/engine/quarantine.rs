//! Rows that a system can't take as things stand there, such as a grant for a person whom it does not know yet: they are left out of the run and
//! said, and the rest goes on.
//!
//! Which these are is asked on every pass that has something to do there, so a row goes out as soon as the system can take it. A system that
//! refuses a change when it is prepared refuses all of the run as ever.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::drift::split;
use super::group::{Memory, Pass};
use super::look::Scene;
use super::{Engine, EngineError};
use crate::connector::Reason;
use crate::ids::{ResourceRef, SystemName};
use crate::plan::SystemPlan;
use crate::record::{Condition, ConditionReason, ConditionState};
use crate::state::State;
use crate::store::NewEntry;

/// How many rows a message names, and how many a ledger entry holds.
const NAMED: usize = 5;
const KEPT: usize = 100;

/// Where it is kept for a system, beside what its connector keeps.
const LEFT_OUT: &str = "engine/left-out";

/// A share without the rows that are left out, and how the system stands for that.
pub(super) type Rest = (SystemPlan, Option<Condition>);

/// What is known of the rows that were left out on a system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LeftOut {
    /// What the system can't take.
    unfit: Vec<Reason>,
    /// The same, and what it can take again and does not have yet: not changed by somebody else, only late.
    late: BTreeSet<ResourceRef>,
}

impl LeftOut {
    /// What of a share it is now.
    fn next(&self, unfit: Vec<Reason>, share: &SystemPlan) -> Self {
        let ids = unfit.iter().map(|reason| reason.id.clone());
        let waits = share.changes.iter().map(|change| &change.id);
        let still = waits.filter(|id| self.late.contains(*id)).cloned();
        Self {
            late: ids.chain(still).collect(),
            unfit,
        }
    }

    /// Whether a difference is no drift, but Lockstep's own to bring there.
    pub(super) fn is_late(&self, id: &ResourceRef) -> bool {
        self.late.contains(id)
    }
}

impl Engine {
    /// A system's share without what it can't take just now.
    pub(super) async fn without_unfit(
        &self,
        pass: &Pass<'_>,
        scene: &Scene,
        system: &SystemName,
        (share, observed): (SystemPlan, &State),
        memory: &mut Memory,
    ) -> Result<Rest, EngineError> {
        let known = match memory.left_out.get(system) {
            Some(known) => known.clone(),
            None => self.left_out_on(system).await?,
        };
        let unfit = match pass.links.get(system) {
            Some(Ok(link)) if !share.changes.is_empty() => link.unfit(&share.changes).await,
            Some(_) | None => Ok(Vec::new()),
        };
        let unfit = unfit.unwrap_or_else(|error| {
            // Better left out once more than refused with all the rest.
            tracing::warn!(system.name = %system, error = &error as &dyn std::error::Error, "can't say which rows it takes");
            known.unfit.clone()
        });
        let next = known.next(unfit, &share);
        if next != known {
            self.keep_left_out(system, &next).await?;
        }
        if next.unfit != known.unfit {
            self.record_unfit(pass, scene, system, &next.unfit).await?;
        }
        memory.left_out.insert(system.clone(), next.clone());
        if next.unfit.is_empty() {
            return Ok((share, None));
        }
        let ids: BTreeSet<&ResourceRef> = next.unfit.iter().map(|reason| &reason.id).collect();
        let (share, _left) = split(share, observed, |change| !ids.contains(&change.id));
        Ok((share, Some(condition(&next.unfit))))
    }

    /// What is kept of it: who starts again, or takes over, knows what is late.
    async fn left_out_on(&self, system: &SystemName) -> Result<LeftOut, EngineError> {
        let kept = self.store.on_shelf(system, LEFT_OUT).await?;
        // One that can't be read says nothing: then what is late is taken for drift, as it is without it.
        Ok(kept
            .and_then(|(_, text)| serde_json::from_str(&text).ok())
            .unwrap_or_default())
    }

    async fn keep_left_out(&self, system: &SystemName, next: &LeftOut) -> Result<(), EngineError> {
        if *next == LeftOut::default() {
            return Ok(self.store.clear_from_shelf(system, LEFT_OUT).await?);
        }
        let over = self.store.on_shelf(system, LEFT_OUT).await?;
        let text = serde_json::to_string(next).unwrap_or_default();
        let over = over.map(|(digest, _)| digest);
        // Whoever else wrote it has the lease, and looks for itself.
        self.store
            .put_on_shelf(system, LEFT_OUT, over, &text)
            .await?;
        Ok(())
    }

    async fn record_unfit(
        &self,
        pass: &Pass<'_>,
        scene: &Scene,
        system: &SystemName,
        unfit: &[Reason],
    ) -> Result<(), EngineError> {
        let rows = unfit.iter().take(KEPT);
        let rows: Vec<_> = rows
            .map(|r| json!({"id": r.id, "reason": r.message}))
            .collect();
        let entry = NewEntry {
            at: self.clock.now(),
            actor: self.actor.clone(),
            action: "rows.quarantined".to_owned(),
            group: Some(pass.name.clone()),
            system: Some(system.clone()),
            run: None,
            revision: Some(scene.revision.clone()),
            body: json!({"count": unfit.len(), "rows": rows}),
        };
        Ok(self.store.append(&[entry]).await?)
    }
}

/// How a system stands that lacks rows.
fn condition(unfit: &[Reason]) -> Condition {
    let named = unfit.iter().take(NAMED);
    let named: Vec<String> = named.map(|r| format!("{}: {}", r.id, r.message)).collect();
    let mut message = format!("left out, and all else is there: {}", named.join("; "));
    if unfit.len() > NAMED {
        message.push_str(&format!("; and {} more", unfit.len() - NAMED));
    }
    Condition {
        state: ConditionState::Behind,
        reason: ConditionReason::LeftOut,
        message,
    }
}
