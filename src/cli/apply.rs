//! `lockstep apply`: one pass over all groups.

use clap::Args;

use super::{Env, Exit, print, talk};
use crate::app::App;
use crate::engine::{GroupReport, Turn};
use crate::record::Trigger;

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {}

pub(crate) async fn run(_args: ApplyArgs, env: Env) -> anyhow::Result<Exit> {
    let app = App::open(env.settings).await?;
    let mut engine = app.engine()?;
    let reports = engine.pass(Trigger::Manual).await;
    engine.resign().await;
    let reports = reports?;
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
    let what = match (&report.outcome, report.turn) {
        (Some(outcome), _) => outcome.to_string(),
        (None, Turn::Ours) if report.in_step() => "already in step".to_owned(),
        (None, Turn::Ours) => "nothing to do, and not in step".to_owned(),
        (None, Turn::Others) => {
            "not looked at: another process acts for this group, or did until a moment ago; try again shortly"
                .to_owned()
        }
    };
    format!("{} @ {}: {what}\n", report.group, report.revision.short())
}
