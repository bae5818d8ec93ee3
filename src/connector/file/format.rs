//! The forms in which a file may hold a state. Each gives back exactly the specs that it was given, or is refused what it can't hold:
//! what would come back as something else would be drift for ever.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::content::{Around, Content};
use super::{ConnectorError, folder};
use crate::config::connectors::FILE_FORMATS;
use crate::connector::{Changeset, Reason};
use crate::ids::{Digest, KindName};
use crate::state::Item;

mod env;
mod flagd;
mod json;
mod listed;
mod quoted;
mod toml;
mod yaml;

pub(super) use json::{entries, part};

/// How a state is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    #[default]
    Json,
    Yaml,
    Toml,
    /// Variables, for specs that are flat.
    Env,
    /// Flag definitions as flagd's in-process providers read them.
    Flagd,
    /// A folder with a file for each kind.
    Folder,
}

/// A word that names no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no format of a file; there is {}", FILE_FORMATS.join(", "))]
pub struct UnknownFormat {
    text: String,
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        Ok(match text {
            "json" => Self::Json,
            "yaml" => Self::Yaml,
            "toml" => Self::Toml,
            "env" => Self::Env,
            "flagd" => Self::Flagd,
            "folder" => Self::Folder,
            _ => {
                return Err(UnknownFormat {
                    text: text.chars().take(50).collect(),
                });
            }
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Yaml => "yaml",
            Self::Toml => "toml",
            Self::Env => "env",
            Self::Flagd => "flagd",
            Self::Folder => "folder",
        })
    }
}

/// The bytes that are read, before it is known what they say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Loaded {
    File(Vec<u8>),
    Folder(folder::Loaded),
}

impl Loaded {
    /// The same for the same bytes.
    pub(super) fn key(&self) -> Digest {
        match self {
            Self::File(bytes) => Digest::of(bytes),
            Self::Folder(loaded) => loaded.key(),
        }
    }
}

/// The bytes to be written: those of the file, whose renaming is the commit, and those of the other files that a folder has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) main: Vec<u8>,
    pub(super) parts: Vec<(KindName, Vec<u8>)>,
}

/// What is wrong with the bytes of a file, for the one who can mend it.
pub(super) fn unreadable(what: &str) -> ConnectorError {
    ConnectorError::Terminal {
        message: format!("{what}; mend the file, nothing is done with it before it can be read"),
    }
}

/// How much of a parser's words is repeated: they may quote a line as long as the file.
const WORDS: usize = 300;

pub(super) fn shorten(words: &str) -> String {
    let printable = words.chars().map(|c| if c.is_control() { ' ' } else { c });
    printable.take(WORDS).collect()
}

/// The bytes as text, for the formats that are lines of it.
fn text<'b>(bytes: &'b [u8], form: &str) -> Result<&'b str, ConnectorError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let line = lines_before(bytes, error.valid_up_to()) + 1;
        unreadable(&format!("the file is no {form}: line {line} is no UTF-8"))
    })
}

fn lines_before(bytes: &[u8], offset: usize) -> usize {
    let before = bytes.iter().take(offset);
    before.filter(|byte| **byte == b'\n').count()
}

/// A byte's line and column, for messages.
fn position(text: &str, offset: usize) -> String {
    let line = lines_before(text.as_bytes(), offset) + 1;
    let before = text.as_bytes().get(..offset).unwrap_or(text.as_bytes());
    let start = before
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |n| n + 1);
    let column = String::from_utf8_lossy(before.get(start..).unwrap_or_default());
    format!("line {line} column {}", column.chars().count() + 1)
}

impl Format {
    /// Whether a file holds more than the state: what others wrote, or other files. The bytes to be committed then depend on more than
    /// the state's digest, and are made when they are.
    pub(super) fn has_more(self) -> bool {
        match self {
            Self::Json | Self::Yaml | Self::Toml => false,
            Self::Env | Self::Flagd | Self::Folder => true,
        }
    }

