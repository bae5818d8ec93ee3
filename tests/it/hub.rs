//! GitHub as the tests have it: an emulator in a process of its own that keeps pull requests, reviews, comments, people and Apps,
//! and in front of it a server of ours that adds what the emulator lacks (git itself, commit statuses, true merges, ETags,
//! permissions), refuses what GitHub refuses, checks every request against GitHub's published description, counts, and
//! fails when it is told to.
//!
//! A request that GitHub's description does not know, or whose parameters or body it does not allow, fails the test at its end.

mod ask;
mod checks;
mod emulator;
mod events;
mod fault;
mod front;
mod git;
mod limits;
mod pulls;
mod schema;
mod server;
mod start;
mod statuses;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

pub(crate) use events::{Delivery, example, sign};
pub(crate) use fault::{Fault, What};

/// Something that `./test` cut out of what others publish; `None` where it is not installed and the test may be left out.
pub(crate) fn published(name: &str) -> Option<String> {
    emulator::is_installed().then(|| emulator::generated(name))
}

/// The App that is installed on the organisation.
pub(crate) const APP: u64 = 12345;
pub(crate) const INSTALLATION: u64 = 100;

/// A request that was made, and how it was answered.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Without the prefix of Enterprise Server.
    pub(crate) path: String,
    pub(crate) query: String,
    /// What was answered; 0 where the connection ended before.
    pub(crate) status: u16,
    pub(crate) not_modified: bool,
    /// Whose token it carried.
    pub(crate) login: Option<String>,
    pub(crate) body: Value,
    /// A person's client in the test, by [`Hub::api`].
    pub(crate) by_person: bool,
    pub(crate) git: bool,
}

/// What a token is, and what was taken from it.
#[derive(Clone, Debug)]
struct Token {
    login: String,
    /// A classic token's scopes; a fine-grained token has permissions instead.
    scopes: Option<Vec<String>>,
    /// An installation's permissions, by name: `read` or `write`.
    granted: Option<BTreeMap<String, String>>,
    used: u32,
    limit: u32,
}

#[derive(Default)]
struct State {
    tokens: HashMap<String, Token>,
    /// By login: permissions that are withheld, as `statuses` or `statuses=write`.
    withheld: BTreeMap<String, Vec<String>>,
    roles: BTreeMap<String, &'static str>,
    faults: Vec<Fault>,
    asked: Vec<Asked>,
    violations: Vec<String>,
    statuses: HashMap<String, Vec<Value>>,
    deliveries: Vec<Delivery>,
    /// Where the App's own events go, and the secret.
    app_hook: Option<(String, String)>,
    /// A repository's old names.
    renamed: BTreeMap<String, String>,
    /// Objects that the emulator has, by repository.
    known: HashMap<String, HashSet<git2::Oid>>,
    /// The last row of each kind that came out of the emulator, by repository.
    rows: HashMap<String, BTreeMap<String, u64>>,
    /// The App's check runs, and the annotations of each.
    runs: HashMap<u64, Vec<Value>>,
    next_id: u64,
    /// When a pull request was reviewed or commented last.
    touched: BTreeMap<u64, String>,
}

struct Shared {
    /// Where the front listens, as clients write it.
    base: String,
    upstream: String,
    door: String,
    client: reqwest::Client,
    git: PathBuf,
    tokens: BTreeMap<String, String>,
    people: BTreeMap<String, Value>,
    repository: u64,
    state: Mutex<State>,
    /// One change of a repository's refs at a time.
    changing: tokio::sync::Mutex<()>,
    down: AtomicBool,
    events: UnboundedSender<events::Event>,
    described: &'static schema::Description,
}

/// One GitHub, with the organisation `acme` and its repository `config`.
pub(crate) struct Hub {
    shared: Arc<Shared>,
    runtime: Option<tokio::runtime::Runtime>,
    _emulator: emulator::Emulator,
    dir: tempfile::TempDir,
    finished: bool,
}

impl Hub {
    /// Starts it; `None` where the emulator is not installed and the test may be left out, which is said aloud.
    pub(crate) async fn start() -> Option<Self> {
        start::start().await
    }

    /// The API's address, as github.com has it at its own host.
    pub(crate) fn api_url(&self) -> String {
        self.shared.base.clone()
    }

    /// The API's address, as Enterprise Server has it.
    pub(crate) fn enterprise_url(&self) -> String {
        format!("{}/api/v3", self.shared.base)
    }

    /// The repository's git address, without credentials.
    pub(crate) fn git_url(&self) -> String {
        self.git_url_of("acme/config")
    }

