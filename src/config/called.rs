//! Which system a document means by a name, a title or an alias.
//!
//! A document may name systems a million times, and each may be any of their names: they are gone through once, not once a mention.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use super::read::fold;
use super::{Config, System};
use crate::ids::SystemName;

/// The systems by all that they are called. No value of its own: two configs with the same systems have the same.
#[derive(Debug, Default)]
pub struct Called(OnceLock<Names>);

#[derive(Debug)]
struct Names {
    /// As they are written.
    exact: HashMap<String, SystemName>,
    /// As they are compared.
    folded: HashMap<String, SystemName>,
}

impl Clone for Called {
    /// The copy's systems may become others.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Called {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Config {
    /// The system that a name, title or alias means: as it is written, or else but for width and case.
    pub fn system_called(&self, text: &str) -> Option<&SystemName> {
        if let Some((name, _)) = self.systems.get_key_value(text) {
            return Some(name);
        }
        let names = self.called.0.get_or_init(|| Names::of(&self.systems));
        let found = names.exact.get(text);
        let found = found.or_else(|| names.folded.get(&fold(text)))?;
        self.systems.get_key_value(found).map(|(name, _)| name)
    }
}

impl Names {
    fn of(systems: &BTreeMap<SystemName, System>) -> Self {
        let (mut exact, mut folded) = (HashMap::new(), HashMap::new());
        for (name, system) in systems {
            for text in system.title.iter().chain(&system.aliases) {
                exact.entry(text.clone()).or_insert_with(|| name.clone());
                folded.entry(fold(text)).or_insert_with(|| name.clone());
            }
            folded
                .entry(fold(name.as_str()))
                .or_insert_with(|| name.clone());
        }
        Self { exact, folded }
    }
}
