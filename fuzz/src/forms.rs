//! Every kind's document through `compile`: the same bytes give the same, and a revision reached by an edit is the one compiled at
//! once. The first byte says which document it is; a NUL divides the text before from the one after.

use lockstep::compile::compile;
use lockstep::document::SnapshotDelta;
use lockstep::finding::Severity;
use lockstep::plan::{Plan, apply};
use lockstep::resource::Bundle;

const DOCUMENTS: [&str; 11] = [
    "config/feature-flags.json",
    "config/feature-flags.yaml",
    "config/access-control.json",
    "config/access-control.yaml",
    "config/interview-types.json",
    "compliance/a.md",
    "alerts/a.md",
    "security/urgent.md",
    "incidents/2025-09-15-a.md",
    "experiments/a.md",
    "config/wards.yaml",
];

pub fn run(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else {
        return;
    };
    let document = DOCUMENTS[usize::from(*which) % DOCUMENTS.len()];
    let (first, second) = match rest.iter().position(|b| *b == 0) {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (rest, &b""[..]),
    };
    let mut snapshot = crate::snapshot(&[(document, first)]);
    let mut stepped = compile(&snapshot);
    let again = compile(&snapshot);
    assert_eq!(stepped.report, again.report);
    assert_eq!(stepped.bundle.digest(), again.bundle.digest());
    if let Some(text) = crate::text(first) {
        let findings = stepped.report.findings().iter();
        let own: Vec<_> = findings
            .filter(|f| f.location.path.as_str() == document)
            .cloned()
            .collect();
        crate::are_placed(&own, text);
    } else {
        assert_eq!(stepped.report.worst(), Some(Severity::Error));
    }
    let before = stepped.bundle.clone();
    let delta = SnapshotDelta {
        files: [(crate::path(document), Some(crate::blob(second)))].into(),
        ..SnapshotDelta::default()
    };
    snapshot.succeed(None, &delta);
    stepped.succeed(&snapshot, &delta);
    let fresh = compile(&snapshot);
    assert_eq!(stepped.report, fresh.report);
    assert_eq!(stepped.bundle.digest(), fresh.bundle.digest());
    assert_eq!(stepped.bundle.counts, fresh.bundle.counts);
    leads_there(&before, &fresh.bundle);
}

/// The plan from one bundle to the other leads there, and undone it leads back.
fn leads_there(before: &Bundle, after: &Bundle) {
    let plan = Plan::between(Some(before), after);
    for (system, changes) in &plan.systems {
        let (from, to) = (before.project(system), after.project(system));
        let reached = apply(&changes.changes, &from);
        assert_eq!(reached.digest(), to.digest());
        let back = apply(&changes.reversed().changes, &reached);
        assert_eq!(back.digest(), from.digest());
    }
    assert_eq!(plan.digest(), Plan::between(Some(before), after).digest());
}
