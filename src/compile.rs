//! Compiling: from a snapshot to a [`Bundle`] and a [`Report`], a pure function of bytes.
//!
//! Every document is read by its form; what one document says is kept by blob id, so the next revision costs the
//! documents that changed ([`Compiled::succeed`]). What concerns several documents at once, such as one resource declared twice,
//! is checked here; what concerns one is the form's business.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::document::{Snapshot, SnapshotDelta, faults, limits};
use crate::finding::{Finding, Report, Span};
use crate::ids::{DocPath, ResourceRef, Revision};
use crate::resource::kinds::{Forms, ReadAs};
use crate::resource::{Bundle, Resource, custom};

mod adopt;
mod alike;
mod dates;
mod definitions;
mod lines;
mod read;
#[cfg(test)]
mod tests;
mod whole;

pub use adopt::{Adopted, Adoption, Left, Why, adopt};
use alike::{Alike, Of};
pub use dates::past;
use definitions::{Definitions, definitions};
pub use lines::fill_lines;
use read::{Document, Reader, differences};
use whole::{file_findings, path_alike, tree_findings};

/// Where the config repo's own definition lies.
pub const CONFIG: &str = "lockstep.yaml";

/// A compiled revision, with what the next one can reuse.
#[derive(Debug, Clone)]
pub struct Compiled {
    pub bundle: Arc<Bundle>,
    pub report: Report,
    /// Which document is read how: a matter of `lockstep.yaml` and the kinds, so the same until one of them changes.
    forms: Arc<Forms>,
    documents: BTreeMap<DocPath, Document>,
    /// Documents with something to report; the others are not looked at when the report is made.
    findings: BTreeMap<DocPath, Vec<Finding>>,
    /// Findings that belong to no single document's form: about the tree, `lockstep.yaml`, schemas, duplicates.
    overall: Vec<Finding>,
    /// Names of resources and of files, as far as another could look like them.
    names: Alike,
    paths: Alike,
    /// What the next revision has to do about this one.
    next: Next,
}

/// How the next revision is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// From what changes.
    Continue,
    /// From what each document said: names clash, and which ones still do is seen with all of them at hand.
    Gather,
    /// Document by document, anew: there were too many findings to keep what each one said.
    Anew,
}

/// Compiles all of a snapshot.
pub fn compile(snapshot: &Snapshot) -> Compiled {
    compile_reusing(snapshot, None)
}

/// Compiles a snapshot, taking from `earlier` what its unchanged documents said. Only valid where `lockstep.yaml` and the
/// custom kinds are the same, which is checked.
fn compile_reusing(snapshot: &Snapshot, earlier: Option<&Compiled>) -> Compiled {
    let mut overall = tree_findings(snapshot);
    let mut next = Next::Continue;
    let Definitions {
        config,
        kinds,
        custom,
    } = definitions(snapshot, &mut overall);
    let forms = Arc::new(Forms::new(&config, &custom));
    let reader = Reader {
        forms: &forms,
        config: &config,
        kinds: &kinds,
    };
    let Documents {
        documents,
        findings,
        too_many,
    } = read_all(snapshot, &reader, earlier);
    if too_many {
        next = Next::Anew;
    }
    let resources = documents
        .iter()
        .flat_map(|(_, d)| d.resources.iter().cloned());
    let (bundle, repeated) = Bundle::gather(
        snapshot.revision.clone(),
        config.clone(),
        kinds.clone(),
        resources,
    );
    overall.extend(reader.duplicate_findings(snapshot, &repeated));
    let mut names = Alike::new(Of::Resources);
    let mut paths = Alike::new(Of::Files);
    bundle
        .resources()
        .for_each(|r| names.add(r.item.id.as_str()));
    snapshot
        .files
        .keys()
        .for_each(|path| paths.add(path.as_str()));
    let named_alike = names.pairs(|name| is_resource(&bundle, name));
    let filed_alike = paths.pairs(|path| snapshot.files.contains_key(path));
    if next == Next::Continue
        && !(repeated.is_empty() && named_alike.is_empty() && filed_alike.is_empty())
    {
        next = Next::Gather;
    }
    overall.extend(reader.alike_findings(snapshot, &bundle, &named_alike));
    overall.extend(
        filed_alike
            .iter()
            .take(limits::FINDINGS)
            .filter_map(path_alike),
    );
    let report = report(&overall, &findings);
    Compiled {
        bundle: Arc::new(bundle),
        report,
        forms,
        documents: documents.into_iter().collect(),
        findings,
        overall,
        names,
        paths,
        next,
    }
}

/// All documents of a revision.
#[derive(Default)]
struct Documents {
    documents: Vec<(DocPath, Document)>,
    findings: BTreeMap<DocPath, Vec<Finding>>,
    /// Whether some findings were only counted.
    too_many: bool,
}

/// Reads every document, or takes what `earlier` knows of one that is as it was.
fn read_all(snapshot: &Snapshot, reader: &Reader<'_>, earlier: Option<&Compiled>) -> Documents {
    let mut all = Documents::default();
    let mut kept = 0;
    for (path, blob) in &snapshot.files {
        let known = earlier.and_then(|e| {
            let document = e.documents.get(path).filter(|d| d.blob == blob.id)?;
            let found = e.findings.get(path).cloned().unwrap_or_default();
            Some((document.clone(), found))
        });
        let Some((document, mut found)) = known.or_else(|| reader.read(path, blob, None)) else {
            continue;
        };
        if kept >= limits::ALL_FINDINGS && !found.is_empty() {
            all.too_many = true;
            found = faults::at_most(0, found);
        }
        kept += found.len();
        all.documents.push((path.clone(), document));
        if !found.is_empty() {
            all.findings.insert(path.clone(), found);
        }
    }
    all
}

