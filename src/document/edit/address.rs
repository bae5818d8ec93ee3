//! What is typed on the command line, as an edit.
//!
//! `flag.KEY.FIELD=VALUE`, `interview.ID.FIELD=VALUE`, `access.LIST+=ENTRY`, `access.LIST-=ENTRY`, or
//! `PATH#/JSON/POINTER=VALUE` for any document. A name with dots is written in double quotes. A value is JSON where it can be read
//! as JSON, and text otherwise.

use serde_json::Value;

use super::{Action, Edit, EditError, PathSegment};
use crate::ids::DocPath;

/// The documents that have a short address.
const SHORT: [(&str, &str); 3] = [
    ("flag", "config/feature-flags"),
    ("interview", "config/interview-types"),
    ("access", "config/access-control"),
];
const ENDINGS: [&str; 3] = ["json", "yaml", "yml"];

/// Reads one expression. `files` says which documents there are.
pub fn parse_set(expr: &str, files: impl Fn(&DocPath) -> bool) -> Result<Edit, EditError> {
    let error = |expected: &str| EditError::Expression {
        expr: expr.chars().take(200).collect(),
        expected: expected.to_owned(),
    };
    let at = equals(expr).ok_or_else(|| {
        error(
            "write PLACE=VALUE, or LIST+=ENTRY and LIST-=ENTRY, as in flag.ai_assistant.rollout=25",
        )
    })?;
    let (place, value) = (
        expr.get(..at).unwrap_or_default(),
        expr.get(at + 1..).unwrap_or_default(),
    );
    let value = value_of(value);
    let (place, action) = match (place.strip_suffix('+'), place.strip_suffix('-')) {
        (Some(place), _) => (place, Action::Add(value)),
        (_, Some(place)) => (place, Action::Remove(value)),
        (None, None) => (place, Action::Set(value)),
    };
    let (document, pointer) = match place.split_once('#') {
        Some((path, pointer)) => {
            let document: DocPath = path
                .parse()
                .map_err(|_| error("before # stands a document's path inside the repository"))?;
            if !files(&document) {
                return Err(EditError::NoDocument {
                    tried: document.to_string(),
                });
            }
            let pointer = json_pointer(pointer).ok_or_else(|| {
                error("after # stands a JSON pointer such as /ai_assistant/rollout")
            })?;
            (document, pointer)
        }
        None => short(place, files, error)?,
    };
    Ok(Edit {
        document,
        pointer,
        action,
    })
}

/// Where the first `=` outside quotes is.
fn equals(expr: &str) -> Option<usize> {
    let mut quoted = false;
    expr.char_indices().find_map(|(at, c)| {
        quoted ^= c == '"';
        (c == '=' && !quoted).then_some(at)
    })
}

fn value_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

fn short(
    place: &str,
    files: impl Fn(&DocPath) -> bool,
    error: impl Fn(&str) -> EditError,
) -> Result<(DocPath, Vec<PathSegment>), EditError> {
    let words = dotted(place).ok_or_else(|| error("a name is empty or its quote is not closed"))?;
    let mut words = words.into_iter();
    let word = words.next().unwrap_or_default();
    let Some((_, stem)) = SHORT.iter().find(|(name, _)| *name == word) else {
        let names = SHORT.map(|(name, _)| name);
        return Err(error(&format!(
            "a place starts with {} or is PATH#/POINTER",
            names.join(", ")
        )));
    };
    let pointer: Vec<PathSegment> = match word.as_str() {
        "interview" => {
            let value = words.next();
            let value = value.ok_or_else(|| error("write interview.ID.FIELD=VALUE"))?;
            let select = PathSegment::Select {
                field: "id".to_owned(),
                value,
            };
            [select]
                .into_iter()
                .chain(words.map(PathSegment::Key))
                .collect()
        }
        _ => words.map(PathSegment::Key).collect(),
    };
    if pointer.is_empty() {
        return Err(error(
            "a name is missing, as in flag.ai_assistant.rollout=25",
        ));
    }
    let candidates = ENDINGS.map(|ending| format!("{stem}.{ending}"));
    let document = candidates
        .iter()
        .filter_map(|path| path.parse().ok())
        .find(|path| files(path))
        .ok_or_else(|| EditError::NoDocument {
            tried: candidates.join(", "),
        })?;
    Ok((document, pointer))
}

/// `a."b.c".d` as its names. `None` where one is empty or a quote is left open.
fn dotted(place: &str) -> Option<Vec<String>> {
    let mut names = vec![String::new()];
    let mut quoted = false;
    for c in place.chars() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => names.push(String::new()),
            c => names.last_mut()?.push(c),
        }
    }
    (!quoted && names.iter().all(|name| !name.is_empty())).then_some(names)
}

/// RFC 6901.
fn json_pointer(text: &str) -> Option<Vec<PathSegment>> {
    let names = text.strip_prefix('/')?.split('/');
    let names = names.map(|name| name.replace("~1", "/").replace("~0", "~"));
    Some(names.map(PathSegment::Key).collect())
}
