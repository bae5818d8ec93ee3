//! The reference system: a small connected system that shows how the System API is to be kept, and what its users see.
//!
//! Resources, changesets and audit events live in one SQLite file (`database`); one task writes them (`keeper`) by the
//! rules of `changeset`, which are pure; `api` speaks the System API, `local` takes changes behind Lockstep's back,
//! `page` shows flags, notices and the rest as the system's users would meet them. It knows no kinds beyond that, and nothing of Lockstep's engine.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{get, post, put};
use axum::{Router, middleware};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::clock::{Clock, SystemClock};
use crate::ids::{KindName, SystemName};
use crate::system_api::BODY_LIMIT;

mod api;
mod changeset;
mod connections;
mod database;
mod faults;
mod keeper;
mod local;
mod marks;
mod page;
mod problem;

#[cfg(test)]
mod tests;

pub use faults::{DropState, Faults, Refusal};

/// Requests that are worked on at once; more of them wait. A stream of events counts only until it has begun.
const AT_ONCE: usize = 64;

/// How long requests under way may take to end when the system is stopped.
const GRACE: Duration = Duration::from_secs(5);

/// How long closing the file may take after that.
const CLOSING: Duration = Duration::from_secs(2);

/// What a reference system is started with.
#[derive(Debug, Clone)]
pub struct Options {
    pub name: SystemName,
    /// What its page is called; the name where absent.
    pub title: Option<String>,
    /// Port 0 for any that is free.
    pub listen: SocketAddr,
    /// The SQLite file; made where it is not there.
    pub database: PathBuf,
    /// What the System API asks for. Without one it is open, and then only on loopback.
    pub token: Option<SecretString>,
    /// The kinds it takes; empty for all.
    pub kinds: BTreeSet<KindName>,
    /// Faults that can be set at `/faults`; `None` where there shall be no such thing.
    pub faults: Option<Faults>,
}

/// Why a reference system does not start or has ended.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    #[error("cannot use {} as the system's database: {error}; is it open in another process?", file.display())]
    Database { file: PathBuf, error: sqlx::Error },
    #[error("{} belongs to the system {owner:?}, not to {:?}; give each system a file of its own", file.display(), name.as_str())]
    OtherSystem {
        file: PathBuf,
        owner: String,
        name: SystemName,
    },
    #[error("cannot listen on {listen}: {error}")]
    Listen {
        listen: SocketAddr,
        error: std::io::Error,
    },
    #[error(
        "{0} can be reached from elsewhere: give a token, or listen on a loopback address such as 127.0.0.1"
    )]
    Open(SocketAddr),
    #[error("the server ended: {0}")]
    Ended(std::io::Error),
}

/// What the request handlers share.
struct App {
    name: SystemName,
    title: String,
    desk: keeper::Desk,
    database: database::Database,
    token: Option<SecretString>,
    kinds: BTreeSet<KindName>,
    loopback: bool,
    faults: Mutex<Faults>,
    /// Turns true when the system stops, so that streams end.
    stopping: watch::Receiver<bool>,
}

type Shared = Arc<App>;

impl App {
    /// Reads or changes the faults. Never held while waiting.
    fn faults<T>(&self, with: impl FnOnce(&mut Faults) -> T) -> T {
        with(&mut self.faults.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A running reference system. Dropping it ends it at once, as a kill would; [`Server::stop`] ends it in order.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    stopping: watch::Sender<bool>,
    database: database::Database,
    tasks: JoinSet<Result<(), std::io::Error>>,
}

impl Server {
    /// Where it listens, with the port that it got.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL, for a connector's settings.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Ends it: takes no more connections, lets requests under way end, closes the file. A request that does not end is left.
    pub async fn stop(mut self) -> Result<(), ReferenceError> {
        self.stopping.send_replace(true);
        let ended = tokio::time::timeout(GRACE, self.ended()).await;
        self.tasks.shutdown().await;
        // A connection that such a request still has is not waited for: every write is a transaction.
        let _ = tokio::time::timeout(CLOSING, self.database.close()).await;
        ended.unwrap_or(Ok(()))
    }

    /// Waits until it has ended by itself.
    async fn ended(&mut self) -> Result<(), ReferenceError> {
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(ended) => ended.map_err(ReferenceError::Ended)?,
                Err(error) => return Err(ReferenceError::Ended(std::io::Error::other(error))),
            }
        }
        Ok(())
    }
}

