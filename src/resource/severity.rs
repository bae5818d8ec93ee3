//! How grave a notice or an incident is, in the words that people use for it.

use crate::document::markdown::folded;

/// From the gravest down, each with the words that mean it.
const SCALE: &[(&str, &[&str])] = &[
    (
        "critical",
        &[
            "critical",
            "emergency",
            "urgent",
            "緊急",
            "至急",
            "致命的",
            "最重要",
            "重大",
            "sev1",
            "sev-1",
            "p1",
        ],
    ),
    (
        "high",
        &[
            "high",
            "major",
            "alert",
            "important",
            "高",
            "重要",
            "警報",
            "sev2",
            "sev-2",
            "p2",
        ],
    ),
    (
        "medium",
        &[
            "medium", "moderate", "warning", "warn", "caution", "中", "警告", "注意", "sev3",
            "sev-3", "p3",
        ],
    ),
    (
        "low",
        &["low", "minor", "低", "軽微", "sev4", "sev-4", "p4"],
    ),
    (
        "info",
        &[
            "info",
            "information",
            "notice",
            "none",
            "情報",
            "お知らせ",
            "通知",
            "連絡",
        ],
    ),
];

/// What to write, for hints.
pub(crate) const EXPECTED: &str =
    "critical, high, medium, low or info (緊急, 重要, 注意, 軽微, 情報)";

/// The severity that a word means.
pub(crate) fn parse(word: &str) -> Option<&'static str> {
    let word = folded(word);
    let word = word
        .trim_matches(|c: char| c.is_whitespace() || matches!(c, '【' | '】' | '[' | ']' | '!'));
    SCALE
        .iter()
        .find(|(_, words)| words.contains(&word))
        .map(|(name, _)| *name)
}

/// The graver of two severities.
pub(crate) fn graver(a: &'static str, b: &'static str) -> &'static str {
    let rank = |name: &str| SCALE.iter().position(|(n, _)| *n == name);
    if rank(a) <= rank(b) { a } else { b }
}

/// The severity that a title begins with in Japanese (`緊急メンテナンス`), where nothing divides it from the rest.
pub(crate) fn leading(title: &str) -> Option<&'static str> {
    let title = folded(title);
    let title = title.trim_start_matches(['【', '[', '(', '「']);
    let words = SCALE
        .iter()
        .flat_map(|(name, words)| words.iter().map(move |word| (*name, *word)));
    words
        .filter(|(_, word)| !word.is_ascii() && word.chars().count() > 1)
        .find(|(_, word)| title.starts_with(word))
        .map(|(name, _)| name)
}
