//! The connectors by name: the only place where one is registered.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::Url;

use super::file::{FileConnector, FileSettings, Format};
use super::http::{HttpConnector, HttpSettings, HttpSettingsError};
use super::limited::Limited;
use super::postgres::{PostgresConnector, PostgresSettings};
use super::pull::{PullConnector, PullSettings, STALE_AFTER};
use super::redis::{RedisConnector, RedisSettings};
use super::rest::RestSettings;
use super::scim::{self, ScimSettings};
use super::shelf::Shelf;
use super::unleash::{self, UnleashSettings};
use super::{Apply, Observe};
use crate::clock::SystemClock;
use crate::config::System;
use crate::config::connectors::{address, patience, postgres, redis, role_groups};
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
    shelf: Option<Arc<dyn Shelf>>,
}

type Connect = fn(&Request<'_>) -> Result<Box<dyn Apply>, ConnectError>;

/// One row a connector.
const CONNECTORS: &[(&str, Connect)] = &[
    ("http", connect_http),
    ("pull", connect_pull),
    ("postgres", connect_postgres),
    ("redis", connect_redis),
    ("file", connect_file),
    ("scim", connect_scim),
    ("unleash", connect_unleash),
];

/// A connector that may change the system: for the engine alone. `files` is the server's folder for systems that are files; what
/// `lockstep.yaml` says can't lead out of it. `shelf` is the system's own, where there is a store.
pub fn connect(
    name: &SystemName,
    system: &System,
    credentials: Credentials<'_>,
    timeouts: Timeouts,
    files: Option<&Path>,
    shelf: Option<Arc<dyn Shelf>>,
) -> Result<Box<dyn Apply>, ConnectError> {
    let connector = &system.connector;
    let known = || {
        let names: Vec<&str> = CONNECTORS.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    };
    let row = CONNECTORS.iter().find(|(name, _)| name == connector);
    match row {
        Some((_, connect)) => {
            let timeouts = Timeouts {
                request: system.limits.timeout.unwrap_or(timeouts.request),
                ..timeouts
            };
            connect(&Request {
                name,
                system,
                credentials,
                timeouts,
                files,
                shelf,
            })
            .map(|connector| Limited::within(&system.limits, connector))
        }
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
    shelf: Option<Arc<dyn Shelf>>,
) -> Result<Box<dyn Observe>, ConnectError> {
    let connector: Box<dyn Observe> = connect(name, system, credentials, timeouts, files, shelf)?;
    Ok(connector)
}

fn connect_http(request: &Request<'_>) -> Result<Box<dyn Apply>, ConnectError> {
    let Request {
        name,
        system,
        credentials,
        timeouts,
        files: _,
        shelf: _,
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
        shelf: _,
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
        shelf: _,
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
        shelf: _,
    } = request;
    let wrong = |message: String| ConnectError::Settings { message };
    let known = |key: &&String| matches!(key.as_str(), "path" | "format");
    if let Some(key) = system.settings.keys().find(|key| !known(key)) {
        let message = format!("the file connector has no setting {key:?}; it has path and format");
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
    let format = match system.settings.get("format") {
        None => Format::default(),
        Some(format) => format
            .as_str()
            .unwrap_or_default()
            .parse()
            .map_err(|e: super::file::UnknownFormat| wrong(e.to_string()))?,
    };
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
        format,
    })))
}

fn connect_pull(request: &Request<'_>) -> Result<Box<dyn Apply>, ConnectError> {
    let Request {
        name,
        system,
        credentials: _,
        timeouts,
        files: _,
        shelf,
    } = request;
    let wrong = |message: &str| ConnectError::Settings {
        message: message.to_owned(),
    };
    if let Some(key) = system.settings.keys().find(|key| *key != "stale_after") {
        let message = format!("the pull connector has no setting {key:?}; it has stale_after");
        return Err(wrong(&message));
    }
    if system.credential.is_none() {
        return Err(wrong(
            "the pull connector needs a credential: the one that the system shows when it asks",
        ));
    }
    let stale_after = match system.settings.get("stale_after") {
        None => STALE_AFTER,
        Some(text) => patience(text.as_str().unwrap_or_default())
            .map_err(|why| wrong(&format!("stale_after: {why}")))?,
    };
    let shelf = shelf.clone().ok_or_else(|| {
        wrong("what a system that pulls has said is in the store, which is not there yet")
    })?;
    Ok(Box::new(PullConnector::new(PullSettings {
        system: (*name).clone(),
        shelf,
        clock: Arc::new(SystemClock),
        stale_after,
        timeout: timeouts.request,
    })))
}

