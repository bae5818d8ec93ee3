//! What an answer of GitHub's means: whose fault it is, and what to do about it.

use std::time::Duration;

use bytes::Bytes;
use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::forge::ForgeError;

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ApiError {
    /// Later it may work.
    #[error("{0}")]
    Transient(String),
    /// It was sent, and what became of it is not known: what GitHub shows must be read again.
    #[error("{0}")]
    Lost(String),
    /// It will not work before somebody does something, which the message says.
    #[error("{0}")]
    Refused(String),
    /// There is no such thing, or the token may not see it.
    #[error("{0}")]
    Missing(String),
    /// Something else moved meanwhile.
    #[error("{0}")]
    Conflict(String),
}

impl From<ApiError> for ForgeError {
    fn from(error: ApiError) -> Self {
        let message = error.to_string();
        match error {
            ApiError::Transient(_) | ApiError::Lost(_) => Self::Transient(message),
            ApiError::Refused(_) | ApiError::Missing(_) => Self::Refused(message),
            ApiError::Conflict(_) => Self::Conflict(message),
        }
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// How long GitHub wants to be left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wait {
    pub(super) after: Duration,
    pub(super) why: String,
}

/// What to wait where GitHub does not say for how long, and the longest wait that it is believed.
const UNTOLD: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// A clock that is further off than that is named as a reason for what was refused.
const SKEW: i64 = 60;

#[derive(Default, Deserialize)]
struct Body {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<Value>,
}

/// Whether an answer is a success; else the error, and whether to keep quiet for a while.
pub(super) fn judge_answer(
    method: &Method,
    path: &str,
    seen: &Seen,
) -> Result<(), (ApiError, Option<Wait>)> {
    let status = seen.status;
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok(());
    }
    let body: Body = serde_json::from_slice(&seen.body).unwrap_or_default();
    let said = said(&body);
    let what = format!("{method} {path}");
    if let Some(wait) = wait(seen, &body) {
        return Err((ApiError::Transient(wait.why.clone()), Some(wait)));
    }
    let error = match status {
        StatusCode::UNAUTHORIZED => ApiError::Refused(unauthorized(&said, &seen.headers)),
        StatusCode::FORBIDDEN => ApiError::Refused(forbidden(&what, &said, &seen.headers)),
        StatusCode::NOT_FOUND | StatusCode::GONE => ApiError::Missing(format!(
            "GitHub knows nothing at {path}, or its token may not see it: check `repository` under [github] and what the token was given"
        )),
        StatusCode::CONFLICT => ApiError::Conflict(format!("GitHub refuses {what}: {said}")),
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::METHOD_NOT_ALLOWED => {
            ApiError::Refused(format!("GitHub refuses {what}: {said}"))
        }
        status if status.is_server_error() => {
            ApiError::Transient(format!("GitHub fails at {what}: {status}"))
        }
        status => ApiError::Refused(format!("GitHub answers {what} with {status}: {said}")),
    };
    Err((error, None))
}

/// GitHub's own words, with what it says of each field.
fn said(body: &Body) -> String {
    let errors = body.errors.iter().filter_map(|error| match error {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => {
            let text = |key| fields.get(key).and_then(Value::as_str);
            text("message").map(ToOwned::to_owned).or_else(|| {
                let (field, code) = (text("field")?, text("code")?);
                Some(format!("{field}: {code}"))
            })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    });
    let mut said = if body.message.is_empty() {
        "it says no more".to_owned()
    } else {
        body.message.clone()
    };
    for error in errors {
        said.push_str("; ");
        said.push_str(&error);
    }
    // An error page of a proxy may be long.
    said.chars().take(500).collect()
}

fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// The time on GitHub's own clock: ours may be wrong.
fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(DATE)?.to_str().ok()?;
    let parser = jiff::fmt::rfc2822::DateTimeParser::new();
    parser.parse_timestamp(text).ok()
}

/// By how many seconds GitHub's clock is ahead of ours, where that is more than a network takes.
pub(super) fn skew(headers: &HeaderMap) -> Option<i64> {
    #[expect(
        clippy::disallowed_methods,
        reason = "it is the machine's own clock that is compared, whatever the engine is told"
    )]
    let ours = Timestamp::now();
    let seconds = date(headers)?.as_second() - ours.as_second();
    (seconds.abs() > SKEW).then_some(seconds)
}

