//! The names under which a system or a person may be called: a system's own, its title, its aliases; a person's key and login. Each
//! must mean one of them.

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization as _;

use crate::document::hidden::hidden;

/// A name as it is compared: width, case, surrounding space and what can't be seen do not count.
pub(crate) fn fold(text: &str) -> String {
    text.trim()
        .nfkc()
        .filter(|c| hidden(*c).is_none())
        .flat_map(char::to_lowercase)
        .collect()
}

/// Who has which name so far.
#[derive(Debug, Default)]
pub(super) struct Taken(HashMap<String, String>);

impl Taken {
    /// A name, title or alias. Gives who else has it already.
    pub(super) fn claim(&mut self, text: &str, system: &str) -> Option<String> {
        let owner = self
            .0
            .entry(fold(text))
            .or_insert_with(|| system.to_owned());
        (owner != system).then(|| owner.clone())
    }
}
