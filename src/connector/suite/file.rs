//! `file` in a temporary folder.

use async_trait::async_trait;
use tempfile::TempDir;

use super::Rig;
use crate::connector::Apply;
use crate::connector::file::{FileConnector, FileSettings};

pub(super) struct OverFile {
    folder: TempDir,
    connector: FileConnector,
}

impl OverFile {
    fn to(folder: &TempDir) -> FileConnector {
        FileConnector::new(FileSettings {
            system: "legacy".parse().unwrap(),
            root: folder.path().to_owned(),
            path: "flags.json".parse().unwrap(),
        })
    }
}

#[async_trait]
impl Rig for OverFile {
    async fn new() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        Some(Self {
            connector: Self::to(&folder),
            folder,
        })
    }

    fn connector(&self) -> &dyn Apply {
        &self.connector
    }

    async fn restart(self) -> Self {
        Self {
            connector: Self::to(&self.folder),
            folder: self.folder,
        }
    }

    fn another(&self) -> Box<dyn Apply> {
        Box::new(Self::to(&self.folder))
    }
}
