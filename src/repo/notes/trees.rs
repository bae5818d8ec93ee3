//! The trees that notes are kept in: the one walk that finds them, and what makes a tree that git's readers and ours could read in two ways.

use std::collections::BTreeSet;

use git2::{ObjectType, Odb, Oid, Repository, Tree, TreeEntry};

use super::super::tree::TREE;
use super::super::{Doing, RepoError, to_oid};
use crate::document::limits::NOTE_BYTES;
use crate::ids::Revision;

/// How long a commit's id is, written out.
const HEX: usize = 40;
/// The mode that git gives a note.
const PLAIN: i32 = 0o100_644;

/// A note as it lies in its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// From the root of the tree.
    pub(super) path: String,
    /// The commit that it is on.
    pub(super) commit: Oid,
    pub(super) blob: Oid,
}

/// The notes of a tree, or those of one commit: every entry there is, also where a name stands twice, so that all who read see the same.
/// What is no note, by its name, is passed over.
pub(super) fn notes(
    git: &Repository,
    tree: &Tree<'_>,
    of: Option<&str>,
) -> Result<Vec<Note>, RepoError> {
    let mut found = Vec::new();
    walk(git, tree, ("", ""), of, &mut found)?;
    // The flattest first: that is where more is written.
    found.sort_by_key(|note: &Note| note.path.matches('/').count());
    Ok(found)
}

fn walk(
    git: &Repository,
    folder: &Tree<'_>,
    (path, hex): (&str, &str),
    of: Option<&str>,
    found: &mut Vec<Note>,
) -> Result<(), RepoError> {
    for entry in folder {
        let Ok(name) = entry.name() else { continue };
        let full = format!("{hex}{name}");
        if of.is_some_and(|of| !of.starts_with(&full)) {
            continue;
        }
        let path = format!("{path}{name}");
        match entry.kind() {
            Some(ObjectType::Blob) => {
                if let Ok(commit) = full.parse::<Revision>()
                    && let Ok(commit) = to_oid(&commit)
                {
                    let blob = entry.id();
                    found.push(Note { path, commit, blob });
                }
            }
            Some(ObjectType::Tree) if name.len() == 2 && full.len() < HEX => {
                let below = git.find_tree(entry.id()).doing("reading notes")?;
                walk(git, &below, (&format!("{path}/"), &full), of, found)?;
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}

/// Why a tree can't be taken for notes: a name that stands twice, entries in disorder, something that is neither a note nor a folder of
/// notes, or a note that is too large to be read. Notes in `known` were taken before.
pub(super) fn fault(
    git: &Repository,
    tree: &Tree<'_>,
    known: &BTreeSet<Oid>,
) -> Result<Option<String>, RepoError> {
    let odb = git.odb().doing("reading notes")?;
    fault_in(git, &odb, tree, "", known)
}

fn fault_in(
    git: &Repository,
    odb: &Odb<'_>,
    folder: &Tree<'_>,
    hex: &str,
    known: &BTreeSet<Oid>,
) -> Result<Option<String>, RepoError> {
    if let Some(name) = out_of_order(folder) {
        return Ok(Some(format!(
            "its tree has the entry {hex}{name} twice or out of order"
        )));
    }
    for entry in folder {
        let name = String::from_utf8_lossy(entry.name_bytes()).into_owned();
        let full = format!("{hex}{name}");
        let digits = |c: u8| c.is_ascii_digit() || matches!(c, b'a'..=b'f');
        let is_hex = name.bytes().all(digits);
        match (entry.kind(), entry.filemode_raw()) {
            (Some(ObjectType::Blob), PLAIN) if is_hex && full.len() == HEX => {
                if !known.contains(&entry.id())
                    && let Some(why) = too_large(odb, entry.id())?
                {
                    return Ok(Some(format!("on {full}, {why}")));
                }
            }
            (Some(ObjectType::Tree), TREE) if is_hex && name.len() == 2 && full.len() < HEX => {
                let below = git.find_tree(entry.id()).doing("reading notes")?;
                if let Some(why) = fault_in(git, odb, &below, &full, known)? {
                    return Ok(Some(why));
                }
            }
            _ => {
                return Ok(Some(format!(
                    "its tree has {full}, which is neither a note nor a folder of notes"
                )));
            }
        }
    }
    Ok(None)
}

/// Whether any folder on the way to a note has a name twice: writing it anew would keep only one of the two.
pub(super) fn ambiguous(
    git: &Repository,
    tree: &Tree<'_>,
    path: &str,
) -> Result<Option<String>, RepoError> {
    if let Some(name) = out_of_order(tree) {
        return Ok(Some(name));
    }
    let below = path.split_once('/').and_then(|(name, rest)| {
        let entry = tree.get_name(name)?;
        (entry.kind() == Some(ObjectType::Tree)).then(|| (entry.id(), rest))
    });
    match below {
        Some((folder, rest)) => {
            let folder = git.find_tree(folder).doing("reading notes")?;
            ambiguous(git, &folder, rest)
        }
        None => Ok(None),
    }
}

/// The first entry that does not come after the one before it, as git sorts them: folders as if their names ended in a slash.
fn out_of_order(folder: &Tree<'_>) -> Option<String> {
    let sorted_as = |entry: &TreeEntry<'_>| {
        let mut name = entry.name_bytes().to_vec();
        if entry.kind() == Some(ObjectType::Tree) {
            name.push(b'/');
        }
        name
    };
    let mut last: Option<Vec<u8>> = None;
    for entry in folder {
        let name = sorted_as(&entry);
        if last.is_some_and(|last| last >= name) {
            return Some(String::from_utf8_lossy(entry.name_bytes()).into_owned());
        }
        last = Some(name);
    }
    None
}

/// Why a note is not read.
pub(super) fn too_large(odb: &Odb<'_>, blob: Oid) -> Result<Option<String>, RepoError> {
    let (size, _) = odb.read_header(blob).doing("reading a note")?;
    Ok((size > NOTE_BYTES).then(|| {
        format!(
            "a note of {size} bytes is larger than {} MiB",
            NOTE_BYTES >> 20
        )
    }))
}
