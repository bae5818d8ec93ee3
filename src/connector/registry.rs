//! The connectors by name: the only place where one is registered.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use super::file::{FileConnector, FileSettings};
use super::http::{HttpConnector, HttpSettings, HttpSettingsError};
use super::postgres::{PostgresConnector, PostgresSettings};
use super::redis::{RedisConnector, RedisSettings};
use super::{Apply, Observe};
use crate::config::System;
use crate::config::connectors::{address, postgres, redis};
use crate::ids::SystemName;

#[cfg(test)]
mod tests;

/// How long a connector waits for a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect: Duration,
    /// For one request as a whole.
    pub request: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(30),
        }
    }
}

/// Why there is no connector to a system. Each is for the person who keeps `lockstep.yaml` or the server, and
/// leaves it to whoever asked to name the system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    #[error("there is no connector {connector:?}; there is {known}")]
    Unknown { connector: String, known: String },
    #[error("the connector {connector:?} is not in this build; there is {known}")]
    NotBuilt { connector: String, known: String },
    #[error("{message}")]
    Settings { message: String },
    #[error(
        "the server has no credential {credential:?} that may be sent to {host}; add it to lockstep.toml with this host"
    )]
    Credential { credential: String, host: String },
    #[error(transparent)]
    Http(#[from] HttpSettingsError),
}

/// Looks up a credential by name, for the URL that it would be sent to: the server binds credentials to hosts.
pub type Credentials<'a> = &'a dyn Fn(&str, &Url) -> Option<SecretString>;

struct Request<'a> {
    name: &'a SystemName,
    system: &'a System,
    credentials: Credentials<'a>,
    timeouts: Timeouts,
    files: Option<&'a Path>,
}

