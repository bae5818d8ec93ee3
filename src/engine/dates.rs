//! What begins and ends by its date: which moment a pass is for, what has turned since the group was last in step, when the next thing does.
//!
//! A date is no drift: until a run has carried it out the group is on its way, as it is after a merge. Nothing is remembered but the moment that
//! the last successful run was for; what has turned since then follows from the documents, however long nobody looked.

use jiff::{SignedDuration, Timestamp};

use super::group::{Memory, Pass};
use super::look::Scene;
use super::{Engine, EngineError};
use crate::ids::{GroupName, Revision};
use crate::plan::Plan;
use crate::record::{DateReached, Run, Trigger};
use crate::resource::Bundle;
use crate::resource::dating::Occasion;
use crate::store::Reach;

/// A clock that is set back by less than this undoes nothing: what has ended does not begin again for some minutes. One that was wrong by more
/// is believed again when it is right.
const SET_BACK: SignedDuration = SignedDuration::from_mins(10);

/// The outcomes of runs that came through, as they are kept.
const THROUGH: [&str; 2] = ["in_step", "applied"];

/// The moment that a pass is for, by the clock and by what was carried out last.
pub(super) fn moment(now: Timestamp, carried: Option<Timestamp>) -> Timestamp {
    carried
        .filter(|carried| *carried > now && carried.duration_since(now) < SET_BACK)
        .unwrap_or(now)
}

impl Memory {
    /// Since when it is looked for what turned. Where nobody knows any more, that is everything that ever did.
    pub(super) fn since(&self) -> Timestamp {
        self.carried.unwrap_or(Timestamp::MIN)
    }
}

impl Scene {
    /// Why a run is made: a date, where nothing else is new.
    pub(super) fn trigger(&self, pass: &Pass<'_>) -> Trigger {
        if self.good.as_ref() == Some(&self.revision) && !self.turned.is_empty() {
            Trigger::Date
        } else {
            pass.trigger
        }
    }

    /// A run with everything that has turned.
    pub(super) fn dating(&self, run: Run) -> Run {
        run.as_of(self.at, reached(self.turned.iter()))
    }

    /// A run with what of that is in its plan.
    pub(super) fn dating_of(&self, run: Run, plan: &Plan) -> Run {
        let is_in = |occasion: &&Occasion| {
            let id = &occasion.resource.item.id;
            let shares = plan.systems.values();
            shares
                .flat_map(|share| &share.changes)
                .any(|change| change.id == *id)
        };
        run.as_of(self.at, reached(self.turned.iter().filter(is_in)))
    }
}

fn reached<'o>(occasions: impl Iterator<Item = &'o Occasion>) -> Vec<DateReached> {
    let reached = occasions.map(|occasion| DateReached {
        id: occasion.resource.item.id.clone(),
        effect: occasion.effect,
        at: occasion.at,
    });
    reached.collect()
}

impl Engine {
    /// What begins or ends on the group's systems between the moment that was carried out last and this one, and is declared as it was.
    pub(super) async fn turned(
        &self,
        pass: &Pass<'_>,
        good: Option<&Revision>,
        (revision, bundle): (&Revision, &Bundle),
        at: Timestamp,
        memory: &Memory,
    ) -> Result<Vec<Occasion>, EngineError> {
        let Some(good) = good else {
            return Ok(Vec::new());
        };
        let mut turned = bundle.turned(memory.since(), at);
        turned.retain(|o| !o.resource.systems.is_disjoint(&pass.group.systems));
        if turned.is_empty() || good == revision {
            return Ok(turned);
        }
        // With a new revision, only what the one before had as well: the rest comes of the merge.
        let known = match self.bundle_of(good).await {
            Ok(known) => known,
            // History was rewritten: nothing is said of what it declared.
            Err(EngineError::Repo(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        turned.retain(|o| known.get(&o.resource.item.id) == Some(&o.resource));
        Ok(turned)
    }

    /// The moment that the group's last successful run was for. `None` where there was none, or it was of a version that knew no dates: what has
    /// ended by now was not ended by it, and is a date that nobody has carried out yet.
    pub(super) async fn carried_out(
        &self,
        group: &GroupName,
    ) -> Result<Option<Timestamp>, EngineError> {
        let last = self.store.last_run_that(group, Reach::Whole, &THROUGH);
        let Some(last) = last.await? else {
            return Ok(None);
        };
        let run = serde_json::from_value::<Run>(last.run.body).ok();
        Ok(run.and_then(|run| run.as_of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Failures, Outcome};

    #[test]
    fn what_came_through_is_known_by_the_words_it_is_kept_with() {
        for outcome in [
            Outcome::InStep,
            Outcome::Applied { changes: 2 },
            Outcome::Interrupted,
            Outcome::Unreachable {
                systems: Failures::new(),
            },
        ] {
            let kept = serde_json::to_value(&outcome).unwrap();
            let is_known = kept["outcome"]
                .as_str()
                .is_some_and(|w| THROUGH.contains(&w));
            assert_eq!(is_known, outcome.is_success(), "{kept}");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_a_little_undoes_nothing() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let carried = at("2026-12-01T00:00:01Z");
        for (now, expected) in [
            ("2026-12-01T00:00:02Z", "2026-12-01T00:00:02Z"),
            ("2026-11-30T23:59:59Z", "2026-12-01T00:00:01Z"),
            // It was wrong by days, and nobody would want to wait until it is that late.
            ("2026-11-20T00:00:00Z", "2026-11-20T00:00:00Z"),
        ] {
            assert_eq!(moment(at(now), Some(carried)), at(expected), "{now}");
        }
        assert_eq!(moment(carried, None), carried);
    }
}
