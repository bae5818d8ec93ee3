//! A variant's line: `バリアントA（青いボタン）: CTR 12% ← 勝者`, `Variant A (blue): 120/1000`.

use serde_json::{Map, Number, Value};
use unicode_normalization::UnicodeNormalization as _;

use crate::document::markdown::{Line, Phrase, folded, split_label};
use crate::resource::page::spec;

/// The words that a variant's line begins with.
const WORDS: [&str; 5] = ["バリアント", "variant", "パターン", "pattern", "グループ"];
const ARROWS: [&str; 6] = ["←", "<--", "<-", "⇐", "◀", "◄"];
const WINNERS: [&str; 5] = ["勝者", "勝ち", "winner", "採用", "best"];

/// A variant as it stands.
pub(super) struct Variant {
    pub(super) name: Phrase,
    label: Option<String>,
    metric: Option<String>,
    /// In percent.
    value: Option<Number>,
    successes: Option<u64>,
    trials: Option<u64>,
    /// The mark, where there is one.
    pub(super) winner: Option<Phrase>,
    /// What is wrong with the result.
    pub(super) problem: Option<String>,
    pub(super) line: Phrase,
}

impl Variant {
    pub(super) fn into_spec(self) -> Map<String, Value> {
        spec([
            ("name", Some(self.name.text.into())),
            ("label", self.label.map(Value::from)),
            ("metric", self.metric.map(Value::from)),
            ("value", self.value.map(Value::Number)),
            ("successes", self.successes.map(Value::from)),
            ("trials", self.trials.map(Value::from)),
            ("winner", self.winner.map(|_| true.into())),
        ])
    }
}

/// Whether a line is a variant's.
pub(super) fn is_variant(line: &Line) -> bool {
    let label = split_label(&line.text).and_then(|(label, _)| line.text.get(label));
    label.is_some_and(|label| {
        let label = folded(label);
        WORDS.iter().any(|word| label.starts_with(word))
    })
}

/// Reads a variant's line; any other line is `None`.
pub(super) fn read(line: &Line) -> Option<Variant> {
    if !is_variant(line) {
        return None;
    }
    let (before, after) = split_label(&line.text)?;
    let (name, label) = named(line, before);
    let mut variant = Variant {
        name,
        label,
        metric: None,
        value: None,
        successes: None,
        trials: None,
        winner: None,
        problem: None,
        line: line.phrase(0..line.text.len()),
    };
    let mut end = after.end;
    let mut unknown = None;
    if let Some((at, arrow)) = last_arrow(line.text.get(after.clone()).unwrap_or("")) {
        let mark = line.phrase(after.start + at..after.end);
        let word = folded(mark.text.get(arrow..).unwrap_or(""));
        end = after.start + at;
        if WINNERS.contains(&word.as_str()) {
            variant.winner = Some(mark);
        } else {
            unknown = Some(format!("`{}` is no mark that is known here", mark.text));
        }
    }
    let result: String = line
        .text
        .get(after.start..end)
        .unwrap_or("")
        .nfkc()
        .collect();
    measure(&mut variant, result.trim());
    variant.problem = variant.problem.or(unknown);
    Some(variant)
}

/// `バリアントA（青いボタン）` is named `A` and labelled `青いボタン`.
fn named(line: &Line, before: std::ops::Range<usize>) -> (Phrase, Option<String>) {
    let text = line.text.get(before.clone()).unwrap_or("");
    let (head, label) = match text.find(['(', '（']) {
        Some(open) => {
            let inside = text.get(open..).unwrap_or("");
            let label = inside
                .trim_matches(|c: char| matches!(c, '(' | '（' | ')' | '）') || c.is_whitespace());
            (open, Some(label.to_owned()).filter(|l| !l.is_empty()))
        }
        None => (text.len(), None),
    };
    // The word may be full-width, so its length is counted in the characters that it was written with.
    let word = text
        .char_indices()
        .map(|(at, c)| at + c.len_utf8())
        .find(|end| {
            text.get(..*end)
                .is_some_and(|start| WORDS.contains(&folded(start).as_str()))
        });
    let phrase = line.phrase(before.start + word.unwrap_or(0)..before.start + head);
    let plain: String = phrase.text.nfkc().collect();
    let plain =
        plain.trim_matches(|c: char| matches!(c, '-' | '_' | '「' | '」') || c.is_whitespace());
    (
        Phrase {
            text: plain.to_owned(),
            span: phrase.span,
        },
        label,
    )
}

/// Where the last arrow stands, and its length.
fn last_arrow(text: &str) -> Option<(usize, usize)> {
    let found = ARROWS
        .iter()
        .filter_map(|arrow| Some((text.rfind(arrow)?, arrow.len())));
    // Of `<--` and `<-` at one place the longer one is meant.
    let full_width = ["＜－", "＜ー"]
        .iter()
        .filter_map(|arrow| Some((text.rfind(arrow)?, arrow.len())));
    found.chain(full_width).max()
}

/// Reads `CTR 12%`, `120/1000`, `7日継続率 12% (120/1000)`: what comes before the first measure names the metric.
fn measure(variant: &mut Variant, result: &str) {
    let mut metric: Vec<&str> = Vec::new();
    let divides = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | '=' | '、' | ';');
    for word in result.split(divides).filter(|word| !word.is_empty()) {
        let word = word.trim_end_matches(['件', '人', '名', '回', '。', ',']);
        let (before, number) = word.split_at(number_at(word));
        let known = variant.value.is_some() || variant.successes.is_some();
        if let Some((successes, trials)) = number.split_once('/') {
            (variant.successes, variant.trials) = (count(successes), count(trials));
        } else if let Some(share) = number.strip_suffix('%') {
            variant.value = variant.value.take().or_else(|| percent(share));
        } else if !known {
            metric.push(word);
            continue;
        }
        if !known && !before.is_empty() {
            metric.push(before);
        }
    }
    let metric = metric.join(" ");
    let metric = metric.trim_end_matches([':', ',']);
    variant.metric = Some(metric.to_owned()).filter(|m| !m.is_empty());
    variant.problem = match (&variant.value, variant.successes, variant.trials) {
        _ if result.is_empty() => Some("the variant has no result".to_owned()),
        (None, None, _) | (None, _, None) => {
            Some(format!("`{result}` holds neither a share nor a count"))
        }
        (_, Some(successes), Some(trials)) if trials == 0 || successes > trials => Some(format!(
            "there can't be {successes} successes of {trials} trials"
        )),
        (Some(share), _, _) if share.as_f64().is_some_and(|n| n > 100.0) => {
            Some(format!("{share}% is more than all"))
        }
        (Some(_), _, _) | (None, Some(_), Some(_)) => None,
    };
}

/// Where the number at a word's end begins.
fn number_at(word: &str) -> usize {
    let digits = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '/' | '%');
    word.len()
        - word
            .chars()
            .rev()
            .take_while(|c| digits(*c))
            .map(char::len_utf8)
            .sum::<usize>()
}

/// A whole number, with or without commas at the thousands. Larger ones than 2^53 have no exact JSON form.
fn count(text: &str) -> Option<u64> {
    let plain: String = text.chars().filter(|c| *c != ',').collect();
    plain.parse().ok().filter(|n| *n <= 1 << 53)
}

fn percent(text: &str) -> Option<Number> {
    let digits = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    if let (true, Ok(whole)) = (digits, text.parse::<u32>()) {
        return Some(whole.into());
    }
    let value: f64 = digits.then(|| text.parse().ok()).flatten()?;
    Number::from_f64(value)
}
