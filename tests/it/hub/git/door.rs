//! What goes between git and the emulator's store, through the door that `start.mjs` opens.

use std::collections::HashSet;
use std::sync::Arc;

use git2::{ObjectType, Oid, Repository};
use serde_json::{Value, json};

use crate::hub::Shared;
use crate::hub::ask::{base64, in_base64};

/// New objects, as the door takes them.
#[derive(Default)]
struct New {
    blobs: Vec<Value>,
    trees: Vec<Value>,
    commits: Vec<Value>,
}

/// Tells the emulator of refs, and of all objects behind them that it does not have.
pub(super) async fn into_emulator(shared: &Arc<Shared>, repository: &str, refs: &Value) -> Value {
    let new = {
        let mut state = shared.state();
        let known = state.known.entry(repository.to_owned()).or_default();
        new_objects(&shared.bare(repository), refs, known)
    };
    // A fork and its parent see each other's objects.
    let base = shared.now_called("acme/config");
    let networks = if repository == base {
        vec![repository.to_owned()]
    } else {
        vec![repository.to_owned(), base]
    };
    let body = json!({
        "repo": repository, "networks": networks, "refs": refs,
        "blobs": new.blobs, "trees": new.trees, "commits": new.commits,
    });
    shared.through_door("sync", &body).await
}

fn new_objects(path: &std::path::Path, refs: &Value, known: &mut HashSet<Oid>) -> New {
    let repository = Repository::open(path).unwrap();
    let mut walk = repository.revwalk().unwrap();
    for sha in refs.as_object().unwrap().values().filter_map(Value::as_str) {
        walk.push(Oid::from_str(sha).unwrap()).unwrap();
    }
    let mut new = New::default();
    for id in walk.flatten() {
        if !known.insert(id) {
            continue;
        }
        let commit = repository.find_commit(id).unwrap();
        tree(&repository, commit.tree_id(), known, &mut new);
        let by = |who: &git2::Signature<'_>| {
            let name = String::from_utf8_lossy(who.name_bytes()).into_owned();
            let email = String::from_utf8_lossy(who.email_bytes()).into_owned();
            (name, email, date(who.when()))
        };
        let (author, committer) = (by(&commit.author()), by(&commit.committer()));
        let parents: Vec<String> = commit.parent_ids().map(|id| id.to_string()).collect();
        new.commits.push(json!({
            "sha": id.to_string(), "tree_sha": commit.tree_id().to_string(), "parent_shas": parents,
            "message": String::from_utf8_lossy(commit.message_raw_bytes()).trim_end_matches('\n'),
            "author_name": author.0, "author_email": author.1, "author_date": author.2,
            "committer_name": committer.0, "committer_email": committer.1, "committer_date": committer.2,
        }));
    }
    new
}

fn tree(repository: &Repository, id: Oid, known: &mut HashSet<Oid>, new: &mut New) {
    if !known.insert(id) {
        return;
    }
    let found = repository.find_tree(id).unwrap();
    let mut entries = Vec::new();
    for entry in &found {
        let kind = match entry.kind() {
            Some(ObjectType::Tree) => {
                tree(repository, entry.id(), known, new);
                "tree"
            }
            Some(ObjectType::Blob) => {
                if known.insert(entry.id()) {
                    let blob = repository.find_blob(entry.id()).unwrap();
                    new.blobs
                        .push(json!([entry.id().to_string(), in_base64(blob.content())]));
                }
                "blob"
            }
            _ => "commit",
        };
        let path = String::from_utf8_lossy(entry.name_bytes()).into_owned();
        let mode = format!("{:06o}", entry.filemode());
        entries
            .push(json!({"path": path, "mode": mode, "type": kind, "sha": entry.id().to_string()}));
    }
    new.trees.push(json!([id.to_string(), entries]));
}

/// A moment as git has it, with its own offset, to the second.
pub(in crate::hub) fn date(when: git2::Time) -> String {
    let offset = jiff::tz::Offset::from_seconds(when.offset_minutes() * 60).unwrap();
    let moment = jiff::Timestamp::from_second(when.seconds()).unwrap();
    if when.offset_minutes() == 0 {
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    }
    let local = offset
        .to_datetime(moment)
        .strftime("%Y-%m-%dT%H:%M:%S")
        .to_string();
    let minutes = when.offset_minutes().abs();
    let sign = if when.offset_minutes() < 0 { '-' } else { '+' };
    format!("{local}{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// Brings what was made through the API to git: the same objects, by the same ids, and the branches.
pub(super) async fn out_of_emulator(shared: &Arc<Shared>, name: &str) {
    let after = shared.state().rows.get(name).cloned().unwrap_or_default();
    let body = json!({"repo": name, "after": after});
    let made = shared.through_door("made", &body).await;
    let path = shared.bare(name);
    let repository = Repository::open(&path).unwrap();
    let objects = repository.odb().unwrap();
    for object in made["objects"].as_array().unwrap() {
        let kind = object["type"].as_str().unwrap();
        let content = base64(object["content"].as_str().unwrap()).unwrap();
        let id = objects
            .write(ObjectType::from_str(kind).unwrap(), &content)
            .unwrap();
        assert_eq!(Some(id.to_string().as_str()), object["sha"].as_str());
        let mut state = shared.state();
        state.known.entry(name.to_owned()).or_default().insert(id);
        let rows = state.rows.entry(name.to_owned()).or_default();
        let row = rows.entry(kind.to_owned()).or_default();
        *row = (*row).max(object["row"].as_u64().unwrap());
    }
    let refs = made["refs"].as_object().unwrap();
    for (reference, sha) in refs {
        super::point(&path, reference, sha.as_str());
    }
    for reference in super::heads(&path).into_keys() {
        if !refs.contains_key(&reference) {
            super::point(&path, &reference, None);
        }
    }
}
