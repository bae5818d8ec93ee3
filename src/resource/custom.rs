//! Custom kinds: a JSON Schema in `kinds/<Kind>.schema.json` is all that a new kind needs; `documents:` in `lockstep.yaml` says
//! which documents declare it.
//!
//! A schema comes with a proposal, so it is data that must not run away: it refers to nothing outside itself, does not
//! refer to itself in circles, and its size with all references written out is bounded. Then validating a document costs at
//! most its size times that bound, and patterns are matched in linear time.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use super::declare::{Targets, canonical, duplicate, places, resource};
use super::form::{Context, Declared, Form, NotWritten, Reading, Rewrite, Source};
use super::words::{line, say, shown};
use super::{Direction, Kind, Language, words};
use crate::document::data;
use crate::document::faults::Faults;
use crate::document::fields::{self, Fields, Placed};
use crate::document::tree::{Node, NodeValue};
use crate::finding::{Finding, Span};
use crate::ids::{DocPath, KindName, ResourceRef};

mod check;
mod direction;
mod pointer;
mod write;

#[cfg(test)]
mod tests;

/// A kind given by a JSON Schema. Changes to it are neutral where the schema does not say which way is more.
pub struct CustomKind {
    name: KindName,
    rules: direction::Rules,
    validator: jsonschema::Validator,
}

impl fmt::Debug for CustomKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomKind")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl CustomKind {
    pub fn kind_name(&self) -> &KindName {
        &self.name
    }
}

/// The kind that `kinds/<Kind>.schema.json` gives, by its path; `None` for other paths.
pub fn kind_of_schema(path: &DocPath) -> Option<&str> {
    let name = path.as_str().strip_prefix("kinds/")?;
    name.strip_suffix(".schema.json")
        .filter(|name| !name.contains('/'))
}

/// Reads a schema. The kind is there only where nothing is wrong with it.
pub fn read_schema(path: &DocPath, text: &str) -> (Option<CustomKind>, Vec<Finding>) {
    let mut faults = Faults::new(path, text);
    let kind = check::schema(&mut faults);
    (kind, faults.finish())
}

impl Kind for CustomKind {
    fn name(&self) -> &str {
        self.name.as_str()
    }

    fn direction(&self, before: Option<&Value>, after: Option<&Value>) -> Direction {
        self.rules.direction(before, after)
    }

    fn describe(
        &self,
        name: &str,
        before: Option<&Value>,
        after: Option<&Value>,
        language: Language,
    ) -> String {
        let parts = match (before, after) {
            (Some(before), Some(after)) => changed(before, after, language),
            (None, after) => after
                .map(|_| words::whole(language, true, ""))
                .into_iter()
                .collect(),
            (Some(_), None) => vec![words::whole(language, false, "")],
        };
        line(name, &parts, language)
    }
}

