//! Between the core's types and columns. What can't be read back was not written by Lockstep: the store is damaged.

use std::str::FromStr;

use jiff::Timestamp;
use serde_json::Value;

use super::StoreError;

/// A time as the store keeps it.
pub(super) fn ms(at: Timestamp) -> i64 {
    at.as_millisecond()
}

pub(super) fn time(ms: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_millisecond(ms).map_err(|e| damaged("a time", &ms.to_string(), &e))
}

/// An identifier from its text.
pub(super) fn id<T>(text: &str) -> Result<T, StoreError>
where
    T: FromStr<Err: std::fmt::Display>,
{
    text.parse()
        .map_err(|e: T::Err| damaged("a name", text, &e))
}

pub(super) fn json(text: &str) -> Result<Value, StoreError> {
    serde_json::from_str(text).map_err(|e| damaged("JSON", text, &e))
}

/// A count or number that is never negative.
pub(super) fn number(n: i64) -> Result<u64, StoreError> {
    u64::try_from(n).map_err(|e| damaged("a count", &n.to_string(), &e))
}

/// The other way round. What is counted here never gets near 2^63.
pub(super) fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn damaged(what: &str, text: &str, why: &dyn std::fmt::Display) -> StoreError {
    let shown: String = text.chars().take(80).collect();
    StoreError::Damaged {
        what: format!("{what} cannot be read back from {shown:?}: {why}"),
    }
}
