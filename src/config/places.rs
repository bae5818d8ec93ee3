//! Where things stand in `lockstep.yaml`, for whoever is to be told which line says so.

use crate::document::data;
use crate::document::tree::{Member, Node, NodeValue};
use crate::finding::Span;
use crate::ids::DocPath;

/// The tree of a `lockstep.yaml`; empty where it can't be read.
#[derive(Debug)]
pub struct Places<'a> {
    text: &'a str,
    root: Option<Node>,
}

impl<'a> Places<'a> {
    pub fn new(path: &DocPath, text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            text,
            root: data::parse(path, text).0,
        }
    }

    /// The line of the last of these keys, each inside the one before. Where the last ones are not written, the line of the last that is.
    pub fn line(&self, keys: &[&str]) -> Option<u32> {
        let mut at: Option<&Member> = None;
        let mut node = self.root.as_ref()?;
        for key in keys {
            let Some(member) = node.get(key) else {
                break;
            };
            (at, node) = (Some(member), &member.value);
        }
        at.map(|member| self.line_at(member.key_span.clone()))
    }

    /// The line of the freeze with this name.
    pub fn freeze(&self, name: &str) -> Option<u32> {
        let freezes = &self.root.as_ref()?.get("freezes")?.value;
        let NodeValue::Array(items) = &freezes.value else {
            return None;
        };
        let named = |item: &&Node| {
            let value = item.get("name").map(|m| &m.value.value);
            matches!(value, Some(NodeValue::String(text)) if text == name)
        };
        let item = items.iter().find(named)?;
        Some(self.line_at(item.span.clone()))
    }

    fn line_at(&self, range: std::ops::Range<usize>) -> u32 {
        Span::in_source(self.text, range).line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
version: 1
systems:
  medical: {connector: http,
    mode: observe}
safety:
  default: {small: 3}
freezes:
  - {name: a, from: 2026-01-01, until: 2026-01-02}
  - name: b
";

    #[test]
    fn what_is_written_has_a_line() {
        let path = "lockstep.yaml".parse().unwrap();
        let places = Places::new(&path, TEXT);
        let line = |keys: &[&str]| places.line(keys);
        assert_eq!(line(&["systems", "medical"]), Some(3));
        assert_eq!(line(&["systems", "medical", "mode"]), Some(4));
        assert_eq!(line(&["safety", "default"]), Some(6));
        // What is not written is where it would be.
        assert_eq!(line(&["systems", "medical", "drift"]), Some(3));
        assert_eq!(line(&["groups", "hospital"]), None);
        assert_eq!(places.freeze("a"), Some(8));
        assert_eq!(places.freeze("b"), Some(9));
        assert_eq!(places.freeze("c"), None);
        for broken in ["", "[", "- x", "freezes: 1"] {
            let places = Places::new(&path, broken);
            assert_eq!(places.line(&["safety"]), None, "{broken:?}");
            assert_eq!(places.freeze("a"), None, "{broken:?}");
        }
    }
}
