//! `file`, as JSON; the plain client replaces a file by one with the same bytes, as is done where a crash must leave the old one or the new one.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use lockstep::connector::{Apply, Changeset};
use serde_json::json;
use tempfile::TempDir;

use crate::peer::{self, Bare, Peer};

const NAME: &str = "flags.json";

pub(crate) struct File {
    folder: TempDir,
    made: usize,
}

impl File {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
            made: 0,
        })
    }

    fn folder(&mut self) -> anyhow::Result<PathBuf> {
        self.made += 1;
        let folder = self.folder.path().join(self.made.to_string());
        fs::create_dir(&folder)?;
        Ok(folder)
    }
}

fn connect(folder: &Path) -> anyhow::Result<Box<dyn Apply>> {
    let settings = json!({"path": NAME});
    peer::connect("file", "FeatureFlag", settings, None, (Some(folder), None))
}

#[async_trait]
impl Peer for File {
    async fn connector(&mut self) -> anyhow::Result<Box<dyn Apply>> {
        connect(&self.folder()?)
    }

    async fn bare(&mut self) -> anyhow::Result<Box<dyn Bare>> {
        let model = self.folder()?;
        Ok(Box::new(Plain {
            like: connect(&model)?,
            model: model.join(NAME),
            folder: self.folder()?,
            bytes: Vec::new(),
        }))
    }
}

struct Plain {
    /// Writes the bytes that are to be written.
    like: Box<dyn Apply>,
    model: PathBuf,
    folder: PathBuf,
    bytes: Vec<u8>,
}

#[async_trait]
impl Bare for Plain {
    async fn ready(&mut self, changeset: &Changeset) -> anyhow::Result<()> {
        self.like.prepare(changeset).await?;
        self.like.commit(&changeset.id, changeset.fence).await?;
        self.bytes = fs::read(&self.model)?;
        Ok(())
    }

    async fn write(&mut self) -> anyhow::Result<()> {
        let (new, place) = (self.folder.join("new"), self.folder.join(NAME));
        let mut file = fs::File::create(&new)?;
        file.write_all(&self.bytes)?;
        file.sync_all()?;
        fs::rename(new, place)?;
        fs::File::open(&self.folder)?.sync_all()?;
        Ok(())
    }
}
