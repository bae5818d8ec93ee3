//! The System API's routes: reading requests, asking the keeper, writing answers.

use std::convert::Infallible;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use futures_util::stream;
use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::Value;

use super::changeset;
use super::faults::{DropState, hang, spend};
use super::keeper::{Honesty, Snapshot, Staging, etag};
use super::problem::Problem;
use super::{App, Shared};
use crate::ids::{ChangesetId, Digest, Fence};
use crate::state::{self, BUCKETS};
use crate::system_api::{
    ChangesetStatus, DigestsAnswer, FenceRequest, OPENAPI, OutcomeAnswer, PrepareAnswer,
    PrepareRequest, StateAnswer, WireResource,
};

/// The largest fence: what every JSON reader takes without rounding.
const MAX_FENCE: u64 = (1 << 53) - 1;

/// Lets only those pass who know the token, where there is one.
pub(super) async fn authorize(
    State(app): State<Shared>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if !app.knows(request.headers()) {
        return Err(Problem::Unauthorized);
    }
    Ok(next.run(request).await)
}

impl App {
    /// Whether a request carries the bearer token. Digests are compared, and all of them, so that the time this takes tells
    /// nothing about the token.
    pub(super) fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let sent = headers
            .get(header::AUTHORIZATION)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map_or("", |(_, token)| token.trim());
        let (sent, known) = (
            Digest::of(sent.as_bytes()),
            Digest::of(token.expose_secret().as_bytes()),
        );
        let pairs = sent.as_bytes().iter().zip(known.as_bytes());
        pairs.fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
    }
}

pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// Whether the caller has this state already.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(|t| t.trim().trim_start_matches("W/"))
        .any(|t| t == tag || t == "*")
}

/// Answers with the digest as the entity tag; only with that where the caller knows it.
fn tagged(headers: &HeaderMap, digest: Digest, body: impl FnOnce() -> Response) -> Response {
    let tag = etag(digest);
    let mut response = if is_known(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        body()
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    response
}

fn parameters(query: Option<&str>) -> impl Iterator<Item = (String, String)> {
    url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned()
}

fn read_bucket(text: &str) -> Result<u8, Problem> {
    let mut byte = [0];
    match hex::decode_to_slice(text, &mut byte) {
        Ok(()) if !text.bytes().any(|b| b.is_ascii_uppercase()) => Ok(byte[0]),
        Ok(()) | Err(_) => Err(Problem::Malformed(format!(
            "{text:?} is no bucket; expected two lower-case hex digits"
        ))),
    }
}

/// The state as it is answered, with the faults that were asked for.
async fn shown(app: &App) -> Result<(std::sync::Arc<Snapshot>, Option<DropState>), Problem> {
    let faults = app.faults(|f| f.clone());
    hang(faults.hang_state_ms).await;
    app.faults(|f| spend(&mut f.fail_state))?;
    let snapshot = match faults.drop_state {
        Some(DropState::Empty) => std::sync::Arc::new(Snapshot {
            revision: None,
            state: state::State::default(),
        }),
        Some(DropState::Partial | DropState::Cut) | None => app.desk.snapshot(),
    };
    Ok((snapshot, faults.drop_state))
}

pub(super) async fn get_state(
    State(app): State<Shared>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = parameters(query.as_deref())
        .filter(|(key, _)| key == "bucket")
        .map(|(_, value)| read_bucket(&value))
        .collect::<Result<Vec<_>, _>>()?;
    let (snapshot, fault) = shown(&app).await?;
    Ok(tagged(&headers, snapshot.state.digest(), || {
        let buckets = snapshot.state.buckets();
        let mut wanted = vec![asked.is_empty(); BUCKETS];
        for index in &asked {
            if let Some(place) = wanted.get_mut(usize::from(*index)) {
                *place = true;
            }
        }
        let mut resources: Vec<_> = buckets
            .iter()
            .zip(wanted)
            .filter(|(_, wanted)| *wanted)
            .flat_map(|(bucket, _)| bucket.items())
            .map(|item| WireResource::of(item))
            .collect();
        if fault == Some(DropState::Partial) {
            resources.pop();
        }
        let answer = StateAnswer {
            revision: snapshot.revision.clone(),
            digest: snapshot.state.digest(),
            resources,
        };
        if fault == Some(DropState::Cut) {
            return cut(serde_json::to_vec(&answer).unwrap_or_default());
        }
        Json(answer).into_response()
    }))
}

/// Half a body, then the connection breaks.
fn cut(mut body: Vec<u8>) -> Response {
    body.truncate(body.len() / 2);
    let parts = stream::iter([Ok(body), Err(std::io::Error::other("cut short on purpose"))]);
    (
        [(header::CONTENT_TYPE, "application/json")],
        Body::from_stream(parts.map(|part| part.map(Bytes::from))),
    )
        .into_response()
}

pub(super) async fn get_digests(
    State(app): State<Shared>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (snapshot, _) = shown(&app).await?;
    Ok(tagged(&headers, snapshot.state.digest(), || {
        Json(DigestsAnswer {
            revision: snapshot.revision.clone(),
            digest: snapshot.state.digest(),
            buckets: snapshot.state.bucket_digests(),
        })
        .into_response()
    }))
}

/// A JSON body. It must say that it is one: a form on some web page can't, so it can't change anything here.
pub(super) fn read_body<'a, T: Deserialize<'a>>(
    headers: &HeaderMap,
    body: &'a Result<Bytes, BytesRejection>,
) -> Result<T, Problem> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.split(';').next())
        .map(str::trim);
    if !content_type.is_some_and(|t| t.eq_ignore_ascii_case("application/json")) {
        return Err(Problem::Malformed(
            "the body must be JSON, with the header Content-Type: application/json".to_owned(),
        ));
    }
    let body = body.as_ref().map_err(|rejection| {
        if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::TooLarge
        } else {
            Problem::Malformed("the body did not arrive whole".to_owned())
        }
    })?;
    serde_json::from_slice(body)
        .map_err(|e| Problem::Malformed(format!("the body cannot be read: {e}")))
}

