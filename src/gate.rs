//! The gate: the flow of a proposal, from its head to four statuses and one comment.
//!
//! Snapshot, compile, plan, policy, approvals: everything that judges is read at the base commit, and what is judged is the tree that
//! the merge would give, not the branch alone. Above the forge's port, so every forge has the same gate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::clock::Clock;
use crate::compile::{self, Compiled};
use crate::config::Config;
use crate::document::{Blob, Snapshot};
use crate::finding::{Report, Severity};
use crate::forge::{
    Forge, ForgeError, Proposal, ProposalState, Review, ReviewKind, Status, StatusState,
};
use crate::ids::{Digest, DocPath, PlanDigest, Revision};
use crate::plan::{Op, Plan};
use crate::policy::input::{Approval, PolicyInput, ProposalFacts};
use crate::policy::{PolicySet, Verdict};
use crate::repo::{Repo, RepoError};

mod summary;
mod watch;

pub use summary::{json_of, view_of};
pub use watch::keep_published;

#[cfg(test)]
mod tests;

/// The four statuses of a proposal's head, in the order in which they are worked out.
pub const CONTEXTS: [&str; 4] = [
    "lockstep/check",
    "lockstep/policy",
    "lockstep/plan",
    "lockstep/approval",
];

/// Why the gate could not do its work. That a proposal does not pass is no error.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    #[error(transparent)]
    Forge(#[from] ForgeError),
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// The proposal may not be merged; the message says what is missing.
    #[error("{0}")]
    Closed(String),
    /// A worker thread died.
    #[error("the gate's work was interrupted: {0}")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// What the gate found out about a proposal.
#[derive(Debug, Clone)]
pub struct Judgement {
    pub proposal: Proposal,
    /// Paths that the proposal and the main branch both changed, in ways that can't be put together.
    pub conflicts: Vec<String>,
    pub report: Report,
    pub plan: Plan,
    /// What an approval is bound to: the plan, and the definitions that the proposal changes.
    pub scope: PlanDigest,
    pub verdict: Verdict,
    pub reviews: Vec<CountedReview>,
    pub statuses: Vec<Status>,
    /// The tree after the merge, and the config repo at the base: for showing sources and kinds.
    pub after: Arc<Snapshot>,
    pub before: Arc<Snapshot>,
    pub compiled: Arc<Compiled>,
    pub base: Arc<Compiled>,
}

/// A review, and whether it still counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedReview {
    pub review: Review,
    /// The person's key in `people:`, where the base knows the login.
    pub person: Option<String>,
    pub standing: Standing,
}

/// Whether a review counts, or why it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Counts,
    /// The same person reviewed again later.
    Replaced,
    /// A later push added to what was approved.
    Outdated,
    /// Authors don't approve their own proposals.
    Author,
    /// Not in `people:` at the base.
    Unknown,
    /// Only a comment.
    Comment,
}

impl Judgement {
    /// Whether all four statuses are green.
    pub fn passes(&self) -> bool {
        self.statuses.len() == CONTEXTS.len()
            && self
                .statuses
                .iter()
                .all(|s| s.state == StatusState::Success)
    }

    /// Whether something is wrong with it, as opposed to approvals that are still to come.
    pub fn blocked(&self) -> bool {
        self.statuses
            .iter()
            .any(|s| s.state == StatusState::Failure)
    }

    /// What is missing, one reason a line; empty where it passes.
    pub fn missing(&self) -> Vec<String> {
        let open = |s: &&Status| s.state != StatusState::Success;
        self.statuses
            .iter()
            .filter(open)
            .map(|s| format!("{}: {}", s.context, s.description))
            .collect()
    }
}

/// Judges proposals and publishes what it finds.
pub struct Gate {
    forge: Arc<dyn Forge>,
    repo: Arc<Repo>,
    clock: Arc<dyn Clock>,
}

impl Gate {
    pub fn new(forge: Arc<dyn Forge>, repo: Arc<Repo>, clock: Arc<dyn Clock>) -> Self {
        Self { forge, repo, clock }
    }

    /// Judges a proposal as it stands now. Reads only.
    pub async fn judge(&self, number: u64) -> Result<Judgement, GateError> {
        let proposal = self.forge.proposal(number).await?;
        let reviews = self.forge.reviews(number).await?;
        let (repo, now) = (self.repo.clone(), self.clock.now());
        tokio::task::spawn_blocking(move || judge(&repo, proposal, reviews, now)).await?
    }

    /// Puts the statuses on the proposal's head and replaces the comment. Statuses that are there already are left.
    pub async fn publish(&self, judgement: &Judgement, comment: &str) -> Result<(), GateError> {
        let head = &judgement.proposal.head;
        let shown: BTreeMap<String, Status> = self
            .forge
            .statuses(head)
            .await?
            .into_iter()
            .map(|s| (s.context.clone(), s))
            .collect();
        for status in &judgement.statuses {
            let same = shown
                .get(&status.context)
                .is_some_and(|s| s.state == status.state && s.description == status.description);
            if !same {
                self.forge.set_status(head, status.clone()).await?;
            }
        }
        Ok(self
            .forge
            .upsert_comment(judgement.proposal.number, comment)
            .await?)
    }

