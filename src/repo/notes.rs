//! Git notes as lists of lines, one JSON object a line, so that two clones' notes merge with `cat_sort_uniq`.
//!
//! libgit2's own notes overwrite what another writer added between its read and its write, so the tree is written here and the
//! reference moved by compare and swap. Any depth of fan-out is read; new notes go one level deep, as git does
//! for many.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::time::Duration;

use git2::{Oid, Repository, Tree};
use jiff::Timestamp;

use super::edits::Edits;
use super::history::ref_oid;
use super::write::{move_ref, write_commit};
use super::{Doing, Identity, Repo, RepoError, find_commit, to_revision};
use crate::ids::Revision;

mod merge;
mod trees;

/// How often a line is put on top of what another writer just wrote. Writers of ours queue at a lock, so this is
/// for people's own `git notes`.
const TRIES: u32 = 200;
const PAUSE: Duration = Duration::from_millis(2);
/// How long a writer waits for its turn, in pauses: two seconds.
const TURN_TRIES: u32 = 1_000;

/// The lines a note has, and those to add to it.
type Update<'a, E> = dyn FnMut(&[String]) -> Result<Vec<String>, E> + 'a;

impl Repo {
    /// Adds one line to a commit's note. Never loses another writer's line.
    pub fn append_note(
        &self,
        notes: &str,
        commit: &Revision,
        line: &str,
        at: Timestamp,
    ) -> Result<(), RepoError> {
        self.update_note::<RepoError>(notes, commit, at, &mut |_| Ok(vec![line.to_owned()]))?;
        Ok(())
    }

    /// Adds the lines that `update` makes of those that are there; it is asked again if someone else writes meanwhile. Adding none
    /// writes nothing. What is there already stays, byte for byte.
    pub fn update_note<E: From<RepoError>>(
        &self,
        notes: &str,
        commit: &Revision,
        at: Timestamp,
        update: &mut Update<'_, E>,
    ) -> Result<Vec<String>, E> {
        self.check_notes_ref(notes)?;
        self.writable()?;
        let hex = commit.as_str();
        // Held until the end: writers of ours take turns instead of racing.
        let _turn = self.turn()?;
        for _ in 0..TRIES {
            let Written {
                tip,
                path,
                mut bytes,
                lines,
            } = self.with(|git| Written::read(git, notes, hex))?;
            let added = update(&lines)?;
            if added.is_empty() {
                return Ok(added);
            }
            append(&mut bytes, &added)?;
            if self.with(|git| write_note(git, notes, tip, (&path, &bytes), at))? {
                return Ok(added);
            }
            std::thread::sleep(PAUSE);
        }
        Err(RepoError::Moved { name: notes.into() }.into())
    }

    /// The lines of a commit's note; none where it has no note. Lines that are not UTF-8 are left out.
    pub fn read_notes(&self, notes: &str, commit: &Revision) -> Result<Vec<String>, RepoError> {
        self.check_notes_ref(notes)?;
        self.with(|git| {
            let Some(tree) = tip_tree(git, self.ref_oid(git, notes)?)? else {
                return Ok(Vec::new());
            };
            let mut found = Vec::new();
            for note in trees::notes(git, &tree, Some(commit.as_str()))? {
                found.extend(lines(&read_blob(git, note.blob)?));
            }
            Ok(found)
        })
    }

