//! Systems as people mention them in documents: by name, title or alias. Width, case and spaces do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::config::Config;
use crate::document::markdown::folded;
use crate::document::suggest;
use crate::ids::SystemName;
use crate::resource::SystemSet;

/// How many systems are listed where a word means none.
const LISTED: usize = 12;

/// The systems of a config repo by everything that they are called.
pub(crate) struct Directory<'c> {
    config: &'c Config,
    names: BTreeMap<String, &'c SystemName>,
    alone: BTreeMap<&'c SystemName, SystemSet>,
}

impl<'c> Directory<'c> {
    pub(crate) fn new(config: &'c Config) -> Self {
        let mut names = BTreeMap::new();
        // A name goes before a title, and a title before an alias, whichever system it is of.
        for name in config.systems.keys() {
            names.entry(folded(name.as_str())).or_insert(name);
        }
        for (name, system) in &config.systems {
            if let Some(title) = &system.title {
                names.entry(folded(title)).or_insert(name);
            }
        }
        for (name, system) in &config.systems {
            for alias in &system.aliases {
                names.entry(folded(alias)).or_insert(name);
            }
        }
        let alone = config
            .systems
            .keys()
            .map(|name| (name, Arc::new(BTreeSet::from([name.clone()]))))
            .collect();
        Self {
            config,
            names,
            alone,
        }
    }

    /// The system that a word means.
    pub(crate) fn find(&self, word: &str) -> Option<&'c SystemName> {
        self.names.get(&folded(word)).copied()
    }

    /// What to write in place of a word that means no system.
    pub(crate) fn hint(&self, word: &str) -> Option<String> {
        self.near(word)
            .map(|near| format!("did you mean `{near}`?"))
            .or_else(|| {
                let systems = &self.config.systems;
                let names: Vec<&str> = systems
                    .keys()
                    .take(LISTED)
                    .map(SystemName::as_str)
                    .collect();
                let more = systems.len().saturating_sub(names.len());
                let more = if more > 0 {
                    format!(", … and {more} more")
                } else {
                    String::new()
                };
                (!names.is_empty()).then(|| format!("known systems: {}{more}", names.join(", ")))
            })
    }

    /// The name, title or alias that is nearly this word.
    pub(crate) fn near(&self, word: &str) -> Option<&'c str> {
        let known = self.config.systems.iter().flat_map(|(name, system)| {
            let title = system.title.as_deref();
            let aliases = system.aliases.iter().map(String::as_str);
            [name.as_str()].into_iter().chain(title).chain(aliases)
        });
        suggest::nearest(word, known)
    }

    /// Whether a system takes resources of a kind.
    pub(crate) fn takes(&self, system: &SystemName, kind: &str) -> bool {
        self.config
            .systems
            .get(system)
            .is_some_and(|s| s.kinds.contains(kind))
    }

    /// All systems that take a kind.
    pub(crate) fn takers(&self, kind: &str) -> SystemSet {
        let takers = self
            .config
            .systems
            .iter()
            .filter(|(_, s)| s.kinds.contains(kind));
        Arc::new(takers.map(|(name, _)| name.clone()).collect())
    }

    /// One system as a set, shared by all resources that are for it alone.
    pub(crate) fn alone(&self, system: &SystemName) -> SystemSet {
        self.alone.get(system).cloned().unwrap_or_default()
    }
}
