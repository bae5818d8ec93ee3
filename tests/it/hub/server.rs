//! Listens on loopback, and closes every connection at once while the hub is down.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response};
use futures_util::FutureExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::ask::Answer;
use super::{Shared, front};

struct Listener {
    listener: TcpListener,
    shared: Arc<Shared>,
}

impl axum::serve::Listener for Listener {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let Ok((connection, from)) = self.listener.accept().await else {
                continue;
            };
            if self.shared.down.load(Ordering::SeqCst) {
                // Reset rather than ended: nobody may take it for an empty answer.
                let _ = connection.set_zero_linger();
                continue;
            }
            return (connection, from);
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let router = axum::Router::new()
        .fallback(handle)
        .with_state(shared.clone());
    let _ = axum::serve(Listener { listener, shared }, router).await;
}

/// A mistake of the stand-in itself must end the test, and not look like a fault of GitHub's.
async fn handle(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response<Body> {
    let what = format!("{} {}", request.method(), request.uri());
    let answered = AssertUnwindSafe(front::answer(&shared, request));
    match answered.catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            let violation = format!("{what}: the stand-in itself failed, see above");
            shared.state().violations.push(violation);
            Answer::refused(500, "Server Error").response()
        }
    }
}
