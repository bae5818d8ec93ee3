//! SQLite: how it is opened, locked and made durable.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _, Sqlite};

use super::fault::{NOT_A_DATABASE, code};
use super::{Doing as _, HOLDERS, beside, is_current, run_migrations};
use crate::store::{Durability, StoreError};

pub(super) type Transaction = sqlx::Transaction<'static, Sqlite>;

pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations/sqlite");

/// "LKST" in the file's header: tells a store from any other SQLite file.
const APPLICATION_ID: i64 = 0x4c4b_5354;

/// How long a write waits for another process's.
const BUSY: Duration = Duration::from_secs(10);
/// How long a call waits for a connection: longer than one writer may be kept waiting.
const ACQUIRE: Duration = Duration::from_secs(30);
const READERS: u32 = 4;

/// One connection that writes, some that can only read. SQLite has one writer at a time anyway; queueing for it here is fair and
/// wakes at once, where its own busy handler sleeps and polls.
#[derive(Debug, Clone)]
pub(in crate::store) struct Pools {
    writer: sqlx::Pool<Sqlite>,
    reader: sqlx::Pool<Sqlite>,
}

impl Pools {
    pub(super) fn reader(&self) -> &sqlx::Pool<Sqlite> {
        &self.reader
    }

    /// Begins with the write lock: a plain BEGIN that reads and then writes fails as busy without waiting. `synchronous` is set every
    /// time, so that a relaxed write can't leave the connection relaxed for the next.
    pub(super) async fn begin(&self, durability: Durability) -> sqlx::Result<Transaction> {
        let statement = match durability {
            Durability::Full => "PRAGMA synchronous = FULL; BEGIN IMMEDIATE",
            Durability::Relaxed => "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE",
        };
        self.writer.begin_with(statement).await
    }

    pub(super) async fn snapshot(&self) -> sqlx::Result<Transaction> {
        self.reader.begin().await
    }

    pub(super) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

pub(super) async fn open(path: &Path) -> Result<Pools, StoreError> {
    if was_emptied(path) {
        return Err(StoreError::Emptied {
            store: path.display().to_string(),
        });
    }
    open_lost(path).await
}

/// The same, also where a store was lost.
pub(super) async fn open_lost(path: &Path) -> Result<Pools, StoreError> {
    make_file(path).map_err(|source| StoreError::Folder {
        path: path.to_owned(),
        source,
    })?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY)
        .foreign_keys(true);
    let is_current = look(path, &options).await?;

    let writer = pool(1)
        .connect_with(
            options
                .clone()
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full),
        )
        .await
        .doing("open the store")?;
    let reader = pool(READERS).connect_lazy_with(options.pragma("query_only", "ON"));
    let pools = Pools { writer, reader };
    // On a disk that is full or read-only what is there can still be read.
    if !is_current {
        migrate(path, &pools).await?;
    }
    Ok(pools)
}

/// Brings everything from the log into the file.
pub(super) async fn fold_log(path: &Path) -> Result<(), StoreError> {
    let doing = "bring the copy's log into its file";
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY);
    let mut connection = options.connect().await.doing(doing)?;
    let (busy, log, done): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)")
        .fetch_one(&mut connection)
        .await
        .doing(doing)?;
    connection.close().await.doing(doing)?;
    if busy == 0 && log == done {
        return Ok(());
    }
    Err(StoreError::Damaged {
        what: format!("could not {doing}"),
    })
}

/// Whether there was a store once: work was done on it, and now the file is gone or has nothing in it.
fn was_emptied(path: &Path) -> bool {
    let is_empty = |path: &Path| std::fs::metadata(path).map_or(true, |m| m.len() == 0);
    // What a crash in the first moment leaves is a file without content, and tables that are still in the log.
    is_empty(path) && is_empty(&beside(path, "-wal")) && beside(path, HOLDERS).is_dir()
}

/// Makes way for a new store where there was one; what is there in full is left alone.
pub(super) fn forget_emptied(path: &Path) -> Result<(), StoreError> {
    if !was_emptied(path) {
        return Ok(());
    }
    std::fs::remove_dir_all(beside(path, HOLDERS)).map_err(|source| StoreError::Folder {
        path: path.to_owned(),
        source,
    })
}

fn pool(size: u32) -> PoolOptions<Sqlite> {
    // A local file's connection does not go stale, and closing the last one would checkpoint the log each time.
    PoolOptions::new()
        .max_connections(size)
        .acquire_timeout(ACQUIRE)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Makes folders and an empty file that only this user may read: the ledger names people. SQLite's side files take the mode over.
fn make_file(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "an empty path"));
    }
    let mut folders = DirBuilder::new();
    folders.recursive(true);
    let mut file = OpenOptions::new();
    file.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        folders.mode(0o700);
        file.mode(0o600);
    }
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        folders.create(parent)?;
    }
    match file.open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Looks at what is there before anything is written to it, so that a wrong path leaves the file behind it untouched.
/// `true`: a store of this version, in which nothing has to be changed.
async fn look(path: &Path, options: &SqliteConnectOptions) -> Result<bool, StoreError> {
    let looking = "look into the store";
    let foreign = || StoreError::Foreign {
        store: path.display().to_string(),
    };
    let mut connection = match options.clone().pragma("query_only", "ON").connect().await {
        Err(error) if code(&error) == Some(NOT_A_DATABASE) => return Err(foreign()),
        other => other.doing(looking)?,
    };
    let read = sqlx::query_as(
        "SELECT (SELECT application_id FROM pragma_application_id), (SELECT COUNT(*) FROM sqlite_master)",
    )
    .fetch_one(&mut connection)
    .await;
    let (application, tables): (i64, i64) = match read {
        Err(error) if code(&error) == Some(NOT_A_DATABASE) => return Err(foreign()),
        other => other.doing(looking)?,
    };
    if tables == 0 {
        return Ok(false);
    }
    if application != APPLICATION_ID {
        return Err(foreign());
    }
    newest(path, &mut connection).await?;
    let is_current = is_current(&MIGRATIONS, &mut connection)
        .await
        .map_err(sqlx::Error::from)
        .doing(looking)?;
    Ok(is_current)
}

/// Refuses a store with a migration that this program does not have.
async fn newest(path: &Path, connection: &mut SqliteConnection) -> Result<(), StoreError> {
    let found: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
        .fetch_one(connection)
        .await
        .doing("read the store's version")?;
    let known = MIGRATIONS.iter().map(|m| m.version).max();
    if found > known {
        return Err(StoreError::Newer {
            store: path.display().to_string(),
            found: found.unwrap_or_default(),
            known: known.unwrap_or_default(),
        });
    }
    Ok(())
}

/// All missing migrations in one transaction: of two programs that start together one does it, the other finds it done.
async fn migrate(path: &Path, pools: &Pools) -> Result<(), StoreError> {
    let doing = "bring the store's tables up to date";
    let mut tx = pools.begin(Durability::Full).await.doing(doing)?;
    run_migrations(&MIGRATIONS, &mut *tx)
        .await
        .map_err(sqlx::Error::from)
        .doing(doing)?;
    newest(path, &mut tx).await?;
    sqlx::query("PRAGMA application_id = 0x4c4b5354")
        .execute(&mut *tx)
        .await
        .doing(doing)?;
    tx.commit().await.doing(doing)
}
