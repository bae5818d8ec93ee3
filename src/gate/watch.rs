//! Keeping open proposals' statuses and comments right, for as long as the reconciler runs.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;

use super::{Gate, GateError};
use crate::forge::Forge;
use crate::ids::Revision;

/// What a proposal looked like when it was judged last: judged again when any of it is another.
#[derive(PartialEq, Eq)]
struct Seen {
    base: Revision,
    head: Revision,
    reviews: usize,
    /// Freezes begin and end and grants expire: judged again each hour whatever happens.
    hour: i64,
}

/// Judges and publishes open proposals until `stop` becomes true: at once when something is pushed, and on every poll what changed.
pub async fn keep_published(
    gate: &Gate,
    forge: &dyn Forge,
    poll: Duration,
    mut pushed: watch::Receiver<u64>,
    mut stop: watch::Receiver<bool>,
) {
    let mut seen: BTreeMap<u64, Seen> = BTreeMap::new();
    let mut watched = true;
    while !*stop.borrow() {
        if let Err(error) = publish_open(gate, forge, &mut seen).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "proposals could not be judged; tried again on the next poll"
            );
        }
        tokio::select! {
            _ = stop.changed() => {}
            changed = pushed.changed(), if watched => watched = changed.is_ok(),
            () = tokio::time::sleep(poll) => {}
        }
    }
}

async fn publish_open(
    gate: &Gate,
    forge: &dyn Forge,
    seen: &mut BTreeMap<u64, Seen>,
) -> Result<(), GateError> {
    let open = forge.proposals(false).await?;
    seen.retain(|number, _| open.iter().any(|p| p.number == *number));
    for proposal in open {
        let now = Seen {
            base: proposal.base.clone(),
            head: proposal.head.clone(),
            reviews: forge.reviews(proposal.number).await?.len(),
            hour: gate.clock.now().as_second() / 3600,
        };
        if seen.get(&proposal.number) == Some(&now) {
            continue;
        }
        gate.judge_and_publish(proposal.number).await?;
        seen.insert(proposal.number, now);
    }
    Ok(())
}