    pub(crate) fn git_url_of(&self, repository: &str) -> String {
        format!("{}/{repository}.git", self.shared.base)
    }

    /// The same address with a person's token in it, for plain `git push`.
    pub(crate) fn git_url_as(&self, login: &str, repository: &str) -> String {
        let token = self.token(login);
        let host = self.shared.base.trim_start_matches("http://");
        format!("http://x-access-token:{token}@{host}/{repository}.git")
    }

    /// The bare repository behind the git address.
    pub(crate) fn bare(&self) -> PathBuf {
        self.shared.bare("acme/config")
    }

    /// A folder for whatever the test needs.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A person's token, or `lockstep-bot`'s.
    pub(crate) fn token(&self, login: &str) -> String {
        let token = self.shared.tokens.get(login);
        token
            .unwrap_or_else(|| panic!("nobody called {login}"))
            .clone()
    }

    /// The App's private key, PEM.
    pub(crate) fn app_key(&self) -> String {
        emulator::app_key()
    }

    /// What comes instead of an answer from now on.
    pub(crate) fn fail(&self, fault: Fault) {
        self.shared.state().faults.push(fault);
    }

    /// No fault any more.
    pub(crate) fn heal(&self) {
        self.shared.state().faults.clear();
        self.up();
    }

    /// Closes every connection at once, until [`Hub::up`].
    pub(crate) fn down(&self) {
        self.shared.down.store(true, Ordering::SeqCst);
    }

    pub(crate) fn up(&self) {
        self.shared.down.store(false, Ordering::SeqCst);
    }

    /// The API requests of what is tested, oldest first; not git's, nor those of [`Hub::api`].
    pub(crate) fn requests(&self) -> Vec<Asked> {
        let all = self.everything();
        all.into_iter()
            .filter(|asked| !asked.by_person && !asked.git)
            .collect()
    }

    pub(crate) fn git_requests(&self) -> Vec<Asked> {
        let all = self.everything();
        all.into_iter().filter(|asked| asked.git).collect()
    }

    fn everything(&self) -> Vec<Asked> {
        self.shared.state().asked.clone()
    }

    pub(crate) fn forget_requests(&self) {
        self.shared.state().asked.clear();
    }

    /// What was asked that GitHub does not know, and forgets it: for tests that mean it.
    pub(crate) fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.state().violations)
    }

    /// Takes a permission from somebody's token: `statuses`, or only `statuses=write`. The App is `lockstep[bot]`.
    pub(crate) fn withhold(&self, login: &str, permission: &str) {
        let mut state = self.shared.state();
        let withheld = state.withheld.entry(login.to_owned()).or_default();
        withheld.push(permission.to_owned());
    }

    /// Gives back what was withheld.
    pub(crate) fn grant(&self, login: &str) {
        self.shared.state().withheld.remove(login);
    }

    /// Makes somebody's token a classic one with these scopes.
    pub(crate) fn classic(&self, login: &str, scopes: &[&str]) {
        let token = self.token(login);
        if let Some(token) = self.shared.state().tokens.get_mut(&token) {
            token.scopes = Some(scopes.iter().map(|&scope| scope.to_owned()).collect());
        }
    }

    /// From now on somebody's token is not known any more. `lockstep[bot]`: every installation token so far.
    pub(crate) fn revoke(&self, login: &str) {
        let mut state = self.shared.state();
        state.tokens.retain(|_, token| token.login != login);
    }

    /// How many requests somebody's token has left in this hour.
    pub(crate) fn leave(&self, login: &str, remaining: u32) {
        let mut state = self.shared.state();
        for token in state.tokens.values_mut().filter(|t| t.login == login) {
            token.used = token.limit.saturating_sub(remaining);
        }
    }

    /// Where the App's events are delivered.
    pub(crate) fn app_hook(&self, url: &str, secret: &str) {
        self.shared.state().app_hook = Some((url.to_owned(), secret.to_owned()));
    }

    /// What was delivered to whom, oldest first.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.shared.state().deliveries.clone()
    }

    /// Ends it, and fails if anything was asked that GitHub does not know.
    pub(crate) fn finish(mut self) {
        self.finished = true;
        let violations = self.take_violations();
        assert!(
            violations.is_empty(),
            "requests that GitHub would not take: {violations:#?}"
        );
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn bare(&self, repository: &str) -> PathBuf {
        self.git.join(format!("{repository}.git"))
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // Not waited for: a test's own runtime may be what drops it.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        if self.finished || std::thread::panicking() {
            return;
        }
        let violations = self.take_violations();
        assert!(
            violations.is_empty(),
            "requests that GitHub would not take: {violations:#?}"
        );
    }
}
