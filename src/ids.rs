//! Identifiers as types, made by parsing, so that a system's name can't be passed where a kind's is meant.
//!
//! Nothing here knows git, files or systems: these are checked strings, numbers and digests.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// Why a text is not the identifier it was taken for. The message says what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {expected}")]
pub struct InvalidId {
    /// The text as it was found.
    pub text: String,
    /// What would have been right, as a noun phrase.
    pub expected: &'static str,
}

impl InvalidId {
    fn new(text: &str, expected: &'static str) -> Self {
        Self {
            text: text.chars().take(200).collect(),
            expected,
        }
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err(InvalidId::new(text, $expected)) }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(is_name_char)
}

fn is_kind(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

text_id!(
    /// A commit id: 40 or 64 lower-case hex digits.
    Revision, "a commit id of 40 or 64 lower-case hex digits",
    |t| matches!(t.len(), 40 | 64) && t.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
);
impl Revision {
    /// The id that no commit has, as git writes it where there is none.
    pub fn none() -> Self {
        Self("0".repeat(40).into())
    }
}
text_id!(
    /// A document's path inside the config repo: relative, with `/`, never climbing out.
    DocPath, "a relative path with / that stays inside the repository",
    |t| !t.is_empty() && t.len() <= 4096 && !t.contains('\0')
        && t.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
);
text_id!(
    /// The name of a connected system, as `lockstep.yaml` gives it.
    SystemName, "a name of ASCII letters, digits, '-', '_' and '.', at most 64 long", is_name
);
text_id!(
    /// The name of a group of systems that move together.
    GroupName, "a name of ASCII letters, digits, '-', '_' and '.', at most 129 long",
    // A system of an independent group is run as `group.system`.
    |t| t.len() <= 129 && is_name(t.get(..t.len().min(64)).unwrap_or_default()) && t.chars().all(is_name_char)
);
text_id!(
    /// A type of resource: `FeatureFlag`, or a custom kind's name.
    KindName, "a kind: an upper-case ASCII letter, then letters and digits, at most 64 long",
    is_kind
);
text_id!(
    /// Who did something: a person's key in `people:`, or a part of Lockstep such as `lockstep/engine`.
    Actor, "a name without line breaks, at most 200 bytes",
    |t| !t.trim().is_empty() && t.len() <= 200 && !t.chars().any(char::is_control)
);
text_id!(
    /// One changeset: a system's share of a run. The same run and system always give the same id, so that
    /// preparing and committing it again after a crash is recognised as the same.
    ChangesetId, "a changeset id of ASCII letters, digits, '-', '_' and '.', at most 128 long",
    |t| !t.is_empty() && t.len() <= 128
        && t.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
);

impl Revision {
    /// The first ten digits, for people.
    pub fn short(&self) -> &str {
        self.0.get(..10).unwrap_or(&self.0)
    }
}

/// `kind/name`: what a resource is called everywhere. Ordered by its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceRef(Arc<str>);

impl ResourceRef {
    /// Joins a kind and a name. A name is what may follow `kind/`: not empty, at most 512 bytes, without white space
    /// or control characters (the digest's lines are separated by both).
    pub fn new(kind: &str, name: &str) -> Result<Self, InvalidId> {
        Self::joined(kind, name, &mut String::new())
    }

    /// The same for many names one after the other: `room` is where they are put together, lent to save an allocation each.
    pub(crate) fn joined(kind: &str, name: &str, room: &mut String) -> Result<Self, InvalidId> {
        if !is_kind(kind) {
            KindName::from_str(kind)?;
        }
        // Nearly all names are plain ASCII, which is quickly seen.
        let plain = name.bytes().all(|b| b.is_ascii_graphic());
        if name.is_empty()
            || name.len() > 512
            || (!plain && name.chars().any(|c| c.is_whitespace() || c.is_control()))
        {
            return Err(InvalidId::new(
                name,
                "a resource name: not empty, at most 512 bytes, no white space",
            ));
        }
        room.clear();
        room.reserve(kind.len() + name.len() + 1);
        room.push_str(kind);
        room.push('/');
        room.push_str(name);
        Ok(Self(room.as_str().into()))
    }

    /// `kind/name` as one text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The kind's name.
    pub fn kind(&self) -> &str {
        self.0.split_once('/').map_or("", |(kind, _)| kind)
    }

    /// The name within the kind; may itself hold slashes.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }

    /// The bucket it lies in: the first byte of SHA-256 of `kind/name`.
    pub fn bucket(&self) -> u8 {
        Sha256::digest(self.0.as_bytes())[0]
    }
}

impl FromStr for ResourceRef {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (kind, name) = text
            .split_once('/')
            .ok_or_else(|| InvalidId::new(text, "a resource as kind/name"))?;
        Self::new(kind, name)
    }
}
impl fmt::Display for ResourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
impl fmt::Debug for ResourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
impl Serialize for ResourceRef {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}
impl<'de> Deserialize<'de> for ResourceRef {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A SHA-256 digest, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// A finished hash.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lower-case hex digits.
    pub fn to_hex(self) -> String {
        hex::encode(self.0)
    }

    /// The first twelve hex digits, for people.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl FromStr for Digest {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let mut bytes = [0; 32];
        if text.bytes().any(|b| b.is_ascii_uppercase())
            || hex::decode_to_slice(text, &mut bytes).is_err()
        {
            return Err(InvalidId::new(
                text,
                "a SHA-256 digest of 64 lower-case hex digits",
            ));
        }
        Ok(Self(bytes))
    }
}
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.to_hex())
    }
}
impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The digest of a whole plan: what an approval or a release is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanDigest(pub Digest);

impl fmt::Display for PlanDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One pass of the engine over one group for one revision. Version 7 UUIDs, so that they sort by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub uuid::Uuid);

impl RunId {
    /// The changeset that carries this run's share to one system. `stage` tells the change from its undoing.
    pub fn changeset(&self, system: &SystemName, stage: Stage) -> ChangesetId {
        ChangesetId(format!("{}.{}{}", self.0, system, stage.suffix()).into())
    }
}

/// Whether a changeset carries a run forward or compensates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The planned changes.
    Forward,
    /// Their reverse.
    Undo,
}

impl Stage {
    fn suffix(self) -> &'static str {
        match self {
            Self::Forward => "",
            Self::Undo => ".undo",
        }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl FromStr for RunId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        uuid::Uuid::parse_str(text)
            .map(Self)
            .map_err(|_| InvalidId::new(text, "a run id (a UUID)"))
    }
}

/// A number that grows with every change of a lease's holder; a system refuses a changeset with an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub u64);
