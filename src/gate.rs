//! The gate: the flow of a proposal, from its head to four statuses and one comment.
//!
//! Snapshot, compile, plan, policy, approvals: everything that judges is read at the base commit, and what is judged is the tree that
//! the merge would give, not the branch alone. Above the forge's port, so every forge has the same gate.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::clock::Clock;
use crate::compile::Compiled;
use crate::document::Snapshot;
use crate::finding::{Finding, Report, Severity};
use crate::forge::{
    self, Annotation, Forge, ForgeError, Level, Logins, Proposal, ProposalState, Review, Status,
    StatusState,
};
use crate::ids::{PlanDigest, Revision};
use crate::plan::Plan;
use crate::plan::safety::Own;
use crate::policy::Verdict;
use crate::policy::input::PolicyInput;
use crate::repo::{Repo, RepoError};
use crate::resource::Language;
use crate::store::{Store, StoreError};
use crate::view;

mod commands;
mod draft;
mod foresight;
mod judging;
mod merging;
mod passed;
mod people;
mod queue;
pub mod receive;
mod record;
mod refusal;
mod reviews;
mod scope;
mod signature;
mod statuses;
mod summary;
mod watch;

pub use commands::{Command, Outcome as CommandOutcome, Said, parse as parse_command};
pub use draft::Draft;
pub use foresight::{Foresight, Hold};
pub use judging::judge_between;
pub use people::known as person_of;
pub use refusal::Refusal;
pub use signature::{NAMESPACE, SignatureFault, signed_text};
pub use summary::{json_of, view_of};
pub use watch::keep_published;

use foresight::Known;
use judging::{Outside, judge};
use people::member;
use scope::{Unplanned, scope};

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
    /// What was said on a proposal can't be read, and so not whether somebody holds it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The proposal's state or the person asking forbids it.
    #[error("{0}")]
    Refused(Refusal),
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
    /// What of it is done at once, where its dates leave something for later.
    at_once: Option<Plan>,
    /// What an approval is bound to: the plan, and the definitions that the proposal changes.
    pub scope: PlanDigest,
    pub verdict: Verdict,
    /// What the policies were asked.
    pub input: PolicyInput,
    /// What will come of the merge.
    pub foresight: Foresight,
    pub reviews: Vec<CountedReview>,
    /// Who opened it or committed to it, by their keys in `people:`; none of them can approve it.
    pub authors: BTreeSet<String>,
    /// In the gate's language, so that who looks does not change what is published.
    pub statuses: Vec<Status>,
    /// When it was judged.
    pub at: Timestamp,
    /// What was said to Lockstep on it, oldest first.
    pub said: Vec<Said>,
    /// Where all of it can be read.
    pub page: Option<String>,
    /// Whether it changes anything that Lockstep judges or applies.
    pub concerns: bool,
    /// What no plan may take from Lockstep itself.
    own: Arc<Own>,
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
    /// `people:` gives this person a signing key, and the approval is not signed with it.
    Unsigned,
    /// It carries a signature that is not this person's over this approval.
    BadSignature(SignatureFault),
    /// Only a comment.
    Comment,
}

impl Standing {
    /// Whether it takes the place of what the person said before, by what is known of who said it.
    fn is_the_persons(self) -> bool {
        match self {
            Self::Counts | Self::Replaced | Self::Outdated | Self::Author => true,
            Self::Unknown | Self::Unsigned | Self::BadSignature(_) | Self::Comment => false,
        }
    }
}

impl Judgement {
    fn foresee(&mut self, known: &Known, language: Language) {
        self.foresight = Foresight::of(self, known);
        self.statuses = statuses::statuses(self, language);
    }

    /// What is done when it is merged; the plan without what begins or ends only later.
    pub(crate) fn at_once(&self) -> &Plan {
        self.at_once.as_ref().unwrap_or(&self.plan)
    }

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
    pub fn missing(&self, language: Language) -> Vec<String> {
        let open = |s: &&Status| s.state != StatusState::Success;
        statuses::statuses(self, language)
            .iter()
            .filter(open)
            .map(|s| format!("{}: {}", s.context, s.description))
            .collect()
    }
}

