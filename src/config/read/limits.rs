//! `safety:` and `freezes:` of `lockstep.yaml`: how much may change at once, and when nothing may.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::AmbiguousOffset;

use super::Reader;
use crate::config::{Ceiling, Freeze, Percent, Person, ROLE, Safety, System, time_zone};
use crate::document::fields::{self, Fields};
use crate::document::suggest;
use crate::document::tree::{Member, Node};
use crate::ids::{KindName, SystemName};

impl Reader<'_, '_> {
    pub(super) fn safety(
        &mut self,
        top: &Fields<'_>,
        systems: &BTreeMap<SystemName, System>,
    ) -> Safety {
        let members = self.named(top, "safety", usize::MAX);
        let mut safety = Safety::default();
        if let Some(member) = members.iter().find(|m| m.key == "default") {
            safety.default = self.ceiling(member, Ceiling::DEFAULT);
        }
        for member in members.iter().filter(|m| m.key != "default") {
            let ceiling = self.ceiling(member, safety.default);
            if self.is_scope(member, systems) {
                safety.overrides.insert(member.key.clone(), ceiling);
            }
        }
        safety
    }

    /// Whether the key is a kind, a system, or both as `system/Kind`.
    fn is_scope(&mut self, member: &Member, systems: &BTreeMap<SystemName, System>) -> bool {
        let is_kind = |text: &str| self.kinds.iter().any(|k| k.as_str() == text);
        let is_system = |text: &str| systems.contains_key(text);
        let known = match member.key.split_once('/') {
            Some((system, kind)) => is_system(system) && is_kind(kind),
            None => is_kind(&member.key) || is_system(&member.key),
        };
        if !known {
            let kinds = self.kinds.iter().map(KindName::as_str);
            let systems = systems.keys().map(SystemName::as_str);
            let near = suggest::nearest(&member.key, kinds.chain(systems).chain(["default"]));
            self.faults.error(
                "reference/unknown-scope",
                member.key_span.clone(),
                format!(
                    "`{}` is neither a kind, a system nor system/Kind",
                    fields::shorten(&member.key)
                ),
                near.map(|n| format!("did you mean `{n}`?")),
            );
        }
        known
    }

    /// A ceiling; what it leaves out is as in `base`.
    fn ceiling(&mut self, member: &Member, base: Ceiling) -> Ceiling {
        let mut ceiling = base;
        let what = format!("the ceiling `{}`", fields::shorten(&member.key));
        let known = &["deletes", "updates", "window", "small"];
        let Some(outer) = Fields::read(self.faults, &member.value, &what, known) else {
            return ceiling;
        };
        if let Some(deletes) = outer.get("deletes")
            && let Some(inner) = Fields::read(
                self.faults,
                &deletes.value,
                "`deletes`",
                &["percent", "count"],
            )
        {
            self.percent(&inner, &mut ceiling.delete_percent);
            self.count(&inner, "count", &mut ceiling.delete_count);
        }
        if let Some(updates) = outer.get("updates")
            && let Some(inner) =
                Fields::read(self.faults, &updates.value, "`updates`", &["percent"])
        {
            self.percent(&inner, &mut ceiling.update_percent);
        }
        if let Some(window) = outer.text(self.faults, "window") {
            match hours(window.text) {
                Some(hours) => ceiling.window_hours = hours,
                None => self.faults.error(
                    "config/window",
                    window.at,
                    format!("{:?} is not a length of time", fields::shorten(window.text)),
                    Some("write it in hours or days: 24h, 7d".to_owned()),
                ),
            }
        }
        self.count(&outer, "small", &mut ceiling.small);
        ceiling
    }

    fn percent(&mut self, fields: &Fields<'_>, into: &mut Percent) {
        let Some(member) = fields.get("percent") else {
            return;
        };
        let Some(number) = fields::number(self.faults, member) else {
            return;
        };
        match Percent::new(number) {
            Some(percent) => *into = percent,
            None => self.faults.error(
                "config/percent",
                member.value.span.clone(),
                format!("{number} is not a percentage"),
                Some("give a number from 0 to 100".to_owned()),
            ),
        }
    }

    fn count(&mut self, fields: &Fields<'_>, key: &str, into: &mut u64) {
        if let Some((count, at)) = fields.whole(self.faults, key) {
            match u64::try_from(count) {
                Ok(count) => *into = count,
                Err(_) => self.faults.error(
                    "config/count",
                    at,
                    format!("`{key}` can't be negative"),
                    None,
                ),
            }
        }
    }

    pub(super) fn freezes(
        &mut self,
        top: &Fields<'_>,
        timezone: &str,
        people: &BTreeMap<String, Person>,
    ) -> Vec<Freeze> {
        let Some(member) = top.get("freezes") else {
            return Vec::new();
        };
        let held: BTreeSet<&str> = people
            .values()
            .flat_map(|p| p.roles.iter().map(String::as_str))
            .collect();
        let expected = "a list of {name, from, until}";
        fields::items(self.faults, &member.value, "`freezes`", expected)
            .unwrap_or_default()
            .iter()
            .filter_map(|item| self.freeze(item, timezone, &held))
            .collect()
    }

