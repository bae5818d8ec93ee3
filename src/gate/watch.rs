//! Keeping open proposals' statuses and comments right, for as long as the reconciler runs.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;

use super::{Gate, GateError};
use crate::forge::{Forge, Proposal};
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
        let number = proposal.number;
        // One that can't be judged keeps no other from being judged.
        if let Err(error) = publish_one(gate, forge, proposal, seen).await {
            tracing::warn!(
                proposal = number,
                error = &error as &dyn std::error::Error,
                "a proposal could not be judged; tried again on the next poll"
            );
        }
    }
    Ok(())
}

async fn publish_one(
    gate: &Gate,
    forge: &dyn Forge,
    proposal: Proposal,
    seen: &mut BTreeMap<u64, Seen>,
) -> Result<(), GateError> {
    let number = proposal.number;
    let now = Seen {
        base: proposal.base,
        head: proposal.head,
        reviews: forge.reviews(number).await?.len(),
        hour: gate.clock.now().as_second() / 3600,
    };
    if seen.get(&number) != Some(&now) {
        gate.judge_and_publish(number).await?;
        seen.insert(number, now);
    }
    Ok(())
}
