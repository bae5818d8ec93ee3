//! The ledger: who did what, when and with what result, append-only and chained.
//!
//! An entry's leaf is one line of canonical JSON (RFC 8785) with `v`, `seq`, `id`, `time`, `actor`, `action`, then `group`, `system`,
//! `run` and `revision` where there are any, `body`, and `prev`, the hash of the leaf before (of nothing, for the first). Its hash is
//! RFC 6962's, SHA-256 over a zero byte and the leaf, so that the same hashes are the leaves of a Merkle tree. A leaf of
//! more than 65,535 bytes, too long for a tile, holds `body_digest` and `body_bytes` instead of `body`.
//!
//! A chain shows that nothing inside it was altered; that its end was not cut off needs a checkpoint kept elsewhere.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sqlx::FromRow;
use uuid::Uuid;

use super::engine::{Doing as _, Tx, query};
use super::reader::{Go, Window};
use super::values::{id, json as read_json, ms, number, signed, time};
use super::{Durability, Link, Store, StoreError};
use crate::ids::{Actor, Digest, GroupName, Revision, RunId, SystemName};
use crate::state::Spec;
use crate::tlog::leaf_hash;

/// The longest leaf that goes into a tile (C2SP tlog-tiles give each entry a 16-bit length).
const LEAF_BYTES: usize = 65_535;

/// Something to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEntry {
    pub at: Timestamp,
    pub actor: Actor,
    /// What was done: `run.applied`, `plan.released`, …
    pub action: String,
    pub group: Option<GroupName>,
    pub system: Option<SystemName>,
    pub run: Option<RunId>,
    pub revision: Option<Revision>,
    pub body: Value,
}

/// Something that was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// From 1, without gaps.
    pub seq: u64,
    pub id: Uuid,
    pub at: Timestamp,
    pub actor: Actor,
    pub action: String,
    pub group: Option<GroupName>,
    pub system: Option<SystemName>,
    pub run: Option<RunId>,
    pub revision: Option<Revision>,
    pub body: Value,
    /// What is hashed, to the byte.
    pub leaf: String,
    pub hash: Digest,
}

/// Which entries are wanted; the default is all, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryFilter {
    /// At or after.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    pub group: Option<GroupName>,
    pub system: Option<SystemName>,
    pub run: Option<RunId>,
    pub revision: Option<Revision>,
    pub action: Option<String>,
    /// Only what comes after this entry in the given order: the last one of the page before.
    pub after: Option<u64>,
    pub order: Order,
    /// `None` for all there are.
    pub limit: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    OldestFirst,
    NewestFirst,
}

/// What checking the chain found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chain {
    /// Every entry is as it was written. `head` is the last one's hash (of nothing, for an empty ledger).
    Intact { entries: u64, head: Digest },
    /// The first entry that is not as it was written, or not where it was.
    Broken { seq: u64, why: String },
}

impl Store {
    /// Records entries outside a run, in their order, all or none.
    pub async fn append(&self, entries: &[NewEntry]) -> Result<(), StoreError> {
        let doing = "write to the ledger";
        let mut tx = self.write(Durability::Full, doing).await?;
        put(&mut tx, entries).await?;
        tx.commit().await.doing(doing)
    }

