//! How the database is reached, what its connections are told about time, and what its errors mean.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{Connection as _, Postgres};
use url::Url;

use super::PostgresSettings;
use crate::connector::ConnectorError;

pub(super) type Transaction = sqlx::Transaction<'static, Postgres>;
pub(super) type Pool = sqlx::Pool<Postgres>;

/// One may hold a changeset open, one lock the journal, one ends what another holds, one looks.
const CONNECTIONS: u32 = 4;

/// A connection that lay idle for so long is asked whether it lives before it is used.
const STALE: Duration = Duration::from_secs(5);

/// Everything as of one moment, and nothing written.
pub(super) const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Where the database is, and as whom it is entered. What the server's environment says of PostgreSQL is not taken: the address comes from
/// the config repo, and must not meet a password that was meant for another.
pub(super) fn options(settings: &PostgresSettings) -> Result<PgConnectOptions, String> {
    let url = &settings.url;
    let port = url.port().unwrap_or(5432);
    let socket = url
        .query_pairs()
        .find_map(|(key, value)| (key == "host").then(|| value.into_owned()));
    let (user, password) = login(url, settings.credential.as_ref())?;
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(url.host_str().unwrap_or_default().trim_matches(['[', ']']))
        .port(port)
        .username(&user)
        .password(password.expose_secret())
        .database(&decoded(url.path().trim_start_matches('/')))
        .ssl_mode(ssl(url))
        .application_name("lockstep");
    if let Some(socket) = socket {
        options = options.socket(socket);
    }
    let ms = |time: Duration| time.as_millis().max(1).to_string();
    Ok(options.options([
        ("statement_timeout", ms(settings.timeout)),
        ("lock_timeout", ms(settings.timeout / 2)),
        ("idle_in_transaction_session_timeout", ms(settings.timeout)),
        // Rows that a policy hides would be taken for rows that are not there: then a statement fails instead.
        ("row_security", "off".to_owned()),
        // Times and intervals are read in one form, whatever the server's own is.
        ("timezone", "UTC".to_owned()),
        ("datestyle", "ISO".to_owned()),
    ]))
}

/// The credential is a password, or `user:password`; a user may also stand in the address.
fn login(url: &Url, credential: Option<&SecretString>) -> Result<(String, SecretString), String> {
    let named = decoded(url.username());
    let secret = credential.map(|c| c.expose_secret());
    let (user, password) = match secret {
        Some(secret) if named.is_empty() => secret.split_once(':').ok_or_else(|| {
            "name a user: in the url, as in postgres://lockstep@db.example.org/medical, or in the credential, as user:password"
                .to_owned()
        })?,
        Some(secret) => {
            let given = secret.strip_prefix(&*named);
            let password = given.and_then(|rest| rest.strip_prefix(':'));
            (&*named, password.unwrap_or(secret))
        }
        None => (&*named, ""),
    };
    let user = if user.is_empty() { "lockstep" } else { user };
    Ok((user.to_owned(), SecretString::from(password)))
}

fn decoded(text: &str) -> String {
    // The library's own query parser undoes the encoding; a plus is none in a path.
    let text = text.replace('+', "%2B");
    let mut pairs = url::form_urlencoded::parse(text.as_bytes());
    pairs
        .next()
        .map_or(String::new(), |(key, _)| key.into_owned())
}

/// Without a word about it, what leaves this machine is encrypted, to a server whose name was checked.
fn ssl(url: &Url) -> PgSslMode {
    let said = url.query_pairs().find(|(key, _)| key == "sslmode");
    let is_near = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    } || url.host_str() == Some("127.0.0.1")
        || url.host_str() == Some("[::1]");
    match said {
        Some((_, mode)) if mode == "disable" => PgSslMode::Disable,
        Some(_) => PgSslMode::VerifyFull,
        None if is_near => PgSslMode::Prefer,
        None => PgSslMode::VerifyFull,
    }
}

pub(super) fn pool(settings: &PostgresSettings, options: PgConnectOptions) -> Pool {
    let patience = settings.connect_timeout;
    PoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(patience)
        .test_before_acquire(false)
        .before_acquire(move |connection: &mut PgConnection, about| {
            Box::pin(async move {
                if about.idle_for > STALE {
                    let answer = tokio::time::timeout(patience, connection.ping()).await;
                    return Ok(matches!(answer, Ok(Ok(()))));
                }
                Ok(true)
            })
        })
        .connect_lazy_with(options)
}

/// Says what was being done when a statement failed, and sorts the failure by whose fault it is.
pub(super) trait Doing<T> {
    fn doing(self, doing: &str) -> Result<T, ConnectorError>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, doing: &str) -> Result<T, ConnectorError> {
        self.map_err(|error| sorted(doing, &error))
    }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn sorted(doing: &str, error: &sqlx::Error) -> ConnectorError {
    let message = format!("could not {doing}: {}", said(error));
    let Some(state) = sqlstate(error) else {
        let is_ours = matches!(
            error,
            sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::Decode(_)
                | sqlx::Error::Configuration(_)
        );
        return match is_ours {
            true => ConnectorError::Terminal { message },
            false => ConnectorError::Transient { message },
        };
    };
    match &state[..state.len().min(2)] {
        // Connections, lack of disk or memory or of a slot, an operator who ends it, deadlocks and changes at the same time, timeouts.
        "08" | "53" | "57" | "40" => ConnectorError::Transient { message },
        "58" => ConnectorError::Transient { message },
        _ if matches!(state.as_str(), "55P03" | "25P03" | "25P04" | "25006") => {
            ConnectorError::Transient { message }
        }
        _ => ConnectorError::Terminal { message },
    }
}

/// What the database says, with the details that name the key. A failing row is not shown: it has columns that are none of Lockstep's.
pub(super) fn said(error: &sqlx::Error) -> String {
    let Some(database) = error.as_database_error() else {
        return error.to_string();
    };
    let Some(own) = database.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() else {
        return database.message().to_owned();
    };
    match own
        .detail()
        .filter(|_| !matches!(own.code(), "23502" | "23514" | "44000"))
    {
        Some(detail) => format!("{}: {detail}", own.message()),
        None => own.message().to_owned(),
    }
}

/// The five characters that say what went wrong, where the database said it.
pub(super) fn sqlstate(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}
