//! The simulated forge: a main branch that moves on, proposals that are not on it, and the statuses that have arrived.

use std::collections::BTreeMap;

use super::chance::Chance;
use super::universe::{Contents, OWN, REVISIONS};

#[derive(Debug, Clone)]
pub(crate) struct Revision {
    /// What each system should have.
    pub(crate) contents: Vec<Contents>,
    /// A system that will not have what it says.
    pub(crate) poison: Option<usize>,
    /// Its place on the main branch, if it was merged.
    pub(crate) place: Option<usize>,
}

#[derive(Debug, Default)]
pub(crate) struct Forge {
    pub(crate) revisions: Vec<Revision>,
    pub(crate) main: Vec<usize>,
    /// How often each status arrived, by its key.
    pub(crate) arrived: BTreeMap<usize, u32>,
}

/// What of a new revision is already settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Merged,
    /// Merged, and some system will refuse it.
    Refused,
    Proposed,
}

impl Forge {
    pub(crate) fn head(&self) -> usize {
        self.main.last().copied().unwrap_or(0)
    }

    pub(crate) fn is_full(&self) -> bool {
        // Some are kept for people who mend what is stuck in the end.
        self.revisions.len() + 16 > REVISIONS
    }

    pub(crate) fn first(&mut self, contents: Vec<Contents>) {
        self.revisions.push(Revision {
            contents,
            poison: None,
            place: Some(0),
        });
        self.main.push(0);
    }

    /// A new revision that changes something on one group's systems: the same resource on each, so that they must move together.
    pub(crate) fn write(
        &mut self,
        chance: &mut Chance,
        systems: &[usize],
        fate: Fate,
    ) -> Option<usize> {
        if self.revisions.len() >= REVISIONS {
            return None;
        }
        let mut revision = self.revisions.get(self.head())?.clone();
        for _ in 0..chance.between(1, 2) {
            let slot = chance.index(OWN);
            let content = u8::try_from(chance.below(4)).unwrap_or(0);
            let kept_out = chance.of_1000(150).then(|| chance.index(systems.len()));
            for (n, system) in systems.iter().enumerate() {
                if Some(n) != kept_out {
                    revision.contents[*system][slot] = content;
                }
            }
        }
        let number = self.revisions.len();
        revision.poison = (fate == Fate::Refused).then(|| systems[chance.index(systems.len())]);
        revision.place = (fate != Fate::Proposed).then_some(self.main.len());
        if revision.place.is_some() {
            self.main.push(number);
        }
        self.revisions.push(revision);
        Some(number)
    }

    /// A status arrives. One that did before is recognised by its key. Whether it took effect.
    pub(crate) fn post(&mut self, key: usize, recognised: bool) -> bool {
        let times = self.arrived.entry(key).or_insert(0);
        *times += 1;
        *times == 1 || !recognised
    }
}
