//! The table of kinds and of the documents that declare them: the only place where one is registered.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use globset::{Glob, GlobMatcher};

use super::custom::{CustomForm, CustomKind};
use super::form::Form;
use super::{Kind, Kinds, access, compliance, experiment, flag, incident, interview_type, notice};
use crate::config::Config;
use crate::document::suggest;
use crate::finding::Finding;
use crate::ids::{DocPath, KindName};

#[cfg(test)]
mod tests;

/// One sort of document: where it lies, how it is read, the kinds that it declares.
struct Row {
    /// Path patterns of the default map.
    paths: &'static [&'static str],
    form: fn() -> Arc<dyn Form>,
    kinds: fn() -> Vec<Arc<dyn Kind>>,
    /// Where the first document of this sort is put, and its text while it declares nothing; `None` where people write it.
    first: Option<(&'static str, &'static str)>,
}

const TABLE: &[Row] = &[
    Row {
        paths: &["config/feature-flags.{json,yaml,yml}"],
        form: || Arc::new(flag::FlagForm),
        kinds: || vec![Arc::new(flag::FeatureFlag)],
        first: Some(("config/feature-flags.json", "{}\n")),
    },
    Row {
        paths: &["config/access-control.{json,yaml,yml}"],
        form: || Arc::new(access::AccessForm),
        kinds: || vec![Arc::new(access::AccessGrant), Arc::new(access::IpBlock)],
        first: Some(("config/access-control.json", "{}\n")),
    },
    Row {
        paths: &["config/interview-types.{json,yaml,yml}"],
        form: || Arc::new(interview_type::InterviewTypeForm),
        kinds: || vec![Arc::new(interview_type::InterviewType)],
        first: Some(("config/interview-types.json", "[]\n")),
    },
    Row {
        paths: &["compliance/**/*.md"],
        form: || Arc::new(compliance::ComplianceForm),
        kinds: || {
            vec![
                Arc::new(compliance::Requirement),
                Arc::new(compliance::ComplianceItem),
            ]
        },
        first: None,
    },
    Row {
        paths: &["alerts/**/*.md", "security/**/*.md"],
        form: || Arc::new(notice::NoticeForm),
        kinds: || vec![Arc::new(notice::Notice)],
        first: None,
    },
    Row {
        paths: &["incidents/**/*.md"],
        form: || Arc::new(incident::IncidentForm),
        kinds: || vec![Arc::new(incident::Incident)],
        first: None,
    },
    Row {
        paths: &["experiments/**/*.md"],
        form: || Arc::new(experiment::ExperimentForm),
        kinds: || vec![Arc::new(experiment::Experiment)],
        first: None,
    },
];

/// The built-in kinds.
pub fn builtin() -> Kinds {
    with_custom(&BTreeMap::new())
}

/// The built-in kinds and a repo's own. A custom kind never takes a built-in one's place.
pub fn with_custom(custom: &BTreeMap<KindName, Arc<CustomKind>>) -> Kinds {
    let own = custom
        .iter()
        .map(|(name, kind)| (name.clone(), kind.clone() as Arc<dyn Kind>));
    let built_in = TABLE.iter().flat_map(|row| (row.kinds)());
    let built_in = built_in.filter_map(|kind| Some((kind.name().parse().ok()?, kind)));
    Arc::new(own.chain(built_in).collect())
}

/// The path patterns of the default map.
pub fn default_paths() -> impl Iterator<Item = &'static str> {
    TABLE.iter().flat_map(|row| row.paths.iter().copied())
}

/// Which form reads which document: `documents:` of the config first, then the default map.
pub struct Forms {
    rules: Vec<(Pattern, Arc<dyn Form>)>,
    /// How many of them are the config's.
    mapped: usize,
}

/// Why a document is read as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadAs {
    pub kinds: Vec<KindName>,
    /// The path pattern that it fits.
    pub pattern: String,
    /// Whether the pattern is one of the config's, and not of the default map.
    pub mapped: bool,
}

/// A path pattern, compiled when the first path comes that could fit it: compiling all of them costs more than reading a small
/// repo, and of a large one most paths fit only one.
struct Pattern {
    text: String,
    /// How many bytes at its start stand for themselves.
    literal: usize,
    matcher: OnceLock<Option<GlobMatcher>>,
}

impl Pattern {
    fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            literal: text.find(['*', '?', '[', '{', '\\']).unwrap_or(text.len()),
            matcher: OnceLock::new(),
        }
    }

    /// A pattern that is none fits nothing: it has been reported where the config was read.
    fn fits(&self, path: &str) -> bool {
        let literal = self.text.get(..self.literal).unwrap_or_default();
        path.starts_with(literal)
            && self
                .matcher
                .get_or_init(|| matcher(&self.text))
                .as_ref()
                .is_some_and(|matcher| matcher.is_match(path))
    }
}

impl fmt::Debug for Forms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.rules.iter().map(|(pattern, _)| &pattern.text))
            .finish()
    }
}

