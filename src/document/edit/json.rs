//! Edits of JSON with comments, on its concrete syntax tree and, where that would lay out more than is meant, on its bytes.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstNode, CstObject, CstObjectProp, CstRootNode};
use serde_json::Value;

use super::Step;
use super::model::{Part, Target};

/// JSON with comments and trailing commas; nothing else is JSON.
const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_loose_object_property_names: false,
    allow_trailing_commas: true,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// The longest list or object that is written on one line in place of one that was.
const INLINE_BYTES: usize = 80;

/// Where the JSON starts: after a byte order mark and a title line.
pub(super) fn start(text: &str) -> usize {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim_start_matches('\u{feff}');
        if content.trim_start().starts_with(['{', '[', '/']) {
            return at + (line.len() - content.len());
        }
        at += line.len();
    }
    0
}

/// The error has no place: lines are counted from the document's start, which a title line may stand before.
pub(super) fn read(text: &str) -> Result<Value, String> {
    jsonc_parser::parse_to_serde_value(text, &OPTIONS).map_err(|e| e.kind().to_string())
}

/// The text after one step. The error says what stands in the way.
pub(super) fn edit(text: &str, target: &Target, step: &Step) -> Result<String, &'static str> {
    const LOST: &str = "the place was not found in the text";
    // The root must outlive every node: nodes hold it weakly.
    let root = CstRootNode::parse(text, &OPTIONS).map_err(|_| "it is not well-formed")?;
    let mut parent = root.value().ok_or(LOST)?;
    for part in &target.parents {
        parent = child(&parent, part)?.ok_or(LOST)?;
    }
    match (child(&parent, &target.last)?, step) {
        // The same, however it is written: nothing is to be done.
        (Some(old), Step::Put(value)) if read(&old.to_string()).as_ref() == Ok(value) => {
            return Ok(text.to_owned());
        }
        (Some(old), Step::Put(value)) => {
            if let Some(written) = written_inline(&old, value) {
                return Ok(splice(text, offset(&old), old.to_string().len(), &written));
            }
            replace(old, input(value))?;
        }
        (None, Step::Put(value)) => match (&target.last, parent.as_object(), parent.as_array()) {
            (Part::Key(key), Some(object), _) => {
                if let Some(text) = insert_inline(text, &object, key, value) {
                    return Ok(text);
                }
                let last = object.properties().into_iter().next_back();
                let last = last.and_then(|p| p.value());
                if last.is_some_and(|last| is_alike(&last, value)) {
                    object.append(key, CstInputValue::Null);
                    return edit(&root.to_string(), target, step);
                }
                object.append(key, input(value));
            }
            (Part::Index(_), _, Some(array)) => {
                let last = array.elements().into_iter().next_back();
                if last.is_some_and(|last| is_alike(&last, value)) {
                    array.append(CstInputValue::Null);
                    return edit(&root.to_string(), target, step);
                }
                array.append(input(value));
            }
            _ => return Err(LOST),
        },
        (Some(old), Step::Take) => {
            let entry = match &target.last {
                Part::Key(key) => property(&parent, key)?.ok_or(LOST)?.into(),
                Part::Index(_) => old,
            };
            if let Some(text) = remove_inline(text, &parent, &entry) {
                return Ok(text);
            }
            entry.remove();
        }
        (None, Step::Take) => return Err(LOST),
    }
    Ok(root.to_string())
}

