//! A system's state as a value: items in 256 buckets, each with a digest, so that two large states are compared,
//! and one is transferred, at the cost of what differs.
//!
//! The scheme (`docs/digests.md` has test vectors): a spec's digest is SHA-256 over its canonical JSON (RFC 8785); an item lies
//! in the bucket of the first byte of SHA-256(`kind/name`); a bucket's digest is SHA-256 over its lines
//! `kind/name SP hex-digest LF`, sorted by bytes; the state's is SHA-256 over the 256 bucket digests in order.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::ids::{Digest, ResourceRef};

mod canonical;

#[cfg(test)]
mod tests;

/// How many buckets a state has.
pub const BUCKETS: usize = 256;

/// A resource's content: canonical JSON (RFC 8785) as text, shared and never changed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spec(Arc<str>);

/// What has no canonical JSON form, such as a number that is not finite, an integer beyond 2^53, or text that is not JSON.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotCanonical(String);

impl Spec {
    /// Brings any serializable value into canonical form. Integers beyond 2^53 are refused: RFC 8785 would round them.
    pub fn from_value<T: Serialize>(value: &T) -> Result<Self, NotCanonical> {
        let none = |why: &dyn fmt::Display| NotCanonical(format!("no canonical JSON form: {why}"));
        let value = serde_json::to_value(value).map_err(|e| none(&e))?;
        exact(&value).map_err(|why| none(&why))?;
        serde_json_canonicalizer::to_string(&value)
            .map(|text| Self(text.into()))
            .map_err(|e| none(&e))
    }

    /// The same of JSON as text. What is canonical as it stands, as a system has it from us, is taken over unread.
    pub fn from_text(text: &str) -> Result<Self, NotCanonical> {
        if canonical::is_canonical(text) {
            return Ok(Self(text.into()));
        }
        let value: Value = serde_json::from_str(text).map_err(|e| NotCanonical(e.to_string()))?;
        Self::from_value(&value)
    }

    /// Takes over text that is canonical already, as the typed kinds write it. Debug builds check it.
    pub(crate) fn from_canonical(text: &str) -> Self {
        debug_assert_eq!(
            serde_json::from_str::<Value>(text)
                .ok()
                .and_then(|v| serde_json_canonicalizer::to_string(&v).ok())
                .as_deref(),
            Some(text),
            "a kind wrote a spec that is not canonical"
        );
        Self(text.into())
    }

    /// The canonical JSON.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The content as a JSON value.
    pub fn value(&self) -> Value {
        // The text was written by a serializer, so reading it back can't fail; null is the harmless answer if it did.
        serde_json::from_str(&self.0).unwrap_or(Value::Null)
    }

    /// The content as a kind's own type, where it is of that shape.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(&self.0).ok()
    }
}

fn exact(value: &Value) -> Result<(), String> {
    const MAX: u64 = 1 << 53;
    match value {
        Value::Number(n)
            if n.as_u64().is_some_and(|n| n > MAX)
                || n.as_i64().is_some_and(|n| n.unsigned_abs() > MAX) =>
        {
            Err(format!(
                "the integer {n} is beyond 2^53; write it as a string"
            ))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        Value::Array(items) => items.iter().try_for_each(exact),
        Value::Object(fields) => fields.values().try_for_each(exact),
    }
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl Serialize for Spec {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(s)
    }
}

/// One resource as a system holds it: its name and content.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Item {
    pub id: ResourceRef,
    pub spec: Spec,
    /// Kept because it is asked for on every pass and costs a hash.
    pub bucket: u8,
}

impl Item {
    pub fn new(id: ResourceRef, spec: Spec) -> Self {
        let bucket = id.bucket();
        Self { id, spec, bucket }
    }

    /// The content's digest. Not kept: a bucket's digest asks for it once, and most items are never asked again.
    pub fn digest(&self) -> Digest {
        Digest::of(self.spec.as_str().as_bytes())
    }
}

/// The items of one bucket, sorted by name. Its digest is worked out when it is first asked for: reading and comparing documents
/// need none.
#[derive(Debug, Clone)]
pub struct Bucket {
    items: Vec<Arc<Item>>,
    digest: OnceLock<Digest>,
    /// How many items of each kind: kept, so that counting a large state costs its buckets, not its items.
    counts: Vec<(Box<str>, usize)>,
}

impl PartialEq for Bucket {
    fn eq(&self, other: &Self) -> bool {
        self.items == other.items
    }
}

impl Eq for Bucket {}

static EMPTY: LazyLock<Arc<Bucket>> = LazyLock::new(|| Arc::new(Bucket::new(Vec::new())));

impl Bucket {
    /// Sorts the items. Of two items with one name the later wins: callers have checked for that.
    pub fn new(mut items: Vec<Arc<Item>>) -> Self {
        items.sort_by(|a, b| a.id.cmp(&b.id));
        items.reverse();
        items.dedup_by(|a, b| a.id == b.id);
        items.reverse();
        let mut counts: Vec<(Box<str>, usize)> = Vec::new();
        for item in &items {
            match counts.last_mut() {
                Some((kind, n)) if **kind == *item.id.kind() => *n += 1,
                _ => counts.push((item.id.kind().into(), 1)),
            }
        }
        Self {
            items,
            digest: OnceLock::new(),
            counts,
        }
    }

