//! SQLite: how it is opened, locked and made durable, and what its errors mean. All that a second engine does otherwise
//! is in this file and in the migrations.

use std::ffi::OsStr;
use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::migrate::{Migrate as _, MigrateError, Migrator};
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use super::{Durability, StoreError};

/// The engine whose statements and rows the rest of the store uses.
pub(super) type Engine = sqlx::Sqlite;
pub(super) type Pool = sqlx::Pool<Engine>;
pub(super) type Connection = sqlx::SqliteConnection;
/// A transaction that has the write lock. Dropped without a commit it is rolled back.
pub(super) type Tx = sqlx::Transaction<'static, Engine>;

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations");

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
pub(super) struct Pools {
    writer: Pool,
    reader: Pool,
}

impl Pools {
    pub(super) fn reader(&self) -> &Pool {
        &self.reader
    }

    /// Begins with the write lock: a plain BEGIN that reads and then writes fails as busy without waiting. `synchronous` is set every
    /// time, so that a relaxed write can't leave the connection relaxed for the next.
    pub(super) async fn begin(
        &self,
        durability: Durability,
        doing: &'static str,
    ) -> Result<Tx, StoreError> {
        let statement = match durability {
            Durability::Full => "PRAGMA synchronous = FULL; BEGIN IMMEDIATE",
            Durability::Relaxed => "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE",
        };
        self.writer.begin_with(statement).await.doing(doing)
    }

    pub(super) async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

/// The file a location means: a path, or `sqlite:` and a path.
pub(super) fn path(location: &OsStr) -> Result<PathBuf, StoreError> {
    let Some(text) = location.to_str() else {
        return Ok(PathBuf::from(location));
    };
    if let Some(rest) = text.strip_prefix("sqlite:") {
        return Ok(PathBuf::from(rest.strip_prefix("//").unwrap_or(rest)));
    }
    match text.split_once("://") {
        Some((scheme, _)) => Err(StoreError::Unsupported {
            scheme: scheme.to_owned(),
        }),
        None => Ok(PathBuf::from(text)),
    }
}

pub(super) async fn open(path: &Path) -> Result<Pools, StoreError> {
    make_file(path).map_err(|source| StoreError::Folder {
        path: path.to_owned(),
        source,
    })?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY)
        .foreign_keys(true);
    look(path, &options).await?;

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
    migrate(path, &pools).await?;
    Ok(pools)
}

fn pool(size: u32) -> PoolOptions<Engine> {
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
async fn look(path: &Path, options: &SqliteConnectOptions) -> Result<(), StoreError> {
    let looking = "look into the store";
    let foreign = || StoreError::Foreign {
        path: path.to_owned(),
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
        return Ok(());
    }
    if application != APPLICATION_ID {
        return Err(foreign());
    }
    newest(path, &mut connection).await
}

/// Refuses a store with a migration that this program does not have.
async fn newest(path: &Path, connection: &mut Connection) -> Result<(), StoreError> {
    let found: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
        .fetch_one(connection)
        .await
        .doing("read the store's version")?;
    let known = MIGRATIONS.iter().map(|m| m.version).max();
    if found > known {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found: found.unwrap_or_default(),
            known: known.unwrap_or_default(),
        });
    }
    Ok(())
}

/// All missing migrations in one transaction: of two programs that start together one does it, the other finds it done.
async fn migrate(path: &Path, pools: &Pools) -> Result<(), StoreError> {
    let doing = "bring the store's tables up to date";
    let mut tx = pools.begin(Durability::Full, doing).await?;
    run_migrations(&mut tx)
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

/// `Migrator::run` step by step: its own future is not `Send` here (it is generic over how it gets a connection).
async fn run_migrations(connection: &mut Connection) -> Result<(), MigrateError> {
    const TABLE: &str = "_sqlx_migrations";
    connection.ensure_migrations_table(TABLE).await?;
    let applied = connection.list_applied_migrations(TABLE).await?;
    for migration in MIGRATIONS.iter() {
        match applied.iter().find(|a| a.version == migration.version) {
            Some(applied) if applied.checksum == migration.checksum => {}
            Some(_) => return Err(MigrateError::VersionMismatch(migration.version)),
            None => {
                connection.apply(TABLE, migration).await?;
            }
        }
    }
    Ok(())
}

const NOT_A_DATABASE: i32 = 26;

/// SQLite's primary result code, where the error is SQLite's.
fn code(error: &sqlx::Error) -> Option<i32> {
    if let sqlx::Error::Migrate(error) = error {
        let (MigrateError::Execute(inner) | MigrateError::ExecuteMigration(inner, _)) = &**error
        else {
            return None;
        };
        return code(inner);
    }
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

/// Says what was being done when a statement failed, and sorts the failure by whose fault it is.
pub(super) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| {
            if matches!(source, sqlx::Error::PoolTimedOut) {
                return StoreError::Busy { doing, source };
            }
            // https://sqlite.org/rescode.html: BUSY, LOCKED; READONLY, IOERR, FULL, CANTOPEN; CORRUPT, NOTADB.
            match code(&source) {
                Some(5 | 6) => StoreError::Busy { doing, source },
                Some(8 | 10 | 13 | 14) => StoreError::Disk { doing, source },
                Some(11 | NOT_A_DATABASE) => StoreError::Damaged {
                    what: format!("could not {doing}: {source}"),
                },
                _ => StoreError::Refused { doing, source },
            }
        })
    }
}
