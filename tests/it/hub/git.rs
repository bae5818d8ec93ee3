//! Git itself, which the emulator does not have: bare repositories behind `git http-backend`, kept in step with the emulator in both
//! directions, object id by object id.

mod door;
mod smart;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use axum::http::Method;
use git2::{Oid, Repository};
use serde_json::{Value, json};

use super::ask::{Answer, Ask};
use super::{Hub, Shared, events};

pub(super) use door::date;
pub(super) use smart::{is_git, serve};

/// An empty bare repository that takes pushes, and gives any object by its id.
pub(super) fn create(path: &Path) {
    let mut options = git2::RepositoryInitOptions::new();
    options.bare(true).mkpath(true).initial_head("main");
    let repository = Repository::init_opts(path, &options).unwrap();
    let mut config = repository.config().unwrap();
    for (name, value) in [
        ("http.receivepack", "true"),
        ("uploadpack.allowAnySHA1InWant", "true"),
        ("uploadpack.allowFilter", "true"),
        ("receive.autogc", "false"),
        ("gc.auto", "0"),
        // As on GitHub, only the service itself writes these.
        ("receive.hideRefs", "refs/pull"),
    ] {
        config.set_str(name, value).unwrap();
    }
}

/// The commit that a name stands for.
pub(super) fn resolve(path: &Path, reference: &str) -> Option<String> {
    let repository = Repository::open(path).ok()?;
    let plain = reference.trim_start_matches("refs/");
    let names = [
        format!("refs/heads/{reference}"),
        format!("refs/{plain}"),
        format!("refs/tags/{reference}"),
        reference.to_owned(),
    ];
    names.iter().find_map(|name| {
        let commit = repository.revparse_single(name).ok()?.peel_to_commit();
        commit.ok().map(|commit| commit.id().to_string())
    })
}

/// The branches and where they are.
pub(super) fn heads(path: &Path) -> BTreeMap<String, String> {
    let repository = Repository::open(path).unwrap();
    let heads = repository.references_glob("refs/heads/*").unwrap();
    heads
        .flatten()
        .filter_map(|head| Some((head.name().ok()?.to_owned(), head.target()?.to_string())))
        .collect()
}

/// Sets or deletes a ref.
pub(super) fn point(path: &Path, reference: &str, to: Option<&str>) {
    let repository = Repository::open(path).unwrap();
    match to {
        Some(sha) => {
            let id = Oid::from_str(sha).unwrap();
            let _ = repository.reference(reference, id, true, "hub").unwrap();
        }
        None => {
            if let Ok(mut found) = repository.find_reference(reference) {
                found.delete().unwrap();
            }
        }
    }
}

/// Where refs were before a change, and who caused it.
pub(super) struct Change<'a> {
    pub(super) repository: &'a str,
    pub(super) login: &'a str,
    pub(super) before: BTreeMap<String, String>,
}

/// Tells the emulator, and whoever listens, what has changed in a repository since. The caller holds the lock of changes.
pub(super) async fn changed(shared: &Arc<Shared>, change: Change<'_>) {
    let Change {
        repository,
        login,
        before,
    } = change;
    let path = shared.bare(repository);
    let after = heads(&path);
    let mut moves: BTreeMap<String, (Option<String>, Option<String>)> = BTreeMap::new();
    for (name, sha) in &after {
        if before.get(name) != Some(sha) {
            moves.insert(name.clone(), (before.get(name).cloned(), Some(sha.clone())));
        }
    }
    for (name, sha) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
        moves.insert(name.clone(), (Some(sha.clone()), None));
    }
    if moves.is_empty() {
        return;
    }
    let refs: BTreeMap<&String, &Option<String>> =
        moves.iter().map(|(name, (_, to))| (name, to)).collect();
    let answer = door::into_emulator(shared, repository, &json!(refs)).await;
    for (name, (from, to)) in &moves {
        let moved = events::Moved {
            reference: name,
            from: from.as_deref(),
            to: to.as_deref(),
        };
        let payload = events::push(shared, repository, login, &moved);
        events::emit(shared, "push", repository, payload, login);
    }
    for pull in answer["moved"].as_array().into_iter().flatten() {
        let number = pull["number"].as_u64().unwrap_or_default();
        follow_head(shared, number).await;
        let mut payload =
            json!({"action": "synchronize", "number": number, "before": pull["before"]});
        payload["pull_request"] = super::pulls::shown(shared, number).await;
        payload["after"] = payload["pull_request"]["head"]["sha"].clone();
        events::emit(
            shared,
            "pull_request",
            &shared.now_called("acme/config"),
            payload,
            login,
        );
    }
    for number in answer["orphaned"].as_array().into_iter().flatten() {
        let target = format!("/repos/{}/pulls/{number}", shared.now_called("acme/config"));
        let closed = json!({"state": "closed"});
        shared.as_owner(Method::PATCH, &target, &closed).await;
    }
}

/// `refs/pull/N/head` as it now should be. A fork's objects are there already: see [`fork`].
pub(super) async fn follow_head(shared: &Shared, number: u64) {
    let base = shared.now_called("acme/config");
    let pull = shared.look(&format!("/repos/{base}/pulls/{number}")).await;
    if let Some(sha) = pull["head"]["sha"].as_str() {
        let name = format!("refs/pull/{number}/head");
        point(&shared.bare(&base), &name, Some(sha));
    }
}

