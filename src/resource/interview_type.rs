//! Interview types: `config/interview-types.json`, a list of objects, or one object.
//!
//! That a retired type must name its successor is a matter of policy; that a successor it names exists is checked here,
//! where the document is a list and so says which types there are.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use serde_json::{Map, Value};

use super::declare::systems_for;
use super::declare::{Targets, canonical, duplicate, kind_name, places, resource};
use super::form::{Context, Declared, Form, NotWritten, Reading, Rewrite, Source};
use super::rewrite::{Pen, below, names, with};
use super::words::{Field, Show, differences, line, say, whole};
use super::{Direction, Kind, Language};
use crate::document::edit::PathSegment;
use crate::document::faults::Faults;
use crate::document::fields::{self, Fields};
use crate::document::tree::{Node, NodeValue};
use crate::document::{data, suggest};
use crate::finding::Span;
use crate::ids::{KindName, ResourceRef};

#[cfg(test)]
mod tests;

const KIND: &str = "InterviewType";

const TYPE: &[&str] = &[
    "id",
    "name",
    "classification",
    "description",
    "duration_minutes",
    "systems",
    "retired",
    "successor",
];

/// The longest an interview may be said to take: a day.
const LONGEST_MINUTES: i64 = 24 * 60;

/// How many successors are followed: real chains have a handful, and the cost is this times the list's length.
const LONGEST_CHAIN: usize = 100;

/// The kind `InterviewType`.
#[derive(Debug, Clone, Copy)]
pub struct InterviewType;

/// Documents of interview types.
#[derive(Debug, Clone, Copy)]
pub struct InterviewTypeForm;

fn is_retired(spec: &Value) -> bool {
    spec.get("retired").and_then(Value::as_bool) == Some(true)
}

const FIELDS: &[Field] = &[
    Field {
        key: "name",
        english: "name",
        japanese: "名称",
        show: Show::Values,
    },
    Field {
        key: "classification",
        english: "classification",
        japanese: "分類",
        show: Show::Values,
    },
    Field {
        key: "duration_minutes",
        english: "minutes",
        japanese: "時間（分）",
        show: Show::Values,
    },
    Field {
        key: "successor",
        english: "successor",
        japanese: "後継",
        show: Show::Values,
    },
    Field {
        key: "description",
        english: "description",
        japanese: "説明",
        show: Show::Changed,
    },
];

impl Kind for InterviewType {
    fn name(&self) -> &str {
        KIND
    }

    fn fields(&self) -> Option<&'static [&'static str]> {
        Some(&[
            "name",
            "classification",
            "duration_minutes",
            "successor",
            "description",
            "retired",
        ])
    }

    fn required(&self) -> &'static [&'static str] {
        &["name", "classification"]
    }

    /// Retiring takes away, bringing back gives; a type that comes or goes altogether moves nobody's rights.
    fn direction(&self, before: Option<&Value>, after: Option<&Value>) -> Direction {
        let (Some(before), Some(after)) = (before, after) else {
            return Direction::Neutral;
        };
        match (is_retired(before), is_retired(after)) {
            (false, true) => Direction::Narrowing,
            (true, false) => Direction::Widening,
            (true, true) | (false, false) => Direction::Neutral,
        }
    }

    fn describe(
        &self,
        name: &str,
        before: Option<&Value>,
        after: Option<&Value>,
        language: Language,
    ) -> String {
        let title = |spec: &Value| {
            let title = spec.get("name").and_then(Value::as_str).unwrap_or_default();
            match is_retired(spec) {
                true => format!("{title}{}", say(language, " (retired)", "（廃止）")),
                false => title.to_owned(),
            }
        };
        let parts = match (before, after) {
            (Some(before), Some(after)) => {
                let verb = match (is_retired(before), is_retired(after)) {
                    (false, true) => Some(say(language, "retired", "廃止")),
                    (true, false) => Some(say(language, "brought back", "復活")),
                    (true, true) | (false, false) => None,
                };
                verb.map(str::to_owned)
                    .into_iter()
                    .chain(differences(FIELDS, before, after, language))
                    .collect()
            }
            (None, Some(after)) => vec![whole(language, true, &title(after))],
            (Some(before), None) => vec![whole(language, false, &title(before))],
            (None, None) => Vec::new(),
        };
        line(name, &parts, language)
    }
}

