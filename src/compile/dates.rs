//! What a proposal declares that is over already: time comes in, as everywhere in the core.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::Compiled;
use crate::document::{Snapshot, limits};
use crate::finding::Finding;
use crate::ids::{DocPath, ResourceRef};
use crate::plan::Plan;
use crate::resource::dating::UNTIL;

/// A warning for each resource that a plan brings and that has ended by now: nothing will come of it.
pub fn past(snapshot: &Snapshot, compiled: &Compiled, plan: &Plan, now: Timestamp) -> Vec<Finding> {
    let changes = plan.systems.values().flat_map(|share| &share.changes);
    let mut over: BTreeMap<&DocPath, BTreeSet<&ResourceRef>> = BTreeMap::new();
    for change in changes.filter(|c| c.after.is_some()) {
        let Some(resource) = compiled.bundle.get(&change.id) else {
            continue;
        };
        let until = resource.dated.as_ref().and_then(|d| d.window.until);
        if until.is_some_and(|until| until <= now) {
            let ids = over.entry(&resource.document).or_default();
            ids.insert(&change.id);
        }
    }
    let mut findings = Vec::new();
    for (path, ids) in over {
        let places = compiled.places(snapshot, path);
        findings.extend(ids.into_iter().take(limits::FINDINGS).filter_map(|id| {
            let spec = compiled.bundle.get(id)?.item.spec.value();
            let until = spec.get(UNTIL)?.as_str()?.to_owned();
            let message = format!("{id} is over already: it is declared until {until}");
            let finding = Finding::error("date/past", path, places.get(id).copied(), message);
            Some(
                finding
                    .warning()
                    .with_hint("give it a later `until`, or take it out"),
            )
        }));
    }
    findings
}
