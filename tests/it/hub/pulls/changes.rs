//! What a pull request changes, straight from git.

use std::path::Path;

use git2::{Delta, Diff, DiffFindOptions, Oid, Repository};
use serde_json::{Value, json};

use crate::hub::Shared;

/// The commits that a head has and a base has not.
pub(super) fn range(path: &Path, base: &str, head: &str) -> Vec<Oid> {
    let repository = Repository::open(path).unwrap();
    let (Ok(base), Ok(head)) = (Oid::from_str(base), Oid::from_str(head)) else {
        return Vec::new();
    };
    let mut walk = repository.revwalk().unwrap();
    if walk.push(head).is_err() || walk.hide(base).is_err() {
        return Vec::new();
    }
    let order = git2::Sort::TOPOLOGICAL | git2::Sort::REVERSE;
    walk.set_sorting(order).unwrap();
    walk.flatten().collect()
}

/// From where the two parted to the head.
fn diff<'r>(repository: &'r Repository, pull: &Value) -> Option<Diff<'r>> {
    let id = |side: &str| Oid::from_str(pull[side]["sha"].as_str()?).ok();
    let head = repository.find_commit(id("head")?).ok()?;
    let parted = repository.merge_base(id("base")?, head.id()).ok()?;
    let from = repository.find_commit(parted).ok()?.tree().ok()?;
    let to = head.tree().ok()?;
    let mut diff = repository
        .diff_tree_to_tree(Some(&from), Some(&to), None)
        .ok()?;
    diff.find_similar(Some(DiffFindOptions::new().renames(true)))
        .ok()?;
    Some(diff)
}

/// Its files as `pulls/N/files` lists them.
pub(super) fn files(shared: &Shared, name: &str, pull: &Value) -> Vec<Value> {
    let repository = Repository::open(shared.bare(name)).unwrap();
    let Some(diff) = diff(&repository, pull) else {
        return Vec::new();
    };
    let head = pull["head"]["sha"].as_str().unwrap_or_default();
    let html = format!("{}/{name}", shared.base);
    let mut files = Vec::new();
    for (at, delta) in diff.deltas().enumerate() {
        let path = |file: git2::DiffFile<'_>| {
            let path = file.path_bytes().unwrap_or_default();
            String::from_utf8_lossy(path).into_owned()
        };
        let status = [
            (Delta::Added, "added"),
            (Delta::Deleted, "removed"),
            (Delta::Renamed, "renamed"),
        ]
        .into_iter()
        .find_map(|(delta_is, called)| (delta.status() == delta_is).then_some(called))
        .unwrap_or("modified");
        let (old, new) = (path(delta.old_file()), path(delta.new_file()));
        let blob = if status == "removed" {
            delta.old_file().id()
        } else {
            delta.new_file().id()
        };
        let mut file = json!({
            "sha": blob.to_string(), "filename": new, "status": status,
            "additions": 0, "deletions": 0, "changes": 0,
            "blob_url": format!("{html}/blob/{head}/{new}"), "raw_url": format!("{html}/raw/{head}/{new}"),
            "contents_url": format!("{}/repos/{name}/contents/{new}?ref={head}", shared.base),
        });
        if status == "renamed" {
            file["previous_filename"] = json!(old);
        }
        if let Ok(Some(mut patch)) = git2::Patch::from_diff(&diff, at) {
            let (_, added, removed) = patch.line_stats().unwrap();
            file["additions"] = json!(added);
            file["deletions"] = json!(removed);
            file["changes"] = json!(added + removed);
            let text = String::from_utf8_lossy(&patch.to_buf().unwrap()).into_owned();
            if let Some(start) = text.find("@@") {
                file["patch"] = json!(text[start..].trim_end_matches('\n'));
            }
        }
        files.push(file);
    }
    files
}

/// How much it changes.
pub(in crate::hub) fn count(shared: &Shared, name: &str, pull: &mut Value) {
    let path = shared.bare(name);
    let repository = Repository::open(&path).unwrap();
    let Some(stats) = diff(&repository, pull).and_then(|diff| diff.stats().ok()) else {
        return;
    };
    pull["changed_files"] = json!(stats.files_changed());
    pull["additions"] = json!(stats.insertions());
    pull["deletions"] = json!(stats.deletions());
    let sides =
        ["base", "head"].map(|side| pull[side]["sha"].as_str().unwrap_or_default().to_owned());
    pull["commits"] = json!(range(&path, &sides[0], &sides[1]).len());
}
