//! The `http` connector: drives a system that implements the System API.
//!
//! It sends each request once; when and whether to ask again is the engine's business. It believes nothing that it can check: digests
//! are computed anew from what was read, and a listing that does not give the digests announced is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH};
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use url::Position;

use super::{
    Apply, Capabilities, Changeset, ConnectorError, Observe, Prepared, Receipt, Seen, Staging,
};
use crate::config::connectors::check_address;
use crate::ids::{ChangesetId, Digest, Fence};
use crate::state::{BUCKETS, Bucket, Item, state_digest};
use crate::system_api::{
    AuditAnswer, DigestsAnswer, FenceRequest, OutcomeAnswer, PREFIX, PrepareAnswer, PrepareRequest,
    StateAnswer, WireChange,
};

mod answer;
mod bounds;
mod settings;

#[cfg(test)]
mod tests;

use answer::{Answer, Asked, Doing};
pub use settings::{HttpSettings, HttpSettingsError};

/// A connected system behind the System API, with its own pool of connections.
pub struct HttpConnector {
    client: reqwest::Client,
    /// The base with the API's prefix.
    api: String,
    asked: Asked,
    /// What the system last announced: what the next listing is checked against.
    announced: Mutex<Option<Announced>>,
    /// How often in a row it said that nothing changed.
    unchanged: AtomicU32,
}

#[derive(Clone)]
struct Announced {
    digest: Digest,
    buckets: Arc<[Digest]>,
}

