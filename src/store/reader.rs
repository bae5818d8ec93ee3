//! Reading much: the ledger row by row, as of one moment, from a thread that may block. Memory does not grow with rows.
//!
//! SQLite is read through a connection of its own that can only read, each row where it lies in the page; PostgreSQL a page at a time.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, params};
use serde_json::Value;

use super::engine::{Doing as _, Tx, query};
use super::values::{ms, number, signed};
use super::{Store, StoreError};

/// How many rows are held at a time where they are not read in place.
const PAGE: u32 = 500;
/// The most memory that SQLite's cache may take, in KiB, as a negative number says it: what is read once is not worth keeping.
const CACHE: i64 = -4_096;

/// The store as of one moment. Its calls block.
pub struct Reader {
    from: From,
}

enum From {
    File(Connection),
    Server {
        tx: Tx,
        runtime: tokio::runtime::Handle,
    },
}

/// A row of the ledger as it lies there; nothing is checked.
#[derive(Debug, Clone, Copy)]
pub struct LedgerRow<'a> {
    pub seq: i64,
    pub id: &'a str,
    pub at_ms: i64,
    pub actor: &'a str,
    pub action: &'a str,
    pub group: Option<&'a str>,
    pub system: Option<&'a str>,
    pub run: Option<&'a str>,
    pub revision: Option<&'a str>,
    pub leaf: &'a str,
    pub body: Option<&'a str>,
    pub hash: &'a str,
    /// A column that holds another sort of value than it has: nothing that Lockstep wrote. It reads as empty.
    pub odd: Option<&'static str>,
}

impl LedgerRow<'_> {
    /// For whoever goes by the columns without checking the entry.
    pub fn readable(&self) -> Result<(), StoreError> {
        match self.odd {
            None => Ok(()),
            Some(column) => Err(StoreError::Damaged {
                what: format!("entry {} has another sort of value as {column}", self.seq),
            }),
        }
    }
}

/// A stretch of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first and the last entry. From 0 on takes in what has no right to be there: rows that are numbered 0 or less.
    pub first: u64,
    pub last: u64,
}

impl Window {
    pub const ALL: Self = Self {
        first: 0,
        last: u64::MAX,
    };
}

/// Whether there is more to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Go {
    On,
    Stop,
}

/// One row of a question about tables beside the ledger: text, or nothing.
pub type Columns = Vec<Option<String>>;

const LEDGER: &str = "SELECT seq, id, at_ms, actor, action, group_name, system, run, revision, leaf, body, hash FROM ledger \
     WHERE seq >= $1 AND seq <= $2 ORDER BY seq";

impl Store {
    /// How many entries the ledger has.
    pub async fn ledger_len(&self) -> Result<u64, StoreError> {
        let last: Option<i64> = query("SELECT seq FROM ledger ORDER BY seq DESC LIMIT 1")
            .find(self.read())
            .await
            .doing("read the ledger")?;
        last.map_or(Ok(0), number)
    }

    /// The store as of this moment, for a thread that may block.
    pub async fn reader(&self) -> Result<Reader, StoreError> {
        let doing = "read the ledger";
        let from = match self.file() {
            Some(path) => {
                let path = path.to_owned();
                let opened = tokio::task::spawn_blocking(move || open(&path)).await;
                From::File(opened.map_err(|e| unread(&e))?.map_err(|e| unread(&e))?)
            }
            None => {
                let mut tx = self.read().snapshot(doing).await?;
                // Whoever reads waits for other systems in between, and reads for as long as it takes.
                for setting in [
                    "SET LOCAL statement_timeout = 0",
                    "SET LOCAL idle_in_transaction_session_timeout = 0",
                ] {
                    query(setting).execute(&mut tx).await.doing(doing)?;
                }
                From::Server {
                    tx,
                    runtime: tokio::runtime::Handle::current(),
                }
            }
        };
        Ok(Reader { from })
    }
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.pragma_update(None, "cache_size", CACHE)?;
    // The moment is that of the first reading in it.
    connection.execute_batch("BEGIN; SELECT COUNT(*) FROM sqlite_master;")?;
    Ok(connection)
}

fn unread(error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Damaged {
        what: format!("could not read the ledger: {error}"),
    }
}