impl Form for InterviewTypeForm {
    fn kinds(&self) -> Vec<KindName> {
        kind_name(KIND).into_iter().collect()
    }

    fn read(&self, source: Source<'_>, context: Context<'_>) -> Reading {
        let mut faults = Faults::new(source.path, source.text);
        let mut targets = Targets::new(context.config, KIND);
        let mut resources: Vec<Declared> = Vec::new();
        if let Some(node) = data::read(&mut faults) {
            let mut seen = HashSet::new();
            for entry in entries(&mut faults, &node) {
                let Some((declared, at)) = read_type(&mut faults, &mut targets, entry) else {
                    continue;
                };
                if seen.insert(declared.id.clone()) {
                    resources.push(declared);
                } else {
                    duplicate(&mut faults, &declared.id, &at);
                }
            }
            if let NodeValue::Array(entries) = &node.value {
                successors(&mut faults, entries);
            }
        }
        Reading {
            resources,
            findings: faults.finish(),
        }
    }

    fn locate(&self, source: Source<'_>, _: Context<'_>, id: &ResourceRef) -> Option<Span> {
        places(source, std::slice::from_ref(id), declared).remove(id)
    }

    fn locate_all(
        &self,
        source: Source<'_>,
        _: Context<'_>,
        ids: &[ResourceRef],
    ) -> BTreeMap<ResourceRef, Span> {
        places(source, ids, declared)
    }

    fn rewrite(
        &self,
        source: Source<'_>,
        context: Context<'_>,
        rewrite: &Rewrite<'_>,
    ) -> Result<String, NotWritten> {
        let mut pen = Pen::new(source.path, source.text);
        let node = pen.tree()?;
        let id = rewrite.id.name();
        let is_it = |entry: &Node| text(entry, "id").is_some_and(|(text, _)| text == id);
        let (at, end) = match &node.value {
            NodeValue::Array(items) => (
                items
                    .iter()
                    .position(is_it)
                    .map(|at| vec![PathSegment::Index(at)]),
                Some([PathSegment::Index(items.len())]),
            ),
            NodeValue::Object(_) => (is_it(&node).then(Vec::new), None),
            NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::String(_) => {
                (None, None)
            }
        };
        match (at, end, rewrite.wanted) {
            // A document that is one type would have to go with it.
            (Some(at), _, None) if at.is_empty() => return Err(NotWritten::ByHand),
            (Some(at), _, None) => pen.remove(&at)?,
            (Some(at), _, Some((spec, systems))) => {
                let (before, were) = rewrite.declared.ok_or(NotWritten::ByHand)?;
                pen.turn(&at, before, spec)?;
                if were != systems {
                    pen.set(&below(&at, "systems"), names(systems))?;
                }
            }
            (None, Some(end), Some((spec, systems))) => {
                let all = *systems == systems_for(context.config, KIND);
                let entry = if all {
                    spec.clone()
                } else {
                    with(spec.clone(), "systems", names(systems))?
                };
                pen.set(&end, entry)?;
            }
            (None, None, Some(_)) | (None, _, None) => return Err(NotWritten::ByHand),
        }
        Ok(pen.finish())
    }
}

/// The items of a list, or the one object that the document is.
fn entries<'n>(faults: &mut Faults<'_>, node: &'n Node) -> &'n [Node] {
    match &node.value {
        NodeValue::Array(items) => items,
        NodeValue::Object(_) => std::slice::from_ref(node),
        NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::String(_) => {
            let what = "a document of interview types";
            fields::wrong_type(faults, node, what, "a list of objects, or one object");
            &[]
        }
    }
}

