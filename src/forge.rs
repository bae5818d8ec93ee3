//! The port to where proposals live: GitHub, or the config repo itself (`forge::local`).
//!
//! A forge lists proposals, reads approvals, sets commit statuses, keeps one comment, merges and opens proposals. It
//! judges nothing: `gate` does, above this port, the same for every forge.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{PlanDigest, Revision};

pub mod github;
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
    /// When anything of it changed last, where the forge says so: who knows that need not ask for the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
    /// The repository that its branch is in, where that is not the config repo itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<String>,
    /// Who merged it, where the forge says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_by: Option<String>,
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
    /// What the person said before was taken back: by them, or dismissed on the forge.
    Withdraw,
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

/// Marks Lockstep's one comment, so that it is found and replaced.
pub const COMMENT_MARKER: &str = "<!-- lockstep -->";

/// Whose names authors and reviewers go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logins {
    /// People's own, as they give them: their key in `people:` or their `forge:` name.
    Own,
    /// Accounts of a forge that others have accounts on too: only the `forge:` name says who somebody is.
    Hosted,
}

/// How bad what an annotation says is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Failure,
    Warning,
    Notice,
}

/// A finding, to be shown at its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// From the top of the repository.
    pub path: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: Option<u32>,
    pub level: Level,
    /// The rule.
    pub title: String,
    pub message: String,
}

/// A proposal in a merge queue: the commit that would become the main branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    pub number: u64,
    /// What it is put on: the main branch, or the entry before it.
    pub base: Revision,
    pub head: Revision,
}

/// What somebody said to Lockstep in a comment on a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The forge's own id, never used twice.
    pub id: String,
    pub number: u64,
    /// The login.
    pub author: String,
    pub at: Timestamp,
    /// Changed since it was written, by whomever.
    pub edited: bool,
    pub text: String,
}

/// A description as long as a forge takes it, with a sign where something was cut off. Counted in Unicode scalars, as GitHub does.
pub fn shortened(text: &str) -> String {
    if text.chars().count() <= DESCRIPTION_CHARS {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(DESCRIPTION_CHARS - 1).collect();
    short.push('…');
    short
}

/// Writes what differs between what Lockstep shows on a commit and what it should show.
pub async fn show(
    forge: &dyn Forge,
    commit: &Revision,
    wanted: Vec<Status>,
) -> Result<(), ForgeError> {
    let shown = forge.shown(commit).await?;
    let is_shown = |status: &Status| {
        let same = |s: &Status| (s.state, &s.description) == (status.state, &status.description);
        let shown = shown.iter().find(|s| s.context == status.context);
        shown.is_some_and(same)
    };
    let differing: Vec<Status> = wanted.into_iter().filter(|s| !is_shown(s)).collect();
    if differing.is_empty() {
        return Ok(());
    }
    forge.set_statuses(commit, differing).await
}

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
    /// Whose names authors and reviewers go by.
    fn logins(&self) -> Logins {
        Logins::Own
    }
    /// Who the forge takes Lockstep for, where it decides that itself.
    async fn acting_as(&self) -> Result<Option<String>, ForgeError> {
        Ok(None)
    }
    /// Whether Lockstep may do there what it has to; the error names what is missing.
    async fn check_access(&self) -> Result<(), ForgeError> {
        Ok(())
    }
    /// Brings the main branch into the repository, where proposals live elsewhere.
    async fn fetch(&self) -> Result<(), ForgeError> {
        Ok(())
    }
    /// Brings another branch, if the forge has it.
    async fn fetch_branch(&self, _branch: &str) -> Result<(), ForgeError> {
        Ok(())
    }
    /// Takes a branch that was written to in the repository to the forge.
    async fn pushed(&self, _branch: &str) -> Result<(), ForgeError> {
        Ok(())
    }
    /// Takes notes that were written in the repository to the forge. They only ever gain lines.
    async fn keep_notes(&self, _reference: &str) -> Result<(), ForgeError> {
        Ok(())
    }
    /// The newest proposal of a branch, open or not.
    async fn find(&self, branch: &str) -> Result<Option<Proposal>, ForgeError> {
        let all = self.proposals(true).await?;
        Ok(all.into_iter().find(|p| p.branch == branch))
    }
    /// The proposals that became these commits of main.
    async fn merged(
        &self,
        commits: &[Revision],
    ) -> Result<BTreeMap<Revision, Proposal>, ForgeError> {
        let all = self.proposals(true).await?;
        let became = all.into_iter().filter_map(|proposal| {
            let ProposalState::Merged { commit } = &proposal.state else {
                return None;
            };
            let commit = commit.clone();
            commits.contains(&commit).then_some((commit, proposal))
        });
        Ok(became.collect())
    }
    /// Shows findings at their lines, where the forge can and Lockstep may.
    async fn annotate(
        &self,
        _commit: &Revision,
        _annotations: &[Annotation],
    ) -> Result<(), ForgeError> {
        Ok(())
    }
    /// What waits in the merge queue, where there is one.
    async fn queued(&self) -> Result<Vec<Queued>, ForgeError> {
        Ok(Vec::new())
    }
    /// What was said to Lockstep since a time, oldest first.
    async fn remarks(&self, _since: Timestamp) -> Result<Vec<Remark>, ForgeError> {
        Ok(Vec::new())
    }
    /// Says something on a proposal, apart from the one comment.
    async fn reply(&self, _number: u64, _text: &str) -> Result<(), ForgeError> {
        Ok(())
    }
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
    /// Those of them that Lockstep set itself: what somebody else set over one is not what it shows.
    async fn shown(&self, commit: &Revision) -> Result<Vec<Status>, ForgeError> {
        self.statuses(commit).await
    }
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
