//! From a JSON pointer to bytes: where in the source a schema's complaint belongs.

use std::ops::Range;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;

use crate::document::tree::{Node, NodeValue};

/// What to underline: the value that is wrong, the key that should not be there, or, where something is missing or the whole is
/// wrong, the entry's name.
pub(super) fn place(
    root: &Node,
    name: &Range<usize>,
    pointer: &str,
    error: &ValidationError<'_>,
) -> Range<usize> {
    let Some((node, key)) = follow(root, pointer) else {
        return name.clone();
    };
    let mut unexpected = None;
    if let ValidationErrorKind::AdditionalProperties { unexpected: keys }
    | ValidationErrorKind::UnevaluatedProperties { unexpected: keys } = error.kind()
    {
        unexpected = keys.first();
    }
    if let Some(member) = unexpected.and_then(|key| node.get(key)) {
        return member.key_span.clone();
    }
    match node.value {
        // A container as a whole is told by its key.
        NodeValue::Array(_) | NodeValue::Object(_) => key.unwrap_or_else(|| name.clone()),
        NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::String(_) => {
            node.span.clone()
        }
    }
}

/// The node at a JSON pointer (RFC 6901), and the nearest key on the way to it.
pub(super) fn follow<'n>(
    root: &'n Node,
    pointer: &str,
) -> Option<(&'n Node, Option<Range<usize>>)> {
    let mut at = root;
    let mut key = None;
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        match &at.value {
            NodeValue::Object(_) => {
                let member = at.get(&part)?;
                key = Some(member.key_span.clone());
                at = &member.value;
            }
            NodeValue::Array(items) => at = items.get(part.parse::<usize>().ok()?)?,
            NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::String(_) => {
                return None;
            }
        }
    }
    Some((at, key))
}
