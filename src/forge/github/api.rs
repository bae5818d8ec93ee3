//! GitHub's REST API over octocrab: one place that sends requests, and knows what an answer means.
//!
//! Reads are conditional: what has not changed costs nothing of the rate limit. A limit that is reached, or a GitHub that is
//! down, is remembered, and until it is over every call fails at once and says when to come back; nobody sleeps in here for
//! longer than [`PATIENCE`]. Only what may be sent twice is sent twice.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ETAG, IF_NONE_MATCH, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use octocrab::Octocrab;
use octocrab::models::{AppId, InstallationId};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;

use super::fault::{ApiError, Seen, Wait, judge_answer, skew};
use super::pause::Pauses;
use super::remembered::{Answer, Remembered};
use super::wire;
use crate::settings::{Access, GithubSettings};

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(5);

/// The longest wait within a call.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often what may be repeated is tried, and how long after the first time.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(250);

/// The longest answer that is read, in bytes.
const ANSWER: usize = 32 << 20;

/// For how long an entity tag is believed.
const BELIEVED: Duration = Duration::from_secs(60 * 60);

/// As many items as a page can have.
const FULL: usize = 100;

/// More pages than that are no listing but a loop.
const PAGES: usize = 200;

/// Writes that may go out one after the other before they are slowed down to one a second, as GitHub asks for.
const BURST: usize = 30;

/// Whether a request may be sent again when it is not known what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Safe,
    Never,
}

/// The API of one repository.
pub(super) struct Api {
    /// For what the App itself is asked; `None` with a token.
    app: Option<Octocrab>,
    /// What acts on the repository.
    crab: OnceCell<Octocrab>,
    token: Option<SecretString>,
    installation: Option<u64>,
    base: url::Url,
    repository: Mutex<String>,
    remembered: Mutex<Remembered>,
    pause: Pauses,
    writer: Semaphore,
    written: Mutex<VecDeque<Instant>>,
    me: OnceCell<String>,
}

/// A request that got no answer.
struct Unanswered {
    /// It took all the time there is: to try again at once would take as long.
    slow: bool,
    why: String,
}

impl Unanswered {
    fn quickly(why: String) -> Self {
        Self { slow: false, why }
    }
}

impl Api {
    pub(super) fn new(settings: &GithubSettings) -> Result<Self, ApiError> {
        let broken = |error: &dyn std::error::Error| {
            ApiError::Refused(format!("[github] can't be used: {}", innermost(error)))
        };
        let base = url::Url::parse(&settings.api).map_err(|e| broken(&e))?;
        // A redirect elsewhere would take the token along.
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(REQUEST * 2)
            .build()
            .map_err(|e| broken(&e))?;
        let builder = Octocrab::builder()
            .base_uri(settings.api.as_str())
            .map_err(|e| broken(&e))?;
        let (app, crab, token, installation) = match &settings.access {
            Access::Missing(why) => {
                return Err(ApiError::Refused(format!(
                    "[github] in lockstep.toml gives nothing to log in with: {why}"
                )));
            }
            Access::Token(token) => {
                let crab = builder
                    .personal_token(token.expose_secret())
                    .build_with_reqwest(client)
                    .map_err(|e| broken(&e))?;
                (
                    None,
                    OnceCell::new_with(Some(crab)),
                    Some(token.clone()),
                    None,
                )
            }
            Access::App {
                id,
                key,
                installation,
            } => {
                // What is wrong with a key is not repeated: the message might quote it.
                let app = builder
                    .app_from_rsa_pem(AppId(*id), key.expose_secret())
                    .map_err(|_| {
                        ApiError::Refused(
                            "github.app.key in lockstep.toml is no RSA private key in PEM form, as GitHub gives it out"
                                .to_owned(),
                        )
                    })?
                    .build_with_reqwest(client)
                    .map_err(|e| broken(&e))?;
                (Some(app), OnceCell::new(), None, *installation)
            }
        };
        Ok(Self {
            app,
            crab,
            token,
            installation,
            base,
            repository: Mutex::new(settings.repository.clone()),
            remembered: Mutex::default(),
            pause: Pauses::default(),
            writer: Semaphore::new(1),
            written: Mutex::default(),
            me: OnceCell::new(),
        })
    }

    /// Whether it acts as a GitHub App, which alone may write check runs.
    pub(super) fn is_app(&self) -> bool {
        self.app.is_some()
    }

