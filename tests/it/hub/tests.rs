//! The stand-in itself: it must be what it says before anything is tested against it.

use serde_json::{Value, json};

use super::{APP, Fault, Hub, INSTALLATION, What, example, sign};
use crate::world::eventually;

mod faults;
mod hooks;
mod merging;
mod rules;

const REPO: &str = "/repos/acme/config";

/// A raw answer, with its head.
struct Raw {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

impl Raw {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|v| v.to_str().ok()).unwrap_or_default()
    }
}

/// A request as the code under test makes one.
async fn ask(hub: &Hub, method: &str, path: &str, login: &str, more: &[(&str, &str)]) -> Raw {
    let answer = sent(hub, method, path, login, more, None).await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.json().await.unwrap_or(Value::Null);
    Raw {
        status,
        headers,
        body,
    }
}

async fn sent(
    hub: &Hub,
    method: &str,
    path: &str,
    login: &str,
    more: &[(&str, &str)],
    body: Option<Value>,
) -> reqwest::Result<reqwest::Response> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let mut asked = client
        .request(method.parse().unwrap(), format!("{}{path}", hub.api_url()))
        .header("user-agent", "lockstep-test");
    if !login.is_empty() {
        asked = asked.bearer_auth(hub.token(login));
    }
    for (name, value) in more {
        asked = asked.header(*name, *value);
    }
    if let Some(body) = body {
        asked = asked.json(&body);
    }
    asked.send().await
}

async fn status(hub: &Hub, sha: &str, context: &str, state: &str) -> (u16, Value) {
    let body = json!({"state": state, "context": context, "description": "…", "target_url": null});
    let path = format!("{REPO}/statuses/{sha}");
    hub.api("lockstep-bot", "POST", &path, Some(body)).await
}
