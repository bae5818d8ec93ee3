//! Sharing the groups with other replicas on one store.
//!
//! Each says by the database's clock that it lives. Who lives is known to all, and by that which replica a group is for: the one whose name
//! and the group's give the highest hash, so that a replica that comes takes its part from all others, and one that goes leaves it to them.
//! Preference only says who should ask; the lease says who may.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Engine, EngineError};
use crate::ids::{Digest, Fence, GroupName};

/// What this replica knew of itself and the others when it said last that it lives.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// All that live, this one too, by name.
    peers: Vec<String>,
    /// The leases that were prolonged.
    kept: BTreeMap<String, Fence>,
    /// Until then they need not be asked about.
    kept_until: Option<Instant>,
}

/// Says over and over that this replica lives, and looks who else does.
pub(super) struct Keeper {
    engine: Arc<Engine>,
    /// Changes when others come or go.
    changed: watch::Sender<u64>,
}

impl Keeper {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            changed: watch::channel(0).0,
        }
    }

    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Until it is dropped. Where the store has one process there is nothing to do.
    pub(super) async fn keep(&self) {
        if !self.engine.store.is_shared() {
            std::future::pending::<()>().await;
        }
        let mut is_lost = false;
        loop {
            let kept = self.once().await;
            match &kept {
                Ok(()) => {}
                Err(error) if !is_lost => tracing::warn!(
                    error = error as &dyn std::error::Error,
                    "this replica can't say that it lives; its groups go to others when their leases run out"
                ),
                Err(_) => {}
            }
            is_lost = kept.is_err();
            tokio::time::sleep(self.engine.timing.lease / 3).await;
        }
    }

    /// Says so once.
    pub(super) async fn once(&self) -> Result<(), EngineError> {
        let engine = &*self.engine;
        if !engine.store.is_shared() {
            return Ok(());
        }
        let (asked, ttl) = (Instant::now(), engine.timing.lease);
        let now = engine.clock.now();
        let kept = engine.store.keep(&engine.holder, now, ttl).await?;
        let peers = engine.store.replicas(now, ttl).await?;
        let mut share = engine.share();
        share.kept = kept;
        share.kept_until = Some(asked + ttl / 3 * 2);
        if share.peers != peers {
            tracing::info!(replicas = peers.len(), "replicas that share the groups");
            share.peers = peers;
            self.changed.send_modify(|n| *n += 1);
        }
        Ok(())
    }
}

impl Engine {
    fn share(&self) -> std::sync::MutexGuard<'_, Share> {
        self.share.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the group is for this replica, as far as it knows.
    pub(super) fn prefers(&self, group: &GroupName) -> bool {
        let share = self.share();
        let weight = |replica: &str| Digest::of(format!("{replica}\n{group}").as_bytes());
        let ours = weight(&self.holder);
        // One that is not on the list only passes by, and asks for everything.
        !share.peers.contains(&self.holder) || share.peers.iter().all(|p| weight(p) <= ours)
    }

    /// Whether a lease was prolonged so lately that nobody else can have it.
    pub(super) fn is_kept(&self, lease: &str, fence: Fence) -> bool {
        let share = self.share();
        share.kept.get(lease) == Some(&fence)
            && share.kept_until.is_some_and(|until| Instant::now() < until)
    }

    /// How long a lease that was just taken or prolonged is trusted without another word.
    pub(super) fn trusted(&self) -> Duration {
        match self.store.is_shared() {
            true => self.timing.lease / 3,
            false => self.timing.lease / 2,
        }
    }
}
