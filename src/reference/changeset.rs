//! What a system decides about a changeset, as pure functions: what it accepts, what it answers to a repetition, and what
//! the state becomes.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::problem::Problem;
use crate::ids::{ChangesetId, Digest, Fence, KindName, ResourceRef, Revision};
use crate::plan::Op;
use crate::state::{Bucket, Item, Spec, State};
use crate::system_api::{
    ChangesetStatus, PrepareRequest, WireChange, WireReason, op_from_word, op_word,
};

/// One change, its words understood. `item` is what the resource becomes; `None` deletes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) op: Op,
    pub(super) id: ResourceRef,
    pub(super) item: Option<Arc<Item>>,
}

/// A changeset as it was sent. Changes that make no sense by themselves are kept as reasons, since the fence, the id and the base are
/// judged before them.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) id: ChangesetId,
    pub(super) revision: Revision,
    pub(super) base: Digest,
    pub(super) target: Digest,
    pub(super) fence: Fence,
    /// The mark of whoever sends it.
    pub(super) owner: Option<String>,
    pub(super) steps: Result<Vec<Step>, Vec<WireReason>>,
    /// Of everything but the fence: after a change of leader the same changeset comes again with a newer one.
    pub(super) content: Digest,
}

/// What the system remembers of a changeset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) status: ChangesetStatus,
    /// Absent for one that was aborted before it was ever seen.
    pub(super) content: Option<Digest>,
}

/// What to do with a prepare that is in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    Stage(&'a [Step]),
    Already(ChangesetStatus),
}

/// Understands a request's words. `kinds` are those the system takes; empty for all.
pub(super) fn read(
    id: ChangesetId,
    request: PrepareRequest<'_, Value>,
    kinds: &BTreeSet<KindName>,
) -> Sent {
    let PrepareRequest {
        revision,
        base_digest,
        target_digest,
        fence,
        owner,
        changes,
    } = request;
    let mut steps = Vec::with_capacity(changes.len());
    let mut reasons = Vec::new();
    let mut names = BTreeSet::new();
    for change in &changes {
        match read_change(change, kinds) {
            Ok(step) if names.insert(step.id.clone()) => steps.push(step),
            Ok(_) => reasons.push(reason(
                change,
                "is changed twice in this changeset; send one change for each resource".to_owned(),
            )),
            Err(message) => reasons.push(reason(change, message)),
        }
    }
    let mut hash = Sha256::new();
    hash.update(format!("{revision} {base_digest} {target_digest}\n"));
    for step in &steps {
        hash.update(op_word(step.op));
        hash.update(b" ");
        hash.update(step.id.as_str());
        hash.update(b" ");
        hash.update(
            step.item
                .as_ref()
                .map_or([0; 32], |i| *i.digest().as_bytes()),
        );
    }
    Sent {
        id,
        revision,
        base: base_digest,
        target: target_digest,
        fence,
        owner: owner.map(Cow::into_owned),
        steps: if reasons.is_empty() {
            Ok(steps)
        } else {
            Err(reasons)
        },
        content: Digest::from_bytes(hash.finalize().into()),
    }
}

fn reason(change: &WireChange<'_, Value>, message: String) -> WireReason {
    WireReason {
        kind: change.kind.clone().into_owned(),
        name: change.name.clone().into_owned(),
        message,
    }
}

fn read_change(change: &WireChange<'_, Value>, kinds: &BTreeSet<KindName>) -> Result<Step, String> {
    let op = op_from_word(&change.op).ok_or_else(|| {
        format!(
            "{:?} is no operation; expected create, update or delete",
            change.op
        )
    })?;
    let id = ResourceRef::new(&change.kind, &change.name).map_err(|e| e.to_string())?;
    if !kinds.is_empty() && !kinds.contains(&*change.kind) {
        return Err(format!(
            "this system takes no {}; it takes {}",
            change.kind,
            join(kinds)
        ));
    }
    let item = match (op, &change.spec) {
        (Op::Create | Op::Update, Some(spec)) => {
            acceptable(&change.kind, spec)?;
            let spec = Spec::from_value(spec).map_err(|e| e.to_string())?;
            Some(Arc::new(Item::new(id.clone(), spec)))
        }
        (Op::Create | Op::Update, None) => return Err(format!("a {} needs a spec", op_word(op))),
        (Op::Delete, None) => None,
        (Op::Delete, Some(_)) => return Err("a delete has no spec".to_owned()),
    };
    Ok(Step { op, id, item })
}

/// What this system cannot live with, whatever the config repo says of it: a real one has its own such rules.
fn acceptable(kind: &str, spec: &Value) -> Result<(), String> {
    if kind != "FeatureFlag" {
        return Ok(());
    }
    match spec.get("rollout") {
        None => Ok(()),
        Some(rollout) if rollout.as_f64().is_some_and(|n| (0.0..=100.0).contains(&n)) => Ok(()),
        Some(rollout) => Err(format!(
            "a rollout is a number from 0 to 100, not {rollout}"
        )),
    }
}

