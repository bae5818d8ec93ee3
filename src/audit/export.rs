//! What an auditor takes away: the ledger and the systems' own feeds, merged by time into one stream. Memory does not grow with rows, and what
//! could not be read whole is said in the stream itself.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::AuditError;
use super::feed::Feed;
use crate::ids::{Digest, SystemName};
use crate::store::{Go, LedgerRow, Reader, Window};
use crate::system_api::AuditEvent;

mod cloudevents;
mod csv;
mod evidence;
mod jsonl;
mod leaf;

pub use cloudevents::CloudEvents;
pub use csv::Csv;
pub use jsonl::Jsonl;

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub from: Timestamp,
    /// Not included.
    pub until: Timestamp,
    pub system: Option<SystemName>,
    pub kind: Option<String>,
    pub actor: Option<String>,
}

/// Where rows go to, in one form or another.
pub trait Form {
    /// Before everything.
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()>;
    /// An entry of the ledger, as far as it is wanted. How many rows it made.
    fn entry(&mut self, row: &LedgerRow<'_>, out: &mut dyn Write) -> Result<u64, AuditError>;
    /// An event of a system's feed.
    fn event(
        &mut self,
        system: &SystemName,
        event: &AuditEvent,
        out: &mut dyn Write,
    ) -> io::Result<()>;
    /// That a system's events are not all there, or that it has none.
    fn gap(&mut self, gap: &Gap, at: Timestamp, out: &mut dyn Write) -> io::Result<()>;
}

/// A system whose own events are not in the export, or not all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub system: SystemName,
    /// Whether it has a feed that could not be read whole; else it keeps none.
    pub is_broken: bool,
    pub why: String,
}

impl Gap {
    /// As the column and the field of the action have it.
    pub fn action(&self) -> &'static str {
        match self.is_broken {
            true => "feed.incomplete",
            false => "feed.none",
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    pub rows: u64,
    /// The stretch of the ledger that was read, of which the filters may have left out entries.
    pub window: Option<Window>,
    pub gaps: Vec<Gap>,
    /// How many events each feed gave.
    pub feeds: Vec<(SystemName, u64)>,
}

impl Summary {
    pub fn is_whole(&self) -> bool {
        !self.gaps.iter().any(|gap| gap.is_broken)
    }
}

/// Bytes that wait to be written.
const BUFFER: usize = 256 << 10;
/// How many entries go by between two words about how far it is.
const STEP: u64 = 4_096;

/// Counts bytes and hashes them on their way, where a manifest is to say what they were.
pub struct Output<W: Write> {
    inner: io::BufWriter<W>,
    hash: Option<Sha256>,
}

impl<W: Write> Output<W> {
    pub fn new(inner: W, is_hashed: bool) -> Self {
        Self {
            inner: io::BufWriter::with_capacity(BUFFER, inner),
            hash: is_hashed.then(Sha256::new),
        }
    }

    /// The digest of all that was written.
    pub fn digest(&self) -> Option<Digest> {
        let hash = self.hash.clone()?;
        Some(Digest::from_bytes(hash.finalize().into()))
    }

    /// Writes what still waits.
    pub fn finish(self) -> io::Result<W> {
        self.inner
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        self.inner.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Merges the ledger with the feeds. The ledger stays in its own order, which is that of time but for a clock that was set back. Blocking.
pub fn export(
    reader: &mut Reader,
    mut feeds: Vec<Feed>,
    mut gaps: Vec<Gap>,
    wanted: &Wanted,
    form: &mut dyn Form,
    out: &mut dyn Write,
    progress: &dyn Fn(u64, u64),
) -> Result<Summary, AuditError> {
    form.begin(out)?;
    for gap in &gaps {
        form.gap(gap, wanted.from, out)?;
    }
    let mut rows = gaps.len() as u64;
    let window = reader.window(wanted.from, wanted.until)?;
    if let Some(window) = window {
        let all = window.last - window.first + 1;
        let mut done = 0;
        let (from, until) = (wanted.from.as_millisecond(), wanted.until.as_millisecond());
        let mut merged = Merged {
            feeds: &mut feeds,
            gaps: &mut gaps,
            wanted,
            next: None,
        };
        merged.look();
        reader.ledger::<AuditError>(window, &mut |row| {
            row.readable()?;
            done += 1;
            if done % STEP == 0 {
                progress(done, all);
            }
            if merged.next.is_some_and(|next| next < row.at_ms) {
                rows += merged.until(row.at_ms, form, out)?;
            }
            if (from..until).contains(&row.at_ms) {
                rows += form.entry(row, out)?;
            }
            Ok(Go::On)
        })?;
    }
    let mut merged = Merged {
        feeds: &mut feeds,
        gaps: &mut gaps,
        wanted,
        next: None,
    };
    merged.look();
    rows += merged.until(i64::MAX, form, out)?;
    let counts = feeds.iter().map(|feed| (feed.system.clone(), feed.events));
    Ok(Summary {
        rows,
        window,
        gaps,
        feeds: counts.collect(),
    })
}

/// The feeds as one.
struct Merged<'m> {
    feeds: &'m mut Vec<Feed>,
    gaps: &'m mut Vec<Gap>,
    wanted: &'m Wanted,
    /// The moment of the next event of any of them, in milliseconds.
    next: Option<i64>,
}

impl Merged<'_> {
    /// Finds out which is next.
    fn look(&mut self) -> Option<usize> {
        let next = self
            .feeds
            .iter_mut()
            .enumerate()
            .filter_map(|(n, feed)| Some((feed.peek()?, n)))
            .min();
        self.next = next.map(|(at, _)| at.as_millisecond());
        next.map(|(_, n)| n)
    }

