//! Judging: from two trees and what people said to a verdict. Pure but for reading git.

use std::sync::Arc;

use jiff::Timestamp;

use super::foresight::{Foresight, Known};
use super::people::{authors, key};
use super::scope::{self, Unplanned, changed_files, scope};
use super::{GateError, Judgement, Standing, reviews};
use crate::compile;
use crate::document::Snapshot;
use crate::finding::{Finding, Report};
use crate::forge::{Logins, Proposal, ProposalState, Review, ReviewKind};
use crate::ids::{DocPath, Revision};
use crate::plan::Plan;
use crate::plan::safety::Own;
use crate::policy::PolicySet;
use crate::policy::input::{Approval, PolicyInput, ProposalFacts};
use crate::repo::Repo;
use crate::resource::{Bundle, Language};

/// What is not in the repository.
pub(super) struct Outside {
    pub(super) now: Timestamp,
    pub(super) language: Language,
    pub(super) addresses: Vec<String>,
    pub(super) own: Arc<Own>,
    pub(super) logins: Logins,
}

pub(super) fn judge(
    repo: &Repo,
    proposal: Proposal,
    reviews: Vec<Review>,
    outside: Outside,
) -> Result<Judgement, GateError> {
    let now = outside.now;
    let base_revision = proposal.base.clone();
    let before = Arc::new(repo.snapshot(&base_revision)?);
    let base = Arc::new(compile::compile(&before));
    let (after, tree, conflicts) = match repo.snapshot_merged(&base_revision, &proposal.head)? {
        Ok((snapshot, tree)) => (Arc::new(snapshot), Some(tree), Vec::new()),
        Err(paths) => (before.clone(), None, paths),
    };
    let compiled = Arc::new(compile::compile(&after));
    let mut plan = Plan::between(Some(&base.bundle), &compiled.bundle);
    let unplanned = match tree {
        Some(tree) => {
            let (from, to) = ((&*before, &*base), (&*after, &*compiled));
            Unplanned::between(repo, (&base_revision, tree), from, to, &plan)?
        }
        None => Unplanned::default(),
    };
    // Where a change is written is shown, and policies may ask for it.
    compile::fill_lines(&mut plan, (&after, &compiled), Some((&before, &base)));
    let scope = scope(&plan, &unplanned);
    let concerns =
        !plan.is_empty() || scope::concerns(&changed_files(&before, &after), &base, &compiled);
    let config = &base.bundle.config;
    let logins = outside.logins;
    let authors = authors(repo, &proposal, config, logins)?;
    let seen = reviews::Seen {
        before: &before,
        base: &base,
        plan: &plan,
        scope,
        authors: &authors,
        logins,
    };
    let reviews = reviews::count_reviews(repo, &proposal, reviews, &seen)?;
    let (policies, faults) = PolicySet::compile(&before.policies);
    let facts = ProposalFacts {
        number: proposal.number,
        title: proposal.title.clone(),
        author: key(config, &proposal.author, logins),
        labels: proposal.labels.clone(),
        base: base_revision,
        head: proposal.head.clone(),
        opened_at: proposal.opened_at,
        approvals: reviews
            .iter()
            .filter(|r| r.standing == Standing::Counts && r.review.kind == ReviewKind::Approve)
            .map(|r| Approval {
                user: r.person.clone().unwrap_or_else(|| r.review.user.clone()),
                commit: r.review.commit.clone(),
                at: r.review.at,
            })
            .collect(),
        files: unplanned.with(changed_files(&before, &after)),
    };
    let input = PolicyInput::new(
        facts,
        &plan,
        Some(&base.bundle),
        &compiled.bundle,
        config,
        now,
    )
    .with_reconciler_addresses(outside.addresses);
    let verdict = policies.judge(&input);
    let faults = if after.policies == before.policies {
        faults
    } else {
        policies_to_come(&after)
    };
    let findings = compiled.report.findings().iter().cloned();
    let past = compile::past(&after, &compiled, &plan, now);
    let report = Report::new(findings.chain(faults).chain(past).collect());
    let mut judgement = Judgement {
        at_once: at_once(&base.bundle, &compiled.bundle, now),
        proposal,
        conflicts,
        report,
        plan,
        scope,
        verdict,
        input,
        foresight: Foresight::default(),
        reviews,
        authors,
        statuses: Vec::new(),
        at: now,
        said: Vec::new(),
        page: None,
        concerns,
        own: outside.own,
        after,
        before,
        compiled,
        base,
    };
    judgement.foresee(&Known::default(), outside.language);
    Ok(judgement)
}

/// Judges what lies between two revisions as if the author of the last commit had just proposed it: nobody has approved anything, and nothing is
/// known of the systems. `by` is who proposed it instead, by their account on the forge. Blocking: git and parsing.
pub fn judge_between(
    repo: &Repo,
    (base, head): (&Revision, &Revision),
    by: Option<&str>,
    now: Timestamp,
    language: Language,
    addresses: Vec<String>,
) -> Result<Judgement, GateError> {
    let commit = repo.commit(head)?;
    let proposal = Proposal {
        number: 0,
        title: commit.subject().to_owned(),
        description: String::new(),
        author: by.map_or(commit.author.name, str::to_owned),
        labels: Vec::new(),
        branch: String::new(),
        base: base.clone(),
        head: head.clone(),
        opened_at: commit.at,
        updated_at: None,
        fork: None,
        merged_by: None,
        state: ProposalState::Open,
    };
    let outside = Outside {
        now,
        language,
        addresses,
        own: Arc::default(),
        logins: by.map_or(Logins::Own, |_| Logins::Hosted),
    };
    judge(repo, proposal, Vec::new(), outside)
}

/// What a merge does at once, where dates make that another plan than the one that is approved: that is over all that is written.
fn at_once(base: &Bundle, after: &Bundle, now: Timestamp) -> Option<Plan> {
    let is_dated = |bundle: &Bundle| !bundle.is_alike(Timestamp::MIN, Timestamp::MAX);
    (is_dated(base) || is_dated(after)).then(|| Plan::between_at(Some(base), after, now))
}

/// What is wrong with the policies that the merge would put in place. They don't judge this proposal; but a set that denies
/// everything would let no proposal through any more, its own correction included.
fn policies_to_come(after: &Snapshot) -> Vec<Finding> {
    let (policies, mut faults) = PolicySet::compile(&after.policies);
    if policies.is_empty()
        && let Ok(folder) = "policies".parse::<DocPath>()
    {
        let message = "no policy would be left, and without any nothing can be merged any more";
        faults.push(
            Finding::error("policy/missing", &folder, None, message)
                .with_hint("keep at least one `deny` or `approval` rule in package lockstep"),
        );
    }
    faults
}
