//! `/pull/v1/{system}/…`: what systems behind a one-way firewall ask for, and what they say.
//!
//! An event only says that there is something to look at; everything is read from the store, whichever replica is asked.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use async_trait::async_trait;
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{REQUEST, Shared};
use crate::connector::ConnectorError;
use crate::connector::pull::wire::{Acknowledgement, OPENAPI, StateReport, Told};
use crate::connector::pull::{Counter, CounterError};
use crate::ids::ChangesetId;
use crate::system_api::{Code, ErrorAnswer, StateAnswer, WireResource};

/// Finds the counter of a system for whoever shows its credential.
#[async_trait]
pub trait Directory: Send + Sync {
    async fn open(&self, system: &str, token: &str) -> Result<Counter, Closed>;

    /// Changes when there may be something to tell.
    fn heard(&self) -> watch::Receiver<u64>;
}

/// Why there is no counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    Unauthorized,
    /// Which systems there are is not known at the moment.
    Unreadable,
}

/// How many streams of events are open at once; those who are told to come back may look meanwhile.
pub(super) const STREAMS: usize = 1024;

/// The largest report that is taken: a whole state.
const LARGEST: usize = 64 << 20;

/// After how long a silent stream says that it is still there: proxies cut what is idle, many of them after a minute.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How often events are looked for that another replica told.
const LOOK: Duration = Duration::from_secs(1);

/// After how long a client whose stream was cut comes again.
const AGAIN: Duration = Duration::from_secs(1);

fn answer(status: StatusCode, code: Code, error: &str) -> Response {
    let body = ErrorAnswer {
        error: error.to_owned(),
        code,
        reasons: Vec::new(),
    };
    (status, Json(body)).into_response()
}

fn busy() -> Response {
    let mut busy = answer(
        StatusCode::SERVICE_UNAVAILABLE,
        Code::Internal,
        "busy; come again",
    );
    busy.headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from_static("1"));
    busy
}

impl IntoResponse for CounterError {
    fn into_response(self) -> Response {
        let (status, code) = match &self {
            Self::Client { code, .. } => (
                match code {
                    Code::Malformed => StatusCode::BAD_REQUEST,
                    Code::UnknownChangeset | Code::NotFound => StatusCode::NOT_FOUND,
                    Code::Unauthorized
                    | Code::Forbidden
                    | Code::OtherBase
                    | Code::OtherContent
                    | Code::Aborted
                    | Code::Committed
                    | Code::OlderFence
                    | Code::TooLarge
                    | Code::Refused
                    | Code::Internal
                    | Code::Other => StatusCode::CONFLICT,
                },
                *code,
            ),
            Self::Kept(ConnectorError::Transient { .. } | ConnectorError::Stale { .. }) => {
                return busy();
            }
            Self::Kept(error) => {
                tracing::warn!(%error, "a system that pulls could not be served");
                (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal)
            }
        };
        answer(status, code, &self.to_string())
    }
}

/// The counter of the system that is named, if its credential is shown.
async fn counter(state: &Shared, system: &str, headers: &HeaderMap) -> Result<Counter, Response> {
    let unauthorized = || {
        let mut answer = answer(
            StatusCode::UNAUTHORIZED,
            Code::Unauthorized,
            "show the credential of a system that pulls: Authorization: Bearer TOKEN",
        );
        answer
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        answer
    };
    let Some(directory) = &state.systems else {
        return Err(answer(
            StatusCode::NOT_FOUND,
            Code::NotFound,
            "no system is served here",
        ));
    };
    let shown = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok());
    let shown = shown.and_then(|shown| {
        let (scheme, token) = shown.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let token = shown.ok_or_else(unauthorized)?;
    match directory.open(system, token).await {
        Ok(counter) => Ok(counter),
        Err(Closed::Unauthorized) => Err(unauthorized()),
        Err(Closed::Unreadable) => Err(busy()),
    }
}

/// Reads a body as JSON, after it is known who sends it.
async fn read<T: DeserializeOwned>(body: Body) -> Result<T, Response> {
    let bytes = match tokio::time::timeout(REQUEST, to_bytes(body, LARGEST)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => {
            return Err(answer(
                StatusCode::PAYLOAD_TOO_LARGE,
                Code::TooLarge,
                "the body broke off, or is larger than 64 MiB",
            ));
        }
        Err(_) => {
            return Err(answer(
                StatusCode::REQUEST_TIMEOUT,
                Code::Malformed,
                "the body came too slowly",
            ));
        }
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        let message = format!("the body can't be read: {error}");
        answer(StatusCode::BAD_REQUEST, Code::Malformed, &message)
    })
}

