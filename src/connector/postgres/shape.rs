//! What is there: the tables that kinds are mapped to, checked against the database's own catalogue, and the schema of Lockstep's own.

use sqlx::PgConnection;

use super::PostgresSettings;
use super::server::{Doing as _, sqlstate};
use super::sql::{self, Column, Sort, Table};
use crate::config::connectors::postgres::{Ident, Mapping, TableName};
use crate::connector::ConnectorError;
use crate::ids::KindName;

/// The oldest server that has the hash functions.
const OLDEST: i32 = 110_000;

/// The database as it was found.
#[derive(Debug)]
pub(super) struct Shape {
    /// Tables that others may refer to come before those that do; Lockstep's own is the last.
    pub(super) tables: Vec<Table>,
    /// Whether the schema of Lockstep's own is there, and its table for kinds without one.
    pub(super) has_books: bool,
    /// Whether the server keeps transactions that are prepared.
    pub(super) keeps_prepared: bool,
    /// The statement that says what the tables hold, in short.
    pub(super) prints: String,
}

fn terminal(message: String) -> ConnectorError {
    ConnectorError::Terminal { message }
}

impl Shape {
    pub(super) async fn find(
        on: &mut PgConnection,
        settings: &PostgresSettings,
    ) -> Result<Self, ConnectorError> {
        let doing = "read the database's catalogue";
        let (version, encoding, prepared): (i32, String, i32) = sqlx::query_as(
            "SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), \
             current_setting('max_prepared_transactions')::int",
        )
        .fetch_one(&mut *on)
        .await
        .doing(doing)?;
        if version < OLDEST {
            return Err(terminal(
                "the server is older than PostgreSQL 11".to_owned(),
            ));
        }
        if encoding != "UTF8" {
            return Err(terminal(format!(
                "the database's encoding is {encoding}, not UTF8: it can't hold every name"
            )));
        }
        let mut found: Vec<(i64, Table)> = Vec::new();
        for (kind, mapping) in &settings.tables {
            found.push(mapped(on, kind, mapping).await?);
        }
        parents_first(on, &mut found).await?;
        let mut tables: Vec<Table> = found.into_iter().map(|(_, table)| table).collect();
        let own_kinds: Vec<String> = settings
            .kinds
            .iter()
            .filter(|kind| !settings.tables.contains_key(*kind))
            .map(|kind| kind.as_str().to_owned())
            .collect();
        let has_books = has_books(on, &settings.schema).await?;
        if has_books {
            tables.push(Table::own(&settings.schema, own_kinds));
        }
        let prints = sql::prints(&tables);
        Ok(Self {
            tables,
            has_books,
            keeps_prepared: prepared > 0,
            prints,
        })
    }
}

/// The table's number in the catalogue.
async fn number_of(on: &mut PgConnection, name: &TableName) -> Result<Option<i64>, ConnectorError> {
    let number = sqlx::query_scalar(
        "SELECT c.oid::int8 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')",
    )
    .bind(name.schema.as_str())
    .bind(name.table.as_str())
    .fetch_optional(on)
    .await;
    number.doing("look for a table")
}

/// A column as the catalogue has it: name, type, the type's short name, its sort, whether it may be null, whether it is computed.
type Found = (String, String, String, String, bool, bool);

async fn columns_of(on: &mut PgConnection, number: i64) -> Result<Vec<Found>, ConnectorError> {
    let columns = sqlx::query_as(
        "SELECT a.attname::text, format_type(a.atttypid, NULL), t.typname::text, t.typtype::text, NOT a.attnotnull, \
         a.attgenerated <> '' OR a.attidentity = 'a' \
         FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
         WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
    )
    .bind(number)
    .fetch_all(on)
    .await;
    columns.doing("read a table's columns")
}

async fn mapped(
    on: &mut PgConnection,
    kind: &KindName,
    mapping: &Mapping,
) -> Result<(i64, Table), ConnectorError> {
    let shown = mapping.table.shown();
    let number = number_of(on, &mapping.table).await?.ok_or_else(|| {
        terminal(format!(
            "there is no table {shown}, which tables: names for {kind}; a view is none"
        ))
    })?;
    let there = columns_of(on, number).await?;
    let find = |column: &Ident| {
        let found = there.iter().find(|(name, ..)| name == column.as_str());
        found.ok_or_else(|| {
            let names: Vec<&str> = there.iter().map(|(name, ..)| name.as_str()).collect();
            terminal(format!(
                "the table {shown} has no column {}; it has {}",
                column.as_str(),
                names.join(", ")
            ))
        })
    };
    let (_, key_type, short, sort, may_be_null, _) = find(&mapping.key)?;
    let key = mapping.key.as_str();
    if !Sort::of(short, sort).is_some_and(Sort::can_be_key) {
        return Err(terminal(format!(
            "the key {key} of {shown} is {key_type}; a resource's name is text, an integer or a uuid"
        )));
    }
    if *may_be_null {
        return Err(terminal(format!(
            "the key {key} of {shown} may be null, and a resource has a name; make it NOT NULL"
        )));
    }
    if !is_unique(on, number, key).await? {
        return Err(terminal(format!(
            "the key {key} of {shown} has no unique index of its own, so two rows could be one resource"
        )));
    }
    let mut columns = Vec::new();
    for (field, column) in &mapping.columns {
        let (name, type_name, short, sort, _, is_computed) = find(column)?;
        if *is_computed {
            return Err(terminal(format!(
                "the column {name} of {shown} is computed by the database and can't be set"
            )));
        }
        let sort = Sort::of(short, sort).ok_or_else(|| {
            terminal(format!(
                "the column {name} of {shown} is {type_name}, which the field {field} can't be kept in; there is text, \
                 integer, numeric, double precision, boolean, timestamptz, date, jsonb, uuid, an enum and text[]"
            ))
        })?;
        columns.push(Column {
            field: field.clone(),
            name: column.clone(),
            sort,
            type_name: type_name.clone(),
        });
    }
    let table = Table::mapped(
        kind,
        mapping.table.clone(),
        (mapping.key.clone(), key_type.clone()),
        columns,
    );
    Ok((number, table))
}

