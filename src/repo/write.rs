//! Commits, merges and references, written straight to the object store.
//!
//! A reference is only ever moved from a value that the caller has seen: compare and swap under git's own lock file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use git2::{ErrorCode, MergeOptions, Oid, Repository};
use jiff::Timestamp;

use super::edits::Edits;
use super::follow::follow;
use super::history::{branch_ref, is_ancestor, no_branch, ref_oid};
use super::{Doing, Identity, Repo, RepoError, find_commit, to_oid, to_revision};
use crate::document::Snapshot;
use crate::ids::{DocPath, Revision};

/// How long a reference that another process holds locked is tried again, and how long between tries.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// How long a lock may stand unchanged before it counts as left behind.
const LOCK_LEFT: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// A tree in the object store, which need not be any commit's.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TreeId(pub(super) Oid);

impl TreeId {
    pub(super) fn oid(self) -> Oid {
        self.0
    }
}

impl fmt::Display for TreeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl fmt::Debug for TreeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What merging two commits would give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergedTree {
    Clean(TreeId),
    /// Both sides changed these files (paths from the repository's root), and git can't tell how they go together.
    Conflict(Vec<String>),
}

/// A merge to make.
#[derive(Debug, Clone, Copy)]
pub struct Merge<'a> {
    /// The branch to merge into, without `refs/heads/`.
    pub branch: &'a str,
    /// Where that branch must still be.
    pub base: &'a Revision,
    pub head: &'a Revision,
    pub message: &'a str,
    pub who: &'a Identity,
    pub at: Timestamp,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergeResult {
    /// The merge commit; the branch is on it.
    Merged(Revision),
    /// The files (paths from the repository's root) that don't go together. Nothing was changed.
    Conflict(Vec<String>),
    /// The branch has all of it already. Nothing was changed.
    UpToDate,
    /// The branch is no longer where the caller saw it. Nothing was changed.
    Moved,
}

impl Repo {
    /// Commits files (`None` deletes) on top of `parent` and moves the branch there, or makes it. Files that are not named stay as they
    /// are in `parent`. [`RepoError::Moved`] where the branch is not at `parent`.
    /// Paths are a snapshot's: `policies/…` goes where the policies lie.
    pub fn commit_files(
        &self,
        branch: &str,
        parent: Option<&Revision>,
        files: &BTreeMap<DocPath, Option<Vec<u8>>>,
        author: &Identity,
        message: &str,
        at: Timestamp,
    ) -> Result<Revision, RepoError> {
        self.writable()?;
        let name = branch_ref(branch)?;
        self.with(|git| {
            let parent = parent.map(|p| find_commit(git, p)).transpose()?;
            let tree = match &parent {
                Some(parent) => Some(parent.tree().doing("reading a commit's files")?),
                None => None,
            };
            let layout = tree
                .as_ref()
                .map_or_else(|| self.layout(), |tree| self.layout_of_tree(git, tree));
            let mut blobs = BTreeMap::new();
            for (path, bytes) in files {
                let blob = match bytes {
                    Some(bytes) => Some(git.blob(bytes).doing("writing a file")?),
                    None => None,
                };
                blobs.insert(layout.git_path(path), blob);
            }
            let mut edits = Edits::default();
            for (path, blob) in &blobs {
                edits.set(path, *blob);
            }
            let tree = edits.write(git, tree.as_ref())?;
            let parents: Vec<Oid> = parent.iter().map(git2::Commit::id).collect();
            let commit = write_commit(git, tree, &parents, author, message, at)?;
            let old = ref_oid(git, &name)?;
            if old.is_some() && old != parents.first().copied() {
                return Err(RepoError::Moved {
                    name: branch.into(),
                });
            }
            move_ref(git, &name, old, commit, "lockstep: commit")?;
            to_revision(commit)
        })
    }

    /// What merging `head` into `base` would give, without moving anything.
    pub fn merged_tree(&self, base: &Revision, head: &Revision) -> Result<MergedTree, RepoError> {
        self.with(|git| merge_trees(git, to_oid(base)?, to_oid(head)?))
    }

    /// The snapshot of what merging `head` into `base` would give, with its tree; or the files in conflict.
    pub fn snapshot_merged(
        &self,
        base: &Revision,
        head: &Revision,
    ) -> Result<Result<(Snapshot, TreeId), Vec<String>>, RepoError> {
        match self.merged_tree(base, head)? {
            MergedTree::Clean(tree) => Ok(Ok((self.snapshot_tree(tree)?, tree))),
            MergedTree::Conflict(paths) => Ok(Err(paths)),
        }
    }

    /// Merges with a merge commit, always, so that the branch's own history has one step for it. Where the branch is
    /// checked out in a work tree, files without changes of their own come along.
    pub fn merge(&self, merge: &Merge<'_>) -> Result<MergeResult, RepoError> {
        self.writable()?;
        let name = branch_ref(merge.branch)?;
        self.with(|git| {
            let (base, head) = (
                find_commit(git, merge.base)?.id(),
                find_commit(git, merge.head)?.id(),
            );
            let now = ref_oid(git, &name)?.ok_or_else(|| no_branch(merge.branch))?;
            if now != base {
                return Ok(MergeResult::Moved);
            }
            if is_ancestor(git, head, base)? {
                return Ok(MergeResult::UpToDate);
            }
            let tree = match merge_trees(git, base, head)? {
                MergedTree::Clean(tree) => tree.oid(),
                MergedTree::Conflict(paths) => return Ok(MergeResult::Conflict(paths)),
            };
            let commit =
                write_commit(git, tree, &[base, head], merge.who, merge.message, merge.at)?;
            match move_ref(git, &name, Some(base), commit, "lockstep: merge") {
                Ok(()) => {
                    // The merge stands whatever becomes of the files.
                    match follow(git, &name, base, commit) {
                        Ok(followed) if followed.kept.is_empty() => {}
                        Ok(followed) => {
                            tracing::warn!(files = ?followed.kept, "the work tree has changes of its own in files that were merged; they stay as they are");
                        }
                        Err(error) => {
                            tracing::warn!(%error, "the work tree stays behind the merge; `git checkout` brings it along");
                        }
                    }
                    Ok(MergeResult::Merged(to_revision(commit)?))
                }
                Err(RepoError::Moved { .. }) => Ok(MergeResult::Moved),
                Err(error) => Err(error),
            }
        })
    }