impl Reader {
    /// The entries of a window, in their order, for as long as `visit` goes on.
    pub fn ledger<E>(
        &mut self,
        window: Window,
        visit: &mut dyn FnMut(&LedgerRow<'_>) -> Result<Go, E>,
    ) -> Result<(), E>
    where
        E: std::convert::From<StoreError>,
    {
        let Window { first, last } = window;
        let mut from = match first {
            0 => i64::MIN,
            first => signed(first),
        };
        let last = signed(last);
        match &mut self.from {
            From::File(connection) => in_place(connection, (from, last), visit),
            From::Server { tx, runtime } => loop {
                let page = runtime.block_on(page(tx, from, last))?;
                for row in &page {
                    if visit(&row.view())? == Go::Stop {
                        return Ok(());
                    }
                }
                let Some(next) = page.last().and_then(|end| end.seq.checked_add(1)) else {
                    return Ok(());
                };
                from = next;
            },
        }
    }

    /// The entries from a time until before another; `None` where there is none.
    pub fn window(
        &mut self,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Window>, StoreError> {
        let sql = "SELECT CAST(MIN(seq) AS TEXT), CAST(MAX(seq) AS TEXT) FROM ledger WHERE at_ms >= $1 AND at_ms < $2";
        let rows = self.ask(sql, &[ms(from), ms(until)], &[])?;
        let Some([Some(first), Some(last)]) = rows.first().map(Vec::as_slice) else {
            return Ok(None);
        };
        let bound = |text: &str| match text.parse() {
            Ok(0) | Err(_) => Err(StoreError::Damaged {
                what: format!("an entry of the ledger is numbered {text}; they begin with 1"),
            }),
            Ok(bound) => Ok(bound),
        };
        Ok(Some(Window {
            first: bound(first)?,
            last: bound(last)?,
        }))
    }

    /// How many entries there are and the last one's hash.
    pub fn head(&mut self) -> Result<Option<(u64, String)>, StoreError> {
        let sql = "SELECT CAST(seq AS TEXT), hash FROM ledger ORDER BY seq DESC LIMIT 1";
        let rows = self.ask(sql, &[], &[])?;
        let Some([Some(seq), Some(hash)]) = rows.first().map(Vec::as_slice) else {
            return Ok(None);
        };
        let seq = seq.parse().map_err(|e| unread(&e))?;
        Ok(Some((number(seq)?, hash.clone())))
    }

    /// The bodies of entries of one action about one revision, oldest first.
    pub fn bodies_of(&mut self, revision: &str, action: &str) -> Result<Vec<Value>, StoreError> {
        let sql = "SELECT leaf, body FROM ledger WHERE revision = $1 AND action = $2 ORDER BY seq LIMIT 100";
        let rows = self.ask(sql, &[], &[revision, action])?;
        Ok(rows.iter().map(|row| body_of(row)).collect())
    }

    /// The rows of a question, which are few, or a page of them. Its numbers come first, then its texts; it answers in text.
    pub fn ask(
        &mut self,
        sql: &'static str,
        numbers: &[i64],
        texts: &[&str],
    ) -> Result<Vec<Columns>, StoreError> {
        match &mut self.from {
            From::File(connection) => {
                ask_file(connection, sql, numbers, texts).map_err(|e| unread(&e))
            }
            From::Server { tx, runtime } => {
                let mut asked = query(sql);
                for number in numbers {
                    asked = asked.bind(*number);
                }
                for text in texts {
                    asked = asked.bind(*text);
                }
                let rows: Vec<Texts> = runtime
                    .block_on(asked.fetch_all(tx))
                    .doing("read the store")?;
                Ok(rows.into_iter().map(|row| row.0).collect())
            }
        }
    }
}

/// The body of an entry whose leaf and body were asked for, wherever it lies; nothing where it can't be read.
pub fn body_of(row: &[Option<String>]) -> Value {
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    match row {
        [_, Some(outside), ..] => read(outside),
        [Some(leaf), ..] => read(leaf)
            .get_mut("body")
            .map(Value::take)
            .unwrap_or_default(),
        _ => Value::Null,
    }
}

/// A value as text. What no column of a table here holds is told apart from every text that one could.
fn as_text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Text(bytes) => Some(match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => format!("\0text {}", hex::encode(bytes)),
        }),
        ValueRef::Integer(n) => Some(n.to_string()),
        ValueRef::Real(n) => Some(n.to_string()),
        ValueRef::Blob(bytes) => Some(format!("\0blob {}", hex::encode(bytes))),
    }
}

