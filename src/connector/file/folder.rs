//! A folder with one file for each kind.
//!
//! Many files can't be renamed at once, so one of them decides: `lockstep.json` says which changeset the folder is at. It is renamed
//! into place first, which is the commit; the others follow, and a staged file of that changeset that still waits counts as if it were
//! in its place. So a kill in between is read as committed, and finished by whoever comes next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::ConnectorError;
use super::content::{Around, Content, Gathered};
use super::format::{Written, entries, part, unreadable};
use super::kept::{part_name, part_prefix, staged_name};
use super::place::{Found, Place};
use crate::ids::{ChangesetId, Digest, KindName, Revision};
use crate::state::Item;

/// The file that decides.
pub(super) const MAIN: &str = "lockstep.json";

/// How often a folder is read again that is changed meanwhile.
const TRIES: usize = 3;

/// What `lockstep.json` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Main {
    revision: Option<Revision>,
    /// The changeset that the folder was last brought to.
    changeset: Option<ChangesetId>,
    /// The kinds that there is a file of: one that is gone is missed.
    kinds: BTreeSet<KindName>,
}

/// The bytes of a folder's files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Loaded {
    main: Option<Vec<u8>>,
    parts: BTreeMap<KindName, Vec<u8>>,
}

/// The name of a kind's file.
pub(super) fn file_of(kind: &KindName) -> String {
    format!("{kind}.json")
}

fn main_of(bytes: &[u8]) -> Result<Main, ConnectorError> {
    serde_json::from_slice(bytes)
        .map_err(|error| unreadable(&format!("{MAIN} cannot be read: {error}")))
}

impl Loaded {
    pub(super) fn key(&self) -> Digest {
        let mut hash = Sha256::new();
        let main = self.main.as_deref().map(|bytes| ("", bytes));
        let parts = self
            .parts
            .iter()
            .map(|(k, bytes)| (k.as_str(), bytes.as_slice()));
        for (name, bytes) in main.into_iter().chain(parts) {
            hash.update(format!("{name} {}\n", bytes.len()));
            hash.update(bytes);
        }
        Digest::from_bytes(hash.finalize().into())
    }

    /// What will lie in the folder when the files have been written over what is there.
    pub(super) fn of(written: &Written, now: Option<&Content>) -> Result<Self, ConnectorError> {
        let mut parts: BTreeMap<KindName, Vec<u8>> = BTreeMap::new();
        for (kind, items) in by_kind(now) {
            parts.insert(kind, part(&items)?);
        }
        if let Some(Content {
            around: Around::Files(kinds),
            ..
        }) = now
        {
            for kind in kinds {
                if !parts.contains_key(kind) {
                    parts.insert(kind.clone(), part(&[])?);
                }
            }
        }
        parts.extend(written.parts.iter().cloned());
        Ok(Self {
            main: Some(written.main.clone()),
            parts,
        })
    }

    /// Reads the folder; `None` where nothing was ever put there.
    pub(super) fn load(place: &Place) -> Result<Option<Self>, ConnectorError> {
        for _ in 0..TRIES {
            let main = match place.read()? {
                Found::Nothing => None,
                Found::File(bytes) => Some(bytes),
            };
            let loaded = Self::once(place, main)?;
            let still = match place.read()? {
                Found::Nothing => None,
                Found::File(bytes) => Some(bytes),
            };
            if still == loaded.main {
                return Ok((loaded != Self::default()).then_some(loaded));
            }
        }
        Err(ConnectorError::Transient {
            message: "is being changed all the time; try again".to_owned(),
        })
    }

    fn once(place: &Place, main: Option<Vec<u8>>) -> Result<Self, ConnectorError> {
        let said = main.as_deref().map(main_of).transpose()?;
        let changeset = said.as_ref().and_then(|main| main.changeset.clone());
        let mut kinds = kinds_in(place)?;
        kinds.extend(said.iter().flat_map(|main| main.kinds.iter().cloned()));
        let mut parts = BTreeMap::new();
        for kind in kinds {
            // First what waits, then what lies there: it goes from the one to the other.
            let waiting = match &changeset {
                None => Found::Nothing,
                Some(id) => place.read_beside(&part_name(id, &kind))?,
            };
            let found = match waiting {
                Found::Nothing => place.read_at(&file_of(&kind))?,
                Found::File(bytes) => Found::File(bytes),
            };
            let Found::File(bytes) = found else {
                return Err(ConnectorError::Terminal {
                    message: format!(
                        "{kind}.json is gone, which is not the same as an empty one: restore it, or write {{\"resources\": []}}"
                    ),
                });
            };
            parts.insert(kind, bytes);
        }
        Ok(Self { main, parts })
    }

