//! Compiling: from a snapshot to a [`Bundle`] and a [`Report`], a pure function of bytes.
//!
//! Every document is read by its form; what one document says is kept by blob id, so the next revision costs the
//! documents that changed ([`Compiled::succeed`]). What concerns several documents at once, such as one resource declared twice,
//! is checked here; what concerns one is the form's business.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::config::{self, Config};
use crate::document::{Blob, BlobId, Content, Snapshot, SnapshotDelta, faults, hidden, limits};
use crate::finding::{Finding, Report, Span};
use crate::ids::{DocPath, KindName, ResourceRef, Revision};
use crate::plan::Plan;
use crate::resource::custom::{self, CustomKind};
use crate::resource::form::Declared;
use crate::resource::form::{Context, Reading, Source};
use crate::resource::kinds::{self, Forms, ReadAs};
use crate::resource::{Bundle, Kinds, Resource};
use crate::state::Item;

mod alike;
#[cfg(test)]
mod tests;
mod whole;

use alike::{Alike, Of};
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

/// The repo's own kinds.
type Custom = BTreeMap<KindName, Arc<CustomKind>>;

#[derive(Debug, Clone)]
struct Document {
    blob: BlobId,
    resources: Arc<[Arc<Resource>]>,
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
    let mut documents = Vec::new();
    let mut findings = BTreeMap::new();
    let mut kept = 0;
    let mut keep = |path: &DocPath, found: Vec<Finding>| {
        let found = if kept < limits::ALL_FINDINGS {
            found
        } else {
            next = Next::Anew;
            faults::at_most(0, found)
        };
        kept += found.len();
        if !found.is_empty() {
            findings.insert(path.clone(), found);
        }
    };
    for (path, blob) in &snapshot.files {
        let known = earlier
            .and_then(|e| e.documents.get(path))
            .filter(|d| d.blob == blob.id);
        if let (Some(document), Some(earlier)) = (known, earlier) {
            documents.push((path.clone(), document.clone()));
            if let Some(found) = earlier.findings.get(path) {
                keep(path, found.clone());
            }
        } else if let Some((document, found)) = reader.read(path, blob, None) {
            documents.push((path.clone(), document));
            keep(path, found);
        }
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

/// What one document lost and gained. Equal resources are neither.
fn differences(
    old: &[Arc<Resource>],
    new: &[Arc<Resource>],
    gone: &mut Vec<Arc<Resource>>,
    come: &mut Vec<Arc<Resource>>,
) {
    let same = |(a, b): &(&Arc<Resource>, &Arc<Resource>)| Arc::ptr_eq(a, b) || a == b;
    // Most edits leave what is before and after them as it was.
    let start = old.iter().zip(new).take_while(same).count();
    let (old, new) = (
        old.get(start..).unwrap_or_default(),
        new.get(start..).unwrap_or_default(),
    );
    let end = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take_while(same)
        .count();
    let (old, new) = (
        old.get(..old.len() - end).unwrap_or_default(),
        new.get(..new.len() - end).unwrap_or_default(),
    );
    let (before, after) = (by_name(old), by_name(new));
    let differs = |other: &ByName<'_>, resource: &Arc<Resource>| {
        other
            .get(&resource.item.id)
            .is_none_or(|o| !Arc::ptr_eq(o, resource) && **o != *resource)
    };
    gone.extend(old.iter().filter(|r| differs(&after, r)).cloned());
    come.extend(new.iter().filter(|r| differs(&before, r)).cloned());
}

/// What a document declared before, to be shared with what it declares now.
struct Earlier<'a> {
    resources: &'a [Arc<Resource>],
    /// Made when the first one is met that is not at the place where it was.
    by_name: Option<ByName<'a>>,
}

type ByName<'a> = HashMap<&'a ResourceRef, &'a Arc<Resource>, RandomState>;

fn by_name(resources: &[Arc<Resource>]) -> ByName<'_> {
    resources.iter().map(|r| (&r.item.id, r)).collect()
}

impl Earlier<'_> {
    /// The resource that is declared just as it was before; `n` is its place in the document now.
    fn find(&mut self, n: usize, declared: &Declared) -> Option<Arc<Resource>> {
        let Declared { id, spec, systems } = declared;
        let here = self.resources.get(n).filter(|r| r.item.id == *id);
        let old = match here {
            Some(old) => old,
            None if self.resources.is_empty() => return None,
            None => self
                .by_name
                .get_or_insert_with(|| by_name(self.resources))
                .get(id)?,
        };
        (old.item.spec == *spec && old.systems == *systems).then(|| old.clone())
    }
}

/// What must be known before any document can be read.
struct Definitions {
    config: Arc<Config>,
    kinds: Kinds,
    custom: Custom,
}

