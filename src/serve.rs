//! What `lockstep run` answers over HTTP: deliveries of the forge, and plain pages that statuses and comments link to.
//!
//! A delivery is only a reason to look sooner. It is verified, noted by its id and answered at once; what it is about is read from the
//! forge afterwards, as on every poll.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

mod pages;
mod webhook;

pub use pages::Pages;
pub use webhook::Hooks;

/// How many requests are answered at once; more are told to come back.
const AT_ONCE: usize = 64;

/// How long one request may take to arrive, and an answer to be given.
const REQUEST: Duration = Duration::from_secs(20);

struct State {
    hooks: Option<Hooks>,
    pages: Option<Pages>,
    room: Semaphore,
}

type Shared = Arc<State>;

/// Answers requests until `stop` becomes true. Pages are only served where they are given: on a network others could read them.
pub async fn serve(
    listener: TcpListener,
    hooks: Option<Hooks>,
    pages: Option<Pages>,
    mut stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let state = Arc::new(State {
        hooks,
        pages,
        room: Semaphore::new(AT_ONCE),
    });
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/hooks/github", post(webhook::take))
        .route("/revisions/{revision}", get(pages::revision))
        .route("/proposals/{number}", get(pages::proposal))
        .with_state(state);
    let stopped = async move {
        let _ = stop.wait_for(|stop| *stop).await;
    };
    axum::serve(listener, router)
        .with_graceful_shutdown(stopped)
        .await
}
