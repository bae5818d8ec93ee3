//! What a proposal touches: the documents that a plan shows, and all that no plan shows, which approvals are bound to as well.

use std::collections::{BTreeMap, BTreeSet};

use crate::compile;
use crate::document::{Blob, Snapshot};
use crate::ids::{Digest, DocPath, PlanDigest, Revision};
use crate::plan::Plan;
use crate::repo::{Repo, RepoError, TreeId};

/// All paths, policies included, whose content differs.
pub(super) fn changed_files(before: &Snapshot, after: &Snapshot) -> Vec<DocPath> {
    fn differing<'a>(
        a: &'a BTreeMap<DocPath, Blob>,
        b: &'a BTreeMap<DocPath, Blob>,
    ) -> impl Iterator<Item = &'a DocPath> {
        let gone_or_other = a
            .iter()
            .filter(|(path, blob)| b.get(*path).map(|o| o.id) != Some(blob.id));
        let new = b.iter().filter(|(path, _)| !a.contains_key(*path));
        gone_or_other.chain(new).map(|(path, _)| path)
    }
    let files: BTreeSet<&DocPath> = differing(&before.files, &after.files)
        .chain(differing(&before.policies, &after.policies))
        .collect();
    files.into_iter().cloned().collect()
}

/// What a merge would change that no plan shows, by its path in git: definitions (policies, people, schemas), and everything
/// that is no document of the config repo, such as a workflow of the forge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unplanned(BTreeMap<String, String>);

impl Unplanned {
    pub(super) fn between(
        repo: &Repo,
        base: &Revision,
        tree: TreeId,
        before: &Snapshot,
        after: &Snapshot,
    ) -> Result<Self, RepoError> {
        let defines = |path: &str| {
            path == compile::CONFIG
                || path.starts_with("kinds/")
                || path.starts_with("policies/")
                || path.ends_with(".rego")
        };
        let mut changed = repo.changed_paths(base, tree)?;
        let layout = repo.layout();
        for document in changed_files(before, after)
            .iter()
            .filter(|p| !defines(p.as_str()))
        {
            changed.remove(&layout.git_path(document));
        }
        Ok(Self(changed))
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These paths and the documents', for policies to see.
    pub(super) fn with(&self, mut documents: Vec<DocPath>) -> Vec<DocPath> {
        documents.extend(self.0.keys().filter_map(|path| path.parse().ok()));
        documents.sort();
        documents.dedup();
        documents
    }
}

/// The digest that approvals are bound to: the plan's own, and where a proposal changes things that no plan shows, their contents too.
pub(super) fn scope(plan: &Plan, unplanned: &Unplanned) -> PlanDigest {
    if unplanned.is_empty() {
        return plan.digest();
    }
    let mut text = plan.digest().to_string();
    for (path, content) in &unplanned.0 {
        text.push_str(&format!("\n{path}\0{content}"));
    }
    PlanDigest(Digest::of(text.as_bytes()))
}
