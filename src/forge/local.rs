//! The forge that needs no forge: proposals, reviews and statuses in the config repo's own notes.
//!
//! A proposal is a branch with a review request as git-appraise writes it, so that plain `git notes`, a clone or a mirror sees all of
//! it. What git-appraise has no place for (numbers, titles, labels, plan digests, pending statuses) is in notes of ours by the same
//! rules: one JSON object a line, lines only ever added, lines that don't parse passed over.
//!
//! | reference | on | holds |
//! | --- | --- | --- |
//! | `refs/notes/devtools/reviews` | the first commit of the proposal | the review request |
//! | `refs/notes/devtools/discuss` | the same | reviews, and Lockstep's comment |
//! | `refs/notes/devtools/ci` | the commit tested | statuses that are decided |
//! | `refs/notes/lockstep/proposals` | the first commit | number, title, labels, what became of it |
//! | `refs/notes/lockstep/approvals` | the first commit | reviews with the commit and plan they were given on |
//! | `refs/notes/lockstep/statuses` | the commit | all statuses, pending too, with their descriptions |
//! | `refs/lockstep/proposals/<n>` | | the first commit: whoever creates it has the number |
//! | `refs/lockstep/heads/<n>` | | the newest head seen, which outlives its branch |
//!
//! Reading notices what was done with plain git: a pushed commit, a merge, a deleted branch. Merging moves the branch in the
//! repository and touches no work tree: who has it checked out sees their files as they were, as after a push.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{Forge, ForgeError, NewProposal, Proposal, Review, Status};
use crate::clock::Clock;
use crate::ids::Revision;
use crate::repo::{Repo, RepoError};

mod appraise;
mod open;
mod proposals;
mod record;
mod reviews;
mod statuses;
#[cfg(test)]
mod tests;

/// How Lockstep signs what it says itself.
const LOCKSTEP: &str = "lockstep";

/// The forge in a repository's notes.
#[derive(Clone)]
pub struct LocalForge {
    inner: Arc<Local>,
}

/// The same, blocking: git is files.
struct Local {
    repo: Arc<Repo>,
    /// The main branch, without `refs/heads/`.
    branch: String,
    clock: Arc<dyn Clock>,
    /// The proposals as of one commit of their notes.
    seen: Mutex<Option<(Revision, Arc<proposals::Records>)>>,
}

impl LocalForge {
    /// A forge on a repository; `branch` is its main branch.
    pub fn new(repo: Arc<Repo>, branch: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self {
            inner: Arc::new(Local {
                repo,
                branch: branch.into(),
                clock,
                seen: Mutex::new(None),
            }),
        }
    }

    /// Lockstep's comment on a proposal as it stands, if there is one.
    pub async fn comment(&self, number: u64) -> Result<Option<String>, ForgeError> {
        self.blocking(move |local| local.comment(number)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Local) -> Result<T, ForgeError> + Send + 'static,
    ) -> Result<T, ForgeError> {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || work(&inner))
            .await
            .map_err(|error| ForgeError::Transient(format!("reading the repository: {error}")))?
    }
}

#[async_trait]
impl Forge for LocalForge {
    async fn main(&self) -> Result<Revision, ForgeError> {
        self.blocking(Local::main).await
    }

    async fn proposals(&self, all: bool) -> Result<Vec<Proposal>, ForgeError> {
        self.blocking(move |local| local.proposals(all)).await
    }

    async fn proposal(&self, number: u64) -> Result<Proposal, ForgeError> {
        self.blocking(move |local| local.proposal(number)).await
    }

    async fn open(&self, new: NewProposal) -> Result<Proposal, ForgeError> {
        self.blocking(move |local| local.open(&new)).await
    }

    async fn close(&self, number: u64, by: &str, message: &str) -> Result<(), ForgeError> {
        let (by, message) = (by.to_owned(), message.to_owned());
        self.blocking(move |local| local.close(number, &by, &message))
            .await
    }

    async fn reviews(&self, number: u64) -> Result<Vec<Review>, ForgeError> {
        self.blocking(move |local| local.reviews(number)).await
    }

    async fn review(&self, number: u64, review: Review) -> Result<(), ForgeError> {
        self.blocking(move |local| local.review(number, &review))
            .await
    }

    async fn statuses(&self, commit: &Revision) -> Result<Vec<Status>, ForgeError> {
        let commit = commit.clone();
        self.blocking(move |local| local.statuses(&commit)).await
    }

    async fn set_statuses(
        &self,
        commit: &Revision,
        statuses: Vec<Status>,
    ) -> Result<(), ForgeError> {
        let commit = commit.clone();
        self.blocking(move |local| local.set_statuses(&commit, statuses))
            .await
    }

    async fn upsert_comment(&self, number: u64, markdown: &str) -> Result<(), ForgeError> {
        let markdown = markdown.to_owned();
        self.blocking(move |local| local.upsert_comment(number, &markdown))
            .await
    }

    async fn merge(&self, proposal: &Proposal, by: &str) -> Result<Revision, ForgeError> {
        let (proposal, by) = (proposal.clone(), by.to_owned());
        self.blocking(move |local| local.merge(&proposal, &by))
            .await
    }
}

impl From<RepoError> for ForgeError {
    fn from(error: RepoError) -> Self {
        let message = error.to_string();
        match error {
            RepoError::NotFound(_)
            | RepoError::Unsupported(_)
            | RepoError::Invalid(_)
            | RepoError::TooLarge(_) => Self::Refused(message),
            RepoError::Moved { .. } => Self::Conflict(message),
            RepoError::Io { .. } | RepoError::Git { .. } => Self::Transient(message),
        }
    }
}

/// Reads lines of one of the notes above and writes those that can be read anew, in the order in which they count. Nothing of
/// Lockstep asks for this: it shows what a reader of notes makes of lines that anybody may have pushed.
#[doc(hidden)]
pub fn reread(notes: &str, lines: &[String]) -> Vec<String> {
    fn own<T: record::Record>(lines: &[String]) -> Vec<String> {
        record::read::<T>(lines)
            .iter()
            .flat_map(record::write)
            .collect()
    }
    fn theirs<T: appraise::Line>(lines: &[String]) -> Vec<String> {
        appraise::read::<T>(lines)
            .iter()
            .filter_map(appraise::go_json)
            .collect()
    }
    match notes {
        record::PROPOSALS => own::<record::ProposalLine>(lines),
        record::APPROVALS => own::<record::ApprovalLine>(lines),
        record::STATUSES => own::<record::StatusLine>(lines),
        appraise::REVIEWS => theirs::<appraise::Request>(lines),
        appraise::DISCUSS => theirs::<appraise::Comment>(lines),
        appraise::CI => theirs::<appraise::Ci>(lines),
        _ => Vec::new(),
    }
}
