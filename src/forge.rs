//! The port to where proposals live: GitHub, or the config repo itself (`forge::local`).
//!
//! A forge lists proposals, reads approvals, sets commit statuses, keeps one comment, merges and opens proposals. It
//! judges nothing: `gate` does, above this port, the same for every forge.

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{PlanDigest, Revision};

pub mod local;

/// What went wrong at the forge, by whose fault it is.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// Named something that isn't there, or asked for what the state of things forbids. The message says what to do.
    #[error("{0}")]
    Refused(String),
    /// The forge or the repository could not be reached or read; later it may work.
    #[error("{0}")]
    Transient(String),
    /// Someone else moved a branch or note meanwhile; read again.
    #[error("{0}")]
    Conflict(String),
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    pub number: u64,
    pub title: String,
    pub description: String,
    /// The author's login on the forge.
    pub author: String,
    pub labels: Vec<String>,
    /// The branch it is on, without `refs/heads/`.
    pub branch: String,
    /// The head of the main branch now: what judges the proposal.
    pub base: Revision,
    pub head: Revision,
    pub opened_at: Timestamp,
    pub state: ProposalState,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum ProposalState {
    Open,
    Merged { commit: Revision },
    Closed,
}

/// How far above the last a proposal's number may lie: numbers are given one after the other, with a few lost on the way.
pub const NUMBERS_AHEAD: u64 = 100;

/// The highest of the numbers that were given one after the other. One that lies far above the others was made up, and the next is not
/// counted from it.
pub fn highest_number(numbers: impl IntoIterator<Item = u64>) -> u64 {
    let numbers: BTreeSet<u64> = numbers.into_iter().collect();
    numbers.into_iter().fold(0, |last, number| {
        if number - last <= NUMBERS_AHEAD {
            number
        } else {
            last
        }
    })
}

/// What a reviewer said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewKind {
    Approve,
    RequestChanges,
    Comment,
}

/// A review. It binds the commit it was given on and, where Lockstep took it, the plan's digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    pub user: String,
    pub kind: ReviewKind,
    pub commit: Revision,
    pub plan: Option<PlanDigest>,
    pub at: Timestamp,
    pub message: String,
    /// An SSH signature over all of this, as `ssh-keygen -Y sign` writes it. Whether it is the person's own is for the gate to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// A commit status as the forge shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// `lockstep/check`, `lockstep/apply/medical`, …
    pub context: String,
    pub state: StatusState,
    /// At most 140 characters.
    pub description: String,
    pub at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusState {
    Pending,
    Success,
    Failure,
    Error,
}

/// The longest description a status may have, in characters (GitHub's limit).
pub const DESCRIPTION_CHARS: usize = 140;

/// A new proposal: the branch exists already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProposal {
    pub title: String,
    pub description: String,
    pub author: String,
    pub branch: String,
    pub labels: Vec<String>,
}

/// Where proposals live.
#[async_trait]
pub trait Forge: Send + Sync {
    /// The head of the main branch.
    async fn main(&self) -> Result<Revision, ForgeError>;
    /// All proposals, newest first; closed and merged ones too where `all`.
    async fn proposals(&self, all: bool) -> Result<Vec<Proposal>, ForgeError>;
    async fn proposal(&self, number: u64) -> Result<Proposal, ForgeError>;
    async fn open(&self, new: NewProposal) -> Result<Proposal, ForgeError>;
    /// Closes without merging.
    async fn close(&self, number: u64, by: &str, message: &str) -> Result<(), ForgeError>;
    /// In the order in which they were given.
    async fn reviews(&self, number: u64) -> Result<Vec<Review>, ForgeError>;
    async fn review(&self, number: u64, review: Review) -> Result<(), ForgeError>;
    /// The newest status of each context on a commit.
    async fn statuses(&self, commit: &Revision) -> Result<Vec<Status>, ForgeError>;
    /// Sets statuses on a commit, together where the forge can.
    async fn set_statuses(
        &self,
        commit: &Revision,
        statuses: Vec<Status>,
    ) -> Result<(), ForgeError>;
    /// Sets one.
    async fn set_status(&self, commit: &Revision, status: Status) -> Result<(), ForgeError> {
        self.set_statuses(commit, vec![status]).await
    }
    /// Lockstep's one comment on a proposal, replaced in place.
    async fn upsert_comment(&self, number: u64, markdown: &str) -> Result<(), ForgeError>;
    /// Merges if the main branch is still at `base` and the proposal at `head`, else [`ForgeError::Conflict`].
    async fn merge(&self, proposal: &Proposal, by: &str) -> Result<Revision, ForgeError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_was_made_up_is_not_counted_on_from() {
        assert_eq!(highest_number([]), 0);
        assert_eq!(highest_number([3, 1, 2]), 3);
        assert_eq!(highest_number([1, 101, 300]), 101);
        assert_eq!(highest_number([7, u64::MAX, u64::MAX - 1]), 7);
        assert_eq!(highest_number([101]), 0);
    }
}
