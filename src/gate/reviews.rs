//! Which reviews count: whose they are, and whether what was approved is still what would be merged.

use super::{CountedReview, GateError, Standing, person_key, scope};
use crate::compile::{self, Compiled};
use crate::document::Snapshot;
use crate::forge::{Proposal, Review, ReviewKind};
use crate::ids::PlanDigest;
use crate::plan::Plan;
use crate::repo::Repo;

/// Which reviews still count. An approval holds for the head it was given on, and beyond it while the proposal does nothing that was not
/// approved then.
pub(super) fn count_reviews(
    repo: &Repo,
    proposal: &Proposal,
    reviews: Vec<Review>,
    before: &Snapshot,
    base: &Compiled,
    plan: &Plan,
    scope_now: PlanDigest,
) -> Result<Vec<CountedReview>, GateError> {
    let config = &base.bundle.config;
    let author = person_key(config, &proposal.author);
    let mut counted: Vec<CountedReview> = Vec::new();
    for review in reviews {
        let person = config.person(&review.user).map(|(key, _)| key.to_owned());
        let standing = match &person {
            _ if review.kind == ReviewKind::Comment => Standing::Comment,
            None => Standing::Unknown,
            Some(key) if *key == author && review.kind == ReviewKind::Approve => Standing::Author,
            Some(_) if review.kind == ReviewKind::RequestChanges => Standing::Counts,
            Some(_) if holds(repo, proposal, &review, before, base, plan, scope_now)? => {
                Standing::Counts
            }
            Some(_) => Standing::Outdated,
        };
        if standing != Standing::Comment && person.is_some() {
            for earlier in counted
                .iter_mut()
                .filter(|c| c.person == person && c.standing == Standing::Counts)
            {
                earlier.standing = Standing::Replaced;
            }
        }
        counted.push(CountedReview {
            review,
            person,
            standing,
        });
    }
    Ok(counted)
}

fn holds(
    repo: &Repo,
    proposal: &Proposal,
    review: &Review,
    before: &Snapshot,
    base: &Compiled,
    plan: &Plan,
    scope_now: PlanDigest,
) -> Result<bool, GateError> {
    match review.plan {
        None => return Ok(review.commit == proposal.head),
        Some(promised) if promised == scope_now => return Ok(true),
        Some(_) if review.commit == proposal.head => return Ok(false),
        Some(_) => {}
    }
    // What was approved, seen from today's base. If it can't be worked out any more, the approval does not hold.
    let Ok(Ok((approved, _tree))) = repo.snapshot_merged(&proposal.base, &review.commit) else {
        return Ok(false);
    };
    let compiled = compile::compile(&approved);
    let approved_plan = Plan::between(Some(&base.bundle), &compiled.bundle);
    let same_promise = review.plan == Some(scope(&approved_plan, before, &approved));
    let no_definitions = scope_now == plan.digest();
    Ok(same_promise && no_definitions && plan.is_within(&approved_plan))
}
