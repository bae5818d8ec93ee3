//! A plan as people read it: one line a change whatever the number of systems, deletes first.

use similar::TextDiff;

use super::DateView;
use super::words::words;
use crate::config::Config;
use crate::config::connectors::is_compensated;
use crate::ids::{PlanDigest, Revision, SystemName};
use crate::plan::fields::Kept;
use crate::plan::{GroupedChange, Op, Origin, Plan};
use crate::resource::{Direction, Kinds, Language};
use crate::state::Spec;

/// A plan as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanView {
    pub language: Language,
    pub digest: PlanDigest,
    /// `None` for a work tree.
    pub revision: Option<Revision>,
    /// The same change on several systems once; deletes, creates, updates, each by name.
    pub changes: Vec<ChangeView>,
    /// Every system of the plan, also those with nothing to do.
    pub systems: Vec<SystemTotals>,
    /// What its dates will do afterwards, in order.
    pub later: Vec<DateView>,
    /// The systems on which anything is done at once: those with changes, save where these begin only later.
    pub reaches: Vec<SystemName>,
    /// Those with changes that take effect one after another, since the system can stage nothing.
    pub one_by_one: Vec<SystemName>,
    /// What the documents say otherwise and a system keeps, since the fields are not Lockstep's there.
    pub kept: Kept,
}

/// One change as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeView {
    pub op: Op,
    pub kind: String,
    pub name: String,
    /// In the words of its kind: `ai_assistant: rollout 10% → 25%`. Text from the repo, not yet made safe for any output.
    pub sentence: String,
    pub systems: Vec<SystemName>,
    pub direction: Direction,
    pub before: Option<Spec>,
    pub after: Option<Spec>,
    pub origin: Option<Origin>,
}

/// How much is done on one system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemTotals {
    pub system: SystemName,
    pub deletes: usize,
    pub creates: usize,
    pub updates: usize,
}

/// How many resources are named of which a system keeps something.
const KEPT: usize = 5;

/// Specs larger than this many bytes are not compared line by line: the comparison's cost grows with the square of what differs.
const DIFF_BYTES: usize = 64 << 10;

impl PlanView {
    pub fn new(plan: &Plan, kinds: &Kinds, language: Language) -> Self {
        Self {
            language,
            digest: plan.digest(),
            revision: plan.revision.clone(),
            changes: plan
                .grouped()
                .into_iter()
                .map(|g| ChangeView::new(&g, kinds, language))
                .collect(),
            systems: plan
                .systems
                .iter()
                .map(|(system, plan)| SystemTotals {
                    system: system.clone(),
                    deletes: plan.count(Op::Delete),
                    creates: plan.count(Op::Create),
                    updates: plan.count(Op::Update),
                })
                .collect(),
            later: Vec::new(),
            reaches: touched(plan),
            one_by_one: Vec::new(),
            kept: Kept::new(),
        }
    }

    /// The same with what its dates will do after what is done at once.
    #[must_use]
    pub fn with_dates(mut self, at_once: &Plan, later: Vec<DateView>) -> Self {
        self.reaches = touched(at_once);
        self.later = later;
        self
    }

    /// The same with where a system's limits weaken what is promised.
    #[must_use]
    pub fn with_limits(mut self, config: &Config) -> Self {
        let is_limited = |name: &SystemName| {
            let system = config.systems.get(name);
            system.is_some_and(|system| is_compensated(&system.connector))
        };
        let touched = self.changes.iter().flat_map(|change| &change.systems);
        let mut limited: Vec<SystemName> = touched.filter(|s| is_limited(s)).cloned().collect();
        limited.sort();
        limited.dedup();
        self.one_by_one = limited;
        self
    }

    /// The same with what a system keeps of what the documents say otherwise.
    #[must_use]
    pub fn with_kept(mut self, kept: Kept) -> Self {
        self.kept = kept;
        self
    }

    /// What each system keeps, some of it by name: a resource and its fields. `named` makes a name safe for where it is shown.
    pub(super) fn kept_by(&self, named: fn(&str) -> String) -> Vec<String> {
        let words = words(self.language);
        let by_system = self.kept.iter().map(|(system, resources)| {
            let some = resources.iter().take(KEPT).map(|(id, fields)| {
                let fields: Vec<String> = fields.iter().map(|field| named(field)).collect();
                format!("{} {}", named(id.as_str()), fields.join(", "))
            });
            let mut some = some.collect::<Vec<_>>().join("; ");
            if let more @ 1.. = resources.len().saturating_sub(KEPT) {
                some.push_str("; ");
                some.push_str(&(words.more_items)(more));
            }
            (words.kept)(&named(system.as_str()), &some)
        });
        by_system.collect()
    }

    /// Whether there is nothing to do anywhere.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// How many deletes, creates and updates are shown: changes, not systems.
    pub(super) fn totals(&self) -> (usize, usize, usize) {
        let count = |op| self.changes.iter().filter(|c| c.op == op).count();
        (count(Op::Delete), count(Op::Create), count(Op::Update))
    }
}

fn touched(plan: &Plan) -> Vec<SystemName> {
    let systems = plan.systems.iter();
    let touched = systems.filter(|(_, share)| !share.changes.is_empty());
    touched.map(|(system, _)| system.clone()).collect()
}

impl ChangeView {
    fn new(grouped: &GroupedChange<'_>, kinds: &Kinds, language: Language) -> Self {
        let GroupedChange { change, systems } = grouped;
        let spec = |item: &Option<std::sync::Arc<crate::state::Item>>| {
            item.as_ref().map(|item| item.spec.clone())
        };
        let (before, after) = (spec(&change.before), spec(&change.after));
        let sentence = match kinds.get(change.id.kind()) {
            Some(kind) => kind.describe(
                change.id.name(),
                before.as_ref().map(Spec::value).as_ref(),
                after.as_ref().map(Spec::value).as_ref(),
                language,
            ),
            // A resource of a kind that an older revision had: there are no words of its own for it.
            None => (words(language).describe)(change.op, change.id.as_str()),
        };
        Self {
            op: change.op,
            kind: change.id.kind().to_owned(),
            name: change.id.name().to_owned(),
            sentence,
            systems: systems.iter().map(|s| (*s).clone()).collect(),
            direction: change.direction,
            before,
            after,
            origin: change.origin.clone(),
        }
    }

    /// The systems it is made on, as a list.
    pub(super) fn system_list(&self) -> String {
        let names: Vec<&str> = self.systems.iter().map(SystemName::as_str).collect();
        names.join(", ")
    }

    /// The unified diff of the spec as indented JSON, without file headers. `None` where it would be too large to read.
    pub fn diff(&self) -> Option<String> {
        let text = |spec: &Option<Spec>| match spec {
            None => Some(String::new()),
            Some(spec) if spec.as_str().len() > DIFF_BYTES => None,
            Some(spec) => serde_json::to_string_pretty(&spec.value())
                .ok()
                .map(|text| text + "\n"),
        };
        let (before, after) = (text(&self.before)?, text(&self.after)?);
        let diff = TextDiff::from_lines(&before, &after)
            .unified_diff()
            .context_radius(3)
            .to_string();
        Some(diff)
    }
}
