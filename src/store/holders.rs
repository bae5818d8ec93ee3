//! Whether a holder of a lease still lives. Where the store is a file, holders are processes of one host: each locks a small file beside
//! it, and the lock goes with the process however it ends. So what was killed is taken over at once, not when its lease runs out.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::{Store, StoreError};

/// Says that its holder lives, for as long as it is kept. Dropped without [`Store::depart`] the file stays behind unlocked, which says that
/// its holder is gone.
#[derive(Debug)]
pub struct Alive {
    path: PathBuf,
    /// The lock; closing the file lets go of it.
    _file: File,
}

impl Store {
    /// Says that a holder lives, before it takes its first lease. `holder` is a name of our own making: letters, digits and dashes.
    pub fn announce(&self, holder: &str) -> Result<Alive, StoreError> {
        let path = self.holder_file(holder);
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
        Ok(Alive { path, _file: file })
    }

    /// Gives back all leases of a holder that has nothing left to do, so that the next one need not wait.
    pub async fn depart(&self, holder: &str, alive: Alive) -> Result<(), StoreError> {
        self.release_leases(holder).await?;
        // What stays behind is swept later.
        let _ = std::fs::remove_file(&alive.path);
        Ok(())
    }

    /// Whether a holder announced itself and is gone. One that never did may live: its lease runs out by itself.
    pub(super) fn is_gone(&self, holder: &str) -> bool {
        !holder.is_empty() && is_unlocked(&self.holder_file(holder)).unwrap_or(false)
    }

    fn holder_file(&self, holder: &str) -> PathBuf {
        let mut folder = self.path.clone().into_os_string();
        folder.push(".holders");
        PathBuf::from(folder).join(holder)
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
