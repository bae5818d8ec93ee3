//! Plans: the creates, updates and deletes that turn what a system has into what it should have.
//!
//! `diff` compares two states; [`Plan`] carries the changes of every system with the digest that approvals and releases
//! are bound to. Pure: a plan is a value, and making one cannot write anywhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::config::FieldModes;
use crate::ids::{Digest, DocPath, PlanDigest, ResourceRef, Revision, SystemName};
use crate::resource::dating::When;
use crate::resource::{Bundle, Direction, Kind};
use crate::state::{DigestOf, Item, Spec, State};

mod diff;
pub mod fields;
pub mod safety;

pub use diff::{apply, diff};

#[cfg(test)]
mod tests;

/// What is done to a resource. Deletes come first wherever changes are listed: they are what a reader must not miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    Delete,
    Create,
    Update,
}

/// One step of a plan. `before` is absent for a create, `after` for a delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub op: Op,
    pub id: ResourceRef,
    pub before: Option<Arc<Item>>,
    pub after: Option<Arc<Item>>,
    pub direction: Direction,
    /// The document it comes from: of `after`, or of `before` where it was deleted; unknown for what was never in the repo.
    pub origin: Option<Origin>,
}

/// Where in the config repo a change comes from. The line is filled in for changes that are shown, since finding it costs
/// a second reading of the document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    pub document: DocPath,
    pub line: Option<u32>,
}

impl Change {
    /// A change with its operation and direction worked out. `None` where the two contents are the same.
    pub fn between(
        before: Option<Arc<Item>>,
        after: Option<Arc<Item>>,
        direction: impl Fn(Option<&Spec>, Option<&Spec>) -> Direction,
    ) -> Option<Self> {
        let (op, id) = match (&before, &after) {
            (None, None) => return None,
            (Some(b), Some(a)) if b.spec == a.spec => return None,
            (Some(_), Some(a)) => (Op::Update, a.id.clone()),
            (None, Some(a)) => (Op::Create, a.id.clone()),
            (Some(b), None) => (Op::Delete, b.id.clone()),
        };
        let direction = direction(
            before.as_deref().map(|i| &i.spec),
            after.as_deref().map(|i| &i.spec),
        );
        Some(Self {
            op,
            id,
            before,
            after,
            direction,
            origin: None,
        })
    }

    /// The change that takes this one back.
    #[must_use]
    pub fn reversed(&self) -> Self {
        Self {
            op: match self.op {
                Op::Delete => Op::Create,
                Op::Create => Op::Delete,
                Op::Update => Op::Update,
            },
            id: self.id.clone(),
            before: self.after.clone(),
            after: self.before.clone(),
            direction: self.direction.reversed(),
            origin: self.origin.clone(),
        }
    }
}

/// The direction of a change of this kind. A kind that is not known (left on a system by an older revision) is neutral.
pub fn direction_of(
    kind: Option<&Arc<dyn Kind>>,
    before: Option<&Spec>,
    after: Option<&Spec>,
) -> Direction {
    kind.map_or(Direction::Neutral, |kind| {
        kind.direction(
            before.map(Spec::value).as_ref(),
            after.map(Spec::value).as_ref(),
        )
    })
}

/// One system's changes, with the state they start from and the one they lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemPlan {
    /// The digest of the state it was planned on; a system that has another one refuses.
    pub base: DigestOf,
    /// The digest when all changes are done.
    pub target: DigestOf,
    /// Deletes first, then by name.
    pub changes: Vec<Change>,
    /// How many resources of each kind the system has before: what ceilings are percentages of.
    pub existing: BTreeMap<String, usize>,
}

impl SystemPlan {
    /// What turns `observed` into `desired`. `kinds` gives directions, `bundle` the documents.
    pub fn new(desired: &State, observed: &State, bundle: &Bundle) -> Self {
        Self::ruled(desired, observed, bundle, bundle)
    }

    /// The same with directions by the kinds of another revision, as far as it has them: what a proposal changes is judged by its base.
    fn ruled(desired: &State, observed: &State, bundle: &Bundle, rules: &Bundle) -> Self {
        let mut changes = diff(observed, desired, |id, before, after| {
            let kind = rules.kind(id.kind()).or_else(|| bundle.kind(id.kind()));
            direction_of(kind, before, after)
        });
        for change in &mut changes {
            change.origin = bundle.get(&change.id).map(|r| Origin {
                document: r.document.clone(),
                line: None,
            });
        }
        Self {
            base: observed.into(),
            target: desired.into(),
            changes,
            existing: observed.counts(),
        }
    }

    pub fn count(&self, op: Op) -> usize {
        self.changes.iter().filter(|c| c.op == op).count()
    }

    /// The plan that takes this one back.
    #[must_use]
    pub fn reversed(&self) -> Self {
        let mut changes: Vec<Change> = self.changes.iter().map(Change::reversed).collect();
        diff::order(&mut changes);
        Self {
            base: self.target.clone(),
            target: self.base.clone(),
            changes,
            existing: BTreeMap::new(),
        }
    }
}

