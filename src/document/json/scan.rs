//! One linear pass over the bytes of a JSON document: what to blank, and where it nests too deep. It knows strings and
//! comments and nothing else, so it can't be led astray by what is wrong elsewhere, and uses no stack.

use std::ops::Range;

use crate::document::limits;

/// What the pass finds. Ranges are in order and lie on character boundaries.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    pub(super) blanks: Vec<Range<usize>>,
    /// The bracket that opens one level too many.
    pub(super) too_deep: Option<usize>,
}

pub(super) fn scan(text: &str) -> Scanned {
    let bytes = text.as_bytes();
    let mut found = Scanned::default();
    let mut at = 0;
    if let Some(title) = title(text) {
        at = title.end;
        // Comments before the title were passed over to find it: they are blanked with it.
        found.blanks.push(0..title.end);
    }
    let mut depth = 0_usize;
    // The last byte that was neither space nor comment, and the comma that may turn out to trail.
    let mut last = 0_u8;
    let mut comma: Option<usize> = None;
    // Where one comment is not closed, none after it is: looking for the end each time would be quadratic.
    let mut unclosed = false;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => at += 1,
            b'/' => match (!unclosed).then(|| comment(bytes, at)).flatten() {
                Some(end) => {
                    found.blanks.push(at..end);
                    at = end;
                }
                None => {
                    unclosed |= bytes.get(at + 1) == Some(&b'*');
                    (last, comma) = (byte, None);
                    at += 1;
                }
            },
            b'"' => {
                at = string(bytes, at);
                (last, comma) = (byte, None);
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > limits::NESTING && found.too_deep.is_none() {
                    found.too_deep = Some(at);
                }
                (last, comma) = (byte, None);
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if let Some(comma) = comma.take() {
                    let place = found.blanks.partition_point(|r| r.start < comma);
                    found.blanks.insert(place, comma..comma + 1);
                }
                last = byte;
                at += 1;
            }
            b',' => {
                comma = (!matches!(last, 0 | b'{' | b'[' | b',' | b':')).then_some(at);
                last = byte;
                at += 1;
            }
            _ => {
                (last, comma) = (byte, None);
                at += 1;
            }
        }
    }
    found
}

/// The end of the comment that starts here, if one does and is closed.
fn comment(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    if rest.starts_with(b"//") {
        let length = rest.iter().position(|b| matches!(b, b'\n' | b'\r'));
        return Some(at + length.unwrap_or(rest.len()));
    }
    if rest.starts_with(b"/*") {
        let inner = rest.get(2..)?;
        let length = inner.windows(2).position(|w| w == b"*/")?;
        return Some(at + 2 + length + 2);
    }
    None
}

/// The end of the string that starts here: after its closing quote, or the end of the text.
fn string(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The line of prose before the first bracket, if there is one: one line that begins like no JSON value, where a bracket
/// follows on the next lines or at its end. Comments and empty lines may surround it.
fn title(text: &str) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let start = skip(bytes, 0);
    let first = text.get(start..)?.chars().next()?;
    if matches!(
        first,
        '{' | '}' | '[' | ']' | '"' | '\'' | ',' | ':' | '/' | '-' | '+'
    ) || first.is_ascii_digit()
    {
        return None;
    }
    let rest = text.get(start..)?;
    let line = rest.lines().next()?;
    let trimmed = line.trim_end();
    let opens = |at: usize| matches!(bytes.get(skip(bytes, at)), Some(b'{' | b'['));
    let end = if trimmed.ends_with(['{', '[']) {
        start + trimmed.len() - 1
    } else if opens(start + line.len()) {
        start + line.len()
    } else {
        start + line.find(['{', '['])?
    };
    Some(start..end)
}

/// The first byte at or after `at` that is neither white space nor in a comment.
fn skip(bytes: &[u8], mut at: usize) -> usize {
    loop {
        match bytes.get(at) {
            Some(b' ' | b'\t' | b'\n' | b'\r') => at += 1,
            Some(b'/') => match comment(bytes, at) {
                Some(end) => at = end,
                None => return at,
            },
            Some(_) | None => return at,
        }
    }
}
