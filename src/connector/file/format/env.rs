//! Variables: `FEATURE_FLAG__AI_ASSISTANT__ENABLED=true` is the field `enabled` of `FeatureFlag/ai_assistant`, and
//! `MOTTO__HOSPITAL='…'` a spec that is a value itself.
//!
//! The lines between the two marks are Lockstep's, all others are left as they are. Texts are quoted and nothing else is, so that `true`
//! and `'true'` come back as what they were; a value that is empty is null. Every shell, systemd and the usual libraries read the
//! quotes alike, because what they read differently (escapes, `$`) is refused.

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use super::super::ConnectorError;
use super::super::content::{Around, Content, Gathered};
use super::{text, unreadable};
use crate::ids::Revision;
use crate::state::Item;

const BEGIN: &str = "# lockstep begin";
const END: &str = "# lockstep end";

/// What stands between a kind, a name and a field.
const JOINT: &str = "__";

/// A resource's variables, each with its value as it is written; or why it can't be any.
fn variables(item: &Item) -> Result<Vec<(String, String)>, String> {
    let (kind, name) = (item.id.kind(), item.id.name());
    let kind = upper_kind(kind)
        .ok_or_else(|| format!("the kind {kind} cannot be read back from a variable's name"))?;
    let name = upper(name).ok_or_else(|| no_part("its name", name))?;
    let variable = format!("{kind}{JOINT}{name}");
    match item.spec.value() {
        Value::Object(members) if members.is_empty() => {
            Err("it has no field, so no variable can hold it".to_owned())
        }
        Value::Object(members) => members
            .iter()
            .map(|(field, value)| {
                let part = upper(field).ok_or_else(|| no_part("its field", field))?;
                let value = write_value(value).map_err(|why| format!("its field {field} {why}"))?;
                Ok((format!("{variable}{JOINT}{part}"), value))
            })
            .collect(),
        value @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)) => {
            let value = write_value(&value).map_err(|why| format!("it {why}"))?;
            Ok(vec![(variable, value)])
        }
    }
}

fn no_part(what: &str, text: &str) -> String {
    format!(
        "{what} {text:?} cannot be part of a variable's name; env takes small letters, digits and single _ between them"
    )
}

pub(super) fn unfit(item: &Item, around: &Around) -> Option<String> {
    let variables = match variables(item) {
        Ok(variables) => variables,
        Err(why) => return Some(why),
    };
    let Around::Lines { before, after } = around else {
        return None;
    };
    let foreign = |name: &str| {
        let mut lines = before.lines().chain(after.lines());
        lines.any(|line| {
            let line = line.trim_start();
            let line = line.strip_prefix("export ").unwrap_or(line);
            line.split_once('=').is_some_and(|(n, _)| n.trim() == name)
        })
    };
    let taken = variables.iter().find(|(name, _)| foreign(name))?;
    Some(format!(
        "the file sets {} outside of the lines that are Lockstep's; take it out there",
        taken.0
    ))
}

/// `ai_assistant` as `AI_ASSISTANT`, where that can be undone.
fn upper(text: &str) -> Option<String> {
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    text.split('_')
        .all(is_word)
        .then(|| text.to_ascii_uppercase())
}

/// `FeatureFlag` as `FEATURE_FLAG`: every capital begins a word.
fn upper_kind(kind: &str) -> Option<String> {
    let mut out = String::with_capacity(kind.len() + 4);
    for (n, c) in kind.chars().enumerate() {
        if n > 0 && c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    (kind_of(&out).as_deref() == Some(kind)).then_some(out)
}

fn kind_of(upper: &str) -> Option<String> {
    let words = upper.split('_').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().filter(char::is_ascii_uppercase)?;
        Some(format!("{first}{}", letters.as_str().to_ascii_lowercase()))
    });
    words.collect()
}

/// A value as it is written, or what there is in it that not every reader would read alike.
fn write_value(value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::Bool(b) => Ok(b.to_string()),
        Value::Number(n) => Ok(n.to_string()),
        Value::String(text) => quote(text),
        Value::Array(_) | Value::Object(_) => {
            Err("is a list or an object; env holds plain values only".to_owned())
        }
    }
}

fn quote(text: &str) -> Result<String, String> {
    if let Some(c) = text.chars().find(|c| !is_safe(*c)) {
        return Err(format!(
            "has {c:?} in it, which readers of env take for different things"
        ));
    }
    match (text.contains('\''), text.contains('"')) {
        (false, _) => Ok(format!("'{text}'")),
        (true, false) => Ok(format!("\"{text}\"")),
        (true, true) => Err("has both sorts of quotes in it, which env cannot hold".to_owned()),
    }
}

fn is_safe(c: char) -> bool {
    !c.is_control() && !matches!(c, '\\' | '$' | '`' | '\u{2028}' | '\u{2029}')
}

