//! The one walk that reads a git tree, or what differs between two.
//!
//! The walk skips whatever has equal ids, so it costs what changed. (libgit2's own tree diff opens every subtree.)

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use git2::{FileMode, ObjectType, Odb, Oid, Repository, Tree, TreeEntry};

use super::layout::{CONFIG, POLICIES};
use super::{Doing, RepoError};
use crate::document::{Blob, BlobId, Content, Odd, Unnamed, Unreadable, limits};
use crate::ids::DocPath;

pub(super) const TREE: i32 = 0o040_000;
const LINK: i32 = 0o120_000;
const SUBMODULE: i32 = 0o160_000;

/// Blobs from this size on are kept by id during a walk, so that one named many times is held once.
const SHARED_FROM: u64 = 64 << 10;

/// Which files of a folder are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Whatever could be a document: `json`, `jsonc`, `yaml`, `yml`, `md`.
    Documents,
    /// The same, for a folder whose `policies` are read as policies.
    DocumentsBesidePolicies,
    /// `rego`.
    Policies,
}

impl Part {
    /// Whether a file of this name is read. Other files are not: a config repo may hold pictures and scripts.
    pub(super) fn takes(self, name: &str) -> bool {
        let Some((_, extension)) = name.rsplit_once('.') else {
            return false;
        };
        let known: &[&str] = match self {
            Self::Documents | Self::DocumentsBesidePolicies => {
                &["json", "jsonc", "yaml", "yml", "md"]
            }
            Self::Policies => &["rego"],
        };
        known.iter().any(|k| extension.eq_ignore_ascii_case(k))
    }

    /// Whether something at this path, relative to where the walk began, has the place of `lockstep.yaml`.
    pub(super) fn is_config(self, path: &str) -> bool {
        match self {
            Self::Documents | Self::DocumentsBesidePolicies => path == CONFIG,
            Self::Policies => false,
        }
    }

    /// Whether a folder is left out. `path` is relative to where the walk began.
    pub(super) fn leaves_out(self, path: &str) -> bool {
        match self {
            Self::DocumentsBesidePolicies => path == POLICIES,
            Self::Documents | Self::Policies => false,
        }
    }
}

/// A name in a tree, if it is one that a document may have.
pub(super) fn readable(name: &[u8]) -> Option<&str> {
    std::str::from_utf8(name)
        .ok()
        .filter(|name| !name.chars().any(char::is_control))
}

/// A name that is none, as far as it can be shown.
pub(super) fn shown(path: &str, name: &[u8]) -> String {
    format!("{path}{}", String::from_utf8_lossy(name).escape_debug())
}

/// Why a path that git or the system knows is none of a document.
pub(super) fn unnamed(path: &str) -> Unreadable {
    let why = if path.len() > limits::PATH_BYTES {
        Unnamed::TooLong
    } else {
        Unnamed::LeadsOut
    };
    Unreadable {
        name: shown("", path.as_bytes()),
        why,
    }
}

/// What has been read so far, against the limits on a snapshot.
#[derive(Debug, Default)]
pub(super) struct Budget {
    entries: usize,
    paths: usize,
    bytes: u64,
}

impl Budget {
    /// One more name in a folder, whatever is called so.
    pub(super) fn entry(&mut self) -> Result<(), RepoError> {
        self.entries += 1;
        if self.entries > limits::FILES {
            return Err(RepoError::TooLarge(format!(
                "the repository holds more than {} files and folders",
                limits::FILES
            )));
        }
        Ok(())
    }

    /// One more path that is kept.
    pub(super) fn path(&mut self, length: usize) -> Result<(), RepoError> {
        self.paths += length;
        if self.paths > limits::ALL_PATHS_BYTES {
            return Err(RepoError::TooLarge(format!(
                "the paths of the repository's files together are longer than {} MiB",
                limits::ALL_PATHS_BYTES >> 20
            )));
        }
        Ok(())
    }

    /// One more file's content.
    pub(super) fn bytes(&mut self, size: u64) -> Result<(), RepoError> {
        self.bytes += size;
        if self.bytes > limits::SNAPSHOT_BYTES {
            return Err(RepoError::TooLarge(format!(
                "the documents together are larger than {} MiB",
                limits::SNAPSHOT_BYTES >> 20
            )));
        }
        Ok(())
    }
}

/// What differs between two folders.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) files: BTreeMap<DocPath, Option<Blob>>,
    /// Unreadable names that came and went.
    pub(super) unreadable: Vec<Unreadable>,
    pub(super) no_longer_unreadable: Vec<Unreadable>,
}

