//! Text from outside inside Markdown.

use crate::view::printable::{printable, printable_lines};

/// A code span. Its fence is longer than any run of backticks in it, so that the content can't end it; nothing in one is linked,
/// mentioned or formatted.
pub(crate) fn code(text: &str) -> String {
    let text = printable(text);
    let ticks = "`".repeat(longest_run(&text) + 1);
    // A space on both sides is taken off again where there is one; without content there would be no span at all.
    let edge = text.is_empty() || text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']);
    if edge {
        format!("{ticks} {text} {ticks}")
    } else {
        format!("{ticks}{text}{ticks}")
    }
}

/// A fenced block, with a fence longer than any run of backticks in it.
pub(super) fn fence(text: &str, language: &str) -> String {
    let text = printable_lines(text);
    let ticks = "`".repeat((longest_run(&text) + 1).max(3));
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("{ticks}{language}\n{text}{end}{ticks}\n")
}

/// A sentence in which every word that isn't plainly a word stands in a code span: identifiers, paths, addresses, mentions,
/// markup.
pub(super) fn prose(text: &str) -> String {
    let text = printable(text);
    let mut out = String::with_capacity(text.len() + 16);
    let mut span: Vec<&str> = Vec::new();
    for word in text.split(' ') {
        if is_plain(word) {
            flush(&mut out, &mut span);
            if !word.is_empty() {
                separate(&mut out);
                out.push_str(word);
            }
        } else {
            span.push(word);
        }
    }
    flush(&mut out, &mut span);
    out
}

/// Neighbouring words that need a code span share one. The punctuation that ends it stands after it.
fn flush(out: &mut String, span: &mut Vec<&str>) {
    if !span.is_empty() {
        separate(out);
        let text = span.join(" ");
        let inner = text.trim_end_matches([',', ':', ';', '.']);
        if inner.is_empty() {
            out.push_str(&code(&text));
        } else {
            out.push_str(&code(inner));
            out.push_str(text.get(inner.len()..).unwrap_or_default());
        }
        span.clear();
    }
}

fn separate(out: &mut String) {
    if !out.is_empty() {
        out.push(' ');
    }
}

/// Letters and digits of any script with harmless punctuation. A dot only at the end, since one inside may make a link; nothing
/// that could be a list's number, an issue or a commit.
fn is_plain(word: &str) -> bool {
    let inner = word.trim_end_matches(['.', ',', ':', ';', '?', ')']);
    let inner = inner.trim_start_matches('(');
    if inner.is_empty() {
        return word.is_empty();
    }
    let numbered = inner.len() < word.len() && inner.bytes().all(|b| b.is_ascii_digit());
    let hex = |part: &str| part.len() >= 7 && part.bytes().all(|b| b.is_ascii_hexdigit());
    let commit = inner.split(|c: char| !c.is_alphanumeric()).any(hex);
    // `GH-1`, and whatever trackers the forge has been told of.
    let mut pairs = inner.chars().zip(inner.chars().skip(1));
    let issue = pairs.any(|(a, b)| a == '-' && b.is_ascii_digit());
    let has_letters = inner.chars().any(char::is_alphanumeric);
    let harmless =
        |c: char| c.is_alphanumeric() || is_safe_mark(c) && (has_letters || !c.is_ascii());
    !numbered && !commit && !issue && inner.chars().all(harmless)
}

fn is_safe_mark(c: char) -> bool {
    matches!(
        c,
        '-' | '%'
            | '\''
            | '·'
            | '→'
            | '…'
            | '–'
            | '—'
            | '、'
            | '。'
            | '「'
            | '」'
            | '『'
            | '』'
            | '（'
            | '）'
            | '：'
            | '・'
            | '，'
            | '！'
            | '？'
            | 'ー'
            | '“'
            | '”'
            | '’'
            | '‘'
    )
}

fn longest_run(text: &str) -> usize {
    let (mut longest, mut run) = (0, 0);
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}
