//! The guard: what a plan may do unasked. Ceilings, freezes, modes, the last admin, Lockstep's own access.
//!
//! A breach holds the plan until a named person releases that very plan by its digest. Creates are never limited, so a first sync
//! isn't either. The guard sees changes, kinds and rows and nothing of what a kind means: a kind that is registered tomorrow
//! has its ceilings already.
//!
//! In a small table one row is soon a large share, so there every delete is asked about. Safety does not wait, though: what narrows
//! (a grant revoked, a flag removed) passes up to the share that a table of `small` rows would allow, and is held where it would leave none. So
//! does what ends by its date, such as a block: each of those was acknowledged when the date was.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Change, Op, Plan, SystemPlan, apply};
use crate::config::{Ceiling, Config, Freeze, Mode, Safety};
use crate::ids::{PlanDigest, ResourceRef, SystemName};
use crate::resource::Direction;
use crate::state::State;

mod breach;
mod own;

pub use breach::{Breach, LOST, RELEASERS, Rule, may_release};
pub use own::Own;

#[cfg(test)]
mod tests;

/// How the name of a grant of admin rights begins.
const ADMIN: &str = "AccessGrant/admin/";

/// What the guard must know besides plan and config.
#[derive(Debug, Clone)]
pub struct GuardContext<'a> {
    pub now: Timestamp,
    /// Deletes and updates that earlier runs made, at least as far back as the longest window of [`Safety`]. Without creates, without what was rolled
    /// back, and without runs that a person released: those have been answered for.
    pub past: &'a [PastChange],
    /// What each system has now: the states that the plan was made on.
    pub observed: &'a BTreeMap<SystemName, State>,
    /// The plan that a named person has released, if any.
    pub released: Option<PlanDigest>,
    pub own: &'a Own,
    /// What the repo declares and says is over, or has not begun: a date that was approved takes it away.
    pub by_date: &'a BTreeSet<ResourceRef>,
}

/// A change that an earlier run made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastChange {
    pub at: Timestamp,
    pub system: SystemName,
    pub id: ResourceRef,
    pub op: Op,
}

/// Everything in a plan that needs a person's release, or that none lets pass; empty where it may go ahead.
pub fn guard(plan: &Plan, config: &Config, context: &GuardContext<'_>) -> Vec<Breach> {
    let shares = plan.systems.iter();
    let mut breaches: Vec<Breach> = shares
        .flat_map(|(system, share)| {
            let own = context.own.breaches(system, share, config);
            own.into_iter().chain(last_admin(system, share, context))
        })
        .collect();
    if context.released.is_some() && context.released == Some(plan.digest()) {
        return breaches;
    }
    for (system, share) in &plan.systems {
        let mut kinds: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
        for change in &share.changes {
            kinds.entry(change.id.kind()).or_default().push(change);
        }
        for (kind, changes) in kinds {
            let tally = Tally::new(system, kind, &changes, share, &config.safety, context);
            breaches.extend(tally.breaches(&config.safety));
            let active = config.freezes.iter().filter(|f| f.is_on(context.now));
            breaches.extend(active.filter_map(|freeze| tally.frozen(freeze, &changes)));
        }
    }
    breaches
}

/// How much of the ceiling of one kind on one system is used up within its window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Used {
    pub ceiling: Ceiling,
    /// Rows there are, and those that were deleted in the window: what percentages are of.
    pub rows: u64,
    pub deletes: u64,
    /// The most deletes that pass unasked, by count and by share.
    pub delete_limit: u64,
    pub updates: u64,
    pub update_limit: u64,
}

/// What a plan for a system would use of a kind's ceiling, together with what was done before.
pub fn used(
    system: &SystemName,
    kind: &str,
    share: &SystemPlan,
    safety: &Safety,
    context: &GuardContext<'_>,
) -> Used {
    let changes: Vec<&Change> = share
        .changes
        .iter()
        .filter(|c| c.id.kind() == kind)
        .collect();
    Tally::new(system, kind, &changes, share, safety, context).used(safety)
}

