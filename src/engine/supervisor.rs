//! The loop: passes for as long as the process lives, sooner where something calls for one.
//!
//! Polling is the truth; a push that is noticed, or a failed pass, only makes the next one sooner. Whatever woke it, a pass starts from
//! what is there.

use tokio::sync::watch;
use tokio::time::Instant;

use super::execute::backoff;
use super::{Engine, GroupReport};
use crate::protocol::LONGEST_BACKOFF;
use crate::record::{Next, Trigger};
use crate::settings::Intervals;

/// Runs passes until `stop` becomes true. `pushed` changes whenever the repository was written to, as far as that is noticed. A run in progress
/// is finished first: its time is bounded. What the engine holds is given back at the end.
pub async fn supervise(
    mut engine: Engine,
    intervals: Intervals,
    mut pushed: watch::Receiver<u64>,
    mut stop: watch::Receiver<bool>,
    mut told: impl FnMut(&[GroupReport]),
) {
    let mut trigger = Trigger::Start;
    let mut failures: u8 = 0;
    let mut watched = true;
    let mut due = Instant::now();
    while !*stop.borrow() {
        pushed.mark_unchanged();
        // Called for before the retry was due.
        let early = Instant::now() < due;
        let pause = match engine.pass(trigger).await {
            Ok(reports) => {
                told(&reports);
                let worst = reports
                    .iter()
                    .map(GroupReport::next)
                    .max()
                    .unwrap_or(Next::Done);
                failures = if worst == Next::Done {
                    0
                } else if early {
                    // Says nothing about how long a system has been away: ten pushes must not make its return go unseen for minutes.
                    failures.max(1)
                } else {
                    failures.saturating_add(1).min(LONGEST_BACKOFF)
                };
                if worst == Next::Done {
                    intervals.systems
                } else {
                    backoff(failures).min(intervals.systems)
                }
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
                () = tokio::time::sleep_until(due) => break if failures > 0 { Trigger::Retry } else { Trigger::Drift },
                () = tokio::time::sleep_until(poll), if poll < due => {
                    if engine.has_news().await {
                        break Trigger::Merge;
                    }
                }
            }
        };
    }
    if let Err(error) = engine.rest().await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the leases run out by themselves"
        );
    }
}
