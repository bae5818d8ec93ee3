//! Every folder of `tests/cases`: a small config repo, why it is there, and what `check` finds and what the repo holds, as text.
//!
//! `UPDATE=1 cargo test --test it left::cases` writes the expectations anew; read the difference before committing it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use lockstep::compile::{self, Compiled};
use lockstep::document::Snapshot;
use lockstep::finding::Finding;
use lockstep::policy::PolicySet;
use lockstep::repo::Repo;
use lockstep::resource::Resource;

use super::*;

/// A finding as a reader weighs it: rule, place, what it says, the text that is meant, and the advice.
fn told(finding: &Finding, snapshot: &Snapshot) -> String {
    let Finding {
        rule,
        severity,
        location,
        message,
        hint,
    } = finding;
    let mut out = format!("{severity} {rule} {}", location.path);
    if let Some(span) = location.span {
        let _ = write!(out, ":{}:{}", span.line, span.column);
    }
    let _ = write!(out, "\n  {message}\n");
    if let (Some(span), Some(text)) = (location.span, snapshot.text(&location.path)) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let marked = text
            .get(span.start..span.end)
            .expect("a span is inside its text");
        let _ = writeln!(
            out,
            "  at: {:?}",
            marked.chars().take(60).collect::<String>()
        );
    }
    if let Some(hint) = hint {
        let _ = writeln!(out, "  help: {hint}");
    }
    out
}

fn resources(compiled: &Compiled) -> String {
    let line = |resource: &Arc<Resource>| {
        let systems: Vec<String> = resource.systems.iter().map(ToString::to_string).collect();
        let spec = resource.item.spec.value();
        format!("{} [{}] {spec}\n", resource.item.id, systems.join(" "))
    };
    let mut lines: Vec<String> = compiled.bundle.resources().map(line).collect();
    lines.sort();
    lines.concat()
}

fn cases() -> Vec<PathBuf> {
    let all = std::fs::read_dir(here().join("tests/cases")).expect("cases");
    let mut all: Vec<PathBuf> = all.map(|e| e.expect("an entry").path()).collect();
    all.sort();
    all
}

/// Reads a case: its findings and its resources, as text.
fn read(case: &Path) -> (String, String) {
    let snapshot = Repo::open(&case.join("repo"))
        .and_then(|repo| repo.snapshot_work_tree())
        .expect("a case can be read");
    let compiled = compile::compile(&snapshot);
    let (_, faults) = PolicySet::compile(&snapshot.policies);
    let findings = compiled.report.findings().iter().chain(&faults);
    let findings: Vec<String> = findings.map(|f| told(f, &snapshot)).collect();
    (findings.join("\n"), resources(&compiled))
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "whether to write or to compare is asked of who runs the tests"
)]
fn each_case_is_found_as_expected() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = String::new();
    for case in cases() {
        let (findings, resources) = read(&case);
        for (name, got) in [("findings.txt", findings), ("resources.txt", resources)] {
            let path = case.join(name);
            let wanted = std::fs::read_to_string(&path);
            if wanted.as_ref().is_ok_and(|wanted| *wanted == got) {
                continue;
            }
            let wanted = wanted.unwrap_or_default();
            if update {
                std::fs::write(&path, &got).expect("a written expectation");
            } else {
                let diff = similar::TextDiff::from_lines(wanted.as_str(), got.as_str());
                let _ = writeln!(wrong, "{}\n{}", path.display(), diff.unified_diff());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}\nUPDATE=1 writes what was found");
}

#[test]
fn each_case_says_why_it_is_there_and_has_its_expectations() {
    for case in cases() {
        for name in ["why.txt", "findings.txt", "resources.txt", "repo"] {
            assert!(case.join(name).exists(), "{} has no {name}", case.display());
        }
        let why = std::fs::read_to_string(case.join("why.txt")).expect("why.txt");
        assert!(why.trim().len() > 20, "{}: {why:?}", case.display());
    }
}

/// The exit code and the rules that the binary shows are those of the case.
#[test]
fn the_binary_says_the_same() {
    for case in cases() {
        let (findings, _) = read(&case);
        let errors = findings.lines().filter(|l| l.starts_with("error ")).count();
        let repo = case.join("repo");
        let ran = lockstep(&repo, &["check", "--format", "json"]).code(i32::from(errors > 0));
        let json = ran.json();
        let shown = json["findings"].as_array().expect("findings");
        let listed: Vec<String> = findings
            .lines()
            .filter_map(|line| line.split(' ').nth(1).filter(|_| !line.starts_with(' ')))
            .map(str::to_owned)
            .collect();
        let shown: Vec<String> = shown
            .iter()
            .map(|f| f["rule"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(shown, listed, "{}", case.display());
    }
}

/// What begins a rule's id. A new family of rules is added here.
const FAMILIES: [&str; 21] = [
    "access",
    "compliance",
    "config",
    "custom",
    "date",
    "document",
    "experiment",
    "flag",
    "incident",
    "interview",
    "json",
    "markdown",
    "notice",
    "policy",
    "reference",
    "resource",
    "schema",
    "text",
    "tree",
    "yaml",
    "approval",
];

/// Texts of that shape that are no rules: names of resources and paths in examples, codes of verdicts.
const NO_RULES: [&str; 10] = [
    "approval/unreachable",
    "config/access-control",
    "config/feature-flags",
    "config/interview-types",
    "policy/error",
    "resource/kinds",
    "text/css",
    "text/html",
    "text/javascript",
    "text/plain",
];

/// Second lines of defence behind `json/number` and `yaml/number`: nothing that is known gets as far.
const BEHIND: [&str; 2] = ["document/not-canonical", "document/number"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Ids in double quotes, such as `"json/syntax"`.
fn ids(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').filter(|word| {
        let Some((family, rule)) = word.split_once('/') else {
            return false;
        };
        let plain = |c: char| c.is_ascii_lowercase() || c == '-' || c.is_ascii_digit();
        FAMILIES.contains(&family)
            && !rule.is_empty()
            && rule.chars().all(plain)
            && !NO_RULES.contains(word)
    })
}

#[test]
fn each_rule_is_in_a_case_or_in_a_test_beside_it() {
    let mut files = Vec::new();
    sources(&here().join("src"), &mut files);
    sources(&here().join("tests/it/left"), &mut files);
    let is_test = |path: &Path| {
        path.components().any(|c| c.as_os_str() == "tests") || path.ends_with("tests.rs")
    };
    let (mut rules, mut tested) = (BTreeSet::new(), BTreeSet::new());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source");
        let (code, tests) = match text.split_once("#[cfg(test)]\nmod tests {") {
            _ if is_test(&file) => ("", text.as_str()),
            Some((code, tests)) => (code, tests),
            None => (text.as_str(), ""),
        };
        rules.extend(ids(code).map(str::to_owned));
        // A list of findings in a snapshot names rules without quotes of their own.
        let bare = tests.split(|c: char| !(c.is_ascii_alphanumeric() || c == '/' || c == '-'));
        tested.extend(bare.flat_map(ids).map(str::to_owned));
    }
    assert!(rules.len() > 60, "{rules:?}");
    for case in cases() {
        let findings = std::fs::read_to_string(case.join("findings.txt")).unwrap_or_default();
        let listed = findings.lines().filter_map(|l| l.split(' ').nth(1));
        tested.extend(listed.flat_map(ids).map(str::to_owned));
    }
    let untested: Vec<&String> = rules
        .difference(&tested)
        .filter(|rule| !BEHIND.contains(&rule.as_str()))
        .collect();
    assert!(untested.is_empty(), "in no case and no test: {untested:?}");
}
