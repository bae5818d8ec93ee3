//! The System API's wire types: what a connected system and the `http` connector say to each other.
//!
//! Both sides use these, the connector as a client and the reference system as a server; `docs/system-api.openapi.json`
//! describes the same for people who write a system in another language. Nothing here sends or stores anything.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::ids::{ChangesetId, Digest, Fence, InvalidId, ResourceRef, Revision};
use crate::plan::{Change, Op};
use crate::state::{Item, Spec};

#[cfg(test)]
mod tests;

/// What every path of the API starts with.
pub const PREFIX: &str = "/lockstep/v1";

/// The API as an OpenAPI 3.1 document; a system serves it at `GET /lockstep/v1/openapi.json`.
pub const OPENAPI: &str = include_str!("../docs/system-api.openapi.json");

/// The largest body either side reads, in bytes: room for a hundred thousand resources of 2 KiB.
pub const BODY_LIMIT: usize = 256 << 20;

/// A spec on the wire: its canonical text goes out as it is; what comes in is brought into canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireSpec(pub Spec);

impl Serialize for WireSpec {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        // Spliced in unread: parsing every spec of a large state only to write it again would double the cost.
        match serde_json::from_str::<&RawValue>(self.0.as_str()) {
            Ok(raw) => raw.serialize(s),
            Err(_) => self.0.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for WireSpec {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(d)?;
        Spec::from_text(raw.get())
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

/// One resource as a system holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireResource<'a> {
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    /// May hold slashes: what follows `kind/`.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    pub spec: WireSpec,
}

impl<'a> WireResource<'a> {
    /// An item in the form in which it is sent.
    pub fn of(item: &'a Item) -> Self {
        Self {
            kind: item.id.kind().into(),
            name: item.id.name().into(),
            spec: WireSpec(item.spec.clone()),
        }
    }

    /// The item, with its digests computed anew, or why its name is none.
    pub fn into_item(self) -> Result<Arc<Item>, InvalidId> {
        let id = ResourceRef::new(&self.kind, &self.name)?;
        Ok(Arc::new(Item::new(id, self.spec.0)))
    }
}

/// `GET /state`. The digest is always that of the whole state, also where only some buckets were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateAnswer<'a> {
    /// The revision last committed; absent before the first.
    pub revision: Option<Revision>,
    pub digest: Digest,
    #[serde(borrow)]
    pub resources: Vec<WireResource<'a>>,
}

/// `GET /state/digests`: where two states differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestsAnswer {
    pub revision: Option<Revision>,
    pub digest: Digest,
    /// The digests of the 256 buckets, in order.
    pub buckets: Vec<Digest>,
}

/// `PUT /changesets/{id}`. `S` is the spec: [`WireSpec`] where it is sent; a plain value where it is read, so that a spec without
/// canonical form is a refusal with a reason and not a body that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrepareRequest<'a, S> {
    pub revision: Revision,
    /// The digest of the state that the changes were planned on.
    pub base_digest: Digest,
    /// The digest that they lead to.
    pub target_digest: Digest,
    pub fence: Fence,
    /// Which config repo this comes from: a system that keeps marks refuses changes to what another one made.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub changes: Vec<WireChange<'a, S>>,
}

/// One change of a changeset. The words are checked by the system, which answers with a reason for each change it refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(deserialize = "S: Deserialize<'de>"))]
pub struct WireChange<'a, S> {
    /// `create`, `update` or `delete`.
    #[serde(borrow)]
    pub op: Cow<'a, str>,
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// Absent for a delete. `null` is a spec like any other.
    #[serde(
        default = "Option::default",
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub spec: Option<S>,
}

/// What is there is something, even `null`: by itself serde would take that for absent.
fn present<'de, D: Deserializer<'de>, S: Deserialize<'de>>(d: D) -> Result<Option<S>, D::Error> {
    S::deserialize(d).map(Some)
}

impl<'a> WireChange<'a, WireSpec> {
    /// A planned change in the form in which it is sent.
    pub fn of(change: &'a Change) -> Self {
        Self {
            op: op_word(change.op).into(),
            kind: change.id.kind().into(),
            name: change.id.name().into(),
            spec: change
                .after
                .as_ref()
                .map(|item| WireSpec(item.spec.clone())),
        }
    }
}

/// An operation's word on the wire.
pub fn op_word(op: Op) -> &'static str {
    match op {
        Op::Create => "create",
        Op::Update => "update",
        Op::Delete => "delete",
    }
}

/// The operation that a word stands for.
pub fn op_from_word(word: &str) -> Option<Op> {
    match word {
        "create" => Some(Op::Create),
        "update" => Some(Op::Update),
        "delete" => Some(Op::Delete),
        _ => None,
    }
}

/// What a changeset has come to on a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangesetStatus {
    Staged,
    Committed,
    Aborted,
}

/// The answer to a prepare: 201 where it was staged now, 200 where it was there already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrepareAnswer {
    pub id: ChangesetId,
    pub status: ChangesetStatus,
}

/// The body of a commit or an abort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceRequest {
    pub fence: Fence,
}

/// The answer to a commit or an abort: the state after it. Repeating the call gives the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeAnswer {
    pub digest: Digest,
    pub revision: Option<Revision>,
}

/// A page of `GET /audit`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditAnswer {
    /// In the order in which they happened.
    pub events: Vec<AuditEvent>,
    /// What to send as `cursor` for the next page; `null` at the end.
    pub next: Option<String>,
}

/// One change that a system has seen, whoever made it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditEvent {
    pub at: Timestamp,
    /// `lockstep`, or who made it behind Lockstep's back.
    pub actor: String,
    /// `create`, `update` or `delete`.
    pub action: String,
    pub kind: String,
    pub name: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
    /// The changeset it came with.
    pub changeset: Option<ChangesetId>,
}

/// The body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorAnswer {
    /// For people: what was wrong and what to do.
    pub error: String,
    #[serde(default)]
    pub code: Code,
    /// With 422: why, change by change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<WireReason>,
}

/// Why a system refuses one change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireReason {
    pub kind: String,
    pub name: String,
    pub message: String,
}

/// What an error is, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// 400: the request could not be read.
    Malformed,
    /// 401: no credential, or a wrong one.
    Unauthorized,
    /// 403: the request does not come from where it may come from.
    Forbidden,
    /// 404: no such path.
    NotFound,
    /// 404: a commit for a changeset that was never prepared here.
    UnknownChangeset,
    /// 409: the state is another one than the changeset was planned on.
    OtherBase,
    /// 409: the id was used for other content.
    OtherContent,
    /// 409: the changeset has been aborted.
    Aborted,
    /// 409: the changeset has been committed.
    Committed,
    /// 412: a newer fence has been seen.
    OlderFence,
    /// 413: the body is too large.
    TooLarge,
    /// 422: the changes are not acceptable; see the reasons.
    Refused,
    /// 500 or 503: the system's own trouble.
    Internal,
    /// Any other, from a newer or different system.
    #[default]
    #[serde(other)]
    Other,
}
