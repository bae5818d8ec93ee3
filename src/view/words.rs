//! Every word of the interface, one table a language. Sentences are functions where the order of their parts differs between
//! languages.

use super::explain::UsedView;
use super::{Standing, SystemBefore};
use crate::config::{Ceiling, Mode};
use crate::finding::Severity;
use crate::forge::StatusState;
use crate::plan::Op;
use crate::resource::{Direction, Language};

/// The words of one language.
#[derive(Debug)]
pub(super) struct Words {
    pub error: &'static str,
    pub warning: &'static str,
    pub note: &'static str,
    pub help: &'static str,
    /// `2 errors, 1 warning in 3 files`
    pub found: fn(&Counts) -> String,
    pub nothing_found: &'static str,
    /// So many more findings in this file, not shown.
    pub more_in_file: fn(usize, &str) -> String,
    /// So many more findings in so many further files, not shown.
    pub more_in_files: fn(usize, usize) -> String,

    pub delete: &'static str,
    pub create: &'static str,
    pub update: &'static str,
    pub widening: &'static str,
    pub narrowing: &'static str,
    /// The line of a change: its sentence, then the systems, then the direction if there is one to tell.
    pub on_systems: fn(&str, &str, Option<&str>) -> String,
    /// What a kind that is not known says of a change.
    pub describe: fn(Op, &str) -> String,
    pub plan: &'static str,
    pub revision: &'static str,
    pub no_changes: &'static str,
    /// The heading over what dates will do.
    pub later: &'static str,
    /// The same where only the next week is meant.
    pub within_a_week: &'static str,
    /// What is less than promised on these systems, which can stage nothing.
    pub one_by_one: fn(&str) -> String,
    /// What stays as it is on a system although the documents say otherwise now.
    pub kept: fn(&str, &str) -> String,
    pub total: &'static str,
    /// `1 to delete, 2 to create, 3 to update`
    pub totals: fn(usize, usize, usize) -> String,
    pub diff_too_large: &'static str,
    /// So many differences left out of a long plan.
    pub more_diffs: fn(usize) -> String,

    pub gate_ready: &'static str,
    pub gate_waiting: &'static str,
    pub gate_blocked: &'static str,
    pub proposed_by: fn(&str) -> String,
    pub denied: &'static str,
    pub warned: &'static str,
    pub still_needed: &'static str,
    pub not_counted: &'static str,
    pub said: &'static str,
    /// Have, of, from whom.
    pub approvals: fn(usize, u32, &str) -> String,
    pub approved_by: fn(&str) -> String,
    pub anyone: &'static str,
    pub findings: &'static str,
    pub this_changes: &'static str,
    pub differences: &'static str,
    pub already_adrift: &'static str,
    pub drift_unknown: &'static str,
    pub drift_none: &'static str,
    pub on_merge: &'static str,
    pub on_merge_applies: fn(&str) -> String,
    pub on_merge_nothing: &'static str,
    /// Everything waits for a date.
    pub on_merge_later: &'static str,
    /// So many more items of a list, not shown.
    pub more_items: fn(usize) -> String,
    /// How many items and characters the comment left out.
    /// How many items and characters were left out, and where all of it is, as Markdown.
    pub cut: fn(usize, usize, &str) -> String,

    pub in_step: &'static str,
    pub never_synced: &'static str,
    pub behind: &'static str,
    pub adrift: &'static str,
    pub held: &'static str,
    pub unreachable: &'static str,
    pub failed: &'static str,
    pub system: &'static str,
    pub standing: &'static str,
    pub mode: &'static str,
    pub digest: &'static str,
    pub last_change: &'static str,
    pub never: &'static str,
    pub no_systems: &'static str,
    pub observe: &'static str,
    pub detect: &'static str,
    pub upsert: &'static str,
    pub enforce: &'static str,
    /// Systems in step, of all.
    pub group_in_step: fn(usize, usize) -> String,
    /// Group, the plan's digest.
    pub held_plan: fn(&str, &str) -> String,
    /// So many more changes, not shown.
    pub more_changes: fn(usize) -> String,
    pub released_by: &'static str,
    pub released_by_nobody: &'static str,
    pub no_history: &'static str,
    pub more_history: fn(usize) -> String,

    pub explain: ExplainWords,

