//! What policies see of any two documents: the input is the same twice, reads as JSON, and the shipped policies give an answer to it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use lockstep::compile::compile;
use lockstep::ids::Revision;
use lockstep::plan::Plan;
use lockstep::policy::PolicySet;
use lockstep::policy::input::{PolicyInput, ProposalFacts};

/// The policies that come with Lockstep.
static SHIPPED: LazyLock<PolicySet> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("policies").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".rego") && !name.ends_with("_test.rego") {
            let bytes = std::fs::read(entry.path()).expect("a policy");
            files.insert(
                crate::path(&format!("policies/{name}")),
                crate::blob(&bytes),
            );
        }
    }
    let (set, findings) = PolicySet::compile(&files);
    assert_eq!(findings, []);
    set
});

/// The input for a proposal that takes one document of flags to another.
pub fn input(before: &[u8], after: &[u8]) -> PolicyInput {
    let document = "config/feature-flags.json";
    let before = compile(&crate::snapshot(&[(document, before)])).bundle;
    let after = compile(&crate::snapshot(&[(document, after)])).bundle;
    let plan = Plan::between(Some(&before), &after);
    let revision = |digit: &str| -> Revision { digit.repeat(40).parse().expect("a revision") };
    let now = "2026-01-01T00:00:00Z".parse().expect("a time");
    let facts = ProposalFacts {
        number: 1,
        title: "a change".to_owned(),
        author: "sato".to_owned(),
        labels: Vec::new(),
        base: revision("a"),
        head: revision("b"),
        opened_at: now,
        approvals: Vec::new(),
        files: vec![crate::path(document)],
    };
    PolicyInput::new(facts, &plan, Some(&before), &after, &before.config, now)
}

pub fn run(data: &[u8]) {
    let (before, after) = match data.iter().position(|b| *b == 0) {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (&b"{}"[..], data),
    };
    let (one, two) = (input(before, after), input(before, after));
    assert_eq!(one, two);
    let json = one
        .canonical_json(None)
        .expect("an input has a canonical form");
    let read: serde_json::Value = serde_json::from_str(&json).expect("and reads as JSON");
    let again = lockstep::state::Spec::from_value(&read).expect("of which there is one");
    assert_eq!(again.as_str(), json);
    let verdict = SHIPPED.judge(&one);
    let failed = |m: &lockstep::policy::Message| m.code.as_deref() == Some("policy/error");
    assert!(!verdict.denials.iter().any(failed), "{:?}", verdict.denials);
}
