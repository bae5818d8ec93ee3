//! The YAML between two lines of `---` at the top of a document.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::{DuplicateKeyPolicy, Spanned};

use super::is_colon;
use crate::document::tree::{Member, Node, NodeValue};
use crate::document::yaml;

/// Front matter, with the place of every key and value.
#[derive(Debug, Clone, PartialEq)]
pub struct FrontMatter {
    /// From the first fence to the end of the second.
    pub span: Range<usize>,
    pub members: Vec<Member>,
    /// Why it could not be read; then there are no members.
    pub fault: Option<FrontMatterFault>,
}

/// What is wrong with the YAML, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrontMatterFault {
    pub span: Range<usize>,
    pub message: String,
    pub hint: &'static str,
}

/// Finds front matter: what stands between a line `---` at the very top and the next one. A rule there, which Markdown writes the same
/// way, is told apart by the empty line that follows it, or by never being closed. After one title line a rule is what is usual,
/// so there the first line must look like `key: value`, as it must after an empty one.
pub(super) fn find(text: &str) -> Option<FrontMatter> {
    let mut lines = Lines { text, at: 0 }
        .filter(|line| !line.text.trim().is_empty())
        .peekable();
    let mut fence = lines.next()?;
    let titled = !fence.is_fence();
    if titled {
        fence = lines.next().filter(Placed::is_fence)?;
    }
    let first = lines.peek()?;
    let field = looks_like_field(first.text);
    let adjacent = first.start == fence.end;
    if !field && (titled || !(adjacent || first.is_fence())) {
        return None;
    }
    let start = fence.end;
    let Some(last) = lines.find(|line| line.is_fence() || line.text.trim_end() == "...") else {
        let fault = FrontMatterFault {
            span: fence.start..fence.start + 3,
            message: "the front matter that begins here is not closed by a line `---`".to_owned(),
            hint: "close it, or leave an empty line after this one if it is a rule",
        };
        // A title above a rule is ordinary Markdown, and so is a rule above a text.
        return (field && !titled).then(|| FrontMatter {
            span: fence.start..fence.end,
            members: Vec::new(),
            fault: Some(fault),
        });
    };
    let yaml = text.get(start..last.start).unwrap_or("");
    let (members, fault) = match members(yaml, start) {
        Ok(members) => (members, None),
        Err(fault) => (Vec::new(), Some(fault)),
    };
    Some(FrontMatter {
        span: fence.start..last.end,
        members,
        fault,
    })
}

/// A line with its place; `end` is after the line break.
struct Placed<'a> {
    text: &'a str,
    start: usize,
    end: usize,
}

impl Placed<'_> {
    fn is_fence(&self) -> bool {
        self.text.trim_end() == "---"
    }
}

struct Lines<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Placed<'a>;
    fn next(&mut self) -> Option<Placed<'a>> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let length = rest.find('\n').map_or(rest.len(), |n| n + 1);
        let start = self.at;
        self.at += length;
        let text = rest.get(..length).unwrap_or(rest);
        Some(Placed {
            text,
            start,
            end: self.at,
        })
    }
}

fn looks_like_field(line: &str) -> bool {
    line.split_once(is_colon).is_some_and(|(key, _)| {
        !key.trim().is_empty()
            && key.chars().count() <= 40
            && !key.starts_with(['-', '*', '+', '#', '>', '|'])
            && !key.trim().contains(char::is_whitespace)
    })
}

fn members(yaml: &str, offset: usize) -> Result<Vec<Member>, FrontMatterFault> {
    let yaml = with_plain_colons(yaml);
    if yaml
        .lines()
        .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
    {
        return Ok(Vec::new());
    }
    let tree: Spanned<Tree> = yaml::engine(&yaml, DuplicateKeyPolicy::Error)
        .map_err(|error| fault(error.without_snippet(), &yaml, offset))?;
    let node = node(tree, offset);
    match node.value {
        NodeValue::Object(members) => Ok(members),
        NodeValue::Null => Ok(Vec::new()),
        NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::String(_) | NodeValue::Array(_) => {
            Err(FrontMatterFault {
                span: node.span.clone(),
                message: format!("front matter is lines of `key: value`, not {}", node.sort()),
                hint: "write it so, or leave an empty line after the first --- if it is a rule",
            })
        }
    }
}