    /// What the ledger's actions are called.
    pub actions: &'static [(&'static str, &'static str)],
    pub succeeded: &'static str,
    pub pending: &'static str,
    pub refused: &'static str,
    pub broken: &'static str,
    /// What joins the items of a list.
    pub comma: &'static str,
    pub colon: &'static str,
}

/// What `explain` says.
#[derive(Debug)]
pub(super) struct ExplainWords {
    pub judged_by: fn(&str) -> String,
    pub judged_by_work_tree: &'static str,
    /// Kinds, pattern.
    pub read_default: fn(&str, &str) -> String,
    pub read_mapped: fn(&str, &str) -> String,
    pub read_by_none: &'static str,
    /// What a policy and `lockstep.yaml` are.
    pub policy: &'static str,
    pub settings: &'static str,
    pub title: &'static str,
    pub package: &'static str,
    pub judges_after_merge: &'static str,
    pub judges_nothing: &'static str,
    pub its_rules: &'static str,
    pub tests: &'static str,
    pub change_asks: &'static str,
    /// Of an entry that is not in `lockstep.yaml`.
    pub not_written: &'static str,
    pub form: &'static str,
    pub owner: &'static str,
    pub people: &'static str,
    pub unchanged: &'static str,
    pub no_rules: &'static str,
    pub rules: &'static str,
    pub policies: &'static str,
    pub systems: &'static str,
    pub freezes: &'static str,
    pub no_freeze: &'static str,
    pub eligible: fn(&str) -> String,
    pub group: fn(&str) -> String,
    /// The entry of `safety:`, and its limits.
    pub ceiling: fn(&str, &Ceiling) -> String,
    pub used: fn(&UsedView) -> String,
    pub past_unknown: &'static str,
    pub on_now: &'static str,
    pub next: &'static str,
    pub stops: &'static str,
    pub lets_pass: &'static str,
    pub stops_widening: &'static str,
    pub except: fn(&str) -> String,
}

/// How many findings of each severity, and in how many files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub errors: usize,
    pub warnings: usize,
    pub notes: usize,
    pub files: usize,
}

/// The table of a language.
pub(super) fn words(language: Language) -> &'static Words {
    match language {
        Language::English => &super::words_en::WORDS,
        Language::Japanese => &super::words_ja::WORDS,
    }
}

impl Words {
    pub(super) fn severity(&self, severity: Severity) -> &'static str {
        match severity {
            Severity::Note => self.note,
            Severity::Warning => self.warning,
            Severity::Error => self.error,
        }
    }

    pub(super) fn op(&self, op: Op) -> &'static str {
        match op {
            Op::Delete => self.delete,
            Op::Create => self.create,
            Op::Update => self.update,
        }
    }

    /// A neutral change has no direction to tell.
    pub(super) fn direction(&self, direction: Direction) -> Option<&'static str> {
        match direction {
            Direction::Widening => Some(self.widening),
            Direction::Narrowing => Some(self.narrowing),
            Direction::Neutral => None,
        }
    }

    pub(super) fn standing(&self, standing: &Standing) -> &'static str {
        match standing {
            Standing::InStep => self.in_step,
            Standing::NeverSynced => self.never_synced,
            Standing::Behind { .. } => self.behind,
            Standing::Adrift { .. } => self.adrift,
            Standing::Held { .. } => self.held,
            Standing::Unreachable { .. } => self.unreachable,
            Standing::Failed { .. } => self.failed,
        }
    }

    /// How a system stood before a proposal, in one line; `None` where there is nothing to tell.
    pub(super) fn before(&self, before: &SystemBefore) -> Option<String> {
        let SystemBefore { system, standing } = before;
        if *standing == Standing::InStep {
            return None;
        }
        let word = self.standing(standing);
        let why = standing.why().unwrap_or_default();
        let why = if why.is_empty() {
            String::new()
        } else {
            format!("{}{why}", self.colon)
        };
        Some(format!("{system}{}{word}{why}", self.colon))
    }

    pub(super) fn mode(&self, mode: Mode) -> &'static str {
        match mode {
            Mode::Observe => self.observe,
            Mode::Detect => self.detect,
            Mode::Upsert => self.upsert,
            Mode::Enforce => self.enforce,
        }
    }

    pub(super) fn status(&self, state: StatusState) -> &'static str {
        match state {
            StatusState::Pending => self.pending,
            StatusState::Success => self.succeeded,
            StatusState::Failure => self.refused,
            StatusState::Error => self.broken,
        }
    }
}
