//! The `postgres` connector: a system whose state is rows, in tables that it has already or in one of Lockstep's own.
//!
//! What is prepared is one open transaction in which everything is written and checked, so committing is COMMIT; where the server keeps
//! prepared transactions, it is one of those. Beside it the changeset is kept in Lockstep's own schema, with the journal: whatever becomes of
//! the transaction, what was decided can be done. `docs/connectors.md` says what lies where.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use url::Url;

use super::journal::{Due, stale};
use super::{
    Apply, Capabilities, Changeset, ConnectorError, Observe, Prepared, Receipt, Seen, Staging,
};
use crate::config::connectors::postgres::{Ident, Mapping};
use crate::ids::{ChangesetId, Digest, Fence, KindName, SystemName};
use crate::state::Item;

mod desk;
mod hold;
mod holders;
mod news;
mod read;
mod server;
mod shape;
mod sql;

#[cfg(test)]
mod tests;

use desk::Desk;
use hold::{Ground, Hold, Staged};
use read::{View, view};
use server::{Doing as _, Pool, SNAPSHOT};
use shape::Shape;

/// What the connector is made of.
#[derive(Debug, Clone)]
pub struct PostgresSettings {
    /// The system, for messages; a schema belongs to one system.
    pub system: SystemName,
    pub url: Url,
    /// A password, or `user:password`.
    pub credential: Option<SecretString>,
    /// Of Lockstep's own: the journal, and the table for kinds that are not mapped.
    pub schema: Ident,
    pub tables: BTreeMap<KindName, Mapping>,
    /// The kinds that the system is declared for; rows of others are none of Lockstep's.
    pub kinds: BTreeSet<KindName>,
    /// Whether mapped tables get a trigger that says when they change.
    pub notify: bool,
    pub connect_timeout: Duration,
    pub timeout: Duration,
}

/// A connected system that is a database.
pub struct PostgresConnector {
    settings: PostgresSettings,
    pool: Pool,
    /// The tables as they were found, once all of them are there.
    shape: Mutex<Option<Arc<Shape>>>,
    /// What was read last: a hint that saves reading, compared with what the server says each time.
    last: Mutex<Option<Arc<View>>>,
    /// What the digests answered last were of: what the next listing must still be of.
    announced: Mutex<Option<Arc<View>>>,
    /// The changeset that can be committed at once. One request that changes something at a time.
    hold: tokio::sync::Mutex<Option<Hold>>,
    ear: news::Ear,
    /// Whether it was looked after that the tables tell when they change.
    has_bells: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PostgresConnector {
    pub fn new(settings: PostgresSettings) -> Result<Self, String> {
        let pool = server::pool(&settings, server::options(&settings)?);
        Ok(Self {
            settings,
            pool,
            shape: Mutex::new(None),
            last: Mutex::new(None),
            announced: Mutex::new(None),
            hold: tokio::sync::Mutex::new(None),
            ear: news::Ear::default(),
            has_bells: AtomicBool::new(false),
        })
    }

    /// The error with the system in front: what is below does not know it.
    fn named(&self, error: ConnectorError) -> ConnectorError {
        let system = &self.settings.system;
        error.map_message(|message| format!("{system} (postgres): {message}"))
    }

    /// The tables, looked at once. Those that are not all there yet are looked at again each time.
    async fn shape(&self, on: &mut sqlx::PgConnection) -> Result<Arc<Shape>, ConnectorError> {
        if let Some(shape) = locked(&self.shape).clone() {
            return Ok(shape);
        }
        let shape = Arc::new(Shape::find(on, &self.settings).await?);
        *locked(&self.last) = None;
        if shape.has_books {
            *locked(&self.shape) = Some(shape.clone());
        }
        Ok(shape)
    }

    /// The tables, with the schema of Lockstep's own made if it is not there.
    async fn ready(&self) -> Result<Arc<Shape>, ConnectorError> {
        let doing = "reach the database";
        let schema = &self.settings.schema;
        let mut tx = self.pool.begin().await.doing(doing)?;
        let mut shape = self.shape(&mut tx).await?;
        if !shape.has_books {
            // Of those that come at the same time one makes it.
            sqlx::query("SELECT pg_advisory_xact_lock($1)")
                .bind(i64::from(hold::number(schema.as_str())))
                .execute(&mut *tx)
                .await
                .doing(doing)?;
            shape::make_books(&mut tx, schema).await?;
            tx.commit().await.doing("make the schema")?;
            tx = self.pool.begin().await.doing(doing)?;
            shape = self.shape(&mut tx).await?;
        }
        if !self.has_bells.load(Ordering::Relaxed) {
            news::hang_bells(&mut tx, &self.settings, &shape).await?;
            tx.commit().await.doing("make the triggers")?;
            self.has_bells.store(true, Ordering::Relaxed);
        }
        Ok(shape)
    }

    /// What the tables hold at one moment, and the revision that they were brought to.
    async fn look(&self) -> Result<(Arc<View>, Option<crate::ids::Revision>), ConnectorError> {
        let doing = "reach the database";
        let mut tx = self.pool.begin_with(SNAPSHOT).await.doing(doing)?;
        let shape = self.shape(&mut tx).await?;
        let known = locked(&self.last).clone();
        let seen = view(&mut tx, &shape, known.as_ref()).await;
        if matches!(seen, Err(ConnectorError::Terminal { .. })) {
            // A table may have been made anew.
            *locked(&self.shape) = None;
        }
        let seen = seen?;
        let revision = match shape.has_books {
            true => desk::revision(&mut tx, &self.settings.schema).await?,
            false => None,
        };
        tx.rollback().await.doing("end the reading")?;
        *locked(&self.last) = Some(seen.clone());
        Ok((seen, revision))
    }

    /// As long as one request may take.
    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, ConnectorError>>,
    ) -> Result<T, ConnectorError> {
        let limit = self.settings.timeout + self.settings.connect_timeout;
        match tokio::time::timeout(limit, work).await {
            Ok(done) => done.map_err(|error| self.named(error)),
            Err(_) => Err(self.named(ConnectorError::Transient {
                message: format!("no answer within {limit:?}"),
            })),
        }
    }

