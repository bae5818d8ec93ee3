//! The server's own settings, `lockstep.toml`, and the environment: the only place that reads either.
//!
//! What is here can't be changed by a proposal, so the file is looked for beside the config repo's git directory and never in its
//! work tree. Credentials are read into a type that can be neither printed nor serialized, each bound to the hosts it may be sent to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::resource::Language;

mod credential;
mod file;
mod github;
mod ledger;
mod place;
mod quarantine;
mod sinks;

pub use credential::{Credential, CredentialError};
pub use github::{Access, GithubSettings, MergeMethod};
pub use ledger::LedgerSettings;
pub use place::{ServerUrl, StorePlace};
pub use sinks::SinkSettings;

#[cfg(test)]
mod tests;

/// Everything that is set on the server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The file they were read from; `None` where there is none and all is as built in.
    pub file: Option<PathBuf>,
    /// The config repo: a work tree or a bare repository.
    pub repo: PathBuf,
    /// Its main branch, without `refs/heads/`.
    pub branch: String,
    /// Where the store is; `None` for `lockstep/store.db` in the git directory.
    pub store: Option<StorePlace>,
    pub forge: ForgeKind,
    /// The repository on GitHub, where that is the forge.
    pub github: Option<GithubSettings>,
    /// Where the server listens. Loopback unless told otherwise.
    pub listen: SocketAddr,
    /// Whether it listens at all: where an address is set, or deliveries are to be taken.
    pub listens: bool,
    /// Where people reach the server, for links; without a slash at its end.
    pub public_url: Option<String>,
    pub language: Language,
    /// Who the person at the keyboard is on the local forge; `None` to ask git's configuration.
    pub user: Option<String>,
    /// What systems that keep marks put on what comes from here, in place of the config repo's own mark.
    pub mark: Option<String>,
    pub intervals: Intervals,
    pub timeouts: Timeouts,
    /// The folder that systems which are files lie in; without one no system can be a file.
    pub files: Option<PathBuf>,
    pub ledger: LedgerSettings,
    /// By the names that `lockstep.yaml` uses.
    pub credentials: BTreeMap<String, Credential>,
    /// Who is told what happens, by name.
    pub sinks: BTreeMap<String, SinkSettings>,
    /// The variables that credentials are read from.
    pub secret_variables: BTreeSet<String>,
    /// What is not wrong but should be known, for the terminal or the log.
    pub warnings: Vec<String>,
}

/// Where proposals live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ForgeKind {
    /// In the config repo itself.
    #[default]
    Local,
    /// github.com or an Enterprise Server.
    Github,
}

/// How often the truth is looked at. Pushes and events only make it sooner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intervals {
    /// The config repo's main branch.
    pub git: Duration,
    /// Every system's digest.
    pub systems: Duration,
}

/// How long a system may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For all systems of a group to prepare.
    pub prepare: Duration,
    /// From the decision to commit until a silent system is an incident.
    pub commit: Duration,
    /// One request.
    pub request: Duration,
    /// For a system to answer before the urgent changes of its group go to the others without it.
    pub urgent: Duration,
    /// How long a replica keeps its groups without being heard of: what another waits before it takes them over.
    pub lease: Duration,
}

/// Why the settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    /// The file is no TOML, has a key that is none, or a value of the wrong sort. The line itself is not repeated: it may hold a token.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Invalid {
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        message: String,
    },
    /// A value is of the right sort but makes no sense.
    #[error("{}: {key}: {message}", path.display())]
    Value {
        path: PathBuf,
        key: String,
        message: String,
    },
}

