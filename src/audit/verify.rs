//! Whether the ledger is what was written and what was signed: every entry against the chain, the tree against every checkpoint, and the tables
//! beside it against what it says of them. One pass, in memory that does not grow.

use std::collections::BTreeSet;
use std::fmt;

use super::beside::Said;
use super::checkpoints::{Checkpoints, Signed};
use super::restored::{Lost, Restored};
use crate::ids::Digest;
use crate::store::{Go, Link, Reader, StoreError, Window};
use crate::tlog::Range;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many entries stand in an unbroken chain.
    pub entries: u64,
    pub head: Digest,
    /// The root of the tree over them.
    pub root: Digest,
    /// How many checkpoints it was held against.
    pub checkpoints: usize,
    /// How many entries no checkpoint covers yet.
    pub unsigned: u64,
    /// Where it says that the store was restored, and what was signed is lost by that.
    pub restored: Vec<Restored>,
    pub faults: Vec<Fault>,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The first entry that is not as it was written, or not where it was.
    Entry { seq: u64, why: String },
    /// The entries from one to another give another root than was signed: at least one of them is not the one that was written.
    Between { first: u64, last: u64 },
    /// More entries were signed than there are.
    Truncated { signed: u64, entries: u64 },
    /// About the notes themselves.
    Checkpoint { why: String },
    /// A row of another table that says something else than the ledger.
    Row {
        table: &'static str,
        row: String,
        why: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry { seq, why } => write!(f, "entry {seq} is not as it was written: {why}"),
            Self::Between { first, last } if first == last => {
                write!(f, "entry {first} is not the one that was signed")
            }
            Self::Between { first, last } => write!(
                f,
                "the entries {first} to {last} are not those that were signed: at least one of them was altered, and all after it \
                 made to fit"
            ),
            Self::Truncated { signed, entries } => write!(
                f,
                "entry {} is missing: {signed} entries were signed, and there are {entries}",
                entries + 1
            ),
            Self::Checkpoint { why } => f.write_str(why),
            Self::Row { table, row, why } => write!(f, "{table} {row}: {why}"),
        }
    }
}

/// Checks everything. Blocking.
pub fn verify(reader: &mut Reader, checkpoints: &Checkpoints) -> Result<Verified, StoreError> {
    let mut link = Link::default();
    let mut range = Range::new();
    let mut held = Held::against(checkpoints);
    let mut said = Said::default();
    let mut restored = Vec::new();
    let mut faults: Vec<Fault> = held.reached(&range).into_iter().collect();
    reader.ledger::<StoreError>(Window::ALL, &mut |row| {
        match link.add(row) {
            Ok(hash) => range.push(hash),
            Err(why) => {
                let seq = link.entries + 1;
                faults.push(Fault::Entry { seq, why });
                return Ok(Go::Stop);
            }
        }
        if let Some(again) = Restored::hear(row) {
            held.lose(&again.lost);
            restored.push(again);
        }
        faults.extend(held.reached(&range));
        said.hear(row);
        Ok(Go::On)
    })?;
    let is_whole = faults.is_empty();
    if is_whole && let Some(signed) = held.rest.first() {
        faults.push(Fault::Truncated {
            signed: signed.checkpoint.size,
            entries: link.entries,
        });
    }
    let notes = checkpoints.faults.iter().cloned();
    let notes = notes.chain(twins(checkpoints, &restored));
    faults.extend(notes.map(|why| Fault::Checkpoint { why }));
    // Agreeing with a ledger that was tampered with proves nothing.
    if is_whole {
        faults.extend(said.check(reader)?);
    }
    Ok(Verified {
        entries: link.entries,
        head: link.head,
        root: range.root(),
        checkpoints: held.done,
        unsigned: link.entries.saturating_sub(held.good),
        restored,
        faults,
    })
}

/// Two roots of one size, neither of which is lost.
fn twins(checkpoints: &Checkpoints, restored: &[Restored]) -> Vec<String> {
    let mut left = checkpoints.clone();
    for again in restored {
        left.lose(&again.lost);
    }
    let twins = left.twins.iter().map(|twin| {
        format!(
            "two checkpoints of {} entries have two roots: one of them is of another ledger",
            twin.checkpoint.size
        )
    });
    twins.collect()
}

/// The checkpoints that are still to be reached.
struct Held<'c> {
    rest: Vec<&'c Signed>,
    done: usize,
    /// The largest size that was as signed.
    good: u64,
    failed: bool,
}

impl<'c> Held<'c> {
    fn against(checkpoints: &'c Checkpoints) -> Self {
        let mut rest: Vec<&Signed> = checkpoints.all().collect();
        // The smallest last, to be taken from the end.
        rest.sort_by_key(|signed| std::cmp::Reverse(signed.checkpoint.size));
        Self {
            rest,
            done: 0,
            good: 0,
            failed: false,
        }
    }

    /// Those that can't be reached any more.
    fn lose(&mut self, lost: &BTreeSet<Lost>) {
        self.rest.retain(|signed| !lost.contains(&signed.lost()));
    }

    /// Holds the tree against the checkpoint of its size, where there is one. All roots after a wrong one are wrong too, and said once.
    fn reached(&mut self, range: &Range) -> Option<Fault> {
        let signed = self.rest.pop_if(|s| s.checkpoint.size == range.size())?;
        let root = range.root();
        let mut is_same = signed.checkpoint.root == root;
        // That there are two is a fault of its own.
        while let Some(twin) = self.rest.pop_if(|s| s.checkpoint.size == range.size()) {
            is_same |= twin.checkpoint.root == root;
        }
        self.done += 1;
        if self.failed {
            return None;
        }
        if is_same {
            self.good = range.size();
            return None;
        }
        self.failed = true;
        Some(Fault::Between {
            first: self.good + 1,
            last: range.size(),
        })
    }
}
