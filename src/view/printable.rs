//! Text from outside, made fit to be seen: nothing in it may move a cursor, reorder a line or hide.

use std::borrow::Cow;

/// Whether a character would act on a terminal or page, or hide there, where it should only be seen: control characters,
/// bidirectional overrides and isolates, invisible joiners and fillers, line separators, and the deprecated tag characters.
pub(super) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// One line's worth of text: line breaks and tabs are escaped as well (`\n`, `\t`, `\u{202e}`).
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_unsafe) {
        let mut out = String::with_capacity(text.len() + 16);
        text.chars().for_each(|c| push(&mut out, c));
        Cow::Owned(out)
    } else {
        Cow::Borrowed(text)
    }
}

/// Several lines: line feeds stay, everything else as in [`printable`].
pub(super) fn printable_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' {
            out.push(c);
        } else {
            push(&mut out, c);
        }
    }
    out
}

/// Appends a character, escaped where it has to be.
pub(super) fn push(out: &mut String, c: char) {
    if is_unsafe(c) {
        match c {
            '\n' | '\r' | '\t' => out.extend(c.escape_default()),
            _ => out.extend(c.escape_unicode()),
        }
    } else {
        out.push(c);
    }
}

/// At most `limit` characters, an ellipsis in place of what was cut.
pub(super) fn clip(text: &str, limit: usize) -> Cow<'_, str> {
    match text.char_indices().nth(limit) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}…", text.get(..end).unwrap_or_default())),
    }
}

/// About how many terminal columns a character takes: two for what East Asian fonts draw wide, none for combining marks.
/// Good enough to trim and align by; the underlining of findings is measured by its own library.
pub(super) fn columns(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f | 0x3099..=0x309a | 0xfe00..=0xfe0f | 0xe0100..=0xe01ef => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// Pads to a number of terminal columns.
pub(super) fn pad(text: &str, to: usize) -> String {
    let width: usize = text.chars().map(columns).sum();
    format!("{text}{}", " ".repeat(to.saturating_sub(width)))
}

/// How many terminal columns a text takes.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}
