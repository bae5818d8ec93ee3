//! What must be so in every state of the world.

use super::super::*;
use super::Promise;
use super::systems::{At, Changeset, System};
use super::world::{NAMES, World, index_of};
use crate::config::OnFailure;

impl World {
    /// What must be so in every state.
    pub(super) fn check(&self) -> Result<(), Promise> {
        let committed = |s: &System| s.forward == Changeset::Committed;
        if self.systems.iter().any(committed) && !self.systems.iter().all(was_prepared) {
            return Err(Promise::InStep);
        }
        if self.store.outcomes > 1 {
            return Err(Promise::OneOutcome);
        }
        let Some(run) = &self.store.run else {
            return Ok(());
        };
        let Some(outcome) = &run.outcome else {
            return Ok(());
        };
        // A system that somebody moved is where nobody can answer for.
        let at = |system: usize, there: At| {
            let is = self.systems[system].at;
            is == there || is == At::Elsewhere
        };
        let named = |system: usize, failures: &Failures| failures.contains_key(NAMES[system]);
        match outcome {
            Outcome::Applied { .. } => {
                if !self.systems.iter().all(|s| s.seen_at_target) {
                    return Err(Promise::Counted);
                }
                if ![0, 1].iter().all(|s| at(*s, At::Target)) {
                    return Err(Promise::AllOrNone);
                }
            }
            Outcome::Refused { .. }
            | Outcome::Unreachable { .. }
            | Outcome::Misconfigured { .. }
            | Outcome::Stale { .. }
            | Outcome::Interrupted => {
                if self.store.commit {
                    return Err(Promise::Justified);
                }
                if self.systems.iter().any(committed) {
                    return Err(Promise::AllOrNone);
                }
            }
            Outcome::RolledBack { left, .. } => {
                if ![0, 1].iter().all(|s| named(*s, left) || at(*s, At::Base)) {
                    return Err(Promise::AllOrNone);
                }
            }
            Outcome::Stuck { systems } => {
                let there = if run.decision == Some(Decision::Compensate) {
                    At::Base
                } else {
                    At::Target
                };
                if ![0, 1].iter().all(|s| named(*s, systems) || at(*s, there)) {
                    return Err(Promise::AllOrNone);
                }
                if !self.broken && run.on_failure == OnFailure::Rollback {
                    return Err(Promise::Justified);
                }
            }
            Outcome::InStep | Outcome::Held { .. } => return Err(Promise::Justified),
        }
        for (system, member) in &run.members {
            let is = &self.systems[index_of(system)];
            let says = &member.state;
            let aborted = *says == MemberState::Aborted;
            let compensated = *says == MemberState::Compensated;
            let verified = matches!(says, MemberState::Verified { .. });
            let true_to_it = (!aborted || !is.has_prepared())
                && (!compensated || at(index_of(system), At::Base))
                && (!verified || is.seen_at_target);
            if !true_to_it {
                return Err(Promise::Truthful);
            }
        }
        Ok(())
    }
}

/// A changeset that was aborted after it was prepared can't be told from one that never was, and need not: it can't commit.
fn was_prepared(system: &System) -> bool {
    system.forward != Changeset::Unseen
}
