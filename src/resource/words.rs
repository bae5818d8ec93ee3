//! How kinds tell a change in one line: name, then parts, in Japanese or English.

use serde_json::Value;

use super::Language;

/// Picks the wording of a language.
pub(super) fn say<'t>(language: Language, english: &'t str, japanese: &'t str) -> &'t str {
    match language {
        Language::English => english,
        Language::Japanese => japanese,
    }
}

/// `name: part, part`.
pub(super) fn line(name: &str, parts: &[String], language: Language) -> String {
    let parts = if parts.is_empty() {
        say(language, "no visible change", "表示上の変更なし").to_owned()
    } else {
        parts.join(say(language, ", ", "、"))
    };
    format!("{name}: {parts}")
}

/// What a new or removed resource is said to be.
pub(super) fn whole(language: Language, created: bool, what: &str) -> String {
    match (created, what.is_empty()) {
        (true, true) => say(language, "new", "新規").to_owned(),
        (false, true) => say(language, "removed", "削除").to_owned(),
        (true, false) => format!("{}{what}", say(language, "new, ", "新規、")),
        (false, false) => match language {
            Language::English => format!("removed (was {what})"),
            Language::Japanese => format!("削除（変更前: {what}）"),
        },
    }
}

/// From when and until when something holds: `from 2026-12-01 until 2027-03-31`; `None` where it always does.
pub(super) fn dates(spec: &Value, language: Language) -> Option<String> {
    let said = |key| {
        let value = spec.get(key).filter(|value| value.is_string())?;
        Some(shown(Some(value), language))
    };
    let from = said("from").map(|from| match language {
        Language::English => format!("from {from}"),
        Language::Japanese => format!("開始 {from}"),
    });
    let until = said("until").map(|until| match language {
        Language::English => format!("until {until}"),
        Language::Japanese => format!("期限 {until}"),
    });
    let parts: Vec<String> = from.into_iter().chain(until).collect();
    (!parts.is_empty()).then(|| parts.join(say(language, " ", "、")))
}

/// How much of a field's change is said.
#[derive(Debug, Clone, Copy)]
pub(super) enum Show {
    /// Both values.
    Values,
    /// Only that it changed.
    Changed,
}

/// A field as people call it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) key: &'static str,
    pub(super) english: &'static str,
    pub(super) japanese: &'static str,
    pub(super) show: Show,
}

/// One part for each of these fields that differs.
pub(super) fn differences(
    fields: &[Field],
    before: &Value,
    after: &Value,
    language: Language,
) -> Vec<String> {
    let differing = fields
        .iter()
        .filter(|f| before.get(f.key) != after.get(f.key));
    differing
        .map(|field| {
            let word = say(language, field.english, field.japanese);
            match (field.show, language) {
                (Show::Values, _) => {
                    let from = shown(before.get(field.key), language);
                    let to = shown(after.get(field.key), language);
                    format!("{word} {from} → {to}")
                }
                (Show::Changed, Language::English) => format!("{word} changed"),
                (Show::Changed, Language::Japanese) => format!("{word}を変更"),
            }
        })
        .collect()
}

/// A value on one line, short.
pub(super) fn shown(value: Option<&Value>, language: Language) -> String {
    const LONGEST: usize = 60;
    let text = match value {
        None | Some(Value::Null) => return say(language, "none", "なし").to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = plain.clone().take(LONGEST).collect();
    if plain.count() > LONGEST {
        short.push('…');
    }
    short
}