    /// Takes a review, bound to the head and to what the proposal does now.
    pub async fn review(
        &self,
        number: u64,
        user: &str,
        kind: ReviewKind,
        message: &str,
    ) -> Result<(), GateError> {
        let judgement = self.judge(number).await?;
        if judgement.proposal.state != ProposalState::Open {
            return Err(GateError::Closed(format!(
                "proposal {number} is not open any more"
            )));
        }
        let Some((person, _)) = judgement.base.bundle.config.person(user) else {
            return Err(GateError::Closed(format!(
                "{user} is not in people: at the base commit; known are: {}",
                judgement
                    .base
                    .bundle
                    .config
                    .people
                    .keys()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(", ")
            )));
        };
        let author = judgement
            .base
            .bundle
            .config
            .person(&judgement.proposal.author)
            .map(|(key, _)| key);
        if kind == ReviewKind::Approve && author == Some(person) {
            return Err(GateError::Closed(
                "the author of a proposal can't approve it".to_owned(),
            ));
        }
        let review = Review {
            user: user.to_owned(),
            kind,
            commit: judgement.proposal.head.clone(),
            plan: Some(judgement.scope),
            at: self.clock.now(),
            message: message.to_owned(),
        };
        Ok(self.forge.review(number, review).await?)
    }

    /// Merges a proposal that passes. It is judged at this moment, whatever its statuses show, and the forge merges only the head and
    /// base that were judged.
    pub async fn merge(&self, number: u64, by: &str) -> Result<Revision, GateError> {
        let judgement = self.judge(number).await?;
        match &judgement.proposal.state {
            ProposalState::Open => {}
            ProposalState::Merged { commit } => {
                return Err(GateError::Closed(format!(
                    "proposal {number} is merged already, as {}",
                    commit.short()
                )));
            }
            ProposalState::Closed => {
                return Err(GateError::Closed(format!("proposal {number} is closed")));
            }
        }
        if judgement.base.bundle.config.person(by).is_none() {
            return Err(GateError::Closed(format!(
                "{by} is not in people: at the base commit"
            )));
        }
        if !judgement.passes() {
            return Err(GateError::Closed(format!(
                "proposal {number} may not be merged yet:\n  {}",
                judgement.missing().join("\n  ")
            )));
        }
        Ok(self.forge.merge(&judgement.proposal, by).await?)
    }
}

fn judge(
    repo: &Repo,
    proposal: Proposal,
    reviews: Vec<Review>,
    now: Timestamp,
) -> Result<Judgement, GateError> {
    let base_revision = proposal.base.clone();
    let before = Arc::new(repo.snapshot(&base_revision)?);
    let base = Arc::new(compile::compile(&before));
    let (after, conflicts) = match repo.snapshot_merged(&base_revision, &proposal.head)? {
        Ok((snapshot, _tree)) => (Arc::new(snapshot), Vec::new()),
        Err(paths) => (before.clone(), paths),
    };
    let compiled = Arc::new(compile::compile(&after));
    let plan = Plan::between(Some(&base.bundle), &compiled.bundle);
    let scope = scope(&plan, &before, &after);
    let config = &base.bundle.config;
    let reviews = count_reviews(repo, &proposal, reviews, &before, &base, &plan, scope)?;
    let (policies, faults) = PolicySet::compile(&before.policies);
    let facts = ProposalFacts {
        number: proposal.number,
        title: proposal.title.clone(),
        author: person_key(config, &proposal.author),
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
        files: changed_files(&before, &after),
    };
    let input = PolicyInput::new(
        facts,
        &plan,
        Some(&base.bundle),
        &compiled.bundle,
        config,
        now,
    );
    let mut verdict = policies.judge(&input);
    if let Some(fault) = faults.iter().find(|f| f.severity == Severity::Error) {
        verdict.denials.extend(
            Verdict::of_error(format!("{}: {}", fault.location.path, fault.message)).denials,
        );
    }
    let report = compiled.report.clone();
    let mut judgement = Judgement {
        proposal,
        conflicts,
        report,
        plan,
        scope,
        verdict,
        reviews,
        statuses: Vec::new(),
        after,
        before,
        compiled,
        base,
    };
    judgement.statuses = statuses(&judgement, now);
    Ok(judgement)
}

fn person_key(config: &Config, login: &str) -> String {
    config
        .person(login)
        .map_or_else(|| login.to_owned(), |(key, _)| key.to_owned())
}