/// `GET /pull/v1/openapi.json`.
pub(super) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// `GET …/desired`.
pub(super) async fn desired(
    State(state): State<Shared>,
    Path(system): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    let Ok(_room) = state.room.try_acquire() else {
        return Err(busy());
    };
    let counter = counter(&state, &system, &headers).await?;
    let none = || {
        answer(
            StatusCode::NOT_FOUND,
            Code::NotFound,
            "nothing has been decided for this system yet, which is not the same as nothing being desired",
        )
    };
    let digest = counter.desired_digest().await;
    let digest = digest
        .map_err(IntoResponse::into_response)?
        .ok_or_else(none)?;
    let known = headers.get(IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    let is_known = known.is_some_and(|known| {
        let mut tags = known
            .split(',')
            .map(|tag| tag.trim().trim_start_matches("W/"));
        tags.any(|tag| tag == format!("\"{digest}\""))
    });
    if is_known {
        let tag = [(ETAG, format!("\"{digest}\""))];
        return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
    }
    let desired = counter.desired().await;
    let (revision, held) = desired
        .map_err(IntoResponse::into_response)?
        .ok_or_else(none)?;
    let digest = held.digest();
    let mut items: Vec<_> = held.items().collect();
    items.sort_by(|a, b| a.id.cmp(&b.id));
    let body = StateAnswer {
        revision,
        digest,
        resources: items.into_iter().map(|i| WireResource::of(i)).collect(),
    };
    Ok(([(ETAG, format!("\"{digest}\""))], Json(body)).into_response())
}

/// `GET …/changesets`.
pub(super) async fn changesets(
    State(state): State<Shared>,
    Path(system): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    let Ok(_room) = state.room.try_acquire() else {
        return Err(busy());
    };
    let counter = counter(&state, &system, &headers).await?;
    let waiting = counter.waiting().await;
    Ok(Json(waiting.map_err(IntoResponse::into_response)?).into_response())
}

/// `POST …/changesets/{id}`.
pub(super) async fn acknowledge(
    State(state): State<Shared>,
    Path((system, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Response> {
    let Ok(_room) = state.room.try_acquire() else {
        return Err(busy());
    };
    let counter = counter(&state, &system, &headers).await?;
    let said: Acknowledgement = read(body).await?;
    let id: ChangesetId = id.parse().map_err(|_| {
        answer(
            StatusCode::NOT_FOUND,
            Code::UnknownChangeset,
            "no such changeset waits here",
        )
    })?;
    let done = counter.acknowledge(&id, said).await;
    Ok(Json(done.map_err(IntoResponse::into_response)?).into_response())
}

/// `PUT …/state`.
pub(super) async fn report(
    State(state): State<Shared>,
    Path(system): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Response> {
    let Ok(_room) = state.room.try_acquire() else {
        return Err(busy());
    };
    let counter = counter(&state, &system, &headers).await?;
    let said: StateReport = read(body).await?;
    let known = counter.report(said).await;
    Ok(Json(known.map_err(IntoResponse::into_response)?).into_response())
}

/// A stream of events that somebody listens to.
struct Listening {
    counter: Counter,
    /// The last event that was sent, or that is not to be.
    after: u64,
    pending: VecDeque<Event>,
    heard: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
    _room: OwnedSemaphorePermit,
}

impl Listening {
    /// The next event; `None` where the stream ends, after which a client comes again.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            if *self.stop.borrow() {
                return None;
            }
            self.heard.mark_unchanged();
            let (told, last) = self.counter.events_after(self.after).await.ok()?;
            self.after = last;
            match told {
                Some(told) if told.is_empty() => {
                    tokio::select! {
                        _ = self.heard.changed() => {}
                        _ = self.stop.changed() => {}
                        () = tokio::time::sleep(LOOK) => {}
                    }
                }
                Some(told) => self.pending.extend(told.into_iter().map(event)),
                None => self.pending.push_back(look(last)),
            }
        }
    }
}

fn event(told: Told) -> Event {
    let data = told.changeset.map(|id| id.to_string()).unwrap_or_default();
    Event::default()
        .id(told.id.to_string())
        .event(told.event)
        .retry(AGAIN)
        .data(data)
}

/// Says that everything is to be looked at: to whoever comes without saying what it has heard, or after too long.
fn look(last: u64) -> Event {
    let event = Event::default().id(last.to_string()).event("look");
    event.retry(AGAIN).data("")
}

/// `GET …/events`.
pub(super) async fn events(
    State(state): State<Shared>,
    Path(system): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    let counter = counter(&state, &system, &headers).await?;
    let Some(directory) = &state.systems else {
        return Err(busy());
    };
    let Ok(room) = state.streams.clone().try_acquire_owned() else {
        return Err(busy());
    };
    let heard_last = headers.get("last-event-id").and_then(|v| v.to_str().ok());
    let heard_last: Option<u64> = heard_last.and_then(|id| id.parse().ok());
    let mut pending = VecDeque::new();
    let after = match heard_last {
        Some(after) => after,
        None => {
            let (_, last) = counter
                .events_after(u64::MAX)
                .await
                .map_err(IntoResponse::into_response)?;
            pending.push_back(look(last));
            last
        }
    };
    let listening = Listening {
        counter,
        after,
        pending,
        heard: directory.heard(),
        stop: state.stop.clone(),
        _room: room,
    };
    let stream = futures_util::stream::unfold(listening, |mut listening| async {
        let event = listening.next().await?;
        Some((Ok::<Event, Infallible>(event), listening))
    });
    let alive = KeepAlive::new().interval(HEARTBEAT).text("still here");
    // Some proxies keep back what they take for a page until it has ended.
    let plain = [("x-accel-buffering", "no"), ("cache-control", "no-store")];
    Ok((plain, Sse::new(stream).keep_alive(alive)).into_response())
}
