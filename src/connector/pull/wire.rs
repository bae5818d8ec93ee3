//! What a system that pulls and Lockstep say to each other; `docs/pull-api.openapi.json` describes it for people who write a client.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

pub use super::kept::{Phase, Told};
use crate::connector::journal::Becomes;
use crate::connector::{Changeset, ConnectorError};
use crate::ids::{ChangesetId, Digest, Fence, ResourceRef, Revision};
use crate::plan::Change;
use crate::state::Item;
use crate::system_api::{WireReason, WireSpec, op_word};

/// What every path of the API starts with.
pub const PREFIX: &str = "/pull/v1";

/// The API as an OpenAPI 3.1 document, served at `GET /pull/v1/openapi.json`.
pub const OPENAPI: &str = include_str!("../../../docs/pull-api.openapi.json");

/// The changes of a changeset, as they are kept and sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Changes(pub Vec<OneChange>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneChange {
    /// `create`, `update` or `delete`.
    pub op: String,
    pub kind: String,
    pub name: String,
    /// Absent for a delete. `null` is a spec like any other.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub spec: Option<WireSpec>,
}

/// What is there is something, even `null`: by itself serde would take that for absent.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<WireSpec>, D::Error> {
    WireSpec::deserialize(from).map(Some)
}

impl Changes {
    pub(super) fn of(changeset: &Changeset) -> Self {
        let change = |change: &Change| OneChange {
            op: op_word(change.op).to_owned(),
            kind: change.id.kind().to_owned(),
            name: change.id.name().to_owned(),
            spec: (change.after.as_ref()).map(|item| WireSpec(item.spec.clone())),
        };
        Self(changeset.changes.iter().map(change).collect())
    }

    /// What they make of each resource.
    pub(super) fn steps(&self) -> Result<Vec<Becomes>, ConnectorError> {
        let step = |change: &OneChange| {
            let id = ResourceRef::new(&change.kind, &change.name).map_err(|e| {
                ConnectorError::Terminal {
                    message: format!("a change as it is kept: {e}"),
                }
            })?;
            let spec = change.spec.as_ref();
            let item = spec.map(|spec| Item::new(id.clone(), spec.0.clone()).into());
            Ok((id, item))
        };
        self.0.iter().map(step).collect()
    }
}

/// `GET …/changesets`: what waits for the system, in the order in which it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    pub changesets: Vec<Waits>,
}

/// One changeset, and what is to be done with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waits {
    pub id: ChangesetId,
    pub phase: Phase,
    pub revision: Revision,
    pub base_digest: Digest,
    pub target_digest: Digest,
    pub fence: Fence,
    pub changes: Changes,
}

/// `POST …/changesets/{id}`: what the system has done.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case", deny_unknown_fields)]
pub enum Acknowledgement {
    /// It has staged the changeset and can commit it.
    Prepared {},
    /// It will not have it.
    Refused {
        #[serde(default)]
        message: String,
        #[serde(default)]
        reasons: Vec<WireReason>,
    },
    /// Its state is another one than the changeset was planned on.
    OtherBase {},
    /// It has taken effect; the digest is that of the state reported last.
    Committed { digest: Digest },
    /// It has been dropped.
    Aborted {},
}

/// The answer to an acknowledgement: what is to be done next, where anything is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Acknowledged {
    pub id: ChangesetId,
    pub phase: Phase,
}

/// `PUT …/state`: one of the three.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateReport {
    /// The revision last committed.
    #[serde(default)]
    pub revision: Option<Revision>,
    /// Everything that it holds.
    #[serde(default)]
    pub resources: Option<Vec<ReportedResource>>,
    /// It still holds what it reported before.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// Why it can't say what it holds.
    #[serde(default)]
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportedResource {
    pub kind: String,
    pub name: String,
    pub spec: Value,
}

/// The answer to a report: the digest of the state that is now known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Known {
    pub digest: Option<Digest>,
}
