//! `lockstep run`: the reconciler, until it is told to stop. It also keeps the statuses and comments of open proposals up to date.

use std::collections::BTreeMap;

use clap::Args;
use tokio::sync::watch;

use super::signals::Signals;
use super::{Env, Exit, talk};
use crate::app::App;
use crate::engine::{Stopped, supervise};
use crate::gate;
use crate::settings::Settings;

#[derive(Debug, Args)]
pub(crate) struct RunArgs {}

pub(crate) async fn run(_args: RunArgs, env: Env) -> anyhow::Result<Exit> {
    // Before anything is begun that a signal could interrupt.
    let signals = Signals::listen()?;
    // What a server publishes is in the language it was started in.
    let app = App::open(Settings {
        language: env.language,
        ..env.settings
    })
    .await?;
    let _claim = app.store.claim(app.clock.now())?;
    let engine = app.engine()?;
    let intervals = app.settings.intervals;
    let (stop, stopped) = watch::channel(false);
    let (pushed, pushes) = watch::channel(0_u64);
    let watcher = app.repo.watch();
    if let Err(error) = &watcher {
        tracing::warn!(%error, "pushes are not noticed at once; polling goes on");
    }
    talk(&format!(
        "lockstep: keeping {} in step; Ctrl-C ends it",
        app.settings.repo.display()
    ));
    let mut said = BTreeMap::new();
    let passes = supervise(
        engine,
        intervals,
        pushes.clone(),
        stopped.clone(),
        |reports| {
            for report in reports {
                let line = super::apply::line(report);
                let quiet = report.outcome.is_none() && report.waits.is_none();
                // What stays as it is was said once.
                let before = said.insert(report.group.clone(), line.clone());
                if !quiet && before.as_ref() != Some(&line) {
                    talk(line.trim_end());
                }
            }
        },
    );
    let proposals = gate::keep_published(&app.gate, &*app.forge, intervals.git, pushes, stopped);
    let noticed = async {
        let Ok(mut watcher) = watcher else {
            return std::future::pending().await;
        };
        while watcher.changed().await.is_some() {
            pushed.send_modify(|n| *n += 1);
        }
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        (ended, ()) = futures_util::future::join(passes, proposals) => ended,
        () = noticed => Stopped::InOrder,
        () = signals.obey(&stop) => Stopped::Midway,
    };
    if ended == Stopped::Midway {
        talk("lockstep: ended in the middle of something, which the next start takes up");
    }
    Ok(Exit::Done)
}
