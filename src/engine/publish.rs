//! Which commits carry statuses, and what is known of each group at them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use jiff::SignedDuration;
use serde_json::json;

use super::execute::restore;
use super::source::Head;
use super::statuses::{self, Ahead, GroupAt, RunAt};
use super::{Engine, EngineError};
use crate::config::Group;
use crate::forge::{self, Status};
use crate::ids::{GroupName, Revision, RunId, SystemName};
use crate::record::{Action, Condition, ConditionReason, Run};
use crate::store::{Delivery, GroupState, NewDelivery, NewEntry, Reach};

/// How many of a group's latest runs have their revisions' statuses kept right, and as many of its systems' urgent ones.
const RECENT: u32 = 30;

/// How many of main's last commits are looked through for ones without a run.
const MEANWHILE: usize = 30;

/// How many owed statuses are looked at in one go.
const OWED: u32 = 200;

/// When statuses that the forge did not take are said to be due again; the loop itself decides.
const AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// What a commit shows: context, and state with description.
pub(super) type Shown = Vec<(String, String)>;

/// What ended runs said. It does not change any more, and reading a large run again would cost as much as it had changes.
pub(super) type Ended = BTreeMap<RunId, Arc<RunAt>>;

/// What the store knows of the groups' recent runs, by group and revision.
#[derive(Default)]
struct Stored<'g> {
    states: BTreeMap<&'g GroupName, GroupState>,
    runs: BTreeMap<(&'g GroupName, Revision), Arc<RunAt>>,
    ahead: BTreeMap<(&'g GroupName, Revision), BTreeMap<SystemName, Ahead>>,
    revisions: BTreeSet<Revision>,
    /// Systems that lack rows of the revision that their group is at, and which.
    left_out: BTreeMap<SystemName, String>,
}

impl<'g> Stored<'g> {
    fn add(&mut self, name: &'g GroupName, revision: Revision, run: Arc<RunAt>) {
        if run.ahead.is_empty() {
            self.runs.entry((name, revision)).or_insert(run);
            return;
        }
        let ahead = self.ahead.entry((name, revision)).or_default();
        for (system, got) in &run.ahead {
            ahead.entry(system.clone()).or_insert(*got);
        }
    }
}

impl Engine {
    /// Brings the statuses of recent revisions from what was `published` to what the store says, and returns what is shown now, and the first thing that
    /// the forge did not take: one commit that it does not know keeps no other from being shown.
    pub(super) async fn publish(
        &self,
        groups: &BTreeMap<GroupName, Group>,
        head: &Head,
        published: &BTreeMap<Revision, Shown>,
    ) -> Result<(BTreeMap<Revision, Shown>, Option<EngineError>), EngineError> {
        // Read first: what is owed later is of runs that may not be seen below.
        let owed = self.store.owed_to(NewDelivery::FORGE, OWED).await?;
        let mut stored = self.stored(groups).await?;
        let revisions = &mut stored.revisions;
        revisions.insert(head.revision.clone());
        revisions.extend(self.merged_meanwhile(revisions).await?);
        revisions.extend(owed.iter().filter_map(of_revision));
        let mut shown = BTreeMap::new();
        let mut fault = None;
        for revision in &stored.revisions {
            // A commit that git has forgotten shows nothing.
            if !published.contains_key(revision) && !self.is_there(revision).await? {
                continue;
            }
            let broken = head
                .broken
                .as_deref()
                .filter(|_| *revision == head.revision);
            let known = self.known_at(groups, &stored, revision).await?;
            let wanted = statuses::wanted(revision, &known, broken, self.clock.now());
            let said = |s: &Status| format!("{:?} {}", s.state, s.description);
            let summary: Shown = wanted
                .iter()
                .map(|s| (s.context.clone(), said(s)))
                .collect();
            if published.get(revision) != Some(&summary)
                && let Err(error) = forge::show(&*self.forge, revision, wanted).await
            {
                fault.get_or_insert(error.into());
                continue;
            }
            shown.insert(revision.clone(), summary);
        }
        self.settle(&owed, &shown, fault.as_ref()).await?;
        Ok((shown, fault))
    }

    /// What the store knows of the groups' recent runs.
    async fn stored<'g>(
        &self,
        groups: &'g BTreeMap<GroupName, Group>,
    ) -> Result<Stored<'g>, EngineError> {
        let mut stored = Stored {
            left_out: self.left_out().await?,
            ..Stored::default()
        };
        let mut ended = Ended::new();
        for name in groups.keys() {
            let mut state = self.store.group_state(name).await?;
            if let Some(good) = &state.good
                && !self.is_there(good).await?
            {
                // Of what git has forgotten it is not known what it contains.
                state.good = None;
            }
            stored.states.insert(name, state);
            // Newest first, so the first of a revision is the one that counts; drift healed later is news about
            // the same revision and counts too.
            let mut recent = Vec::new();
            for reach in [Reach::Whole, Reach::Urgent] {
                recent.extend(self.store.recent_run_ids(name, reach, RECENT).await?);
            }
            for (id, revision) in recent {
                stored.revisions.insert(revision.clone());
                let Some(run) = self.run_at(id).await? else {
                    continue;
                };
                if run.outcome.is_some() {
                    ended.insert(id, run.clone());
                }
                stored.add(name, revision, run);
            }
        }
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = ended;
        Ok(stored)
    }

    /// The systems that lack rows, and which.
    async fn left_out(&self) -> Result<BTreeMap<SystemName, String>, EngineError> {
        let states = self.store.system_states().await?.into_iter();
        let lacking = states.filter_map(|state| {
            let condition: Condition = serde_json::from_value(state.condition).ok()?;
            let lacks = condition.reason == ConditionReason::LeftOut;
            lacks.then_some((state.system, condition.message))
        });
        Ok(lacking.collect())
    }

    /// What is known of each group at one revision.
    async fn known_at<'s>(
        &self,
        groups: &'s BTreeMap<GroupName, Group>,
        stored: &'s Stored<'s>,
        revision: &Revision,
    ) -> Result<Vec<GroupAt<'s>>, EngineError> {
        let mut known = Vec::new();
        for (name, group) in groups {
            let Some(state) = stored.states.get(name) else {
                continue;
            };
            let key = (name, revision.clone());
            let run = stored.runs.get(&key).map(|run| &**run);
            let stands = run.is_some_and(|r| r.outcome.as_ref().is_some_and(|o| o.is_success()));
            let overtaken_by = match &state.good {
                Some(good)
                    if !stands && good != revision && self.contains(good, revision).await? =>
                {
                    Some(good)
                }
                _ => None,
            };
            known.push(GroupAt {
                group,
                run,
                ahead: stored.ahead.get(&key),
                left_out: (state.good.as_ref() == Some(revision)).then_some(&stored.left_out),
                overtaken_by,
            });
        }
        Ok(known)
    }

    /// Acknowledges the statuses that were owed and are shown. What git has forgotten can be shown on nothing and is not owed any more.
    async fn settle(
        &self,
        owed: &[Delivery],
        shown: &BTreeMap<Revision, Shown>,
        fault: Option<&EngineError>,
    ) -> Result<(), EngineError> {
        for delivery in owed {
            let now = self.clock.now();
            let revision = of_revision(delivery);
            let is_shown = revision.as_ref().is_some_and(|r| shown.contains_key(r));
            if let Some(error) = fault.filter(|_| !is_shown) {
                let next = now.saturating_add(AGAIN).unwrap_or(now);
                let why = error.to_string();
                self.store.failed(delivery.id, &why, next).await?;
                continue;
            }
            let entry = is_shown.then(|| NewEntry {
                at: now,
                actor: self.actor.clone(),
                action: Action::DELIVERY_SENT.to_string(),
                group: None,
                system: None,
                run: None,
                revision,
                body: json!({ "destination": delivery.destination, "key": delivery.key, "attempts": delivery.attempts + 1 }),
            });
            self.store.delivered(delivery.id, now, entry).await?;
        }
        Ok(())
    }

    /// Commits that main got since the oldest of these, each of which may have been merged without a run of its own: several between two looks
    /// at the branch.
    async fn merged_meanwhile(
        &self,
        known: &BTreeSet<Revision>,
    ) -> Result<Vec<Revision>, EngineError> {
        let log = self.with_source(|source| source.log(MEANWHILE)).await?;
        let oldest = log.iter().rposition(|revision| known.contains(revision));
        Ok(log.into_iter().take(oldest.unwrap_or(0)).collect())
    }

    async fn run_at(&self, id: RunId) -> Result<Option<Arc<RunAt>>, EngineError> {
        let known = self
            .ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned();
        if known.is_some() {
            return Ok(known);
        }
        let Some(stored) = self.store.run(id).await? else {
            return Ok(None);
        };
        Ok(Some(Arc::new(RunAt::from(&restore_with_outcome(&stored)?))))
    }

    pub(super) async fn contains(
        &self,
        newer: &Revision,
        older: &Revision,
    ) -> Result<bool, EngineError> {
        let (repo, newer, older) = (self.repo.clone(), newer.clone(), older.clone());
        Ok(tokio::task::spawn_blocking(move || repo.is_ancestor(&older, &newer)).await??)
    }
}

/// The commit that owed statuses are of.
fn of_revision(delivery: &Delivery) -> Option<Revision> {
    delivery.body["revision"].as_str()?.parse().ok()
}

fn restore_with_outcome(stored: &crate::store::StoredRun) -> Result<Run, EngineError> {
    if stored.outcome.is_none() {
        return restore(stored);
    }
    serde_json::from_value(stored.run.body.clone()).map_err(|e| EngineError::Unreadable {
        run: stored.run.id.to_string(),
        why: e.to_string(),
    })
}
