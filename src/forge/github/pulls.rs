//! Pull requests as proposals, and the main branch.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::api::Repeat;
use super::fault::ApiError;
use super::mirror::{PULLS, is_gone};
use super::{GithubForge, wire};
use crate::forge::{ForgeError, NewProposal, Proposal, ProposalState};
use crate::ids::Revision;

/// A head that could not be fetched.
pub(super) struct Hard {
    head: Revision,
    until: Instant,
    pause: Duration,
}

const HARD: Duration = Duration::from_secs(60);
const HARDEST: Duration = Duration::from_secs(60 * 60);

/// The author of what an account that is gone opened.
const GHOST: &str = "ghost";

impl GithubForge {
    /// The head of the main branch, which is here once this has returned.
    pub(super) async fn newest(&self) -> Result<Revision, ForgeError> {
        let path = self
            .api
            .of(&format!("git/ref/heads/{}", escaped(&self.branch)));
        let found: wire::Reference = self.api.get(&path).await.map_err(|error| {
            if let ApiError::Missing(why) = error {
                let (branch, repository) = (&self.branch, self.api.repository());
                return ApiError::Missing(format!(
                    "there is no branch {branch} at {repository}: {why}"
                ));
            }
            error
        })?;
        let newest = revision(&found.object.sha)?;
        let here = {
            let (repo, branch) = (self.repo.clone(), self.branch.clone());
            let head = tokio::task::spawn_blocking(move || repo.head(&branch)).await;
            head.map_err(|error| ForgeError::Transient(format!("reading the mirror: {error}")))??
        };
        if here.as_ref() == Some(&newest) {
            return Ok(newest);
        }
        self.bring_branch(&self.branch).await?;
        let (repo, branch) = (self.repo.clone(), self.branch.clone());
        let head = tokio::task::spawn_blocking(move || repo.head(&branch)).await;
        let head =
            head.map_err(|error| ForgeError::Transient(format!("reading the mirror: {error}")))??;
        head.ok_or_else(|| {
            ForgeError::Transient(format!("the branch {} did not come along", self.branch))
        })
    }

    /// Brings a branch here; that there is none is fine.
    pub(super) async fn bring_branch(&self, branch: &str) -> Result<(), ForgeError> {
        let refspec = format!("+refs/heads/{branch}:refs/heads/{branch}");
        match self.bring(&[refspec]).await {
            Err(ForgeError::Transient(why)) if is_gone(&why) => Ok(()),
            brought => brought,
        }
    }

    pub(super) async fn push(&self, reference: &str) -> Result<(), ForgeError> {
        let token = self.api.token().await?;
        let repository = self.api.repository();
        self.mirror.push(&repository, &token, reference).await
    }

    /// Pull requests into the main branch, newest first.
    pub(super) async fn pulls(&self, all: bool) -> Result<Vec<Proposal>, ForgeError> {
        let main = self.newest().await?;
        let state = if all { "all" } else { "open" };
        let pulls = self.list(&format!("state={state}")).await?;
        self.bring_heads(pulls.iter().filter(|p| p.state == "open"))
            .await;
        pulls
            .into_iter()
            .map(|pull| self.proposal_of(pull, &main))
            .collect()
    }

    async fn list(&self, query: &str) -> Result<Vec<wire::Pull>, ForgeError> {
        let base = query_escaped(&self.branch);
        let path = self.api.of(&format!(
            "pulls?{query}&base={base}&sort=created&direction=desc&per_page=100"
        ));
        let pulls = self
            .api
            .pages(&path, |page: Vec<wire::Pull>| page, |pull| pull.number)
            .await?;
        // An older server may not know the filter.
        Ok(pulls
            .into_iter()
            .filter(|pull| pull.base.name == self.branch)
            .collect())
    }

    pub(super) async fn pull(&self, number: u64) -> Result<Proposal, ForgeError> {
        let main = self.newest().await?;
        let pull = self.read(number).await?;
        if pull.base.name != self.branch {
            return Err(ForgeError::Refused(format!(
                "#{number} is not for {} but for {}",
                self.branch, pull.base.name
            )));
        }
        self.bring_heads(std::iter::once(&pull).filter(|p| p.state == "open"))
            .await;
        self.proposal_of(pull, &main)
    }

    /// The pull requests that became these commits of main, with their heads, which a squashed merge leaves outside of it.
    pub(super) async fn pulls_of(
        &self,
        commits: &[Revision],
    ) -> Result<BTreeMap<Revision, Proposal>, ForgeError> {
        let mut found = BTreeMap::new();
        for commit in commits {
            let main = self.newest().await?;
            let path = self.api.of(&format!("commits/{commit}/pulls?per_page=100"));
            let pulls: Vec<wire::Pull> = self.api.get(&path).await?;
            let became = pulls
                .into_iter()
                .find(|p| p.base.name == self.branch && p.merged_at.is_some());
            let Some(pull) = became else {
                continue;
            };
            // Only the answer about one says who merged it.
            let pull = self.read(pull.number).await?;
            self.bring_heads(std::iter::once(&pull)).await;
            let mut proposal = self.proposal_of(pull, &main)?;
            proposal.state = ProposalState::Merged {
                commit: commit.clone(),
            };
            found.insert(commit.clone(), proposal);
        }
        Ok(found)
    }

