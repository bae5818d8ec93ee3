//! `[github]` in `lockstep.toml`: which repository, and who Lockstep is there.

use std::fmt;
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::Environment;
use super::credential::loopback;
use super::file::{read_bounded, readable_by_others, secret};

/// The repository on github.com or an Enterprise Server, and how Lockstep shows who it is.
#[derive(Debug, Clone)]
pub struct GithubSettings {
    /// `owner/name`
    pub repository: String,
    /// Where people see it, such as `https://github.com`.
    pub url: Url,
    /// Where the REST API is, without a slash at its end.
    pub api: String,
    pub access: Access,
    /// What deliveries to `/hooks/github` are signed with; `None` to take none and only poll.
    pub webhook_secret: Option<SecretString>,
    /// How `lockstep proposal merge` merges.
    pub merge: MergeMethod,
}

/// How Lockstep shows who it is. Neither can be printed.
#[derive(Clone)]
pub enum Access {
    /// A person's or a machine account's token.
    Token(SecretString),
    /// A GitHub App's private key in PEM; tokens of its installation are fetched as they are needed.
    App {
        id: u64,
        key: SecretString,
        /// `None` to ask which one the repository belongs to.
        installation: Option<u64>,
    },
    /// Nothing to show: an error only once it is needed, so that `check` runs anywhere.
    Missing(String),
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(_) => f.write_str("Token([REDACTED])"),
            Self::App { id, .. } => write!(f, "App({id}, [REDACTED])"),
            Self::Missing(why) => write!(f, "Missing({why})"),
        }
    }
}

/// How a proposal's commits get onto the main branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MergeMethod {
    #[default]
    Merge,
    Squash,
    Rebase,
}

impl MergeMethod {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Merge => "merge",
            Self::Squash => "squash",
            Self::Rebase => "rebase",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename = "github")]
pub(super) struct RawGithub {
    repository: String,
    url: Option<String>,
    api: Option<String>,
    #[serde(default, deserialize_with = "secret")]
    token: Option<SecretString>,
    pub(super) token_env: Option<String>,
    token_file: Option<std::path::PathBuf>,
    app: Option<RawApp>,
    #[serde(default, deserialize_with = "secret")]
    webhook_secret: Option<SecretString>,
    pub(super) webhook_secret_env: Option<String>,
    webhook_secret_file: Option<std::path::PathBuf>,
    #[serde(default)]
    merge: MergeMethod,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawApp {
    id: u64,
    key_file: Option<std::path::PathBuf>,
    pub(super) key_env: Option<String>,
    installation: Option<u64>,
}

impl RawGithub {
    /// The variables that secrets are read from.
    pub(super) fn variables(&self) -> impl Iterator<Item = String> + '_ {
        let app = self.app.as_ref().and_then(|a| a.key_env.clone());
        [self.token_env.clone(), self.webhook_secret_env.clone(), app]
            .into_iter()
            .flatten()
    }
}

