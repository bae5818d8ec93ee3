//! News between processes that share a store: a word that somebody else's loop has a reason to look. It may be lost; polling is the truth.

use std::time::Duration;

use sqlx::postgres::PgListener;

use super::engine::{Doing as _, Pools, Tx, query};
use super::{Durability, Store, StoreError};

/// What there is to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// The main branch, on the forge.
    Main,
    Proposals,
    /// What people say on proposals.
    Remarks,
    /// A run has ended: statuses follow from it.
    Runs,
    /// A person wants another try.
    Again,
    /// A delivery is owed.
    Outbox,
}

const ALL: [Topic; 6] = [
    Topic::Main,
    Topic::Proposals,
    Topic::Remarks,
    Topic::Runs,
    Topic::Again,
    Topic::Outbox,
];

/// The channel that a database's replicas listen on.
const CHANNEL: &str = "lockstep";

/// How long a lost connection to the database rests.
const REST: Duration = Duration::from_secs(2);

impl Topic {
    fn word(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Proposals => "proposals",
            Self::Remarks => "remarks",
            Self::Runs => "runs",
            Self::Again => "again",
            Self::Outbox => "outbox",
        }
    }
}

/// What other processes say. Where a store has one process alone there is never any.
pub struct News {
    store: Store,
    listener: Option<PgListener>,
}

impl Store {
    /// Listens to what is said from now on.
    pub fn listen(&self) -> News {
        News {
            store: self.clone(),
            listener: None,
        }
    }

    /// Says that there is something to look at, to all processes, this one too.
    pub async fn tell(&self, topic: Topic) -> Result<(), StoreError> {
        if !self.is_shared() {
            return Ok(());
        }
        let doing = "tell the other replicas";
        let mut tx = self.write(Durability::Relaxed, doing).await?;
        told(&mut tx, topic).await?;
        tx.commit().await.doing(doing)
    }
}

/// Says it once the transaction is committed.
pub(super) async fn told(tx: &mut Tx, topic: Topic) -> Result<(), StoreError> {
    if let Tx::Sqlite(_) = tx {
        return Ok(());
    }
    query("SELECT pg_notify($1, $2)")
        .bind(CHANNEL)
        .bind(topic.word())
        .execute(tx)
        .await
        .doing("tell the other replicas")
        .map(drop)
}

impl News {
    /// Waits for the next word. `None`: the connection was lost, so anything may have been said.
    pub async fn next(&mut self) -> Option<Topic> {
        let Pools::Postgres(pools) = &self.store.pools else {
            return std::future::pending().await;
        };
        loop {
            let Some(listener) = &mut self.listener else {
                match pools.listener(CHANNEL).await {
                    // What was said before is not known.
                    Ok(listener) => {
                        self.listener = Some(listener);
                        return None;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "other replicas are not heard; polling goes on");
                        tokio::time::sleep(REST).await;
                        continue;
                    }
                }
            };
            match listener.try_recv().await {
                Ok(Some(said)) => {
                    // A newer version may have more to say.
                    let topic = ALL.into_iter().find(|t| t.word() == said.payload());
                    if topic.is_some() {
                        return topic;
                    }
                }
                Ok(None) => return None,
                Err(_) => self.listener = None,
            }
        }
    }
}