    /// Whether `lockstep.json` is there.
    pub(super) fn is_decided(&self) -> bool {
        self.main.is_some()
    }
}

/// The kinds that the folder has a file of, by the files' names. Others lie there unread.
fn kinds_in(place: &Place) -> Result<BTreeSet<KindName>, ConnectorError> {
    let names = place.names()?;
    let stems = names.iter().filter_map(|name| name.strip_suffix(".json"));
    Ok(stems.filter_map(|stem| stem.parse().ok()).collect())
}

fn by_kind(content: Option<&Content>) -> BTreeMap<KindName, Vec<&Arc<Item>>> {
    let mut kinds: BTreeMap<KindName, Vec<&Arc<Item>>> = BTreeMap::new();
    for item in content.iter().flat_map(|content| content.sorted()) {
        // A resource's kind is one by its own type.
        if let Ok(kind) = item.id.kind().parse() {
            kinds.entry(kind).or_default().push(item);
        }
    }
    kinds
}

pub(super) fn read(loaded: &Loaded) -> Result<Content, ConnectorError> {
    let said = loaded.main.as_deref().map(main_of).transpose()?;
    let mut gathered = Gathered::default();
    for (kind, bytes) in &loaded.parts {
        entries(kind, bytes, &mut gathered)?;
    }
    Ok(Content {
        revision: said.and_then(|main| main.revision),
        state: gathered.state(),
        around: Around::Files(loaded.parts.keys().cloned().collect()),
    })
}

/// The files that differ from what is there, and `lockstep.json`, which does not know its changeset yet.
pub(super) fn write(content: &Content, now: Option<&Content>) -> Result<Written, ConnectorError> {
    let there = match now.map(|now| &now.around) {
        Some(Around::Files(kinds)) => kinds.clone(),
        _ => BTreeSet::new(),
    };
    let (before, after) = (by_kind(now), by_kind(Some(content)));
    let kinds: BTreeSet<KindName> = there.iter().chain(after.keys()).cloned().collect();
    let mut parts = Vec::new();
    for kind in &kinds {
        let (old, new) = (before.get(kind), after.get(kind));
        if old == new && there.contains(kind) {
            continue;
        }
        parts.push((kind.clone(), part(new.map_or(&[], Vec::as_slice))?));
    }
    let main = Main {
        revision: content.revision.clone(),
        changeset: None,
        kinds,
    };
    Ok(Written {
        main: pretty(&main)?,
        parts,
    })
}

fn pretty(main: &Main) -> Result<Vec<u8>, ConnectorError> {
    let unwritable = |error: serde_json::Error| ConnectorError::Terminal {
        message: format!("{MAIN} cannot be written: {error}"),
    };
    let mut bytes = serde_json::to_vec_pretty(main).map_err(unwritable)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Stages the files of a changeset: those of the kinds first, so that the one that decides is never there without them.
pub(super) fn stage(
    place: &Place,
    id: &ChangesetId,
    written: &Written,
) -> Result<(), ConnectorError> {
    let new: BTreeSet<String> = written
        .parts
        .iter()
        .map(|(k, _)| part_name(id, k))
        .collect();
    // What was staged for a state that has moved since does not go along.
    for name in place.names_beside()? {
        if name.starts_with(&part_prefix(id)) && !new.contains(&name) {
            place.remove_beside(&name)?;
        }
    }
    for (kind, bytes) in &written.parts {
        place.stage(&part_name(id, kind), bytes, &file_of(kind))?;
    }
    let main = Main {
        changeset: Some(id.clone()),
        ..main_of(&written.main)?
    };
    place.stage(&staged_name(id), &pretty(&main)?, MAIN)
}

/// Puts into place what the last commit has not got to.
pub(super) fn finish(place: &Place) -> Result<(), ConnectorError> {
    let Found::File(bytes) = place.read()? else {
        return Ok(());
    };
    let main = main_of(&bytes)?;
    let Some(id) = &main.changeset else {
        return Ok(());
    };
    for kind in &main.kinds {
        let name = part_name(id, kind);
        if place.has_beside(&name)? {
            place.put(&name, &file_of(kind))?;
        }
    }
    Ok(())
}
