//! The reference system's SQLite file: resources, changesets, audit events. One connection, and no other process beside it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Row as _, Sqlite, SqlitePool, Transaction};

use super::ReferenceError;
use super::changeset::{Remembered, Sent, Step};
use crate::ids::{ChangesetId, Fence, ResourceRef, Revision, SystemName};
use crate::plan::Op;
use crate::state::{Item, Spec, State};
use crate::system_api::{
    AuditAnswer, AuditEvent, ChangesetStatus, OutcomeAnswer, op_from_word, op_word,
};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS system (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  name TEXT NOT NULL, revision TEXT, fence INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS resources (id TEXT PRIMARY KEY, spec TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changesets (
  id TEXT PRIMARY KEY, status TEXT NOT NULL, fence INTEGER NOT NULL,
  content TEXT, revision TEXT, steps TEXT, outcome TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS audit (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
  before TEXT, after TEXT, changeset TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS audit_at ON audit (at);
";

/// Audit events on one page.
const PAGE: i64 = 500;

/// A change that happened, for the audit.
#[derive(Debug)]
pub(super) struct Happened {
    pub(super) op: Op,
    pub(super) id: ResourceRef,
    pub(super) before: Option<Spec>,
    pub(super) after: Option<Spec>,
}

/// What the file held when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loaded {
    pub(super) revision: Option<Revision>,
    pub(super) fence: Fence,
    pub(super) state: State,
}

/// A changeset that is staged, as it was kept.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) revision: Revision,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub(super) struct Database {
    pool: SqlitePool,
}

pub(super) type Tx = Transaction<'static, Sqlite>;

impl Database {
    /// Opens or creates the file. It belongs to one system for good, and to one process at a time: what is kept in memory beside it
    /// would be wrong otherwise.
    pub(super) async fn open(file: &Path, name: &SystemName) -> Result<Self, ReferenceError> {
        let failed = |error| ReferenceError::Database {
            file: file.to_owned(),
            error,
        };
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .locking_mode(SqliteLockingMode::Exclusive)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await
            .map_err(failed)?;
        for schema in [SCHEMA, super::marks::TABLES] {
            sqlx::raw_sql(schema).execute(&pool).await.map_err(failed)?;
        }
        sqlx::query("INSERT OR IGNORE INTO system (one, name, fence) VALUES (1, $1, 0)")
            .bind(name.as_str())
            .execute(&pool)
            .await
            .map_err(failed)?;
        let owner: String = sqlx::query_scalar("SELECT name FROM system")
            .fetch_one(&pool)
            .await
            .map_err(failed)?;
        if owner != name.as_str() {
            return Err(ReferenceError::OtherSystem {
                file: file.to_owned(),
                owner,
                name: name.clone(),
            });
        }
        Ok(Self { pool })
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    pub(super) async fn load(&self) -> Result<Loaded, sqlx::Error> {
        let row = sqlx::query("SELECT revision, fence FROM system")
            .fetch_one(&self.pool)
            .await?;
        let revision: Option<String> = row.try_get(0)?;
        let fence: i64 = row.try_get(1)?;
        let rows: Vec<(String, String)> = sqlx::query_as("SELECT id, spec FROM resources")
            .fetch_all(&self.pool)
            .await?;
        let items = rows
            .into_iter()
            .map(|(id, spec)| item(&id, &spec).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Loaded {
            revision: revision.map(|r| r.parse().map_err(decode)).transpose()?,
            fence: Fence(u64::try_from(fence).map_err(decode)?),
            state: items.into_iter().collect(),
        })
    }

    pub(super) async fn begin(&self) -> Result<Tx, sqlx::Error> {
        self.pool.begin_with("BEGIN IMMEDIATE").await
    }

    /// One page of audit events: at or after `from`, before `until`, after the row `cursor`.
    pub(super) async fn audit(
        &self,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
        cursor: i64,
    ) -> Result<AuditAnswer, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT seq, at, actor, action, kind, name, before, after, changeset FROM audit
             WHERE seq > $1 AND at >= $2 AND at < $3 ORDER BY seq LIMIT $4",
        )
        .bind(cursor)
        .bind(from.map_or(i64::MIN, Timestamp::as_microsecond))
        .bind(until.map_or(i64::MAX, Timestamp::as_microsecond))
        .bind(PAGE + 1)
        .fetch_all(&self.pool)
        .await?;
        let size = usize::try_from(PAGE).unwrap_or(usize::MAX);
        let last = match (rows.len() > size, rows.get(size.saturating_sub(1))) {
            (true, Some(row)) => Some(row.try_get::<i64, _>(0)?.to_string()),
            (true, None) | (false, _) => None,
        };
        let value = |text: Option<String>| {
            text.map(|t| serde_json::from_str::<Value>(&t).map_err(decode))
                .transpose()
        };
        let events = rows.iter().take(size).map(|row| {
            let changeset: Option<String> = row.try_get(8)?;
            Ok(AuditEvent {
                at: Timestamp::from_microsecond(row.try_get(1)?).map_err(decode)?,
                actor: row.try_get(2)?,
                action: row.try_get(3)?,
                kind: row.try_get(4)?,
                name: row.try_get(5)?,
                before: value(row.try_get(6)?)?,
                after: value(row.try_get(7)?)?,
                changeset: changeset
                    .map(|id| id.parse::<ChangesetId>().map_err(decode))
                    .transpose()?,
            })
        });
        Ok(AuditAnswer {
            events: events.collect::<Result<_, sqlx::Error>>()?,
            next: last,
        })
    }
}

/// A row that cannot be what this program wrote.
fn decode(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

fn item(id: &str, spec: &str) -> Result<Item, sqlx::Error> {
    let value: Value = serde_json::from_str(spec).map_err(decode)?;
    let spec = Spec::from_value(&value).map_err(decode)?;
    Ok(Item::new(id.parse().map_err(decode)?, spec))
}

fn signed(fence: Fence) -> i64 {
    // A fence beyond i64 has been refused as malformed when it was read.
    i64::try_from(fence.0).unwrap_or(i64::MAX)
}

fn status_word(status: ChangesetStatus) -> &'static str {
    match status {
        ChangesetStatus::Staged => "staged",
        ChangesetStatus::Committed => "committed",
        ChangesetStatus::Aborted => "aborted",
    }
}

fn status_from_word(word: &str) -> Result<ChangesetStatus, sqlx::Error> {
    match word {
        "staged" => Ok(ChangesetStatus::Staged),
        "committed" => Ok(ChangesetStatus::Committed),
        "aborted" => Ok(ChangesetStatus::Aborted),
        _ => Err(sqlx::Error::Decode(
            format!("{word:?} is no status of a changeset").into(),
        )),
    }
}

pub(super) async fn raise_fence(tx: &mut Tx, fence: Fence) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE system SET fence = max(fence, $1)")
        .bind(signed(fence))
        .execute(&mut **tx)
        .await
        .map(drop)
}