    /// All notes of a reference, by the commit they are on. One that is too large is passed over, so that it hides no other.
    pub fn list_notes(&self, notes: &str) -> Result<Vec<(Revision, Vec<String>)>, RepoError> {
        self.check_notes_ref(notes)?;
        self.with(|git| {
            let mut found = Vec::new();
            if let Some(tree) = tip_tree(git, self.ref_oid(git, notes)?)? {
                found = trees::notes(git, &tree, None)?;
            }
            found.sort_by_key(|note| note.commit);
            let mut notes: Vec<(Revision, Vec<String>)> = Vec::new();
            for note in found {
                let commit = to_revision(note.commit)?;
                let text = match read_blob(git, note.blob) {
                    Ok(bytes) => lines(&bytes),
                    Err(RepoError::TooLarge(why)) => {
                        tracing::warn!(%commit, why, "a note is not read");
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                match notes.last_mut() {
                    Some((last, lines)) if *last == commit => lines.extend(text),
                    _ => notes.push((commit, text)),
                }
            }
            Ok(notes)
        })
    }

    /// The lines that would be gone if a notes reference were moved from one commit to another, each with the commit that it is on.
    /// Their order is no part of it, nor how often one stands there: merging two clones' notes with `cat_sort_uniq` sorts them and
    /// keeps one of each.
    pub fn lost_lines(
        &self,
        from: &Revision,
        to: &Revision,
    ) -> Result<Vec<(Revision, String)>, RepoError> {
        self.with(|git| {
            let mut gone = Vec::new();
            for (commit, lines) in missing(git, &blobs(git, from)?, &blobs(git, to)?)? {
                for line in lines {
                    let shown = String::from_utf8_lossy(&line).into_owned();
                    gone.push((to_revision(commit)?, shown));
                }
            }
            Ok(gone)
        })
    }

    /// The lines that notes at one commit have and those at another, if any, had not.
    pub fn added_lines(
        &self,
        from: Option<&Revision>,
        to: &Revision,
    ) -> Result<Vec<(Revision, String)>, RepoError> {
        if let Some(from) = from {
            return self.lost_lines(to, from);
        }
        self.with(|git| {
            let mut all = Vec::new();
            for (commit, blobs) in blobs(git, to)? {
                for line in raw_lines(git, &blobs)? {
                    all.push((
                        to_revision(commit)?,
                        String::from_utf8_lossy(&line).into_owned(),
                    ));
                }
            }
            Ok(all)
        })
    }

    /// Why a commit can't be taken as the tip of notes that are at `from`: its tree could be read in two ways, or has a note that is too large.
    pub fn notes_fault(
        &self,
        from: Option<&Revision>,
        to: &Revision,
    ) -> Result<Option<String>, RepoError> {
        self.with(|git| {
            let known = match from {
                Some(from) => blobs(git, from)?.into_values().flatten().collect(),
                None => BTreeSet::new(),
            };
            let tree = find_commit(git, to)?.tree().doing("reading notes")?;
            trees::fault(git, &tree, &known)
        })
    }

    fn check_notes_ref(&self, notes: &str) -> Result<(), RepoError> {
        if notes.starts_with("refs/notes/")
            && !notes.contains('\0')
            && git2::Reference::is_valid_name(notes)
        {
            return Ok(());
        }
        Err(RepoError::Invalid(format!(
            "{notes:?} is no reference for notes; it must begin with refs/notes/"
        )))
    }

    /// This writer's turn: a lock on an empty file beside the references, given back when it is dropped. It only spares
    /// writers the race; where the file system has no locks, or a holder sleeps on it, compare and swap alone keeps the lines.
    fn turn(&self) -> Result<Option<File>, RepoError> {
        let path = self.with(|git| Ok(git.commondir().join("lockstep-notes.lock")))?;
        let Ok(file) = File::options().create(true).append(true).open(&path) else {
            return Ok(None);
        };
        for _ in 0..TURN_TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
                Err(TryLockError::Error(_)) => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// Notes by the commit that they are on.
type Blobs = BTreeMap<Oid, BTreeSet<Oid>>;

/// All notes of a commit of theirs.
fn blobs(git: &Repository, tip: &Revision) -> Result<Blobs, RepoError> {
    let tree = find_commit(git, tip)?.tree().doing("reading notes")?;
    let mut blobs = Blobs::new();
    for note in trees::notes(git, &tree, None)? {
        blobs.entry(note.commit).or_default().insert(note.blob);
    }
    Ok(blobs)
}

/// The lines that some notes have and others lack, by the commit that they are on.
fn missing(
    git: &Repository,
    from: &Blobs,
    to: &Blobs,
) -> Result<BTreeMap<Oid, BTreeSet<Vec<u8>>>, RepoError> {
    let mut missing = BTreeMap::new();
    for (commit, blobs) in from {
        let there = to.get(commit);
        if there == Some(blobs) {
            continue;
        }
        let there = raw_lines(git, there.into_iter().flatten())?;
        let mut lines = raw_lines(git, blobs)?;
        lines.retain(|line| !there.contains(line));
        if !lines.is_empty() {
            missing.insert(*commit, lines);
        }
    }
    Ok(missing)
}

/// The lines of notes as they are, byte for byte.
fn raw_lines<'b>(
    git: &Repository,
    blobs: impl IntoIterator<Item = &'b Oid>,
) -> Result<BTreeSet<Vec<u8>>, RepoError> {
    let mut found = BTreeSet::new();
    for blob in blobs {
        let bytes = read_blob(git, *blob)?;
        let lines = bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty());
        found.extend(lines.map(<[u8]>::to_vec));
    }
    Ok(found)
}

/// A commit's note as it is now.
struct Written {
    /// The notes' newest commit.
    tip: Option<Oid>,
    /// Where in their tree it is, or is to be.
    path: String,
    bytes: Vec<u8>,
    lines: Vec<String>,
}

impl Written {
    fn read(git: &git2::Repository, notes: &str, hex: &str) -> Result<Self, RepoError> {
        Self::at(git, ref_oid(git, notes)?, hex)
    }

    fn at(git: &git2::Repository, tip: Option<Oid>, hex: &str) -> Result<Self, RepoError> {
        let place = match &tip_tree(git, tip)? {
            Some(tree) => trees::notes(git, tree, Some(hex))?,
            None => Vec::new(),
        };
        let bytes = match place.first() {
            Some(note) => read_blob(git, note.blob)?,
            None => Vec::new(),
        };
        let mut lines = lines(&bytes);
        // git reads a note that is there at two depths as one; so do we.
        for note in place.iter().skip(1) {
            lines.extend(self::lines(&read_blob(git, note.blob)?));
        }
        let path = place.into_iter().next().map(|note| note.path);
        Ok(Self {
            tip,
            path: path.unwrap_or_else(|| fan_out(hex)),
            bytes,
            lines,
        })
    }
}

/// Adds lines to a note; what is there stays, byte for byte.
fn append(bytes: &mut Vec<u8>, added: &[String]) -> Result<(), RepoError> {
    if !bytes.is_empty() && !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    for line in added {
        if line.contains(['\n', '\r', '\0']) {
            let why = "a note's line can't hold a line break".to_owned();
            return Err(RepoError::Invalid(why));
        }
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
    }
    Ok(())
}

/// Writes a note, and whether it could: not where the notes have moved on from `tip` meanwhile.
fn write_note(
    git: &git2::Repository,
    notes: &str,
    tip: Option<Oid>,
    (path, bytes): (&str, &[u8]),
    at: Timestamp,
) -> Result<bool, RepoError> {
    let tree = tip_tree(git, tip)?;
    if let Some(tree) = &tree {
        check_unambiguous(git, tree, notes, path)?;
    }
    let blob = git.blob(bytes).doing("writing a note")?;
    let mut edits = Edits::default();
    edits.set(path, Some(blob));
    let tree = edits.write(git, tree.as_ref())?;
    let parents: Vec<Oid> = tip.into_iter().collect();
    let note = write_commit(git, tree, &parents, &keeper(), "lockstep: notes\n", at)?;
    match move_ref(git, notes, tip, note, "lockstep: notes") {
        Ok(()) => Ok(true),
        Err(RepoError::Moved { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Refuses a tree that can't be written to without losing something of it.
fn check_unambiguous(
    git: &Repository,
    tree: &Tree<'_>,
    notes: &str,
    path: &str,
) -> Result<(), RepoError> {
    match trees::ambiguous(git, tree, path)? {
        None => Ok(()),
        Some(name) => Err(RepoError::Invalid(format!(
            "{notes} is not written: its tree has {name:?} twice or out of order, and a line could be lost; write that tree anew \
             with both entries' lines in one note"
        ))),
    }
}

/// Who the notes' own commits are by. Who wrote a line stands in the line.
fn keeper() -> Identity {
    Identity::new("lockstep", "lockstep@lockstep.invalid")
}

fn lines(bytes: &[u8]) -> Vec<String> {
    bytes
        .split(|b| *b == b'\n')
        .filter_map(|line| std::str::from_utf8(line).ok())
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}

fn fan_out(hex: &str) -> String {
    match hex.split_at_checked(2) {
        Some((folder, rest)) if !rest.is_empty() => format!("{folder}/{rest}"),
        Some(_) | None => hex.to_owned(),
    }
}

fn tip_tree(git: &Repository, tip: Option<Oid>) -> Result<Option<Tree<'_>>, RepoError> {
    tip.map(|tip| git.find_commit(tip).and_then(|commit| commit.tree()))
        .transpose()
        .doing("reading notes")
}

fn read_blob(git: &Repository, oid: Oid) -> Result<Vec<u8>, RepoError> {
    let odb = git.odb().doing("reading a note")?;
    if let Some(why) = trees::too_large(&odb, oid)? {
        return Err(RepoError::TooLarge(why));
    }
    Ok(odb.read(oid).doing("reading a note")?.data().to_vec())
}
