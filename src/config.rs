//! What `lockstep.yaml` says: systems, groups, people, the document map, safety and freezes, as values.
//!
//! It is read at the base commit when it judges a proposal, so nothing here knows where it came from.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use crate::ids::{GroupName, KindName, SystemName};

mod called;
pub mod calls;
pub mod connectors;
pub mod places;
pub mod read;

pub use called::Called;

/// The time zone of an IANA name. From the database that is compiled in: a repo means the same on every host, whatever is installed
/// there, and reading it touches no file.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

/// `lockstep.yaml`, checked: every name in it refers to something that exists.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// IANA name of the time zone in which dates without one are read.
    pub timezone: String,
    pub systems: BTreeMap<SystemName, System>,
    pub groups: BTreeMap<GroupName, Group>,
    /// By key, as the policies see them.
    pub people: BTreeMap<String, Person>,
    pub documents: Vec<DocumentMapping>,
    pub safety: Safety,
    pub freezes: Vec<Freeze>,
    /// Which system a name, title or alias means; worked out of `systems` when it is first asked for.
    pub called: Called,
}

/// A connected system.
#[derive(Debug, Clone, PartialEq)]
pub struct System {
    pub title: Option<String>,
    pub aliases: Vec<String>,
    /// The connector's name in its registry.
    pub connector: String,
    /// The connector's own settings (`url`, …), as they stand; the connector reads them.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// The name of a credential; its value is on the server.
    pub credential: Option<String>,
    pub kinds: BTreeSet<KindName>,
    pub mode: Mode,
    pub drift: DriftPolicy,
    /// How it may be called.
    pub limits: calls::CallLimits,
    /// Fields that are not Lockstep's alone there.
    pub fields: FieldModes,
}

/// Who writes a field of a resource on a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldMode {
    /// Lockstep, whenever it differs.
    #[default]
    Enforced,
    /// Lockstep when it makes the resource; from then on the people there.
    Initial,
    /// The people there alone.
    Observed,
}

/// The modes of fields that have one, by kind and by name. Any other field is enforced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldModes(pub BTreeMap<KindName, BTreeMap<String, FieldMode>>);

impl FieldModes {
    /// Whether all fields of all kinds are enforced.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The modes of one kind's fields; `None` where all of them are enforced.
    pub fn of(&self, kind: &str) -> Option<&BTreeMap<String, FieldMode>> {
        self.0.get(kind)
    }
}

/// How far Lockstep may go on a system: a new one climbs these, one proposal each.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Read only.
    Observe,
    /// Read and report differences.
    Detect,
    /// Create and update, never delete.
    Upsert,
    #[default]
    Enforce,
}

/// What is done about drift on a system.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum DriftPolicy {
    /// Put the desired value back.
    #[default]
    Heal,
    /// Say so and leave it.
    Report,
    /// Open a proposal that writes the live value into the repo.
    Propose,
}

/// Systems that move together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub systems: BTreeSet<SystemName>,
    pub consistency: Consistency,
    pub on_failure: OnFailure,
    /// Classes of change that do not wait for the slowest: `narrowing`, or a kind's name.
    pub urgent: Vec<String>,
}

#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Consistency {
    /// All prepared before any commits.
    #[default]
    Lockstep,
    /// Each system by itself.
    Independent,
}

/// What follows when a system fails after the decision to commit.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Compensate the others back to the last good revision.
    #[default]
    Rollback,
    /// Leave the group as it is until a person looks.
    Hold,
}

/// A person who may author, approve or release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Person {
    pub name: String,
    /// The login on the forge; the key where none was given.
    pub forge: String,
    /// Whether it was given: a key alone is no account on a forge that others have accounts on too.
    #[serde(skip)]
    pub has_login: bool,
    pub roles: Vec<String>,
    pub systems: BTreeSet<SystemName>,
    /// The ids under which systems know this person: who gains by a grant.
    pub ids: Vec<String>,
    /// SSH public key; once given, only approvals signed with it count.
    pub signing_key: Option<String>,
}

/// Documents of a custom place or kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentMapping {
    pub path: String,
    pub kind: KindName,
}

/// Ceilings, most general first: `default`, then by `kind`, `system`, and `system/kind`.
#[derive(Debug, Clone, PartialEq)]
pub struct Safety {
    pub default: Ceiling,
    pub overrides: BTreeMap<String, Ceiling>,
}

impl Default for Safety {
    fn default() -> Self {
        Self {
            default: Ceiling::DEFAULT,
            overrides: BTreeMap::new(),
        }
    }
}

impl Safety {
    /// The ceiling for one kind on one system: the most specific entry wins whole. There is one for every kind, also for one that
    /// nobody has thought of yet.
    pub fn ceiling(&self, system: &SystemName, kind: &str) -> Ceiling {
        self.ceiling_under(system, kind).1
    }

