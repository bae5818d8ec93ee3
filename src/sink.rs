//! The port to those who are told what happens. What is sent comes from the outbox and may come twice: its key says so.

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

pub mod webhook;

/// What is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// The same each time that the same is sent.
    pub key: String,
    /// What sort of news: `run.finished`.
    pub topic: String,
    pub at: Timestamp,
    pub body: Value,
}

/// Why a letter did not arrive, and what follows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// It may arrive later. `after`: the receiver says when to try again, in seconds.
    #[error("{message}")]
    Transient { message: String, after: Option<u64> },
    /// The receiver doesn't want this letter, however often it is sent.
    #[error("{message}")]
    Refused { message: String },
    /// The receiver is gone for good.
    #[error("{message}")]
    Gone { message: String },
}

/// Somebody who is told.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Whether it wants news of this sort.
    fn wants(&self, topic: &str) -> bool;

    /// Sends a letter at a moment that it is signed with; arrived when it returns.
    async fn send(&self, letter: &Letter, now: Timestamp) -> Result<(), SinkError>;
}
