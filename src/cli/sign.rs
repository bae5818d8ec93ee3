//! Signing an approval with a person's SSH key, by `ssh-keygen`: it knows agents, security keys and passphrases, and the key stays with it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::gate::NAMESPACE;
use crate::repo::Repo;
use crate::settings::Settings;

/// Which key a person signs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    /// A file: the private key, or the public half of one that an agent has.
    File(PathBuf),
    /// A public key itself; an agent has the other half.
    Public(String),
}

impl Key {
    /// The key that was named, or the one that git signs with where that is an SSH key.
    pub(crate) fn find(named: Option<&Path>, settings: &Settings) -> anyhow::Result<Option<Self>> {
        if let Some(path) = named {
            return Ok(Some(Self::File(path.to_owned())));
        }
        let repo = Repo::open(&settings.repo)?;
        if repo.config_get("gpg.format")?.as_deref() != Some("ssh") {
            return Ok(None);
        }
        // git writes a public key as it is, or behind `key::`; anything else is a path.
        let value = repo.config_get("user.signingkey")?.unwrap_or_default();
        Ok(match value.strip_prefix("key::") {
            Some(key) => Some(Self::Public(key.to_owned())),
            None if value.starts_with("ssh-") => Some(Self::Public(value)),
            None => repo.config_path("user.signingkey")?.map(Self::File),
        })
    }
}

/// Signs a text. Without a key of their own choice it is asked for by the one under `people:`, which an agent may have.
pub(crate) fn sign(text: &str, key: Option<&Key>, in_people: &str) -> anyhow::Result<String> {
    // Only a file can be named to ssh-keygen.
    let mut file = tempfile::NamedTempFile::new().context("writing a public key down")?;
    let path = match key {
        Some(Key::File(path)) => path.as_path(),
        Some(Key::Public(key)) => public(&mut file, key)?,
        None => public(&mut file, in_people)?,
    };
    let mut child = Command::new("ssh-keygen")
        .args(["-Y", "sign", "-n", NAMESPACE, "-f"])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("signing takes ssh-keygen, of OpenSSH 8.1 or newer, which can't be started")?;
    if let Some(mut stdin) = child.stdin.take() {
        // If it ended early, it says why.
        let _ = stdin.write_all(text.as_bytes());
    }
    let output = child.wait_with_output().context("waiting for ssh-keygen")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        match key {
            Some(Key::File(path)) => {
                bail!(
                    "ssh-keygen did not sign with {}: {}",
                    path.display(),
                    said.trim()
                )
            }
            // What ssh-keygen says here is about a file of ours that is gone again.
            Some(Key::Public(_)) => {
                bail!(
                    "no agent has the key of git's user.signingkey; load it, or name a key with --sign-with PATH"
                )
            }
            None => bail!(
                "the approval must be signed with your key under people:, and no agent has it; name it with --sign-with PATH, or load it"
            ),
        }
    }
    String::from_utf8(output.stdout).context("ssh-keygen wrote no signature")
}

fn public<'f>(file: &'f mut tempfile::NamedTempFile, key: &str) -> anyhow::Result<&'f Path> {
    writeln!(file, "{}", key.trim())?;
    file.flush()?;
    Ok(file.path())
}
