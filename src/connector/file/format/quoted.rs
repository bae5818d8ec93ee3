//! What YAML and TOML have in common: texts in double quotes and numbers, written so that readers of any age take them for what they are.

use std::fmt::Write as _;

use serde_json::Number;

/// A text in double quotes. The escapes are those that both know; what can't be seen is escaped, as YAML wants it.
pub(super) fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_plain(c) => out.push(c),
            c if u32::from(c) > 0xffff => {
                let _infallible = write!(out, "\\U{:08x}", u32::from(c));
            }
            c => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(c));
            }
        }
    }
    out.push('"');
}

/// Whether a character stands for itself in both: printable, and no line break of any standard.
fn is_plain(c: char) -> bool {
    let breaks = matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}');
    let none = u32::from(c) & 0xfffe == 0xfffe;
    !c.is_control() && !breaks && !none
}

/// A number. One that is no small integer has a point and a sign: older YAML readers would take `1e300` for a text, and both would read
/// an integer as one.
pub(super) fn number(number: &Number, out: &mut String) {
    const EXACT: u64 = 1 << 53;
    if let Some(n) = number.as_i64().filter(|n| n.unsigned_abs() <= EXACT) {
        let _infallible = write!(out, "{n}");
        return;
    }
    let value = number.as_f64().unwrap_or(0.0);
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if digits.contains('.') { "" } else { ".0" };
    match exponent {
        "0" => {
            let _infallible = write!(out, "{digits}{point}");
        }
        _ if (1e-5..1e15).contains(&value.abs()) => {
            let plain = format!("{value}");
            let point = if plain.contains('.') { "" } else { ".0" };
            let _infallible = write!(out, "{plain}{point}");
        }
        exponent => {
            let sign = if exponent.starts_with('-') { "" } else { "+" };
            let _infallible = write!(out, "{digits}{point}e{sign}{exponent}");
        }
    }
}
