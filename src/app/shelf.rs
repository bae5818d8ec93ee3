//! The store as a connector's shelf: one system's part of it. Here because a connector knows no store, and the store no connectors.

use async_trait::async_trait;
use tokio::sync::watch;

use crate::connector::ConnectorError;
use crate::connector::shelf::{Kept, Put, Shelf};
use crate::ids::{Digest, SystemName};
use crate::store::{Store, StoreError};

/// Rings when this process has put something on any shelf: whoever serves a system that asks looks sooner.
pub(super) type Bell = watch::Sender<u64>;

/// One system's shelf, kept in the store.
#[derive(Debug, Clone)]
pub(super) struct StoreShelf {
    store: Store,
    system: SystemName,
    bell: Bell,
}

impl StoreShelf {
    pub(super) fn new(store: Store, system: SystemName, bell: Bell) -> Self {
        Self {
            store,
            system,
            bell,
        }
    }
}

#[async_trait]
impl Shelf for StoreShelf {
    async fn read(&self, name: &str) -> Result<Option<Kept>, ConnectorError> {
        let kept = self.store.on_shelf(&self.system, name).await;
        let kept = kept.map_err(failed)?;
        Ok(kept.map(|(digest, text)| Kept { digest, text }))
    }

    async fn write(
        &self,
        name: &str,
        over: Option<Digest>,
        text: &str,
    ) -> Result<Put, ConnectorError> {
        if text.contains('\0') {
            return Err(ConnectorError::Terminal {
                message: format!(
                    "{name} of {} holds a zero character, which can't be kept",
                    self.system
                ),
            });
        }
        let store = &self.store;
        let put = store.put_on_shelf(&self.system, name, over, text).await;
        let put = put.map_err(failed)?.map_or(Put::Overtaken, Put::Done);
        self.bell.send_modify(|n| *n += 1);
        Ok(put)
    }

    async fn delete(&self, name: &str) -> Result<(), ConnectorError> {
        let done = self.store.clear_from_shelf(&self.system, name).await;
        done.map_err(failed)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ConnectorError> {
        let names = self.store.shelf_names(&self.system, prefix).await;
        names.map_err(failed)
    }
}

fn failed(error: StoreError) -> ConnectorError {
    let message = error.to_string();
    if error.is_transient() {
        ConnectorError::Transient { message }
    } else {
        ConnectorError::Terminal { message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::shelf::keeps_its_word;

    #[tokio::test]
    async fn the_store_is_a_shelf() {
        let store = Store::temporary().await.unwrap();
        let (bell, heard) = watch::channel(0);
        let of = || StoreShelf::new(store.clone(), "medical".parse().unwrap(), bell.clone());
        let (shelf, other) = (of(), of());
        keeps_its_word(&shelf, &other).await;
        assert!(heard.has_changed().unwrap(), "writing rings");
        // PostgreSQL's text can't hold one, and what is kept comes back as it was or not at all.
        let zero = shelf.write("zero", None, "a\0b").await.unwrap_err();
        assert!(matches!(zero, ConnectorError::Terminal { .. }), "{zero}");
        assert_eq!(shelf.read("zero").await, Ok(None));
    }

    #[test]
    fn what_may_work_later_is_transient() {
        let busy = StoreError::Busy {
            doing: "keep something for a connector",
            source: sqlx::Error::PoolTimedOut,
        };
        assert!(matches!(failed(busy), ConnectorError::Transient { .. }));
        let damaged = StoreError::Damaged {
            what: "a page".to_owned(),
        };
        assert!(matches!(failed(damaged), ConnectorError::Terminal { .. }));
    }
}
