//! Edits that leave a document as its author wrote it: only the value that is meant changes; comments, spacing, order and
//! trailing commas stay.
//!
//! [`parse_set`] turns what is typed on the command line (`flag.ai_assistant.rollout=25`) into an [`Edit`]; [`set`], [`add`] and
//! [`remove`] carry edits out on a text. Every edit is checked before it is handed out: the new text is read again, and must hold
//! the old document with exactly this change. What can't be done that way is an error, never a damaged document.

use serde_json::Value;

use super::data;
use crate::ids::DocPath;

mod address;
mod json;
mod model;
mod yaml;

#[cfg(test)]
mod tests;

pub use address::parse_set;

/// One step of the way to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathSegment {
    /// A key of an object. On a list, a position in decimal digits as in a JSON pointer.
    Key(String),
    /// A position in a list, from 0.
    Index(usize),
    /// The entry of a list whose `field` is `value`: `[id=mental_health]`. A document that is one such object itself is meant too.
    Select { field: String, value: String },
}

/// What to do at a place.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Set(Value),
    /// Put an entry into a list, unless it is there.
    Add(Value),
    /// Take an entry out of a list.
    Remove(Value),
}

/// One edit of one document.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    pub document: DocPath,
    pub pointer: Vec<PathSegment>,
    pub action: Action,
}

impl Edit {
    /// The document's text after the edit.
    pub fn apply(&self, text: &str) -> Result<String, EditError> {
        let Self {
            document,
            pointer,
            action,
        } = self;
        match action {
            Action::Set(value) => set(document, text, pointer, value.clone()),
            Action::Add(entry) => add(document, text, pointer, entry.clone()),
            Action::Remove(entry) => remove_entry(document, text, pointer, entry),
        }
    }
}

/// Why an edit was not made. The text is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The author's: not an edit at all.
    #[error("{expr:?} is no edit: {expected}")]
    Expression { expr: String, expected: String },
    /// None of the documents that could hold it is there.
    #[error("there is no {tried} in the repository")]
    NoDocument { tried: String },
    #[error("{path} can't be edited: only .json, .jsonc, .yaml and .yml documents can")]
    Format { path: DocPath },
    #[error("{path} can't be read, so it can't be edited: {message}; `lockstep check` says where")]
    Unreadable { path: DocPath, message: String },
    /// The place doesn't exist.
    #[error("there is no {place}{}", did_you_mean(near.as_deref()))]
    NotFound { place: String, near: Option<String> },
    /// The way leads through something that has no such parts.
    #[error("{place} is {found}; expected {expected}")]
    WrongType {
        place: String,
        found: &'static str,
        expected: &'static str,
    },
    /// Several places fit.
    #[error("{place} is there more than once")]
    Ambiguous { place: String },
    /// It could only be done by rewriting more than what is meant.
    #[error(
        "{path} can't be edited here without changing other parts of it: {message}; edit the file by hand"
    )]
    Unsafe { path: DocPath, message: String },
}

fn did_you_mean(near: Option<&str>) -> String {
    near.map(|near| format!("; did you mean {near}?"))
        .unwrap_or_default()
}

/// The text with `value` at `pointer`. A last key that is missing is added in the style of its neighbours; a missing way to it is
/// an error, so that a misspelt name doesn't become a new resource.
pub fn set(
    path: &DocPath,
    text: &str,
    pointer: &[PathSegment],
    value: Value,
) -> Result<String, EditError> {
    let open = Open::new(path, text)?;
    let target = model::resolve(&open.value, pointer)?;
    open.carry_out(&target, &Step::Put(value))
}

/// The text without what is at `pointer`.
pub fn remove(path: &DocPath, text: &str, pointer: &[PathSegment]) -> Result<String, EditError> {
    let open = Open::new(path, text)?;
    let target = model::resolve(&open.value, pointer)?;
    if !target.exists {
        return Err(target.not_found(&open.value));
    }
    open.carry_out(&target, &Step::Take)
}

/// The text with `entry` at the end of the list at `pointer`; the same text where the list has it.
pub fn add(
    path: &DocPath,
    text: &str,
    pointer: &[PathSegment],
    entry: Value,
) -> Result<String, EditError> {
    let open = Open::new(path, text)?;
    let target = model::resolve(&open.value, pointer)?;
    if !target.exists {
        return open.carry_out(&target, &Step::Put(Value::Array(vec![entry])));
    }
    let entries = target.list(&open.value)?;
    if entries.iter().any(|e| model::same_entry(e, &entry)) {
        return Ok(text.to_owned());
    }
    open.carry_out(&target.child(entries.len()), &Step::Put(entry))
}