    /// Moves any reference from a value the caller has seen (`None`: it must not be there) to another.
    pub(crate) fn move_ref(
        &self,
        name: &str,
        from: Option<&Revision>,
        to: &Revision,
    ) -> Result<(), RepoError> {
        self.writable()?;
        self.with(|git| {
            let from = from.map(to_oid).transpose()?;
            move_ref(git, name, from, to_oid(to)?, "lockstep")
        })
    }

    /// Deletes a reference if it is there.
    pub(crate) fn delete_ref(&self, name: &str) -> Result<(), RepoError> {
        self.writable()?;
        self.with(|git| match git.find_reference(name) {
            Ok(mut reference) => reference.delete().doing("deleting a reference"),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(()),
            Err(error) => Err(error).doing("reading a reference"),
        })
    }
}

pub(super) fn write_commit(
    git: &Repository,
    tree: Oid,
    parents: &[Oid],
    who: &Identity,
    message: &str,
    at: Timestamp,
) -> Result<Oid, RepoError> {
    let tree = git.find_tree(tree).doing("writing a commit")?;
    let mut commits = Vec::with_capacity(parents.len());
    for parent in parents {
        commits.push(git.find_commit(*parent).doing("writing a commit")?);
    }
    let who = who.signature(at)?;
    // Git ends a commit at a NUL; nothing useful stands behind one.
    let message = message.replace('\0', "");
    git.commit(
        None,
        &who,
        &who,
        &message,
        &tree,
        &commits.iter().collect::<Vec<_>>(),
    )
    .doing("writing a commit")
}

/// Compare and swap, under the lock file that git itself takes. `from` is `None` for a reference that must not exist yet.
///
/// A process that is killed while it moves a reference leaves that lock behind, and git keeps it for ever. Moving one takes
/// milliseconds, so a lock that stands unchanged for [`LOCK_LEFT`] belongs to nobody any more and is taken away.
pub(super) fn move_ref(
    git: &Repository,
    name: &str,
    from: Option<Oid>,
    to: Oid,
    log: &str,
) -> Result<(), RepoError> {
    // To libgit2 a zero id means "must not be there", checked under the lock. Its own `force: false` is checked before it.
    let expected = from.unwrap_or(Oid::ZERO_SHA1);
    let lock = git.commondir().join(format!("{name}.lock"));
    let (started, mut since, mut seen) = (Instant::now(), Instant::now(), None);
    while let Err(cause) = git.reference_matching(name, to, true, expected, log) {
        if matches!(
            cause.code(),
            ErrorCode::Modified | ErrorCode::Exists | ErrorCode::NotFound
        ) {
            return Err(RepoError::Moved {
                name: name.trim_start_matches("refs/heads/").to_owned(),
            });
        }
        if cause.code() != ErrorCode::Locked || started.elapsed() > LOCK_WAIT {
            return Err(RepoError::Git {
                doing: "moving a reference",
                cause,
            });
        }
        let now = std::fs::metadata(&lock).and_then(|m| m.modified()).ok();
        if now.is_none() || now != seen {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() > LOCK_LEFT {
            tracing::warn!(
                reference = name,
                "a lock that a killed process left behind is taken away"
            );
            // Whether that worked shows when the reference is moved again.
            let _ = std::fs::remove_file(&lock);
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    Ok(())
}

fn merge_trees(git: &Repository, base: Oid, head: Oid) -> Result<MergedTree, RepoError> {
    let find = |oid| git.find_commit(oid).doing("merging");
    let (ours, theirs) = (find(base)?, find(head)?);
    let fork = match git.merge_base(base, head) {
        Ok(fork) => fork,
        Err(error) if error.code() == ErrorCode::NotFound => {
            return Err(RepoError::Invalid(format!(
                "{head} and {base} share no history, so they can't be merged"
            )));
        }
        Err(cause) => {
            return Err(RepoError::Git {
                doing: "merging",
                cause,
            });
        }
    };
    // Nothing was merged meanwhile: the result is one side as it stands.
    if fork == base {
        return Ok(MergedTree::Clean(TreeId(theirs.tree_id())));
    }
    if fork == head {
        return Ok(MergedTree::Clean(TreeId(ours.tree_id())));
    }
    let mut options = MergeOptions::new();
    // A rename is guessed from likeness, and documents of one kind are alike.
    options.find_renames(false);
    let mut index = git
        .merge_commits(&ours, &theirs, Some(&options))
        .doing("merging")?;
    if index.has_conflicts() {
        let mut paths = BTreeSet::new();
        for conflict in index.conflicts().doing("merging")? {
            let conflict = conflict.doing("merging")?;
            let side = conflict.our.or(conflict.their).or(conflict.ancestor);
            if let Some(entry) = side {
                paths.insert(String::from_utf8_lossy(&entry.path).into_owned());
            }
        }
        return Ok(MergedTree::Conflict(paths.into_iter().collect()));
    }
    let tree = index.write_tree_to(git).doing("merging")?;
    Ok(MergedTree::Clean(TreeId(tree)))
}
