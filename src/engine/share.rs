//! Sharing the groups with other replicas on one store.
//!
//! Each says by the database's clock that it lives. Who lives is known to all, and by that which replica a group is for: the one whose name
//! and the group's give the highest hash and that has room for it, so that each has its part, one that comes takes its own from all others, and
//! one that goes leaves it to them. That only says who should ask; the lease says who may.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::source::Head;
use super::{Engine, EngineError};
use crate::ids::{Digest, Fence, GroupName, Revision};

/// What this replica knew of itself and the others when it said last that it lives.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// All that live, this one too, by name.
    peers: Vec<String>,
    /// The leases that were prolonged.
    kept: BTreeMap<String, Fence>,
    /// Until then they need not be asked about.
    kept_until: Option<Instant>,
    /// The groups that are for this replica, at a revision.
    ours: Option<(Revision, BTreeSet<GroupName>)>,
}

/// Which groups are for a replica: for each group in order the one with the highest hash of those that have not got their share. The same
/// everywhere, where the same replicas are known to live.
fn share_of<'a>(
    replica: &str,
    peers: &[String],
    groups: impl ExactSizeIterator<Item = &'a GroupName>,
) -> BTreeSet<GroupName> {
    let room = groups.len().div_ceil(peers.len().max(1));
    let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ours = BTreeSet::new();
    for group in groups {
        let weight = |peer: &str| Digest::of(format!("{peer}\n{group}").as_bytes());
        let has_room = |peer: &&String| taken.get(peer.as_str()).copied().unwrap_or(0) < room;
        let best = peers
            .iter()
            .filter(has_room)
            .max_by_key(|peer| weight(peer));
        let Some(best) = best else {
            continue;
        };
        *taken.entry(best).or_default() += 1;
        if best == replica {
            ours.insert(group.clone());
        }
    }
    ours
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
            share.ours = None;
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
    pub(super) fn prefers(&self, group: &GroupName, head: &Head) -> bool {
        let mut share = self.share();
        // One that is not on the list only passes by, and asks for everything.
        if !share.peers.contains(&self.holder) {
            return true;
        }
        let is_known = share
            .ours
            .as_ref()
            .is_some_and(|(at, _)| *at == head.revision);
        if !is_known {
            let groups = head.config.effective_groups();
            let ours = share_of(&self.holder, &share.peers, groups.keys());
            share.ours = Some((head.revision.clone(), ours));
        }
        share
            .ours
            .as_ref()
            .is_some_and(|(_, ours)| ours.contains(group))
    }

    /// Whether a lease was prolonged so lately that nobody else can have it.
    pub(super) fn is_kept(&self, lease: &str, fence: Fence) -> bool {
        let share = self.share();
        share.kept.get(lease) == Some(&fence)
            && share.kept_until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether a lease was prolonged as this replica's when it said last that it lives.
    pub(super) fn keeps(&self, lease: &str) -> bool {
        self.share().kept.contains_key(lease)
    }

    pub(super) fn forget_kept(&self, lease: &str) {
        self.share().kept.remove(lease);
    }

    /// How long a lease that was just taken or prolonged is trusted without another word.
    pub(super) fn trusted(&self) -> Duration {
        match self.store.is_shared() {
            true => self.timing.lease / 3,
            false => self.timing.lease / 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|n| format!("replica-{n}")).collect()
    }

    fn groups(n: usize) -> BTreeSet<GroupName> {
        (0..n).map(|n| format!("g{n}").parse().unwrap()).collect()
    }

    /// Each group has one replica, and no replica has more than its part.
    #[test]
    fn groups_are_shared_out_evenly() {
        for (replicas, all) in [(1, 8), (2, 8), (3, 8), (3, 25), (5, 3), (7, 100)] {
            let (peers, groups) = (names(replicas), groups(all));
            let shares: Vec<_> = peers
                .iter()
                .map(|p| share_of(p, &peers, groups.iter()))
                .collect();
            let together: BTreeSet<GroupName> = shares.iter().flatten().cloned().collect();
            assert_eq!(together, groups, "{replicas} replicas");
            let counts: Vec<usize> = shares.iter().map(BTreeSet::len).collect();
            assert_eq!(counts.iter().sum::<usize>(), all, "{counts:?}");
            assert!(
                counts.iter().all(|c| *c <= all.div_ceil(replicas)),
                "{counts:?}"
            );
        }
    }

    #[test]
    fn one_that_comes_moves_few_groups_besides_its_own() {
        let (three, four, groups) = (names(3), names(4), groups(100));
        let kept: usize = three
            .iter()
            .map(|p| {
                let before = share_of(p, &three, groups.iter());
                let after = share_of(p, &four, groups.iter());
                before.intersection(&after).count()
            })
            .sum();
        assert!(kept >= 50, "only {kept} of 100 stay where they were");
    }
}
