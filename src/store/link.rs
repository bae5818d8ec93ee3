//! Whether an entry is the one that was written: its hash, its place in the chain, and that its columns say what its leaf says.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::reader::LedgerRow;
use crate::ids::Digest;
use crate::tlog::leaf_hash;

/// The chain as far as it was followed.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// How many entries there were.
    pub entries: u64,
    /// The hash of the last one; of nothing before the first.
    pub head: Digest,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            entries: 0,
            head: Digest::of(b""),
        }
    }
}

/// A leaf as it is written. Unknown fields are refused: what is hashed is all there is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Leaf<'a> {
    v: u32,
    seq: i64,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    actor: Cow<'a, str>,
    #[serde(borrow)]
    action: Cow<'a, str>,
    group: Option<Cow<'a, str>>,
    system: Option<Cow<'a, str>>,
    run: Option<Cow<'a, str>>,
    revision: Option<Cow<'a, str>>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    body_digest: Option<Digest>,
    body_bytes: Option<u64>,
    #[serde(borrow)]
    prev: Cow<'a, str>,
}

impl Link {
    /// Adds the next entry, and gives back its hash; else what is wrong with it.
    pub fn add(&mut self, row: &LedgerRow<'_>) -> Result<Digest, String> {
        let seq = i64::try_from(self.entries + 1).unwrap_or(i64::MAX);
        if row.seq < seq {
            return Err(format!("one that is numbered {} stands before it", row.seq));
        }
        if row.seq != seq {
            return Err(format!("entry {seq} is missing"));
        }
        if let Some(column) = row.odd {
            return Err(format!("its {column} is not of the sort that was written"));
        }
        let hash = leaf_hash(row.leaf.as_bytes());
        if !is_hex_of(row.hash, hash) {
            return Err("its content does not have its hash".to_owned());
        }
        let leaf: Leaf<'_> =
            serde_json::from_str(row.leaf).map_err(|e| format!("it is no entry: {e}"))?;
        if !is_hex_of(&leaf.prev, self.head) {
            return Err("it does not follow the entry before it".to_owned());
        }
        if !(is_whole(&leaf, row) && has_its_columns(&leaf, row)) {
            return Err("its columns or its body are not what was hashed".to_owned());
        }
        self.entries += 1;
        self.head = hash;
        Ok(hash)
    }
}

/// Whether a text is a hash as it is written. Compared as bytes: a million entries have two each.
fn is_hex_of(text: &str, hash: Digest) -> bool {
    let mut hex = [0; 64];
    hex::encode_to_slice(hash.as_bytes(), &mut hex).is_ok() && text.as_bytes() == hex
}

/// Whether the body is there once, inside the leaf or beside it, and the one that was hashed.
fn is_whole(leaf: &Leaf<'_>, row: &LedgerRow<'_>) -> bool {
    match row.body {
        Some(outside) => {
            leaf.body.is_none()
                && leaf.body_digest == Some(Digest::of(outside.as_bytes()))
                && leaf.body_bytes == Some(outside.len() as u64)
        }
        None => leaf.body_digest.is_none() && leaf.body_bytes.is_none(),
    }
}

fn has_its_columns(leaf: &Leaf<'_>, row: &LedgerRow<'_>) -> bool {
    let at = leaf.time.parse::<Timestamp>();
    leaf.v == 1
        && leaf.seq == row.seq
        && leaf.id == row.id
        && at.is_ok_and(|at| at.as_millisecond() == row.at_ms)
        && leaf.actor == row.actor
        && leaf.action == row.action
        && leaf.group.as_deref() == row.group
        && leaf.system.as_deref() == row.system
        && leaf.run.as_deref() == row.run
        && leaf.revision.as_deref() == row.revision
}
