//! TOML: a table for each resource. It has no `null`, so what holds one is refused.

use std::fmt::Write as _;

use serde_json::{Map, Number, Value};

use super::super::ConnectorError;
use super::super::content::Content;
use super::listed::{Listed, Resource};
use super::quoted::{number, quote};
use super::{position, shorten, text, unreadable};
use crate::state::Item;

pub(super) fn unfit(item: &Item) -> Option<String> {
    let at = null_in(&item.spec.value())?;
    Some(format!(
        "{at} is null, which TOML does not have; leave it out, or use another format"
    ))
}

/// Where a value is null, in words.
fn null_in(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some("it".to_owned()),
        Value::Array(items) => items.iter().enumerate().find_map(|(n, item)| {
            let at = null_in(item)?;
            Some(inner(&format!("[{n}]"), &at))
        }),
        Value::Object(members) => members.iter().find_map(|(key, value)| {
            let at = null_in(value)?;
            Some(inner(&format!("{key:?}"), &at))
        }),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn inner(part: &str, rest: &str) -> String {
    match rest {
        "it" => part.to_owned(),
        rest => format!("{part} > {rest}"),
    }
}

pub(super) fn write(content: &Content) -> Result<Vec<u8>, ConnectorError> {
    let Listed {
        revision,
        resources,
    } = Listed::of(content);
    let mut out = String::new();
    if let Some(revision) = revision {
        out.push_str("revision = ");
        quote(revision.as_str(), &mut out);
        out.push('\n');
    }
    if resources.is_empty() {
        out.push_str("resources = []\n");
    }
    for Resource { kind, name, spec } in &resources {
        out.push_str("\n[[resources]]\nkind = ");
        quote(kind, &mut out);
        out.push_str("\nname = ");
        quote(name, &mut out);
        let written = match spec {
            Value::Object(members) => {
                out.push_str("\n\n[resources.spec]\n");
                members.iter().try_for_each(|(name, value)| {
                    key(name, &mut out);
                    out.push_str(" = ");
                    inline(value, &mut out)?;
                    out.push('\n');
                    Some(())
                })
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {
                out.push_str("\nspec = ");
                let written = inline(spec, &mut out);
                out.push('\n');
                written
            }
        };
        written.ok_or_else(|| ConnectorError::Terminal {
            message: format!("{kind}/{name} holds null, which TOML does not have"),
        })?;
    }
    Ok(out.into_bytes())
}

/// A value on one line; `None` where there is a null in it.
fn inline(value: &Value, out: &mut String) -> Option<()> {
    match value {
        Value::Null => return None,
        Value::Bool(b) => {
            let _infallible = write!(out, "{b}");
        }
        Value::Number(n) => number(n, out),
        Value::String(text) => quote(text, out),
        Value::Array(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                out.push_str(if n > 0 { ", " } else { "" });
                inline(item, out)?;
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (n, (name, value)) in members.iter().enumerate() {
                out.push_str(if n > 0 { ", " } else { " " });
                key(name, out);
                out.push_str(" = ");
                inline(value, out)?;
            }
            out.push_str(if members.is_empty() { "}" } else { " }" });
        }
    }
    Some(())
}

fn key(key: &str, out: &mut String) {
    let is_bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if !key.is_empty() && key.bytes().all(is_bare) {
        out.push_str(key);
    } else {
        quote(key, out);
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<Content, ConnectorError> {
    let text = text(bytes, "TOML")?;
    let wrong = |words: &str, offset: Option<usize>| {
        let at = offset.map_or_else(String::new, |offset| {
            format!(" at {}", position(text, offset))
        });
        unreadable(&format!(
            "the file is no TOML of the form revision, [[resources]] kind, name, spec: {}{at}",
            shorten(words)
        ))
    };
    let table: toml::Table = toml::from_str(text)
        .map_err(|error| wrong(error.message(), error.span().map(|span| span.start)))?;
    let value = json(toml::Value::Table(table)).map_err(|what| wrong(&what, None))?;
    let listed: Listed =
        serde_json::from_value(value).map_err(|error| wrong(&error.to_string(), None))?;
    listed.content()
}

/// The same as JSON; what JSON does not have is said to be written as a text.
fn json(value: toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(n) => Value::from(n),
        toml::Value::Boolean(b) => Value::Bool(b),
        toml::Value::Float(f) => Number::from_f64(f)
            .map(Value::Number)
            .ok_or_else(|| format!("{f} is no number of a spec"))?,
        toml::Value::Datetime(at) => {
            return Err(format!("{at} is a date of TOML's own; put it in quotes"));
        }
        toml::Value::Array(items) => {
            let items: Result<Vec<Value>, String> = items.into_iter().map(json).collect();
            Value::Array(items?)
        }
        toml::Value::Table(members) => {
            let members: Result<Map<String, Value>, String> = members
                .into_iter()
                .map(|(key, value)| Ok((key, json(value)?)))
                .collect();
            Value::Object(members?)
        }
    })
}