    pub fn items(&self) -> &[Arc<Item>] {
        &self.items
    }

    pub fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| {
            let mut hash = Sha256::new();
            let mut digits = [0; 64];
            for item in &self.items {
                hash.update(item.id.as_str().as_bytes());
                hash.update(b" ");
                // Hex of 32 bytes always fits 64, so this can't fail.
                if hex::encode_to_slice(item.digest().as_bytes(), &mut digits).is_ok() {
                    hash.update(digits);
                }
                hash.update(b"\n");
            }
            Digest::from_bytes(hash.finalize().into())
        })
    }

    /// Whether the two are the same by what is known already, without reading their items. `false` says nothing.
    pub fn is_known_same(&self, other: &Arc<Self>) -> bool {
        std::ptr::eq(self, &raw const **other)
            || matches!((self.digest.get(), other.digest.get()), (Some(a), Some(b)) if a == b)
    }
}

/// A whole state, desired or observed.
#[derive(Clone)]
pub struct State {
    buckets: Vec<Arc<Bucket>>,
    digest: OnceLock<Digest>,
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.buckets == other.buckets
    }
}

impl Eq for State {}

impl Default for State {
    fn default() -> Self {
        Self::from_buckets(vec![EMPTY.clone(); BUCKETS])
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("digest", &self.digest())
            .field("items", &self.len())
            .finish()
    }
}

impl FromIterator<Arc<Item>> for State {
    fn from_iter<I: IntoIterator<Item = Arc<Item>>>(items: I) -> Self {
        let mut split: Vec<Vec<Arc<Item>>> = vec![Vec::new(); BUCKETS];
        for item in items {
            if let Some(bucket) = split.get_mut(usize::from(item.bucket)) {
                bucket.push(item);
            }
        }
        Self::from_buckets(
            split
                .into_iter()
                .map(|items| {
                    if items.is_empty() {
                        EMPTY.clone()
                    } else {
                        Arc::new(Bucket::new(items))
                    }
                })
                .collect(),
        )
    }
}

impl State {
    /// Puts buckets together; missing ones at the end are empty.
    pub fn from_buckets(mut buckets: Vec<Arc<Bucket>>) -> Self {
        buckets.resize_with(BUCKETS, || EMPTY.clone());
        Self {
            buckets,
            digest: OnceLock::new(),
        }
    }

    /// The same state with some buckets replaced: the cheap way from one state to the next.
    #[must_use]
    pub fn with_buckets(&self, replaced: impl IntoIterator<Item = (u8, Arc<Bucket>)>) -> Self {
        let mut buckets = self.buckets.clone();
        for (index, bucket) in replaced {
            if let Some(place) = buckets.get_mut(usize::from(index)) {
                *place = bucket;
            }
        }
        Self::from_buckets(buckets)
    }

    pub fn digest(&self) -> Digest {
        *self
            .digest
            .get_or_init(|| state_digest(self.buckets.iter().map(|b| b.digest())))
    }

    /// The 256 buckets in order.
    pub fn buckets(&self) -> &[Arc<Bucket>] {
        &self.buckets
    }

    /// The digests of the 256 buckets in order.
    pub fn bucket_digests(&self) -> Vec<Digest> {
        self.buckets.iter().map(|b| b.digest()).collect()
    }

    /// All items, bucket by bucket.
    pub fn items(&self) -> impl Iterator<Item = &Arc<Item>> {
        self.buckets.iter().flat_map(|b| b.items.iter())
    }

    pub fn get(&self, id: &ResourceRef) -> Option<&Arc<Item>> {
        let items = &self.buckets.get(usize::from(id.bucket()))?.items;
        items
            .binary_search_by(|item| item.id.cmp(id))
            .ok()
            .and_then(|at| items.get(at))
    }

    pub fn len(&self) -> usize {
        self.buckets.iter().map(|b| b.items.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.buckets.iter().all(|b| b.items.is_empty())
    }

    /// How many items there are of each kind.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for (kind, n) in self.buckets.iter().flat_map(|b| &b.counts) {
            match counts.get_mut(&**kind) {
                Some(total) => *total += n,
                None => {
                    counts.insert(kind.to_string(), *n);
                }
            }
        }
        counts
    }
}

/// The digest of a state from the digests of its 256 buckets.
pub fn state_digest(buckets: impl IntoIterator<Item = Digest>) -> Digest {
    let mut hash = Sha256::new();
    for digest in buckets {
        hash.update(digest.as_bytes());
    }
    Digest::from_bytes(hash.finalize().into())
}

/// The digest of a state that is at hand, worked out when it is asked for, or of one that is known by nothing else.
#[derive(Clone)]
pub enum DigestOf {
    State(State),
    Known(Digest),
}

impl DigestOf {
    pub fn get(&self) -> Digest {
        match self {
            Self::State(state) => state.digest(),
            Self::Known(digest) => *digest,
        }
    }
}

impl From<Digest> for DigestOf {
    fn from(digest: Digest) -> Self {
        Self::Known(digest)
    }
}

impl From<&State> for DigestOf {
    fn from(state: &State) -> Self {
        Self::State(state.clone())
    }
}

impl PartialEq for DigestOf {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for DigestOf {}

impl fmt::Debug for DigestOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
