//! Findings while a document is read: kept as byte ranges, given lines and columns once, at the end, in one sweep over
//! the text. So the cost of a thousand findings in a large document is that of one.

use std::collections::BTreeMap;
use std::ops::Range;

use super::limits;
use crate::finding::{Finding, Location, Severity, Span};
use crate::ids::DocPath;

#[cfg(test)]
mod tests;

/// What is wrong with one document so far. At most [`limits::FINDINGS`] are kept; one more says how many were left out.
#[derive(Debug)]
pub struct Faults<'a> {
    path: &'a DocPath,
    text: &'a str,
    found: Vec<Fault>,
    omitted: usize,
    worst_omitted: Severity,
}

#[derive(Debug)]
struct Fault {
    rule: &'static str,
    severity: Severity,
    at: Range<usize>,
    message: String,
    hint: Option<String>,
}

impl<'a> Faults<'a> {
    pub fn new(path: &'a DocPath, text: &'a str) -> Self {
        Self {
            path,
            text,
            found: Vec::new(),
            omitted: 0,
            worst_omitted: Severity::Note,
        }
    }

    /// The text that ranges point into.
    pub fn text(&self) -> &'a str {
        self.text
    }

    pub fn path(&self) -> &'a DocPath {
        self.path
    }

    /// Whether nothing was found that stops the revision.
    pub fn is_clean(&self) -> bool {
        self.worst_omitted < Severity::Error
            && self.found.iter().all(|f| f.severity < Severity::Error)
    }

    /// How many have been found, those left out included.
    pub fn len(&self) -> usize {
        self.found.len() + self.omitted
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether further findings are only counted: what it would cost to word them can be saved.
    pub fn is_full(&self) -> bool {
        self.found.len() >= limits::FINDINGS
    }

    /// Whether it is not worth the while any more to look for what was meant: a hundred hints help as much as a thousand.
    pub fn has_hints_enough(&self) -> bool {
        self.found.len() >= limits::HINTS
    }

    /// Notes an error at a byte range.
    pub fn error(
        &mut self,
        rule: &'static str,
        at: Range<usize>,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        self.push(Severity::Error, rule, at, message.into(), hint);
    }

    /// Notes a probable mistake that stops nothing.
    pub fn warning(
        &mut self,
        rule: &'static str,
        at: Range<usize>,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        self.push(Severity::Warning, rule, at, message.into(), hint);
    }

    fn push(
        &mut self,
        severity: Severity,
        rule: &'static str,
        at: Range<usize>,
        message: String,
        hint: Option<String>,
    ) {
        if self.found.len() < limits::FINDINGS {
            self.found.push(Fault {
                rule,
                severity,
                at,
                message,
                hint,
            });
        } else {
            self.omitted += 1;
            self.worst_omitted = self.worst_omitted.max(severity);
        }
    }

    /// All of them with lines and columns, in the order of the document.
    pub fn finish(self) -> Vec<Finding> {
        let Self {
            path,
            text,
            mut found,
            omitted,
            worst_omitted,
        } = self;
        found.sort_by_key(|f| f.at.start);
        let mut sweep = Sweep::new(text);
        let mut findings: Vec<Finding> = found
            .into_iter()
            .map(|fault| {
                let Fault {
                    rule,
                    severity,
                    at,
                    message,
                    hint,
                } = fault;
                Finding {
                    rule,
                    severity,
                    location: Location {
                        path: path.clone(),
                        span: Some(sweep.span(at)),
                    },
                    message,
                    hint,
                }
            })
            .collect();
        if omitted > 0 {
            findings.push(more(path, omitted, worst_omitted));
        }
        findings
    }
}

/// The finding that stands for those that are left out.
fn more(path: &DocPath, omitted: usize, worst: Severity) -> Finding {
    Finding {
        rule: "document/more-findings",
        severity: worst,
        location: Location {
            path: path.clone(),
            span: None,
        },
        message: format!("{omitted} more findings in this document are not shown"),
        hint: Some("correct those that are shown and check again".to_owned()),
    }
}

/// At most so many findings of each document, and one for the rest of it.
pub fn at_most(most: usize, findings: Vec<Finding>) -> Vec<Finding> {
    if findings.len() <= most {
        return findings;
    }
    let mut seen: BTreeMap<DocPath, usize> = BTreeMap::new();
    let mut omitted: BTreeMap<DocPath, (usize, Severity)> = BTreeMap::new();
    let mut kept: Vec<Finding> = Vec::new();
    for finding in findings {
        let path = &finding.location.path;
        let count = seen.entry(path.clone()).or_default();
        *count += 1;
        if *count <= most {
            kept.push(finding);
        } else {
            let (count, worst) = omitted.entry(path.clone()).or_insert((0, finding.severity));
            *count += 1;
            *worst = finding.severity.max(*worst);
        }
    }
    let rest = omitted.into_iter();
    kept.extend(rest.map(|(path, (count, worst))| more(&path, count, worst)));
    kept
}

/// Lines and columns of many ranges at once, in one sweep over the text; each keeps what it is tagged with.
pub fn spans<T>(text: &str, mut ranges: Vec<(T, Range<usize>)>) -> Vec<(T, Span)> {
    ranges.sort_by_key(|(_, range)| range.start);
    let mut sweep = Sweep::new(text);
    ranges
        .into_iter()
        .map(|(tag, range)| (tag, sweep.span(range)))
        .collect()
}

/// Lines and columns of ranges that come in the order of their starts: each byte is looked at once.
struct Sweep<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    column: u32,
}

impl<'a> Sweep<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
            column: 1,
        }
    }

    fn span(&mut self, range: Range<usize>) -> Span {
        let start = floor(self.text, range.start).max(self.at);
        let end = floor(self.text, range.end).max(start);
        for c in self.text.get(self.at..start).unwrap_or("").chars() {
            if c == '\n' {
                self.line = self.line.saturating_add(1);
                self.column = 1;
            } else {
                self.column = self.column.saturating_add(1);
            }
        }
        self.at = start;
        Span {
            line: self.line,
            column: self.column,
            start,
            end,
        }
    }
}

/// The nearest character boundary at or before an offset.
pub(crate) fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