fn join(kinds: &BTreeSet<KindName>) -> String {
    let names: Vec<&str> = kinds.iter().map(KindName::as_str).collect();
    names.join(", ")
}

/// A call from someone who has lost the lease is refused, whatever it asks.
pub(super) fn judge_fence(sent: Fence, seen: Fence) -> Result<(), Problem> {
    if sent < seen {
        Err(Problem::OlderFence { sent, seen })
    } else {
        Ok(())
    }
}

/// Whether a changeset can be staged on this state. The fence has been judged.
pub(super) fn judge_prepare<'a>(
    sent: &'a Sent,
    remembered: Option<Remembered>,
    state: &State,
) -> Result<Verdict<'a>, Problem> {
    if let Some(known) = remembered {
        match known.status {
            ChangesetStatus::Aborted => return Err(Problem::Aborted),
            ChangesetStatus::Staged | ChangesetStatus::Committed
                if known.content != Some(sent.content) =>
            {
                return Err(Problem::OtherContent);
            }
            ChangesetStatus::Committed => return Ok(Verdict::Already(ChangesetStatus::Committed)),
            ChangesetStatus::Staged => {}
        }
    }
    // Also for one that is staged already: nothing has been decided while it is still being prepared, and planning
    // again is better than committing onto a state that nobody looked at.
    if sent.base != state.digest() {
        return Err(Problem::OtherBase {
            planned: sent.base,
            now: state.digest(),
        });
    }
    if remembered.is_some() {
        return Ok(Verdict::Already(ChangesetStatus::Staged));
    }
    let steps = sent.steps.as_ref().map_err(|reasons| Problem::Refused {
        message: format!("{} changes refused", reasons.len()),
        reasons: reasons.clone(),
    })?;
    let reasons: Vec<WireReason> = steps.iter().filter_map(|s| misfit(s, state)).collect();
    if !reasons.is_empty() {
        return Err(Problem::Refused {
            message: format!("{} of {} changes refused", reasons.len(), steps.len()),
            reasons,
        });
    }
    let reached = advance(state, steps).digest();
    if reached != sent.target {
        return Err(Problem::Refused {
            message: format!(
                "the changes lead to the digest {}, not to the target {}",
                reached.short(),
                sent.target.short()
            ),
            reasons: Vec::new(),
        });
    }
    Ok(Verdict::Stage(steps))
}

/// Why an operation does not fit what is there.
fn misfit(step: &Step, state: &State) -> Option<WireReason> {
    let message = match (step.op, state.get(&step.id)) {
        (Op::Create, Some(_)) => "exists already, so it cannot be created",
        (Op::Update, None) => "does not exist, so it cannot be updated",
        (Op::Delete, None) => "does not exist, so it cannot be deleted",
        (Op::Create, None) | (Op::Update | Op::Delete, Some(_)) => return None,
    };
    Some(WireReason {
        kind: step.id.kind().to_owned(),
        name: step.id.name().to_owned(),
        message: message.to_owned(),
    })
}

/// The state after the steps. Only the buckets they touch are made anew. Takes any steps: at a commit the resources may have been
/// changed by others since the prepare, and get their staged content all the same.
pub(super) fn advance(state: &State, steps: &[Step]) -> State {
    let mut touched: BTreeMap<u8, BTreeMap<ResourceRef, Arc<Item>>> = BTreeMap::new();
    for step in steps {
        let index = step.id.bucket();
        let bucket = touched.entry(index).or_insert_with(|| {
            let items = state.buckets().get(usize::from(index));
            let items = items.map_or(&[][..], |b| b.items());
            items.iter().map(|i| (i.id.clone(), i.clone())).collect()
        });
        match &step.item {
            Some(item) => bucket.insert(step.id.clone(), item.clone()),
            None => bucket.remove(&step.id),
        };
    }
    state.with_buckets(touched.into_iter().map(|(index, items)| {
        let items = items.into_values().collect();
        (index, Arc::new(Bucket::new(items)))
    }))
}

/// What a step really does on this state: the operation, and the contents before and after. `None` where it changes nothing.
pub(super) fn effect(step: &Step, state: &State) -> Option<(Op, Option<Spec>, Option<Spec>)> {
    let before = state.get(&step.id).map(|i| i.spec.clone());
    let after = step.item.as_ref().map(|i| i.spec.clone());
    let op = match (&before, &after) {
        (None, None) => return None,
        (Some(b), Some(a)) if b == a => return None,
        (Some(_), Some(_)) => Op::Update,
        (None, Some(_)) => Op::Create,
        (Some(_), None) => Op::Delete,
    };
    Some((op, before, after))
}
