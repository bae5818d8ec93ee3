//! `--set`: an expression, a NUL and a document. An edit that is made leaves a document that reads, holds what was asked, and is
//! otherwise what it was; made again it changes nothing.

use lockstep::document::data;
use lockstep::document::edit::{Action, PathSegment, parse_set};
use serde_json::Value;

pub fn run(data: &[u8]) {
    let Some(at) = data.iter().position(|b| *b == 0) else {
        return;
    };
    let (Some(expr), Some(text)) = (crate::text(&data[..at]), crate::text(&data[at + 1..])) else {
        return;
    };
    let Ok(edit) = parse_set(expr, |_| true) else {
        return;
    };
    let Ok(edited) = edit.apply(text) else {
        return;
    };
    let (Some(before), found) = data::parse(&edit.document, text) else {
        panic!("an unreadable document was edited");
    };
    let (Some(after), left) = data::parse(&edit.document, &edited) else {
        panic!("{edited:?} can't be read any more");
    };
    assert!(left.len() <= found.len(), "{left:?}");
    let again = edit.apply(&edited);
    match &edit.action {
        Action::Set(value) => {
            assert_eq!(again.as_ref(), Ok(&edited), "set twice");
            let (mut before, mut after) = (before.to_value(), after.to_value());
            let there = at_place(&mut after, &edit.pointer).map(std::mem::take);
            assert_eq!(there.as_ref().map(same), Some(same(value)));
            match at_place(&mut before, &edit.pointer) {
                Some(old) => *old = Value::Null,
                None => take(&mut after, &edit.pointer),
            }
            assert_eq!(before, after, "something else changed");
        }
        Action::Add(_) => assert_eq!(again, Ok(edited), "added twice"),
        Action::Remove(_) => assert!(again.is_err(), "removed, and still there"),
    }
}

/// Numbers that are equal may be written differently.
fn same(value: &Value) -> String {
    lockstep::state::Spec::from_value(value)
        .map_or_else(|_| value.to_string(), |s| s.as_str().to_owned())
}

fn at_place<'v>(value: &'v mut Value, way: &[PathSegment]) -> Option<&'v mut Value> {
    way.iter()
        .try_fold(value, |value, segment| match (segment, value) {
            (PathSegment::Key(key), Value::Object(members)) => members.get_mut(key),
            (PathSegment::Key(key), Value::Array(items)) => {
                items.get_mut(key.parse::<usize>().ok()?)
            }
            (PathSegment::Index(at), Value::Array(items)) => items.get_mut(*at),
            (PathSegment::Select { field, value }, Value::Array(items)) => items
                .iter_mut()
                .find(|item| item.get(field).and_then(Value::as_str) == Some(value)),
            (PathSegment::Select { .. }, value @ Value::Object(_)) => Some(value),
            _ => None,
        })
}

fn take(value: &mut Value, way: &[PathSegment]) {
    let Some((last, before)) = way.split_last() else {
        return;
    };
    match (last, at_place(value, before)) {
        (PathSegment::Key(key), Some(Value::Object(members))) => drop(members.remove(key)),
        (PathSegment::Key(_) | PathSegment::Index(_), Some(Value::Array(items))) => {
            drop(items.pop())
        }
        _ => {}
    }
}
