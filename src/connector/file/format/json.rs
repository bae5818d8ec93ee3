//! JSON, sorted and indented, so that it can be read and compared by people.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::ConnectorError;
use super::super::content::{Content, Gathered};
use super::listed::Listed;
use super::{shorten, unreadable};
use crate::ids::KindName;
use crate::state::Item;

pub(super) fn read(bytes: &[u8]) -> Result<Content, ConnectorError> {
    const FORM: &str = "{\"revision\", \"resources\": [{kind, name, spec}]}";
    parse::<Listed>(bytes, "the file", FORM)?.content()
}

pub(super) fn write(content: &Content) -> Result<Vec<u8>, ConnectorError> {
    pretty(&Listed::of(content))
}

/// Reads JSON of one form. The parser says the line and column itself, for content of the wrong shape as well.
pub(super) fn parse<T: DeserializeOwned>(
    bytes: &[u8],
    what: &str,
    form: &str,
) -> Result<T, ConnectorError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let words = shorten(&error.to_string());
        unreadable(&format!("{what} is no JSON of the form {form}: {words}"))
    })
}

pub(super) fn pretty<T: Serialize>(value: &T) -> Result<Vec<u8>, ConnectorError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| ConnectorError::Terminal {
        message: format!("the state cannot be written: {error}"),
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// One of a folder's files: the resources of one kind.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    resources: Vec<Named>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    spec: Value,
}

/// The bytes of one of a folder's files. The items are those of one kind, sorted.
pub(in super::super) fn part(items: &[&Arc<Item>]) -> Result<Vec<u8>, ConnectorError> {
    let named = items.iter().map(|item| Named {
        name: item.id.name().to_owned(),
        spec: item.spec.value(),
    });
    pretty(&Part {
        resources: named.collect(),
    })
}

/// Takes in what one of a folder's files holds.
pub(in super::super) fn entries(
    kind: &KindName,
    bytes: &[u8],
    gathered: &mut Gathered,
) -> Result<(), ConnectorError> {
    let what = format!("{kind}.json");
    let part: Part = parse(bytes, &what, "{\"resources\": [{name, spec}]}")?;
    for named in &part.resources {
        gathered.add(kind.as_str(), &named.name, &named.spec)?;
    }
    Ok(())
}
