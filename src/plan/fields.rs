//! Field modes: which fields of a resource Lockstep writes on a system, and which belong to the people there.
//!
//! What a system should have is brought in line with what it has before the two are compared: a field that is not enforced is taken as it is
//! there, so that nothing is planned about it, digests come out, and it is no drift. What a system does not have yet is made with what the documents
//! say, except for fields that are only observed. This is the one place where that is done; documents and systems know nothing of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::diff::join;
use crate::config::{FieldMode, FieldModes};
use crate::ids::{ResourceRef, SystemName};
use crate::resource::Bundle;
use crate::state::{Bucket, Item, Spec, State};

/// The fields of a resource that has dates.
const DATES: &[&str] = &["from", "until"];

/// The modes of one kind's fields, by name.
type Modes = BTreeMap<String, FieldMode>;

/// `desired` as it is to be compared with `there`: fields that are not enforced as they are there.
pub fn settled(desired: &State, there: &State, modes: &FieldModes) -> State {
    settled_after(desired, there, modes, None)
}

/// The last answer for a system, so that the next one costs what has changed since.
#[derive(Debug, Clone, Default)]
pub struct Settled {
    modes: FieldModes,
    desired: State,
    there: State,
    state: State,
}

impl Settled {
    /// What [`settled`] says of these, of which the last ones were much the same.
    pub fn next(&mut self, desired: &State, there: &State, modes: &FieldModes) -> State {
        let known = (self.modes == *modes).then_some(&*self);
        let state = settled_after(desired, there, modes, known);
        *self = Self {
            modes: modes.clone(),
            desired: desired.clone(),
            there: there.clone(),
            state: state.clone(),
        };
        state
    }

    /// The bucket that came of these two, if it was these.
    fn bucket(
        &self,
        index: u8,
        desired: &Arc<Bucket>,
        there: &Arc<Bucket>,
    ) -> Option<&Arc<Bucket>> {
        let at = usize::from(index);
        let is_last = |state: &State, bucket: &Arc<Bucket>| {
            state
                .buckets()
                .get(at)
                .is_some_and(|last| Arc::ptr_eq(last, bucket))
        };
        let same = is_last(&self.desired, desired) && is_last(&self.there, there);
        self.state.buckets().get(at).filter(|_| same)
    }
}

fn settled_after(
    desired: &State,
    there: &State,
    modes: &FieldModes,
    known: Option<&Settled>,
) -> State {
    if modes.is_empty() {
        return desired.clone();
    }
    let mut replaced = Vec::new();
    for (index, (wanted, has)) in (0..=u8::MAX).zip(desired.buckets().iter().zip(there.buckets())) {
        if wanted.is_known_same(has) {
            continue;
        }
        if let Some(bucket) = known.and_then(|known| known.bucket(index, wanted, has)) {
            replaced.push((index, bucket.clone()));
            continue;
        }
        let (mut items, mut is_other) = (Vec::with_capacity(wanted.items().len()), false);
        join(has.items(), wanted.items(), |has, wanted| {
            let Some(wanted) = wanted else { return };
            let item = settled_item(wanted, has.map(|item| &**item), modes);
            is_other |= !Arc::ptr_eq(&item, wanted);
            items.push(item);
        });
        if is_other {
            replaced.push((index, Arc::new(Bucket::new(items))));
        }
    }
    if replaced.is_empty() {
        return desired.clone();
    }
    desired.with_buckets(replaced)
}

