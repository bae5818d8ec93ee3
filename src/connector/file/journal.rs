//! What is remembered beside a file: whose it is, the highest fence, and what became of each changeset.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::place::{Found, Place};
use super::{Changeset, ConnectorError};
use crate::ids::{ChangesetId, Digest, Fence, ResourceRef, Revision, SystemName};
use crate::state::{Item, Spec};
use crate::system_api::{ChangesetStatus, op_word};

/// The journal's file.
pub(super) const NAME: &str = "journal.json";

/// How many ended changesets are remembered. A request can only be late by a few, and its base and fence are judged as well.
const REMEMBERED: usize = 256;

/// Everything that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    version: u32,
    pub(super) system: SystemName,
    /// The mark of the config repo that it is driven by, once a changeset came with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<String>,
    /// The highest fence seen.
    pub(super) fence: Fence,
    /// Whether the file has ever been there.
    pub(super) existed: bool,
    /// Oldest first.
    pub(super) changesets: Vec<Entry>,
}

/// One changeset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) id: ChangesetId,
    pub(super) status: ChangesetStatus,
    /// Of everything but the fence; absent for one that was aborted before it was ever seen.
    pub(super) content: Option<Digest>,
    /// Of whoever prepared it last.
    pub(super) fence: Fence,
    pub(super) base: Option<Digest>,
    /// The digest of the state that the staged file holds: what a commit answers.
    pub(super) lands: Option<Digest>,
}

impl Journal {
    pub(super) fn new(system: &SystemName) -> Self {
        Self {
            version: 1,
            system: system.clone(),
            owner: None,
            fence: Fence(0),
            existed: false,
            changesets: Vec::new(),
        }
    }

    /// The journal of a place; `None` before the first changeset.
    pub(super) fn load(place: &Place, system: &SystemName) -> Result<Option<Self>, ConnectorError> {
        let Found::File(bytes) = place.read_beside(NAME)? else {
            return Ok(None);
        };
        let wrong = |what: String| ConnectorError::Terminal {
            message: format!("{}/{NAME} {what}", place.beside_name()),
        };
        let journal: Self = serde_json::from_slice(&bytes)
            .map_err(|error| wrong(format!("cannot be read: {error}")))?;
        if journal.version != 1 {
            let version = journal.version;
            return Err(wrong(format!("has the version {version}, not 1")));
        }
        if journal.system != *system {
            let owner = &journal.system;
            return Err(wrong(format!(
                "says that the file belongs to the system {owner}; give each system a file of its own, or delete that folder if \
                 the system was renamed"
            )));
        }
        Ok(Some(journal))
    }

    /// Refuses a changeset of another config repo than the one that the file is driven by.
    pub(super) fn judge_sender(
        &self,
        place: &Place,
        changeset: &Changeset,
    ) -> Result<(), ConnectorError> {
        let Some(owner) = self.owner.as_deref() else {
            return Ok(());
        };
        if changeset.owner.as_deref() == Some(owner) {
            return Ok(());
        }
        let sender = changeset.owner.as_deref();
        let sender = sender.unwrap_or("who sends this and carries no mark");
        Err(ConnectorError::Refused {
            message: format!(
                "the file belongs to {owner}, so {sender} may not change it; declare the system in one of the two, or delete \
                 the folder {} to give the file to another",
                place.beside_name()
            ),
            reasons: Vec::new(),
        })
    }

    pub(super) fn save(&mut self, place: &Place) -> Result<(), ConnectorError> {
        let ended = |e: &Entry| e.status != ChangesetStatus::Staged;
        let mut surplus = self
            .changesets
            .iter()
            .filter(|e| ended(e))
            .count()
            .saturating_sub(REMEMBERED);
        self.changesets.retain(|entry| {
            let dropped = surplus > 0 && ended(entry);
            surplus -= usize::from(dropped);
            !dropped
        });
        let bytes = serde_json::to_vec_pretty(self).map_err(unwritable)?;
        place.replace_beside(NAME, &bytes)
    }

    pub(super) fn find(&self, id: &ChangesetId) -> Option<&Entry> {
        self.changesets.iter().find(|e| e.id == *id)
    }

    pub(super) fn find_mut(&mut self, id: &ChangesetId) -> Option<&mut Entry> {
        self.changesets.iter_mut().find(|e| e.id == *id)
    }
}

fn unwritable(error: serde_json::Error) -> ConnectorError {
    ConnectorError::Terminal {
        message: format!("the changeset cannot be written: {error}"),
    }
}

/// The names of a changeset's two files: the whole content to come, and the changes for the case that the file is edited meanwhile.
pub(super) fn staged_name(id: &ChangesetId) -> String {
    format!("staged.{id}.json")
}

pub(super) fn changes_name(id: &ChangesetId) -> String {
    format!("changes.{id}.json")
}

/// Of everything but the fence: after a change of leader the same changeset comes again with a newer one.
pub(super) fn content_digest(changeset: &Changeset) -> Digest {
    let Changeset {
        id: _,
        revision,
        base,
        target,
        fence: _,
        owner: _,
        changes,
    } = changeset;
    let mut hash = Sha256::new();
    hash.update(format!("{revision} {base} {target}\n"));
    for change in changes {
        let after = change.after.as_ref();
        hash.update(op_word(change.op));
        hash.update(b" ");
        hash.update(change.id.as_str());
        hash.update(b" ");
        hash.update(after.map_or([0; 32], |item| *item.digest().as_bytes()));
    }
    Digest::from_bytes(hash.finalize().into())
}

/// A resource and what it becomes; `None` is deleted.
pub(super) type Becomes = (ResourceRef, Option<Arc<Item>>);

/// What a changeset makes of each resource, as it is kept for its commit.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Steps {
    pub(super) revision: Revision,
    /// By `kind/name`: the spec as JSON, `null` to delete. A list, so that a spec may be `null` itself.
    steps: BTreeMap<ResourceRef, Vec<Value>>,
}

impl Steps {
    pub(super) fn of(changeset: &Changeset) -> Self {
        let steps = changeset.changes.iter().map(|change| {
            let spec = change.after.iter().map(|item| item.spec.value());
            (change.id.clone(), spec.collect())
        });
        Self {
            revision: changeset.revision.clone(),
            steps: steps.collect(),
        }
    }

    pub(super) fn load(place: &Place, id: &ChangesetId) -> Result<Self, ConnectorError> {
        let name = changes_name(id);
        let wrong = |what: String| ConnectorError::Terminal {
            message: format!("{}/{name} {what}", place.beside_name()),
        };
        let Found::File(bytes) = place.read_beside(&name)? else {
            return Err(wrong("is gone".to_owned()));
        };
        serde_json::from_slice(&bytes).map_err(|e| wrong(format!("cannot be read: {e}")))
    }

    pub(super) fn save(&self, place: &Place, id: &ChangesetId) -> Result<(), ConnectorError> {
        let bytes = serde_json::to_vec(self).map_err(unwritable)?;
        place.replace_beside(&changes_name(id), &bytes)
    }

    /// What the changeset makes of each resource.
    pub(super) fn items(&self) -> Result<Vec<Becomes>, ConnectorError> {
        let item = |(id, spec): (&ResourceRef, &Vec<Value>)| {
            let item = match spec.first() {
                None => None,
                Some(spec) => {
                    let spec = Spec::from_value(spec).map_err(|e| ConnectorError::Terminal {
                        message: format!("{id} as staged: {e}"),
                    })?;
                    Some(Arc::new(Item::new(id.clone(), spec)))
                }
            };
            Ok((id.clone(), item))
        };
        self.steps.iter().map(item).collect()
    }
}