type Connect = fn(&Request<'_>) -> Result<Box<dyn Apply>, ConnectError>;

/// One row a connector; `None` where it is only planned.
const CONNECTORS: &[(&str, Option<Connect>)] = &[
    ("http", Some(connect_http)),
    ("pull", None),
    ("postgres", Some(connect_postgres)),
    ("redis", Some(connect_redis)),
    ("file", Some(connect_file)),
    ("scim", None),
    ("unleash", None),
];

/// A connector that may change the system: for the engine alone. `files` is the server's folder for systems that are files; what
/// `lockstep.yaml` says can't lead out of it.
pub fn connect(
    name: &SystemName,
    system: &System,
    credentials: Credentials<'_>,
    timeouts: Timeouts,
    files: Option<&Path>,
) -> Result<Box<dyn Apply>, ConnectError> {
    let connector = &system.connector;
    let known = || {
        let built = CONNECTORS.iter().filter(|(_, c)| c.is_some());
        let names: Vec<&str> = built.map(|(name, _)| *name).collect();
        names.join(", ")
    };
    let row = CONNECTORS.iter().find(|(name, _)| name == connector);
    match row {
        Some((_, Some(connect))) => connect(&Request {
            name,
            system,
            credentials,
            timeouts,
            files,
        }),
        Some((_, None)) => Err(ConnectError::NotBuilt {
            connector: connector.clone(),
            known: known(),
        }),
        None => Err(ConnectError::Unknown {
            connector: connector.clone(),
            known: known(),
        }),
    }
}

/// A connector that can only read: for planning.
pub fn observe_only(
    name: &SystemName,
    system: &System,
    credentials: Credentials<'_>,
    timeouts: Timeouts,
    files: Option<&Path>,
) -> Result<Box<dyn Observe>, ConnectError> {
    let connector: Box<dyn Observe> = connect(name, system, credentials, timeouts, files)?;
    Ok(connector)
}

fn connect_http(request: &Request<'_>) -> Result<Box<dyn Apply>, ConnectError> {
    let Request {
        name,
        system,
        credentials,
        timeouts,
        files: _,
    } = request;
    let wrong = |message: String| ConnectError::Settings { message };
    if let Some(key) = system.settings.keys().find(|key| *key != "url") {
        let message = format!("the http connector has no setting {key:?}; it has url");
        return Err(wrong(message));
    }
    let url = system.settings.get("url").and_then(Value::as_str);
    let url = url.ok_or_else(|| {
        wrong("the http connector needs a url, such as https://medical.example.org".to_owned())
    })?;
    let base = address(url).map_err(|fault| wrong(fault.to_string()))?;
    let token = secret(system, credentials, &base)?;
    let connector = HttpConnector::new(HttpSettings {
        system: (*name).clone(),
        base,
        token,
        credential: system.credential.clone(),
        connect_timeout: timeouts.connect,
        timeout: timeouts.request,
    })?;
    Ok(Box::new(connector))
}

fn connect_postgres(request: &Request<'_>) -> Result<Box<dyn Apply>, ConnectError> {
    let Request {
        name,
        system,
        credentials,
        timeouts,
        files: _,
    } = request;
    let wrong = |message: String| ConnectError::Settings { message };
    let known = ["url", "schema", "tables", "notify"];
    if let Some(key) = system.settings.keys().find(|key| !known.contains(&&***key)) {
        let known = known.join(", ");
        let message = format!("the postgres connector has no setting {key:?}; it has {known}");
        return Err(wrong(message));
    }
    let text = |key: &str| system.settings.get(key).and_then(Value::as_str);
    let url = text("url").ok_or_else(|| {
        wrong(
            "the postgres connector needs a url, such as postgres://db.example.org/medical"
                .to_owned(),
        )
    })?;
    let url = postgres::address(url).map_err(wrong)?;
    let schema = postgres::Ident::parse(text("schema").unwrap_or("lockstep")).map_err(wrong)?;
    let tables = match system.settings.get("tables") {
        Some(tables) => postgres::mappings(tables).map_err(wrong)?,
        None => BTreeMap::new(),
    };
    if let Some(kind) = tables.keys().find(|kind| !system.kinds.contains(*kind)) {
        let message = format!("tables: names {kind}, which is not among the system's kinds");
        return Err(wrong(message));
    }
    let notify = match system.settings.get("notify") {
        Some(notify) => postgres::flag(notify).map_err(wrong)?,
        None => false,
    };
    let settings = PostgresSettings {
        system: (*name).clone(),
        credential: secret(system, credentials, &url)?,
        url,
        schema,
        tables,
        kinds: system.kinds.clone(),
        notify,
        connect_timeout: timeouts.connect,
        timeout: timeouts.request,
    };
    Ok(Box::new(PostgresConnector::new(settings).map_err(wrong)?))
}

fn connect_redis(request: &Request<'_>) -> Result<Box<dyn Apply>, ConnectError> {
    let Request {
        name,
        system,
        credentials,
        timeouts,
        files: _,
    } = request;
    let wrong = |message: String| ConnectError::Settings { message };
    let known = ["url", "prefix", "notify"];
    if let Some(key) = system.settings.keys().find(|key| !known.contains(&&***key)) {
        let known = known.join(", ");
        let message = format!("the redis connector has no setting {key:?}; it has {known}");
        return Err(wrong(message));
    }
    let text = |key: &str| system.settings.get(key).and_then(Value::as_str);
    let url = text("url").ok_or_else(|| {
        wrong("the redis connector needs a url, such as rediss://cache.example.org/0".to_owned())
    })?;
    let url = redis::address(url).map_err(wrong)?;
    for given in ["prefix", "notify"].into_iter().filter_map(text) {
        redis::name(given).map_err(wrong)?;
    }
    let prefix = text("prefix").unwrap_or("lockstep:");
    let credential = secret(system, credentials, &url)?;
    Ok(Box::new(RedisConnector::new(RedisSettings {
        credential,
        kinds: system.kinds.clone(),
        connect_timeout: timeouts.connect,
        timeout: timeouts.request,
        ..RedisSettings::new((*name).clone(), url, prefix, text("notify"))
    })))
}

/// The system's credential, if it names one and that may be sent to this URL.
fn secret(
    system: &System,
    credentials: Credentials<'_>,
    url: &Url,
) -> Result<Option<SecretString>, ConnectError> {
    let Some(credential) = &system.credential else {
        return Ok(None);
    };
    let missing = || ConnectError::Credential {
        credential: credential.clone(),
        host: url.host_str().unwrap_or_default().to_owned(),
    };
    credentials(credential, url).ok_or_else(missing).map(Some)
}

fn connect_file(request: &Request<'_>) -> Result<Box<dyn Apply>, ConnectError> {
    let Request {
        name,
        system,
        credentials: _,
        timeouts: _,
        files,
    } = request;
    let wrong = |message: String| ConnectError::Settings { message };
    if let Some(key) = system.settings.keys().find(|key| *key != "path") {
        let message = format!("the file connector has no setting {key:?}; it has path");
        return Err(wrong(message));
    }
    if system.credential.is_some() {
        return Err(wrong("the file connector takes no credential".to_owned()));
    }
    let path = system.settings.get("path").and_then(Value::as_str);
    let path = path.ok_or_else(|| {
        wrong("the file connector needs a path, such as legacy/flags.json".to_owned())
    })?;
    let path = path
        .parse()
        .map_err(|e: super::file::FilePathError| wrong(e.to_string()))?;
    let root = files.ok_or_else(|| {
        wrong(
            "this server lets no system be a file; name the folder that such files may lie in, in lockstep.toml: [files] root = \"DIR\""
                .to_owned(),
        )
    })?;
    Ok(Box::new(FileConnector::new(FileSettings {
        system: (*name).clone(),
        root: root.to_owned(),
        path,
    })))
}
