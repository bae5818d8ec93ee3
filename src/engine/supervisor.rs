//! The loop: passes for as long as the process lives, sooner where something calls for one.
//!
//! Polling is the truth; a push that is noticed, or a failed pass, only makes the next one sooner. Whatever woke it, a pass starts from
//! what is there.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::execute::backoff;
use super::rounds::{Rounds, Stir, Whose};
use super::{Engine, EngineError, GroupReport};
use crate::protocol::LONGEST_BACKOFF;
use crate::record::Trigger;
use crate::settings::Intervals;

/// How long a pass may go on once the process is to stop. What is not over by then is left as a crash would leave it: its decision, if there
/// is one, is in the store, and the next start finishes or undoes it.
const GRACE: Duration = Duration::from_secs(6);

/// How long giving back the leases may take; they run out by themselves.
const REST: Duration = Duration::from_secs(1);

/// Whether anything was under way when the process had to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The pass in hand came to its end.
    InOrder,
    /// It did not, and the next start takes it up.
    Midway,
}

/// How long groups are waited for that pass at the same time, before what has come of the others is written.
const TOGETHER: Duration = Duration::from_secs(2);

/// One pass, cut off when `stop` has been true for [`GRACE`]: then `None`. What the engine holds is given back in any case.
pub async fn pass_once(
    engine: Engine,
    trigger: Trigger,
    stop: watch::Receiver<bool>,
) -> Option<Result<Vec<GroupReport>, EngineError>> {
    let mut rounds = Rounds::new(engine);
    let passed = tokio::select! {
        passed = rounds.pass(trigger) => Some(passed),
        () = overdue(stop) => None,
    };
    rest(rounds).await;
    passed
}

/// Until `stop` has been true for [`GRACE`].
async fn overdue(mut stop: watch::Receiver<bool>) {
    // Nobody left who could say stop: then the process is ending.
    let _ = stop.wait_for(|stop| *stop).await;
    tokio::time::sleep(GRACE).await;
}

async fn rest(rounds: Rounds) {
    match tokio::time::timeout(REST, rounds.rest()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the leases run out by themselves"
        ),
        Err(_) => tracing::warn!("the store is busy: the leases run out by themselves"),
    }
}

/// What the loop does next.
enum Wake {
    Pass(Whose),
    /// A pass has ended that others were not kept waiting for.
    Ended,
    /// Runs of other replicas have ended.
    Told,
    Stop,
}

/// What calls for passes from outside.
struct Calls {
    intervals: Intervals,
    pushed: watch::Receiver<u64>,
    /// The watcher may be gone; polling goes on.
    is_watched: bool,
    /// A person wants another try.
    again: watch::Receiver<u64>,
    is_heard: bool,
    /// Other replicas' runs have ended.
    runs: watch::Receiver<u64>,
    are_runs_told: bool,
    /// Replicas have come or gone.
    replicas: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
}

/// Who else calls for a look.
pub struct Called {
    /// Changes whenever the repository was written to, as far as that is noticed.
    pub pushed: watch::Receiver<u64>,
    /// Changes whenever a person wants another try.
    pub again: watch::Receiver<u64>,
    /// Changes whenever a run has ended, anywhere: statuses follow from it.
    pub runs: watch::Receiver<u64>,
}

/// Passes until `stop` becomes true. Passes in progress are finished first, as far as [`GRACE`] lasts. What the engine holds is given back at
/// the end.
pub async fn supervise(
    engine: Engine,
    intervals: Intervals,
    called: Called,
    stop: watch::Receiver<bool>,
    told: impl FnMut(&[GroupReport]),
) -> Stopped {
    let mut rounds = Rounds::new(engine);
    let keeper = rounds.keeper();
    // Known to the others before it asks for its part.
    if let Err(error) = keeper.once().await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "this replica can't say that it lives"
        );
    }
    let Called {
        pushed,
        again,
        runs,
    } = called;
    let calls = Calls {
        intervals,
        pushed,
        is_watched: true,
        again,
        is_heard: true,
        runs,
        are_runs_told: true,
        replicas: keeper.changed(),
        stop,
    };
    let ended = tokio::select! {
        ended = passes(&mut rounds, calls, told) => ended,
        () = keeper.keep() => Stopped::Midway,
    };
    drop(keeper);
    rest(rounds).await;
    ended
}