fn read_value(written: &str) -> Option<Value> {
    for quote in ['\'', '"'] {
        if let Some(inner) = written.strip_prefix(quote) {
            let inner = inner.strip_suffix(quote)?;
            let whole = !inner.contains(quote) && inner.chars().all(is_safe);
            return whole.then(|| Value::from(inner));
        }
    }
    match written {
        "" => Some(Value::Null),
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        number => serde_json::from_str::<Number>(number)
            .ok()
            .map(Value::Number),
    }
}

pub(super) fn write(content: &Content) -> Result<Vec<u8>, ConnectorError> {
    let (before, after) = match &content.around {
        Around::Lines { before, after } => (before.as_str(), after.as_str()),
        Around::Nothing | Around::Flags { .. } | Around::Files(_) => ("", ""),
    };
    let mut out = before.to_owned();
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    out.push_str(BEGIN);
    if let Some(revision) = &content.revision {
        out.push(' ');
        out.push_str(revision.as_str());
    }
    out.push('\n');
    for item in content.sorted() {
        let variables = variables(item).map_err(|why| ConnectorError::Terminal {
            message: format!("{}: {why}", item.id),
        })?;
        for (name, value) in variables {
            out.push_str(&format!("{name}={value}\n"));
        }
    }
    out.push_str(END);
    out.push('\n');
    out.push_str(after);
    Ok(out.into_bytes())
}

/// Where a line stands.
enum Part {
    Before,
    Ours,
    After,
}

pub(super) fn read(bytes: &[u8]) -> Result<Content, ConnectorError> {
    let (mut before, mut after) = (String::new(), String::new());
    let mut revision = None;
    let mut found = Found::default();
    let mut part = Part::Before;
    for (n, line) in text(bytes, "env")?.split_inclusive('\n').enumerate() {
        let content = line.trim_end_matches(['\n', '\r']);
        let wrong = |what: &str| unreadable(&format!("line {} of the file {what}", n + 1));
        let begins = content.strip_prefix(BEGIN);
        match (&part, begins) {
            (Part::Before, Some(rest)) => {
                revision = match rest.trim() {
                    "" => None,
                    rest => Some(
                        rest.parse::<Revision>()
                            .map_err(|e| wrong(&e.to_string()))?,
                    ),
                };
                part = Part::Ours;
            }
            (Part::Before, None) => before.push_str(line),
            (Part::Ours | Part::After, Some(_)) => {
                return Err(wrong("begins the lines that are Lockstep's again"));
            }
            (Part::Ours, None) if content == END => part = Part::After,
            (Part::Ours, None) => found.line(content).map_err(|what| wrong(&what))?,
            (Part::After, None) => after.push_str(line),
        }
    }
    if matches!(part, Part::Ours) {
        return Err(unreadable(&format!(
            "the file has {BEGIN:?} and no {END:?}"
        )));
    }
    let mut gathered = Gathered::default();
    for ((kind, name), spec) in found.specs {
        gathered.add(&kind, &name, &spec)?;
    }
    Ok(Content {
        revision,
        state: gathered.state(),
        around: Around::Lines { before, after },
    })
}

/// The specs by kind and name, as they grow line by line.
#[derive(Default)]
struct Found {
    specs: BTreeMap<(String, String), Value>,
}

impl Found {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if line.is_empty() {
            return Ok(());
        }
        let form = "is no variable such as FEATURE_FLAG__AI_ASSISTANT__ENABLED=true; what is not Lockstep's stands outside of its lines";
        let (variable, written) = line.split_once('=').ok_or(form)?;
        let parts: Vec<&str> = variable.split(JOINT).collect();
        let (kind, name, field) = match parts.as_slice() {
            [kind, name] => (*kind, *name, None),
            [kind, name, field] => (*kind, *name, Some(*field)),
            _ => return Err(form.to_owned()),
        };
        let lower = |part: &str| {
            let lower = part.to_ascii_lowercase();
            (upper(&lower).as_deref() == Some(part)).then_some(lower)
        };
        let id = (kind_of(kind).ok_or(form)?, lower(name).ok_or(form)?);
        let value = read_value(written).ok_or_else(|| {
            format!("gives {variable} no value that can be read; put texts in single quotes")
        })?;
        let twice = || format!("sets {variable} a second time");
        let Some(field) = field else {
            return match self.specs.insert(id, value) {
                None => Ok(()),
                Some(_) => Err(twice()),
            };
        };
        let field = lower(field).ok_or(form)?;
        let spec = self.specs.entry(id).or_insert_with(|| Map::new().into());
        match spec.as_object_mut().map(|spec| spec.insert(field, value)) {
            Some(None) => Ok(()),
            Some(Some(_)) | None => Err(twice()),
        }
    }
}
