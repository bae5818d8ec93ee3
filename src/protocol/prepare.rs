//! Before the decision: every system stages its changes, or all drop them again.

use jiff::Timestamp;

use super::{Call, Effect, any, decide, enter, failures, finish, retry, said, set, silent};
use crate::ids::SystemName;
use crate::record::{ConnectorError, Decision, Failure, MemberState, Outcome, Phase, Run};

/// The run is in the store: every system is asked to prepare, at once.
pub(super) fn begin(run: &mut Run) -> Vec<Effect> {
    if run.phase != Phase::Planned {
        return Vec::new();
    }
    enter(run, Phase::Preparing, |_| {
        Some((MemberState::Preparing, Call::Prepare))
    })
}

pub(super) fn prepared(
    run: &mut Run,
    system: &SystemName,
    result: Result<(), ConnectorError>,
    at: Timestamp,
) -> Vec<Effect> {
    let Some(member) = run.members.get_mut(system) else {
        return Vec::new();
    };
    if member.state != MemberState::Preparing {
        return Vec::new();
    }
    member.state = match result {
        Ok(()) => {
            member.prepared_at = Some(at);
            MemberState::Prepared
        }
        // Not repeated, however passing: nothing has happened yet, and the next run starts from what is true then.
        Err(error) => MemberState::Unprepared {
            failure: said(error),
        },
    };
    settle_prepared(run, at)
}

pub(super) fn unprepared_in_time(run: &mut Run, at: Timestamp) -> Vec<Effect> {
    for member in run.members.values_mut() {
        if member.state == MemberState::Preparing {
            member.state = MemberState::Unprepared {
                failure: silent(member),
            };
        }
    }
    settle_prepared(run, at)
}

/// Waits for every answer even where one has refused already: whoever mends the change wants all the reasons at once, and an abort must not
/// overtake a prepare.
fn settle_prepared(run: &mut Run, at: Timestamp) -> Vec<Effect> {
    if any(run, |s| *s == MemberState::Preparing) {
        return Vec::new();
    }
    if !any(run, |s| *s != MemberState::Prepared) {
        return decide(run, Decision::Commit);
    }
    run.cause = failures(run);
    let effects = enter(run, Phase::Aborting, |state| {
        (!staged_nothing(state)).then_some((MemberState::Aborting, Call::Abort))
    });
    if any(run, is_aborting) {
        effects
    } else {
        settle_aborted(run, at)
    }
}

/// Has answered in a way that means so; every other system may have staged its changes, whatever it said.
fn staged_nothing(state: &MemberState) -> bool {
    matches!(
        state,
        MemberState::Unprepared {
            failure: Failure::Said {
                error: ConnectorError::Refused { .. } | ConnectorError::Stale { .. },
            },
        }
    )
}

/// A run found in the store without a decision: any of its systems may have been asked to prepare.
pub(super) fn abandon(run: &mut Run) -> Vec<Effect> {
    enter(run, Phase::Aborting, |_| {
        Some((MemberState::Aborting, Call::Abort))
    })
}

pub(super) fn aborted(
    run: &mut Run,
    system: &SystemName,
    result: Result<(), ConnectorError>,
    at: Timestamp,
) -> Vec<Effect> {
    if !run
        .members
        .get(system)
        .is_some_and(|m| is_aborting(&m.state))
    {
        return Vec::new();
    }
    let state = match result {
        Ok(()) => MemberState::Aborted,
        Err(ConnectorError::Transient { message }) => {
            return retry(run, system, Call::Abort, message);
        }
        Err(error @ ConnectorError::Refused { .. }) => MemberState::Stuck {
            failure: Failure::CommittedUnasked { error },
        },
        Err(
            error @ (ConnectorError::Terminal { .. }
            | ConnectorError::Stale { .. }
            | ConnectorError::Fenced { .. }),
        ) => MemberState::Unaborted {
            failure: said(error),
        },
    };
    set(run, system, state);
    settle_aborted(run, at)
}

/// What was staged and could not be dropped is harmless: nobody will ever commit it.
pub(super) fn unaborted_in_time(run: &mut Run, at: Timestamp) -> Vec<Effect> {
    for member in run.members.values_mut() {
        if is_aborting(&member.state) {
            member.state = MemberState::Unaborted {
                failure: silent(member),
            };
        }
    }
    settle_aborted(run, at)
}

fn settle_aborted(run: &mut Run, at: Timestamp) -> Vec<Effect> {
    if any(run, is_aborting) {
        return Vec::new();
    }
    let mut stuck = failures(run);
    stuck.retain(|_, failure| matches!(failure, Failure::CommittedUnasked { .. }));
    let outcome = if stuck.is_empty() {
        Outcome::aborted(run.cause.clone())
    } else {
        Outcome::Stuck { systems: stuck }
    };
    finish(run, outcome, at)
}

fn is_aborting(state: &MemberState) -> bool {
    *state == MemberState::Aborting
}
