//! The journal and the staged changesets as files beside the one they are about.

use super::place::{Found, Place};
use crate::connector::ConnectorError;
use crate::connector::journal::{Journal, Steps};
use crate::ids::{ChangesetId, KindName, SystemName};

/// The journal's file.
pub(super) const NAME: &str = "journal.json";

/// The journal of a place; `None` before the first changeset.
pub(super) fn journal(
    place: &Place,
    system: &SystemName,
) -> Result<Option<Journal>, ConnectorError> {
    let Found::File(bytes) = place.read_beside(NAME)? else {
        return Ok(None);
    };
    let wrong = |what: String| ConnectorError::Terminal {
        message: format!("{}/{NAME} {what}", place.beside_name()),
    };
    let journal: Journal =
        serde_json::from_slice(&bytes).map_err(|e| wrong(format!("cannot be read: {e}")))?;
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

pub(super) fn keep_journal(journal: &mut Journal, place: &Place) -> Result<(), ConnectorError> {
    journal.prune();
    let bytes = serde_json::to_vec_pretty(journal).map_err(unwritable)?;
    place.replace_beside(NAME, &bytes)
}

/// The names of a changeset's two files: the whole content to come, and the changes for the case that the file is edited meanwhile.
pub(super) fn staged_name(id: &ChangesetId) -> String {
    format!("staged.{id}.json")
}

/// The name of a staged file of a folder that is not the one that decides.
pub(super) fn part_name(id: &ChangesetId, kind: &KindName) -> String {
    format!("{}{kind}", part_prefix(id))
}

pub(super) fn part_prefix(id: &ChangesetId) -> String {
    format!("{}.", staged_name(id))
}

pub(super) fn changes_name(id: &ChangesetId) -> String {
    format!("changes.{id}.json")
}

pub(super) fn steps(place: &Place, id: &ChangesetId) -> Result<Steps, ConnectorError> {
    let name = changes_name(id);
    let wrong = |what: String| ConnectorError::Terminal {
        message: format!("{}/{name} {what}", place.beside_name()),
    };
    let Found::File(bytes) = place.read_beside(&name)? else {
        return Err(wrong("is gone".to_owned()));
    };
    serde_json::from_slice(&bytes).map_err(|e| wrong(format!("cannot be read: {e}")))
}

pub(super) fn keep_steps(
    steps: &Steps,
    place: &Place,
    id: &ChangesetId,
) -> Result<(), ConnectorError> {
    let bytes = serde_json::to_vec(steps).map_err(unwritable)?;
    place.replace_beside(&changes_name(id), &bytes)
}

fn unwritable(error: serde_json::Error) -> ConnectorError {
    ConnectorError::Terminal {
        message: format!("the changeset cannot be written: {error}"),
    }
}