    async fn read(&self, number: u64) -> Result<wire::Pull, ForgeError> {
        let path = self.api.of(&format!("pulls/{number}"));
        self.api.get(&path).await.map_err(|error| {
            if let ApiError::Missing(_) = error {
                let repository = self.api.repository();
                return ForgeError::Refused(format!(
                    "there is no pull request #{number} at {repository}"
                ));
            }
            error.into()
        })
    }

    pub(super) async fn pull_of(&self, branch: &str) -> Result<Option<Proposal>, ForgeError> {
        let main = self.newest().await?;
        let repository = self.api.repository();
        let owner = repository.split('/').next().unwrap_or_default();
        let head = query_escaped(&format!("{owner}:{branch}"));
        let pulls = self.list(&format!("state=all&head={head}")).await?;
        let found = pulls
            .into_iter()
            .find(|pull| pull.head.name == branch && self.is_ours(pull));
        found.map(|pull| self.proposal_of(pull, &main)).transpose()
    }

    fn proposal_of(&self, pull: wire::Pull, main: &Revision) -> Result<Proposal, ForgeError> {
        let is_ours = self.is_ours(&pull);
        let from = pull.head.repo.as_ref().map(|r| r.full_name.clone());
        let mut proposal = proposal(pull, main)?;
        if !is_ours {
            // Where the fork is gone, GitHub says nothing of it.
            proposal.fork = Some(from.unwrap_or_default());
        }
        Ok(proposal)
    }

    fn is_ours(&self, pull: &wire::Pull) -> bool {
        let repository = self.api.repository();
        let from = pull.head.repo.as_ref().map(|r| r.full_name.as_str());
        from.is_some_and(|from| from.eq_ignore_ascii_case(&repository))
    }

    /// Brings the heads that are not here. What can't be had leaves its proposal without a judgement, and no other.
    async fn bring_heads(&self, pulls: impl Iterator<Item = &wire::Pull>) {
        let mut missing = Vec::new();
        for pull in pulls {
            let Ok(head) = revision(&pull.head.sha) else {
                continue;
            };
            let number = pull.number;
            if !self.mirror.has(&head).await.unwrap_or(false) && !self.is_hard(number, &head) {
                missing.push((
                    number,
                    head,
                    format!("+refs/pull/{number}/head:{PULLS}/{number}"),
                ));
            }
        }
        if missing.is_empty() {
            return;
        }
        let together: Vec<String> = missing
            .iter()
            .map(|(.., refspec)| refspec.clone())
            .collect();
        if self.bring(&together).await.is_ok() {
            return;
        }
        for (number, head, refspec) in missing {
            if let Err(error) = self.bring(&[refspec]).await {
                self.note_hard(number, head);
                tracing::warn!(
                    proposal = number,
                    error = &error as &dyn std::error::Error,
                    "the commits of a proposal could not be fetched"
                );
            }
        }
    }

    /// Whether a head could not be had lately.
    fn is_hard(&self, number: u64, head: &Revision) -> bool {
        let hard = self.hard.lock().unwrap_or_else(PoisonError::into_inner);
        hard.get(&number)
            .is_some_and(|hard| hard.head == *head && hard.until > Instant::now())
    }

    /// The same head is asked for again after a minute, and then ever more seldom.
    fn note_hard(&self, number: u64, head: Revision) {
        let mut hard = self.hard.lock().unwrap_or_else(PoisonError::into_inner);
        let known = hard.get(&number).filter(|hard| hard.head == head);
        let pause = known.map_or(HARD, |hard| (hard.pause * 2).min(HARDEST));
        let until = Instant::now() + pause;
        hard.insert(number, Hard { head, until, pause });
    }

    pub(super) async fn open_pull(&self, new: &NewProposal) -> Result<Proposal, ForgeError> {
        let title = new.title.split_whitespace().collect::<Vec<_>>().join(" ");
        if title.is_empty() {
            return Err(ForgeError::Refused("a proposal needs a title".to_owned()));
        }
        if new.branch == self.branch {
            return Err(ForgeError::Refused(format!(
                "{} is the main branch; put the change on a branch of its own",
                self.branch
            )));
        }
        self.push(&format!("refs/heads/{}", new.branch)).await?;
        let body = json!({
            "title": title,
            "body": new.description,
            "head": new.branch,
            "base": self.branch,
        });
        let path = self.api.of("pulls");
        let opened = self
            .api
            .write::<wire::Pull>(Method::POST, &path, &body, Repeat::Never)
            .await;
        let pull = match opened {
            Ok(pull) => pull,
            // It may be there: this call's answer was lost, or another call was quicker.
            Err(error @ (ApiError::Lost(_) | ApiError::Refused(_))) => {
                let there = self.pull_of(&new.branch).await.ok().flatten();
                return match there {
                    Some(there) if there.state == ProposalState::Open => Ok(there),
                    Some(_) | None => Err(error.into()),
                };
            }
            Err(error) => return Err(error.into()),
        };
        if !new.labels.is_empty() {
            let path = self.api.of(&format!("issues/{}/labels", pull.number));
            let labels = json!({"labels": new.labels});
            let labelled = self
                .api
                .write::<Value>(Method::POST, &path, &labels, Repeat::Safe)
                .await;
            if let Err(error) = labelled {
                tracing::warn!(proposal = pull.number, %error, "opened without its labels");
            }
        }
        let main = self.newest().await?;
        let mut opened = self.proposal_of(pull, &main)?;
        if opened.labels.is_empty() {
            opened.labels.clone_from(&new.labels);
        }
        Ok(opened)
    }

