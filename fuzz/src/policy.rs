//! Rego: policies compile to the same, one with a fault denies whatever it is asked, and a verdict can be replayed.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use lockstep::finding::Severity;
use lockstep::policy::{PolicyInput, PolicySet};

static INPUT: LazyLock<PolicyInput> = LazyLock::new(|| {
    crate::policy_input::input(
        br#"{"a": {"enabled": false, "rollout": 10}}"#,
        br#"{"a": {"enabled": true, "rollout": 90}}"#,
    )
});

pub fn run(data: &[u8]) {
    let Some(text) = crate::text(data) else {
        return;
    };
    let files: BTreeMap<_, _> = [(crate::path("policies/a.rego"), crate::blob(data))].into();
    let limit = Duration::from_millis(200);
    let (set, findings) = PolicySet::compile_within(&files, limit);
    crate::are_placed(&findings, text);
    let (again, same) = PolicySet::compile_within(&files, limit);
    assert_eq!(findings, same);
    assert_eq!(set.digest(), again.digest());
    let verdict = set.judge(&INPUT);
    let broken = findings.iter().any(|f| f.severity == Severity::Error);
    if broken || set.is_empty() {
        assert!(!verdict.passes() && !verdict.denials.is_empty());
    }
    assert_eq!(verdict.policies_digest, set.digest());
    // What ran out of time may get further the next time.
    let slow =
        |v: &lockstep::policy::Verdict| v.denials.iter().any(|m| m.msg.contains("time limit"));
    let replayed = again.judge(&INPUT);
    assert!(verdict == replayed || slow(&verdict) || slow(&replayed));
}