/// The text with many entries more at the end of the object or list at `pointer`, which may be the document itself, each on a line of its own.
/// In an object each has a key that is not there yet. One by one they would cost the document each time; YAML takes them only so.
pub fn append(
    path: &DocPath,
    text: &str,
    pointer: &[PathSegment],
    entries: &[(Option<String>, Value)],
) -> Result<String, EditError> {
    let open = Open::new(path, text)?;
    let mut holder = None;
    let mut wanted = open.value.clone();
    for (key, value) in entries {
        let last = match key {
            Some(key) => PathSegment::Key(key.clone()),
            None => PathSegment::Key("-".to_owned()),
        };
        let at = [pointer, &[last]].concat();
        let target = model::resolve(&wanted, &at)?;
        if target.exists {
            return Err(open.refuse("one of the entries is there already"));
        }
        model::apply(&mut wanted, &target, &Step::Put(value.clone()));
        holder = Some(target.parents);
    }
    let Some(holder) = holder else {
        return Ok(text.to_owned());
    };
    let body = match open.syntax {
        Syntax::Json => json::append(open.body, &holder, entries),
        Syntax::Yaml => Err("YAML is written entry by entry"),
    };
    open.checked(&wanted, &body.map_err(|why| open.refuse(why))?)
}

/// The text without `entry` in the list at `pointer`: an equal value, or the object whose `id` or `cidr` it is.
pub fn remove_entry(
    path: &DocPath,
    text: &str,
    pointer: &[PathSegment],
    entry: &Value,
) -> Result<String, EditError> {
    let mut text = text.to_owned();
    let mut found = false;
    loop {
        let open = Open::new(path, &text)?;
        let target = model::resolve(&open.value, pointer)?;
        let entries = match target.exists {
            true => target.list(&open.value)?,
            false => return Err(target.not_found(&open.value)),
        };
        match entries.iter().position(|e| model::same_entry(e, entry)) {
            Some(at) => text = open.carry_out(&target.child(at), &Step::Take)?,
            None if found => return Ok(text),
            None => return Err(model::no_entry(&target, entries, entry)),
        }
        found = true;
    }
}

/// What is done at a resolved place.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Put(Value),
    Take,
}

/// How a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    Json,
    Yaml,
}

/// A document that could be read, ready to be edited.
struct Open<'a> {
    path: &'a DocPath,
    syntax: Syntax,
    /// What stands before the document proper and is not touched: a byte order mark, a title line.
    prefix: &'a str,
    body: &'a str,
    value: Value,
}

impl<'a> Open<'a> {
    fn new(path: &'a DocPath, text: &'a str) -> Result<Self, EditError> {
        let ending = path.as_str().rsplit_once('.').map_or("", |(_, e)| e);
        let (syntax, at) = match ending {
            "json" | "jsonc" => (Syntax::Json, json::start(text)),
            "yaml" | "yml" => {
                let mark = text.starts_with('\u{feff}');
                (Syntax::Yaml, if mark { '\u{feff}'.len_utf8() } else { 0 })
            }
            _ => return Err(EditError::Format { path: path.clone() }),
        };
        let (prefix, body) = text.split_at_checked(at).unwrap_or(("", text));
        let unreadable = |message| EditError::Unreadable {
            path: path.clone(),
            message,
        };
        let value = read(syntax, body).map_err(unreadable)?;
        readable(path, text).map_err(unreadable)?;
        Ok(Self {
            path,
            syntax,
            prefix,
            body,
            value,
        })
    }

    /// Edits the text and makes sure that the outcome is this edit and nothing else.
    fn carry_out(&self, target: &model::Target, step: &Step) -> Result<String, EditError> {
        let body = match self.syntax {
            Syntax::Json => json::edit(self.body, target, step),
            Syntax::Yaml => yaml::edit(self.body, target, step),
        }
        .map_err(|why| self.refuse(why))?;
        let mut wanted = self.value.clone();
        model::apply(&mut wanted, target, step);
        self.checked(&wanted, &body)
    }

    /// The document with another body, if that reads as what is wanted.
    fn checked(&self, wanted: &Value, body: &str) -> Result<String, EditError> {
        let meant = read(self.syntax, body).is_ok_and(|got| got == *wanted);
        let text = format!("{}{body}", self.prefix);
        if meant && readable(self.path, &text).is_ok() {
            Ok(text)
        } else {
            Err(self.refuse("the outcome would not read as what was meant"))
        }
    }

    fn refuse(&self, message: &str) -> EditError {
        EditError::Unsafe {
            path: self.path.clone(),
            message: message.to_owned(),
        }
    }
}

/// Whether a document can be read by those it is for. The readers that edits go by take more: raw control characters, YAML's tags.
fn readable(path: &DocPath, text: &str) -> Result<(), String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match data::parse(path, text) {
        (Some(_), _) => Ok(()),
        (None, findings) => Err(findings
            .into_iter()
            .next()
            .map_or_else(|| "it is empty".to_owned(), |f| f.message)),
    }
}

/// Reads a document without places.
fn read(syntax: Syntax, text: &str) -> Result<Value, String> {
    match syntax {
        Syntax::Json => json::read(text),
        Syntax::Yaml => yaml::read(text),
    }
}
