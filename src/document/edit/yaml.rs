//! Edits of YAML on its lossless syntax tree.

use std::str::FromStr as _;

use serde_json::Value;
use yaml_edit::{Mapping, ScalarValue, Sequence, YamlFile, YamlNode, YamlValue};

use super::Step;
use super::model::{Part, Target};

pub(super) fn read(text: &str) -> Result<Value, String> {
    serde_yaml::from_str(text).map_err(|e| e.without_snippet().to_string())
}

/// An object or a list.
enum Holder {
    Mapping(Mapping),
    Sequence(Sequence),
}

/// The text after one step. The error says what stands in the way.
pub(super) fn edit(text: &str, target: &Target, step: &Step) -> Result<String, &'static str> {
    const LOST: &str = "the place was not found in the text";
    let file = YamlFile::from_str(text).map_err(|_| "it is not well-formed")?;
    let mut documents = file.documents();
    let (Some(document), None) = (documents.next(), documents.next()) else {
        return Err("the file does not hold exactly one document");
    };
    let mut holder = match (document.as_mapping(), document.as_sequence()) {
        (Some(mapping), _) => Holder::Mapping(mapping),
        (_, Some(sequence)) => Holder::Sequence(sequence),
        (None, None) => return Err(LOST),
    };
    for part in &target.parents {
        let node = match (&holder, part) {
            (Holder::Mapping(mapping), Part::Key(key)) => mapping.get(key.as_str()),
            (Holder::Sequence(sequence), Part::Index(at)) => sequence.get(*at),
            _ => None,
        };
        holder = match node.ok_or(LOST)? {
            YamlNode::Mapping(mapping) => Holder::Mapping(mapping),
            YamlNode::Sequence(sequence) => Holder::Sequence(sequence),
            YamlNode::Alias(_) => return Err("the place is shared by an alias"),
            YamlNode::Scalar(_) | YamlNode::TaggedNode(_) => return Err(LOST),
        };
    }
    match (&holder, &target.last, step) {
        (Holder::Mapping(mapping), Part::Key(key), Step::Put(value)) => {
            if mapping.find_all_entries_by_key(key.as_str()).count() > 1 {
                return Err("a key is there twice");
            }
            mapping.set(key.as_str(), input(value));
        }
        (Holder::Mapping(mapping), Part::Key(key), Step::Take) => {
            mapping.remove(key.as_str()).ok_or(LOST)?;
        }
        (Holder::Sequence(sequence), Part::Index(at), Step::Put(value)) => {
            if *at < sequence.len() {
                sequence.set(*at, input(value));
            } else {
                sequence.push(input(value));
            }
        }
        (Holder::Sequence(sequence), Part::Index(at), Step::Take) => {
            sequence.remove(*at).ok_or(LOST)?;
        }
        (Holder::Mapping(_), Part::Index(_), _) | (Holder::Sequence(_), Part::Key(_), _) => {
            return Err(LOST);
        }
    }
    Ok(file.to_string())
}

fn input(value: &Value) -> YamlValue {
    match value {
        Value::Null => YamlValue::Scalar(ScalarValue::null()),
        Value::Bool(b) => YamlValue::Scalar(ScalarValue::from(*b)),
        Value::Number(n) => YamlValue::Scalar(ScalarValue::parse(n.to_string())),
        // Quoted where older readers would take it for something else (`no`, `012`, `2025-10-01`), though YAML 1.2 doesn't.
        Value::String(s) if is_plain(s) => YamlValue::Scalar(ScalarValue::string(s.as_str())),
        // Double quotes would write what is not ASCII in escapes.
        Value::String(s) if !s.is_ascii() && is_shown(s) => {
            YamlValue::Scalar(ScalarValue::single_quoted(s.as_str()))
        }
        Value::String(s) => YamlValue::Scalar(ScalarValue::double_quoted(s.as_str())),
        Value::Array(items) => YamlValue::Sequence(items.iter().map(input).collect()),
        Value::Object(fields) => {
            YamlValue::Mapping(fields.iter().map(|(k, v)| (k.clone(), input(v))).collect())
        }
    }
}

/// Whether a text stands on one line as it is.
fn is_shown(text: &str) -> bool {
    const UNSEEN: [char; 3] = ['\u{2028}', '\u{2029}', '\u{feff}'];
    !text.chars().any(|c| c.is_control() || UNSEEN.contains(&c))
}

/// Whether a text can be taken for nothing but text, in any version of YAML.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 10] = [
        "y", "n", "yes", "no", "on", "off", "true", "false", "null", "~",
    ];
    text.starts_with(char::is_alphabetic)
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}
