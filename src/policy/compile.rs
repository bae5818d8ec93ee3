//! From files to a [`PolicySet`]: everything that can be said of policies before they judge, as findings.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::engine::{Engine, Fault, with_room};
use super::scan::{Head, Rule, Scan, scan};
use super::verdict::Gate;
use super::{PACKAGE, PolicySet};
use crate::document::limits::{self, POLICY_RULES};
use crate::document::{Blob, Content, faults, hidden};
use crate::finding::{Finding, LineIndex, Severity, Span};
use crate::ids::{Digest, DocPath};

/// One readable file.
pub(super) struct File<'a> {
    pub(super) path: &'a DocPath,
    pub(super) text: &'a str,
    pub(super) scan: Scan<'a>,
    lines: LineIndex<'a>,
}

impl File<'_> {
    fn error(
        &self,
        rule: &'static str,
        range: std::ops::Range<usize>,
        message: impl Into<String>,
    ) -> Finding {
        let span = self.lines.span(range);
        Finding::error(rule, self.path, Some(span), message)
    }
}

/// Whether a file holds tests: it is never part of a judgement.
pub(super) fn is_test(path: &DocPath) -> bool {
    path.as_str().ends_with("_test.rego")
}

/// The Rego files among these, and findings for those that are none that can be read.
pub(super) fn read(files: &BTreeMap<DocPath, Blob>) -> (Vec<File<'_>>, Vec<Finding>) {
    let (mut readable, mut findings) = (Vec::new(), Vec::new());
    for (path, blob) in files {
        if !path.as_str().ends_with(".rego") {
            continue;
        }
        let problem = match &blob.content {
            Content::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => {
                    // The engine would take a byte order mark for a character of the program.
                    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
                    findings.extend(hidden::check_plain(path, text));
                    readable.push(File {
                        path,
                        text,
                        scan: scan(text),
                        lines: LineIndex::new(text),
                    });
                    continue;
                }
                Err(_) => "a policy must be UTF-8 text",
            },
            Content::Symlink => "a policy must be a file of its own, not a symbolic link",
            Content::Submodule => "a policy must be a file of this repository, not a submodule",
            Content::TooLarge(_) => "the policy is too large to be read; split it",
            Content::Odd(_) => "a policy must be a file",
        };
        findings.push(Finding::error("policy/unreadable", path, None, problem));
    }
    (readable, findings)
}

