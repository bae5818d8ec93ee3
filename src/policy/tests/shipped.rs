//! The policies in `policies/`: their own tests, their coverage, and the table that is made from them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::document::{Blob, BlobId, Content};
use crate::ids::{Digest, DocPath};
use crate::policy::PolicySet;
use crate::policy::testing::{Outcome, readme, run_tests};

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

pub(super) fn shipped() -> BTreeMap<DocPath, Blob> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.ends_with(".rego") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let blob = Blob {
            id: BlobId::from_digest(Digest::of(&bytes)),
            content: Content::Bytes(Arc::from(bytes)),
        };
        files.insert(format!("policies/{name}").parse().unwrap(), blob);
    }
    files
}

#[test]
fn the_shipped_policies_compile_without_findings() {
    assert_eq!(PolicySet::compile(&shipped()).1, []);
}

#[test]
fn the_tests_of_the_shipped_policies_pass_and_reach_nearly_every_line() {
    let report = run_tests(&shipped());
    let failed: Vec<_> = report
        .results
        .iter()
        .filter(|r| r.outcome != Outcome::Passed)
        .collect();
    assert!(
        report.passed() && failed.is_empty(),
        "{failed:#?} {:#?}",
        report.findings
    );
    let policies = shipped()
        .keys()
        .filter(|p| !p.as_str().ends_with("_test.rego"))
        .count();
    assert_eq!(report.coverage.len(), policies);
    for (path, coverage) in &report.coverage {
        assert!(
            coverage.percent >= 90.0,
            "{path}: {:.0} % of its lines are tested; not {:?}",
            coverage.percent,
            coverage.not_covered
        );
    }
}

#[test]
fn the_table_of_policies_is_up_to_date() {
    let path = folder().join("README.md");
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let made = readme(&shipped());
    if kept != made {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
        std::fs::write(target.join("policies-README.md"), &made).unwrap();
    }
    assert!(
        kept == made,
        "policies/README.md is not what the policies say; it should be as target/policies-README.md is now"
    );
}

#[test]
fn the_example_in_the_table_of_policies_is_a_policy() {
    let table = readme(&shipped());
    let (_, example) = table.split_once("```rego\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let (set, findings) = PolicySet::compile(&super::files(&[("policies/notice.rego", example)]));
    assert_eq!(findings, []);
    assert!(set.judge(&super::input(&[])).passes());
}
