//! What policies see: a versioned contract. Fields may be added; one that changes its meaning or goes raises [`VERSION`].
//!
//! Everything in it is a fact at the time of judging: what the proposal is, what it would change, who the people are
//! according to the base commit, what time it is. Which approvals still bind is decided before they come here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::config::{Config, Mode};
use crate::ids::{DocPath, KindName, ResourceRef, Revision, SystemName};
use crate::plan::{Op, Plan};
use crate::resource::{Bundle, Direction, SystemSet};
use crate::state::Spec;

/// The version of the contract, in `input.version`.
pub const VERSION: u32 = 1;

/// The kind whose resources are incidents.
const INCIDENT: &str = "Incident";

/// Words for an incident's `status` that end it. Any other, or none, leaves it open: the safe side.
const ENDED: [&str; 6] = [
    "resolved",
    "closed",
    "postmortem",
    "解決",
    "解決済み",
    "終了",
];

/// What is known of the proposal itself, as the forge and the repository tell it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProposalFacts {
    pub number: u64,
    pub title: String,
    /// A login on the forge or a key of `people`; policies see the key where there is one.
    pub author: String,
    pub labels: Vec<String>,
    pub base: Revision,
    pub head: Revision,
    pub opened_at: Timestamp,
    /// Only approvals that still bind. The author's may be among them; it never counts.
    pub approvals: Vec<Approval>,
    /// Every file that differs between base and head, policies and `lockstep.yaml` included: not all of what matters is a resource.
    pub files: Vec<DocPath>,
}

/// An approval that still binds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Approval {
    /// A login on the forge or a key of `people`; policies see the key where there is one.
    pub user: String,
    /// The commit that was approved.
    pub commit: Revision,
    pub at: Timestamp,
}

/// One change, the same on all of its systems.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangeFacts {
    pub op: Op,
    pub kind: String,
    pub name: String,
    pub systems: Vec<SystemName>,
    pub before: Option<Spec>,
    pub after: Option<Spec>,
    pub direction: Direction,
    /// Whether the base has no such resource, for any system.
    pub new: bool,
    /// Whether the head has no such resource, for any system.
    pub gone: bool,
    /// Whether it held at the base at the time of judging. Written only where its dates say that it did not.
    #[serde(skip_serializing_if = "is_true")]
    pub before_holds: bool,
    /// The same at the head.
    #[serde(skip_serializing_if = "is_true")]
    pub after_holds: bool,
    pub document: Option<DocPath>,
    pub line: Option<u32>,
}

/// Resources by kind and name. A name may hold slashes; it is one key.
pub type Resources = BTreeMap<String, Arc<BTreeMap<String, ResourceFacts>>>;

/// A resource in `before` or `after`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResourceFacts {
    pub spec: Spec,
    pub systems: SystemSet,
    /// Whether it holds at the time of judging. Written only where its dates say that it does not.
    #[serde(skip_serializing_if = "is_true")]
    pub holds: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_true(value: &bool) -> bool {
    *value
}

/// A system, as far as it matters to a judgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SystemFacts {
    pub title: Option<String>,
    pub kinds: BTreeSet<KindName>,
    pub mode: Mode,
    /// The host in its `url`, if it has one.
    pub host: Option<String>,
}

/// A person, without what policies need not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PersonFacts {
    pub name: String,
    pub forge: String,
    pub roles: Vec<String>,
    pub systems: BTreeSet<SystemName>,
    /// The ids under which systems know this person.
    pub ids: Vec<String>,
}

/// A freeze that is on now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FreezeFacts {
    pub name: String,
    pub until: Timestamp,
    /// What is exempt from it: a direction, a kind's name, or `role:` and a role.
    pub except: Vec<String>,
}

/// An incident that is open before or after the proposal. One that the proposal itself resolves is still open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IncidentFacts {
    pub name: String,
    /// The systems it affects; none where it does not say.
    pub systems: Vec<String>,
    pub severity: Option<String>,
}

