//! Names and ancestry of commits.

use std::collections::BTreeMap;

use git2::{ErrorCode, Oid, Repository, Sort};
use jiff::Timestamp;

use super::{Doing, Identity, Repo, RepoError, TreeId, find_commit, to_oid, to_revision};
use crate::ids::Revision;

/// A commit without its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitInfo {
    pub revision: Revision,
    pub parents: Vec<Revision>,
    pub author: Identity,
    /// When it was committed, to the second.
    pub at: Timestamp,
    pub message: String,
}

impl CommitInfo {
    /// The message's first line.
    pub fn subject(&self) -> &str {
        self.message.lines().next().unwrap_or_default()
    }
}

impl Repo {
    /// What a person calls a commit: a branch, a tag, `HEAD`, the beginning of an id, `main~2`. A branch that is
    /// only known from `origin` is found too, as in a fresh checkout of a build server. A branch goes before a tag of its name: who
    /// may push a tag does not say what `main` is.
    pub fn resolve(&self, text: &str) -> Result<Revision, RepoError> {
        self.with(|git| {
            let find = |text: &str| git.revparse_single(text).and_then(|o| o.peel_to_commit());
            if !text.starts_with("HEAD")
                && text.parse::<Revision>().is_err()
                && let Ok(commit) = find(&format!("refs/heads/{text}"))
            {
                return to_revision(commit.id());
            }
            match find(text).or_else(|error| find(&format!("origin/{text}")).map_err(|_| error)) {
                Ok(commit) => to_revision(commit.id()),
                Err(error) if error.code() == ErrorCode::Ambiguous => Err(RepoError::NotFound(
                    format!("{text:?} fits several commits; give more digits of the id"),
                )),
                Err(_) => Err(RepoError::NotFound(format!(
                    "there is no branch, tag or commit {text:?} here; `git log --all` shows what there is"
                ))),
            }
        })
    }

    /// The newest commit of a branch, named without `refs/heads/`; `None` where there is no such branch.
    pub fn head(&self, branch: &str) -> Result<Option<Revision>, RepoError> {
        self.read_ref(&branch_ref(branch)?)
    }

    /// What marks this config repo's own on systems: the commit its branch began with, which no other repository has. `None` where there is no such
    /// branch, or a clone that is cut off does not know its beginning.
    pub fn mark(&self, branch: &str) -> Result<Option<String>, RepoError> {
        let Some(head) = self.head(branch)? else {
            return Ok(None);
        };
        self.with(|git| {
            if git.is_shallow() {
                return Ok(None);
            }
            let mut commit = find_commit(git, &head)?;
            while let Ok(parent) = commit.parent(0) {
                commit = parent;
            }
            let first = to_revision(commit.id())?;
            Ok(Some(format!("config repo {}", first.short())))
        })
    }

    /// What any reference points at, peeled to a commit; `None` where there is no such reference.
    pub(crate) fn read_ref(&self, name: &str) -> Result<Option<Revision>, RepoError> {
        self.with(|git| match self.ref_oid(git, name)? {
            Some(oid) => to_revision(oid).map(Some),
            None => Ok(None),
        })
    }

    /// The references below a folder such as `refs/lockstep/proposals`, by what follows its `/`.
    pub(crate) fn list_refs(&self, folder: &str) -> Result<Vec<(String, Revision)>, RepoError> {
        self.with(|git| {
            let mut found = Vec::new();
            let all = git
                .references_glob(&format!("{folder}/*"))
                .doing("listing references")?;
            for reference in all {
                let reference = reference.doing("listing references")?;
                let (Ok(name), Some(oid)) = (reference.name(), reference.target()) else {
                    continue;
                };
                if let Some(rest) = name.strip_prefix(folder).and_then(|r| r.strip_prefix('/')) {
                    found.push((rest.to_owned(), to_revision(oid)?));
                }
            }
            Ok(self.refs_ahead(folder, found))
        })
    }

    /// The branch that `HEAD` names, which need not have a commit yet. `None` where a commit is checked out by itself.
    pub fn current_branch(&self) -> Result<Option<String>, RepoError> {
        self.with(|git| {
            let head = git.find_reference("HEAD").doing("reading HEAD")?;
            Ok(head
                .symbolic_target()
                .doing("reading HEAD")?
                .and_then(|name| name.strip_prefix("refs/heads/"))
                .map(ToOwned::to_owned))
        })
    }

    /// Where two histories parted; `None` where they share nothing.
    pub fn merge_base(&self, a: &Revision, b: &Revision) -> Result<Option<Revision>, RepoError> {
        self.with(|git| match git.merge_base(to_oid(a)?, to_oid(b)?) {
            Ok(oid) => to_revision(oid).map(Some),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(cause) => Err(RepoError::Git {
                doing: "comparing histories",
                cause,
            }),
        })
    }

    /// Whether `older` is `newer` or in its history.
    pub fn is_ancestor(&self, older: &Revision, newer: &Revision) -> Result<bool, RepoError> {
        self.with(|git| is_ancestor(git, to_oid(older)?, to_oid(newer)?))
    }

    /// A commit's message, author and time.
    pub fn commit(&self, revision: &Revision) -> Result<CommitInfo, RepoError> {
        self.with(|git| info(&find_commit(git, revision)?))
    }

