//! Statements that run on either engine: one text with `$1` places, values of five sorts, rows as tuples.

use std::fmt::Write as _;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, FromRow};

use super::{Pools, Tx};

/// How long one statement may take over a network that may have swallowed it. PostgreSQL is told to give up earlier.
const PATIENCE: Duration = Duration::from_secs(25);

/// A row that both engines can give.
pub(in crate::store) trait Row:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> Row for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{}

/// A value of a statement.
#[derive(Debug, Clone)]
pub(in crate::store) enum Value {
    Text(Option<String>),
    Int(Option<i64>),
    Float(f64),
    Bool(bool),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text))
    }
}
impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(Some(text.clone()))
    }
}
impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(str::to_owned))
    }
}
impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text)
    }
}
impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Self::Int(Some(n))
    }
}
impl From<Option<i64>> for Value {
    fn from(n: Option<i64>) -> Self {
        Self::Int(n)
    }
}
impl From<f64> for Value {
    fn from(n: f64) -> Self {
        Self::Float(n)
    }
}
impl From<bool> for Value {
    fn from(is: bool) -> Self {
        Self::Bool(is)
    }
}

/// What a statement runs on: a transaction, or whichever reading connection is free.
pub(in crate::store) enum On<'a> {
    Read(&'a Pools),
    Tx(&'a mut Tx),
}

impl<'a> From<&'a Pools> for On<'a> {
    fn from(pools: &'a Pools) -> Self {
        Self::Read(pools)
    }
}
impl<'a> From<&'a mut Tx> for On<'a> {
    fn from(tx: &'a mut Tx) -> Self {
        Self::Tx(tx)
    }
}

/// A statement with its values.
#[derive(Debug)]
pub(in crate::store) struct Query {
    sql: String,
    values: Vec<Value>,
}

/// A statement whose text is known when the program is built.
pub(in crate::store) fn query(sql: &'static str) -> Query {
    Query {
        sql: sql.to_owned(),
        values: Vec::new(),
    }
}

