//! `groups:` of `lockstep.yaml`.

use std::collections::{BTreeMap, BTreeSet};

use super::{Reader, key, names};
use crate::config::{Consistency, Group, OnFailure, System};
use crate::document::fields::{self, Fields, Placed};
use crate::document::tree::Member;
use crate::document::{limits, suggest};
use crate::ids::{GroupName, KindName, SystemName};

const GROUP: &[&str] = &["systems", "consistency", "on_failure", "urgent"];

impl Reader<'_, '_> {
    pub(super) fn groups(
        &mut self,
        top: &Fields<'_>,
        systems: &BTreeMap<SystemName, System>,
    ) -> BTreeMap<GroupName, Group> {
        let mut groups = BTreeMap::new();
        let mut member_of: BTreeMap<SystemName, String> = BTreeMap::new();
        let mut taken = names::Taken::default();
        for member in self.named(top, "groups", limits::GROUPS) {
            let name = self.name::<GroupName>(&key(member));
            self.looks_like_another(member, taken.claim(&member.key, &member.key), "group");
            let group = self.group(member, systems, &mut member_of);
            let (Some(name), Some(group)) = (name, group) else {
                continue;
            };
            // A system in no group is a group of its own, under its own name.
            if let Some(system) = systems.get_key_value(name.as_str()).map(|(name, _)| name)
                && !group.systems.contains(system)
            {
                self.faults.error(
                    "config/group-name",
                    member.key_span.clone(),
                    format!("the group `{name}` has the name of a system that is not in it"),
                    Some("give the group another name".to_owned()),
                );
            }
            groups.insert(name, group);
        }
        groups
    }

    fn group(
        &mut self,
        member: &Member,
        systems: &BTreeMap<SystemName, System>,
        member_of: &mut BTreeMap<SystemName, String>,
    ) -> Option<Group> {
        let what = format!("the group `{}`", fields::shorten(&member.key));
        let fields = Fields::read(self.faults, &member.value, &what, GROUP)?;
        let at = Some(member.key_span.clone());
        let listed = fields
            .require(self.faults, "systems", &what, at, "systems: [a, b]")
            .and_then(|m| fields::texts(self.faults, m))
            .unwrap_or_default();
        let mut inside = BTreeSet::new();
        for placed in &listed {
            let Some(system) = self.known_system(placed, systems) else {
                continue;
            };
            match member_of.get(&system) {
                Some(other) => self.faults.error(
                    "config/two-groups",
                    placed.at.clone(),
                    format!("`{system}` is already in the group `{other}`"),
                    Some("a system moves with one group".to_owned()),
                ),
                None => {
                    member_of.insert(system.clone(), member.key.clone());
                    inside.insert(system);
                }
            }
        }
        let consistency = [
            ("lockstep", Consistency::Lockstep),
            ("independent", Consistency::Independent),
        ];
        let on_failure = [("rollback", OnFailure::Rollback), ("hold", OnFailure::Hold)];
        Some(Group {
            systems: inside,
            consistency: fields
                .choice(self.faults, "consistency", &consistency)
                .unwrap_or_default(),
            on_failure: fields
                .choice(self.faults, "on_failure", &on_failure)
                .unwrap_or_default(),
            urgent: self
                .classes(&fields, "urgent")
                .unwrap_or_else(|| vec!["narrowing".to_owned(), "Notice".to_owned()]),
        })
    }

    /// A system by its name. Titles and aliases are for documents; here they only help to guess what was meant.
    pub(super) fn known_system(
        &mut self,
        placed: &Placed<'_>,
        systems: &BTreeMap<SystemName, System>,
    ) -> Option<SystemName> {
        if let Some((name, _)) = systems.get_key_value(placed.text) {
            return Some(name.clone());
        }
        let wanted = super::fold(placed.text);
        let called = |s: &System| {
            s.title
                .iter()
                .chain(&s.aliases)
                .any(|a| super::fold(a) == wanted)
        };
        let hint = || {
            let named = systems.iter().find(|(_, system)| called(system));
            named
                .map(|(name, _)| format!("did you mean `{name}`?"))
                .or_else(|| suggest::hint(placed.text, systems.keys().map(SystemName::as_str)))
        };
        // To look for it takes all systems.
        let hint = if self.faults.has_hints_enough() {
            None
        } else {
            hint()
        };
        self.faults.error(
            "reference/unknown-system",
            placed.at.clone(),
            format!("there is no system `{}`", fields::shorten(placed.text)),
            hint,
        );
        None
    }

    /// Classes of change: `narrowing`, or a kind's name.
    pub(super) fn classes(&mut self, fields: &Fields<'_>, key: &str) -> Option<Vec<String>> {
        let listed = fields.texts(self.faults, key)?;
        Some(self.known_classes(listed, &[]))
    }

    /// Those that are classes of change; the others are reported. `others` says what else there may be.
    pub(super) fn known_classes(
        &mut self,
        listed: Vec<Placed<'_>>,
        others: &[&str],
    ) -> Vec<String> {
        let mut classes = Vec::new();
        for placed in listed {
            let kinds = self.kinds.iter().map(KindName::as_str);
            if kinds.chain(["narrowing"]).any(|c| c == placed.text) {
                classes.push(placed.text.to_owned());
                continue;
            }
            let mut expected = vec!["narrowing"];
            expected.extend(others);
            self.faults.error(
                "document/unknown-value",
                placed.at,
                format!(
                    "{:?} is no class of change; expected {} or a kind",
                    fields::shorten(placed.text),
                    expected.join(", "),
                ),
                suggest::nearest(
                    placed.text,
                    self.kinds.iter().map(KindName::as_str).chain(["narrowing"]),
                )
                .map(|near| format!("did you mean `{near}`?")),
            );
        }
        classes
    }
}