/// All paths, policies included, whose content differs.
fn changed_files(before: &Snapshot, after: &Snapshot) -> Vec<DocPath> {
    fn differing<'a>(
        a: &'a BTreeMap<DocPath, Blob>,
        b: &'a BTreeMap<DocPath, Blob>,
    ) -> impl Iterator<Item = &'a DocPath> {
        let gone_or_other = a
            .iter()
            .filter(|(path, blob)| b.get(*path).map(|o| o.id) != Some(blob.id));
        let new = b.iter().filter(|(path, _)| !a.contains_key(*path));
        gone_or_other.chain(new).map(|(path, _)| path)
    }
    let files: BTreeSet<&DocPath> = differing(&before.files, &after.files)
        .chain(differing(&before.policies, &after.policies))
        .collect();
    files.into_iter().cloned().collect()
}

/// The digest that approvals are bound to. A plan says nothing about policies, people or schemas, so where a proposal changes such
/// definitions their contents are part of it; otherwise it is the plan's own digest.
fn scope(plan: &Plan, before: &Snapshot, after: &Snapshot) -> PlanDigest {
    let defines = |path: &str| {
        path == compile::CONFIG
            || path.starts_with("kinds/")
            || path.starts_with("policies/")
            || path.ends_with(".rego")
    };
    let changed: Vec<DocPath> = changed_files(before, after)
        .into_iter()
        .filter(|p| defines(p.as_str()))
        .collect();
    if changed.is_empty() {
        return plan.digest();
    }
    let mut text = plan.digest().to_string();
    for path in changed {
        let blob = after
            .files
            .get(&path)
            .or_else(|| after.policies.get(&path))
            .map(|blob| format!("{:?}", blob.id));
        text.push_str(&format!("\n{path} {}", blob.unwrap_or_default()));
    }
    PlanDigest(Digest::of(text.as_bytes()))
}

/// Which reviews still count. An approval holds for the head it was given on, and beyond it while the proposal does nothing that was not
/// approved then.
fn count_reviews(
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

fn statuses(j: &Judgement, now: Timestamp) -> Vec<Status> {
    let status = |context: &str, state, description: String| Status {
        context: context.to_owned(),
        state,
        description: description
            .chars()
            .take(crate::forge::DESCRIPTION_CHARS)
            .collect(),
        at: now,
    };
    let [check, policy, plan, approval] = CONTEXTS;
    let errors = j.report.count(Severity::Error);
    let passed = |ok| {
        if ok {
            StatusState::Success
        } else {
            StatusState::Failure
        }
    };
    let checked = if !j.conflicts.is_empty() {
        status(
            check,
            StatusState::Failure,
            format!("conflicts with main in {}", j.conflicts.join(", ")),
        )
    } else if errors > 0 {
        let first = j
            .report
            .findings()
            .iter()
            .find(|f| f.severity == Severity::Error);
        let first = first
            .map(|f| format!("{}: {}", f.location.path, f.message))
            .unwrap_or_default();
        status(
            check,
            StatusState::Failure,
            format!("{errors} errors; first: {first}"),
        )
    } else {
        let warnings = j.report.count(Severity::Warning);
        status(
            check,
            StatusState::Success,
            format!("{} resources, {warnings} warnings", j.compiled.bundle.len()),
        )
    };
    let usable = checked.state == StatusState::Success;
    let judged = match j.verdict.denials.first() {
        Some(first) => status(
            policy,
            StatusState::Failure,
            format!("{} denied; first: {}", j.verdict.denials.len(), first.msg),
        ),
        None => status(
            policy,
            StatusState::Success,
            format!("allowed, {} warnings", j.verdict.warnings.len()),
        ),
    };
    let counts = format!(
        "{} to delete, {} to create, {} to update",
        j.plan.count(Op::Delete),
        j.plan.count(Op::Create),
        j.plan.count(Op::Update)
    );
    let planned = if !usable {
        status(
            plan,
            StatusState::Failure,
            "no plan before the check passes".to_owned(),
        )
    } else if j.plan.is_empty() {
        status(
            plan,
            StatusState::Success,
            "nothing changes on any system".to_owned(),
        )
    } else {
        status(plan, StatusState::Success, counts)
    };
    let objections: Vec<&str> = j
        .reviews
        .iter()
        .filter(|r| r.standing == Standing::Counts && r.review.kind == ReviewKind::RequestChanges)
        .map(|r| r.review.user.as_str())
        .collect();
    let needed: Vec<String> = j
        .verdict
        .approvals
        .iter()
        .filter(|n| !n.is_satisfied())
        .map(|n| {
            format!(
                "{} of {} from {}: {}",
                n.satisfied_by.len(),
                n.count,
                n.from.join("/"),
                n.because
            )
        })
        .collect();
    let approved = if !objections.is_empty() {
        status(
            approval,
            StatusState::Failure,
            format!("changes requested by {}", objections.join(", ")),
        )
    } else if !needed.is_empty() {
        status(approval, StatusState::Pending, needed.join("; "))
    } else {
        status(
            approval,
            passed(true),
            "everyone needed has approved".to_owned(),
        )
    };
    vec![checked, judged, planned, approved]
}
