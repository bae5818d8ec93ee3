//! Checkpoints (C2SP tlog-checkpoint): which log, how many entries, which root.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::note::{Note, NoteFault, SignerKey, VerifierKey};
use crate::ids::Digest;

/// How far a log has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name: the name of the key that signs it.
    pub origin: String,
    pub size: u64,
    pub root: Digest,
}

/// Why a text is no checkpoint of a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointFault {
    #[error(transparent)]
    Note(#[from] NoteFault),
    #[error("its text is no checkpoint: three lines with origin, size and root")]
    Form,
    #[error("it is of the log {found:?}, signed by {signer:?}")]
    Origin { found: String, signer: String },
}

impl Checkpoint {
    /// Signs it. The origin is the key's name whatever it was.
    pub fn sign(&self, key: &SignerKey) -> String {
        let named = Self {
            origin: key.public().name().to_owned(),
            ..self.clone()
        };
        key.sign(&named.to_string())
    }

    /// Reads a signed checkpoint and believes it where one of these keys has signed it.
    pub fn open(text: &str, trusted: &[VerifierKey]) -> Result<Self, CheckpointFault> {
        let note: Note = text.parse()?;
        let signer = note.verify(trusted)?;
        let checkpoint = Self::of(note.text()).ok_or(CheckpointFault::Form)?;
        if checkpoint.origin == signer.name() {
            Ok(checkpoint)
        } else {
            Err(CheckpointFault::Origin {
                found: checkpoint.origin,
                signer: signer.name().to_owned(),
            })
        }
    }

    /// What a signed checkpoint says, whoever signed it: for looking, not for believing.
    pub fn peek(text: &str) -> Result<Self, CheckpointFault> {
        let note: Note = text.parse()?;
        Self::of(note.text()).ok_or(CheckpointFault::Form)
    }

    /// Lines of extensions are refused: nothing here writes any, and what is not read is not checked.
    fn of(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let is_size = size == "0" || (!size.starts_with('0') && size.len() < 20);
        let digits = size.bytes().all(|b| b.is_ascii_digit());
        if origin.is_empty() || lines.next().is_some() || !is_size || !digits {
            return None;
        }
        let root: [u8; 32] = STANDARD.decode(root).ok()?.try_into().ok()?;
        Some(Self {
            origin: origin.to_owned(),
            size: size.parse().ok()?,
            root: Digest::from_bytes(root),
        })
    }
}

/// A line of notes that holds a checkpoint, as other lines of ours are written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    timestamp: String,
    checkpoint: String,
    v: u64,
}

/// A signed checkpoint as a line of notes: JSON, with the second at which it was signed.
pub fn to_line(signed: &str, second: i64) -> String {
    let line = Line {
        timestamp: second.to_string(),
        checkpoint: signed.to_owned(),
        v: 0,
    };
    // Two texts and a number always have a JSON form.
    serde_json::to_string(&line).unwrap_or_default()
}

/// The signed checkpoint in a line of notes, where it is one; whose it is, is another question.
pub fn from_line(line: &str) -> Option<String> {
    let line: Line = serde_json::from_str(line).ok()?;
    let is_second = line.timestamp.parse::<i64>().is_ok();
    let is_one = line.v == 0 && is_second && Checkpoint::peek(&line.checkpoint).is_ok();
    is_one.then_some(line.checkpoint)
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, size, root } = self;
        writeln!(f, "{origin}\n{size}\n{}", STANDARD.encode(root.as_bytes()))
    }
}
