//! `lockstep run`: the reconciler, until it is told to stop. It also keeps the statuses and comments of open proposals up to date, does
//! what people say in comments, and takes the forge's deliveries.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::signals::Signals;
use super::{Env, Exit, talk};
use crate::app::App;
use crate::audit::signing::keep_signed;
use crate::engine::{Called, GroupReport, Stopped, supervise};
use crate::forge::{ForgeError, Logins};
use crate::gate;
use crate::ops::outbox::Sender;
use crate::ops::remarks::Listener;
use crate::serve::{self, Hooks, Pages, Served};
use crate::settings::Settings;
use crate::store::{Duty, News, Topic};

#[derive(Debug, Args)]
pub(crate) struct RunArgs {}

/// What wakes the loops; each looks at what is there, whatever woke it.
struct Wakes {
    /// The main branch here.
    main: watch::Sender<u64>,
    /// The main branch on the forge.
    fetch: watch::Sender<u64>,
    proposals: watch::Sender<u64>,
    remarks: watch::Sender<u64>,
    again: watch::Sender<u64>,
    /// What other replicas' runs left to show.
    runs: watch::Sender<u64>,
    /// What the outbox owes.
    outbox: watch::Sender<u64>,
}

impl Wakes {
    fn new() -> Self {
        let wake = || watch::channel(0_u64).0;
        Self {
            main: wake(),
            fetch: wake(),
            proposals: wake(),
            remarks: wake(),
            again: wake(),
            runs: wake(),
            outbox: wake(),
        }
    }

    /// Passes on what replicas say to each other.
    async fn relay(&self, mut news: News) {
        loop {
            let woken = match news.next().await {
                Some(Topic::Main) => vec![&self.main, &self.fetch],
                Some(Topic::Proposals) => vec![&self.proposals],
                Some(Topic::Remarks) => vec![&self.remarks],
                Some(Topic::Runs) => vec![&self.runs, &self.outbox],
                Some(Topic::Again) => vec![&self.again],
                Some(Topic::Outbox) => vec![&self.outbox],
                None => vec![
                    &self.main,
                    &self.fetch,
                    &self.proposals,
                    &self.remarks,
                    &self.runs,
                    &self.outbox,
                ],
            };
            for wake in woken {
                wake.send_modify(|n| *n += 1);
            }
        }
    }
}

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
    app.refuse_lost_store().await?;
    may_work(&app).await?;
    let engine = app.engine()?;
    let intervals = app.settings.intervals;
    let (stop, stopped) = watch::channel(false);
    let wakes = Wakes::new();
    let served = listen(&app, &wakes, stopped.clone()).await?;
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
        Called {
            pushed: wakes.main.subscribe(),
            again: wakes.again.subscribe(),
            runs: wakes.runs.subscribe(),
        },
        stopped.clone(),
        |reports| {
            // What ended owes messages.
            wakes.outbox.send_modify(|n| *n += 1);
            tell(reports, &mut said);
        },
    );
    let duty = app.duty(Duty::FORGE);
    let proposals = gate::keep_published(
        &app.gate,
        &*app.forge,
        &duty,
        intervals.git,
        wakes.proposals.subscribe(),
        stopped.clone(),
    );
    let listener = Listener {
        gate: &app.gate,
        forge: &*app.forge,
        store: &app.store,
        repo: app.repo.clone(),
        branch: &app.settings.branch,
        clock: &*app.clock,
        duty: &duty,
        again: wakes.again.clone(),
    };
    let (sinks, outbox_duty, actor) = (app.sinks()?, app.duty(Duty::OUTBOX), Sender::actor()?);
    let sender = Sender {
        store: &app.store,
        sinks: &sinks,
        clock: &*app.clock,
        duty: &outbox_duty,
        actor: &actor,
    };
    let sending = sender.send_all(wakes.outbox.subscribe(), stopped.clone());
    let followed = follow(&app, &wakes, stopped.clone());
    let remarks = listener.listen(intervals.git, wakes.remarks.subscribe(), stopped.clone());
    let signed = keep_signed(
        app.signing()?,
        &*app.forge,
        &*app.clock,
        &duty,
        intervals.git,
        stopped,
    );
    let noticed = async {
        let Ok(mut watcher) = watcher else {
            return std::future::pending().await;
        };
        while watcher.changed().await.is_some() {
            wakes.main.send_modify(|n| *n += 1);
            wakes.proposals.send_modify(|n| *n += 1);
        }
        std::future::pending::<()>().await;
    };
    let followed = futures_util::future::join(followed, signed);
    let loops = futures_util::future::join5(passes, proposals, remarks, followed, sending);
    let ended = tokio::select! {
        (ended, ..) = loops => ended,
        () = noticed => Stopped::InOrder,
        () = wakes.relay(app.store.listen()) => Stopped::InOrder,
        () = served => Stopped::InOrder,
        () = signals.obey(&stop) => Stopped::Midway,
    };
    leave(&app).await;
    if ended == Stopped::Midway {
        talk("lockstep: ended in the middle of something, which the next start takes up");
    }
    Ok(Exit::Done)
}

