//! YAML 1.2 as configuration should use it: no words that turn into booleans, no numbers that were meant as text, no merge
//! keys, no tags, no duplicate keys, and aliases only as far as they can't blow up.
//!
//! Every call of the YAML engine is in this module, with one set of options, so that no two readers disagree.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_yaml::budget::BudgetBreach;
use serde_yaml::{DuplicateKeyPolicy, Location, MergeKeyPolicy, NonFiniteFloatPolicy, Spanned};

use super::faults::{Faults, floor};
use super::tree::{Member, Node, NodeValue};
use super::{json, limits};
use crate::finding::Finding;
use crate::ids::DocPath;

#[cfg(test)]
mod tests;
mod words;

pub(super) use words::{Told, explain};

/// Why a typed pass could not read a text. Who needs the place and all the faults reads again with [`parse`].
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct YamlError {
    message: String,
    /// The byte at which it was noticed, where the engine knows.
    pub offset: Option<usize>,
}

/// Reads a document with places. Syntax errors leave no tree; duplicate keys and numbers that do not fit leave one
/// without them.
pub fn parse(path: &DocPath, text: &str) -> (Option<Node>, Vec<Finding>) {
    let mut faults = Faults::new(path, text);
    let node = read(&mut faults);
    (node, faults.finish())
}

/// A typed pass, with the options of [`parse`]. The type must refuse what it does not know (`deny_unknown_fields`) and must
/// ask for values by `deserialize_any` where `1` and `"1"` are not the same.
pub fn from_str<'t, T: Deserialize<'t> + Send>(text: &'t str) -> Result<T, YamlError> {
    engine(text, DuplicateKeyPolicy::Error).map_err(|error| {
        let error = error.without_snippet();
        YamlError {
            message: explain(text, error).message.into_owned(),
            offset: error.location().map(|l| start(text, &l)),
        }
    })
}

/// The same as [`parse`], among the findings of a reader that goes on from here.
pub fn read(faults: &mut Faults<'_>) -> Option<Node> {
    let text = faults.text();
    match engine::<Place>(text, DuplicateKeyPolicy::PassThrough) {
        Ok(place) => Some(convert(faults, place, 0)),
        Err(error) => {
            report(faults, error.without_snippet());
            None
        }
    }
}

/// How deep a document is read on the caller's stack. The engine takes up to 50 KiB of it a level when it is not
/// optimised; nearly all documents are flatter than this.
const SHALLOW: usize = 12;
/// How many brackets the scanner, which looks ahead of the values, takes.
const SCANNED: usize = 2 * limits::NESTING;
/// Enough stack for [`limits::NESTING`] levels, twice over.
const STACK_BYTES: usize = 8 << 20;

/// Runs the engine: on this stack as far as that is safe, on a larger one for what nests deeper.
pub(super) fn engine<'t, T: Deserialize<'t> + Send>(
    text: &'t str,
    duplicates: DuplicateKeyPolicy,
) -> Result<T, serde_yaml::Error> {
    let shallow = serde_yaml::from_str_with_options(text, options(text, duplicates, SHALLOW));
    let error = match shallow {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if !matches!(
        error.without_snippet(),
        serde_yaml::Error::Budget {
            breach: BudgetBreach::Depth { .. },
            ..
        }
    ) {
        return Err(error);
    }
    let again = std::thread::scope(|scope| {
        let deep = || {
            let options = options(text, duplicates, limits::NESTING);
            // An error of the engine can't leave its thread; what it says is worked out there.
            serde_yaml::from_str_with_options(text, options)
        };
        let thread = std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, deep);
        thread.ok().and_then(|t| t.join().ok())
    });
    again.unwrap_or(Err(error))
}

/// The one place where it is decided what YAML means here. The budget grows with the text: without aliases no document
/// has more nodes than bytes, and aliases may add as much again.
fn options(text: &str, duplicate_keys: DuplicateKeyPolicy, depth: usize) -> serde_yaml::Options {
    let size = text.len().saturating_add(10_000);
    let mut budget = serde_yaml::Budget::default();
    budget.max_depth = depth;
    // The budget above is to be what stops: it says so in a way that can be told from a syntax error.
    budget.flow_nesting_limit = SCANNED;
    budget.max_documents = 1;
    budget.max_nodes = size;
    budget.max_events = size.saturating_mul(2);
    budget.max_total_scalar_bytes = size.saturating_mul(2);
    budget.max_aliases = size;
    budget.max_anchors = size;
    budget.max_recorded_anchor_events = size;
    budget.max_total_comment_bytes = size;
    // One anchor may be used by every resource of a document; how much that adds is limited below.
    budget.enforce_alias_anchor_ratio = false;
    let mut options = serde_yaml::Options::default();
    options.budget = Some(budget);
    options.duplicate_keys = duplicate_keys;
    options.merge_keys = MergeKeyPolicy::Error;
    options.alias_limits.max_total_replayed_events = size;
    options.strict_booleans = true;
    options.leading_zero_numbers_as_strings = true;
    options.underscored_numbers_as_strings = true;
    options.reject_unsupported_tags = true;
    options.non_finite_float_policy = NonFiniteFloatPolicy::Reject;
    options.emit_comments = false;
    options.with_snippet = false;
    options
}

