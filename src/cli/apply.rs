//! `lockstep apply`: one pass over all groups.

use std::time::Duration;

use clap::Args;
use tokio::sync::watch;

use super::signals::Signals;
use super::{Env, Exit, held, print, talk};
use crate::app::App;
use crate::audit::checkpoints::NOTES;
use crate::audit::signing::Want;
use crate::engine::{EngineError, GroupReport, pass_once};
use crate::ops::outbox::Sender;
use crate::record::{ConditionState, Outcome, Trigger};
use crate::store::Duty;
use crate::view;

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {}

pub(crate) async fn run(_args: ApplyArgs, env: Env) -> anyhow::Result<Exit> {
    // Before anything is begun that a signal could interrupt.
    let signals = Signals::listen()?;
    let language = env.language;
    let app = App::open(env.settings).await?;
    app.refuse_lost_store().await?;
    let (stop, stopped) = watch::channel(false);
    let passed = tokio::select! {
        passed = pass_once(app.engine()?, Trigger::Manual, stopped) => passed,
        () = signals.obey(&stop) => None,
    };
    let reports = match passed {
        None => {
            talk("lockstep: ended in the middle of a pass, which the next one takes up");
            return Ok(Exit::Failed);
        }
        Some(Err(error @ EngineError::Unsound(_))) => {
            talk(&format!("error: {error}"));
            return Ok(Exit::Findings);
        }
        Some(passed) => passed?,
    };
    sign(&app).await;
    send(&app).await;
    let mut is_held = false;
    for report in &reports {
        print(&line(report))?;
        let outcome = report.outcome.as_ref().map(ToString::to_string);
        is_held |= matches!(report.outcome, Some(Outcome::Held { .. }));
        for (system, condition) in report.conditions.iter().filter(|(_, c)| !c.is_in_step()) {
            is_held |= condition.state == ConditionState::Held;
            // Said of the group already.
            if outcome.as_ref() != Some(&condition.message) {
                talk(&format!("  {system}: {}", condition.message));
            }
        }
    }
    if is_held {
        for plan in held::of(&app, &app.head().await?.config).await? {
            print(&view::text::held(&plan, language))?;
        }
    }
    Ok(if reports.iter().all(GroupReport::in_step) {
        Exit::Done
    } else {
        Exit::Findings
    })
}

/// How long a pass sends what is owed; the next one goes on.
const SENDING: Duration = Duration::from_secs(10);

/// Sends what is owed: there may be no `lockstep run` that does.
async fn send(app: &App) {
    let sent = async {
        let (sinks, duty) = (app.sinks()?, app.duty(Duty::OUTBOX));
        let actor = Sender::actor()?;
        let sender = Sender {
            store: &app.store,
            sinks: &sinks,
            clock: &*app.clock,
            duty: &duty,
            actor: &actor,
        };
        sender.round().await?;
        Ok::<_, anyhow::Error>(())
    };
    match tokio::time::timeout(SENDING, sent).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "what is owed is sent later"),
        Err(_) => tracing::warn!("what is owed is sent later: it takes too long"),
    }
}

/// Signs what the pass has added to the ledger. Where that fails, the systems are in step all the same.
async fn sign(app: &App) {
    let signed = async {
        let signed = app.signing()?.sign(Want::Due, app.clock.now()).await?;
        if signed.is_some() {
            app.forge.keep_notes(NOTES).await?;
        }
        anyhow::Ok(())
    };
    if let Err(error) = signed.await {
        talk(&format!("warning: {error:#}"));
    }
}

/// One line for a group: what came of it.
pub(crate) fn line(report: &GroupReport) -> String {
    let what = match (&report.outcome, &report.waits) {
        (Some(outcome), None) => outcome.to_string(),
        (Some(outcome), Some(waits)) => format!("{outcome}; {waits}"),
        (None, Some(waits)) => waits.clone(),
        (None, None) if !report.in_step() => "left as it is".to_owned(),
        (None, None) => "already in step".to_owned(),
    };
    format!("{} @ {}: {what}\n", report.group, report.revision.short())
}
