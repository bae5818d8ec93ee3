//! What the fuzz targets do with bytes, a module each. A target asserts more than that nothing panics: what two readers of one
//! text say of it, what an edit leaves alone, what comes step by step and at once.

use std::collections::BTreeMap;

use lockstep::document::{Blob, BlobId, Content, Snapshot};
use lockstep::finding::Finding;
use lockstep::ids::{Digest, DocPath};

pub mod config;
pub mod edit;
pub mod forms;
pub mod json;
pub mod markdown;
pub mod notes;
pub mod policy;
pub mod policy_input;
pub mod schema;
pub mod system_api;
pub mod yaml;

/// Two systems, people and a custom kind: what documents can be for.
const CONFIG: &str = "\
version: 1
systems:
  medical: {title: 医療システム, aliases: [Medical], connector: http, url: 'http://127.0.0.1:1', kinds: [FeatureFlag, AccessGrant, IpBlock, InterviewType, Requirement, ComplianceItem, Notice, Incident, Experiment, Ward]}
  voicedrive: {title: VoiceDrive, connector: http, url: 'http://127.0.0.1:2', kinds: [FeatureFlag, AccessGrant, IpBlock, Notice]}
groups:
  hospital: {systems: [medical, voicedrive]}
people:
  sato: {name: 佐藤, forge: sato, roles: [operator], systems: [medical]}
  mori: {name: 森, forge: mori, roles: [security, approver], systems: [medical, voicedrive]}
documents: [{path: config/wards.yaml, kind: Ward}]
";

const WARD: &str = r#"{"type": "object", "properties": {"beds": {"type": "integer", "minimum": 0}, "floor": {"type": "string", "pattern": "^[0-9]+F$"}}, "required": ["beds"], "additionalProperties": false}"#;

fn path(text: &str) -> DocPath {
    text.parse().expect("a path of ours")
}

fn blob(bytes: &[u8]) -> Blob {
    Blob {
        id: BlobId::from_digest(Digest::of(bytes)),
        content: Content::Bytes(bytes.into()),
    }
}

/// A config repo that passes, and these documents.
fn snapshot(files: &[(&str, &[u8])]) -> Snapshot {
    let own = [
        ("lockstep.yaml", CONFIG.as_bytes()),
        ("kinds/Ward.schema.json", WARD.as_bytes()),
    ];
    let files = own.iter().chain(files);
    let files: BTreeMap<DocPath, Blob> = files.map(|(p, b)| (path(p), blob(b))).collect();
    Snapshot {
        files,
        ..Snapshot::default()
    }
}

/// Every finding points into its text, says something, and names its rule.
fn are_placed(findings: &[Finding], text: &str) {
    for finding in findings {
        assert!(!finding.message.is_empty() && finding.rule.contains('/'));
        if let Some(span) = finding.location.span {
            assert!(text.get(span.start..span.end).is_some(), "{finding:?}");
            let before = &text[..span.start];
            let line = before.matches('\n').count() + 1;
            assert_eq!(span.line as usize, line, "{finding:?}");
        }
    }
}

/// The text of a document as it is handed to its reader.
fn text(data: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(data).ok()?;
    Some(text.strip_prefix('\u{feff}').unwrap_or(text))
}
