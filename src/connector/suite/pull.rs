//! `pull` with a client in this process, which has nothing but what a system is served.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;

use super::Rig;
use crate::clock::SystemClock;
use crate::connector::Apply;
use crate::connector::pull::client::{Client, Kept};
use crate::connector::pull::{Counter, PullConnector, PullSettings, STALE_AFTER};
use crate::connector::shelf::MemoryShelf;

pub(super) struct OverPull {
    shelf: MemoryShelf,
    kept: Arc<Mutex<Kept>>,
    client: JoinHandle<()>,
    connector: PullConnector,
}

impl OverPull {
    fn to(shelf: &MemoryShelf) -> PullConnector {
        PullConnector::new(PullSettings {
            system: "voicedrive".parse().unwrap(),
            shelf: Arc::new(shelf.clone()),
            clock: Arc::new(SystemClock),
            stale_after: STALE_AFTER,
            timeout: Duration::from_secs(60),
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the client ends with the test's runtime"
    )]
    async fn over(shelf: MemoryShelf, kept: Arc<Mutex<Kept>>) -> Self {
        let counter = Counter::new(Arc::new(shelf.clone()), Arc::new(SystemClock));
        let client = Client::new(counter, kept.clone());
        client.report().await;
        let client = tokio::spawn(async move {
            loop {
                client.turn().await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Self {
            connector: Self::to(&shelf),
            shelf,
            kept,
            client,
        }
    }
}

#[async_trait]
impl Rig for OverPull {
    const EXEMPT: &'static [(&'static str, &'static str)] =
        &[("what_another_hand_changed_is_seen", "seen when it reports")];

    async fn new() -> Option<Self> {
        Some(Self::over(MemoryShelf::default(), Arc::default()).await)
    }

    fn connector(&self) -> &dyn Apply {
        &self.connector
    }

    async fn restart(self) -> Self {
        self.client.abort();
        Self::over(self.shelf, self.kept).await
    }

    fn another(&self) -> Box<dyn Apply> {
        Box::new(Self::to(&self.shelf))
    }
}
