//! Reading the members of an object one by one, each with the finding that says what it should have been.
//!
//! The rules are the same for every document: `document/unknown-field`, `document/missing-field`,
//! `document/wrong-type`, `document/unknown-value`, `date/invalid`.

use std::ops::Range;

use jiff::civil::Date;
use serde_json::Value;

use super::faults::Faults;
use super::suggest;
use super::tree::{Member, Node, NodeValue};

#[cfg(test)]
mod tests;

/// A text and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<'n> {
    pub text: &'n str,
    pub at: Range<usize>,
}

/// An object whose members are being read. `what` names it in messages: `the flag \`ai_assistant\``.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'n> {
    members: &'n [Member],
    node: &'n Node,
}

impl<'n> Fields<'n> {
    /// The members of an object; anything else is a finding. Those not in `known` are findings too.
    pub fn read(
        faults: &mut Faults<'_>,
        node: &'n Node,
        what: &str,
        known: &[&'static str],
    ) -> Option<Self> {
        let fields = Self::open(faults, node, what)?;
        for member in fields.members {
            if !known.contains(&member.key.as_str()) {
                unknown(faults, member, what, known);
            }
        }
        Some(fields)
    }

    /// The members of an object whose keys are names, not fields.
    pub fn open(faults: &mut Faults<'_>, node: &'n Node, what: &str) -> Option<Self> {
        match &node.value {
            NodeValue::Object(members) => Some(Self { members, node }),
            NodeValue::Null
            | NodeValue::Bool(_)
            | NodeValue::Number(_)
            | NodeValue::String(_)
            | NodeValue::Array(_) => {
                wrong_type(faults, node, what, "an object");
                None
            }
        }
    }

    pub fn members(&self) -> &'n [Member] {
        self.members
    }

