//! Where a clone's proposals live: in the repository that it was cloned from, when that one is at hand.
//!
//! A proposal in a clone would be seen by nobody. So the commands about proposals, given a work tree whose `origin` is a
//! repository on this machine, work on that one, as a pull request is opened where the branch is pushed to. What only the work tree
//! has (someone's edits) is brought there. A clone of a repository elsewhere keeps its proposals to itself and says so.

use std::path::{Path, PathBuf};

use crate::repo::Repo;
use crate::settings::{ForgeKind, Settings};

/// Where the `origin` of a work tree is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// There is none, or this is where the proposals live.
    Here,
    /// A repository on this machine.
    Local(PathBuf),
    /// On GitHub: the repository's page.
    Forge(String),
    /// Somewhere else, by its URL without what may be a password.
    Remote(String),
}

/// The settings with the repository that holds the proposals in place of its clone.
pub(crate) fn settings(settings: Settings) -> anyhow::Result<Settings> {
    Ok(match origin(&settings)? {
        Origin::Local(repo) => {
            // Who someone is may be set for this clone alone.
            let clone = Repo::open(&settings.repo)?;
            let user = match &settings.user {
                Some(user) => Some(user.clone()),
                None => clone.identity()?.map(|i| i.name),
            };
            Settings {
                repo,
                user,
                ..settings
            }
        }
        Origin::Here | Origin::Forge(_) | Origin::Remote(_) => settings,
    })
}

/// Where proposals made here belong.
pub(crate) fn origin(settings: &Settings) -> anyhow::Result<Origin> {
    if let (ForgeKind::Github, Some(github)) = (settings.forge, &settings.github) {
        let web = github.url.as_str().trim_end_matches('/');
        return Ok(Origin::Forge(format!("{web}/{}", github.repository)));
    }
    let repo = Repo::open(&settings.repo)?;
    if !repo.has_git() || !repo.has_work_tree() {
        return Ok(Origin::Here);
    }
    // A repository with a server's settings of its own is no mere clone.
    let own = repo.git_dir().is_some_and(|git| {
        let file = settings.file.as_deref().and_then(|f| f.canonicalize().ok());
        file.is_some_and(|file| git.canonicalize().is_ok_and(|git| file.starts_with(git)))
    });
    let Some(url) = repo.config_get("remote.origin.url")?.filter(|_| !own) else {
        return Ok(Origin::Here);
    };
    let path = url.strip_prefix("file://").unwrap_or(&url);
    // As git does: a path that is relative is so to the work tree.
    let path = repo.path().join(path);
    let (there, here) = (path.canonicalize(), repo.path().canonicalize());
    match (there, here) {
        (Ok(there), Ok(here)) if there == here => Ok(Origin::Here),
        (Ok(there), _) if is_repository(&there) => Ok(Origin::Local(there)),
        _ => Ok(Origin::Remote(without_secrets(&url))),
    }
}

/// Whether git takes this very folder for a repository, rather than one around it.
fn is_repository(path: &Path) -> bool {
    git2::Repository::open(path).is_ok()
}

/// A URL fit to be shown: without a password, and over HTTP without a user, which is often a token.
fn without_secrets(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut parsed) => {
            let web = matches!(parsed.scheme(), "http" | "https");
            if parsed.password().is_none() && (!web || parsed.username().is_empty()) {
                return url.to_owned();
            }
            // Only a URL that cannot have either refuses to lose it.
            let _ = parsed.set_password(None);
            if web {
                let _ = parsed.set_username("");
            }
            parsed.to_string()
        }
        Err(_) => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::without_secrets;

    #[test]
    fn what_is_shown_of_a_url_is_no_secret() {
        for (url, shown) in [
            (
                "https://git.example.org/a.git",
                "https://git.example.org/a.git",
            ),
            (
                "https://sato:hunter2@git.example.org/a.git",
                "https://git.example.org/a.git",
            ),
            (
                "https://hunter2@git.example.org/a.git",
                "https://git.example.org/a.git",
            ),
            (
                "https://hunter2:@git.example.org/a.git",
                "https://git.example.org/a.git",
            ),
            (
                "ssh://git@git.example.org/a.git",
                "ssh://git@git.example.org/a.git",
            ),
            (
                "ssh://git:hunter2@git.example.org/a.git",
                "ssh://git@git.example.org/a.git",
            ),
            ("git@git.example.org:a.git", "git@git.example.org:a.git"),
        ] {
            assert_eq!(without_secrets(url), shown);
        }
    }
}
