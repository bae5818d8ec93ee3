//! `file` in a temporary folder.

use async_trait::async_trait;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Rig;
use crate::connector::Apply;
use crate::connector::file::{FileConnector, FileSettings};
use crate::ids::ResourceRef;
use crate::state::Spec;

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

    async fn edit(&self, id: &ResourceRef, spec: Option<&Spec>) {
        let path = self.folder.path().join("flags.json");
        let mut file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let resources = file["resources"].as_array_mut().unwrap();
        resources.retain(|r| r["kind"] != id.kind() || r["name"] != id.name());
        let new = spec.map(|s| json!({"kind": id.kind(), "name": id.name(), "spec": s.value()}));
        resources.extend(new);
        std::fs::write(&path, file.to_string()).unwrap();
    }
}
