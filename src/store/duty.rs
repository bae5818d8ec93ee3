//! What one replica does for all: writing statuses and comments, following remarks, sending what is owed.

use std::time::Duration;

use jiff::Timestamp;

use super::{Store, StoreError};

/// Something that is done by one process at a time. Not fenced: what is done twice after a pause is put right by the next look.
#[derive(Debug, Clone)]
pub struct Duty {
    store: Store,
    /// The lease.
    name: &'static str,
    holder: String,
    lease: Duration,
}

impl Duty {
    /// Statuses, comments and proposals on the forge.
    pub const FORGE: &'static str = "duty/forge";
    /// What the outbox owes.
    pub const OUTBOX: &'static str = "duty/outbox";

    pub fn new(store: Store, name: &'static str, holder: String, lease: Duration) -> Self {
        Self {
            store,
            name,
            holder,
            lease,
        }
    }

    /// Whether it is this process's: takes it where nobody has it. Asked before each round.
    pub async fn is_ours(&self, now: Timestamp) -> Result<bool, StoreError> {
        if !self.store.is_shared() {
            return Ok(true);
        }
        let held = self
            .store
            .acquire(self.name, &self.holder, now, self.lease)
            .await?;
        Ok(held.is_some())
    }

    /// How long it may lie with nobody.
    pub fn lease(&self) -> Duration {
        self.lease
    }
}
