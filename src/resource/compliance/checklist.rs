//! A checklist's lines, as they stand.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization as _;

use crate::document::markdown::{Block, Outline, Phrase, Sort, Tick, split_label};
use crate::ids::Digest;
use crate::resource::mention::Directory;

/// A line of the checklist as it stands.
pub(super) struct Item {
    pub(super) tick: Tick,
    /// What it says of the system: its own words, or those of the item that it lies in.
    pub(super) system: Option<Phrase>,
    pub(super) action: Phrase,
    pub(super) owner: Option<String>,
    pub(super) due: Option<Phrase>,
    /// From `<!-- id: name -->`.
    pub(super) given: Option<Phrase>,
    pub(super) line: Range<usize>,
}

impl Item {
    /// What tells the item from others of its system, whether it is ticked or not: a given id, the action's own words
    /// where they are ASCII, else the first digits of their SHA-256.
    pub(super) fn slug(&self) -> String {
        if let Some(given) = &self.given {
            return given.text.clone();
        }
        let words: String = self.action.text.nfkc().collect();
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        let digest = || {
            Digest::of(words.as_bytes())
                .to_hex()
                .chars()
                .take(8)
                .collect::<String>()
        };
        if !words.is_ascii() {
            return digest();
        }
        let lower = words.to_ascii_lowercase();
        let parts = lower
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|w| !w.is_empty());
        let slug = parts.collect::<Vec<_>>().join("-");
        match slug.len() {
            0 => digest(),
            1..=60 => slug,
            _ => {
                let short: String = slug.chars().take(48).collect();
                format!("{}-{}", short.trim_end_matches('-'), digest())
            }
        }
    }
}

/// The tasks in reading order. A task in another item is for the same system, unless it names one itself.
pub(super) fn items(outline: &Outline, directory: &Directory<'_>) -> Vec<Item> {
    let mut systems: Vec<Option<Phrase>> = Vec::with_capacity(outline.blocks.len());
    let mut items = Vec::new();
    for block in &outline.blocks {
        let inherited = block
            .parent
            .and_then(|at| systems.get(at).cloned().flatten());
        let mut lines = block.lines.iter();
        let Some(first) = lines.next() else {
            systems.push(inherited);
            continue;
        };
        let parts =
            split_label(&first.text).map(|(label, rest)| (first.phrase(label), first.phrase(rest)));
        let needed = matches!(block.sort, Sort::Task(_)) && inherited.is_none();
        let (system, mut action) = match parts {
            Some((words, action)) if names_system(directory, &words, needed) => {
                (Some(words), action)
            }
            Some(_) | None => (inherited, first.phrase(0..first.text.len())),
        };
        for line in lines {
            action.append(&line.phrase(0..line.text.len()));
        }
        if let Sort::Task(tick) = block.sort {
            items.push(item(block, tick, system.clone(), action));
        }
        systems.push(system);
    }
    items
}

/// Whether the words before a colon are meant for a system. Where they need not be one, because the item lies under
/// one that has it, they may be part of the action, unless they are a system's or nearly so.
fn names_system(directory: &Directory<'_>, words: &Phrase, needed: bool) -> bool {
    needed || directory.find(&words.text).is_some() || directory.near(&words.text).is_some()
}

/// Takes the tokens `@owner` and `due:2026-12-01` off the end of an action.
fn item(block: &Block, tick: Tick, system: Option<Phrase>, mut action: Phrase) -> Item {
    let line = block.phrase().span;
    let (mut owner, mut due) = (None, None);
    while let Some(last) = action.text.split_whitespace().next_back() {
        let at = action.text.trim_end().len() - last.len();
        let token: String = last.nfkc().collect();
        if let Some(name) = token
            .strip_prefix('@')
            .filter(|n| !n.is_empty() && owner.is_none())
        {
            owner = Some(name.to_owned());
        } else if let Some(date) = token
            .strip_prefix("due:")
            .or_else(|| token.strip_prefix("期限:"))
        {
            let span = action.part(at..action.text.len()).span;
            due = Some(Phrase {
                text: date.to_owned(),
                span,
            });
        } else {
            break;
        }
        action = action.part(0..at);
    }
    Item {
        tick,
        system,
        action,
        owner,
        due,
        given: block.id.clone(),
        line,
    }
}
