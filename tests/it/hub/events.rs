//! Webhooks as GitHub delivers them, signed, one after the other; the examples that GitHub publishes of them.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use git2::{Oid, Repository};
use serde_json::{Value, json};
use sha2::Digest as _;
use tokio::sync::mpsc::UnboundedReceiver;

use super::ask::{Answer, Ask};
use super::front::fill;
use super::{APP, Hub, INSTALLATION, Shared, emulator, pulls};

/// A webhook that was delivered, or that nobody took.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) event: String,
    pub(crate) action: Option<String>,
    pub(crate) url: String,
    pub(crate) id: String,
    /// What the other side answered; `None` where it did not.
    pub(crate) status: Option<u16>,
}

/// Something that happened, on its way to whoever has asked for it.
pub(super) struct Event {
    name: String,
    repository: String,
    payload: Value,
    /// Who did it, where the payload does not say yet.
    login: Option<String>,
}

/// Where an event goes, and with what secret.
struct Target {
    hook: u64,
    url: String,
    secret: Option<String>,
}

/// Tells of something that the front did itself.
pub(super) fn emit(shared: &Shared, event: &str, repository: &str, payload: Value, login: &str) {
    let event = Event {
        name: event.to_owned(),
        repository: repository.to_owned(),
        payload,
        login: Some(login.to_owned()),
    };
    // Nobody delivers any more when the test has ended.
    let _ = shared.events.send(event);
}

/// Takes an event from the emulator.
pub(super) fn from_emulator(shared: &Shared, ask: &Ask) -> Answer {
    if ask.header("x-hub-door") != shared.door {
        return Answer::refused(404, "Not Found");
    }
    let mut told = ask.json();
    let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    let event = Event {
        name: text("event"),
        repository: format!("{}/{}", text("owner"), text("repo")),
        login: None,
        payload: told["payload"].take(),
    };
    // What is pushed is told by the front: it sees git's pushes as well.
    if event.name != "push" {
        let _ = shared.events.send(event);
    }
    Answer::json(200, &json!({}))
}

/// Delivers everything, in order, as long as the hub is there.
pub(super) async fn deliver_all(shared: Arc<Shared>, mut events: UnboundedReceiver<Event>) {
    while let Some(mut event) = events.recv().await {
        complete(&shared, &mut event).await;
        let targets = targets(&shared, &event).await;
        if targets.is_empty() {
            continue;
        }
        if let Some(login) = &event.login {
            let target = format!("/repos/{}", event.repository);
            event.payload["repository"] = shared.look(&target).await;
            event.payload["sender"] = shared.user(login);
        }
        fill(&shared.base, &mut event.payload);
        for target in targets {
            deliver(&shared, &event, target).await;
        }
    }
}

/// What the emulator tells otherwise than GitHub: a pull request is an issue as well, but its labels are its own.
async fn complete(shared: &Shared, event: &mut Event) {
    let repository = event.repository.clone();
    let payload = &mut event.payload;
    if let Some(number) = payload["pull_request"]["number"].as_u64() {
        pulls::count(shared, &repository, &mut payload["pull_request"]);
        if event.name == "pull_request" {
            payload["number"] = json!(number);
        }
    }
    let Some(number) = payload["issue"]["number"].as_u64() else {
        return;
    };
    let pull = shared.pull(&repository, &number.to_string()).await;
    if pull["number"].is_null() {
        return;
    }
    if event.name == "issues" {
        event.name = "pull_request".to_owned();
        payload["number"] = json!(number);
        payload["pull_request"] = pull;
        if let Some(payload) = payload.as_object_mut() {
            payload.remove("issue");
        }
    } else {
        payload["issue"] = pulls::as_issue(shared, &repository, &pull);
    }
}

async fn targets(shared: &Shared, event: &Event) -> Vec<Target> {
    let (owner, name) = event.repository.split_once('/').unwrap_or_default();
    let body = json!({"event": event.name, "owner": owner, "repo": name});
    let hooks = shared.through_door("hooks", &body).await;
    let mut targets: Vec<Target> = hooks
        .as_array()
        .into_iter()
        .flatten()
        .map(|hook| Target {
            hook: hook["id"].as_u64().unwrap_or_default(),
            url: hook["url"].as_str().unwrap_or_default().to_owned(),
            secret: hook["secret"].as_str().map(str::to_owned),
        })
        .collect();
    if let Some((url, secret)) = shared.state().app_hook.clone()
        && owner == "acme"
    {
        targets.push(Target {
            hook: APP,
            url,
            secret: Some(secret),
        });
    }
    targets
}

async fn deliver(shared: &Shared, event: &Event, target: Target) {
    let mut payload = event.payload.clone();
    if target.hook == APP {
        payload["installation"] =
            json!({"id": INSTALLATION, "node_id": "MDIzOkluc3RhbGxhdGlvbjEwMA=="});
    }
    let sent = Sent {
        event: &event.name,
        id: &uuid::Uuid::new_v4().to_string(),
        hook: target.hook,
        secret: target.secret.as_deref(),
        body: serde_json::to_vec(&payload).unwrap(),
    };
    let answered = sent.to(&shared.client, &target.url).await;
    let delivery = Delivery {
        event: event.name.clone(),
        action: payload["action"].as_str().map(str::to_owned),
        url: target.url.clone(),
        id: sent.id.to_owned(),
        status: answered.map(|(status, _)| status),
    };
    shared.state().deliveries.push(delivery);
}

/// A delivery's head and body.
struct Sent<'a> {
    event: &'a str,
    id: &'a str,
    hook: u64,
    secret: Option<&'a str>,
    body: Vec<u8>,
}

