//! A proof that an entry is in the log (C2SP tlog-proof): a text that carries the entry itself and a signed checkpoint, so that whoever has the
//! key needs nothing else.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::{Checkpoint, CheckpointFault};
use super::note::VerifierKey;
use super::tree::{TreeFault, leaf_hash, verify_inclusion};
use crate::ids::Digest;

const FIRST: &str = "c2sp.org/tlog-proof@v1";
/// A tree of 2^63 leaves has a path of that many hashes.
const HASHES: usize = 63;

/// Where an entry is in a log, and the hashes that show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// The entry, to the byte.
    pub entry: Vec<u8>,
    /// From 0.
    pub index: u64,
    pub hashes: Vec<Digest>,
    /// Signed.
    pub checkpoint: String,
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofFault {
    #[error("it is no proof: {0}")]
    Form(&'static str),
    #[error("its checkpoint is not to be believed: {0}")]
    Checkpoint(#[from] CheckpointFault),
    #[error("the entry is not in the tree of its checkpoint: {0}")]
    Tree(#[from] TreeFault),
}

impl InclusionProof {
    /// The checkpoint, where one of these keys has signed it and the entry is in its tree.
    pub fn verify(&self, trusted: &[VerifierKey]) -> Result<Checkpoint, ProofFault> {
        let checkpoint = Checkpoint::open(&self.checkpoint, trusted)?;
        verify_inclusion(
            leaf_hash(&self.entry),
            self.index,
            checkpoint.size,
            &self.hashes,
            checkpoint.root,
        )?;
        Ok(checkpoint)
    }
}

impl fmt::Display for InclusionProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST}\nextra {}", STANDARD.encode(&self.entry))?;
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", STANDARD.encode(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for InclusionProof {
    type Err = ProofFault;

    fn from_str(text: &str) -> Result<Self, ProofFault> {
        let (head, checkpoint) = text
            .split_once("\n\n")
            .ok_or(ProofFault::Form("it has no checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST) {
            return Err(ProofFault::Form("its first line is another"));
        }
        let entry = lines.next().and_then(|line| line.strip_prefix("extra "));
        let entry = entry.and_then(|line| STANDARD.decode(line).ok());
        let entry = entry.ok_or(ProofFault::Form("it does not hold the entry"))?;
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index
            .filter(|n| *n == "0" || !n.starts_with(['0', '+']))
            .and_then(|n| n.parse().ok())
            .ok_or(ProofFault::Form("it does not say which entry"))?;
        let hashes: Vec<Digest> = lines
            .map(|line| {
                let bytes = STANDARD.decode(line).ok()?;
                Some(Digest::from_bytes(bytes.try_into().ok()?))
            })
            .collect::<Option<_>>()
            .ok_or(ProofFault::Form("it has a line that is no hash"))?;
        if hashes.len() > HASHES {
            return Err(ProofFault::Form("it has too many hashes"));
        }
        Ok(Self {
            entry,
            index,
            hashes,
            checkpoint: checkpoint.to_owned(),
        })
    }
}