impl HttpConnector {
    pub fn new(settings: HttpSettings) -> Result<Self, HttpSettingsError> {
        let HttpSettings {
            system,
            base,
            token,
            credential,
            connect_timeout,
            timeout,
        } = settings;
        check_address(&base)?;
        let is_sendable = |token: &SecretString| {
            let token = token.expose_secret();
            !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic())
        };
        if !token.as_ref().is_none_or(is_sendable) {
            return Err(HttpSettingsError::Token);
        }
        let client = reqwest::Client::builder()
            .user_agent(concat!("lockstep/", env!("CARGO_PKG_VERSION")))
            // A redirect would carry the credential to a host that it is not bound to.
            .redirect(reqwest::redirect::Policy::none())
            // The environment is read in one place, which is not here.
            .no_proxy()
            .connect_timeout(connect_timeout)
            .timeout(timeout)
            .tcp_nodelay(true)
            .pool_max_idle_per_host(bounds::IDLE)
            .build()
            .map_err(|e| HttpSettingsError::Client(answer::chain(&e)))?;
        Ok(Self {
            client,
            api: format!("{}{PREFIX}", base.as_str().trim_end_matches('/')),
            asked: Asked {
                system,
                host: base[Position::BeforeHost..Position::AfterPort].to_owned(),
                credential,
                token,
                timeout,
            },
            announced: Mutex::new(None),
            unchanged: AtomicU32::new(0),
        })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.api));
        match &self.asked.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    fn with_body<T: serde::Serialize>(
        &self,
        doing: Doing,
        request: RequestBuilder,
        body: &T,
    ) -> Result<RequestBuilder, ConnectorError> {
        let body = serde_json::to_vec(body).map_err(|e| {
            self.asked
                .terminal(doing, &format!("cannot be written: {e}"))
        })?;
        Ok(request.header(CONTENT_TYPE, "application/json").body(body))
    }

    /// Fetches the digests, checks that they fit together, and remembers them.
    async fn fetch_digests(
        &self,
        known: Option<Digest>,
    ) -> Result<Option<DigestsAnswer>, ConnectorError> {
        const DOING: Doing = Doing::Digests;
        let mut request = self.request(Method::GET, "/state/digests");
        if let Some(known) = known {
            request = request.header(IF_NONE_MATCH, format!("\"{known}\""));
        }
        let answer = Answer::receive(&self.asked, DOING, request).await?;
        if answer.status == StatusCode::NOT_MODIFIED {
            if known.is_none() {
                let what = "answered 304 to a request without a condition";
                return Err(self.asked.terminal(DOING, what));
            }
            return Ok(None);
        }
        let digests: DigestsAnswer = answer.json(&self.asked, DOING, &[StatusCode::OK])?;
        if digests.buckets.len() != BUCKETS {
            let what = format!("has {} buckets instead of {BUCKETS}", digests.buckets.len());
            return Err(self.asked.terminal(DOING, &what));
        }
        let computed = state_digest(digests.buckets.iter().copied());
        if computed != digests.digest {
            let what = format!(
                "announces the digest {}, but its buckets give {}",
                digests.digest.short(),
                computed.short()
            );
            return Err(self.asked.terminal(DOING, &what));
        }
        self.check_tag(&answer.headers, digests.digest)?;
        self.remember(Some(Announced {
            digest: digests.digest,
            buckets: digests.buckets.as_slice().into(),
        }));
        Ok(Some(digests))
    }

    /// An entity tag that is not the digest would one day say "unchanged" of what has changed.
    fn check_tag(&self, headers: &HeaderMap, digest: Digest) -> Result<(), ConnectorError> {
        let hex = digest.to_hex();
        let mut tags = headers.get_all(ETAG).iter().map(|v| v.to_str());
        let is_digest = |tag: &str| tag.trim_start_matches("W/").trim_matches('"') == hex;
        if tags.all(|tag| tag.is_ok_and(is_digest)) {
            return Ok(());
        }
        let what = "sends an ETag that is not the digest of its state";
        Err(self.asked.terminal(Doing::Digests, what))
    }

    fn remember(&self, announced: Option<Announced>) {
        *self
            .announced
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = announced;
    }

    fn remembered(&self) -> Option<Announced> {
        self.announced
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The items of an answer, checked bucket by bucket against what was announced.
    fn check(
        &self,
        answer: StateAnswer<'_>,
        wanted: &BTreeSet<u8>,
        announced: &Announced,
    ) -> Result<Vec<Arc<Item>>, ConnectorError> {
        const DOING: Doing = Doing::State;
        let mut split: BTreeMap<u8, Vec<Arc<Item>>> =
            wanted.iter().map(|index| (*index, Vec::new())).collect();
        let mut count = 0;
        for resource in answer.resources {
            let item = resource.into_item().map_err(|e| {
                self.asked
                    .terminal(DOING, &format!("holds a resource whose name is none: {e}"))
            })?;
            let Some(bucket) = split.get_mut(&item.bucket) else {
                let what = format!("sent {}, which was not asked for", item.id);
                return Err(self.asked.terminal(DOING, &what));
            };
            bucket.push(item);
            count += 1;
        }
        let mut items = Vec::with_capacity(count);
        for (index, bucket) in split {
            let bucket = Bucket::new(bucket);
            if announced.buckets.get(usize::from(index)) != Some(&bucket.digest()) {
                let what = format!(
                    "announces another digest for bucket {index:02x} than its resources give: the listing is not complete"
                );
                return Err(self.asked.terminal(DOING, &what));
            }
            items.extend_from_slice(bucket.items());
        }
        if items.len() != count {
            return Err(self.asked.terminal(DOING, "sent a resource twice"));
        }
        Ok(items)
    }

    async fn end(
        &self,
        doing: Doing,
        id: &ChangesetId,
        verb: &str,
        fence: Fence,
    ) -> Result<OutcomeAnswer, ConnectorError> {
        let request = self.request(Method::POST, &format!("/changesets/{id}/{verb}"));
        let request = self.with_body(doing, request, &FenceRequest { fence })?;
        let answer = Answer::receive(&self.asked, doing, request).await?;
        answer.json(&self.asked, doing, &[StatusCode::OK])
    }
}

