//! What the readers of documents share: the systems that a document names, the names of resources, where they stand, and the
//! words in which changes are told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::SystemSet;
use super::form::Source;
use serde_json::Value;

use crate::config::Config;
use crate::document::faults::{Faults, spans};
use crate::document::fields::{self, Fields, Placed};
use crate::document::tree::Node;
use crate::document::{data, suggest};
use crate::finding::Span;
use crate::ids::{KindName, ResourceRef, SystemName};
use crate::state::Spec;

/// The systems that resources of one kind can be for, as documents call them.
pub(super) struct Targets<'c> {
    config: &'c Config,
    kind: &'c str,
    all: SystemSet,
    /// Each set of systems once, however many resources are for it.
    sets: HashMap<BTreeSet<SystemName>, SystemSet>,
}

impl<'c> Targets<'c> {
    pub(super) fn new(config: &'c Config, kind: &'c str) -> Self {
        let all = systems_for(config, kind);
        Self {
            config,
            kind,
            all,
            sets: HashMap::new(),
        }
    }

    /// The time zone in which the documents' dates are.
    pub(super) fn timezone(&self) -> &'c str {
        &self.config.timezone
    }

    /// All systems that take the kind: what a resource is for that names none.
    pub(super) fn all(&self) -> SystemSet {
        self.all.clone()
    }

    pub(super) fn intern(&mut self, set: BTreeSet<SystemName>) -> SystemSet {
        if set == *self.all {
            return self.all.clone();
        }
        match self.sets.get(&set) {
            Some(known) => known.clone(),
            None => {
                let shared: SystemSet = Arc::new(set.clone());
                self.sets.insert(set, shared.clone());
                shared
            }
        }
    }

    /// The systems with these names, if all is well with all of them: each exists, takes the kind and is named once.
    pub(super) fn exactly<'t>(
        &mut self,
        names: impl IntoIterator<Item = &'t str>,
    ) -> Option<SystemSet> {
        let mut set = BTreeSet::new();
        for name in names {
            let system = self.config.system_called(name)?;
            if !self.all.contains(system) || !set.insert(system.clone()) {
                return None;
            }
        }
        (!set.is_empty()).then(|| self.intern(set))
    }

    /// The systems that a list names; what is wrong with it is reported, the rest is taken.
    pub(super) fn listed(&mut self, faults: &mut Faults<'_>, names: &[Placed<'_>]) -> SystemSet {
        let mut set = BTreeSet::new();
        for placed in names {
            if let Some(system) = listed_system(faults, self.config, self.kind, placed)
                && !set.insert(system.clone())
            {
                faults.warning(
                    "reference/repeated-system",
                    placed.at.clone(),
                    format!("`{system}` is named twice"),
                    Some("keep one of the two".to_owned()),
                );
            }
        }
        self.intern(set)
    }

    /// The systems of a resource: those its field names, or else all that take the kind. `at` is the resource's name.
    pub(super) fn of(
        &mut self,
        faults: &mut Faults<'_>,
        fields: &Fields<'_>,
        key: &str,
        at: &Range<usize>,
    ) -> SystemSet {
        let Some(member) = fields.get(key) else {
            return self.default_systems(faults, at);
        };
        let Some(names) = fields::texts(faults, member) else {
            return self.intern(BTreeSet::new());
        };
        if names.is_empty() {
            faults.error(
                "document/empty-list",
                member.value.span.clone(),
                format!("`{key}` names no system"),
                Some(format!("name one, or leave `{key}` out for all of them")),
            );
        }
        self.listed(faults, &names)
    }

    /// All systems that take the kind; a warning where there is none.
    pub(super) fn default_systems(&self, faults: &mut Faults<'_>, at: &Range<usize>) -> SystemSet {
        if self.all.is_empty() {
            no_system(faults, self.kind, at);
        }
        self.all()
    }
}

/// The systems that take a kind.
pub(super) fn systems_for(config: &Config, kind: &str) -> SystemSet {
    let takes = config
        .systems
        .iter()
        .filter(|(_, s)| s.kinds.contains(kind));
    Arc::new(takes.map(|(name, _)| name.clone()).collect())
}

