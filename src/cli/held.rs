//! The plans that wait for a person, with what they would do, as the runs that were held have kept it.

use std::collections::BTreeMap;

use crate::app::App;
use crate::config::Config;
use crate::ids::PlanDigest;
use crate::ops::release::held_plans;
use crate::plan::safety::Breach;
use crate::record::Run;
use crate::store::Reach;
use crate::view::HeldPlan;

/// How many of a group's latest runs are looked through.
const RUNS: u32 = 100;

/// All of them, as `status` and `apply` show them.
pub(super) async fn of(app: &App, config: &Config) -> anyhow::Result<Vec<HeldPlan>> {
    let mut wanted: BTreeMap<PlanDigest, Vec<Breach>> =
        held_plans(&app.store, config).await?.into_iter().collect();
    let mut held = Vec::new();
    for group in config.effective_groups().keys() {
        for (reach, among) in [(Reach::Whole, 1), (Reach::Urgent, RUNS)] {
            if wanted.is_empty() {
                return Ok(held);
            }
            for stored in app.store.recent_runs(group, reach, among).await? {
                let Ok(run) = serde_json::from_value::<Run>(stored.run.body) else {
                    continue;
                };
                if let Some(breaches) = wanted.remove(&run.plan) {
                    held.push(HeldPlan::new(&run, &breaches));
                }
            }
        }
    }
    Ok(held)
}
