//! When a resource holds: `from` and `until` of its spec, as moments in the repo's time zone.
//!
//! A bundle is a pure value of a revision and knows no clock: whoever asks what a system should have brings the moment. Between two boundaries,
//! the moments at which something begins or ends, the answer is always the same.
//!
//! A date is read as people mean it: something that holds from a date holds from the first instant of that day, and until a date through its
//! last one, where the repo's `timezone` says. `from` is in it; of a time with its offset, `until` is not.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Bundle, Direction, Kind, Resource, project_bucket};
use crate::document::faults::Faults;
use crate::document::fields::{self, Fields, Placed, instant};
use crate::ids::{ResourceRef, SystemName};
use crate::state::{Item, Spec, State};

#[cfg(test)]
mod tests;

/// The fields that say when a resource holds.
pub const FROM: &str = "from";
pub const UNTIL: &str = "until";

/// From when and until when something holds; open where nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// The first instant at which it holds.
    pub from: Option<Timestamp>,
    /// The first instant at which it does not hold any more.
    pub until: Option<Timestamp>,
}

/// What is left of a resource outside its window.
#[derive(Debug, Clone, PartialEq)]
pub enum Outside {
    /// Nothing: it is not there.
    Gone,
    /// It stays there with this spec. A flag is switched off rather than deleted, because a program that still asks for it must get "off".
    Spec(Value),
}

/// Whether something begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    Ends,
    Begins,
}

/// The window of a resource that does not hold at all times, and what is there outside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dated {
    pub window: Window,
    outside: Option<Arc<Item>>,
}

/// A resource that begins or ends, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occasion {
    pub at: Timestamp,
    pub effect: Effect,
    pub resource: Arc<Resource>,
}

/// Whether dates count for what a system should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// All that is written, whatever its dates say. Two revisions are compared so: what will begin only next month is a change of today's proposal.
    Written,
    /// What holds at a moment. Systems are compared with that.
    At(Timestamp),
}

impl Dated {
    /// Whether something of it is left outside its window.
    pub fn stays(&self) -> bool {
        self.outside.is_some()
    }
}

impl Window {
    /// What a spec says; `None` where it says neither, or nothing that is a time.
    pub fn of(spec: &Value, zone: &TimeZone) -> Option<Self> {
        let text = |key| spec.get(key).and_then(Value::as_str);
        let window = Self {
            from: text(FROM).and_then(|text| start(text, zone)),
            until: text(UNTIL).and_then(|text| end(text, zone)),
        };
        (window != Self::default()).then_some(window)
    }

    pub fn holds(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }

    /// Its boundaries in order. One that is never open has none.
    pub fn edges(&self) -> impl Iterator<Item = (Timestamp, Effect)> + use<> {
        let is_open = match (self.from, self.until) {
            (Some(from), Some(until)) => from < until,
            (_, _) => true,
        };
        let from = self.from.map(|at| (at, Effect::Begins));
        let until = self.until.map(|at| (at, Effect::Ends));
        from.into_iter().chain(until).filter(move |_| is_open)
    }
}

/// When something begins that is `from` a date or a time.
pub fn start(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    match text.parse::<Timestamp>() {
        Ok(time) => Some(time),
        Err(_) => first_instant(text.parse().ok()?, zone),
    }
}

/// When something is over that lasts `until` a date or a time.
pub fn end(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    match text.parse::<Timestamp>() {
        Ok(time) => Some(time),
        Err(_) => first_instant(text.parse::<Date>().ok()?.tomorrow().ok()?, zone),
    }
}

/// Where midnight is skipped the day begins after the gap; where it comes twice, with the first.
fn first_instant(date: Date, zone: &TimeZone) -> Option<Timestamp> {
    let midnight = zone.to_ambiguous_zoned(date.to_datetime(Time::midnight()));
    midnight.compatible().ok().map(|day| day.timestamp())
}

/// The zone of a config; one that is none has been reported where the config was read.
pub fn zone(timezone: &str) -> TimeZone {
    crate::config::time_zone(timezone).unwrap_or(TimeZone::UTC)
}

/// Reads `from` and `until` of an entry. A window that is never open is an error: nothing would ever come of it.
pub(super) fn read<'n>(
    faults: &mut Faults<'_>,
    fields: &Fields<'n>,
    timezone: &str,
) -> [Option<(&'static str, Placed<'n>)>; 2] {
    let from = fields.moment(faults, FROM);
    let until = fields.moment(faults, UNTIL);
    if let (Some(from), Some(until)) = (&from, &until)
        && is_empty(from.text, until.text, timezone)
    {
        faults.error(
            "date/never",
            until.at.clone(),
            format!(
                "it would end ({}) before it begins ({})",
                fields::shorten(until.text),
                fields::shorten(from.text)
            ),
            Some("give an `until` that is later than `from`".to_owned()),
        );
    }
    [from.map(|f| (FROM, f)), until.map(|u| (UNTIL, u))]
}

/// Whether nothing lies between the two.
pub(super) fn is_empty(from: &str, until: &str, timezone: &str) -> bool {
    let zone = zone(timezone);
    match (start(from, &zone), end(until, &zone)) {
        (Some(from), Some(until)) => from >= until,
        (_, _) => false,
    }
}

