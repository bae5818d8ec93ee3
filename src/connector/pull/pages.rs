//! A state on the shelf: one text for each bucket that holds anything, and a [`Holding`] that says which they are. Who reads holds them to its
//! digests, so that a state half written is never taken for one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::kept::{page, put};
use super::wire::Changes;
use crate::connector::ConnectorError;
use crate::connector::journal::advance;
use crate::connector::shelf::Shelf;
use crate::ids::{Digest, Revision};
use crate::state::{BUCKETS, Bucket, State};
use crate::system_api::WireResource;

/// What the system holds, as it said.
pub(super) const SEEN: &str = "seen";
/// What it should hold.
pub(super) const DESIRED: &str = "desired";

/// A state by its digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Holding {
    pub(super) revision: Option<Revision>,
    pub(super) digest: Digest,
    pub(super) buckets: Vec<Digest>,
}

impl Holding {
    pub(super) fn of(state: &State, revision: Option<Revision>) -> Self {
        Self {
            revision,
            digest: state.digest(),
            buckets: state.bucket_digests(),
        }
    }

    /// The state, from buckets that have been read.
    pub(super) fn state(&self, read: Vec<(u8, Arc<Bucket>)>) -> State {
        State::default().with_buckets(read)
    }
}

pub(super) fn moved(before: Digest, now: Digest) -> ConnectorError {
    ConnectorError::Stale {
        message: format!(
            "its state went from {} to {} while it was being read",
            before.short(),
            now.short()
        ),
    }
}

fn name(folder: &str, bucket: u8) -> String {
    format!("{folder}/{bucket:02x}")
}

/// Reads some buckets, those that hold nothing left out.
pub(super) async fn read(
    shelf: &dyn Shelf,
    folder: &str,
    holding: &Holding,
    wanted: impl Iterator<Item = u8>,
) -> Result<Vec<(u8, Arc<Bucket>)>, ConnectorError> {
    let empty = Bucket::new(Vec::new()).digest();
    let mut all = Vec::new();
    for index in wanted {
        let expected = holding.buckets.get(usize::from(index)).copied();
        let expected = expected.unwrap_or(empty);
        if expected == empty {
            continue;
        }
        let name = name(folder, index);
        let bucket = match shelf.read(&name).await? {
            Some(kept) => parse(&name, &kept.text)?,
            None => Bucket::new(Vec::new()),
        };
        if bucket.digest() != expected {
            return Err(moved(expected, bucket.digest()));
        }
        all.push((index, Arc::new(bucket)));
    }
    Ok(all)
}

fn parse(name: &str, text: &str) -> Result<Bucket, ConnectorError> {
    let wrong = |why: String| ConnectorError::Terminal {
        message: format!("what the store keeps of it as {name} cannot be read: {why}"),
    };
    let resources: Vec<WireResource<'_>> =
        serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
    let items = resources.into_iter().map(WireResource::into_item);
    let items: Result<Vec<_>, _> = items.collect();
    items.map(Bucket::new).map_err(|e| wrong(e.to_string()))
}

/// Writes the buckets of a state that are not as they were.
pub(super) async fn write(
    shelf: &dyn Shelf,
    folder: &str,
    before: Option<&Holding>,
    state: &State,
) -> Result<(), ConnectorError> {
    let empty = Bucket::new(Vec::new()).digest();
    for (index, bucket) in (0_u8..=255).zip(state.buckets()) {
        let digest = bucket.digest();
        let was = before.and_then(|b| b.buckets.get(usize::from(index)).copied());
        if was.unwrap_or(empty) == digest {
            continue;
        }
        let name = name(folder, index);
        if digest == empty {
            shelf.delete(&name).await?;
            continue;
        }
        let resources: Vec<WireResource<'_>> =
            bucket.items().iter().map(|i| WireResource::of(i)).collect();
        let over = shelf.read(&name).await?.map(|kept| kept.digest);
        put(shelf, &name, over, &resources).await?;
    }
    Ok(())
}

/// What is desired by its digests, once anything was decided.
pub(super) async fn desired(shelf: &dyn Shelf) -> Result<Option<Holding>, ConnectorError> {
    let holding = page::<Holding>(shelf, DESIRED).await?;
    Ok(holding
        .map(|page| page.value)
        .filter(|holding| holding.buckets.len() == BUCKETS))
}

/// Writes a whole state with its digests.
pub(super) async fn keep(
    shelf: &dyn Shelf,
    folder: &str,
    state: &State,
    revision: Option<Revision>,
) -> Result<(), ConnectorError> {
    let page = page::<Holding>(shelf, folder).await?;
    let (before, over) = match page {
        Some(page) => (Some(page.value), Some(page.digest)),
        None => (None, None),
    };
    write(shelf, folder, before.as_ref(), state).await?;
    let holding = Holding::of(state, revision);
    put(shelf, folder, over, &holding).await.map(drop)
}

/// A state on the shelf as some changes leave it.
pub(super) async fn after(
    shelf: &dyn Shelf,
    folder: &str,
    holding: &Holding,
    changes: &Changes,
) -> Result<State, ConnectorError> {
    let all = read(shelf, folder, holding, 0..=255).await?;
    Ok(advance(&holding.state(all), changes.steps()?))
}
