//! PostgreSQL: how it is reached, what it is told about locks and time limits.
//!
//! Every write holds one lock of the database for its transaction, as SQLite's writers do: what is read before it is written can't
//! change in between, and the ledger's chain has one end. A process that stands still in the middle of a write would keep all
//! others waiting, so the server ends a transaction that nothing comes from.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener};
use sqlx::{Connection as _, Postgres};

use super::{Doing as _, is_current, patiently, run_migrations};
use crate::store::{Durability, StoreError};

pub(super) type Transaction = sqlx::Transaction<'static, Postgres>;

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations/postgres");

/// What tells a store's schema from any other: the comment on the table of its migrations.
const MARK: &str = "Lockstep store";

/// How long a call waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(10);
const WRITERS: u32 = 2;
const READERS: u32 = 4;
/// A connection that lay idle for so long is asked whether it lives before it is used.
const STALE: Duration = Duration::from_secs(5);

/// How long a statement may run and wait for a lock, and how long a transaction may stand still.
const LIMITS: [(&str, &str); 3] = [
    ("statement_timeout", "20s"),
    ("lock_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "5s"),
];

#[derive(Clone)]
pub(in crate::store) struct Pools {
    writer: sqlx::Pool<Postgres>,
    reader: sqlx::Pool<Postgres>,
    options: Arc<PgConnectOptions>,
}

/// Without the options, which would print the password.
impl std::fmt::Debug for Pools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pools({})", shown(&self.options))
    }
}

impl Pools {
    pub(super) fn reader(&self) -> &sqlx::Pool<Postgres> {
        &self.reader
    }

    /// Begins with the write lock, in one round trip. Its number is "LKST" and stands for the database's whole store.
    pub(super) async fn begin(&self, durability: Durability) -> sqlx::Result<Transaction> {
        let statement = match durability {
            Durability::Full => {
                "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock(1280005972)"
            }
            Durability::Relaxed => {
                "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = off; \
                 SELECT pg_advisory_xact_lock(1280005972)"
            }
        };
        patiently(self.writer.begin_with(statement)).await
    }

    pub(super) async fn snapshot(&self) -> sqlx::Result<Transaction> {
        let statement = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        patiently(self.reader.begin_with(statement)).await
    }

    /// A connection of its own that hears what is said on a channel.
    pub(in crate::store) async fn listener(&self, channel: &str) -> sqlx::Result<PgListener> {
        let own = pool(1).connect_lazy_with((*self.options).clone());
        let mut listener = patiently(PgListener::connect_with(&own)).await?;
        patiently(listener.listen(channel)).await?;
        Ok(listener)
    }

    pub(super) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// The server and database as people know them, without a password.
pub(super) fn shown(options: &PgConnectOptions) -> String {
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => options.get_host().to_owned(),
    };
    let database = options.get_database().unwrap_or(options.get_username());
    format!("postgres {database} at {host}:{}", options.get_port())
}

/// Where a URL points. What it does not say is taken from PGPASSWORD and the like, and from the password file.
pub(super) fn options(url: &str) -> Result<PgConnectOptions, StoreError> {
    // The error would repeat the URL, password and all.
    let options = PgConnectOptions::from_str(url).map_err(|_| StoreError::Address)?;
    Ok(options.application_name("lockstep"))
}

pub(super) async fn open(options: PgConnectOptions) -> Result<Pools, StoreError> {
    let options = options.options(LIMITS);
    let writer = pool(WRITERS).connect_lazy_with(options.clone());
    let reading = options
        .clone()
        .options([("default_transaction_read_only", "on")]);
    let reader = pool(READERS).connect_lazy_with(reading);
    let pools = Pools {
        writer,
        reader,
        options: Arc::new(options),
    };
    migrate(&pools).await?;
    Ok(pools)
}

fn pool(size: u32) -> PoolOptions<Postgres> {
    PoolOptions::new()
        .max_connections(size)
        .acquire_timeout(ACQUIRE)
        .test_before_acquire(false)
        .before_acquire(|connection: &mut PgConnection, about| {
            Box::pin(async move {
                if about.idle_for > STALE {
                    patiently(connection.ping()).await?;
                }
                Ok(true)
            })
        })
}

/// All missing migrations in one transaction under the write lock: of programs that start together one does it.
async fn migrate(pools: &Pools) -> Result<(), StoreError> {
    let doing = "bring the store's tables up to date";
    // Refused before it is waited for: a pool repeats a refusal until its time is up.
    let mut first = patiently(PgConnection::connect_with(&pools.options))
        .await
        .doing("reach the store")?;
    let is_current = look(pools, &mut first).await?;
    // What is there already is only looked at.
    let _ = first.close().await;
    if is_current {
        return Ok(());
    }
    let mut tx = pools.begin(Durability::Full).await.doing(doing)?;
    sqlx::query("SET LOCAL statement_timeout = 0")
        .execute(&mut *tx)
        .await
        .doing(doing)?;
    if look(pools, &mut tx).await? {
        return Ok(());
    }
    run_migrations(&MIGRATIONS, &mut *tx)
        .await
        .map_err(sqlx::Error::from)
        .doing(doing)?;
    let mark = sqlx::AssertSqlSafe(format!("COMMENT ON TABLE _sqlx_migrations IS '{MARK}'"));
    sqlx::query(mark).execute(&mut *tx).await.doing(doing)?;
    patiently(tx.commit()).await.doing(doing)
}

/// Looks at what is in the schema before anything is written to it. `true`: a store of this version.
async fn look(pools: &Pools, connection: &mut PgConnection) -> Result<bool, StoreError> {
    let doing = "look into the store";
    let (tables, mark): (i64, Option<String>) = sqlx::query_as(
        "SELECT (SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = current_schema()), \
         obj_description(to_regclass('_sqlx_migrations'))",
    )
    .fetch_one(&mut *connection)
    .await
    .doing(doing)?;
    if tables == 0 {
        return Ok(false);
    }
    let store = shown(&pools.options);
    if mark.as_deref() != Some(MARK) {
        return Err(StoreError::Foreign { store });
    }
    let found: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
        .fetch_one(&mut *connection)
        .await
        .doing("read the store's version")?;
    let known = MIGRATIONS.iter().map(|m| m.version).max();
    if found > known {
        return Err(StoreError::Newer {
            store,
            found: found.unwrap_or_default(),
            known: known.unwrap_or_default(),
        });
    }
    is_current(&MIGRATIONS, connection)
        .await
        .map_err(sqlx::Error::from)
        .doing(doing)
}