    async fn desk(
        &self,
        shape: &Shape,
        fence: Fence,
        new: Option<&Changeset>,
    ) -> Result<Desk, ConnectorError> {
        let tx = self.pool.begin().await.doing("reach the database")?;
        let PostgresSettings { schema, system, .. } = &self.settings;
        let mut desk = Desk::open(tx, schema, system, (fence, new)).await?;
        if shape.keeps_prepared {
            desk.take_done().await?;
        }
        Ok(desk)
    }

    /// Ends what holds rows for changesets other than one; and what was prepared for such as have ended.
    async fn clear(
        &self,
        shape: &Shape,
        own: &mut Option<Hold>,
        keep: &ChangesetId,
    ) -> Result<(), ConnectorError> {
        if let Some(hold) = own.take_if(|hold| hold.id != *keep)
            && let Some(tx) = hold.open
        {
            // One that can't be rolled back is gone.
            let _ = tx.rollback().await;
        }
        let mut on = self.pool.acquire().await.doing("reach the database")?;
        let schema = &self.settings.schema;
        let pid = holders::backend(own.as_mut()).await;
        holders::end_open(&mut on, schema, pid).await?;
        if shape.keeps_prepared {
            holders::end_prepared(&mut on, schema, |id| id != keep.as_str()).await?;
        }
        Ok(())
    }

    async fn stage(&self, changeset: &Changeset) -> Result<Prepared, ConnectorError> {
        let shape = self.ready().await?;
        let mut own = self.hold.lock().await;
        let mut desk = self.desk(&shape, changeset.fence, Some(changeset)).await?;
        // On which state it was planned is judged where the rows are locked.
        let known = desk.journal.prepare(changeset, changeset.base);
        if let Ok(None) = known {
            desk.stage(changeset).await?;
        }
        let is_staged = desk.journal.staged().any(|e| e.id == changeset.id);
        self.clear(&shape, &mut own, &changeset.id).await?;
        desk.close().await?;
        let known = known?;
        if !is_staged || self.is_held(&shape, &mut own, &changeset.id).await? {
            return Ok(known.unwrap_or(Prepared { repeated: false }));
        }
        let ground = Ground {
            pool: &self.pool,
            shape: &shape,
            schema: &self.settings.schema,
            known: locked(&self.last).clone(),
        };
        match Hold::take(&ground, changeset).await {
            Ok(hold) => {
                *own = Some(hold);
                Ok(known.unwrap_or(Prepared { repeated: false }))
            }
            Err(error) => {
                if known.is_none() {
                    self.unstage(&shape, changeset).await;
                }
                Err(error)
            }
        }
    }

