//! Deliveries owed to the outside: written together with what they speak of, sent until acknowledged.

use jiff::Timestamp;
use serde_json::Value;

use super::engine::{Doing as _, Tx, query};
use super::values::{json, ms, number, time};
use super::{Durability, Store, StoreError};

/// A delivery to be made. The same destination and key again is the same delivery and changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDelivery {
    pub destination: String,
    pub key: String,
    pub body: Value,
}

/// A delivery still owed.
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
}

type Columns = (i64, String, String, String, i64, i64, Option<String>);

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

    /// At most `limit` deliveries whose time has come, the longest waiting first.
    pub async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        let rows: Vec<Columns> = query(
            "SELECT id, destination, key, body, created_ms, attempts, error FROM outbox \
             WHERE delivered_ms IS NULL AND next_ms <= $1 ORDER BY next_ms, id LIMIT $2",
        )
        .bind(ms(now))
        .bind(i64::from(limit))
        .fetch_all(self.read())
        .await
        .doing("read the outbox")?;
        rows.into_iter()
            .map(|(id, destination, key, body, created, attempts, error)| {
                Ok(Delivery {
                    id,
                    destination,
                    key,
                    body: json(&body)?,
                    created_at: time(created)?,
                    attempts: number(attempts)?,
                    error,
                })
            })
            .collect()
    }

    /// How many deliveries are owed, due or not.
    pub async fn owed(&self) -> Result<u64, StoreError> {
        let n: i64 = query("SELECT COUNT(*) FROM outbox WHERE delivered_ms IS NULL")
            .value(self.read())
            .await
            .doing("count the outbox")?;
        number(n)
    }

    /// When the next delivery is due, if any is owed: how long the sender may sleep.
    pub async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let next: Option<i64> = query("SELECT MIN(next_ms) FROM outbox WHERE delivered_ms IS NULL")
            .value(self.read())
            .await
            .doing("read the outbox")?;
        next.map(time).transpose()
    }

    /// The destination has it. Saying so again changes nothing.
    pub async fn delivered(&self, id: i64, at: Timestamp) -> Result<(), StoreError> {
        let doing = "note a delivery";
        let mut tx = self.write(Durability::Full, doing).await?;
        query(
            "UPDATE outbox SET delivered_ms = $2, error = NULL WHERE id = $1 AND delivered_ms IS NULL",
        )
        .bind(id)
        .bind(ms(at))
        .execute(&mut tx)
        .await
        .doing(doing)?;
        tx.commit().await.doing(doing)
    }

    /// It could not be delivered; it is due again at `next`.
    pub async fn failed(&self, id: i64, error: &str, next: Timestamp) -> Result<(), StoreError> {
        let doing = "note a failed delivery";
        let mut tx = self.write(Durability::Relaxed, doing).await?;
        query(
            "UPDATE outbox SET attempts = attempts + 1, error = $2, next_ms = $3 \
             WHERE id = $1 AND delivered_ms IS NULL",
        )
        .bind(id)
        .bind(error)
        .bind(ms(next))
        .execute(&mut tx)
        .await
        .doing(doing)?;
        tx.commit().await.doing(doing)
    }
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
    Ok(())
}
