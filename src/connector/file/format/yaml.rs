//! YAML that every reader takes for the same: all texts are in double quotes, and so are keys that some take for a boolean (`no`, `on`).

use serde_json::Value;

use super::super::ConnectorError;
use super::super::content::Content;
use super::listed::Listed;
use super::quoted::{number, quote};
use super::{position, shorten, text, unreadable};
use crate::document::yaml;

pub(super) fn read(bytes: &[u8]) -> Result<Content, ConnectorError> {
    let text = text(bytes, "YAML")?;
    let wrong = |words: &str, at: &str| {
        let words = shorten(words);
        unreadable(&format!(
            "the file is no YAML of the form {{revision, resources: [{{kind, name, spec}}]}}: {words}{at}"
        ))
    };
    let value: Value = yaml::from_str(text).map_err(|error| {
        let at = error
            .offset
            .map(|offset| format!(" at {}", position(text, offset)));
        wrong(&error.to_string(), &at.unwrap_or_default())
    })?;
    let listed: Listed =
        serde_json::from_value(value).map_err(|error| wrong(&error.to_string(), ""))?;
    listed.content()
}

pub(super) fn write(content: &Content) -> Vec<u8> {
    let Listed {
        revision,
        resources,
    } = Listed::of(content);
    let mut out = String::new();
    if let Some(revision) = revision {
        out.push_str("revision: ");
        quote(revision.as_str(), &mut out);
        out.push('\n');
    }
    if resources.is_empty() {
        out.push_str("resources: []\n");
        return out.into_bytes();
    }
    out.push_str("resources:\n");
    for resource in resources {
        out.push_str("  - kind: ");
        quote(&resource.kind, &mut out);
        out.push_str("\n    name: ");
        quote(&resource.name, &mut out);
        out.push_str("\n    spec:");
        after_key(&resource.spec, 4, &mut out);
        out.push('\n');
    }
    out.into_bytes()
}

/// What is written out over lines; all else stands on one.
fn is_block(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn after_key(value: &Value, indent: usize, out: &mut String) {
    if is_block(value) {
        line(indent + 2, out);
        block(value, indent + 2, out);
    } else {
        out.push(' ');
        block(value, indent, out);
    }
}

fn line(indent: usize, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
}

/// A value from where the pen is; its further lines are indented.
fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(n) => number(n, out),
        Value::String(text) => quote(text, out),
        Value::Array(items) if items.is_empty() => out.push_str("[]"),
        Value::Object(members) if members.is_empty() => out.push_str("{}"),
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    line(indent, out);
                }
                out.push_str("- ");
                block(item, indent + 2, out);
            }
        }
        Value::Object(members) => {
            for (n, (key, value)) in members.iter().enumerate() {
                if n > 0 {
                    line(indent, out);
                }
                self::key(key, out);
                out.push(':');
                after_key(value, indent, out);
            }
        }
    }
}

fn key(key: &str, out: &mut String) {
    const WORDS: &[&str] = &["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let plain = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        && !WORDS.iter().any(|word| key.eq_ignore_ascii_case(word));
    if plain {
        out.push_str(key);
    } else {
        quote(key, out);
    }
}
