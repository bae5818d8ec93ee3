//! A person's files as they lie: read into a snapshot, or made into a commit on a new branch without touching the index.

use std::collections::BTreeMap;
use std::fs::{DirEntry, File, FileType};
use std::hash::BuildHasher as _;
use std::io::{ErrorKind, Read as _};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use foldhash::quality::RandomState;
use git2::{Delta, DiffOptions, Oid, Repository};
use jiff::Timestamp;

use super::edits::Edits;
use super::history::branch_ref;
use super::layout::join;
use super::tree::{Budget, Part, is_file, readable, shown, unnamed};
use super::write::{move_ref, write_commit};
use super::{Doing, Identity, Layout, Repo, RepoError, io_error, to_revision};
use crate::document::{Blob, BlobId, Content, Odd, Snapshot, Unnamed, Unreadable, limits};
use crate::ids::{Digest, DocPath, Revision};

/// Changes of a work tree that became a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    pub revision: Revision,
    /// What the commit changed, as a snapshot calls it.
    pub paths: Vec<DocPath>,
}

impl Repo {
    /// All documents and policies as they lie, committed or not.
    ///
    /// Read are the files that could be documents (`json`, `jsonc`, `yaml`, `yml`, `md`) and, in `policies`, `rego`. Folders and files
    /// whose names begin with a dot are passed over, as from the object store; so are `target` and `node_modules` where git ignores
    /// them or does not know the place.
    pub fn snapshot_work_tree(&self) -> Result<Snapshot, RepoError> {
        let Some((root, _)) = self.files() else {
            return Err(no_work_tree(self));
        };
        let layout = self.layout();
        let ignored = |path: &Path| {
            !self.has_git()
                || self
                    .with(|git| git.status_should_ignore(path).doing("reading .gitignore"))
                    .unwrap_or(false)
        };
        let part = if layout.policies_inside() {
            Part::DocumentsBesidePolicies
        } else {
            Part::Documents
        };
        let mut documents = Reader::new(root, &ignored, part, "");
        let mut policies = Reader::new(root, &ignored, Part::Policies, "policies/");
        let read = documents
            .folder(&root.join(layout.prefix()), "", 0)
            .and_then(|()| policies.folder(&root.join(layout.policies()), "", 0));
        if let Err(RepoError::TooLarge(why)) = read {
            return Ok(Snapshot {
                beyond: Some(why),
                ..Snapshot::default()
            });
        }
        read?;
        let mut unreadable = documents.unreadable;
        unreadable.extend(policies.unreadable);
        unreadable.sort();
        Ok(Snapshot {
            revision: None,
            files: documents.files,
            policies: policies.files,
            unreadable,
            beyond: None,
        })
    }

    /// Commits what differs from `HEAD` in the config repo and its policies, new files included and ignored ones not, on a new
    /// branch. The work tree, the index and the branch that is checked out stay as they are. `None` where nothing differs.
    pub fn commit_work_tree_changes(
        &self,
        branch: &str,
        message: &str,
        who: &Identity,
        at: Timestamp,
    ) -> Result<Option<Committed>, RepoError> {
        let name = branch_ref(branch)?;
        let Some((root, _)) = self.files() else {
            return Err(no_work_tree(self));
        };
        let layout = self.layout();
        self.with(|git| {
            let head = git.head().and_then(|h| h.peel_to_commit()).map_err(|_| {
                RepoError::NotFound(
                    "there is no commit yet; commit what the repository starts with first".into(),
                )
            })?;
            let tree = head.tree().doing("reading a commit's files")?;
            let changes = differences(git, root, &tree, &layout)?;
            if changes.is_empty() {
                return Ok(None);
            }
            let mut edits = Edits::default();
            for (path, blob) in &changes {
                edits.set(path, *blob);
            }
            let tree = edits.write(git, Some(&tree))?;
            let commit = write_commit(git, tree, &[head.id()], who, message, at)?;
            move_ref(git, &name, None, commit, "lockstep: propose").map_err(
                |error| match error {
                    RepoError::Moved { .. } => RepoError::Invalid(format!(
                        "there is a branch {branch:?} already; give another name with --branch"
                    )),
                    RepoError::NotFound(_)
                    | RepoError::Unsupported(_)
                    | RepoError::Invalid(_)
                    | RepoError::TooLarge(_)
                    | RepoError::Io { .. }
                    | RepoError::Git { .. } => error,
                },
            )?;
            Ok(Some(Committed {
                revision: to_revision(commit)?,
                paths: changes.keys().filter_map(|p| layout.doc_path(p)).collect(),
            }))
        })
    }
}

