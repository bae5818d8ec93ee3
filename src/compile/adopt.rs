//! Adopting: the documents edited so that they declare what is live on a system, resource by resource, as far as that can be done.
//!
//! What no document declares yet is written many at a time, so that a system that has been used for years can be taken in at once; the rest one
//! by one. Nothing of an edit is believed: each is compiled, and counts only if the document then declares exactly that resource as it is live,
//! everything else as before, and nothing new is wrong. What fails is left out, with the reason, and the rest goes on.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Compiled;
use super::read::{Reader, differences};
use crate::document::{Blob, BlobId, Content, Snapshot, SnapshotDelta, limits};
use crate::finding::{Finding, Severity};
use crate::ids::{Digest, DocPath, ResourceRef, SystemName};
use crate::plan::{Change, fields};
use crate::resource::form::{NotWritten, Rewrite, Source};
use crate::resource::{Resource, SystemSet};

mod many;

#[cfg(test)]
mod tests;

/// How many resources one adoption compiles each by itself. The others can follow when these are adopted.
const MOST: usize = 100;

/// What came of adopting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adoption {
    /// The documents that differ, with their new text.
    pub files: BTreeMap<DocPath, String>,
    pub adopted: Vec<Adopted>,
    pub left: Vec<Left>,
}

/// A resource that the documents now declare as it is live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// From what the documents said to what is live.
    pub change: Change,
    pub document: DocPath,
    /// The other systems whose value is the same one, and so changes with it.
    pub others: BTreeSet<SystemName>,
    /// The other systems that keep what is gone from this one.
    pub keeps: BTreeSet<SystemName>,
}

/// A resource that was not adopted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// From what the documents say to what is live.
    pub change: Change,
    pub why: Why,
}

/// Why a resource was not adopted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    #[error("only {MOST} are written one by one; it can follow when these are adopted")]
    TooMany,
    #[error("no document declares anything of its kind")]
    NoDocument,
    #[error(transparent)]
    Written(#[from] NotWritten),
    /// The documents would not compile; the first error.
    #[error("the document would be wrong: {0}")]
    Unsound(String),
    /// What is live is the flag as it is outside its `from` and `until`: written down, it would be off for good.
    #[error("it has dates, outside which it is off")]
    Dated,
    /// The document can't say it, or would say something else too.
    #[error("the document can't say exactly this")]
    Unfaithful,
}

/// The documents of a revision, edited until they declare what is live on `system`. `drift` are the changes that would take it back:
/// from what is live to what the documents say.
pub fn adopt(
    snapshot: &Snapshot,
    compiled: &Compiled,
    system: &SystemName,
    drift: &[Change],
) -> Adoption {
    let mut draft = Draft {
        snapshot: snapshot.clone(),
        compiled: compiled.clone(),
        files: BTreeMap::new(),
        alone: BTreeSet::new(),
    };
    let mut waiting: Vec<Change> = drift
        .iter()
        .map(|change| ours(compiled, system, change.reversed()))
        .collect();
    let (mut adopted, mut beyond) = (Vec::new(), Vec::new());
    // One may be possible only after another: a person has one role, so the old one goes first.
    let mut left = loop {
        let before = waiting.len();
        let (new, known): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|c| draft.is_new(c));
        let mut left = Vec::new();
        for change in known {
            match draft.take_alone(system, &change) {
                Ok(done) => adopted.push(done),
                Err(why) => left.push(Left { change, why }),
            }
        }
        left.extend(draft.take_many(system, new, &mut adopted));
        let (too_many, others): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|l| l.why == Why::TooMany);
        beyond.extend(too_many);
        if others.is_empty() || others.len() == before {
            break others;
        }
        waiting = others.into_iter().map(|l| l.change).collect();
    };
    left.extend(beyond);
    Adoption {
        files: draft.files,
        adopted,
        left,
    }
}

