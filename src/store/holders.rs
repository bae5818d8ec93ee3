//! Whether a holder of a lease still lives, and who else shares the store.
//!
//! Where the store is a file, holders are processes of one host: each locks a small file beside it, and the lock goes with the process however it
//! ends. So what was killed is taken over at once, not when its lease runs out. On a server holders are replicas, which say by its clock that they live.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::engine::{Doing as _, HOLDERS, beside, query};
use super::values::{ms, number};
use super::{Durability, Store, StoreError};
use crate::ids::Fence;

/// Says that its holder lives, for as long as it is kept. Dropped without [`Store::depart`] the file stays behind unlocked, which says that
/// its holder is gone.
#[derive(Debug)]
pub struct Alive {
    /// The file and the lock on it; closing it lets go of it.
    file: Option<(PathBuf, File)>,
}

impl Store {
    /// Says that a holder lives, before it takes its first lease. `holder` is a name of our own making: letters, digits and dashes.
    pub fn announce(&self, holder: &str) -> Result<Alive, StoreError> {
        // Replicas say so over and over; who only passes by is not to be given groups.
        let Some(path) = self.holder_file(holder) else {
            return Ok(Alive { file: None });
        };
        let failed = |source| StoreError::Folder {
            path: path.clone(),
            source,
        };
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).map_err(failed)?;
        sweep(folder);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(Alive {
            file: Some((path, file)),
        })
    }

    /// Gives back all leases of a holder that has nothing left to do, so that the next one need not wait.
    pub async fn depart(&self, holder: &str, alive: Alive) -> Result<(), StoreError> {
        self.release_leases(holder).await?;
        match alive.file {
            // What stays behind is swept later.
            Some((path, _lock)) => drop(std::fs::remove_file(path)),
            None => self.unlist(holder).await?,
        }
        Ok(())
    }

    /// Gives back all that a replica holds and takes it off the list.
    pub async fn leave(&self, holder: &str) -> Result<(), StoreError> {
        self.release_leases(holder).await?;
        self.unlist(holder).await
    }

    /// Whether several processes may work on this store at a time.
    pub fn is_shared(&self) -> bool {
        self.file().is_none()
    }

    /// Says that a replica lives, and prolongs all leases that it still has. Gives those back, by name. Cheap: after a power cut it says so again.
    pub async fn keep(
        &self,
        holder: &str,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<BTreeMap<String, Fence>, StoreError> {
        let doing = "say that this replica lives";
        let mut tx = self.write(Durability::Relaxed, doing).await?;
        let now = tx.clock(now).await.doing(doing)?;
        query(
            "INSERT INTO replicas (holder, since_ms, seen_ms) VALUES ($1, $2, $2) \
             ON CONFLICT (holder) DO UPDATE SET seen_ms = excluded.seen_ms",
        )
        .bind(holder)
        .bind(ms(now))
        .execute(&mut tx)
        .await
        .doing(doing)?;
        // Long gone: their leases have run out many times over.
        query("DELETE FROM replicas WHERE seen_ms < $1")
            .bind(ms(now) - 24 * 60 * 60 * 1000)
            .execute(&mut tx)
            .await
            .doing(doing)?;
        let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let kept: Vec<(String, i64)> = query(
            "UPDATE leases SET expires_ms = $3 WHERE holder = $1 AND expires_ms >= $2 RETURNING name, fence",
        )
        .bind(holder)
        .bind(ms(now))
        .bind(ms(now).saturating_add(ttl))
        .fetch_all(&mut tx)
        .await
        .doing(doing)?;
        tx.commit().await.doing(doing)?;
        kept.into_iter()
            .map(|(name, fence)| Ok((name, Fence(number(fence)?))))
            .collect()
    }

    /// The replicas that have said within `ttl` that they live, by name.
    pub async fn replicas(&self, now: Timestamp, ttl: Duration) -> Result<Vec<String>, StoreError> {
        let doing = "look which replicas live";
        let mut tx = self.pools.snapshot(doing).await?;
        let now = tx.clock(now).await.doing(doing)?;
        let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        query("SELECT holder FROM replicas WHERE seen_ms >= $1 ORDER BY holder")
            .bind(ms(now).saturating_sub(ttl))
            .list(&mut tx)
            .await
            .doing(doing)
    }

    async fn unlist(&self, holder: &str) -> Result<(), StoreError> {
        let doing = "take this replica off the list";
        let mut tx = self.write(Durability::Relaxed, doing).await?;
        query("DELETE FROM replicas WHERE holder = $1")
            .bind(holder)
            .execute(&mut tx)
            .await
            .doing(doing)?;
        tx.commit().await.doing(doing)
    }

    /// Whether a holder announced itself and is gone. One that never did may live: its lease runs out by itself.
    pub(super) fn is_gone(&self, holder: &str) -> bool {
        let file = self.holder_file(holder).filter(|_| !holder.is_empty());
        file.is_some_and(|file| is_unlocked(&file).unwrap_or(false))
    }

    fn holder_file(&self, holder: &str) -> Option<PathBuf> {
        Some(beside(self.file()?, HOLDERS).join(holder))
    }
}

fn is_unlocked(path: &Path) -> io::Result<bool> {
    match File::open(path)?.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Removes what dead holders left, once it is old: a younger one may still be asked about, or be about to be locked.
fn sweep(folder: &Path) {
    const OLD: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let old = entry
            .metadata()
            .and_then(|m| m.modified())
            .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > OLD));
        if old && is_unlocked(&entry.path()).unwrap_or(false) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
