//! Git access: the config repo's files at a revision or as they lie, what changed between two revisions, commits and
//! merges made without a work tree, and notes.
//!
//! Everything here blocks: async code calls it through `tokio::task::spawn_blocking`. No work tree is read where the
//! object store will do, and a person's files are theirs: only a merge here takes along those that hold nothing of their own (`follow`).
//!
//! It deliberately does not know what a document means, nor what a proposal is (`forge::local` does).

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};

use git2::{ErrorCode, Oid, RepositoryInitOptions, RepositoryOpenFlags};

use crate::ids::{DocPath, Revision};

mod bring;
mod edits;
mod follow;
mod history;
mod identity;
mod layout;
mod notes;
mod pushed;
mod snapshot;
#[cfg(test)]
pub(crate) mod tests;
mod tree;
mod watch;
mod words;
mod work_tree;
mod write;

pub use history::CommitInfo;
pub use identity::Identity;
pub use layout::Layout;
pub use pushed::{Refs, Steps};
pub use watch::RefWatch;
pub use work_tree::Committed;
pub use write::{Merge, MergeResult, MergedTree, TreeId};

/// What went wrong with a repository. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// There is no such branch, revision or directory.
    #[error("{0}")]
    NotFound(String),
    /// The call needs what this place hasn't: git, or a work tree.
    #[error("{0}")]
    Unsupported(String),
    /// The request makes no sense as it stands: a bad branch name, a path that can't be written.
    #[error("{0}")]
    Invalid(String),
    /// Someone else moved the reference meanwhile: read it again and decide anew.
    #[error("{name} was moved by someone else meanwhile; read it again")]
    Moved { name: String },
    /// The repository holds more than [`crate::document::limits`] allow.
    #[error("{0}")]
    TooLarge(String),
    /// A file could not be read or written.
    #[error("{}: {cause}", path.display())]
    Io {
        path: PathBuf,
        cause: std::io::Error,
    },
    /// libgit2 could not do it.
    #[error("git failed while {doing}: {}", words::said(cause))]
    Git {
        doing: &'static str,
        cause: git2::Error,
    },
}

/// Names what was being done when git failed.
trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, RepoError>;
}

impl<T> Doing<T> for Result<T, git2::Error> {
    fn doing(self, doing: &'static str) -> Result<T, RepoError> {
        self.map_err(|cause| RepoError::Git { doing, cause })
    }
}

fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> RepoError + use<> {
    let path = path.to_owned();
    move |cause| RepoError::Io { path, cause }
}

/// How many open handles are kept for reuse; more callers at once open their own.
const KEPT_HANDLES: usize = 4;

/// A config repo: a work tree, a bare repository, or a plain directory that git does not know.
///
/// Shared freely between threads: a libgit2 handle is not, so each call borrows one from a small pool.
pub struct Repo {
    place: Place,
    /// Object stores to read besides the repository's own.
    more_objects: Vec<PathBuf>,
    /// References as a push would leave them, where it is looked at in that way.
    refs: Option<Refs>,
    handles: Mutex<Vec<git2::Repository>>,
}

/// Where the repository is. `at` is the folder that was opened, relative to the root, empty for the root itself.
#[derive(Debug, Clone)]
enum Place {
    Bare { git: PathBuf },
    WorkTree { root: PathBuf, at: String },
    Plain { root: PathBuf, at: String },
}

impl fmt::Debug for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repo").field("place", &self.place).finish()
    }
}

