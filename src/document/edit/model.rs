//! Edits on plain values: where a pointer leads, and what a document must be afterwards.

use serde_json::Value;

use super::{EditError, PathSegment, Step};

/// A step with nothing left to look up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Key(String),
    Index(usize),
}

/// Where a pointer leads in one document: never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// The way to the object or list that holds the place.
    pub parents: Vec<Part>,
    pub last: Part,
    /// Whether there is a value now. If not, `last` can be added.
    pub exists: bool,
}

impl Target {
    /// An entry of the list that this is.
    pub(super) fn child(&self, at: usize) -> Self {
        let mut parents = self.parents.clone();
        parents.push(self.last.clone());
        Self {
            parents,
            last: Part::Index(at),
            exists: false,
        }
    }

    /// The list that this is.
    pub(super) fn list<'v>(&self, root: &'v Value) -> Result<&'v [Value], EditError> {
        let value = find(root, self.parents.iter().chain([&self.last]));
        match value {
            Some(Value::Array(entries)) => Ok(entries),
            other => Err(EditError::WrongType {
                place: self.name(),
                found: sort(other.unwrap_or(&Value::Null)),
                expected: "a list",
            }),
        }
    }

    pub(super) fn not_found(&self, root: &Value) -> EditError {
        let parent = find(root, self.parents.iter());
        let near = match (&self.last, parent) {
            (Part::Key(key), Some(Value::Object(fields))) => near(key, fields.keys()),
            _ => None,
        };
        EditError::NotFound {
            place: self.name(),
            near,
        }
    }

    fn name(&self) -> String {
        name(self.parents.iter().chain([&self.last]))
    }
}

/// A way as people read it: `ai_assistant.rollout`, `[2].name`.
fn name<'p>(parts: impl Iterator<Item = &'p Part>) -> String {
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Key(key) if out.is_empty() => out.push_str(key),
            Part::Key(key) => {
                out.push('.');
                out.push_str(key);
            }
            Part::Index(at) => out.push_str(&format!("[{at}]")),
        }
    }
    out
}

fn find<'v, 'p>(root: &'v Value, parts: impl Iterator<Item = &'p Part>) -> Option<&'v Value> {
    let mut value = root;
    for part in parts {
        value = match part {
            Part::Key(key) => value.get(key)?,
            Part::Index(at) => value.get(at)?,
        };
    }
    Some(value)
}

fn find_mut<'v>(root: &'v mut Value, parts: &[Part]) -> Option<&'v mut Value> {
    let mut value = root;
    for part in parts {
        value = match part {
            Part::Key(key) => value.get_mut(key)?,
            Part::Index(at) => value.get_mut(at)?,
        };
    }
    Some(value)
}

/// Looks a pointer up. Everything but the last step must be there.
pub(super) fn resolve(root: &Value, pointer: &[PathSegment]) -> Result<Target, EditError> {
    let mut parts: Vec<Part> = Vec::new();
    let mut value = Some(root);
    for segment in pointer {
        let Some(here) = value else {
            // The step before led nowhere: it was the last that may be missing.
            return Err(missing(root, &parts));
        };
        let Some(part) = step(here, segment, &parts)? else {
            continue;
        };
        value = match &part {
            Part::Key(key) => here.get(key),
            Part::Index(at) => here.get(at),
        };
        parts.push(part);
    }
    let exists = value.is_some();
    let Some(last) = parts.pop() else {
        return Err(EditError::WrongType {
            place: "the document".to_owned(),
            found: sort(root),
            expected: "a place inside it",
        });
    };
    Ok(Target {
        parents: parts,
        last,
        exists,
    })
}

fn missing(root: &Value, parts: &[Part]) -> EditError {
    match parts.split_last() {
        Some((last, parents)) => Target {
            parents: parents.to_vec(),
            last: last.clone(),
            exists: false,
        }
        .not_found(root),
        None => EditError::NotFound {
            place: "the document".to_owned(),
            near: None,
        },
    }
}

