//! Tests of policies, written in Rego beside them, and the table of the policies made from their headers.
//!
//! A test is a rule `test_…` in a `*_test.rego` file. It passes if it is true; undefined, false, an error or running out of time
//! fail. `todo_test_…` is skipped. Lines of policies that no test evaluates are counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::compile::{File, is_test, load, read};
use super::engine::{Engine, with_room};
use super::{PACKAGE, PolicySet, TIME_LIMIT};
use crate::document::Blob;
use crate::finding::Finding;
use crate::ids::DocPath;

/// How long one test may take: as long as the judgement that it stands for.
const TEST_LIMIT: Duration = TIME_LIMIT;

/// After so many tests that ran out of time the others are not run: what they share is probably what never ends.
const MOST_CUT_OFF: usize = 5;

/// What became of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Passed,
    Failed,
    /// A `todo_test_…`.
    Skipped,
}

/// One test and its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestResult {
    pub file: DocPath,
    /// Line of its first declaration, from 1.
    pub line: u32,
    pub name: String,
    pub outcome: Outcome,
    /// Why it failed, and what it printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Which lines of a policy the tests evaluated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Coverage {
    pub covered: BTreeSet<u32>,
    pub not_covered: BTreeSet<u32>,
    /// Of the lines that can be evaluated; 100 where there are none.
    pub percent: f64,
}

/// All tests of a set of policies.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct TestReport {
    /// By file, then in the order of the file.
    pub results: Vec<TestResult>,
    /// By policy, without the test files.
    pub coverage: BTreeMap<DocPath, Coverage>,
    /// What keeps the policies from being compiled or judged by; no test is run where a file can't be loaded.
    #[serde(skip)]
    pub findings: Vec<Finding>,
}

impl TestReport {
    /// How many tests came to this.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.results.iter().filter(|r| r.outcome == outcome).count()
    }

    /// Whether there was at least one test, and nothing failed.
    pub fn passed(&self) -> bool {
        self.findings.is_empty()
            && self.count(Outcome::Passed) > 0
            && self.count(Outcome::Failed) == 0
    }
}

/// Runs all tests among these files.
pub fn run_tests(files: &BTreeMap<DocPath, Blob>) -> TestReport {
    run_tests_within(files, TEST_LIMIT)
}

/// The same with another time limit for each test.
pub fn run_tests_within(files: &BTreeMap<DocPath, Blob>, limit: Duration) -> TestReport {
    // No results at all is no pass.
    with_room(|| run_here(files, limit)).unwrap_or_default()
}

fn run_here(files: &BTreeMap<DocPath, Blob>, limit: Duration) -> TestReport {
    let (_, findings) = PolicySet::compile(files);
    let mut report = TestReport {
        findings,
        ..TestReport::default()
    };
    let (readable, _) = read(files);
    let all: Vec<_> = readable.iter().collect();
    // A set that can't be loaded, or that could run out of stack, is not run.
    if !report.findings.is_empty() {
        return report;
    }
    let engine = Engine::new(limit).map(|mut engine| {
        engine.cover();
        let findings = load(&mut engine, &all, &all);
        (engine, findings)
    });
    let Ok((mut engine, findings)) = engine else {
        return report;
    };
    report.findings = findings;
    if report.findings.is_empty() {
        report.results = results(&mut engine, &readable, limit);
        report.coverage = coverage(&engine);
    }
    report
}