#[async_trait]
impl Observe for HttpConnector {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            staging: Staging::Native,
            digest: true,
            audit: true,
        }
    }

    async fn digests(&self, known: Option<Digest>) -> Result<Seen, ConnectorError> {
        let believed = self.unchanged.load(Ordering::Relaxed) < bounds::BELIEVED;
        let Some(digests) = self.fetch_digests(known.filter(|_| believed)).await? else {
            self.unchanged.fetch_add(1, Ordering::Relaxed);
            // What was announced before may be of another state than the one the caller knows.
            if self.remembered().map(|a| a.digest) != known {
                self.remember(None);
            }
            return Ok(Seen::Unchanged);
        };
        self.unchanged.store(0, Ordering::Relaxed);
        let DigestsAnswer {
            revision,
            digest,
            buckets,
        } = digests;
        if known == Some(digest) {
            return Ok(Seen::Unchanged);
        }
        Ok(Seen::Digests {
            revision,
            digest,
            buckets,
        })
    }

    async fn items(&self, buckets: &[u8]) -> Result<Vec<Arc<Item>>, ConnectorError> {
        const DOING: Doing = Doing::State;
        let wanted: BTreeSet<u8> = buckets.iter().copied().collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let announced = match self.remembered() {
            Some(announced) => announced,
            None => {
                self.fetch_digests(None).await?;
                self.remembered()
                    .ok_or_else(|| self.asked.terminal(DOING, "did not announce its digests"))?
            }
        };
        let mut path = String::from("/state");
        if wanted.len() < BUCKETS {
            let pairs: Vec<String> = wanted.iter().map(|i| format!("bucket={i:02x}")).collect();
            path = format!("/state?{}", pairs.join("&"));
        }
        let answer = Answer::receive(&self.asked, DOING, self.request(Method::GET, &path)).await?;
        let state: StateAnswer<'_> = answer.json(&self.asked, DOING, &[StatusCode::OK])?;
        if state.digest != announced.digest {
            self.remember(None);
            return Err(ConnectorError::Stale {
                message: self.asked.say(
                    DOING,
                    &format!(
                        "its state went from {} to {} while it was being read",
                        announced.digest.short(),
                        state.digest.short()
                    ),
                ),
            });
        }
        self.check(state, &wanted, &announced)
    }

    async fn audit(
        &self,
        (from, until): (Timestamp, Timestamp),
        cursor: Option<&str>,
    ) -> Result<AuditAnswer, ConnectorError> {
        const DOING: Doing = Doing::Audit;
        let (from, until) = (from.to_string(), until.to_string());
        let mut query = vec![("from", from.as_str()), ("until", until.as_str())];
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let request = self.request(Method::GET, "/audit").query(&query);
        let answer = Answer::receive(&self.asked, DOING, request).await?;
        let page: AuditAnswer = answer.json(&self.asked, DOING, &[StatusCode::OK])?;
        if page.events.len() > bounds::EVENTS {
            let what = format!("sent {} events on one page", page.events.len());
            return Err(self.asked.terminal(DOING, &what));
        }
        if page
            .next
            .as_ref()
            .is_some_and(|next| next.len() > bounds::CURSOR)
        {
            let what = format!("sent a cursor of more than {} bytes", bounds::CURSOR);
            return Err(self.asked.terminal(DOING, &what));
        }
        Ok(page)
    }
}

#[async_trait]
impl Apply for HttpConnector {
    async fn prepare(&self, changeset: &Changeset) -> Result<Prepared, ConnectorError> {
        const DOING: Doing = Doing::Prepare;
        let Changeset {
            id,
            revision,
            base,
            target,
            fence,
            owner,
            changes,
        } = changeset;
        let body = PrepareRequest {
            revision: revision.clone(),
            base_digest: *base,
            target_digest: *target,
            fence: *fence,
            owner: owner.as_deref().map(Into::into),
            changes: changes.iter().map(WireChange::of).collect(),
        };
        let request = self.request(Method::PUT, &format!("/changesets/{id}"));
        let request = self.with_body(DOING, request, &body)?;
        let answer = Answer::receive(&self.asked, DOING, request).await?;
        let repeated = answer.status == StatusCode::OK;
        let expected = [StatusCode::OK, StatusCode::CREATED];
        let prepared: PrepareAnswer = answer.json(&self.asked, DOING, &expected)?;
        if prepared.id != *id {
            let what = format!("answered for the changeset {}", prepared.id);
            return Err(self.asked.terminal(DOING, &what));
        }
        Ok(Prepared { repeated })
    }

    async fn commit(&self, id: &ChangesetId, fence: Fence) -> Result<Receipt, ConnectorError> {
        let outcome = self.end(Doing::Commit, id, "commit", fence).await?;
        Ok(Receipt {
            digest: outcome.digest,
            reference: None,
        })
    }

    async fn abort(&self, id: &ChangesetId, fence: Fence) -> Result<(), ConnectorError> {
        self.end(Doing::Abort, id, "abort", fence).await.map(drop)
    }
}
