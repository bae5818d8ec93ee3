//! Characters that can't be seen, or that change the order in which others are shown. A person who approves a text must
//! have read what the systems will get, so each of them is a finding that names its code point.
//!
//! In a name (a key, an id, a login, an address, a path) all of them are errors: two names that look the same are two
//! things. In a text, control characters and those that reorder it are errors; the others are warnings, because some
//! scripts and symbols are written with them. Variation selectors, and joiners after a character of such a script or symbol, are part of
//! how a text is written and are let pass.

use std::ops::Range;

use super::faults::Faults;
use super::markdown::Outline;
use super::tree::{Member, Node, NodeValue};
use super::{data, json, yaml};
use crate::finding::Finding;
use crate::ids::DocPath;

#[cfg(test)]
mod tests;

/// Why a character is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    /// A control character other than a tab or line break.
    Control,
    /// It reorders what stands after it: overrides, embeddings, isolates.
    Reorders,
    /// It takes no room, or shows as a blank.
    Invisible,
    /// It chooses a shape for the character before it, or joins two: right in a text, not in a name.
    Shapes,
}

/// What a character hides, if it does.
pub fn hidden(c: char) -> Option<Hidden> {
    match c {
        '\t' | '\n' | '\r' => None,
        c if c.is_control() => Some(Hidden::Control),
        ' '..='~' => None,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Some(Hidden::Reorders),
        '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => {
            Some(Hidden::Shapes)
        }
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'
        | '\u{2029}'
        | '\u{2060}'..='\u{2065}'
        | '\u{206a}'..='\u{206f}'
        | '\u{2800}'
        | '\u{3164}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e00ff}'
        | '\u{e01f0}'..='\u{e0fff}' => Some(Hidden::Invisible),
        _ => None,
    }
}

/// What may be said of a name that is not in a document's text: a path. The first hidden character of it.
pub fn in_name(name: &str) -> Option<char> {
    name.chars().find(|c| hidden(*c).is_some())
}

/// What of a finding is the same wherever it is made: what is wrong with a name that holds this character, and what to do.
pub fn about_name(c: char) -> (String, String) {
    let what = describe(c);
    (
        format!("the name holds {what}, which can't be seen"),
        format!("take {} out, or type the name anew", code(c)),
    )
}

/// All hidden characters of a document, as they stand or as they are escaped. `text` is without its leading byte order mark.
pub fn check(path: &DocPath, text: &str) -> Vec<Finding> {
    let markdown = [".md", ".markdown"]
        .iter()
        .any(|e| path.as_str().ends_with(e));
    let escaped = match (markdown, data::syntax(path, text)) {
        (true, _) => text.contains('&') || text.starts_with("---"),
        (false, data::Syntax::Json) => ["\\u", "\\b", "\\f"].iter().any(|e| text.contains(e)),
        (false, data::Syntax::Yaml) => text.contains('\\'),
    };
    if !escaped && is_plain(text) {
        return Vec::new();
    }
    let mut strings = Strings::default();
    if markdown {
        strings.outline(&Outline::new(text));
    } else {
        // What is wrong with how it is written is said by its form.
        let mut unsaid = Faults::new(path, text);
        let node = match data::syntax(path, text) {
            data::Syntax::Json => json::read(&mut unsaid),
            data::Syntax::Yaml => yaml::read(&mut unsaid),
        };
        if let Some(node) = &node {
            strings.node(node, false);
        }
    }
    strings.report(path, text)
}

/// The same for a text without a structure that is known here: a policy.
pub fn check_plain(path: &DocPath, text: &str) -> Vec<Finding> {
    if is_plain(text) {
        return Vec::new();
    }
    Strings::default().report(path, text)
}

fn is_plain(text: &str) -> bool {
    let ordinary = |b: u8| matches!(b, b' '..=b'~' | b'\t' | b'\n' | b'\r');
    text.bytes().all(ordinary) || text.chars().all(|c| hidden(c).is_none())
}

/// The keys and strings of a document that hold something hidden.
#[derive(Default)]
struct Strings {
    found: Vec<(Range<usize>, bool, char)>,
}