/// Of a field that is not Lockstep's on the system, the documents keep what they say.
fn ours(compiled: &Compiled, system: &SystemName, change: Change) -> Change {
    let declared = compiled.bundle.get(&change.id);
    let definition = compiled.bundle.config.systems.get(system);
    let (Some(live), Some(declared), Some(definition)) = (&change.after, declared, definition)
    else {
        return change;
    };
    let live = fields::settled_item(live, Some(&*declared.item), &definition.fields);
    Change {
        after: Some(live),
        ..change
    }
}

/// The documents as far as they are edited.
struct Draft {
    snapshot: Snapshot,
    compiled: Compiled,
    files: BTreeMap<DocPath, String>,
    /// What was tried by itself.
    alone: BTreeSet<ResourceRef>,
}

/// How a resource is to be declared.
type Declared = Option<(Value, SystemSet)>;

impl Draft {
    /// Whether a change is of something that nothing declares.
    fn is_new(&self, change: &Change) -> bool {
        change.after.is_some() && self.compiled.bundle.get(&change.id).is_none()
    }

    /// One by itself, unless there were too many of these.
    fn take_alone(&mut self, system: &SystemName, change: &Change) -> Result<Adopted, Why> {
        if self.alone.len() >= MOST && !self.alone.contains(&change.id) {
            return Err(Why::TooMany);
        }
        self.alone.insert(change.id.clone());
        self.take(system, change)
    }

    fn take(&mut self, system: &SystemName, change: &Change) -> Result<Adopted, Why> {
        let known = self.compiled.bundle.get(&change.id).cloned();
        let dated = known.as_deref().and_then(|k| k.dated.as_ref());
        if change.after.is_some() && dated.is_some_and(|dated| dated.stays()) {
            return Err(Why::Dated);
        }
        let wanted = wanted(known.as_deref(), system, change);
        let document = match &known {
            Some(resource) => resource.document.clone(),
            None => self.document_for(change.id.kind()).ok_or(Why::NoDocument)?,
        };
        let text = self.rewritten(&document, &change.id, known.as_deref(), &wanted)?;
        self.check_in(&document, text, &[(&change.id, &wanted)].into())?;
        let mut rest = known
            .as_ref()
            .map_or_else(BTreeSet::new, |k| (*k.systems).clone());
        rest.remove(system);
        let (others, keeps) = match (&change.after, &known) {
            (None, _) => (BTreeSet::new(), rest),
            (Some(live), Some(known)) if live.spec != known.item.spec => (rest, BTreeSet::new()),
            (Some(_), _) => (BTreeSet::new(), BTreeSet::new()),
        };
        Ok(Adopted {
            change: change.clone(),
            document,
            others,
            keeps,
        })
    }

    /// Where something new of a kind goes: the first document that declares some of it, or that could, or one that is new itself.
    fn document_for(&self, kind: &str) -> Option<DocPath> {
        let documents = &self.compiled.documents;
        let declares = documents.iter().find(|(_, document)| {
            let mut all = document.resources.iter();
            all.any(|r| r.item.id.kind() == kind)
        });
        let could = |path: &&DocPath| {
            let form = self.compiled.forms.form_for(path);
            form.is_some_and(|form| form.kinds().iter().any(|k| k.as_str() == kind))
        };
        let found = declares.map(|(path, _)| path);
        let found = found.or_else(|| documents.keys().find(could)).cloned();
        found.or_else(|| {
            let (path, _) = self.compiled.forms.first_document(kind)?;
            (!self.snapshot.files.contains_key(&path)).then_some(path)
        })
    }

    /// A document's text; of one that is not there yet, what it begins with.
    fn text_of(&self, path: &DocPath, kind: &str) -> Option<&str> {
        if self.snapshot.files.contains_key(path) {
            return self.snapshot.text(path);
        }
        let first = self.compiled.forms.first_document(kind);
        first.filter(|(p, _)| p == path).map(|(_, text)| text)
    }

