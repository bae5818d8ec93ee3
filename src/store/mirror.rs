//! What the ledger keeps of rows that are not its own: a digest of each, in the entry that was written with it. So a row that somebody alters,
//! adds or drops says something else than the ledger.

use serde_json::{Value, json};

use super::NewEntry;
use super::systems::op_text;
use super::values::ms;
use crate::ids::{Actor, Digest, RunId};
use crate::plan::Op;
use crate::plan::safety::PastChange;

/// Where an entry keeps it.
pub const RECORD: &str = "record";
/// Where the entry of a run's end keeps that of the changes it counts against the ceilings.
pub const CHANGES: &str = "counted";

/// The digest of a row: SHA-256 over its columns as a JSON list of texts.
pub fn row_digest(columns: &[&str]) -> Digest {
    // A list of texts always has a JSON form.
    Digest::of(&serde_json::to_vec(columns).unwrap_or_default())
}

/// The digest of a run's rows in `changes`, from those of each in the order of system and resource.
pub fn rows_digest(rows: impl IntoIterator<Item = Digest>) -> Digest {
    let mut bytes = Vec::new();
    for row in rows {
        bytes.extend_from_slice(row.as_bytes());
    }
    Digest::of(&bytes)
}

/// The engine, who alone decides and uses releases up.
pub(super) fn engine() -> Option<Actor> {
    "lockstep/engine".parse().ok()
}

/// The digest of what a run adds to `changes`.
pub(super) fn changes_digest(run: RunId, changes: &[PastChange]) -> Digest {
    let run = run.to_string();
    let mut rows: Vec<_> = changes
        .iter()
        .filter(|c| c.op != Op::Create)
        .map(|c| {
            (
                c.system.as_str(),
                c.id.as_str(),
                op_text(c.op),
                ms(c.at).to_string(),
            )
        })
        .collect();
    rows.sort();
    rows.dedup_by(|a, b| (a.0, a.1) == (b.0, b.1));
    let rows = rows.iter();
    rows_digest(rows.map(|(system, id, op, at)| row_digest(&[&run, system, id, op, at])))
}

/// An entry with what it keeps of a row.
pub(super) fn with(mut entry: NewEntry, key: &str, record: Digest) -> NewEntry {
    if entry.body.is_null() {
        entry.body = json!({});
    }
    if let Value::Object(body) = &mut entry.body {
        body.insert(key.to_owned(), json!(record));
    }
    entry
}