/// `input`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyInput {
    pub version: u32,
    pub proposal: ProposalFacts,
    /// In the order of the plan: deletes first.
    pub changes: Vec<ChangeFacts>,
    /// All resources at the base.
    pub before: Resources,
    /// All resources at the head.
    pub after: Resources,
    pub systems: BTreeMap<SystemName, SystemFacts>,
    pub people: BTreeMap<String, PersonFacts>,
    /// The time of judging, RFC 3339.
    pub now: Timestamp,
    pub freezes_active: Vec<FreezeFacts>,
    pub incidents_open: Vec<IncidentFacts>,
    /// Whether systems, groups, people, document map, safety or freezes differ between base and head.
    pub settings_changed: bool,
    /// Systems at the base that the head no longer has.
    pub systems_leaving: Vec<SystemName>,
    /// The addresses from which Lockstep reaches the systems, as IP addresses: what must not be blocked.
    pub reconciler_addresses: Vec<String>,
}

impl PolicyInput {
    /// Puts the input together. `before` is `None` for an empty world; `judged_by` is the configuration at the base commit.
    ///
    /// Costs one step for each resource of both bundles, whatever the proposal changes: policies may ask for any of them.
    pub fn new(
        mut proposal: ProposalFacts,
        plan: &Plan,
        before: Option<&Bundle>,
        after: &Bundle,
        judged_by: &Config,
        now: Timestamp,
    ) -> Self {
        let key = |who: String| match judged_by.person(&who) {
            Some((key, _)) => key.to_owned(),
            None => who,
        };
        proposal.author = key(std::mem::take(&mut proposal.author));
        for approval in &mut proposal.approvals {
            approval.user = key(std::mem::take(&mut approval.user));
        }
        let had = before.map(|b| resources(b, now)).unwrap_or_default();
        let has = resources(after, now);
        Self {
            version: VERSION,
            proposal,
            changes: changes(plan, before, after, now),
            incidents_open: incidents(&had, &has),
            before: had,
            after: has,
            systems: systems(judged_by),
            people: people(judged_by),
            now,
            freezes_active: freezes(judged_by, now),
            settings_changed: before.is_none_or(|b| b.config != after.config),
            systems_leaving: judged_by
                .systems
                .keys()
                .filter(|name| !after.config.systems.contains_key(*name))
                .cloned()
                .collect(),
            reconciler_addresses: Vec::new(),
        }
    }

    /// The same with the addresses from which Lockstep reaches the systems, which only the server knows.
    #[must_use]
    pub fn with_reconciler_addresses(mut self, addresses: Vec<String>) -> Self {
        self.reconciler_addresses = addresses;
        self
    }

    /// The input as policies read it and as its digest is taken: canonical JSON (RFC 8785).
    ///
    /// `before` and `after` hold only the kinds among `kinds`, all where it is `None`: a proposal that changes one flag should not
    /// cost a hundred thousand others. A kind that is asked for is there even if it has no resources.
    pub fn canonical_json(
        &self,
        kinds: Option<&BTreeSet<String>>,
    ) -> Result<String, serde_json::Error> {
        let Some(kinds) = kinds else {
            return serde_json_canonicalizer::to_string(self);
        };
        let only = |all: &Resources| {
            kinds
                .iter()
                .map(|kind| (kind.clone(), all.get(kind).cloned().unwrap_or_default()))
                .collect()
        };
        let seen = Self {
            before: only(&self.before),
            after: only(&self.after),
            ..self.clone()
        };
        serde_json_canonicalizer::to_string(&seen)
    }

    /// Whether this person wrote the proposal. Logins differ in case only by mistake, so case is not looked at.
    pub(super) fn is_author(&self, person: &str) -> bool {
        let author = self.proposal.author.to_lowercase();
        author == person.to_lowercase()
            || self
                .people
                .get(person)
                .is_some_and(|p| !p.forge.is_empty() && p.forge.to_lowercase() == author)
    }

    /// Whether an entry of an approval's `from` means this person.
    pub fn is_meant(&self, who: &str, person: &str) -> bool {
        self.people.get(person).is_some_and(|facts| {
            who == "*"
                || who == person
                || facts.roles.iter().any(|role| role == who)
                || who
                    .strip_prefix("system:")
                    .is_some_and(|system| facts.systems.contains(system))
        })
    }
}