    fn freeze(&mut self, item: &Node, timezone: &str, held: &BTreeSet<&str>) -> Option<Freeze> {
        let what = "a freeze";
        let fields = Fields::read(
            self.faults,
            item,
            what,
            &["name", "from", "until", "except"],
        )?;
        let name = fields
            .require(self.faults, "name", what, None, "name: year-end")
            .and_then(|m| fields::text(self.faults, m));
        let from = self.moment(&fields, "from", timezone);
        let until = self.moment(&fields, "until", timezone);
        let except = self.exceptions(&fields, held);
        let (name, from, until) = (name?, from?, until?);
        if until <= from {
            let at = fields.get("until").map_or(0..0, |m| m.value.span.clone());
            self.faults.error(
                "config/freeze-order",
                at,
                format!(
                    "the freeze {:?} ends before it begins",
                    fields::shorten(name.text)
                ),
                Some("`until` must be later than `from`".to_owned()),
            );
            return None;
        }
        Some(Freeze {
            name: name.text.to_owned(),
            from,
            until,
            except,
        })
    }

    /// What a freeze does not stop: classes of change, and people of a role as `role:security`.
    fn exceptions(&mut self, fields: &Fields<'_>, held: &BTreeSet<&str>) -> Vec<String> {
        let Some(listed) = fields.texts(self.faults, "except") else {
            return Vec::new();
        };
        let (roles, classes): (Vec<_>, Vec<_>) = listed
            .into_iter()
            .partition(|placed| placed.text.starts_with(ROLE));
        let mut except = self.known_classes(classes, &["a role as role:security"]);
        for placed in roles {
            let role = placed.text.strip_prefix(ROLE).unwrap_or_default();
            // Only a warning: an exception that nobody has leaves the freeze as strict as it can be.
            if !held.contains(role) {
                let near = suggest::nearest(role, held.iter().copied());
                self.faults.warning(
                    "reference/unknown-role",
                    placed.at.clone(),
                    format!(
                        "nobody under `people` has the role {:?}",
                        fields::shorten(role)
                    ),
                    near.map(|n| format!("did you mean `{ROLE}{n}`?")),
                );
            }
            except.push(placed.text.to_owned());
        }
        except
    }

    /// A time; one without an offset is read in the repo's time zone, a date is its first instant there.
    fn moment(&mut self, fields: &Fields<'_>, key: &str, timezone: &str) -> Option<Timestamp> {
        let example = format!("{key}: 2026-12-29T00:00+09:00");
        let member = fields.require(self.faults, key, "a freeze", None, &example)?;
        let placed = fields::text(self.faults, member)?;
        let (message, hint) = match moment(placed.text, timezone) {
            Ok(time) => return Some(time),
            Err(Untimely::None) => (
                format!("{:?} is not a time", fields::shorten(placed.text)),
                "write it like 2026-12-29T00:00+09:00",
            ),
            Err(Untimely::Skipped) => (
                format!("clocks in {timezone} skip {}", placed.text),
                "write it with its offset, like 2026-12-29T00:00+09:00",
            ),
            Err(Untimely::Twice) => (
                format!("clocks in {timezone} show {} twice", placed.text),
                "write it with its offset, like 2026-12-29T00:00+09:00",
            ),
        };
        self.faults
            .error("date/invalid", placed.at, message, Some(hint.to_owned()));
        None
    }
}

/// Why a text names no one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Untimely {
    /// It is no time.
    None,
    /// The hour that is left out when summer time begins.
    Skipped,
    /// The hour that comes again when it ends.
    Twice,
}

fn moment(text: &str, timezone: &str) -> Result<Timestamp, Untimely> {
    if fields::is_time(text) {
        return text.parse().map_err(|_| Untimely::None);
    }
    let zone = time_zone(timezone).ok_or(Untimely::None)?;
    if fields::is_date(text) {
        let date: Date = text.parse().map_err(|_| Untimely::None)?;
        let start = zone.to_ambiguous_zoned(date.to_datetime(jiff::civil::Time::midnight()));
        // Where midnight is skipped the day begins after the gap; where it comes twice, with the first.
        return match start.compatible() {
            Ok(start) => Ok(start.timestamp()),
            Err(_) => Err(Untimely::None),
        };
    }
    let local: DateTime = text.parse().map_err(|_| Untimely::None)?;
    let placed = zone.to_ambiguous_zoned(local);
    match placed.offset() {
        AmbiguousOffset::Unambiguous { .. } => placed
            .compatible()
            .map(|z| z.timestamp())
            .map_err(|_| Untimely::None),
        AmbiguousOffset::Gap { .. } => Err(Untimely::Skipped),
        AmbiguousOffset::Fold { .. } => Err(Untimely::Twice),
    }
}

/// `24h` or `7d` in hours.
fn hours(text: &str) -> Option<u64> {
    let (digits, factor) = match text.strip_suffix('h') {
        Some(digits) => (digits, 1),
        None => (text.strip_suffix('d')?, 24),
    };
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(factor).filter(|h| *h > 0)
}

#[cfg(test)]
mod tests;
