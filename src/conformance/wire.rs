//! Requests as bytes, and answers as they came.

use std::error::Error as _;
use std::io::ErrorKind;

use reqwest::header::{CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::{ConformanceError, Miss, failed};
use crate::system_api::{BODY_LIMIT, ErrorAnswer, PREFIX};
use std::time::Duration;

/// How much of a system's own words is repeated.
const WORDS: usize = 300;

/// Speaks HTTP to one system.
pub(super) struct Wire {
    client: reqwest::Client,
    /// The base with the API's prefix.
    api: String,
    pub(super) token: Option<SecretString>,
    /// For one request as a whole.
    timeout: Duration,
}

/// What goes along with a request in the place of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Credential {
    Own,
    None,
    Wrong,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    /// What was asked, for messages: `PUT /changesets/a`.
    pub(super) asked: String,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// One request.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) body: Option<Vec<u8>>,
    /// A digest, to be sent as `If-None-Match`.
    pub(super) known: Option<String>,
    pub(super) credential: Credential,
}

impl<'a> Ask<'a> {
    pub(super) fn get(path: &'a str) -> Self {
        Self {
            method: Method::GET,
            path,
            body: None,
            known: None,
            credential: Credential::Own,
        }
    }
}

impl Wire {
    pub(super) fn new(
        url: &Url,
        token: Option<SecretString>,
        timeout: Duration,
    ) -> Result<Self, ConformanceError> {
        let is_plain = matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some_and(|host| !host.is_empty())
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !is_plain {
            return Err(ConformanceError::Url);
        }
        let client = reqwest::Client::builder()
            .user_agent(concat!("lockstep/", env!("CARGO_PKG_VERSION")))
            // A redirect is an answer to be judged, and no place to carry a token to.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(timeout)
            .build()
            .map_err(|e| ConformanceError::Client(e.to_string()))?;
        Ok(Self {
            client,
            api: format!("{}{PREFIX}", url.as_str().trim_end_matches('/')),
            token,
            timeout,
        })
    }

    /// Why a request got no whole answer.
    fn why(&self, error: &reqwest::Error) -> String {
        if error.is_timeout() {
            return format!("no whole answer within {:?}", self.timeout);
        }
        if !error.is_connect() {
            return "the connection broke off before the answer was whole, or it was no HTTP"
                .to_owned();
        }
        let Some(mut last) = error.source() else {
            return "no connection".to_owned();
        };
        while let Some(cause) = last.source() {
            last = cause;
        }
        match last
            .downcast_ref::<std::io::Error>()
            .map(std::io::Error::kind)
        {
            Some(ErrorKind::ConnectionRefused) => "nothing listens there".to_owned(),
            Some(ErrorKind::TimedOut) => "nothing answers there".to_owned(),
            // A certificate, a name that can't be looked up: only whoever says it knows.
            _ => format!("no connection ({last})"),
        }
    }

    /// Sends a request and reads the answer; an error says why there is none.
    pub(super) async fn send(&self, ask: Ask<'_>) -> Result<Answer, String> {
        let Ask {
            method,
            path,
            body,
            known,
            credential,
        } = ask;
        let asked = format!("{method} {path}");
        let mut request = self.client.request(method, format!("{}{path}", self.api));
        request = match (credential, &self.token) {
            (Credential::Own, Some(token)) => request.bearer_auth(token.expose_secret()),
            (Credential::Wrong, _) => request.bearer_auth("lockstep-conformance-no-such-token"),
            (Credential::Own, None) | (Credential::None, _) => request,
        };
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        if let Some(known) = known {
            request = request.header(IF_NONE_MATCH, known);
        }
        let broken = |error: reqwest::Error| format!("{asked}: {}", self.why(&error));
        let mut response = request.send().await.map_err(broken)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > BODY_LIMIT {
                return Err(format!("{asked}: more than {} MiB", BODY_LIMIT >> 20));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            asked,
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body,
        })
    }
}

impl Answer {
    /// What came, for people: the status, and what the system says about it.
    pub(super) fn told(&self) -> String {
        let text = match serde_json::from_slice::<ErrorAnswer>(&self.body) {
            Ok(error) => error.error,
            Err(_) => String::from_utf8_lossy(&self.body).into_owned(),
        };
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(WORDS)
            .collect();
        let number = self.status.as_u16();
        let asked = &self.asked;
        if text.is_empty() {
            format!("{number} to {asked}")
        } else {
            format!("{number} to {asked}: {text}")
        }
    }

    /// The answer, where it has one of these statuses.
    pub(super) fn want(self, statuses: &[u16], when: &str) -> Result<Self, Miss> {
        if statuses.contains(&self.status.as_u16()) {
            return Ok(self);
        }
        let numbers: Vec<String> = statuses.iter().map(u16::to_string).collect();
        let expected = format!("{} for {when}", numbers.join(" or "));
        Err(failed(expected, self.told()))
    }

    pub(super) fn is_json(&self) -> bool {
        self.headers
            .get(CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.split(';').next())
            .is_some_and(|v| v.trim().eq_ignore_ascii_case("application/json"))
    }

    /// The body as what the contract says it is.
    pub(super) fn json<'a, T: Deserialize<'a>>(&'a self, what: &str) -> Result<T, Miss> {
        if !self.is_json() {
            let came = self
                .headers
                .get(CONTENT_TYPE)
                .map_or("no content type".to_owned(), |v| format!("{v:?}"));
            let expected = format!("Content-Type: application/json for {}", self.asked);
            return Err(failed(expected, came));
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| failed(what, format!("{error}, in the answer to {}", self.asked)))
    }

    pub(super) fn tag(&self) -> Option<&str> {
        self.headers.get(ETAG).and_then(|v| v.to_str().ok())
    }
}
