//! Names that differ and look alike: in width, case, composition or by something that can't be seen. People take them for one
//! thing, some systems and file systems do too.
//!
//! Most names are plain, and two plain ones are alike only if they are equal. So what is kept, and looked through when names come and
//! go, is the others.

use std::collections::{BTreeMap, BTreeSet};

use unicode_normalization::UnicodeNormalization as _;

use crate::document::hidden::hidden;

/// The names that are not plain, by what they are compared as.
#[derive(Debug, Clone)]
pub(super) struct Alike {
    of: Of,
    folded: BTreeMap<String, BTreeSet<String>>,
}

/// What is called so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// `kind/name`: kinds are a checked, closed set.
    Resources,
    Files,
}

/// Names that look alike, in order. Not always all: one of them may be plain, and then stands first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) first: String,
    pub(super) other: String,
    /// Whether they differ in nothing but upper and lower case, which can be seen.
    pub(super) by_case: bool,
}

impl Alike {
    pub(super) fn new(of: Of) -> Self {
        Self {
            of,
            folded: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, name: &str) {
        if let Some(folded) = self.fold(name) {
            let names = self.folded.entry(folded).or_default();
            names.insert(name.to_owned());
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some(folded) = self.fold(name)
            && let Some(names) = self.folded.get_mut(&folded)
        {
            names.remove(name);
            if names.is_empty() {
                self.folded.remove(&folded);
            }
        }
    }

    /// Whether another name looks like this one. `exists` says which plain names there are.
    pub(super) fn clashes(&self, name: &str, exists: impl Fn(&str) -> bool) -> bool {
        let folded = self.fold(name);
        let others = self.folded.get(folded.as_deref().unwrap_or(name));
        others.is_some_and(|names| names.iter().any(|n| n != name))
            || folded.is_some_and(|folded| folded != name && exists(&folded))
    }

    /// All names that look like another: each with the first of its likes.
    pub(super) fn pairs(&self, exists: impl Fn(&str) -> bool) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for (folded, names) in &self.folded {
            let plain = (!names.contains(folded) && exists(folded)).then_some(folded);
            let mut all = plain.into_iter().chain(names);
            let Some(first) = all.next() else {
                continue;
            };
            pairs.extend(all.map(|other| Pair {
                first: first.clone(),
                other: other.clone(),
                by_case: first.to_lowercase() == other.to_lowercase(),
            }));
        }
        pairs
    }
}

impl Alike {
    /// What a name is compared as; `None` for a plain one, which is itself.
    fn fold(&self, name: &str) -> Option<String> {
        let start = match self.of {
            Of::Resources => name.find('/').map_or(0, |at| at + 1),
            Of::Files => 0,
        };
        let (kind, name) = name.split_at_checked(start)?;
        let plain = |b: u8| b.is_ascii_graphic() && !b.is_ascii_uppercase();
        if name.bytes().all(plain) {
            return None;
        }
        let lower = name.nfkc().collect::<String>().to_lowercase();
        Some(format!("{kind}{}", seen(&lower)))
    }
}

/// What of a name is there to be seen: its characters as they are composed, at one width.
fn seen(name: &str) -> String {
    name.nfkc().filter(|c| hidden(*c).is_none()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(names: &[&str]) -> Vec<(String, String, bool)> {
        let mut alike = Alike::new(Of::Files);
        names.iter().for_each(|n| alike.add(n));
        let exists = |name: &str| names.contains(&name);
        for name in names {
            let others = pairs_of(&alike, exists);
            let clash = others.iter().any(|(a, b, _)| a == name || b == name);
            assert_eq!(alike.clashes(name, exists), clash, "{name}");
        }
        pairs_of(&alike, exists)
    }

    fn pairs_of(alike: &Alike, exists: impl Fn(&str) -> bool) -> Vec<(String, String, bool)> {
        let pairs = alike.pairs(exists).into_iter();
        pairs.map(|p| (p.first, p.other, p.by_case)).collect()
    }

    fn pair(first: &str, other: &str, by_case: bool) -> (String, String, bool) {
        (first.to_owned(), other.to_owned(), by_case)
    }

    #[test]
    fn width_case_composition_and_what_is_hidden_do_not_tell_names_apart() {
        assert_eq!(pairs(&["a/x", "a/y", "a/漢字", "a/ｱ"]), []);
        assert_eq!(pairs(&["a/x", "a/X"]), [pair("a/x", "a/X", true)]);
        assert_eq!(pairs(&["a/x", "a/ｘ"]), [pair("a/x", "a/ｘ", false)]);
        assert_eq!(pairs(&["ガ", "ｶﾞ"]), [pair("ガ", "ｶﾞ", false)]);
        assert_eq!(
            pairs(&["caf\u{e9}", "cafe\u{301}"]),
            [pair("cafe\u{301}", "caf\u{e9}", false)]
        );
        assert_eq!(
            pairs(&["a\u{200b}b", "ab", "AB"]),
            [pair("ab", "AB", true), pair("ab", "a\u{200b}b", false)]
        );
    }

    #[test]
    fn what_is_gone_looks_like_nothing() {
        let mut alike = Alike::new(Of::Files);
        alike.add("A");
        alike.add("ａ");
        assert!(alike.clashes("A", |_| false));
        alike.remove("ａ");
        assert!(!alike.clashes("A", |_| false));
        assert!(alike.clashes("a", |_| false));
        alike.remove("A");
        assert_eq!(alike.pairs(|_| true), []);
    }
}