/// How long giving back what is held may take; leases run out by themselves.
const LEAVING: Duration = Duration::from_secs(1);

/// Gives back duties and takes this replica off the list, last of all: what others wait for.
async fn leave(app: &App) {
    if app.store.is_shared() {
        // What is not given back runs out.
        let _ = tokio::time::timeout(LEAVING, app.store.leave(&app.holder)).await;
    }
}

/// Brings main here on each poll, and at once when it is delivered, where proposals live elsewhere. By itself, so that nothing waits for a forge
/// that does not answer.
async fn follow(app: &App, wakes: &Wakes, mut stop: watch::Receiver<bool>) {
    if app.forge.logins() == Logins::Own {
        return;
    }
    let mut delivered = wakes.fetch.subscribe();
    let mut said = String::new();
    while !*stop.borrow() {
        delivered.mark_unchanged();
        match app.forge.fetch().await {
            Ok(()) => {
                said.clear();
                wakes.main.send_modify(|n| *n += 1);
            }
            Err(error) => {
                // Once, for as long as it is the same.
                let now = error.to_string();
                if now != said {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the config repo is as it was fetched last"
                    );
                }
                said = now;
            }
        }
        tokio::select! {
            _ = stop.changed() => {}
            _ = delivered.changed() => {}
            () = tokio::time::sleep(app.settings.intervals.git) => {}
        }
    }
}

/// Whether the forge lets Lockstep do its work. One that is away may let it later.
async fn may_work(app: &App) -> anyhow::Result<()> {
    match app.forge.check_access().await {
        Ok(()) => Ok(()),
        Err(error @ ForgeError::Refused(_)) => Err(error.into()),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what the forge allows could not be asked"
            );
            Ok(())
        }
    }
}

/// What is answered over HTTP, where anything is.
async fn listen(
    app: &App,
    wakes: &Wakes,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let settings = &app.settings;
    let listener = if settings.listens {
        let bound = TcpListener::bind(settings.listen).await;
        let bound = bound.map_err(|error| {
            anyhow::anyhow!(
                "cannot listen on {} (`listen` in lockstep.toml): {error}",
                settings.listen
            )
        })?;
        talk(&format!(
            "lockstep: listening on http://{}",
            bound.local_addr()?
        ));
        Some(bound)
    } else {
        None
    };
    let secret = settings
        .github
        .as_ref()
        .and_then(|g| g.webhook_secret.clone());
    let hooks = secret.map(|secret| Hooks {
        secret,
        branch: settings.branch.clone(),
        store: app.store.clone(),
        clock: app.clock.clone(),
        main: wakes.fetch.clone(),
        proposals: wakes.proposals.clone(),
        remarks: wakes.remarks.clone(),
    });
    // Whoever reaches a page can read it: so none beyond this machine.
    let pages = settings.listen.ip().is_loopback().then(|| Pages {
        gate: app.gate.clone(),
        forge: app.forge.clone(),
        store: app.store.clone(),
        language: settings.language,
    });
    let served = Served {
        hooks,
        pages,
        systems: Some(app.counters()),
    };
    Ok(async move {
        let Some(listener) = listener else {
            return std::future::pending().await;
        };
        if let Err(error) = serve::serve(listener, served, stopped).await {
            tracing::error!(%error, "requests are not answered any more; polling goes on");
        }
        std::future::pending::<()>().await;
    })
}

fn tell(reports: &[GroupReport], said: &mut BTreeMap<crate::ids::GroupName, String>) {
    for report in reports {
        let line = super::apply::line(report);
        let quiet = report.outcome.is_none() && report.waits.is_none();
        // What stays as it is was said once.
        let before = said.insert(report.group.clone(), line.clone());
        if !quiet && before.as_ref() != Some(&line) {
            talk(line.trim_end());
        }
    }
}