/// The same of one resource; `there` is `None` where the system does not have it.
pub fn settled_item(wanted: &Arc<Item>, there: Option<&Item>, modes: &FieldModes) -> Arc<Item> {
    let Some(modes) = modes.of(wanted.id.kind()) else {
        return wanted.clone();
    };
    if there.is_some_and(|there| there.spec == wanted.spec) {
        return wanted.clone();
    }
    let there = there.map(|there| there.spec.value());
    match (wanted.spec.value(), &there) {
        // What begins or ends by its date does so by being written.
        (Value::Object(spec), _) if DATES.iter().any(|date| spec.contains_key(*date)) => {
            wanted.clone()
        }
        (Value::Object(spec), None) => {
            let is_ours = |name: &String| modes.get(name) != Some(&FieldMode::Observed);
            with(wanted, spec.into_iter().filter(|(name, _)| is_ours(name)))
        }
        (Value::Object(spec), Some(Value::Object(there))) => {
            with(wanted, yielded(spec, there, modes))
        }
        // Not made of fields.
        _ => wanted.clone(),
    }
}

/// A spec's fields, those that are not enforced as they are there, also where they are missing there.
fn yielded(
    mut spec: Map<String, Value>,
    there: &Map<String, Value>,
    modes: &Modes,
) -> Map<String, Value> {
    for name in left(modes) {
        match there.get(name) {
            Some(value) => drop(spec.insert(name.clone(), value.clone())),
            None => drop(spec.remove(name)),
        }
    }
    spec
}

/// The fields that are not enforced.
fn left(modes: &Modes) -> impl Iterator<Item = &String> {
    let all = modes.iter();
    all.filter_map(|(name, mode)| (*mode != FieldMode::Enforced).then_some(name))
}

/// The item with these fields; the same one where they are its own.
fn with(item: &Arc<Item>, fields: impl IntoIterator<Item = (String, Value)>) -> Arc<Item> {
    let fields: Map<String, Value> = fields.into_iter().collect();
    match Spec::from_value(&fields) {
        Ok(spec) if spec != item.spec => Arc::new(Item {
            spec,
            ..(**item).clone()
        }),
        // What was read from a system is canonical, so the second does not come up; then all of it is enforced.
        Ok(_) | Err(_) => item.clone(),
    }
}

/// What an earlier revision wrote, for comparison with a later one that may enforce more. What the system has in a field that only now is to be
/// written is not known from the documents, so whoever has such a field counts as not there: it is a change of everything that the documents say of
/// it, judged as one that is made, whatever is live.
pub fn written(had: &State, before: &FieldModes, after: &FieldModes) -> State {
    if before.is_empty() || before == after {
        return had.clone();
    }
    let is_enforced_now = |kind: &str, name: &String| {
        let mode = after.of(kind).and_then(|modes| modes.get(name));
        mode.is_none_or(|mode| *mode == FieldMode::Enforced)
    };
    let is_known = |item: &&Arc<Item>| {
        let kind = item.id.kind();
        let modes = before.of(kind);
        !modes.is_some_and(|modes| left(modes).any(|name| is_enforced_now(kind, name)))
    };
    had.items().filter(is_known).cloned().collect()
}

/// Fields that a later revision says otherwise than an earlier one and that stay as they are on a system, by system and resource.
pub type Kept = BTreeMap<SystemName, BTreeMap<ResourceRef, BTreeSet<String>>>;

/// What is written differently and reaches a system only where it does not have the resource yet: for whoever reads the plan of a proposal and
/// misses it there.
pub fn kept(before: &Bundle, after: &Bundle) -> Kept {
    let mut all = Kept::new();
    for (name, system) in &after.config.systems {
        if system.fields.is_empty() {
            continue;
        }
        let (had, has) = (before.project(name), after.project(name));
        for item in has.items() {
            let (Some(modes), Some(had)) = (system.fields.of(item.id.kind()), had.get(&item.id))
            else {
                continue;
            };
            if had.spec == item.spec {
                continue;
            }
            let (had, has) = (had.spec.value(), item.spec.value());
            let fields: BTreeSet<String> = left(modes)
                .filter(|field| had.get(field.as_str()) != has.get(field.as_str()))
                .cloned()
                .collect();
            if !fields.is_empty() {
                let of = all.entry(name.clone()).or_default();
                of.insert(item.id.clone(), fields);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests;
