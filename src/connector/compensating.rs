//! Two phases for a system that has none: what a connector to one that can only be read and written, one resource at a time, is wrapped in.
//!
//! Prepare checks a changeset against what is there now and keeps, on the [`Shelf`], what each resource was and is to become. Commit writes
//! change by change and remembers how far it came: after a crash it goes on there, and where the system will not have a change, what was written
//! is put back as it was. So users of the system see changes one after another and not all at once; [`Staging::Compensating`] says so.
//!
//! A system seldom has a place for every field of a spec. What it has for a resource is a *form*: JSON that only its [`Plain`] understands. A
//! spec whose form does not say everything is kept on the shelf with the form's digest, and is what stands there for as long as the form does.
//! Where somebody makes another form of it, the fields that no form has a place for stay as they were.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::shelf::Shelf;
use super::{
    Apply, Capabilities, Changeset, ConnectorError, Observe, Prepared, Reason, Receipt, Seen,
    Staging, named,
};
use crate::ids::{ChangesetId, Digest, Fence, ResourceRef, SystemName};
use crate::plan::Change;
use crate::state::{Item, Spec, State};

mod desk;
mod kept;

#[cfg(test)]
mod tests;

use desk::Desk;
use kept::{Head, Kept};

/// A system without phases. What it has for each resource is told as a state whose specs are forms.
#[async_trait]
pub(super) trait Plain: Send + Sync + 'static {
    /// What holds the resources, for messages: `the project default`.
    fn what(&self) -> &str;

    /// Everything that is there: complete, or an error. The same `Arc` as before says that nothing has changed.
    async fn read(&self) -> Result<Arc<State>, ConnectorError>;

    /// The form of a resource, under the mark of the config repo that it comes from; or why the system can have none like it.
    fn form(&self, item: &Item, owner: Option<&str>) -> Result<Spec, String>;

    /// The spec that a form says, as far as it says one. Two forms that mean different things have different specs.
    fn spec(&self, id: &ResourceRef, form: &Spec) -> Spec;

    /// Whether forms have a place for this field of a spec.
    fn has_place(&self, field: &str) -> bool;

    /// What speaks against the changes beside their forms: names that are taken, resources of others. Writes nothing.
    async fn check(
        &self,
        changeset: &Changeset,
        live: &State,
    ) -> Result<Vec<Reason>, ConnectorError>;

    /// Which config repo owns a resource, where its form says so.
    fn mark(&self, _form: &Spec) -> Option<String> {
        None
    }

    /// Which changes it can't take while all others can go without them: [`Observe::unfit`]. `was_made` says what stood there once by our doing.
    async fn unfit(
        &self,
        _changes: &[Change],
        _was_made: &WasMade<'_>,
    ) -> Result<Vec<Reason>, ConnectorError> {
        Ok(Vec::new())
    }

    /// Brings resources to their forms, and each once more where that was done before. None depends on another.
    async fn write(&self, steps: &[Step]) -> Result<(), ConnectorError>;

    /// Whether what is made comes before what goes away; otherwise it is the other way round, as plans have it.
    fn adds_first(&self) -> bool {
        false
    }

    /// How many resources are written between two notes of how far it came.
    fn batch(&self) -> usize {
        64
    }
}

/// Whether a resource stood there once by our doing.
pub(super) type WasMade<'a> = dyn Fn(&ResourceRef) -> bool + Sync + 'a;

/// A resource and the form that it is to have; none is to be gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) id: ResourceRef,
    pub(super) to: Option<Spec>,
}

/// A connector made of a plain system and a shelf.
pub(super) struct Compensating<P> {
    system: SystemName,
    plain: P,
    shelf: Arc<dyn Shelf>,
    /// One request that writes at a time, which is what its waiting is for. Other processes are kept off by the lease and by the shelf.
    turn: tokio::sync::Mutex<()>,
    /// What was seen last, and as of what: put together anew only where something has changed.
    last: Mutex<Option<Arc<Look>>>,
    /// The state whose digests were answered last: what the next listing must still be of.
    announced: Mutex<Option<Digest>>,
}

/// What was seen of the system and of the shelf.
struct Look {
    live: Arc<State>,
    head: Head,
    kept: Arc<Kept>,
    state: State,
}

impl<P: Plain> Compensating<P> {
    pub(super) fn new(system: SystemName, plain: P, shelf: Arc<dyn Shelf>) -> Self {
        Self {
            system,
            plain,
            shelf,
            turn: tokio::sync::Mutex::new(()),
            last: Mutex::new(None),
            announced: Mutex::new(None),
        }
    }

