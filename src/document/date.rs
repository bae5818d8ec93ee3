//! Dates as people write them, brought into one form: `2025-10-01`.
//!
//! Only dates that can be read in one way are taken: `10/01/2025` is the first of October or the tenth of January, so it
//! is none.

use jiff::civil::Date;
use unicode_normalization::UnicodeNormalization as _;

#[cfg(test)]
mod tests;

/// The eras in which official papers count years, with the year before the first.
const ERAS: [(&str, &str, i16); 3] = [
    ("令和", "r", 2018),
    ("平成", "h", 1988),
    ("昭和", "s", 1925),
];

/// Reads `2025-10-01`, `2025/10/1`, `2025.10.1`, `2025年10月1日`, `令和7年10月1日` and `R7.10.1`, in full- or half-width
/// characters, with or without the day of the week behind. `None` where it is no date of the calendar.
pub fn parse(text: &str) -> Option<Date> {
    let text: String = text.nfkc().filter(|c| !c.is_whitespace()).collect();
    let text = without_weekday(&text.to_lowercase()).to_owned();
    let (before_year, first, rest) = match era(&text) {
        Some((before, rest)) => (before, 1, rest),
        None => (0, 1000, text.as_str()),
    };
    let (year, month, day) = if let Some(rest) = rest.strip_suffix('日') {
        let (year, rest) = rest.split_once('年')?;
        let (month, day) = rest.split_once('月')?;
        (year, month, day)
    } else {
        let separator = rest.chars().find(|c| matches!(c, '-' | '/' | '.'))?;
        let mut parts = rest.split(separator);
        let date = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        date
    };
    let year = if before_year > 0 && year == "元" {
        1
    } else {
        number(year)?
    };
    if year < first {
        return None;
    }
    let month = i8::try_from(number(month)?).ok()?;
    let day = i8::try_from(number(day)?).ok()?;
    Date::new(before_year.checked_add(year)?, month, day).ok()
}

fn era(text: &str) -> Option<(i16, &str)> {
    ERAS.iter().find_map(|(name, letter, before)| {
        let rest = text
            .strip_prefix(name)
            .or_else(|| text.strip_prefix(letter))?;
        Some((*before, rest))
    })
}

fn without_weekday(text: &str) -> &str {
    let Some((date, day)) = text.strip_suffix(')').and_then(|t| t.rsplit_once('(')) else {
        return text;
    };
    let known = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let japanese = matches!(
        day.trim_end_matches("曜日"),
        "月" | "火" | "水" | "木" | "金" | "土" | "日"
    );
    if japanese || known.contains(&day) {
        date
    } else {
        text
    }
}

fn number(text: &str) -> Option<i16> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}
