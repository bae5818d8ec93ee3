//! The shelf: where a connector keeps durably what its system has no place for, such as who has staged what. One a system; every replica that
//! drives the system sees the same.

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ConnectorError;
use crate::ids::Digest;

#[cfg(test)]
mod memory;

#[cfg(test)]
pub(super) use memory::MemoryShelf;
#[cfg(test)]
pub(crate) use memory::keeps_its_word;

/// What lies under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The text's digest: what a write in its place names.
    pub digest: Digest,
    pub text: String,
}

/// What came of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is there, on the disk, with this digest.
    Done(Digest),
    /// Another was there first: what lies there is not what was to be replaced, and stays.
    Overtaken,
}

/// A place for texts by name. A failure is Lockstep's own and not the system's, but ends what was asked of the system just the same.
#[async_trait]
pub trait Shelf: Send + Sync {
    async fn read(&self, name: &str) -> Result<Option<Kept>, ConnectorError>;

    /// Puts a text in the place of what has the digest `over`; with none, where nothing is yet. Text holds no zero character.
    async fn write(
        &self,
        name: &str,
        over: Option<Digest>,
        text: &str,
    ) -> Result<Put, ConnectorError>;

    /// Nothing to take away is a success.
    async fn delete(&self, name: &str) -> Result<(), ConnectorError>;

    /// The names that begin so, sorted by bytes.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, ConnectorError>;
}

/// Reads a text as the JSON that a connector wrote, with the digest that a write in its place has to name.
pub(super) async fn page<T: DeserializeOwned>(
    shelf: &dyn Shelf,
    name: &str,
) -> Result<Option<(T, Digest)>, ConnectorError> {
    let Some(kept) = shelf.read(name).await? else {
        return Ok(None);
    };
    let value = serde_json::from_str(&kept.text).map_err(|e| ConnectorError::Terminal {
        message: format!("what the store keeps of it as {name} cannot be read: {e}"),
    })?;
    Ok(Some((value, kept.digest)))
}

/// Writes a value as JSON. Where another has been written meanwhile, whoever did so does the same work: what is done is to be thought over.
pub(super) async fn put<T: Serialize>(
    shelf: &dyn Shelf,
    name: &str,
    over: Option<Digest>,
    value: &T,
) -> Result<Digest, ConnectorError> {
    let text = serde_json::to_string(value).map_err(|e| ConnectorError::Terminal {
        message: format!("{name} cannot be written: {e}"),
    })?;
    match shelf.write(name, over, &text).await? {
        Put::Done(digest) => Ok(digest),
        Put::Overtaken => Err(ConnectorError::Transient {
            message: "is being changed by another process or request; try again".to_owned(),
        }),
    }
}
