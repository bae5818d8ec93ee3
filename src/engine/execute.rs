//! Carrying out a run: the protocol says what to do next, this does it and reports back what it heard.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::FuturesUnordered;
use serde_json::Value;
use tokio::time::Instant;

use super::observe::Link;
use super::{Engine, EngineError};
use crate::config::Group;
use crate::connector::{Apply, Changeset, Seen};
use crate::ids::{Digest, Fence, RunId, Stage, SystemName};
use crate::protocol::{self, Answer, Call, Effect, Event, LONGEST_BACKOFF};
use crate::record::{Condition, ConnectorError, Decision, MemberState, Phase, Run};
use crate::state::state_digest;
use crate::store::{Reach, RunRow, Store, StoredRun};

/// What the end of a run says besides what the run itself knows.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// All systems of the group: those without a share in the run stand somewhere too.
    pub(super) systems: BTreeSet<SystemName>,
    /// What systems were observed with that have no share.
    pub(super) digests: BTreeMap<SystemName, Digest>,
    /// Systems that are left with what somebody else changed on them.
    pub(super) adrift: BTreeMap<SystemName, Condition>,
}

impl Ending {
    pub(super) fn of(group: &Group) -> Self {
        Self {
            systems: group.systems.clone(),
            ..Self::default()
        }
    }
}

/// Why a run that is left open is not over.
pub(super) fn unfinished(run: &Run) -> String {
    let waits: Vec<String> = run
        .conditions()
        .iter()
        .map(|(system, condition)| format!("{system}: {}", condition.message))
        .collect();
    format!(
        "not over yet, and taken up again: {}; {WAITS_TOO}",
        waits.join("; ")
    )
}

/// Taking back ends by finding each system as it was before the run: what went there meanwhile, however urgent, would be found instead.
const WAITS_TOO: &str = "until then nothing else goes to this group, urgent changes neither: see that its systems answer";

/// Where the systems of a run stand that is left open.
pub(super) fn open_conditions(run: &Run) -> BTreeMap<SystemName, Condition> {
    let mut conditions = run.conditions();
    for condition in conditions.values_mut() {
        condition.message.push_str("; ");
        condition.message.push_str(WAITS_TOO);
    }
    conditions
}

/// Systems by name, as connected for this run.
pub(super) type Links = BTreeMap<SystemName, Arc<Link>>;

/// Reads a run back from the store, as it was when its last decision was taken.
pub(super) fn restore(stored: &StoredRun) -> Result<Run, EngineError> {
    let body = stored
        .decisions
        .last()
        .map_or(&stored.run.body, |d| &d.body);
    serde_json::from_value(body.clone()).map_err(|e| EngineError::Unreadable {
        run: stored.run.id.to_string(),
        why: e.to_string(),
    })
}

/// The run as the store keeps it.
pub(super) fn row(run: &Run) -> RunRow {
    RunRow {
        id: run.id,
        group: run.group.clone(),
        revision: run.revision.clone(),
        fence: run.fence,
        reach: if run.scope.is_whole() {
            Reach::Whole
        } else {
            Reach::Urgent
        },
        body: body(run),
    }
}

fn body(run: &Run) -> Value {
    // A run is made of strings, numbers and JSON, so it always has a JSON form.
    serde_json::to_value(run).unwrap_or(Value::Null)
}

