//! Rows from before the ledger kept a digest of each: they are taken into it once, all together, when the store is opened by a program that keeps
//! them. What is altered or added after that says something else than the ledger, as with every later row.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::engine::{Doing as _, Tx, query};
use super::reader::{Columns, Texts};
use super::values::ms;
use super::{Durability, NewEntry, Store, StoreError, ledger, mirror, row_digest, rows_digest};
use crate::ids::Digest;

/// The entry that says it. It counts only before the first that keeps a row.
pub const UPGRADED: &str = "ledger.upgraded";
/// What the store remembers by that it was looked at.
const DONE: &str = "ledger-upgraded";
/// Digests in one entry.
const MANY: usize = 5_000;
/// Rows read at a time.
const FEW: usize = 500;

/// Digests of rows that were there before the ledger kept them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Older {
    pub runs: BTreeSet<Digest>,
    /// Of each run that counts something against the ceilings, with its name.
    pub changes: BTreeSet<Digest>,
    pub decisions: BTreeSet<Digest>,
    pub releases: BTreeSet<Digest>,
    pub used: BTreeSet<Digest>,
    pub commands: BTreeSet<Digest>,
}

impl Older {
    fn len(&self) -> usize {
        self.runs.len()
            + self.changes.len()
            + self.decisions.len()
            + self.releases.len()
            + self.used.len()
            + self.commands.len()
    }
}

/// The digest of what one run counts against the ceilings. In the order of bytes, whatever order the engine has.
pub fn counted_digest(mut rows: Vec<Columns>) -> Digest {
    rows.sort();
    rows_digest(rows.iter().map(|row| digest(row)))
}

/// The same with the run's name.
pub fn counted_of(run: &str, counted: Digest) -> Digest {
    row_digest(&[run, &counted.to_hex()])
}

fn digest(row: &[Option<String>]) -> Digest {
    let texts: Vec<&str> = row
        .iter()
        .map(|c| c.as_deref().unwrap_or_default())
        .collect();
    row_digest(&texts)
}

