//! A token and where it may go. It can't be printed or serialized, and is handed out only for a URL it is bound to.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use url::Url;

/// A named token, bound to hosts.
#[derive(Debug, Clone)]
pub struct Credential {
    name: String,
    token: Token,
    hosts: Vec<Host>,
    identity: Option<String>,
}

/// Why a token is not handed out. Names and hosts only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// It is bound to other hosts.
    #[error(
        "the credential {name:?} may not be sent to {host}; if it should, add {host:?} to its hosts in lockstep.toml"
    )]
    Host { name: String, host: String },
    /// It would cross a network in the clear.
    #[error(
        "the credential {name:?} is not sent to {host} without TLS; use https (rediss, no sslmode=disable), or name \"http://{host}\" in its hosts in lockstep.toml"
    )]
    Plain { name: String, host: String },
    /// There is none.
    #[error("the credential {name:?} has no token: {why}")]
    Missing { name: String, why: String },
}

/// A token that could be found, or why not: that is an error only once it is needed, so that `check` runs anywhere.
#[derive(Debug, Clone)]
pub(super) enum Token {
    Found(SecretString),
    Missing(String),
}

impl Token {
    pub(super) fn of(token: SecretString, empty: &str) -> Self {
        let text = token.expose_secret();
        if text.trim().is_empty() {
            Self::Missing(empty.to_owned())
        } else if text.chars().any(|c| c.is_control()) {
            // It could not stand in a header, and the header's error might repeat it.
            Self::Missing("it has a line break or another control character in it".to_owned())
        } else {
            Self::Found(token)
        }
    }
}

/// One place a token may go: `medical.example.jp`, `10.0.0.5:8443`, `http://10.0.0.5:8801`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Host {
    host: url::Host<String>,
    /// `None` for the scheme's own port.
    port: Option<u16>,
    /// Written with `http://`: may go without TLS to a host that is not this one.
    plain: bool,
}

impl Host {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            // What stands before an @ may be a password.
            let shown = match text.rsplit_once('@') {
                Some((_, host)) => format!("…@{host}"),
                None => text.to_owned(),
            };
            format!(
                "{shown:?} is no host; write it as \"medical.example.jp\" or \"medical.example.jp:8443\", without path or user"
            )
        };
        let full = if text.contains("://") {
            text.to_owned()
        } else {
            format!("https://{text}")
        };
        let url = Url::parse(&full).map_err(|_| wrong())?;
        let bare = matches!(url.scheme(), "http" | "https")
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        match url.host() {
            Some(host) if bare && !text.contains('*') => Ok(Self {
                host: host.to_owned(),
                port: url.port(),
                plain: url.scheme() == "http",
            }),
            _ => Err(wrong()),
        }
    }

    fn is_of(&self, url: &Url) -> bool {
        let scheme_port = match url.scheme() {
            "https" => 443,
            "http" => 80,
            "postgres" | "postgresql" => 5432,
            "redis" | "rediss" => 6379,
            _ => return false,
        };
        url.host().is_some_and(|h| h.to_owned() == self.host)
            && url.port().unwrap_or(scheme_port) == self.port.unwrap_or(scheme_port)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.plain { "http://" } else { "" };
        match self.port {
            Some(port) => write!(f, "{scheme}{}:{port}", self.host),
            None => write!(f, "{scheme}{}", self.host),
        }
    }
}

impl Credential {
    pub(super) fn new(name: &str, token: Token, hosts: Vec<Host>) -> Self {
        Self {
            name: name.to_owned(),
            token,
            hosts,
            identity: None,
        }
    }

    pub(super) fn of(mut self, identity: Option<String>) -> Self {
        self.identity = identity;
        self
    }

    /// The id under which the systems it is for know Lockstep: no plan may revoke it.
    pub fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// Whether somebody shows this very token. How long that takes to say tells nothing about it.
    pub fn is_shown_by(&self, shown: &str) -> bool {
        let Token::Found(token) = &self.token else {
            return false;
        };
        let mac = |key: &str| {
            let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).ok()?;
            Some(mac.chain_update(b"shown"))
        };
        let (Some(own), Some(shown)) = (mac(token.expose_secret()), mac(shown)) else {
            return false;
        };
        own.verify(&shown.finalize().into_bytes()).is_ok()
    }

    /// The token, if it may be sent to this URL.
    pub fn token_for(&self, url: &Url) -> Option<&SecretString> {
        self.check(url).ok()
    }

    /// The same, with the reason why not: for the person who has to put it right.
    pub fn check(&self, url: &Url) -> Result<&SecretString, CredentialError> {
        let name = || self.name.clone();
        let host = || match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => url.scheme().to_owned(),
        };
        let bound: Vec<&Host> = self.hosts.iter().filter(|h| h.is_of(url)).collect();
        if bound.is_empty() {
            return Err(CredentialError::Host {
                name: name(),
                host: host(),
            });
        }
        if !is_encrypted(url) && !loopback(url) && !bound.iter().any(|h| h.plain) {
            return Err(CredentialError::Plain {
                name: name(),
                host: host(),
            });
        }
        match &self.token {
            Token::Found(token) => Ok(token),
            Token::Missing(why) => Err(CredentialError::Missing {
                name: name(),
                why: why.clone(),
            }),
        }
    }
}

/// Whether what goes to the URL is encrypted, to a server whose name is checked. A database is always reached so, unless it says otherwise.
fn is_encrypted(url: &Url) -> bool {
    match url.scheme() {
        "https" | "rediss" => true,
        "postgres" | "postgresql" => {
            let mut said = url.query_pairs().filter(|(key, _)| key == "sslmode");
            said.all(|(_, mode)| mode == "verify-full")
        }
        _ => false,
    }
}

pub(super) fn loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
