//! Who holds a changeset open: sessions, found by the lock that they have, and transactions prepared in the server, found by their name. A
//! process that lost its lease and stands still must not keep rows locked, nor commit what its successor has given up.

use sqlx::{AssertSqlSafe, PgConnection};

use super::hold::{Hold, gid, gids, lock_of};
use super::server::{Doing as _, sqlstate};
use crate::config::connectors::postgres::Ident;
use crate::connector::ConnectorError;
use crate::ids::ChangesetId;

/// Sessions of this database that have the lock of a schema, and of one changeset where one is given.
const END: &str = "SELECT count(pg_terminate_backend(l.pid)) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
     WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objsubid = 2 AND l.classid::int8 = $1 \
     AND ($2::int8 IS NULL OR l.objid::int8 = $2) AND l.pid <> pg_backend_pid() AND l.pid IS DISTINCT FROM $3";

/// The session that holds a changeset open in this process.
pub(super) async fn backend(hold: Option<&mut Hold>) -> Option<i32> {
    let tx = hold?.open.as_mut()?;
    let pid = sqlx::query_scalar("SELECT pg_backend_pid()");
    pid.fetch_one(&mut **tx).await.ok()
}

/// Ends the sessions that hold changesets open, but for one.
pub(super) async fn end_open(
    on: &mut PgConnection,
    schema: &Ident,
    but: Option<i32>,
) -> Result<(), ConnectorError> {
    // The schema's half of the lock is the same for every changeset.
    let schema = super::hold::number(schema.as_str());
    end(on, (schema, None), but).await
}

/// Ends a session that holds this changeset open.
pub(super) async fn end_open_of(
    on: &mut PgConnection,
    schema: &Ident,
    id: &ChangesetId,
) -> Result<(), ConnectorError> {
    let (schema, own) = lock_of(schema, id);
    end(on, (schema, Some(i64::from(own))), None).await
}

async fn end(
    on: &mut PgConnection,
    (schema, changeset): (i32, Option<i64>),
    but: Option<i32>,
) -> Result<(), ConnectorError> {
    sqlx::query(END)
        .bind(i64::from(schema))
        .bind(changeset)
        .bind(but)
        .execute(on)
        .await
        .doing("end the session that holds another changeset open")?;
    Ok(())
}

/// The changesets of a schema that are prepared in the server.
async fn all_prepared(
    on: &mut PgConnection,
    schema: &Ident,
) -> Result<Vec<ChangesetId>, ConnectorError> {
    let gids = gids(schema);
    let found: Vec<String> = sqlx::query_scalar(
        "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() AND starts_with(gid, $1)",
    )
    .bind(&gids)
    .fetch_all(on)
    .await
    .doing("look for prepared transactions")?;
    let ids = found.iter().filter_map(|gid| gid.strip_prefix(&gids));
    Ok(ids.filter_map(|id| id.parse().ok()).collect())
}

pub(super) async fn is_prepared(
    on: &mut PgConnection,
    schema: &Ident,
    id: &ChangesetId,
) -> Result<bool, ConnectorError> {
    Ok(all_prepared(on, schema).await?.contains(id))
}

/// Rolls back what is prepared in the server for some changesets.
pub(super) async fn end_prepared(
    on: &mut PgConnection,
    schema: &Ident,
    which: impl Fn(&str) -> bool,
) -> Result<(), ConnectorError> {
    for id in all_prepared(on, schema).await? {
        if which(id.as_str()) {
            finish(on, "ROLLBACK", schema, &id).await?;
        }
    }
    Ok(())
}

/// Whether there was a prepared transaction; it is committed then.
pub(super) async fn commit_prepared(
    on: &mut PgConnection,
    schema: &Ident,
    id: &ChangesetId,
) -> Result<bool, ConnectorError> {
    finish(on, "COMMIT", schema, id).await
}

async fn finish(
    on: &mut PgConnection,
    how: &str,
    schema: &Ident,
    id: &ChangesetId,
) -> Result<bool, ConnectorError> {
    let gid = gid(schema, id);
    // Not a statement that takes parameters; the name is of plain characters by its types.
    let done = sqlx::raw_sql(AssertSqlSafe(format!("{how} PREPARED '{gid}'")))
        .execute(on)
        .await;
    match done {
        Ok(_) => Ok(true),
        // There is none.
        Err(error) if sqlstate(&error).as_deref() == Some("42704") => Ok(false),
        Err(error) => Err(error).doing("end the prepared transaction"),
    }
}
