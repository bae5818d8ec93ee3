//! What goes wrong on demand.

use std::time::Duration;

use serde_json::Value;

/// Comes in the place of an answer, or does something to it.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// This status and body; the emulator is not asked.
    Status(u16, Value),
    /// 403 that asks to wait so many seconds.
    SecondaryLimit { retry_after: u64 },
    /// 429 that asks to wait so many seconds.
    TooMany { retry_after: u64 },
    /// 403 with nothing left in this hour; in so many seconds there is again.
    PrimaryLimit { reset: i64 },
    /// The true answer as far as the middle of its body, and the end of the connection.
    DropMidBody,
    /// The true answer, but its next page is this page again.
    RepeatPage,
    /// The true answer, with a clock that is wrong by so many seconds.
    WrongClock(i64),
    /// 301 to the repository's number, as after a rename.
    Renamed,
    /// Closes this connection and every other, until `Hub::up`.
    Down,
    /// The true answer, after so long.
    Slow(Duration),
    /// The request is done, and its answer lost.
    DoneAndLost,
}

/// Which requests it comes for: the method (empty: any), a piece of the path and query, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) times: usize,
    pub(crate) what: What,
}

impl Fault {
    /// Every time, until `Hub::heal`.
    pub(crate) fn new(method: &'static str, path: &'static str, what: What) -> Self {
        Self {
            method,
            path,
            times: usize::MAX,
            what,
        }
    }

    pub(crate) fn once(method: &'static str, path: &'static str, what: What) -> Self {
        Self::new(method, path, what).times(1)
    }

    pub(crate) fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }
}

/// The fault that this request meets, counted down.
pub(super) fn meets(faults: &mut [Fault], method: &str, target: &str) -> Option<What> {
    let fault = faults.iter_mut().find(|fault| {
        fault.times > 0
            && (fault.method.is_empty() || fault.method == method)
            && target.contains(fault.path)
    })?;
    fault.times -= 1;
    Some(fault.what.clone())
}