/// A text of the settings, where there is one.
fn text<'a>(request: &Request<'a>, key: &str) -> Result<Option<&'a str>, ConnectError> {
    let wrong = || ConnectError::Settings {
        message: format!("{key} is to be a text that is not empty"),
    };
    match request.system.settings.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text)),
        Some(_) => Err(wrong()),
    }
}

/// Refuses settings that a connector does not have.
fn only(request: &Request<'_>, keys: &[&str]) -> Result<(), ConnectError> {
    let connector = &request.system.connector;
    let unknown = request.system.settings.keys();
    match unknown
        .into_iter()
        .find(|key| !keys.contains(&key.as_str()))
    {
        None => Ok(()),
        Some(key) => Err(ConnectError::Settings {
            message: format!(
                "the {connector} connector has no setting {key:?}; it has {}",
                keys.join(", ")
            ),
        }),
    }
}

/// How a system with an interface of its own is reached.
fn rest(
    request: &Request<'_>,
    media: &'static str,
    scheme: &str,
    example: &str,
) -> Result<RestSettings, ConnectError> {
    let wrong = |message: String| ConnectError::Settings { message };
    let connector = &request.system.connector;
    let url = text(request, "url")?.ok_or_else(|| {
        wrong(format!(
            "the {connector} connector needs a url, such as {example}"
        ))
    })?;
    let base = address(url).map_err(|fault| wrong(fault.to_string()))?;
    let authorization = match &request.system.credential {
        None => None,
        Some(credential) => {
            let missing = || ConnectError::Credential {
                credential: credential.clone(),
                host: base.host_str().unwrap_or_default().to_owned(),
            };
            let token = (request.credentials)(credential, &base).ok_or_else(missing)?;
            let value = format!("{scheme}{}", token.expose_secret());
            Some(SecretString::from(value))
        }
    };
    Ok(RestSettings {
        base,
        authorization,
        credential: request.system.credential.clone(),
        media,
        connect_timeout: request.timeouts.connect,
        timeout: request.timeouts.request,
    })
}

/// The system's shelf, without which what its connector keeps is not known.
fn shelf(request: &Request<'_>) -> Result<Arc<dyn Shelf>, ConnectError> {
    request.shelf.clone().ok_or_else(|| ConnectError::Settings {
        message: format!(
            "the {} connector keeps in the store what its system has no place for, and there is no store here yet; `lockstep apply` or \
             `lockstep run` makes one",
            request.system.connector
        ),
    })
}

fn connect_unleash(request: &Request<'_>) -> Result<Box<dyn Apply>, ConnectError> {
    only(request, &["url", "project", "environment"])?;
    let wrong = |message: String| ConnectError::Settings { message };
    let rest = rest(
        request,
        "application/json",
        "",
        "https://unleash.example.org",
    )?;
    let environment = text(request, "environment")?.ok_or_else(|| {
        wrong("the unleash connector needs an environment, such as production".to_owned())
    })?;
    let project = text(request, "project")?.unwrap_or("default");
    let settings = UnleashSettings {
        rest,
        project: project.to_owned(),
        environment: environment.to_owned(),
    };
    let connector = unleash::connect(request.name.clone(), settings, shelf(request)?);
    Ok(Box::new(connector.map_err(wrong)?))
}

fn connect_scim(request: &Request<'_>) -> Result<Box<dyn Apply>, ConnectError> {
    only(request, &["url", "group_prefix", "groups"])?;
    let wrong = |message: String| ConnectError::Settings { message };
    let media = "application/scim+json";
    let rest = rest(request, media, "Bearer ", "https://id.example.org/scim/v2")?;
    let prefix = text(request, "group_prefix")?.unwrap_or(scim::PREFIX);
    let groups = request.system.settings.get("groups");
    let groups = groups.map_or_else(|| Ok(BTreeMap::new()), role_groups);
    let settings = ScimSettings {
        rest,
        prefix: prefix.to_owned(),
        groups: groups.map_err(wrong)?,
    };
    let connector = scim::connect(request.name.clone(), settings, shelf(request)?);
    Ok(Box::new(connector.map_err(wrong)?))
}
