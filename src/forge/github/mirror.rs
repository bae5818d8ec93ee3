//! The config repo on this machine: a bare copy of what GitHub has, brought here and taken there by git itself.
//!
//! git2 is built without HTTPS, which would tie it to the system's OpenSSL; so the `git` program does the transport, as it
//! does for everybody else. It gets the token in its environment, never in its arguments, goes to one address only, follows no
//! redirect, asks nobody anything and runs no hook. Nothing is ever checked out.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::process::Command;
use tokio::sync::Semaphore;
use url::Url;

use crate::forge::ForgeError;
use crate::ids::Revision;
use crate::repo::Repo;

/// How long one fetch or push may take.
const TRANSPORT: Duration = Duration::from_secs(120);

/// Where the heads of proposals are kept, so that what was judged stays here.
pub(super) const PULLS: &str = "refs/lockstep/pulls";

/// Where what GitHub has of notes is brought, beside ours: bringing them loses no line that is only here yet.
pub(super) fn beside(reference: &str) -> String {
    let name = reference.strip_prefix("refs/").unwrap_or(reference);
    format!("refs/lockstep/theirs/{name}")
}

pub(super) struct Mirror {
    repo: Arc<Repo>,
    git_dir: PathBuf,
    /// The web address of the server.
    web: Url,
    /// Variables that git is not given: they hold secrets that are none of its business.
    private: BTreeSet<String>,
    turn: Semaphore,
    /// Whoever proposes something huge keeps main from nothing.
    main: Semaphore,
}

impl Mirror {
    pub(super) fn new(
        repo: Arc<Repo>,
        web: Url,
        private: BTreeSet<String>,
    ) -> Result<Self, ForgeError> {
        let git_dir = repo.git_dir().ok_or_else(|| {
            ForgeError::Refused(format!(
                "{} is no git repository, so it can't mirror one of GitHub's",
                repo.path().display()
            ))
        })?;
        Ok(Self {
            repo,
            git_dir,
            web,
            private,
            turn: Semaphore::new(1),
            main: Semaphore::new(1),
        })
    }

    /// Whether a commit is here already.
    pub(super) async fn has(&self, commit: &Revision) -> Result<bool, ForgeError> {
        let (repo, commit) = (self.repo.clone(), commit.clone());
        let has = tokio::task::spawn_blocking(move || repo.is_commit(&commit));
        let has = has
            .await
            .map_err(|error| ForgeError::Transient(format!("reading the mirror: {error}")))?;
        Ok(has?)
    }

    /// Brings references here: `+refs/heads/main:refs/heads/main`.
    pub(super) async fn fetch(
        &self,
        repository: &str,
        token: &SecretString,
        refspecs: &[String],
    ) -> Result<(), ForgeError> {
        let mut arguments = vec![
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--no-auto-maintenance",
        ];
        let address = self.address(repository)?;
        arguments.extend(["--", address.as_str()]);
        arguments.extend(refspecs.iter().map(String::as_str));
        let turn = if refspecs.iter().any(|r| r.contains("refs/pull/")) {
            &self.turn
        } else {
            &self.main
        };
        self.git(turn, &arguments, &address, token, "fetching")
            .await
    }

    /// Takes a reference there. Where GitHub has another commit in it than ours was made from, it refuses.
    pub(super) async fn push(
        &self,
        repository: &str,
        token: &SecretString,
        reference: &str,
    ) -> Result<(), ForgeError> {
        let address = self.address(repository)?;
        let refspec = format!("{reference}:{reference}");
        let arguments = [
            "push",
            "--quiet",
            "--no-verify",
            "--",
            address.as_str(),
            &refspec,
        ];
        self.git(&self.main, &arguments, &address, token, "pushing")
            .await
    }

