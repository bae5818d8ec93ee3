//! The ledger as evidence: who may sign how far it has come, whether it is whole, proofs of it, and what an auditor takes away.
//!
//! Checkpoints lie in the config repo's notes, where whoever owns the store can't rewrite them unseen. Nothing here knows which systems or forge
//! there are; what they have comes in through their ports.

use crate::forge::ForgeError;
use crate::repo::RepoError;
use crate::store::StoreError;
use crate::tlog::KeyFault;

mod beside;
pub mod checkpoints;
pub mod export;
pub mod feed;
pub mod key;
pub mod prove;
mod restored;
pub mod signing;
pub mod verify;

pub use restored::{Lost, Restored, believed, restored};

/// Why the ledger could not be signed, proved or read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Repo(#[from] RepoError),
    #[error("cannot use {path}: {source}")]
    File {
        path: String,
        source: std::io::Error,
    },
    /// The file with the private key, which is not repeated.
    #[error(
        "{path} holds no key to sign with: {fault}; write it anew with another file as [ledger] key, or restore it"
    )]
    Key { path: String, fault: KeyFault },
    #[error(
        "{path} can be read by others on this machine, and whoever has this key can sign for the ledger; `chmod 600` it, or move \
         it away and let a new one be made"
    )]
    Open { path: String },
    /// The key is gone and the notes still hold what it signed. With a new one, nobody could tell whether anything of that was cut off.
    #[error(
        "{path} is not there, and the notes hold checkpoints of {origin} by a key that is not known here: bring that key back, or name \
         its verifier key (`lockstep audit key` printed it) as `trusted` under [ledger] in lockstep.toml, or begin another log with a new \
         name as `origin` there"
    )]
    Lost { path: String, origin: String },
    /// What is in the store is not what was signed before. It is not signed over.
    #[error(
        "the ledger is not signed: {why}; `lockstep audit verify` says more. Restore the store, or keep it for whoever looks into this"
    )]
    Inconsistent { why: String },
    /// The checkpoint is signed and in the notes here, and could not be taken to the forge yet.
    #[error("a checkpoint is not on the forge yet: {0}")]
    Forge(ForgeError),
    /// The output can't be written.
    #[error("cannot write the export: {0}")]
    Output(#[from] std::io::Error),
    #[error("{0}")]
    Missing(String),
    #[error("interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}
