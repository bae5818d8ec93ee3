//! Which process keeps a store's groups in step. Leases let any number of processes take turns; a second reconciler that nobody meant to
//! start is told so at once, by whom and since when.
//!
//! The claim is a lock on a small file beside the store. The kernel lets go of it with the process, however that ends, so what a dead one
//! wrote into the file keeps nobody out.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use super::engine::beside;
use super::{Store, StoreError};

/// How much of the file is read: a process id and a time.
const LONGEST: u64 = 200;

/// Whoever looks whether the lock is free has it for an instant; a start is not to fail because of that.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(10);

/// Says that this process alone keeps the store's groups in step, for as long as it is kept.
#[derive(Debug)]
pub struct Claim {
    /// The lock; closing the file lets go of it.
    _file: Option<File>,
}

/// The process that keeps a store's groups in step. What it did not get to write down is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    pub process: Option<u32>,
    pub since: Option<Timestamp>,
}

impl std::fmt::Display for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("lockstep run (")?;
        match self.process {
            Some(process) => write!(f, "process {process}")?,
            None => f.write_str("another process")?,
        }
        if let Some(since) = self.since {
            write!(f, ", since {since:.0}")?;
        }
        f.write_str(")")
    }
}

impl Store {
    /// Claims the store for this process. An error that names the other one where there is one and it lives. A store on a server is for several
    /// replicas and can't be claimed: leases say who works on which group.
    pub fn claim(&self, now: Timestamp) -> Result<Claim, StoreError> {
        let Some(path) = self.claim_file() else {
            return Ok(Claim { _file: None });
        };
        let failed = |source| StoreError::Folder {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        for attempt in 1.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempt < ATTEMPTS => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::Taken {
                        store: self.place.to_string(),
                        by: read(&path),
                    });
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        let text = format!("{}\n{now}\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(failed)?;
        Ok(Claim { _file: Some(file) })
    }

    /// The process that has claimed the store and lives, if there is one.
    pub fn running(&self) -> Result<Option<Running>, StoreError> {
        let Some(path) = self.claim_file() else {
            return Ok(None);
        };
        let failed = |source| StoreError::Folder {
            path: path.clone(),
            source,
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(read(&path))),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// None on a server: replicas share it on purpose.
    fn claim_file(&self) -> Option<PathBuf> {
        Some(beside(self.file()?, ".running"))
    }
}

/// What the one who has the lock wrote down.
fn read(path: &Path) -> Running {
    let mut text = String::new();
    let told = File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    let mut lines = text.lines();
    let mut next = || told.is_ok().then(|| lines.next()).flatten();
    Running {
        process: next().and_then(|line| line.parse().ok()),
        since: next().and_then(|line| line.parse().ok()),
    }
}
