//! Proofs for whoever has nothing but a key: that an entry is in the ledger, and that one checkpoint carries on another.

use serde::{Deserialize, Serialize};

use super::AuditError;
use super::checkpoints::{Checkpoints, Signed};
use crate::ids::Digest;
use crate::store::{Go, Link, Reader, Window};
use crate::tlog::{
    Checkpoint, CheckpointFault, Gather, InclusionProof, TreeFault, VerifierKey, consistency,
    inclusion, verify_consistency,
};

/// That the larger of two checkpoints is of the same ledger as the smaller, and only adds to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyProof {
    /// Signed, both.
    pub from: String,
    pub to: String,
    pub hashes: Vec<Digest>,
}

/// Why a consistency proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsistencyFault {
    #[error("its checkpoints are not to be believed: {0}")]
    Checkpoint(#[from] CheckpointFault),
    #[error("the larger checkpoint does not carry on the smaller: {0}")]
    Tree(#[from] TreeFault),
}

impl ConsistencyProof {
    /// Both checkpoints, where these keys have signed them and one carries on the other.
    pub fn verify(
        &self,
        trusted: &[VerifierKey],
    ) -> Result<(Checkpoint, Checkpoint), ConsistencyFault> {
        let from = Checkpoint::open(&self.from, trusted)?;
        let to = Checkpoint::open(&self.to, trusted)?;
        verify_consistency((from.size, from.root), (to.size, to.root), &self.hashes)?;
        Ok((from, to))
    }
}

/// The hashes of stretches of the ledger, up to a size. What does not chain proves nothing, and is an error.
fn gather(
    reader: &mut Reader,
    mut gather: Gather,
    size: u64,
    mut see: impl FnMut(u64, &str),
) -> Result<Vec<Digest>, AuditError> {
    let mut link = Link::default();
    let window = Window {
        first: 1,
        last: size,
    };
    reader.ledger::<AuditError>(window, &mut |row| {
        let hash = link.add(row).map_err(|why| AuditError::Inconsistent {
            why: format!("entry {} is not as it was written: {why}", row.seq),
        })?;
        gather.push(hash);
        see(link.entries, row.leaf);
        Ok(Go::On)
    })?;
    gather.finish().ok_or_else(|| AuditError::Inconsistent {
        why: format!("{size} entries were signed, and there are {}", link.entries),
    })
}

/// Proves that an entry, counted from 1, is in the tree of the first checkpoint that takes it in. Blocking.
pub fn entry(
    reader: &mut Reader,
    seq: u64,
    signed: &Signed,
    trusted: &[VerifierKey],
) -> Result<InclusionProof, AuditError> {
    let size = signed.checkpoint.size;
    let index = seq.saturating_sub(1);
    let stretches = inclusion(index, size)
        .ok_or_else(|| AuditError::Missing(format!("there is no entry {seq}")))?;
    let mut leaf = Vec::new();
    let hashes = gather(reader, Gather::new(stretches), size, |at, text| {
        if at == seq {
            leaf = text.as_bytes().to_vec();
        }
    })?;
    let proof = InclusionProof {
        entry: leaf,
        index,
        hashes,
        checkpoint: signed.text.clone(),
    };
    proof
        .verify(trusted)
        .map_err(|fault| AuditError::Inconsistent {
            why: format!("entry {seq} can't be proved: {fault}"),
        })?;
    Ok(proof)
}

/// Proves that the checkpoint of one size is carried on by that of another. Blocking.
pub fn between(
    reader: &mut Reader,
    (from, to): (u64, u64),
    checkpoints: &Checkpoints,
    trusted: &[VerifierKey],
) -> Result<ConsistencyProof, AuditError> {
    let signed = |size: u64| {
        checkpoints.known.get(&size).ok_or_else(|| {
            let near: Vec<String> = checkpoints
                .known
                .keys()
                .rev()
                .take(10)
                .map(ToString::to_string)
                .collect();
            AuditError::Missing(format!(
                "no checkpoint of {size} entries is in the notes; the newest are of {}",
                if near.is_empty() {
                    "none".to_owned()
                } else {
                    near.join(", ")
                }
            ))
        })
    };
    let (first, second) = (signed(from)?, signed(to)?);
    let stretches = consistency(from, to).ok_or_else(|| {
        AuditError::Missing(format!("{from} is more than {to}: give the smaller first"))
    })?;
    let hashes = gather(reader, Gather::new(stretches), to, |_, _| {})?;
    let proof = ConsistencyProof {
        from: first.text.clone(),
        to: second.text.clone(),
        hashes,
    };
    proof
        .verify(trusted)
        .map_err(|fault| AuditError::Inconsistent {
            why: format!("{from} to {to} can't be proved: {fault}"),
        })?;
    Ok(proof)
}
