//! The repository as a push would leave it, for a hook that decides whether the push may do so.
//!
//! What was pushed lies in an object store of its own until then, and no reference has moved yet. Here both are looked at as if they were
//! there already. Nothing can be written meanwhile: a tree that judging makes stays in memory, so that a refused push leaves nothing behind.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use git2::{ErrorCode, ObjectType, Oid, ReferenceType, Repository};

use super::history::{info, is_ancestor, ref_oid};
use super::{CommitInfo, Doing, Repo, RepoError, TreeId, find_commit, to_oid, to_revision};
use crate::ids::Revision;

/// References by their full names, with where they would point; `None` where they would be gone.
pub type Refs = BTreeMap<String, Option<Revision>>;

/// Before the stores on disk, which libgit2 gives 1 and 2.
const MEMORY_FIRST: i32 = 1_000;

/// How many tags may lead to a commit one by the other.
const TAGS_OF_TAGS: usize = 16;

/// How a branch would go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Steps {
    /// One commit on top of the other by first parents, oldest first.
    Forward(Vec<CommitInfo>),
    /// The newer commit has the older in its history, but not on its own line: a merge the wrong way round.
    Beside,
    /// The older commit would be lost.
    Lost,
    /// More steps than were to be looked at.
    TooMany,
}

impl Repo {
    /// The same repository, reading these object stores too: what a push brought lies in one of its own until its hook agrees
    /// (`GIT_OBJECT_DIRECTORY`, `GIT_ALTERNATE_OBJECT_DIRECTORIES`). Nothing can be written through it.
    #[must_use]
    pub fn with_objects(mut self, stores: Vec<PathBuf>) -> Self {
        self.more_objects = stores;
        self.lock_handles().clear();
        self
    }

    /// The same repository, with these references as they are given, whatever they are. Nothing can be written through it.
    #[must_use]
    pub fn with_refs(mut self, refs: Refs) -> Self {
        self.refs = Some(refs);
        self.lock_handles().clear();
        self
    }

    fn looks_ahead(&self) -> bool {
        self.refs.is_some() || !self.more_objects.is_empty()
    }

    /// Prepares a new handle.
    pub(super) fn look_ahead(&self, git: &Repository) -> Result<(), RepoError> {
        if !self.looks_ahead() {
            return Ok(());
        }
        let odb = git.odb().doing("opening an object store")?;
        for objects in &self.more_objects {
            let Some(objects) = objects.to_str() else {
                return Err(RepoError::Invalid(format!(
                    "{} can't be read: its path must be UTF-8",
                    objects.display()
                )));
            };
            odb.add_disk_alternate(objects)
                .doing("opening an object store")?;
        }
        odb.add_new_mempack_backend(MEMORY_FIRST)
            .doing("opening an object store")?;
        Ok(())
    }

    /// Refuses to write what a push that is still being judged would not bring.
    pub(super) fn writable(&self) -> Result<(), RepoError> {
        if self.looks_ahead() {
            return Err(RepoError::Unsupported(
                "nothing is written while a push is being judged".to_owned(),
            ));
        }
        Ok(())
    }

    /// Where a reference points, or would point.
    pub(super) fn ref_oid(&self, git: &Repository, name: &str) -> Result<Option<Oid>, RepoError> {
        match self.refs.as_ref().and_then(|refs| refs.get(name)) {
            None => ref_oid(git, name),
            Some(None) => Ok(None),
            Some(Some(to)) => git
                .find_object(to_oid(to)?, None)
                .and_then(|object| object.peel_to_commit())
                .map(|commit| Some(commit.id()))
                .doing("reading what was pushed"),
        }
    }

    /// The references that would be below a folder, given those that are.
    pub(super) fn refs_ahead(
        &self,
        folder: &str,
        mut found: Vec<(String, Revision)>,
    ) -> Vec<(String, Revision)> {
        for (name, to) in self.refs.iter().flatten() {
            let Some(rest) = name.strip_prefix(folder).and_then(|r| r.strip_prefix('/')) else {
                continue;
            };
            found.retain(|(name, _)| name != rest);
            found.extend(to.iter().map(|to| (rest.to_owned(), to.clone())));
        }
        found
    }