/// Reads the section. Errors come with the key they are about.
pub(super) fn github(
    raw: RawGithub,
    folder: &Path,
    env: Environment<'_>,
    warnings: &mut Vec<String>,
) -> Result<GithubSettings, (String, String)> {
    let at = |key: &str, message: String| (format!("github.{key}"), message);
    let repository = raw.repository;
    if !is_repository(&repository) {
        let message = format!(
            "{repository:?} is no repository; write owner and name, such as \"acme/config\""
        );
        return Err(at("repository", message));
    }
    let url = address(raw.url.as_deref().unwrap_or("https://github.com"))
        .map_err(|why| at("url", why))?;
    let api = match &raw.api {
        Some(api) => address(api).map_err(|why| at("api", why))?,
        None if url.host_str() == Some("github.com") => {
            address("https://api.github.com").map_err(|why| at("api", why))?
        }
        None => address(&format!("{}/api/v3", url.as_str().trim_end_matches('/')))
            .map_err(|why| at("api", why))?,
    };
    let mut find = |key: &str, text, variable, file| {
        let section = format!("github.{key}");
        found(&section, key, text, variable, file, folder, env, warnings)
            .map_err(|why| at(key, why))
    };
    let token = find("token", raw.token, raw.token_env, raw.token_file)?;
    let secret = find(
        "webhook_secret",
        raw.webhook_secret,
        raw.webhook_secret_env,
        raw.webhook_secret_file,
    )?;
    let access = match (token, raw.app) {
        (Some(Ok(token)), None) => Access::Token(token),
        (Some(Err(why)), None) => Access::Missing(why),
        (None, Some(app)) => match find("app.key", None, app.key_env, app.key_file)? {
            Some(Ok(key)) => Access::App {
                id: app.id,
                key,
                installation: app.installation,
            },
            Some(Err(why)) => Access::Missing(why),
            None => {
                return Err(at(
                    "app",
                    "give the private key's key_file or key_env".into(),
                ));
            }
        },
        (None, None) => {
            return Err(at(
                "token",
                "say who Lockstep is: token_file, token_env, token, or [github.app]".to_owned(),
            ));
        }
        (Some(_), Some(_)) => {
            return Err(at("app", "give a token or an app, not both".to_owned()));
        }
    };
    let webhook_secret = match secret {
        Some(Ok(secret)) => Some(secret),
        // Without it every delivery would have to be believed.
        Some(Err(why)) => return Err(at("webhook_secret", why)),
        None => None,
    };
    Ok(GithubSettings {
        repository,
        url,
        api: api.as_str().trim_end_matches('/').to_owned(),
        access,
        webhook_secret,
        merge: raw.merge,
    })
}

/// `owner/name`, in the characters that GitHub allows.
fn is_repository(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    text.split_once('/')
        .is_some_and(|(owner, name)| part(owner) && part(name))
}

/// A place that secrets may be sent to: over TLS, or on this machine.
pub(super) fn address(text: &str) -> Result<Url, String> {
    let shown = text.rsplit_once('@').map_or(text, |(_, host)| host);
    let url = Url::parse(text).map_err(|_| format!("{shown:?} is no URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("no user or password belongs into this URL; the token is given apart".into());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback(&url) => Ok(url),
        "http" => Err(format!(
            "{shown:?} would carry the token over a network in the clear; write https"
        )),
        _ => Err(format!("{shown:?} is no https URL")),
    }
}

/// A secret that is text, a variable's value or a file's content; `None` where none of the three is named.
#[expect(
    clippy::too_many_arguments,
    reason = "the three ways to give a secret, and where they are said"
)]
pub(super) fn found(
    section: &str,
    key: &str,
    text: Option<SecretString>,
    variable: Option<String>,
    file: Option<std::path::PathBuf>,
    folder: &Path,
    env: Environment<'_>,
    warnings: &mut Vec<String>,
) -> Result<Option<Result<SecretString, String>>, String> {
    let secret = match (text, variable, file) {
        (None, None, None) => return Ok(None),
        (Some(text), None, None) => Ok(text),
        (None, Some(variable), None) => env(&variable)
            .map(SecretString::from)
            .ok_or_else(|| format!("the environment variable {variable} is not set")),
        (None, None, Some(file)) => {
            let file = folder.join(file);
            if readable_by_others(&file) {
                warnings.push(format!(
                    "{} holds {section} and others on this machine can read it; `chmod 600` it",
                    file.display()
                ));
            }
            read_bounded(&file, SECRET_LIMIT)
                .map(|text| SecretString::from(text.trim_end_matches(['\r', '\n'])))
                .map_err(|error| format!("{} cannot be read: {error}", file.display()))
        }
        _ => {
            return Err(format!(
                "give exactly one of {key}, {key}_env and {key}_file"
            ));
        }
    };
    Ok(Some(secret.and_then(|secret| {
        if secret.expose_secret().trim().is_empty() {
            Err("it is empty".to_owned())
        } else {
            Ok(secret)
        }
    })))
}

const SECRET_LIMIT: u64 = 64 << 10;