    /// `owner/name`, as GitHub calls it now.
    pub(super) fn repository(&self) -> String {
        lock(&self.repository).clone()
    }

    /// A token for git itself.
    pub(super) async fn token(&self) -> Result<SecretString, ApiError> {
        if let Some(token) = &self.token {
            return Ok(token.clone());
        }
        let crab = self.crab().await?;
        let minted = crab.installation_token().await;
        minted.map_err(|error| self.unreachable("installation token for the App", &error))
    }

    /// The login that comments and pull requests of ours carry.
    pub(super) async fn me(&self) -> Result<&str, ApiError> {
        let login = self.me.get_or_try_init(async || match &self.app {
            Some(_) => {
                let app: wire::App = self.get_as_app("/app").await?;
                Ok(format!("{}[bot]", app.slug))
            }
            None => {
                let user: wire::Account = self.get("/user").await?;
                Ok(user.login)
            }
        });
        login.await.map(String::as_str)
    }

    /// The App's own view of its installation on the repository.
    pub(super) async fn installation(&self) -> Result<wire::Installation, ApiError> {
        self.get_as_app(&self.of("installation")).await
    }

    async fn crab(&self) -> Result<&Octocrab, ApiError> {
        self.crab
            .get_or_try_init(async || {
                let Some(app) = &self.app else {
                    return Err(ApiError::Refused(
                        "[github] gives nothing to log in with".into(),
                    ));
                };
                let id = match self.installation {
                    Some(id) => id,
                    None => self.installation().await?.id,
                };
                app.installation(InstallationId(id))
                    .map_err(|e| self.unreachable("installation of the App", &e))
            })
            .await
    }

    /// A path below the repository.
    pub(super) fn of(&self, rest: &str) -> String {
        let repository = self.repository();
        if rest.is_empty() {
            format!("/repos/{repository}")
        } else {
            format!("/repos/{repository}/{rest}")
        }
    }