impl Engine {
    /// Drives a run until it is over, until a newer holder of the lease has it, or until its time is up: one that is left open is
    /// taken up by the next pass. It is given up early where it keeps one of the `hurried` systems, which is ready, from its urgent changes.
    pub(super) async fn carry_out(
        &self,
        mut run: Run,
        effects: Vec<Effect>,
        links: &Links,
        ending: &Ending,
        hurried: &BTreeSet<SystemName>,
    ) -> Result<Run, EngineError> {
        let mut todo: VecDeque<Effect> = effects.into();
        let mut waiting: FuturesUnordered<BoxFuture<'_, Event>> = FuturesUnordered::new();
        let mut deadline: Option<(Phase, Instant)> = None;
        let mut patient_until = Instant::now() + self.timing.urgent;
        let mut is_cut = false;
        let mut renewal = Instant::now() + self.timing.lease / 3;
        let mut trusted_until = Instant::now() + self.trusted();
        loop {
            while let Some(effect) = todo.pop_front() {
                let event = match effect {
                    Effect::Save => {
                        self.store.save_run(&row(&run)).await?;
                        Some(Event::Saved)
                    }
                    Effect::Decide(decision) => {
                        self.store
                            .record_decision(
                                run.id,
                                run.fence,
                                name(decision),
                                &body(&run),
                                self.clock.now(),
                            )
                            .await?;
                        Some(Event::Decided(decision))
                    }
                    Effect::Arm(phase) => {
                        let time = match is_cut {
                            // Who has prepared answers at once; what the others may have staged is harmless.
                            true => self.time_for(phase).min(self.timing.urgent),
                            false => self.time_for(phase),
                        };
                        deadline = Some((phase, Instant::now() + time));
                        patient_until = Instant::now() + self.timing.urgent;
                        None
                    }
                    Effect::Ask {
                        system,
                        call,
                        attempt,
                    } => {
                        // A process that stood still meanwhile asks nothing before it knows that the group is still its own.
                        if trusted_until <= Instant::now() && !self.is_still_ours(&run).await? {
                            return Ok(run);
                        }
                        trusted_until = trusted_until.max(Instant::now());
                        waiting.push(ask(&run, system, call, attempt, links));
                        None
                    }
                    Effect::Finish(_) => {
                        self.finish(&run, ending).await?;
                        None
                    }
                    Effect::Yield { system } => {
                        tracing::warn!(run.id = %run.id, system.name = %system, "a newer fence was seen: the run is left to its new holder");
                        return Ok(run);
                    }
                };
                if let Some(event) = event {
                    run = self.advance(run, event, &mut todo);
                }
            }
            if run.outcome.is_some() {
                return Ok(run);
            }
            let (phase, at) =
                deadline.unwrap_or_else(|| (run.phase, Instant::now() + self.timing.commit));
            let event = tokio::select! {
                biased;
                // First, so that a process that stood still hears that the group has passed on before anything it waited for goes out.
                () = tokio::time::sleep_until(renewal) => {
                    let asked = Instant::now();
                    if !self.renew(&run).await? {
                        return Ok(run);
                    }
                    renewal = asked + self.timing.lease / 3;
                    trusted_until = asked + self.trusted();
                    continue;
                }
                Some(event) = waiting.next() => event,
                () = tokio::time::sleep_until(at) => {
                    deadline = None;
                    if phase == Phase::Compensating {
                        // Who is still to be taken back is asked again by the next pass: a dead system must not keep this one.
                        run = self.advance(run, Event::Deadline(phase), &mut todo);
                        if run.outcome.is_none() {
                            return Ok(run);
                        }
                        continue;
                    }
                    // What was asked in this phase is not waited for any more; the next phase asks anew.
                    waiting.clear();
                    Event::Deadline(phase)
                }
                () = tokio::time::sleep_until(patient_until), if keeps_waiting(&run, hurried) => {
                    is_cut = true;
                    waiting.clear();
                    Event::Deadline(Phase::Preparing)
                }
            };
            run = self.advance(run, event, &mut todo);
        }
    }

    fn advance(&self, run: Run, event: Event, todo: &mut VecDeque<Effect>) -> Run {
        tracing::debug!(run.id = %run.id, ?event, "heard");
        let (run, effects) = protocol::step(run, event, self.clock.now());
        todo.extend(effects);
        run
    }

    fn time_for(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Planned | Phase::Preparing | Phase::Aborting => self.timing.prepare,
            Phase::Deciding
            | Phase::Committing
            | Phase::Verifying
            | Phase::Compensating
            | Phase::Finished
            | Phase::Yielded => self.timing.commit,
        }
    }

    async fn is_still_ours(&self, run: &Run) -> Result<bool, EngineError> {
        let lease = Store::group_lease(&run.group);
        Ok(self.is_kept(&lease, run.fence) || self.renew(run).await?)
    }

    async fn renew(&self, run: &Run) -> Result<bool, EngineError> {
        let lease = Store::group_lease(&run.group);
        let kept = self
            .store
            .renew(
                &lease,
                &self.holder,
                run.fence,
                self.clock.now(),
                self.timing.lease,
            )
            .await?;
        if !kept {
            tracing::warn!(run.id = %run.id, "the lease has passed on: the run is left to its new holder");
        }
        Ok(kept)
    }
}

/// Whether one of these systems is ready, and the run waits for another to prepare.
fn keeps_waiting(run: &Run, hurried: &BTreeSet<SystemName>) -> bool {
    let is_ready = |system| {
        let member = run.members.get(system);
        member.is_some_and(|m| m.state == MemberState::Prepared)
    };
    run.phase == Phase::Preparing && hurried.iter().any(is_ready)
}

fn name(decision: Decision) -> &'static str {
    match decision {
        Decision::Commit => "commit",
        Decision::Compensate => "compensate",
    }
}

