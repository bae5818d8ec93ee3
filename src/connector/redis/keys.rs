//! What the keys are called. All of them begin with the system's prefix; nothing else in the database is read or written.

use crate::ids::ChangesetId;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::connector) struct Keys {
    prefix: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
        }
    }

    /// A hash: the digest, the revision, the digests of the buckets, and how many changesets were committed.
    pub(super) fn state(&self) -> String {
        format!("{}state", self.prefix)
    }

    /// A text: the highest fence and the last changesets.
    pub(super) fn journal(&self) -> String {
        format!("{}journal", self.prefix)
    }

    /// A text: what a changeset makes of each resource.
    pub(super) fn staged(&self, id: &ChangesetId) -> String {
        format!("{}staged:{id}", self.prefix)
    }

    /// A set: the names of a bucket's resources.
    pub(super) fn index(&self, bucket: u8) -> String {
        format!("{}bucket:{bucket:02x}", self.prefix)
    }

    /// What the names of all resources' hashes begin with.
    pub(super) fn resources(&self) -> String {
        format!("{}resource:", self.prefix)
    }

    /// A hash: a resource, `kind/name`.
    pub(super) fn resource(&self, name: &str) -> String {
        format!("{}resource:{name}", self.prefix)
    }

    /// Where changes are told of, unless the system says another.
    pub(super) fn channel(&self) -> String {
        format!("{}changes", self.prefix)
    }
}
