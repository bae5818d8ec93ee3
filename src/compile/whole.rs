//! What is wrong with a revision as a whole: the tree it is read from, and what its documents say together.

use std::collections::{BTreeMap, BTreeSet};

use super::CONFIG;
use super::alike::Pair;
use super::read::Reader;
use crate::document::{Blob, Content, Snapshot, Unreadable, hidden, limits};
use crate::finding::Finding;
use crate::ids::{DocPath, ResourceRef};
use crate::resource::{Bundle, Repeated};

/// What is wrong with the tree itself.
pub(super) fn tree_findings(snapshot: &Snapshot) -> Vec<Finding> {
    let mut findings: Vec<Finding> = snapshot
        .files
        .iter()
        .chain(&snapshot.policies)
        .flat_map(|(path, blob)| file_findings(path, blob))
        .collect();
    if let Ok(root) = CONFIG.parse::<DocPath>() {
        if let Some(why) = &snapshot.beyond {
            let finding = Finding::error("tree/beyond-limits", &root, None, why.clone());
            findings.push(finding.with_hint(
                "keep only the documents in the config repo; docs/limits.md lists what is read",
            ));
        }
        findings.extend(snapshot.unreadable.iter().take(limits::FINDINGS).map(
            |Unreadable { name, why }| {
                let message = format!("\"{name}\" can't be read: it {why}");
                Finding::error("tree/name", &root, None, message).with_hint(why.hint())
            },
        ));
    }
    findings
}

/// What is wrong with a file whatever it says.
pub(super) fn file_findings(path: &DocPath, blob: &Blob) -> impl Iterator<Item = Finding> {
    let named = hidden::in_name(path.as_str()).map(|c| {
        let (message, hint) = hidden::about_name(c);
        Finding::error("text/hidden-in-name", path, None, message).with_hint(hint)
    });
    content_finding(path, blob).into_iter().chain(named)
}

fn content_finding(path: &DocPath, blob: &Blob) -> Option<Finding> {
    let at = |rule, message: String| Some(Finding::error(rule, path, None, message));
    match &blob.content {
        Content::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(_) => None,
            Err(e) => at(
                "tree/not-utf8",
                format!("not UTF-8 from byte {}", e.valid_up_to()),
            )
            .map(|f| f.with_hint("save the file as UTF-8")),
        },
        Content::Symlink => at(
            "tree/symlink",
            "a symbolic link is not followed: put the file itself here".into(),
        ),
        Content::Submodule => at(
            "tree/submodule",
            "a submodule is not entered: put the files themselves here".into(),
        ),
        Content::Odd(odd) => at(
            "tree/not-a-file",
            format!("this is {odd}, where a file must be"),
        )
        .map(|f| f.with_hint("take it away, or put the file itself here")),
        Content::TooLarge(size) => at(
            "tree/too-large",
            format!(
                "{size} bytes, more than the {} that are read",
                limits::bytes_of(path.as_str())
            ),
        )
        .map(|f| f.with_hint("split the document")),
    }
}

/// Two files that some file systems take for one.
pub(super) fn path_alike(pair: &Pair) -> Option<Finding> {
    let path: DocPath = pair.other.parse().ok()?;
    let message = format!("the path looks like {}, which is another file", pair.first);
    let finding = Finding::error("tree/look-alike", &path, None, message)
        .with_hint("rename one of the two: some file systems keep only one of them");
    Some(if pair.by_case {
        finding.warning()
    } else {
        finding
    })
}

impl Reader<'_> {
    pub(super) fn duplicate_findings(
        &self,
        snapshot: &Snapshot,
        repeated: &[Repeated],
    ) -> Vec<Finding> {
        let mut wanted: BTreeMap<DocPath, BTreeSet<ResourceRef>> = BTreeMap::new();
        for Repeated { resource, first: _ } in repeated {
            wanted
                .entry(resource.document.clone())
                .or_default()
                .insert(resource.item.id.clone());
        }
        let places: BTreeMap<_, _> = wanted
            .iter()
            .map(|(path, ids)| (path.clone(), self.locate(snapshot, path, ids)))
            .collect();
        repeated
            .iter()
            .take(limits::FINDINGS)
            .map(|Repeated { resource, first }| {
                let span = places
                    .get(&resource.document)
                    .and_then(|p| p.get(&resource.item.id))
                    .copied();
                let message = format!("{} is declared in {first} already", resource.item.id);
                Finding::error("resource/duplicate", &resource.document, span, message).with_hint(
                    "keep one of the two: two documents for one resource would take turns",
                )
            })
            .collect()
    }

    /// Resources whose names look like another's.
    pub(super) fn alike_findings(
        &self,
        snapshot: &Snapshot,
        bundle: &Bundle,
        pairs: &[Pair],
    ) -> Vec<Finding> {
        let declared = |name: &str| bundle.get(&name.parse::<ResourceRef>().ok()?);
        let pairs = pairs.iter().take(limits::FINDINGS).filter_map(|pair| {
            Some((declared(&pair.first)?, declared(&pair.other)?, pair.by_case))
        });
        let pairs: Vec<_> = pairs.collect();
        let mut wanted: BTreeMap<DocPath, BTreeSet<ResourceRef>> = BTreeMap::new();
        for (_, other, _) in &pairs {
            let ids = wanted.entry(other.document.clone()).or_default();
            ids.insert(other.item.id.clone());
        }
        let places: BTreeMap<_, _> = wanted
            .iter()
            .map(|(path, ids)| (path, self.locate(snapshot, path, ids)))
            .collect();
        let told = pairs.iter().map(|(first, other, by_case)| {
            let span = places
                .get(&other.document)
                .and_then(|p| p.get(&other.item.id))
                .copied();
            let message = format!(
                "{} looks like {}, which {} declares",
                other.item.id, first.item.id, first.document
            );
            let finding = Finding::error("resource/look-alike", &other.document, span, message)
                .with_hint(
                    "give one of the two another name, or write both the same way if one is meant",
                );
            if *by_case { finding.warning() } else { finding }
        });
        told.collect()
    }
}