/// Everything that is to be said of a revision. What there is too much of is summed up, document by document.
fn report(overall: &[Finding], findings: &BTreeMap<DocPath, Vec<Finding>>) -> Report {
    let overall = faults::at_most(limits::FINDINGS, overall.to_vec());
    Report::new(
        overall
            .into_iter()
            .chain(findings.values().flatten().cloned())
            .collect(),
    )
}

fn is_resource(bundle: &Bundle, name: &str) -> bool {
    name.parse::<ResourceRef>()
        .is_ok_and(|id| bundle.get(&id).is_some())
}

impl Compiled {
    /// Moves on to the next revision in place: `snapshot` is the new one, `delta` what differs from the one compiled before.
    pub fn succeed(&mut self, snapshot: &Snapshot, delta: &SnapshotDelta) {
        let redefined = delta
            .files
            .keys()
            .any(|p| p.as_str() == CONFIG || custom::kind_of_schema(p).is_some());
        if redefined || self.next != Next::Continue || snapshot.beyond.is_some() {
            let anew = redefined || self.next == Next::Anew;
            *self = compile_reusing(snapshot, if anew { None } else { Some(self) });
            return;
        }
        let (bundle, forms) = (self.bundle.clone(), self.forms.clone());
        let reader = Reader {
            forms: &forms,
            config: &bundle.config,
            kinds: &bundle.kinds,
        };
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        for (path, blob) in &delta.files {
            let old = self.documents.remove(path);
            self.findings.remove(path);
            self.overall.retain(|f| f.location.path != *path);
            let new = blob.as_ref().and_then(|blob| {
                self.overall.extend(file_findings(path, blob));
                reader.read(path, blob, old.as_ref())
            });
            let old_resources = old.as_ref().map_or(&[][..], |d| &*d.resources);
            let new_resources = new.as_ref().map_or(&[][..], |(d, _)| &*d.resources);
            differences(old_resources, new_resources, &mut gone, &mut come);
            if let Some((document, found)) = new {
                self.documents.insert(path.clone(), document);
                if !found.is_empty() {
                    self.findings.insert(path.clone(), found);
                }
            }
        }
        let leaving: BTreeSet<&ResourceRef> = gone.iter().map(|r| &r.item.id).collect();
        let mut arriving = BTreeSet::new();
        let clash = come.iter().any(|r| {
            let taken = self.bundle.get(&r.item.id).is_some() && !leaving.contains(&r.item.id);
            taken || !arriving.insert(&r.item.id)
        });
        if clash || self.look_alike(snapshot, delta, &gone, &come) || self.has_too_many() {
            *self = compile_reusing(snapshot, Some(self));
            return;
        }
        self.bundle = Arc::new(self.bundle.succeed(snapshot.revision.clone(), &gone, &come));
        self.report = report(&self.overall, &self.findings);
    }

    fn has_too_many(&self) -> bool {
        self.findings.values().map(Vec::len).sum::<usize>() > limits::ALL_FINDINGS
    }

    /// Takes account of the names that come and go; whether one of those that come looks like another.
    fn look_alike(
        &mut self,
        snapshot: &Snapshot,
        delta: &SnapshotDelta,
        gone: &[Arc<Resource>],
        come: &[Arc<Resource>],
    ) -> bool {
        for resource in gone {
            self.names.remove(resource.item.id.as_str());
        }
        for resource in come {
            self.names.add(resource.item.id.as_str());
        }
        for (path, blob) in &delta.files {
            match blob {
                Some(_) => self.paths.add(path.as_str()),
                None => self.paths.remove(path.as_str()),
            }
        }
        // One that goes is still in the bundle; where one that looks like it comes, all are looked at together.
        let named = |r: &Arc<Resource>| {
            let exists = |name: &str| {
                is_resource(&self.bundle, name) || come.iter().any(|c| c.item.id.as_str() == name)
            };
            self.names.clashes(r.item.id.as_str(), exists)
        };
        let filed = |path: &DocPath| {
            let exists = |name: &str| snapshot.files.contains_key(name);
            self.paths.clashes(path.as_str(), exists)
        };
        come.iter().any(named) || delta.files.keys().any(filed)
    }

    /// How a document is read; `None` for a file that declares nothing.
    pub fn read_as(&self, path: &DocPath) -> Option<ReadAs> {
        self.forms.read_as(path)
    }

    /// What a document declares.
    pub fn declared_in(&self, path: &DocPath) -> &[Arc<Resource>] {
        self.documents.get(path).map_or(&[], |d| &*d.resources)
    }

    /// Where in a document each of its resources stands; `snapshot` is the one that this was compiled from.
    pub fn places(&self, snapshot: &Snapshot, path: &DocPath) -> BTreeMap<ResourceRef, Span> {
        let Bundle { config, kinds, .. } = &*self.bundle;
        let reader = Reader {
            forms: &self.forms,
            config,
            kinds,
        };
        let all = self.declared_in(path).iter().map(|r| r.item.id.clone());
        reader.locate(snapshot, path, &all.collect())
    }

    /// The revision this is of.
    pub fn revision(&self) -> Option<&Revision> {
        self.bundle.revision.as_ref()
    }
}
