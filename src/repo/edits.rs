//! The one way to write a git tree: edits on top of another, without a work tree or an index.

use std::collections::BTreeMap;

use git2::{Oid, Repository, Tree, TreeEntry};

use super::layout::join;
use super::tree::{TREE, is_tree};
use super::{Doing, RepoError};

const PLAIN: i32 = 0o100_644;
const EXECUTABLE: i32 = 0o100_755;

/// Files to write into a tree, by path from its root: a blob, or `None` to remove.
#[derive(Debug, Default)]
pub(super) struct Edits<'a> {
    file: Option<Option<Oid>>,
    below: BTreeMap<&'a str, Edits<'a>>,
}

impl<'a> Edits<'a> {
    pub(super) fn set(&mut self, path: &'a str, blob: Option<Oid>) {
        let mut node = self;
        for name in path.split('/') {
            node = node.below.entry(name).or_default();
        }
        node.file = Some(blob);
    }

    /// The tree with the edits in it. Folders that end up empty are left out, as git has none.
    pub(super) fn write(
        &self,
        git: &Repository,
        base: Option<&Tree<'_>>,
    ) -> Result<Oid, RepoError> {
        match self.write_folder(git, base, "")? {
            Some(tree) => Ok(tree),
            None => git
                .treebuilder(None)
                .and_then(|builder| builder.write())
                .doing("writing a tree"),
        }
    }

    fn write_folder(
        &self,
        git: &Repository,
        base: Option<&Tree<'_>>,
        path: &str,
    ) -> Result<Option<Oid>, RepoError> {
        let mut builder = git.treebuilder(base).doing("writing a tree")?;
        for (&name, edit) in &self.below {
            let old = base.and_then(|tree| tree.get_name(name));
            let old_mode = old.as_ref().map(TreeEntry::filemode_raw);
            let full = join(path, name);
            let (id, mode) = if edit.below.is_empty() {
                match (edit.file.flatten(), old_mode) {
                    (_, Some(TREE)) => {
                        return Err(RepoError::Invalid(format!(
                            "{full} is a folder, so no file can be written or removed there"
                        )));
                    }
                    (Some(blob), Some(EXECUTABLE)) => (Some(blob), EXECUTABLE),
                    (Some(blob), _) => (Some(blob), PLAIN),
                    (None, _) => (None, PLAIN),
                }
            } else {
                let gone = edit.file == Some(None);
                let file_stays = old_mode.is_some_and(|mode| mode != TREE) && !gone;
                if file_stays || matches!(edit.file, Some(Some(_))) {
                    return Err(RepoError::Invalid(format!(
                        "{full} is a file, so nothing can be written below it"
                    )));
                }
                let old = match old.filter(is_tree) {
                    Some(old) => Some(git.find_tree(old.id()).doing("reading a folder")?),
                    None => None,
                };
                (edit.write_folder(git, old.as_ref(), &full)?, TREE)
            };
            match id {
                Some(id) => {
                    builder.insert(name, id, mode).map_err(|error| {
                        // libgit2 refuses names that would be dangerous to check out, such as `.git`.
                        RepoError::Invalid(format!("{full} can't be written: {}", error.message()))
                    })?;
                }
                None if old_mode.is_some() => builder.remove(name).doing("writing a tree")?,
                None => {}
            }
        }
        if builder.is_empty() {
            return Ok(None);
        }
        builder.write().map(Some).doing("writing a tree")
    }
}
