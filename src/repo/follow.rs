//! Takes a checked-out branch's files along when the branch is moved here. Left behind they would look like a change that takes the merge
//! back, to git and to the next proposal made from the work tree.

use std::path::{Path, PathBuf};

use git2::build::CheckoutBuilder;
use git2::{Error, ErrorCode, ObjectType, Oid, Repository};

/// What became of the work tree.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// Files with changes of their own, left as they are.
    pub(super) kept: Vec<PathBuf>,
}

/// Brings the files that differ between two commits to the second, in the work tree and the index, where `branch` (a full name) is checked
/// out. A file that is neither as the first nor as the second commit has it holds somebody's work, and stays.
pub(super) fn follow(
    git: &Repository,
    branch: &str,
    from: Oid,
    to: Oid,
) -> Result<Followed, Error> {
    let mut followed = Followed::default();
    let (Some(root), true) = (git.workdir(), is_checked_out(git, branch)?) else {
        return Ok(followed);
    };
    let (from, to) = (git.find_commit(from)?.tree()?, git.find_commit(to)?.tree()?);
    let mut index = git.index()?;
    index.read(false)?;
    let mut checkout = CheckoutBuilder::new();
    checkout.force().disable_pathspec_match(true);
    let mut any = false;
    for delta in git
        .diff_tree_to_tree(Some(&from), Some(&to), None)?
        .deltas()
    {
        let (old, new) = (delta.old_file().id(), delta.new_file().id());
        let Some(path) = delta.new_file().path().or_else(|| delta.old_file().path()) else {
            continue;
        };
        let staged = index.get_path(path, 0).map_or(Oid::ZERO_SHA1, |e| e.id);
        let lying = content(git, &root.join(path))?;
        let known = |id: Oid| id == old || id == new;
        if !known(staged) || !known(lying) {
            followed.kept.push(path.to_owned());
        } else if new.is_zero() {
            remove(&root.join(path))?;
            index.remove_path(path)?;
        } else {
            checkout.path(path);
            any = true;
        }
    }
    index.write()?;
    if any {
        git.checkout_tree(to.as_object(), Some(&mut checkout))?;
    }
    Ok(followed)
}

fn is_checked_out(git: &Repository, branch: &str) -> Result<bool, Error> {
    let head = git.find_reference("HEAD")?;
    Ok(head.symbolic_target_bytes() == Some(branch.as_bytes()))
}

/// The id that git would give a file, zero where there is none. What is no plain file has none that is known.
fn content(git: &Repository, path: &Path) -> Result<Oid, Error> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() => match git.blob_path(path) {
            Ok(id) => Ok(id),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(Oid::ZERO_SHA1),
            Err(error) => Err(error),
        },
        // Whatever it is, no file of a config repo: its own hash is nobody's.
        Ok(_) => Oid::hash_object(ObjectType::Blob, path.as_os_str().as_encoded_bytes()),
        Err(_) => Ok(Oid::ZERO_SHA1),
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::from_str(&format!("{}: {error}", path.display()))),
    }
}
