//! `{revision, resources: [{kind, name, spec}]}`: what JSON, YAML and TOML files have in common.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::ConnectorError;
use super::super::content::{Around, Content, Gathered};
use crate::ids::Revision;
use crate::state::Item;

/// The whole file. Unknown fields are an error: they would be gone after the next commit.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    #[serde(default)]
    pub(super) revision: Option<Revision>,
    pub(super) resources: Vec<Resource>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Resource {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) spec: Value,
}

impl Listed {
    pub(super) fn of(content: &Content) -> Self {
        let resource = |item: &Arc<Item>| Resource {
            kind: item.id.kind().to_owned(),
            name: item.id.name().to_owned(),
            spec: item.spec.value(),
        };
        Self {
            revision: content.revision.clone(),
            resources: content.sorted().into_iter().map(resource).collect(),
        }
    }

    pub(super) fn content(self) -> Result<Content, ConnectorError> {
        let mut gathered = Gathered::default();
        for resource in &self.resources {
            gathered.add(&resource.kind, &resource.name, &resource.spec)?;
        }
        Ok(Content {
            revision: self.revision,
            state: gathered.state(),
            around: Around::Nothing,
        })
    }
}
