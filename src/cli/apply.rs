//! `lockstep apply`: one pass over all groups.

use clap::Args;

use super::{Env, Exit, print, talk};
use crate::app::App;
use crate::engine::GroupReport;
use crate::record::Trigger;

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {}

pub(crate) async fn run(_args: ApplyArgs, env: Env) -> anyhow::Result<Exit> {
    let app = App::open(env.settings).await?;
    let mut engine = app.engine()?;
    let reports = engine.pass(Trigger::Manual).await?;
    for report in &reports {
        print(&line(report))?;
        for (system, condition) in report.conditions.iter().filter(|(_, c)| !c.is_in_step()) {
            talk(&format!("  {system}: {}", condition.message));
        }
    }
    Ok(if reports.iter().all(GroupReport::in_step) {
        Exit::Done
    } else {
        Exit::Findings
    })
}

/// One line for a group: what came of it.
pub(crate) fn line(report: &GroupReport) -> String {
    let what = match &report.outcome {
        Some(outcome) => outcome.to_string(),
        None => "already in step".to_owned(),
    };
    format!("{} @ {}: {what}\n", report.group, report.revision.short())
}
