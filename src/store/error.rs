//! Why the store did not do what was asked: whose fault it is and what to do.

use std::io;
use std::path::PathBuf;

use super::Running;
use crate::ids::{Fence, RunId};
use crate::state::NotCanonical;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A row that this version can't read.
    #[error("{what} in the store can't be read: {why}; another version wrote it")]
    Unreadable { what: String, why: String },
    /// The file system says no.
    #[error(
        "cannot make the store's folder or file {}: {source}; make it writable or name another place as `store` in lockstep.toml",
        path.display()
    )]
    Folder { path: PathBuf, source: io::Error },
    /// The file is something else.
    #[error(
        "{store} is not a Lockstep store and is left as it is; name another place as `store` in lockstep.toml"
    )]
    Foreign { store: String },
    /// The program is older than the store.
    #[error(
        "the store {store} is of a newer Lockstep (schema {found}; this program knows up to {known}); use the newer program"
    )]
    Newer {
        store: String,
        found: i64,
        known: i64,
    },
    /// There was a store here, and now there is nothing: to go on would be to forget what was decided and who owns what.
    #[error(
        "the store {store} is empty, and was not before: was it deleted, or is its disk not there? Bring a backup back with \
         `lockstep store migrate --from BACKUP`; where it is meant so, `lockstep store migrate --begin-anew`"
    )]
    Emptied { store: String },
    /// A copy would be mixed up with what is there.
    #[error(
        "{store} is in use: only a store in which nothing has happened yet can take another one in"
    )]
    Used { store: String },
    /// A location for an engine that is not built in. Only the scheme is repeated: the rest may hold a password.
    #[error(
        "{scheme}: is no store this build can open; give a path, sqlite:PATH or postgres://USER@HOST/DATABASE"
    )]
    Unsupported { scheme: String },
    /// A URL that can't be read. It is not repeated: it may hold a password.
    #[error("the store's address can't be read; it is written postgres://USER@HOST:PORT/DATABASE")]
    Address,
    /// The database server can't be reached, went away, or ended a transaction that stood still. It may work later.
    #[error(
        "the store's database can't be reached (could not {doing}): {source}; nothing is applied until it can"
    )]
    Away {
        doing: &'static str,
        source: sqlx::Error,
    },
    /// The database server does not let us in, or lets us do too little.
    #[error(
        "the store's database refuses: {source}; check user, password, database and the rights on its schema"
    )]
    Denied { source: sqlx::Error },
    /// Another process has the write lock, or all connections are in use. It may work later.
    #[error(
        "the store was busy for too long (could not {doing}): {source}; it is worth trying again"
    )]
    Busy {
        doing: &'static str,
        source: sqlx::Error,
    },
    /// The disk is full, failing or read-only.
    #[error(
        "the store's disk failed (could not {doing}): {source}; check space, permissions and the disk"
    )]
    Disk {
        doing: &'static str,
        source: sqlx::Error,
    },
    /// What is in the store can't be what Lockstep wrote.
    #[error("the store is damaged ({what}); stop, keep a copy of it, and restore a backup")]
    Damaged { what: String },
    /// A fault in Lockstep itself.
    #[error(
        "the store refused to {doing}: {source}; this is a fault in Lockstep, please report it"
    )]
    Refused {
        doing: &'static str,
        source: sqlx::Error,
    },
    /// Another process has said that it alone works on this store, and lives.
    #[error(
        "{by} works on the store {store} already, and two would only wait for each other; stop that one, or name another file as \
         `store` in lockstep.toml"
    )]
    Taken { store: String, by: Running },
    /// A newer holder of the group's lease has been here: this process must stop writing for it.
    #[error(
        "the lease {lease:?} has passed to another process (its fence is {}, ours {}); this one must stop",
        current.0, ours.0
    )]
    Fenced {
        lease: String,
        ours: Fence,
        current: Fence,
    },
    /// A record that would contradict one that is durable. A fault in Lockstep, stopped before it did harm.
    #[error("run {run}: {why}; this is a fault in Lockstep, please report it")]
    Contradiction { run: RunId, why: String },
    /// The body of a ledger entry can't be hashed.
    #[error("a ledger entry cannot be recorded: {0}")]
    NotCanonical(#[from] NotCanonical),
}

impl StoreError {
    /// Whether the same call may work later without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Busy { .. } | Self::Away { .. } => true,
            Self::Unreadable { .. }
            | Self::Folder { .. }
            | Self::Foreign { .. }
            | Self::Newer { .. }
            | Self::Unsupported { .. }
            | Self::Address
            | Self::Used { .. }
            | Self::Emptied { .. }
            | Self::Denied { .. }
            | Self::Disk { .. }
            | Self::Damaged { .. }
            | Self::Refused { .. }
            | Self::Taken { .. }
            | Self::Fenced { .. }
            | Self::Contradiction { .. }
            | Self::NotCanonical(_) => false,
        }
    }
}
