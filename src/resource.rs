//! Resources: what documents declare, and what the systems should have.
//!
//! A [`Kind`] is a type of resource; [`kinds`] is the only place where one is registered. A [`Bundle`] is what a revision
//! compiles to (`compile`), and what passes from the gate to the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, OnceLock};

use dating::{Dated, Outside, When};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::config::Config;
use crate::ids::{Digest, DocPath, KindName, ResourceRef, Revision, SystemName};
use crate::state::{BUCKETS, Bucket, Item, Spec, State, state_digest};

pub mod access;
pub mod compliance;
pub mod custom;
pub mod dating;
mod declare;
pub mod experiment;
pub mod flag;
pub mod form;
pub mod incident;
pub mod interview_type;
pub mod kinds;
mod mention;
pub mod notice;
mod page;
mod rewrite;
pub mod schema;
mod severity;
mod wording;
mod words;

/// The systems a resource is for, sorted, shared between the many resources that are for the same.
pub type SystemSet = Arc<BTreeSet<SystemName>>;

/// The smallest thing that is created, updated or deleted on a system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    pub item: Arc<Item>,
    pub systems: SystemSet,
    /// The document that declares it. Its line is found when it is shown (`compile::fill_lines`).
    pub document: DocPath,
    /// When it holds; `None` for what always does.
    pub dated: Option<Arc<Dated>>,
}

/// Whether a change gives more or less: what approvals, freezes and urgency go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Grant, switch on, raise a rollout, unblock.
    Widening,
    /// Revoke, switch off, lower, block.
    Narrowing,
    Neutral,
}

impl Direction {
    /// The direction of the change undone.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::Widening => Self::Narrowing,
            Self::Narrowing => Self::Widening,
            Self::Neutral => Self::Neutral,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Widening => "widening",
            Self::Narrowing => "narrowing",
            Self::Neutral => "neutral",
        })
    }
}

/// The language of what people read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Language {
    #[serde(rename = "en")]
    English,
    #[serde(rename = "ja")]
    Japanese,
}

/// A type of resource. Everything that differs between kinds is asked here, so that one diff, one guard and one
/// renderer serve all.
pub trait Kind: Send + Sync {
    /// As in `kind/name`.
    fn name(&self) -> &str;

    /// Whether a change gives more or less. Swapping `before` and `after` reverses it; where each gives something that the other does not, both
    /// ways are widening.
    fn direction(&self, before: Option<&Value>, after: Option<&Value>) -> Direction;

    /// One line that says what changes, in the kind's own words, without systems and direction:
    /// `ai_assistant: rollout 10% → 25%`. At least one of `before` and `after` is there.
    fn describe(
        &self,
        name: &str,
        before: Option<&Value>,
        after: Option<&Value>,
        language: Language,
    ) -> String;

    /// What is left of a resource before its `from` and after its `until`; `None` where dates change nothing about it.
    fn outside(&self, _spec: &Spec) -> Option<Outside> {
        None
    }

    /// The fields of a spec that may be another's to write on a system (`fields:` of `lockstep.yaml`): not those that say which resource it is, or
    /// when it holds. `None` where any may.
    fn fields(&self) -> Option<&'static [&'static str]> {
        None
    }

    /// Those of them without which a system can't make one.
    fn required(&self) -> &'static [&'static str] {
        &[]
    }

    /// Records of fact (notices, incidents, experiments) are published, superseded or retracted, not healed by overwriting.
    fn is_record(&self) -> bool {
        false
    }
}

/// The kinds a bundle knows: the built-in ones and the repo's custom ones, by name.
pub type Kinds = Arc<BTreeMap<KindName, Arc<dyn Kind>>>;

/// What a revision compiles to: the only thing that passes from the gate to the engine.
#[derive(Clone)]
pub struct Bundle {
    pub revision: Option<Revision>,
    pub config: Arc<Config>,
    pub kinds: Kinds,
    /// As in [`State`], so that a revision that changes little shares most of them with the one before.
    buckets: Vec<Arc<ResourceBucket>>,
    /// How many resources of each kind.
    pub counts: BTreeMap<KindName, usize>,
    digest: OnceLock<Digest>,
}

/// The resources of one bucket, sorted by name.
#[derive(Debug)]
struct ResourceBucket {
    resources: Vec<Arc<Resource>>,
    /// The moments at which one of them begins or ends, sorted.
    boundaries: Vec<Timestamp>,
    digest: OnceLock<Digest>,
}

/// A resource whose name another one has already, and the document of that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeated {
    pub resource: Arc<Resource>,
    pub first: DocPath,
}

impl ResourceBucket {
    fn new(mut resources: Vec<Arc<Resource>>) -> Self {
        resources.sort_by(|a, b| a.item.id.cmp(&b.item.id));
        Self::sorted(resources)
    }