fn results(engine: &mut Engine, files: &[File<'_>], limit: Duration) -> Vec<TestResult> {
    let mut results = Vec::new();
    // Rego takes rules of one name together: of two tests called the same, one that passes would hide one that fails.
    let mut seen = BTreeSet::new();
    let mut cut_off = 0;
    for file in files.iter().filter(|f| is_test(f.path)) {
        let package = file.scan.package.clone().unwrap_or_default();
        for rule in &file.scan.rules {
            let todo = rule.name.starts_with("todo_test_");
            if !todo && !rule.name.starts_with("test_") {
                continue;
            }
            let path = format!("data.{package}.{}", rule.name);
            let (outcome, message) = if !seen.insert(path.clone()) {
                let message = "another test has this name; give each its own".to_owned();
                (Outcome::Failed, Some(message))
            } else if todo {
                (Outcome::Skipped, None)
            } else if cut_off >= MOST_CUT_OFF {
                let message = format!("not run: {cut_off} tests before it ran out of time");
                (Outcome::Skipped, Some(message))
            } else {
                let ended = run(engine, &path, limit);
                cut_off += usize::from(ended.timed_out);
                (ended.outcome, ended.message)
            };
            let span = crate::finding::Span::in_source(file.text, rule.range.clone());
            results.push(TestResult {
                file: file.path.clone(),
                line: span.line,
                name: rule.name.to_owned(),
                outcome,
                message,
            });
        }
    }
    results
}

/// How one test ended.
struct Ended {
    outcome: Outcome,
    message: Option<String>,
    timed_out: bool,
}

fn run(engine: &mut Engine, path: &str, limit: Duration) -> Ended {
    let answer = engine.rule(path);
    let printed = engine.prints();
    let timed_out = answer.as_ref().is_err_and(|fault| fault.timed_out);
    let reason = match answer {
        Ok(Some(regorus::Value::Bool(true))) => {
            return Ended {
                outcome: Outcome::Passed,
                message: None,
                timed_out,
            };
        }
        Ok(Some(value)) => format!("it is {value}, not true"),
        Ok(None) => "it is undefined: something in it does not hold".to_owned(),
        Err(fault) if fault.timed_out => {
            format!(
                "cut off after {limit:?}, as a judgement would be; simplify what loops in it or in the rules it asks"
            )
        }
        Err(fault) => fault.placed(),
    };
    let lines = std::iter::once(reason).chain(printed);
    Ended {
        outcome: Outcome::Failed,
        message: Some(lines.collect::<Vec<_>>().join("\n")),
        timed_out,
    }
}

fn coverage(engine: &Engine) -> BTreeMap<DocPath, Coverage> {
    let Ok(report) = engine.coverage() else {
        return BTreeMap::new();
    };
    report
        .files
        .into_iter()
        .filter_map(|file| {
            let path: DocPath = file.path.parse().ok()?;
            if is_test(&path) {
                return None;
            }
            let not_covered: BTreeSet<u32> = file
                .not_covered
                .difference(&file.covered)
                .copied()
                .collect();
            let lines = file.covered.len() + not_covered.len();
            let coverage = Coverage {
                percent: percent(file.covered.len(), lines),
                covered: file.covered,
                not_covered,
            };
            Some((path, coverage))
        })
        .collect()
}

fn percent(part: usize, whole: usize) -> f64 {
    let float = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    if whole == 0 {
        100.0
    } else {
        100.0 * float(part) / float(whole)
    }
}

/// What a policy says of itself in the comment at its top: `# title: …`, `# why: …`, `# owner: …`, `# severity: …`.
/// A line that is indented further goes on with the one before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Header {
    fields: BTreeMap<String, String>,
}

impl Header {
    pub(super) fn read(text: &str) -> Self {
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        let mut last = None;
        for line in text.lines().map_while(|line| line.strip_prefix('#')) {
            let indent = line.len() - line.trim_start().len();
            match (line.trim().split_once(": "), &last) {
                (_, Some(key)) if indent > 1 => {
                    if let Some(value) = fields.get_mut(key) {
                        value.push(' ');
                        value.push_str(line.trim());
                    }
                }
                (Some((key, value)), _) => {
                    fields.insert(key.to_owned(), value.trim().to_owned());
                    last = Some(key.to_owned());
                }
                (None, _) => {}
            }
        }
        Self { fields }
    }

    pub(super) fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    /// A field for a cell of a Markdown table.
    fn cell(&self, field: &str) -> String {
        let value = self.get(field).unwrap_or("—");
        value.replace('|', "\\|")
    }
}