/// The text with entries after the last one of an object or list. The tree is read once, and what is added is written beside it.
pub(super) fn append(
    text: &str,
    way: &[Part],
    entries: &[(Option<String>, Value)],
) -> Result<String, &'static str> {
    const LOST: &str = "the place was not found in the text";
    let root = CstRootNode::parse(text, &OPTIONS).map_err(|_| "it is not well-formed")?;
    let mut holder = root.value().ok_or(LOST)?;
    for part in way {
        holder = child(&holder, part)?.ok_or(LOST)?;
    }
    let (start, written) = (offset(&holder), holder.to_string());
    let old: Vec<CstNode> = match (holder.as_object(), holder.as_array()) {
        (Some(object), _) => object.properties().into_iter().map(Into::into).collect(),
        (_, Some(array)) => array.elements(),
        (None, None) => return Err(LOST),
    };
    let base = indent_at(text, start);
    let lines = |indent: &str| -> Vec<String> {
        let all = entries.iter();
        all.map(|(key, value)| entry(key.as_deref(), value, indent))
            .collect()
    };
    if let Some(last) = old.last().filter(|_| !is_inline(&holder)) {
        let indent = indent_at(text, offset(last));
        let end = offset(last) + last.to_string().len();
        return Ok(after(text, end, &lines(indent), indent));
    }
    // On one line, or empty: laid out anew, entry by entry.
    if holder.children().iter().any(CstNode::is_comment) {
        return Err("there are comments between its entries");
    }
    let indent = format!("{base}  ");
    let mut all: Vec<String> = old.iter().map(ToString::to_string).collect();
    all.extend(lines(&indent));
    let (open, close) = match holder.as_object() {
        Some(_) => ('{', '}'),
        None => ('[', ']'),
    };
    let between = format!(",\n{indent}");
    let laid_out = format!("{open}\n{indent}{}\n{base}{close}", all.join(&between));
    Ok(splice(text, start, written.len(), &laid_out))
}

/// The text with lines after the entry that ends at a place. What is said of that one behind it on its line stays there.
fn after(text: &str, end: usize, lines: &[String], indent: &str) -> String {
    let between = format!(",\n{indent}");
    let lines = lines.join(&between);
    let rest = text.get(end..).unwrap_or_default();
    let line = rest.split('\n').next().unwrap_or_default();
    let (comma, said) = match line.trim_start().strip_prefix(',') {
        Some(said) => (true, said.trim()),
        None => (false, line.trim()),
    };
    let is_comment = said.is_empty()
        || said.starts_with("//")
        || said.starts_with("/*") && said.find("*/").is_some_and(|at| at + 2 == said.len());
    if !is_comment {
        return splice(text, end, 0, &format!("{between}{lines}"));
    }
    let (first, last) = if comma { ("", ",") } else { (",", "") };
    let written = format!("{first}{line}\n{indent}{lines}{last}");
    splice(text, end, line.len(), &written)
}

/// The longest entry that is written on one line where there are many.
const LINE_BYTES: usize = 240;

/// An entry of an object or a list: on one line, if that is not too long.
fn entry(key: Option<&str>, value: &Value, indent: &str) -> String {
    let key = key.map(|key| format!("{}: ", inline(&Value::from(key), ": ", ", ")));
    let key = key.unwrap_or_default();
    let line = inline(value, ": ", ", ");
    if line.len() <= LINE_BYTES {
        return format!("{key}{line}");
    }
    let lines = format!("{value:#}").replace('\u{7f}', "\\u007f");
    format!("{key}{}", lines.replace('\n', &format!("\n{indent}")))
}

/// The white space that the line of a place begins with.
fn indent_at(text: &str, at: usize) -> &str {
    let before = text.get(..at).unwrap_or_default();
    let line = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text.get(line..).unwrap_or_default();
    let end = line.find(|c: char| c != ' ' && c != '\t');
    line.get(..end.unwrap_or(line.len())).unwrap_or_default()
}

fn child(parent: &CstNode, part: &Part) -> Result<Option<CstNode>, &'static str> {
    match part {
        Part::Key(key) => Ok(property(parent, key)?.and_then(|p| p.value())),
        Part::Index(at) => Ok(parent
            .as_array()
            .and_then(|a| a.elements().into_iter().nth(*at))),
    }
}

fn property(parent: &CstNode, key: &str) -> Result<Option<CstObjectProp>, &'static str> {
    let Some(object) = parent.as_object() else {
        return Ok(None);
    };
    let mut found = object
        .properties()
        .into_iter()
        .filter(|p| p.decoded_name().as_deref() == Some(key));
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err("a key is there twice"),
        (first, _) => Ok(first),
    }
}

/// The new value on one line: always for scalars; for lists and objects where the old value was on one line too and there
/// is room, whatever it was. `None` leaves the layout to the syntax tree.
fn written_inline(old: &CstNode, value: &Value) -> Option<String> {
    let scalar = !(value.is_array() || value.is_object());
    let text = inline(value, ": ", ", ");
    let fits = text.len() <= INLINE_BYTES && !old.to_string().contains('\n');
    (scalar || fits).then_some(text)
}

/// Whether what comes last is a list or object on one line, and there is room on one for another: then a place is made for it first, which
/// it takes as any value takes another's.
fn is_alike(last: &CstNode, value: &Value) -> bool {
    matches!(last, CstNode::Container(_)) && written_inline(last, value).is_some()
}