    /// Writes the events of before a moment. How many rows they made.
    fn until(
        &mut self,
        moment: i64,
        form: &mut dyn Form,
        out: &mut dyn Write,
    ) -> Result<u64, AuditError> {
        let mut rows = 0;
        loop {
            let next = self.look();
            rows += self.tell_gaps(form, out)?;
            let Some(feed) = next.filter(|_| self.next < Some(moment)) else {
                return Ok(rows);
            };
            let Some(feed) = self.feeds.get_mut(feed) else {
                return Ok(rows);
            };
            if let Some(event) = feed.take_next()
                && wants(self.wanted, &event)
            {
                form.event(&feed.system, &event, out)?;
                rows += 1;
            }
        }
    }

    /// Says of feeds that have just failed that they did.
    fn tell_gaps(&mut self, form: &mut dyn Form, out: &mut dyn Write) -> io::Result<u64> {
        let mut rows = 0;
        for feed in self.feeds.iter() {
            let Some(why) = feed.failure() else {
                continue;
            };
            if self.gaps.iter().any(|gap| gap.system == feed.system) {
                continue;
            }
            let gap = Gap {
                system: feed.system.clone(),
                is_broken: true,
                why: format!("its audit feed could not be read whole: {why}"),
            };
            form.gap(&gap, feed.reached(), out)?;
            self.gaps.push(gap);
            rows += 1;
        }
        Ok(rows)
    }
}

fn wants(wanted: &Wanted, event: &AuditEvent) -> bool {
    wanted.kind.as_ref().is_none_or(|kind| *kind == event.kind)
        && wanted
            .actor
            .as_ref()
            .is_none_or(|actor| *actor == event.actor)
}

/// Whether an entry is wanted by its columns; its changes are looked at by whoever writes them.
fn wants_entry(wanted: &Wanted, row: &LedgerRow<'_>) -> bool {
    let system = wanted.system.as_ref();
    system.is_none_or(|system| row.system == Some(system.as_str()))
        && wanted.actor.as_ref().is_none_or(|actor| actor == row.actor)
}

/// What a file of an export was made from, for a file beside it.
pub fn manifest(
    wanted: &Wanted,
    summary: &Summary,
    (format, digest): (&str, Option<Digest>),
    checkpoint: Option<&str>,
    at: Timestamp,
) -> serde_json::Value {
    let gaps: Vec<_> = summary
        .gaps
        .iter()
        .map(|gap| json!({"system": gap.system, "feed": gap.action(), "why": gap.why}))
        .collect();
    let feeds: Vec<_> = summary
        .feeds
        .iter()
        .map(|(system, events)| json!({"system": system, "events": events}))
        .collect();
    let mut manifest = json!({
        "schema": "lockstep/audit-export@v1",
        "format": format,
        "generated_at": at,
        "from": wanted.from,
        "until": wanted.until,
        "system": wanted.system,
        "kind": wanted.kind,
        "actor": wanted.actor,
        "from_seq": summary.window.map(|w| w.first),
        "to_seq": summary.window.map(|w| w.last),
        "rows": summary.rows,
        "whole": summary.is_whole(),
        "gaps": gaps,
        "feeds": feeds,
        "sha256": digest,
        "checkpoint": checkpoint,
    });
    if format == "csv" {
        manifest["text"] = json!(csv::RULE);
    }
    manifest
}