impl Forms {
    /// The map of a config and its custom kinds. Mappings that name an unknown kind or no pattern have been reported where
    /// the config was read, and are left out.
    pub fn new(config: &Config, custom: &BTreeMap<KindName, Arc<CustomKind>>) -> Self {
        let mapped = config.documents.iter().filter_map(|mapping| {
            Some((Pattern::new(&mapping.path), form_of(&mapping.kind, custom)?))
        });
        let default = TABLE.iter().flat_map(|row| {
            let form = (row.form)();
            row.paths
                .iter()
                .map(move |path| (Pattern::new(path), form.clone()))
        });
        let mut rules: Vec<_> = mapped.collect();
        let mapped = rules.len();
        rules.extend(default);
        Self { rules, mapped }
    }

    /// Which form reads a document, and by which pattern.
    pub fn read_as(&self, path: &DocPath) -> Option<ReadAs> {
        self.form_for(path)?;
        let fits = |(pattern, _): &(Pattern, Arc<dyn Form>)| pattern.fits(path.as_str());
        let at = self.rules.iter().position(fits)?;
        let (pattern, form) = self.rules.get(at)?;
        Some(ReadAs {
            kinds: form.kinds(),
            pattern: pattern.text.clone(),
            mapped: at < self.mapped,
        })
    }

    /// The form that reads a document; `None` for files that declare nothing.
    pub fn form_for(&self, path: &DocPath) -> Option<Arc<dyn Form>> {
        if is_reserved(path) {
            return None;
        }
        self.rules
            .iter()
            .find(|(pattern, _)| pattern.fits(path.as_str()))
            .map(|(_, form)| form.clone())
    }

    /// Where a kind's first document is put, and its text while it declares nothing. `None` for kinds that people write documents of, and where
    /// the config has that place for another kind.
    pub fn first_document(&self, kind: &str) -> Option<(DocPath, &'static str)> {
        let declares = |form: &Arc<dyn Form>| form.kinds().iter().any(|k| k.as_str() == kind);
        let row = TABLE.iter().find(|row| declares(&(row.form)()))?;
        let (path, text) = row.first?;
        let path: DocPath = path.parse().ok()?;
        let form = self.form_for(&path)?;
        declares(&form).then_some((path, text))
    }

    /// Whether a file lies among the documents and is read by nothing: probably its name is wrong.
    pub fn is_strayed(&self, path: &DocPath) -> bool {
        let text = path.as_str();
        let hidden = text.split('/').any(|part| part.starts_with('.'));
        text.starts_with("config/")
            && !hidden
            && !text.ends_with(".md")
            && !is_reserved(path)
            && self.form_for(path).is_none()
    }

    /// The warning about a strayed file, with the name that was probably meant.
    pub fn stray(&self, path: &DocPath) -> Option<Finding> {
        if !self.is_strayed(path) {
            return None;
        }
        let known: Vec<String> = default_paths().flat_map(alternatives).collect();
        let near = suggest::nearest(path.as_str(), known.iter().map(String::as_str));
        let hint = match near {
            Some(near) => format!("did you mean {near}?"),
            None => "map it to a kind under `documents:` in lockstep.yaml, or move it".to_owned(),
        };
        let finding = Finding::error(
            "document/strayed",
            path,
            None,
            "this file is not read by any kind",
        );
        Some(finding.warning().with_hint(hint))
    }
}

/// The form of a kind, built in or custom.
pub fn form_of(
    kind: &KindName,
    custom: &BTreeMap<KindName, Arc<CustomKind>>,
) -> Option<Arc<dyn Form>> {
    let built_in = TABLE
        .iter()
        .map(|row| (row.form)())
        .find(|form| form.kinds().contains(kind));
    built_in.or_else(|| {
        let kind = custom.get(kind)?.clone();
        Some(Arc::new(CustomForm { kind }))
    })
}

/// Files that are never documents, whatever a pattern says: Lockstep's own, what it writes, and what people read.
fn is_reserved(path: &DocPath) -> bool {
    let text = path.as_str();
    let name = text.rsplit('/').next().unwrap_or(text);
    let stem = name.split('.').next().unwrap_or(name);
    text == "lockstep.yaml"
        || text.starts_with("kinds/")
        || text.starts_with("reports/")
        || stem.eq_ignore_ascii_case("readme")
}

/// A pattern in which `*` stays within a folder.
fn matcher(pattern: &str) -> Option<GlobMatcher> {
    globset::GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .ok()
        .as_ref()
        .map(Glob::compile_matcher)
}

/// `a.{json,yaml}` as `a.json`, `a.yaml`.
fn alternatives(pattern: &str) -> Vec<String> {
    let split = pattern
        .split_once('{')
        .and_then(|(head, rest)| Some((head, rest.split_once('}')?)));
    match split {
        Some((head, (choices, tail))) => choices
            .split(',')
            .map(|choice| format!("{head}{choice}{tail}"))
            .collect(),
        None => vec![pattern.to_owned()],
    }
}
