//! Where the file and the folder beside it lie, and how they are read and replaced so that a crash at any moment leaves the old
//! content or the new. Knows nothing of what is in them.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::ConnectorError;
use super::path::{BESIDE, FilePath};
use crate::system_api::BODY_LIMIT;

/// What is at a path.
pub(super) enum Found {
    Nothing,
    File(Vec<u8>),
}

/// How long a lock is waited for. Also one that is free is not so while a process that has just been started still holds what its parent had open.
const PATIENCE: Duration = Duration::from_millis(200);

/// A file's place on this disk, looked at link by link.
pub(super) struct Place {
    folder: PathBuf,
    file: PathBuf,
    beside: PathBuf,
    beside_name: String,
    name: String,
}

/// The lock on a place; given back when dropped, or by the kernel when the process dies.
pub(super) struct Lock {
    _file: File,
}

/// An I/O error with what was being done. What only a person can mend is terminal; a full disk may have room again.
pub(super) fn broken(doing: &str, error: &io::Error) -> ConnectorError {
    let message = format!("{doing}: {error}");
    let terminal = matches!(
        error.kind(),
        ErrorKind::PermissionDenied
            | ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::InvalidInput
            | ErrorKind::InvalidFilename
            | ErrorKind::Unsupported
    );
    if terminal {
        ConnectorError::Terminal { message }
    } else {
        ConnectorError::Transient { message }
    }
}

fn wrong(message: String) -> ConnectorError {
    ConnectorError::Terminal { message }
}

/// What is at a path, a link not followed; `None` for nothing.
fn look(path: &Path) -> Result<Option<Metadata>, ConnectorError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(broken("the file cannot be looked at", &error)),
    }
}

impl Place {
    /// Finds the place, and refuses a path that a symbolic link would lead elsewhere. The folders must be there: a volume that is not
    /// mounted is no empty state.
    pub(super) fn find(root: &Path, path: &FilePath) -> Result<Self, ConnectorError> {
        let mut folder = root.canonicalize().map_err(|e| {
            broken(
                "the server's folder for files (files.root) cannot be used",
                &e,
            )
        })?;
        for part in &path.folders {
            folder.push(part);
            match look(&folder)? {
                Some(metadata) if metadata.is_dir() => {}
                Some(metadata) if metadata.is_symlink() => {
                    return Err(wrong(format!(
                        "{part} is a symbolic link; they are not followed, since they may lead out of the server's folder for files"
                    )));
                }
                Some(_) => return Err(wrong(format!("{part} is no folder"))),
                None => {
                    return Err(wrong(format!(
                        "there is no folder {part}; make it, or mount what it is on"
                    )));
                }
            }
        }
        let beside_name = format!(".{}{BESIDE}", path.name);
        let place = Self {
            file: folder.join(&path.name),
            beside: folder.join(&beside_name),
            beside_name,
            name: path.name.clone(),
            folder,
        };
        if look(&place.beside)?.is_some_and(|m| !m.is_dir()) {
            return Err(wrong(format!("{} is no folder", place.beside_name)));
        }
        place.metadata()?;
        Ok(place)
    }

    /// The staging folder's name, for messages.
    pub(super) fn beside_name(&self) -> &str {
        &self.beside_name
    }

    /// The file's name in its folder.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The file's metadata, if there is one.
    fn metadata(&self) -> Result<Option<Metadata>, ConnectorError> {
        regular(&self.file)
    }

    pub(super) fn read(&self) -> Result<Found, ConnectorError> {
        read_regular(&self.file)
    }

    /// A file beside the one that the place is of, in the same folder.
    pub(super) fn read_at(&self, name: &str) -> Result<Found, ConnectorError> {
        read_regular(&self.folder.join(name))
    }

    /// The names of what lies in the file's folder, so far as they are text.
    pub(super) fn names(&self) -> Result<Vec<String>, ConnectorError> {
        names_in(&self.folder)
    }

    /// One of the folder's own files.
    pub(super) fn read_beside(&self, name: &str) -> Result<Found, ConnectorError> {
        read(&self.beside.join(name))
    }

    pub(super) fn has_beside(&self, name: &str) -> Result<bool, ConnectorError> {
        Ok(look(&self.beside.join(name))?.is_some())
    }

    /// Takes the lock, making the folder where there is none. Does not wait for long: whoever has it is soon done, and we are asked again.
    pub(super) fn lock(&self) -> Result<Lock, ConnectorError> {
        let failed = |e: io::Error| broken("the folder for staged changesets cannot be used", &e);
        if look(&self.beside)?.is_none() {
            make_private(&self.beside).map_err(failed)?;
            sync_folder(&self.folder).map_err(failed)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.beside.join("lock"))
            .map_err(failed)?;
        let until = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(PATIENCE / 20);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(ConnectorError::Transient {
                        message: "is being changed by another process or request; try again"
                            .to_owned(),
                    });
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }

    /// Replaces one of the folder's own files, durably.
    pub(super) fn replace_beside(&self, name: &str, bytes: &[u8]) -> Result<(), ConnectorError> {
        self.write_beside(name, bytes, None)
    }