/// The addresses from which systems on the same machine are reached.
pub const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];

/// How often a merge is judged anew because the main branch or the proposal moved meanwhile.
const MERGE_TRIES: usize = 5;

/// Judges proposals and publishes what it finds. Clones share everything.
#[derive(Clone)]
pub struct Gate {
    forge: Arc<dyn Forge>,
    repo: Arc<Repo>,
    clock: Arc<dyn Clock>,
    language: Language,
    addresses: Vec<String>,
    own: Arc<Own>,
    store: Option<Store>,
    public_url: Option<String>,
}

impl Gate {
    pub fn new(forge: Arc<dyn Forge>, repo: Arc<Repo>, clock: Arc<dyn Clock>) -> Self {
        Self {
            forge,
            repo,
            clock,
            language: Language::English,
            addresses: LOOPBACK.map(str::to_owned).to_vec(),
            own: Arc::default(),
            store: None,
            public_url: None,
        }
    }

    /// The language of what is published: the server's, whatever language the person has who happens to look.
    #[must_use]
    pub fn in_language(mut self, language: Language) -> Self {
        self.language = language;
        self
    }

    /// The language of what is published.
    pub fn language(&self) -> Language {
        self.language
    }

    /// Adds IP addresses from which the systems are reached, which no block may take in (`input.reconciler_addresses`). Loopback
    /// always is one: systems on the same machine are reached over it.
    #[must_use]
    pub fn reached_from(mut self, addresses: impl IntoIterator<Item = String>) -> Self {
        self.addresses.extend(addresses);
        self
    }

    /// Where people find the server's pages.
    #[must_use]
    pub fn found_at(mut self, public_url: Option<String>) -> Self {
        self.public_url = public_url;
        self
    }

    /// What no plan may take from Lockstep itself, for saying that the engine will hold it.
    #[must_use]
    pub fn protecting(mut self, own: Own) -> Self {
        self.own = Arc::new(own);
        self
    }

    /// Looks into a store for how the systems stand and what was changed on them lately. Without one, proposals are judged all the same, and what
    /// is not known is called so.
    #[must_use]
    pub fn remembering(mut self, store: Store) -> Self {
        self.store = Some(store);
        self
    }

    /// Judges a proposal as it stands now. Reads only.
    pub async fn judge(&self, number: u64) -> Result<Judgement, GateError> {
        let proposal = self.forge.proposal(number).await?;
        self.judge_as(proposal).await
    }

    /// Judges a proposal with this base and head, whatever the forge has for them.
    async fn judge_as(&self, proposal: Proposal) -> Result<Judgement, GateError> {
        let reviews = self.forge.reviews(proposal.number).await?;
        let outside = Outside {
            now: self.clock.now(),
            language: self.language,
            addresses: self.addresses.clone(),
            own: self.own.clone(),
            logins: self.forge.logins(),
        };
        let repo = self.repo.clone();
        let judged = tokio::task::spawn_blocking(move || judge(&repo, proposal, reviews, outside));
        let mut judgement = judged.await??;
        let number = judgement.proposal.number;
        judgement.said = self.said(number).await?;
        judgement.page = self
            .public_url
            .as_ref()
            .map(|url| format!("{url}/proposals/{number}"));
        let known = self.known(&judgement).await.unwrap_or_default();
        judgement.foresee(&known, self.language);
        Ok(judgement)
    }

    /// What was said on a proposal.
    async fn said(&self, number: u64) -> Result<Vec<Said>, GateError> {
        let Some(store) = &self.store else {
            return Ok(Vec::new());
        };
        let rows = store.said(number).await?;
        let said = rows.into_iter().map(|row| {
            serde_json::from_value(row.body).map_err(|error| StoreError::Unreadable {
                what: format!("the command {}", row.id),
                why: error.to_string(),
            })
        });
        Ok(said.collect::<Result<_, StoreError>>()?)
    }

