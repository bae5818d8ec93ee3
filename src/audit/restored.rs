//! A store that was brought back from a backup, or begun anew: what was signed of the entries that are lost can't be had again. A person's word in
//! the ledger says from where it goes on and names each checkpoint that is lost by it, so that signing can go on; those are told of, and every other
//! one is held against the ledger as before.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::AuditError;
use super::checkpoints::Checkpoints;
use crate::ids::{Actor, Digest};
use crate::repo::Repo;
use crate::store::{LedgerRow, NewEntry, Reader, Standing, Store, body_of};
use crate::tlog::VerifierKey;

/// The entry that says it.
const RESTORED: &str = "ledger.restored";

/// A checkpoint that is lost: its size and its root. Of one size there may be one that is lost and one of the ledger as it went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lost {
    pub size: u64,
    pub root: Digest,
}

/// What the ledger says of having been restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The entry that says it, whose word it is and when.
    pub seq: u64,
    pub by: String,
    pub at: Timestamp,
    /// How many entries it goes on from.
    pub from: u64,
    /// The newest checkpoint that was known then, and those that are lost.
    pub checkpoint: String,
    pub lost: BTreeSet<Lost>,
}

#[derive(Serialize, Deserialize)]
struct Body {
    from: u64,
    checkpoint: String,
    lost: BTreeSet<Lost>,
}

impl Restored {
    /// What an entry says, where it is one of these. Only what is not before it can be lost by it.
    fn read(seq: i64, at_ms: i64, by: &str, body: Value) -> Option<Self> {
        let seq = u64::try_from(seq).ok()?;
        let body: Body = serde_json::from_value(body).ok()?;
        let lost = body.lost.into_iter().filter(|lost| lost.size >= seq);
        Some(Self {
            seq,
            by: by.to_owned(),
            at: Timestamp::from_millisecond(at_ms).ok()?,
            from: body.from,
            checkpoint: body.checkpoint,
            lost: lost.collect(),
        })
    }

    /// Where an entry that goes by is one.
    pub(super) fn hear(row: &LedgerRow<'_>) -> Option<Self> {
        if row.action != RESTORED {
            return None;
        }
        let texts = [Some(row.leaf.to_owned()), row.body.map(str::to_owned)];
        Self::read(row.seq, row.at_ms, row.actor, body_of(&texts))
    }

    /// The largest that is lost.
    pub fn reached(&self) -> u64 {
        self.lost.last().map_or(self.from, |lost| lost.size)
    }
}

/// Says in the ledger that the store was restored, or begun anew, on somebody's word; to be called once that is done. `None` where nothing that was
/// signed is lost by it, and nothing is said then.
///
/// `trusted` are the keys whose checkpoints are believed, with the server's own.
pub async fn restored(
    store: &Store,
    repo: Arc<Repo>,
    trusted: Vec<VerifierKey>,
    actor: Actor,
    now: Timestamp,
) -> Result<Option<Restored>, AuditError> {
    let notes = tokio::task::spawn_blocking(move || Checkpoints::read(&repo, &trusted)).await??;
    let from = store.ledger_len().await?;
    let lost: BTreeSet<Lost> = notes.all().map(|s| s.lost()).collect();
    let lost: BTreeSet<Lost> = lost.into_iter().filter(|lost| lost.size > from).collect();
    let Some(newest) = notes.newest().filter(|_| !lost.is_empty()) else {
        return Ok(None);
    };
    let checkpoint = newest.text.clone();
    let body = Body {
        from,
        checkpoint: checkpoint.clone(),
        lost: lost.clone(),
    };
    let entry = NewEntry {
        at: now,
        actor: actor.clone(),
        action: RESTORED.to_owned(),
        group: None,
        system: None,
        run: None,
        revision: None,
        body: json!(body),
    };
    let place = Standing {
        name: format!("{RESTORED}/{}", now.as_millisecond()),
        said: from.to_string(),
        first: Some(entry.clone()),
        changed: Some(entry),
    };
    store.record_news(&[place]).await?;
    Ok(Some(Restored {
        seq: from + 1,
        by: actor.to_string(),
        at: now,
        from,
        checkpoint,
        lost,
    }))
}

/// Every such entry, found by when it was written: the ledger may be long. One that is not found excuses nothing.
pub(super) fn of(reader: &mut Reader) -> Result<Vec<Restored>, AuditError> {
    let names = "SELECT name FROM recorded WHERE name >= 'ledger.restored/' AND name < 'ledger.restored0' ORDER BY name";
    let entries = "SELECT leaf, body, CAST(seq AS TEXT), actor FROM ledger WHERE at_ms = $1 AND action = 'ledger.restored' ORDER BY seq";
    let names = reader.ask(names, &[], &[])?;
    let mut found = Vec::new();
    for name in names.into_iter().flatten().flatten() {
        let at = name.rsplit('/').next().and_then(|at| at.parse().ok());
        let Some(at) = at else {
            continue;
        };
        for row in reader.ask(entries, &[at], &[])? {
            let seq = row.get(2).and_then(Option::as_deref);
            let seq = seq.and_then(|seq| seq.parse().ok()).unwrap_or(-1);
            let by = row.get(3).and_then(Option::as_deref).unwrap_or_default();
            found.extend(Restored::read(seq, at, by, body_of(&row)));
        }
    }
    Ok(found)
}

/// The checkpoints in the notes that the ledger is to agree with: without those that are lost. Blocking.
pub fn believed(
    reader: &mut Reader,
    repo: &Repo,
    trusted: &[VerifierKey],
) -> Result<Checkpoints, AuditError> {
    let mut notes = Checkpoints::read(repo, trusted)?;
    for restored in of(reader)? {
        notes.lose(&restored.lost);
    }
    Ok(notes)
}
