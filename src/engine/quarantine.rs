//! Rows that a system can't take as things stand there, such as a grant for a person whom it does not know yet: they are left out of the run and
//! said, and the rest goes on.
//!
//! Which these are is asked on every pass that has something to do there, so a row goes out as soon as the system can take it. A system that
//! refuses a change when it is prepared refuses all of the run as ever.

use std::collections::BTreeSet;

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

/// A share without the rows that are left out, and how the system stands for that.
pub(super) type Rest = (SystemPlan, Option<Condition>);

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
        let unfit = match pass.links.get(system) {
            Some(Ok(link)) if !share.changes.is_empty() => link.unfit(&share.changes).await,
            Some(_) | None => Ok(Vec::new()),
        };
        let unfit = unfit.unwrap_or_else(|error| {
            // Preparing them asks it again, and tells what it says.
            tracing::warn!(system.name = %system, error = &error as &dyn std::error::Error, "can't say which rows it takes");
            Vec::new()
        });
        if unfit.is_empty() {
            memory.unfit.remove(system);
            return Ok((share, None));
        }
        if memory.unfit.get(system) != Some(&unfit) {
            self.record_unfit(pass, scene, system, &unfit).await?;
            memory.unfit.insert(system.clone(), unfit.clone());
        }
        let ids: BTreeSet<&ResourceRef> = unfit.iter().map(|reason| &reason.id).collect();
        let (share, _left) = split(share, observed, |change| !ids.contains(&change.id));
        Ok((share, Some(condition(&unfit))))
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
        reason: ConditionReason::Drifted,
        message,
    }
}