/// One kind on one system: what would have been done to it in the window, this plan included.
struct Tally<'a> {
    system: &'a SystemName,
    kind: &'a str,
    /// Rows it has now.
    rows: u64,
    /// Of this plan.
    deletes: u64,
    creates: u64,
    updates: u64,
    /// Deletes of this plan that don't narrow.
    unsafe_deletes: u64,
    /// Different resources in the whole window: a flag switched to and fro counts once.
    deleted: BTreeSet<&'a ResourceRef>,
    updated: BTreeSet<&'a ResourceRef>,
}

impl<'a> Tally<'a> {
    fn new(
        system: &'a SystemName,
        kind: &'a str,
        changes: &[&'a Change],
        share: &SystemPlan,
        safety: &Safety,
        context: &GuardContext<'a>,
    ) -> Self {
        let hours = i64::try_from(safety.ceiling(system, kind).window_hours).unwrap_or(i64::MAX);
        let since = SignedDuration::try_from_hours(hours)
            .and_then(|window| context.now.checked_sub(window).ok())
            .unwrap_or(Timestamp::MIN);
        let past: Vec<_> = context
            .past
            .iter()
            .filter(|p| p.at >= since && p.system == *system && p.id.kind() == kind)
            .map(|p| (p.op, &p.id))
            .collect();
        let all = |op: Op| {
            let now = changes.iter().map(|c| (c.op, &c.id));
            now.chain(past.iter().copied())
                .filter(move |(o, _)| *o == op)
                .map(|(_, id)| id)
                .collect::<BTreeSet<_>>()
        };
        let count = |op: Op| number(changes.iter().filter(|c| c.op == op).count());
        let unsafe_deletes = changes
            .iter()
            .filter(|c| c.op == Op::Delete && c.direction != Direction::Narrowing)
            // Somebody has acknowledged each of these with its date.
            .filter(|c| !context.by_date.contains(&c.id));
        Self {
            system,
            kind,
            rows: share.existing.get(kind).map_or(0, |n| number(*n)),
            deletes: count(Op::Delete),
            creates: count(Op::Create),
            updates: count(Op::Update),
            unsafe_deletes: number(unsafe_deletes.count()),
            deleted: all(Op::Delete),
            updated: all(Op::Update),
        }
    }

    fn used(&self, safety: &Safety) -> Used {
        let ceiling = safety.ceiling(self.system, self.kind);
        let deletes = number(self.deleted.len());
        // Percentages are of the rows there were before the window's deletes, so that slices count against the same whole.
        let rows = self.rows + deletes.saturating_sub(self.deletes);
        // Of a handful of rows one is a third: a small table is allowed what one of `small` rows would be.
        let whole = rows.max(ceiling.small);
        Used {
            ceiling,
            rows,
            deletes,
            delete_limit: ceiling.delete_count.min(ceiling.delete_percent.of(whole)),
            updates: number(self.updated.len()),
            update_limit: ceiling.update_percent.of(whole),
        }
    }

    fn breaches(&self, safety: &Safety) -> Vec<Breach> {
        let Used {
            ceiling,
            rows,
            deletes,
            delete_limit: _,
            updates,
            update_limit,
        } = self.used(safety);
        let hours = ceiling.window_hours;
        let mut breaches = Vec::new();
        let mut over = |broken: bool, rule: Rule, count: u64, rows: u64, limit: u64| {
            if broken {
                breaches.push(self.breach(rule, count, rows, limit));
            }
        };
        if self.deletes > 0 {
            let emptied = self.rows + self.creates <= self.deletes;
            let small = ceiling.small;
            let share = ceiling.delete_percent.of(rows.max(small));
            let unasked = self.rows < small && !emptied && self.unsafe_deletes > 0;
            over(emptied, Rule::Emptied, self.deletes, self.rows, 0);
            over(
                unasked,
                Rule::SmallTable { small },
                self.unsafe_deletes,
                self.rows,
                0,
            );
            over(
                deletes > ceiling.delete_count,
                Rule::DeleteCount { hours },
                deletes,
                rows,
                ceiling.delete_count,
            );
            over(
                deletes > share,
                Rule::DeleteShare { hours },
                deletes,
                rows,
                share,
            );
        }
        over(
            self.updates > 0 && updates > update_limit,
            Rule::UpdateShare { hours },
            updates,
            rows,
            update_limit,
        );
        breaches
    }

    fn frozen(&self, freeze: &Freeze, changes: &[&Change]) -> Option<Breach> {
        let widening = changes
            .iter()
            .filter(|c| c.direction == Direction::Widening && !is_of(c, &freeze.except));
        let count = number(widening.count());
        let rule = Rule::Freeze {
            name: freeze.name.clone(),
            until: freeze.until,
            roles: freeze.roles().map(str::to_owned).collect(),
        };
        (count > 0).then(|| self.breach(rule, count, self.rows, 0))
    }

    fn breach(&self, rule: Rule, count: u64, rows: u64, limit: u64) -> Breach {
        Breach {
            system: self.system.clone(),
            kind: self.kind.to_owned(),
            rule,
            count,
            rows,
            limit,
        }
    }
}

/// A system that has an admin keeps one, or nobody can mend what a later change breaks. Nobody can release that either.
fn last_admin(
    system: &SystemName,
    share: &SystemPlan,
    context: &GuardContext<'_>,
) -> Option<Breach> {
    let is_admin = |id: &ResourceRef| id.as_str().starts_with(ADMIN);
    let of = |op| {
        let changes = share.changes.iter();
        number(changes.filter(|c| c.op == op && is_admin(&c.id)).count())
    };
    let (gone, come) = (of(Op::Delete), of(Op::Create));
    if gone == 0 {
        return None;
    }
    // Without the observed state the deletes alone are known: then all that are known go, and the guard holds.
    let had = context.observed.get(system).map_or(gone, |state| {
        number(state.items().filter(|i| is_admin(&i.id)).count())
    });
    (had + come <= gone).then(|| Breach {
        system: system.clone(),
        kind: "AccessGrant".to_owned(),
        rule: Rule::LastAdmin,
        count: gone,
        rows: had,
        limit: had.saturating_sub(1),
    })
}

/// Whether a breach is about a change. That the last admin stays keeps nobody else's access from ending.
pub fn concerns(breach: &Breach, change: &Change) -> bool {
    breach.kind == change.id.kind()
        && (breach.rule != Rule::LastAdmin || change.id.as_str().starts_with(ADMIN))
}

/// Whether a change belongs to one of these classes: `narrowing` (or another direction), or a kind's name.
pub fn is_of(change: &Change, classes: &[String]) -> bool {
    let direction = change.direction.to_string();
    classes
        .iter()
        .any(|class| *class == direction || class == change.id.kind())
}

/// A change that a system's mode keeps from being made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    pub op: Op,
    pub id: ResourceRef,
    pub mode: Mode,
}