/// The byte where a location begins. Syntax errors come with line and column alone.
fn start(text: &str, location: &Location) -> usize {
    if let Some(at) = location.span().byte_offset() {
        return usize::try_from(at).unwrap_or(text.len());
    }
    let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).saturating_sub(1);
    let mut lines = text.split_inclusive('\n');
    let before: usize = lines
        .by_ref()
        .take(count(location.line()))
        .map(str::len)
        .sum();
    let line = lines.next().unwrap_or("");
    let width = line
        .chars()
        .take(count(location.column()))
        .map(char::len_utf8)
        .sum::<usize>();
    before + width
}

/// The bytes of a location, on character boundaries. Unknown ones are the start of the document.
fn range(text: &str, location: &Location) -> Range<usize> {
    let from = floor(text, start(text, location));
    let length = location.span().byte_len().unwrap_or(0);
    let length = usize::try_from(length).unwrap_or(0);
    let end = floor(text, from.saturating_add(length)).max(from);
    from..end
}

/// The engine says where the tagged value begins; what is meant is the tag before it.
fn tag_before(text: &str, value: Range<usize>) -> Range<usize> {
    let before = text.get(..value.start).unwrap_or("").trim_end();
    let start = before.rfind(char::is_whitespace).map_or(0, |at| {
        at + before
            .get(at..)
            .and_then(|t| t.chars().next())
            .map_or(1, char::len_utf8)
    });
    match before.get(start..) {
        Some(word) if word.starts_with('!') => start..before.len(),
        _ => value,
    }
}

fn report(faults: &mut Faults<'_>, error: &serde_yaml::Error) {
    use serde_yaml::Error as E;
    let text = faults.text();
    let mut at = error.location().map_or(0..0, |l| range(text, &l));
    if let E::UnsupportedTag { .. } = error {
        at = tag_before(text, at);
    }
    if at.is_empty() {
        // Underline at least one character.
        let rest = text.get(at.start..).unwrap_or("");
        at.end += rest.chars().next().map_or(0, char::len_utf8);
    }
    let Told {
        rule,
        message,
        hint,
    } = explain(text, error);
    faults.error(rule, at, message, Some(hint.to_owned()));
}

/// A value with its place as the engine gives it.
#[derive(Deserialize)]
struct Place(Spanned<Raw>);

enum Raw {
    Plain(NodeValue),
    /// A number that JSON could not carry, as written as we know it.
    Misfit(String),
    Array(Vec<Place>),
    Object(Vec<(Spanned<String>, Place)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Plain(NodeValue::Null))
    }
    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Plain(NodeValue::Null))
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Plain(NodeValue::Bool(value)))
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(number(value.into(), value))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(number(value.into(), value))
    }
    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Misfit(value.to_string()))
    }
    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Misfit(value.to_string()))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Ok(match Number::from_f64(value) {
            Some(n) => number(n, value),
            None => Raw::Misfit(value.to_string()),
        })
    }
    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Plain(NodeValue::String(value.to_owned())))
    }
    fn visit_string<E: de::Error>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Plain(NodeValue::String(value)))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::Array(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(member) = members.next_entry()? {
            list.push(member);
        }
        Ok(Raw::Object(list))
    }
}

fn number(number: Number, written: impl fmt::Display) -> Raw {
    if json::fits(&number) {
        Raw::Plain(NodeValue::Number(number))
    } else {
        Raw::Misfit(written.to_string())
    }
}

/// Turns the engine's tree into ours. `least` is where the parent begins: values repeated by an alias are shown at the
/// alias, and their inner parts nowhere before it.
fn convert(faults: &mut Faults<'_>, place: Place, least: usize) -> Node {
    let Place(Spanned {
        value,
        referenced,
        defined: _,
    }) = place;
    let mut span = range(faults.text(), &referenced);
    if span.start < least {
        span = least..least.max(span.end);
    }
    let least = span.start;
    let value = match value {
        Raw::Plain(value) => value,
        Raw::Misfit(written) => {
            json::misfit(faults, "yaml/number", &written, span.clone());
            json::stand_in()
        }
        Raw::Array(items) => {
            let items: Vec<Node> = items
                .into_iter()
                .map(|item| convert(faults, item, least))
                .collect();
            span.end = items.last().map_or(span.end, |n| n.span.end.max(span.end));
            NodeValue::Array(items)
        }
        Raw::Object(entries) => {
            let mut seen = HashSet::new();
            let mut members: Vec<Member> = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                let key_span = range(faults.text(), &key.referenced);
                let value = convert(faults, value, key_span.start.max(least));
                span.end = span.end.max(value.span.end);
                if seen.insert(key.value.clone()) {
                    members.push(Member {
                        key: key.value,
                        key_span,
                        value,
                    });
                } else {
                    json::duplicate(faults, "yaml/duplicate-key", &key.value, key_span);
                }
            }
            NodeValue::Object(members)
        }
    };
    Node { span, value }
}
