//! A Markdown document while a form reads it: its outline, the systems it may mention, what it declares and what is
//! wrong with it. What is the same for every sort of Markdown document is said here once.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization as _;

use crate::document::date;
use crate::document::faults::Faults;
use crate::document::limits;
use crate::document::markdown::{Block, Field, Fields, Labels, Line, Outline, Phrase, Sort};
use crate::document::suggest;
use crate::ids::{ResourceRef, SystemName};
use crate::resource::SystemSet;
use crate::resource::form::{Context, Declared, Reading, Source};
use crate::resource::mention::Directory;
use crate::state::Spec;

#[cfg(test)]
pub(crate) mod tests;

/// A document being read.
pub(crate) struct Page<'a> {
    source: Source<'a>,
    pub(crate) outline: Outline,
    pub(crate) directory: Directory<'a>,
    pub(crate) faults: Faults<'a>,
    resources: Vec<Declared>,
}

impl<'a> Page<'a> {
    pub(crate) fn open(source: Source<'a>, context: Context<'a>) -> Self {
        let outline = Outline::new(source.text);
        let mut faults = Faults::new(source.path, source.text);
        if let Some(fault) = outline
            .front
            .as_ref()
            .and_then(|front| front.fault.as_ref())
        {
            faults.error(
                "markdown/front-matter",
                fault.span.clone(),
                fault.message.clone(),
                Some(fault.hint.to_owned()),
            );
        }
        if let Some(at) = &outline.too_deep {
            faults.error(
                "markdown/nesting",
                at.clone(),
                format!(
                    "lists, quotes or brackets nest deeper than {} levels",
                    limits::NESTING
                ),
                Some("flatten the document".to_owned()),
            );
        }
        Self {
            source,
            outline,
            directory: Directory::new(context.config),
            faults,
            resources: Vec::new(),
        }
    }

    /// Whether the front matter, or all that comes after some place, could not be read. Then nothing is missing from it.
    pub(crate) fn is_broken(&self) -> bool {
        let front = self.outline.front.as_ref();
        self.outline.too_deep.is_some() || front.is_some_and(|front| front.fault.is_some())
    }

    /// The labelled values. Keys and labels that mean nothing, or that come twice, are findings.
    pub(crate) fn fields(
        &mut self,
        labels: &Labels,
        own: impl Fn(&Block, &Line) -> bool,
    ) -> Fields {
        let fields = self.outline.fields(labels, own);
        let known: Vec<&str> = labels.iter().map(|(name, _)| *name).collect();
        for key in &fields.unknown {
            let words = labels.iter().flat_map(|(_, words)| words.iter().copied());
            // Of a thousand and more only the number is told.
            let near = match self.faults.is_full() {
                true => None,
                false => suggest::nearest(&key.text, words),
            };
            let hint = near
                .map(|near| format!("did you mean `{near}`?"))
                .unwrap_or_else(|| format!("known fields: {}", known.join(", ")));
            let message = format!("`{}` is no field of this document", key.text);
            self.faults.error(
                "document/unknown-field",
                key.span.clone(),
                message,
                Some(hint),
            );
        }
        for (key, sort) in &fields.nested {
            let message = format!(
                "`{}` is {sort}, where a text or a list of texts was expected",
                key.text
            );
            self.faults
                .error("document/wrong-type", key.span.clone(), message, None);
        }
        for field in &fields.repeated {
            let message = format!(
                "`{}` is given a second time; the first one counts",
                field.label.text
            );
            let hint = format!("leave one `{}`", field.label.text);
            self.faults.error(
                "markdown/repeated-label",
                field.label.span.clone(),
                message,
                Some(hint),
            );
        }
        for (label, near) in &fields.misspelt {
            let message = format!(
                "`{}` is no label that is known here, so the line is plain text",
                label.text
            );
            let hint = format!("did you mean `{near}`?");
            self.faults.warning(
                "markdown/unknown-label",
                label.span.clone(),
                message,
                Some(hint),
            );
        }
        fields
    }

    /// The heading's text. A document without one is a finding.
    pub(crate) fn title(&mut self) -> Option<Phrase> {
        let title = self.outline.heading().map(|(_, block)| block.phrase());
        if title.is_none() && !self.is_broken() {
            let first = self.outline.beginning();
            let hint = "begin with a line `# <title>`".to_owned();
            self.faults.error(
                "markdown/no-heading",
                first,
                "the document has no heading",
                Some(hint),
            );
        }
        title
    }

    /// The document's name: its path without the extension, and without its folder where that is `folder`. A name that no
    /// resource may have is a finding.
    pub(crate) fn name(&mut self, kind: &str, folder: &str) -> Option<String> {
        match document_name(self.source, folder) {
            name if ResourceRef::new(kind, &name).is_ok() => Some(name),
            name => {
                let message = format!("the file name {name:?} can't be the name of a {kind}");
                let hint = "rename the file: no spaces, and not longer than 500 bytes".to_owned();
                self.faults
                    .error("document/bad-name", 0..0, message, Some(hint));
                None
            }
        }
    }