/// Aborts what holders of older leases have staged.
pub(super) async fn supersede(tx: &mut Tx, fence: Fence) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE changesets SET status = 'aborted', steps = NULL WHERE status = 'staged' AND fence < $1",
    )
    .bind(signed(fence))
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn remembered(
    tx: &mut Tx,
    id: &ChangesetId,
) -> Result<Option<Remembered>, sqlx::Error> {
    let row: Option<(String, Option<String>)> =
        sqlx::query_as("SELECT status, content FROM changesets WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&mut **tx)
            .await?;
    row.map(|(status, content)| {
        Ok(Remembered {
            status: status_from_word(&status)?,
            content: content.map(|c| c.parse().map_err(decode)).transpose()?,
        })
    })
    .transpose()
}

pub(super) async fn stage(tx: &mut Tx, sent: &Sent, steps: &[Step]) -> Result<(), sqlx::Error> {
    let steps: Vec<_> = steps
        .iter()
        .map(|s| {
            let spec = s.item.as_ref().map(|i| i.spec.as_str());
            (op_word(s.op), s.id.as_str(), spec)
        })
        .collect();
    sqlx::query(
        "INSERT INTO changesets (id, status, fence, content, revision, steps) VALUES ($1, 'staged', $2, $3, $4, $5)",
    )
    .bind(sent.id.as_str())
    .bind(signed(sent.fence))
    .bind(sent.content.to_hex())
    .bind(sent.revision.as_str())
    .bind(serde_json::to_string(&steps).map_err(decode)?)
    .execute(&mut **tx)
    .await
    .map(drop)
}

/// The same changeset, prepared again by the next holder of the lease, is now the next holder's.
pub(super) async fn take_over(
    tx: &mut Tx,
    id: &ChangesetId,
    fence: Fence,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE changesets SET fence = max(fence, $2) WHERE id = $1")
        .bind(id.as_str())
        .bind(signed(fence))
        .execute(&mut **tx)
        .await
        .map(drop)
}

pub(super) async fn staged(tx: &mut Tx, id: &ChangesetId) -> Result<Staged, sqlx::Error> {
    let (revision, steps): (String, String) =
        sqlx::query_as("SELECT revision, steps FROM changesets WHERE id = $1")
            .bind(id.as_str())
            .fetch_one(&mut **tx)
            .await?;
    let steps: Vec<(String, String, Option<String>)> =
        serde_json::from_str(&steps).map_err(decode)?;
    let steps = steps.into_iter().map(|(op, id, spec)| {
        Ok(Step {
            op: op_from_word(&op)
                .ok_or_else(|| sqlx::Error::Decode(format!("{op:?} is no operation").into()))?,
            item: spec
                .map(|spec| item(&id, &spec).map(Arc::new))
                .transpose()?,
            id: id.parse().map_err(decode)?,
        })
    });
    Ok(Staged {
        revision: revision.parse().map_err(decode)?,
        steps: steps.collect::<Result<_, sqlx::Error>>()?,
    })
}

/// What a committed changeset was answered with.
pub(super) async fn outcome(tx: &mut Tx, id: &ChangesetId) -> Result<OutcomeAnswer, sqlx::Error> {
    let outcome: String = sqlx::query_scalar("SELECT outcome FROM changesets WHERE id = $1")
        .bind(id.as_str())
        .fetch_one(&mut **tx)
        .await?;
    serde_json::from_str(&outcome).map_err(decode)
}

/// Ends a changeset, whether it was staged or never seen.
pub(super) async fn end(
    tx: &mut Tx,
    id: &ChangesetId,
    fence: Fence,
    status: ChangesetStatus,
    outcome: &OutcomeAnswer,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO changesets (id, status, fence, outcome) VALUES ($1, $2, $3, $4)
         ON CONFLICT (id) DO UPDATE SET status = excluded.status, outcome = excluded.outcome, steps = NULL",
    )
    .bind(id.as_str())
    .bind(status_word(status))
    .bind(signed(fence))
    .bind(serde_json::to_string(outcome).map_err(decode)?)
    .execute(&mut **tx)
    .await
    .map(drop)
}

