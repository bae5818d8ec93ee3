//! Observing a system at the cost of what differs: one conditional request where nothing moved, and only the buckets that differ otherwise.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::connector::{Apply, ConnectorError, Observe, Reason, Seen};
use crate::ids::Digest;
use crate::plan::Change;
use crate::state::{BUCKETS, Bucket, Item, State, state_digest};

/// A connected system as the engine holds it: its connector, and the state it was last seen in.
pub(super) struct Link {
    connector: Arc<dyn Apply>,
    /// Which config repo what is sent comes from.
    owner: Option<Arc<str>>,
    /// What was observed last. Only ever a whole, verified state: a hint that saves requests, never taken for the truth.
    last: Mutex<Option<State>>,
}

impl Link {
    pub(super) fn new(connector: Arc<dyn Apply>, owner: Option<Arc<str>>) -> Self {
        Self {
            connector,
            owner,
            last: Mutex::new(None),
        }
    }

    /// The half that can write: for carrying out a run, nothing else.
    pub(super) fn connector(&self) -> &Arc<dyn Apply> {
        &self.connector
    }

    pub(super) fn owner(&self) -> Option<Arc<str>> {
        self.owner.clone()
    }

    fn remembered(&self) -> Option<State> {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Takes a state as the one seen last, which makes the next request a conditional one.
    pub(super) fn remember(&self, state: &State) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(state.clone());
    }

    /// Which of these changes the system can't take as things stand there.
    pub(super) async fn unfit(&self, changes: &[Change]) -> Result<Vec<Reason>, ConnectorError> {
        self.connector.unfit(changes).await
    }

    /// The state the system is in now. `desired` saves fetching buckets that are as they should be; `left` is what the system was left with.
    pub(super) async fn observe(
        &self,
        desired: &State,
        left: Option<Digest>,
    ) -> Result<State, ConnectorError> {
        let remembered = self.remembered();
        let hope = if left == Some(desired.digest()) {
            Hope::AsDesired
        } else {
            Hope::Unknown
        };
        let state = observe(&*self.connector, remembered, desired, hope).await?;
        self.remember(&state);
        Ok(state)
    }
}

/// What is expected of a system that nothing is remembered of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hope {
    /// It was left as it should be, so the question is whether that has changed.
    AsDesired,
    /// Anything. It is asked what it holds: the answer "unchanged" to what it should hold would be taken on trust.
    Unknown,
}

/// Reads a system's state. `remembered` is what it was last seen in, `desired` what it should be: buckets that are in either, or empty, are
/// not read.
pub async fn observe(
    system: &dyn Observe,
    remembered: Option<State>,
    desired: &State,
    hope: Hope,
) -> Result<State, ConnectorError> {
    let hoped = match hope {
        Hope::AsDesired => remembered.as_ref().or(Some(desired)),
        Hope::Unknown => remembered.as_ref(),
    };
    match system.digests(hoped.map(State::digest)).await? {
        Seen::Unchanged => hoped
            .cloned()
            .ok_or_else(|| protocol("says that nothing changed, but was not told since when")),
        Seen::Digests {
            digest, buckets, ..
        } => fetch(system, digest, &buckets, remembered.as_ref(), desired).await,
    }
}

/// Puts a state together from buckets at hand and buckets fetched, and checks every digest on the way: complete or an error.
async fn fetch(
    system: &dyn Observe,
    digest: Digest,
    announced: &[Digest],
    remembered: Option<&State>,
    desired: &State,
) -> Result<State, ConnectorError> {
    if announced.len() != BUCKETS || state_digest(announced.iter().copied()) != digest {
        return Err(protocol(
            "announces bucket digests that do not make up its state digest",
        ));
    }
    let empty = State::default();
    let mut buckets: Vec<Option<Arc<Bucket>>> = Vec::with_capacity(BUCKETS);
    for (index, wanted) in announced.iter().enumerate() {
        let at_hand = [Some(desired), remembered, Some(&empty)]
            .into_iter()
            .flatten()
            .filter_map(|state| state.buckets().get(index))
            .find(|bucket| bucket.digest() == *wanted);
        buckets.push(at_hand.cloned());
    }
    let missing: Vec<u8> = (0..=u8::MAX)
        .filter(|i| buckets.get(usize::from(*i)).is_some_and(Option::is_none))
        .collect();
    if !missing.is_empty() {
        let mut fetched: BTreeMap<u8, Vec<Arc<Item>>> =
            missing.iter().map(|i| (*i, Vec::new())).collect();
        for item in system.items(&missing).await? {
            if let Some(bucket) = fetched.get_mut(&item.bucket) {
                bucket.push(item);
            }
        }
        for (index, items) in fetched {
            let bucket = Bucket::new(items);
            if announced.get(usize::from(index)) != Some(&bucket.digest()) {
                return Err(ConnectorError::Transient {
                    message: format!(
                        "bucket {index:02x} does not match its digest: the state moved while it was read"
                    ),
                });
            }
            if let Some(place) = buckets.get_mut(usize::from(index)) {
                *place = Some(Arc::new(bucket));
            }
        }
    }
    Ok(State::from_buckets(buckets.into_iter().flatten().collect()))
}

fn protocol(what: &str) -> ConnectorError {
    ConnectorError::Terminal {
        message: format!("the system {what}"),
    }
}