    /// Whether a changeset can be committed at once.
    async fn is_held(
        &self,
        shape: &Shape,
        own: &mut Option<Hold>,
        id: &ChangesetId,
    ) -> Result<bool, ConnectorError> {
        if let Some(hold) = own.as_mut().filter(|hold| hold.id == *id)
            && let Some(tx) = hold.open.as_mut()
        {
            let lives = sqlx::query("SELECT 1").execute(&mut **tx).await.is_ok();
            if !lives {
                *own = None;
            }
            return Ok(lives);
        }
        if !shape.keeps_prepared {
            return Ok(false);
        }
        let mut on = self.pool.acquire().await.doing("reach the database")?;
        holders::is_prepared(&mut on, &self.settings.schema, id).await
    }

    /// Takes back that a changeset is staged, which nobody was told. Where that fails it is found staged again, and judged again.
    async fn unstage(&self, shape: &Shape, changeset: &Changeset) {
        let forgotten = async {
            let mut desk = self.desk(shape, changeset.fence, None).await?;
            desk.forget(&changeset.id);
            desk.close().await
        };
        if let Err(error) = forgotten.await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the refused changeset is still staged"
            );
        }
    }

    async fn finish(&self, id: &ChangesetId, fence: Fence) -> Result<Receipt, ConnectorError> {
        let shape = self.ready().await?;
        let mut own = self.hold.lock().await;
        let mut hold = own.take_if(|hold| hold.id == *id);
        let open = hold.as_mut().and_then(|hold| hold.open.take());
        let after = hold.map(|hold| hold.after);
        if let Some(tx) = open {
            match self.commit_open(tx, id, fence).await {
                Ok(receipt) => {
                    *locked(&self.last) = after;
                    return Ok(receipt);
                }
                Err(error @ (ConnectorError::Fenced { .. } | ConnectorError::Refused { .. })) => {
                    return Err(error);
                }
                // The transaction is gone, or it is not known how it ended: the journal says.
                Err(error) => tracing::info!(
                    error = &error as &dyn std::error::Error,
                    "the open transaction is lost; its changes are made again"
                ),
            }
        }
        let mut desk = self.desk(&shape, fence, None).await?;
        match desk.journal.commit(id) {
            Ok(Due::Now(_)) => {}
            Ok(Due::Done(receipt)) => return desk.close().await.map(|()| receipt),
            Err(error) => return desk.close().await.and(Err(error)),
        }
        if shape.keeps_prepared && self.commit_prepared(id).await? {
            desk.take_done().await?;
            let done = desk.journal.commit(id)?;
            desk.close().await?;
            if after.is_some() {
                *locked(&self.last) = after;
            }
            return match done {
                Due::Done(receipt) => Ok(receipt),
                Due::Now(_) => Err(ConnectorError::Transient {
                    message: "the prepared transaction has left no word".to_owned(),
                }),
            };
        }
        self.do_again(desk, &shape, id).await
    }

    /// Commits the open transaction: the changes, and the word of them in the journal, at once.
    async fn commit_open(
        &self,
        tx: server::Transaction,
        id: &ChangesetId,
        fence: Fence,
    ) -> Result<Receipt, ConnectorError> {
        let PostgresSettings { schema, system, .. } = &self.settings;
        let mut desk = Desk::open(tx, schema, system, (fence, None)).await?;
        let Due::Now(entry) = desk.journal.commit(id)? else {
            return Err(stale("it was committed by another".to_owned()));
        };
        let receipt = desk.journal.committed(id, entry.lands)?;
        desk.note_revision(id).await?;
        desk.close().await?;
        Ok(receipt)
    }

    /// Whether there was a prepared transaction; it is committed then.
    async fn commit_prepared(&self, id: &ChangesetId) -> Result<bool, ConnectorError> {
        let mut on = self.pool.acquire().await.doing("reach the database")?;
        holders::commit_prepared(&mut on, &self.settings.schema, id).await
    }

    /// Makes the staged changes in the transaction that has the journal's lock. What was decided happens, also where somebody has changed
    /// rows since; what others wrote elsewhere stays.
    async fn do_again(
        &self,
        mut desk: Desk,
        shape: &Shape,
        id: &ChangesetId,
    ) -> Result<Receipt, ConnectorError> {
        let schema = &self.settings.schema;
        sqlx::query("SELECT set_config('lockstep.quiet', 'on', true)")
            .execute(&mut *desk.tx)
            .await
            .doing("write the changes")?;
        holders::end_open(&mut desk.tx, schema, None).await?;
        let staged = Staged {
            shape,
            schema,
            id,
            way: sql::Way::Again,
        };
        staged.carry_out(&mut desk.tx).await?;
        let known = locked(&self.last).clone();
        let after = view(&mut desk.tx, shape, known.as_ref()).await?;
        let receipt = desk.journal.committed(id, Some(after.state.digest()))?;
        desk.note_revision(id).await?;
        desk.close().await?;
        *locked(&self.last) = Some(after);
        Ok(receipt)
    }

    async fn drop_staged(&self, id: &ChangesetId, fence: Fence) -> Result<(), ConnectorError> {
        let shape = self.ready().await?;
        let mut own = self.hold.lock().await;
        let mut desk = self.desk(&shape, fence, None).await?;
        let answer = desk.journal.abort(id);
        if answer.is_ok() {
            if let Some(hold) = own.take_if(|hold| hold.id == *id)
                && let Some(tx) = hold.open
            {
                let _ = tx.rollback().await;
            }
            let mut on = self.pool.acquire().await.doing("reach the database")?;
            let schema = &self.settings.schema;
            holders::end_open_of(&mut on, schema, id).await?;
            if shape.keeps_prepared {
                // Before the journal says so: nobody may find it aborted and commit it after that.
                holders::end_prepared(&mut on, schema, |prepared| prepared == id.as_str()).await?;
            }
        }
        desk.close().await?;
        answer
    }
}