/// Walks two trees side by side, or one alone.
pub(super) struct Walk<'g> {
    git: &'g Repository,
    odb: Odb<'g>,
    part: Part,
    /// The folder the walk is in, with a `/` at its end, relative to where it began.
    path: String,
    /// What stands before a document's name: `policies/`, or nothing.
    base: &'static str,
    /// How many folders it is in.
    depth: usize,
    budget: Budget,
    shared: HashMap<Oid, Arc<[u8]>>,
    out: Changes,
}

impl<'g> Walk<'g> {
    pub(super) fn new(git: &'g Repository, part: Part) -> Result<Self, RepoError> {
        Ok(Self {
            git,
            odb: git.odb().doing("opening the object store")?,
            part,
            path: String::new(),
            base: match part {
                Part::Policies => "policies/",
                Part::Documents | Part::DocumentsBesidePolicies => "",
            },
            depth: 0,
            budget: Budget::default(),
            shared: HashMap::new(),
            out: Changes::default(),
        })
    }

    /// What leads from one folder to the other; a folder that is absent is empty.
    pub(super) fn run(
        mut self,
        from: Option<&Tree<'_>>,
        to: Option<&Tree<'_>>,
    ) -> Result<Changes, RepoError> {
        if from.map(Tree::id) != to.map(Tree::id) {
            self.folder(from, to)?;
        }
        Ok(self.out)
    }

    fn folder(&mut self, from: Option<&Tree<'_>>, to: Option<&Tree<'_>>) -> Result<(), RepoError> {
        let mut left = from.into_iter().flat_map(Tree::iter).peekable();
        let mut right = to.into_iter().flat_map(Tree::iter).peekable();
        loop {
            let order = match (left.peek(), right.peek()) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(l), Some(r)) => git_order(l, r),
            };
            let old = if order.is_le() { left.next() } else { None };
            let new = if order.is_ge() { right.next() } else { None };
            self.entry(old.as_ref(), new.as_ref())?;
        }
    }

    /// One name, on either side or both; on both it is a folder or a file alike, because [`git_order`] tells them apart.
    fn entry(
        &mut self,
        old: Option<&TreeEntry<'_>>,
        new: Option<&TreeEntry<'_>>,
    ) -> Result<(), RepoError> {
        self.budget.entry()?;
        let Some(either) = new.or(old) else {
            return Ok(());
        };
        if let (Some(old), Some(new)) = (old, new)
            && old.id() == new.id()
            && old.filemode_raw() == new.filemode_raw()
        {
            return Ok(());
        }
        let bytes = either.name_bytes();
        let length = self.path.len() + bytes.len();
        let deep = is_tree(either) && self.depth >= limits::FOLDERS;
        let name = match readable(bytes) {
            None => Err(Unnamed::NoText),
            Some(_) if length >= limits::PATH_BYTES => Err(Unnamed::TooLong),
            Some(_) if deep => Err(Unnamed::TooDeep),
            Some(name) => Ok(name),
        };
        let name = match name {
            Ok(name) => name,
            Err(why) => {
                let name = shown(&self.path, bytes);
                self.budget.path(name.len())?;
                let unreadable = Unreadable { name, why };
                match (old, new) {
                    (None, Some(_)) => self.out.unreadable.push(unreadable),
                    (Some(_), None) => self.out.no_longer_unreadable.push(unreadable),
                    (None, None) | (Some(_), Some(_)) => {}
                }
                return Ok(());
            }
        };
        // `.git`, `.github`, editors' folders: never documents.
        if name.starts_with('.') && name != ".." && name != "." {
            return Ok(());
        }
        let end = self.path.len();
        self.path.push_str(name);
        if is_tree(either) {
            if self.part.is_config(&self.path) {
                self.folder_for_config(new);
            }
            if !self.part.leaves_out(&self.path) {
                self.path.push('/');
                let (old, new) = (self.subtree(old)?, self.subtree(new)?);
                self.depth += 1;
                self.folder(old.as_ref(), new.as_ref())?;
                self.depth -= 1;
            }
        } else {
            self.file(name, old, new)?;
        }
        self.path.truncate(end);
        Ok(())
    }

    /// A folder where `lockstep.yaml` must be a file.
    fn folder_for_config(&mut self, new: Option<&TreeEntry<'_>>) {
        let blob = new.map(|entry| Blob {
            id: BlobId::from_git(entry.id().as_bytes()),
            content: Content::Odd(Odd::Folder),
        });
        if let Ok(path) = CONFIG.parse::<DocPath>() {
            match blob {
                Some(blob) => drop(self.out.files.insert(path, Some(blob))),
                None => drop(self.out.files.entry(path).or_insert(None)),
            }
        }
    }

    fn subtree(&self, entry: Option<&TreeEntry<'_>>) -> Result<Option<Tree<'g>>, RepoError> {
        entry
            .map(|entry| self.git.find_tree(entry.id()))
            .transpose()
            .doing("reading a folder")
    }

    fn file(
        &mut self,
        name: &str,
        old: Option<&TreeEntry<'_>>,
        new: Option<&TreeEntry<'_>>,
    ) -> Result<(), RepoError> {
        let part = self.part;
        let taken = |entry: &&TreeEntry<'_>| {
            matches!(entry.filemode_raw(), LINK | SUBMODULE) || part.takes(name)
        };
        let (old, new) = (old.filter(taken), new.filter(taken));
        if old.is_none() && new.is_none() {
            return Ok(());
        }
        self.budget.path(self.path.len())?;
        let Ok(path) = format!("{}{}", self.base, self.path).parse::<DocPath>() else {
            let unreadable = unnamed(&self.path);
            if new.is_some() {
                self.out.unreadable.push(unreadable);
            } else {
                self.out.no_longer_unreadable.push(unreadable);
            }
            return Ok(());
        };
        match new {
            Some(entry) => {
                let blob = self.read(name, entry)?;
                if let Some(Some(_)) = self.out.files.insert(path, Some(blob)) {
                    self.out.unreadable.push(Unreadable {
                        name: shown("", self.path.as_bytes()),
                        why: Unnamed::Twice,
                    });
                }
            }
            // In a tree out of order the new file may have been met before the old one: it stands.
            None => {
                self.out.files.entry(path).or_insert(None);
            }
        }
        Ok(())
    }

    fn read(&mut self, name: &str, entry: &TreeEntry<'_>) -> Result<Blob, RepoError> {
        let oid = entry.id();
        let content = match entry.filemode_raw() {
            LINK => Content::Symlink,
            SUBMODULE => Content::Submodule,
            _ => self.bytes(oid, limits::bytes_of(name))?,
        };
        Ok(Blob {
            id: BlobId::from_git(oid.as_bytes()),
            content,
        })
    }

    fn bytes(&mut self, oid: Oid, most: u64) -> Result<Content, RepoError> {
        if let Some(bytes) = self.shared.get(&oid)
            && bytes.len() as u64 <= most
        {
            return Ok(Content::Bytes(Arc::clone(bytes)));
        }
        // The size comes first, so that a blob beyond the limit is never unpacked.
        let (size, _) = self.odb.read_header(oid).doing("reading a document")?;
        let size = size as u64;
        if size > most {
            return Ok(Content::TooLarge(size));
        }
        self.budget.bytes(size)?;
        let object = self.odb.read(oid).doing("reading a document")?;
        let bytes: Arc<[u8]> = object.data().into();
        if size >= SHARED_FROM {
            self.shared.insert(oid, Arc::clone(&bytes));
        }
        Ok(Content::Bytes(bytes))
    }
}

