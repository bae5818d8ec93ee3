//! `lockstep.toml` as it is written, and how it becomes settings.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::credential::{Credential, Host, Token};
use super::github::{self, GithubSettings, RawGithub};
use super::ledger::{self, LedgerSettings, RawLedger};
use super::place::{StorePlace, place};
use super::sinks::{RawSink, SinkSettings, sinks};
use super::{Environment, ForgeKind, Intervals, SettingsError, Timeouts};
use crate::resource::Language;

/// The file's content, checked, paths made relative to the file's folder.
#[derive(Default)]
pub(super) struct File {
    pub(super) repo: Option<PathBuf>,
    pub(super) branch: Option<String>,
    pub(super) store: Option<StorePlace>,
    pub(super) forge: ForgeKind,
    pub(super) github: Option<GithubSettings>,
    pub(super) public_url: Option<String>,
    pub(super) listen: Option<SocketAddr>,
    pub(super) language: Option<Language>,
    pub(super) user: Option<String>,
    pub(super) mark: Option<String>,
    pub(super) intervals: Intervals,
    pub(super) timeouts: Timeouts,
    pub(super) files: Option<PathBuf>,
    pub(super) ledger: LedgerSettings,
    pub(super) credentials: BTreeMap<String, Credential>,
    pub(super) sinks: BTreeMap<String, SinkSettings>,
    pub(super) secret_variables: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    repo: Option<PathBuf>,
    branch: Option<String>,
    store: Option<String>,
    store_env: Option<String>,
    #[serde(default)]
    forge: ForgeKind,
    github: Option<RawGithub>,
    public_url: Option<String>,
    listen: Option<Listen>,
    language: Option<RawLanguage>,
    user: Option<String>,
    mark: Option<Mark>,
    #[serde(default)]
    intervals: Intervals,
    #[serde(default)]
    timeouts: Timeouts,
    files: Option<RawFiles>,
    #[serde(default)]
    ledger: RawLedger,
    #[serde(default)]
    credentials: BTreeMap<String, RawCredential>,
    #[serde(default)]
    sinks: BTreeMap<String, RawSink>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFiles {
    root: PathBuf,
}

#[derive(Clone, Copy, Deserialize)]
enum RawLanguage {
    #[serde(rename = "en")]
    English,
    #[serde(rename = "ja")]
    Japanese,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCredential {
    #[serde(default, deserialize_with = "secret")]
    token: Option<SecretString>,
    token_env: Option<String>,
    token_file: Option<PathBuf>,
    /// Left out where it is sent nowhere: it is what a system shows that asks by itself.
    hosts: Option<Vec<String>>,
    identity: Option<String>,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            git: Duration::from_secs(5),
            systems: Duration::from_secs(60),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            prepare: Duration::from_secs(30),
            commit: Duration::from_secs(60),
            request: Duration::from_secs(10),
            urgent: Duration::from_secs(2),
            lease: Duration::from_secs(30),
        }
    }
}

impl<'de> Deserialize<'de> for Intervals {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename = "intervals")]
        struct Raw {
            git: Option<Human>,
            systems: Option<Human>,
        }
        let (raw, default) = (Raw::deserialize(from)?, Self::default());
        Ok(Self {
            git: raw.git.map_or(default.git, |h| h.0),
            systems: raw.systems.map_or(default.systems, |h| h.0),
        })
    }
}

impl<'de> Deserialize<'de> for Timeouts {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename = "timeouts")]
        struct Raw {
            prepare: Option<Human>,
            commit: Option<Human>,
            request: Option<Human>,
            urgent: Option<Human>,
            lease: Option<Human>,
        }
        let (raw, default) = (Raw::deserialize(from)?, Self::default());
        Ok(Self {
            prepare: raw.prepare.map_or(default.prepare, |h| h.0),
            commit: raw.commit.map_or(default.commit, |h| h.0),
            request: raw.request.map_or(default.request, |h| h.0),
            urgent: raw.urgent.map_or(default.urgent, |h| h.0),
            lease: lease(raw.lease, default.lease).map_err(serde::de::Error::custom)?,
        })
    }
}

/// Shorter leases run out while a busy database is waited for.
const SHORTEST_LEASE: Duration = Duration::from_secs(2);

fn lease(lease: Option<Human>, default: Duration) -> Result<Duration, String> {
    match lease {
        Some(Human(lease)) if lease < SHORTEST_LEASE => Err(format!(
            "a lease of less than {} s would run out while the database is busy",
            SHORTEST_LEASE.as_secs()
        )),
        Some(Human(lease)) => Ok(lease),
        None => Ok(default),
    }
}

