//! JSON for programs. The field names and their meaning are a contract; they have no language.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use super::DateView;
use super::explain::ExplainView;
use super::report::{FindingView, ReportView};
use super::status::{HistoryView, StatusView};
use crate::finding::Severity;
use crate::ids::{DocPath, KindName, PlanDigest, Revision, SystemName};
use crate::plan::{Change, Op, Plan};
use crate::resource::Direction;
use crate::state::Item;

#[derive(Serialize)]
struct CheckOut<'a> {
    findings: Vec<FindingOut<'a>>,
    resources: &'a BTreeMap<KindName, usize>,
}

#[derive(Serialize)]
struct FindingOut<'a> {
    rule: &'a str,
    severity: Severity,
    path: &'a DocPath,
    line: Option<u32>,
    column: Option<u32>,
    message: &'a str,
    hint: Option<&'a str>,
}

impl<'a> FindingOut<'a> {
    fn new(finding: &'a FindingView) -> Self {
        let FindingView {
            rule,
            severity,
            path,
            place,
            message,
            hint,
            excerpt: _,
        } = finding;
        Self {
            rule,
            severity: *severity,
            path,
            line: place.map(|p| p.line),
            column: place.map(|p| p.column),
            message,
            hint: hint.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct PlanOut<'a> {
    digest: PlanDigest,
    revision: Option<&'a Revision>,
    systems: BTreeMap<&'a SystemName, SystemOut<'a>>,
    /// What its dates will do afterwards.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    later: &'a [DateView],
}

#[derive(Serialize)]
struct SystemOut<'a> {
    creates: usize,
    updates: usize,
    deletes: usize,
    changes: Vec<ChangeOut<'a>>,
}

#[derive(Serialize)]
struct ChangeOut<'a> {
    op: Op,
    kind: &'a str,
    name: &'a str,
    direction: Direction,
    before: Option<&'a RawValue>,
    after: Option<&'a RawValue>,
    path: Option<&'a DocPath>,
    line: Option<u32>,
}

impl<'a> ChangeOut<'a> {
    fn new(change: &'a Change) -> Self {
        let Change {
            op,
            id,
            before,
            after,
            direction,
            origin,
        } = change;
        Self {
            op: *op,
            kind: id.kind(),
            name: id.name(),
            direction: *direction,
            before: before.as_deref().and_then(raw),
            after: after.as_deref().and_then(raw),
            path: origin.as_ref().map(|o| &o.document),
            line: origin.as_ref().and_then(|o| o.line),
        }
    }
}

/// A spec is JSON text already: copied, not parsed and written again.
fn raw(item: &Item) -> Option<&RawValue> {
    serde_json::from_str(item.spec.as_str()).ok()
}

/// `check --format json`: the findings, and how many resources of each kind there are.
pub fn check(report: &ReportView, resources: &BTreeMap<KindName, usize>) -> String {
    write(&CheckOut {
        findings: report.findings.iter().map(FindingOut::new).collect(),
        resources,
    })
}

/// `plan --format json`. Straight from the plan, which has this shape; [`super::PlanView`] is grouped for people.
pub fn plan(plan: &Plan, later: &[DateView]) -> String {
    write(&PlanOut {
        digest: plan.digest(),
        revision: plan.revision.as_ref(),
        later,
        systems: plan
            .systems
            .iter()
            .map(|(name, system)| {
                let out = SystemOut {
                    creates: system.count(Op::Create),
                    updates: system.count(Op::Update),
                    deletes: system.count(Op::Delete),
                    changes: system.changes.iter().map(ChangeOut::new).collect(),
                };
                (name, out)
            })
            .collect(),
    })
}

/// `status --format json`.
pub fn status(view: &StatusView) -> String {
    write(view)
}

/// `explain --format json`.
pub fn explain(view: &ExplainView) -> String {
    write(view)
}

/// `audit show --format json`.
pub fn history(view: &HistoryView) -> String {
    write(view)
}

fn write(value: &impl Serialize) -> String {
    // Only maps with keys that are no strings could fail, and there are none.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}
