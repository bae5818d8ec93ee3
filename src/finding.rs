//! What is wrong with a document, where, and what to do: the one shape in which every check speaks.
//!
//! A [`Report`] is a value: sorted, without duplicates, the same for the same input.

use std::fmt;

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
    /// Computes line and column of a byte range in its source. Offsets past the end or inside a character are
    /// moved to the nearest boundary before them.
    pub fn in_source(source: &str, range: std::ops::Range<usize>) -> Self {
        let floor = |at: usize| {
            let mut at = at.min(source.len());
            while !source.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (start, end) = (floor(range.start), floor(range.end.max(range.start)));
        let before = &source[..start];
        let line = before.bytes().filter(|b| *b == b'\n').count();
        let column = before
            .rsplit('\n')
            .next()
            .map_or(0, |tail| tail.chars().count());
        Self {
            line: to_u32(line + 1),
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
