//! A system within the limits that `lockstep.yaml` gives it, whatever its connector: how many calls at once and a minute, how long one may take, how
//! much one reads, and how long it is left in peace after it has failed several times in a row.
//!
//! What a limit keeps from being asked is `Transient`: the engine waits and tries again, as for a system that is out of reach.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{
    Apply, Capabilities, Changeset, ConnectorError, Observe, Prepared, Reason, Receipt, Seen,
};
use crate::config::calls::{Breaker, CallLimits};
use crate::ids::{ChangesetId, Digest, Fence, ResourceRef};
use crate::plan::Change;
use crate::state::Item;
use crate::system_api::AuditAnswer;

#[cfg(test)]
mod tests;

/// A connector within limits.
pub(super) struct Limited {
    inner: Box<dyn Apply>,
    limits: CallLimits,
    at_once: Option<Semaphore>,
    turns: Mutex<Turns>,
    circuit: Mutex<Circuit>,
}

/// What is known of how the system answers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Circuit {
    /// Failures in a row.
    failures: u32,
    /// Until when it is left in peace.
    open_until: Option<Instant>,
}

impl Circuit {
    /// How long it is still left in peace. When that is over one call is let through, and decides; all others wait for what it says, or for as
    /// long again where it says nothing.
    fn enter(&mut self, pause: Duration, now: Instant) -> Option<Duration> {
        let until = self.open_until?;
        if until > now {
            return Some(until - now);
        }
        self.open_until = Some(now + pause);
        None
    }

    fn heard(&mut self, breaker: Breaker, failed: bool, now: Instant) {
        if !failed {
            *self = Self::default();
            return;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures >= breaker.failures.get() {
            self.open_until = Some(now + breaker.pause);
        }
    }
}

/// Calls one after the other, evenly.
#[derive(Debug, Default)]
struct Turns {
    /// When the next may go out.
    next: Option<Instant>,
}

impl Turns {
    /// When a call that comes now may go out.
    fn take(&mut self, per_minute: u32, now: Instant) -> Instant {
        let due = self.next.map_or(now, |due| due.max(now));
        self.next = Some(due + Duration::from_secs(60) / per_minute.max(1));
        due
    }
}

impl Limited {
    /// The connector as it is where nothing is limited.
    pub(super) fn within(limits: &CallLimits, inner: Box<dyn Apply>) -> Box<dyn Apply> {
        if *limits == CallLimits::default() {
            return inner;
        }
        let permits = limits.concurrency.map(|n| n.get() as usize);
        Box::new(Self {
            inner,
            limits: limits.clone(),
            at_once: permits.map(|n| Semaphore::new(n.min(Semaphore::MAX_PERMITS))),
            turns: Mutex::default(),
            circuit: Mutex::default(),
        })
    }

    /// Waits for the call's turn.
    async fn turn(&self) {
        let Some(rate) = self.limits.per_minute else {
            return;
        };
        let due = self
            .turns
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(rate.get(), Instant::now());
        tokio::time::sleep_until(due).await;
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, ConnectorError>> + Send,
    ) -> Result<T, ConnectorError> {
        if let Some(breaker) = self.limits.breaker {
            let mut circuit = self.circuit.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(remaining) = circuit.enter(breaker.pause, Instant::now()) {
                return Err(ConnectorError::Transient {
                    message: format!(
                        "it failed {} times in a row and is left in peace for another {} s",
                        circuit.failures,
                        remaining.as_secs() + 1
                    ),
                });
            }
        }
        self.ask(call).await
    }

    /// What was begun is ended, also on a system that is left in peace: a group waits for it.
    async fn ask<T>(
        &self,
        call: impl Future<Output = Result<T, ConnectorError>> + Send,
    ) -> Result<T, ConnectorError> {
        let _permit = match &self.at_once {
            Some(at_once) => at_once.acquire().await.ok(),
            None => None,
        };
        self.turn().await;
        let answer = match self.limits.timeout {
            None => call.await,
            Some(timeout) => tokio::time::timeout(timeout, call).await.unwrap_or_else(|_| {
                Err(ConnectorError::Transient {
                    message: format!(
                        "it did not answer within {} ms, which is the `timeout` of its `limits`",
                        timeout.as_millis()
                    ),
                })
            }),
        };
        if let Some(breaker) = self.limits.breaker {
            let failed = matches!(answer, Err(ConnectorError::Transient { .. }));
            self.circuit
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .heard(breaker, failed, Instant::now());
        }
        answer
    }
}

#[async_trait]
impl Observe for Limited {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn digests(&self, known: Option<Digest>) -> Result<Seen, ConnectorError> {
        self.call(self.inner.digests(known)).await
    }

    async fn items(&self, buckets: &[u8]) -> Result<Vec<Arc<Item>>, ConnectorError> {
        let most = self
            .limits
            .batch
            .map_or(buckets.len(), |n| n.get() as usize);
        let mut all = Vec::new();
        for part in buckets.chunks(most.max(1)) {
            all.extend(self.call(self.inner.items(part)).await?);
        }
        Ok(all)
    }

    async fn marks(
        &self,
        ids: &[ResourceRef],
    ) -> Result<BTreeMap<ResourceRef, String>, ConnectorError> {
        self.call(self.inner.marks(ids)).await
    }

    async fn unfit(&self, changes: &[Change]) -> Result<Vec<Reason>, ConnectorError> {
        self.call(self.inner.unfit(changes)).await
    }

    // It says, and is not asked.
    async fn changed(&self) {
        self.inner.changed().await;
    }

    async fn audit(
        &self,
        span: (Timestamp, Timestamp),
        cursor: Option<&str>,
    ) -> Result<AuditAnswer, ConnectorError> {
        self.call(self.inner.audit(span, cursor)).await
    }
}

#[async_trait]
impl Apply for Limited {
    async fn prepare(&self, changeset: &Changeset) -> Result<Prepared, ConnectorError> {
        self.call(self.inner.prepare(changeset)).await
    }

    async fn commit(&self, id: &ChangesetId, fence: Fence) -> Result<Receipt, ConnectorError> {
        self.ask(self.inner.commit(id, fence)).await
    }

    async fn abort(&self, id: &ChangesetId, fence: Fence) -> Result<(), ConnectorError> {
        self.ask(self.inner.abort(id, fence)).await
    }
}
