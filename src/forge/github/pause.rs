//! When nothing is sent: because GitHub asked for it, or because it is away.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::fault::ApiError;

/// What all requests of a process keep to.
#[derive(Default)]
pub(super) struct Pauses(Mutex<Option<Pause>>);

/// Why nothing is sent for a while.
struct Pause {
    until: Instant,
    why: String,
    /// How often in a row GitHub could not be reached.
    failures: u32,
}

impl Pauses {
    /// The error that nothing is sent, while nothing is.
    pub(super) fn may_send(&self) -> Result<(), ApiError> {
        match &*self.lock() {
            Some(pause) if pause.until > Instant::now() => {
                let left = pause.until - Instant::now();
                Err(ApiError::Transient(format!(
                    "{}; asked again in {} s",
                    pause.why,
                    left.as_secs() + 1
                )))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// GitHub is away: the next calls fail at once, for longer each time, so that nothing that does not need it waits for it.
    pub(super) fn failed(&self, why: &str) {
        let mut pause = self.lock();
        let failures = pause.as_ref().map_or(0, |p| p.failures).saturating_add(1);
        let wait = Duration::from_secs(1 << failures.min(6)).min(Duration::from_secs(60));
        let until = Instant::now() + wait / 2;
        // What GitHub asked for is longer, and stays.
        if pause.as_ref().is_some_and(|p| p.until > until) {
            return;
        }
        *pause = Some(Pause {
            until,
            why: why.to_owned(),
            failures,
        });
    }

    /// GitHub wants to be left alone. Whatever another request was answered meanwhile does not change that.
    pub(super) fn keep_quiet(&self, after: Duration, why: String) {
        let mut pause = self.lock();
        let until = Instant::now() + after;
        if pause.as_ref().is_none_or(|p| p.until < until) {
            *pause = Some(Pause {
                until,
                why,
                failures: 0,
            });
        }
    }

    /// It is there again.
    pub(super) fn answered(&self) {
        let mut pause = self.lock();
        if pause
            .as_ref()
            .is_some_and(|p| p.failures > 0 || p.until <= Instant::now())
        {
            *pause = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Pause>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
