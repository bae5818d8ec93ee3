//! Sending what the outbox owes: each destination by itself and in order, again and again until it has arrived or is given up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::ids::{Actor, InvalidId};
use crate::record::Action;
use crate::sink::{Letter, Sink, SinkError};
use crate::store::{Delivery, Duty, NewDelivery, NewEntry, Store, StoreError};

/// Before a sink's name.
const SINK: &str = "sink/";

/// How many destinations are served at a time.
const AT_ONCE: u32 = 50;

/// How long the outbox is left alone where nothing is known to be due.
const POLL: Duration = Duration::from_secs(30);

/// The longest pause between two tries; 1 s at first, doubled each time.
const LONGEST: u64 = 60 * 60;
/// How often it is tried before it is given up: with these pauses for about three days.
const TRIES: u64 = 84;
/// How often what was delivered long ago is forgotten.
const FORGET: Duration = Duration::from_secs(60 * 60);
/// How often a letter is sent that the receiver says it does not want: a receiver may be mended meanwhile.
const REFUSALS: u64 = 5;

/// What it takes to send.
pub struct Sender<'a> {
    pub store: &'a Store,
    pub sinks: &'a BTreeMap<String, Arc<dyn Sink>>,
    pub clock: &'a dyn Clock,
    pub duty: &'a Duty,
    /// Who the ledger says it was.
    pub actor: &'a Actor,
}

impl Sender<'_> {
    /// Who sends, as the ledger names it.
    pub fn actor() -> Result<Actor, InvalidId> {
        "lockstep/outbox".parse()
    }

    /// Sends until `stop` becomes true.
    pub async fn send_all(&self, mut woken: watch::Receiver<u64>, mut stop: watch::Receiver<bool>) {
        let mut is_heard = true;
        let mut forgotten: Option<Instant> = None;
        while !*stop.borrow() {
            woken.mark_unchanged();
            let round = tokio::select! {
                round = self.round() => round,
                // What is on its way may have come: it is sent again, and known by its key.
                _ = stop.changed() => break,
            };
            if forgotten.is_none_or(|at| at.elapsed() >= FORGET) {
                forgotten = Some(Instant::now());
                if let Err(error) = self.store.forget_delivered(self.clock.now()).await {
                    tracing::debug!(%error, "old deliveries are forgotten later");
                }
            }
            let pause = match round {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "what is owed could not be read; tried again"
                    );
                    POLL
                }
            };
            tokio::select! {
                _ = stop.changed() => {}
                changed = woken.changed(), if is_heard => is_heard = changed.is_ok(),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Sends everything that is due. Gives back how long there is nothing to do.
    pub async fn round(&self) -> Result<Duration, StoreError> {
        if !self.duty.is_ours(self.clock.now()).await? {
            return Ok(self.duty.lease().min(POLL));
        }
        let mut busy = BTreeSet::new();
        let mut at_work = FuturesUnordered::new();
        loop {
            let now = self.clock.now();
            let due = self.store.due(now, NewDelivery::FORGE, AT_ONCE).await?;
            for delivery in due {
                // One that is slow keeps only its own letters waiting.
                let destination = delivery.destination.clone();
                if busy.insert(destination.clone()) {
                    let deliver = self.deliver(delivery);
                    at_work.push(async move { (destination, deliver.await) });
                }
            }
            let Some((destination, done)) = at_work.next().await else {
                break;
            };
            done?;
            busy.remove(&destination);
            // A long row of letters outlasts the lease.
            if !self.duty.is_ours(self.clock.now()).await? {
                return Ok(self.duty.lease().min(POLL));
            }
        }
        let next = self.store.next_due(NewDelivery::FORGE).await?;
        let wait = next.map(|next| next.duration_since(self.clock.now()));
        let wait = wait.and_then(|wait| Duration::try_from(wait).ok());
        Ok(wait.unwrap_or(POLL).clamp(Duration::from_millis(50), POLL))
    }

    async fn deliver(&self, delivery: Delivery) -> Result<(), StoreError> {
        if delivery.destination == NewDelivery::NEWS {
            return self.pass_on(&delivery).await;
        }
        let name = delivery.destination.strip_prefix(SINK);
        let Some(sink) = name.and_then(|name| self.sinks.get(name)) else {
            let why = "no sink of this name is in lockstep.toml";
            return self.give_up(&delivery, why).await;
        };
        let sent = sink.send(&letter(&delivery), self.clock.now()).await;
        let now = self.clock.now();
        match sent {
            Ok(()) => {
                let entry = entry(
                    &delivery,
                    self.actor,
                    Action::DELIVERY_SENT,
                    now,
                    Value::Null,
                );
                self.store.delivered(delivery.id, now, Some(entry)).await
            }
            Err(error) => {
                tracing::warn!(destination = delivery.destination, key = delivery.key, %error, "a delivery failed");
                match pause(&error, &delivery) {
                    Some(pause) => {
                        let next = now.saturating_add(pause).unwrap_or(Timestamp::MAX);
                        let why = error.to_string();
                        self.store.failed(delivery.id, &why, next).await
                    }
                    None => self.give_up(&delivery, &error.to_string()).await,
                }
            }
        }
    }

    /// Owes news to each sink that wants them.
    async fn pass_on(&self, delivery: &Delivery) -> Result<(), StoreError> {
        let topic = topic(&delivery.body);
        let wanted = self.sinks.iter().filter(|(_, sink)| sink.wants(&topic));
        let to: Vec<NewDelivery> = wanted
            .map(|(name, _)| NewDelivery {
                destination: format!("{SINK}{name}"),
                key: delivery.key.clone(),
                body: delivery.body.clone(),
            })
            .collect();
        let now = self.clock.now();
        self.store.passed_on(delivery.id, &to, now).await
    }

    async fn give_up(&self, delivery: &Delivery, why: &str) -> Result<(), StoreError> {
        tracing::error!(
            destination = delivery.destination,
            key = delivery.key,
            why,
            "a delivery is given up; `lockstep outbox` shows it"
        );
        let now = self.clock.now();
        let entry = entry(delivery, self.actor, Action::DELIVERY_DEAD, now, json!(why));
        self.store.bury(delivery.id, why, now, entry).await
    }
}

