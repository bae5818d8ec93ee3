//! The `file` connector: a system whose state is one JSON file that other programs read.
//!
//! The file is replaced as a whole by a rename, so a reader sees the old state or the new one and nothing between. What is prepared
//! waits in a folder beside it, and survives a restart; `docs/connectors.md` says what lies where. The path comes from the config
//! repo, which a proposal may change, so it can't leave the folder that the server's own settings give (`[files] root`).
//!
//! Everything that touches the disk is blocking and runs off the async threads.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::{
    Apply, Capabilities, Changeset, ConnectorError, Observe, Prepared, Receipt, Seen, Staging,
};
use crate::ids::{ChangesetId, Digest, Fence, SystemName};
use crate::state::Item;

mod content;
mod desk;
mod kept;
mod place;

#[cfg(test)]
mod tests;

use content::Content;
use desk::Desk;
pub use place::{FilePath, FilePathError};
use place::{Found, Place};

/// What the connector is made of.
#[derive(Debug, Clone)]
pub struct FileSettings {
    /// The system, for messages; a file belongs to one system.
    pub system: SystemName,
    /// The folder that all files of this server lie in.
    pub root: PathBuf,
    /// The file, inside the root.
    pub path: FilePath,
}

/// A connected system that is a file.
pub struct FileConnector {
    disk: Arc<Disk>,
}

/// The blocking half.
struct Disk {
    settings: FileSettings,
    /// The content last read, by the digest of its bytes: an unchanged file is read but not parsed again.
    last: Mutex<Option<(Digest, Arc<Content>)>>,
    /// The state whose digests were answered last: what the next listing must still be of.
    announced: Mutex<Option<Digest>>,
}

impl FileConnector {
    pub fn new(settings: FileSettings) -> Self {
        Self {
            disk: Arc::new(Disk {
                settings,
                last: Mutex::new(None),
                announced: Mutex::new(None),
            }),
        }
    }

    async fn with_disk<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Disk) -> Result<T, ConnectorError> + Send + 'static,
    ) -> Result<T, ConnectorError> {
        let disk = self.disk.clone();
        let named = self.disk.clone();
        // A caller that goes away does not stop what is under way: it ends, under its lock.
        match tokio::task::spawn_blocking(move || act(&disk)).await {
            Ok(done) => done.map_err(|error| named.named(error)),
            Err(_) => Err(ConnectorError::Transient {
                message: "the server is stopping".to_owned(),
            }),
        }
    }
}

impl Disk {
    /// The error with the system and its file in front: what is below knows neither.
    fn named(&self, error: ConnectorError) -> ConnectorError {
        let FileSettings { system, path, .. } = &self.settings;
        error.map_message(|message| format!("{system} ({path}): {message}"))
    }

    fn place(&self) -> Result<Place, ConnectorError> {
        Place::find(&self.settings.root, &self.settings.path)
    }

