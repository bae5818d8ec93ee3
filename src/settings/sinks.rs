//! `[sinks.NAME]` in `lockstep.toml`: who is told what happens.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::Environment;
use super::file::secret;
use super::github::{address, found};

/// A receiver of signed webhooks, after Standard Webhooks: <https://www.standardwebhooks.com>.
#[derive(Clone)]
pub struct SinkSettings {
    /// Over TLS, or on this machine. Only its host is ever shown: a path may be a secret.
    pub url: Url,
    /// The key of the signature.
    pub key: SecretString,
    /// What it is told: kinds of news by their beginning, `run`, `date.announced`; empty for all.
    pub events: Vec<String>,
}

impl fmt::Debug for SinkSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str().unwrap_or_default();
        write!(f, "SinkSettings({host}, {:?})", self.events)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSink {
    url: String,
    #[serde(default, deserialize_with = "secret")]
    secret: Option<SecretString>,
    pub(super) secret_env: Option<String>,
    secret_file: Option<PathBuf>,
    #[serde(default)]
    events: Vec<String>,
}

/// Reads the sections. Errors come with the key they are about.
pub(super) fn sinks(
    raw: BTreeMap<String, RawSink>,
    folder: &Path,
    env: Environment<'_>,
    warnings: &mut Vec<String>,
) -> Result<BTreeMap<String, SinkSettings>, (String, String)> {
    let mut sinks = BTreeMap::new();
    for (name, raw) in raw {
        let section = format!("sinks.{name}");
        let at = |key: &str, message: String| (format!("{section}.{key}"), message);
        let is_name = !name.is_empty()
            && name.len() <= 40
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if !is_name {
            let message = "a sink's name is lower-case letters, digits, - and _, at most 40";
            return Err((section, message.to_owned()));
        }
        let url = address(&raw.url).map_err(|why| at("url", why))?;
        let secret = found(
            &format!("{section}.secret"),
            "secret",
            raw.secret,
            raw.secret_env,
            raw.secret_file,
            folder,
            env,
            warnings,
        )
        .and_then(|found| {
            found.unwrap_or_else(|| Err("give secret_file, secret_env or secret".into()))
        })
        .map_err(|why| at("secret", why))?;
        let key = key(&secret).map_err(|why| at("secret", why))?;
        let events = raw.events;
        sinks.insert(name, SinkSettings { url, key, events });
    }
    Ok(sinks)
}

/// The shortest key that Standard Webhooks allow.
const KEY_BYTES: usize = 24;

/// The key of a secret as Standard Webhooks write it, `whsec_` and base64. It stays in base64 in memory.
fn key(secret: &SecretString) -> Result<SecretString, String> {
    let text = secret.expose_secret();
    let encoded = text
        .strip_prefix("whsec_")
        .ok_or("write it as whsec_ and base64, such as `openssl rand -base64 32` gives")?;
    match STANDARD.decode(encoded) {
        Ok(bytes) if bytes.len() >= KEY_BYTES => Ok(SecretString::from(encoded)),
        Ok(_) => Err(format!("it is shorter than {KEY_BYTES} bytes")),
        Err(_) => Err("what follows whsec_ is no base64".to_owned()),
    }
}