/// What a system should have and had, where some fields are not Lockstep's to write there.
fn yielded(
    system: &SystemName,
    desired: State,
    had: State,
    before: Option<&Bundle>,
    after: &Bundle,
) -> (State, State) {
    let none = FieldModes::default();
    let of = |bundle: &'_ Bundle| bundle.config.systems.get(system).map(|s| s.fields.clone());
    let (was, is) = (
        before.and_then(of).unwrap_or_default(),
        of(after).unwrap_or_default(),
    );
    if was == none && is == none {
        return (desired, had);
    }
    let had = fields::written(&had, &was, &is);
    (fields::settled(&desired, &had, &is), had)
}

/// The changes of all systems for one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub revision: Option<Revision>,
    pub systems: BTreeMap<SystemName, SystemPlan>,
}

impl Plan {
    /// From one revision to another, without asking any system: what a proposal changes. `before` is `None` for an empty world.
    ///
    /// Compared is what is written, whatever its dates say: approvals are bound to this plan and policies judge it, so what a proposal lets begin
    /// next month has to be a change in it, with its `from` and `until` in the spec. What of it happens when it is merged is
    /// [`Plan::between_at`].
    pub fn between(before: Option<&Bundle>, after: &Bundle) -> Self {
        Self::compare(before, after, When::Written)
    }

    /// The same of what holds at a moment: what would be done on systems that are as the earlier revision says.
    pub fn between_at(before: Option<&Bundle>, after: &Bundle, now: Timestamp) -> Self {
        Self::compare(before, after, When::At(now))
    }

    fn compare(before: Option<&Bundle>, after: &Bundle, when: When) -> Self {
        let mut systems = BTreeMap::new();
        let names = after
            .config
            .systems
            .keys()
            .chain(before.iter().flat_map(|b| b.config.systems.keys()));
        for (system, desired) in after.project_all(names, when) {
            let had = before.map(|b| b.project_after(&system, when, after, &desired));
            let had = had.unwrap_or_default();
            let (desired, had) = yielded(&system, desired, had, before, after);
            let mut plan = SystemPlan::ruled(&desired, &had, after, before.unwrap_or(after));
            for change in plan.changes.iter_mut().filter(|c| c.origin.is_none()) {
                change.origin = before.and_then(|b| b.get(&change.id)).map(|r| Origin {
                    document: r.document.clone(),
                    line: None,
                });
            }
            systems.insert(system, plan);
        }
        Self {
            revision: after.revision.clone(),
            systems,
        }
    }

    /// Whether there is nothing to do anywhere.
    pub fn is_empty(&self) -> bool {
        self.systems.values().all(|s| s.changes.is_empty())
    }

    /// How many changes of this sort there are on all systems.
    pub fn count(&self, op: Op) -> usize {
        self.systems.values().map(|s| s.count(op)).sum()
    }

    /// The digest over what would be done: systems, operations, names, contents before and after. Not over revisions or state
    /// digests, so that the same changes on a moved base keep their approvals.
    pub fn digest(&self) -> PlanDigest {
        let mut hash = Sha256::new();
        for (system, plan) in &self.systems {
            for change in &plan.changes {
                let content = |item: &Option<Arc<Item>>| {
                    item.as_ref().map_or([0; 32], |i| *i.digest().as_bytes())
                };
                hash.update(system.as_str());
                hash.update(b" ");
                hash.update(change.id.as_str());
                hash.update(b" ");
                hash.update(content(&change.before));
                hash.update(content(&change.after));
                hash.update(b"\n");
            }
        }
        PlanDigest(Digest::from_bytes(hash.finalize().into()))
    }

    /// Whether everything this plan does was in `approved` already, change for change: then its approvals still hold.
    pub fn is_within(&self, approved: &Plan) -> bool {
        self.systems.iter().all(|(system, plan)| {
            plan.changes.is_empty()
                || approved.systems.get(system).is_some_and(|known| {
                    plan.changes.iter().all(|c| {
                        known
                            .changes
                            .iter()
                            .any(|k| k.before == c.before && k.after == c.after)
                    })
                })
        })
    }

    /// The same change on several systems as one, in the order in which changes are shown.
    pub fn grouped(&self) -> Vec<GroupedChange<'_>> {
        let mut groups: BTreeMap<_, GroupedChange<'_>> = BTreeMap::new();
        for (system, plan) in &self.systems {
            for change in &plan.changes {
                let content = |item: &Option<Arc<Item>>| item.as_ref().map(|i| i.spec.clone());
                groups
                    .entry((
                        change.op,
                        &change.id,
                        content(&change.before),
                        content(&change.after),
                    ))
                    .or_insert_with(|| GroupedChange {
                        change,
                        systems: Vec::new(),
                    })
                    .systems
                    .push(system);
            }
        }
        groups.into_values().collect()
    }
}

/// One change and the systems it is made on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupedChange<'a> {
    pub change: &'a Change,
    pub systems: Vec<&'a SystemName>,
}
