//! The checkpoints in the config repo's notes: which are to be believed, and what is wrong with the others.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::restored::Lost;
use crate::repo::{Repo, RepoError};
use crate::tlog::{Checkpoint, CheckpointFault, NoteFault, VerifierKey, from_line};

/// Where they are: a note on the commit of main at which each was signed.
pub const NOTES: &str = "refs/notes/lockstep/checkpoints";

/// What lies in the notes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoints {
    /// Signed by keys that are trusted, by size; two of one size are one, but for [`Self::twins`].
    pub known: BTreeMap<u64, Signed>,
    /// Of a size that is known already, with another root: one of the two is of another ledger.
    pub twins: Vec<Signed>,
    /// Names of other keys that have signed some, and how many each.
    pub unknown: BTreeMap<String, usize>,
    /// What nobody honest writes: a wrong signature.
    pub faults: BTreeSet<String>,
}

/// A checkpoint that is believed, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    pub checkpoint: Checkpoint,
    pub text: String,
}

impl Signed {
    /// What tells it from others.
    pub(super) fn lost(&self) -> Lost {
        Lost {
            size: self.checkpoint.size,
            root: self.checkpoint.root,
        }
    }
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
                let signed = Signed {
                    checkpoint,
                    text: text.to_owned(),
                };
                let is_same = |other: &Signed| other.checkpoint == signed.checkpoint;
                match self.known.entry(signed.checkpoint.size) {
                    Entry::Vacant(free) => {
                        free.insert(signed);
                    }
                    Entry::Occupied(other) => {
                        if !is_same(other.get()) && !self.twins.iter().any(is_same) {
                            self.twins.push(signed);
                        }
                    }
                }
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

    /// All that are believed.
    pub fn all(&self) -> impl Iterator<Item = &Signed> {
        self.known.values().chain(&self.twins)
    }

    /// Leaves out those that were lost when the store was restored.
    pub(super) fn lose(&mut self, lost: &BTreeSet<Lost>) {
        self.twins.retain(|s| !lost.contains(&s.lost()));
        self.known.retain(|_, s| !lost.contains(&s.lost()));
        for twin in std::mem::take(&mut self.twins) {
            match self.known.entry(twin.checkpoint.size) {
                Entry::Vacant(free) => {
                    free.insert(twin);
                }
                Entry::Occupied(_) => self.twins.push(twin),
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
