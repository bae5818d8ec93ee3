//! Reading the documents of one revision, and what one document lost and gained since the revision before.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use jiff::tz::TimeZone;

use crate::config::Config;
use crate::document::{Blob, BlobId, Content, Snapshot, faults, hidden, limits};
use crate::finding::{Finding, Span};
use crate::ids::{DocPath, ResourceRef};
use crate::resource::form::{Context, Declared, Reading, Source};
use crate::resource::kinds::Forms;
use crate::resource::{Kinds, Resource, dating};
use crate::state::Item;

/// What a document declared, and the content in which it did.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) blob: BlobId,
    pub(super) resources: Arc<[Arc<Resource>]>,
}

/// Reads documents of one revision.
pub(super) struct Reader<'a> {
    pub(super) forms: &'a Forms,
    pub(super) config: &'a Config,
    pub(super) kinds: &'a Kinds,
}

impl Reader<'_> {
    pub(super) fn context(&self) -> Context<'_> {
        Context {
            config: self.config,
            kinds: self.kinds,
        }
    }

    /// `None` for a file that is no document. Resources equal to those `earlier` held are shared with it.
    pub(super) fn read(
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
        let zone = OnceCell::new();
        let mut earlier = Earlier {
            resources: earlier.map_or(&[][..], |d| &*d.resources),
            by_name: None,
        };
        let resources = resources
            .into_iter()
            .enumerate()
            .map(|(n, declared)| match earlier.find(n, &declared) {
                Some(old) => old,
                None => Arc::new(self.resource(declared, path, &zone)),
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

    /// `zone` is the repo's, once it was needed: few documents have dates.
    fn resource(&self, declared: Declared, path: &DocPath, zone: &OnceCell<TimeZone>) -> Resource {
        let Declared { id, spec, systems } = declared;
        let dated = dating::dated(self.kinds.get(id.kind()), &id, &spec, || {
            let zone = zone.get_or_init(|| dating::zone(&self.config.timezone));
            zone.clone()
        });
        Resource {
            item: Arc::new(Item::new(id, spec)),
            systems,
            document: path.clone(),
            dated,
        }
    }

    pub(super) fn locate(
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

pub(super) fn source<'a>(path: &'a DocPath, text: &'a str) -> Source<'a> {
    Source {
        path,
        text: text.strip_prefix('\u{feff}').unwrap_or(text),
    }
}

/// What one document lost and gained. Equal resources are neither.
pub(super) fn differences(
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
