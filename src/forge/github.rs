//! github.com or an Enterprise Server as the forge.
//!
//! Its REST API is spoken through octocrab (`api`, `fault`, `wire`), commits come and go through git (`mirror`), and the rest maps
//! one thing each: pull requests (`pulls`), reviews, statuses, the one comment, check runs, the merge queue, what the token
//! may do (`access`). Polling is the truth; a delivery (`delivery`) only makes it sooner. Everything here is read level-triggered: what
//! GitHub shows is compared with what it should show, so what was lost in between is written later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::{
    Annotation, Forge, ForgeError, Logins, NewProposal, Proposal, Queued, Remark, Review, Status,
};
use crate::ids::Revision;
use crate::repo::Repo;
use crate::settings::{GithubSettings, MergeMethod};

mod access;
mod api;
mod checks;
mod comments;
pub mod delivery;
mod fault;
mod mirror;
mod pause;
mod pulls;
mod queue;
mod remembered;
mod reviews;
mod statuses;
mod wire;

use api::Api;
use mirror::Mirror;

/// Where the ledger's signed checkpoints are.
const CHECKPOINTS: &str = "refs/notes/lockstep/checkpoints";

/// How often notes are taken there anew because another replica's came first.
const NOTES_TRIES: u32 = 3;

/// The forge on GitHub.
pub struct GithubForge {
    api: Arc<Api>,
    mirror: Mirror,
    repo: Arc<Repo>,
    /// The main branch, without `refs/heads/`.
    branch: String,
    merge: MergeMethod,
    /// Where people find the server, for the links of statuses.
    public_url: Option<String>,
    shown: statuses::Shown,
    comment: comments::Known,
    checks: checks::Known,
    /// Commits of reviews that could not be had.
    lost: Mutex<BTreeSet<Revision>>,
    /// Heads that could not be fetched, and when that is tried again.
    hard: Mutex<BTreeMap<u64, pulls::Hard>>,
    /// The main branch with which the checkpoints were brought last.
    noted: Mutex<Option<Revision>>,
}

impl GithubForge {
    /// A forge whose commits are kept in `repo`, a bare repository that nobody else writes to.
    pub fn new(
        repo: Arc<Repo>,
        branch: impl Into<String>,
        settings: &GithubSettings,
        public_url: Option<String>,
        private_variables: BTreeSet<String>,
    ) -> Result<Self, ForgeError> {
        Ok(Self {
            api: Arc::new(Api::new(settings)?),
            mirror: Mirror::new(repo.clone(), settings.url.clone(), private_variables)?,
            repo,
            branch: branch.into(),
            merge: settings.merge,
            public_url,
            shown: statuses::Shown::default(),
            comment: comments::Known::default(),
            checks: checks::Known::default(),
            lost: Mutex::default(),
            hard: Mutex::default(),
            noted: Mutex::default(),
        })
    }

    /// Brings the commits that reviews were given on, which a later push may have taken out of the branch. Without one its review does
    /// not hold.
    async fn bring_reviewed(&self, reviews: &[Review]) {
        let commits: BTreeSet<&Revision> = reviews.iter().map(|r| &r.commit).collect();
        for commit in commits {
            let lost = || self.lost.lock().unwrap_or_else(PoisonError::into_inner);
            if lost().contains(commit) || self.mirror.has(commit).await.unwrap_or(true) {
                continue;
            }
            let refspec = format!("+{commit}:refs/lockstep/reviewed/{commit}");
            if let Err(ForgeError::Transient(error)) = self.bring(&[refspec]).await
                && mirror::is_gone(&error)
            {
                tracing::debug!(%commit, error, "the commit of a review is gone");
                lost().insert(commit.clone());
            }
        }
    }

    /// Brings the checkpoints that other replicas and former clones have signed: at a start, and wherever main has moved. They are more rarely
    /// new than main is asked for.
    async fn bring_checkpoints(&self, main: &Revision) {
        let noted = || self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted().as_ref() == Some(main) {
            return;
        }
        let brought = self.bring_notes(CHECKPOINTS).await;
        if let Err(error) = &brought {
            // Main is followed all the same.
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "the ledger's checkpoints are as they were fetched last"
            );
        }
        if !matches!(brought, Err(ForgeError::Transient(_))) {
            *noted() = Some(main.clone());
        }
    }

    /// Brings notes here, and adds to ours what they lack. That GitHub has none is fine.
    async fn bring_notes(&self, reference: &str) -> Result<(), ForgeError> {
        let theirs = mirror::beside(reference);
        match self.bring(&[format!("+{reference}:{theirs}")]).await {
            Err(ForgeError::Transient(why)) if mirror::is_gone(&why) => return Ok(()),
            brought => brought?,
        }
        let (repo, reference) = (self.repo.clone(), reference.to_owned());
        let merged = tokio::task::spawn_blocking(move || match repo.read_ref(&theirs)? {
            Some(theirs) => repo.merge_notes(&reference, &theirs),
            None => Ok(()),
        });
        let merged = merged.await;
        Ok(merged.map_err(|error| ForgeError::Transient(format!("merging notes: {error}")))??)
    }

    /// Brings references of GitHub's here.
    async fn bring(&self, refspecs: &[String]) -> Result<(), ForgeError> {
        let token = self.api.token().await?;
        let repository = self.api.repository();
        self.mirror.fetch(&repository, &token, refspecs).await
    }
}

