//! What an entry says of one system's part in a run, read in one pass where it lies. Everything else there is to read is small.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::store::LedgerRow;

/// A text where it lies, unless it has escapes.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Debug, Deserialize)]
struct Leaf<'a> {
    #[serde(borrow)]
    body: Option<Part<'a>>,
}

/// A system's part in a run, or what somebody else was found to have changed on it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Part<'a> {
    #[serde(borrow, default)]
    pub(super) changes: Vec<Change<'a>>,
    #[serde(borrow, default)]
    pub(super) state: Option<State<'a>>,
    #[serde(borrow, default)]
    pub(super) plan: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) started_at: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) decided_at: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) prepared_at: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) committed_at: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) verified_at: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) release: Option<Release<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Change<'a> {
    #[serde(borrow, default)]
    pub(super) op: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    /// What was there; for drift, what was found.
    #[serde(borrow, default, alias = "found")]
    pub(super) before: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "desired")]
    pub(super) after: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) direction: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) document: Option<Text<'a>>,
    #[serde(default)]
    pub(super) line: Option<u32>,
}

#[derive(Debug, Deserialize)]
pub(super) struct State<'a> {
    #[serde(borrow)]
    pub(super) is: Text<'a>,
    #[serde(borrow, default)]
    pub(super) receipt: Option<Receipt<'a>>,
    #[serde(borrow, default)]
    pub(super) failure: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Receipt<'a> {
    #[serde(borrow)]
    pub(super) digest: Text<'a>,
    #[serde(borrow, default)]
    pub(super) reference: Option<Text<'a>>,
}

/// A named person's word for a plan past a ceiling.
#[derive(Debug, Deserialize)]
pub(super) struct Release<'a> {
    #[serde(borrow)]
    pub(super) by: Text<'a>,
    #[serde(borrow)]
    pub(super) because: Text<'a>,
}

/// A system's part, where the entry is of that form.
pub(super) fn part<'a>(row: &LedgerRow<'a>) -> Option<Part<'a>> {
    match row.body {
        Some(body) => serde_json::from_str(body).ok(),
        None => serde_json::from_str::<Leaf<'a>>(row.leaf).ok()?.body,
    }
}