/// `policies/README.md`: what each policy asks, why, who owns it, how hard it is, and how many tests it has.
pub fn readme(files: &BTreeMap<DocPath, Blob>) -> String {
    let (readable, _) = read(files);
    let mut out = String::from(README_TOP);
    let name = |path: &DocPath| {
        path.as_str()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let mut libraries = String::new();
    for file in readable.iter().filter(|f| !is_test(f.path)) {
        let header = Header::read(file.text);
        let file_name = name(file.path);
        // Writing to a string can't fail.
        if file.scan.package.as_deref() == Some(PACKAGE) {
            let test_name = file_name.replace(".rego", "_test.rego");
            let tests = readable
                .iter()
                .filter(|f| name(f.path) == test_name)
                .flat_map(|f| &f.scan.rules)
                .filter(|r| r.name.starts_with("test_"))
                .count();
            let _ = writeln!(
                out,
                "| [`{file_name}`]({file_name}) | {} | {} | {} | {} | {tests} |",
                header.cell("title"),
                header.cell("why"),
                header.cell("severity"),
                header.cell("owner"),
            );
        } else {
            let _ = writeln!(
                libraries,
                "- [`{file_name}`]({file_name}): {}. {}",
                header.cell("title"),
                header.cell("why")
            );
        }
    }
    if !libraries.is_empty() {
        let _ = write!(out, "\nHelpers:\n\n{libraries}");
    }
    out.push_str(README_BOTTOM);
    out
}

const README_TOP: &str = "\
<!-- Generated from the comments at the top of the policies; a test compares it. -->
# Policies

The rules that judge a proposal, read at its base commit. A rule that fails, is too slow or is missing denies.

| policy | rule | why | effect | owner | tests |
| --- | --- | --- | --- | --- | ---: |
";

const README_BOTTOM: &str = "
## Writing one

A policy is a `.rego` file here, in `package lockstep`:

```rego
# title: A notice names its severity
# why: People sort their attention by it.
# owner: operations
# severity: denies
package lockstep

deny contains {\"msg\": msg, \"msg_ja\": msg_ja, \"resource\": resource, \"code\": \"notice/severity\"} if {
\tsome change in input.changes
\tchange.kind == \"Notice\"
\tnot change.after.severity
\tresource := concat(\"/\", [change.kind, change.name])
\tmsg := sprintf(\"%s has no severity: add `severity: high`, `medium` or `low` at its top\", [resource])
\tmsg_ja := sprintf(\"%s に重大度がありません。先頭に `severity: high` などを書いてください\", [resource])
}
```

| rule | holds | effect |
| --- | --- | --- |
| `deny`, `violation`, each with suffixes such as `deny_notice` | a text, or `{msg, msg_ja, resource, code}` | the proposal can't be merged |
| `warn` | the same | shown |
| `approval` | `{from, count, because, because_ja}` | so many different people must approve: `from` lists roles, keys of `people`, `system:NAME`, or `*` for all of `people` |
| `recuse` | `{person, because, because_ja}` | this person's approval does not count; the author's never does |

| `input.` | holds |
| --- | --- |
| `proposal` | `number`, `title`, `author`, `labels`, `base`, `head`, `opened_at`, `files`, and the `approvals` that still bind: `user`, `commit`, `at` |
| `changes` | a list of `op` (`create`, `update`, `delete`), `kind`, `name`, `systems`, `before`, `after` (a spec or null), `direction` (`widening`, `narrowing`, `neutral`), `new` and `gone` (on no system before, after), `document`, `line`; `before_holds` and `after_holds` are `false` where `from` and `until` say that it does not hold at the time of judging |
| `before`, `after` | all resources at the base and at the head: `{kind: {name: {spec, systems}}}`; `holds` is `false` where `from` and `until` say so |
| `systems`, `people` | as the base has them, by name and by key |
| `now` | the time of judging; functions that look at a clock or anywhere else are refused |
| `freezes_active` | `name`, `until`, `except` (a direction, a kind, or `role:` and a role) |
| `incidents_open` | `name`, `systems`, `severity` |
| `settings_changed`, `systems_leaving`, `reconciler_addresses` | whether `lockstep.yaml` says something else; systems that it no longer has; Lockstep's own IP addresses |

Name kinds plainly, as in `input.after.AccessGrant`: where every policy does, only those kinds are read, however large the others are.

`lockstep policy test` runs the `test_…` rules of all `*_test.rego` files; with `--coverage` it shows the lines that none of them reaches.

`lockstep policy input --proposal NUMBER`, or `--base REV --head REV`, writes the input that a proposal is judged by, for any other Rego tool:

```sh
lockstep policy input --proposal 12 > input.json
opa eval --data policies --input input.json data.lockstep.deny
```
";
