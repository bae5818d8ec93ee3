//! Who may act for a group: a lease that runs out, with a number that grows with every change of holder.
//!
//! The number (the fence) goes along with every write, here and on the systems, so that a holder that was paused past its lease and
//! wakes up changes nothing. Rows are never deleted: the number must not start again.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::engine::{Doing as _, Tx, query};
use super::values::{ms, number, signed};
use super::{Durability, Store, StoreError, Topic, news};
use crate::ids::{Fence, GroupName};

impl Store {
    /// The name of the lease under which a group's runs are written.
    pub fn group_lease(group: &GroupName) -> String {
        format!("group/{group}")
    }

    /// Takes a lease that is free, has run out, is the holder's own, or belongs to a process that is gone; `None` while another has it.
    /// `holder` must be unique to this start of the process, or a restart would inherit its own stale lease and fence.
    pub async fn acquire(
        &self,
        name: &str,
        holder: &str,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<Option<Fence>, StoreError> {
        if let Some(fence) = self.take(name, holder, now, ttl).await? {
            return Ok(Some(fence));
        }
        let other: Option<(String, i64)> =
            query("SELECT holder, fence FROM leases WHERE name = $1")
                .bind(name)
                .fetch_optional(self.read())
                .await
                .doing("look who holds a lease")?;
        let Some((other, fence)) = other else {
            return Ok(None);
        };
        if !self.is_gone(&other) {
            return Ok(None);
        }
        self.release_lease(name, &other, Fence(number(fence)?))
            .await?;
        self.take(name, holder, now, ttl).await
    }

    async fn take(
        &self,
        name: &str,
        holder: &str,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<Option<Fence>, StoreError> {
        let doing = "take a lease";
        let mut tx = self.write(Durability::Full, doing).await?;
        let now = tx.clock(now).await.doing(doing)?;
        let fence: Option<i64> = query(
            "INSERT INTO leases (name, holder, fence, expires_ms) VALUES ($1, $2, $5, $3) \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_ms = excluded.expires_ms, \
             fence = CASE WHEN leases.holder = excluded.holder AND leases.expires_ms >= $4 THEN leases.fence \
             WHEN leases.fence < excluded.fence THEN excluded.fence ELSE leases.fence + 1 END \
             WHERE leases.expires_ms < $4 OR leases.holder = excluded.holder RETURNING fence",
        )
        .bind(name)
        .bind(holder)
        .bind(ms(until(now, ttl)))
        .bind(ms(now))
        // Systems remember the highest fence they saw, across groups and stores: one that follows the clock is above those of a
        // lost or restored store and of the group that a system was in before.
        .bind(now.as_second())
        .find(&mut tx)
        .await
        .doing(doing)?;
        tx.commit().await.doing(doing)?;
        fence.map(|f| number(f).map(Fence)).transpose()
    }

    /// Prolongs a lease that is still held under this fence. `false`: it has run out or passed on, stop. Renew at a third of the lease
    /// and stop work at two thirds.
    pub async fn renew(
        &self,
        name: &str,
        holder: &str,
        fence: Fence,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        let doing = "renew a lease";
        // After a power cut the process that held it is gone too.
        let mut tx = self.write(Durability::Relaxed, doing).await?;
        let now = tx.clock(now).await.doing(doing)?;
        let done = query(
            "UPDATE leases SET expires_ms = $4 WHERE name = $1 AND holder = $2 AND fence = $3 AND expires_ms >= $5",
        )
        .bind(name)
        .bind(holder)
        .bind(signed(fence.0))
        .bind(ms(until(now, ttl)))
        .bind(ms(now))
        .execute(&mut tx)
        .await
        .doing(doing)?;
        tx.commit().await.doing(doing)?;
        Ok(done == 1)
    }

    /// Who has which lease now, by the lease's name.
    pub async fn lease_holders(
        &self,
        now: Timestamp,
    ) -> Result<BTreeMap<String, String>, StoreError> {
        let doing = "look who holds the leases";
        let mut tx = self.pools.snapshot(doing).await?;
        let now = tx.clock(now).await.doing(doing)?;
        let held: Vec<(String, String)> =
            query("SELECT name, holder FROM leases WHERE expires_ms >= $1 AND holder <> ''")
                .bind(ms(now))
                .fetch_all(&mut tx)
                .await
                .doing(doing)?;
        Ok(held.into_iter().collect())
    }

    /// Gives back whatever leases a holder has.
    pub(super) async fn release_leases(&self, holder: &str) -> Result<(), StoreError> {
        let doing = "give the leases back";
        let mut tx = self.write(Durability::Relaxed, doing).await?;
        query("UPDATE leases SET expires_ms = 0, holder = '' WHERE holder = $1")
            .bind(holder)
            .execute(&mut tx)
            .await
            .doing(doing)?;
        tx.commit().await.doing(doing)
    }

    /// Gives a lease back whatever its fence is, as long as it is the holder's.
    pub async fn give_up_lease(&self, name: &str, holder: &str) -> Result<(), StoreError> {
        let doing = "give a lease back";
        let mut tx = self.write(Durability::Relaxed, doing).await?;
        query("UPDATE leases SET expires_ms = 0, holder = '' WHERE name = $1 AND holder = $2")
            .bind(name)
            .bind(holder)
            .execute(&mut tx)
            .await
            .doing(doing)?;
        news::told(&mut tx, Topic::Again).await?;
        tx.commit().await.doing(doing)
    }

    /// Gives a lease back, so that the next holder need not wait; one that passed on already is left alone.
    pub async fn release_lease(
        &self,
        name: &str,
        holder: &str,
        fence: Fence,
    ) -> Result<(), StoreError> {
        let doing = "give a lease back";
        let mut tx = self.write(Durability::Relaxed, doing).await?;
        query(
            "UPDATE leases SET expires_ms = 0, holder = '' WHERE name = $1 AND holder = $2 AND fence = $3",
        )
        .bind(name)
        .bind(holder)
        .bind(signed(fence.0))
        .execute(&mut tx)
        .await
        .doing(doing)?;
        tx.commit().await.doing(doing)
    }
}

fn until(now: Timestamp, ttl: Duration) -> Timestamp {
    SignedDuration::try_from(ttl)
        .ok()
        .and_then(|ttl| now.checked_add(ttl).ok())
        .unwrap_or(Timestamp::MAX)
}

/// Refuses a write under a fence that a newer holder has passed. Inside the write's transaction, so that nothing comes between.
pub(super) async fn guard(tx: &mut Tx, group: &GroupName, fence: Fence) -> Result<(), StoreError> {
    let lease = Store::group_lease(group);
    let current: Option<i64> = query("SELECT fence FROM leases WHERE name = $1")
        .bind(&lease)
        .find(tx)
        .await
        .doing("check a lease")?;
    let current = Fence(current.map_or(Ok(0), number)?);
    if current > fence {
        return Err(StoreError::Fenced {
            lease,
            ours: fence,
            current,
        });
    }
    Ok(())
}
