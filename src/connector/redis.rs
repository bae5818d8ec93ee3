//! The `redis` connector: a system that reads hashes under a prefix.
//!
//! What is prepared waits under the prefix, with the journal. A commit is one MULTI/EXEC under WATCH of what it was worked out from, and
//! is worked out again where that has moved: what is seen is the state before or the state after. `docs/connectors.md` says what lies where.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use async_trait::async_trait;
use secrecy::SecretString;
use url::Url;

use super::journal::stale;
use super::{
    Apply, Capabilities, Changeset, ConnectorError, Observe, Prepared, Receipt, Seen, Staging,
};
use crate::ids::{ChangesetId, Digest, Fence, KindName, SystemName};
use crate::state::Item;

mod desk;
mod keys;
mod read;
mod server;

#[cfg(test)]
mod tests;

use desk::Desk;
use keys::Keys;
use read::{View, view};

/// What the connector is made of.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// The system, for messages; a prefix belongs to one system.
    pub system: SystemName,
    pub url: Url,
    /// A password, or `user:password`.
    pub credential: Option<SecretString>,
    pub(in crate::connector) keys: Keys,
    /// Where changes are told of.
    pub(in crate::connector) channel: String,
    /// The kinds that the system is declared for.
    pub kinds: BTreeSet<KindName>,
    pub connect_timeout: Duration,
    pub timeout: Duration,
}

impl RedisSettings {
    /// A system under a prefix; where it is reached, with what and how long it is waited for, is as given.
    pub fn new(system: SystemName, url: Url, prefix: &str, notify: Option<&str>) -> Self {
        let keys = Keys::new(prefix);
        let channel = notify.map_or_else(|| keys.channel(), str::to_owned);
        Self {
            system,
            url,
            credential: None,
            keys,
            channel,
            kinds: BTreeSet::new(),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
        }
    }
}

/// A connected system that is a key-value store.
pub struct RedisConnector {
    settings: RedisSettings,
    /// One request at a time: what a connection watches is the business of one.
    line: tokio::sync::Mutex<Option<MultiplexedConnection>>,
    /// What was read last: a hint that saves reading, compared with what the server says each time.
    last: Mutex<Option<Arc<View>>>,
    /// The state whose digests were answered last: what the next listing must still be of.
    announced: Mutex<Option<Digest>>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RedisConnector {
    pub fn new(settings: RedisSettings) -> Self {
        Self {
            settings,
            line: tokio::sync::Mutex::new(None),
            last: Mutex::new(None),
            announced: Mutex::new(None),
        }
    }

    /// The error with the system in front: what is below does not know it.
    fn named(&self, error: ConnectorError) -> ConnectorError {
        let system = &self.settings.system;
        error.map_message(|message| format!("{system} (redis): {message}"))
    }

    /// The connection, taken from its place: of a request whose caller goes away in the middle nothing is left to the next one.
    async fn line(
        &self,
        place: &mut Option<MultiplexedConnection>,
    ) -> Result<MultiplexedConnection, ConnectorError> {
        match place.take() {
            Some(on) => Ok(on),
            None => {
                let connected = server::connect(&self.settings).await;
                connected.map_err(|error| self.named(error))
            }
        }
    }

    /// Puts the connection back, if all is well with it.
    fn done<T>(
        &self,
        place: &mut Option<MultiplexedConnection>,
        on: MultiplexedConnection,
        answer: Result<T, ConnectorError>,
    ) -> Result<T, ConnectorError> {
        if !matches!(
            answer,
            Err(ConnectorError::Transient { .. } | ConnectorError::Terminal { .. })
        ) {
            *place = Some(on);
        }
        answer.map_err(|error| self.named(error))
    }

    async fn look(&self) -> Result<Arc<View>, ConnectorError> {
        let limit = self.settings.timeout + self.settings.connect_timeout;
        let looking = async {
            let mut place = self.line.lock().await;
            let mut on = self.line(&mut place).await?;
            let known = locked(&self.last).clone();
            let seen = view(&mut on, &self.settings, known.as_ref()).await;
            self.done(&mut place, on, seen)
        };
        let seen = match tokio::time::timeout(limit, looking).await {
            Ok(seen) => seen?,
            Err(_) => {
                return Err(self.named(ConnectorError::Transient {
                    message: format!("no answer within {limit:?}"),
                }));
            }
        };
        *locked(&self.last) = Some(seen.clone());
        Ok(seen)
    }

    fn desk(&self) -> Desk<'_> {
        Desk {
            settings: &self.settings,
            known: locked(&self.last).clone(),
        }
    }
}

#[async_trait]
impl Observe for RedisConnector {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            staging: Staging::Native,
            digest: true,
            audit: false,
        }
    }

    async fn digests(&self, known: Option<Digest>) -> Result<Seen, ConnectorError> {
        let seen = self.look().await?;
        let digest = seen.state.digest();
        *locked(&self.announced) = Some(digest);
        if known == Some(digest) {
            return Ok(Seen::Unchanged);
        }
        Ok(Seen::Digests {
            revision: seen.revision.clone(),
            digest,
            buckets: seen.state.bucket_digests(),
        })
    }

    async fn items(&self, buckets: &[u8]) -> Result<Vec<Arc<Item>>, ConnectorError> {
        let buckets: BTreeSet<u8> = buckets.iter().copied().collect();
        if buckets.is_empty() {
            return Ok(Vec::new());
        }
        let seen = self.look().await?;
        let digest = seen.state.digest();
        let announced = locked(&self.announced).replace(digest);
        if let Some(before) = announced.filter(|before| *before != digest) {
            *locked(&self.announced) = None;
            return Err(self.named(stale(format!(
                "its state went from {} to {} while it was being read",
                before.short(),
                digest.short()
            ))));
        }
        let wanted = seen.state.buckets().iter().zip(0_u8..=255);
        Ok(wanted
            .filter(|(_, index)| buckets.contains(index))
            .flat_map(|(bucket, _)| bucket.items().iter().cloned())
            .collect())
    }
}

#[async_trait]
impl Apply for RedisConnector {
    async fn prepare(&self, changeset: &Changeset) -> Result<Prepared, ConnectorError> {
        let mut place = self.line.lock().await;
        let mut on = self.line(&mut place).await?;
        let answer = self.desk().prepare(&mut on, changeset).await;
        self.done(&mut place, on, answer)
    }

    async fn commit(&self, id: &ChangesetId, fence: Fence) -> Result<Receipt, ConnectorError> {
        let mut place = self.line.lock().await;
        let mut on = self.line(&mut place).await?;
        let answer = self.desk().commit(&mut on, id, fence).await;
        self.done(&mut place, on, answer)
    }

    async fn abort(&self, id: &ChangesetId, fence: Fence) -> Result<(), ConnectorError> {
        let mut place = self.line.lock().await;
        let mut on = self.line(&mut place).await?;
        let answer = self.desk().abort(&mut on, id, fence).await;
        self.done(&mut place, on, answer)
    }
}
