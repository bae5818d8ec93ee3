//! The checkpoints in the config repo's notes: which are to be believed, and what is wrong with the others.

use std::collections::{BTreeMap, BTreeSet};

use crate::repo::{Repo, RepoError};
use crate::tlog::{Checkpoint, CheckpointFault, NoteFault, VerifierKey, from_line};

/// Where they are: a note on the commit of main at which each was signed.
pub const NOTES: &str = "refs/notes/lockstep/checkpoints";

/// What lies in the notes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoints {
    /// Signed by keys that are trusted, by size; two of one size are one, or a fault.
    pub known: BTreeMap<u64, Signed>,
    /// Names of other keys that have signed some, and how many each.
    pub unknown: BTreeMap<String, usize>,
    /// What nobody honest writes: a wrong signature, two roots for one size.
    pub faults: BTreeSet<String>,
}

/// A checkpoint that is believed, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    pub checkpoint: Checkpoint,
    pub text: String,
}

impl Checkpoints {
    /// Reads all notes. Blocking.
    pub fn read(repo: &Repo, trusted: &[VerifierKey]) -> Result<Self, RepoError> {
        let mut found = Self::default();
        for (commit, lines) in repo.list_notes(NOTES)? {
            for line in lines {
                match from_line(&line) {
                    Some(text) => found.add(&text, trusted),
                    None => {
                        let why = format!(
                            "the note on {} has a line that is no checkpoint",
                            commit.short()
                        );
                        found.faults.insert(why);
                    }
                }
            }
        }
        Ok(found)
    }

    /// Adds one, however it comes to be known.
    pub fn add(&mut self, text: &str, trusted: &[VerifierKey]) {
        match Checkpoint::open(text, trusted) {
            Ok(checkpoint) => {
                let other = self.known.get(&checkpoint.size);
                if other.is_some_and(|o| o.checkpoint.root != checkpoint.root) {
                    self.faults.insert(format!(
                        "two checkpoints of {} entries have two roots: one of them is of another ledger",
                        checkpoint.size
                    ));
                    return;
                }
                self.known.entry(checkpoint.size).or_insert(Signed {
                    checkpoint,
                    text: text.to_owned(),
                });
            }
            Err(CheckpointFault::Note(NoteFault::Unknown { names })) => {
                for name in names {
                    *self.unknown.entry(name).or_default() += 1;
                }
            }
            Err(fault) => {
                self.faults
                    .insert(format!("a checkpoint in the notes: {fault}"));
            }
        }
    }

    /// The smallest that takes in an entry, counted from 1.
    pub fn covering(&self, seq: u64) -> Option<&Signed> {
        self.known.range(seq..).next().map(|(_, signed)| signed)
    }

    /// The largest.
    pub fn newest(&self) -> Option<&Signed> {
        self.known.values().next_back()
    }
}