fn no_work_tree(repo: &Repo) -> RepoError {
    RepoError::Unsupported(format!(
        "{} is a bare repository: it has no files lying about; name a revision with --rev, or --base and --head",
        repo.path().display()
    ))
}

/// What lies there otherwise than in `tree`, by path from the repository's root: the new blob, or `None` where it is gone.
fn differences(
    git: &Repository,
    root: &Path,
    tree: &git2::Tree<'_>,
    layout: &Layout,
) -> Result<BTreeMap<String, Option<Oid>>, RepoError> {
    let mut options = DiffOptions::new();
    options
        .include_untracked(true)
        .recurse_untracked_dirs(true)
        .include_typechange(true)
        .ignore_submodules(true)
        .disable_pathspec_match(true)
        .update_index(false);
    if !layout.prefix().is_empty() {
        options.pathspec(layout.prefix());
        options.pathspec(layout.policies());
    }
    let diff = git
        .diff_tree_to_workdir_with_index(Some(tree), Some(&mut options))
        .doing("comparing the files with HEAD")?;
    let mut changes = BTreeMap::new();
    for delta in diff.deltas() {
        let file = if delta.status() == Delta::Deleted {
            delta.old_file()
        } else {
            delta.new_file()
        };
        let bytes = file.path_bytes().unwrap_or_default();
        let Some(path) = readable(bytes) else {
            return Err(RepoError::Invalid(format!(
                "the file name {} is not UTF-8 or holds control characters; rename it",
                shown("", bytes)
            )));
        };
        // An untracked repository inside this one is listed as a folder: not ours to commit.
        if path.ends_with('/') || layout.doc_path(path).is_none() {
            continue;
        }
        let blob = match delta.status() {
            Delta::Deleted => None,
            Delta::Added | Delta::Modified | Delta::Untracked if is_file(file.mode()) => {
                let full = root.join(path);
                Some(git.blob_path(&full).doing("reading a changed file")?)
            }
            Delta::Conflicted => {
                return Err(RepoError::Invalid(format!(
                    "{path} has an unfinished merge in it; finish it first"
                )));
            }
            Delta::Unmodified | Delta::Ignored => continue,
            Delta::Added
            | Delta::Modified
            | Delta::Untracked
            | Delta::Renamed
            | Delta::Copied
            | Delta::Typechange
            | Delta::Unreadable => {
                return Err(RepoError::Invalid(format!(
                    "{path} is not a plain file that can be read, so it can't be proposed"
                )));
            }
        };
        changes.insert(path.to_owned(), blob);
    }
    Ok(changes)
}

struct Reader<'a> {
    root: &'a Path,
    ignored: &'a dyn Fn(&Path) -> bool,
    part: Part,
    base: &'static str,
    files: BTreeMap<DocPath, Blob>,
    unreadable: Vec<Unreadable>,
    budget: Budget,
}

impl<'a> Reader<'a> {
    fn new(
        root: &'a Path,
        ignored: &'a dyn Fn(&Path) -> bool,
        part: Part,
        base: &'static str,
    ) -> Self {
        Self {
            root,
            ignored,
            part,
            base,
            files: BTreeMap::new(),
            unreadable: Vec::new(),
            budget: Budget::default(),
        }
    }

