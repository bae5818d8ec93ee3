//! `file` in a temporary folder, in each of its formats.

use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Rig, item};
use crate::connector::Apply;
use crate::connector::file::{FileConnector, FileSettings, Format};
use crate::ids::ResourceRef;
use crate::state::{Item, Spec};

/// What the suite has to know of a format.
pub(super) trait Form: Send + Sync + 'static {
    const FORMAT: Format;
    const EXEMPT: &'static [(&'static str, &'static str)] = &[];

    fn flag(n: u32, version: u32) -> Arc<Item> {
        item(
            &format!("FeatureFlag/flag_{n}"),
            json!({"rollout": version}),
        )
    }
}

/// The formats have one reader each, and the rest in common.
const BY_HAND: (&str, &str) = ("what_another_hand_changed_is_seen", "as `file`");
const ANY_SPEC: &str = "any_name_and_spec_comes_back_as_it_was";

pub(super) struct Json;
pub(super) struct Yaml;
pub(super) struct Toml;
pub(super) struct Env;
pub(super) struct Flagd;
pub(super) struct Folder;

impl Form for Json {
    const FORMAT: Format = Format::Json;
}

impl Form for Yaml {
    const FORMAT: Format = Format::Yaml;
    const EXEMPT: &'static [(&'static str, &'static str)] = &[BY_HAND];
}

impl Form for Toml {
    const FORMAT: Format = Format::Toml;
    const EXEMPT: &'static [(&'static str, &'static str)] = &[(ANY_SPEC, "refused: null"), BY_HAND];
}

impl Form for Env {
    const FORMAT: Format = Format::Env;
    const EXEMPT: &'static [(&'static str, &'static str)] =
        &[(ANY_SPEC, "refused: not flat"), BY_HAND];
}

impl Form for Flagd {
    const FORMAT: Format = Format::Flagd;
    const EXEMPT: &'static [(&'static str, &'static str)] =
        &[(ANY_SPEC, "refused: no flag"), BY_HAND];

    fn flag(n: u32, version: u32) -> Arc<Item> {
        let spec = json!({"enabled": true, "rollout": version});
        item(&format!("FeatureFlag/flag_{n}"), spec)
    }
}

impl Form for Folder {
    const FORMAT: Format = Format::Folder;
    const EXEMPT: &'static [(&'static str, &'static str)] = &[BY_HAND];
}

pub(super) struct OverFile<F> {
    folder: TempDir,
    connector: FileConnector,
    form: PhantomData<F>,
}

impl<F: Form> OverFile<F> {
    fn to(folder: &TempDir) -> FileConnector {
        FileConnector::new(FileSettings {
            system: "legacy".parse().unwrap(),
            root: folder.path().to_owned(),
            path: "flags".parse().unwrap(),
            format: F::FORMAT,
        })
    }
}

#[async_trait]
impl<F: Form> Rig for OverFile<F> {
    const EXEMPT: &'static [(&'static str, &'static str)] = F::EXEMPT;

    async fn new() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        if F::FORMAT == Format::Folder {
            std::fs::create_dir(folder.path().join("flags")).unwrap();
        }
        Some(Self {
            connector: Self::to(&folder),
            folder,
            form: PhantomData,
        })
    }

    fn connector(&self) -> &dyn Apply {
        &self.connector
    }

    async fn restart(self) -> Self {
        Self {
            connector: Self::to(&self.folder),
            ..self
        }
    }

    fn another(&self) -> Box<dyn Apply> {
        Box::new(Self::to(&self.folder))
    }

    fn flag(n: u32, version: u32) -> Arc<Item> {
        F::flag(n, version)
    }

    async fn edit(&self, id: &ResourceRef, spec: Option<&Spec>) {
        let path = self.folder.path().join("flags");
        let mut file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let resources = file["resources"].as_array_mut().unwrap();
        resources.retain(|r| r["kind"] != id.kind() || r["name"] != id.name());
        let new = spec.map(|s| json!({"kind": id.kind(), "name": id.name(), "spec": s.value()}));
        resources.extend(new);
        std::fs::write(&path, file.to_string()).unwrap();
    }
}