    pub fn get(&self, key: &str) -> Option<&'n Member> {
        self.members.iter().find(|m| m.key == key)
    }

    /// Reports a field that must be there; `at` is what is underlined, usually the object's name.
    pub fn require(
        &self,
        faults: &mut Faults<'_>,
        key: &str,
        what: &str,
        at: Option<Range<usize>>,
        example: &str,
    ) -> Option<&'n Member> {
        let found = self.get(key);
        if found.is_none() {
            faults.error(
                "document/missing-field",
                at.unwrap_or_else(|| first_character(faults.text(), self.node)),
                format!("{what} has no `{key}`"),
                Some(format!("add {example}")),
            );
        }
        found
    }

    pub fn boolean(&self, faults: &mut Faults<'_>, key: &str) -> Option<bool> {
        boolean(faults, self.get(key)?)
    }

    pub fn text(&self, faults: &mut Faults<'_>, key: &str) -> Option<Placed<'n>> {
        text(faults, self.get(key)?)
    }

    /// A text that must say something.
    pub fn filled(&self, faults: &mut Faults<'_>, key: &str) -> Option<Placed<'n>> {
        let placed = self.text(faults, key)?;
        if placed.text.trim().is_empty() {
            faults.error(
                "document/empty-text",
                placed.at,
                format!("`{key}` is empty"),
                None,
            );
            return None;
        }
        Some(placed)
    }

    /// A list of texts. Items that are none are reported and left out.
    pub fn texts(&self, faults: &mut Faults<'_>, key: &str) -> Option<Vec<Placed<'n>>> {
        texts(faults, self.get(key)?)
    }

    pub fn whole(&self, faults: &mut Faults<'_>, key: &str) -> Option<(i64, Range<usize>)> {
        let member = self.get(key)?;
        whole(faults, member).map(|n| (n, member.value.span.clone()))
    }

    /// A calendar date, `2026-03-31`.
    pub fn date(&self, faults: &mut Faults<'_>, key: &str) -> Option<Placed<'n>> {
        let placed = self.text(faults, key)?;
        if is_date(placed.text) {
            return Some(placed);
        }
        invalid_date(faults, &placed, "a date", "2026-03-31");
        None
    }

    /// A date or a time with its offset, `2026-03-31T18:00+09:00`.
    pub fn moment(&self, faults: &mut Faults<'_>, key: &str) -> Option<Placed<'n>> {
        let placed = self.text(faults, key)?;
        if is_date(placed.text) || is_time(placed.text) {
            return Some(placed);
        }
        invalid_date(
            faults,
            &placed,
            "a date or a time with its offset",
            "2026-03-31 or 2026-03-31T18:00+09:00",
        );
        None
    }

    /// One of a few words.
    pub fn choice<T: Copy>(
        &self,
        faults: &mut Faults<'_>,
        key: &str,
        options: &[(&'static str, T)],
    ) -> Option<T> {
        let placed = self.text(faults, key)?;
        choice(faults, &placed, key, options)
    }
}

/// The words of a closed set.
pub fn choice<T: Copy>(
    faults: &mut Faults<'_>,
    placed: &Placed<'_>,
    what: &str,
    options: &[(&'static str, T)],
) -> Option<T> {
    let found = options.iter().find(|(word, _)| *word == placed.text);
    if found.is_none() {
        let words: Vec<&str> = options.iter().map(|(word, _)| *word).collect();
        faults.error(
            "document/unknown-value",
            placed.at.clone(),
            format!(
                "`{what}` can't be {:?}; expected one of {}",
                shorten(placed.text),
                words.join(", ")
            ),
            suggest::nearest(placed.text, words).map(|w| format!("did you mean `{w}`?")),
        );
    }
    found.map(|(_, value)| *value)
}

/// Reports a field that is not known.
pub fn unknown(faults: &mut Faults<'_>, member: &Member, what: &str, known: &[&'static str]) {
    let hint = if faults.is_full() {
        None
    } else {
        suggest::hint(&member.key, known.iter().copied())
    };
    faults.error(
        "document/unknown-field",
        member.key_span.clone(),
        format!("{what} has no field `{}`", shorten(&member.key)),
        hint,
    );
}

/// Reports a value of the wrong sort.
pub fn wrong_type(faults: &mut Faults<'_>, node: &Node, what: &str, expected: &str) {
    let at = match node.value {
        NodeValue::Array(_) | NodeValue::Object(_) => first_character(faults.text(), node),
        NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::String(_) => {
            node.span.clone()
        }
    };
    faults.error(
        "document/wrong-type",
        at,
        format!("{what} must be {expected}, not {}", node.sort()),
        nearly(node, expected),
    );
}

/// How a text would be written that is nearly what is expected.
fn nearly(node: &Node, expected: &str) -> Option<String> {
    let NodeValue::String(text) = &node.value else {
        return None;
    };
    let lower = text.trim().to_lowercase();
    match expected {
        "true or false" => match lower.as_str() {
            "true" | "yes" | "on" | "y" | "1" => Some("write true, without quotes".to_owned()),
            "false" | "no" | "off" | "n" | "0" => Some("write false, without quotes".to_owned()),
            _ => None,
        },
        _ if expected.contains("number") => {
            let number: serde_json::Number =
                serde_json::from_str(lower.trim_end_matches('%')).ok()?;
            Some(format!("write {number}, without quotes"))
        }
        _ if expected.starts_with("a list") && text.chars().count() <= 60 => {
            Some(format!("write [{text:?}]"))
        }
        _ => None,
    }
}

/// A container is underlined by its first character: the whole of it would be half the document.
fn first_character(text: &str, node: &Node) -> Range<usize> {
    let start = node.span.start;
    let width = text
        .get(start..)
        .and_then(|t| t.chars().next())
        .map_or(0, char::len_utf8);
    start..start + width
}

pub fn boolean(faults: &mut Faults<'_>, member: &Member) -> Option<bool> {
    match member.value.value {
        NodeValue::Bool(value) => Some(value),
        NodeValue::Null
        | NodeValue::Number(_)
        | NodeValue::String(_)
        | NodeValue::Array(_)
        | NodeValue::Object(_) => {
            wrong_type(faults, &member.value, &quoted(&member.key), "true or false");
            None
        }
    }
}

pub fn text<'n>(faults: &mut Faults<'_>, member: &'n Member) -> Option<Placed<'n>> {
    node_text(faults, &member.value, || quoted(&member.key))
}

/// A text that is not a member: an item of a list.
pub fn node_text<'n>(
    faults: &mut Faults<'_>,
    node: &'n Node,
    what: impl FnOnce() -> String,
) -> Option<Placed<'n>> {
    match &node.value {
        NodeValue::String(text) => Some(Placed {
            text,
            at: node.span.clone(),
        }),
        NodeValue::Null
        | NodeValue::Bool(_)
        | NodeValue::Number(_)
        | NodeValue::Array(_)
        | NodeValue::Object(_) => {
            wrong_type(faults, node, &what(), "a string");
            None
        }
    }
}

pub fn texts<'n>(faults: &mut Faults<'_>, member: &'n Member) -> Option<Vec<Placed<'n>>> {
    let items = items(
        faults,
        &member.value,
        &quoted(&member.key),
        "a list of strings",
    )?;
    Some(
        items
            .iter()
            .filter_map(|item| node_text(faults, item, || format!("each item of `{}`", member.key)))
            .collect(),
    )
}

/// The items of a list; anything else is a finding.
pub fn items<'n>(
    faults: &mut Faults<'_>,
    node: &'n Node,
    what: &str,
    expected: &str,
) -> Option<&'n [Node]> {
    match &node.value {
        NodeValue::Array(items) => Some(items),
        NodeValue::Null
        | NodeValue::Bool(_)
        | NodeValue::Number(_)
        | NodeValue::String(_)
        | NodeValue::Object(_) => {
            wrong_type(faults, node, what, expected);
            None
        }
    }
}

pub fn whole(faults: &mut Faults<'_>, member: &Member) -> Option<i64> {
    let number = match &member.value.value {
        NodeValue::Number(number) => number.as_i64(),
        NodeValue::Null
        | NodeValue::Bool(_)
        | NodeValue::String(_)
        | NodeValue::Array(_)
        | NodeValue::Object(_) => {
            wrong_type(
                faults,
                &member.value,
                &quoted(&member.key),
                "a whole number",
            );
            return None;
        }
    };
    if number.is_none() {
        faults.error(
            "document/wrong-type",
            member.value.span.clone(),
            format!("`{}` must be a whole number", member.key),
            None,
        );
    }
    number
}

/// A number that may have a fraction.
pub fn number(faults: &mut Faults<'_>, member: &Member) -> Option<f64> {
    match &member.value.value {
        NodeValue::Number(number) => number.as_f64(),
        NodeValue::Null
        | NodeValue::Bool(_)
        | NodeValue::String(_)
        | NodeValue::Array(_)
        | NodeValue::Object(_) => {
            wrong_type(faults, &member.value, &quoted(&member.key), "a number");
            None
        }
    }
}

fn quoted(key: &str) -> String {
    format!("`{}`", shorten(key))
}

/// The start of a text that came from outside, as messages show it.
pub fn shorten(text: &str) -> String {
    const SHOWN: usize = 80;
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    text.chars().take(SHOWN).chain(['…']).collect()
}

fn invalid_date(faults: &mut Faults<'_>, placed: &Placed<'_>, expected: &str, example: &str) {
    faults.error(
        "date/invalid",
        placed.at.clone(),
        format!("{:?} is not {expected}", shorten(placed.text)),
        Some(format!("write it like {example}")),
    );
}

/// Whether a text is a calendar date, `2026-03-31`, that exists.
pub fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<Date>().is_ok()
}

/// Whether a text is a time with its offset (RFC 3339; seconds may be left out).
pub fn is_time(text: &str) -> bool {
    text.len() > 10 && text.parse::<jiff::Timestamp>().is_ok()
}

/// The instant that a date or time stands for in comparisons. A date counts to its end, in UTC, since a kind does not
/// know the repo's time zone.
pub fn instant(value: &Value) -> Option<jiff::Timestamp> {
    let text = value.as_str()?;
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time);
    }
    let date: Date = text.parse().ok()?;
    date.at(23, 59, 59, 0)
        .to_zoned(jiff::tz::TimeZone::UTC)
        .ok()
        .map(|z| z.timestamp())
}
