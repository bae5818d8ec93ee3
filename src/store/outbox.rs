//! The outbox: deliveries owed to the outside, written together with what they report and kept until they are acknowledged.
//!
//! Each destination gets its own in the order in which they were owed: a later one waits for an earlier one that fails, until that is given
//! up. What was given up is kept as a dead letter, which a person can see and send again.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::engine::{Doing as _, Tx, query};
use super::values::{json, ms, number, time};
use super::{Durability, NewEntry, Store, StoreError, Topic, ledger, news};

/// How long what was delivered is kept: a forge or a person may ask about it.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A delivery to be made. The same destination and key again is the same delivery and changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDelivery {
    pub destination: String,
    pub key: String,
    pub body: Value,
}

/// A delivery still owed, or given up.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    pub id: i64,
    pub destination: String,
    /// Sent along where the destination can take it: a delivery may arrive twice and then is recognised.
    pub key: String,
    pub body: Value,
    pub created_at: Timestamp,
    /// How often it was tried in vain.
    pub attempts: u64,
    /// Why it failed the last time.
    pub error: Option<String>,
    /// When it is tried next.
    pub next_at: Timestamp,
    /// When it was given up, if it was.
    pub dead_at: Option<Timestamp>,
}

impl NewDelivery {
    /// News for whoever wants them: passed on to each sink that does.
    pub const NEWS: &str = "news";
    /// Statuses on a commit. The engine's own loop shows them, and tells from the store what they are.
    pub const FORGE: &str = "forge";
}

type Columns = (
    i64,
    String,
    String,
    String,
    i64,
    i64,
    Option<String>,
    i64,
    Option<i64>,
);

impl Store {
    /// Owes deliveries outside a run.
    pub async fn enqueue(
        &self,
        deliveries: &[NewDelivery],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "put a delivery in the outbox";
        let mut tx = self.write(Durability::Full, doing).await?;
        put(&mut tx, deliveries, at).await?;
        tx.commit().await.doing(doing)
    }

    /// The first delivery that each destination is owed, where its time has come; all but those to `except`, at most `limit`.
    pub async fn due(
        &self,
        now: Timestamp,
        except: &str,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let rows: Vec<Columns> = query(
            "SELECT id, destination, key, body, created_ms, attempts, error, next_ms, dead_ms FROM outbox AS due \
             WHERE delivered_ms IS NULL AND dead_ms IS NULL AND next_ms <= $1 AND destination <> $2 \
             AND NOT EXISTS (SELECT 1 FROM outbox AS earlier WHERE earlier.destination = due.destination \
             AND earlier.id < due.id AND earlier.delivered_ms IS NULL AND earlier.dead_ms IS NULL) \
             ORDER BY id LIMIT $3",
        )
        .bind(ms(now))
        .bind(except)
        .bind(i64::from(limit))
        .fetch_all(self.read())
        .await
        .doing("read the outbox")?;
        rows.into_iter().map(delivery).collect()
    }

    /// Everything that one destination is owed, oldest first, at most `limit`.
    pub async fn owed_to(
        &self,
        destination: &str,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let rows: Vec<Columns> = query(
            "SELECT id, destination, key, body, created_ms, attempts, error, next_ms, dead_ms FROM outbox \
             WHERE destination = $1 AND delivered_ms IS NULL AND dead_ms IS NULL ORDER BY id LIMIT $2",
        )
        .bind(destination)
        .bind(i64::from(limit))
        .fetch_all(self.read())
        .await
        .doing("read the outbox")?;
        rows.into_iter().map(delivery).collect()
    }

