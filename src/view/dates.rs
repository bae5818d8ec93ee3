//! What begins or ends by its date: one shape for plans, the status and the announcement, one sentence in each language.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::ids::{ResourceRef, SystemName};
use crate::plan::Plan;
use crate::resource::dating::{self, Effect, Occasion};
use crate::resource::{Bundle, Language};

/// A resource that will begin or end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DateView {
    pub at: Timestamp,
    /// The same in the repo's time zone, for people.
    #[serde(skip)]
    pub when: String,
    pub effect: Effect,
    pub resource: ResourceRef,
    /// The systems on which it does.
    pub systems: BTreeSet<SystemName>,
}

impl DateView {
    pub fn new(occasion: &Occasion, systems: BTreeSet<SystemName>, zone: &TimeZone) -> Self {
        Self {
            at: occasion.at,
            when: local(occasion.at, zone),
            effect: occasion.effect,
            resource: occasion.resource.item.id.clone(),
            systems,
        }
    }

    /// What the changes of a plan from revision to revision will do after `now`, in order.
    pub fn of_plan(plan: &Plan, after: &Bundle, now: Timestamp) -> Vec<Self> {
        let mut changed: BTreeMap<&ResourceRef, BTreeSet<SystemName>> = BTreeMap::new();
        for (system, share) in &plan.systems {
            for change in share.changes.iter().filter(|c| c.after.is_some()) {
                let systems = changed.entry(&change.id).or_default();
                systems.insert(system.clone());
            }
        }
        let zone = dating::zone(&after.config.timezone);
        let resources = changed.into_iter();
        let resources = resources.filter_map(|(id, systems)| Some((after.get(id)?, systems)));
        let mut later: Vec<Self> = resources
            .flat_map(|(resource, systems)| {
                let occasions = resource.occasions().filter(|o| o.at > now);
                occasions
                    .map(|o| Self::new(&o, systems.clone(), &zone))
                    .collect::<Vec<_>>()
            })
            .collect();
        later.sort_by(|a, b| (a.at, a.effect, &a.resource).cmp(&(b.at, b.effect, &b.resource)));
        later
    }

    /// What begins or ends on these systems after one moment and up to another, in order.
    pub fn between(
        bundle: &Bundle,
        systems: &BTreeSet<SystemName>,
        after: Timestamp,
        to: Timestamp,
    ) -> Vec<Self> {
        let occasions = bundle.occasions(after, to);
        if occasions.is_empty() {
            return Vec::new();
        }
        let zone = dating::zone(&bundle.config.timezone);
        let of = |occasion: &Occasion| {
            let all = occasion.resource.systems.iter();
            let concerned: BTreeSet<SystemName> =
                all.filter(|s| systems.contains(*s)).cloned().collect();
            (!concerned.is_empty()).then(|| Self::new(occasion, concerned, &zone))
        };
        occasions.iter().filter_map(of).collect()
    }

    /// `AccessGrant/admin/user001 ends at 2026-12-01 00:00 JST on medical, voicedrive`. The name is text from the repo, not yet made safe for any
    /// output.
    pub fn sentence(&self, language: Language) -> String {
        let systems: Vec<&str> = self.systems.iter().map(SystemName::as_str).collect();
        let (resource, when) = (&self.resource, &self.when);
        match language {
            Language::English => {
                let verb = match self.effect {
                    Effect::Begins => "begins",
                    Effect::Ends => "ends",
                };
                format!("{resource} {verb} at {when} on {}", systems.join(", "))
            }
            Language::Japanese => {
                let verb = match self.effect {
                    Effect::Begins => "始まります",
                    Effect::Ends => "終わります",
                };
                format!("{resource} は {when} に{verb}（{}）", systems.join("、"))
            }
        }
    }
}

/// To the minute, or the second where it is none, with the zone's short name.
fn local(at: Timestamp, zone: &TimeZone) -> String {
    let at = at.to_zoned(zone.clone());
    let format = match at.second() {
        0 => "%Y-%m-%d %H:%M %Z",
        _ => "%Y-%m-%d %H:%M:%S %Z",
    };
    at.strftime(format).to_string()
}
