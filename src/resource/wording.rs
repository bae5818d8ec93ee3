//! A change in words: what the kinds' one-line descriptions have in common.

use serde_json::Value;

use crate::resource::Language;

/// Texts longer than this are not quoted in one line.
const SHORT: usize = 24;

/// A word in both languages.
pub(crate) struct Word {
    pub(crate) english: &'static str,
    pub(crate) japanese: &'static str,
}

impl Word {
    pub(crate) fn say(&self, language: Language) -> &'static str {
        match language {
            Language::English => self.english,
            Language::Japanese => self.japanese,
        }
    }
}

/// A field of a spec by the name that people know.
pub(crate) struct Label(pub(crate) &'static str, pub(crate) Word);

/// A word, from a table.
pub(crate) const fn word(english: &'static str, japanese: &'static str) -> Word {
    Word { english, japanese }
}

/// What a field is called, from a table.
pub(crate) const fn label(
    field: &'static str,
    english: &'static str,
    japanese: &'static str,
) -> Label {
    Label(field, word(english, japanese))
}

/// A text of a spec; empty where there is none.
pub(crate) fn text<'v>(spec: &'v Value, field: &str) -> &'v str {
    spec.get(field).and_then(Value::as_str).unwrap_or("")
}

/// A text in the language's quotation marks.
pub(crate) fn quoted(text: &str, language: Language) -> String {
    match language {
        Language::English => format!("“{text}”"),
        Language::Japanese => format!("「{text}」"),
    }
}

/// Which fields differ, as `severity high → critical, impact rewritten`. Empty where none of the labelled ones does.
pub(crate) fn differences(
    before: &Value,
    after: &Value,
    labels: &[Label],
    language: Language,
) -> String {
    let mut parts = Vec::new();
    for Label(field, word) in labels {
        let (old, new) = (before.get(field), after.get(field));
        if old == new {
            continue;
        }
        let label = word.say(language);
        parts.push(match (brief(old), brief(new), language) {
            (Some(old), Some(new), _) => format!("{label} {old} → {new}"),
            (_, _, Language::English) => format!("{label} rewritten"),
            (_, _, Language::Japanese) => format!("{label}を改訂"),
        });
    }
    parts.join(match language {
        Language::English => ", ",
        Language::Japanese => "、",
    })
}

/// A value that is short enough to be shown; `—` for nothing.
fn brief(value: Option<&Value>) -> Option<String> {
    match value {
        None | Some(Value::Null) => Some("—".to_owned()),
        Some(Value::String(s)) => {
            (s.chars().count() <= SHORT && !s.contains('\n')).then(|| s.clone())
        }
        Some(Value::Bool(b)) => Some(b.to_string()),
        Some(Value::Number(n)) => Some(n.to_string()),
        Some(Value::Array(items)) => {
            let words: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            let line = words?.join(", ");
            (line.chars().count() <= SHORT).then_some(line)
        }
        Some(Value::Object(_)) => None,
    }
}