/// What a delivery says to a sink.
fn letter(delivery: &Delivery) -> Letter {
    Letter {
        key: delivery.key.clone(),
        topic: topic(&delivery.body),
        at: delivery.created_at,
        body: delivery.body.clone(),
    }
}

fn topic(body: &Value) -> String {
    body["topic"].as_str().unwrap_or("news").to_owned()
}

/// How long to wait before the next try; `None` to give up.
fn pause(error: &SinkError, delivery: &Delivery) -> Option<SignedDuration> {
    let doubled = || 1_u64 << delivery.attempts.min(12);
    let seconds = match error {
        SinkError::Gone { .. } => return None,
        SinkError::Refused { .. } if delivery.attempts + 1 >= REFUSALS => return None,
        SinkError::Transient {
            after: Some(after), ..
        } => (*after).max(1),
        SinkError::Refused { .. } | SinkError::Transient { after: None, .. } => doubled(),
    };
    if delivery.attempts + 1 >= TRIES {
        return None;
    }
    Some(SignedDuration::from_secs(
        i64::try_from(seconds.min(LONGEST)).unwrap_or(i64::MAX),
    ))
}

/// What the ledger says of a delivery.
pub fn entry(
    delivery: &Delivery,
    actor: &Actor,
    action: Action,
    at: Timestamp,
    why: Value,
) -> NewEntry {
    NewEntry {
        at,
        actor: actor.clone(),
        action: action.to_string(),
        group: None,
        system: None,
        run: None,
        revision: None,
        body: json!({
            "destination": delivery.destination,
            "key": delivery.key,
            "attempts": delivery.attempts + 1,
            "why": why,
        }),
    }
}