/// What of a plan may be done on a system in this mode, and what is left out: everything while it is only watched, deletes while it is only added to.
/// `observed` is the state that the plan was made on.
pub fn apply_mode(plan: SystemPlan, observed: &State, mode: Mode) -> (SystemPlan, Vec<Skipped>) {
    let (kept, dropped) = match mode {
        Mode::Observe | Mode::Detect => cut(plan, observed, |_| false),
        Mode::Upsert => cut(plan, observed, |change| change.op != Op::Delete),
        Mode::Enforce => return (plan, Vec::new()),
    };
    let skipped = dropped
        .into_iter()
        .map(|change| Skipped {
            op: change.op,
            id: change.id,
            mode,
        })
        .collect();
    (kept, skipped)
}

/// The changes of a plan that need not wait for the slowest system of the group, and those that do.
pub fn urgent(plan: SystemPlan, observed: &State, classes: &[String]) -> (SystemPlan, Vec<Change>) {
    cut(plan, observed, |change| is_of(change, classes))
}

/// A plan with only some of its changes, which leads to another target.
fn cut(
    plan: SystemPlan,
    observed: &State,
    keep: impl Fn(&Change) -> bool,
) -> (SystemPlan, Vec<Change>) {
    let (changes, dropped): (Vec<_>, Vec<_>) = plan.changes.into_iter().partition(keep);
    let target = if dropped.is_empty() {
        plan.target
    } else {
        (&apply(&changes, observed)).into()
    };
    let kept = SystemPlan {
        base: plan.base,
        target,
        changes,
        existing: plan.existing,
    };
    (kept, dropped)
}

fn number(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