impl Sent<'_> {
    async fn to(&self, client: &reqwest::Client, url: &str) -> Option<(u16, String)> {
        let mut asked = client
            .post(url)
            .header("content-type", "application/json")
            .header("user-agent", "GitHub-Hookshot/044aadd")
            .header("accept", "*/*")
            .header("x-github-event", self.event)
            .header("x-github-delivery", self.id)
            .header("x-github-hook-id", self.hook.to_string())
            .header("x-github-hook-installation-target-type", "repository")
            .timeout(Duration::from_secs(10));
        if let Some(secret) = self.secret {
            asked = asked.header("x-hub-signature-256", sign(secret, &self.body));
        }
        let answer = asked.body(self.body.clone()).send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.text().await.unwrap_or_default()))
    }
}

/// The value of `X-Hub-Signature-256`, reckoned from its definition and not by the code under test.
pub(crate) fn sign(secret: &str, body: &[u8]) -> String {
    const BLOCK: usize = 64;
    let mut key = secret.as_bytes().to_vec();
    if key.len() > BLOCK {
        key = sha2::Sha256::digest(&key).to_vec();
    }
    key.resize(BLOCK, 0);
    let keyed = |with: u8| -> Vec<u8> { key.iter().map(|byte| byte ^ with).collect() };
    let inner = sha2::Sha256::digest([keyed(0x36).as_slice(), body].concat());
    let outer = sha2::Sha256::digest([keyed(0x5c).as_slice(), inner.as_slice()].concat());
    format!("sha256={}", hex::encode(outer))
}

/// The first example that GitHub publishes of an event; an empty action where there is none.
pub(crate) fn example(event: &str, action: &str) -> Value {
    static EXAMPLES: LazyLock<Value> =
        LazyLock::new(|| serde_json::from_str(&emulator::generated("webhooks.json")).unwrap());
    let all = EXAMPLES[event].as_array();
    let found = all
        .into_iter()
        .flatten()
        .find(|one| one["action"].as_str().unwrap_or_default() == action);
    found
        .unwrap_or_else(|| panic!("no example of {event} {action}"))
        .clone()
}

/// A ref, and where it was and is.
pub(super) struct Moved<'a> {
    pub(super) reference: &'a str,
    pub(super) from: Option<&'a str>,
    pub(super) to: Option<&'a str>,
}

/// What GitHub tells of a push.
pub(super) fn push(shared: &Shared, name: &str, login: &str, moved: &Moved<'_>) -> Value {
    let Moved {
        reference,
        from,
        to,
    } = *moved;
    let zero = "0".repeat(40);
    let (before, after) = (from.unwrap_or(&zero), to.unwrap_or(&zero));
    let repository = Repository::open(shared.bare(name)).unwrap();
    let mut commits = Vec::new();
    if let Some(to) = to {
        let mut walk = repository.revwalk().unwrap();
        walk.push(Oid::from_str(to).unwrap()).unwrap();
        if let Some(from) = from {
            walk.hide(Oid::from_str(from).unwrap()).unwrap();
        }
        // GitHub tells of 2048 at most; nobody reads more than a few.
        commits = walk
            .flatten()
            .take(20)
            .map(|id| commit(shared, name, &repository, id))
            .collect();
        commits.reverse();
    }
    let is_forced = match (from, to) {
        (Some(from), Some(to)) => {
            let (from, to) = (Oid::from_str(from).unwrap(), Oid::from_str(to).unwrap());
            !repository.graph_descendant_of(to, from).unwrap_or(false)
        }
        _ => false,
    };
    json!({
        "ref": reference, "before": before, "after": after, "base_ref": null,
        "created": from.is_none(), "deleted": to.is_none(), "forced": is_forced,
        "compare": format!("{}/{name}/compare/{before}...{after}", shared.base),
        "head_commit": commits.last(), "commits": commits,
        "pusher": {"name": login, "email": format!("{login}@example.org")},
    })
}

fn commit(shared: &Shared, name: &str, repository: &Repository, id: Oid) -> Value {
    let commit = repository.find_commit(id).unwrap();
    let by = |who: &git2::Signature<'_>| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        json!({"name": text(who.name_bytes()), "email": text(who.email_bytes())})
    };
    let message = String::from_utf8_lossy(commit.message_bytes())
        .trim_end()
        .to_owned();
    json!({
        "id": id.to_string(), "tree_id": commit.tree_id().to_string(), "distinct": true,
        "message": message, "timestamp": super::git::date(commit.time()),
        "url": format!("{}/{name}/commit/{id}", shared.base),
        "author": by(&commit.author()), "committer": by(&commit.committer()),
        "added": [], "removed": [], "modified": [],
    })
}

impl Hub {
    /// Delivers a webhook as GitHub does, and gives what was answered.
    pub(crate) async fn deliver(
        &self,
        event: &str,
        payload: &Value,
        secret: &str,
        url: &str,
    ) -> (u16, String) {
        let id = uuid::Uuid::new_v4().to_string();
        self.deliver_as(&id, event, payload, secret, url).await
    }

    /// The same by an id of the test's: delivering one again repeats it.
    pub(crate) async fn deliver_as(
        &self,
        id: &str,
        event: &str,
        payload: &Value,
        secret: &str,
        url: &str,
    ) -> (u16, String) {
        let sent = Sent {
            event,
            id,
            hook: 1,
            secret: Some(secret),
            body: serde_json::to_vec(payload).unwrap(),
        };
        let answered = sent.to(&self.shared.client, url).await;
        answered.unwrap_or_else(|| panic!("{url} did not answer"))
    }
}