impl Strings {
    fn node(&mut self, node: &Node, named: bool) {
        match &node.value {
            NodeValue::String(text) => {
                let named = named || text.contains("://");
                self.string(text, node.span.clone(), named);
            }
            NodeValue::Array(items) => items.iter().for_each(|item| self.node(item, named)),
            NodeValue::Object(members) => members.iter().for_each(|m| self.member(m)),
            NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) => {}
        }
    }

    fn member(&mut self, member: &Member) {
        self.string(&member.key, member.key_span.clone(), true);
        self.node(&member.value, is_naming(&member.key));
    }

    fn string(&mut self, text: &str, at: Range<usize>, named: bool) {
        let mut before = None;
        for c in text.chars() {
            if hidden(c).is_some() && (named || !is_written_so(c, before)) {
                self.found.push((at, named, c));
                return;
            }
            before = Some(c);
        }
    }

    fn outline(&mut self, outline: &Outline) {
        for member in outline.front.iter().flat_map(|front| &front.members) {
            self.member(member);
        }
        for line in outline.blocks.iter().flat_map(|block| &block.lines) {
            let phrase = line.phrase(0..line.text.len());
            self.string(&phrase.text, phrase.span, false);
        }
        for id in outline.blocks.iter().filter_map(|block| block.id.as_ref()) {
            self.string(&id.text, id.span.clone(), true);
        }
    }

    /// Each that stands in the text is reported where it stands, and each string that has one only by an escape as a whole.
    fn report(mut self, path: &DocPath, text: &str) -> Vec<Finding> {
        let mut faults = Faults::new(path, text);
        self.found.sort_by_key(|(at, _, _)| at.start);
        let mut ahead = self.found.into_iter().peekable();
        // Containers of containers are not among the strings, so those that have begun and not ended are at most one.
        let mut open: Option<(Range<usize>, bool, char, bool)> = None;
        let close = |faults: &mut Faults<'_>, open: Option<(Range<usize>, bool, char, bool)>| {
            if let Some((at, named, c, false)) = open {
                report(faults, at, named, c);
            }
        };
        let mut before = None;
        for (at, c) in text.char_indices() {
            if hidden(c).is_some() {
                while let Some(next) = ahead.next_if(|(range, _, _)| range.start <= at) {
                    close(&mut faults, open.take());
                    open = Some((next.0, next.1, next.2, false));
                }
                let mut named = false;
                if let Some((_, inside, _, seen)) = open.as_mut().filter(|o| o.0.contains(&at)) {
                    (named, *seen) = (*inside, true);
                }
                if named || !is_written_so(c, before) {
                    report(&mut faults, at..at + c.len_utf8(), named, c);
                }
            }
            before = Some(c);
        }
        close(&mut faults, open.take());
        for (at, named, c) in ahead {
            report(&mut faults, at, named, c);
        }
        faults.finish()
    }
}

/// Whether a text is properly written with this character after that one: a variation selector may choose an ideograph's shape or
/// a symbol's colour, digits included (keycaps); a joiner joins nothing after a Latin letter, kana or an ideograph.
fn is_written_so(c: char, before: Option<char>) -> bool {
    let Some(before) = before.filter(|_| hidden(c) == Some(Hidden::Shapes)) else {
        return false;
    };
    let joins = matches!(c, '\u{200c}' | '\u{200d}');
    let east_asian = matches!(before,
        '\u{3000}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ffef}' | '\u{20000}'..='\u{3ffff}');
    if joins {
        !before.is_ascii() && !east_asian
    } else {
        !before.is_ascii_alphabetic() && before != ' '
    }
}

/// Whether the values under a key name something.
fn is_naming(key: &str) -> bool {
    matches!(
        key,
        "id" | "ids"
            | "forge"
            | "cidr"
            | "owner"
            | "url"
            | "credential"
            | "connector"
            | "systems"
            | "system"
            | "teams"
            | "affected"
            | "aliases"
            | "successor"
            | "supersedes"
            | "kind"
            | "kinds"
            | "roles"
            | "path"
            | "signing_key"
            | "default_variant"
            | "admin_users"
            | "readonly_users"
            | "blocked_ips"
            | "$ref"
            | "required"
    )
}

fn report(faults: &mut Faults<'_>, at: Range<usize>, named: bool, c: char) {
    let sort = hidden(c);
    if named {
        let (message, hint) = about_name(c);
        faults.error("text/hidden-in-name", at, message, Some(hint));
        return;
    }
    let what = describe(c);
    let hint = Some(format!("take {} out", code(c)));
    match sort {
        Some(Hidden::Control) => {
            let message = format!("the text holds {what}, which systems store or show differently");
            faults.error("text/control", at, message, hint);
        }
        Some(Hidden::Reorders) => {
            let message = format!(
                "the text holds {what}: what is approved would be read in another order than it is written"
            );
            faults.error("text/reordered", at, message, hint);
        }
        Some(Hidden::Invisible | Hidden::Shapes) | None => {
            let message = format!("the text holds {what}, which can't be seen");
            faults.warning("text/invisible", at, message, hint);
        }
    }
}

fn code(c: char) -> String {
    format!("U+{:04X}", u32::from(c))
}

/// The code point, with its name where it is one that people meet.
fn describe(c: char) -> String {
    let name = match c {
        '\0' => "a NUL",
        '\u{1b}' => "an escape character",
        '\u{7f}' => "a delete character",
        '\u{ad}' => "a soft hyphen",
        '\u{61c}' => "an Arabic letter mark",
        '\u{200b}' => "a zero width space",
        '\u{200c}' => "a zero width non-joiner",
        '\u{200d}' => "a zero width joiner",
        '\u{200e}' => "a left-to-right mark",
        '\u{200f}' => "a right-to-left mark",
        '\u{2028}' => "a line separator",
        '\u{2029}' => "a paragraph separator",
        '\u{202a}' => "a left-to-right embedding",
        '\u{202b}' => "a right-to-left embedding",
        '\u{202c}' => "the end of a change of direction",
        '\u{202d}' => "a left-to-right override",
        '\u{202e}' => "a right-to-left override",
        '\u{2060}' => "a word joiner",
        '\u{2066}' => "a left-to-right isolate",
        '\u{2067}' => "a right-to-left isolate",
        '\u{2068}' => "a first strong isolate",
        '\u{2069}' => "the end of an isolate",
        '\u{3164}' => "a Hangul filler",
        '\u{feff}' => "a byte order mark",
        '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => "a variation selector",
        '\u{e0000}'..='\u{e007f}' => "a tag character",
        c if c.is_control() => "a control character",
        _ => "an invisible character",
    };
    format!("{} ({name})", code(c))
}
