//! `store` in `lockstep.toml`: where the store is.

use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::Environment;

/// Where the store is, as `Store::open` takes it.
#[derive(Clone, PartialEq)]
pub enum StorePlace {
    /// SQLite's file.
    File(PathBuf),
    /// The URL of a PostgreSQL server's database. It may hold a password and can't be printed.
    Server(ServerUrl),
}

/// A URL that may hold a password.
#[derive(Clone)]
pub struct ServerUrl(SecretString);

impl ServerUrl {
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl PartialEq for ServerUrl {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl fmt::Debug for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({path:?})"),
            Self::Server(_) => f.write_str("Server([REDACTED])"),
        }
    }
}

impl StorePlace {
    /// Whether a password stands in it.
    pub(super) fn holds_password(&self) -> bool {
        match self {
            Self::File(_) => false,
            Self::Server(url) => Url::parse(url.expose()).is_ok_and(|url| url.password().is_some()),
        }
    }
}

/// Reads `store`, or the variable that `store_env` names.
pub(super) fn place(
    store: Option<String>,
    variable: Option<String>,
    folder: &Path,
    env: Environment<'_>,
) -> Result<Option<StorePlace>, (String, String)> {
    let text = match (store, variable) {
        (None, None) => return Ok(None),
        (Some(text), None) => text,
        (None, Some(variable)) => env(&variable).ok_or_else(|| {
            let message = format!("the environment variable {variable} is not set");
            ("store_env".to_owned(), message)
        })?,
        (Some(_), Some(_)) => {
            let message = "give one of store and store_env";
            return Err(("store".to_owned(), message.to_owned()));
        }
    };
    Ok(Some(
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            StorePlace::Server(ServerUrl(SecretString::from(text)))
        } else if text.starts_with("sqlite:") || text.contains("://") {
            StorePlace::File(PathBuf::from(text))
        } else {
            StorePlace::File(folder.join(text))
        },
    ))
}