/// Files and rules that are more than the engine can take.
fn excess(files: &[File<'_>]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = files
        .iter()
        .filter_map(|file| {
            let (range, message) = file.scan.excess.clone()?;
            let finding = file.error("policy/too-complex", range, message);
            Some(finding.with_hint("give the parts names, as rules of their own"))
        })
        .collect();
    let mut before = 0;
    for file in files.iter().filter(|f| !is_test(f.path)) {
        before += file.scan.rules.len();
        if before > POLICY_RULES {
            let message = format!("the policies have more than {POLICY_RULES} rules together");
            findings.push(Finding::error(
                "policy/too-complex",
                file.path,
                None,
                message,
            ));
            break;
        }
    }
    findings
}

/// Loads files into an engine; what it refuses becomes findings.
///
/// `all` are the files to find places in: these and those that are loaded already.
pub(super) fn load(engine: &mut Engine, files: &[&File<'_>], all: &[&File<'_>]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = files
        .iter()
        .filter_map(|file| {
            let fault = engine.add(file.path.as_str(), file.text).err()?;
            Some(at_fault(&fault, file.path, all))
        })
        .collect();
    if let (true, Some(first)) = (findings.is_empty(), files.first())
        && let Err(fault) = engine.prepare()
    {
        findings.push(at_fault(&fault, first.path, all));
    }
    findings
}

/// A finding where the engine says the fault is; on `otherwise` where it says nothing.
fn at_fault(fault: &Fault, otherwise: &DocPath, files: &[&File<'_>]) -> Finding {
    let placed = fault.place.as_ref().and_then(|(path, line, column)| {
        let file = files.iter().find(|f| f.path.as_str() == path)?;
        Some((file.path, span_at(file.text, *line, *column)))
    });
    let (path, span) = placed.map_or((otherwise, None), |(path, span)| (path, Some(span)));
    Finding::error("policy/syntax", path, span, fault.message.clone())
}

/// The character at a line and column, both from 1. The engine counts a tab as four columns, so a column may lie past the end.
fn span_at(text: &str, line: u32, column: u32) -> Span {
    let nth = |n: u32| usize::try_from(n.saturating_sub(1)).unwrap_or(usize::MAX);
    let start: usize = text
        .split_inclusive('\n')
        .take(nth(line))
        .map(str::len)
        .sum();
    let here = text.get(start..).unwrap_or_default();
    let here = here.lines().next().unwrap_or_default();
    let (at, len) = here
        .char_indices()
        .nth(nth(column))
        .map_or((here.len(), 0), |(at, c)| (at, c.len_utf8()));
    Span::in_source(text, start + at..start + at + len)
}

/// Uses of a package as a value: see [`Engine::package`] for what comes of them.
fn whole_packages(file: &File<'_>) -> impl Iterator<Item = Finding> {
    file.scan.whole_package.iter().map(|range| {
        let message = "a package as a whole is not evaluated reliably";
        file.error("policy/whole-package", range.clone(), message)
            .with_hint(format!("name the rule, as in `data.{PACKAGE}.deny`"))
    })
}

/// Findings on what a judged file declares.
fn check(file: &File<'_>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = file
        .scan
        .forbidden
        .iter()
        .map(|call| {
            let message = format!("{} makes a verdict impossible to replay", call.function);
            file.error("policy/not-replayable", call.range.clone(), message)
                .with_hint(call.instead)
        })
        .collect();
    findings.extend(whole_packages(file));
    let Some(package) = file.scan.package.as_deref() else {
        // The engine says so, as a syntax error.
        return findings;
    };
    let library = package
        .strip_prefix(PACKAGE)
        .is_some_and(|rest| rest.starts_with('.'));
    if package != PACKAGE && !library {
        let message = format!("rules in package {package:?} judge nothing");
        findings.push(
            file.error("policy/package", file.scan.package_range.clone(), message)
                .with_hint(format!("write `package {PACKAGE}`")),
        );
        return findings;
    }
    for rule in &file.scan.rules {
        findings.extend(check_rule(file, rule, library));
    }
    findings
}

fn check_rule(file: &File<'_>, rule: &Rule<'_>, library: bool) -> Option<Finding> {
    let name = rule.name;
    let at = |id, message: String| file.error(id, rule.range.clone(), message);
    if Gate::of(name).is_none() {
        // `approvals contains` or `denied contains` would be a rule that nobody asks.
        let near = Gate::near(name).filter(|_| rule.head == Head::Contains && !library)?;
        let hint = format!("call it `{near}`, or another name if it is a helper");
        return Some(
            at("policy/unknown-rule", format!("nothing asks for {name:?}")).with_hint(hint),
        );
    }
    if library {
        let message = format!("{name} is only asked for in package {PACKAGE}");
        return Some(at("policy/package", message));
    }
    match rule.head {
        Head::Contains => None,
        Head::Function | Head::Other => Some(
            at(
                "policy/rule-form",
                format!("{name} must be a set of messages"),
            )
            .with_hint(format!("write `{name} contains msg if {{ … }}`")),
        ),
    }
}

/// Functions that call themselves, directly or through others. The engine would run out of stack, which nothing survives.
fn recursion(files: &[&File<'_>]) -> Vec<Finding> {
    let mut calls: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for rule in files.iter().flat_map(|f| &f.scan.rules) {
        if rule.head == Head::Function {
            calls.entry(rule.name).or_default().extend(&rule.calls);
        }
    }
    let recursive = on_cycles(&calls);
    files
        .iter()
        .flat_map(|file| file.scan.rules.iter().map(move |rule| (file, rule)))
        .filter(|(_, rule)| rule.head == Head::Function && recursive.contains(rule.name))
        .map(|(file, rule)| {
            let message = format!("the function {} calls itself", rule.name);
            file.error("policy/recursion", rule.range.clone(), message)
                .with_hint("Rego has no recursion; use a comprehension or `walk`")
        })
        .collect()
}

/// Names on cycles of a graph: at least one of each cycle, found by walking it once without recursing.
fn on_cycles<'a>(graph: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in graph.keys() {
        // The way here, each name with those after it that are still to be looked at.
        let mut way: Vec<(&str, Vec<&str>)> = Vec::new();
        let mut on_way: BTreeSet<&str> = BTreeSet::new();
        let mut next = (!done.contains(start)).then_some(*start);
        loop {
            if let Some(name) = next {
                let after = graph.get(name).into_iter().flatten().copied().collect();
                way.push((name, after));
                on_way.insert(name);
            }
            let Some((name, after)) = way.last_mut() else {
                break;
            };
            next = after.pop();
            match next {
                None => {
                    done.insert(name);
                    on_way.remove(name);
                    way.pop();
                }
                Some(again) if on_way.contains(again) => {
                    let cycle = way.iter().rev().map(|(name, _)| *name);
                    found.extend(cycle.take_while(|name| *name != again));
                    found.insert(again);
                    next = None;
                }
                Some(known) if done.contains(known) || !graph.contains_key(known) => next = None,
                Some(_) => {}
            }
        }
    }
    found
}

/// Everything at once: the engine with all files that judge, and the findings on all files.
pub(super) fn compile(
    files: &BTreeMap<DocPath, Blob>,
    limit: Duration,
) -> (PolicySet, Vec<Finding>) {
    with_room(|| compile_here(files, limit)).unwrap_or_else(|fault| {
        let set = PolicySet {
            engine: None,
            expected: BTreeSet::new(),
            kinds: None,
            faults: vec![fault.to_string()],
            digest: digest(files),
        };
        (set, Vec::new())
    })
}

fn compile_here(files: &BTreeMap<DocPath, Blob>, limit: Duration) -> (PolicySet, Vec<Finding>) {
    let (readable, mut findings) = read(files);
    findings.extend(excess(&readable));
    let bearable = findings.iter().all(|f| f.rule != "policy/too-complex");
    let (tests, judging): (Vec<_>, Vec<_>) = readable.iter().partition(|f| is_test(f.path));
    let mut engine = Engine::new(limit);
    for file in &judging {
        findings.extend(check(file));
    }
    for file in &tests {
        findings.extend(whole_packages(file));
    }
    findings.extend(recursion(&judging));
    if let (true, Ok(engine)) = (bearable, &mut engine) {
        findings.extend(load(engine, &judging, &judging));
        let sound = !findings.iter().any(|f| !is_test(&f.location.path));
        if sound && !tests.is_empty() {
            let all: Vec<_> = readable.iter().collect();
            findings.extend(load(&mut engine.clone(), &tests, &all));
        }
    }
    let findings = faults::at_most(limits::FINDINGS, findings);
    let mut faults: Vec<String> = findings
        .iter()
        .filter(|f| f.severity == Severity::Error && !is_test(&f.location.path))
        .map(told)
        .collect();
    faults.extend(engine.as_ref().err().map(ToString::to_string));
    let expected = judging
        .iter()
        .flat_map(|f| &f.scan.rules)
        .map(|r| r.name)
        .filter(|name| Gate::of(name).is_some())
        .map(str::to_owned)
        .collect();
    let kinds = judging.iter().all(|f| !f.scan.any_kind).then(|| {
        judging
            .iter()
            .flat_map(|f| &f.scan.kinds)
            .map(ToString::to_string)
            .collect()
    });
    let set = PolicySet {
        engine: engine.ok(),
        expected,
        kinds,
        faults,
        digest: digest(files),
    };
    (set, findings)
}

/// A finding in one line, for a verdict.
fn told(finding: &Finding) -> String {
    let line = finding
        .location
        .span
        .map(|span| format!(":{}", span.line))
        .unwrap_or_default();
    format!("{}{line}: {}", finding.location.path, finding.message)
}

/// Over the names and contents of the files that judge, in order of their names: lines `path SP content-digest LF`.
fn digest(files: &BTreeMap<DocPath, Blob>) -> Digest {
    let mut hash = Sha256::new();
    for (path, blob) in files {
        if !path.as_str().ends_with(".rego") || is_test(path) {
            continue;
        }
        let content = match &blob.content {
            Content::Bytes(bytes) => Digest::of(bytes).to_hex(),
            Content::Symlink | Content::Submodule | Content::TooLarge(_) | Content::Odd(_) => {
                "-".to_owned()
            }
        };
        hash.update(format!("{path} {content}\n"));
    }
    Digest::from_bytes(hash.finalize().into())
}