fn read_id(text: &str) -> Result<ChangesetId, Problem> {
    text.parse()
        .map_err(|e: crate::ids::InvalidId| Problem::Malformed(e.to_string()))
}

fn check_fence(fence: Fence) -> Result<Fence, Problem> {
    if fence.0 > MAX_FENCE {
        return Err(Problem::Malformed(format!(
            "the fence {} is beyond {MAX_FENCE}",
            fence.0
        )));
    }
    Ok(fence)
}

pub(super) async fn prepare(
    State(app): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let id = read_id(&id)?;
    let request: PrepareRequest<'_, Value> = read_body(&headers, &body)?;
    check_fence(request.fence)?;
    let faults = app.faults(|f| f.clone());
    hang(faults.hang_prepare_ms).await;
    app.faults(|f| spend(&mut f.fail_prepare))?;
    faults.refusal(&request)?;
    let sent = changeset::read(id.clone(), request, &app.kinds);
    let (status, word) = match app.desk.prepare(sent).await? {
        Staging::New => (StatusCode::CREATED, ChangesetStatus::Staged),
        Staging::Already(word) => (StatusCode::OK, word),
    };
    app.faults(|f| spend(&mut f.lose_prepare_answer))?;
    Ok((status, Json(PrepareAnswer { id, status: word })).into_response())
}

pub(super) async fn commit(
    State(app): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<OutcomeAnswer>, Problem> {
    let id = read_id(&id)?;
    let FenceRequest { fence } = read_body(&headers, &body)?;
    check_fence(fence)?;
    let faults = app.faults(|f| f.clone());
    hang(faults.hang_commit_ms).await;
    app.faults(|f| spend(&mut f.fail_commit))?;
    let honesty = if faults.lie_digest {
        Honesty::Lying
    } else {
        Honesty::Honest
    };
    let outcome = app.desk.commit(id, fence, honesty).await?;
    app.faults(|f| spend(&mut f.lose_commit_answer))?;
    Ok(Json(outcome))
}

pub(super) async fn abort(
    State(app): State<Shared>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<OutcomeAnswer>, Problem> {
    let id = read_id(&id)?;
    let FenceRequest { fence } = read_body(&headers, &body)?;
    check_fence(fence)?;
    app.faults(|f| spend(&mut f.fail_abort))?;
    Ok(Json(app.desk.abort(id, fence).await?))
}

pub(super) async fn audit(
    State(app): State<Shared>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let (mut from, mut until, mut cursor) = (None, None, 0);
    for (key, value) in parameters(query.as_deref()) {
        match key.as_str() {
            "from" => from = Some(read_time(&value)?),
            "until" => until = Some(read_time(&value)?),
            "cursor" => {
                cursor = value.parse().map_err(|_| {
                    Problem::Malformed(format!(
                        "{value:?} is no cursor; send `next` of the page before"
                    ))
                })?;
            }
            _ => {}
        }
    }
    Ok(Json(app.database.audit(from, until, cursor).await?).into_response())
}

fn read_time(text: &str) -> Result<Timestamp, Problem> {
    text.parse().map_err(|_| {
        Problem::Malformed(format!(
            "{text:?} is no time; expected one like 2026-11-22T09:00:00+09:00"
        ))
    })
}

/// For whoever waits for the system to be up.
pub(super) async fn healthz() -> Result<&'static str, Infallible> {
    Ok("ok\n")
}

pub(super) async fn not_found() -> Problem {
    Problem::NotFound
}