    /// Reads a folder; `path` is what it is called relative to where the reading began, `depth` how many folders that is.
    fn folder(&mut self, folder: &Path, path: &str, depth: usize) -> Result<(), RepoError> {
        let listing = match std::fs::read_dir(folder) {
            Ok(listing) => listing,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            // Where the policies should be; a link there is found among the documents.
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                return Err(RepoError::Invalid(format!(
                    "{} is no folder, and has the place of one that is read; rename it",
                    folder.display()
                )));
            }
            Err(error) => return Err(io_error(folder)(error)),
        };
        for entry in listing {
            let entry = entry.map_err(io_error(folder))?;
            self.budget.entry()?;
            let name = entry.file_name();
            let Some(name) = readable(name.as_encoded_bytes()) else {
                let at = join(path, "");
                self.unreadable.push(Unreadable {
                    name: shown(&at, name.as_encoded_bytes()),
                    why: Unnamed::NoText,
                });
                continue;
            };
            if !name.starts_with('.') {
                self.entry(&entry, name, &join(path, name), depth)?;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        entry: &DirEntry,
        name: &str,
        path: &str,
        depth: usize,
    ) -> Result<(), RepoError> {
        let full = &*entry.path();
        // What the listing says, which saves asking for each file.
        let kind = match entry.file_type() {
            Ok(kind) => kind,
            // Gone since the folder was listed, as editors do with their temporary files.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(io_error(full)(error)),
        };
        if kind.is_dir() && !full.join(".git").exists() {
            let built = matches!(name, "target" | "node_modules");
            if self.part.leaves_out(path) || (built && self.is_ignored(full)) {
                return Ok(());
            }
            if self.part.is_config(path)
                && let Ok(doc) = path.parse::<DocPath>()
            {
                let blob = without_bytes(full, Content::Odd(Odd::Folder));
                self.files.insert(doc, blob);
            }
            if depth >= limits::FOLDERS {
                self.unreadable.push(Unreadable {
                    name: shown("", path.as_bytes()),
                    why: Unnamed::TooDeep,
                });
                return Ok(());
            }
            return self.folder(full, path, depth + 1);
        }
        self.budget.path(path.len())?;
        let Ok(doc) = format!("{}{path}", self.base).parse::<DocPath>() else {
            self.unreadable.push(unnamed(path));
            return Ok(());
        };
        let blob = if kind.is_dir() {
            without_bytes(full, Content::Submodule)
        } else if kind.is_symlink() {
            without_bytes(full, Content::Symlink)
        } else if !self.part.takes(name) {
            return Ok(());
        } else if !kind.is_file() {
            without_bytes(full, Content::Odd(odd(kind)))
        } else {
            match self.file(full, limits::bytes_of(name)) {
                Ok(blob) => blob?,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(io_error(full)(error)),
            }
        };
        self.files.insert(doc, blob);
        Ok(())
    }

    fn file(&mut self, full: &Path, most: u64) -> std::io::Result<Result<Blob, RepoError>> {
        let mut file = File::open(full)?;
        let size = file.metadata()?.len();
        if size > most {
            return Ok(Ok(without_bytes(full, Content::TooLarge(size))));
        }
        if let Err(beyond) = self.budget.bytes(size) {
            return Ok(Err(beyond));
        }
        let bytes = read(&mut file, size)?;
        Ok(Ok(Blob {
            id: content_id(&bytes),
            content: Content::Bytes(bytes),
        }))
    }

    fn is_ignored(&self, full: &Path) -> bool {
        let relative = full.strip_prefix(self.root).unwrap_or(full);
        // The slash says that it is a folder, which patterns such as `/target/` ask for.
        (self.ignored)(&relative.join(""))
    }
}

/// What a thing is that is neither file, folder nor link.
fn odd(kind: FileType) -> Odd {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        if kind.is_fifo() {
            return Odd::Pipe;
        }
        if kind.is_socket() {
            return Odd::Socket;
        }
    }
    #[cfg(not(unix))]
    let _ = kind;
    Odd::Device
}

/// A file's bytes, read straight into the place where they are kept. `size` is what it was a moment ago.
fn read(file: &mut File, size: u64) -> std::io::Result<Arc<[u8]>> {
    let size = usize::try_from(size).unwrap_or(0);
    let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, size).collect();
    let mut filled = 0;
    while filled < size
        && let Some(rest) = Arc::get_mut(&mut bytes).and_then(|b| b.get_mut(filled..))
    {
        match file.read(rest) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // A file that is written to meanwhile may be longer or shorter than it was.
    let mut more = Vec::new();
    if file.read_to_end(&mut more)? > 0 || filled < size {
        let mut whole = bytes.get(..filled).unwrap_or_default().to_vec();
        whole.append(&mut more);
        return Ok(whole.into());
    }
    Ok(bytes)
}

/// The id of a file that no object store has named. It is compared only within this process, so a keyed hash of 128 bits will do: nobody who
/// writes a file can know the keys, and SHA-256 would take as long as parsing the file.
fn content_id(bytes: &[u8]) -> BlobId {
    static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(Default::default);
    let mut id = [0; 16];
    for (half, key) in id.chunks_exact_mut(8).zip(&*KEYS) {
        half.copy_from_slice(&key.hash_one(bytes).to_be_bytes());
    }
    BlobId::from_git(&id)
}

/// What has no bytes to be known by is known by where it is and what it is.
fn without_bytes(full: &Path, content: Content) -> Blob {
    let id = Digest::of(format!("{content:?} {}", full.display()).as_bytes());
    Blob {
        id: BlobId::from_digest(id),
        content,
    }
}
