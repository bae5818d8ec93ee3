//! Which reviews count: whose they are, and whether what was approved is still what would be merged.

use std::collections::BTreeSet;

use super::{CountedReview, GateError, Standing, Unplanned, people, scope, signature};
use crate::compile::{self, Compiled};
use crate::config::Person;
use crate::document::Snapshot;
use crate::forge::{Logins, Proposal, Review, ReviewKind};
use crate::ids::PlanDigest;
use crate::plan::Plan;
use crate::repo::Repo;

/// The proposal as it is judged now.
pub(super) struct Seen<'a> {
    pub(super) before: &'a Snapshot,
    pub(super) base: &'a Compiled,
    pub(super) plan: &'a Plan,
    pub(super) scope: PlanDigest,
    pub(super) authors: &'a BTreeSet<String>,
    pub(super) logins: Logins,
}

/// Which reviews still count. An approval holds for the head it was given on, and beyond it while the proposal does nothing that was not
/// approved then.
pub(super) fn count_reviews(
    repo: &Repo,
    proposal: &Proposal,
    reviews: Vec<Review>,
    seen: &Seen<'_>,
) -> Result<Vec<CountedReview>, GateError> {
    let config = &seen.base.bundle.config;
    let mut counted: Vec<CountedReview> = Vec::new();
    for review in reviews {
        let known = people::known(config, &review.user, seen.logins);
        let person = known.map(|(key, _)| key.to_owned());
        // A line that was written again under a later number says nothing new: else an approval that was taken back could be revived.
        let copied = review.signature.is_some()
            && counted
                .iter()
                .any(|c| c.standing.is_the_persons() && said(&c.review) == said(&review));
        let standing = match known {
            _ if review.kind == ReviewKind::Comment => Standing::Comment,
            None => Standing::Unknown,
            Some(_) if review.kind == ReviewKind::Withdraw => Standing::Replaced,
            // To object takes no signature: whoever can write here can hold a merge up anyway.
            Some(_) if review.kind == ReviewKind::RequestChanges => Standing::Counts,
            Some((key, _)) if seen.authors.contains(key) => Standing::Author,
            Some((_, facts)) => match signed(facts, proposal.number, &review) {
                Err(standing) => standing,
                Ok(()) if copied => Standing::Replaced,
                Ok(()) if holds(repo, proposal, &review, seen, facts)? => Standing::Counts,
                Ok(()) => Standing::Outdated,
            },
        };
        // What somebody else may have written in a person's name takes back nothing that the person said.
        if standing.is_the_persons() && !copied {
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

/// Whether an approval is signed, by someone who has to.
fn signed(person: &Person, number: u64, review: &Review) -> Result<(), Standing> {
    let Some(key) = &person.signing_key else {
        return Ok(());
    };
    let signature = review.signature.as_ref().ok_or(Standing::Unsigned)?;
    signature::verify(key, number, review, signature).map_err(Standing::BadSignature)
}

/// All of a review but its signature, which can be written in more than one way.
fn said(review: &Review) -> Review {
    Review {
        signature: None,
        ..review.clone()
    }
}

fn holds(
    repo: &Repo,
    proposal: &Proposal,
    review: &Review,
    seen: &Seen<'_>,
    person: &Person,
) -> Result<bool, GateError> {
    // On a forge of others a digest is only text, which others can edit, unless the reviewer's signature is over it.
    let promised = match seen.logins {
        Logins::Own => review.plan,
        Logins::Hosted => review.plan.filter(|_| person.signing_key.is_some()),
    };
    match promised {
        None if review.commit == proposal.head => return Ok(true),
        None if seen.logins == Logins::Own => return Ok(false),
        None => {}
        Some(promised) if promised == seen.scope => return Ok(true),
        Some(_) if review.commit == proposal.head => return Ok(false),
        Some(_) => {}
    }
    // What was approved, seen from today's base. If it can't be worked out any more, the approval does not hold.
    let Ok(Ok((approved, tree))) = repo.snapshot_merged(&proposal.base, &review.commit) else {
        return Ok(false);
    };
    let compiled = compile::compile(&approved);
    let approved_plan = Plan::between(Some(&seen.base.bundle), &compiled.bundle);
    let unplanned = Unplanned::between(
        repo,
        (&proposal.base, tree),
        (seen.before, seen.base),
        (&approved, &compiled),
        &approved_plan,
    )?;
    // Without a digest the commit is what was approved.
    let approved_scope = scope(&approved_plan, &unplanned);
    if promised.is_none() && approved_scope == seen.scope {
        return Ok(true);
    }
    let same_promise = promised.is_none_or(|promised| promised == approved_scope);
    let only_the_plan = seen.scope == seen.plan.digest();
    Ok(same_promise && only_the_plan && seen.plan.is_within(&approved_plan))
}
