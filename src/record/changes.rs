//! How changes are stored: compact, and read back to the very same digests.

use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::ids::{DocPath, ResourceRef};
use crate::plan::{Change, Op, Origin};
use crate::resource::Direction;
use crate::state::{Item, Spec};

#[derive(Serialize, Deserialize)]
struct Stored {
    op: Op,
    id: ResourceRef,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    before: Option<Value>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    after: Option<Value>,
    direction: Direction,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    document: Option<DocPath>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

/// A spec that is `null` is not one that is absent.
fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(d).map(Some)
}

pub(super) fn serialize<S: Serializer>(changes: &[Change], s: S) -> Result<S::Ok, S::Error> {
    let spec = |item: &Option<Arc<Item>>| item.as_ref().map(|item| item.spec.value());
    s.collect_seq(changes.iter().map(|change| {
        let Change {
            op,
            id,
            before,
            after,
            direction,
            origin,
        } = change;
        Stored {
            op: *op,
            id: id.clone(),
            before: spec(before),
            after: spec(after),
            direction: *direction,
            document: origin.as_ref().map(|o| o.document.clone()),
            line: origin.as_ref().and_then(|o| o.line),
        }
    }))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Change>, D::Error> {
    Vec::<Stored>::deserialize(d)?
        .into_iter()
        .map(|stored| restore(stored).map_err(D::Error::custom))
        .collect()
}

fn restore(stored: Stored) -> Result<Change, String> {
    let Stored {
        op,
        id,
        before,
        after,
        direction,
        document,
        line,
    } = stored;
    let found = match (&before, &after) {
        (Some(_), None) => Some(Op::Delete),
        (None, Some(_)) => Some(Op::Create),
        (Some(_), Some(_)) => Some(Op::Update),
        (None, None) => None,
    };
    if found != Some(op) {
        return Err(format!(
            "the stored change of {id} does not hold what its operation needs"
        ));
    }
    let item = |value: Option<Value>| value.map(|value| item(&id, &value)).transpose();
    Ok(Change {
        op,
        before: item(before)?,
        after: item(after)?,
        id: id.clone(),
        direction,
        origin: document.map(|document| Origin { document, line }),
    })
}

/// Not through [`Spec::from_value`]: that refuses large integers, because a person's number would be rounded, but a float that is
/// whole (1e17) is written like one, was accepted, and comes back to the same bytes.
fn item(id: &ResourceRef, value: &Value) -> Result<Arc<Item>, String> {
    let text = serde_json_canonicalizer::to_string(value)
        .map_err(|error| format!("the stored spec of {id} has no canonical form: {error}"))?;
    Ok(Arc::new(Item::new(id.clone(), Spec::from_canonical(&text))))
}
