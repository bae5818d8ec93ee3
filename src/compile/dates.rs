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

#[cfg(test)]
mod tests {
    use super::super::{CONFIG, compile};
    use super::*;
    use crate::document::{Blob, BlobId, Content};
    use crate::ids::Digest;

    const REPO: &str = "version: 1\ntimezone: Asia/Tokyo\nsystems:\n  medical: {connector: http, url: 'http://127.0.0.1:1', kinds: [AccessGrant]}\n";

    fn snapshot(access: &str) -> Snapshot {
        let files = [(CONFIG, REPO), ("config/access-control.json", access)];
        let files = files.map(|(path, text)| {
            let blob = Blob {
                id: BlobId::from_digest(Digest::of(text.as_bytes())),
                content: Content::Bytes(text.as_bytes().into()),
            };
            (path.parse().unwrap(), blob)
        });
        Snapshot {
            files: files.into_iter().collect(),
            ..Snapshot::default()
        }
    }

    #[test]
    fn what_a_proposal_brings_is_warned_of_once_its_time_is_over() {
        let before = compile(&snapshot(
            r#"{"admin_users": ["a", {"id": "b", "until": "2020-01-01"}]}"#,
        ));
        let head = snapshot(
            r#"{"admin_users": ["a", {"id": "b", "until": "2020-01-01"}, {"id": "c", "until": "2026-11-30"}]}"#,
        );
        let after = compile(&head);
        let plan = Plan::between(Some(&before.bundle), &after.bundle);
        let warned = |now: &str| {
            let found = past(&head, &after, &plan, now.parse().unwrap());
            let told = found.into_iter().map(|f| {
                let column = f.location.span.map(|s| s.column);
                format!("{} {:?} {column:?} {}", f.severity, f.rule, f.message)
            });
            told.collect::<Vec<_>>()
        };
        assert!(warned("2026-11-30T14:59:59Z").is_empty());
        // What was there before is not this proposal's.
        assert_eq!(
            warned("2026-11-30T15:00:00Z"),
            [
                r#"warning "date/past" Some(66) AccessGrant/admin/c is over already: it is declared until 2026-11-30"#
            ]
        );
    }
}