    pub async fn entries(&self, filter: &EntryFilter) -> Result<Vec<Entry>, StoreError> {
        let EntryFilter {
            since,
            until,
            group,
            system,
            run,
            revision,
            action,
            after,
            order,
            limit,
        } = filter;
        let mut sql = query(
            "SELECT seq, id, at_ms, actor, action, group_name, system, run, revision, leaf, body, hash FROM ledger WHERE 1 = 1",
        );
        if let Some(since) = since {
            sql.push(" AND at_ms >= ").push_bind(ms(*since));
        }
        if let Some(until) = until {
            sql.push(" AND at_ms < ").push_bind(ms(*until));
        }
        let texts = [
            (
                " AND group_name = ",
                group.as_ref().map(ToString::to_string),
            ),
            (" AND system = ", system.as_ref().map(ToString::to_string)),
            (" AND run = ", run.map(|r| r.to_string())),
            (" AND action = ", action.clone()),
            (
                " AND revision = ",
                revision.as_ref().map(ToString::to_string),
            ),
        ];
        for (clause, text) in texts {
            if let Some(text) = text {
                sql.push(clause).push_bind(text);
            }
        }
        let (past, sorted) = match order {
            Order::OldestFirst => (" AND seq > ", " ORDER BY seq"),
            Order::NewestFirst => (" AND seq < ", " ORDER BY seq DESC"),
        };
        if let Some(after) = after {
            sql.push(past).push_bind(signed(*after));
        }
        sql.push(sorted);
        if let Some(limit) = limit {
            sql.push(" LIMIT ").push_bind(i64::from(*limit));
        }
        let rows: Vec<Stored> = sql.fetch_all(self.read()).await.doing("read the ledger")?;
        rows.into_iter().map(Stored::entry).collect()
    }

    /// The systems that entries from a time until before another speak of.
    pub async fn ledger_systems(
        &self,
        (from, until): (Timestamp, Timestamp),
    ) -> Result<BTreeSet<SystemName>, StoreError> {
        let names: Vec<String> = query(
            // From one name to the next in the index, not from row to row.
            "WITH RECURSIVE named (name) AS (\
                SELECT MIN(system) FROM ledger WHERE system IS NOT NULL \
                UNION ALL \
                SELECT (SELECT MIN(system) FROM ledger WHERE system > named.name) FROM named WHERE named.name IS NOT NULL) \
             SELECT name FROM named WHERE name IS NOT NULL \
                AND EXISTS (SELECT 1 FROM ledger WHERE system = named.name AND at_ms >= $1 AND at_ms < $2)",
        )
        .bind(ms(from))
        .bind(ms(until))
        .list(self.read())
        .await
        .doing("read the ledger")?;
        names.iter().map(|name| id(name)).collect()
    }

    /// Checks every entry's hash, place and columns, and the chain from the first to the last.
    pub async fn verify_chain(&self) -> Result<Chain, StoreError> {
        let mut reader = self.reader().await?;
        let checked = tokio::task::spawn_blocking(move || {
            let mut link = Link::default();
            let mut broken = None;
            reader.ledger::<StoreError>(Window::ALL, &mut |row| {
                Ok(match link.add(row) {
                    Ok(_) => Go::On,
                    Err(why) => {
                        broken = Some(why);
                        Go::Stop
                    }
                })
            })?;
            let (entries, head) = (link.entries, link.head);
            Ok(match broken {
                Some(why) => Chain::Broken {
                    seq: entries + 1,
                    why,
                },
                None => Chain::Intact { entries, head },
            })
        });
        checked.await.map_err(|error| StoreError::Damaged {
            what: format!("the ledger could not be read: {error}"),
        })?
    }
}

