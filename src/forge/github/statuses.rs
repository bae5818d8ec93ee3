//! Commit statuses: written only where they differ, within what GitHub allows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::time::Instant;

use super::api::{Api, Repeat};
use super::fault::ApiError;
use super::wire;
use crate::forge::{ForgeError, Status, StatusState, shortened};
use crate::ids::Revision;

/// How long what this process wrote is believed to stand. Then it is read again: somebody else may have written over it.
const BELIEVED: Duration = Duration::from_secs(10 * 60);

/// Of how many commits that is remembered.
const REMEMBERED: usize = 200;

/// What commits show, as far as it is known.
#[derive(Default)]
pub(super) struct Shown {
    commits: Mutex<BTreeMap<Revision, Commit>>,
}

struct Commit {
    read: Instant,
    /// The newest of each context, whoever set it.
    statuses: Vec<Status>,
    /// The contexts whose newest status somebody else set.
    others: BTreeSet<String>,
    /// Contexts that have had as many statuses as GitHub takes.
    full: BTreeSet<String>,
}

impl Shown {
    /// The newest status of each context that Lockstep set itself. One that somebody else set over it is not what it shows: a required check
    /// may be pinned to who sets it.
    pub(super) async fn ours(
        &self,
        api: &Api,
        commit: &Revision,
    ) -> Result<Vec<Status>, ForgeError> {
        let mut statuses = self.list(api, commit).await?;
        if let Some(known) = self.lock().get(commit) {
            statuses.retain(|s| !known.others.contains(&s.context.to_lowercase()));
        }
        Ok(statuses)
    }

    /// The newest status of each context.
    pub(super) async fn list(
        &self,
        api: &Api,
        commit: &Revision,
    ) -> Result<Vec<Status>, ForgeError> {
        if let Some(known) = self.lock().get(commit)
            && known.read.elapsed() < BELIEVED
        {
            return Ok(known.statuses.clone());
        }
        // Newest first, and unlike the combined status it says who set them.
        let path = api.of(&format!("commits/{commit}/statuses?per_page=100"));
        let found = api
            .pages(&path, |page: Vec<wire::Status>| page, |status| status.id)
            .await?;
        let me = api.me().await?;
        let (mut statuses, mut others) = (Vec::new(), BTreeSet::new());
        let mut seen = BTreeSet::new();
        for found in found {
            let context = found.context.to_lowercase();
            if !seen.insert(context.clone()) {
                continue;
            }
            let creator = found.creator.as_ref().map(|c| c.login.as_str());
            if !creator.is_some_and(|login| login.eq_ignore_ascii_case(me)) {
                others.insert(context);
            }
            statuses.push(status(found));
        }
        let mut commits = self.lock();
        let full = commits.remove(commit).map(|c| c.full).unwrap_or_default();
        commits.insert(
            commit.clone(),
            Commit {
                read: Instant::now(),
                statuses: statuses.clone(),
                others,
                full,
            },
        );
        while commits.len() > REMEMBERED {
            let oldest = commits.iter().min_by_key(|(_, c)| c.read);
            let Some(oldest) = oldest.map(|(commit, _)| commit.clone()) else {
                break;
            };
            commits.remove(&oldest);
        }
        Ok(statuses)
    }

    /// Sets statuses one after the other. `link` is where the server's pages are.
    pub(super) async fn set(
        &self,
        api: &Api,
        commit: &Revision,
        statuses: Vec<Status>,
        link: Option<&str>,
    ) -> Result<(), ForgeError> {
        for status in statuses {
            if self.is_full(commit, &status.context) {
                continue;
            }
            let mut body = json!({
                "state": status.state,
                "context": status.context,
                "description": shortened(&status.description),
            });
            if let (Some(link), Some(body)) = (link, body.as_object_mut()) {
                let url = format!("{link}/revisions/{commit}");
                body.insert("target_url".to_owned(), url.into());
            }
            let path = api.of(&format!("statuses/{commit}"));
            let written = api
                .write::<serde_json::Value>(Method::POST, &path, &body, Repeat::Safe)
                .await;
            match written {
                Ok(_) => self.note(commit, status),
                Err(ApiError::Refused(why)) if why.contains("maximum number of statuses") => {
                    tracing::warn!(
                        revision = %commit,
                        context = status.context,
                        "GitHub takes no more statuses of this context on this commit; the last one stays"
                    );
                    self.fill(commit, status.context);
                }
                Err(error) => {
                    // What is there must be read again.
                    self.lock().remove(commit);
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }

    fn is_full(&self, commit: &Revision, context: &str) -> bool {
        self.lock()
            .get(commit)
            .is_some_and(|c| c.full.contains(context))
    }

    fn note(&self, commit: &Revision, status: Status) {
        if let Some(known) = self.lock().get_mut(commit) {
            known
                .statuses
                .retain(|s| !s.context.eq_ignore_ascii_case(&status.context));
            known.others.remove(&status.context.to_lowercase());
            known.statuses.push(status);
        }
    }

    fn fill(&self, commit: &Revision, context: String) {
        let mut commits = self.lock();
        let known = commits.entry(commit.clone()).or_insert_with(|| Commit {
            read: Instant::now(),
            statuses: Vec::new(),
            others: BTreeSet::new(),
            full: BTreeSet::new(),
        });
        known.full.insert(context);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Revision, Commit>> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn status(found: wire::Status) -> Status {
    Status {
        context: found.context,
        state: match found.state.as_str() {
            "success" => StatusState::Success,
            "failure" => StatusState::Failure,
            "pending" => StatusState::Pending,
            _ => StatusState::Error,
        },
        description: found.description.unwrap_or_default(),
        at: found.updated_at,
    }
}