    /// The newest `count` steps of a branch, newest first. A merge is one step: what it brought along is not listed.
    pub fn log(&self, branch: &str, count: usize) -> Result<Vec<CommitInfo>, RepoError> {
        let Some(head) = self.head(branch)? else {
            return Err(no_branch(branch));
        };
        self.with(|git| {
            let mut walk = git.revwalk().doing("reading the history")?;
            walk.simplify_first_parent().doing("reading the history")?;
            walk.push(to_oid(&head)?).doing("reading the history")?;
            walk.take(count)
                .map(|oid| {
                    let oid = oid.doing("reading the history")?;
                    info(&git.find_commit(oid).doing("reading the history")?)
                })
                .collect()
        })
    }

    /// Every path that differs between a commit and a tree, whatever it is and wherever it lies, with the new content's id (zeros where it is
    /// gone). Names that are not UTF-8 are shown as far as they can be.
    pub fn changed_paths(
        &self,
        from: &Revision,
        to: TreeId,
    ) -> Result<BTreeMap<String, String>, RepoError> {
        self.with(|git| {
            let doing = "comparing two trees";
            let before = find_commit(git, from)?.tree().doing(doing)?;
            let after = git.find_tree(to.oid()).doing(doing)?;
            let diff = git
                .diff_tree_to_tree(Some(&before), Some(&after), None)
                .doing(doing)?;
            let changed = diff.deltas().map(|delta| {
                let file = delta.new_file();
                let name = file.path_bytes().or_else(|| delta.old_file().path_bytes());
                let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
                (name, format!("{} {:?}", file.id(), file.mode()))
            });
            Ok(changed.collect())
        })
    }

    /// The commits that `head` has and `base` lacks, oldest first.
    pub fn commits_between(
        &self,
        base: &Revision,
        head: &Revision,
    ) -> Result<Vec<Revision>, RepoError> {
        self.with(|git| {
            let mut walk = git.revwalk().doing("reading the history")?;
            walk.set_sorting(Sort::TOPOLOGICAL | Sort::REVERSE)
                .doing("reading the history")?;
            walk.push(to_oid(head)?).doing("reading the history")?;
            walk.hide(to_oid(base)?).doing("reading the history")?;
            walk.map(|oid| to_revision(oid.doing("reading the history")?))
                .collect()
        })
    }

    /// The step of `tip`'s own history that brought `commit` in: the merge commit, or the commit itself.
    /// Looks at the newest `limit` steps; `None` where it is further back or not there at all.
    pub(crate) fn brought_in_by(
        &self,
        commit: &Revision,
        tip: &Revision,
        limit: usize,
    ) -> Result<Option<CommitInfo>, RepoError> {
        self.with(|git| {
            let wanted = to_oid(commit)?;
            let mut step = find_commit(git, tip)?;
            if !is_ancestor(git, wanted, step.id())? {
                return Ok(None);
            }
            for _ in 0..limit {
                match step.parent_id(0) {
                    Ok(parent) if is_ancestor(git, wanted, parent)? => {
                        step = git.find_commit(parent).doing("reading the history")?;
                    }
                    Ok(_) | Err(_) => return info(&step).map(Some),
                }
            }
            Ok(None)
        })
    }
}

/// The full name of a branch, if it can be one.
pub(super) fn branch_ref(branch: &str) -> Result<String, RepoError> {
    let name = format!("refs/heads/{branch}");
    if branch.starts_with('-') || !git2::Reference::is_valid_name(&name.replace('\0', "?")) {
        return Err(RepoError::Invalid(format!(
            "{branch:?} can't be a branch's name; use letters, digits, '-', '_', '.' and '/'"
        )));
    }
    Ok(name)
}

pub(super) fn no_branch(branch: &str) -> RepoError {
    RepoError::NotFound(format!(
        "there is no branch {branch:?} here; `git branch --all` shows what there is"
    ))
}

pub(super) fn ref_oid(git: &Repository, name: &str) -> Result<Option<Oid>, RepoError> {
    match git.find_reference(name).and_then(|r| r.peel_to_commit()) {
        Ok(commit) => Ok(Some(commit.id())),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(cause) => Err(RepoError::Git {
            doing: "reading a reference",
            cause,
        }),
    }
}

pub(super) fn is_ancestor(git: &Repository, older: Oid, newer: Oid) -> Result<bool, RepoError> {
    if older == newer {
        return Ok(true);
    }
    git.graph_descendant_of(newer, older)
        .doing("comparing histories")
}

pub(super) fn info(commit: &git2::Commit<'_>) -> Result<CommitInfo, RepoError> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let author = commit.author();
    Ok(CommitInfo {
        revision: to_revision(commit.id())?,
        parents: commit
            .parent_ids()
            .map(to_revision)
            .collect::<Result<_, _>>()?,
        author: Identity {
            name: text(author.name_bytes()),
            email: text(author.email_bytes()),
        },
        // A commit's time is whatever its maker wrote; one outside the calendar is shown as the epoch.
        at: Timestamp::from_second(commit.time().seconds()).unwrap_or(Timestamp::UNIX_EPOCH),
        message: text(commit.message_bytes()),
    })
}