    /// What is owed and what was given up, oldest first: for people.
    pub async fn undelivered(&self, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        let rows: Vec<Columns> = query(
            "SELECT id, destination, key, body, created_ms, attempts, error, next_ms, dead_ms FROM outbox \
             WHERE delivered_ms IS NULL ORDER BY id LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(self.read())
        .await
        .doing("read the outbox")?;
        rows.into_iter().map(delivery).collect()
    }

    /// How many deliveries are owed, due or not. Dead letters are none.
    pub async fn owed(&self) -> Result<u64, StoreError> {
        let n: i64 =
            query("SELECT COUNT(*) FROM outbox WHERE delivered_ms IS NULL AND dead_ms IS NULL")
                .value(self.read())
                .await
                .doing("count the outbox")?;
        number(n)
    }

    /// When the next delivery is due, if any is owed to others than `except`: how long the sender may sleep.
    pub async fn next_due(&self, except: &str) -> Result<Option<Timestamp>, StoreError> {
        let next: Option<i64> = query(
            "SELECT MIN(next_ms) FROM outbox WHERE delivered_ms IS NULL AND dead_ms IS NULL AND destination <> $1",
        )
        .bind(except)
        .value(self.read())
        .await
        .doing("read the outbox")?;
        next.map(time).transpose()
    }

    /// The destination has it; `entry` says so in the ledger. Saying so again changes nothing.
    pub async fn delivered(
        &self,
        id: i64,
        at: Timestamp,
        entry: Option<NewEntry>,
    ) -> Result<(), StoreError> {
        let doing = "note a delivery";
        let mut tx = self.write(Durability::Full, doing).await?;
        if has_come(&mut tx, id, at).await? {
            ledger::put(&mut tx, entry.as_slice()).await?;
        }
        tx.commit().await.doing(doing)
    }

    /// Passes one delivery on to others, in one transaction: each of them is owed it instead.
    pub async fn passed_on(
        &self,
        id: i64,
        to: &[NewDelivery],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "pass a delivery on";
        let mut tx = self.write(Durability::Full, doing).await?;
        if has_come(&mut tx, id, at).await? {
            put(&mut tx, to, at).await?;
        }
        tx.commit().await.doing(doing)
    }

    /// It could not be delivered; it is due again at `next`.
    pub async fn failed(&self, id: i64, error: &str, next: Timestamp) -> Result<(), StoreError> {
        let doing = "note a failed delivery";
        let mut tx = self.write(Durability::Relaxed, doing).await?;
        query(
            "UPDATE outbox SET attempts = attempts + 1, error = $2, next_ms = $3 \
             WHERE id = $1 AND delivered_ms IS NULL AND dead_ms IS NULL",
        )
        .bind(id)
        .bind(error)
        .bind(ms(next))
        .execute(&mut tx)
        .await
        .doing(doing)?;
        tx.commit().await.doing(doing)
    }

    /// Gives a delivery up: a dead letter, until a person sends it again.
    pub async fn bury(
        &self,
        id: i64,
        error: &str,
        at: Timestamp,
        entry: NewEntry,
    ) -> Result<(), StoreError> {
        let doing = "give a delivery up";
        let mut tx = self.write(Durability::Full, doing).await?;
        let done = query(
            "UPDATE outbox SET attempts = attempts + 1, error = $2, dead_ms = $3 \
             WHERE id = $1 AND delivered_ms IS NULL AND dead_ms IS NULL",
        )
        .bind(id)
        .bind(error)
        .bind(ms(at))
        .execute(&mut tx)
        .await
        .doing(doing)?;
        if done == 1 {
            ledger::put(&mut tx, &[entry]).await?;
        }
        tx.commit().await.doing(doing)
    }

    /// Owes a dead letter again, in its old place. `false`: there is no dead letter of this number.
    pub async fn resend(
        &self,
        id: i64,
        at: Timestamp,
        entry: NewEntry,
    ) -> Result<bool, StoreError> {
        let doing = "send a dead letter again";
        let mut tx = self.write(Durability::Full, doing).await?;
        let done = query(
            "UPDATE outbox SET attempts = 0, next_ms = $2, dead_ms = NULL \
             WHERE id = $1 AND delivered_ms IS NULL AND dead_ms IS NOT NULL",
        )
        .bind(id)
        .bind(ms(at))
        .execute(&mut tx)
        .await
        .doing(doing)?;
        if done == 1 {
            ledger::put(&mut tx, &[entry]).await?;
            news::told(&mut tx, Topic::Outbox).await?;
        }
        tx.commit().await.doing(doing)?;
        Ok(done == 1)
    }

    /// Forgets what was delivered long ago. What is owed or dead is never forgotten.
    pub async fn forget_delivered(&self, now: Timestamp) -> Result<(), StoreError> {
        let doing = "forget old deliveries";
        let before = now.saturating_sub(KEPT).unwrap_or(Timestamp::MIN);
        let mut tx = self.write(Durability::Relaxed, doing).await?;
        query("DELETE FROM outbox WHERE delivered_ms < $1")
            .bind(ms(before))
            .execute(&mut tx)
            .await
            .doing(doing)?;
        tx.commit().await.doing(doing)
    }
}

/// Whether this is the first word that a delivery has come.
async fn has_come(tx: &mut Tx, id: i64, at: Timestamp) -> Result<bool, StoreError> {
    let done = query(
        "UPDATE outbox SET delivered_ms = $2, error = NULL, dead_ms = NULL WHERE id = $1 AND delivered_ms IS NULL",
    )
    .bind(id)
    .bind(ms(at))
    .execute(tx)
    .await
    .doing("note a delivery")?;
    Ok(done == 1)
}

fn delivery(columns: Columns) -> Result<Delivery, StoreError> {
    let (id, destination, key, body, created, attempts, error, next, dead) = columns;
    Ok(Delivery {
        id,
        destination,
        key,
        body: json(&body)?,
        created_at: time(created)?,
        attempts: number(attempts)?,
        error,
        next_at: time(next)?,
        dead_at: dead.map(time).transpose()?,
    })
}

pub(super) async fn put(
    tx: &mut Tx,
    deliveries: &[NewDelivery],
    at: Timestamp,
) -> Result<(), StoreError> {
    for NewDelivery {
        destination,
        key,
        body,
    } in deliveries
    {
        query(
            "INSERT INTO outbox (destination, key, body, created_ms, attempts, next_ms) VALUES ($1, $2, $3, $4, 0, $4) \
             ON CONFLICT (destination, key) DO NOTHING",
        )
        .bind(destination.as_str())
        .bind(key.as_str())
        .bind(body.to_string())
        .bind(ms(at))
        .execute(&mut *tx)
        .await
        .doing("put a delivery in the outbox")?;
    }
    if !deliveries.is_empty() {
        news::told(tx, Topic::Outbox).await?;
    }
    Ok(())
}

impl Store {
    /// Owes deliveries, each together with the ledger's entry of it, all or none. One that is owed already, or was made, is neither owed nor
    /// recorded again.
    pub async fn enqueue_recorded(
        &self,
        news: &[(NewDelivery, NewEntry)],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let doing = "put news in the outbox";
        let mut tx = self.write(Durability::Full, doing).await?;
        let mut entries = Vec::new();
        for (delivery, entry) in news {
            let known: Option<i64> =
                query("SELECT id FROM outbox WHERE destination = $1 AND key = $2")
                    .bind(delivery.destination.as_str())
                    .bind(delivery.key.as_str())
                    .find(&mut tx)
                    .await
                    .doing(doing)?;
            if known.is_none() {
                put(&mut tx, std::slice::from_ref(delivery), at).await?;
                entries.push(entry.clone());
            }
        }
        ledger::put(&mut tx, &entries).await?;
        tx.commit().await.doing(doing)
    }
}