    fn rewritten(
        &self,
        path: &DocPath,
        id: &ResourceRef,
        known: Option<&Resource>,
        wanted: &Declared,
    ) -> Result<String, Why> {
        let (Some(form), Some(text)) = (
            self.compiled.forms.form_for(path),
            self.text_of(path, id.kind()),
        ) else {
            return Err(NotWritten::ByHand.into());
        };
        let declared = known.map(|r| (r.item.spec.value(), r.systems.clone()));
        let rewrite = Rewrite {
            id,
            declared: declared.as_ref().map(|(spec, systems)| (spec, systems)),
            wanted: wanted.as_ref().map(|(spec, systems)| (spec, systems)),
        };
        Ok(form.rewrite(Source { path, text }, self.reader().context(), &rewrite)?)
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            forms: &self.compiled.forms,
            config: &self.compiled.bundle.config,
            kinds: &self.compiled.bundle.kinds,
        }
    }

    /// Takes over a document's new text if it says what is wanted and nothing else.
    fn check_in(
        &mut self,
        path: &DocPath,
        text: String,
        wanted: &BTreeMap<&ResourceRef, &Declared>,
    ) -> Result<(), Why> {
        if text.len() as u64 > limits::YAML_BYTES {
            return Err(Why::Unsound("it would be too large".to_owned()));
        }
        let blob = Blob {
            id: BlobId::from_digest(Digest::of(text.as_bytes())),
            content: Content::Bytes(text.as_bytes().into()),
        };
        let delta = SnapshotDelta {
            files: [(path.clone(), Some(blob))].into(),
            ..SnapshotDelta::default()
        };
        let mut snapshot = self.snapshot.clone();
        snapshot.succeed(snapshot.revision.clone(), &delta);
        let mut compiled = self.compiled.clone();
        compiled.succeed(&snapshot, &delta);
        if let Some(new) = new_error(&self.compiled, &compiled) {
            return Err(Why::Unsound(new.message.clone()));
        }
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        let (old, new) = (self.compiled.declared_in(path), compiled.declared_in(path));
        differences(old, new, &mut gone, &mut come);
        let mut touched = gone.iter().chain(&come);
        let only_these = touched.all(|r| wanted.contains_key(&r.item.id));
        let says =
            |(id, wanted): (&&ResourceRef, &&Declared)| match (compiled.bundle.get(id), wanted) {
                (None, None) => true,
                (Some(resource), Some((spec, systems))) => {
                    resource.item.spec.value() == *spec && resource.systems == *systems
                }
                (Some(_), None) | (None, Some(_)) => false,
            };
        if !(only_these && wanted.iter().all(says)) {
            return Err(Why::Unfaithful);
        }
        self.snapshot = snapshot;
        self.compiled = compiled;
        self.files.insert(path.clone(), text);
        Ok(())
    }
}

/// How a resource must be declared for a system to have what is live there. What is gone from the system leaves it and stays for
/// the others; what is live there counts for all.
fn wanted(known: Option<&Resource>, system: &SystemName, change: &Change) -> Declared {
    let mut systems = known.map_or_else(BTreeSet::new, |r| (*r.systems).clone());
    let spec = match &change.after {
        Some(live) => {
            systems.insert(system.clone());
            live.spec.value()
        }
        None => {
            systems.remove(system);
            known?.item.spec.value()
        }
    };
    (!systems.is_empty()).then(|| (spec, systems.into()))
}

fn new_error<'a>(before: &Compiled, after: &'a Compiled) -> Option<&'a Finding> {
    let errors = |compiled: &'a Compiled| {
        let findings = compiled.report.findings().iter();
        findings.filter(|f| f.severity == Severity::Error)
    };
    let known = before.report.findings();
    errors(after).find(|f| {
        let same = |k: &&Finding| k.rule == f.rule && k.message == f.message;
        known.iter().find(same).is_none()
    })
}