impl Query {
    /// Adds the value of the next place: `$1`, then `$2`, …
    pub(in crate::store) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Adds more of the statement's own text.
    pub(in crate::store) fn push(&mut self, sql: &'static str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }

    /// Adds a value and its place.
    pub(in crate::store) fn push_bind(&mut self, value: impl Into<Value>) -> &mut Self {
        self.values.push(value.into());
        // Writing to a string can't fail.
        let _ = write!(self.sql, "${}", self.values.len());
        self
    }

    /// Adds places for values in parentheses: `($4, $5, $6)`.
    pub(in crate::store) fn push_list<V: Into<Value>>(
        &mut self,
        values: impl IntoIterator<Item = V>,
    ) -> &mut Self {
        for (n, value) in values.into_iter().enumerate() {
            self.push(if n == 0 { "(" } else { ", " });
            self.push_bind(value);
        }
        self.push(")")
    }

    /// Adds `VALUES (…), (…)`, a list a row.
    pub(in crate::store) fn push_rows<V: Into<Value>, R: IntoIterator<Item = V>>(
        &mut self,
        rows: impl IntoIterator<Item = R>,
    ) -> &mut Self {
        for (n, row) in rows.into_iter().enumerate() {
            self.push(if n == 0 { "VALUES " } else { ", " });
            self.push_list(row);
        }
        self
    }

    /// Runs it. Gives back how many rows it touched.
    pub(in crate::store) async fn execute(self, on: impl Into<On<'_>>) -> sqlx::Result<u64> {
        let Self { sql, values } = self;
        let sql = AssertSqlSafe(sql);
        patiently(async {
            Ok(match on.into() {
                On::Read(Pools::Sqlite(pools)) => {
                    let query = sqlx::query_with(sql, sqlite(values)?);
                    query.execute(pools.reader()).await?.rows_affected()
                }
                On::Tx(Tx::Sqlite(tx)) => {
                    let query = sqlx::query_with(sql, sqlite(values)?);
                    query.execute(&mut **tx).await?.rows_affected()
                }
                On::Read(Pools::Postgres(pools)) => {
                    let query = sqlx::query_with(sql, postgres(values)?);
                    query.execute(pools.reader()).await?.rows_affected()
                }
                On::Tx(Tx::Postgres(tx)) => {
                    let query = sqlx::query_with(sql, postgres(values)?);
                    query.execute(&mut **tx).await?.rows_affected()
                }
            })
        })
        .await
    }

    pub(in crate::store) async fn fetch_all<T: Row>(
        self,
        on: impl Into<On<'_>>,
    ) -> sqlx::Result<Vec<T>> {
        let Self { sql, values } = self;
        let sql = AssertSqlSafe(sql);
        patiently(async {
            match on.into() {
                On::Read(Pools::Sqlite(pools)) => {
                    let query = sqlx::query_as_with(sql, sqlite(values)?);
                    query.fetch_all(pools.reader()).await
                }
                On::Tx(Tx::Sqlite(tx)) => {
                    let query = sqlx::query_as_with(sql, sqlite(values)?);
                    query.fetch_all(&mut **tx).await
                }
                On::Read(Pools::Postgres(pools)) => {
                    let query = sqlx::query_as_with(sql, postgres(values)?);
                    query.fetch_all(pools.reader()).await
                }
                On::Tx(Tx::Postgres(tx)) => {
                    let query = sqlx::query_as_with(sql, postgres(values)?);
                    query.fetch_all(&mut **tx).await
                }
            }
        })
        .await
    }

    pub(in crate::store) async fn fetch_optional<T: Row>(
        self,
        on: impl Into<On<'_>>,
    ) -> sqlx::Result<Option<T>> {
        Ok(self.fetch_all(on).await?.into_iter().next())
    }

    /// The first row's only column, where there is a row.
    pub(in crate::store) async fn find<T>(self, on: impl Into<On<'_>>) -> sqlx::Result<Option<T>>
    where
        (T,): Row,
    {
        let row: Option<(T,)> = self.fetch_optional(on).await?;
        Ok(row.map(|(value,)| value))
    }

    /// The only column of every row.
    pub(in crate::store) async fn list<T>(self, on: impl Into<On<'_>>) -> sqlx::Result<Vec<T>>
    where
        (T,): Row,
    {
        let rows: Vec<(T,)> = self.fetch_all(on).await?;
        Ok(rows.into_iter().map(|(value,)| value).collect())
    }

    /// The only column of the only row.
    pub(in crate::store) async fn value<T>(self, on: impl Into<On<'_>>) -> sqlx::Result<T>
    where
        (T,): Row,
    {
        self.find(on).await?.ok_or(sqlx::Error::RowNotFound)
    }
}

/// Gives up where nobody answers any more: whoever waits holds a group, and must be able to let go of it.
pub(super) async fn patiently<T>(work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => Err(sqlx::Error::Io(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            "no answer from the database",
        ))),
    }
}

fn sqlite(values: Vec<Value>) -> sqlx::Result<SqliteArguments> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        match value {
            Value::Text(text) => arguments.add(text),
            Value::Int(n) => arguments.add(n),
            Value::Float(n) => arguments.add(n),
            Value::Bool(is) => arguments.add(is),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

fn postgres(values: Vec<Value>) -> sqlx::Result<PgArguments> {
    let mut arguments = PgArguments::default();
    for value in values {
        match value {
            // Its text can't hold a zero; what is hashed has none, what people and systems say may.
            Value::Text(Some(text)) if text.contains('\0') => {
                arguments.add(text.replace('\0', "\u{fffd}"))
            }
            Value::Text(text) => arguments.add(text),
            Value::Int(n) => arguments.add(n),
            Value::Float(n) => arguments.add(n),
            Value::Bool(is) => arguments.add(is),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}
