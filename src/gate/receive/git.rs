//! What git itself would still refuse after the hook has agreed. It applies the references of a push one by one, so main could move while
//! the notes that belong to it stay behind; a push that git would split is refused as a whole.

use std::collections::BTreeSet;

use super::{Update, Why};
use crate::repo::{Repo, RepoError};

/// What is there, and what a push says of it.
pub(super) struct Whole<'a> {
    now: &'a Repo,
    updates: &'a [Update],
    /// All references, before and after: git may make one before it deletes another.
    names: BTreeSet<String>,
    no_deletes: bool,
    no_rewriting: bool,
}

impl<'a> Whole<'a> {
    pub(super) fn new(now: &'a Repo, updates: &'a [Update]) -> Result<Self, RepoError> {
        let mut names = now.ref_names()?;
        let made = updates.iter().filter(|u| u.to.is_some());
        names.extend(made.map(|u| u.reference.clone()));
        let set = |key| Ok::<_, RepoError>(now.config_bool(key)? == Some(true));
        Ok(Self {
            now,
            updates,
            names,
            no_deletes: set("receive.denyDeletes")?,
            no_rewriting: set("receive.denyNonFastForwards")?,
        })
    }

    /// Why git would not move this reference, though it may move the others.
    pub(super) fn refuses(&self, update: &Update, main: &str) -> Result<Option<Why>, RepoError> {
        let name = update.reference.as_str();
        if !Repo::is_name(name) {
            return Ok(Some(Why::Elsewhere));
        }
        if self.updates.iter().filter(|u| u.reference == name).count() > 1 {
            return Ok(Some(Why::Collides { with: name.into() }));
        }
        if update.to.is_some()
            && let Some(with) = self.in_the_way(name)
        {
            return Ok(Some(Why::Collides { with }));
        }
        // Main has words of its own for this.
        if name != main && self.now.target(name)? != update.from {
            return Ok(Some(Why::Moved));
        }
        let Some(to) = &update.to else {
            let setting = "receive.denyDeletes";
            return Ok(self.no_deletes.then_some(Why::Setting { setting }));
        };
        if !name.starts_with("refs/heads/") {
            return Ok(None);
        }
        if !self.now.is_commit(to)? {
            return Ok(Some(Why::NoCommit));
        }
        let rewritten = match &update.from {
            Some(from) if self.no_rewriting => !self.now.is_ancestor(from, to)?,
            Some(_) | None => false,
        };
        let setting = "receive.denyNonFastForwards";
        Ok(rewritten.then_some(Why::Setting { setting }))
    }

    /// A reference that is a folder of this one, or lies below it.
    fn in_the_way(&self, name: &str) -> Option<String> {
        let mut folders = name.match_indices('/').map(|(at, _)| name.split_at(at).0);
        if let Some(above) = folders.find(|f| self.names.contains(*f)) {
            return Some(above.to_owned());
        }
        let inside = format!("{name}/");
        let next = self.names.range(inside.clone()..).next();
        next.filter(|next| next.starts_with(&inside)).cloned()
    }
}