    pub(super) async fn close_pull(
        &self,
        number: u64,
        by: &str,
        message: &str,
    ) -> Result<(), ForgeError> {
        self.must_be(by).await?;
        let pull = self.read(number).await?;
        if pull.state != "open" {
            return Err(ForgeError::Refused(format!(
                "#{number} is not open any more"
            )));
        }
        if !message.trim().is_empty() {
            let path = self.api.of(&format!("issues/{number}/comments"));
            let body = json!({"body": message});
            self.api
                .write::<Value>(Method::POST, &path, &body, Repeat::Never)
                .await?;
        }
        let path = self.api.of(&format!("pulls/{number}"));
        let body = json!({"state": "closed"});
        self.api
            .write::<Value>(Method::PATCH, &path, &body, Repeat::Safe)
            .await?;
        Ok(())
    }

    /// On GitHub everybody acts by their own token, and nobody for another.
    async fn must_be(&self, who: &str) -> Result<(), ForgeError> {
        let me = self.api.me().await?;
        if me.eq_ignore_ascii_case(who) {
            return Ok(());
        }
        Err(ForgeError::Refused(format!(
            "the token under [github] is {me}'s, so GitHub would not take this for {who}'s"
        )))
    }

    /// Merges what was judged. GitHub itself compares the head; the main branch is compared just before, and for the moment in between
    /// GitHub's own rule that branches be up to date is what holds (docs/github.md).
    pub(super) async fn merge_pull(
        &self,
        proposal: &Proposal,
        by: &str,
    ) -> Result<Revision, ForgeError> {
        self.must_be(by).await?;
        let number = proposal.number;
        if self.newest().await? != proposal.base {
            return Err(ForgeError::Conflict(format!(
                "{} moved while #{number} was judged",
                self.branch
            )));
        }
        let path = self.api.of(&format!("pulls/{number}/merge"));
        let body = json!({"sha": proposal.head, "merge_method": self.merge.as_str()});
        let merged = self
            .api
            .write::<wire::Merged>(Method::PUT, &path, &body, Repeat::Never)
            .await;
        let commit = match merged {
            Ok(merged) => revision(&merged.sha)?,
            Err(error @ ApiError::Lost(_)) => {
                let pull = self.read(number).await?;
                match (pull.merged_at, pull.merge_commit_sha) {
                    (Some(_), Some(sha)) => revision(&sha)?,
                    _ => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        };
        // It is merged: that the mirror has it is for the next pass.
        if let Err(error) = self.newest().await {
            tracing::debug!(%error, "merged, and not fetched yet");
        }
        Ok(commit)
    }
}

pub(super) fn revision(sha: &str) -> Result<Revision, ForgeError> {
    sha.parse()
        .map_err(|_| ForgeError::Transient(format!("GitHub gives {sha:?} for a commit")))
}

fn proposal(pull: wire::Pull, main: &Revision) -> Result<Proposal, ForgeError> {
    let state = match (pull.state.as_str(), pull.merged_at, &pull.merge_commit_sha) {
        ("open", _, _) => ProposalState::Open,
        (_, Some(_), Some(sha)) => ProposalState::Merged {
            commit: revision(sha)?,
        },
        _ => ProposalState::Closed,
    };
    Ok(Proposal {
        number: pull.number,
        title: pull.title,
        description: pull.body.unwrap_or_default(),
        author: pull.user.map_or_else(|| GHOST.to_owned(), |u| u.login),
        labels: pull.labels.into_iter().map(|l| l.name).collect(),
        branch: pull.head.name,
        base: main.clone(),
        head: revision(&pull.head.sha)?,
        opened_at: pull.created_at,
        updated_at: pull.updated_at,
        fork: None,
        merged_by: pull.merged_by.map(|u| u.login),
        state,
    })
}

/// A branch's name as part of a path.
pub(super) fn escaped(name: &str) -> String {
    // Slashes are GitHub's own in a reference's path.
    name.split('/')
        .map(query_escaped)
        .collect::<Vec<_>>()
        .join("/")
}

pub(super) fn query_escaped(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}