fn ask_file(
    connection: &Connection,
    sql: &str,
    numbers: &[i64],
    texts: &[&str],
) -> rusqlite::Result<Vec<Columns>> {
    let mut statement = connection.prepare(sql)?;
    let width = statement.column_count();
    let numbers = numbers.iter().map(|n| n as &dyn rusqlite::ToSql);
    let texts = texts.iter().map(|t| t as &dyn rusqlite::ToSql);
    let values: Vec<&dyn rusqlite::ToSql> = numbers.chain(texts).collect();
    let mut rows = statement.query(values.as_slice())?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let texts = (0..width).map(|n| row.get_ref(n).map(as_text));
        all.push(texts.collect::<Result<_, _>>()?);
    }
    Ok(all)
}

fn in_place<E: std::convert::From<StoreError>>(
    connection: &Connection,
    (from, last): (i64, i64),
    visit: &mut dyn FnMut(&LedgerRow<'_>) -> Result<Go, E>,
) -> Result<(), E> {
    let sqlite = |error: rusqlite::Error| E::from(unread(&error));
    let mut statement = connection.prepare(LEDGER).map_err(sqlite)?;
    let mut rows = statement.query(params![from, last]).map_err(sqlite)?;
    while let Some(row) = rows.next().map_err(sqlite)? {
        if visit(&view(row).map_err(sqlite)?)? == Go::Stop {
            break;
        }
    }
    Ok(())
}

/// A row where it lies.
fn view<'a>(row: &'a rusqlite::Row<'_>) -> rusqlite::Result<LedgerRow<'a>> {
    let mut odd = None;
    let mut at_ms = 0;
    match row.get_ref(2)? {
        ValueRef::Integer(n) => at_ms = n,
        ValueRef::Null | ValueRef::Real(_) | ValueRef::Text(_) | ValueRef::Blob(_) => {
            odd = Some("at_ms");
        }
    }
    let mut text = |n: usize, column: &'static str| -> rusqlite::Result<Option<&'a str>> {
        let value = row.get_ref(n)?;
        let read = match value {
            ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok(),
            ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) | ValueRef::Blob(_) => None,
        };
        if read.is_none() && value != ValueRef::Null {
            odd = Some(column);
        }
        Ok(read)
    };
    let mut entry = LedgerRow {
        seq: row.get(0)?,
        id: text(1, "id")?.unwrap_or_default(),
        at_ms,
        actor: text(3, "actor")?.unwrap_or_default(),
        action: text(4, "action")?.unwrap_or_default(),
        group: text(5, "group_name")?,
        system: text(6, "system")?,
        run: text(7, "run")?,
        revision: text(8, "revision")?,
        leaf: text(9, "leaf")?.unwrap_or_default(),
        body: text(10, "body")?,
        hash: text(11, "hash")?.unwrap_or_default(),
        odd: None,
    };
    entry.odd = odd;
    Ok(entry)
}

/// A row of texts, however many.
pub(super) struct Texts(pub(super) Columns);

impl<'r, R: sqlx::Row> sqlx::FromRow<'r, R> for Texts
where
    usize: sqlx::ColumnIndex<R>,
    Option<String>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        (0..row.len())
            .map(|n| row.try_get(n))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// A row that was read into memory.
#[derive(sqlx::FromRow)]
struct Held {
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

impl Held {
    fn view(&self) -> LedgerRow<'_> {
        LedgerRow {
            seq: self.seq,
            id: &self.id,
            at_ms: self.at_ms,
            actor: &self.actor,
            action: &self.action,
            group: self.group_name.as_deref(),
            system: self.system.as_deref(),
            run: self.run.as_deref(),
            revision: self.revision.as_deref(),
            leaf: &self.leaf,
            body: self.body.as_deref(),
            hash: &self.hash,
            // The server holds its columns to their sorts.
            odd: None,
        }
    }
}

async fn page(tx: &mut Tx, from: i64, last: i64) -> Result<Vec<Held>, StoreError> {
    let mut asked = query(LEDGER).bind(from).bind(last);
    asked.push(" LIMIT ").push_bind(i64::from(PAGE));
    asked.fetch_all(tx).await.doing("read the ledger")
}
