//! What is known of each system, and how much was changed on it lately.

use jiff::Timestamp;
use serde_json::Value as Json;

use super::engine::{Doing as _, Tx, Value, query};
use super::values::{id, json, ms, time};
use super::{Durability, Store, StoreError};
use crate::ids::{Digest, Revision, RunId, SystemName};
use crate::plan::Op;
use crate::plan::safety::PastChange;

/// What is known of a system. Written, a field that is `None` leaves what the store has: a system that does not answer
/// still has the digest that it had.
#[derive(Debug, Clone, PartialEq)]
pub struct SystemState {
    pub system: SystemName,
    /// The revision it was last verified at.
    pub revision: Option<Revision>,
    /// The digest it was last seen with.
    pub digest: Option<Digest>,
    /// In step or why not, as its owner wrote it.
    pub condition: Json,
    pub last_change_at: Option<Timestamp>,
    pub last_seen_at: Option<Timestamp>,
}

type Columns = (
    String,
    Option<String>,
    Option<String>,
    String,
    Option<i64>,
    Option<i64>,
);

impl Store {
    pub async fn system_state(
        &self,
        system: &SystemName,
    ) -> Result<Option<SystemState>, StoreError> {
        query(
            "SELECT name, revision, digest, condition, last_change_ms, last_seen_ms FROM systems WHERE name = $1",
        )
        .bind(system.as_str())
        .fetch_optional(self.read())
        .await
        .doing("read a system's state")?
        .map(state)
        .transpose()
    }

    /// All systems ever seen, by name.
    pub async fn system_states(&self) -> Result<Vec<SystemState>, StoreError> {
        query(
            "SELECT name, revision, digest, condition, last_change_ms, last_seen_ms FROM systems ORDER BY name",
        )
        .fetch_all(self.read())
        .await
        .doing("read the systems' states")?
        .into_iter()
        .map(state)
        .collect()
    }

    pub async fn put_system_state(&self, state: &SystemState) -> Result<(), StoreError> {
        let doing = "update a system's state";
        let mut tx = self.write(Durability::Full, doing).await?;
        put(&mut tx, state).await?;
        tx.commit().await.doing(doing)
    }

    /// Notes that a system answered and was as it should be. Cheap: a power cut may forget it, the next pass finds it out again.
    pub async fn seen_system(&self, system: &SystemName, at: Timestamp) -> Result<(), StoreError> {
        let doing = "note that a system answered";
        let mut tx = self.write(Durability::Relaxed, doing).await?;
        query("UPDATE systems SET last_seen_ms = $2 WHERE name = $1")
            .bind(system.as_str())
            .bind(ms(at))
            .execute(&mut tx)
            .await
            .doing(doing)?;
        tx.commit().await.doing(doing)
    }

    /// The deletes and updates that runs made on a system at or after `since`, oldest first.
    pub async fn changes_since(
        &self,
        system: &SystemName,
        since: Timestamp,
    ) -> Result<Vec<PastChange>, StoreError> {
        let rows: Vec<(String, String, i64)> = query(
            "SELECT id, op, at_ms FROM changes WHERE system = $1 AND at_ms >= $2 ORDER BY at_ms, id",
        )
        .bind(system.as_str())
        .bind(ms(since))
        .fetch_all(self.read())
        .await
        .doing("read recent changes")?;
        rows.into_iter()
            .map(|(resource, op, at)| {
                Ok(PastChange {
                    at: time(at)?,
                    system: system.clone(),
                    id: id(&resource)?,
                    op: read_op(&op)?,
                })
            })
            .collect()
    }
}

fn state(columns: Columns) -> Result<SystemState, StoreError> {
    let (system, revision, digest, condition, change, seen) = columns;
    Ok(SystemState {
        system: id(&system)?,
        revision: revision.map(|r| id(&r)).transpose()?,
        digest: digest.map(|d| id(&d)).transpose()?,
        condition: json(&condition)?,
        last_change_at: change.map(time).transpose()?,
        last_seen_at: seen.map(time).transpose()?,
    })
}

pub(super) async fn put(tx: &mut Tx, state: &SystemState) -> Result<(), StoreError> {
    let SystemState {
        system,
        revision,
        digest,
        condition,
        last_change_at,
        last_seen_at,
    } = state;
    query(
        "INSERT INTO systems (name, revision, digest, condition, last_change_ms, last_seen_ms) \
         VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (name) DO UPDATE SET condition = excluded.condition, \
         revision = COALESCE(excluded.revision, systems.revision), \
         digest = COALESCE(excluded.digest, systems.digest), \
         last_change_ms = COALESCE(excluded.last_change_ms, systems.last_change_ms), \
         last_seen_ms = COALESCE(excluded.last_seen_ms, systems.last_seen_ms)",
    )
    .bind(system.as_str())
    .bind(revision.as_ref().map(Revision::as_str))
    .bind(digest.map(Digest::to_hex))
    .bind(condition.to_string())
    .bind(last_change_at.map(ms))
    .bind(last_seen_at.map(ms))
    .execute(tx)
    .await
    .doing("update a system's state")?;
    Ok(())
}

/// Rows of one statement: SQLite takes 32,766 values in one.
const ROWS: usize = 1_000;

pub(super) async fn put_changes(
    tx: &mut Tx,
    run: RunId,
    changes: &[PastChange],
) -> Result<(), StoreError> {
    let limited: Vec<&PastChange> = changes.iter().filter(|c| c.op != Op::Create).collect();
    for part in limited.chunks(ROWS) {
        let mut insert = query("INSERT INTO changes (run, system, id, op, at_ms) ");
        insert.push_rows(part.iter().map(|change| -> [Value; 5] {
            [
                run.to_string().into(),
                change.system.as_str().into(),
                change.id.as_str().into(),
                op_text(change.op).into(),
                ms(change.at).into(),
            ]
        }));
        insert.push(" ON CONFLICT DO NOTHING");
        insert
            .execute(&mut *tx)
            .await
            .doing("note a run's changes")?;
    }
    Ok(())
}

pub(super) fn op_text(op: Op) -> &'static str {
    match op {
        Op::Delete => "delete",
        Op::Create => "create",
        Op::Update => "update",
    }
}

fn read_op(text: &str) -> Result<Op, StoreError> {
    [Op::Delete, Op::Create, Op::Update]
        .into_iter()
        .find(|op| op_text(*op) == text)
        .ok_or_else(|| StoreError::Damaged {
            what: format!("{text:?} is no operation"),
        })
}
