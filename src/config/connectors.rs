//! What each connector asks of a system in `lockstep.yaml`, so far as the text alone can tell. How a system is spoken to, and what
//! the server has to give for it, is not known here.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;
use url::{ParseError, Url};

pub mod postgres;
pub mod redis;

/// A connector as `lockstep.yaml` names it.
#[derive(Debug, Clone, Copy)]
pub struct ConnectorForm {
    pub name: &'static str,
    pub settings: &'static [Setting],
    /// Whether a credential can be sent along.
    pub credential: bool,
}

impl ConnectorForm {
    /// The names of its settings, for messages.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.settings.iter().map(|s| s.key)
    }
}

/// One of a connector's settings.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub key: &'static str,
    pub example: &'static str,
    /// Whether the connector cannot do without it.
    pub required: bool,
    pub check: Check,
}

/// What a setting's value has to be; the error of a function says what is wrong with one.
#[derive(Debug, Clone, Copy)]
pub enum Check {
    /// The address of a system over HTTP.
    Address,
    Text(fn(&str) -> Result<(), String>),
    /// Anything but a text alone.
    Value(fn(&Value) -> Result<(), String>),
}

/// All connectors that a system may name: a row each.
pub const CONNECTORS: &[ConnectorForm] = &[
    ConnectorForm {
        name: "http",
        settings: &[Setting {
            key: "url",
            example: "url: https://medical.example.org",
            required: true,
            check: Check::Address,
        }],
        credential: true,
    },
    ConnectorForm {
        name: "pull",
        settings: &[Setting {
            key: "stale_after",
            example: "stale_after: 5m",
            required: false,
            check: Check::Text(|text| patience(text).map(drop)),
        }],
        credential: true,
    },
    ConnectorForm {
        name: "postgres",
        settings: &[
            Setting {
                key: "url",
                example: "url: postgres://db.example.org/medical",
                required: true,
                check: Check::Text(|text| postgres::address(text).map(drop)),
            },
            Setting {
                key: "schema",
                example: "schema: lockstep",
                required: false,
                check: Check::Text(|text| postgres::Ident::parse(text).map(drop)),
            },
            Setting {
                key: "tables",
                example: "tables: {FeatureFlag: {table: flags, key: name, columns: {rollout: rollout}}}",
                required: false,
                check: Check::Value(|value| postgres::mappings(value).map(drop)),
            },
            Setting {
                key: "notify",
                example: "notify: true",
                required: false,
                check: Check::Value(|value| postgres::flag(value).map(drop)),
            },
        ],
        credential: true,
    },
    ConnectorForm {
        name: "redis",
        settings: &[
            Setting {
                key: "url",
                example: "url: rediss://cache.example.org/0",
                required: true,
                check: Check::Text(|text| redis::address(text).map(drop)),
            },
            Setting {
                key: "prefix",
                example: "prefix: \"lockstep:\"",
                required: false,
                check: Check::Text(redis::name),
            },
            Setting {
                key: "notify",
                example: "notify: settings-changed",
                required: false,
                check: Check::Text(redis::name),
            },
        ],
        credential: true,
    },
    ConnectorForm {
        name: "file",
        settings: &[
            Setting {
                key: "path",
                example: "path: legacy/flags.json",
                required: true,
                // Where it may lie is the server's to say.
                check: Check::Text(|_| Ok(())),
            },
            Setting {
                key: "format",
                example: "format: yaml",
                required: false,
                check: Check::Text(file_format),
            },
        ],
        credential: false,
    },
    ConnectorForm {
        name: "scim",
        settings: &[
            Setting {
                key: "url",
                example: "url: https://id.example.org/scim/v2",
                required: true,
                check: Check::Address,
            },
            Setting {
                key: "group_prefix",
                example: "group_prefix: \"lockstep:\"",
                required: false,
                check: Check::Text(not_empty),
            },
            Setting {
                key: "groups",
                example: "groups: {admin: Administrators}",
                required: false,
                check: Check::Value(|value| role_groups(value).map(drop)),
            },
        ],
        credential: true,
    },
    ConnectorForm {
        name: "unleash",
        settings: &[
            Setting {
                key: "url",
                example: "url: https://unleash.example.org",
                required: true,
                check: Check::Address,
            },
            Setting {
                key: "project",
                example: "project: default",
                required: false,
                check: Check::Text(not_empty),
            },
            Setting {
                key: "environment",
                example: "environment: production",
                required: true,
                check: Check::Text(not_empty),
            },
        ],
        credential: true,
    },
];

/// The forms in which a system that is a file may be written. The first is what it is without a word.
pub const FILE_FORMATS: &[&str] = &["json", "yaml", "toml", "env", "flagd", "folder"];