    pub(super) fn read(self, loaded: &Loaded) -> Result<Content, ConnectorError> {
        match (self, loaded) {
            (Self::Json, Loaded::File(bytes)) => json::read(bytes),
            (Self::Yaml, Loaded::File(bytes)) => yaml::read(bytes),
            (Self::Toml, Loaded::File(bytes)) => toml::read(bytes),
            (Self::Env, Loaded::File(bytes)) => env::read(bytes),
            (Self::Flagd, Loaded::File(bytes)) => flagd::read(bytes),
            (_, Loaded::Folder(loaded)) => folder::read(loaded),
            (Self::Folder, Loaded::File(_)) => Err(unreadable("the folder is a file")),
        }
    }

    fn write(self, content: &Content, now: Option<&Content>) -> Result<Written, ConnectorError> {
        let main = match self {
            Self::Json => json::write(content)?,
            Self::Yaml => yaml::write(content),
            Self::Toml => toml::write(content)?,
            Self::Env => env::write(content)?,
            Self::Flagd => flagd::write(content)?,
            Self::Folder => return folder::write(content, now),
        };
        Ok(Written {
            main,
            parts: Vec::new(),
        })
    }

    /// Why the file can't hold a resource as it is to be, as far as that is known beforehand.
    fn unfit(self, item: &Item, around: &Around) -> Option<String> {
        match self {
            Self::Json | Self::Yaml | Self::Folder => None,
            Self::Toml => toml::unfit(item),
            Self::Env => env::unfit(item, around),
            Self::Flagd => flagd::unfit(item, around),
        }
    }

    /// The bytes of a state, which are known to say just that. `changes` are what is new in it, `now` what the file holds.
    pub(super) fn prepare(
        self,
        content: &Content,
        now: Option<&Content>,
        changes: &Changeset,
    ) -> Result<Written, ConnectorError> {
        let new = || changes.changes.iter().filter_map(|c| c.after.as_ref());
        let refuse = |reasons: Vec<Reason>| ConnectorError::Refused {
            message: format!(
                "{} of {} changes cannot be held by a file of the format {self}",
                reasons.len(),
                changes.changes.len()
            ),
            reasons,
        };
        let reason = |item: &Arc<Item>, message| Reason {
            id: item.id.clone(),
            message,
        };
        let unfit: Vec<Reason> = new()
            .filter_map(|item| Some(reason(item, self.unfit(item, &content.around)?)))
            .collect();
        if !unfit.is_empty() {
            return Err(refuse(unfit));
        }
        let written = self.write(content, now)?;
        if self.says(&written, content, now) {
            return Ok(written);
        }
        let lost: Vec<Reason> = new()
            .filter(|item| !self.keeps(item))
            .map(|item| reason(item, format!("would not come back from {self} as it is")))
            .collect();
        if lost.is_empty() {
            return Err(ConnectorError::Terminal {
                message: format!(
                    "what the file holds already would not come back from {self} as it is; mend the file"
                ),
            });
        }
        Err(refuse(lost))
    }

    /// The bytes of a state that has been decided on.
    pub(super) fn decided(
        self,
        content: &Content,
        now: Option<&Content>,
    ) -> Result<Written, ConnectorError> {
        self.write(content, now)
    }

    /// Whether the bytes, read again, are the content. Of a folder only what is new is read again.
    fn says(self, written: &Written, content: &Content, now: Option<&Content>) -> bool {
        let loaded = match self {
            Self::Folder => match folder::Loaded::of(written, now) {
                Ok(loaded) => Loaded::Folder(loaded),
                Err(_) => return false,
            },
            Self::Json | Self::Yaml | Self::Toml | Self::Env | Self::Flagd => {
                Loaded::File(written.main.clone())
            }
        };
        self.read(&loaded)
            .is_ok_and(|again| again.state == content.state)
    }

    /// Whether a resource by itself comes back as it is.
    fn keeps(self, item: &Arc<Item>) -> bool {
        let alone = Content {
            state: [item.clone()].into_iter().collect(),
            ..Content::default()
        };
        self.write(&alone, None)
            .is_ok_and(|written| self.says(&written, &alone, None))
    }
}
