//! CloudEvents 1.0 in structured JSON, one a line. The same entry has the same source and id each time, by which receivers know it again.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::jsonl::{body, is_wanted};
use super::{AuditError, Form, Gap, Wanted};
use crate::ids::{Digest, SystemName};
use crate::store::LedgerRow;
use crate::system_api::AuditEvent;

pub struct CloudEvents {
    wanted: Wanted,
    /// The log's name.
    origin: String,
}

impl CloudEvents {
    pub fn new(wanted: Wanted, origin: String) -> Self {
        Self { wanted, origin }
    }

    fn write(
        out: &mut dyn Write,
        (source, id): (&str, &str),
        (kind, subject): (&str, Option<&str>),
        at: Timestamp,
        data: Value,
    ) -> io::Result<()> {
        let mut event = json!({
            "specversion": "1.0",
            "id": id,
            "source": source,
            "type": format!("lockstep.{kind}.v1"),
            "time": at,
            "datacontenttype": "application/json",
            "data": data,
        });
        if let Some(subject) = subject {
            event["subject"] = json!(subject);
        }
        writeln!(out, "{event}")
    }

    fn of_system(&self, system: &SystemName) -> String {
        format!("{}/systems/{system}", self.origin)
    }
}

impl Form for CloudEvents {
    fn begin(&mut self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn entry(&mut self, row: &LedgerRow<'_>, out: &mut dyn Write) -> Result<u64, AuditError> {
        if !is_wanted(&self.wanted, row) {
            return Ok(0);
        }
        let at = Timestamp::from_millisecond(row.at_ms).unwrap_or_default();
        let data = json!({
            "seq": row.seq,
            "hash": row.hash,
            "actor": row.actor,
            "group": row.group,
            "system": row.system,
            "run": row.run,
            "revision": row.revision,
            "body": body(row),
        });
        let subject = row.system.or(row.group);
        let about = (row.action, subject);
        Self::write(out, (&self.origin, row.id), about, at, data)?;
        Ok(1)
    }

    fn event(
        &mut self,
        system: &SystemName,
        event: &AuditEvent,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let data = serde_json::to_value(event)?;
        let id = Digest::of(data.to_string().as_bytes()).to_hex();
        let subject = format!("{}/{}", event.kind, event.name);
        let source = self.of_system(system);
        let about = ("system.event", Some(subject.as_str()));
        Self::write(out, (&source, &id), about, event.at, data)
    }

    fn gap(&mut self, gap: &Gap, at: Timestamp, out: &mut dyn Write) -> io::Result<()> {
        let source = self.of_system(&gap.system);
        let data = json!({"why": gap.why});
        let id = Digest::of(format!("{}\n{at}\n{}", gap.action(), gap.why).as_bytes()).to_hex();
        let about = (gap.action(), Some(gap.system.as_str()));
        Self::write(out, (&source, &id), about, at, data)
    }
}
