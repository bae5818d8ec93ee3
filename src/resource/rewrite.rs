//! What the forms share that write a resource back into its document: a pen that makes one edit after the other, each of which leaves the rest of
//! the document as its author wrote it.

use serde_json::Value;

use super::SystemSet;
use super::form::NotWritten;
use crate::document::data;
use crate::document::edit::{self, PathSegment};
use crate::document::tree::Node;
use crate::ids::DocPath;

/// A document's text under edit.
pub(super) struct Pen<'a> {
    path: &'a DocPath,
    text: String,
}

impl<'a> Pen<'a> {
    pub(super) fn new(path: &'a DocPath, text: &str) -> Self {
        Self {
            path,
            text: text.to_owned(),
        }
    }

    /// The document as it stands now.
    pub(super) fn tree(&self) -> Result<Node, NotWritten> {
        let text = self.text.strip_prefix('\u{feff}').unwrap_or(&self.text);
        data::parse(self.path, text).0.ok_or(NotWritten::ByHand)
    }

    pub(super) fn set(&mut self, at: &[PathSegment], value: Value) -> Result<(), NotWritten> {
        self.text = edit::set(self.path, &self.text, at, value)?;
        Ok(())
    }

    pub(super) fn add(&mut self, at: &[PathSegment], entry: Value) -> Result<(), NotWritten> {
        self.text = edit::add(self.path, &self.text, at, entry)?;
        Ok(())
    }

    pub(super) fn remove(&mut self, at: &[PathSegment]) -> Result<(), NotWritten> {
        self.text = edit::remove(self.path, &self.text, at)?;
        Ok(())
    }

    /// Turns the value at a place from one into another by as few edits as it takes.
    pub(super) fn turn(
        &mut self,
        at: &[PathSegment],
        from: &Value,
        to: &Value,
    ) -> Result<(), NotWritten> {
        let (Value::Object(old), Value::Object(new)) = (from, to) else {
            return if from == to {
                Ok(())
            } else {
                self.set(at, to.clone())
            };
        };
        for key in old.keys().filter(|key| !new.contains_key(*key)) {
            self.remove(&below(at, key))?;
        }
        for (key, value) in new {
            match old.get(key) {
                Some(before) => self.turn(&below(at, key), before, value)?,
                None => self.set(&below(at, key), value.clone())?,
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// A member of what is at a place.
pub(super) fn below(at: &[PathSegment], key: &str) -> Vec<PathSegment> {
    let mut at = at.to_vec();
    at.push(PathSegment::Key(key.to_owned()));
    at
}

/// Systems as a document names them.
pub(super) fn names(systems: &SystemSet) -> Value {
    systems.iter().map(|s| s.as_str()).collect()
}

/// An object with one more member; what is no object can't have one.
pub(super) fn with(mut value: Value, key: &str, member: Value) -> Result<Value, NotWritten> {
    value
        .as_object_mut()
        .ok_or(NotWritten::ByHand)?
        .insert(key.to_owned(), member);
    Ok(value)
}