pub(super) async fn put(tx: &mut Tx, entries: &[NewEntry]) -> Result<(), StoreError> {
    let doing = "write to the ledger";
    if entries.is_empty() {
        return Ok(());
    }
    let last: Option<(i64, String)> =
        query("SELECT seq, hash FROM ledger ORDER BY seq DESC LIMIT 1")
            .fetch_optional(&mut *tx)
            .await
            .doing(doing)?;
    let (mut seq, mut prev) = match last {
        Some((seq, hash)) => (number(seq)?, id(&hash)?),
        None => (0, Digest::of(b"")),
    };
    for entry in entries {
        seq += 1;
        let row = Stored::new(entry, seq, prev)?;
        prev = leaf_hash(row.leaf.as_bytes());
        query(
            "INSERT INTO ledger (seq, id, at_ms, actor, action, group_name, system, run, revision, leaf, body, hash) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        )
        .bind(row.seq)
        .bind(row.id)
        .bind(row.at_ms)
        .bind(row.actor)
        .bind(row.action)
        .bind(row.group_name)
        .bind(row.system)
        .bind(row.run)
        .bind(row.revision)
        .bind(row.leaf)
        .bind(row.body)
        .bind(row.hash)
        .execute(&mut *tx)
        .await
        .doing(doing)?;
    }
    Ok(())
}

/// A row of the table. The columns beside the leaf repeat it, for looking up; the leaf is what counts.
#[derive(FromRow)]
struct Stored {
    seq: i64,
    id: String,
    at_ms: i64,
    actor: String,
    action: String,
    group_name: Option<String>,
    system: Option<String>,
    run: Option<String>,
    revision: Option<String>,
    leaf: String,
    body: Option<String>,
    hash: String,
}

impl Stored {
    fn new(entry: &NewEntry, seq: u64, prev: Digest) -> Result<Self, StoreError> {
        let NewEntry {
            at,
            actor,
            action,
            group,
            system,
            run,
            revision,
            body,
        } = entry;
        // To the millisecond, as the column has it, so that leaf and column say the same.
        let at = time(ms(*at))?;
        let id = uuid_at(at).to_string();
        let mut fields = Map::new();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                fields.insert(key.to_owned(), value);
            }
        };
        put("v", Some(json!(1)));
        put("seq", Some(json!(seq)));
        put("id", Some(json!(id)));
        put("time", Some(json!(at)));
        put("actor", Some(json!(actor)));
        put("action", Some(json!(action)));
        put("group", group.as_ref().map(|g| json!(g)));
        put("system", system.as_ref().map(|s| json!(s)));
        put("run", run.map(|r| json!(r)));
        put("revision", revision.as_ref().map(|r| json!(r)));
        put("prev", Some(json!(prev)));
        put("body", Some(body.clone()));
        let mut leaf = Spec::from_value(&fields)?;
        let mut outside = None;
        if leaf.as_str().len() > LEAF_BYTES {
            let body = Spec::from_value(body)?.as_str().to_owned();
            fields.remove("body");
            fields.insert("body_digest".to_owned(), json!(Digest::of(body.as_bytes())));
            fields.insert("body_bytes".to_owned(), json!(body.len()));
            leaf = Spec::from_value(&fields)?;
            outside = Some(body);
        }
        let leaf = leaf.as_str().to_owned();
        Ok(Self {
            seq: signed(seq),
            id,
            at_ms: ms(at),
            actor: actor.to_string(),
            action: action.clone(),
            group_name: group.as_ref().map(ToString::to_string),
            system: system.as_ref().map(ToString::to_string),
            run: run.map(|r| r.to_string()),
            revision: revision.as_ref().map(ToString::to_string),
            hash: leaf_hash(leaf.as_bytes()).to_hex(),
            leaf,
            body: outside,
        })
    }

    fn entry(self) -> Result<Entry, StoreError> {
        let body = match self.body {
            Some(outside) => read_json(&outside)?,
            None => read_json(&self.leaf)?
                .get_mut("body")
                .map(Value::take)
                .unwrap_or_default(),
        };
        Ok(Entry {
            seq: number(self.seq)?,
            id: id(&self.id)?,
            at: time(self.at_ms)?,
            actor: id(&self.actor)?,
            action: self.action,
            group: self.group_name.map(|t| id(&t)).transpose()?,
            system: self.system.map(|t| id(&t)).transpose()?,
            run: self.run.map(|t| id(&t)).transpose()?,
            revision: self.revision.map(|t| id(&t)).transpose()?,
            body,
            hash: id(&self.hash)?,
            leaf: self.leaf,
        })
    }
}

/// A version 7 UUID of that moment, so that entries sort by time wherever they are copied to.
fn uuid_at(at: Timestamp) -> Uuid {
    let ms = u64::try_from(at.as_millisecond()).unwrap_or_default();
    let nanos = u32::try_from(ms % 1000).unwrap_or_default() * 1_000_000;
    Uuid::new_v7(uuid::Timestamp::from_unix(
        uuid::NoContext,
        ms / 1000,
        nanos,
    ))
}
