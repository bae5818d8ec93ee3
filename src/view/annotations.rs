//! GitHub workflow commands: findings shown in the pull request beside the lines they are about.
//!
//! The escapes are those of `@actions/core`: `%`, CR and LF in the message, `:` and `,` as well in properties.

use std::fmt::Write as _;

use super::printable::printable;
use super::report::{FindingView, Place, ReportView};
use crate::finding::Severity;
use crate::forge::{Status, StatusState};
use crate::resource::Language;

/// How many annotations of each kind GitHub shows for a step; the log has all of them.
const SHOWN: usize = 10;

/// One line for each finding, and a last one where GitHub will not show all of them. Paths are taken to be from the git repository's
/// root, as the forge counts them ([`ReportView::with_paths`]).
pub fn annotations(report: &ReportView, language: Language) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        let FindingView {
            rule,
            severity,
            path,
            place,
            message,
            hint,
            excerpt: _,
        } = finding;
        let command = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let _ = write!(out, "::{command} file=");
        out.push_str(&property(path.as_str()));
        if let Some(Place { line, column, end }) = place {
            let _ = write!(out, ",line={line},col={column}");
            if let Some((end_line, end_column)) = end {
                let _ = write!(out, ",endLine={end_line}");
                // GitHub takes end columns only where they are on the same line.
                if end_line == line {
                    let _ = write!(out, ",endColumn={end_column}");
                }
            }
        }
        let _ = write!(out, ",title={}::{}", property(rule), data(message));
        if let Some(hint) = hint {
            let _ = write!(out, "%0A{}", data(hint));
        }
        out.push('\n');
    }
    out.push_str(&unshown(report, language));
    out
}

/// A status that is not green, as a notice about no line.
pub fn statuses(statuses: &[Status]) -> String {
    let open = statuses.iter().filter(|s| s.state != StatusState::Success);
    open.map(|s| {
        let (context, said) = (property(&s.context), data(&s.description));
        format!("::notice title={context}::{said}\n")
    })
    .collect()
}

/// What stands in the log only.
fn unshown(report: &ReportView, language: Language) -> String {
    let beyond = |severity| report.count(severity).saturating_sub(SHOWN);
    let errors = beyond(Severity::Error);
    let warnings = beyond(Severity::Warning);
    let notes = beyond(Severity::Note);
    if errors + warnings + notes == 0 {
        return String::new();
    }
    match language {
        Language::English => format!(
            "GitHub shows {SHOWN} of each kind for a step; only in this log: {errors} more errors, {warnings} more warnings, {notes} more notes\n"
        ),
        Language::Japanese => format!(
            "GitHub が表示するのは種類ごとに {SHOWN} 件までです。このログにだけあるもの: エラー {errors} 件、警告 {warnings} 件、メモ {notes} 件\n"
        ),
    }
}

/// Line breaks are part of a message and have an escape of their own here; other control characters are shown.
fn data(text: &str) -> String {
    let lines: Vec<String> = text
        .split('\n')
        .map(|line| printable(line.strip_suffix('\r').unwrap_or(line)).replace('%', "%25"))
        .collect();
    lines.join("%0A")
}

fn property(text: &str) -> String {
    printable(text)
        .replace('%', "%25")
        .replace(':', "%3A")
        .replace(',', "%2C")
}
