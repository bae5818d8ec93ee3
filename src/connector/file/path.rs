//! Where a file lies inside the server's folder for files, as `lockstep.yaml` says it.

use std::fmt;
use std::str::FromStr;

/// What the name of a folder with staged changesets ends with.
pub(super) const BESIDE: &str = ".lockstep";

/// A file's path inside the server's root: relative, with `/`, never climbing out, never into another file's staging folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePath {
    pub(super) folders: Vec<String>,
    pub(super) name: String,
}

/// Why a text is no such path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not {}",
    "a path inside the server's folder for files, such as legacy/flags.json: relative, without . and .."
)]
pub struct FilePathError {
    pub text: String,
}

impl FromStr for FilePath {
    type Err = FilePathError;

    fn from_str(text: &str) -> Result<Self, FilePathError> {
        let is_part = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && !part.ends_with(BESIDE)
                && !part.contains(|c: char| c.is_control() || c == '\\')
        };
        let mut parts: Vec<String> = text.split('/').map(str::to_owned).collect();
        let wrong = || FilePathError {
            text: text.chars().take(200).collect(),
        };
        if text.len() > 1000 || !parts.iter().all(|part| is_part(part)) {
            return Err(wrong());
        }
        let name = parts.pop().ok_or_else(wrong)?;
        Ok(Self {
            folders: parts,
            name,
        })
    }
}

impl FilePath {
    /// A file in the folder that this is the path of.
    pub(super) fn within(&self, name: &str) -> Self {
        let mut folders = self.folders.clone();
        folders.push(self.name.clone());
        Self {
            folders,
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for folder in &self.folders {
            write!(f, "{folder}/")?;
        }
        f.write_str(&self.name)
    }
}