/// What is wrong with the YAML, in the words of the one reader of it.
fn fault(error: &serde_yaml::Error, yaml: &str, offset: usize) -> FrontMatterFault {
    let at = error.location().and_then(|l| error_place(&l, yaml, offset));
    let yaml::Told { message, hint, .. } = yaml::explain(yaml, error);
    FrontMatterFault {
        span: at.unwrap_or(offset..offset + yaml.len()),
        message: format!("the front matter can't be read: {message}"),
        hint,
    }
}

/// Puts a half-width colon and two spaces for a full-width one after a key: three bytes either way, so places stay.
fn with_plain_colons(yaml: &str) -> String {
    let mut plain = String::with_capacity(yaml.len());
    for line in yaml.split_inclusive('\n') {
        match line.split_once(is_colon) {
            Some((key, value))
                if line
                    .get(key.len()..)
                    .is_some_and(|rest| rest.starts_with('：'))
                    && !key.contains(['"', '\'', '#', '[', '{']) =>
            {
                plain.push_str(key);
                plain.push_str(":  ");
                plain.push_str(value);
            }
            _ => plain.push_str(line),
        }
    }
    plain
}

/// The place of an error: its bytes where the reader knows them, else its line.
fn error_place(location: &serde_yaml::Location, yaml: &str, offset: usize) -> Option<Range<usize>> {
    if location.span().byte_offset().is_some() {
        return Some(place(location, offset));
    }
    let line = usize::try_from(location.line()).ok()?.checked_sub(1)?;
    let before: usize = yaml.split_inclusive('\n').take(line).map(str::len).sum();
    let text = yaml.get(before..)?.lines().next()?;
    Some(offset + before..offset + before + text.len())
}

fn place(location: &serde_yaml::Location, offset: usize) -> Range<usize> {
    let span = location.span();
    let number = |n: Option<u64>| n.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let start = offset + number(span.byte_offset());
    start..start + number(span.byte_len()).max(1)
}

/// YAML's data model, each value with its place, as the reader gives it.
enum Tree {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    String(String),
    Array(Vec<Spanned<Tree>>),
    Object(Vec<(Spanned<String>, Spanned<Tree>)>),
}

fn node(tree: Spanned<Tree>, offset: usize) -> Node {
    let span = place(&tree.referenced, offset);
    let value = match tree.value {
        Tree::Null => NodeValue::Null,
        Tree::Bool(b) => NodeValue::Bool(b),
        Tree::Number(n) => NodeValue::Number(n),
        Tree::String(s) => NodeValue::String(s),
        Tree::Array(items) => {
            NodeValue::Array(items.into_iter().map(|i| node(i, offset)).collect())
        }
        Tree::Object(members) => NodeValue::Object(
            members
                .into_iter()
                .map(|(key, value)| Member {
                    key_span: place(&key.referenced, offset),
                    key: key.value,
                    value: node(value, offset),
                })
                .collect(),
        ),
    };
    Node { span, value }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }
    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }
    fn visit_bool<E>(self, b: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(b))
    }
    fn visit_i64<E>(self, n: i64) -> Result<Tree, E> {
        Ok(Tree::Number(n.into()))
    }
    fn visit_u64<E>(self, n: u64) -> Result<Tree, E> {
        Ok(Tree::Number(n.into()))
    }
    fn visit_f64<E>(self, n: f64) -> Result<Tree, E> {
        Ok(serde_json::Number::from_f64(n)
            .map_or_else(|| Tree::String(n.to_string()), Tree::Number))
    }
    fn visit_str<E>(self, s: &str) -> Result<Tree, E> {
        Ok(Tree::String(s.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Tree::Array(all))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
        let mut all = Vec::new();
        while let Some(member) = members.next_entry()? {
            all.push(member);
        }
        Ok(Tree::Object(all))
    }
}
