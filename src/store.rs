//! The store: what must outlast the process. Runs and their decisions, the ledger, deliveries owed, leases, and what is known of
//! groups and systems.
//!
//! Two engines are built in, SQLite and PostgreSQL; `store/engine` and the migrations are the only places that know them. Values of the
//! core go in and come out as their types; bodies that only their owner understands (a run, a receipt) are JSON that is not
//! looked into. The store never reads the clock: times come in, and are kept to the millisecond.
//!
//! Every write is one transaction that has the write lock from its start, so reading before writing in it is safe.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

mod check;
mod claim;
mod copy;
mod duty;
mod engine;
mod error;
mod forge;
mod groups;
mod heat;
mod holders;
mod leases;
mod ledger;
mod link;
mod mirror;
mod news;
mod outbox;
mod ownership;
mod reader;
mod recorded;
mod releases;
mod runs;
mod shelf;
mod systems;
mod upgraded;
mod values;

pub use check::Checked;
pub use claim::{Claim, Running};
pub use duty::Duty;
pub use error::StoreError;
pub use forge::SaidRow;
pub use groups::{FailedRevision, FailedUpdate, GroupState, GroupUpdate};
pub use holders::Alive;
pub use ledger::{Chain, Entry, EntryFilter, NewEntry, Order};
pub use link::Link;
pub use mirror::{CHANGES, RECORD, row_digest, rows_digest};
pub use news::{News, Topic};
pub use outbox::{Delivery, NewDelivery};
pub use ownership::{Claims, Owner};
pub use reader::{Columns, Go, LedgerRow, Reader, Window, body_of};

pub use recorded::{FINAL, Standing};
pub use releases::Release;
pub use runs::{Decided, Decision, Finish, Finished, Reach, RunRow, StoredRun};
pub use systems::SystemState;
pub use upgraded::{Older, UPGRADED, counted_digest, counted_of};

#[cfg(test)]
pub(crate) mod tests;

/// A handle on the store; clones share its connections.
#[derive(Debug, Clone)]
pub struct Store {
    pools: engine::Pools,
    place: engine::Place,
    /// Keeps a temporary store's folder for as long as a handle is left.
    _folder: Option<Arc<tempfile::TempDir>>,
}

/// How much a write must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    /// On the disk before the call returns: a power cut does not undo it.
    Full,
    /// Survives the process, perhaps not the power: for what the next pass finds out anyway. Costs no sync.
    Relaxed,
}

impl Store {
    /// Opens the store at a path, `sqlite:` or `postgres:` URL, makes a file where there is none (folders too, for this user only), and brings
    /// its tables up to date. A store that a newer program has written is left as it is.
    pub async fn open(location: impl AsRef<OsStr>) -> Result<Self, StoreError> {
        let place = engine::place(location.as_ref())?;
        Ok(Self {
            pools: engine::open(&place).await?,
            place,
            _folder: None,
        })
    }

    /// The same in the place of a store that was lost: what [`StoreError::Emptied`] refuses until a person says so.
    pub async fn begin_anew(location: impl AsRef<OsStr>) -> Result<Self, StoreError> {
        engine::forget_emptied(&engine::place(location.as_ref())?)?;
        Self::open(location).await
    }

    /// A store in a temporary folder that goes with the last handle: for tests and demonstrations.
    pub async fn temporary() -> Result<Self, StoreError> {
        let folder = tempfile::tempdir().map_err(|source| StoreError::Folder {
            path: std::env::temp_dir(),
            source,
        })?;
        let place = engine::Place::File(folder.path().join("store.db"));
        Ok(Self {
            pools: engine::open(&place).await?,
            place,
            _folder: Some(Arc::new(folder)),
        })
    }

    /// The store's file, where it is one.
    fn file(&self) -> Option<&Path> {
        match &self.place {
            engine::Place::File(path) => Some(path),
            engine::Place::Server(_) => None,
        }
    }

    /// Waits for what is under way and closes the files. Not needed for safety: what was written is written.
    pub async fn close(&self) {
        self.pools.close().await;
    }

    /// Starts a write. `doing` is for the error message: `record a decision`.
    async fn write(
        &self,
        durability: Durability,
        doing: &'static str,
    ) -> Result<engine::Tx, StoreError> {
        self.pools.begin(durability, doing).await
    }

    /// Connections that can only read.
    fn read(&self) -> &engine::Pools {
        &self.pools
    }
}
