//! git-appraise's lines (format version 0), field by field in the order in which it writes them.
//!
//! A comment is known by the SHA-1 of its JSON as Go writes it, so the bytes have to be the same: fields in this order, empty
//! ones left out, and `<`, `>`, `&` and the two Unicode line separators escaped.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};

/// Review requests, on the first commit of a review.
pub(super) const REVIEWS: &str = "refs/notes/devtools/reviews";
/// Comments, on the same commit.
pub(super) const DISCUSS: &str = "refs/notes/devtools/discuss";
/// Results of tests, on the commit tested.
pub(super) const CI: &str = "refs/notes/devtools/ci";

/// A review request; the last one by timestamp counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Request {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) timestamp: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) review_ref: String,
    /// Empty where the request was abandoned; always written.
    pub(super) target_ref: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) requester: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) reviewers: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) description: String,
    #[serde(rename = "v", skip_serializing_if = "is_zero")]
    pub(super) version: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) base_commit: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) alias: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) signature: String,
}

/// A comment. `resolved` is true for "accept", false for "needs work", absent for a mere remark.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Comment {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) timestamp: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) author: String,
    /// The comment that this one is a new version of.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) original: String,
    /// The comment that this one answers.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) parent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) location: Option<Location>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resolved: Option<bool>,
    #[serde(rename = "v", skip_serializing_if = "is_zero")]
    pub(super) version: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) signature: String,
}

/// What a comment is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Location {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) commit: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) range: Option<Range>,
}

/// Lines and columns, from 1; 0 is unset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Range {
    pub(super) start_line: u32,
    #[serde(skip_serializing_if = "is_zero_column")]
    pub(super) start_column: u32,
    #[serde(skip_serializing_if = "is_zero_column")]
    pub(super) end_line: u32,
    #[serde(skip_serializing_if = "is_zero_column")]
    pub(super) end_column: u32,
}

/// A test's result: `success` or `failure`, by an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Ci {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) timestamp: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) status: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) agent: String,
    #[serde(rename = "v", skip_serializing_if = "is_zero")]
    pub(super) version: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero_column(n: &u32) -> bool {
    *n == 0
}

impl Comment {
    /// What other comments call this one.
    pub(super) fn hash(&self) -> Option<String> {
        Some(hex::encode(Sha1::digest(go_json(self)?)))
    }
}

/// A kind of line, with what all kinds have.
pub(super) trait Line: Serialize + DeserializeOwned {
    fn timestamp(&self) -> &str;
    fn version(&self) -> u64;
}

macro_rules! line {
    ($($kind:ident),*) => {$(
        impl Line for $kind {
            fn timestamp(&self) -> &str {
                &self.timestamp
            }
            fn version(&self) -> u64 {
                self.version
            }
        }
    )*};
}
line!(Request, Comment, Ci);

/// The lines of one kind that can be read, oldest first; lines of one second stay in the order in which they stand.
pub(super) fn read<T: Line>(lines: &[String]) -> Vec<T> {
    let mut read: Vec<T> = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<T>(line).ok())
        .filter(|line| line.version() == 0)
        .collect();
    read.sort_by_key(|line| seconds(line.timestamp()));
    read
}

/// JSON as Go's `json.Marshal` writes it. `None` is never met: these are plain structs.
pub(super) fn go_json<T: Serialize>(value: &T) -> Option<String> {
    let json = serde_json::to_string(value).ok()?;
    let mut text = String::with_capacity(json.len());
    // Outside of strings JSON has none of these.
    for c in json.chars() {
        match c {
            '<' => text.push_str("\\u003c"),
            '>' => text.push_str("\\u003e"),
            '&' => text.push_str("\\u0026"),
            '\u{2028}' => text.push_str("\\u2028"),
            '\u{2029}' => text.push_str("\\u2029"),
            other => text.push(other),
        }
    }
    Some(text)
}

/// Text for a line: the control characters that Go's versions escape differently are left out.
pub(super) fn text(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect()
}

/// A timestamp as the format has it: seconds, ten digits.
pub(super) fn stamp(seconds: i64) -> String {
    format!("{:010}", seconds.max(0))
}

/// The seconds of a timestamp; 0 for one that is none.
pub(super) fn seconds(stamp: &str) -> i64 {
    stamp.parse().unwrap_or(0)
}

/// The time of a timestamp; the epoch for one that is none.
pub(super) fn time(stamp: &str) -> Timestamp {
    Timestamp::from_second(seconds(stamp)).unwrap_or(Timestamp::UNIX_EPOCH)
}
