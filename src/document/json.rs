//! JSON as people write it: with `//` and `/* */` comments, trailing commas and a title line before the first bracket.
//!
//! [`parse`] keeps places and reports what is wrong; [`blank`] makes strict JSON of the same length, so that a typed reader
//! can go over the text at full speed and its offsets still fit. [`StrictValue`] is any JSON value, for typed readers that
//! must not let a duplicate key pass.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use jsonc_parser::ast;
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde::de::IgnoredAny;
use serde_json::Number;

use super::faults::Faults;
use super::limits;
use super::tree::{Member, Node, NodeValue};
use crate::finding::Finding;
use crate::ids::DocPath;

mod explain;
mod scan;
mod strict;

pub(crate) use strict::Strict;
pub use strict::StrictValue;

#[cfg(test)]
mod tests;

/// The largest integer that survives the canonical form (RFC 8785 reads numbers as IEEE doubles).
pub(crate) const MAX_INTEGER: u64 = 1 << 53;

/// Said of a number that does not fit. Most fields that take a number refuse a text.
pub(super) const NUMBER_HINT: &str = "write a smaller number; what only looks like one, such as an id, goes in quotes where a text is taken";
const MAX_FLOAT: f64 = 9_007_199_254_740_992.0;

/// Reads a document with places. Syntax errors leave no tree; duplicate keys and numbers that do not fit leave one
/// without them.
pub fn parse(path: &DocPath, text: &str) -> (Option<Node>, Vec<Finding>) {
    let mut faults = Faults::new(path, text);
    let node = read(&mut faults);
    (node, faults.finish())
}

/// The same text as strict JSON: comments, trailing commas and the title line become spaces, byte for byte.
/// Borrowed where there is nothing to blank. What is wrong stays wrong: the reader will say so.
pub fn blank(text: &str) -> Cow<'_, str> {
    blanked(text, &scan::scan(text).blanks)
}

fn blanked<'a>(text: &'a str, blanks: &[Range<usize>]) -> Cow<'a, str> {
    if blanks.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for range in blanks {
        out.push_str(text.get(at..range.start).unwrap_or(""));
        // Line breaks stay, so that lines are counted the same.
        let hidden = text.get(range.clone()).unwrap_or("");
        out.extend(hidden.bytes().map(|b| match b {
            b'\n' | b'\r' => char::from(b),
            _ => ' ',
        }));
        at = range.end;
    }
    out.push_str(text.get(at..).unwrap_or(""));
    Cow::Owned(out)
}

/// The same as [`parse`], among the findings of a reader that goes on from here.
pub fn read(faults: &mut Faults<'_>) -> Option<Node> {
    let text = faults.text();
    let scanned = scan::scan(text);
    if let Some(at) = scanned.too_deep {
        faults.error(
            "json/nesting",
            at..at + 1,
            format!("values nest deeper than {} levels", limits::NESTING),
            Some("flatten the document".to_owned()),
        );
        return None;
    }
    let strict = blanked(text, &scanned.blanks);
    let options = ParseOptions {
        // Those that are left are not closed, which the parser says better than we could.
        allow_comments: true,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed = match parse_to_ast(&strict, &CollectOptions::default(), &options) {
        Ok(parsed) => parsed,
        Err(error) => {
            let range = error.range();
            // The span of what is left open is the whole rest: its first character says where it began.
            let open = matches!(
                error.kind(),
                ParseErrorKind::UnterminatedArray
                    | ParseErrorKind::UnterminatedObject
                    | ParseErrorKind::UnterminatedCommentBlock
            );
            let end = if open { 0 } else { range.end }.max(range.start + 1);
            let (message, hint) = explain::explain(error.kind());
            faults.error("json/syntax", range.start..end, message, hint);
            return None;
        }
    };
    let Some(value) = parsed.value else {
        faults.error(
            "json/syntax",
            0..0,
            "the document is empty; expected an object or a list",
            Some("write {} if nothing is meant".to_owned()),
        );
        return None;
    };
    // The parser is more lenient than JSON in places (control characters in strings, leading zeros). What one reader
    // takes and the other refuses would be a hole.
    if let Err(error) = serde_json::from_str::<IgnoredAny>(&strict) {
        let at = offset(&strict, error.line(), error.column());
        faults.error("json/syntax", at..at + 1, plain(&error), None);
        return None;
    }
    Some(convert(faults, value))
}

/// The byte at which `serde_json` found something: its columns count bytes, from 1.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum::<usize>();
    (start + column.saturating_sub(1)).min(text.len())
}

