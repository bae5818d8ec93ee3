//! A proxy in front of a system that can stop the world at one request: before the system sees it, or after the system has answered and
//! before Lockstep hears. So a process can be killed between any two steps without a hook inside it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::sync::watch;

use super::DEADLINE;

/// On which side of the system's work a request is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

/// A request that came through, as far as tests look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `METHOD path`, with the changeset's id cut out.
    pub(crate) what: String,
    /// Whether it asked only for what is not known yet.
    pub(crate) conditional: bool,
    pub(crate) status: Option<u16>,
}

/// Which request is the next to be stopped.
enum At {
    /// Whose path ends so.
    Path(String),
    /// That does more than read.
    Write,
}

impl At {
    fn is(&self, request: &Request, path: &str) -> bool {
        match self {
            Self::Path(what) => plain(path).ends_with(what),
            Self::Write => !request.method().is_safe(),
        }
    }
}

#[derive(Default)]
struct Inner {
    /// Stop at the nth request from now (from 1).
    hold: Option<(usize, Side)>,
    /// Stop at the next request like this.
    hold_at: Option<(At, Side)>,
    /// Nothing comes through, neither requests nor answers.
    cut: bool,
    /// Answer requests whose path ends so with an error of the server's.
    broken: Option<String>,
    counted: usize,
    log: Vec<Seen>,
}

struct Shared {
    upstream: Mutex<SocketAddr>,
    client: reqwest::Client,
    inner: Mutex<Inner>,
    /// Whether a request is being held, and how often held requests were let go.
    stopped: watch::Sender<bool>,
    resumed: watch::Sender<u64>,
}

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            client: reqwest::Client::new(),
            inner: Mutex::default(),
            stopped: watch::channel(false).0,
            resumed: watch::channel(0).0,
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

    /// Stops the world at the nth request from now.
    pub(crate) fn hold(&self, nth: usize, side: Side) {
        self.shared.stopped.send_replace(false);
        let mut inner = self.shared.inner.lock().unwrap();
        inner.hold = Some((nth, side));
        inner.counted = 0;
    }

    /// Stops the world at the next request whose path ends like this, the changeset's id left out.
    pub(crate) fn hold_at(&self, what: &str, side: Side) {
        self.next(At::Path(what.to_owned()), side);
    }

    /// Stops the world at the next request that does more than read.
    pub(crate) fn hold_write(&self, side: Side) {
        self.next(At::Write, side);
    }

    fn next(&self, at: At, side: Side) {
        self.shared.stopped.send_replace(false);
        self.shared.inner.lock().unwrap().hold_at = Some((at, side));
    }

    /// From now on the way to the system is cut: a request ends without an answer, also one that is held, whether the system has done it or not.
    pub(crate) fn cut(&self) {
        self.shared.inner.lock().unwrap().cut = true;
        self.release();
    }

    /// The way is mended.
    pub(crate) fn mend(&self) {
        self.shared.inner.lock().unwrap().cut = false;
    }

    /// The system is found there now.
    pub(crate) fn leads_to(&self, upstream: SocketAddr) {
        *self.shared.upstream.lock().unwrap() = upstream;
    }

    /// From now on the system fails where it is asked for this.
    pub(crate) fn break_at(&self, what: &str) {
        self.shared.inner.lock().unwrap().broken = Some(what.to_owned());
    }

    /// Lets everything through again, also what is held; nobody may be left to hear the answer.
    pub(crate) fn release(&self) {
        self.shared.inner.lock().unwrap().hold = None;
        self.shared.resumed.send_modify(|n| *n += 1);
    }

    /// Waits until a request is being held.
    pub(crate) async fn stopped(&self) {
        let mut seen = self.shared.stopped.subscribe();
        let waited = tokio::time::timeout(DEADLINE, seen.wait_for(|stopped| *stopped)).await;
        assert!(
            waited.is_ok(),
            "no request came that was to be held; so far: {:#?}",
            self.log()
        );
    }

    /// Every request so far.
    pub(crate) fn log(&self) -> Vec<Seen> {
        self.shared.inner.lock().unwrap().log.clone()
    }

    /// The requests since the last time, and forgets them.
    pub(crate) fn take_log(&self) -> Vec<Seen> {
        std::mem::take(&mut self.shared.inner.lock().unwrap().log)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The path without what differs from run to run.
pub(super) fn plain(path: &str) -> String {
    let (path, _query) = path.split_once('?').unwrap_or((path, ""));
    match path.split_once("/changesets/") {
        Some((before, rest)) => match rest.split_once('/') {
            Some((_, what)) => format!("{before}/changesets/{what}"),
            None => format!("{before}/changesets"),
        },
        None => path.to_owned(),
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let broken = shared.inner.lock().unwrap().broken.clone();
    if broken.is_some_and(|what| request.uri().path().ends_with(&what)) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |p| p.as_str())
        .to_owned();
    let (hold, place, released) = {
        let mut inner = shared.inner.lock().unwrap();
        inner.log.push(Seen {
            what: format!("{} {}", request.method(), plain(&path)),
            conditional: request.headers().contains_key("if-none-match"),
            status: None,
        });
        inner.counted += 1;
        let (counted, place) = (inner.counted, inner.log.len() - 1);
        let hold = inner
            .hold
            .and_then(|(nth, side)| (counted == nth).then_some(side));
        let is_at = inner
            .hold_at
            .as_ref()
            .is_some_and(|(at, _)| at.is(&request, &path));
        let here = is_at.then(|| inner.hold_at.take()).flatten();
        let hold = hold.or(here.map(|(_, side)| side));
        (hold, place, shared.resumed.subscribe())
    };
    if hold == Some(Side::Before) {
        stop(&shared, released.clone()).await;
    }
    if shared.inner.lock().unwrap().cut {
        return broken_off();
    }
    let answer = relay(&shared, request, &path).await;
    if let Ok(answer) = &answer
        && let Some(seen) = shared.inner.lock().unwrap().log.get_mut(place)
    {
        seen.status = Some(answer.status().as_u16());
    }
    if hold == Some(Side::After) {
        stop(&shared, released).await;
    }
    if shared.inner.lock().unwrap().cut {
        return broken_off();
    }
    answer.unwrap_or_else(|e| (StatusCode::BAD_GATEWAY, e.to_string()).into_response())
}

/// An answer that ends before its first byte.
fn broken_off() -> Response {
    let gone = async { Err::<Bytes, _>(std::io::Error::other("the way is cut")) };
    Body::from_stream(futures_util::stream::once(gone)).into_response()
}

/// Holds a request until it is let go; one whose sender is gone ends here, since the server drops it.
async fn stop(shared: &Shared, mut released: watch::Receiver<u64>) {
    shared.stopped.send_replace(true);
    let _ = released.changed().await;
}

async fn relay(
    shared: &Shared,
    request: Request,
    path: &str,
) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await?;
    let upstream = *shared.upstream.lock().unwrap();
    let url = format!("http://{upstream}{path}");
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
