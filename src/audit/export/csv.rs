//! CSV as spreadsheets read it (RFC 4180): CRLF, every field in quotes, and no field that a spreadsheet takes for a formula. One row a change
//! and system, so that each row answers who changed what, who agreed, and when the system had it.

use std::io::{self, Write};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::evidence::{Evidence, MERGED, Proposals};
use super::leaf::{self, Change, Part, Text};
use super::{AuditError, Form, Gap, Wanted, wants_entry};
use crate::ids::SystemName;
use crate::store::{LedgerRow, Reader};
use crate::system_api::AuditEvent;

mod line;

use line::Line;

/// How texts are kept from being formulas, for whoever reads them by machine.
pub(super) const RULE: &str = "a text that begins with = + - @ tab, carriage return, line feed, one of ＝ ＋ － ＠ or an apostrophe has an apostrophe before it; \
     NUL is left out; seq, proposal and line are numbers";

const COLUMNS: [&str; 34] = [
    "time",
    "source",
    "seq",
    "actor",
    "action",
    "result",
    "proposal",
    "title",
    "author",
    "approvers",
    "policies",
    "policy_input",
    "policy_decision",
    "checks",
    "group",
    "system",
    "kind",
    "resource",
    "op",
    "direction",
    "document",
    "line",
    "before",
    "after",
    "revision",
    "run",
    "plan",
    "started",
    "prepared",
    "decided",
    "committed",
    "verified",
    "receipt",
    "reason",
];

/// A byte order mark, by which spreadsheets know UTF-8.
const BOM: &[u8] = "\u{feff}".as_bytes();

pub struct Csv {
    wanted: Wanted,
    proposals: Proposals,
    is_marked: bool,
    line: Line,
    /// Where nothing is known of a proposal.
    nothing: Arc<Evidence>,
}

/// Everything of a row that is not of its change.
struct Head<'h> {
    time: &'h str,
    source: &'h str,
    seq: Option<i64>,
    actor: &'h str,
    action: &'h str,
    result: &'h str,
    group: &'h str,
    system: &'h str,
    revision: &'h str,
    run: &'h str,
    reason: &'h str,
    receipt: &'h str,
}

/// The part of a row that says what was changed.
#[derive(Default)]
struct What<'w> {
    kind: &'w str,
    resource: &'w str,
    op: &'w str,
    direction: &'w str,
    document: &'w str,
    line: Option<u32>,
    before: &'w str,
    after: &'w str,
}

impl Csv {
    /// `lookup` reads what lies before the window.
    pub fn new(wanted: Wanted, lookup: Reader, is_marked: bool) -> Self {
        Self {
            wanted,
            proposals: Proposals::new(lookup),
            is_marked,
            line: Line::default(),
            nothing: Arc::default(),
        }
    }

    fn row(
        &mut self,
        head: &Head<'_>,
        evidence: &Evidence,
        what: &What<'_>,
        part: &Part<'_>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let line = &mut self.line;
        line.plain(head.time);
        line.text(head.source);
        line.number(head.seq);
        line.text(head.actor);
        line.text(head.action);
        line.text(head.result);
        line.number(evidence.proposal.and_then(|n| i64::try_from(n).ok()));
        line.text(&evidence.title);
        line.text(&evidence.author);
        line.text(&evidence.approvers);
        line.text(&evidence.policies);
        line.text(&evidence.input);
        line.text(&evidence.decision);
        line.text(&evidence.checks);
        line.text(head.group);
        line.text(head.system);
        line.text(what.kind);
        line.text(what.resource);
        line.text(what.op);
        line.text(what.direction);
        line.text(what.document);
        line.number(what.line.map(i64::from));
        line.text(what.before);
        line.text(what.after);
        line.text(head.revision);
        line.text(head.run);
        line.text(part.plan.as_ref().map_or("", Text::as_str));
        for time in [
            &part.started_at,
            &part.prepared_at,
            &part.decided_at,
            &part.committed_at,
            &part.verified_at,
        ] {
            line.text(time.as_ref().map_or("", Text::as_str));
        }
        line.text(head.receipt);
        line.text(head.reason);
        line.end(out)
    }

    /// A system's part in a run: a row a change; one row where it has none.
    fn part(
        &mut self,
        row: &LedgerRow<'_>,
        part: &Part<'_>,
        out: &mut dyn Write,
    ) -> Result<u64, AuditError> {
        let time = time_of(row);
        let state = part.state.as_ref();
        let receipt = state.and_then(|s| s.receipt.as_ref());
        let receipt = receipt.map_or("", |r| r.reference.as_ref().unwrap_or(&r.digest).as_str());
        let failure = state.and_then(|s| s.failure).map_or("", |f| f.get());
        let release = part
            .release
            .as_ref()
            .map(|r| format!("released by {}: {}", r.by.as_str(), r.because.as_str()));
        let head = Head {
            time: &time,
            source: "ledger",
            seq: Some(row.seq),
            actor: row.actor,
            action: row.action,
            result: state.map_or("", |s| s.is.as_str()),
            group: row.group.unwrap_or_default(),
            system: row.system.unwrap_or_default(),
            revision: row.revision.unwrap_or_default(),
            run: row.run.unwrap_or_default(),
            reason: release.as_deref().unwrap_or(failure),
            receipt,
        };
        let mut rows = 0;
        for change in &part.changes {
            let (kind, resource) = split(change.id.as_str());
            if self
                .wanted
                .kind
                .as_ref()
                .is_some_and(|wanted| wanted != kind)
            {
                continue;
            }
            let id = Some(change.id.as_str());
            let evidence = self.evidence(id, row)?;
            let what = what(change, kind, resource);
            self.row(&head, &evidence, &what, part, out)?;
            rows += 1;
        }
        if part.changes.is_empty() && self.wanted.kind.is_none() {
            let evidence = self.evidence(None, row)?;
            self.row(&head, &evidence, &What::default(), part, out)?;
            rows += 1;
        }
        Ok(rows)
    }

