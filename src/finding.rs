//! What is wrong with a document, where, and what to do: the one shape in which every check speaks.
//!
//! A [`Report`] is a value: sorted, without duplicates, the same for the same input.

use std::cell::Cell;
use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::ids::DocPath;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing is stopped.
    Note,
    /// Probably a mistake; nothing is stopped.
    Warning,
    /// The revision can't be applied.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// A stretch of a document. Lines and columns start at 1; columns count Unicode scalar values, as editors do;
/// `start..end` are byte offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub line: u32,
    pub column: u32,
    pub start: usize,
    pub end: usize,
}

impl Span {
    /// Computes line and column of one byte range. For many ranges of one source use a [`LineIndex`].
    pub fn in_source(source: &str, range: Range<usize>) -> Self {
        LineIndex::new(source).span(range)
    }
}

/// Turns byte ranges of one source into [`Span`]s. Asked in ascending order, all of them together cost one pass.
#[derive(Debug)]
pub struct LineIndex<'a> {
    source: &'a str,
    /// The byte at which each line starts.
    starts: Vec<usize>,
    /// The last place asked for and its column, so that many places on one long line are not counted from its start.
    last: Cell<(usize, usize)>,
}

impl<'a> LineIndex<'a> {
    pub fn new(source: &'a str) -> Self {
        let breaks = source
            .bytes()
            .enumerate()
            .filter(|(_, b)| *b == b'\n')
            .map(|(at, _)| at + 1);
        Self {
            source,
            starts: std::iter::once(0).chain(breaks).collect(),
            last: Cell::new((0, 0)),
        }
    }

    /// Offsets past the end or inside a character are moved to the nearest boundary before them.
    pub fn span(&self, range: Range<usize>) -> Span {
        let floor = |at: usize| {
            let mut at = at.min(self.source.len());
            while !self.source.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (start, end) = (floor(range.start), floor(range.end.max(range.start)));
        let line = self.starts.partition_point(|s| *s <= start);
        let line_start = self
            .starts
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or(0);
        let (seen, column) = self.last.get();
        let (from, before) = if (line_start..=start).contains(&seen) {
            (seen, column)
        } else {
            (line_start, 0)
        };
        let column = before
            + self
                .source
                .get(from..start)
                .map_or(0, |text| text.chars().count());
        self.last.set((start, column));
        Span {
            line: to_u32(line),
            column: to_u32(column + 1),
            start,
            end,
        }
    }
}

fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Where a finding is. `span` is absent where it concerns the whole file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    pub path: DocPath,
    pub span: Option<Span>,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Finding {
    /// Stable id of the rule, such as `json/duplicate-key`; the same string in every output format.
    pub rule: &'static str,
    pub severity: Severity,
    pub location: Location,
    /// What is wrong and what was expected, one sentence.
    pub message: String,
    /// What to do: the nearest known name, an example of a right value.
    pub hint: Option<String>,
}

impl Finding {
    /// An error at a place.
    pub fn error(
        rule: &'static str,
        path: &DocPath,
        span: Option<Span>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            rule,
            severity: Severity::Error,
            location: Location {
                path: path.clone(),
                span,
            },
            message: message.into(),
            hint: None,
        }
    }

    /// The same, but only a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// The same, with advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// All findings of one pass: by path, place, then rule; each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    findings: Vec<Finding>,
}

impl Report {
    /// Sorts and deduplicates.
    pub fn new(mut findings: Vec<Finding>) -> Self {
        findings.sort_by(|a, b| {
            (&a.location, a.rule, &a.message, &a.hint, a.severity).cmp(&(
                &b.location,
                b.rule,
                &b.message,
                &b.hint,
                b.severity,
            ))
        });
        findings.dedup();
        Self { findings }
    }

    /// The same with more findings.
    #[must_use]
    pub fn with(&self, more: Vec<Finding>) -> Self {
        Self::new(self.findings.iter().cloned().chain(more).collect())
    }

    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The heaviest severity found; `None` where nothing was.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|f| f.severity).max()
    }

    /// Whether the revision may be applied as far as this report goes.
    pub fn passes(&self) -> bool {
        self.worst() != Some(Severity::Error)
    }

    /// How many findings have this severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings
            .iter()
            .filter(|f| f.severity == severity)
            .count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_and_columns_are_those_of_an_editor(text in "[aé日\\n]{0,40}", at in 0..120usize, then in 0..120usize) {
            let index = LineIndex::new(&text);
            for at in [at, then] {
                let span = index.span(at..at + 1);
                let before = &text[..span.start];
                prop_assert_eq!(span.line as usize, before.matches('\n').count() + 1);
                prop_assert_eq!(span.column as usize, before.rsplit('\n').next().unwrap_or("").chars().count() + 1);
            }
        }
    }
}