    /// A store that can't be read is none: what it would have told is only a warning.
    async fn known(&self, j: &Judgement) -> Option<Known> {
        let store = self.store.as_ref()?;
        let config = &j.base.bundle.config;
        match Known::read(store, config, &j.proposal.base, j.at).await {
            Ok(known) => Some(known),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "judged without knowing how the systems stand"
                );
                None
            }
        }
    }

    /// Judges a proposal and, while it is open, publishes what was found. A head that nobody has judged yet shows its statuses as
    /// pending first, so that no forge takes their absence for success.
    pub async fn judge_and_publish(&self, number: u64) -> Result<Judgement, GateError> {
        let proposal = self.forge.proposal(number).await?;
        self.publish_judged(proposal).await
    }

    async fn publish_judged(&self, proposal: Proposal) -> Result<Judgement, GateError> {
        if proposal.state == ProposalState::Open {
            self.announce(&proposal.head).await?;
        }
        let judgement = self.judge_as(proposal).await?;
        if judgement.proposal.state == ProposalState::Open {
            self.record(&judgement).await?;
            let comment = view::markdown::comment(&view_of(&judgement, self.language));
            self.publish(&judgement, &comment).await?;
        }
        Ok(judgement)
    }

    async fn announce(&self, head: &Revision) -> Result<(), GateError> {
        let shown = self.forge.shown(head).await?;
        let missing = CONTEXTS
            .into_iter()
            .filter(|context| !shown.iter().any(|s| s.context == *context))
            .map(|context| statuses::pending(context, self.clock.now(), self.language));
        let missing: Vec<Status> = missing.collect();
        if !missing.is_empty() {
            self.forge.set_statuses(head, missing).await?;
        }
        Ok(())
    }

    /// Puts the statuses on the proposal's head and replaces the comment. Statuses that are there already are left.
    pub async fn publish(&self, judgement: &Judgement, comment: &str) -> Result<(), GateError> {
        let head = &judgement.proposal.head;
        self.show(head, judgement.statuses.clone()).await?;
        let number = judgement.proposal.number;
        self.forge.upsert_comment(number, comment).await?;
        let annotations = annotations(judgement, &self.repo);
        Ok(self.forge.annotate(head, &annotations).await?)
    }

    /// Puts statuses on a commit where it shows others.
    async fn show(&self, head: &Revision, wanted: Vec<Status>) -> Result<(), GateError> {
        Ok(forge::show(&*self.forge, head, wanted).await?)
    }

    /// On a forge of others the server's word is needed as well: it knows what was said to it, such as that the proposal is held.
    async fn shown_green(&self, j: &Judgement) -> Result<(), GateError> {
        if self.forge.logins() == Logins::Own {
            return Ok(());
        }
        let shown = self.forge.statuses(&j.proposal.head).await?;
        let (mut missing, mut missing_ja) = (Vec::new(), Vec::new());
        for context in CONTEXTS {
            match shown.iter().find(|s| s.context == context) {
                Some(status) if status.state == StatusState::Success => {}
                Some(status) => {
                    missing.push(format!("{context}: {}", status.description));
                    missing_ja.push(format!("{context}: {}", status.description));
                }
                None => {
                    missing.push(format!(
                        "{context}: the server has not judged it; is `lockstep run` running?"
                    ));
                    missing_ja.push(format!(
                        "{context}: サーバーがまだ判定していません。`lockstep run` は動いていますか"
                    ));
                }
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(GateError::Refused(Refusal::NotReady {
            number: j.proposal.number,
            missing,
            missing_ja,
        }))
    }

    /// Judges proposals that have one head, and shows on it the worst that is true of any of them: a commit has one status of each context,
    /// and the forge lets each be merged by it. What comes from a fork has no say beside what does not, since anybody can open one of somebody
    /// else's commit.
    async fn publish_together(&self, proposals: Vec<Proposal>) -> Result<(), GateError> {
        let Some(head) = proposals.first().map(|p| p.head.clone()) else {
            return Ok(());
        };
        self.announce(&head).await?;
        let any_own = proposals.iter().any(|p| p.fork.is_none());
        let mut worst: Vec<Status> = Vec::new();
        let mut judged = Vec::new();
        for proposal in proposals {
            let counts = proposal.fork.is_none() || !any_own;
            let judgement = self.judge_as(proposal).await?;
            if counts {
                for status in &judgement.statuses {
                    match worst.iter_mut().find(|w| w.context == status.context) {
                        Some(known) if statuses::is_worse(status.state, known.state) => {
                            *known = status.clone();
                        }
                        Some(_) => {}
                        None => worst.push(status.clone()),
                    }
                }
            }
            self.record(&judgement).await?;
            judged.push(judgement);
        }
        self.show(&head, worst).await?;
        for judgement in &judged {
            let comment = view::markdown::comment(&view_of(judgement, self.language));
            let number = judgement.proposal.number;
            self.forge.upsert_comment(number, &comment).await?;
        }
        if let Some(first) = judged.first() {
            let annotations = annotations(first, &self.repo);
            self.forge.annotate(&head, &annotations).await?;
        }
        Ok(())
    }

    /// Merges a proposal that passes. It is judged at this moment, whatever its statuses show, and the forge merges only the head and
    /// base that were judged. Where either moved in between, it is judged and tried again.
    pub async fn merge(&self, number: u64, by: &str) -> Result<Revision, GateError> {
        let mut tries = 0;
        loop {
            let judgement = self.judge(number).await?;
            open_only(&judgement.proposal)?;
            member(&judgement.base.bundle.config, by, self.forge.logins())?;
            if !judgement.passes() {
                return Err(GateError::Refused(Refusal::NotReady {
                    number,
                    missing: judgement.missing(Language::English),
                    missing_ja: judgement.missing(Language::Japanese),
                }));
            }
            self.shown_green(&judgement).await?;
            tries += 1;
            match self.forge.merge(&judgement.proposal, by).await {
                Err(ForgeError::Conflict(why)) if tries < MERGE_TRIES => {
                    tracing::info!(proposal = number, why, "judged again");
                }
                merged => {
                    let commit = merged?;
                    self.record_merge(&judgement, &commit, by).await;
                    return Ok(commit);
                }
            }
        }
    }
}

impl Gate {
    /// It is merged whether or not that can be written down; the next poll tries again.
    async fn record_merge(&self, judgement: &Judgement, commit: &Revision, by: &str) {
        let merged = Proposal {
            state: ProposalState::Merged {
                commit: commit.clone(),
            },
            ..judgement.proposal.clone()
        };
        let recorded = async {
            self.record(judgement).await?;
            self.record_end(&merged, Some(by)).await
        };
        if let Err(error) = recorded.await {
            tracing::warn!(
                proposal = merged.number,
                error = &error as &dyn std::error::Error,
                "the merge is not in the ledger yet"
            );
        }
    }
}

/// Findings for their lines, with paths from the top of the repository.
fn annotations(j: &Judgement, repo: &Repo) -> Vec<Annotation> {
    let of = |finding: &Finding| Annotation {
        path: repo.git_path(&finding.location.path),
        line: finding.location.span.as_ref().map_or(1, |span| span.line),
        column: finding.location.span.as_ref().map(|span| span.column),
        level: match finding.severity {
            Severity::Error => Level::Failure,
            Severity::Warning => Level::Warning,
            Severity::Note => Level::Notice,
        },
        title: finding.rule.to_string(),
        message: match &finding.hint {
            Some(hint) => format!("{}\n{hint}", finding.message),
            None => finding.message.clone(),
        },
    };
    j.report.findings().iter().map(of).collect()
}

fn open_only(proposal: &Proposal) -> Result<(), GateError> {
    let number = proposal.number;
    match &proposal.state {
        ProposalState::Open => Ok(()),
        ProposalState::Merged { commit } => Err(GateError::Refused(Refusal::Merged {
            number,
            commit: commit.clone(),
        })),
        ProposalState::Closed => Err(GateError::Refused(Refusal::Closed { number })),
    }
}