    /// Reads one thing, conditionally.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        let crab = self.crab().await?;
        let (body, _) = self.read(crab, path).await?;
        parse(path, &body)
    }

    async fn get_as_app<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        let Some(app) = &self.app else {
            return Err(ApiError::Refused("only an App can ask this".to_owned()));
        };
        let (body, _) = self.read(app, path).await?;
        parse(path, &body)
    }

    /// Reads all pages of a listing, or fails. `split` takes the items out of a page, `key` tells them apart.
    pub(super) async fn pages<P: DeserializeOwned, T, K: Ord>(
        &self,
        path: &str,
        split: impl Fn(P) -> Vec<T>,
        key: impl Fn(&T) -> K,
    ) -> Result<Vec<T>, ApiError> {
        let crab = self.crab().await?;
        let mut items = Vec::new();
        let mut known = BTreeSet::new();
        let mut visited = BTreeSet::new();
        let mut next = Some(path.to_owned());
        while let Some(path) = next.take() {
            if visited.len() >= PAGES || !visited.insert(path.clone()) {
                lock(&self.remembered).forget(&visited);
                return Err(ApiError::Transient(format!(
                    "GitHub's listing {path} leads round in a circle, so it is not known to be whole"
                )));
            }
            let (body, following) = self.read(crab, &path).await?;
            let page = split(parse(&path, &body)?);
            let (had, fresh) = (page.len(), items.len());
            if had >= FULL && following.is_none() {
                // What comes after it would not change it: it must be asked for itself.
                lock(&self.remembered).forget(&BTreeSet::from([path.clone()]));
            }
            // Something new moves what was last on a page to the top of the following one.
            items.extend(page.into_iter().filter(|item| known.insert(key(item))));
            if had > 0 && items.len() == fresh {
                // Else its next page would be believed again for as long as the first has not changed.
                lock(&self.remembered).forget(&visited);
                return Err(ApiError::Transient(format!(
                    "GitHub repeats a page of {path}, so the listing is not known to be whole"
                )));
            }
            next = following;
        }
        Ok(items)
    }

    /// Writes, and reads the answer.
    pub(super) async fn write<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        repeat: Repeat,
    ) -> Result<T, ApiError> {
        let crab = self.crab().await?;
        let turn = self.writer.acquire().await;
        let _turn = turn.map_err(|_| ApiError::Transient("GitHub is given up".to_owned()))?;
        self.pace().await;
        let seen = self
            .send(crab, &method, path, Some(body), None, repeat)
            .await?;
        parse(path, &seen.body)
    }

    /// Slows writes down once many went out within a short time.
    async fn pace(&self) {
        let due = {
            let mut written = lock(&self.written);
            let now = Instant::now();
            while written
                .front()
                .is_some_and(|at| now - *at > Duration::from_secs(BURST as u64))
            {
                written.pop_front();
            }
            let due = (written.len() >= BURST).then(|| now + Duration::from_secs(1));
            written.push_back(due.unwrap_or(now));
            due
        };
        if let Some(due) = due {
            tokio::time::sleep_until(due).await;
        }
    }

    /// A page and the path of the next one.
    async fn read(&self, crab: &Octocrab, path: &str) -> Result<(Bytes, Option<String>), ApiError> {
        let known = lock(&self.remembered).get(path).cloned();
        let known = known.filter(|k| k.at.elapsed() < BELIEVED);
        let tag = known.as_ref().map(|k| k.etag.as_str());
        let seen = self
            .send(crab, &Method::GET, path, None, tag, Repeat::Safe)
            .await?;
        if seen.status == StatusCode::NOT_MODIFIED {
            return match known {
                // A page that has become full leads on, though it is as before.
                Some(known) => Ok((known.body, self.next_page(&seen.headers)?.or(known.next))),
                None => Err(ApiError::Transient(format!(
                    "GitHub says that {path} is as before, which was not asked"
                ))),
            };
        }
        let next = self.next_page(&seen.headers)?;
        if let Some(etag) = seen.headers.get(ETAG).and_then(|v| v.to_str().ok()) {
            lock(&self.remembered).keep(
                path,
                Answer {
                    etag: etag.to_owned(),
                    body: seen.body.clone(),
                    next: next.clone(),
                    at: Instant::now(),
                },
            );
        }
        Ok((seen.body, next))
    }

    /// Where the `Link` header leads, if it stays at GitHub.
    fn next_page(&self, headers: &HeaderMap) -> Result<Option<String>, ApiError> {
        let links = headers.get_all(http::header::LINK);
        let links = links.iter().filter_map(|v| v.to_str().ok());
        let next = links
            .flat_map(|v| v.split(','))
            .find(|link| link.contains("rel=\"next\""))
            .and_then(|link| link.split_once('<')?.1.split_once('>'))
            .map(|(url, _)| url);
        next.map(|url| self.within(url)).transpose()
    }

    /// The path and query of a URL of this API.
    fn within(&self, url: &str) -> Result<String, ApiError> {
        let elsewhere = || {
            ApiError::Refused(
                "GitHub's answer leads to another server, where Lockstep does not follow with its token"
                    .to_owned(),
            )
        };
        let url = self.base.join(url).map_err(|_| elsewhere())?;
        if url.origin() != self.base.origin() {
            return Err(elsewhere());
        }
        Ok(url[url::Position::BeforePath..url::Position::AfterQuery].to_owned())
    }

    /// Sends a request until there is an answer that says something, or patience ends. A repository that has another name now is
    /// asked by that.
    async fn send(
        &self,
        crab: &Octocrab,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        etag: Option<&str>,
        repeat: Repeat,
    ) -> Result<Seen, ApiError> {
        let mut path = path.to_owned();
        let mut renamed = false;
        let mut tried = 0;
        loop {
            self.pause.may_send()?;
            tried += 1;
            let sent = self.send_once(crab, method, &path, body, etag).await;
            let again = repeat == Repeat::Safe && tried < TRIES;
            let seen = match sent {
                Ok(seen) => seen,
                Err(Unanswered {
                    slow: false,
                    why: error,
                }) if again => {
                    tracing::debug!(path, %error, "asked again");
                    tokio::time::sleep(PAUSE * 4_u32.pow(tried - 1)).await;
                    continue;
                }
                Err(Unanswered { why: error, .. }) => {
                    self.pause.failed(&error);
                    return Err(match repeat {
                        Repeat::Safe => ApiError::Transient(error),
                        Repeat::Never => ApiError::Lost(error),
                    });
                }
            };
            if seen.status.is_redirection() && seen.status != StatusCode::NOT_MODIFIED {
                if renamed {
                    return Err(ApiError::Transient(format!(
                        "GitHub sends {path} round in a circle"
                    )));
                }
                renamed = true;
                path = self.follow(crab, &path, &seen).await?;
                continue;
            }
            let server_error = seen.status.is_server_error();
            if server_error && again {
                tokio::time::sleep(PAUSE * 4_u32.pow(tried - 1)).await;
                continue;
            }
            match judge_answer(method, &path, &seen) {
                Ok(()) => {
                    self.pause.answered();
                    return Ok(seen);
                }
                Err((error, Some(Wait { after, why }))) => {
                    if after <= PATIENCE && tried < TRIES {
                        tokio::time::sleep(after).await;
                        continue;
                    }
                    self.pause.keep_quiet(after, why);
                    return Err(error);
                }
                Err((error, None)) => {
                    if server_error {
                        self.pause.failed(&error.to_string());
                        // It may have been done all the same.
                        if repeat == Repeat::Never {
                            return Err(ApiError::Lost(error.to_string()));
                        }
                    }
                    return Err(error);
                }
            }
        }
    }

    async fn send_once(
        &self,
        crab: &Octocrab,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        etag: Option<&str>,
    ) -> Result<Seen, Unanswered> {
        let away = |error: &dyn std::error::Error| {
            format!("{} can't be reached: {}", self.host(), innermost(error))
        };
        let mut request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(ACCEPT, "application/vnd.github+json")
            .header("X-GitHub-Api-Version", "2022-11-28");
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let request = crab
            .build_request(request, body)
            .map_err(|e| Unanswered::quickly(away(&e)))?;
        let answered = async {
            let answer = crab.execute(request).await.map_err(|e| away(&e))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER).collect().await.map_err(|e| {
                let why = innermost(&*e);
                format!(
                    "{}'s answer to {method} {path} broke off: {why}",
                    self.host()
                )
            })?;
            Ok::<_, String>(Seen {
                status: head.status,
                headers: head.headers,
                body: body.to_bytes(),
            })
        };
        let seen = match tokio::time::timeout(REQUEST, answered).await {
            Ok(seen) => seen.map_err(Unanswered::quickly)?,
            Err(_) => {
                return Err(Unanswered {
                    slow: true,
                    why: format!("{} did not answer {method} {path} in time", self.host()),
                });
            }
        };
        if let Some(seconds) = skew(&seen.headers) {
            tracing::debug!(seconds, "GitHub's clock is another");
        }
        Ok(seen)
    }

    fn host(&self) -> &str {
        self.base.host_str().unwrap_or("GitHub")
    }

    fn unreachable(&self, what: &str, error: &octocrab::Error) -> ApiError {
        ApiError::Transient(format!(
            "{} gives no {what}: {}",
            self.host(),
            innermost(error)
        ))
    }

    /// The path under the repository's new name, which GitHub tells by its number.
    async fn follow(&self, crab: &Octocrab, path: &str, seen: &Seen) -> Result<String, ApiError> {
        let location = seen.headers.get(LOCATION).and_then(|v| v.to_str().ok());
        let target = self.within(location.unwrap_or_default())?;
        let number = target
            .split_once("/repositories/")
            .map(|(_, rest)| {
                rest.chars()
                    .take_while(char::is_ascii_digit)
                    .collect::<String>()
            })
            .filter(|number| !number.is_empty());
        let Some(number) = number else {
            return Err(ApiError::Refused(format!(
                "GitHub sends {path} elsewhere, to {target}, which is no repository's new place"
            )));
        };
        let asked = format!("/repositories/{number}");
        let answer = self
            .send_once(crab, &Method::GET, &asked, None, None)
            .await
            .map_err(|unanswered| ApiError::Transient(unanswered.why))?;
        if let Err((error, _)) = judge_answer(&Method::GET, &asked, &answer) {
            return Err(error);
        }
        let found: wire::Repository = parse(&asked, &answer.body)?;
        let old = self.repository();
        tracing::warn!(
            old,
            new = found.full_name,
            "the repository has another name now: change `repository` under [github] in lockstep.toml"
        );
        let path = path.replacen(
            &format!("/repos/{old}"),
            &format!("/repos/{}", found.full_name),
            1,
        );
        *lock(&self.repository) = found.full_name;
        Ok(path)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn parse<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T, ApiError> {
    // Some writes answer nothing.
    let body = if body.is_empty() { b"null" } else { body };
    serde_json::from_slice(body).map_err(|error| {
        ApiError::Transient(format!(
            "GitHub's answer to {path} is not what its API describes (line {}, column {})",
            error.line(),
            error.column()
        ))
    })
}

/// What lies beneath an error: octocrab's own words say little.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
