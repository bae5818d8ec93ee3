//! Snapshots from the object store, and what leads from one to the next.

use git2::{Oid, Repository, Tree};

use super::tree::{Changes, Part, Walk, subtree};
use super::write::TreeId;
use super::{Doing, Layout, Place, Repo, RepoError, find_commit};
use crate::document::{Delta, Snapshot, SnapshotDelta};
use crate::ids::Revision;

impl Repo {
    /// All documents and policies of a commit.
    pub fn snapshot(&self, revision: &Revision) -> Result<Snapshot, RepoError> {
        self.with(|git| {
            let tree = commit_tree(git, revision)?;
            self.whole(git, &tree, Some(revision.clone()))
        })
    }

    /// The same of a tree that no commit names yet, such as what a merge would give.
    pub fn snapshot_tree(&self, tree: TreeId) -> Result<Snapshot, RepoError> {
        self.with(|git| self.whole(git, &find_tree(git, tree)?, None))
    }

    /// What leads from one commit to another.
    pub fn delta(&self, from: &Revision, to: &Revision) -> Result<SnapshotDelta, RepoError> {
        self.with(|git| {
            let (from, to) = (commit_tree(git, from)?, commit_tree(git, to)?);
            self.between(git, &from, &to)
        })
    }

    /// What leads from a commit to a tree that no commit names yet.
    pub fn delta_to_tree(&self, from: &Revision, to: TreeId) -> Result<SnapshotDelta, RepoError> {
        self.with(|git| self.between(git, &commit_tree(git, from)?, &find_tree(git, to)?))
    }

    fn whole(
        &self,
        git: &Repository,
        tree: &Tree<'_>,
        revision: Option<Revision>,
    ) -> Result<Snapshot, RepoError> {
        let layout = self.layout_of_tree(git, tree);
        let to = Some((tree, &layout));
        let (documents, policies) = match both(git, None, to)? {
            Ok(changes) => changes,
            Err(why) => {
                return Ok(Snapshot {
                    revision,
                    beyond: Some(why),
                    ..Snapshot::default()
                });
            }
        };
        let mut unreadable = documents.unreadable;
        unreadable.extend(policies.unreadable);
        unreadable.sort();
        let present = |changes: Delta| {
            changes
                .into_iter()
                .filter_map(|(path, blob)| Some((path, blob?)))
                .collect()
        };
        Ok(Snapshot {
            revision,
            files: present(documents.files),
            policies: present(policies.files),
            unreadable,
            beyond: None,
        })
    }

    fn between(
        &self,
        git: &Repository,
        from: &Tree<'_>,
        to: &Tree<'_>,
    ) -> Result<SnapshotDelta, RepoError> {
        if from.id() == to.id() {
            return Ok(SnapshotDelta::default());
        }
        let from = (from, &self.layout_of_tree(git, from));
        let to = (to, &self.layout_of_tree(git, to));
        let (mut documents, policies) = match both(git, Some(from), Some(to))? {
            Ok(changes) => changes,
            Err(why) => {
                return Ok(SnapshotDelta {
                    beyond: Some(why),
                    ..SnapshotDelta::default()
                });
            }
        };
        documents.unreadable.extend(policies.unreadable);
        documents
            .no_longer_unreadable
            .extend(policies.no_longer_unreadable);
        Ok(SnapshotDelta {
            files: documents.files,
            policies: policies.files,
            unreadable: documents.unreadable,
            no_longer_unreadable: documents.no_longer_unreadable,
            beyond: None,
        })
    }

    /// Where the config repo lies in a tree. A tree without a `lockstep.yaml` is read where the repository as a whole has it,
    /// so that deleting that file shows as one file deleted.
    pub(super) fn layout_of_tree(&self, git: &Repository, tree: &Tree<'_>) -> Layout {
        let at = match &self.place {
            Place::Bare { .. } => "",
            Place::WorkTree { at, .. } | Place::Plain { at, .. } => at,
        };
        Layout::of_tree(tree, at)
            .or_else(|| {
                self.files()
                    .and_then(|(root, at)| Layout::of_files(root, at))
            })
            .unwrap_or_else(|| match &self.place {
                Place::Bare { .. } => Layout::of_head(git),
                Place::WorkTree { at, .. } | Place::Plain { at, .. } => Layout::beneath(at),
            })
    }
}

/// One side of a comparison: a commit's tree and where in it the config repo lies.
type Side<'a, 'g> = (&'a Tree<'g>, &'a Layout);

/// Documents and policies; or why they are more than the limits allow, which is said of the content and not of git.
fn both<'g>(
    git: &'g Repository,
    from: Option<Side<'_, 'g>>,
    to: Option<Side<'_, 'g>>,
) -> Result<Result<(Changes, Changes), String>, RepoError> {
    let read = walk(git, Part::Documents, from, to)
        .and_then(|documents| Ok((documents, walk(git, Part::Policies, from, to)?)));
    match read {
        Err(RepoError::TooLarge(why)) => Ok(Err(why)),
        read => read.map(Ok),
    }
}

fn walk<'g>(
    git: &'g Repository,
    part: Part,
    from: Option<Side<'_, 'g>>,
    to: Option<Side<'_, 'g>>,
) -> Result<Changes, RepoError> {
    let folder = |side: Option<Side<'_, 'g>>| {
        side.map_or(Ok(None), |(tree, layout)| {
            let path = match part {
                Part::Documents | Part::DocumentsBesidePolicies => layout.prefix(),
                Part::Policies => layout.policies(),
            };
            subtree(git, tree, path)
        })
    };
    let beside = [from, to]
        .into_iter()
        .flatten()
        .any(|(_, layout)| layout.policies_inside());
    let part = match part {
        Part::Documents if beside => Part::DocumentsBesidePolicies,
        Part::Documents | Part::DocumentsBesidePolicies | Part::Policies => part,
    };
    Walk::new(git, part)?.run(folder(from)?.as_ref(), folder(to)?.as_ref())
}

fn commit_tree<'g>(git: &'g Repository, revision: &Revision) -> Result<Tree<'g>, RepoError> {
    find_commit(git, revision)?
        .tree()
        .doing("reading a commit's files")
}

pub(super) fn find_tree(git: &Repository, tree: TreeId) -> Result<Tree<'_>, RepoError> {
    let id: Oid = tree.oid();
    git.find_tree(id).doing("reading a tree")
}
