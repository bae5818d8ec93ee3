//! The shelf of a connector whose system has no phases: in a store of its own, as the server keeps it.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use lockstep::connector::ConnectorError;
use lockstep::connector::shelf::{Kept, Put, Shelf};
use lockstep::ids::{Digest, SystemName};
use lockstep::store::{Store, StoreError};

struct OnStore {
    store: Store,
    system: SystemName,
}

/// An empty shelf.
pub(crate) async fn shelf(store: &Path) -> anyhow::Result<Arc<dyn Shelf>> {
    Ok(Arc::new(OnStore {
        store: Store::open(store).await?,
        system: "bench".parse()?,
    }))
}

fn failed(error: StoreError) -> ConnectorError {
    ConnectorError::Terminal {
        message: error.to_string(),
    }
}

#[async_trait]
impl Shelf for OnStore {
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
        let store = &self.store;
        let put = store.put_on_shelf(&self.system, name, over, text).await;
        Ok(put.map_err(failed)?.map_or(Put::Overtaken, Put::Done))
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