/// How long to keep quiet, where this answer is a rate limit: the primary one, or the one against bursts.
fn wait(seen: &Seen, body: &Body) -> Option<Wait> {
    let limited = match seen.status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::FORBIDDEN => {
            let remaining = number(&seen.headers, "x-ratelimit-remaining");
            seen.headers.contains_key(RETRY_AFTER)
                || remaining == Some(0)
                || body.message.to_lowercase().contains("rate limit")
        }
        _ => false,
    };
    if !limited {
        return None;
    }
    let told = number(&seen.headers, RETRY_AFTER.as_str()).or_else(|| {
        let spent = number(&seen.headers, "x-ratelimit-remaining") == Some(0);
        let reset = number(&seen.headers, "x-ratelimit-reset").filter(|_| spent)?;
        // By the same clock that the reset is by.
        Some(reset - date(&seen.headers)?.as_second() + 1)
    });
    let after = told.and_then(|seconds| u64::try_from(seconds.max(1)).ok());
    let after = after.map_or(UNTOLD, Duration::from_secs).min(LONGEST);
    Some(Wait {
        after,
        why: format!(
            "GitHub asks to be left alone for {} s (rate limit)",
            after.as_secs()
        ),
    })
}

fn unauthorized(said: &str, headers: &HeaderMap) -> String {
    let clock = match skew(headers) {
        Some(seconds) => format!(
            "; this machine's clock is {} s {} GitHub's, which alone makes an App's key refused: set it right",
            seconds.abs(),
            if seconds > 0 { "behind" } else { "ahead of" }
        ),
        None => String::new(),
    };
    format!(
        "GitHub does not accept who Lockstep says it is ({said}): the token under [github] in lockstep.toml has ended or was \
         revoked, or the App's key is not its own; put a new one there{clock}"
    )
}

fn forbidden(what: &str, said: &str, headers: &HeaderMap) -> String {
    let needed = headers
        .get("x-accepted-github-permissions")
        .or_else(|| headers.get("x-accepted-oauth-scopes"))
        .and_then(|v| v.to_str().ok())
        .filter(|needed| !needed.is_empty());
    match needed {
        Some(needed) => format!(
            "GitHub does not let Lockstep do {what}: it takes the permission {needed}; docs/github.md lists all of them"
        ),
        None => format!(
            "GitHub does not let Lockstep do {what}: {said}; docs/github.md lists the permissions that it takes"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(status: u16, headers: &[(&'static str, &str)], body: &str) -> Seen {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Seen {
            status: StatusCode::from_u16(status).unwrap(),
            headers: map,
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    fn judged(
        status: u16,
        headers: &[(&'static str, &str)],
        body: &str,
    ) -> (ApiError, Option<Wait>) {
        judge_answer(&Method::GET, "/x", &seen(status, headers, body)).unwrap_err()
    }

    #[test]
    fn a_limit_says_how_long() {
        let (_, wait) = judged(403, &[("retry-after", "17")], "{}");
        assert_eq!(wait.unwrap().after, Duration::from_secs(17));
        let reset = [
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1795790400"),
            ("date", "Fri, 27 Nov 2026 15:19:30 GMT"),
        ];
        let by_their_clock = date(&seen(403, &reset, "{}").headers).unwrap().as_second();
        let (_, wait) = judged(403, &reset, "{}");
        let left = u64::try_from((1_795_790_400 - by_their_clock + 1).clamp(1, 3600)).unwrap();
        assert_eq!(wait.unwrap().after, Duration::from_secs(left));
        let secondary = r#"{"message": "You have exceeded a secondary rate limit"}"#;
        assert_eq!(judged(403, &[], secondary).1.unwrap().after, UNTOLD);
        assert_eq!(judged(429, &[], "").1.unwrap().after, UNTOLD);
        // Not for a day, whoever says so.
        let (_, wait) = judged(429, &[("retry-after", "86400")], "");
        assert_eq!(wait.unwrap().after, LONGEST);
    }

    #[test]
    fn a_permission_that_is_missing_is_named() {
        let (error, wait) = judged(
            403,
            &[("x-accepted-github-permissions", "statuses=write")],
            r#"{"message": "Resource not accessible by personal access token"}"#,
        );
        assert_eq!(wait, None);
        assert!(error.to_string().contains("statuses=write"), "{error}");
    }

    #[test]
    fn each_field_that_is_refused_is_named() {
        let body = r#"{"message": "Validation Failed", "errors": [
            {"resource": "Status", "code": "invalid", "field": "state"}, {"message": "too many"}, "plain"]}"#;
        let (error, _) = judged(422, &[], body);
        assert_eq!(
            error,
            ApiError::Refused(
                "GitHub refuses GET /x: Validation Failed; state: invalid; too many; plain"
                    .to_owned()
            )
        );
    }

    #[test]
    fn what_may_pass_by_itself_is_told_from_what_does_not() {
        assert!(matches!(
            judged(502, &[], "<html>").0,
            ApiError::Transient(_)
        ));
        assert!(matches!(judged(401, &[], "{}").0, ApiError::Refused(_)));
        assert!(matches!(judged(404, &[], "{}").0, ApiError::Missing(_)));
        assert!(matches!(judged(409, &[], "{}").0, ApiError::Conflict(_)));
        assert!(matches!(judged(418, &[], "[]").0, ApiError::Refused(_)));
    }
}
