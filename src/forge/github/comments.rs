//! The one comment, and what people say to Lockstep in theirs.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::api::{Api, Repeat};
use super::fault::ApiError;
use super::pulls::query_escaped;
use super::wire;
use crate::forge::{COMMENT_MARKER, ForgeError, Remark};
use crate::ids::Digest;

/// How far apart the times of a comment that nobody edited may be: they are whole seconds, and taken one after the other.
const MADE: SignedDuration = SignedDuration::from_secs(1);

/// What begins a remark that is meant for Lockstep.
const ADDRESSED: &str = "/lockstep";

/// For how long what this process knows of a comment is believed.
const BELIEVED: Duration = Duration::from_secs(10 * 60);

/// Our comments, as far as this process knows them.
#[derive(Default)]
pub(super) struct Known {
    comments: Mutex<BTreeMap<u64, Ours>>,
    /// One at a time, else two would find none and write one each.
    turn: Turn,
}

struct Turn(Semaphore);

impl Default for Turn {
    fn default() -> Self {
        Self(Semaphore::new(1))
    }
}

#[derive(Clone, Copy)]
struct Ours {
    id: u64,
    /// Of what it says.
    text: Digest,
    /// When it was read or written last.
    at: Instant,
}

impl Known {
    /// Puts the comment there, or changes it in place. It is ours if it carries the marker and we wrote it: a marker alone anybody can
    /// write.
    pub(super) async fn upsert(
        &self,
        api: &Api,
        number: u64,
        markdown: &str,
    ) -> Result<(), ForgeError> {
        let turn = self.turn.0.acquire().await;
        let _turn = turn.map_err(|_| ForgeError::Transient("closed".to_owned()))?;
        let text = Digest::of(markdown.as_bytes());
        let ours = match self.known(number) {
            Some(known) => Some(known),
            None => find(api, number).await?,
        };
        if ours.is_some_and(|o| o.text == text) {
            self.keep(number, ours);
            return Ok(());
        }
        let body = json!({"body": markdown});
        let written = match ours {
            Some(Ours { id, .. }) => {
                let path = api.of(&format!("issues/comments/{id}"));
                api.write::<wire::Comment>(Method::PATCH, &path, &body, Repeat::Safe)
                    .await
            }
            None => {
                let path = api.of(&format!("issues/{number}/comments"));
                api.write(Method::POST, &path, &body, Repeat::Never).await
            }
        };
        match written {
            Ok(comment) => {
                self.keep(
                    number,
                    Some(Ours {
                        id: comment.id,
                        text,
                        at: Instant::now(),
                    }),
                );
                Ok(())
            }
            Err(error) => {
                // Whether it is there is looked up next time.
                self.keep(number, None);
                // Somebody deleted it: then a new one.
                if let (ApiError::Missing(_), Some(_)) = (&error, ours) {
                    let path = api.of(&format!("issues/{number}/comments"));
                    let comment: wire::Comment =
                        api.write(Method::POST, &path, &body, Repeat::Never).await?;
                    self.keep(
                        number,
                        Some(Ours {
                            id: comment.id,
                            text,
                            at: Instant::now(),
                        }),
                    );
                    return Ok(());
                }
                Err(error.into())
            }
        }
    }

    fn known(&self, number: u64) -> Option<Ours> {
        // Somebody may have changed it or taken it away.
        let known = self.lock().get(&number).copied();
        known.filter(|ours| ours.at.elapsed() < BELIEVED)
    }

    fn keep(&self, number: u64, ours: Option<Ours>) {
        let mut comments = self.lock();
        match ours {
            Some(ours) => comments.insert(number, ours),
            None => comments.remove(&number),
        };
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Ours>> {
        self.comments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn find(api: &Api, number: u64) -> Result<Option<Ours>, ForgeError> {
    let me = api.me().await?;
    let path = api.of(&format!("issues/{number}/comments?per_page=100"));
    let comments = api
        .pages(&path, |page: Vec<wire::Comment>| page, |c| c.id)
        .await?;
    let ours = comments.into_iter().find(|comment| {
        let by_us = comment
            .user
            .as_ref()
            .is_some_and(|u| u.login.eq_ignore_ascii_case(me));
        by_us
            && comment
                .body
                .as_deref()
                .is_some_and(|b| b.contains(COMMENT_MARKER))
    });
    Ok(ours.map(|comment| Ours {
        id: comment.id,
        text: Digest::of(comment.body.unwrap_or_default().as_bytes()),
        at: Instant::now(),
    }))
}

/// A comment of its own.
pub(super) async fn reply(api: &Api, number: u64, text: &str) -> Result<(), ForgeError> {
    let path = api.of(&format!("issues/{number}/comments"));
    let body = json!({"body": text});
    api.write::<serde_json::Value>(Method::POST, &path, &body, Repeat::Never)
        .await?;
    Ok(())
}

/// What was said to Lockstep since a time, on any proposal, oldest first.
pub(super) async fn remarks(api: &Api, since: Timestamp) -> Result<Vec<Remark>, ForgeError> {
    let since = query_escaped(&since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let path = api.of(&format!(
        "issues/comments?since={since}&sort=created&direction=asc&per_page=100"
    ));
    let comments = api
        .pages(&path, |page: Vec<wire::Comment>| page, |c| c.id)
        .await?;
    let me = api.me().await?;
    let addressed = comments.into_iter().filter_map(|comment| {
        let text = comment.body?;
        let author = comment.user?.login;
        if !text.trim_start().starts_with(ADDRESSED) || author.eq_ignore_ascii_case(me) {
            return None;
        }
        Some(Remark {
            id: comment.id.to_string(),
            number: comment.issue_url.rsplit('/').next()?.parse().ok()?,
            author,
            at: comment.created_at,
            edited: comment
                .updated_at
                .is_some_and(|at| at.duration_since(comment.created_at) > MADE),
            text,
        })
    });
    Ok(addressed.collect())
}
