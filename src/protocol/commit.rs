//! After the decision to commit: every system commits, then each is observed at its target.

use jiff::Timestamp;

use super::{Call, Effect, any, decide, enter, failures, finish, retry, said, silent};
use crate::config::OnFailure;
use crate::ids::{Digest, Stage, SystemName};
use crate::record::{ConnectorError, Decision, Failure, MemberState, Outcome, Phase, Receipt, Run};

/// The decision is in the store.
pub(super) fn begin(run: &mut Run, at: Timestamp) -> Vec<Effect> {
    if run.phase != Phase::Deciding {
        return Vec::new();
    }
    run.decided_at = Some(at);
    send(run)
}

/// Tells every system to commit, also those that may have: a commit repeated changes nothing.
pub(super) fn send(run: &mut Run) -> Vec<Effect> {
    enter(run, Phase::Committing, |_| {
        Some((MemberState::Committing, Call::Commit))
    })
}

pub(super) fn committed(
    run: &mut Run,
    system: &SystemName,
    result: Result<Receipt, ConnectorError>,
    at: Timestamp,
) -> Vec<Effect> {
    let Some(member) = run.members.get_mut(system) else {
        return Vec::new();
    };
    if member.state != MemberState::Committing {
        return Vec::new();
    }
    member.state = match result {
        Ok(receipt) => {
            member.committed_at = Some(at);
            MemberState::Committed { receipt }
        }
        Err(ConnectorError::Transient { message }) => {
            return retry(run, system, Call::Commit, message);
        }
        // It broke the word it gave when it prepared.
        Err(error) => MemberState::Uncommitted {
            failure: said(error),
        },
    };
    settle_committed(run, at)
}

pub(super) fn uncommitted_in_time(run: &mut Run, at: Timestamp) -> Vec<Effect> {
    for member in run.members.values_mut() {
        if member.state == MemberState::Committing {
            member.state = MemberState::Uncommitted {
                failure: silent(member),
            };
        }
    }
    settle_committed(run, at)
}

fn settle_committed(run: &mut Run, at: Timestamp) -> Vec<Effect> {
    if any(run, |s| *s == MemberState::Committing) {
        return Vec::new();
    }
    let failed = any(run, |s| !matches!(s, MemberState::Committed { .. }));
    let some = any(run, |s| matches!(s, MemberState::Committed { .. }));
    // Where the others are to be taken back it is no matter where they are now; where they are to stay, a person will want to know.
    if failed && (run.on_failure == OnFailure::Rollback || !some) {
        return fail(run, at);
    }
    enter(run, Phase::Verifying, |state| {
        let committed = matches!(state, MemberState::Committed { .. });
        committed.then(|| (state.clone(), Call::Observe(Stage::Forward)))
    })
}

pub(super) fn observed(
    run: &mut Run,
    system: &SystemName,
    result: Result<Digest, ConnectorError>,
    at: Timestamp,
) -> Vec<Effect> {
    let Some(member) = run.members.get_mut(system) else {
        return Vec::new();
    };
    let MemberState::Committed { receipt } = &member.state else {
        return Vec::new();
    };
    let receipt = receipt.clone();
    member.state = match result {
        Ok(digest) if digest == member.target => {
            member.verified_at = Some(at);
            MemberState::Verified { receipt }
        }
        Ok(digest) => MemberState::Unverified {
            receipt,
            failure: Failure::Mismatch {
                expected: member.target,
                observed: digest,
            },
        },
        Err(ConnectorError::Transient { message }) => {
            return retry(run, system, Call::Observe(Stage::Forward), message);
        }
        Err(error) => MemberState::Unverified {
            receipt,
            failure: said(error),
        },
    };
    settle_verified(run, at)
}

pub(super) fn unverified_in_time(run: &mut Run, at: Timestamp) -> Vec<Effect> {
    for member in run.members.values_mut() {
        if let MemberState::Committed { receipt } = &member.state {
            member.state = MemberState::Unverified {
                receipt: receipt.clone(),
                failure: silent(member),
            };
        }
    }
    settle_verified(run, at)
}

/// A success only if every member was observed at its target.
fn settle_verified(run: &mut Run, at: Timestamp) -> Vec<Effect> {
    if any(run, |s| matches!(s, MemberState::Committed { .. })) {
        return Vec::new();
    }
    if any(run, |s| !matches!(s, MemberState::Verified { .. })) {
        return fail(run, at);
    }
    let changes = run.changes();
    finish(run, Outcome::Applied { changes }, at)
}

/// The group is past its decision and can't get through.
fn fail(run: &mut Run, at: Timestamp) -> Vec<Effect> {
    run.cause = failures(run);
    match run.on_failure {
        OnFailure::Rollback => decide(run, Decision::Compensate),
        OnFailure::Hold => {
            let systems = run.cause.clone();
            finish(run, Outcome::Stuck { systems }, at)
        }
    }
}