impl Repo {
    /// Opens a work tree or any folder in one, a bare repository, or a plain directory.
    pub fn open(path: &Path) -> Result<Self, RepoError> {
        let path = path.canonicalize().map_err(|source| {
            if source.kind() != std::io::ErrorKind::NotFound {
                return io_error(path)(source);
            }
            RepoError::NotFound(format!(
                "there is no directory {}; give a config repo, or make one with `lockstep init`",
                path.display()
            ))
        })?;
        if !path.is_dir() {
            return Err(RepoError::Invalid(format!(
                "{} is not a directory; give the folder that holds lockstep.yaml",
                path.display()
            )));
        }
        let none: [&OsStr; 0] = [];
        let git = match git2::Repository::open_ext(&path, RepositoryOpenFlags::empty(), none) {
            Ok(git) => git,
            Err(error) if error.code() == ErrorCode::NotFound => {
                return Ok(Self::at(plain_place(path)?));
            }
            Err(error) => return Err(open_error(&path, error)),
        };
        let place = match git.workdir() {
            // Opened by its `.git` folder, a repository with a work tree is read like a bare one.
            Some(root) if !path.starts_with(git.path()) => {
                let root = root.canonicalize().map_err(io_error(root))?;
                let at = relative(&root, &path)?;
                Place::WorkTree { root, at }
            }
            Some(_) | None => Place::Bare {
                git: git.path().to_owned(),
            },
        };
        let repo = Self::at(place);
        repo.give_back(git);
        Ok(repo)
    }

    /// Makes a bare repository whose main branch is `main`; one that is there already is opened.
    pub fn init_bare(path: &Path) -> Result<Self, RepoError> {
        Self::init_with(path, true)
    }

    /// Makes a repository with a work tree in a directory that may hold files already.
    pub fn init(path: &Path) -> Result<Self, RepoError> {
        Self::init_with(path, false)
    }

    fn init_with(path: &Path, bare: bool) -> Result<Self, RepoError> {
        let mut options = RepositoryInitOptions::new();
        options.bare(bare).mkpath(true).initial_head("main");
        // Templates of the machine could bring hooks along.
        options.external_template(false);
        git2::Repository::init_opts(path, &options).map_err(|error| open_error(path, error))?;
        Self::open(path)
    }

    fn at(place: Place) -> Self {
        // Objects are hashed when they come in (by `index-pack`, or by who writes them), and zlib's checksum tells a damaged one; to hash
        // each again on every reading costs more than parsing it. git itself does not.
        static ONCE: Once = Once::new();
        ONCE.call_once(|| git2::opts::strict_hash_verification(false));
        Self {
            place,
            more_objects: Vec::new(),
            refs: None,
            handles: Mutex::new(Vec::new()),
        }
    }

    /// Runs `work` with a libgit2 handle. After a failure the handle is dropped: a repack under it may be the cause, and
    /// a new one sees the packs of today.
    fn with<T>(
        &self,
        work: impl FnOnce(&git2::Repository) -> Result<T, RepoError>,
    ) -> Result<T, RepoError> {
        let kept = self.lock_handles().pop();
        let git = match kept {
            Some(git) => git,
            None => self.handle()?,
        };
        let value = work(&git)?;
        self.give_back(git);
        Ok(value)
    }

    fn handle(&self) -> Result<git2::Repository, RepoError> {
        let path = match &self.place {
            Place::Bare { git } => git,
            Place::WorkTree { root, .. } => root,
            Place::Plain { root, .. } => {
                return Err(RepoError::Unsupported(format!(
                    "{} is not in a git repository; run `git init` there, or give --repo",
                    root.display()
                )));
            }
        };
        let git = git2::Repository::open(path).map_err(|error| open_error(path, error))?;
        self.look_ahead(&git)?;
        Ok(git)
    }

    fn give_back(&self, git: git2::Repository) {
        let mut handles = self.lock_handles();
        if handles.len() < KEPT_HANDLES {
            handles.push(git);
        }
    }

    fn lock_handles(&self) -> std::sync::MutexGuard<'_, Vec<git2::Repository>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a history, and not just files.
    pub fn has_git(&self) -> bool {
        match self.place {
            Place::Bare { .. } | Place::WorkTree { .. } => true,
            Place::Plain { .. } => false,
        }
    }

    /// The folder that git keeps for all work trees of this repository: the place for what belongs to the repository and to no commit.
    pub fn git_dir(&self) -> Option<PathBuf> {
        self.with(|git| Ok(git.commondir().to_owned())).ok()
    }