/// Starts a system and answers as soon as it listens.
pub async fn bind(options: Options) -> Result<Server, ReferenceError> {
    bind_with(options, Arc::new(SystemClock)).await
}

/// The same, with a clock for the audit's times.
pub async fn bind_with(options: Options, clock: Arc<dyn Clock>) -> Result<Server, ReferenceError> {
    let Options {
        name,
        title,
        listen,
        database: file,
        token,
        kinds,
        faults,
    } = options;
    if token.is_none() && !listen.ip().is_loopback() {
        return Err(ReferenceError::Open(listen));
    }
    let database = database::Database::open(&file, &name).await?;
    let (keeper, desk) = keeper::Keeper::open(database.clone(), clock)
        .await
        .map_err(|error| ReferenceError::Database { file, error })?;
    let failed = |error| ReferenceError::Listen { listen, error };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let (stopping, stopped) = watch::channel(false);
    let app = Arc::new(App {
        title: title.unwrap_or_else(|| name.to_string()),
        name,
        desk,
        database: database.clone(),
        token,
        kinds,
        loopback: addr.ip().is_loopback(),
        faults: Mutex::new(faults.clone().unwrap_or_default()),
        stopping: stopped.clone(),
    });
    let router = router(app, faults.is_some());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        keeper.run().await;
        Ok(())
    });
    tasks.spawn(async move {
        let listener = connections::Bounded::new(listener, connections::BOUNDS);
        axum::serve(listener, router)
            .with_graceful_shutdown(until_stopped(stopped))
            .await
    });
    Ok(Server {
        addr,
        stopping,
        database,
        tasks,
    })
}

/// Runs a system until SIGTERM or Ctrl-C, and lets requests under way end; a second one ends it at once. `ready` is told the address
/// once it listens.
pub async fn serve(options: Options, ready: impl FnOnce(SocketAddr)) -> Result<(), ReferenceError> {
    let mut signals = Signals::listen().map_err(ReferenceError::Ended)?;
    let mut server = bind(options).await?;
    ready(server.addr());
    tokio::select! {
        ended = server.ended() => return ended,
        () = signals.next() => {}
    }
    tokio::select! {
        stopped = server.stop() => stopped,
        () = signals.next() => Ok(()),
    }
}

/// SIGTERM and Ctrl-C, none of them lost between one and the next.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            terminate: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        let interrupt = async {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            () = interrupt => {}
        }
        #[cfg(not(unix))]
        interrupt.await;
    }
}

/// Done when the system is told to stop, or is gone.
async fn until_stopped(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

fn router(app: Shared, with_faults: bool) -> Router {
    let system_api = Router::new()
        .route("/state", get(api::get_state))
        .route("/state/digests", get(api::get_digests))
        .route("/changesets/{id}", put(api::prepare))
        .route("/changesets/{id}/commit", post(api::commit))
        .route("/changesets/{id}/abort", post(api::abort))
        .route("/audit", get(api::audit))
        .route_layer(middleware::from_fn_with_state(app.clone(), api::authorize))
        .route("/openapi.json", get(api::openapi));
    let mut local = Router::new().route(
        "/admin/resources/{kind}/{*name}",
        put(local::put_resource).delete(local::delete_resource),
    );
    if with_faults {
        local = local.route("/faults", get(local::get_faults).put(local::put_faults));
    }
    let local = local.route_layer(middleware::from_fn_with_state(
        app.clone(),
        local::authorize,
    ));
    Router::new()
        .nest(crate::system_api::PREFIX, system_api)
        .merge(local)
        .merge(page::routes())
        .route("/healthz", get(api::healthz))
        .fallback(api::not_found)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn_with_state(
            Arc::new(Semaphore::new(AT_ONCE)),
            in_turn,
        ))
        .with_state(app)
}

async fn in_turn(State(turns): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    // Nobody closes it, so there is always a turn to wait for.
    let _turn = turns.acquire().await;
    next.run(request).await
}
