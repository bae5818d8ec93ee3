//! What the engines' errors mean: whose fault a failed statement is.

use sqlx::migrate::MigrateError;

use crate::store::StoreError;

/// SQLite: the file is no database.
pub(super) const NOT_A_DATABASE: i32 = 26;

/// Says what was being done when a statement failed, and sorts the failure by whose fault it is.
pub(in crate::store) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| sorted(doing, source))
    }
}

fn sorted(doing: &'static str, source: sqlx::Error) -> StoreError {
    if matches!(source, sqlx::Error::PoolTimedOut) {
        return StoreError::Busy { doing, source };
    }
    if matches!(
        source,
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolClosed
    ) {
        return StoreError::Away { doing, source };
    }
    if let Some(state) = sqlstate(&source) {
        return of_postgres(&state, doing, source);
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
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn of_postgres(state: &str, doing: &'static str, source: sqlx::Error) -> StoreError {
    match state {
        // Lock or statement timeout, serialization, deadlock, too many connections.
        "55P03" | "57014" | "40001" | "40P01" | "53300" => StoreError::Busy { doing, source },
        // The server goes, comes, or has ended a transaction that stood still: whoever held it was away.
        "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04" => {
            StoreError::Away { doing, source }
        }
        // Out of disk or memory, input and output; a server that only reads.
        "53000" | "53100" | "53200" | "58030" | "25006" => StoreError::Disk { doing, source },
        "XX001" | "XX002" => StoreError::Damaged {
            what: format!("could not {doing}: {source}"),
        },
        // Who we are, which database, what we may.
        "3D000" | "3F000" | "42501" => StoreError::Denied { source },
        _ if state.starts_with("28") => StoreError::Denied { source },
        _ if state.starts_with("08") => StoreError::Away { doing, source },
        _ => StoreError::Refused { doing, source },
    }
}

/// The five characters that say what went wrong, where the error is PostgreSQL's.
fn sqlstate(error: &sqlx::Error) -> Option<String> {
    let error = database_error(error)?;
    error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>()?;
    Some(error.code()?.into_owned())
}

/// SQLite's primary result code, where the error is SQLite's.
pub(super) fn code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = database_error(error)?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

fn database_error(error: &sqlx::Error) -> Option<&dyn sqlx::error::DatabaseError> {
    if let sqlx::Error::Migrate(error) = error {
        let (MigrateError::Execute(inner) | MigrateError::ExecuteMigration(inner, _)) = &**error
        else {
            return None;
        };
        return database_error(inner);
    }
    error.as_database_error()
}
