//! What Lockstep reads of GitHub's answers. Only these fields: an Enterprise Server that lacks another is no obstacle.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Account {
    pub(super) login: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct App {
    pub(super) slug: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Installation {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) permissions: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Repository {
    pub(super) full_name: String,
    /// What a person's token may do.
    #[serde(default)]
    pub(super) permissions: BTreeMap<String, bool>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Reference {
    #[serde(rename = "ref", default)]
    pub(super) name: String,
    pub(super) object: Target,
}

#[derive(Debug, Deserialize)]
pub(super) struct Target {
    pub(super) sha: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Pull {
    pub(super) number: u64,
    pub(super) title: String,
    pub(super) body: Option<String>,
    /// `None` for an account that is gone.
    pub(super) user: Option<Account>,
    #[serde(default)]
    pub(super) labels: Vec<Label>,
    pub(super) head: Side,
    pub(super) base: Side,
    pub(super) state: String,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Option<Timestamp>,
    pub(super) merged_at: Option<Timestamp>,
    pub(super) merge_commit_sha: Option<String>,
    /// Only in the answer about one.
    pub(super) merged_by: Option<Account>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Label {
    pub(super) name: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Side {
    #[serde(rename = "ref")]
    pub(super) name: String,
    pub(super) sha: String,
    /// `None` where the fork is gone.
    pub(super) repo: Option<SideRepository>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct SideRepository {
    pub(super) full_name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Review {
    pub(super) id: u64,
    pub(super) user: Option<Account>,
    pub(super) body: Option<String>,
    pub(super) state: String,
    pub(super) commit_id: Option<String>,
    pub(super) submitted_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Status {
    #[serde(default)]
    pub(super) id: u64,
    #[serde(default)]
    pub(super) creator: Option<Account>,
    pub(super) context: String,
    pub(super) state: String,
    pub(super) description: Option<String>,
    pub(super) updated_at: Timestamp,
}

#[derive(Debug, Deserialize)]
pub(super) struct Comment {
    pub(super) id: u64,
    pub(super) user: Option<Account>,
    pub(super) body: Option<String>,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Option<Timestamp>,
    /// `…/issues/7`
    #[serde(default)]
    pub(super) issue_url: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Merged {
    pub(super) sha: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct CheckRuns {
    #[serde(default)]
    pub(super) check_runs: Vec<CheckRun>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CheckRun {
    pub(super) id: u64,
    pub(super) external_id: Option<String>,
}
