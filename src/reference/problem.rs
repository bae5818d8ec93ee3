//! Every answer that is not a success, with its status, code and words.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::ids::{Digest, Fence};
use crate::system_api::{Code, ErrorAnswer, WireReason};

/// Why a request is not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("{0}")]
    Malformed(String),
    #[error("a bearer token is needed, and this system knows another one")]
    Unauthorized,
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("there is nothing at this path")]
    NotFound,
    #[error("no changeset with this id was prepared here")]
    UnknownChangeset,
    #[error("the state is {}, not {} that the changes were planned on; observe and plan again", now.short(), planned.short())]
    OtherBase { planned: Digest, now: Digest },
    #[error("this id was used for a changeset with other content")]
    OtherContent,
    #[error("this changeset was aborted; plan again and use a new id")]
    Aborted,
    #[error("this changeset is committed; undo it with a new one")]
    Committed,
    #[error("the fence {} is older than {}: the lease has a new holder", sent.0, seen.0)]
    OlderFence { sent: Fence, seen: Fence },
    #[error("the body is too large")]
    TooLarge,
    #[error("{message}")]
    Refused {
        message: String,
        reasons: Vec<WireReason>,
    },
    #[error("the system's own storage failed; try again")]
    Storage(#[from] sqlx::Error),
    #[error("{0}")]
    Unavailable(&'static str),
    /// A fault that was asked for.
    #[error("failing on purpose")]
    Injected,
}

impl Problem {
    fn class(&self) -> (StatusCode, Code) {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, Code::Malformed),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, Code::Unauthorized),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, Code::Forbidden),
            Self::NotFound => (StatusCode::NOT_FOUND, Code::NotFound),
            Self::UnknownChangeset => (StatusCode::NOT_FOUND, Code::UnknownChangeset),
            Self::OtherBase { .. } => (StatusCode::CONFLICT, Code::OtherBase),
            Self::OtherContent => (StatusCode::CONFLICT, Code::OtherContent),
            Self::Aborted => (StatusCode::CONFLICT, Code::Aborted),
            Self::Committed => (StatusCode::CONFLICT, Code::Committed),
            Self::OlderFence { .. } => (StatusCode::PRECONDITION_FAILED, Code::OlderFence),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, Code::TooLarge),
            Self::Refused { .. } => (StatusCode::UNPROCESSABLE_ENTITY, Code::Refused),
            Self::Storage(_) | Self::Injected => {
                (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal)
            }
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, Code::Internal),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if let Self::Storage(error) = &self {
            tracing::error!(%error, "storage failed");
        }
        let (status, code) = self.class();
        let error = self.to_string();
        let reasons = if let Self::Refused { reasons, .. } = self {
            reasons
        } else {
            Vec::new()
        };
        let mut response = (
            status,
            Json(ErrorAnswer {
                error,
                code,
                reasons,
            }),
        )
            .into_response();
        if status == StatusCode::UNAUTHORIZED {
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