    /// What the system holds: its forms, and the specs of those that stand for more than they say.
    async fn look(&self) -> Result<Arc<Look>, ConnectorError> {
        let head = Head::read(&*self.shelf).await?;
        let live = self.plain.read().await?;
        let last = self.last();
        let same_head = last.as_ref().filter(|l| l.head == head);
        if let Some(last) = same_head.filter(|l| Arc::ptr_eq(&l.live, &live)) {
            return Ok(last.clone());
        }
        let kept = match same_head {
            Some(last) => last.kept.clone(),
            None => Arc::new(Kept::read(&*self.shelf).await?),
        };
        let stands =
            |form: &Arc<Item>| Arc::new(Item::new(form.id.clone(), kept.spec(form, &self.plain)));
        let look = Arc::new(Look {
            state: live.items().map(stands).collect(),
            live,
            head,
            kept,
        });
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(look.clone());
        Ok(look)
    }

    fn last(&self) -> Option<Arc<Look>> {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn announce(&self, digest: Option<Digest>) -> Option<Digest> {
        let mut announced = self
            .announced
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut announced, digest)
    }

    /// The error with the system in front: what is below does not know its name.
    fn named(&self, error: ConnectorError) -> ConnectorError {
        named(error, self.system.as_str())
    }

    async fn seen(&self, known: Option<Digest>) -> Result<Seen, ConnectorError> {
        let look = self.look().await?;
        let digest = look.state.digest();
        self.announce(Some(digest));
        if known == Some(digest) {
            return Ok(Seen::Unchanged);
        }
        Ok(Seen::Digests {
            revision: look.head.revision.clone(),
            digest,
            buckets: look.state.bucket_digests(),
        })
    }

    async fn listed(&self, buckets: &BTreeSet<u8>) -> Result<Vec<Arc<Item>>, ConnectorError> {
        let look = self.look().await?;
        let digest = look.state.digest();
        if let Some(announced) = self.announce(Some(digest)).filter(|a| *a != digest) {
            self.announce(None);
            return Err(ConnectorError::Stale {
                message: format!(
                    "its state went from {} to {} while it was being read",
                    announced.short(),
                    digest.short()
                ),
            });
        }
        let wanted = look.state.buckets().iter().zip(0_u8..=255);
        Ok(wanted
            .filter(|(_, index)| buckets.contains(index))
            .flat_map(|(bucket, _)| bucket.items().iter().cloned())
            .collect())
    }
}

#[async_trait]
impl<P: Plain> Observe for Compensating<P> {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            staging: Staging::Compensating,
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

    async fn unfit(&self, changes: &[Change]) -> Result<Vec<Reason>, ConnectorError> {
        let asked = async {
            let look = self.look().await?;
            let was_made = |id: &ResourceRef| look.kept.has(id);
            self.plain.unfit(changes, &was_made).await
        };
        asked.await.map_err(|e| self.named(e))
    }

    async fn marks(
        &self,
        ids: &[ResourceRef],
    ) -> Result<BTreeMap<ResourceRef, String>, ConnectorError> {
        let look = self.look().await.map_err(|e| self.named(e))?;
        let marked = ids.iter().filter_map(|id| {
            let mark = self.plain.mark(&look.live.get(id)?.spec)?;
            Some((id.clone(), mark))
        });
        Ok(marked.collect())
    }
}

#[async_trait]
impl<P: Plain> Apply for Compensating<P> {
    async fn prepare(&self, changeset: &Changeset) -> Result<Prepared, ConnectorError> {
        let _turn = self.turn.lock().await;
        let done = async {
            let mut desk = Desk::open(&*self.shelf, &self.system, changeset.fence).await?;
            let answer = self.prepare_at(&mut desk, changeset).await;
            desk.close().await?;
            answer
        };
        done.await.map_err(|e| self.named(e))
    }

    async fn commit(&self, id: &ChangesetId, fence: Fence) -> Result<Receipt, ConnectorError> {
        let _turn = self.turn.lock().await;
        let done = async {
            let mut desk = Desk::open(&*self.shelf, &self.system, fence).await?;
            let answer = self.commit_at(&mut desk, id).await;
            desk.close().await?;
            answer
        };
        done.await.map_err(|e| self.named(e))
    }

    async fn abort(&self, id: &ChangesetId, fence: Fence) -> Result<(), ConnectorError> {
        let _turn = self.turn.lock().await;
        let done = async {
            let mut desk = Desk::open(&*self.shelf, &self.system, fence).await?;
            let answer = self.abort_at(&mut desk, id).await;
            desk.close().await?;
            answer
        };
        done.await.map_err(|e| self.named(e))
    }
}