/// `serde_json`'s message without the place, which the finding has.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text.get(..at).unwrap_or(&text).to_owned(),
        None => text,
    }
}

fn convert(faults: &mut Faults<'_>, value: ast::Value<'_>) -> Node {
    let (range, value) = match value {
        ast::Value::NullKeyword(null) => (null.range, NodeValue::Null),
        ast::Value::BooleanLit(literal) => (literal.range, NodeValue::Bool(literal.value)),
        ast::Value::StringLit(literal) => {
            (literal.range, NodeValue::String(literal.value.into_owned()))
        }
        ast::Value::NumberLit(literal) => {
            let value = number(
                faults,
                literal.value,
                literal.range.start..literal.range.end,
            );
            (literal.range, value)
        }
        ast::Value::Array(array) => {
            let items = array.elements.into_iter().map(|v| convert(faults, v));
            let items = items.collect();
            (array.range, NodeValue::Array(items))
        }
        ast::Value::Object(object) => {
            let mut seen = HashSet::new();
            let mut members: Vec<Member> = Vec::with_capacity(object.properties.len());
            for property in object.properties {
                let (key, range) = match property.name {
                    ast::ObjectPropName::String(name) => (name.value.into_owned(), name.range),
                    ast::ObjectPropName::Word(word) => (word.value.to_owned(), word.range),
                };
                let key_span = range.start..range.end;
                let value = convert(faults, property.value);
                if seen.insert(key.clone()) {
                    members.push(Member {
                        key,
                        key_span,
                        value,
                    });
                } else {
                    duplicate(faults, "json/duplicate-key", &key, key_span);
                }
            }
            (object.range, NodeValue::Object(members))
        }
    };
    Node {
        span: range.start..range.end,
        value,
    }
}

/// Reports a key that an object has had already.
pub(crate) fn duplicate(faults: &mut Faults<'_>, rule: &'static str, key: &str, at: Range<usize>) {
    faults.error(
        rule,
        at,
        format!("`{key}` is here a second time"),
        Some("keep one of the two".to_owned()),
    );
}

/// A number, if it can be carried without being changed.
fn number(faults: &mut Faults<'_>, text: &str, at: Range<usize>) -> NodeValue {
    match serde_json::from_str::<Number>(text) {
        Ok(number) if fits(&number) => NodeValue::Number(number),
        Ok(_) | Err(_) => {
            misfit(faults, "json/number", text, at);
            stand_in()
        }
    }
}

/// What a number that can't be carried is read as, once it has been reported: one that nothing else will be said of.
pub(crate) fn stand_in() -> NodeValue {
    NodeValue::Number(Number::from(1))
}

/// Whether a number survives canonical JSON. Whole numbers too large for 64 bits come as floats, and floats beyond 2^53 are
/// whole, so one bound does for all.
pub(crate) fn fits(number: &Number) -> bool {
    match (number.as_u64(), number.as_i64()) {
        (Some(n), _) => n <= MAX_INTEGER,
        (None, Some(n)) => n.unsigned_abs() <= MAX_INTEGER,
        (None, None) => number.as_f64().is_some_and(|n| n.abs() <= MAX_FLOAT),
    }
}

/// Reports a number that would be changed on its way.
pub(crate) fn misfit(faults: &mut Faults<'_>, rule: &'static str, text: &str, at: Range<usize>) {
    let shown: String = text.chars().take(40).collect();
    faults.error(
        rule,
        at,
        format!("the number {shown} is too large; numbers go up to 2^53"),
        Some(NUMBER_HINT.to_owned()),
    );
}
