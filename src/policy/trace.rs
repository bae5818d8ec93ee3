//! Which rule said what, for people who ask why a change is judged as it is.
//!
//! Found by leaving out one rule at a time and judging again: what is not said any more was said by the rule that is missing. So nothing is
//! known here of what a rule does, only where its text begins and ends.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::compile::{File, is_test, read};
use super::input::PolicyInput;
use super::testing::Header;
use super::verdict::Gate;
use super::{ApprovalNeed, Message, PACKAGE, PolicySet, Recusal, Verdict};
use crate::document::{Blob, BlobId, Content};
use crate::finding::Span;
use crate::ids::{Digest, DocPath, ResourceRef};

/// What is asked about.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// Its change, wherever it is made.
    Resource(&'a ResourceRef),
    /// A file that declares no resource, such as `lockstep.yaml`.
    File(&'a DocPath),
}

/// One thing that policies say.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    Denial(Message),
    Warning(Message),
    Approval(ApprovalNeed),
    Recusal(Recusal),
}

/// One thing that policies say, and the rule that says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    pub said: Said,
    /// `None` where Lockstep says it itself, or two rules say the very same.
    pub rule: Option<RulePlace>,
}

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulePlace {
    pub policy: DocPath,
    pub line: u32,
}

/// A policy, as its header describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    pub policy: DocPath,
    pub title: Option<String>,
    pub owner: Option<String>,
}

/// The policies that may have something to say of a kind: those that name it, and those that name none of `kinds`.
pub fn policies_for(
    files: &BTreeMap<DocPath, Blob>,
    kind: &str,
    kinds: &[&str],
) -> Vec<PolicyFile> {
    let (readable, _) = read(files);
    let judging = readable
        .iter()
        .filter(|f| !is_test(f.path) && f.scan.package.as_deref() == Some(PACKAGE));
    judging
        .filter(|file| {
            let names = |kind: &str| {
                file.text.contains(&format!("\"{kind}\""))
                    || file.text.contains(&format!(".{kind}"))
            };
            names(kind) || !kinds.iter().any(|kind| names(kind))
        })
        .map(|file| {
            let header = Header::read(file.text);
            PolicyFile {
                policy: file.path.clone(),
                title: header.get("title").map(str::to_owned),
                owner: header.get("owner").map(str::to_owned),
            }
        })
        .collect()
}

/// A policy from its own text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    pub package: Option<String>,
    pub title: Option<String>,
    pub owner: Option<String>,
    /// Whether rules of it are asked about proposals: helpers and tests are not.
    pub judges: bool,
    /// Its rules by name, each where it begins. Of a policy that judges, those that are asked.
    pub rules: Vec<(String, (DocPath, u32))>,
    /// Tests in the file that is named after it.
    pub tests: Vec<(String, (DocPath, u32))>,
}

/// What a policy holds; `None` where it can't be read.
pub fn about(files: &BTreeMap<DocPath, Blob>, path: &DocPath) -> Option<About> {
    let (readable, _) = read(files);
    let file = readable.iter().find(|f| f.path == path)?;
    let header = Header::read(file.text);
    let judges = !is_test(path) && file.scan.package.as_deref() == Some(PACKAGE);
    let rules = |file: &File<'_>, wanted: &dyn Fn(&str) -> bool| {
        let place = |range: Range<usize>| Span::in_source(file.text, range).line;
        let rules = file.scan.rules.iter().filter(|r| wanted(r.name));
        rules
            .map(|r| {
                (
                    r.name.to_owned(),
                    (file.path.clone(), place(r.range.clone())),
                )
            })
            .collect::<Vec<_>>()
    };
    let test = path
        .as_str()
        .strip_suffix(".rego")
        .map(|stem| format!("{stem}_test.rego"));
    let tests = readable
        .iter()
        .filter(|f| Some(f.path.as_str()) == test.as_deref());
    Some(About {
        package: file.scan.package.clone(),
        title: header.get("title").map(str::to_owned),
        owner: header.get("owner").map(str::to_owned),
        judges,
        rules: rules(file, &|name| !judges || Gate::of(name).is_some()),
        tests: tests
            .flat_map(|f| rules(f, &|name| name.starts_with("test_")))
            .collect(),
    })
}

/// What the policies say of a proposal because of this subject, and which rule says it. Costs one judgement for each rule that may have said it.
pub fn said_of(
    files: &BTreeMap<DocPath, Blob>,
    input: &PolicyInput,
    subject: Subject<'_>,
) -> Vec<Judged> {
    let (set, _) = PolicySet::compile(files);
    let alone = only(input, Some(subject));
    let idle = all_said(&set.judge(&only(input, None)));
    let own = match subject {
        Subject::Resource(id) => Some(id.as_str()),
        Subject::File(_) => None,
    };
    let concerns = |said: &Said| match said {
        Said::Denial(m) | Said::Warning(m) => match m.resource.as_deref() {
            None => !idle.contains(said),
            Some(resource) => Some(resource) == own,
        },
        // Every proposal asks for something; of a file only what it asks for beyond that is told.
        Said::Approval(_) => own.is_some() || !idle.contains(said),
        Said::Recusal(_) => !idle.contains(said),
    };
    let (readable, _) = read(files);
    let mut search = Search {
        files,
        input: &alone,
        clauses: clauses(&readable),
        without: BTreeMap::new(),
    };
    all_said(&set.judge(&alone))
        .into_iter()
        .filter(concerns)
        .map(|said| Judged {
            rule: search.rule_of(&said),
            said,
        })
        .collect()
}