/// The members that differ, a few of them with their values.
fn changed(before: &Value, after: &Value, language: Language) -> Vec<String> {
    const TOLD: usize = 4;
    let empty = serde_json::Map::new();
    let (b, a) = (
        before.as_object().unwrap_or(&empty),
        after.as_object().unwrap_or(&empty),
    );
    let mut keys: Vec<&String> = b.keys().chain(a.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.retain(|key| b.get(*key) != a.get(*key));
    let mut parts: Vec<String> = keys
        .iter()
        .take(TOLD)
        .map(|key| {
            let key_shown = shown(Some(&Value::from(key.as_str())), language);
            let scalar = |v: Option<&Value>| !v.is_some_and(|v| v.is_object() || v.is_array());
            if scalar(b.get(*key)) && scalar(a.get(*key)) {
                let from = shown(b.get(*key), language);
                let to = shown(a.get(*key), language);
                return format!("{key_shown} {from} → {to}");
            }
            match language {
                Language::English => format!("{key_shown} changed"),
                Language::Japanese => format!("{key_shown} を変更"),
            }
        })
        .collect();
    if keys.len() > TOLD {
        let more = keys.len() - TOLD;
        parts.push(match language {
            Language::English => format!("{more} more"),
            Language::Japanese => format!("ほか {more} 件"),
        });
    }
    if parts.is_empty() && before != after {
        parts.push(say(language, "changed", "変更").to_owned());
    }
    parts
}

/// Documents of a custom kind: a list of objects with `name` or `id`, or an object by name. Each may say its `systems`, which the
/// schema need not know.
#[derive(Debug, Clone)]
pub struct CustomForm {
    pub kind: Arc<CustomKind>,
}

impl Form for CustomForm {
    fn kinds(&self) -> Vec<KindName> {
        vec![self.kind.name.clone()]
    }

    fn read(&self, source: Source<'_>, context: Context<'_>) -> Reading {
        let mut faults = Faults::new(source.path, source.text);
        let mut resources = Vec::new();
        if let Some(node) = data::read(&mut faults) {
            let mut targets = Targets::new(context.config, self.kind.name.as_str());
            let mut seen = HashSet::new();
            for entry in entries(&mut faults, &node) {
                let Some(declared) = self.entry(&mut faults, &mut targets, &entry) else {
                    continue;
                };
                if seen.insert(declared.id.clone()) {
                    resources.push(declared);
                } else {
                    duplicate(&mut faults, &declared.id, &entry.at);
                }
            }
        }
        Reading {
            resources,
            findings: faults.finish(),
        }
    }

    fn locate(&self, source: Source<'_>, context: Context<'_>, id: &ResourceRef) -> Option<Span> {
        self.locate_all(source, context, std::slice::from_ref(id))
            .remove(id)
    }

    fn locate_all(
        &self,
        source: Source<'_>,
        _: Context<'_>,
        ids: &[ResourceRef],
    ) -> BTreeMap<ResourceRef, Span> {
        places(source, ids, |node| {
            // What is wrong has been said where the document was read.
            let mut faults = Faults::new(source.path, source.text);
            let kind = self.kind.name.as_str();
            entries(&mut faults, node)
                .into_iter()
                .filter_map(|e| Some((ResourceRef::new(kind, e.name).ok()?, e.at)))
                .collect()
        })
    }

    fn rewrite(
        &self,
        source: Source<'_>,
        context: Context<'_>,
        rewrite: &Rewrite<'_>,
    ) -> Result<String, NotWritten> {
        write::rewrite(source, context, rewrite)
    }
}

/// One declared thing: its name, where that stands, and its value.
struct Entry<'n> {
    name: &'n str,
    at: Range<usize>,
    value: &'n Node,
}

fn entries<'n>(faults: &mut Faults<'_>, node: &'n Node) -> Vec<Entry<'n>> {
    match &node.value {
        NodeValue::Object(members) => members
            .iter()
            .filter(|m| m.key != "$schema")
            .map(|m| Entry {
                name: &m.key,
                at: m.key_span.clone(),
                value: &m.value,
            })
            .collect(),
        NodeValue::Array(items) => items
            .iter()
            .filter_map(|item| {
                let fields = Fields::open(faults, item, "each item")?;
                let by_id = fields.get("id").is_some() && fields.get("name").is_none();
                let key = if by_id { "id" } else { "name" };
                let example = "\"name\": \"…\"";
                let named = fields.require(faults, key, "an item", None, example)?;
                let Placed { text, at } = fields::text(faults, named)?;
                Some(Entry {
                    name: text,
                    at,
                    value: item,
                })
            })
            .collect(),
        NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::String(_) => {
            fields::wrong_type(
                faults,
                node,
                "the document",
                "a list of objects or an object",
            );
            Vec::new()
        }
    }
}

impl CustomForm {
    fn entry(
        &self,
        faults: &mut Faults<'_>,
        targets: &mut Targets<'_>,
        entry: &Entry<'_>,
    ) -> Option<Declared> {
        let kind = self.kind.name.as_str();
        let id = resource(faults, kind, entry.name, &entry.at);
        let systems = match &entry.value.value {
            NodeValue::Object(_) => {
                let fields = Fields::open(faults, entry.value, "an entry")?;
                targets.of(faults, &fields, "systems", &entry.at)
            }
            NodeValue::Null
            | NodeValue::Bool(_)
            | NodeValue::Number(_)
            | NodeValue::String(_)
            | NodeValue::Array(_) => targets.default_systems(faults, &entry.at),
        };
        let mut value = entry.value.to_value();
        if let Some(members) = value.as_object_mut() {
            members.remove("systems");
        }
        let valid = self.validate(faults, entry, &value);
        let spec = canonical(faults, &value, &entry.at)?;
        valid.then_some(())?;
        Some(Declared {
            id: id?,
            spec,
            systems,
        })
    }

    fn validate(&self, faults: &mut Faults<'_>, entry: &Entry<'_>, value: &Value) -> bool {
        let mut valid = true;
        for error in self.kind.validator.iter_errors(value) {
            valid = false;
            if faults.is_full() {
                break;
            }
            let at = pointer::place(
                entry.value,
                &entry.at,
                error.instance_path().as_str(),
                &error,
            );
            let message = fields::shorten(&error.to_string());
            faults.error(
                "custom/schema",
                at,
                format!("{}: {message}", self.kind.name),
                None,
            );
        }
        valid
    }
}
