//! A proxy in front of a system that can stop the world at one request: before the system sees it, or after the system has answered and
//! before Lockstep hears. So a process can be killed between any two steps without a hook inside it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;

/// On which side of the system's work a request is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Before,
    After,
}

/// Stop at the nth request (from 1) that matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Part of `METHOD path`.
    pub matches: String,
    pub nth: usize,
    pub side: Side,
}

#[derive(Default)]
struct Inner {
    hold: Option<Hold>,
    matched: usize,
    log: Vec<String>,
}

struct Shared {
    upstream: SocketAddr,
    client: reqwest::Client,
    inner: Mutex<Inner>,
    stopped: watch::Sender<bool>,
}

pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream,
            client: reqwest::Client::new(),
            inner: Mutex::default(),
            stopped: watch::channel(false).0,
        });
        let app = Router::new().fallback(forward).with_state(shared.clone());
        let server = super::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Self {
            address,
            shared,
            server,
        }
    }

    /// From now on, stops the world at one request.
    pub fn hold(&self, hold: Hold) {
        let mut inner = self.shared.inner.lock().unwrap();
        inner.hold = Some(hold);
        inner.matched = 0;
        self.shared.stopped.send_replace(false);
    }

    /// Lets everything through again. What was stopped stays stopped: its sender is dead.
    pub fn release(&self) {
        self.shared.inner.lock().unwrap().hold = None;
    }

    /// Waits until a request is being held.
    pub async fn stopped(&self, deadline: Duration) -> bool {
        let mut seen = self.shared.stopped.subscribe();
        tokio::time::timeout(deadline, seen.wait_for(|stopped| *stopped))
            .await
            .is_ok_and(|r| r.is_ok())
    }

    /// `METHOD path` of every request so far.
    pub fn log(&self) -> Vec<String> {
        self.shared.inner.lock().unwrap().log.clone()
    }

    pub fn clear_log(&self) {
        self.shared.inner.lock().unwrap().log.clear();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |p| p.as_str())
        .to_owned();
    let line = format!("{} {path}", request.method());
    let hold = {
        let mut inner = shared.inner.lock().unwrap();
        inner.log.push(line.clone());
        match inner.hold.clone() {
            Some(hold) if line.contains(&hold.matches) => {
                inner.matched += 1;
                (inner.matched == hold.nth).then_some(hold.side)
            }
            _ => None,
        }
    };
    if hold == Some(Side::Before) {
        return stop(&shared).await;
    }
    let answer = relay(&shared, request, &path).await;
    if hold == Some(Side::After) {
        return stop(&shared).await;
    }
    answer.unwrap_or_else(|e| (StatusCode::BAD_GATEWAY, e.to_string()).into_response())
}

async fn stop(shared: &Shared) -> Response {
    shared.stopped.send_replace(true);
    std::future::pending().await
}

async fn relay(
    shared: &Shared,
    request: Request,
    path: &str,
) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await?;
    let url = format!("http://{}{path}", shared.upstream);
    let mut headers = parts.headers;
    headers.remove("host");
    let answer = shared
        .client
        .request(parts.method, url)
        .headers(headers)
        .body(body)
        .send()
        .await?;
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer
        .headers()
        .iter()
        .filter(|(n, _)| *n != "transfer-encoding" && *n != "connection")
    {
        response = response.header(name, value);
    }
    Ok(response.body(Body::from(answer.bytes().await?))?)
}