fn read_type(
    faults: &mut Faults<'_>,
    targets: &mut Targets<'_>,
    entry: &Node,
) -> Option<(Declared, Range<usize>)> {
    let what = match entry.get("id").map(|m| &m.value.value) {
        Some(NodeValue::String(id)) => format!("the interview type `{}`", fields::shorten(id)),
        Some(_) | None => "an interview type".to_owned(),
    };
    // One object as the whole document may name its schema.
    let known: Vec<&'static str> = TYPE.iter().copied().chain(["$schema"]).collect();
    let fields = Fields::read(faults, entry, &what, &known)?;
    let mut spec = Map::new();
    let named = fields.get("id").map(|m| m.value.span.clone());
    let mut required = |faults: &mut Faults<'_>, key: &str, example: &str| {
        fields.require(faults, key, &what, named.clone(), example)?;
        let placed = fields.filled(faults, key)?;
        spec.insert(key.to_owned(), Value::from(placed.text));
        Some(placed)
    };
    let id = required(faults, "id", "\"id\": \"mental_health\"");
    let name = required(faults, "name", "\"name\": \"メンタルヘルス面談\"");
    let classification = required(
        faults,
        "classification",
        "\"classification\": \"wellbeing\"",
    );
    for key in ["description", "successor"] {
        if let Some(text) = fields.text(faults, key) {
            spec.insert(key.to_owned(), Value::from(text.text));
        }
    }
    if let Some((minutes, at)) = fields.whole(faults, "duration_minutes") {
        if (1..=LONGEST_MINUTES).contains(&minutes) {
            spec.insert("duration_minutes".to_owned(), Value::from(minutes));
        } else {
            faults.error(
                "interview/duration",
                at,
                format!("an interview can't take {minutes} minutes"),
                Some(format!("give a whole number from 1 to {LONGEST_MINUTES}")),
            );
        }
    }
    // What is not retired does not say so: left out and false are the same.
    if fields.boolean(faults, "retired") == Some(true) {
        spec.insert("retired".to_owned(), Value::from(true));
    }
    let id = id?;
    let resource = resource(faults, KIND, id.text, &id.at);
    let systems = targets.of(faults, &fields, "systems", &id.at);
    name?;
    classification?;
    let declared = Declared {
        id: resource?,
        spec: canonical(faults, &Value::Object(spec), &id.at)?,
        systems,
    };
    Some((declared, id.at))
}

/// Successors must be other types of the list, and must lead somewhere.
fn successors(faults: &mut Faults<'_>, entries: &[Node]) {
    let mut next: BTreeMap<&str, &str> = BTreeMap::new();
    let mut ids: Vec<&str> = Vec::new();
    let mut named = Vec::new();
    for entry in entries {
        let Some(id) = text(entry, "id") else {
            continue;
        };
        ids.push(id.0);
        if let Some(successor) = text(entry, "successor") {
            next.entry(id.0).or_insert(successor.0);
            named.push((id.0, successor));
        }
    }
    let known: HashSet<&str> = ids.iter().copied().collect();
    for (id, (successor, at)) in named {
        if faults.is_full() {
            break;
        }
        if !known.contains(successor) {
            // The nearest of a very long list would take longer to find than it helps.
            let near = ids.iter().copied().filter(|i| *i != id).take(2_000);
            faults.error(
                "interview/unknown-successor",
                at,
                format!(
                    "there is no interview type `{}`",
                    fields::shorten(successor)
                ),
                suggest::hint(successor, near),
            );
        } else if leads_back(&next, id) {
            faults.error(
                "interview/successor-cycle",
                at,
                format!(
                    "the successors of `{}` lead back to it",
                    fields::shorten(id)
                ),
                Some("name a type that stays".to_owned()),
            );
        }
    }
}

/// Whether following successors comes back to where it began.
fn leads_back(next: &BTreeMap<&str, &str>, start: &str) -> bool {
    let mut at = start;
    for _ in 0..LONGEST_CHAIN {
        match next.get(at) {
            None => return false,
            Some(successor) if *successor == start => return true,
            Some(successor) => at = successor,
        }
    }
    false
}

/// A member that is text, with its place.
fn text<'n>(entry: &'n Node, key: &str) -> Option<(&'n str, Range<usize>)> {
    let node = &entry.get(key)?.value;
    match &node.value {
        NodeValue::String(text) => Some((text, node.span.clone())),
        NodeValue::Null
        | NodeValue::Bool(_)
        | NodeValue::Number(_)
        | NodeValue::Array(_)
        | NodeValue::Object(_) => None,
    }
}

/// Every type with the place of its id.
fn declared(node: &Node) -> Vec<(ResourceRef, Range<usize>)> {
    let entries = match &node.value {
        NodeValue::Array(items) => items.as_slice(),
        NodeValue::Object(_) => std::slice::from_ref(node),
        NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::String(_) => &[],
    };
    entries
        .iter()
        .filter_map(|entry| {
            let (id, at) = text(entry, "id")?;
            Some((ResourceRef::new(KIND, id).ok()?, at))
        })
        .collect()
}