    fn evidence(
        &mut self,
        resource: Option<&str>,
        row: &LedgerRow<'_>,
    ) -> Result<Arc<Evidence>, AuditError> {
        let found = self.proposals.of(resource, row.group, row.revision)?;
        Ok(found.unwrap_or_else(|| self.nothing.clone()))
    }

    /// Any other entry: one row.
    fn other(
        &mut self,
        row: &LedgerRow<'_>,
        body: &Value,
        out: &mut dyn Write,
    ) -> Result<u64, AuditError> {
        if self.wanted.kind.is_some() {
            return Ok(0);
        }
        let mut evidence = Evidence::of(body);
        if evidence == Evidence::default() && row.run.is_some() {
            evidence = (*self.evidence(None, row)?).clone();
        }
        let time = time_of(row);
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
        let result = text("/outcome/outcome")
            .or(text("/decision"))
            .unwrap_or_default();
        let reason = text("/because").or(text("/why")).unwrap_or_default();
        let head = Head {
            time: &time,
            source: "ledger",
            seq: Some(row.seq),
            actor: row.actor,
            action: row.action,
            result,
            group: row.group.unwrap_or_default(),
            system: row.system.unwrap_or_default(),
            revision: row.revision.unwrap_or_default(),
            run: row.run.unwrap_or_default(),
            reason,
            receipt: "",
        };
        self.row(&head, &evidence, &What::default(), &Part::default(), out)?;
        Ok(1)
    }
}

/// What the leaf itself says, to the letter; it is checked against the column elsewhere.
fn time_of(row: &LedgerRow<'_>) -> String {
    match Timestamp::from_millisecond(row.at_ms) {
        Ok(at) => at.to_string(),
        Err(_) => String::new(),
    }
}

fn split(id: &str) -> (&str, &str) {
    id.split_once('/').unwrap_or(("", id))
}

fn what<'w>(change: &'w Change<'_>, kind: &'w str, resource: &'w str) -> What<'w> {
    What {
        kind,
        resource,
        op: change.op.as_ref().map_or("", Text::as_str),
        direction: change.direction.as_ref().map_or("", Text::as_str),
        document: change.document.as_ref().map_or("", Text::as_str),
        line: change.line,
        before: change.before.map_or("", |v| v.get()),
        after: change.after.map_or("", |v| v.get()),
    }
}

impl Form for Csv {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.is_marked {
            out.write_all(BOM)?;
        }
        for column in COLUMNS {
            self.line.plain(column);
        }
        self.line.end(out)
    }

    fn entry(&mut self, row: &LedgerRow<'_>, out: &mut dyn Write) -> Result<u64, AuditError> {
        let is_wanted = wants_entry(&self.wanted, row);
        let is_part = row.action.starts_with("system.") || row.action == "drift.found";
        if is_part {
            if !is_wanted {
                return Ok(0);
            }
            if let Some(part) = leaf::part(row) {
                return self.part(row, &part, out);
            }
        }
        let body = super::jsonl::body(row);
        // Even where it is not wanted itself, later rows are understood by it.
        if row.action == MERGED {
            self.proposals.merged(row.seq, row.revision, &body);
        }
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
        // What was urgent for one system leaves its group where it was.
        if row.action == "run.finished"
            && text("/scope/is") != Some("urgent")
            && matches!(text("/outcome/outcome"), Some("applied" | "in_step"))
            && let Some(group) = row.group
        {
            self.proposals.came_in_step(row.seq, group);
        }
        if !is_wanted {
            return Ok(0);
        }
        self.other(row, &body, out)
    }

    fn event(
        &mut self,
        system: &SystemName,
        event: &AuditEvent,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let (time, source) = (event.at.to_string(), format!("system:{system}"));
        let changeset = event.changeset.as_ref().map(ToString::to_string);
        let json = |value: &Option<Value>| value.as_ref().map(ToString::to_string);
        let (before, after) = (json(&event.before), json(&event.after));
        let head = Head {
            time: &time,
            source: &source,
            seq: None,
            actor: &event.actor,
            action: "system.event",
            result: "",
            group: "",
            system: system.as_str(),
            revision: "",
            // A changeset is named after its run and the system.
            run: changeset
                .as_deref()
                .and_then(|c| c.split_once('.'))
                .map_or("", |c| c.0),
            reason: "",
            receipt: changeset.as_deref().unwrap_or_default(),
        };
        let what = What {
            kind: &event.kind,
            resource: &event.name,
            op: &event.action,
            before: before.as_deref().unwrap_or_default(),
            after: after.as_deref().unwrap_or_default(),
            ..What::default()
        };
        self.row(&head, &Evidence::default(), &what, &Part::default(), out)
    }

    fn gap(&mut self, gap: &Gap, at: Timestamp, out: &mut dyn Write) -> io::Result<()> {
        let (time, source) = (at.to_string(), format!("system:{}", gap.system));
        let head = Head {
            time: &time,
            source: &source,
            seq: None,
            actor: "lockstep",
            action: gap.action(),
            result: if gap.is_broken { "incomplete" } else { "" },
            group: "",
            system: gap.system.as_str(),
            revision: "",
            run: "",
            reason: &gap.why,
            receipt: "",
        };
        let (nothing, none) = (What::default(), Part::default());
        self.row(&head, &Evidence::default(), &nothing, &none, out)
    }
}