async fn is_unique(on: &mut PgConnection, number: i64, key: &str) -> Result<bool, ConnectorError> {
    let is_unique = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
         WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1 AND i.indpred IS NULL \
         AND i.indexprs IS NULL AND a.attname = $2)",
    )
    .bind(number)
    .bind(key)
    .fetch_one(on)
    .await;
    is_unique.doing("read a table's indexes")
}

/// Sorts tables so that one is behind those that it refers to. Where they refer to each other in a ring, the order is as it was.
async fn parents_first(
    on: &mut PgConnection,
    tables: &mut Vec<(i64, Table)>,
) -> Result<(), ConnectorError> {
    if tables.len() < 2 {
        return Ok(());
    }
    let numbers: Vec<i64> = tables.iter().map(|(number, _)| *number).collect();
    let references: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT DISTINCT conrelid::int8, confrelid::int8 FROM pg_constraint \
         WHERE contype = 'f' AND conrelid <> confrelid AND conrelid::int8 = ANY($1) AND confrelid::int8 = ANY($1)",
    )
    .bind(&numbers)
    .fetch_all(on)
    .await
    .doing("read the tables' references")?;
    *tables = sorted_by_reference(std::mem::take(tables), &references);
    Ok(())
}

fn sorted_by_reference<T>(mut left: Vec<(i64, T)>, references: &[(i64, i64)]) -> Vec<(i64, T)> {
    let mut sorted = Vec::new();
    while !left.is_empty() {
        let is_free = |number: i64, left: &[(i64, T)]| {
            let mut waits_for = references.iter().filter(|(from, _)| *from == number);
            !waits_for.any(|(_, to)| left.iter().any(|(other, _)| other == to))
        };
        let next = left.iter().position(|(n, _)| is_free(*n, &left));
        sorted.push(left.remove(next.unwrap_or(0)));
    }
    sorted
}

/// The columns of Lockstep's own table: what else has its name in that schema is not taken for it.
const OWN: [(&str, &str); 3] = [("kind", "text"), ("name", "text"), ("spec", "text")];

async fn has_books(on: &mut PgConnection, schema: &Ident) -> Result<bool, ConnectorError> {
    let at = |table: &str| {
        let table = Ident::parse(table).map_err(terminal)?;
        let schema = schema.clone();
        Ok::<_, ConnectorError>(TableName { schema, table })
    };
    let (resources, journal) = (at(sql::RESOURCES)?, at(sql::JOURNAL)?);
    let has_journal = number_of(on, &journal).await?.is_some();
    let Some(number) = number_of(on, &resources).await? else {
        if has_journal {
            return Err(terminal(format!(
                "the table {} is gone, which is not the same as an empty one: restore it, or, if it is meant to begin anew, \
                 drop the schema {} too",
                resources.shown(),
                schema.as_str()
            )));
        }
        return Ok(false);
    };
    let there = columns_of(on, number).await?;
    let is_own = there.len() == OWN.len()
        && (there.iter().zip(OWN)).all(|((name, typed, ..), own)| (&**name, &**typed) == own);
    if !is_own || !has_journal {
        return Err(terminal(format!(
            "there is a table {} that is not Lockstep's; give the system another schema: schema: NAME",
            resources.shown()
        )));
    }
    Ok(true)
}

/// Makes the schema of Lockstep's own, once for all who come at the same time.
pub(super) async fn make_books(
    on: &mut PgConnection,
    schema: &Ident,
) -> Result<(), ConnectorError> {
    for statement in sql::books(schema) {
        let made = sqlx::query(sqlx::AssertSqlSafe(statement))
            .execute(&mut *on)
            .await;
        if let Err(error) = &made
            && sqlstate(error).as_deref() == Some("42501")
        {
            return Err(terminal(format!(
                "the schema {0} can't be made: {1}; make it for this user: CREATE SCHEMA {0} AUTHORIZATION …",
                schema.as_str(),
                super::server::said(error)
            )));
        }
        made.doing("make the schema")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_referred_to_comes_first() {
        let tables = || vec![(1, "staff"), (2, "ward"), (3, "house"), (4, "flag")];
        let names = |references: &[(i64, i64)]| -> Vec<&str> {
            let sorted = sorted_by_reference(tables(), references);
            sorted.into_iter().map(|(_, name)| name).collect()
        };
        assert_eq!(names(&[]), ["staff", "ward", "house", "flag"]);
        assert_eq!(names(&[(1, 2), (2, 3)]), ["house", "ward", "staff", "flag"]);
        // A ring is ended somewhere.
        assert_eq!(names(&[(1, 2), (2, 1)]), ["house", "flag", "staff", "ward"]);
    }
}
