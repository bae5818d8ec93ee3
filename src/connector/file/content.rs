//! What a file holds, whatever its format: a state, the revision that it was written at, and what others have in the same place. What
//! cannot be read whole is an error that says where, never a smaller state.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::ConnectorError;
use super::format::unreadable;
use crate::ids::{KindName, ResourceRef, Revision};
use crate::state::{Item, Spec, State};

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) revision: Option<Revision>,
    pub(super) state: State,
    pub(super) around: Around,
}

/// What stands beside the state and is not Lockstep's: it stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Around {
    #[default]
    Nothing,
    /// The lines before and after ours.
    Lines { before: String, after: String },
    /// Members of a flag definition file, and flags in it, as they are written.
    Flags {
        members: Vec<(String, String)>,
        metadata: Vec<(String, String)>,
        flags: Vec<(String, String)>,
    },
    /// The kinds that a folder has a file of.
    Files(BTreeSet<KindName>),
}

/// Takes resources one by one, as they are read.
#[derive(Default)]
pub(super) struct Gathered {
    names: BTreeSet<ResourceRef>,
    items: Vec<Arc<Item>>,
}

impl Gathered {
    pub(super) fn add(
        &mut self,
        kind: &str,
        name: &str,
        spec: &Value,
    ) -> Result<(), ConnectorError> {
        let at = self.items.len() + 1;
        let id = ResourceRef::new(kind, name)
            .map_err(|error| unreadable(&format!("resource {at} of the file: {error}")))?;
        let spec = Spec::from_value(spec)
            .map_err(|error| unreadable(&format!("{id} in the file: {error}")))?;
        if !self.names.insert(id.clone()) {
            return Err(unreadable(&format!("{id} is in the file twice")));
        }
        self.items.push(Arc::new(Item::new(id, spec)));
        Ok(())
    }

    pub(super) fn state(self) -> State {
        self.items.into_iter().collect()
    }
}

impl Content {
    /// The items by name: what is written is the same whatever order they were read in.
    pub(super) fn sorted(&self) -> Vec<&Arc<Item>> {
        let mut items: Vec<&Arc<Item>> = self.state.items().collect();
        items.sort_by(|a, b| a.id.cmp(&b.id));
        items
    }
}
