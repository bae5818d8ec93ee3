//! All states that a simulated system can be in: four resources that the repo speaks of, with three contents or none, and one of somebody
//! else's. Few enough to be worked out once with the library's own digests and looked up ever after.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use lockstep::ids::{Digest, ResourceRef, Revision, SystemName};
use lockstep::plan::{Change, SystemPlan, diff};
use lockstep::resource::Direction;
use lockstep::state::{Item, Spec, State};

/// Resources that the repo speaks of.
pub(crate) const OWN: usize = 4;
/// Contents of one of them, absence included.
const CONTENTS: usize = 4;
/// The same of somebody else's.
pub(crate) const THEIRS: usize = 3;
const STATES: usize = CONTENTS.pow(4) * THEIRS;

/// How many systems and revisions have names.
pub(crate) const SYSTEMS: usize = 12;
pub(crate) const REVISIONS: usize = 64;

/// What the repo says of one system: the content of each resource, 0 for none.
pub(crate) type Contents = [u8; OWN];

/// A state, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StateId(u16);

#[derive(Debug)]
struct Known {
    state: State,
    digest: Digest,
    counts: BTreeMap<String, usize>,
}

struct Universe {
    states: Vec<Known>,
    by_digest: BTreeMap<Digest, StateId>,
    systems: Vec<SystemName>,
    revisions: Vec<Revision>,
}

static UNIVERSE: LazyLock<Universe> = LazyLock::new(Universe::new);

impl Universe {
    fn new() -> Self {
        let names = ["a", "b", "c", "d", "theirs"];
        // Literals that are names, contents and ids: what could fail here fails on every run of every test.
        let items: Vec<Vec<Arc<Item>>> = names
            .iter()
            .map(|name| {
                let of = |n: usize| {
                    let id = ResourceRef::new("FeatureFlag", name).ok()?;
                    let spec = Spec::from_value(&serde_json::json!({ "rollout": n * 10 })).ok()?;
                    Some(Arc::new(Item::new(id, spec)))
                };
                (1..CONTENTS).filter_map(of).collect()
            })
            .collect();
        let states: Vec<Known> = (0..STATES)
            .map(|number| {
                let (own, theirs) = split(number);
                let contents = own.iter().chain([&theirs]).zip(&items);
                let present = contents.filter_map(|(content, items)| {
                    items.get(usize::from(*content).checked_sub(1)?).cloned()
                });
                let state: State = present.collect();
                Known {
                    digest: state.digest(),
                    counts: state.counts(),
                    state,
                }
            })
            .collect();
        let numbered = (0..).map(StateId);
        Self {
            by_digest: states.iter().map(|k| k.digest).zip(numbered).collect(),
            states,
            systems: (0..SYSTEMS)
                .filter_map(|n| format!("s{n:02}").parse().ok())
                .collect(),
            revisions: (0..REVISIONS)
                .filter_map(|n| format!("{n:02x}{}", "0".repeat(38)).parse().ok())
                .collect(),
        }
    }
}

fn split(number: usize) -> (Contents, u8) {
    let digit = |n: usize| u8::try_from(n % CONTENTS).unwrap_or(0);
    let own = [
        digit(number),
        digit(number / CONTENTS),
        digit(number / CONTENTS.pow(2)),
        digit(number / CONTENTS.pow(3)),
    ];
    let theirs = u8::try_from(number / CONTENTS.pow(4)).unwrap_or(0);
    (own, theirs)
}

impl StateId {
    pub(crate) fn new(own: Contents, theirs: u8) -> Self {
        let number = |n: u8| u16::from(n);
        let [a, b, c, d] = own.map(number);
        Self(a + 4 * b + 16 * c + 64 * d + 256 * number(theirs))
    }

    pub(crate) fn of(digest: Digest) -> Option<Self> {
        UNIVERSE.by_digest.get(&digest).copied()
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    pub(crate) fn own(self) -> Contents {
        split(self.index()).0
    }

    pub(crate) fn theirs(self) -> u8 {
        split(self.index()).1
    }

    fn known(self) -> &'static Known {
        &UNIVERSE.states[self.index()]
    }

    pub(crate) fn digest(self) -> Digest {
        self.known().digest
    }

    /// What a person reads in a trace: `a1 c3 +2`.
    pub(crate) fn words(self) -> String {
        let mut words: Vec<String> = "abcd"
            .chars()
            .zip(self.own())
            .filter(|(_, content)| *content > 0)
            .map(|(name, content)| format!("{name}{content}"))
            .collect();
        if self.theirs() > 0 {
            words.push(format!("+{}", self.theirs()));
        }
        format!("[{}]", words.join(" "))
    }

    /// The plan from one state to another, by the library's own comparison.
    pub(crate) fn plan_to(self, desired: Self) -> SystemPlan {
        let (from, to) = (self.known(), desired.known());
        SystemPlan {
            base: from.digest.into(),
            target: to.digest.into(),
            changes: diff(&from.state, &to.state, |_, before, after| {
                match (before, after) {
                    (_, None) => Direction::Narrowing,
                    (None, Some(_)) => Direction::Widening,
                    (Some(_), Some(_)) => Direction::Neutral,
                }
            }),
            existing: from.counts.clone(),
        }
    }
}

/// Which of the five resources a change is of: 4 is somebody else's.
pub(crate) fn slot_of(id: &ResourceRef) -> usize {
    let letter = id.name().bytes().next().unwrap_or(0);
    usize::from(letter.wrapping_sub(b'a')).min(OWN)
}

/// A state with one resource changed as a change says.
pub(crate) fn changed(state: StateId, change: &Change) -> StateId {
    let content = change.after.as_ref().map_or(0, |item| {
        let digits = item.spec.as_str().bytes().find(u8::is_ascii_digit);
        digits.map_or(0, |digit| digit - b'0')
    });
    let (mut own, mut theirs) = (state.own(), state.theirs());
    match own.get_mut(slot_of(&change.id)) {
        Some(place) => *place = content,
        None => theirs = content,
    }
    StateId::new(own, theirs)
}

pub(crate) fn system_name(system: usize) -> SystemName {
    UNIVERSE.systems[system].clone()
}

pub(crate) fn system_index(name: &SystemName) -> usize {
    let digits = name.as_str().get(1..).unwrap_or_default();
    digits.parse().unwrap_or(SYSTEMS)
}

pub(crate) fn revision(number: usize) -> Revision {
    UNIVERSE.revisions[number].clone()
}

pub(crate) fn revision_index(revision: &Revision) -> usize {
    let digits = revision.as_str().get(..2).unwrap_or_default();
    usize::from_str_radix(digits, 16).unwrap_or(REVISIONS)
}

/// The moment so many milliseconds after the simulation's beginning, on a clock that is so far ahead.
pub(crate) fn moment(at: u64, ahead: i64) -> Timestamp {
    const BEGINNING: i64 = 1_767_225_600_000;
    let at = i64::try_from(at).unwrap_or(0) + ahead;
    Timestamp::from_millisecond(BEGINNING + at).unwrap_or(Timestamp::UNIX_EPOCH)
}
