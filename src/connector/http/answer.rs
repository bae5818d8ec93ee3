//! What an answer means: its class, and words that name the host and what was being done, but no secret.

use std::borrow::Cow;
use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use crate::connector::{ConnectorError, Reason};
use crate::ids::{ResourceRef, SystemName};
use crate::system_api::{Code, ErrorAnswer, PREFIX, WireReason};

use super::bounds::{self, Limit, TEXT};

/// Whom the question goes to, for messages.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) system: SystemName,
    /// Host and port.
    pub(super) host: String,
    pub(super) credential: Option<String>,
    /// What is sent, and must not be repeated in any message.
    pub(super) token: Option<SecretString>,
    pub(super) timeout: Duration,
}

/// What a system is being asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    Digests,
    State,
    Audit,
    Prepare,
    Commit,
    Abort,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Digests => "reading digests",
            Self::State => "reading the state",
            Self::Audit => "reading the audit feed",
            Self::Prepare => "preparing",
            Self::Commit => "committing",
            Self::Abort => "aborting",
        })
    }
}

/// An answer that has been read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Vec<u8>,
}

/// An error and what caused it, on one line.
pub(super) fn chain(error: &reqwest::Error) -> String {
    // What reqwest itself says only repeats that a request failed; the cause is at the end.
    let mut cause = error.source();
    let mut texts = Vec::new();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    if texts.is_empty() {
        return error.to_string();
    }
    texts.dedup();
    texts.join(": ")
}

impl Asked {
    /// Text from outside made fit for a terminal and a status: no control characters, no endless lines, not our own credential.
    fn clean(&self, text: &str) -> String {
        let token = self.token.as_ref().map(|t| t.expose_secret());
        let text = match token.filter(|t| text.contains(t)) {
            Some(token) => Cow::Owned(text.replace(token, "…")),
            None => Cow::Borrowed(text),
        };
        text.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(TEXT)
            .collect()
    }

    /// One sentence: who, while doing what, said or did what.
    pub(super) fn say(&self, doing: Doing, what: &str) -> String {
        format!("{doing}: {} ({}) {what}", self.system, self.host)
    }

    pub(super) fn terminal(&self, doing: Doing, what: &str) -> ConnectorError {
        ConnectorError::Terminal {
            message: self.say(doing, what),
        }
    }

    fn transient(&self, doing: Doing, what: &str) -> ConnectorError {
        ConnectorError::Transient {
            message: self.say(doing, what),
        }
    }

    /// What a request that got no whole answer means.
    fn broken(&self, doing: Doing, error: &reqwest::Error) -> ConnectorError {
        if error.is_builder() {
            return self.terminal(doing, &format!("cannot be asked: {}", chain(error)));
        }
        let what = if error.is_timeout() {
            format!("did not answer within {:?}", self.timeout)
        } else if error.is_connect() {
            format!("cannot be reached: {}", chain(error))
        } else {
            format!("broke off the connection: {}", chain(error))
        };
        self.transient(doing, &what)
    }

    /// The class of an answer that is not a success.
    fn classify(&self, doing: Doing, answer: &Answer) -> ConnectorError {
        let said: Option<ErrorAnswer> = serde_json::from_slice(&answer.body).ok();
        let code = said.as_ref().map_or(Code::Other, |s| s.code);
        let words = said
            .as_ref()
            .map_or_else(String::new, |s| format!(": {}", self.clean(&s.error)));
        let status = answer.status;
        let number = status.as_u16();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let credential = match &self.credential {
                    Some(name) => format!(
                        "does not accept the credential {name:?} ({number}){words}; check its value on the server"
                    ),
                    None => format!(
                        "asks for a credential ({number}){words}; name one for this system in lockstep.yaml"
                    ),
                };
                self.terminal(doing, &credential)
            }
            StatusCode::NOT_FOUND if code == Code::UnknownChangeset => {
                self.refused(doing, &format!("has no such changeset{words}"), Vec::new())
            }
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => self.terminal(
                doing,
                &format!(
                    "does not speak the System API ({number} at {PREFIX}){words}; check the system's url"
                ),
            ),
            // Before the decision the world has moved, so plan again. After it, a changeset that has gone the other way will
            // never go this one.
            StatusCode::CONFLICT => match doing {
                Doing::Commit | Doing::Abort => {
                    self.refused(doing, &format!("refuses{words}"), Vec::new())
                }
                Doing::Digests | Doing::State | Doing::Audit | Doing::Prepare => ConnectorError::Stale {
                    message: self.say(doing, &format!("has another state{words}")),
                },
            },
            StatusCode::PRECONDITION_FAILED => ConnectorError::Fenced {
                message: self.say(doing, &format!("has seen a newer lease{words}")),
            },
            StatusCode::UNPROCESSABLE_ENTITY => {
                let reasons = said.map(|s| s.reasons).unwrap_or_default();
                self.refused(doing, &format!("refuses{words}"), reasons)
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                self.transient(doing, &format!("is busy ({number}){words}"))
            }
            _ if status.is_server_error() => {
                self.transient(doing, &format!("failed ({number}){words}"))
            }
            _ if status.is_redirection() => {
                let to = answer
                    .headers
                    .get(LOCATION)
                    .and_then(|v| v.to_str().ok())
                    .and_then(|v| Url::parse(v).ok())
                    .and_then(|url| url.host_str().map(|host| format!(" to {}", self.clean(host))))
                    .unwrap_or_default();
                self.terminal(
                    doing,
                    &format!(
                        "redirects{to} ({number}); redirects are not followed, since a credential is for one host: set the system's url to its final address"
                    ),
                )
            }
            _ => self.terminal(doing, &format!("answered {number}{words}")),
        }
    }

    fn refused(&self, doing: Doing, what: &str, reasons: Vec<WireReason>) -> ConnectorError {
        let mut message = self.say(doing, what);
        let mut kept = Vec::new();
        for reason in reasons {
            let text = self.clean(&reason.message);
            match ResourceRef::new(&reason.kind, &reason.name) {
                Ok(id) => kept.push(Reason { id, message: text }),
                // A reason for something without a name still tells something.
                Err(_) if message.chars().count() < 4 * TEXT => {
                    message.push_str("; ");
                    message.push_str(&text);
                }
                Err(_) => {}
            }
        }
        ConnectorError::Refused {
            message,
            reasons: kept,
        }
    }
}

