//! The file's content: `{"revision", "resources": [{kind, name, spec}]}`, sorted and indented, so that it can be read and compared by
//! people. What cannot be read whole is an error that says where, never a smaller state.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ConnectorError;
use crate::ids::{ResourceRef, Revision};
use crate::state::{Item, Spec, State};

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) revision: Option<Revision>,
    pub(super) state: State,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    revision: Option<Revision>,
    resources: Vec<Resource>,
}

/// Unknown fields are an error: they would be gone after the next commit.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    kind: String,
    name: String,
    spec: Value,
}

/// How much of the parser's words is repeated: they may quote a line as long as the file.
const WORDS: usize = 300;

impl Content {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ConnectorError> {
        let wrong = |what: String| ConnectorError::Terminal {
            message: format!(
                "{what}; mend the file, nothing is done with it before it can be read"
            ),
        };
        let Written {
            revision,
            resources,
        } = serde_json::from_slice(bytes).map_err(|error| {
            let words = error.to_string();
            let words: String = words
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .take(WORDS)
                .collect();
            // The parser says the line and column itself, for content of the wrong shape as well.
            wrong(format!(
                "the file is no JSON of the form {{\"revision\", \"resources\": [{{kind, name, spec}}]}}: {words}"
            ))
        })?;
        let mut names = BTreeSet::new();
        let mut items = Vec::with_capacity(resources.len());
        for (index, resource) in resources.into_iter().enumerate() {
            let id = ResourceRef::new(&resource.kind, &resource.name)
                .map_err(|error| wrong(format!("resource {} of the file: {error}", index + 1)))?;
            let spec = Spec::from_value(&resource.spec)
                .map_err(|error| wrong(format!("{id} in the file: {error}")))?;
            if !names.insert(id.clone()) {
                return Err(wrong(format!("{id} is in the file twice")));
            }
            items.push(Arc::new(Item::new(id, spec)));
        }
        Ok(Self {
            revision,
            state: items.into_iter().collect(),
        })
    }

    pub(super) fn write(&self) -> Result<Vec<u8>, ConnectorError> {
        let mut items: Vec<&Arc<Item>> = self.state.items().collect();
        items.sort_by(|a, b| a.id.cmp(&b.id));
        let written = Written {
            revision: self.revision.clone(),
            resources: items
                .into_iter()
                .map(|item| Resource {
                    kind: item.id.kind().to_owned(),
                    name: item.id.name().to_owned(),
                    spec: item.spec.value(),
                })
                .collect(),
        };
        let mut bytes =
            serde_json::to_vec_pretty(&written).map_err(|error| ConnectorError::Terminal {
                message: format!("the state cannot be written: {error}"),
            })?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}
