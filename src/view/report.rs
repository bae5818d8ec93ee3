//! Findings with what a reader needs beside them: the place, and the stretch of the line that is meant.

use std::borrow::Cow;
use std::ops::Range;

use super::printable::{columns, is_unsafe, push};
use crate::finding::{Finding, LineIndex, Report, Severity, Span};
use crate::ids::DocPath;

/// A report as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReportView {
    /// In the report's order: by path, place, rule.
    pub findings: Vec<FindingView>,
}

/// One finding as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindingView {
    /// Of a finding its rule; of what a policy says its code.
    pub rule: Cow<'static, str>,
    pub severity: Severity,
    pub path: DocPath,
    /// Absent where the finding concerns the whole file.
    pub place: Option<Place>,
    pub message: String,
    pub hint: Option<String>,
    /// Absent where there is no place, or the source isn't at hand.
    pub excerpt: Option<Excerpt>,
}

/// Lines and columns from 1, columns in Unicode scalar values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: u32,
    pub column: u32,
    /// Where it ends: line, and the column after the last character. Known only where the source is at hand.
    pub end: Option<(u32, u32)>,
}

/// The line a finding is in, or the part of it around the finding where it is long. Safe to print as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    pub text: String,
    /// The bytes of `text` that are meant.
    pub mark: Range<usize>,
}

/// How wide an excerpt may get, in terminal columns, before, within and after the marked part.
const BEFORE: usize = 48;
const MARKED: usize = 56;
const AFTER: usize = 32;
/// How many columns a tab is shown as.
const TAB: &str = "    ";

impl ReportView {
    /// `sources` gives the text that was checked, for the excerpts; `None` leaves them out.
    pub fn new<'a>(report: &Report, sources: impl Fn(&DocPath) -> Option<&'a str>) -> Self {
        // Findings come sorted by path, so the source is asked for once a file.
        let mut at: Option<(&DocPath, Option<&'a str>)> = None;
        let findings = report
            .findings()
            .iter()
            .map(|finding| {
                let path = &finding.location.path;
                let source = match at {
                    Some((known, source)) if known == path => source,
                    _ => sources(path).map(|t| t.strip_prefix('\u{feff}').unwrap_or(t)),
                };
                at = Some((path, source));
                FindingView::new(finding, source)
            })
            .collect();
        Self { findings }
    }

    /// The same with other paths: what reads annotations and SARIF counts them from the git repository's root, where documents and
    /// policies need not lie in one folder. A path that would be none is left as it is.
    #[must_use]
    pub fn with_paths(&self, place: impl Fn(&DocPath) -> String) -> Self {
        let mut view = self.clone();
        for finding in &mut view.findings {
            if let Ok(path) = place(&finding.path).parse() {
                finding.path = path;
            }
        }
        view
    }

    /// How many findings have this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings
            .iter()
            .filter(|f| f.severity == severity)
            .count()
    }

    /// The findings of each file.
    pub fn files(&self) -> impl Iterator<Item = &[FindingView]> {
        self.findings.chunk_by(|a, b| a.path == b.path)
    }
}

impl FindingView {
    fn new(finding: &Finding, source: Option<&str>) -> Self {
        let Finding {
            rule,
            severity,
            location,
            message,
            hint,
        } = finding;
        Self {
            rule: Cow::Borrowed(*rule),
            severity: *severity,
            path: location.path.clone(),
            place: location.span.map(|span| Place::of(span, source)),
            message: message.clone(),
            hint: hint.clone(),
            excerpt: location
                .span
                .and_then(|span| source.and_then(|text| Excerpt::new(text, span))),
        }
    }
}

impl Place {
    fn of(span: Span, source: Option<&str>) -> Self {
        Self {
            line: span.line,
            column: span.column,
            end: source.map(|text| end_of(text, span)),
        }
    }
}

/// A line of a source without the space around it, as a place; `None` where there is no such line.
pub(super) fn whole_line(source: &str, line: u32) -> Option<(Place, Option<Excerpt>)> {
    let nth = usize::try_from(line).ok()?.checked_sub(1)?;
    let text = source.split('\n').nth(nth)?;
    let before: usize = source.split('\n').take(nth).map(|l| l.len() + 1).sum();
    let start = before + text.len() - text.trim_start().len();
    let end = (before + text.trim_end().len()).max(start);
    let span = LineIndex::new(source).span(start..end);
    Some((Place::of(span, Some(source)), Excerpt::new(source, span)))
}

/// The text of a span; empty where its offsets don't fit the source.
fn text_of(source: &str, span: Span) -> &str {
    source
        .get(span.start..span.end.max(span.start))
        .unwrap_or_default()
}

fn end_of(source: &str, span: Span) -> (u32, u32) {
    let text = text_of(source, span);
    let to_u32 = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let lines = to_u32(text.bytes().filter(|b| *b == b'\n').count());
    let tail = to_u32(text.rsplit('\n').next().map_or(0, |t| t.chars().count()));
    if lines == 0 {
        (span.line, span.column.saturating_add(tail))
    } else {
        (span.line.saturating_add(lines), tail.saturating_add(1))
    }
}

impl Excerpt {
    /// Looks no further than the excerpt reaches, so that a file that is one enormous line costs no more than another.
    fn new(source: &str, span: Span) -> Option<Self> {
        let (before, rest) = source.split_at_checked(span.start)?;
        let marked_len = span.end.saturating_sub(span.start);
        let in_line = |c: &char| !matches!(c, '\n' | '\r');

        let mut left = Vec::new();
        let mut left_cut = false;
        let mut used = 0;
        for c in before.chars().rev().take_while(in_line) {
            used += columns(c);
            if used > BEFORE {
                left_cut = true;
                break;
            }
            left.push(c);
        }
        let mut text = String::from(if left_cut { "…" } else { "" });
        left.into_iter().rev().for_each(|c| show(&mut text, c));

        let start = text.len();
        let mut end = None;
        used = 0;
        let mut right_cut = false;
        for (at, c) in rest.char_indices().take_while(|(_, c)| in_line(c)) {
            if at >= marked_len && end.is_none() {
                end = Some(text.len());
                used = 0;
            }
            used += columns(c);
            if used > if end.is_none() { MARKED } else { AFTER } {
                right_cut = true;
                break;
            }
            show(&mut text, c);
        }
        let end = end.unwrap_or(text.len());
        if right_cut {
            text.push('…');
        }
        Some(Self {
            text,
            mark: start..end,
        })
    }
}

fn show(out: &mut String, c: char) {
    if c == '\t' {
        out.push_str(TAB);
    } else if is_unsafe(c) {
        push(out, c);
    } else {
        out.push(c);
    }
}
