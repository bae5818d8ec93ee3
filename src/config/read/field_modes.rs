//! `fields:` of a system: `{KIND: {FIELD: enforced | initial | observed}}`.

use std::collections::{BTreeMap, BTreeSet};

use super::{KindFields, Reader, key};
use crate::config::{FieldMode, FieldModes};
use crate::document::fields::{self, Fields};
use crate::document::suggest;
use crate::document::tree::Member;
use crate::ids::KindName;

/// What says when a resource holds is for the documents alone.
const DATES: &[&str] = &["from", "until"];

const MODES: &[(&str, FieldMode)] = &[
    ("enforced", FieldMode::Enforced),
    ("initial", FieldMode::Initial),
    ("observed", FieldMode::Observed),
];

impl Reader<'_, '_> {
    /// What is enforced is not kept: it is what holds anyway.
    pub(super) fn field_modes(
        &mut self,
        system: &Fields<'_>,
        what: &str,
        takes: &BTreeSet<KindName>,
    ) -> FieldModes {
        let mut all = BTreeMap::new();
        let given = system.get("fields");
        let given = given.and_then(|member| Fields::open(self.faults, &member.value, "`fields`"));
        for member in given.iter().flat_map(|fields| fields.members()) {
            let Some(kind) = self.kind(&key(member)) else {
                continue;
            };
            if !takes.contains(&kind) {
                self.faults.error(
                    "config/fields",
                    member.key_span.clone(),
                    format!("{what} does not take {kind}"),
                    Some(format!("add {kind} to its `kinds`, or take this away")),
                );
                continue;
            }
            let Some(modes) = Fields::open(self.faults, &member.value, kind.as_str()) else {
                continue;
            };
            let modes: BTreeMap<String, FieldMode> = modes
                .members()
                .iter()
                .filter_map(|field| Some((field.key.clone(), self.field_mode(&kind, field)?)))
                .filter(|(_, mode)| *mode != FieldMode::Enforced)
                .collect();
            if !modes.is_empty() {
                all.insert(kind, modes);
            }
        }
        FieldModes(all)
    }

    fn field_mode(&mut self, kind: &KindName, field: &Member) -> Option<FieldMode> {
        let KindFields { all, required } = (self.fields_of)(kind);
        let name = field.key.as_str();
        if DATES.contains(&name) || all.is_some_and(|all| !all.contains(&name)) {
            let near = all.and_then(|all| suggest::nearest(name, all.iter().copied()));
            let has = match all {
                Some([]) => "; none of its fields can".to_owned(),
                Some(all) => format!("; it has {}", all.join(", ")),
                None => String::new(),
            };
            self.faults.error(
                "document/unknown-field",
                field.key_span.clone(),
                format!(
                    "{kind} has no field `{}` that can have a mode{has}",
                    fields::shorten(name)
                ),
                near.map(|near| format!("did you mean `{near}`?")),
            );
            return None;
        }
        let placed = fields::text(self.faults, field)?;
        let mode = fields::choice(self.faults, &placed, name, MODES)?;
        if mode == FieldMode::Observed && required.contains(&name) {
            self.faults.error(
                "config/fields",
                placed.at,
                format!("{kind} can't be made without `{name}`, so it can't be observed alone"),
                Some("use initial".to_owned()),
            );
            return None;
        }
        Some(mode)
    }
}
