//! Writing a resource of a custom kind back: an object by name, or a list of objects with `name` or `id`.

use crate::document::edit::PathSegment;
use crate::document::tree::{Node, NodeValue};
use crate::resource::declare::systems_for;
use crate::resource::form::{Context, NotWritten, Rewrite, Source};
use crate::resource::rewrite::{Pen, below, names, with};

pub(super) fn rewrite(
    source: Source<'_>,
    context: Context<'_>,
    rewrite: &Rewrite<'_>,
) -> Result<String, NotWritten> {
    let mut pen = Pen::new(source.path, source.text);
    let name = rewrite.id.name();
    let (at, is_there) = place(&pen.tree()?, name)?;
    match (is_there, rewrite.wanted) {
        (false, None) => return Err(NotWritten::ByHand),
        (true, None) => pen.remove(&at)?,
        (true, Some((spec, systems))) => {
            let (before, were) = rewrite.declared.ok_or(NotWritten::ByHand)?;
            if were != systems && !(before.is_object() && spec.is_object()) {
                return Err(NotWritten::ByHand);
            }
            pen.turn(&at, before, spec)?;
            if were != systems {
                pen.set(&below(&at, "systems"), names(systems))?;
            }
        }
        (false, Some((spec, systems))) => {
            let all = *systems == systems_for(context.config, rewrite.id.kind());
            let entry = if all {
                spec.clone()
            } else {
                with(spec.clone(), "systems", names(systems))?
            };
            pen.set(&at, entry)?;
        }
    }
    Ok(pen.finish())
}

/// Where a resource stands in the document, or where a new one goes; and whether it is there.
fn place(node: &Node, name: &str) -> Result<(Vec<PathSegment>, bool), NotWritten> {
    match &node.value {
        NodeValue::Object(_) => Ok((below(&[], name), node.get(name).is_some())),
        NodeValue::Array(items) => {
            let at = items.iter().position(|item| named(item) == Some(name));
            let index = at.unwrap_or(items.len());
            Ok((vec![PathSegment::Index(index)], at.is_some()))
        }
        NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::String(_) => {
            Err(NotWritten::ByHand)
        }
    }
}

/// What names an item of a list.
fn named(item: &Node) -> Option<&str> {
    let member = item.get("name").or_else(|| item.get("id"))?;
    match &member.value.value {
        NodeValue::String(text) => Some(text),
        NodeValue::Null
        | NodeValue::Bool(_)
        | NodeValue::Number(_)
        | NodeValue::Array(_)
        | NodeValue::Object(_) => None,
    }
}