fn file_format(text: &str) -> Result<(), String> {
    if FILE_FORMATS.contains(&text) {
        return Ok(());
    }
    Err(format!(
        "a file has no such format; it is one of {}",
        FILE_FORMATS.join(", ")
    ))
}

/// How long a system may say nothing: `5m`, `90s`.
pub fn patience(text: &str) -> Result<Duration, String> {
    const RANGE: std::ops::RangeInclusive<Duration> =
        Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);
    let duration = text.parse::<SignedDuration>().ok();
    let duration = duration.and_then(|d| Duration::try_from(d).ok());
    duration
        .filter(|d| RANGE.contains(d))
        .ok_or_else(|| "it is no duration from 1s to 24h".to_owned())
}

/// Whether a system of this connector has no staging of its own: what a changeset says takes effect change by change there, and one that fails half
/// way is put back from a snapshot.
pub fn is_compensated(connector: &str) -> bool {
    matches!(connector, "unleash" | "scim")
}

/// What the group of each role is called, from the setting `groups` of `scim`.
pub fn role_groups(value: &Value) -> Result<BTreeMap<String, String>, String> {
    let wrong = || "groups is to say what the group of each role is called".to_owned();
    let roles = value.as_object().ok_or_else(wrong)?;
    let mut groups = BTreeMap::new();
    for (role, name) in roles {
        let name = name.as_str().filter(|name| !name.trim().is_empty());
        let name = name.ok_or_else(wrong)?;
        if let Some((other, _)) = groups.iter().find(|(_, n): &(_, &String)| *n == name) {
            return Err(format!(
                "the roles {other} and {role} have one group, {name}"
            ));
        }
        groups.insert(role.clone(), name.to_owned());
    }
    Ok(groups)
}

fn not_empty(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(())
}

/// Why a text is no address of a system. It does not repeat the text, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressFault {
    #[error("the url has no https:// or http:// before the host")]
    Bare,
    #[error("the url of a system starts with https:// or http://, not {0}:")]
    Scheme(String),
    #[error("the url names no host")]
    Host,
    #[error("the port in the url is none; it is a number from 1 to 65535")]
    Port,
    #[error("the host in the url can't be read")]
    Unreadable,
    #[error("the url of a system holds no user or password; name a credential instead")]
    Secret,
    #[error("the url of a system has no query or fragment")]
    Query,
}

/// Reads a `url` to which the System API's paths can be appended.
pub fn address(text: &str) -> Result<Url, AddressFault> {
    // `medical:8801` would be read as the scheme `medical`.
    if !text.contains("://") {
        return Err(AddressFault::Bare);
    }
    let url = Url::parse(text).map_err(|error| {
        if error == ParseError::EmptyHost {
            AddressFault::Host
        } else if error == ParseError::InvalidPort {
            AddressFault::Port
        } else {
            AddressFault::Unreadable
        }
    })?;
    check_address(&url)?;
    Ok(url)
}

/// The same for what has been read as a URL already.
pub fn check_address(url: &Url) -> Result<(), AddressFault> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(AddressFault::Scheme(url.scheme().to_owned()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(AddressFault::Host);
    }
    if url.port() == Some(0) {
        return Err(AddressFault::Port);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AddressFault::Secret);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(AddressFault::Query);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_maybe_a_path() {
        for right in [
            "https://medical.example.org",
            "http://127.0.0.1:8801",
            "https://medical.example.org/api/",
            "http://[::1]:8801",
        ] {
            assert!(address(right).is_ok(), "{right}");
        }
        let wrong = [
            "medical.example.org",
            "medical:8801",
            "",
            "/medical",
            "file:///etc/passwd",
            "ftp://medical.example.org",
            "http://",
            "http://:8801",
            "http://medical:0",
            "http://medical:99999",
            "http://[::1",
            "http://me dical",
            "https://s3cret@medical",
            "https://medical/?token=s3cret",
        ];
        let said: Vec<String> = wrong
            .iter()
            .map(|text| match address(text) {
                Ok(_) => format!("{text}: passed"),
                Err(fault) => format!("{text}: {fault:?}"),
            })
            .collect();
        insta::assert_snapshot!(said.join("\n"), @r#"
        medical.example.org: Bare
        medical:8801: Bare
        : Bare
        /medical: Bare
        file:///etc/passwd: Scheme("file")
        ftp://medical.example.org: Scheme("ftp")
        http://: Host
        http://:8801: Host
        http://medical:0: Port
        http://medical:99999: Port
        http://[::1: Unreadable
        http://me dical: Unreadable
        https://s3cret@medical: Secret
        https://medical/?token=s3cret: Query
        "#);
    }
}
