//! Who asked for a change and who agreed to it: what the ledger said of the proposals that were merged, looked up for each change.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use crate::store::{Reader, StoreError};

/// Merged proposals that are remembered, newest last, and revisions whose evidence is.
const RECENT: usize = 256;
const REVISIONS: usize = 1_024;
/// The entry of a merge says the names of no more of its changes; as many may be more.
const NAMED: usize = 500;
/// The entry that says all of it.
pub(super) const MERGED: &str = "proposal.merged";

/// What a change's row says of where it comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    pub(super) proposal: Option<u64>,
    pub(super) title: String,
    pub(super) author: String,
    /// `tanaka 1f2e3d…`, joined by semicolons.
    pub(super) approvers: String,
    pub(super) policies: String,
    pub(super) input: String,
    pub(super) decision: String,
    pub(super) checks: String,
}

struct Merged {
    resources: HashSet<String>,
    evidence: Arc<Evidence>,
}

impl Merged {
    fn of(body: &Value) -> Self {
        let resources = body["resources"].as_array().into_iter().flatten();
        Self {
            resources: resources
                .filter_map(|r| r.as_str().map(str::to_owned))
                .collect(),
            evidence: Arc::new(Evidence::of(body)),
        }
    }

    /// Whether it may have changed this; what is about no resource in particular is about all of it.
    fn may_change(&self, resource: Option<&str>) -> bool {
        resource.is_none_or(|r| self.resources.len() >= NAMED || self.resources.contains(r))
    }
}

/// What is known of merged proposals as the ledger goes by.
pub(super) struct Proposals {
    recent: VecDeque<(i64, Arc<Merged>)>,
    /// The last entry in which each group came to a revision.
    in_step: HashMap<String, i64>,
    by_revision: HashMap<String, Option<Arc<Merged>>>,
    /// Looks further back than what went by.
    reader: Reader,
}

impl Proposals {
    pub(super) fn new(reader: Reader) -> Self {
        Self {
            recent: VecDeque::new(),
            in_step: HashMap::new(),
            by_revision: HashMap::new(),
            reader,
        }
    }

    /// Takes note of a merge.
    pub(super) fn merged(&mut self, seq: i64, revision: Option<&str>, body: &Value) {
        let merged = Arc::new(Merged::of(body));
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((seq, merged.clone()));
        if let Some(revision) = revision {
            self.keep(revision, Some(merged));
        }
    }

    /// Takes note that a group came to a revision: what was merged before is not what its next changes come from.
    pub(super) fn came_in_step(&mut self, seq: i64, group: &str) {
        match self.in_step.get_mut(group) {
            Some(last) => *last = seq,
            None => drop(self.in_step.insert(group.to_owned(), seq)),
        }
    }

    fn keep(&mut self, revision: &str, merged: Option<Arc<Merged>>) {
        if self.by_revision.len() >= REVISIONS {
            self.by_revision.clear();
        }
        self.by_revision.insert(revision.to_owned(), merged);
    }

    /// Where a change comes from: of the proposals merged since its group was last in step the newest that changes it; else the one whose merge the
    /// revision is, if it changes it. A run carries all that was merged before it.
    pub(super) fn of(
        &mut self,
        resource: Option<&str>,
        group: Option<&str>,
        revision: Option<&str>,
    ) -> Result<Option<Arc<Evidence>>, StoreError> {
        if let Some(resource) = resource {
            let since = group.and_then(|group| self.in_step.get(group)).copied();
            let since = since.unwrap_or(i64::MIN);
            let news = self.recent.iter().rev().take_while(|(seq, _)| *seq > since);
            let found = news
                .into_iter()
                .find(|(_, m)| m.resources.contains(resource));
            if let Some((_, found)) = found {
                return Ok(Some(found.evidence.clone()));
            }
        }
        let Some(revision) = revision else {
            return Ok(None);
        };
        let found = match self.by_revision.get(revision) {
            Some(known) => known.clone(),
            None => {
                let bodies = self.reader.bodies_of(revision, MERGED)?;
                let found = bodies.last().map(|body| Arc::new(Merged::of(body)));
                self.keep(revision, found.clone());
                found
            }
        };
        let found = found.filter(|merged| merged.may_change(resource));
        Ok(found.map(|merged| merged.evidence.clone()))
    }
}

impl Evidence {
    /// Of the body of any entry about a proposal, as far as it says it.
    pub(super) fn of(body: &Value) -> Self {
        let text = |pointer: &str| match body.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            _ => String::new(),
        };
        let listed = |pointer: &str, of: &dyn Fn(&Value) -> Option<String>| {
            let items = body.pointer(pointer).and_then(Value::as_array);
            let items = items.into_iter().flatten().filter_map(of);
            items.collect::<Vec<_>>().join("; ")
        };
        let two = |value: &Value, a: &str, b: &str| {
            Some(format!("{} {}", value[a].as_str()?, value[b].as_str()?))
        };
        Self {
            proposal: body["proposal"].as_u64(),
            title: text("/title"),
            author: text("/author"),
            approvers: listed("/approvals", &|v| two(v, "by", "commit")),
            policies: text("/policies"),
            input: text("/input"),
            decision: text("/decision"),
            checks: listed("/checks", &|v| two(v, "context", "state")),
        }
    }
}
