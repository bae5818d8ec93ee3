//! After the decision to compensate: what was committed is taken back, system by system.
//!
//! A system that has committed is sent the reverse of its changes, for as long as it takes. One of which it isn't known is asked to abort: if it
//! had not committed it never will, if it had it refuses and is sent the reverse too. One that is out of reach past the deadline is left, and the
//! outcome names it.

use jiff::Timestamp;

use super::{Call, Effect, advance, any, enter, failures, finish, retry, said, set, silent};
use crate::ids::{Digest, Stage, SystemName};
use crate::record::{ConnectorError, Failure, MemberState, Outcome, Phase, Receipt, Run};

/// The decision is in the store.
pub(super) fn begin(run: &mut Run) -> Vec<Effect> {
    if run.phase == Phase::Deciding {
        send(run)
    } else {
        Vec::new()
    }
}

pub(super) fn send(run: &mut Run) -> Vec<Effect> {
    enter(run, Phase::Compensating, |state| {
        let committed = matches!(
            state,
            MemberState::Committed { .. }
                | MemberState::Verified { .. }
                | MemberState::Unverified { .. }
        );
        Some(if committed {
            (MemberState::Undoing, Call::Undo)
        } else {
            (MemberState::Withdrawing, Call::Abort)
        })
    })
}

/// The answer of a system of which it isn't known whether it has committed.
pub(super) fn withdrawn(
    run: &mut Run,
    system: &SystemName,
    result: Result<(), ConnectorError>,
    at: Timestamp,
) -> Vec<Effect> {
    let Some(member) = run.members.get(system) else {
        return Vec::new();
    };
    // Better late than never, as long as the others keep the run open.
    let left = matches!(member.state, MemberState::Left { .. });
    if !left && member.state != MemberState::Withdrawing {
        return Vec::new();
    }
    let state = match result {
        Ok(()) => MemberState::Aborted,
        Err(ConnectorError::Refused { .. }) => {
            return advance(run, system, MemberState::Undoing, Call::Undo);
        }
        Err(ConnectorError::Transient { .. }) if left => return Vec::new(),
        Err(ConnectorError::Transient { message }) => {
            return retry(run, system, Call::Abort, message);
        }
        Err(error) => MemberState::Left {
            failure: said(error),
        },
    };
    set(run, system, state);
    settle(run, at)
}

/// Whatever a system says of undoing, it is looked at before anything is concluded: one that refuses may long be where it should be.
pub(super) fn undone(
    run: &mut Run,
    system: &SystemName,
    result: Result<Receipt, ConnectorError>,
) -> Vec<Effect> {
    if run.members.get(system).map(|m| &m.state) != Some(&MemberState::Undoing) {
        return Vec::new();
    }
    let state = match result {
        Ok(_) => MemberState::Undone,
        Err(ConnectorError::Transient { message }) => {
            return retry(run, system, Call::Undo, message);
        }
        Err(error) => MemberState::NotUndone {
            failure: said(error),
        },
    };
    advance(run, system, state, Call::Observe(Stage::Undo))
}

pub(super) fn observed(
    run: &mut Run,
    system: &SystemName,
    result: Result<Digest, ConnectorError>,
    at: Timestamp,
) -> Vec<Effect> {
    let Some(member) = run.members.get(system) else {
        return Vec::new();
    };
    let refusal = if let MemberState::NotUndone { failure } = &member.state {
        Some(failure.clone())
    } else if member.state == MemberState::Undone {
        None
    } else {
        return Vec::new();
    };
    let state = match result {
        Ok(digest) if digest == member.base => MemberState::Compensated,
        Ok(digest) => MemberState::Stuck {
            failure: refusal.unwrap_or(Failure::Mismatch {
                expected: member.base,
                observed: digest,
            }),
        },
        Err(ConnectorError::Transient { message }) => {
            return retry(run, system, Call::Observe(Stage::Undo), message);
        }
        Err(error) => MemberState::Stuck {
            failure: refusal.unwrap_or(said(error)),
        },
    };
    set(run, system, state);
    settle(run, at)
}

pub(super) fn unreached_in_time(run: &mut Run, at: Timestamp) -> Vec<Effect> {
    for member in run.members.values_mut() {
        if member.state == MemberState::Withdrawing {
            member.state = MemberState::Left {
                failure: silent(member),
            };
        }
    }
    settle(run, at)
}

fn settle(run: &mut Run, at: Timestamp) -> Vec<Effect> {
    let settled = |state: &MemberState| {
        matches!(
            state,
            MemberState::Aborted
                | MemberState::Compensated
                | MemberState::Left { .. }
                | MemberState::Stuck { .. }
        )
    };
    if any(run, |s| !settled(s)) {
        return Vec::new();
    }
    let systems = failures(run);
    let outcome = if any(run, |s| matches!(s, MemberState::Stuck { .. })) {
        Outcome::Stuck { systems }
    } else {
        let cause = run.cause.clone();
        Outcome::RolledBack {
            cause,
            left: systems,
        }
    };
    finish(run, outcome, at)
}
