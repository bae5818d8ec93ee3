//! Who commits: a name and an address, and what git's configuration says of the user.

use std::fmt;
use std::path::PathBuf;

use git2::ErrorCode;

use super::{Doing, Repo, RepoError};

/// Who made a commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    pub name: String,
    pub email: String,
}

impl Identity {
    pub fn new(name: impl Into<String>, email: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            email: email.into(),
        }
    }

    /// As git writes it. What git forbids in a name (`<`, `>`, line breaks) is left out rather than refused.
    pub(super) fn signature(
        &self,
        at: jiff::Timestamp,
    ) -> Result<git2::Signature<'static>, RepoError> {
        let clean = |text: &str, otherwise: &str| {
            let text: String = text
                .chars()
                .filter(|c| !c.is_control() && !matches!(c, '<' | '>'))
                .collect();
            let text = text.trim();
            // Git strips these from both ends and refuses what is then empty.
            if text
                .trim_matches(['.', ',', ':', ';', '"', '\\', '\''])
                .is_empty()
            {
                otherwise.to_owned()
            } else {
                text.to_owned()
            }
        };
        git2::Signature::new(
            &clean(&self.name, "unknown"),
            &clean(&self.email, "unknown@lockstep.invalid"),
            &git2::Time::new(at.as_second(), 0),
        )
        .doing("writing a name and an address")
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <{}>", self.name, self.email)
    }
}

impl Repo {
    /// The user's name and address from git's configuration, where both are set.
    pub fn identity(&self) -> Result<Option<Identity>, RepoError> {
        let (name, email) = (
            self.config_get("user.name")?,
            self.config_get("user.email")?,
        );
        Ok(name
            .zip(email)
            .map(|(name, email)| Identity { name, email }))
    }

    /// A value from git's configuration: the repository's, the user's, the machine's.
    pub fn config_get(&self, key: &str) -> Result<Option<String>, RepoError> {
        self.config(|config| config.get_string(key))
    }

    /// The same of a value that is yes or no, as git reads it.
    pub fn config_bool(&self, key: &str) -> Result<Option<bool>, RepoError> {
        self.config(|config| config.get_bool(key))
    }

    /// The same of a value that is a path, with `~` for the user's folder as git has it.
    pub fn config_path(&self, key: &str) -> Result<Option<PathBuf>, RepoError> {
        self.config(|config| config.get_path(key))
    }

    fn config<T>(
        &self,
        read: impl Fn(&git2::Config) -> Result<T, git2::Error>,
    ) -> Result<Option<T>, RepoError> {
        let read = |config: &git2::Config| match read(config) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(cause) => Err(RepoError::Git {
                doing: "reading git's configuration",
                cause,
            }),
        };
        if self.has_git() {
            self.with(|git| read(&git.config().doing("reading git's configuration")?))
        } else {
            read(&git2::Config::open_default().doing("reading git's configuration")?)
        }
    }
}
