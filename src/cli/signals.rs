//! SIGTERM and Ctrl-C: the first asks to finish what is in hand, the second ends it at once.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::talk;

/// From the first signal until the process ends whatever is still going on. Longer than the engine gives a pass and its leases, and with
/// [`super::wait_for`]'s own limit still less than the ten seconds after which init systems kill.
const LATEST: Duration = Duration::from_secs(8);

/// Both signals, listened for from the moment that this is made: none is lost in between.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next of either.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Passes the first signal on through `stop`. Ends with the second, or when there is no time left.
    pub(crate) async fn obey(mut self, stop: &watch::Sender<bool>) {
        self.next().await;
        talk("lockstep: finishing what is in hand; once more ends it at once");
        stop.send_replace(true);
        tokio::select! {
            () = self.next() => {}
            () = tokio::time::sleep(LATEST) => {}
        }
    }
}
