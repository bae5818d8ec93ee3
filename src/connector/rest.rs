//! Requests to a system with an interface of its own: what every answer means, whoever gives it. What a status means for what was asked is left
//! to the connector.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use url::{Position, Url};

use super::ConnectorError;

#[cfg(test)]
mod tests;

/// Bytes of an answer that are read.
const BODY: usize = 64 << 20;
/// Characters kept of what a system says.
const TEXT: usize = 500;
/// Connections that are kept open for the next request.
const IDLE: usize = 8;

/// Waited at least before asking again, whatever the system says.
const A_MOMENT: Duration = Duration::from_millis(50);

/// What such a connector is made of.
pub(super) struct RestSettings {
    pub base: Url,
    /// The whole value of the header, the scheme included.
    pub authorization: Option<SecretString>,
    /// The credential's name, for messages.
    pub credential: Option<String>,
    /// What is sent and taken.
    pub media: &'static str,
    pub connect_timeout: Duration,
    /// For one answer, with all waiting that the system asks for.
    pub timeout: Duration,
}

/// A way to a system.
pub(super) struct Rest {
    client: reqwest::Client,
    base: String,
    host: String,
    settings: RestSettings,
}

/// An answer that was read to its end and is no failure of the system as such.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Vec<u8>,
    /// What the system says of a refusal, with a colon in front.
    words: String,
}

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// Below the base, its parts percent-encoded.
    pub(super) path: String,
    pub(super) query: Vec<(&'a str, String)>,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: Option<Value>,
}

impl Ask<'_> {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
        }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn with(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }
}

