//! The loop: passes for as long as the process lives, sooner where something calls for one.
//!
//! Polling is the truth; a push that is noticed, or a failed pass, only makes the next one sooner. Whatever woke it, a pass starts from
//! what is there.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::execute::backoff;
use super::{Engine, EngineError, GroupReport};
use crate::protocol::LONGEST_BACKOFF;
use crate::record::{Next, Trigger};
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

/// One pass, cut off when `stop` has been true for [`GRACE`]: then `None`. What the engine holds is given back in any case.
pub async fn pass_once(
    mut engine: Engine,
    trigger: Trigger,
    stop: watch::Receiver<bool>,
) -> Option<Result<Vec<GroupReport>, EngineError>> {
    let passed = pass_until(&mut engine, trigger, stop).await;
    rest(engine).await;
    passed
}

async fn pass_until(
    engine: &mut Engine,
    trigger: Trigger,
    mut stop: watch::Receiver<bool>,
) -> Option<Result<Vec<GroupReport>, EngineError>> {
    let overdue = async {
        // Nobody left who could say stop: then the process is ending.
        let _ = stop.wait_for(|stop| *stop).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        passed = engine.pass(trigger) => Some(passed),
        () = overdue => None,
    }
}

async fn rest(mut engine: Engine) {
    match tokio::time::timeout(REST, engine.rest()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the leases run out by themselves"
        ),
        Err(_) => tracing::warn!("the store is busy: the leases run out by themselves"),
    }
}

/// Runs passes until `stop` becomes true. `pushed` changes whenever the repository was written to, as far as that is noticed; `again` whenever a
/// person wants another try. A pass in progress
/// is finished first, as far as [`GRACE`] lasts. What the engine holds is given back at the end.
pub async fn supervise(
    mut engine: Engine,
    intervals: Intervals,
    mut pushed: watch::Receiver<u64>,
    mut again: watch::Receiver<u64>,
    mut stop: watch::Receiver<bool>,
    mut told: impl FnMut(&[GroupReport]),
) -> Stopped {
    let mut ended = Stopped::InOrder;
    let mut trigger = Trigger::Start;
    let mut failures: u8 = 0;
    let (mut watched, mut asked) = (true, true);
    let mut due = Instant::now();
    while !*stop.borrow() {
        pushed.mark_unchanged();
        again.mark_unchanged();
        // Called for before the retry was due.
        let early = Instant::now() < due;
        let Some(passed) = pass_until(&mut engine, trigger, stop.clone()).await else {
            ended = Stopped::Midway;
            break;
        };
        let pause = match passed {
            Ok(reports) => {
                told(&reports);
                after(&reports, early, &mut failures).min(intervals.systems)
            }
            Err(error) => {
                failures = failures.saturating_add(1).min(LONGEST_BACKOFF);
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the pass failed and will be tried again"
                );
                backoff(failures)
            }
        };
        due = Instant::now() + pause;
        trigger = loop {
            let poll = Instant::now() + intervals.git;
            tokio::select! {
                _ = stop.changed() => break Trigger::Manual,
                changed = pushed.changed(), if watched => {
                    // The watcher may be gone; polling goes on.
                    watched = changed.is_ok();
                    // Statuses are written to the repository too: what this engine says itself is no reason to look again.
                    if engine.has_news().await {
                        break Trigger::Merge;
                    }
                }
                changed = again.changed(), if asked => {
                    asked = changed.is_ok();
                    if asked {
                        break Trigger::Manual;
                    }
                }
                () = tokio::time::sleep_until(due) => break if failures > 0 { Trigger::Retry } else { Trigger::Drift },
                () = tokio::time::sleep_until(poll), if poll < due => {
                    if engine.has_news().await {
                        break Trigger::Merge;
                    }
                }
            }
        };
    }
    rest(engine).await;
    ended
}

/// How long to wait after a pass; as long as can be where nothing is left to do.
fn after(reports: &[GroupReport], early: bool, failures: &mut u8) -> Duration {
    let worst = reports.iter().map(GroupReport::next).max();
    if worst.unwrap_or(Next::Done) == Next::Done {
        *failures = 0;
        return Duration::MAX;
    }
    *failures = if early {
        // Says nothing about how long a system has been away: ten pushes must not make its return go unseen for minutes.
        (*failures).max(1)
    } else {
        failures.saturating_add(1).min(LONGEST_BACKOFF)
    };
    backoff(*failures)
}
