//! Whether a schema may be used: it must be one, and must not be able to run away.

use std::collections::HashMap;

use jsonschema::{Draft, PatternOptions, Validator};

use super::pointer::follow;
use super::{CustomKind, direction, kind_of_schema};
use crate::document::faults::Faults;
use crate::document::fields::{self, Fields};
use crate::document::json;
use crate::document::limits::{PATTERN_BYTES, SCHEMA_BYTES, SCHEMA_DEPTH, SCHEMA_PARTS};
use crate::document::tree::{Node, NodeValue};
use crate::ids::KindName;
use crate::resource::kinds;

pub(super) fn schema(faults: &mut Faults<'_>) -> Option<CustomKind> {
    let name = name(faults);
    if faults.text().len() > SCHEMA_BYTES {
        faults.error(
            "schema/too-large",
            0..0,
            format!("a schema has at most {} KiB", SCHEMA_BYTES >> 10),
            None,
        );
        return None;
    }
    let node = json::read(faults)?;
    Fields::open(faults, &node, "a schema")?;
    let mut walk = Walk {
        faults,
        root: &node,
        sizes: HashMap::new(),
        depth: 0,
    };
    let size = walk.size(&node);
    if size.is_some_and(|size| size > SCHEMA_PARTS) {
        faults.error(
            "schema/too-large",
            0..0,
            format!(
                "with its references written out this schema has more than {SCHEMA_PARTS} parts"
            ),
            Some("refer to fewer things, fewer times".to_owned()),
        );
    }
    let rules = direction::rules(faults, &node);
    if !faults.is_clean() {
        return None;
    }
    let validator = validator(faults, &node)?;
    Some(CustomKind {
        name: name?,
        rules,
        validator,
    })
}

/// The kind's name, which the path gives.
fn name(faults: &mut Faults<'_>) -> Option<KindName> {
    let text = kind_of_schema(faults.path()).unwrap_or_default();
    let name = match text.parse::<KindName>() {
        Ok(name) => name,
        Err(error) => {
            let hint = "name the file kinds/<Kind>.schema.json";
            faults.error(
                "schema/name",
                0..0,
                error.to_string(),
                Some(hint.to_owned()),
            );
            return None;
        }
    };
    if kinds::builtin().contains_key(&name) {
        faults.error(
            "schema/name",
            0..0,
            format!("the kind `{name}` is built in"),
            Some("give the custom kind another name".to_owned()),
        );
        return None;
    }
    Some(name)
}

fn validator(faults: &mut Faults<'_>, node: &Node) -> Option<Validator> {
    let schema = node.to_value();
    let mut options = jsonschema::options().with_pattern_options(
        PatternOptions::regex()
            .size_limit(PATTERN_BYTES)
            .dfa_size_limit(PATTERN_BYTES),
    );
    if schema.get("$schema").is_none() {
        options = options.with_draft(Draft::Draft202012);
    }
    match options.build(&schema) {
        Ok(validator) => Some(validator),
        Err(error) => {
            let pointer = error.instance_path().as_str().to_owned();
            let at = match follow(node, &pointer) {
                Some((found, key)) => match found.value {
                    NodeValue::Array(_) | NodeValue::Object(_) => key.unwrap_or(0..0),
                    NodeValue::Null
                    | NodeValue::Bool(_)
                    | NodeValue::Number(_)
                    | NodeValue::String(_) => found.span.clone(),
                },
                None => 0..0,
            };
            let message = fields::shorten(&error.to_string());
            faults.error(
                "schema/invalid",
                at,
                format!("not a JSON Schema: {message}"),
                None,
            );
            None
        }
    }
}

/// Keywords whose members are schemas.
const MAPS: &[&str] = &[
    "properties",
    "patternProperties",
    "$defs",
    "definitions",
    "dependentSchemas",
    "dependencies",
];
/// Keywords that are a schema or a list of them.
const SCHEMAS: &[&str] = &[
    "allOf",
    "anyOf",
    "oneOf",
    "prefixItems",
    "items",
    "additionalItems",
    "additionalProperties",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contains",
    "propertyNames",
    "not",
    "if",
    "then",
    "else",
    "contentSchema",
];