    /// The system that a phrase means, where it takes the kind.
    pub(crate) fn system(&mut self, phrase: &Phrase, kind: &str) -> Option<SystemName> {
        let system = self.known_system(phrase)?;
        if !self.directory.takes(&system, kind) {
            let message = format!("the system {system} does not take {kind}");
            let hint =
                format!("add {kind} to its `kinds:` in lockstep.yaml, or name another system");
            self.faults.error(
                "reference/kind-not-taken",
                phrase.span.clone(),
                message,
                Some(hint),
            );
            return None;
        }
        Some(system)
    }

    /// The system that a phrase means; none is a finding.
    pub(crate) fn known_system(&mut self, phrase: &Phrase) -> Option<SystemName> {
        let found = self.directory.find(&phrase.text).cloned();
        if found.is_none() {
            let message = format!("there is no system `{}`", phrase.text);
            let shown = !self.faults.has_hints_enough();
            let hint = shown.then(|| self.directory.hint(&phrase.text)).flatten();
            self.faults.error(
                "reference/unknown-system",
                phrase.span.clone(),
                message,
                hint,
            );
        }
        found
    }

    /// The systems that a field names, or all that take the kind where there is no such field.
    pub(crate) fn systems(&mut self, field: Option<&Field>, kind: &str) -> SystemSet {
        let Some(field) = field else {
            return self.directory.takers(kind);
        };
        let named: BTreeSet<SystemName> = field
            .list()
            .iter()
            .filter_map(|phrase| self.system(phrase, kind))
            .collect();
        Arc::new(named)
    }

    /// A field's date as `2025-10-01`. One that is none is a finding of this rule.
    pub(crate) fn date(
        &mut self,
        fields: &Fields,
        name: &str,
        rule: &'static str,
    ) -> Option<String> {
        let phrase = fields.text(name)?;
        self.date_in(&phrase, rule)
    }

    /// The same for any phrase.
    pub(crate) fn date_in(&mut self, phrase: &Phrase, rule: &'static str) -> Option<String> {
        let date = date::parse(&phrase.text);
        if date.is_none() {
            let message = format!("`{}` is no date", phrase.text);
            let hint = "write the year first: 2025-10-01, 2025/10/01 or 2025年10月1日".to_owned();
            self.faults
                .error(rule, phrase.span.clone(), message, Some(hint));
        }
        date.map(|date| date.to_string())
    }

    /// A field that is yes or no; absent is `None`.
    pub(crate) fn yes(&mut self, fields: &Fields, name: &str) -> Option<bool> {
        let phrase = fields.text(name)?;
        match phrase.text.to_lowercase().as_str() {
            "true" | "yes" | "はい" => Some(true),
            "false" | "no" | "いいえ" => Some(false),
            _ => {
                let message = format!("`{}` is neither true nor false", phrase.text);
                let hint = Some("write `true` or `false`".to_owned());
                self.faults
                    .error("document/wrong-type", phrase.span, message, hint);
                None
            }
        }
    }

    /// What stands under no label, a line each, items with a dash.
    pub(crate) fn body(&self, fields: &Fields, left_out: impl Fn(&Line) -> bool) -> Option<String> {
        let mut lines = Vec::new();
        for (at, number) in &fields.rest {
            let Some(block) = self.outline.blocks.get(*at) else {
                continue;
            };
            let Some(line) = block.lines.get(*number).filter(|line| !left_out(line)) else {
                continue;
            };
            let item = matches!(block.sort, Sort::Item | Sort::Task(_)) && *number == 0;
            lines.push(format!(
                "{}{}",
                if item { "- " } else { "" },
                line.text.trim()
            ));
        }
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// Adds a resource. Its name has been checked with [`Page::name`]; what is added to one may still make it too long.
    pub(crate) fn declare(
        &mut self,
        kind: &str,
        name: &str,
        spec: Map<String, Value>,
        systems: SystemSet,
        at: Range<usize>,
    ) {
        let id = match ResourceRef::new(kind, name) {
            Ok(id) => id,
            Err(error) => {
                self.faults
                    .error("document/bad-name", at, error.to_string(), None);
                return;
            }
        };
        match Spec::from_value(&Value::Object(spec)) {
            Ok(spec) => self.resources.push(Declared { id, spec, systems }),
            Err(error) => self
                .faults
                .error("document/number", at, error.to_string(), None),
        }
    }

    pub(crate) fn finish(self) -> Reading {
        Reading {
            resources: self.resources,
            findings: self.faults.finish(),
        }
    }
}

/// A document's name: its path without the extension, and without its folder where that is `folder`. Characters are
/// composed (NFC): some file systems take them apart.
pub(crate) fn document_name(source: Source<'_>, folder: &str) -> String {
    let path = source.path.as_str();
    let name = path
        .strip_prefix(folder)
        .and_then(|p| p.strip_prefix('/'))
        .unwrap_or(path);
    let stem = name
        .strip_suffix(".md")
        .or_else(|| name.strip_suffix(".markdown"))
        .unwrap_or(name);
    stem.nfc().collect()
}

/// A spec from those of its fields that are there.
pub(crate) fn spec<const N: usize>(fields: [(&str, Option<Value>); N]) -> Map<String, Value> {
    fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

/// Texts as a JSON list; nothing where there are none.
pub(crate) fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Option<Value> {
    let list: Vec<Value> = texts.into_iter().map(|t| Value::String(t.into())).collect();
    (!list.is_empty()).then_some(Value::Array(list))
}
