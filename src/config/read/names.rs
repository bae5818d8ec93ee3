//! The names under which a system may be called: its own, its title, its aliases. Each must mean one system.

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization as _;

/// A name as it is compared: width, case and surrounding space do not count.
pub(crate) fn fold(text: &str) -> String {
    text.trim().nfkc().flat_map(char::to_lowercase).collect()
}

/// Who has which name so far.
#[derive(Debug, Default)]
pub(super) struct Taken(HashMap<String, String>);

impl Taken {
    /// A system's own name.
    pub(super) fn name(&mut self, system: &str) {
        self.0.insert(fold(system), system.to_owned());
    }

    /// A title or alias. Gives the other system that has it already.
    pub(super) fn claim(&mut self, text: &str, system: &str) -> Option<String> {
        let owner = self
            .0
            .entry(fold(text))
            .or_insert_with(|| system.to_owned());
        (owner != system).then(|| owner.clone())
    }
}
