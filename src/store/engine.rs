//! The two databases a store may be in. All that they do otherwise is here, in its children and in the migrations: how they are opened, locked
//! and made durable, what their errors mean. Statements are the same for both and run through [`query`].

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;

use super::{Durability, StoreError};

mod fault;
mod postgres;
mod query;
mod sqlite;

pub(super) use fault::Doing;
use query::patiently;
pub(super) use query::{Query, Value, query};

/// Where a store is.
#[derive(Clone)]
pub(super) enum Place {
    /// SQLite's file; what belongs beside it is named after it.
    File(PathBuf),
    Server(Box<PgConnectOptions>),
}

/// The folder beside a store's file in which each process says that it lives. It is there once work was done on the store.
pub(super) const HOLDERS: &str = ".holders";

/// What belongs beside a store's file and is named after it.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut file = path.to_owned().into_os_string();
    file.push(ending);
    PathBuf::from(file)
}

/// As it is shown: the options themselves would print the password.
impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Place({self})")
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(options) => f.write_str(&postgres::shown(options)),
        }
    }
}

/// Connections that write, and some that can only read.
#[derive(Debug, Clone)]
pub(super) enum Pools {
    Sqlite(sqlite::Pools),
    Postgres(postgres::Pools),
}

/// A transaction that has the write lock, or one that reads everything as of one moment. Dropped without a commit it is rolled back.
pub(super) enum Tx {
    Sqlite(sqlite::Transaction),
    Postgres(postgres::Transaction),
}

impl Pools {
    pub(super) async fn begin(
        &self,
        durability: Durability,
        doing: &'static str,
    ) -> Result<Tx, StoreError> {
        match self {
            Self::Sqlite(pools) => pools.begin(durability).await.map(Tx::Sqlite),
            Self::Postgres(pools) => pools.begin(durability).await.map(Tx::Postgres),
        }
        .doing(doing)
    }

    /// Reads everything as of one moment.
    pub(super) async fn snapshot(&self, doing: &'static str) -> Result<Tx, StoreError> {
        match self {
            Self::Sqlite(pools) => pools.snapshot().await.map(Tx::Sqlite),
            Self::Postgres(pools) => pools.snapshot().await.map(Tx::Postgres),
        }
        .doing(doing)
    }

    /// The migrations that made the tables, and whether each is this program's.
    pub(super) async fn applied(&self) -> Result<Vec<(i64, bool)>, StoreError> {
        let migrations = match self {
            Self::Sqlite(_) => &sqlite::MIGRATIONS,
            Self::Postgres(_) => &postgres::MIGRATIONS,
        };
        let applied: Vec<(i64, Vec<u8>)> =
            query("SELECT version, checksum FROM _sqlx_migrations ORDER BY version")
                .fetch_all(self)
                .await
                .doing("read the store's version")?;
        let is_ours = |version: i64, checksum: &[u8]| {
            migrations
                .iter()
                .any(|m| m.version == version && *m.checksum == *checksum)
        };
        Ok(applied
            .into_iter()
            .map(|(version, checksum)| (version, is_ours(version, &checksum)))
            .collect())
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pools) => pools.close().await,
            Self::Postgres(pools) => pools.close().await,
        }
    }
}

impl Tx {
    /// The time that leases go by: on a server its own, so that replicas with clocks of their own agree on what has run out.
    pub(super) async fn clock(&mut self, here: Timestamp) -> sqlx::Result<Timestamp> {
        match self {
            Self::Sqlite(_) => Ok(here),
            Self::Postgres(_) => {
                let ms: i64 =
                    query("SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT")
                        .value(self)
                        .await?;
                Timestamp::from_millisecond(ms).map_err(|e| sqlx::Error::Decode(e.into()))
            }
        }
    }

    pub(super) async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(tx) => patiently(tx.commit()).await,
        }
    }
}

/// The place a location means: a path, `sqlite:` and a path, or a URL of PostgreSQL.
pub(super) fn place(location: &OsStr) -> Result<Place, StoreError> {
    let Some(text) = location.to_str() else {
        return Ok(Place::File(PathBuf::from(location)));
    };
    if let Some(rest) = text.strip_prefix("sqlite:") {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        return Ok(Place::File(PathBuf::from(path)));
    }
    match text.split_once("://") {
        Some(("postgres" | "postgresql", _)) => {
            Ok(Place::Server(Box::new(postgres::options(text)?)))
        }
        Some((scheme, _)) => Err(StoreError::Unsupported {
            scheme: scheme.to_owned(),
        }),
        None => Ok(Place::File(PathBuf::from(text))),
    }
}

/// Whether there is no store in a place yet, or none any more.
pub(super) fn is_new(place: &Place) -> bool {
    match place {
        Place::File(path) => std::fs::metadata(path).map_or(true, |m| m.len() == 0),
        Place::Server(_) => false,
    }
}

/// The same as [`open`], also where a store was lost.
pub(super) async fn open_lost(place: &Place) -> Result<Pools, StoreError> {
    match place {
        Place::File(path) => sqlite::open_lost(path).await.map(Pools::Sqlite),
        Place::Server(_) => open(place).await,
    }
}

/// Brings everything that a closed store's log holds into its file, or says that it can't.
pub(super) async fn fold_log(path: &Path) -> Result<(), StoreError> {
    sqlite::fold_log(path).await
}

/// Makes way for a new store where one was lost.
pub(super) fn forget_emptied(place: &Place) -> Result<(), StoreError> {
    match place {
        Place::File(path) => sqlite::forget_emptied(path),
        Place::Server(_) => Ok(()),
    }
}

pub(super) async fn open(place: &Place) -> Result<Pools, StoreError> {
    match place {
        Place::File(path) => sqlite::open(path).await.map(Pools::Sqlite),
        Place::Server(options) => postgres::open((**options).clone())
            .await
            .map(Pools::Postgres),
    }
}

/// Whether all migrations were made, and are those of this program.
async fn is_current<C: Migrate>(
    migrations: &Migrator,
    connection: &mut C,
) -> Result<bool, MigrateError> {
    let applied = connection
        .list_applied_migrations("_sqlx_migrations")
        .await?;
    for migration in migrations.iter() {
        match applied.iter().find(|a| a.version == migration.version) {
            Some(applied) if applied.checksum == migration.checksum => {}
            Some(_) => return Err(MigrateError::VersionMismatch(migration.version)),
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// `Migrator::run` step by step: its own future is not `Send` here (it is generic over how it gets a connection).
async fn run_migrations<C: Migrate>(
    migrations: &Migrator,
    connection: &mut C,
) -> Result<(), MigrateError> {
    const TABLE: &str = "_sqlx_migrations";
    connection.ensure_migrations_table(TABLE).await?;
    let applied = connection.list_applied_migrations(TABLE).await?;
    for migration in migrations.iter() {
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
