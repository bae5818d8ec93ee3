//! `fields:` of a system: `{KIND: {FIELD: enforced | initial | observed}}`.

use std::collections::{BTreeMap, BTreeSet};

use super::{Reader, key};
use crate::config::{FieldMode, FieldModes};
use crate::document::fields::{self, Fields};
use crate::document::suggest;
use crate::document::tree::Member;
use crate::ids::KindName;

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
        if let Some(known) = (self.fields_of)(kind)
            && !known.contains(&field.key.as_str())
        {
            let near = suggest::nearest(&field.key, known.iter().copied());
            self.faults.error(
                "document/unknown-field",
                field.key_span.clone(),
                format!(
                    "{kind} has no field `{}` that can have a mode; it has {}",
                    fields::shorten(&field.key),
                    known.join(", ")
                ),
                near.map(|near| format!("did you mean `{near}`?")),
            );
            return None;
        }
        let placed = fields::text(self.faults, field)?;
        fields::choice(self.faults, &placed, &field.key, MODES)
    }
}
