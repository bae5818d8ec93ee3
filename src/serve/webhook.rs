//! `POST /hooks/github`.

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use secrecy::SecretString;
use tokio::sync::watch;

use std::sync::Arc;
use std::time::Duration;

use super::{REQUEST, Shared};
use crate::clock::Clock;
use crate::forge::github::delivery::{LARGEST, News, is_signed, news};
use crate::store::{Store, Topic};

/// The longest id of a delivery that is kept: GitHub's are UUIDs.
const ID: usize = 64;

/// How long noting a delivery may take: an answer is due within a second.
const NOTED: Duration = Duration::from_millis(500);

/// What takes deliveries, and whom they wake.
pub struct Hooks {
    pub secret: SecretString,
    /// The main branch.
    pub branch: String,
    pub store: Store,
    pub clock: Arc<dyn Clock>,
    pub main: watch::Sender<u64>,
    pub proposals: watch::Sender<u64>,
    pub remarks: watch::Sender<u64>,
}

type Answer = (StatusCode, &'static str);

/// Takes a delivery: 202 once it is known to be GitHub's. What was taken before is not acted on again.
pub(super) async fn take(State(state): State<Shared>, headers: HeaderMap, body: Body) -> Answer {
    let Some(hooks) = &state.hooks else {
        return (StatusCode::NOT_FOUND, "no deliveries are taken here\n");
    };
    let Ok(_room) = state.room.try_acquire() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "busy; polling goes on\n");
    };
    let length = headers
        .get(axum::http::header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    let too_large = (StatusCode::PAYLOAD_TOO_LARGE, "larger than 25 MB\n");
    if length.is_some_and(|length| length > LARGEST) {
        return too_large;
    }
    // What is not even said to be signed is not read.
    let signature = headers
        .get("x-hub-signature-256")
        .and_then(|v| v.to_str().ok())
        .filter(|signature| signature.starts_with("sha256=") && signature.len() == 71);
    let unsigned = (
        StatusCode::UNAUTHORIZED,
        "the signature is not of this body by the webhook's secret\n",
    );
    let Some(signature) = signature else {
        return unsigned;
    };
    let body = match tokio::time::timeout(REQUEST, to_bytes(body, LARGEST)).await {
        Ok(Ok(body)) => body,
        // A body that breaks off and one that is too long are told apart by nobody who could read the answer.
        Ok(Err(_)) => return too_large,
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "too slow\n"),
    };
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    if !is_signed(&hooks.secret, signature, &body) {
        return unsigned;
    }
    let (Some(event), Some(id)) = (text("x-github-event"), text("x-github-delivery")) else {
        return (
            StatusCode::BAD_REQUEST,
            "X-GitHub-Event and X-GitHub-Delivery are missing\n",
        );
    };
    if id.is_empty() || id.len() > ID {
        return (StatusCode::BAD_REQUEST, "X-GitHub-Delivery is no id\n");
    }
    let noted = hooks.store.take_delivery(id, hooks.clock.now());
    match tokio::time::timeout(NOTED, noted).await {
        // To look once more than needed does no harm; to keep GitHub waiting does.
        Ok(Ok(true)) | Err(_) => {}
        Ok(Ok(false)) => return (StatusCode::ACCEPTED, "known already\n"),
        Ok(Err(error)) => {
            // The poll sees what this was about.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a delivery could not be noted"
            );
        }
    }
    let (wake, topic) = match news(event, &body, &hooks.branch) {
        News::Main => (&hooks.main, Topic::Main),
        News::Proposals => (&hooks.proposals, Topic::Proposals),
        News::Remarks => (&hooks.remarks, Topic::Remarks),
        News::Nothing => return (StatusCode::ACCEPTED, "nothing here concerns Lockstep\n"),
    };
    wake.send_modify(|n| *n += 1);
    // Whoever it is for may be another replica. One that is not told sees it on its next poll.
    let told = tokio::time::timeout(NOTED, hooks.store.tell(topic)).await;
    if let Ok(Err(error)) = told {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "other replicas were not told of a delivery"
        );
    }
    (StatusCode::ACCEPTED, "taken\n")
}
