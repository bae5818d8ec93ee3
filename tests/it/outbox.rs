//! Messages: written with what they report, delivered at least once and in order, and never lost.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::world::{World, eventually, spawn};

/// What a receiver has got, and what it answers.
#[derive(Default)]
struct Inner {
    answer: u16,
    /// Each request: its id, and the event.
    got: Vec<(String, Value)>,
    /// Signatures that were none.
    unsigned: usize,
}

/// Somebody who takes webhooks.
struct Receiver {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
}

/// 32 bytes in base64.
const KEY: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYzE=";

impl Receiver {
    async fn start() -> Self {
        let inner = Arc::new(Mutex::new(Inner {
            answer: 204,
            ..Inner::default()
        }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(take).with_state(inner.clone());
        spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Self { address, inner }
    }

    fn answers(&self, status: u16) {
        self.inner.lock().unwrap().answer = status;
    }

    fn got(&self) -> Vec<(String, Value)> {
        self.inner.lock().unwrap().got.clone()
    }

    /// The outcomes it was told of, each delivery once.
    fn outcomes(&self) -> Vec<(String, String)> {
        let mut told = Vec::new();
        for (id, event) in self.got() {
            let outcome = event["data"]["outcome"].as_str().unwrap().to_owned();
            if !told.iter().any(|(known, _)| *known == id) {
                told.push((id, outcome));
            }
        }
        told
    }
}

async fn take(
    State(inner): State<Arc<Mutex<Inner>>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    let id = text("webhook-id");
    let signed = signature(&id, &text("webhook-timestamp"), &body);
    let mut inner = inner.lock().unwrap();
    if text("webhook-signature") != signed {
        inner.unsigned += 1;
    }
    inner.got.push((id, serde_json::from_slice(&body).unwrap()));
    StatusCode::from_u16(inner.answer).unwrap()
}

/// As the specification says it, worked out by another program.
fn signature(id: &str, timestamp: &str, body: &[u8]) -> String {
    use base64::Engine as _;
    use hmac::{KeyInit as _, Mac as _};
    let key = base64::engine::general_purpose::STANDARD
        .decode(KEY)
        .unwrap();
    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&key).unwrap();
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    let sum = mac.finalize().into_bytes();
    format!(
        "v1,{}",
        base64::engine::general_purpose::STANDARD.encode(sum)
    )
}

impl World {
    /// Adds receivers to the settings.
    fn tell(&self, receivers: &BTreeMap<&str, &Receiver>) {
        let path = self.path("lockstep.toml");
        let mut text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(self.path("hook-secret"), format!("whsec_{KEY}\n")).unwrap();
        for (name, receiver) in receivers {
            text.push_str(&format!(
                "[sinks.{name}]\nurl = \"http://{}/hook\"\nsecret_file = \"hook-secret\"\n",
                receiver.address
            ));
        }
        std::fs::write(path, text).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_run_is_told_once_and_in_order_whatever_is_down_meanwhile() {
    let world = World::new().await;
    let (ops, chat) = (Receiver::start().await, Receiver::start().await);
    world.tell(&BTreeMap::from([("ops", &ops), ("chat", &chat)]));
    // The first run's news waits: nobody sends yet.
    world.ok(&["apply"]).await;
    let mut lockstep = world.start(&["run"], "run.log");
    eventually("both are told of the first run", async || {
        (ops.outcomes().len() == 1 && chat.outcomes().len() == 1).then_some(())
    })
    .await;

    // One is down; the other is told all the same.
    ops.answers(503);
    for rollout in [11, 12, 13] {
        world.set_rollout(rollout);
        let revision = world.commit(&format!("rollout {rollout}"));
        eventually("it is applied", async || {
            (world.states(&revision)[0] == "success").then_some(())
        })
        .await;
    }
    eventually("the other is told of all", async || {
        (chat.outcomes().len() == 4).then_some(())
    })
    .await;
    let tried: Vec<_> = ops.got().iter().skip(1).map(|(id, _)| id.clone()).collect();
    let first = tried.first().cloned();
    assert!(
        tried.iter().all(|id| Some(id) == first.as_ref()),
        "a later one does not overtake an earlier one: {tried:?}"
    );

    // Killed while something is owed, and started again.
    lockstep.kill();
    ops.answers(200);
    let mut lockstep = world.start(&["run"], "again.log");
    eventually("it is told of the rest", async || {
        (ops.outcomes().len() == 4).then_some(())
    })
    .await;
    let order = |receiver: &Receiver| -> Vec<String> {
        receiver.outcomes().into_iter().map(|(id, _)| id).collect()
    };
    assert_eq!(order(&ops), order(&chat));
    assert!(
        ops.outcomes()
            .iter()
            .all(|(_, outcome)| outcome == "applied")
    );
    assert_eq!(ops.inner.lock().unwrap().unsigned, 0);
    let event = &ops.got()[0].1;
    assert_eq!(event["type"], "lockstep.run.finished.v1");
    assert_eq!(event["specversion"], "1.0");
    assert!(
        event["data"]["text"]["ja"]
            .as_str()
            .unwrap()
            .contains("適用し")
    );
    lockstep.terminate();
    lockstep.ended().await;
    assert_eq!(world.ok(&["outbox"]).await, "nothing is owed\n");
    let sent = world.entries("delivery.sent").await;
    let to = |destination: &str| {
        let of = sent.iter().filter(|e| e.body["destination"] == destination);
        of.count()
    };
    assert_eq!((to("sink/ops"), to("sink/chat")), (4, 4));
    assert!(
        to("forge") >= 4,
        "statuses are deliveries too: {}",
        to("forge")
    );
    world.ok(&["audit", "verify"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_is_shown_and_can_be_sent_again() {
    let world = World::new().await;
    let ops = Receiver::start().await;
    ops.answers(410);
    world.tell(&BTreeMap::from([("ops", &ops)]));
    let _lockstep = world.start(&["run"], "run.log");
    let given_up = async || {
        let shown = world.ok(&["outbox", "--format", "json"]).await;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        shown
            .as_array()?
            .iter()
            .find(|d| !d["dead_at"].is_null())
            .cloned()
    };
    let dead = eventually("it is given up", given_up).await;
    assert_eq!(dead["destination"], "sink/ops");
    assert_eq!(dead["error"], "answered 410");
    let number = dead["number"].to_string();
    let shown = world.ok(&["outbox"]).await;
    assert!(
        shown.contains(&format!("lockstep outbox resend {number}")),
        "{shown}"
    );
    // It keeps nobody waiting.
    ops.answers(200);
    world.set_rollout(25);
    world.commit("more");
    eventually("the next one comes", async || {
        (ops.got().len() >= 2).then_some(())
    })
    .await;

    let wrong = world.run(&["outbox", "resend", "999"]).await;
    assert_eq!(wrong.status.code(), Some(2));
    world.ok(&["outbox", "resend", &number]).await;
    eventually("it comes after all", async || {
        let id = dead["key"].as_str().unwrap();
        (ops.got().iter().filter(|(got, _)| got == id).count() == 2).then_some(())
    })
    .await;
    eventually("and is known to have come", async || {
        let shown = world.ok(&["outbox"]).await;
        (shown == "nothing is owed\n").then_some(())
    })
    .await;
    let resent = &world.entries("delivery.resent").await[0];
    assert_eq!(resent.actor.as_str(), "sato");
    assert_eq!(world.entries("delivery.dead").await.len(), 1);
}
