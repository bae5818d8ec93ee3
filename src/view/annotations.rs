//! GitHub workflow commands: findings shown in the pull request beside the lines they are about.
//!
//! The escapes are those of `@actions/core`: `%`, CR and LF in the message, `:` and `,` as well in properties.

use std::fmt::Write as _;

use super::printable::printable;
use super::report::{FindingView, Place, ReportView};
use crate::finding::Severity;

/// One line for each finding. Paths are taken to be from the git repository's root, as the forge counts them
/// ([`ReportView::with_paths`]).
pub fn annotations(report: &ReportView) -> String {
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
    out
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
