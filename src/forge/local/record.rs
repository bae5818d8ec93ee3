//! Lines of Lockstep's own notes. They are ordered by a sequence number, because a second can see several, and then by time, because clones that
//! were merged may both have counted on.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::forge::{ReviewKind, StatusState};
use crate::ids::{PlanDigest, Revision};

pub(super) const PROPOSALS: &str = "refs/notes/lockstep/proposals";
pub(super) const APPROVALS: &str = "refs/notes/lockstep/approvals";
pub(super) const STATUSES: &str = "refs/notes/lockstep/statuses";
/// Created exclusively, so that a number is given once.
pub(super) const NUMBERS: &str = "refs/lockstep/proposals";
/// Keeps a proposal's head from being collected when its branch is deleted.
pub(super) const HEADS: &str = "refs/lockstep/heads";

/// What is known of a proposal; of several lines with one number the last counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProposalLine {
    pub(super) timestamp: String,
    pub(super) sequence: u64,
    pub(super) number: u64,
    pub(super) state: State,
    pub(super) title: String,
    #[serde(default)]
    pub(super) description: String,
    pub(super) author: String,
    #[serde(default)]
    pub(super) labels: Vec<String>,
    pub(super) branch: String,
    pub(super) opened_at: Timestamp,
    /// Where the main branch was when this line was written; for a merge, just before it.
    pub(super) base: Revision,
    pub(super) head: Revision,
    /// The merge commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) commit: Option<Revision>,
    /// Who closed or merged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<String>,
    #[serde(default)]
    pub(super) v: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Open,
    Closed,
    Merged,
}

/// A review and what it was given on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ApprovalLine {
    pub(super) timestamp: String,
    pub(super) sequence: u64,
    pub(super) number: u64,
    pub(super) user: String,
    pub(super) commit: Revision,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) plan: Option<PlanDigest>,
    pub(super) kind: ReviewKind,
    #[serde(default)]
    pub(super) message: String,
    pub(super) at: Timestamp,
    /// The hash of the comment that says the same to git-appraise.
    #[serde(default)]
    pub(super) comment: String,
    /// An SSH signature over the review. git-appraise's own `signature` stays what that tool makes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) signature: Option<String>,
    #[serde(default)]
    pub(super) v: u64,
}

/// A commit status with what git-appraise's `ci` has no place for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StatusLine {
    pub(super) timestamp: String,
    pub(super) sequence: u64,
    pub(super) context: String,
    pub(super) state: StatusState,
    #[serde(default)]
    pub(super) description: String,
    pub(super) at: Timestamp,
    #[serde(default)]
    pub(super) v: u64,
}

/// What all lines of ours have.
pub(super) trait Record: Serialize + DeserializeOwned {
    fn sequence(&self) -> u64;
    fn timestamp(&self) -> &str;
    fn version(&self) -> u64;
}

macro_rules! record {
    ($($kind:ident),*) => {$(
        impl Record for $kind {
            fn sequence(&self) -> u64 {
                self.sequence
            }
            fn timestamp(&self) -> &str {
                &self.timestamp
            }
            fn version(&self) -> u64 {
                self.v
            }
        }
    )*};
}
record!(ProposalLine, ApprovalLine, StatusLine);

/// The lines that can be read, in order.
pub(super) fn read<T: Record>(lines: &[String]) -> Vec<T> {
    let mut read: Vec<T> = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<T>(line).ok())
        .filter(|line| line.version() == 0)
        .collect();
    read.sort_by(|a, b| (a.sequence(), a.timestamp()).cmp(&(b.sequence(), b.timestamp())));
    read
}

/// The sequence number of the next line.
pub(super) fn next<T: Record>(read: &[T]) -> u64 {
    read.last()
        .map_or(1, |last| last.sequence().saturating_add(1))
}

/// A line as it is written.
pub(super) fn write<T: Serialize>(line: &T) -> Vec<String> {
    serde_json::to_string(line).into_iter().collect()
}
