//! What `lockstep run` answers over HTTP: deliveries of the forge, plain pages that statuses and comments link to, and systems that pull.
//!
//! A delivery is only a reason to look sooner. It is verified, noted by its id and answered at once; what it is about is read from the
//! forge afterwards, as on every poll.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post, put};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

mod pages;
mod pull;
mod webhook;

pub use pages::Pages;
pub use pull::{Closed, Directory};
pub use webhook::Hooks;

/// How many requests are answered at once; more are told to come back.
const AT_ONCE: usize = 64;

/// How long one request may take to arrive, and an answer to be given.
const REQUEST: Duration = Duration::from_secs(20);

struct State {
    hooks: Option<Hooks>,
    pages: Option<Pages>,
    systems: Option<Arc<dyn Directory>>,
    room: Semaphore,
    /// For streams of events, which last.
    streams: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

type Shared = Arc<State>;

/// What is answered. Pages are only served where they are given: on a network others could read them.
pub struct Served {
    pub hooks: Option<Hooks>,
    pub pages: Option<Pages>,
    pub systems: Option<Arc<dyn Directory>>,
}

/// Answers requests until `stop` becomes true.
pub async fn serve(
    listener: TcpListener,
    served: Served,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let Served {
        hooks,
        pages,
        systems,
    } = served;
    let state = Arc::new(State {
        hooks,
        pages,
        systems,
        room: Semaphore::new(AT_ONCE),
        streams: Arc::new(Semaphore::new(pull::STREAMS)),
        stop: stop.clone(),
    });
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/hooks/github", post(webhook::take))
        .route("/revisions/{revision}", get(pages::revision))
        .route("/proposals/{number}", get(pages::proposal))
        .route("/pull/v1/openapi.json", get(pull::openapi))
        .route("/pull/v1/{system}/desired", get(pull::desired))
        .route("/pull/v1/{system}/events", get(pull::events))
        .route("/pull/v1/{system}/changesets", get(pull::changesets))
        .route("/pull/v1/{system}/changesets/{id}", post(pull::acknowledge))
        .route("/pull/v1/{system}/state", put(pull::report))
        .with_state(state);
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    axum::serve(listener, router)
        .with_graceful_shutdown(stopped)
        .await
}