impl Answer {
    /// Sends a request and reads the answer, as far as its limit.
    pub(super) async fn receive(
        asked: &Asked,
        doing: Doing,
        request: RequestBuilder,
    ) -> Result<Self, ConnectorError> {
        let broken = |error: reqwest::Error| asked.broken(doing, &error.without_url());
        let mut response = request.send().await.map_err(broken)?;
        let status = response.status();
        let body = match bounds::of(doing, status) {
            Limit::Whole(limit) => {
                let body = read(&mut response, limit).await.map_err(broken)?;
                body.ok_or_else(|| {
                    let what = format!("sent more than the {} MiB that are read here", limit >> 20);
                    asked.terminal(doing, &what)
                })?
            }
            Limit::Beginning(limit) => beginning(&mut response, limit).await,
        };
        Ok(Self {
            status,
            headers: std::mem::take(response.headers_mut()),
            body,
        })
    }

    /// The answer's JSON, where the status is one of those expected.
    pub(super) fn json<'a, T: Deserialize<'a>>(
        &'a self,
        asked: &Asked,
        doing: Doing,
        expected: &[StatusCode],
    ) -> Result<T, ConnectorError> {
        if !expected.contains(&self.status) {
            return Err(asked.classify(doing, self));
        }
        // Nothing here decompresses, so a small answer stays small.
        if let Some(encoding) = self.headers.get(CONTENT_ENCODING)
            && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
        {
            let what = format!(
                "compressed its answer ({}), which was not asked for",
                asked.clean(&String::from_utf8_lossy(encoding.as_bytes()))
            );
            return Err(asked.terminal(doing, &what));
        }
        let content_type = self
            .headers
            .get(CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.split(';').next())
            .map_or("", str::trim);
        if !content_type.eq_ignore_ascii_case("application/json") {
            let what = format!(
                "answered with {} instead of application/json; check the system's url",
                if content_type.is_empty() {
                    "no content type".to_owned()
                } else {
                    asked.clean(content_type)
                }
            );
            return Err(asked.terminal(doing, &what));
        }
        serde_json::from_slice(&self.body).map_err(|error| {
            if self.body.is_empty() {
                asked.transient(doing, "sent an answer without content")
            } else if error.is_eof() {
                asked.transient(doing, "sent an answer that ends in the middle")
            } else {
                let what = format!(
                    "sent an answer that cannot be read: {}",
                    asked.clean(&error.to_string())
                );
                asked.terminal(doing, &what)
            }
        })
    }
}

/// The whole body; `None` where it is longer than the limit, of which no more than that was read.
async fn read(response: &mut Response, limit: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let announced = announced_length(response);
    if announced > limit {
        return Ok(None);
    }
    // Room for what was announced only as far as it comes.
    let mut body = Vec::with_capacity(announced.min(1 << 20));
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// The beginning of a body. One that breaks off is as good: the status has been heard.
async fn beginning(response: &mut Response, limit: usize) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < limit {
        let Ok(Some(chunk)) = response.chunk().await else {
            break;
        };
        body.extend_from_slice(&chunk);
    }
    body.truncate(limit);
    body
}

fn announced_length(response: &Response) -> usize {
    response
        .content_length()
        .map_or(0, |n| usize::try_from(n).unwrap_or(usize::MAX))
}
