//! Where in a repository the config repo lies: its root, or the folder `shared-config`, with the policies in it or beside it.

use std::path::Path;

use git2::{ObjectType, Repository, Tree};

use crate::ids::DocPath;

/// The folder that may hold the config repo inside a larger one.
pub(super) const SHARED: &str = "shared-config";
/// The folder of the policies, and what their paths begin with in a snapshot wherever that folder lies.
pub(super) const POLICIES: &str = "policies";
pub(super) const CONFIG: &str = "lockstep.yaml";

/// The two folders of a config repo, as paths from the repository's root; empty for the root itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    prefix: String,
    policies: String,
}

impl Layout {
    /// The folder that document paths are relative to.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The folder with the policies.
    pub fn policies(&self) -> &str {
        &self.policies
    }

    /// Whether the policies are inside the folder of the documents, so that a walk over those must leave them out.
    pub(super) fn policies_inside(&self) -> bool {
        self.policies == join(&self.prefix, POLICIES)
    }

    /// A snapshot's path as a path from the repository's root.
    pub fn git_path(&self, path: &DocPath) -> String {
        match path.as_str().strip_prefix("policies/") {
            Some(rest) => join(&self.policies, rest),
            None => join(&self.prefix, path.as_str()),
        }
    }

    /// A path from the repository's root as a snapshot would call it; `None` where it is in neither folder.
    pub(super) fn doc_path(&self, path: &str) -> Option<DocPath> {
        let policy = below(&self.policies, path).map(|rest| join(POLICIES, rest));
        let document = || below(&self.prefix, path).map(ToOwned::to_owned);
        policy.or_else(document)?.parse().ok()
    }

    /// What holds where no `lockstep.yaml` says otherwise.
    pub(super) fn beneath(at: &str) -> Self {
        Self {
            prefix: at.to_owned(),
            policies: join(at, POLICIES),
        }
    }

    /// Looks for `lockstep.yaml` in the opened folder, then in its `shared-config`, then upwards.
    fn find(
        at: &str,
        is_file: &dyn Fn(&str) -> bool,
        is_dir: &dyn Fn(&str) -> bool,
    ) -> Option<Self> {
        let mut places = vec![at.to_owned(), join(at, SHARED)];
        let mut up = at;
        while !up.is_empty() {
            up = parent(up);
            places.push(up.to_owned());
        }
        let prefix = places
            .into_iter()
            .find(|place| is_file(&join(place, CONFIG)))?;
        let own = join(&prefix, POLICIES);
        let policies = if prefix.is_empty() || is_dir(&own) {
            own
        } else {
            join(parent(&prefix), POLICIES)
        };
        Some(Self { prefix, policies })
    }

    /// By the files of a work tree. Links are not followed.
    pub(super) fn of_files(root: &Path, at: &str) -> Option<Self> {
        let look = |path: &str| root.join(path).symlink_metadata().ok();
        Self::find(
            at,
            &|path| look(path).is_some_and(|m| m.is_file()),
            &|path| look(path).is_some_and(|m| m.is_dir()),
        )
    }

    /// By a commit's tree, looked at from the folder that was opened.
    pub(super) fn of_tree(tree: &Tree<'_>, at: &str) -> Option<Self> {
        let look = |path: &str| tree.get_path(Path::new(path)).ok().and_then(|e| e.kind());
        Self::find(at, &|path| look(path) == Some(ObjectType::Blob), &|path| {
            look(path) == Some(ObjectType::Tree)
        })
    }

    pub(super) fn of_head(git: &Repository) -> Self {
        git.head()
            .and_then(|head| head.peel_to_tree())
            .ok()
            .and_then(|tree| Self::of_tree(&tree, ""))
            .unwrap_or_else(|| Self::beneath(""))
    }
}

pub(super) fn join(folder: &str, rest: &str) -> String {
    if folder.is_empty() {
        rest.to_owned()
    } else {
        format!("{folder}/{rest}")
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn below<'p>(folder: &str, path: &'p str) -> Option<&'p str> {
    if folder.is_empty() {
        return Some(path);
    }
    path.strip_prefix(folder)?.strip_prefix('/')
}