/// The window of a resource; `None` for what is the same at all times. Most resources say nothing of dates, and their specs are not parsed for it.
pub fn dated(
    kind: Option<&Arc<dyn Kind>>,
    id: &ResourceRef,
    spec: &Spec,
    zone: impl FnOnce() -> TimeZone,
) -> Option<Arc<Dated>> {
    let text = spec.as_str();
    if !text.contains("\"until\":") && !text.contains("\"from\":") {
        return None;
    }
    let outside = kind?.outside(spec)?;
    let window = Window::of(&spec.value(), &zone())?;
    let outside = match outside {
        Outside::Gone => None,
        Outside::Spec(value) => {
            let spec = Spec::from_value(&value).ok()?;
            Some(Arc::new(Item::new(id.clone(), spec)))
        }
    };
    Some(Arc::new(Dated { window, outside }))
}

/// Whether what holds as `after` says gives more than as `before` says: it lasts longer or begins earlier. Only then, and where it gives
/// less elsewhere, is a window that moves no reversal of the one that moves back: each gives something that was not given.
pub(super) fn widens(before: &Value, after: &Value) -> Direction {
    let (b, a) = (reach(before), reach(after));
    if a.1 > b.1 || a.0 < b.0 {
        Direction::Widening
    } else if a == b {
        Direction::Neutral
    } else {
        Direction::Narrowing
    }
}

/// The same of what takes away: it is a widening change that it lasts shorter or begins later.
pub(super) fn relaxes(before: &Value, after: &Value) -> Direction {
    let (b, a) = (reach(before), reach(after));
    if a.1 < b.1 || a.0 > b.0 {
        Direction::Widening
    } else if a == b {
        Direction::Neutral
    } else {
        Direction::Narrowing
    }
}

/// From when to when, as far as it is known without the repo's time zone.
fn reach(spec: &Value) -> (i128, i128) {
    let from = spec.get(FROM).and_then(|from| {
        let text = from.as_str()?;
        start(text, &TimeZone::UTC)
    });
    let until = spec.get(UNTIL).and_then(instant);
    (
        from.map_or(i128::MIN, |at| at.as_nanosecond()),
        until.map_or(i128::MAX, |at| at.as_nanosecond()),
    )
}

impl Resource {
    /// Whether it holds at a moment. What has no dates always does.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.dated.as_ref().is_none_or(|d| d.window.holds(at))
    }

    /// What a system has of it.
    pub fn item_when(&self, when: When) -> Option<&Arc<Item>> {
        match (when, &self.dated) {
            (When::Written, _) | (When::At(_), None) => Some(&self.item),
            (When::At(at), Some(dated)) if dated.window.holds(at) => Some(&self.item),
            (When::At(_), Some(dated)) => dated.outside.as_ref(),
        }
    }

    /// When it begins and ends, in order.
    pub fn occasions(self: &Arc<Self>) -> impl Iterator<Item = Occasion> + use<'_> {
        let window = self.dated.iter().flat_map(|d| d.window.edges());
        window.map(|(at, effect)| Occasion {
            at,
            effect,
            resource: self.clone(),
        })
    }
}

impl Bundle {
    /// What a system should have at a moment.
    pub fn project_at(&self, system: &SystemName, at: Timestamp) -> State {
        let buckets = self.buckets.iter();
        State::from_buckets(
            buckets
                .map(|b| project_bucket(b, system, When::At(at)))
                .collect(),
        )
    }

    /// The same as [`Bundle::project_at`], where the projection of a bundle at another moment is at hand: only buckets are made anew that differ, or
    /// in which something begins or ends between the two.
    pub fn project_after_at(
        &self,
        system: &SystemName,
        at: Timestamp,
        (earlier, then): (&Bundle, Timestamp),
        projected: &State,
    ) -> State {
        self.project_changed(system, When::At(at), earlier, projected, |bucket| {
            bucket.has_boundary(then, at)
        })
    }

    /// Whether everything that holds at one moment holds at another: nothing begins or ends between the two.
    pub fn is_alike(&self, a: Timestamp, b: Timestamp) -> bool {
        !self.buckets.iter().any(|bucket| bucket.has_boundary(a, b))
    }

    /// The first moment after this one at which something begins or ends.
    pub fn next_boundary(&self, after: Timestamp) -> Option<Timestamp> {
        let next = self.buckets.iter().filter_map(|bucket| {
            let at = bucket.boundaries.partition_point(|b| *b <= after);
            bucket.boundaries.get(at)
        });
        next.min().copied()
    }

    /// Everything that begins or ends after one moment and up to another, in order.
    pub fn occasions(&self, after: Timestamp, to: Timestamp) -> Vec<Occasion> {
        let buckets = self.buckets.iter().filter(|b| b.has_boundary(after, to));
        let all = buckets
            .flat_map(|b| &b.resources)
            .flat_map(Resource::occasions);
        let mut within: Vec<Occasion> = all.filter(|o| after < o.at && o.at <= to).collect();
        within.sort_by(|a, b| {
            let key = |o: &Occasion| (o.at, o.effect, o.resource.item.id.clone());
            key(a).cmp(&key(b))
        });
        within
    }

    /// What holds at one of two moments and not at the other, with what that came of: the moments may be in any order.
    pub fn turned(&self, since: Timestamp, at: Timestamp) -> Vec<Occasion> {
        let mut turned: Vec<Occasion> = Vec::new();
        for occasion in self.occasions(since.min(at), since.max(at)) {
            let resource = &occasion.resource;
            let (was, is) = (resource.holds(since), resource.holds(at));
            if was == is {
                continue;
            }
            let effect = if is { Effect::Begins } else { Effect::Ends };
            // What began and ended meanwhile is as it was; of what is not, one boundary is the last.
            turned.retain(|o| o.resource.item.id != resource.item.id);
            turned.push(Occasion { effect, ..occasion });
        }
        turned
    }
}
