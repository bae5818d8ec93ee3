//! SARIF 2.1.0, for code scanning and editors that read it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::printable::printable_lines;
use super::report::{FindingView, Place, ReportView};
use crate::finding::Severity;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The report as one run. Paths are taken to be from the git repository's root ([`ReportView::with_paths`]).
pub fn sarif(report: &ReportView) -> String {
    let rules: BTreeSet<&str> = report.findings.iter().map(|f| f.rule).collect();
    let index: BTreeMap<&str, usize> = rules.iter().copied().zip(0..).collect();
    let document = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "Lockstep",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|id| json!({
                    "id": id,
                    "shortDescription": {"text": id.replace(['/', '-'], " ")},
                })).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": report.findings.iter().map(|f| result(f, &index)).collect::<Vec<_>>(),
        }],
    });
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

fn result(finding: &FindingView, index: &BTreeMap<&str, usize>) -> Value {
    let FindingView {
        rule,
        severity,
        path,
        place,
        message,
        hint,
        excerpt: _,
    } = finding;
    let level = match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let uri = encode(path.as_str());
    let mut physical = json!({"artifactLocation": {"uri": uri, "uriBaseId": "%SRCROOT%"}});
    if let Some(Place { line, column, end }) = place {
        physical["region"] = match end {
            Some((end_line, end_column)) => json!({
                "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column,
            }),
            None => json!({"startLine": line, "startColumn": column}),
        };
    }
    let text = match hint {
        Some(hint) => format!("{message}\n{hint}"),
        None => message.clone(),
    };
    json!({
        "ruleId": rule,
        "ruleIndex": index.get(rule),
        "level": level,
        "message": {"text": printable_lines(&text)},
        "locations": [{"physicalLocation": physical}],
    })
}

/// A path as a relative URI reference (RFC 3986): everything but unreserved characters and `/` is percent-encoded, the
/// colon too, since a first segment with one would read as a scheme.
fn encode(path: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