/// The proposal as if nothing but the subject were in it; what there is before and after stays.
fn only(input: &PolicyInput, subject: Option<Subject<'_>>) -> PolicyInput {
    let mut only = input.clone();
    only.settings_changed = false;
    match subject {
        Some(Subject::Resource(id)) => {
            only.changes
                .retain(|c| c.kind == id.kind() && c.name == id.name());
            let documents: BTreeSet<DocPath> = only
                .changes
                .iter()
                .filter_map(|c| c.document.clone())
                .collect();
            only.proposal.files.retain(|f| documents.contains(f));
        }
        Some(Subject::File(path)) => {
            only.changes.clear();
            only.proposal.files.retain(|f| f == path);
        }
        None => {
            only.changes.clear();
            only.proposal.files.clear();
        }
    }
    only
}

fn all_said(verdict: &Verdict) -> BTreeSet<Said> {
    let denials = verdict.denials.iter().cloned().map(Said::Denial);
    let warnings = verdict.warnings.iter().cloned().map(Said::Warning);
    let approvals = verdict.approvals.iter().cloned().map(Said::Approval);
    let recused = verdict.recused.iter().cloned().map(Said::Recusal);
    denials
        .chain(warnings)
        .chain(approvals)
        .chain(recused)
        .collect()
}

/// One rule that is asked for, with its body: up to where the next rule begins.
struct Clause<'a> {
    path: &'a DocPath,
    text: &'a str,
    gate: Gate,
    range: Range<usize>,
}

fn clauses<'a>(files: &'a [File<'a>]) -> Vec<Clause<'a>> {
    let mut clauses = Vec::new();
    for file in files.iter().filter(|f| !is_test(f.path)) {
        if file.scan.package.as_deref() != Some(PACKAGE) {
            continue;
        }
        let starts = file.scan.rules.iter().map(|r| r.range.start);
        let ends = starts.skip(1).chain([file.text.len()]);
        for (rule, end) in file.scan.rules.iter().zip(ends) {
            if let Some(gate) = Gate::of(rule.name) {
                clauses.push(Clause {
                    path: file.path,
                    text: file.text,
                    gate,
                    range: rule.range.start..end,
                });
            }
        }
    }
    clauses
}

impl Clause<'_> {
    fn body(&self) -> &str {
        self.text.get(self.range.clone()).unwrap_or_default()
    }

    fn place(&self) -> RulePlace {
        RulePlace {
            policy: self.path.clone(),
            line: Span::in_source(self.text, self.range.clone()).line,
        }
    }

    /// The policies without it; everything else stays on its line.
    fn left_out(&self, files: &BTreeMap<DocPath, Blob>) -> BTreeMap<DocPath, Blob> {
        let blank: String = self
            .body()
            .chars()
            .map(|c| if c == '\n' { c } else { ' ' })
            .collect();
        let before = self.text.get(..self.range.start).unwrap_or_default();
        let after = self.text.get(self.range.end..).unwrap_or_default();
        let bytes = [before, &blank, after].concat().into_bytes();
        let blob = Blob {
            id: BlobId::from_digest(Digest::of(&bytes)),
            content: Content::Bytes(Arc::from(bytes)),
        };
        let mut files = files.clone();
        files.insert(self.path.clone(), blob);
        files
    }

    /// Whether it may give messages with this code: it holds the code, or the beginning of one that it puts together.
    fn may_give(&self, code: &str) -> bool {
        let stem = code.rsplit_once('/').map_or(code, |(stem, _)| stem);
        self.body().contains(&format!("\"{code}\"")) || self.body().contains(&format!("\"{stem}/%"))
    }
}

struct Search<'a> {
    files: &'a BTreeMap<DocPath, Blob>,
    input: &'a PolicyInput,
    clauses: Vec<Clause<'a>>,
    /// What is said without a clause, by its index.
    without: BTreeMap<usize, BTreeSet<Said>>,
}

impl Search<'_> {
    fn rule_of(&mut self, said: &Said) -> Option<RulePlace> {
        let (gate, code) = match said {
            Said::Denial(m) => (Gate::Deny, m.code.as_deref()),
            Said::Warning(m) => (Gate::Warn, m.code.as_deref()),
            Said::Approval(_) => (Gate::Approval, None),
            Said::Recusal(_) => (Gate::Recuse, None),
        };
        let all = || {
            (0..self.clauses.len()).filter(|n| self.clauses.get(*n).is_some_and(|c| c.gate == gate))
        };
        let likely: Vec<usize> = match code {
            Some(code) => all()
                .filter(|n| self.clauses.get(*n).is_some_and(|c| c.may_give(code)))
                .collect(),
            None => Vec::new(),
        };
        // A code is written where it is given, so where only one rule holds it there is nothing to try.
        if let [one] = likely.as_slice() {
            return self.clauses.get(*one).map(Clause::place);
        }
        let candidates = if likely.is_empty() {
            all().collect()
        } else {
            likely
        };
        for n in candidates {
            let clause = self.clauses.get(n)?;
            let without = self.without.entry(n).or_insert_with(|| {
                let (set, _) = PolicySet::compile(&clause.left_out(self.files));
                all_said(&set.judge(self.input))
            });
            if !without.contains(said) {
                return Some(clause.place());
            }
        }
        None
    }
}
