//! The key that signs checkpoints: in a file that only its owner may read, made on first use.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};

use super::AuditError;
use super::checkpoints::Checkpoints;
use crate::repo::RepoError;
use crate::tlog::SignerKey;

/// A key's file is one line.
const BYTES: u64 = 4_096;

/// The key in a file; `None` where there is no such file.
pub fn find(path: &Path) -> Result<Option<SignerKey>, AuditError> {
    let failed = |source| AuditError::File {
        path: path.display().to_string(),
        source,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
        return Err(AuditError::Open {
            path: path.display().to_string(),
        });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(BYTES).read_to_string(&mut text).map_err(failed)?;
    SignerKey::from_secret(&SecretString::from(text.as_str()))
        .map(Some)
        .map_err(|fault| AuditError::Key {
            path: path.display().to_string(),
            fault,
        })
}

/// The key in a file, made where there is none. Of two that make one at the same time, one wins.
///
/// `notes` are read with the keys that are trusted besides: where they hold only what a key has signed that is not known any more, a second one would
/// begin as if nothing had been signed.
pub fn find_or_make(
    path: &Path,
    origin: &str,
    notes: impl FnOnce() -> Result<Checkpoints, RepoError>,
) -> Result<SignerKey, AuditError> {
    if let Some(key) = find(path)? {
        return Ok(key);
    }
    let notes = notes()?;
    if notes.known.is_empty() && notes.unknown.contains_key(origin) {
        return Err(AuditError::Lost {
            path: path.display().to_string(),
            origin: origin.to_owned(),
        });
    }
    make(path, origin)
}

fn make(path: &Path, origin: &str) -> Result<SignerKey, AuditError> {
    let failed = |source| AuditError::File {
        path: path.display().to_string(),
        source,
    };
    let mut seed = Zeroizing::new([0; 32]);
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut *seed))
        .map_err(failed)?;
    let key = SignerKey::from_seed(origin, &seed).map_err(|fault| AuditError::Key {
        path: path.display().to_string(),
        fault,
    })?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(failed)?;
    // Whole or not at all: half a key would keep the ledger from ever being signed.
    let beside = tempfile::Builder::new()
        .prefix(".key-")
        .make_in(folder, |path| {
            OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
        });
    let mut beside = beside.map_err(failed)?;
    let secret = key.to_secret();
    beside
        .write_all(secret.expose_secret().as_bytes())
        .and_then(|()| beside.write_all(b"\n"))
        .and_then(|()| beside.as_file().sync_all())
        .map_err(failed)?;
    match beside.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error.error)),
    }
    find(path)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
}