    /// Writes what a commit will put in a file's place, with that file's owner and mode.
    pub(super) fn stage(
        &self,
        name: &str,
        bytes: &[u8],
        target: &str,
    ) -> Result<(), ConnectorError> {
        let like = regular(&self.folder.join(target))?;
        self.write_beside(name, bytes, like.as_ref())
    }

    fn write_beside(
        &self,
        name: &str,
        bytes: &[u8],
        like: Option<&Metadata>,
    ) -> Result<(), ConnectorError> {
        let failed = |e: io::Error| broken("staging cannot be written", &e);
        let temporary = self.beside.join("temporary");
        // One may lie there from a crash; only the holder of the lock writes here.
        remove(&temporary).map_err(failed)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .map_err(failed)?;
        file.write_all(bytes).map_err(failed)?;
        if let Some(like) = like {
            keep(&file, like)?;
        }
        file.sync_all().map_err(failed)?;
        fs::rename(&temporary, self.beside.join(name)).map_err(failed)?;
        sync_folder(&self.beside).map_err(failed)
    }

    /// Puts what was staged in a file's place: the moment of the commit.
    pub(super) fn put(&self, name: &str, target: &str) -> Result<(), ConnectorError> {
        let failed = |e: io::Error| broken("the file cannot be replaced", &e);
        let (staged, target) = (self.beside.join(name), self.folder.join(target));
        // Owner and mode may have been changed since it was staged.
        if let Some(like) = regular(&target)? {
            let file = File::open(&staged).map_err(failed)?;
            keep(&file, &like)?;
        }
        fs::rename(&staged, &target).map_err(failed)?;
        sync_folder(&self.folder).map_err(failed)?;
        sync_folder(&self.beside).map_err(failed)
    }

    /// Removes one of the folder's own files, if it is there.
    pub(super) fn remove_beside(&self, name: &str) -> Result<(), ConnectorError> {
        remove(&self.beside.join(name)).map_err(|e| broken("staging cannot be written", &e))
    }

    /// The names of the staging folder's files.
    pub(super) fn names_beside(&self) -> Result<Vec<String>, ConnectorError> {
        names_in(&self.beside)
    }

    /// Removes the folder's files that nothing needs any more: leftovers of a crash, or of what has ended.
    pub(super) fn sweep(&self, needed: impl Fn(&str) -> bool) -> Result<(), ConnectorError> {
        let failed = |e: io::Error| broken("the folder for staged changesets cannot be read", &e);
        for entry in fs::read_dir(&self.beside).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if !name.to_str().is_some_and(&needed) {
                // What can't be removed does no harm.
                if let Err(error) = fs::remove_file(entry.path()) {
                    tracing::warn!(%error, "a leftover of staging cannot be removed");
                }
            }
        }
        Ok(())
    }
}

/// A file's metadata, if there is one. A device, a pipe or a link is none.
fn regular(path: &Path) -> Result<Option<Metadata>, ConnectorError> {
    match look(path)? {
        Some(metadata) if metadata.is_symlink() => Err(wrong(
            "the file is a symbolic link; name the file itself".to_owned(),
        )),
        Some(metadata) if !metadata.is_file() => {
            Err(wrong("what is there is no regular file".to_owned()))
        }
        found => Ok(found),
    }
}

fn read_regular(path: &Path) -> Result<Found, ConnectorError> {
    match regular(path)? {
        None => Ok(Found::Nothing),
        Some(_) => read(path),
    }
}

fn read(path: &Path) -> Result<Found, ConnectorError> {
    let failed = |e: io::Error| broken("the file cannot be read", &e);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    let limit = u64::try_from(BODY_LIMIT).unwrap_or(u64::MAX);
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > BODY_LIMIT {
        let message = format!("the file is larger than {} MiB", BODY_LIMIT >> 20);
        return Err(wrong(message));
    }
    Ok(Found::File(bytes))
}

fn names_in(folder: &Path) -> Result<Vec<String>, ConnectorError> {
    let failed = |e: io::Error| broken("the folder cannot be read", &e);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(names)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A rename is durable when the folder is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(unix)]
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn make_private(folder: &Path) -> io::Result<()> {
    fs::create_dir(folder)
}

/// Gives a file the owner and mode of another. Where that is not allowed the change is refused: the programs that read the file might
/// no longer be able to.
#[cfg(unix)]
fn keep(file: &File, like: &Metadata) -> Result<(), ConnectorError> {
    use std::os::unix::fs::{MetadataExt as _, fchown};
    let failed = |e: io::Error| {
        broken(
            "the file's owner and mode cannot be kept; run the server as its owner",
            &e,
        )
    };
    let now = file.metadata().map_err(failed)?;
    if (now.uid(), now.gid()) != (like.uid(), like.gid()) {
        fchown(file, Some(like.uid()), Some(like.gid())).map_err(failed)?;
    }
    // After the owner: changing that clears bits of the mode.
    file.set_permissions(like.permissions()).map_err(failed)
}

#[cfg(not(unix))]
fn keep(file: &File, like: &Metadata) -> Result<(), ConnectorError> {
    file.set_permissions(like.permissions())
        .map_err(|e| broken("the file's mode cannot be kept", &e))
}
