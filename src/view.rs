//! Views: core values shaped for reading, and the renderers that make text of them.
//!
//! The command line, the proposal's comment, JSON and pages all read these shapes, so that a plan or a finding says the same
//! everywhere. Pure: values in, strings out, the same bytes for the same values. A view holds text from the repo as it is; each
//! renderer makes it safe for where it goes.

use crate::forge::Status;
use crate::ids::{PlanDigest, Revision, SystemName};
use crate::resource::Language;

pub mod adoption;
pub mod annotations;
pub mod codeowners;
mod dates;
pub mod explain;
pub mod json;
mod judged;
pub mod markdown;
mod plan;
mod printable;
mod report;
pub mod sarif;
mod status;
pub mod text;
mod words;
mod words_en;
mod words_ja;

#[cfg(test)]
mod tests;

pub use dates::DateView;
pub use plan::{ChangeView, PlanView, SystemTotals};
pub use report::{Excerpt, FindingView, Place, ReportView};
pub use status::{
    GroupStatus, HeldChange, HeldPlan, HistoryEntry, HistoryView, LastChange, Outcome, Standing,
    StatusView, SystemStatus,
};

/// One line of text from outside, safe to show.
pub fn printable(text: &str) -> String {
    printable::printable(text).into_owned()
}

/// What a ledger entry's action is called.
pub fn action(action: &str, language: Language) -> String {
    let words = words::words(language);
    words
        .actions
        .iter()
        .find(|(name, _)| *name == action)
        .map_or_else(|| action.to_owned(), |(_, text)| (*text).to_owned())
}

/// All that a proposal's comment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateView {
    pub language: Language,
    pub number: u64,
    pub title: String,
    pub author: String,
    pub base: Revision,
    pub head: Revision,
    pub report: ReportView,
    pub verdict: VerdictView,
    /// What the proposal changes, base against head.
    pub plan: PlanView,
    /// How the systems stood before it, as they were last seen; `None` where that is not known.
    pub already_adrift: Option<Vec<SystemBefore>>,
    /// What follows from a merge beyond the changes themselves: which systems wait for each other, what is held, what is
    /// published at once. Sentences in the comment's language.
    pub on_merge: Vec<String>,
    /// Approvals that were given and don't count, each with the reason. Sentences in the comment's language.
    pub not_counted: Vec<String>,
    /// Commands that were given in comments, and what came of each. Sentences in the comment's language.
    pub said: Vec<String>,
    /// Where all of it can be read, for a comment that had to leave something out.
    pub rest: Option<String>,
    /// The statuses of the head, in the order in which they are shown.
    pub statuses: Vec<Status>,
}

/// How a system stood before a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemBefore {
    pub system: SystemName,
    pub standing: Standing,
}

/// What the policies say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerdictView {
    pub denials: Vec<MessageView>,
    pub warnings: Vec<MessageView>,
    pub approvals: Vec<ApprovalView>,
}

/// One denial or warning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageView {
    pub msg: String,
    pub code: Option<String>,
    /// `kind/name`
    pub resource: Option<String>,
}

/// Approvals that are needed, and those that are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApprovalView {
    /// Who may give them; empty means anyone.
    pub from: Vec<String>,
    pub count: u32,
    pub because: String,
    /// Who has given one that counts.
    pub have: Vec<String>,
}

impl ApprovalView {
    /// Whether enough are there.
    pub fn is_met(&self) -> bool {
        self.have.len() >= usize::try_from(self.count).unwrap_or(usize::MAX)
    }
}

/// Where a proposal stands, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standpoint {
    Blocked,
    Waiting,
    Ready,
}

impl GateView {
    fn standpoint(&self) -> Standpoint {
        use crate::forge::StatusState::{Error, Failure, Success};
        let broken = self.report.count(crate::finding::Severity::Error) > 0;
        let failed = |s: &Status| matches!(s.state, Failure | Error);
        let blocked = broken || !self.verdict.denials.is_empty();
        if blocked || self.statuses.iter().any(failed) {
            Standpoint::Blocked
        } else if self.verdict.approvals.iter().all(ApprovalView::is_met)
            && self.statuses.iter().all(|s| s.state == Success)
        {
            Standpoint::Ready
        } else {
            Standpoint::Waiting
        }
    }

    /// The plan's digest: what approvals are bound to.
    pub fn digest(&self) -> PlanDigest {
        self.plan.digest
    }
}
