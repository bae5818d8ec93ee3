//! Two clones' notes as one: whichever of them wrote last, no line of the other is lost.

use std::collections::BTreeSet;

use git2::{Oid, Repository};
use jiff::Timestamp;

use super::super::edits::Edits;
use super::super::history::{is_ancestor, ref_oid};
use super::super::write::{move_ref, write_commit};
use super::super::{Doing, Repo, RepoError, to_oid, to_revision};
use super::{
    Blobs, PAUSE, TRIES, Written, blobs, check_unambiguous, keeper, missing, tip_tree, trees,
};
use crate::ids::Revision;

impl Repo {
    /// Adds to the notes here the lines that a clone's have and they lack. `theirs` is the clone's newest commit of notes, brought here
    /// before; the notes here carry it on afterwards, so that they can be taken to where it came from.
    pub fn merge_notes(&self, notes: &str, theirs: &Revision) -> Result<(), RepoError> {
        self.check_notes_ref(notes)?;
        self.writable()?;
        let _turn = self.turn()?;
        let theirs = to_oid(theirs)?;
        for _ in 0..TRIES {
            let merged = self.with(|git| {
                let ours = ref_oid(git, notes)?;
                let Some(tip) = joined(git, notes, ours, theirs)? else {
                    return Ok(true);
                };
                match move_ref(git, notes, ours, tip, "lockstep: notes") {
                    Ok(()) => Ok(true),
                    Err(RepoError::Moved { .. }) => Ok(false),
                    Err(error) => Err(error),
                }
            })?;
            if merged {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
        Err(RepoError::Moved { name: notes.into() })
    }
}

/// A commit with the lines of both, that carries on both; `None` where ours is one already.
fn joined(
    git: &Repository,
    notes: &str,
    ours: Option<Oid>,
    theirs: Oid,
) -> Result<Option<Oid>, RepoError> {
    if let Some(ours) = ours
        && is_ancestor(git, theirs, ours)?
    {
        return Ok(None);
    }
    let known = match ours {
        Some(ours) => blobs(git, &to_revision(ours)?)?,
        None => Blobs::new(),
    };
    let found = blobs(git, &to_revision(theirs)?)?;
    if is_enough(git, (ours, &known), (theirs, &found))? {
        return Ok(Some(theirs));
    }
    let base = tip_tree(git, ours)?;
    let mut written = Vec::new();
    for (commit, lines) in missing(git, &found, &known)? {
        let note = Written::at(git, ours, &commit.to_string())?;
        if let Some(base) = &base {
            check_unambiguous(git, base, notes, &note.path)?;
        }
        let bytes = extended(note.bytes, &lines);
        written.push((note.path, git.blob(&bytes).doing("writing a note")?));
    }
    let tree = match &base {
        Some(base) if written.is_empty() => base.id(),
        base => {
            let mut edits = Edits::default();
            for (path, blob) in &written {
                edits.set(path, Some(*blob));
            }
            edits.write(git, base.as_ref())?
        }
    };
    let parents: Vec<Oid> = ours.into_iter().chain([theirs]).collect();
    let at = newest(git, &parents)?;
    let message = "lockstep: notes of two clones\n";
    write_commit(git, tree, &parents, &keeper(), message, at).map(Some)
}

/// Whether theirs can stand for both as they are: they carry ours on, have all lines of ours, and can be read in one way only.
fn is_enough(
    git: &Repository,
    (ours, known): (Option<Oid>, &Blobs),
    (theirs, found): (Oid, &Blobs),
) -> Result<bool, RepoError> {
    if let Some(ours) = ours
        && !is_ancestor(git, ours, theirs)?
    {
        return Ok(false);
    }
    if !missing(git, known, found)?.is_empty() {
        return Ok(false);
    }
    let Some(tree) = tip_tree(git, Some(theirs))? else {
        return Ok(false);
    };
    let read: BTreeSet<Oid> = known.values().flatten().copied().collect();
    Ok(trees::fault(git, &tree, &read)?.is_none())
}

/// When the newest of some commits was written: a merge is of no time of its own, so that making it needs no clock.
fn newest(git: &Repository, commits: &[Oid]) -> Result<Timestamp, RepoError> {
    let mut newest = Timestamp::UNIX_EPOCH;
    for commit in commits {
        let commit = git.find_commit(*commit).doing("reading notes")?;
        // A time that no calendar has is somebody's slip or joke.
        let at = Timestamp::from_second(commit.time().seconds()).unwrap_or_default();
        newest = newest.max(at);
    }
    Ok(newest)
}

/// A note with more lines below those it has, which stay byte for byte.
fn extended(mut note: Vec<u8>, lines: &BTreeSet<Vec<u8>>) -> Vec<u8> {
    if !note.is_empty() && !note.ends_with(b"\n") {
        note.push(b'\n');
    }
    for line in lines {
        note.extend_from_slice(line);
        note.push(b'\n');
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_stays_as_it_is_and_gains_lines_below() {
        let lines = |lines: &[&str]| -> BTreeSet<Vec<u8>> {
            lines.iter().map(|l| l.as_bytes().to_vec()).collect()
        };
        for (note, more, expected) in [
            ("", &["a"][..], "a\n"),
            ("b\n", &["a", "c"], "b\na\nc\n"),
            // As an editor leaves it.
            ("b\r\n\nd", &["a"], "b\r\n\nd\na\n"),
        ] {
            let extended = extended(note.as_bytes().to_vec(), &lines(more));
            assert_eq!(String::from_utf8_lossy(&extended), expected);
        }
    }
}
