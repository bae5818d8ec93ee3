//! The `pull` connector: a system behind a one-way firewall, which asks and is never asked.
//!
//! What it is to do lies on the [`Shelf`], and so does what it says: every replica may put a changeset there, and the system may come to any
//! of them. Its side of the shelf is the [`Counter`]. Prepare and commit wait for the system's acknowledgement; whoever has waited long enough
//! is told so, asks again, and waits for the same one.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::time::Instant;

use super::journal::{Due, judge};
use super::shelf::Shelf;
use super::{
    Apply, Capabilities, Changeset, ConnectorError, Observe, Prepared, Receipt, Seen, Staging,
    named,
};
use crate::clock::Clock;
use crate::ids::{ChangesetId, Digest, Fence, SystemName};
use crate::state::Item;
use crate::system_api::ChangesetStatus;

mod counter;
mod desk;
mod kept;
mod pages;
pub mod wire;

#[cfg(test)]
pub(super) mod client;
#[cfg(test)]
mod tests;

pub use counter::{Counter, CounterError};
use desk::Desk;
use kept::{Ack, Offer, Phase, Report};
use pages::{Holding, SEEN};

/// What a system that says nothing of it counts as: it reports at least this often.
pub const STALE_AFTER: Duration = Duration::from_secs(5 * 60);

/// How often the shelf is looked at while an acknowledgement is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// What the connector is made of.
pub struct PullSettings {
    pub system: SystemName,
    pub shelf: Arc<dyn Shelf>,
    pub clock: Arc<dyn Clock>,
    /// For how long a report is believed.
    pub stale_after: Duration,
    /// How long one call waits for an acknowledgement.
    pub timeout: Duration,
}

/// A connected system that asks by itself.
pub struct PullConnector {
    settings: PullSettings,
    /// The state whose digests were answered last: what the next listing must still be of.
    announced: Mutex<Option<Digest>>,
}

impl PullConnector {
    pub fn new(settings: PullSettings) -> Self {
        Self {
            settings,
            announced: Mutex::new(None),
        }
    }

    fn shelf(&self) -> &dyn Shelf {
        &*self.settings.shelf
    }

    /// The error with the system in front: what is below does not know its name.
    fn named(&self, error: ConnectorError) -> ConnectorError {
        named(error, self.settings.system.as_str())
    }

    /// What the system reported last, where that can still be believed.
    async fn holding(&self) -> Result<Holding, ConnectorError> {
        let away = |message: String| ConnectorError::Transient { message };
        let Some(report) = Report::read(self.shelf()).await? else {
            return Err(away(
                "has never reported; its client has to PUT its state first".to_owned(),
            ));
        };
        let Report { at, failed, seen } = report.value;
        if self.is_old(at) {
            return Err(away(format!(
                "has not reported since {at}; see that its client runs and reaches this server"
            )));
        }
        if let Some(why) = failed {
            return Err(away(format!("cannot say what it holds: {why}")));
        }
        seen.ok_or_else(|| away("has reported no state yet".to_owned()))
    }

    fn is_old(&self, at: Timestamp) -> bool {
        let age = self.settings.clock.now().duration_since(at);
        Duration::try_from(age).is_ok_and(|age| age > self.settings.stale_after)
    }