/// After something was written through the API: what came into being there is brought to git.
pub(super) async fn follow(shared: &Arc<Shared>, ask: &Ask, parts: &[&str]) {
    let ["repos", owner, name, rest @ ..] = parts else {
        return;
    };
    let repository = format!("{owner}/{name}");
    match rest {
        ["git" | "contents" | "merges", ..] | ["pulls", _, "update-branch"] => {
            let path = shared.bare(&repository);
            let before = heads(&path);
            door::out_of_emulator(shared, &repository).await;
            let change = Change {
                repository: &repository,
                login: &ask.login.clone().unwrap_or_default(),
                before,
            };
            changed(shared, change).await;
        }
        ["forks"] => {
            let login = ask.login.clone().unwrap_or_default();
            fork(shared, &repository, &format!("{login}/{name}")).await;
        }
        [] if ask.method == Method::PATCH => {
            let new = ask.json()["name"]
                .as_str()
                .map(|name| format!("{owner}/{name}"));
            if let Some(new) = new.filter(|new| *new != repository) {
                std::fs::rename(shared.bare(&repository), shared.bare(&new)).unwrap();
                let mut state = shared.state();
                let known = state.known.remove(&repository).unwrap_or_default();
                state.known.insert(new.clone(), known);
                state.renamed.insert(repository, new);
            }
        }
        _ => {}
    }
}

/// The fork's own repository, with what its parent has.
async fn fork(shared: &Arc<Shared>, parent: &str, fork: &str) {
    branch_off(&shared.bare(parent), &shared.bare(fork));
    let change = Change {
        repository: fork,
        login: fork.split('/').next().unwrap_or_default(),
        before: BTreeMap::new(),
    };
    changed(shared, change).await;
}

fn branch_off(parent: &Path, fork: &Path) {
    create(fork);
    let repository = Repository::open(fork).unwrap();
    let mut remote = repository
        .remote_anonymous(parent.to_str().unwrap())
        .unwrap();
    let heads = "+refs/heads/*:refs/heads/*";
    remote.fetch(&[heads], None, None).unwrap();
    // As on GitHub, the parent can give out what its forks have.
    let alternates = parent.join("objects/info/alternates");
    let mut others = std::fs::read_to_string(&alternates).unwrap_or_default();
    others.push_str(&format!("{}\n", fork.join("objects").display()));
    std::fs::write(alternates, others).unwrap();
}

impl Shared {
    /// A repository's present name.
    pub(super) fn now_called(&self, repository: &str) -> String {
        let state = self.state();
        let mut name = repository;
        while let Some(new) = state.renamed.get(name) {
            name = new;
        }
        name.to_owned()
    }
}

impl Hub {
    /// Commits files to main by a plain `git push` of the owner's, and gives the commit. An empty text deletes the file.
    pub(crate) async fn seed(&self, files: &[(&str, &str)]) -> String {
        self.push("admin", "acme/config", "main", "Configuration", files)
            .await
    }

    /// Commits files on top of main to a branch, and pushes it as somebody.
    pub(crate) async fn push(
        &self,
        login: &str,
        repository: &str,
        branch: &str,
        message: &str,
        files: &[(&str, &str)],
    ) -> String {
        let folder =
            self.path("clones")
                .join(format!("{}-{}", login, uuid::Uuid::new_v4().simple()));
        std::fs::create_dir_all(&folder).unwrap();
        let url = self.git_url_as(login, repository);
        git(&folder, &["init", "--quiet", "--initial-branch=main"]).await;
        git(&folder, &["config", "user.name", login]).await;
        git(
            &folder,
            &["config", "user.email", &format!("{login}@example.org")],
        )
        .await;
        let known = git(&folder, &["ls-remote", &url]).await;
        for start in [branch, "main"] {
            if known
                .lines()
                .any(|line| line.ends_with(&format!("\trefs/heads/{start}")))
            {
                git(&folder, &["fetch", "--quiet", &url, start]).await;
                git(&folder, &["reset", "--quiet", "--hard", "FETCH_HEAD"]).await;
                break;
            }
        }
        for (path, text) in files {
            let path = folder.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            if text.is_empty() {
                std::fs::remove_file(path).unwrap();
            } else {
                std::fs::write(path, text).unwrap();
            }
        }
        git(&folder, &["add", "-A"]).await;
        git(
            &folder,
            &["commit", "--quiet", "--allow-empty", "-m", message],
        )
        .await;
        git(
            &folder,
            &[
                "push",
                "--quiet",
                &url,
                &format!("HEAD:refs/heads/{branch}"),
            ],
        )
        .await;
        git(&folder, &["rev-parse", "HEAD"]).await.trim().to_owned()
    }

    /// Renames the repository, as an owner may; its old name leads on.
    pub(crate) async fn rename(&self, name: &str) {
        let now = self.shared.now_called("acme/config");
        let body = json!({"name": name});
        self.done("admin", "PATCH", &format!("/repos/{now}"), Some(body))
            .await;
    }

    /// A fork of the repository, owned by somebody.
    pub(crate) async fn fork(&self, login: &str) -> Value {
        self.done(login, "POST", "/repos/acme/config/forks", Some(json!({})))
            .await
    }
}

/// Plain git, which must succeed.
pub(super) async fn git(folder: &Path, args: &[&str]) -> String {
    let output = tokio::process::Command::new("git")
        .args(args)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {args:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// An answer of git's that refuses.
fn refused(status: u16, message: &str) -> Answer {
    Answer {
        status,
        headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
        body: message.as_bytes().to_vec(),
    }
}