    /// What the file holds; `None` where there is none.
    fn read(&self, place: &Place) -> Result<Option<Arc<Content>>, ConnectorError> {
        let Found::File(bytes) = place.read()? else {
            return Ok(None);
        };
        let key = Digest::of(&bytes);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, content)) = last.as_ref().filter(|(known, _)| *known == key) {
            return Ok(Some(content.clone()));
        }
        let content = Arc::new(Content::parse(&bytes)?);
        *last = Some((key, content.clone()));
        Ok(Some(content))
    }

    fn has_been_read(&self) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some()
    }

    /// What the system holds. No file is the empty state only where there never was one: a file that is gone is a loss, not a wish.
    fn observe(&self) -> Result<Arc<Content>, ConnectorError> {
        let place = self.place()?;
        if let Some(content) = self.read(&place)? {
            return Ok(content);
        }
        let journal = kept::journal(&place, &self.settings.system)?;
        if self.has_been_read() || journal.is_some_and(|j| j.existed) {
            return Err(lost(&place));
        }
        Ok(Arc::default())
    }

    fn announce(&self, digest: Option<Digest>) {
        *self
            .announced
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = digest;
    }

    fn announced(&self) -> Option<Digest> {
        *self
            .announced
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn digests(&self, known: Option<Digest>) -> Result<Seen, ConnectorError> {
        let content = self.observe()?;
        let digest = content.state.digest();
        self.announce(Some(digest));
        if known == Some(digest) {
            return Ok(Seen::Unchanged);
        }
        Ok(Seen::Digests {
            revision: content.revision.clone(),
            digest,
            buckets: content.state.bucket_digests(),
        })
    }

    fn items(&self, buckets: &BTreeSet<u8>) -> Result<Vec<Arc<Item>>, ConnectorError> {
        let content = self.observe()?;
        let digest = content.state.digest();
        if let Some(announced) = self.announced().filter(|a| *a != digest) {
            self.announce(None);
            return Err(ConnectorError::Stale {
                message: format!(
                    "its state went from {} to {} while it was being read",
                    announced.short(),
                    digest.short()
                ),
            });
        }
        let wanted = content.state.buckets().iter().zip(0_u8..=255);
        Ok(wanted
            .filter(|(_, index)| buckets.contains(index))
            .flat_map(|(bucket, _)| bucket.items().iter().cloned())
            .collect())
    }

    /// Takes the lock, reads what there is, and finishes what a crash left half done. What is `new` has to come from whoever the file is of.
    fn desk(&self, fence: Fence, new: Option<&Changeset>) -> Result<Desk, ConnectorError> {
        let place = self.place()?;
        let lock = place.lock()?;
        let system = &self.settings.system;
        let journal = kept::journal(&place, system)?;
        // Before the fence, which counts something else at another Lockstep.
        if let (Some(journal), Some(new)) = (&journal, new) {
            let release = format!(
                "delete the folder {} to give the file to another",
                place.beside_name()
            );
            journal.judge_sender(new, "the file", &release)?;
        }
        let content = self.read(&place)?;
        Desk::open(place, lock, system, journal, content, fence)
    }
}

/// The error for a file that was there once.
fn lost(place: &Place) -> ConnectorError {
    ConnectorError::Terminal {
        message: format!(
            "the file is gone, which is not the same as an empty one: restore it, or, if it is meant to begin anew, delete the \
             folder {} too",
            place.beside_name()
        ),
    }
}

#[async_trait]
impl Observe for FileConnector {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            staging: Staging::Native,
            digest: true,
            audit: false,
        }
    }

    async fn digests(&self, known: Option<Digest>) -> Result<Seen, ConnectorError> {
        self.with_disk(move |disk| disk.digests(known)).await
    }

    async fn items(&self, buckets: &[u8]) -> Result<Vec<Arc<Item>>, ConnectorError> {
        let buckets: BTreeSet<u8> = buckets.iter().copied().collect();
        if buckets.is_empty() {
            return Ok(Vec::new());
        }
        self.with_disk(move |disk| disk.items(&buckets)).await
    }
}

#[async_trait]
impl Apply for FileConnector {
    async fn prepare(&self, changeset: &Changeset) -> Result<Prepared, ConnectorError> {
        let changeset = changeset.clone();
        self.with_disk(move |disk| {
            let desk = disk.desk(changeset.fence, Some(&changeset))?;
            desk.done(|desk| desk.prepare(&changeset))
        })
        .await
    }

    async fn commit(&self, id: &ChangesetId, fence: Fence) -> Result<Receipt, ConnectorError> {
        let id = id.clone();
        self.with_disk(move |disk| disk.desk(fence, None)?.done(|desk| desk.commit(&id)))
            .await
    }

    async fn abort(&self, id: &ChangesetId, fence: Fence) -> Result<(), ConnectorError> {
        let id = id.clone();
        self.with_disk(move |disk| disk.desk(fence, None)?.done(|desk| desk.abort(&id)))
            .await
    }
}
