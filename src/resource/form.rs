//! How documents declare resources: one [`Form`] for each sort of document.
//!
//! A form reads twice only where it must: a typed pass first, and the pass that keeps positions only for a document with a
//! finding or for a line that is shown.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::Config;
use crate::document::edit::EditError;
use crate::finding::{Finding, Span};
use crate::ids::{DocPath, KindName, ResourceRef};
use crate::resource::{Kinds, SystemSet};
use crate::state::Spec;

/// A document's text: UTF-8, a leading byte order mark already taken off.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    pub path: &'a DocPath,
    pub text: &'a str,
}

/// What a form may know besides the document. All of it is from the same revision.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub config: &'a Config,
    pub kinds: &'a Kinds,
}

/// One resource as a document declares it. `systems` are those that exist, take this kind, and are named (or all that take the kind,
/// where the document names none); the form has reported the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    pub id: ResourceRef,
    pub spec: Spec,
    pub systems: SystemSet,
}

/// What a document holds and what is wrong with it. What could be read is there even where there are errors.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    pub resources: Vec<Declared>,
    pub findings: Vec<Finding>,
}

/// How a resource is to be declared, and how it is now; `None` where it isn't.
#[derive(Debug, Clone, Copy)]
pub struct Rewrite<'a> {
    pub id: &'a ResourceRef,
    pub declared: Option<(&'a Value, &'a SystemSet)>,
    pub wanted: Option<(&'a Value, &'a SystemSet)>,
}

/// Why a document was not rewritten.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotWritten {
    /// This sort of document, or this way of writing it, is for people.
    #[error("it is written by hand")]
    ByHand,
    #[error(transparent)]
    Edit(#[from] EditError),
}

/// A sort of document.
pub trait Form: Send + Sync {
    /// The kinds it declares.
    fn kinds(&self) -> Vec<KindName>;

    /// All resources and all findings, in one pass over the document as far as the reader can tell.
    fn read(&self, source: Source<'_>, context: Context<'_>) -> Reading;

    /// Where a resource stands in the document: its key, heading or line.
    fn locate(&self, source: Source<'_>, context: Context<'_>, id: &ResourceRef) -> Option<Span>;

    /// The same for many resources of one document, which is read once for all of them where the form can.
    fn locate_all(
        &self,
        source: Source<'_>,
        context: Context<'_>,
        ids: &[ResourceRef],
    ) -> BTreeMap<ResourceRef, Span> {
        ids.iter()
            .filter_map(|id| Some((id.clone(), self.locate(source, context, id)?)))
            .collect()
    }

    /// The document's text with a resource declared as it is wanted, and all else as its author left it. `source` keeps its byte order
    /// mark here. Nobody checks the outcome before it is read again, so what a document can't say comes out as something else.
    fn rewrite(
        &self,
        _source: Source<'_>,
        _context: Context<'_>,
        _rewrite: &Rewrite<'_>,
    ) -> Result<String, NotWritten> {
        Err(NotWritten::ByHand)
    }
}
