//! What judges a line, and by whose word: the shape behind `lockstep explain`.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::config::{Ceiling, Mode};
use crate::ids::{DocPath, GroupName, KindName, ResourceRef, Revision, SystemName};
use crate::plan::Op;
use crate::resource::{Direction, Language};

/// Everything about the resources that were asked about.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainView {
    #[serde(skip)]
    pub language: Language,
    /// The zone in which times are shown to people; JSON has them in UTC.
    #[serde(skip)]
    pub timezone: TimeZone,
    /// The commit that everything that judges is read from; `None` for the work tree as it lies.
    pub judged_by: Option<Revision>,
    /// Whether there is a proposal, so that what policies say is known.
    pub proposed: bool,
    /// The document that was asked about.
    pub document: Option<DocumentView>,
    pub resources: Vec<ResourceView>,
    /// Resources of the document that are not told of one by one.
    pub more: usize,
}

/// A place in the config repo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Whence {
    pub path: DocPath,
    pub line: Option<u32>,
}

/// How a document is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DocumentView {
    pub path: DocPath,
    /// None where nothing reads it.
    pub kinds: Vec<KindName>,
    pub pattern: Option<String>,
    /// Whether `documents:` maps it, and not the default map.
    pub mapped: bool,
    /// What policies say because it changes, where it declares nothing: of `lockstep.yaml` and policies also where nothing changes
    /// them, as what would be said.
    pub rules: Vec<RuleView>,
    /// Where it is a policy.
    pub policy: Option<PolicyFileView>,
    /// Where it is `lockstep.yaml`: its entries, as the judging commit has them.
    pub settings: Vec<SettingView>,
}

/// A policy that was asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyFileView {
    pub package: Option<String>,
    pub title: Option<String>,
    pub owner: Option<String>,
    /// Whether its rules are asked about proposals: helpers and tests are not.
    pub judges: bool,
    /// Whether the proposal changes it, which counts from the merge on.
    pub changed: bool,
    /// By name, where each begins.
    pub rules: Vec<(String, Whence)>,
    pub tests: Vec<(String, Whence)>,
}

/// One entry of `lockstep.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SettingView {
    /// `systems.medical`, `safety.default`.
    pub entry: String,
    /// `None` where nothing is written and Lockstep's own value holds.
    pub place: Option<Whence>,
    /// What it says, by the names that `lockstep.yaml` has for it.
    pub says: Vec<(&'static str, String)>,
}

/// One resource and what judges it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResourceView {
    pub id: ResourceRef,
    pub declared: Option<Whence>,
    pub pattern: Option<String>,
    /// What the proposal does to it: one entry where it does the same on all systems.
    pub changes: Vec<ChangeLine>,
    /// Whom the resource itself names as its owner.
    pub owner: Option<String>,
    /// People of its systems, by their keys.
    pub people: Vec<String>,
    pub rules: Vec<RuleView>,
    /// Policies that may speak of its kind; told where there is no proposal.
    pub policies: Vec<PolicyView>,
    pub systems: Vec<SystemView>,
    pub freezes: Vec<FreezeView>,
}

/// One change in a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangeLine {
    pub op: Op,
    pub sentence: String,
    pub direction: Direction,
    pub systems: Vec<SystemName>,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    Denies,
    Warns,
    Asks,
    Recuses,
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleView {
    pub effect: Effect,
    pub text: String,
    pub code: Option<String>,
    /// Of approvals: how many, from whom, who could give them, who has.
    pub count: Option<u32>,
    pub from: Vec<String>,
    pub eligible: Vec<String>,
    pub have: Vec<String>,
    /// `None` where Lockstep says it itself.
    pub rule: Option<Whence>,
}

/// A policy by its header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyView {
    pub path: DocPath,
    pub title: Option<String>,
    pub owner: Option<String>,
}

/// One system that the resource is for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SystemView {
    pub system: SystemName,
    pub group: Option<GroupName>,
    pub mode: Mode,
    pub defined: Option<Whence>,
    pub ceiling: CeilingView,
    /// Why the merge will be held, as far as this kind on this system is the reason.
    pub held: Vec<String>,
}

/// The ceiling that counts a change of this kind on this system.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CeilingView {
    /// The entry of `safety:`: `default`, a kind, a system, or both.
    pub under: String,
    /// `None` where nothing is written and Lockstep's own limits hold.
    pub place: Option<Whence>,
    #[serde(flatten)]
    pub limits: Ceiling,
    /// With this proposal, within the window.
    pub used: Option<UsedView>,
}

/// How much of a ceiling is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UsedView {
    pub rows: u64,
    pub deletes: u64,
    pub delete_limit: u64,
    pub updates: u64,
    pub update_limit: u64,
    /// Whether earlier changes are counted too; without a store only the proposal is.
    pub past_known: bool,
}

/// A freeze that is on, or the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FreezeView {
    pub name: String,
    pub from: Timestamp,
    pub until: Timestamp,
    pub on: bool,
    pub except: Vec<String>,
    /// Whether it would stop the changes told here; `None` where there are none.
    pub stops: Option<bool>,
    pub place: Option<Whence>,
}