fn changes(
    plan: &Plan,
    before: Option<&Bundle>,
    after: &Bundle,
    now: Timestamp,
) -> Vec<ChangeFacts> {
    plan.grouped()
        .into_iter()
        .map(|group| {
            let change = group.change;
            ChangeFacts {
                op: change.op,
                kind: change.id.kind().to_owned(),
                name: change.id.name().to_owned(),
                systems: group.systems.into_iter().cloned().collect(),
                before: change.before.as_ref().map(|item| item.spec.clone()),
                after: change.after.as_ref().map(|item| item.spec.clone()),
                direction: change.direction,
                new: before.is_none_or(|bundle| bundle.get(&change.id).is_none()),
                gone: after.get(&change.id).is_none(),
                before_holds: before.is_none_or(|bundle| holds(bundle, &change.id, now)),
                after_holds: holds(after, &change.id, now),
                document: change.origin.as_ref().map(|o| o.document.clone()),
                line: change.origin.as_ref().and_then(|o| o.line),
            }
        })
        .collect()
}

/// What is not there has no dates.
fn holds(bundle: &Bundle, id: &ResourceRef, now: Timestamp) -> bool {
    bundle.get(id).is_none_or(|resource| resource.holds(now))
}

fn resources(bundle: &Bundle, now: Timestamp) -> Resources {
    let mut kinds: BTreeMap<String, BTreeMap<String, ResourceFacts>> = BTreeMap::new();
    for resource in bundle.resources() {
        let id = &resource.item.id;
        let facts = ResourceFacts {
            spec: resource.item.spec.clone(),
            systems: resource.systems.clone(),
            holds: resource.holds(now),
        };
        match kinds.get_mut(id.kind()) {
            Some(names) => {
                names.insert(id.name().to_owned(), facts);
            }
            None => {
                let names = BTreeMap::from([(id.name().to_owned(), facts)]);
                kinds.insert(id.kind().to_owned(), names);
            }
        }
    }
    kinds
        .into_iter()
        .map(|(kind, names)| (kind, Arc::new(names)))
        .collect()
}

fn systems(config: &Config) -> BTreeMap<SystemName, SystemFacts> {
    config
        .systems
        .iter()
        .map(|(name, system)| {
            let url = system.settings.get("url").and_then(|url| url.as_str());
            let facts = SystemFacts {
                title: system.title.clone(),
                kinds: system.kinds.clone(),
                mode: system.mode,
                host: url.and_then(host),
            };
            (name.clone(), facts)
        })
        .collect()
}

/// The host of a URL; an IPv6 address without its brackets.
fn host(url: &str) -> Option<String> {
    match url::Url::parse(url).ok()?.host()? {
        url::Host::Domain(name) => Some(name.to_owned()),
        url::Host::Ipv4(address) => Some(address.to_string()),
        url::Host::Ipv6(address) => Some(address.to_string()),
    }
}

fn people(config: &Config) -> BTreeMap<String, PersonFacts> {
    config
        .people
        .iter()
        .map(|(key, person)| {
            let facts = PersonFacts {
                name: person.name.clone(),
                forge: person.forge.clone(),
                roles: person.roles.clone(),
                systems: person.systems.clone(),
                ids: person.ids.clone(),
            };
            (key.clone(), facts)
        })
        .collect()
}

fn freezes(config: &Config, now: Timestamp) -> Vec<FreezeFacts> {
    config
        .freezes
        .iter()
        .filter(|freeze| freeze.is_on(now))
        .map(|freeze| FreezeFacts {
            name: freeze.name.clone(),
            until: freeze.until,
            except: freeze.except.clone(),
        })
        .collect()
}

fn incidents(before: &Resources, after: &Resources) -> Vec<IncidentFacts> {
    let mut open: BTreeMap<&str, IncidentFacts> = BTreeMap::new();
    // Base first: what stood there when the proposal was made decides.
    for (name, resource) in [before, after]
        .into_iter()
        .filter_map(|kinds| kinds.get(INCIDENT))
        .flat_map(|names| names.iter())
    {
        let spec = resource.spec.value();
        let word = |field: &str| spec.get(field).and_then(|v| v.as_str()).map(str::to_owned);
        let ended = word("status").is_some_and(|s| ENDED.contains(&s.to_lowercase().as_str()));
        // A postmortem is written about an incident; it is none.
        if ended || name.ends_with("/postmortem") || open.contains_key(name.as_str()) {
            continue;
        }
        let named = spec.get("affected").and_then(|v| v.as_array());
        let systems = match named {
            Some(list) => list
                .iter()
                .filter_map(|s| s.as_str())
                .map(str::to_owned)
                .collect(),
            None => resource.systems.iter().map(ToString::to_string).collect(),
        };
        let facts = IncidentFacts {
            name: name.clone(),
            systems,
            severity: word("severity"),
        };
        open.insert(name, facts);
    }
    open.into_values().collect()
}