/// One part of a path.
pub(super) fn part(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

impl Rest {
    /// The error is for whoever keeps the settings.
    pub(super) fn new(settings: RestSettings) -> Result<Self, String> {
        let is_sendable = |value: &SecretString| {
            let value = value.expose_secret();
            !value.is_empty() && value.bytes().all(|b| (b' '..=b'~').contains(&b))
        };
        if !settings.authorization.as_ref().is_none_or(is_sendable) {
            return Err(
                "the credential holds characters that cannot be sent (line breaks, letters beyond ASCII)"
                    .to_owned(),
            );
        }
        let client = reqwest::Client::builder()
            .user_agent(concat!("lockstep/", env!("CARGO_PKG_VERSION")))
            // A redirect would carry the credential to a host that it is not bound to.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.timeout)
            .tcp_nodelay(true)
            .pool_max_idle_per_host(IDLE)
            .build()
            .map_err(|e| format!("no HTTP client can be made: {e}"))?;
        Ok(Self {
            client,
            base: settings.base.as_str().trim_end_matches('/').to_owned(),
            host: settings.base[Position::BeforeHost..Position::AfterPort].to_owned(),
            settings,
        })
    }

    /// Asks, and waits where the system says that it is asked too often, for as long as one answer may take.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Reply, ConnectorError> {
        let until = Instant::now() + self.settings.timeout;
        loop {
            let reply = self.once(ask).await?;
            if reply.status != StatusCode::TOO_MANY_REQUESTS {
                return self.judged(ask, reply);
            }
            let wait = reply
                .retry_after()
                .unwrap_or(Duration::from_secs(1))
                .max(A_MOMENT);
            if Instant::now() + wait >= until {
                return Err(self.transient(ask, "is asked too often (429); it says so still"));
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Asks for JSON that is there.
    pub(super) async fn fetch<T: DeserializeOwned>(
        &self,
        ask: &Ask<'_>,
    ) -> Result<T, ConnectorError> {
        let reply = self.ask(ask).await?;
        match reply.status {
            StatusCode::OK | StatusCode::CREATED => self.read(ask, &reply),
            _ => Err(self.unexpected(ask, &reply)),
        }
    }

    pub(super) fn read<T: DeserializeOwned>(
        &self,
        ask: &Ask<'_>,
        reply: &Reply,
    ) -> Result<T, ConnectorError> {
        serde_json::from_slice(&reply.body).map_err(|error| {
            if reply.body.is_empty() || error.is_eof() {
                self.transient(ask, "sent an answer that ends in the middle")
            } else {
                let what = format!(
                    "sent an answer that cannot be read: {}",
                    clean(&error.to_string())
                );
                self.terminal(ask, &what)
            }
        })
    }

    async fn once(&self, ask: &Ask<'_>) -> Result<Reply, ConnectorError> {
        let mut response = self
            .request(ask)
            .send()
            .await
            .map_err(|e| self.broken(ask, e))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.broken(ask, e))? {
            if body.len() + chunk.len() > BODY {
                let what = format!("sent more than the {} MiB that are read here", BODY >> 20);
                return Err(self.terminal(ask, &what));
            }
            body.extend_from_slice(&chunk);
        }
        let status = response.status();
        let words = if status.is_success() {
            String::new()
        } else {
            self.words(&body)
        };
        Ok(Reply {
            status,
            headers: std::mem::take(response.headers_mut()),
            body,
            words,
        })
    }

    /// The words of Unleash and those of SCIM, without our own credential.
    fn words(&self, body: &[u8]) -> String {
        let said: Option<Value> = serde_json::from_slice(body).ok();
        let Some(said) = said else {
            return String::new();
        };
        let detail = said.pointer("/details/0/message");
        let texts = [detail, said.get("detail"), said.get("message")];
        let mut texts = texts.into_iter().flatten().filter_map(Value::as_str);
        let Some(text) = texts.next() else {
            return String::new();
        };
        let sent = self.settings.authorization.as_ref();
        let secret = sent.and_then(|value| value.expose_secret().rsplit(' ').next());
        match secret.filter(|secret| !secret.is_empty()) {
            Some(secret) => format!(": {}", clean(&text.replace(secret, "…"))),
            None => format!(": {}", clean(text)),
        }
    }

    fn request(&self, ask: &Ask<'_>) -> RequestBuilder {
        let url = format!("{}{}", self.base, ask.path);
        let mut request = self.client.request(ask.method.clone(), url);
        if !ask.query.is_empty() {
            request = request.query(&ask.query);
        }
        request = request.header(reqwest::header::ACCEPT, self.settings.media);
        if let Some(value) = &self.settings.authorization {
            request = request.header(AUTHORIZATION, value.expose_secret());
        }
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        match &ask.body {
            Some(body) => request
                .header(CONTENT_TYPE, self.settings.media)
                .body(body.to_string()),
            None => request,
        }
    }

    /// What is the system's trouble or ours, whatever was asked.
    fn judged(&self, ask: &Ask<'_>, reply: Reply) -> Result<Reply, ConnectorError> {
        let status = reply.status;
        let number = status.as_u16();
        let words = reply.words();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let what = match &self.settings.credential {
                    Some(name) => format!(
                        "does not accept the credential {name:?} for this ({number}){words}; check its value and rights"
                    ),
                    None => format!(
                        "asks for a credential ({number}){words}; name one for this system in lockstep.yaml"
                    ),
                };
                Err(self.terminal(ask, &what))
            }
            StatusCode::REQUEST_TIMEOUT => Err(self.transient(ask, "is busy (408)")),
            _ if status.is_server_error() => {
                Err(self.transient(ask, &format!("failed ({number}){words}")))
            }
            _ if status.is_redirection() && status != StatusCode::NOT_MODIFIED => {
                let what = format!(
                    "redirects ({number}); redirects are not followed, since a credential is for one host: set the system's url to its final address"
                );
                Err(self.terminal(ask, &what))
            }
            _ => Ok(reply),
        }
    }

    /// An answer that there is no use for.
    pub(super) fn unexpected(&self, ask: &Ask<'_>, reply: &Reply) -> ConnectorError {
        let number = reply.status.as_u16();
        self.terminal(ask, &format!("answered {number}{}", reply.words()))
    }

    fn broken(&self, ask: &Ask<'_>, error: reqwest::Error) -> ConnectorError {
        let error = error.without_url();
        let mut causes = Vec::new();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        let why = causes.pop().unwrap_or_else(|| error.to_string());
        if error.is_builder() {
            return self.terminal(ask, &format!("cannot be asked: {why}"));
        }
        let what = if error.is_timeout() {
            format!("did not answer within {:?}", self.settings.timeout)
        } else if error.is_connect() {
            format!("cannot be reached: {why}")
        } else {
            format!("broke off the connection: {why}")
        };
        self.transient(ask, &what)
    }

    fn say(&self, ask: &Ask<'_>, what: &str) -> String {
        let Ask { method, path, .. } = ask;
        format!("{} {what} ({method} {path})", self.host)
    }

    pub(super) fn terminal(&self, ask: &Ask<'_>, what: &str) -> ConnectorError {
        ConnectorError::Terminal {
            message: self.say(ask, what),
        }
    }

    pub(super) fn transient(&self, ask: &Ask<'_>, what: &str) -> ConnectorError {
        ConnectorError::Transient {
            message: self.say(ask, what),
        }
    }
}

impl Reply {
    pub(super) fn words(&self) -> &str {
        &self.words
    }

    /// How long the system wants to be left alone; a date is not read.
    fn retry_after(&self) -> Option<Duration> {
        let value = self.headers.get(RETRY_AFTER)?.to_str().ok()?;
        value.trim().parse().ok().map(Duration::from_secs)
    }
}

/// Text from outside made fit for a terminal and a status.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(TEXT)
        .collect()
}
