//! Where in the documents the lines of a plan come from.

use std::collections::{BTreeMap, BTreeSet};

use super::Compiled;
use super::read::Reader;
use crate::document::Snapshot;
use crate::ids::{DocPath, ResourceRef};
use crate::plan::Plan;
use crate::resource::Bundle;

/// Fills in the lines of a plan's origins, for showing it: of what is there after in `after`, of what was deleted in `before`.
pub fn fill_lines(
    plan: &mut Plan,
    after: (&Snapshot, &Compiled),
    before: Option<(&Snapshot, &Compiled)>,
) {
    let sides = [Some(after), before];
    for (side, deleted) in sides.into_iter().zip([false, true]) {
        let Some((snapshot, compiled)) = side else {
            continue;
        };
        let Bundle { config, kinds, .. } = &*compiled.bundle;
        let reader = Reader {
            forms: &compiled.forms,
            config,
            kinds,
        };
        let mut wanted: BTreeMap<DocPath, BTreeSet<ResourceRef>> = BTreeMap::new();
        let changes = || plan.systems.values().flat_map(|s| &s.changes);
        for change in changes().filter(|c| c.after.is_none() == deleted) {
            if let Some(origin) = &change.origin {
                wanted
                    .entry(origin.document.clone())
                    .or_default()
                    .insert(change.id.clone());
            }
        }
        let places: BTreeMap<DocPath, _> = wanted
            .iter()
            .map(|(path, ids)| (path.clone(), reader.locate(snapshot, path, ids)))
            .collect();
        for change in plan.systems.values_mut().flat_map(|s| &mut s.changes) {
            if change.after.is_none() == deleted
                && let Some(origin) = &mut change.origin
            {
                origin.line = places
                    .get(&origin.document)
                    .and_then(|p| p.get(&change.id))
                    .map(|s| s.line);
            }
        }
    }
}
