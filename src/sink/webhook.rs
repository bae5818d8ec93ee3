//! Signed webhooks: a CloudEvent in structured mode (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>),
//! signed after Standard Webhooks (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Letter, Sink, SinkError};
use crate::settings::SinkSettings;

/// How long a receiver may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What the events come from.
const SOURCE: &str = "/lockstep";

/// A receiver of webhooks.
pub struct Webhook {
    settings: SinkSettings,
    client: reqwest::Client,
}

impl Webhook {
    pub fn new(settings: SinkSettings) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            // The signature is for one address; who redirects has to be asked first.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(TIMEOUT)
            .user_agent(concat!("lockstep/", env!("CARGO_PKG_VERSION")))
            .build();
        let client = client.map_err(|error| format!("no HTTP client: {error}"))?;
        Ok(Self { settings, client })
    }
}

/// The event as it is sent.
fn event(letter: &Letter) -> Value {
    json!({
        "specversion": "1.0",
        "id": letter.key,
        "source": SOURCE,
        "type": format!("lockstep.{}.v1", letter.topic),
        "time": letter.at,
        "datacontenttype": "application/json",
        "data": letter.body,
    })
}

/// `v1,` and the base64 of the HMAC over `id.timestamp.body`.
fn signature(key: &[u8], id: &str, timestamp: i64, body: &str) -> Option<String> {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    hmac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    Some(format!(
        "v1,{}",
        STANDARD.encode(hmac.finalize().into_bytes())
    ))
}

#[async_trait]
impl Sink for Webhook {
    fn wants(&self, topic: &str) -> bool {
        let wanted = |event: &String| {
            topic
                .strip_prefix(event.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.settings.events.is_empty() || self.settings.events.iter().any(wanted)
    }

    async fn send(&self, letter: &Letter, now: Timestamp) -> Result<(), SinkError> {
        let body = event(letter).to_string();
        let now = now.as_second();
        let key = STANDARD
            .decode(self.settings.key.expose_secret())
            .unwrap_or_default();
        let Some(signature) = signature(&key, &letter.key, now, &body) else {
            let message = "the sink's secret is no key".to_owned();
            return Err(SinkError::Refused { message });
        };
        let request = self
            .client
            .post(self.settings.url.clone())
            .header(
                "content-type",
                "application/cloudevents+json; charset=utf-8",
            )
            .header("webhook-id", &letter.key)
            .header("webhook-timestamp", now.to_string())
            .header("webhook-signature", signature)
            .body(body);
        let answer = request.send().await.map_err(failed)?;
        let after = answer
            .headers()
            .get(RETRY_AFTER)
            .and_then(|v| v.to_str().ok()?.trim().parse().ok());
        outcome(answer.status(), after)
    }
}

/// Why there is no answer. The URL may be a secret.
fn failed(error: reqwest::Error) -> SinkError {
    if error.is_builder() {
        let message = format!("can't be sent: {}", root(&error.without_url()));
        return SinkError::Refused { message };
    }
    SinkError::Transient {
        message: match error.is_timeout() {
            true => format!("no answer within {} s", TIMEOUT.as_secs()),
            false => format!("could not be reached: {}", root(&error.without_url())),
        },
        after: None,
    }
}

/// The innermost reason, which says most.
fn root(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// What an answer means: only 2xx has arrived.
fn outcome(status: StatusCode, after: Option<u64>) -> Result<(), SinkError> {
    let message = format!("answered {}", status.as_u16());
    match status.as_u16() {
        200..300 => Ok(()),
        410 => Err(SinkError::Gone { message }),
        // Who has to log in, or is asked too often or too early, may take the same letter later.
        401 | 403 | 404 | 407 | 408 | 409 | 421 | 423 | 425 | 429 => {
            Err(SinkError::Transient { message, after })
        }
        400..500 => Err(SinkError::Refused { message }),
        _ => Err(SinkError::Transient { message, after }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specification() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = signature(
            &key,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            "{\"test\": 2432232314}",
        );
        assert_eq!(
            signed.as_deref(),
            Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
        );
    }

    #[test]
    fn an_answer_says_whether_to_try_again() {
        let kind = |status: u16| match outcome(StatusCode::from_u16(status).unwrap(), Some(7)) {
            Ok(()) => "arrived",
            Err(SinkError::Transient { after, .. }) => {
                assert_eq!(after, Some(7));
                "again"
            }
            Err(SinkError::Refused { .. }) => "refused",
            Err(SinkError::Gone { .. }) => "gone",
        };
        let kinds = [200, 204, 301, 400, 401, 404, 410, 413, 422, 429, 500, 503].map(kind);
        assert_eq!(
            kinds,
            [
                "arrived", "arrived", "again", "refused", "again", "again", "gone", "refused",
                "refused", "again", "again", "again"
            ]
        );
    }

    #[test]
    fn an_event_is_a_cloud_event() {
        let letter = Letter {
            key: "run/1".to_owned(),
            topic: "run.finished".to_owned(),
            at: "2026-11-27T00:00:00Z".parse().unwrap(),
            body: json!({"outcome": "applied"}),
        };
        assert_eq!(
            event(&letter),
            json!({
                "specversion": "1.0", "id": "run/1", "source": "/lockstep", "type": "lockstep.run.finished.v1",
                "time": "2026-11-27T00:00:00Z", "datacontenttype": "application/json", "data": {"outcome": "applied"},
            })
        );
    }

    #[test]
    fn a_sink_wants_what_it_names() {
        let sink = |events: &[&str]| {
            Webhook::new(SinkSettings {
                url: "http://127.0.0.1:1/".parse().unwrap(),
                key: "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(),
                events: events.iter().map(|e| (*e).to_owned()).collect(),
            })
            .unwrap()
        };
        assert!(sink(&[]).wants("run.finished"));
        assert!(sink(&["run"]).wants("run.finished"));
        assert!(sink(&["run.finished"]).wants("run.finished"));
        assert!(!sink(&["run.f"]).wants("run.finished"));
        assert!(!sink(&["date"]).wants("run.finished"));
    }
}