pub(super) fn is_tree(entry: &TreeEntry<'_>) -> bool {
    entry.filemode_raw() == TREE
}

/// The order in which git keeps a tree's entries: by bytes, folders as if their names ended in `/`.
fn git_order(a: &TreeEntry<'_>, b: &TreeEntry<'_>) -> Ordering {
    fn key<'e>(entry: &'e TreeEntry<'_>) -> impl Iterator<Item = &'e u8> {
        let end: &[u8] = if is_tree(entry) { b"/" } else { b"" };
        entry.name_bytes().iter().chain(end)
    }
    // Nearly every pair of a walk is the same name on both sides.
    if is_tree(a) == is_tree(b) && a.name_bytes() == b.name_bytes() {
        return Ordering::Equal;
    }
    key(a).cmp(key(b))
}

/// The tree at a path; the root for an empty one, `None` where no folder is.
pub(super) fn subtree<'g>(
    git: &'g Repository,
    root: &Tree<'g>,
    path: &str,
) -> Result<Option<Tree<'g>>, RepoError> {
    if path.is_empty() {
        return Ok(Some(root.clone()));
    }
    match root.get_path(std::path::Path::new(path)) {
        Ok(entry) if entry.kind() == Some(ObjectType::Tree) => git
            .find_tree(entry.id())
            .map(Some)
            .doing("reading a folder"),
        Ok(_) => Ok(None),
        Err(error) if error.code() == git2::ErrorCode::NotFound => Ok(None),
        Err(cause) => Err(RepoError::Git {
            doing: "reading a folder",
            cause,
        }),
    }
}

/// Whether an entry's mode is one of a file that can be edited.
pub(super) fn is_file(mode: FileMode) -> bool {
    match mode {
        FileMode::Blob | FileMode::BlobGroupWritable | FileMode::BlobExecutable => true,
        FileMode::Unreadable | FileMode::Tree | FileMode::Link | FileMode::Commit => false,
    }
}