/// Adds a key to an object that is written on one line, where it stays. `None` for any other object.
fn insert_inline(text: &str, object: &CstObject, key: &str, value: &Value) -> Option<String> {
    let last: CstNode = object.properties().into_iter().next_back()?.into();
    if !is_inline(&object.clone().into()) {
        return None;
    }
    // Without white space after its colons it is written for machines.
    let name = last.children().first()?.to_string();
    let text_of = last.to_string();
    let after_colon = text_of
        .get(name.len()..)
        .and_then(|rest| rest.strip_prefix(':'));
    let tight = after_colon.is_some_and(|rest| !rest.starts_with(char::is_whitespace));
    let (colon, comma) = if tight { (":", ",") } else { (": ", ", ") };
    let key = Value::String(key.to_owned());
    let written = format!("{comma}{key}{colon}{}", inline(value, colon, comma));
    Some(splice(
        text,
        offset(&last) + last.to_string().len(),
        0,
        &written,
    ))
}

/// Whether an object's or list's entries stand on one line, whatever is in them.
fn is_inline(node: &CstNode) -> bool {
    let is_break = |child: &CstNode| {
        child.is_newline() || child.is_comment() && child.to_string().contains('\n')
    };
    !node.children().iter().any(is_break)
}

/// Removes an entry up to the next one on its line. `None` where it is the last, or entries have lines of their own.
fn remove_inline(text: &str, parent: &CstNode, entry: &CstNode) -> Option<String> {
    let next = entry
        .next_siblings()
        .find(|s| !s.is_trivia() && !s.is_token())?;
    let from = offset(entry);
    is_inline(parent).then(|| splice(text, from, offset(&next).saturating_sub(from), ""))
}

/// A value on one line.
fn inline(value: &Value, colon: &str, comma: &str) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|v| inline(v, colon, comma)).collect();
            format!("[{}]", items.join(comma))
        }
        Value::Object(fields) if fields.is_empty() => "{}".to_owned(),
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(k, v)| {
                    let key = Value::String(k.clone());
                    format!("{key}{colon}{}", inline(v, colon, comma))
                })
                .collect();
            let space = if comma.ends_with(' ') { " " } else { "" };
            format!("{{{space}{}{space}}}", fields.join(comma))
        }
        // Not an escape that JSON asks for, and yet nobody should have to see the character in a terminal.
        Value::String(_) => value.to_string().replace('\u{7f}', "\\u007f"),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn replace(old: CstNode, value: CstInputValue) -> Result<(), &'static str> {
    let replaced = match old {
        CstNode::Container(container) => match (container.as_object(), container.as_array()) {
            (Some(object), _) => object.replace_with(value),
            (_, Some(array)) => array.replace_with(value),
            (None, None) => None,
        },
        CstNode::Leaf(_) => {
            let (text, bool, number, null) = (
                old.as_string_lit(),
                old.as_boolean_lit(),
                old.as_number_lit(),
                old.as_null_keyword(),
            );
            text.map(|n| n.replace_with(value.clone()))
                .or_else(|| bool.map(|n| n.replace_with(value.clone())))
                .or_else(|| number.map(|n| n.replace_with(value.clone())))
                .or_else(|| null.map(|n| n.replace_with(value)))
                .flatten()
        }
    };
    replaced.map(|_| ()).ok_or("the value can't be replaced")
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(b) => CstInputValue::Bool(*b),
        Value::Number(n) => CstInputValue::Number(n.to_string()),
        Value::String(s) => CstInputValue::String(s.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(fields) => {
            CstInputValue::Object(fields.iter().map(|(k, v)| (k.clone(), input(v))).collect())
        }
    }
}

/// At which byte of the text a node starts: the tree keeps all of it, so it is the length of what stands before.
fn offset(node: &CstNode) -> usize {
    let before: usize = node.previous_siblings().map(|s| s.to_string().len()).sum();
    match node.parent() {
        Some(parent) => before + offset(&parent.into()),
        None => before,
    }
}

fn splice(text: &str, at: usize, len: usize, with: &str) -> String {
    let before = text.get(..at).unwrap_or_default();
    let after = text.get(at.saturating_add(len)..).unwrap_or_default();
    format!("{before}{with}{after}")
}
