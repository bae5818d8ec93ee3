//! JSON Lines: the ledger's entries to the byte, so that each line hashes to its place in the log; and the feeds' events as they came.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AuditError, Form, Gap, Wanted, wants_entry};
use crate::ids::SystemName;
use crate::store::LedgerRow;
use crate::system_api::AuditEvent;

pub struct Jsonl {
    wanted: Wanted,
}

impl Jsonl {
    pub fn new(wanted: Wanted) -> Self {
        Self { wanted }
    }
}

/// An entry's body, wherever it lies.
pub(super) fn body(row: &LedgerRow<'_>) -> Value {
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    match row.body {
        Some(body) => read(body),
        None => read(row.leaf)
            .get_mut("body")
            .map(Value::take)
            .unwrap_or_default(),
    }
}

/// Whether an entry has a change of a kind.
pub(super) fn has_kind(body: &Value, kind: &str) -> bool {
    let changes = body["changes"].as_array().into_iter().flatten();
    let mut ids = changes.filter_map(|change| change["id"].as_str());
    ids.any(|id| id.split_once('/').is_some_and(|(k, _)| k == kind))
}

pub(super) fn is_wanted(wanted: &Wanted, row: &LedgerRow<'_>) -> bool {
    wants_entry(wanted, row)
        && wanted
            .kind
            .as_ref()
            .is_none_or(|kind| has_kind(&body(row), kind))
}

impl Form for Jsonl {
    fn begin(&mut self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn entry(&mut self, row: &LedgerRow<'_>, out: &mut dyn Write) -> Result<u64, AuditError> {
        if !is_wanted(&self.wanted, row) {
            return Ok(0);
        }
        out.write_all(row.leaf.as_bytes())?;
        out.write_all(b"\n")?;
        let Some(body) = row.body else {
            return Ok(1);
        };
        // The leaf has its digest; this is what the digest is of.
        writeln!(out, "{{\"body\":{body},\"body_of\":{}}}", row.seq)?;
        Ok(2)
    }

    fn event(
        &mut self,
        system: &SystemName,
        event: &AuditEvent,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let line = json!({"source": format!("system:{system}"), "event": event});
        writeln!(out, "{line}")
    }

    fn gap(&mut self, gap: &Gap, at: Timestamp, out: &mut dyn Write) -> io::Result<()> {
        let source = format!("system:{}", gap.system);
        let line = json!({"source": source, "gap": gap.action(), "why": gap.why, "time": at});
        writeln!(out, "{line}")
    }
}
