//! A branch of another repository on this machine, brought over with all that it needs.

use std::io::Write as _;

use git2::{Buf, ErrorCode, ObjectType, Oid, Repository};

use super::history::{branch_ref, no_branch, ref_oid};
use super::write::move_ref;
use super::{Doing, Repo, RepoError};

impl Repo {
    /// Makes a new branch here of one that another repository has: a push, seen from where it arrives, so that it
    /// does not matter whether there is a work tree.
    ///
    /// Not by a fetch: that asks about every reference there is, and one that leads to no commit would fail it.
    pub fn bring_branch(&self, from: &Repo, branch: &str) -> Result<(), RepoError> {
        self.writable()?;
        let name = branch_ref(branch)?;
        let known = self.with(|git| {
            if ref_oid(git, &name)?.is_some() {
                return Err(RepoError::Moved {
                    name: branch.into(),
                });
            }
            known_commits(git)
        })?;
        let (tip, pack) = from.with(|git| {
            let tip = ref_oid(git, &name)?.ok_or_else(|| no_branch(branch))?;
            pack(git, tip, &known).map(|pack| (tip, pack))
        })?;
        self.with(|git| {
            // All that is missing is nothing, where the branch begins at what is here.
            if let Some(pack) = pack {
                let odb = git.odb().doing(BRINGING)?;
                let mut writer = odb.packwriter().doing(BRINGING)?;
                writer.write_all(&pack).map_err(|cause| RepoError::Io {
                    path: git.path().to_owned(),
                    cause,
                })?;
                writer.commit().doing(BRINGING)?;
            }
            move_ref(git, &name, None, tip, "lockstep: branch brought over")
        })
    }
}

const BRINGING: &str = "bringing a branch over";

/// The commits that references lead to here. What is behind each is here too. Those that lead to none are of no use.
fn known_commits(git: &Repository) -> Result<Vec<Oid>, RepoError> {
    let mut known = Vec::new();
    for reference in git.references().doing(BRINGING)? {
        let reference = reference.doing(BRINGING)?;
        if let Ok(commit) = reference.peel_to_commit() {
            known.push(commit.id());
        }
    }
    known.sort_unstable();
    known.dedup();
    Ok(known)
}

/// What `tip` needs beyond the known commits; `None` where that is nothing.
fn pack(git: &Repository, tip: Oid, known: &[Oid]) -> Result<Option<Vec<u8>>, RepoError> {
    let mut walk = git.revwalk().doing(BRINGING)?;
    walk.push(tip).doing(BRINGING)?;
    let odb = git.odb().doing(BRINGING)?;
    for commit in known {
        match odb.read_header(*commit) {
            Ok((_, ObjectType::Commit)) => walk.hide(*commit).doing(BRINGING)?,
            Ok(_) => {}
            Err(error) if error.code() == ErrorCode::NotFound => {}
            Err(error) => return Err(error).doing(BRINGING),
        }
    }
    let mut builder = git.packbuilder().doing(BRINGING)?;
    builder.insert_walk(&mut walk).doing(BRINGING)?;
    if builder.object_count() == 0 {
        return Ok(None);
    }
    let mut pack = Buf::new();
    builder.write_buf(&mut pack).doing(BRINGING)?;
    Ok(Some(pack.to_vec()))
}
