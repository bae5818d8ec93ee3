//! What no document declares yet, as many at a time as a document takes.
//!
//! Each resource is written by its form into a document that holds nothing else, and what that gives is put into the real one all at once. Where
//! the outcome is not what was meant, the half of them is tried, and so on down to the one that is at fault.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Adopted, Declared, Draft, Left, Why, wanted};
use crate::document::data;
use crate::document::edit::{self, PathSegment};
use crate::document::tree::NodeValue;
use crate::ids::{DocPath, ResourceRef, SystemName};
use crate::plan::Change;
use crate::resource::form::{Form, Rewrite, Source};

/// Entries of an object, or of a list, which have no key.
type Entries = Vec<(Option<String>, Value)>;

impl Draft {
    /// Adopts what is new; what can't be is given back.
    pub(super) fn take_many(
        &mut self,
        system: &SystemName,
        new: Vec<Change>,
        adopted: &mut Vec<Adopted>,
    ) -> Vec<Left> {
        let mut left = Vec::new();
        let mut places: BTreeMap<DocPath, Vec<Change>> = BTreeMap::new();
        for change in new {
            match self.document_for(change.id.kind()) {
                Some(path) => places.entry(path).or_default().push(change),
                None => left.push(Left {
                    change,
                    why: Why::NoDocument,
                }),
            }
        }
        for (path, changes) in places {
            let mut parts = vec![changes];
            while let Some(mut part) = parts.pop() {
                if part.len() > 1 {
                    if self.take_at_once(system, &path, &part).is_some() {
                        adopted.extend(part.into_iter().map(|c| is_new(c, &path)));
                        continue;
                    }
                    let rest = part.split_off(part.len() / 2);
                    parts.extend([rest, part]);
                    continue;
                }
                for change in part {
                    match self.take_alone(system, &change) {
                        Ok(done) => adopted.push(done),
                        Err(why) => left.push(Left { change, why }),
                    }
                }
            }
        }
        left
    }

    /// All of them in one document, or none.
    fn take_at_once(&mut self, system: &SystemName, path: &DocPath, new: &[Change]) -> Option<()> {
        let text = self.text_of(path, new.first()?.id.kind())?.to_owned();
        let form = self.compiled.forms.form_for(path)?;
        let wanted: BTreeMap<&ResourceRef, Declared> = new
            .iter()
            .map(|change| (&change.id, wanted(None, system, change)))
            .collect();
        let root = data::parse(path, text.trim_start_matches('\u{feff}')).0?;
        let mut lists: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let mut entries = Entries::new();
        for (id, declared) in &wanted {
            match self.alone_in_a_document(&*form, path, &root.value, id, declared)? {
                Value::Array(items) => entries.extend(items.into_iter().map(|item| (None, item))),
                Value::Object(fields) => {
                    for (key, value) in fields {
                        match value {
                            Value::Array(items) => lists.entry(key).or_default().extend(items),
                            value @ (Value::Null
                            | Value::Bool(_)
                            | Value::Number(_)
                            | Value::String(_)
                            | Value::Object(_)) => entries.push((Some(key), value)),
                        }
                    }
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
            }
        }
        let is_there = |key: &String| root.get(key).is_some();
        let missing = lists.keys().filter(|key| !is_there(key)).cloned();
        entries.extend(missing.map(|key| (Some(key), Value::Array(Vec::new()))));
        let mut text = edit::append(path, &text, &[], &entries).ok()?;
        for (key, items) in lists {
            let items: Entries = items.into_iter().map(|item| (None, item)).collect();
            text = edit::append(path, &text, &[PathSegment::Key(key)], &items).ok()?;
        }
        let wanted = wanted.iter().map(|(id, declared)| (*id, declared));
        self.check_in(path, text, &wanted.collect()).ok()
    }

    /// What a document holds that declares one resource and nothing else.
    fn alone_in_a_document(
        &self,
        form: &dyn Form,
        path: &DocPath,
        like: &NodeValue,
        id: &ResourceRef,
        declared: &Declared,
    ) -> Option<Value> {
        let empty = match like {
            NodeValue::Object(_) => "{}",
            NodeValue::Array(_) => "[]",
            NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::String(_) => {
                return None;
            }
        };
        let rewrite = Rewrite {
            id,
            declared: None,
            wanted: declared.as_ref().map(|(spec, systems)| (spec, systems)),
        };
        let source = Source { path, text: empty };
        let text = form
            .rewrite(source, self.reader().context(), &rewrite)
            .ok()?;
        Some(data::parse(path, &text).0?.to_value())
    }
}

/// Something that nothing declared, and no other system has.
fn is_new(change: Change, document: &DocPath) -> Adopted {
    Adopted {
        change,
        document: document.clone(),
        others: BTreeSet::new(),
        keeps: BTreeSet::new(),
    }
}