/// An address with its port. Names are not looked up: which of their addresses would be listened on?
struct Listen(SocketAddr);

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(Self).map_err(|_| {
            serde::de::Error::custom(format!(
                "{text:?} is no address to listen on; write address and port, such as \"127.0.0.1:8800\""
            ))
        })
    }
}

/// A duration as people write it: `5s`, `2m 30s`, `1h`.
struct Human(Duration);

/// Shorter is a busy loop, longer a mistake for something else.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl<'de> Deserialize<'de> for Human {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse::<SignedDuration>()
            .ok()
            .and_then(|d| Duration::try_from(d).ok())
            .filter(|d| (SHORTEST..=LONGEST).contains(d))
            .map(Self)
            .ok_or_else(|| {
                serde::de::Error::custom(format!(
                    "{text:?} is no duration between 10ms and 24h; write one such as \"5s\" or \"2m 30s\""
                ))
            })
    }
}

/// A config repo's mark, as a refusal repeats it.
struct Mark(String);

/// The longest mark.
const MARK_CHARS: usize = 200;

impl<'de> Deserialize<'de> for Mark {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let is_short = (1..=MARK_CHARS).contains(&text.chars().count());
        if is_short && text.trim() == text && !text.contains(char::is_control) {
            return Ok(Self(text));
        }
        Err(serde::de::Error::custom(format!(
            "{text:?} is no mark; write it as the refusal names it, such as \"config repo 0123456789\""
        )))
    }
}

/// A token as text. What it is instead is not repeated: `token = 12345` is a token without quotes.
pub(super) fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SecretString>, D::Error> {
    match toml::Value::deserialize(from)? {
        toml::Value::String(text) => Ok(Some(SecretString::from(text))),
        toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_) => Err(serde::de::Error::custom("a token is text in quotes")),
    }
}

pub(super) fn read(
    path: &Path,
    env: Environment<'_>,
    warnings: &mut Vec<String>,
) -> Result<File, SettingsError> {
    let text = read_bounded(path, SETTINGS_LIMIT).map_err(|source| SettingsError::Read {
        path: path.to_owned(),
        source,
    })?;
    let raw: Raw = toml::from_str(&text).map_err(|error| invalid(path, &text, &error))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let secret_variables = raw.credentials.values().filter_map(|c| c.token_env.clone());
    let secret_variables = secret_variables
        .chain(raw.github.iter().flat_map(RawGithub::variables))
        .chain(raw.sinks.values().filter_map(|s| s.secret_env.clone()))
        .chain(raw.store_env.clone())
        .collect();
    let credentials = credentials(path, raw.credentials, env, warnings)?;
    if raw
        .branch
        .as_deref()
        .is_some_and(|b| !git2::Branch::name_is_valid(b).unwrap_or(false))
    {
        return Err(SettingsError::Value {
            path: path.to_owned(),
            key: "branch".to_owned(),
            message: "this is no name for a branch; write it without refs/heads/, such as \"main\""
                .to_owned(),
        });
    }
    let value = |(key, message)| SettingsError::Value {
        path: path.to_owned(),
        key,
        message,
    };
    let github = raw
        .github
        .map(|raw| github::github(raw, folder, env, warnings))
        .transpose()
        .map_err(value)?;
    if raw.forge == ForgeKind::Github && github.is_none() {
        let message = "say which repository: [github] with repository = \"owner/name\"";
        return Err(value(("forge".to_owned(), message.to_owned())));
    }
    let sinks = sinks(raw.sinks, folder, env, warnings).map_err(value)?;
    let is_given = raw.store.is_some();
    let store = place(raw.store, raw.store_env, folder, env).map_err(value)?;
    if is_given
        && store.as_ref().is_some_and(StorePlace::holds_password)
        && readable_by_others(path)
    {
        warnings.push(format!(
            "{} holds the store's password and others on this machine can read it; `chmod 600` it, or use store_env or a password file",
            path.display()
        ));
    }
    let public_url = raw
        .public_url
        .map(|url| public(&url))
        .transpose()
        .map_err(|message| value(("public_url".to_owned(), message)))?;
    Ok(File {
        repo: raw.repo.map(|p| folder.join(p)),
        branch: raw.branch,
        store,
        forge: raw.forge,
        github,
        public_url,
        listen: raw.listen.map(|l| l.0),
        language: raw.language.map(|language| match language {
            RawLanguage::English => Language::English,
            RawLanguage::Japanese => Language::Japanese,
        }),
        user: raw.user,
        mark: raw.mark.map(|mark| mark.0),
        intervals: raw.intervals,
        timeouts: raw.timeouts,
        files: raw.files.map(|files| folder.join(files.root)),
        ledger: ledger::ledger(raw.ledger, folder),
        credentials,
        sinks,
        secret_variables,
    })
}