    fn sorted(resources: Vec<Arc<Resource>>) -> Self {
        let dated = resources.iter().filter_map(|r| r.dated.as_ref());
        let edges = dated.flat_map(|d| d.window.edges());
        let mut boundaries: Vec<Timestamp> = edges.map(|(at, _)| at).collect();
        boundaries.sort_unstable();
        boundaries.dedup();
        Self {
            resources,
            boundaries,
            digest: OnceLock::new(),
        }
    }

    /// Whether something begins or ends after the earlier of two moments and up to the later one.
    fn has_boundary(&self, a: Timestamp, b: Timestamp) -> bool {
        let first = self.boundaries.partition_point(|at| *at <= a.min(b));
        self.boundaries.get(first).is_some_and(|at| *at <= a.max(b))
    }

    /// Over names, contents and systems.
    fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| {
            let mut hash = Sha256::new();
            for resource in &self.resources {
                hash.update(resource.item.id.as_str());
                hash.update(b" ");
                hash.update(resource.item.digest().as_bytes());
                for system in resource.systems.iter() {
                    hash.update(b" ");
                    hash.update(system.as_str());
                }
                hash.update(b"\n");
            }
            Digest::from_bytes(hash.finalize().into())
        })
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bundle")
            .field("revision", &self.revision)
            .field("digest", &self.digest())
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl Bundle {
    /// Puts resources together. Of two with one name the first counts.
    pub fn new(
        revision: Option<Revision>,
        config: Arc<Config>,
        kinds: Kinds,
        resources: impl IntoIterator<Item = Arc<Resource>>,
    ) -> Self {
        Self::gather(revision, config, kinds, resources).0
    }

    /// The same, with those that were left out because their name was taken.
    pub fn gather(
        revision: Option<Revision>,
        config: Arc<Config>,
        kinds: Kinds,
        resources: impl IntoIterator<Item = Arc<Resource>>,
    ) -> (Self, Vec<Repeated>) {
        let mut split: Vec<Vec<Arc<Resource>>> = vec![Vec::new(); BUCKETS];
        for resource in resources {
            if let Some(bucket) = split.get_mut(usize::from(resource.item.bucket)) {
                bucket.push(resource);
            }
        }
        let (mut counts, mut repeated) = (BTreeMap::new(), Vec::new());
        let mut buckets = Vec::with_capacity(BUCKETS);
        for mut resources in split {
            // Stable, so that of equal names the first stays first.
            resources.sort_by(|a, b| a.item.id.cmp(&b.item.id));
            resources.dedup_by(|again, first| {
                let same = again.item.id == first.item.id;
                if same {
                    repeated.push(Repeated {
                        resource: again.clone(),
                        first: first.document.clone(),
                    });
                }
                same
            });
            // Sorted by name, so the resources of a kind stand together.
            for kind in resources.chunk_by(|a, b| a.item.id.kind() == b.item.id.kind()) {
                if let Some(first) = kind.first() {
                    count(&mut counts, first, |n| n + kind.len());
                }
            }
            buckets.push(Arc::new(ResourceBucket::sorted(resources)));
        }
        let bundle = Self::from_buckets(revision, config, kinds, buckets, counts);
        (bundle, repeated)
    }

    fn from_buckets(
        revision: Option<Revision>,
        config: Arc<Config>,
        kinds: Kinds,
        buckets: Vec<Arc<ResourceBucket>>,
        counts: BTreeMap<KindName, usize>,
    ) -> Self {
        Self {
            revision,
            config,
            kinds,
            buckets,
            counts,
            digest: OnceLock::new(),
        }
    }

    /// Over all resources, their contents and the systems they are for.
    pub fn digest(&self) -> Digest {
        *self
            .digest
            .get_or_init(|| state_digest(self.buckets.iter().map(|b| b.digest())))
    }

    /// The next revision's bundle from this one, where only some resources differ: `gone` are taken out, then `come` put in.
    /// Buckets that neither touches are shared.
    #[must_use]
    pub fn succeed(
        &self,
        revision: Option<Revision>,
        gone: &[Arc<Resource>],
        come: &[Arc<Resource>],
    ) -> Self {
        let mut touched: BTreeMap<u8, Vec<Arc<Resource>>> = BTreeMap::new();
        for resource in gone.iter().chain(come) {
            let index = resource.item.bucket;
            touched
                .entry(index)
                .or_insert_with(|| self.bucket(index).to_vec());
        }
        for old in gone {
            if let Some(bucket) = touched.get_mut(&old.item.bucket) {
                bucket.retain(|r| r.item.id != old.item.id);
            }
        }
        for new in come {
            if let Some(bucket) = touched.get_mut(&new.item.bucket) {
                bucket.push(new.clone());
            }
        }
        let mut counts = self.counts.clone();
        gone.iter()
            .for_each(|r| count(&mut counts, r, |n| n.saturating_sub(1)));
        come.iter().for_each(|r| count(&mut counts, r, |n| n + 1));
        counts.retain(|_, n| *n > 0);
        let mut buckets = self.buckets.clone();
        for (index, resources) in touched {
            if let Some(place) = buckets.get_mut(usize::from(index)) {
                *place = Arc::new(ResourceBucket::new(resources));
            }
        }
        Self::from_buckets(
            revision,
            self.config.clone(),
            self.kinds.clone(),
            buckets,
            counts,
        )
    }

    fn bucket(&self, index: u8) -> &[Arc<Resource>] {
        self.buckets
            .get(usize::from(index))
            .map_or(&[], |b| &b.resources)
    }

    /// All resources, bucket by bucket.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.buckets.iter().flat_map(|b| b.resources.iter())
    }

    pub fn get(&self, id: &ResourceRef) -> Option<&Arc<Resource>> {
        let bucket = self.bucket(id.bucket());
        bucket
            .binary_search_by(|r| r.item.id.cmp(id))
            .ok()
            .and_then(|at| bucket.get(at))
    }

    pub fn len(&self) -> usize {
        self.counts.values().sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The kind with this name; every resource of a bundle has one.
    pub fn kind(&self, name: &str) -> Option<&Arc<dyn Kind>> {
        self.kinds.get(name)
    }

    /// All that is written for a system, whatever its dates say. What it should have now is [`Bundle::project_at`].
    pub fn project(&self, system: &SystemName) -> State {
        State::from_buckets(
            self.buckets
                .iter()
                .map(|b| project_bucket(b, system, When::Written))
                .collect(),
        )
    }

    /// What each of these systems should have. What two of them should have alike they share.
    pub fn project_all<'s>(
        &self,
        systems: impl IntoIterator<Item = &'s SystemName>,
        when: When,
    ) -> BTreeMap<SystemName, State> {
        let systems: BTreeSet<&SystemName> = systems.into_iter().collect();
        let mut shares: Vec<Vec<Arc<Bucket>>> = vec![Vec::with_capacity(BUCKETS); systems.len()];
        for bucket in &self.buckets {
            let mut made: Vec<Arc<Bucket>> = Vec::new();
            for (system, share) in systems.iter().zip(&mut shares) {
                let items = share_of(bucket, system, when);
                let same = |b: &&Arc<Bucket>| {
                    let mut pairs = b.items().iter().zip(&items);
                    b.items().len() == items.len() && pairs.all(|(a, b)| Arc::ptr_eq(a, b))
                };
                let known = made.iter().find(same).cloned();
                share.push(known.unwrap_or_else(|| {
                    let new = Arc::new(Bucket::new(items));
                    made.push(new.clone());
                    new
                }));
            }
        }
        let named = systems.into_iter().cloned().zip(shares);
        named
            .map(|(system, buckets)| (system, State::from_buckets(buckets)))
            .collect()
    }

    /// The same as [`Bundle::project_all`] for one system, where the projection of an earlier bundle, made in the same way, is at hand: only
    /// buckets that differ are made anew.
    pub fn project_after(
        &self,
        system: &SystemName,
        when: When,
        earlier: &Bundle,
        projected: &State,
    ) -> State {
        self.project_changed(system, when, earlier, projected, |_| false)
    }

    fn project_changed(
        &self,
        system: &SystemName,
        when: When,
        earlier: &Bundle,
        projected: &State,
        has_turned: impl Fn(&ResourceBucket) -> bool,
    ) -> State {
        let pairs = self.buckets.iter().zip(&earlier.buckets).zip(0_u8..=255);
        let changed = pairs
            .filter(|((new, old), _)| !Arc::ptr_eq(new, old) || has_turned(new))
            .filter_map(|((new, _), index)| {
                let bucket = project_bucket(new, system, when);
                let before = projected.buckets().get(usize::from(index));
                // What came out the same keeps its digest.
                (before != Some(&bucket)).then_some((index, bucket))
            });
        projected.with_buckets(changed)
    }
}

fn count(
    counts: &mut BTreeMap<KindName, usize>,
    resource: &Resource,
    change: impl Fn(usize) -> usize,
) {
    let kind = resource.item.id.kind();
    if let Some(n) = counts.get_mut(kind) {
        *n = change(*n);
    } else if let Ok(kind) = kind.parse() {
        counts.insert(kind, change(0));
    }
}

fn project_bucket(bucket: &ResourceBucket, system: &SystemName, when: When) -> Arc<Bucket> {
    Arc::new(Bucket::new(share_of(bucket, system, when)))
}

/// The items of a bucket that are for a system.
fn share_of(bucket: &ResourceBucket, system: &SystemName, when: When) -> Vec<Arc<Item>> {
    let mut items = Vec::with_capacity(bucket.resources.len());
    // Sets are shared, so neighbours mostly have the same.
    let mut last: Option<(&SystemSet, bool)> = None;
    for resource in &bucket.resources {
        let set = &resource.systems;
        let contains = match last {
            Some((known, contains)) if Arc::ptr_eq(known, set) => contains,
            _ => set.contains(system),
        };
        last = Some((set, contains));
        if contains {
            items.extend(resource.item_when(when).cloned());
        }
    }
    items
}