    /// Whether files lie there to be read as they are.
    pub fn has_work_tree(&self) -> bool {
        match self.place {
            Place::WorkTree { .. } | Place::Plain { .. } => true,
            Place::Bare { .. } => false,
        }
    }

    /// The repository's own directory: the git root, the bare repository, or the plain directory.
    pub fn path(&self) -> &Path {
        match &self.place {
            Place::Bare { git } => git,
            Place::WorkTree { root, .. } | Place::Plain { root, .. } => root,
        }
    }

    /// Where the config repo lies inside the repository: by the files where there is a work tree, else at `HEAD`.
    pub fn layout(&self) -> Layout {
        if let Some((root, at)) = self.files() {
            return Layout::of_files(root, at).unwrap_or_else(|| Layout::beneath(at));
        }
        self.with(|git| Ok(Layout::of_head(git)))
            .unwrap_or_else(|_| Layout::beneath(""))
    }

    /// What stands before a document's path when it is shown from the repository's root: `shared-config/`, or nothing.
    pub fn prefix(&self) -> String {
        match self.layout().prefix() {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        }
    }

    /// A document's or policy's path from the repository's root.
    pub fn git_path(&self, path: &DocPath) -> String {
        self.layout().git_path(path)
    }

    fn files(&self) -> Option<(&Path, &str)> {
        match &self.place {
            Place::WorkTree { root, at } | Place::Plain { root, at } => Some((root, at)),
            Place::Bare { .. } => None,
        }
    }
}

/// A directory that git does not know. `shared-config` brings its parent along where only that has `policies`.
fn plain_place(path: PathBuf) -> Result<Place, RepoError> {
    let beside = path
        .parent()
        .filter(|parent| {
            path.file_name() == Some(OsStr::new(layout::SHARED))
                && !path.join(layout::POLICIES).is_dir()
                && parent.join(layout::POLICIES).is_dir()
        })
        .map(Path::to_owned);
    match beside {
        Some(root) => {
            let at = relative(&root, &path)?;
            Ok(Place::Plain { root, at })
        }
        None => Ok(Place::Plain {
            root: path,
            at: String::new(),
        }),
    }
}

fn relative(root: &Path, path: &Path) -> Result<String, RepoError> {
    path.strip_prefix(root)
        .ok()
        .and_then(Path::to_str)
        .map(ToOwned::to_owned)
        .ok_or_else(|| {
            RepoError::Invalid(format!(
                "{} can't be used: the folder's path inside its repository must be UTF-8",
                path.display()
            ))
        })
}

fn open_error(path: &Path, error: git2::Error) -> RepoError {
    if error.code() == ErrorCode::Owner {
        return RepoError::Unsupported(format!(
            "{0} belongs to another user, so git does not trust it; if you do, run \
             `git config --global --add safe.directory {0}`",
            path.display()
        ));
    }
    RepoError::Git {
        doing: "opening the repository",
        cause: error,
    }
}

fn to_oid(revision: &Revision) -> Result<Oid, RepoError> {
    Oid::from_str(revision.as_str())
        .map_err(|_| RepoError::NotFound(format!("there is no commit {revision} here")))
}

fn to_revision(oid: Oid) -> Result<Revision, RepoError> {
    oid.to_string()
        .parse()
        .map_err(|error: crate::ids::InvalidId| RepoError::Invalid(error.to_string()))
}

fn find_commit<'g>(
    git: &'g git2::Repository,
    revision: &Revision,
) -> Result<git2::Commit<'g>, RepoError> {
    git.find_commit(to_oid(revision)?).map_err(|cause| {
        if cause.code() != ErrorCode::NotFound {
            return RepoError::Git {
                doing: "reading a commit",
                cause,
            };
        }
        RepoError::NotFound(format!(
            "there is no commit {revision} here; fetch it, or name another revision"
        ))
    })
}