/// Where links lead: people's own browsers open them.
fn public(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).ok().filter(|u| {
        matches!(u.scheme(), "http" | "https") && u.host().is_some() && u.query().is_none()
    });
    match url {
        Some(url) => Ok(url.as_str().trim_end_matches('/').to_owned()),
        None => Err(format!(
            "{text:?} is no address for people; write one such as \"https://lockstep.example.jp\""
        )),
    }
}

fn credentials(
    path: &Path,
    raw: BTreeMap<String, RawCredential>,
    env: Environment<'_>,
    warnings: &mut Vec<String>,
) -> Result<BTreeMap<String, Credential>, SettingsError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    if raw.values().any(|c| c.token.is_some()) && readable_by_others(path) {
        warnings.push(format!(
            "{} holds a token and others on this machine can read it; `chmod 600` it, or use token_file or token_env",
            path.display()
        ));
    }
    let value = |key: String, message: String| SettingsError::Value {
        path: path.to_owned(),
        key,
        message,
    };
    if !raw.is_empty() && writable_by_others(path) {
        let message = "everybody on this machine can write this file, and so say where tokens are sent; `chmod o-w` it";
        return Err(value("credentials".to_owned(), message.to_owned()));
    }
    let mut credentials = BTreeMap::new();
    for (name, raw) in raw {
        let credential = credential(&name, raw, folder, env, warnings)
            .map_err(|message| value(format!("credentials.{name}"), message))?;
        credentials.insert(name, credential);
    }
    Ok(credentials)
}

/// More than that is no settings file, and no token.
const SETTINGS_LIMIT: u64 = 1 << 20;
const TOKEN_LIMIT: u64 = 64 << 10;

/// The text of a file that is not longer than it may be.
pub(super) fn read_bounded(path: &Path, limit: u64) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(limit + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > limit {
        let what = format!("it is longer than {} KiB", limit >> 10);
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, what));
    }
    Ok(text)
}

/// The parser's message and place, without the line that its own display would quote.
fn invalid(path: &Path, text: &str, error: &toml::de::Error) -> SettingsError {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.get(..start).unwrap_or(text);
    SettingsError::Invalid {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1,
        message: error.message().trim_end().replace('\n', "; "),
    }
}

fn credential(
    name: &str,
    raw: RawCredential,
    folder: &Path,
    env: Environment<'_>,
    warnings: &mut Vec<String>,
) -> Result<Credential, String> {
    let RawCredential {
        token,
        token_env,
        token_file,
        hosts,
        identity,
    } = raw;
    let token = match (token, token_env, token_file) {
        (Some(token), None, None) => Token::of(token, "its token is empty"),
        (None, Some(variable), None) => match env(&variable) {
            Some(value) => Token::of(SecretString::from(value), "its variable is empty"),
            None => Token::Missing(format!("the environment variable {variable} is not set")),
        },
        (None, None, Some(file)) => {
            let file = folder.join(file);
            if readable_by_others(&file) {
                warnings.push(format!(
                    "{} holds the token {name:?} and others on this machine can read it; `chmod 600` it",
                    file.display()
                ));
            }
            match read_bounded(&file, TOKEN_LIMIT) {
                Ok(text) => Token::of(
                    SecretString::from(text.trim_end_matches(['\r', '\n'])),
                    "its file is empty",
                ),
                Err(error) => Token::Missing(format!("{} cannot be read: {error}", file.display())),
            }
        }
        _ => return Err("give exactly one of token, token_env and token_file".to_owned()),
    };
    if hosts.as_ref().is_some_and(Vec::is_empty) {
        return Err("hosts must name at least one host that the token may be sent to".to_owned());
    }
    let hosts = hosts
        .iter()
        .flatten()
        .map(|h| Host::parse(h))
        .collect::<Result<_, _>>()?;
    Ok(Credential::new(name, token, hosts).of(identity))
}

#[cfg(unix)]
pub(super) fn readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o044 != 0)
}

#[cfg(unix)]
fn writable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o002 != 0)
}

#[cfg(not(unix))]
pub(super) fn readable_by_others(_: &Path) -> bool {
    false
}

#[cfg(not(unix))]
fn writable_by_others(_: &Path) -> bool {
    false
}