impl Store {
    /// Takes the rows of before into the ledger, where that was not done yet: once for a store, by whoever may write to it.
    pub async fn take_in_older_rows(&self, now: Timestamp) -> Result<(), StoreError> {
        let doing = "take older rows into the ledger";
        if self.has_first(DONE).await? || !has_rows(self).await? {
            return Ok(());
        }
        let mut tx = self.write(Durability::Full, doing).await?;
        if !keeps_rows(&mut tx).await? {
            let entries = entries(&mut tx, now).await?;
            ledger::put(&mut tx, &entries).await?;
        }
        query("INSERT INTO firsts (name, at_ms) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(DONE)
            .bind(ms(now))
            .execute(&mut tx)
            .await
            .doing(doing)?;
        tx.commit().await.doing(doing)
    }
}

/// A store in which nothing has happened yet stays one.
async fn has_rows(store: &Store) -> Result<bool, StoreError> {
    query(
        "SELECT EXISTS (SELECT 1 FROM runs) OR EXISTS (SELECT 1 FROM decisions) OR EXISTS (SELECT 1 FROM releases) \
         OR EXISTS (SELECT 1 FROM commands) OR EXISTS (SELECT 1 FROM changes)",
    )
    .value(store.read())
    .await
    .doing("look into the store")
}

/// Whether the ledger keeps rows already, or has these. What comes beside it then did not come from Lockstep.
async fn keeps_rows(tx: &mut Tx) -> Result<bool, StoreError> {
    query(
        "SELECT EXISTS (SELECT 1 FROM ledger WHERE \
         action IN ('decision.commit', 'decision.compensate', 'release.used', 'command.taken', 'ledger.upgraded') \
         OR (action IN ('run.finished', 'plan.released') AND (leaf LIKE '%\"record\":\"%' OR body LIKE '%\"record\":\"%')))",
    )
    .value(tx)
    .await
    .doing("look into the ledger")
}

/// What is said of the rows that there are: few entries of many digests.
async fn entries(tx: &mut Tx, now: Timestamp) -> Result<Vec<NewEntry>, StoreError> {
    let mut said = vec![Older::default()];
    runs(tx, &mut said).await?;
    decisions(tx, &mut said).await?;
    releases(tx, &mut said).await?;
    commands(tx, &mut said).await?;
    let Some(actor) = mirror::engine() else {
        return Ok(Vec::new());
    };
    said.iter()
        .filter(|older| older.len() > 0)
        .map(|older| {
            Ok(NewEntry {
                at: now,
                actor: actor.clone(),
                action: UPGRADED.to_owned(),
                group: None,
                system: None,
                run: None,
                revision: None,
                body: serde_json::to_value(older).map_err(|e| StoreError::Damaged {
                    what: format!("older rows can't be written down: {e}"),
                })?,
            })
        })
        .collect()
}

/// Adds digests to the last of them, or to a new one.
fn add(said: &mut Vec<Older>, to: impl FnOnce(&mut Older) -> bool) {
    if said.last().is_none_or(|last| last.len() >= MANY) {
        said.push(Older::default());
    }
    if let Some(last) = said.last_mut() {
        // Two rows that are the same are one.
        to(last);
    }
}

async fn page(
    tx: &mut Tx,
    sql: &'static str,
    after: &[String],
) -> Result<Vec<Columns>, StoreError> {
    let mut asked = query(sql);
    for text in after {
        asked = asked.bind(text);
    }
    let rows: Vec<Texts> = asked.fetch_all(tx).await.doing("read older rows")?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// A column as text.
fn column(row: &Columns, n: usize) -> String {
    row.get(n).cloned().flatten().unwrap_or_default()
}

async fn runs(tx: &mut Tx, said: &mut Vec<Older>) -> Result<(), StoreError> {
    let sql = "SELECT id, group_name, revision, CAST(fence AS TEXT), reach, body, outcome, CAST(finished_ms AS TEXT) \
         FROM runs WHERE id > $1 AND outcome IS NOT NULL ORDER BY id LIMIT 500";
    let counted = "SELECT run, system, id, op, CAST(at_ms AS TEXT) FROM changes WHERE run = $1";
    let mut after = String::new();
    loop {
        let rows = page(tx, sql, &[after]).await?;
        for row in &rows {
            add(said, |older| older.runs.insert(digest(row)));
            let id = column(row, 0);
            let changes = page(tx, counted, std::slice::from_ref(&id)).await?;
            if !changes.is_empty() {
                let changes = counted_of(&id, counted_digest(changes));
                add(said, |older| older.changes.insert(changes));
            }
        }
        let Some(last) = rows.last().filter(|_| rows.len() == FEW) else {
            return Ok(());
        };
        after = column(last, 0);
    }
}

async fn decisions(tx: &mut Tx, said: &mut Vec<Older>) -> Result<(), StoreError> {
    let sql = "SELECT run, CAST(ordinal AS TEXT), decision, body, CAST(at_ms AS TEXT) FROM decisions \
         WHERE run > $1 OR (run = $1 AND decision > $2) ORDER BY run, decision LIMIT 500";
    let mut after = [String::new(), String::new()];
    loop {
        let rows = page(tx, sql, &after).await?;
        for row in &rows {
            add(said, |older| older.decisions.insert(digest(row)));
        }
        let Some(last) = rows.last().filter(|_| rows.len() == FEW) else {
            return Ok(());
        };
        after = [column(last, 0), column(last, 2)];
    }
}

async fn releases(tx: &mut Tx, said: &mut Vec<Older>) -> Result<(), StoreError> {
    let sql = "SELECT plan, released_by, because, CAST(at_ms AS TEXT), used_by, CAST(id AS TEXT) FROM releases \
         WHERE id > CAST($1 AS BIGINT) ORDER BY id LIMIT 500";
    let mut after = "0".to_owned();
    loop {
        let rows = page(tx, sql, &[after]).await?;
        for row in &rows {
            let given = digest(row.get(..4).unwrap_or_default());
            add(said, |older| older.releases.insert(given));
            if row.get(4).is_some_and(Option::is_some) {
                let used = row_digest(&[&column(row, 0), &column(row, 4)]);
                add(said, |older| older.used.insert(used));
            }
        }
        let Some(last) = rows.last().filter(|_| rows.len() == FEW) else {
            return Ok(());
        };
        after = column(last, 5);
    }
}

async fn commands(tx: &mut Tx, said: &mut Vec<Older>) -> Result<(), StoreError> {
    let sql = "SELECT id, CAST(proposal AS TEXT), author, CAST(at_ms AS TEXT), body FROM commands \
         WHERE id > $1 ORDER BY id LIMIT 500";
    let mut after = String::new();
    loop {
        let rows = page(tx, sql, &[after]).await?;
        for row in &rows {
            add(said, |older| older.commands.insert(digest(row)));
        }
        let Some(last) = rows.last().filter(|_| rows.len() == FEW) else {
            return Ok(());
        };
        after = column(last, 0);
    }
}
