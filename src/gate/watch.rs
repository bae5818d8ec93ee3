//! Keeping open proposals' statuses and comments right, for as long as the reconciler runs.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Gate, GateError};
use crate::forge::{Forge, Proposal};
use crate::ids::Revision;
use crate::store::Duty;

/// What a proposal looked like when it was judged last: judged again when any of it is another.
#[derive(PartialEq, Eq)]
struct Seen {
    base: Revision,
    head: Revision,
    /// How many proposals have that head.
    beside: usize,
    labels: Vec<String>,
    /// How many commands were given on it.
    said: usize,
    activity: Activity,
    /// Freezes begin and end and grants expire: judged again each hour whatever happens.
    hour: i64,
}

/// Whether anybody reviewed it meanwhile.
#[derive(PartialEq, Eq)]
enum Activity {
    /// The forge's own word for when anything changed, and whether that was looked into.
    Since(Timestamp),
    Reviews(usize),
}

/// A proposal that was judged.
struct Judged {
    seen: Seen,
    /// When it was first seen so.
    since: Instant,
    settled: bool,
}

/// How fine a forge's times are, and a little more.
const MOMENT: Duration = Duration::from_secs(2);

/// Judges and publishes open proposals until `stop` becomes true: at once when something is pushed, and on every poll what changed.
pub async fn keep_published(
    gate: &Gate,
    forge: &dyn Forge,
    duty: &Duty,
    poll: Duration,
    mut pushed: watch::Receiver<u64>,
    mut stop: watch::Receiver<bool>,
) {
    let mut seen: BTreeMap<u64, Judged> = BTreeMap::new();
    let mut watched = true;
    while !*stop.borrow() {
        // What comes while it looks is a reason to look again.
        pushed.mark_unchanged();
        let is_ours = duty.is_ours(gate.clock.now()).await;
        match &is_ours {
            Ok(true) => {}
            // Whoever does it now may leave it to this process again: with what it says by then.
            Ok(false) => seen.clear(),
            Err(error) => tracing::warn!(
                error = error as &dyn std::error::Error,
                "proposals are not judged while the store does not answer"
            ),
        }
        if !is_ours.unwrap_or(false) {
            pause(poll, &mut pushed, &mut watched, &mut stop).await;
            continue;
        }
        if let Err(error) = publish_open(gate, forge, &mut seen).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "proposals could not be judged; tried again on the next poll"
            );
        }
        if let Err(error) = gate.publish_queue().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the merge queue could not be judged; tried again on the next poll"
            );
        }
        pause(poll, &mut pushed, &mut watched, &mut stop).await;
    }
}

/// Until the next poll, a push or the end.
async fn pause(
    poll: Duration,
    pushed: &mut watch::Receiver<u64>,
    watched: &mut bool,
    stop: &mut watch::Receiver<bool>,
) {
    tokio::select! {
        _ = stop.changed() => {}
        changed = pushed.changed(), if *watched => *watched = changed.is_ok(),
        () = tokio::time::sleep(poll) => {}
    }
}

async fn publish_open(
    gate: &Gate,
    forge: &dyn Forge,
    seen: &mut BTreeMap<u64, Judged>,
) -> Result<(), GateError> {
    let open = forge.proposals(false).await?;
    // What can't be written down now is found again on the next poll, and keeps nothing from being judged.
    if let Err(error) = gate.record_ended(&open).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "what became of proposals is not in the ledger yet"
        );
    }
    if let Err(error) = gate.record_passed().await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "what reached the main branch is not in the ledger yet"
        );
    }
    seen.retain(|number, _| open.iter().any(|p| p.number == *number));
    let mut by_head: BTreeMap<Revision, Vec<Proposal>> = BTreeMap::new();
    for proposal in open {
        let together = by_head.entry(proposal.head.clone()).or_default();
        together.push(proposal);
    }
    for (head, together) in by_head {
        // What can't be judged keeps nothing else from being judged.
        if let Err(error) = publish(gate, forge, together, seen).await {
            tracing::warn!(
                %head,
                error = &error as &dyn std::error::Error,
                "a proposal could not be judged; tried again on the next poll"
            );
        }
    }
    Ok(())
}

/// Publishes the proposals of one head, if anything of any is new.
async fn publish(
    gate: &Gate,
    forge: &dyn Forge,
    together: Vec<Proposal>,
    seen: &mut BTreeMap<u64, Judged>,
) -> Result<(), GateError> {
    let mut fresh = Vec::new();
    let mut is_news = false;
    for proposal in &together {
        let number = proposal.number;
        let said = gate.said(number).await?;
        let now = Seen {
            base: proposal.base.clone(),
            head: proposal.head.clone(),
            beside: together.len(),
            labels: proposal.labels.clone(),
            said: said.iter().filter(|said| said.is_shown()).count(),
            activity: match proposal.updated_at {
                Some(at) => Activity::Since(at),
                None => Activity::Reviews(forge.reviews(number).await?.len()),
            },
            hour: gate.clock.now().as_second() / 3600,
        };
        let known = seen.get(&number).filter(|judged| judged.seen == now);
        is_news |= !known.is_some_and(|judged| judged.settled);
        let since = known.map_or_else(Instant::now, |judged| judged.since);
        // Looked at once more where something else may have happened within the moment that the forge's time tells.
        let settled = matches!(now.activity, Activity::Reviews(_)) || since.elapsed() >= MOMENT;
        let judged = Judged {
            seen: now,
            since,
            settled,
        };
        fresh.push((number, judged));
    }
    if !is_news {
        return Ok(());
    }
    if let [_] = together.as_slice() {
        for proposal in together {
            gate.publish_judged(proposal).await?;
        }
    } else {
        gate.publish_together(together).await?;
    }
    seen.extend(fresh);
    Ok(())
}
