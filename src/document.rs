//! Documents as bytes with names, and as trees with positions.
//!
//! A [`Snapshot`] is all files of a config repo at one revision. Reading a document returns what it holds together with findings,
//! never an error: a broken document must not hide the faults of the next one. What a document means is
//! `resource`'s business; this module knows JSON with comments, YAML and Markdown, and where in them things stand.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::ids::{Digest, DocPath, Revision};

pub mod data;
pub mod date;
pub mod edit;
pub mod faults;
pub mod fields;
pub mod hidden;
pub mod json;
pub mod limits;
pub mod markdown;
pub mod suggest;
pub mod tree;
pub mod yaml;

/// One file's content. Equal ids mean equal bytes, so what was made of them can be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// git's blob id, or that of a file in a work tree, which holds only while this process runs.
    pub id: BlobId,
    pub content: Content,
}

/// A content id: git's object id or a digest, as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId([u8; 32]);

impl BlobId {
    /// From git's object id (20 or 32 bytes).
    pub fn from_git(bytes: &[u8]) -> Self {
        let mut id = [0; 32];
        for (to, from) in id.iter_mut().zip(bytes) {
            *to = *from;
        }
        Self(id)
    }
    /// From a digest of the bytes.
    pub fn from_digest(digest: Digest) -> Self {
        Self(*digest.as_bytes())
    }
}

/// What a name in the tree leads to. Only bytes are ever read; the rest is reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Bytes(Arc<[u8]>),
    /// A symbolic link: not followed, a finding.
    Symlink,
    /// A submodule: not entered, a finding.
    Submodule,
    /// Larger than [`limits`] allow; the size in bytes.
    TooLarge(u64),
    /// What is in a document's place and holds no text: a finding.
    Odd(Odd),
}

/// What can be in a document's place without being a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Odd {
    Folder,
    /// Reading a pipe, a socket or a device could wait for ever, or never end.
    Pipe,
    Socket,
    Device,
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Folder => "a folder",
            Self::Pipe => "a named pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
        })
    }
}

/// Something in a tree that no path of a document can name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unreadable {
    /// What it is called, as far as it can be shown.
    pub name: String,
    pub why: Unnamed,
}

/// Why it can't be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unnamed {
    /// Not UTF-8, or with control characters in it.
    NoText,
    TooLong,
    /// In more folders than [`limits::FOLDERS`].
    TooDeep,
    /// Named `..` or `.`.
    LeadsOut,
    /// A tree written by hand can name a file twice; which one counts would be anyone's guess.
    Twice,
}

impl fmt::Display for Unnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoText => f.write_str("is not UTF-8 or has control characters in it"),
            Self::TooLong => write!(f, "is longer than {} bytes", limits::PATH_BYTES),
            Self::TooDeep => write!(f, "lies in more than {} folders", limits::FOLDERS),
            Self::LeadsOut => f.write_str("leads out of its folder"),
            Self::Twice => f.write_str("is there twice"),
        }
    }
}

impl Unnamed {
    /// What to do about it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::NoText | Self::TooLong | Self::LeadsOut => "rename it",
            Self::TooDeep => "move it up",
            Self::Twice => "make the commit anew with git itself, which names each file once",
        }
    }
}

/// All files of a config repo at one revision, or of a work tree as it lies. Paths are relative to the config repo's
/// root, whether that is the git repository's own root or its folder `shared-config`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// `None` for a work tree.
    pub revision: Option<Revision>,
    pub files: BTreeMap<DocPath, Blob>,
    /// `policies/*.rego`, which may lie beside `shared-config/`.
    pub policies: BTreeMap<DocPath, Blob>,
    /// What is in the tree and has no path here.
    pub unreadable: Vec<Unreadable>,
    /// Why the files above are not all there are: the tree is larger than [`limits`] allow. Such a snapshot is never applied.
    pub beyond: Option<String>,
}

/// Of each path that differs the new blob, or `None` where the file is gone.
pub type Delta = BTreeMap<DocPath, Option<Blob>>;

/// What differs between two snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotDelta {
    pub files: Delta,
    pub policies: Delta,
    /// Unreadable names that came.
    pub unreadable: Vec<Unreadable>,
    /// Unreadable names that went.
    pub no_longer_unreadable: Vec<Unreadable>,
    /// Why the changes above are not all there are, as in [`Snapshot::beyond`].
    pub beyond: Option<String>,
}

impl SnapshotDelta {
    /// Whether the policies must be compiled anew.
    pub fn policies_changed(&self) -> bool {
        !self.policies.is_empty()
    }

    /// Whether nothing that Lockstep reads differs.
    pub fn is_empty(&self) -> bool {
        let Self {
            files,
            policies,
            unreadable,
            no_longer_unreadable,
            beyond,
        } = self;
        files.is_empty()
            && policies.is_empty()
            && unreadable.is_empty()
            && no_longer_unreadable.is_empty()
            && beyond.is_none()
    }
}

impl Snapshot {
    /// Moves on to the next revision in place. What was once not read in full stays so: read it anew instead.
    pub fn succeed(&mut self, revision: Option<Revision>, delta: &SnapshotDelta) {
        let SnapshotDelta {
            files,
            policies,
            unreadable,
            no_longer_unreadable,
            beyond,
        } = delta;
        self.revision = revision;
        for (target, changes) in [(&mut self.files, files), (&mut self.policies, policies)] {
            for (path, blob) in changes {
                match blob {
                    Some(blob) => target.insert(path.clone(), blob.clone()),
                    None => target.remove(path),
                };
            }
        }
        let gone: BTreeSet<&Unreadable> = no_longer_unreadable.iter().collect();
        self.unreadable.retain(|name| !gone.contains(name));
        self.unreadable.extend(unreadable.iter().cloned());
        self.unreadable.sort();
        if self.beyond.is_none() {
            self.beyond.clone_from(beyond);
        }
    }

    /// The text of a document or policy, if it is there and is UTF-8.
    pub fn text(&self, path: &DocPath) -> Option<&str> {
        let blob = self.files.get(path).or_else(|| self.policies.get(path))?;
        match &blob.content {
            Content::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            Content::Symlink | Content::Submodule | Content::TooLarge(_) | Content::Odd(_) => None,
        }
    }
}
