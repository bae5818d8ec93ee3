//! SARIF 2.1.0, for code scanning and editors that read it: what GitHub asks for beyond the standard included.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::printable::printable_lines;
use super::report::{FindingView, Place, ReportView};
use crate::finding::Severity;
use crate::ids::Digest;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The most results that GitHub keeps of a run. Of more, errors come first.
const RESULTS: usize = 5_000;

/// The report as one run. Paths are taken to be from the git repository's root ([`ReportView::with_paths`]).
pub fn sarif(report: &ReportView) -> String {
    let findings = kept(report);
    let rules: BTreeSet<&str> = findings.iter().map(|f| &*f.rule).collect();
    let index: BTreeMap<&str, usize> = rules.iter().copied().zip(0..).collect();
    let mut seen = BTreeMap::new();
    let results: Vec<Value> = findings
        .iter()
        .map(|finding| result(finding, &index, &mut seen))
        .collect();
    let document = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "Lockstep",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|id| rule(id)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
            "properties": {"leftOut": report.findings.len() - findings.len()},
        }],
    });
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

/// In the report's order, where not all may stay the gravest.
fn kept(report: &ReportView) -> Vec<&FindingView> {
    let mut findings: Vec<&FindingView> = report.findings.iter().collect();
    if findings.len() > RESULTS {
        findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
        findings.truncate(RESULTS);
    }
    findings
}

fn rule(id: &str) -> Value {
    let (family, name) = id.split_once('/').unwrap_or(("", id));
    let title = printable_lines(&id.replace(['/', '-'], " "));
    let subject = subject(family);
    json!({
        "id": id,
        "shortDescription": {"text": title},
        "fullDescription": {"text": format!("{title}: about {subject}.")},
        "help": {"text": format!(
            "Rule {} speaks of {subject}. The message says what is wrong and what to do; `lockstep check` shows it with its line, \
             and `lockstep explain` says what judges that line.",
            printable_lines(name),
        )},
    })
}

/// What the rules of a family are about. Codes of policies have families of their own.
fn subject(family: &str) -> &'static str {
    match family {
        "access" => "who has access",
        "compliance" => "requirements and their checklists",
        "config" | "group" => "lockstep.yaml",
        "custom" | "schema" => "a kind of the config repo's own and its schema",
        "date" | "document" | "text" => "how a document is written",
        "experiment" => "experiments",
        "flag" => "feature flags",
        "incident" => "incidents",
        "interview" => "interview types",
        "json" => "JSON, with comments and trailing commas allowed",
        "markdown" => "Markdown and its front matter",
        "notice" | "alerts" => "notices to staff",
        "policy" => "the policies",
        "resource" => "resources and their names",
        "tree" => "the files of the config repo",
        "yaml" => "YAML, without what reads as something else than it looks",
        _ => "what a policy of the config repo judges",
    }
}

fn result(
    finding: &FindingView,
    index: &BTreeMap<&str, usize>,
    seen: &mut BTreeMap<String, usize>,
) -> Value {
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
    // Without a region GitHub shows no result: what is about the whole file stands at its first line.
    let region = match place {
        Some(Place {
            line,
            column,
            end: Some((end_line, end_column)),
        }) => json!({
            "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column,
        }),
        Some(Place {
            line,
            column,
            end: None,
        }) => json!({"startLine": line, "startColumn": column}),
        None => json!({"startLine": 1}),
    };
    let text = match hint {
        Some(hint) => format!("{message}\n{hint}"),
        None => message.clone(),
    };
    let print = fingerprint(finding);
    let nth = seen.entry(print.clone()).or_default();
    *nth += 1;
    json!({
        "ruleId": rule,
        "ruleIndex": index.get(&**rule),
        "level": level,
        "message": {"text": printable_lines(&text)},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": encode(path.as_str()), "uriBaseId": "%SRCROOT%"},
            "region": region,
        }}],
        "partialFingerprints": {"primaryLocationLineHash": format!("{print}:{nth}")},
    })
}

/// What makes a finding the same one after lines above it came or went: the rule, the file and what stands there, not where. Messages
/// tell of other lines and of values, so they count only where there is no text to go by.
fn fingerprint(finding: &FindingView) -> String {
    let said = match &finding.excerpt {
        Some(excerpt) => {
            let marked = excerpt.text.get(excerpt.mark.clone()).unwrap_or_default();
            format!("{}\0{marked}", excerpt.text.trim())
        }
        None => finding.message.clone(),
    };
    let all = format!("{}\0{}\0{said}", finding.rule, finding.path);
    Digest::of(all.as_bytes()).short()
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
