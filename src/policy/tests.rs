//! Policies as text in, verdicts and findings out.

mod contract;
mod findings;
mod judging;
mod shipped;
mod trace;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::input::{Approval, PersonFacts, PolicyInput, ProposalFacts, VERSION};
use super::{PolicySet, Verdict};
use crate::document::{Blob, BlobId, Content};
use crate::ids::{Digest, DocPath, Revision};

fn blob(text: &str) -> Blob {
    Blob {
        id: BlobId::from_digest(Digest::of(text.as_bytes())),
        content: Content::Bytes(Arc::from(text.as_bytes())),
    }
}

fn files(files: &[(&str, &str)]) -> BTreeMap<DocPath, Blob> {
    files
        .iter()
        .map(|(path, text)| (path.parse().unwrap(), blob(text)))
        .collect()
}

/// One file of rules in the package that judges.
fn rules(text: &str) -> BTreeMap<DocPath, Blob> {
    files(&[("policies/a.rego", &format!("package lockstep\n\n{text}\n"))])
}

fn revision(digit: char) -> Revision {
    digit.to_string().repeat(40).parse().unwrap()
}

fn person(forge: &str, roles: &[&str], systems: &[&str]) -> PersonFacts {
    PersonFacts {
        name: forge.to_owned(),
        forge: forge.to_owned(),
        roles: roles.iter().map(ToString::to_string).collect(),
        systems: systems.iter().map(|s| s.parse().unwrap()).collect(),
        ids: Vec::new(),
    }
}

/// A proposal by `sato` of medical with these approvals; `mori` is of voicedrive and security, `abe` of voicedrive.
fn input(approved_by: &[&str]) -> PolicyInput {
    let at = "2026-11-22T03:00:00Z".parse().unwrap();
    PolicyInput {
        version: VERSION,
        proposal: ProposalFacts {
            number: 7,
            title: "Raise".to_owned(),
            author: "sato".to_owned(),
            labels: Vec::new(),
            base: revision('a'),
            head: revision('b'),
            opened_at: at,
            approvals: approved_by
                .iter()
                .map(|user| Approval {
                    user: (*user).to_owned(),
                    commit: revision('b'),
                    at,
                })
                .collect(),
            files: Vec::new(),
        },
        changes: Vec::new(),
        before: BTreeMap::new(),
        after: BTreeMap::new(),
        systems: BTreeMap::new(),
        people: BTreeMap::from([
            (
                "sato".to_owned(),
                person("sato-h", &["operator"], &["medical"]),
            ),
            (
                "mori".to_owned(),
                person("mori", &["security"], &["voicedrive"]),
            ),
            (
                "abe".to_owned(),
                person("abe", &["manager"], &["voicedrive"]),
            ),
        ]),
        now: at,
        freezes_active: Vec::new(),
        incidents_open: Vec::new(),
        settings_changed: false,
        systems_leaving: Vec::new(),
        reconciler_addresses: Vec::new(),
    }
}

fn judge(text: &str, approved_by: &[&str]) -> Verdict {
    PolicySet::compile(&rules(text))
        .0
        .judge(&input(approved_by))
}

/// A verdict in a few lines: what is denied and warned of, and who has agreed of whom.
fn told(verdict: &Verdict) -> String {
    let mut lines = Vec::new();
    for (word, messages) in [("deny", &verdict.denials), ("warn", &verdict.warnings)] {
        for m in messages {
            let code = m.code.as_deref().unwrap_or("-");
            let resource = m.resource.as_deref().unwrap_or("-");
            lines.push(format!("{word} [{code}] {resource}: {}", m.msg));
        }
    }
    for need in &verdict.approvals {
        lines.push(format!(
            "need {} of {} for {}: has {}, may ask {}",
            need.count,
            need.from.join("|"),
            need.because,
            json!(need.satisfied_by),
            json!(need.eligible),
        ));
    }
    for r in &verdict.recused {
        lines.push(format!("recused {}: {}", r.person, r.because));
    }
    lines.push(format!(
        "passes {} approved {}",
        verdict.passes(),
        verdict.approved()
    ));
    lines.join("\n")
}
