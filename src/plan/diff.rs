//! The comparison of two states: a merge-join of sorted sequences, bucket by bucket, that touches only buckets
//! that are not known to be the same.

use std::sync::Arc;

use super::Change;
use crate::ids::ResourceRef;
use crate::resource::Direction;
use crate::state::{Item, Spec, State};

/// The changes that turn `before` into `after`, in the order in which they are shown and applied.
pub fn diff(
    before: &State,
    after: &State,
    direction: impl Fn(&ResourceRef, Option<&Spec>, Option<&Spec>) -> Direction,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for (b, a) in before.buckets().iter().zip(after.buckets()) {
        if b.is_known_same(a) {
            continue;
        }
        join(b.items(), a.items(), |before, after| {
            if let Some(id) = before.or(after).map(|item| &item.id) {
                changes.extend(Change::between(before.cloned(), after.cloned(), |x, y| {
                    direction(id, x, y)
                }));
            }
        });
    }
    order(&mut changes);
    changes
}

/// Walks two sorted sequences side by side, pairing what has the same name.
pub(super) fn join<'a>(
    mut before: &'a [Arc<Item>],
    mut after: &'a [Arc<Item>],
    mut pair: impl FnMut(Option<&'a Arc<Item>>, Option<&'a Arc<Item>>),
) {
    loop {
        match (before.split_first(), after.split_first()) {
            (None, None) => return,
            (Some((b, rest)), None) => {
                pair(Some(b), None);
                before = rest;
            }
            (None, Some((a, rest))) => {
                pair(None, Some(a));
                after = rest;
            }
            (Some((b, rest_before)), Some((a, rest_after))) => match b.id.cmp(&a.id) {
                std::cmp::Ordering::Less => {
                    pair(Some(b), None);
                    before = rest_before;
                }
                std::cmp::Ordering::Greater => {
                    pair(None, Some(a));
                    after = rest_after;
                }
                std::cmp::Ordering::Equal => {
                    pair(Some(b), Some(a));
                    before = rest_before;
                    after = rest_after;
                }
            },
        }
    }
}

/// Deletes first, then by name.
pub(super) fn order(changes: &mut [Change]) {
    changes.sort_by(|a, b| {
        let last = |c: &Change| c.op != super::Op::Delete;
        (last(a), &a.id).cmp(&(last(b), &b.id))
    });
}

/// What a state becomes when changes are made on it: `apply(diff(a, b), a) == b`.
pub fn apply(changes: &[Change], state: &State) -> State {
    let mut touched = std::collections::BTreeMap::<u8, Vec<Arc<Item>>>::new();
    for change in changes {
        let Some(item) = change.before.as_ref().or(change.after.as_ref()) else {
            continue;
        };
        let bucket = touched.entry(item.bucket).or_insert_with(|| {
            state
                .buckets()
                .get(usize::from(item.bucket))
                .map(|b| b.items().to_vec())
                .unwrap_or_default()
        });
        bucket.retain(|i| i.id != change.id);
        bucket.extend(change.after.clone());
    }
    state.with_buckets(
        touched
            .into_iter()
            .map(|(index, items)| (index, Arc::new(crate::state::Bucket::new(items)))),
    )
}