async fn passes(
    rounds: &mut Rounds,
    mut calls: Calls,
    mut told: impl FnMut(&[GroupReport]),
) -> Stopped {
    let stop = calls.stop.clone();
    let overdue = overdue(stop.clone());
    tokio::pin!(overdue);
    let mut wake = Wake::Pass(Whose::All(Trigger::Start));
    let mut failures: u8 = 0;
    loop {
        let is_last = matches!(wake, Wake::Stop) || *calls.stop.borrow();
        if is_last && rounds.is_idle() {
            break Stopped::InOrder;
        }
        let passed = tokio::select! {
            passed = work(rounds, wake, is_last, &mut calls) => passed,
            () = &mut overdue => break Stopped::Midway,
        };
        let retry = match passed {
            Ok(reports) => {
                told(&reports);
                failures = 0;
                None
            }
            Err(error) => {
                failures = failures.saturating_add(1).min(LONGEST_BACKOFF);
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the pass failed and will be tried again"
                );
                Some(Instant::now() + backoff(failures))
            }
        };
        if is_last {
            break Stopped::InOrder;
        }
        wake = calls.next(rounds, retry).await;
    }
}

/// Does what the loop woke for, and gives back what came of the passes that have ended.
async fn work(
    rounds: &mut Rounds,
    wake: Wake,
    is_last: bool,
    calls: &mut Calls,
) -> Result<Vec<GroupReport>, EngineError> {
    match wake {
        _ if is_last => rounds.all_end().await,
        Wake::Pass(whose) => {
            calls.pushed.mark_unchanged();
            calls.again.mark_unchanged();
            rounds.begin(whose, TOGETHER).await?;
        }
        Wake::Told => rounds.publish_soon(),
        Wake::Ended | Wake::Stop => {}
    }
    rounds.conclude(calls.intervals.systems).await
}

impl Calls {
    /// Waits until there is something to do. `retry` is when a pass that failed as a whole is tried again.
    async fn next(&mut self, rounds: &mut Rounds, retry: Option<Instant>) -> Wake {
        let start = Instant::now();
        loop {
            // Asked anew at every look: a date is due by the wall clock, and that may have been set.
            let due = rounds.due().into_iter().chain(retry).min();
            let due = due.unwrap_or(start + self.intervals.systems);
            let poll = Instant::now() + self.intervals.git;
            tokio::select! {
                _ = self.stop.changed() => return Wake::Stop,
                stir = rounds.one_stirs() => match stir {
                    Stir::Ended => return Wake::Ended,
                    // Whose turn it is by that, the next look at what is due says.
                    Stir::Told => {}
                },
                changed = self.pushed.changed(), if self.is_watched => {
                    self.is_watched = changed.is_ok();
                    // Statuses are written to the repository too: what this engine says itself is no reason to look again.
                    if rounds.has_news().await {
                        return Wake::Pass(Whose::All(Trigger::Merge));
                    }
                }
                changed = self.again.changed(), if self.is_heard => {
                    self.is_heard = changed.is_ok();
                    if self.is_heard {
                        return Wake::Pass(Whose::All(Trigger::Manual));
                    }
                }
                changed = self.runs.changed(), if self.are_runs_told => {
                    self.are_runs_told = changed.is_ok();
                    if self.are_runs_told {
                        return Wake::Told;
                    }
                }
                Ok(()) = self.replicas.changed() => return Wake::Pass(Whose::All(Trigger::Retry)),
                () = tokio::time::sleep_until(due) => return Wake::Pass(Whose::Due),
                () = tokio::time::sleep_until(poll), if poll < due => {
                    if rounds.has_news().await {
                        return Wake::Pass(Whose::All(Trigger::Merge));
                    }
                }
            }
        }
    }
}
