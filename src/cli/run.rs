//! `lockstep run`: the reconciler, until it is told to stop. It also keeps the statuses and comments of open proposals up to date.

use clap::Args;
use tokio::sync::watch;

use super::{Env, Exit, talk};
use crate::app::App;
use crate::engine::supervise;
use crate::gate;

#[derive(Debug, Args)]
pub(crate) struct RunArgs {}

pub(crate) async fn run(_args: RunArgs, env: Env) -> anyhow::Result<Exit> {
    let language = env.language;
    let app = App::open(env.settings).await?;
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
    let mut said = std::collections::BTreeMap::new();
    let passes = supervise(
        engine,
        intervals,
        pushes.clone(),
        stopped.clone(),
        |reports| {
            for report in reports {
                let line = super::apply::line(report);
                let known = said.insert(report.group.clone(), line.clone());
                // A retry that ends as the one before it is no news; nor is a group that stays in step.
                let news = known.as_ref() != Some(&line);
                let quiet = report.outcome.is_none() && report.in_step() && known.is_some();
                if news && !quiet {
                    talk(line.trim_end());
                }
            }
        },
    );
    let proposals = gate::keep_published(
        &app.gate,
        &*app.forge,
        language,
        intervals.git,
        pushes,
        stopped,
    );
    let noticed = async {
        let Ok(mut watcher) = watcher else {
            return std::future::pending().await;
        };
        while watcher.changed().await.is_some() {
            pushed.send_modify(|n| *n += 1);
        }
        std::future::pending::<()>().await;
    };
    let ended = async {
        super::interrupted().await;
        talk("lockstep: finishing what is under way");
        stop.send_replace(true);
    };
    tokio::select! {
        ((), (), ()) = futures_util::future::join3(passes, proposals, ended) => {}
        () = noticed => {}
    }
    Ok(Exit::Done)
}