    fn announce(&self, digest: Option<Digest>) -> Option<Digest> {
        let mut announced = self
            .announced
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut announced, digest)
    }

    async fn seen(&self, known: Option<Digest>) -> Result<Seen, ConnectorError> {
        let holding = self.holding().await?;
        self.announce(Some(holding.digest));
        if known == Some(holding.digest) {
            return Ok(Seen::Unchanged);
        }
        Ok(Seen::Digests {
            revision: holding.revision,
            digest: holding.digest,
            buckets: holding.buckets,
        })
    }

    async fn listed(&self, buckets: &BTreeSet<u8>) -> Result<Vec<Arc<Item>>, ConnectorError> {
        let holding = self.holding().await?;
        let digest = holding.digest;
        if let Some(before) = self.announce(Some(digest)).filter(|a| *a != digest) {
            self.announce(None);
            return Err(pages::moved(before, digest));
        }
        let read = pages::read(self.shelf(), SEEN, &holding, buckets.iter().copied()).await?;
        let items = read.iter().flat_map(|(_, bucket)| bucket.items());
        Ok(items.cloned().collect())
    }

    async fn prepare_at(
        &self,
        desk: &mut Desk<'_>,
        changeset: &Changeset,
    ) -> Result<Prepared, ConnectorError> {
        // Whatever is said of the changeset, those of older leases end, also where the system is not to be seen.
        let holding = self.holding().await;
        let now = match &holding {
            Ok(holding) => holding.digest,
            Err(_) => changeset.base,
        };
        let id = &changeset.id;
        let repeated = desk.journal.prepare(changeset, now)?;
        let holding = holding?;
        if repeated.is_none() {
            let all = pages::read(self.shelf(), SEEN, &holding, 0..=255).await?;
            judge(changeset, &holding.state(all), "the system")?;
            Offer::make(self.shelf(), changeset).await?;
            desk.journal.stage(changeset);
        }
        desk.save().await?;
        let entry = desk.journal.find(id);
        if entry.is_some_and(|e| e.status == ChangesetStatus::Committed) {
            return Ok(Prepared { repeated: true });
        }
        if repeated.is_none() {
            kept::tell(self.shelf(), Phase::Prepare, id).await?;
        }
        match self.acknowledged(id, Phase::Prepare).await? {
            Ack::Prepared | Ack::Committed { .. } => {
                Ok(repeated.unwrap_or(Prepared { repeated: false }))
            }
            Ack::Refused { message, reasons } => {
                desk.journal.abort(id)?;
                Err(ConnectorError::Refused { message, reasons })
            }
            Ack::OtherBase | Ack::Aborted => {
                desk.journal.abort(id)?;
                Err(super::journal::stale(
                    "its state is another one than the changes were planned on; observe and plan again"
                        .to_owned(),
                ))
            }
        }
    }

    async fn commit_at(
        &self,
        desk: &mut Desk<'_>,
        id: &ChangesetId,
    ) -> Result<Receipt, ConnectorError> {
        match desk.journal.commit(id)? {
            Due::Done(receipt) => return Ok(receipt),
            Due::Now(_) => desk.save().await?,
        }
        if Offer::decide(self.shelf(), id).await? {
            kept::tell(self.shelf(), Phase::Commit, id).await?;
        }
        let Ack::Committed { digest } = self.acknowledged(id, Phase::Commit).await? else {
            return Err(ConnectorError::Terminal {
                message: "acknowledged a commit as something else".to_owned(),
            });
        };
        desk.journal.committed(id, Some(digest))
    }

    async fn abort_at(&self, desk: &mut Desk<'_>, id: &ChangesetId) -> Result<(), ConnectorError> {
        desk.journal.abort(id)?;
        desk.save().await?;
        // Nobody waits for the system to drop it: it is never told to commit.
        if Offer::drop(self.shelf(), id).await? {
            kept::tell(self.shelf(), Phase::Abort, id).await?;
        }
        Ok(())
    }

    /// Waits until the system has acknowledged a phase of a changeset.
    async fn acknowledged(&self, id: &ChangesetId, phase: Phase) -> Result<Ack, ConnectorError> {
        let end = Instant::now() + self.settings.timeout;
        loop {
            let offer = Offer::read(self.shelf(), id).await?;
            let ack = offer.and_then(|offer| offer.value.ack);
            match (ack, phase) {
                (Some(Ack::Prepared), Phase::Commit) | (None, _) => {}
                (Some(ack), _) => return Ok(ack),
            }
            if Instant::now() >= end {
                let what = match phase {
                    Phase::Prepare => "prepared",
                    Phase::Commit => "committed",
                    Phase::Abort => "aborted",
                };
                let waited = self.settings.timeout.as_secs_f32();
                return Err(ConnectorError::Transient {
                    message: format!(
                        "has not acknowledged within {waited} s that it has {what} the changeset"
                    ),
                });
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[async_trait]
impl Observe for PullConnector {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            staging: Staging::Native,
            digest: true,
            audit: false,
        }
    }

    async fn digests(&self, known: Option<Digest>) -> Result<Seen, ConnectorError> {
        self.seen(known).await.map_err(|e| self.named(e))
    }

    async fn items(&self, buckets: &[u8]) -> Result<Vec<Arc<Item>>, ConnectorError> {
        let buckets: BTreeSet<u8> = buckets.iter().copied().collect();
        if buckets.is_empty() {
            return Ok(Vec::new());
        }
        self.listed(&buckets).await.map_err(|e| self.named(e))
    }
}

#[async_trait]
impl Apply for PullConnector {
    async fn prepare(&self, changeset: &Changeset) -> Result<Prepared, ConnectorError> {
        let done = async {
            let mut desk = Desk::open(self.shelf(), &self.settings.system, changeset.fence).await?;
            desk.judge_sender(changeset)?;
            let answer = self.prepare_at(&mut desk, changeset).await;
            desk.close().await?;
            answer
        };
        done.await.map_err(|e| self.named(e))
    }

    async fn commit(&self, id: &ChangesetId, fence: Fence) -> Result<Receipt, ConnectorError> {
        let done = async {
            let mut desk = Desk::open(self.shelf(), &self.settings.system, fence).await?;
            let answer = self.commit_at(&mut desk, id).await;
            desk.close().await?;
            answer
        };
        done.await.map_err(|e| self.named(e))
    }

    async fn abort(&self, id: &ChangesetId, fence: Fence) -> Result<(), ConnectorError> {
        let done = async {
            let mut desk = Desk::open(self.shelf(), &self.settings.system, fence).await?;
            let answer = self.abort_at(&mut desk, id).await;
            desk.close().await?;
            answer
        };
        done.await.map_err(|e| self.named(e))
    }
}
