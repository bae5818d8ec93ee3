//! The ledger as a transparency log: a Merkle tree over its entries (RFC 6962), proofs about it, and checkpoints that say with a signature how
//! far it has come (C2SP signed-note, tlog-checkpoint and tlog-proof).
//!
//! It does not know what an entry says, where it is kept, or how a key comes to be: bytes go in, hashes and texts come out.

mod checkpoint;
mod note;
mod proof;
mod tree;

pub use checkpoint::{Checkpoint, CheckpointFault, from_line, to_line};
pub use note::{KeyFault, Note, NoteFault, SignerKey, VerifierKey};
pub use proof::{InclusionProof, ProofFault};
pub use tree::{
    Gather, Range, TreeFault, consistency, inclusion, leaf_hash, node_hash, root_of,
    verify_consistency, verify_inclusion,
};

#[cfg(test)]
mod tests;
