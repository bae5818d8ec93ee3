//! Statuses on merged commits, derived from what the store knows and written only where the forge shows something else.
//!
//! Level-triggered: a status that was lost is written on the next pass, one that is there is left alone.

use std::collections::BTreeMap;

use crate::config::Group;
use crate::forge::{Status, StatusState, shortened};
use crate::ids::{Revision, SystemName};
use crate::record::{Condition, ConditionState, Outcome, Run, Scope};

/// The status of a whole revision; each system has one of its own under it.
pub(super) const CONTEXT: &str = "lockstep/apply";

/// What is known of one group at one revision.
#[derive(Debug, Clone)]
pub(super) struct GroupAt<'a> {
    pub(super) group: &'a Group,
    /// The newest run for the revision, open or ended.
    pub(super) run: Option<&'a RunAt>,
    /// The systems that have got their urgent changes and wait for the rest.
    pub(super) ahead: Option<&'a BTreeMap<SystemName, Ahead>>,
    /// The systems that lack rows of it, where it is what the group is at.
    pub(super) left_out: Option<&'a BTreeMap<SystemName, String>>,
    /// Whether a newer revision that contains this one has been applied since.
    pub(super) overtaken_by: Option<&'a Revision>,
}

impl GroupAt<'_> {
    /// Which rows a system lacks that its group is in step without.
    fn lacks(&self, run: &RunAt, system: &SystemName) -> Option<&String> {
        run.outcome.as_ref().filter(|o| o.is_success())?;
        self.left_out?.get(system)
    }

    /// What is shown for a system that has got its urgent changes, while the group has not moved and the system itself is not what it waits for.
    fn ahead_of(&self, run: &RunAt, system: &SystemName) -> Option<(StatusState, String)> {
        let outcome = run.outcome.as_ref().filter(|o| !o.is_success())?;
        let Ahead { verified, rest } = *self.ahead?.get(system)?;
        if verified == 0 || outcome.failures().contains_key(system) {
            return None;
        }
        let changes = if verified == 1 { "change" } else { "changes" };
        Some(if rest == 0 {
            let said = format!("{verified} urgent {changes} verified, ahead of the others");
            (StatusState::Success, said)
        } else {
            let said = format!("{verified} urgent {changes} verified; {rest} more wait: {outcome}");
            (StatusState::Failure, said)
        })
    }
}

/// What an urgent run got its system; nothing for a run of the whole group.
fn ahead(run: &Run) -> BTreeMap<SystemName, Ahead> {
    let Scope::Urgent { rest, .. } = &run.scope else {
        return BTreeMap::new();
    };
    let applied = matches!(run.outcome, Some(Outcome::Applied { .. }));
    let got = run.members.iter().map(|(system, member)| {
        let verified = if applied { member.changes.len() } else { 0 };
        (
            system.clone(),
            Ahead {
                verified,
                rest: *rest,
            },
        )
    });
    got.collect()
}

/// What a run says about the commit that it was for.
#[derive(Debug, Clone)]
pub(super) struct RunAt {
    pub(super) conditions: BTreeMap<SystemName, Condition>,
    /// `None` while it is open.
    pub(super) outcome: Option<Outcome>,
    /// What it got a system of its urgent changes, if it was a run of those.
    pub(super) ahead: BTreeMap<SystemName, Ahead>,
}

/// How much of a system's plan went ahead of the others'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ahead {
    verified: usize,
    rest: usize,
}

impl From<&Run> for RunAt {
    fn from(run: &Run) -> Self {
        Self {
            conditions: run.conditions(),
            outcome: run.outcome.clone(),
            ahead: ahead(run),
        }
    }
}

/// The statuses that a commit should show. `fault` is why it can't be applied at all.
pub(super) fn wanted(
    revision: &Revision,
    groups: &[GroupAt<'_>],
    fault: Option<&str>,
    at: jiff::Timestamp,
) -> Vec<Status> {
    let mut systems: BTreeMap<&SystemName, (StatusState, String)> = BTreeMap::new();
    for known in groups {
        for system in &known.group.systems {
            if let Some(fault) = fault {
                systems.insert(system, (StatusState::Failure, fault.to_owned()));
                continue;
            }
            let shown = match (known.overtaken_by, known.run) {
                (Some(newer), _) => (
                    StatusState::Success,
                    format!("superseded by {}, which is applied", newer.short()),
                ),
                (None, None) => (StatusState::Pending, "waiting for its run".to_owned()),
                (None, Some(run)) if let Some(ahead) = known.ahead_of(run, system) => ahead,
                (None, Some(run)) if let Some(lacks) = known.lacks(run, system) => {
                    (StatusState::Failure, lacks.clone())
                }
                (None, Some(run)) => match (run.conditions.get(system), &run.outcome) {
                    (Some(condition), _) => of_condition(condition),
                    (None, Some(outcome)) if outcome.is_success() => (
                        StatusState::Success,
                        "in step: nothing to change".to_owned(),
                    ),
                    (None, Some(outcome)) => (StatusState::Failure, outcome.to_string()),
                    (None, None) => (StatusState::Pending, "waiting for others".to_owned()),
                },
            };
            systems.insert(system, shown);
        }
    }
    let whole = match fault {
        Some(fault) => (StatusState::Failure, fault.to_owned()),
        None => whole(&systems, revision, groups),
    };
    let each = systems
        .iter()
        .map(|(system, shown)| (format!("{CONTEXT}/{system}"), shown.clone()));
    each.chain([(CONTEXT.to_owned(), whole)])
        .map(|(context, (state, description))| Status {
            context,
            state,
            description: cut(&description),
            at,
        })
        .collect()
}

fn of_condition(condition: &Condition) -> (StatusState, String) {
    let state = match condition.state {
        ConditionState::InStep => StatusState::Success,
        ConditionState::Moving => StatusState::Pending,
        ConditionState::Behind | ConditionState::Held | ConditionState::Incident => {
            StatusState::Failure
        }
    };
    (state, condition.message.clone())
}

fn whole(
    systems: &BTreeMap<&SystemName, (StatusState, String)>,
    revision: &Revision,
    groups: &[GroupAt<'_>],
) -> (StatusState, String) {
    let with = |state| systems.values().filter(move |(s, _)| *s == state).count();
    if with(StatusState::Failure) > 0 {
        // The run's own words say more than a count: who refused or could not be reached, and that nobody moved.
        let said = groups
            .iter()
            .filter(|g| g.overtaken_by.is_none())
            .filter_map(|g| g.run?.outcome.as_ref());
        let why = said
            .filter(|outcome| !outcome.is_success())
            .map(ToString::to_string)
            .next();
        let why = why.unwrap_or_else(|| {
            format!(
                "{} of {} systems are not there",
                with(StatusState::Failure),
                systems.len()
            )
        });
        return (StatusState::Failure, why);
    }
    if with(StatusState::Pending) > 0 {
        let there = with(StatusState::Success);
        return (
            StatusState::Pending,
            format!("{there} of {} systems are there", systems.len()),
        );
    }
    if systems.is_empty() {
        let nothing = "nothing to apply: lockstep.yaml names no systems";
        return (StatusState::Success, nothing.to_owned());
    }
    (
        StatusState::Success,
        format!(
            "all {} systems are in step with {}",
            systems.len(),
            revision.short()
        ),
    )
}

/// One line of it.
fn cut(text: &str) -> String {
    shortened(text.lines().next().unwrap_or_default())
}