    /// Whether a reference is only another name for one.
    pub fn is_alias(&self, name: &str) -> Result<bool, RepoError> {
        self.with(|git| match git.find_reference(name) {
            Ok(reference) => Ok(reference.kind() == Some(ReferenceType::Symbolic)),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(false),
            Err(error) => Err(error).doing("reading a reference"),
        })
    }

    /// The full names of all references that there are.
    pub fn ref_names(&self) -> Result<BTreeSet<String>, RepoError> {
        self.with(|git| {
            let mut all = BTreeSet::new();
            for reference in git.references().doing("listing references")? {
                let reference = reference.doing("listing references")?;
                all.insert(String::from_utf8_lossy(reference.name_bytes()).into_owned());
            }
            Ok(all)
        })
    }

    /// What a reference points at, be it a commit or not. For one that is another's name, `None`.
    pub fn target(&self, name: &str) -> Result<Option<Revision>, RepoError> {
        self.with(|git| match git.find_reference(name) {
            Ok(reference) => reference.target().map(to_revision).transpose(),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(error).doing("reading a reference"),
        })
    }

    /// Whether an object is a commit, and not a tag, a tree or a file.
    pub fn is_commit(&self, object: &Revision) -> Result<bool, RepoError> {
        self.with(|git| {
            let odb = git.odb().doing("reading what was pushed")?;
            match odb.read_header(to_oid(object)?) {
                Ok((_, kind)) => Ok(kind == ObjectType::Commit),
                Err(error) if error.code() == ErrorCode::NotFound => Ok(false),
                Err(error) => Err(error).doing("reading what was pushed"),
            }
        })
    }

    /// Whether an object is a commit, or a tag that leads to one.
    pub fn leads_to_commit(&self, object: &Revision) -> Result<bool, RepoError> {
        self.with(|git| {
            let odb = git.odb().doing("reading what was pushed")?;
            let mut oid = to_oid(object)?;
            for _ in 0..TAGS_OF_TAGS {
                // By its header: a blob may be of any size.
                let kind = match odb.read_header(oid) {
                    Ok((_, kind)) => kind,
                    Err(error) if error.code() == ErrorCode::NotFound => return Ok(false),
                    Err(error) => return Err(error).doing("reading what was pushed"),
                };
                match kind {
                    ObjectType::Commit => return Ok(true),
                    ObjectType::Tag => {}
                    ObjectType::Any | ObjectType::Tree | ObjectType::Blob => return Ok(false),
                }
                let Ok(tag) = git.find_tag(oid) else {
                    return Ok(false);
                };
                oid = tag.target_id();
            }
            Ok(false)
        })
    }

    /// Whether git takes this for the name of a reference.
    pub fn is_name(name: &str) -> bool {
        !name.contains('\0') && git2::Reference::is_valid_name(name)
    }

    /// How a branch would go on from one commit to another, in at most `limit` steps.
    pub fn steps(&self, from: &Revision, to: &Revision, limit: usize) -> Result<Steps, RepoError> {
        self.with(|git| {
            let from = find_commit(git, from)?.id();
            let mut step = find_commit(git, to)?;
            if !is_ancestor(git, from, step.id())? {
                return Ok(Steps::Lost);
            }
            let mut steps = Vec::new();
            while step.id() != from {
                if steps.len() == limit {
                    return Ok(Steps::TooMany);
                }
                steps.push(info(&step)?);
                step = match step.parent_id(0) {
                    Ok(parent) if is_ancestor(git, from, parent)? => {
                        git.find_commit(parent).doing("reading the history")?
                    }
                    Ok(_) | Err(_) => return Ok(Steps::Beside),
                };
            }
            steps.reverse();
            Ok(Steps::Forward(steps))
        })
    }

    /// A commit's files.
    pub fn tree_of(&self, revision: &Revision) -> Result<TreeId, RepoError> {
        self.with(|git| Ok(TreeId(find_commit(git, revision)?.tree_id())))
    }
}
