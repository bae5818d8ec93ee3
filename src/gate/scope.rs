//! What a proposal touches: the documents that a plan shows, and all that no plan shows, which approvals are bound to as well.

use std::collections::{BTreeMap, BTreeSet};

use crate::compile::{self, Compiled};
use crate::document::{Blob, Snapshot};
use crate::ids::{Digest, DocPath, PlanDigest, ResourceRef, Revision};
use crate::plan::Plan;
use crate::repo::{Repo, RepoError, TreeId};
use crate::resource::Bundle;

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

/// What a merge would change that no plan shows, by its path in git: definitions (policies, people, schemas), resources that are for no
/// system (incidents, experiments), text that makes no resource, and everything that is no document of the config repo, such as a
/// workflow of the forge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Unplanned(BTreeMap<String, String>);

/// One side of a proposal: its files, and what they mean.
pub(super) type Side<'a> = (&'a Snapshot, &'a Compiled);

impl Unplanned {
    pub(super) fn between(
        repo: &Repo,
        (base, tree): (&Revision, TreeId),
        (before, base_compiled): Side<'_>,
        (after, compiled): Side<'_>,
        plan: &Plan,
    ) -> Result<Self, RepoError> {
        let mut changed = repo.changed_paths(base, tree)?;
        let layout = repo.layout();
        let documents: BTreeSet<DocPath> = changed_files(before, after)
            .into_iter()
            .filter(|path| !defines(path.as_str()))
            .collect();
        let planned: BTreeSet<&ResourceRef> = plan
            .systems
            .values()
            .flat_map(|system| system.changes.iter().map(|change| &change.id))
            .collect();
        let (was, is) = (&base_compiled.bundle, &compiled.bundle);
        let mut declared = declared(was, is, &documents);
        for document in &documents {
            let ids = declared.remove(document).unwrap_or_default();
            let differing: Vec<&ResourceRef> = ids
                .iter()
                .copied()
                .filter(|id| differs(was, is, id))
                .collect();
            let path = layout.git_path(document);
            // Prose that no resource takes up is for people, and so is a document without any; a comment in data is not.
            let is_text = document.as_str().ends_with(".md");
            if ids.is_empty() || (differing.is_empty() && is_text) {
                continue;
            }
            let bound: Vec<String> = differing
                .into_iter()
                .filter(|id| !planned.contains(id))
                .map(|id| format!("{id} {} {}", content(was, id), content(is, id)))
                .collect();
            changed.remove(&path);
            if !bound.is_empty() {
                changed.insert(path, bound.join("\n"));
            }
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

/// What judges, or says what documents mean: all of it counts, as it is written.
fn defines(path: &str) -> bool {
    path == compile::CONFIG
        || path.starts_with("kinds/")
        || path.starts_with("policies/")
        || path.ends_with(".rego")
}

/// Whether any of these files is one that Lockstep judges by or reads resources from, before or after.
pub(super) fn concerns(files: &[DocPath], was: &Compiled, is: &Compiled) -> bool {
    files.iter().any(|path| {
        defines(path.as_str()) || was.read_as(path).is_some() || is.read_as(path).is_some()
    })
}

/// What each of these documents declares, before or after.
fn declared<'b>(
    was: &'b Bundle,
    is: &'b Bundle,
    documents: &BTreeSet<DocPath>,
) -> BTreeMap<DocPath, BTreeSet<&'b ResourceRef>> {
    let mut declared: BTreeMap<DocPath, BTreeSet<&ResourceRef>> = BTreeMap::new();
    if documents.is_empty() {
        return declared;
    }
    for resource in was.resources().chain(is.resources()) {
        if documents.contains(&resource.document) {
            let ids = declared.entry(resource.document.clone()).or_default();
            ids.insert(&resource.item.id);
        }
    }
    declared
}

/// Whether a resource would be another, or for other systems. That it stands in another document changes nothing.
fn differs(was: &Bundle, is: &Bundle, id: &ResourceRef) -> bool {
    let of = |bundle: &Bundle| {
        bundle
            .get(id)
            .map(|r| (r.item.spec.clone(), r.systems.clone()))
    };
    of(was) != of(is)
}

/// The digest of a resource's content, `-` where there is none.
fn content(bundle: &Bundle, id: &ResourceRef) -> String {
    bundle
        .get(id)
        .map_or_else(|| "-".to_owned(), |r| r.item.digest().to_string())
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