/// Says that a resource is for no system.
pub(super) fn no_system(faults: &mut Faults<'_>, kind: &str, at: &Range<usize>) {
    faults.warning(
        "reference/no-system",
        at.clone(),
        format!("no system takes {kind}, so this reaches none"),
        Some(format!(
            "add {kind} to the `kinds` of a system in lockstep.yaml"
        )),
    );
}

/// A named system, if it exists and takes the kind; else a finding.
pub(super) fn listed_system<'c>(
    faults: &mut Faults<'_>,
    config: &'c Config,
    kind: &str,
    placed: &Placed<'_>,
) -> Option<&'c SystemName> {
    let Some(system) = config.system_called(placed.text) else {
        let known = config.systems.iter().flat_map(|(name, system)| {
            let others = system.title.iter().chain(&system.aliases);
            [name.as_str()]
                .into_iter()
                .chain(others.map(String::as_str))
        });
        let names = config.systems.keys().map(SystemName::as_str);
        let hint = if faults.has_hints_enough() {
            None
        } else {
            match suggest::nearest(placed.text, known) {
                Some(near) => Some(format!("did you mean `{near}`?")),
                None => suggest::hint(placed.text, names),
            }
        };
        faults.error(
            "reference/unknown-system",
            placed.at.clone(),
            format!("there is no system `{}`", fields::shorten(placed.text)),
            hint,
        );
        return None;
    };
    let takes = config
        .systems
        .get(system)
        .is_some_and(|s| s.kinds.contains(kind));
    if !takes {
        faults.error(
            "reference/kind-not-taken",
            placed.at.clone(),
            format!("the system `{system}` does not take {kind}"),
            Some(format!(
                "add {kind} to its `kinds` in lockstep.yaml, or leave it out here"
            )),
        );
        return None;
    }
    Some(system)
}

/// The name of a resource; what can't be one is reported where it stands.
pub(super) fn resource(
    faults: &mut Faults<'_>,
    kind: &str,
    name: &str,
    at: &Range<usize>,
) -> Option<ResourceRef> {
    match ResourceRef::new(kind, name) {
        Ok(id) => Some(id),
        Err(error) => {
            faults.error("document/bad-name", at.clone(), error.to_string(), None);
            None
        }
    }
}

/// A spec in canonical form.
pub(super) fn canonical(faults: &mut Faults<'_>, spec: &Value, at: &Range<usize>) -> Option<Spec> {
    match Spec::from_value(spec) {
        Ok(spec) => Some(spec),
        Err(error) => {
            faults.error(
                "document/not-canonical",
                at.clone(),
                error.to_string(),
                None,
            );
            None
        }
    }
}

/// A kind's name as its type. The built-in names are all valid.
pub(super) fn kind_name(kind: &str) -> Option<KindName> {
    kind.parse().ok()
}

/// Reports a name that was declared before in the same document.
pub(super) fn duplicate(faults: &mut Faults<'_>, id: &ResourceRef, at: &Range<usize>) {
    faults.error(
        "document/duplicate-resource",
        at.clone(),
        format!("`{id}` is declared twice"),
        Some("keep one of the two".to_owned()),
    );
}

/// Where resources stand in a document: it is read once, and lines are counted once, for all that are wanted.
pub(super) fn places(
    source: Source<'_>,
    wanted: &[ResourceRef],
    declared: impl FnOnce(&Node) -> Vec<(ResourceRef, Range<usize>)>,
) -> BTreeMap<ResourceRef, Span> {
    let mut faults = Faults::new(source.path, source.text);
    let Some(node) = data::read(&mut faults) else {
        return BTreeMap::new();
    };
    let wanted: BTreeSet<&ResourceRef> = wanted.iter().collect();
    let mut found = declared(&node);
    found.retain(|(id, _)| wanted.contains(id));
    // Of two with one name the first counts: the second is a finding.
    let mut places = BTreeMap::new();
    for (id, span) in spans(source.text, found) {
        places.entry(id).or_insert(span);
    }
    places
}
