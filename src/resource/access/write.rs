//! Writing a grant or a block back into an access document: an entry of a list, as plain text where that says all.

use serde_json::{Map, Value};

use super::{LISTS, List, naming};
use crate::document::edit::PathSegment;
use crate::document::tree::{Node, NodeValue};
use crate::ids::ResourceRef;
use crate::resource::SystemSet;
use crate::resource::declare::systems_for;
use crate::resource::form::{Context, NotWritten, Rewrite, Source};
use crate::resource::rewrite::{Pen, below, names};

pub(super) fn rewrite(
    source: Source<'_>,
    context: Context<'_>,
    rewrite: &Rewrite<'_>,
) -> Result<String, NotWritten> {
    let mut pen = Pen::new(source.path, source.text);
    let node = pen.tree()?;
    let (key, list) = list_of(rewrite.id).ok_or(NotWritten::ByHand)?;
    let at = below(&[], key);
    let entry = find(&node, key, list, rewrite.id);
    match (entry, rewrite.wanted) {
        (None, None) => return Err(NotWritten::ByHand),
        (Some((index, _)), None) => pen.remove(&item(&at, index))?,
        (Some((index, entry)), Some((spec, systems))) => {
            let (before, were) = rewrite.declared.ok_or(NotWritten::ByHand)?;
            let named = (were != systems).then_some(systems);
            let at = item(&at, index);
            if matches!(entry.value, NodeValue::Object(_)) {
                pen.turn(&at, &told(before), &told(spec))?;
                if let Some(systems) = named {
                    pen.set(&below(&at, "systems"), names(systems))?;
                }
            } else {
                let (text, _) = naming(entry, list).ok_or(NotWritten::ByHand)?;
                pen.set(&at, written(list, text, spec, named))?;
            }
        }
        (None, Some((spec, systems))) => {
            let name = spec.get(list.key()).and_then(Value::as_str);
            let name = name.ok_or(NotWritten::ByHand)?;
            let all = node.get("systems").is_none()
                && *systems == systems_for(context.config, list.kind());
            let named = (!all).then_some(systems);
            pen.add(&at, written(list, name, spec, named))?;
        }
    }
    Ok(pen.finish())
}

/// The list that a resource is declared in.
fn list_of(id: &ResourceRef) -> Option<(&'static str, List)> {
    let found = LISTS.iter().find(|(_, list)| match list {
        List::Users { role } => {
            id.kind() == list.kind() && id.name().split_once('/').is_some_and(|(r, _)| r == *role)
        }
        List::Addresses => id.kind() == list.kind(),
    });
    found.copied()
}

/// An entry and its position.
fn find<'n>(node: &'n Node, key: &str, list: List, id: &ResourceRef) -> Option<(usize, &'n Node)> {
    let NodeValue::Array(entries) = &node.get(key)?.value.value else {
        return None;
    };
    let is_it = |entry: &Node| {
        let named = naming(entry, list).and_then(|(text, _)| list.id(text));
        named.as_ref() == Some(id)
    };
    (0..).zip(entries).find(|(_, entry)| is_it(entry))
}

fn item(list: &[PathSegment], index: usize) -> Vec<PathSegment> {
    let mut at = list.to_vec();
    at.push(PathSegment::Index(index));
    at
}

/// What an entry says besides the name it goes by.
fn told(spec: &Value) -> Value {
    let fields = ["from", "until", "reason"].into_iter();
    let told = fields.filter_map(|key| Some((key.to_owned(), spec.get(key)?.clone())));
    Value::Object(told.collect())
}

/// An entry as it is written anew.
fn written(list: List, name: &str, spec: &Value, systems: Option<&SystemSet>) -> Value {
    let mut fields = Map::new();
    if let Value::Object(told) = told(spec) {
        fields.extend(told);
    }
    fields.extend(systems.map(|systems| ("systems".to_owned(), names(systems))));
    if fields.is_empty() {
        return Value::from(name);
    }
    fields.insert(list.key().to_owned(), Value::from(name));
    Value::Object(fields)
}