    fn address(&self, repository: &str) -> Result<Url, ForgeError> {
        let base = self.web.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}/{repository}.git"))
            .map_err(|error| ForgeError::Refused(format!("github.url: {error}")))
    }

    async fn git(
        &self,
        turn: &Semaphore,
        arguments: &[&str],
        address: &Url,
        token: &SecretString,
        doing: &str,
    ) -> Result<(), ForgeError> {
        let turn = turn.acquire().await;
        let _turn = turn.map_err(|_| ForgeError::Transient("the mirror is closed".to_owned()))?;
        let login = format!("x-access-token:{}", token.expose_secret());
        let login = base64::engine::general_purpose::STANDARD.encode(login);
        let mut git = Command::new("git");
        for name in &self.private {
            git.env_remove(name);
        }
        let allowed = format!("protocol.{}.allow=always", address.scheme());
        for setting in [
            "protocol.allow=never",
            &allowed,
            "http.followRedirects=false",
            "http.lowSpeedLimit=1000",
            "http.lowSpeedTime=30",
            "credential.helper=",
            "core.hooksPath=/dev/null",
            "gc.auto=0",
            "maintenance.auto=false",
            "submodule.recurse=false",
            "advice.pushUpdateRejected=false",
        ] {
            git.args(["-c", setting]);
        }
        git.arg("--git-dir")
            .arg(&self.git_dir)
            .args(arguments)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "true")
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", format!("http.{address}.extraHeader"))
            .env(
                "GIT_CONFIG_VALUE_0",
                format!("Authorization: Basic {login}"),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let ran = tokio::time::timeout(TRANSPORT, git.output()).await;
        let Ok(ran) = ran else {
            return Err(ForgeError::Transient(format!(
                "{doing} with {address} took longer than {} s",
                TRANSPORT.as_secs()
            )));
        };
        let output = ran.map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                let missing =
                    "the program git is not installed here; it brings the config repo from GitHub";
                ForgeError::Refused(missing.to_owned())
            } else {
                ForgeError::Transient(format!("git can't be started: {error}"))
            }
        })?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(failure(doing, address, &said))
    }
}

/// Whether git said that there is no such reference or commit any more, as against not getting through.
pub(super) fn is_gone(said: &str) -> bool {
    [
        "not our ref",
        "couldn't find remote ref",
        "unadvertised object",
    ]
    .iter()
    .any(|words| said.contains(words))
}

/// What git's own words mean.
fn failure(doing: &str, address: &Url, said: &str) -> ForgeError {
    let line = said
        .lines()
        .rev()
        .find(|l| l.starts_with("fatal:") || l.starts_with("error:") || l.contains("[rejected]"))
        .or_else(|| said.lines().next_back())
        .unwrap_or("it says no more")
        .trim();
    let line: String = line.chars().filter(|c| !c.is_control()).take(300).collect();
    if said.contains("[rejected]") || said.contains("non-fast-forward") {
        ForgeError::Conflict(format!("{doing} with {address}: somebody pushed meanwhile"))
    } else if said.contains("Authentication failed")
        || said.contains("The requested URL returned error: 403")
        || said.contains("could not read Username")
    {
        ForgeError::Refused(format!(
            "{doing} with {address}: git is not let in; the token needs the permission contents (read, and write to propose)"
        ))
    } else if said.contains("[remote rejected]") {
        ForgeError::Refused(format!("{doing} with {address}: {line}"))
    } else {
        ForgeError::Transient(format!("{doing} with {address}: {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_is_understood() {
        let address = Url::parse("https://github.com/acme/config.git").unwrap();
        let of = |said: &str| failure("fetching", &address, said);
        assert!(matches!(
            of(" ! [rejected]        x -> x (fetch first)\nerror: failed to push some refs"),
            ForgeError::Conflict(_)
        ));
        assert!(matches!(
            of("fatal: Authentication failed for 'https://github.com/acme/config.git/'"),
            ForgeError::Refused(_)
        ));
        let away = of("fatal: unable to access 'https://github.com/': Could not resolve host\n");
        assert!(matches!(away, ForgeError::Transient(_)));
        assert!(away.to_string().contains("Could not resolve host"));
    }
}