#[async_trait]
impl Forge for GithubForge {
    fn logins(&self) -> Logins {
        Logins::Hosted
    }

    async fn acting_as(&self) -> Result<Option<String>, ForgeError> {
        Ok(Some(self.api.me().await?.to_owned()))
    }

    async fn check_access(&self) -> Result<(), ForgeError> {
        access::check(&self.api).await
    }

    async fn fetch(&self) -> Result<(), ForgeError> {
        let main = self.newest().await?;
        self.bring_checkpoints(&main).await;
        Ok(())
    }

    async fn fetch_branch(&self, branch: &str) -> Result<(), ForgeError> {
        self.bring_branch(branch).await
    }

    async fn pushed(&self, branch: &str) -> Result<(), ForgeError> {
        self.push(&format!("refs/heads/{branch}")).await
    }

    async fn keep_notes(&self, reference: &str) -> Result<(), ForgeError> {
        for _ in 1..NOTES_TRIES {
            self.bring_notes(reference).await?;
            match self.push(reference).await {
                // Another replica's came between.
                Err(ForgeError::Conflict(why)) => tracing::debug!(why, "notes are merged again"),
                pushed => return pushed,
            }
        }
        self.bring_notes(reference).await?;
        self.push(reference).await
    }

    async fn main(&self) -> Result<Revision, ForgeError> {
        self.newest().await
    }

    async fn proposals(&self, all: bool) -> Result<Vec<Proposal>, ForgeError> {
        self.pulls(all).await
    }

    async fn proposal(&self, number: u64) -> Result<Proposal, ForgeError> {
        self.pull(number).await
    }

    async fn merged(
        &self,
        commits: &[Revision],
    ) -> Result<BTreeMap<Revision, Proposal>, ForgeError> {
        self.pulls_of(commits).await
    }

    async fn find(&self, branch: &str) -> Result<Option<Proposal>, ForgeError> {
        self.pull_of(branch).await
    }

    async fn open(&self, new: NewProposal) -> Result<Proposal, ForgeError> {
        self.open_pull(&new).await
    }

    async fn close(&self, number: u64, by: &str, message: &str) -> Result<(), ForgeError> {
        self.close_pull(number, by, message).await
    }

    async fn reviews(&self, number: u64) -> Result<Vec<Review>, ForgeError> {
        let reviews = reviews::list(&self.api, number).await?;
        self.bring_reviewed(&reviews).await;
        Ok(reviews)
    }

    async fn review(&self, number: u64, review: Review) -> Result<(), ForgeError> {
        reviews::give(&self.api, number, review).await
    }

    async fn statuses(&self, commit: &Revision) -> Result<Vec<Status>, ForgeError> {
        self.shown.list(&self.api, commit).await
    }

    async fn shown(&self, commit: &Revision) -> Result<Vec<Status>, ForgeError> {
        self.shown.ours(&self.api, commit).await
    }

    async fn set_statuses(
        &self,
        commit: &Revision,
        statuses: Vec<Status>,
    ) -> Result<(), ForgeError> {
        let link = self.public_url.as_deref();
        self.shown.set(&self.api, commit, statuses, link).await
    }

    async fn upsert_comment(&self, number: u64, markdown: &str) -> Result<(), ForgeError> {
        self.comment.upsert(&self.api, number, markdown).await
    }

    async fn remarks(&self, since: jiff::Timestamp) -> Result<Vec<Remark>, ForgeError> {
        comments::remarks(&self.api, since).await
    }

    async fn reply(&self, number: u64, text: &str) -> Result<(), ForgeError> {
        comments::reply(&self.api, number, text).await
    }

    async fn annotate(
        &self,
        commit: &Revision,
        annotations: &[Annotation],
    ) -> Result<(), ForgeError> {
        self.checks.annotate(&self.api, commit, annotations).await
    }

    async fn queued(&self) -> Result<Vec<Queued>, ForgeError> {
        self.queue().await
    }

    async fn merge(&self, proposal: &Proposal, by: &str) -> Result<Revision, ForgeError> {
        self.merge_pull(proposal, by).await
    }
}
