//! The engine as the program makes it, with its requests to systems counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lockstep::app::App;
use lockstep::clock::SystemClock;
use lockstep::connector::registry::{self, Timeouts};
use lockstep::connector::{
    Apply, Capabilities, Changeset, ConnectorError, Observe, Prepared, Receipt, Seen,
};
use lockstep::engine::{Engine, Timing};
use lockstep::ids::{ChangesetId, Digest, Fence};
use lockstep::state::Item;

pub(crate) fn counting(app: &App, requests: &Arc<AtomicUsize>) -> anyhow::Result<Engine> {
    let requests = requests.clone();
    let connect: lockstep::engine::Connect = Box::new(move |name, system| {
        let inner = registry::connect(name, system, &|_, _| None, Timeouts::default(), None, None)
            .map_err(|e| e.to_string())?;
        Ok(Arc::new(Counting {
            inner,
            requests: requests.clone(),
        }))
    });
    Ok(Engine::new(
        app.store.clone(),
        app.forge.clone(),
        app.repo.clone(),
        &app.settings.branch,
        Arc::new(SystemClock),
        connect,
        Timing {
            prepare: Duration::from_secs(60),
            commit: Duration::from_secs(60),
            urgent: Duration::from_secs(60),
            lease: Duration::from_secs(30),
        },
        "bench".to_owned(),
        "lockstep/engine".parse()?,
    ))
}

struct Counting {
    inner: Box<dyn Apply>,
    requests: Arc<AtomicUsize>,
}

impl Counting {
    fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Observe for Counting {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    async fn digests(&self, known: Option<Digest>) -> Result<Seen, ConnectorError> {
        self.count();
        self.inner.digests(known).await
    }
    async fn items(&self, buckets: &[u8]) -> Result<Vec<Arc<Item>>, ConnectorError> {
        self.count();
        self.inner.items(buckets).await
    }
}

#[async_trait]
impl Apply for Counting {
    async fn prepare(&self, changeset: &Changeset) -> Result<Prepared, ConnectorError> {
        self.count();
        self.inner.prepare(changeset).await
    }
    async fn commit(&self, id: &ChangesetId, fence: Fence) -> Result<Receipt, ConnectorError> {
        self.count();
        self.inner.commit(id, fence).await
    }
    async fn abort(&self, id: &ChangesetId, fence: Fence) -> Result<(), ConnectorError> {
        self.count();
        self.inner.abort(id, fence).await
    }
}