#[async_trait]
impl Observe for PostgresConnector {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            staging: Staging::Native,
            digest: true,
            audit: false,
        }
    }

    async fn digests(&self, known: Option<Digest>) -> Result<Seen, ConnectorError> {
        let (seen, revision) = self.in_time(self.look()).await?;
        let digest = seen.state.digest();
        let buckets = seen.state.bucket_digests();
        *locked(&self.announced) = Some(seen);
        if known == Some(digest) {
            return Ok(Seen::Unchanged);
        }
        Ok(Seen::Digests {
            revision,
            digest,
            buckets,
        })
    }

    async fn items(&self, buckets: &[u8]) -> Result<Vec<Arc<Item>>, ConnectorError> {
        let buckets: BTreeSet<u8> = buckets.iter().copied().collect();
        if buckets.is_empty() {
            return Ok(Vec::new());
        }
        let (seen, _) = self.in_time(self.look()).await?;
        let digest = seen.state.digest();
        let announced = locked(&self.announced).take();
        if let Some(before) = announced.filter(|before| before.state.digest() != digest) {
            return Err(self.named(stale(format!(
                "its state went from {} to {} while it was being read",
                before.state.digest().short(),
                digest.short()
            ))));
        }
        *locked(&self.announced) = Some(seen.clone());
        let wanted = seen.state.buckets().iter().zip(0_u8..=255);
        Ok(wanted
            .filter(|(_, index)| buckets.contains(index))
            .flat_map(|(bucket, _)| bucket.items().iter().cloned())
            .collect())
    }

    async fn changed(&self) {
        self.ear.hears(&self.settings).await;
    }
}

#[async_trait]
impl Apply for PostgresConnector {
    async fn prepare(&self, changeset: &Changeset) -> Result<Prepared, ConnectorError> {
        self.stage(changeset).await.map_err(|e| self.named(e))
    }

    async fn commit(&self, id: &ChangesetId, fence: Fence) -> Result<Receipt, ConnectorError> {
        self.finish(id, fence).await.map_err(|e| self.named(e))
    }

    async fn abort(&self, id: &ChangesetId, fence: Fence) -> Result<(), ConnectorError> {
        self.drop_staged(id, fence).await.map_err(|e| self.named(e))
    }
}