/// `lockstep.yaml` and the kinds.
fn definitions(snapshot: &Snapshot, findings: &mut Vec<Finding>) -> Definitions {
    let mut custom = Custom::new();
    for path in snapshot
        .files
        .keys()
        .filter(|p| custom::kind_of_schema(p).is_some())
    {
        let Some(text) = snapshot.text(path) else {
            continue;
        };
        let text = source(path, text).text;
        let (kind, found) = custom::read_schema(path, text);
        findings.extend(found);
        findings.extend(hidden::check(path, text));
        if let Some(kind) = kind {
            custom.insert(kind.kind_name().clone(), Arc::new(kind));
        }
    }
    let kinds = kinds::with_custom(&custom);
    let names: Vec<KindName> = kinds.keys().cloned().collect();
    let config = match CONFIG.parse::<DocPath>() {
        Ok(path) if snapshot.files.contains_key(&path) => {
            let text = snapshot.text(&path).unwrap_or("");
            let text = source(&path, text).text;
            let (config, found) = config::read::read(&path, text, &names);
            findings.extend(found);
            findings.extend(hidden::check(&path, text));
            config
        }
        // What was not read in full may have one.
        Ok(_) if snapshot.beyond.is_some() => Config::default(),
        Ok(path) => {
            let message = "there is no lockstep.yaml: it names the systems, groups and people";
            findings.push(
                Finding::error("config/missing", &path, None, message)
                    .with_hint("`lockstep init DIR` writes a config repo to start from"),
            );
            Config::default()
        }
        Err(_) => Config::default(),
    };
    Definitions {
        config: Arc::new(config),
        kinds,
        custom,
    }
}

/// Reads documents of one revision.
struct Reader<'a> {
    forms: &'a Forms,
    config: &'a Config,
    kinds: &'a Kinds,
}

impl Reader<'_> {
    fn context(&self) -> Context<'_> {
        Context {
            config: self.config,
            kinds: self.kinds,
        }
    }

    /// `None` for a file that is no document. Resources equal to those `earlier` held are shared with it.
    fn read(
        &self,
        path: &DocPath,
        blob: &Blob,
        earlier: Option<&Document>,
    ) -> Option<(Document, Vec<Finding>)> {
        let Content::Bytes(bytes) = &blob.content else {
            return None;
        };
        let text = std::str::from_utf8(bytes).ok()?;
        let Some(form) = self.forms.form_for(path) else {
            let stray = self.forms.stray(path)?;
            return Some((
                Document {
                    blob: blob.id,
                    resources: Arc::default(),
                },
                vec![stray],
            ));
        };
        let Reading {
            resources,
            mut findings,
        } = form.read(source(path, text), self.context());
        let unseen = hidden::check(path, source(path, text).text);
        if !unseen.is_empty() {
            findings.extend(unseen);
            findings = faults::at_most(limits::FINDINGS, findings);
        }
        let mut earlier = Earlier {
            resources: earlier.map_or(&[][..], |d| &*d.resources),
            by_name: None,
        };
        let resources = resources
            .into_iter()
            .enumerate()
            .map(|(n, declared)| match earlier.find(n, &declared) {
                Some(old) => old,
                None => Arc::new(Resource {
                    item: Arc::new(Item::new(declared.id, declared.spec)),
                    systems: declared.systems,
                    document: path.clone(),
                }),
            })
            .collect();
        Some((
            Document {
                blob: blob.id,
                resources,
            },
            findings,
        ))
    }

    fn locate(
        &self,
        snapshot: &Snapshot,
        path: &DocPath,
        wanted: &BTreeSet<ResourceRef>,
    ) -> BTreeMap<ResourceRef, Span> {
        match (self.forms.form_for(path), snapshot.text(path)) {
            (Some(form), Some(text)) => {
                let wanted: Vec<ResourceRef> = wanted.iter().cloned().collect();
                form.locate_all(source(path, text), self.context(), &wanted)
            }
            _ => BTreeMap::new(),
        }
    }
}

fn source<'a>(path: &'a DocPath, text: &'a str) -> Source<'a> {
    Source {
        path,
        text: text.strip_prefix('\u{feff}').unwrap_or(text),
    }
}

/// Fills in the lines of a plan's origins, for showing it: of what is there after in `after`, of what was deleted in `before`.
pub fn fill_lines(
    plan: &mut Plan,
    after: (&Snapshot, &Compiled),
    before: Option<(&Snapshot, &Compiled)>,
) {
    let sides = [Some(after), before];
    for (side, deleted) in sides.into_iter().zip([false, true]) {
        let Some((snapshot, compiled)) = side else {
            continue;
        };
        let Bundle { config, kinds, .. } = &*compiled.bundle;
        let reader = Reader {
            forms: &compiled.forms,
            config,
            kinds,
        };
        let mut wanted: BTreeMap<DocPath, BTreeSet<ResourceRef>> = BTreeMap::new();
        let changes = || plan.systems.values().flat_map(|s| &s.changes);
        for change in changes().filter(|c| c.after.is_none() == deleted) {
            if let Some(origin) = &change.origin {
                wanted
                    .entry(origin.document.clone())
                    .or_default()
                    .insert(change.id.clone());
            }
        }
        let places: BTreeMap<DocPath, _> = wanted
            .iter()
            .map(|(path, ids)| (path.clone(), reader.locate(snapshot, path, ids)))
            .collect();
        for change in plan.systems.values_mut().flat_map(|s| &mut s.changes) {
            if change.after.is_none() == deleted
                && let Some(origin) = &mut change.origin
            {
                origin.line = places
                    .get(&origin.document)
                    .and_then(|p| p.get(&change.id))
                    .map(|s| s.line);
            }
        }
    }
}