/// One request to one system, after its backoff.
fn ask<'a>(
    run: &Run,
    system: SystemName,
    call: Call,
    attempt: u8,
    links: &'a Links,
) -> BoxFuture<'a, Event> {
    let Some(link) = links.get(&system) else {
        let message = format!("{system} is not defined on the main branch any more");
        return std::future::ready(Event::Answered(
            system,
            failed(call, ConnectorError::Terminal { message }),
        ))
        .boxed();
    };
    let (id, fence) = (run.id, run.fence);
    let forward = changeset(run, &system, Stage::Forward, link.owner());
    let undo = changeset(run, &system, Stage::Undo, link.owner());
    async move {
        if attempt > 0 {
            tokio::time::sleep(backoff(attempt)).await;
        }
        let answer = match (forward, undo) {
            (Some(forward), Some(undo)) => {
                call_system(
                    &**link.connector(),
                    call,
                    id,
                    fence,
                    &system,
                    &forward,
                    &undo,
                )
                .await
            }
            _ => failed(
                call,
                ConnectorError::Terminal {
                    message: format!("{system} has no share in this run"),
                },
            ),
        };
        Event::Answered(system, answer)
    }
    .boxed()
}

async fn call_system(
    connector: &dyn Apply,
    call: Call,
    run: RunId,
    fence: Fence,
    system: &SystemName,
    forward: &Changeset,
    undo: &Changeset,
) -> Answer {
    let id = run.changeset(system, Stage::Forward);
    match call {
        Call::Prepare => Answer::Prepared(connector.prepare(forward).await.map(|_| ())),
        Call::Commit => Answer::Committed(connector.commit(&id, fence).await),
        Call::Abort => Answer::Aborted(connector.abort(&id, fence).await),
        Call::Undo => Answer::Undone(match connector.prepare(undo).await {
            Ok(_) => connector.commit(&undo.id, fence).await,
            Err(error) => Err(error),
        }),
        Call::Observe(stage) => {
            let share = match stage {
                Stage::Forward => forward,
                Stage::Undo => undo,
            };
            Answer::Observed(stage, digest_now(connector, share).await)
        }
    }
}

/// The digest that a system's state really has, as far as the changeset touched it: a system may answer the right digest and hold
/// something else, so the buckets with changes are read and hashed here.
async fn digest_now(connector: &dyn Apply, share: &Changeset) -> Result<Digest, ConnectorError> {
    let Seen::Digests {
        digest,
        mut buckets,
        ..
    } = connector.digests(None).await?
    else {
        let message = "says that nothing changed, but was not told since when".to_owned();
        return Err(ConnectorError::Terminal { message });
    };
    if digest != share.target {
        return Ok(digest);
    }
    let touched: BTreeSet<u8> = share
        .changes
        .iter()
        .filter_map(|c| c.after.as_ref().or(c.before.as_ref()))
        .map(|i| i.bucket)
        .collect();
    let touched: Vec<u8> = touched.into_iter().collect();
    let mut read: BTreeMap<u8, Vec<_>> = touched.iter().map(|b| (*b, Vec::new())).collect();
    for item in connector.items(&touched).await? {
        if let Some(bucket) = read.get_mut(&item.bucket) {
            bucket.push(item);
        }
    }
    for (index, items) in read {
        if let Some(place) = buckets.get_mut(usize::from(index)) {
            *place = crate::state::Bucket::new(items).digest();
        }
    }
    Ok(state_digest(buckets))
}

fn changeset(
    run: &Run,
    system: &SystemName,
    stage: Stage,
    owner: Option<Arc<str>>,
) -> Option<Changeset> {
    let share = run.members.get(system)?.share(stage);
    Some(Changeset {
        id: run.id.changeset(system, stage),
        revision: run.revision.clone(),
        base: share.base.get(),
        target: share.target.get(),
        fence: run.fence,
        owner,
        changes: share.changes,
    })
}

fn failed(call: Call, error: ConnectorError) -> Answer {
    match call {
        Call::Prepare => Answer::Prepared(Err(error)),
        Call::Commit => Answer::Committed(Err(error)),
        Call::Abort => Answer::Aborted(Err(error)),
        Call::Undo => Answer::Undone(Err(error)),
        Call::Observe(stage) => Answer::Observed(stage, Err(error)),
    }
}

/// 1 s doubling to 3 min, of which a random part between half and all.
pub(super) fn backoff(attempt: u8) -> Duration {
    let doubled = 1_u64 << attempt.saturating_sub(1).min(LONGEST_BACKOFF);
    let longest = Duration::from_secs(doubled).min(Duration::from_secs(180));
    let random = f64::from(
        uuid::Uuid::new_v4()
            .as_bytes()
            .first()
            .copied()
            .unwrap_or(0),
    ) / 255.0;
    longest.mul_f64(0.5 + random / 2.0)
}