pub(super) async fn set_revision(tx: &mut Tx, revision: &Revision) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE system SET revision = $1")
        .bind(revision.as_str())
        .execute(&mut **tx)
        .await
        .map(drop)
}

/// Writes changes and their audit events: three statements, however many changes there are.
pub(super) async fn write(
    tx: &mut Tx,
    changes: &[Happened],
    at: Timestamp,
    actor: &str,
    changeset: Option<&ChangesetId>,
) -> Result<(), sqlx::Error> {
    let rows: Vec<_> = changes
        .iter()
        .map(|c| {
            let text = |spec: &Option<Spec>| spec.as_ref().map(|s| s.as_str().to_owned());
            (
                op_word(c.op),
                c.id.as_str(),
                c.id.kind(),
                c.id.name(),
                text(&c.before),
                text(&c.after),
            )
        })
        .collect();
    let rows = serde_json::to_string(&rows).map_err(decode)?;
    sqlx::query(
        "INSERT OR REPLACE INTO resources (id, spec)
         SELECT value ->> 1, value ->> 5 FROM json_each($1) WHERE value ->> 5 IS NOT NULL",
    )
    .bind(&rows)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "DELETE FROM resources WHERE id IN (SELECT value ->> 1 FROM json_each($1) WHERE value ->> 5 IS NULL)",
    )
    .bind(&rows)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "INSERT INTO audit (at, actor, action, kind, name, before, after, changeset)
         SELECT $2, $3, value ->> 0, value ->> 2, value ->> 3, value ->> 4, value ->> 5, $4
         FROM json_each($1) ORDER BY key",
    )
    .bind(&rows)
    .bind(at.as_microsecond())
    .bind(actor)
    .bind(changeset.map(ChangesetId::as_str))
    .execute(&mut **tx)
    .await
    .map(drop)
}
