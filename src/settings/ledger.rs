//! `[ledger]` in `lockstep.toml`: what the log is called, where the key is that signs its checkpoints, whose signatures are believed besides.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};

use crate::tlog::VerifierKey;

/// How the ledger is signed.
#[derive(Debug, Clone, Default)]
pub struct LedgerSettings {
    /// The log's name in its checkpoints; `None` for one made from the config repo's first commit.
    pub origin: Option<String>,
    /// The file with the private key; `None` for one beside the store.
    pub key: Option<PathBuf>,
    /// Keys that are believed besides our own: of replicas, and of before the key was changed.
    pub trusted: Vec<VerifierKey>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLedger {
    origin: Option<Origin>,
    key: Option<PathBuf>,
    #[serde(default)]
    trusted: Vec<Trusted>,
}

struct Origin(String);

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let is_fine = !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+');
        if is_fine && (1..=100).contains(&text.chars().count()) && !text.contains("://") {
            return Ok(Self(text));
        }
        Err(serde::de::Error::custom(format!(
            "{text:?} is no name for a log; write one like an address without its scheme, such as \"config.example.jp/lockstep\""
        )))
    }
}

struct Trusted(VerifierKey);

impl<'de> Deserialize<'de> for Trusted {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.starts_with("PRIVATE+KEY+") {
            // Not repeated.
            return Err(serde::de::Error::custom(
                "a private key has no place here; write what `lockstep audit key` prints",
            ));
        }
        text.parse().map(Self).map_err(|fault| {
            serde::de::Error::custom(format!(
                "{text:?} is no key: {fault}; write what `lockstep audit key` prints"
            ))
        })
    }
}

pub(super) fn ledger(raw: RawLedger, folder: &Path) -> LedgerSettings {
    LedgerSettings {
        origin: raw.origin.map(|o| o.0),
        key: raw.key.map(|key| folder.join(key)),
        trusted: raw.trusted.into_iter().map(|t| t.0).collect(),
    }
}