/// One step from `here`. `None` where a selector means `here` itself.
fn step(here: &Value, segment: &PathSegment, way: &[Part]) -> Result<Option<Part>, EditError> {
    let wrong = |expected| EditError::WrongType {
        place: match name(way.iter()) {
            place if place.is_empty() => "the document".to_owned(),
            place => place,
        },
        found: sort(here),
        expected,
    };
    match (here, segment) {
        (Value::Object(_), PathSegment::Key(key)) => Ok(Some(Part::Key(key.clone()))),
        (Value::Array(entries), PathSegment::Key(key)) => {
            let at = match key.as_str() {
                "-" => entries.len(),
                digits => digits.parse().map_err(|_| wrong("an object"))?,
            };
            position(entries, at, way).map(Some)
        }
        (Value::Array(entries), PathSegment::Index(at)) => position(entries, *at, way).map(Some),
        (Value::Array(entries), PathSegment::Select { field, value }) => {
            let place = || format!("{}[{field}={value}]", name(way.iter()));
            let mut fits = (0..).zip(entries).filter(|(_, e)| is(e, field, value));
            match (fits.next(), fits.next()) {
                (Some((at, _)), None) => Ok(Some(Part::Index(at))),
                (Some(_), Some(_)) => Err(EditError::Ambiguous { place: place() }),
                (None, _) => {
                    let names = entries.iter().filter_map(|e| e.get(field)?.as_str());
                    Err(EditError::NotFound {
                        place: place(),
                        near: near(value, names),
                    })
                }
            }
        }
        (Value::Object(fields), PathSegment::Select { field, value }) => {
            if is(here, field, value) {
                return Ok(None);
            }
            Err(EditError::NotFound {
                place: format!("{}[{field}={value}]", name(way.iter())),
                near: near(value, fields.get(field).and_then(Value::as_str)),
            })
        }
        (_, PathSegment::Key(_)) => Err(wrong("an object")),
        (_, PathSegment::Index(_) | PathSegment::Select { .. }) => Err(wrong("a list")),
    }
}

/// A position that is there, or the one after the last.
fn position(entries: &[Value], at: usize, way: &[Part]) -> Result<Part, EditError> {
    if at <= entries.len() {
        Ok(Part::Index(at))
    } else {
        Err(EditError::NotFound {
            place: format!("{}[{at}]", name(way.iter())),
            near: None,
        })
    }
}

fn is(entry: &Value, field: &str, value: &str) -> bool {
    match entry.get(field) {
        Some(Value::String(text)) => text == value,
        Some(Value::Number(number)) => number.to_string() == value,
        _ => false,
    }
}

/// The nearest of some names, if one is near enough to be meant.
pub(super) fn near(name: &str, known: impl IntoIterator<Item = impl AsRef<str>>) -> Option<String> {
    let known: Vec<_> = known.into_iter().collect();
    let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    similar::get_close_matches(name, &known, 1, 0.6)
        .first()
        .map(|near| (*near).to_owned())
}

/// Makes the change on the value.
pub(super) fn apply(root: &mut Value, target: &Target, step: &Step) {
    let Some(parent) = find_mut(root, &target.parents) else {
        return;
    };
    match (parent, &target.last, step) {
        (Value::Object(fields), Part::Key(key), Step::Put(value)) => {
            fields.insert(key.clone(), value.clone());
        }
        (Value::Object(fields), Part::Key(key), Step::Take) => {
            fields.remove(key);
        }
        (Value::Array(entries), Part::Index(at), Step::Put(value)) => match entries.get_mut(*at) {
            Some(entry) => *entry = value.clone(),
            None => entries.push(value.clone()),
        },
        (Value::Array(entries), Part::Index(at), Step::Take) if *at < entries.len() => {
            entries.remove(*at);
        }
        // A target is resolved against this very document, so part and parent always fit.
        _ => {}
    }
}

/// Whether a list's entry is the one that is meant: equal, or an object that carries it as its `id` or `cidr`. Addresses are
/// compared as networks, so that `10.0.0.5` and `10.0.0.5/32` are one.
pub(super) fn same_entry(entry: &Value, meant: &Value) -> bool {
    if entry == meant {
        return true;
    }
    let (Some(a), Some(b)) = (label(entry), label(meant)) else {
        return false;
    };
    a == b || network(a).is_some_and(|n| Some(n) == network(b))
}

fn label(entry: &Value) -> Option<&str> {
    let field = |name| entry.get(name).and_then(Value::as_str);
    entry
        .as_str()
        .or_else(|| field("id"))
        .or_else(|| field("cidr"))
}

fn network(text: &str) -> Option<ipnet::IpNet> {
    let address = || text.parse::<std::net::IpAddr>().ok().map(Into::into);
    text.parse().ok().or_else(address)
}

pub(super) fn no_entry(target: &Target, entries: &[Value], meant: &Value) -> EditError {
    let shown = meant
        .as_str()
        .map_or_else(|| meant.to_string(), str::to_owned);
    EditError::NotFound {
        near: near(&shown, entries.iter().filter_map(label)),
        place: format!("{shown} in {}", target.name()),
    }
}

/// What sort of value this is, for messages.
fn sort(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