/// Adds up the parts of a schema with all references written out, and reports those that may not be there.
struct Walk<'w, 'a, 'n> {
    faults: &'w mut Faults<'a>,
    root: &'n Node,
    /// By the schema's address in the tree; `None` while it is being added up, so that a circle shows.
    sizes: HashMap<*const Node, Option<usize>>,
    depth: usize,
}

impl<'n> Walk<'_, '_, 'n> {
    /// `None` where it leads back to itself.
    fn size(&mut self, node: &'n Node) -> Option<usize> {
        let address: *const Node = node;
        if let Some(known) = self.sizes.get(&address) {
            return *known;
        }
        if self.depth >= SCHEMA_DEPTH {
            self.faults.error(
                "schema/nesting",
                node.span.start..node.span.start + 1,
                format!("schemas lie in each other more than {SCHEMA_DEPTH} deep"),
                Some("refer to fewer things in a row".to_owned()),
            );
            return Some(1);
        }
        self.sizes.insert(address, None);
        self.depth += 1;
        let size = self.parts(node);
        self.depth -= 1;
        self.sizes.insert(address, Some(size));
        Some(size)
    }

    fn parts(&mut self, node: &'n Node) -> usize {
        let mut size = 1_usize;
        let NodeValue::Object(members) = &node.value else {
            return size;
        };
        for member in members {
            let key = member.key.as_str();
            if matches!(
                key,
                "$dynamicRef" | "$recursiveRef" | "$dynamicAnchor" | "$recursiveAnchor"
            ) {
                self.outside(&member.key_span, &format!("`{key}` is not read"));
            } else if key == "$id" && !std::ptr::eq(node, self.root) {
                self.outside(
                    &member.key_span,
                    "a schema inside another has no `$id` here",
                );
            } else if key == "$ref" {
                size = size.saturating_add(self.reference(&member.value));
            } else if MAPS.contains(&key) {
                if let NodeValue::Object(inner) = &member.value.value {
                    for schema in inner {
                        size = size.saturating_add(self.size(&schema.value).unwrap_or(0));
                    }
                }
            } else if SCHEMAS.contains(&key) {
                let schemas = match &member.value.value {
                    NodeValue::Array(items) => items.as_slice(),
                    NodeValue::Object(_)
                    | NodeValue::Null
                    | NodeValue::Bool(_)
                    | NodeValue::Number(_)
                    | NodeValue::String(_) => std::slice::from_ref(&member.value),
                };
                for schema in schemas {
                    size = size.saturating_add(self.size(schema).unwrap_or(0));
                }
            }
        }
        size
    }

    /// The size of what is referred to: something in this schema, and not what is around it.
    fn reference(&mut self, node: &'n Node) -> usize {
        let NodeValue::String(text) = &node.value else {
            return 0;
        };
        let hint = "refer to a definition of this file: \"#/$defs/name\"".to_owned();
        let Some(pointer) = text
            .strip_prefix('#')
            .filter(|p| p.is_empty() || p.starts_with('/'))
        else {
            self.faults.error(
                "schema/outside-reference",
                node.span.clone(),
                format!("{:?} is not in this file", fields::shorten(text)),
                Some(hint),
            );
            return 0;
        };
        let Some((target, _)) = follow(self.root, &percent_decoded(pointer)) else {
            self.faults.error(
                "schema/unknown-reference",
                node.span.clone(),
                format!("there is nothing at {:?}", fields::shorten(text)),
                Some(hint),
            );
            return 0;
        };
        match self.size(target) {
            Some(size) => size,
            None => {
                self.faults.error(
                    "schema/circular-reference",
                    node.span.clone(),
                    format!("{:?} leads back to itself", fields::shorten(text)),
                    Some("write the levels out".to_owned()),
                );
                0
            }
        }
    }

    fn outside(&mut self, at: &std::ops::Range<usize>, message: &str) {
        self.faults.error(
            "schema/outside-reference",
            at.clone(),
            message,
            Some("refer to a definition of this file: \"#/$defs/name\"".to_owned()),
        );
    }
}

/// A pointer in a URI fragment may be percent-encoded.
fn percent_decoded(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let pair = (ahead.next(), ahead.next());
        match (byte, pair) {
            (b'%', (Some(high), Some(low))) => {
                let digits = [high, low].map(|d| char::from(d).to_digit(16));
                if let [Some(high), Some(low)] = digits {
                    bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                    rest = ahead;
                } else {
                    bytes.push(byte);
                }
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
