//! RFC 6962's Merkle tree, in one pass: what is kept of the leaves that have gone by is one hash for each set bit of their number.
//!
//! A proof is a list of stretches of leaves, each of which stands in it as one hash. So a proof too is made while the leaves go by once,
//! and a million of them need no more memory than ten.

use std::ops;

use sha2::{Digest as _, Sha256};

use crate::ids::Digest;

/// The hash of a leaf: SHA-256 over a zero byte and the entry.
pub fn leaf_hash(entry: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update([0]);
    hash.update(entry);
    Digest::from_bytes(hash.finalize().into())
}

/// The hash of an inner node: SHA-256 over a one and its children.
pub fn node_hash(left: Digest, right: Digest) -> Digest {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(left.as_bytes());
    bytes[33..].copy_from_slice(right.as_bytes());
    Digest::of(&bytes)
}

/// A tree that only grows, as the roots of its full subtrees, the largest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Range {
    size: u64,
    roots: Vec<Digest>,
}

impl Range {
    pub fn new() -> Self {
        Self::default()
    }

    /// The same tree from its subtrees' roots as [`Range::roots`] gave them; `None` where a tree of this size has another number of them.
    pub fn from_parts(size: u64, roots: Vec<Digest>) -> Option<Self> {
        let bits = usize::try_from(size.count_ones()).ok()?;
        (roots.len() == bits).then_some(Self { size, roots })
    }

    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of its full subtrees, the largest first.
    pub fn roots(&self) -> &[Digest] {
        &self.roots
    }

    /// Adds the hash of the next leaf.
    pub fn push(&mut self, leaf: Digest) {
        let mut node = leaf;
        // Each full subtree at the right edge makes a larger one with its equal on the left.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                node = node_hash(left, node);
            }
        }
        self.roots.push(node);
        self.size += 1;
    }

    /// The tree's root; of no leaf, the hash of nothing.
    pub fn root(&self) -> Digest {
        let mut roots = self.roots.iter().rev().copied();
        match roots.next() {
            Some(last) => roots.fold(last, |right, left| node_hash(left, right)),
            None => Digest::of(b""),
        }
    }
}

/// The root over the hashes of leaves.
pub fn root_of(leaves: impl IntoIterator<Item = Digest>) -> Digest {
    let mut range = Range::new();
    leaves.into_iter().for_each(|leaf| range.push(leaf));
    range.root()
}

/// The largest power of two below `n`, which is at least two: where a tree of `n` leaves is split.
fn split(n: u64) -> u64 {
    1 << (u64::BITS - 1 - (n - 1).leading_zeros())
}

/// The stretches of leaves whose roots prove that the leaf at `index`, from 0, is in the tree of `size`: from the leaf's sibling upward.
/// `None` where it is not.
pub fn inclusion(index: u64, size: u64) -> Option<Vec<ops::Range<u64>>> {
    if index >= size {
        return None;
    }
    let (mut low, mut high) = (0, size);
    let mut path = Vec::new();
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            path.push(middle..high);
            high = middle;
        } else {
            path.push(low..middle);
            low = middle;
        }
    }
    path.reverse();
    Some(path)
}

/// The stretches of leaves whose roots prove that the tree of size `from` is a beginning of the one of size `to`. Of none and of all it needs no
/// proof. `None` where it is larger.
pub fn consistency(from: u64, to: u64) -> Option<Vec<ops::Range<u64>>> {
    if from > to {
        return None;
    }
    if from == 0 || from == to {
        return Some(Vec::new());
    }
    let (mut low, mut high) = (0, to);
    let mut path = Vec::new();
    while from != high {
        let middle = low + split(high - low);
        if from <= middle {
            path.push(middle..high);
            high = middle;
        } else {
            path.push(low..middle);
            low = middle;
        }
    }
    // Whoever checks has the smaller tree's root already where it is one full subtree.
    if low > 0 {
        path.push(low..high);
    }
    path.reverse();
    Some(path)
}

/// Hashes leaves as they go by into the roots of given stretches.
#[derive(Debug)]
pub struct Gather {
    /// Sorted by where they begin; they do not overlap. With the place in the proof.
    stretches: Vec<(ops::Range<u64>, usize, Range)>,
    /// The stretch that the next leaf may be in.
    at: usize,
    next: u64,
}

impl Gather {
    pub fn new(stretches: Vec<ops::Range<u64>>) -> Self {
        let mut stretches: Vec<_> = stretches
            .into_iter()
            .enumerate()
            .map(|(place, stretch)| (stretch, place, Range::new()))
            .collect();
        stretches.sort_by_key(|(stretch, ..)| stretch.start);
        Self {
            stretches,
            at: 0,
            next: 0,
        }
    }

    /// Takes the hash of the next leaf, from the first on.
    pub fn push(&mut self, leaf: Digest) {
        if let Some((stretch, _, range)) = self.stretches.get_mut(self.at) {
            if stretch.contains(&self.next) {
                range.push(leaf);
            }
            if self.next + 1 == stretch.end {
                self.at += 1;
            }
        }
        self.next += 1;
    }

    /// The roots in the order in which the stretches were given; `None` where leaves are still missing.
    pub fn finish(mut self) -> Option<Vec<Digest>> {
        if self.at < self.stretches.len() {
            return None;
        }
        self.stretches.sort_by_key(|(_, place, _)| *place);
        let roots = self.stretches.iter().map(|(.., range)| range.root());
        Some(roots.collect())
    }
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeFault {
    #[error("there is no such leaf in a tree of this size")]
    Outside,
    #[error("it has another number of hashes than such a proof has")]
    Length,
    #[error("it leads to another root")]
    Root,
}

/// Whether a leaf is in the tree with this root (RFC 9162, section 2.1.3.2).
pub fn verify_inclusion(
    leaf: Digest,
    index: u64,
    size: u64,
    proof: &[Digest],
    root: Digest,
) -> Result<(), TreeFault> {
    if index >= size {
        return Err(TreeFault::Outside);
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = leaf;
    for sibling in proof {
        if last == 0 {
            return Err(TreeFault::Length);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(*sibling, hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(hash, *sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        Err(TreeFault::Length)
    } else if hash != root {
        Err(TreeFault::Root)
    } else {
        Ok(())
    }
}

/// Whether the tree of size `from` is a beginning of the one of size `to` (RFC 9162, section 2.1.4.2).
pub fn verify_consistency(
    (from, first): (u64, Digest),
    (to, second): (u64, Digest),
    proof: &[Digest],
) -> Result<(), TreeFault> {
    if from > to {
        return Err(TreeFault::Outside);
    }
    if from == 0 || from == to {
        let same = from != to || first == second;
        let is_empty = from != 0 || first == Digest::of(b"");
        return match (proof.is_empty(), same && is_empty) {
            (false, _) => Err(TreeFault::Length),
            (true, false) => Err(TreeFault::Root),
            (true, true) => Ok(()),
        };
    }
    let mut hashes = proof.iter().copied();
    let start = if from.is_power_of_two() {
        first
    } else {
        hashes.next().ok_or(TreeFault::Length)?
    };
    let (mut node, mut last) = (from - 1, to - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old, mut new) = (start, start);
    for sibling in hashes {
        if last == 0 {
            return Err(TreeFault::Length);
        }
        if node & 1 == 1 || node == last {
            old = node_hash(sibling, old);
            new = node_hash(sibling, new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last != 0 {
        Err(TreeFault::Length)
    } else if old != first || new != second {
        Err(TreeFault::Root)
    } else {
        Ok(())
    }
}