/// Looks a variable up. A function, so that tests have an environment of their own.
type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// Reads the settings for a config repo. `path` is the file named on the command line; without it `LOCKSTEP_SETTINGS` is asked,
    /// then `lockstep/lockstep.toml` in the repo's git directory, then `lockstep.toml` here, unless here is inside a git work tree,
    /// whose content a proposal may change. No file at all is fine. `repo` is the one named on the command line.
    pub fn load(path: Option<&Path>, repo: Option<&Path>) -> Result<Self, SettingsError> {
        Self::load_with(path, repo, Path::new("."), &environment)
    }

    fn load_with(
        path: Option<&Path>,
        repo: Option<&Path>,
        here: &Path,
        env: Environment<'_>,
    ) -> Result<Self, SettingsError> {
        let mut warnings = Vec::new();
        let named = path
            .map(Path::to_owned)
            .or_else(|| env("LOCKSTEP_SETTINGS").map(PathBuf::from));
        let path = match named {
            Some(path) => {
                if in_work_tree(&path) {
                    warnings.push(format!(
                        "{} lies in a git work tree, where a proposal could change it; keep it outside, or as \
                         lockstep/lockstep.toml in the git directory",
                        path.display()
                    ));
                }
                Some(path)
            }
            None => find(repo.unwrap_or(here), here, &mut warnings),
        };
        let file = match &path {
            Some(path) => file::read(path, env, &mut warnings)?,
            None => file::File::default(),
        };
        Ok(Self {
            repo: repo
                .map(Path::to_owned)
                .or(file.repo)
                .unwrap_or_else(|| here.to_owned()),
            branch: file.branch.unwrap_or_else(|| "main".to_owned()),
            store: file.store,
            forge: file.forge,
            listens: file.listen.is_some()
                || file
                    .github
                    .as_ref()
                    .is_some_and(|g| g.webhook_secret.is_some()),
            github: file.github,
            public_url: file.public_url,
            listen: file
                .listen
                .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8800))),
            language: file.language.unwrap_or_else(|| language(env)),
            user: env("LOCKSTEP_USER").or(file.user),
            mark: file.mark,
            intervals: file.intervals,
            timeouts: file.timeouts,
            files: file.files,
            ledger: file.ledger,
            credentials: file.credentials,
            sinks: file.sinks,
            secret_variables: file.secret_variables,
            warnings,
            file: path,
        })
    }
}

impl Settings {
    /// The names of variables that no child process is given: what credentials are read from, and all that are Lockstep's own.
    pub fn private_variables(&self) -> BTreeSet<String> {
        let mut names = own_variables();
        names.extend(self.secret_variables.iter().cloned());
        names
    }
}

/// The variables of the environment that are Lockstep's own.
pub fn own_variables() -> BTreeSet<String> {
    std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        // PostgreSQL's are how the store is reached.
        .filter(|name| {
            name.starts_with("LOCKSTEP_") || ["PGPASSWORD", "PGPASSFILE"].contains(&name.as_str())
        })
        .collect()
}

/// The language that the environment asks for, without any file: for messages about the file itself.
pub fn language_of_environment() -> Language {
    language(&environment)
}

/// The object stores that git tells a hook to read besides the repository's own; none outside of a push.
pub fn pushed_objects() -> Vec<PathBuf> {
    quarantine::stores(&environment)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// POSIX: `LC_ALL` over `LC_MESSAGES` over `LANG`.
fn language(env: Environment<'_>) -> Language {
    let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(env);
    let japanese =
        locale.is_some_and(|l| l == "ja" || l.starts_with("ja_") || l.starts_with("ja."));
    if japanese {
        Language::Japanese
    } else {
        Language::English
    }
}

/// The settings file of a repo, where nobody named one.
fn find(repo: &Path, here: &Path, warnings: &mut Vec<String>) -> Option<PathBuf> {
    const NAME: &str = "lockstep.toml";
    if let Ok(found) = git2::Repository::discover(repo) {
        let beside = found.commondir().join("lockstep").join(NAME);
        if beside.is_file() {
            return Some(beside);
        }
    }
    let local = here.join(NAME);
    if !local.is_file() {
        return None;
    }
    if in_work_tree(&local) {
        warnings.push(format!(
            "{} is not read: it lies in a git work tree, where a proposal could change it; move it to lockstep/lockstep.toml \
             in the git directory",
            local.display()
        ));
        return None;
    }
    Some(local)
}

/// Whether a file could be part of a commit.
fn in_work_tree(file: &Path) -> bool {
    let folder = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let (Ok(folder), Ok(repo)) = (folder.canonicalize(), git2::Repository::discover(folder)) else {
        return false;
    };
    let inside = |of: &Path| of.canonicalize().is_ok_and(|of| folder.starts_with(of));
    repo.workdir().is_some_and(inside) && !inside(repo.path()) && !inside(repo.commondir())
}