    /// The same, with the entry of `safety:` that it is under: `default` also where there is none.
    pub fn ceiling_under(&self, system: &SystemName, kind: &str) -> (String, Ceiling) {
        [
            format!("{system}/{kind}"),
            system.to_string(),
            kind.to_owned(),
        ]
        .into_iter()
        .find_map(|key| {
            let ceiling = *self.overrides.get(&key)?;
            Some((key, ceiling))
        })
        .unwrap_or_else(|| ("default".to_owned(), self.default))
    }

    /// The beginning of the longest window of any ceiling: since when changes count.
    pub fn counted_since(&self, now: jiff::Timestamp) -> jiff::Timestamp {
        let windows = self.overrides.values().map(|c| c.window_hours);
        let hours = windows.fold(self.default.window_hours, u64::max);
        i64::try_from(hours)
            .ok()
            .and_then(jiff::SignedDuration::try_from_hours)
            .and_then(|window| now.checked_sub(window).ok())
            .unwrap_or(jiff::Timestamp::MIN)
    }
}

/// How many resources of one kind on one system may be deleted or updated before a person must release the plan.
/// Percentages are of the rows that the system has; `window_hours` is the time over which runs are added up.
///
/// There is no ceiling that limits nothing: every field has a value, and a percentage is one by its type.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ceiling {
    pub delete_percent: Percent,
    pub delete_count: u64,
    pub update_percent: Percent,
    pub window_hours: u64,
    /// Below this many rows every delete is acknowledged, except one that narrows; and percentages are of this many.
    pub small: u64,
}

/// A share of rows, from 0 to 100. Infinity and what is no number can't be one.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Percent(f64);

impl Percent {
    pub fn new(percent: f64) -> Option<Self> {
        (0.0..=100.0).contains(&percent).then_some(Self(percent))
    }

    /// Whole rows of so many.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rows are far below 2^52, and the cast of a float saturates"
    )]
    pub fn of(self, rows: u64) -> u64 {
        (rows as f64 * self.0 / 100.0) as u64
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

impl Ceiling {
    /// What holds where `safety:` says nothing.
    pub const DEFAULT: Self = Self {
        delete_percent: Percent(20.0),
        delete_count: 10,
        update_percent: Percent(30.0),
        window_hours: 24,
        small: 10,
    };
}

/// A time in which nothing widening is applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Freeze {
    pub name: String,
    pub from: jiff::Timestamp,
    pub until: jiff::Timestamp,
    /// What is exempt from it: `narrowing`, a kind's name, or `role:` and the name of a role.
    pub except: Vec<String>,
}

/// What an exception for people of a role begins with.
pub const ROLE: &str = "role:";

impl Freeze {
    /// Its first instant is in it, `until` is not.
    pub fn is_on(&self, now: jiff::Timestamp) -> bool {
        self.from <= now && now < self.until
    }

    /// The roles whose people it does not stop.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.except.iter().filter_map(|e| e.strip_prefix(ROLE))
    }
}

impl Config {
    /// The group a system belongs to. A system in no group is a group of its own, under its own name.
    pub fn group_of(&self, system: &SystemName) -> Option<&GroupName> {
        self.groups
            .iter()
            .find(|(_, group)| group.systems.contains(system))
            .map(|(name, _)| name)
    }

    /// The groups to run. The systems of an independent group do not wait for each other, so each is run as a group of its own
    /// (`group.system`); so is a system that is in no group, under its own name.
    pub fn effective_groups(&self) -> BTreeMap<GroupName, Group> {
        let mut groups = BTreeMap::new();
        for (name, group) in &self.groups {
            match group.consistency {
                Consistency::Lockstep => {
                    groups.insert(name.clone(), group.clone());
                }
                Consistency::Independent => {
                    for system in &group.systems {
                        let alone = Group {
                            systems: BTreeSet::from([system.clone()]),
                            ..group.clone()
                        };
                        if let Ok(name) = format!("{name}.{system}").parse::<GroupName>() {
                            groups.insert(name, alone);
                        }
                    }
                }
            }
        }
        for system in self.systems.keys().filter(|s| self.group_of(s).is_none()) {
            if let Ok(name) = system.as_str().parse::<GroupName>() {
                groups.entry(name).or_insert_with(|| Group {
                    systems: BTreeSet::from([system.clone()]),
                    consistency: Consistency::Independent,
                    on_failure: OnFailure::Rollback,
                    urgent: vec!["narrowing".to_owned(), "Notice".to_owned()],
                });
            }
        }
        groups
    }

    /// The person with this key or forge login.
    pub fn person(&self, who: &str) -> Option<(&str, &Person)> {
        self.people
            .get_key_value(who)
            .or_else(|| self.people.iter().find(|(_, p)| p.forge == who))
            .map(|(key, person)| (key.as_str(), person))
    }

    /// The person with this account on a forge where others have accounts too: their key says nothing there, since anybody may have
    /// taken an account of that name. Case does not matter, as on GitHub.
    pub fn person_of_login(&self, login: &str) -> Option<(&str, &Person)> {
        self.people
            .iter()
            .find(|(_, person)| person.has_login && person.forge.eq_ignore_ascii_case(login))
            .map(|(key, person)| (key.as_str(), person))
    }
}
