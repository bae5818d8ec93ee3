//! What the page shows, read from the state: a value shaped for display.
//!
//! Specs are read leniently. A field that is absent or of another type is left out, since a page must not fail for what a
//! custom kind or an older revision holds.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::version;
use super::words::{self, Words};
use crate::reference::keeper::Snapshot;
use crate::resource::Language;
use crate::state::Item;

/// Resources of one kind that a page shows: more than anyone reads, and little enough for any browser.
const SHOWN: usize = 500;

/// Fields of a custom kind that go into columns of their own.
const COLUMNS: usize = 5;

/// The part of the page that changes.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub(super) version: String,
    pub(super) revision: Option<String>,
    pub(super) digest: String,
    pub(super) resources: usize,
    /// How many are not shown, since there are too many of their kind.
    pub(super) hidden: usize,
    pub(super) banners: Vec<Banner>,
    pub(super) flags: Vec<Flag>,
    pub(super) interviews: Vec<Classification>,
    pub(super) grants: Vec<Role>,
    pub(super) blocks: Vec<Entry>,
    pub(super) requirements: Vec<Requirement>,
    /// Those that are open: they stand at the top.
    pub(super) incidents: Vec<Incident>,
    /// Those that are over, and what was learned from them.
    pub(super) past: Vec<Incident>,
    pub(super) experiments: Vec<Experiment>,
    pub(super) customs: Vec<Custom>,
}

/// Identifies a row and its content, so that the page can mark what changed.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) key: String,
    pub(super) digest: String,
}

#[derive(Debug)]
pub(super) struct Banner {
    pub(super) mark: Mark,
    /// A CSS class: `critical`, `warning` or `info`.
    pub(super) class: &'static str,
    pub(super) severity: &'static str,
    pub(super) title: String,
    /// Label and text.
    pub(super) lines: Vec<(&'static str, String)>,
}

#[derive(Debug)]
pub(super) struct Flag {
    pub(super) mark: Mark,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) enabled: bool,
    /// The share of users, in percent, who have it: none of them while it is off.
    pub(super) reach: f64,
    /// The spec with `enabled` the other way round: what its button sends.
    pub(super) flipped: Option<String>,
    pub(super) notes: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Classification {
    pub(super) name: String,
    pub(super) types: Vec<InterviewType>,
}

#[derive(Debug)]
pub(super) struct InterviewType {
    pub(super) mark: Mark,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) minutes: Option<String>,
    pub(super) retired: bool,
    pub(super) successor: Option<String>,
}

#[derive(Debug)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) entries: Vec<Entry>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) mark: Mark,
    pub(super) name: String,
    pub(super) until: Option<String>,
    pub(super) reason: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Requirement {
    pub(super) title: String,
    pub(super) effective: Option<String>,
    pub(super) done: usize,
    pub(super) items: Vec<Task>,
}

#[derive(Debug)]
pub(super) struct Task {
    pub(super) mark: Mark,
    pub(super) action: String,
    pub(super) done: bool,
}

#[derive(Debug)]
pub(super) struct Incident {
    pub(super) mark: Mark,
    pub(super) title: String,
    pub(super) severity: Option<String>,
    pub(super) status: Option<String>,
    /// Label and text.
    pub(super) lines: Vec<(&'static str, String)>,
    pub(super) open: bool,
}

#[derive(Debug)]
pub(super) struct Experiment {
    pub(super) mark: Mark,
    pub(super) title: String,
    pub(super) variants: Vec<Variant>,
    pub(super) recommendation: Option<String>,
}

#[derive(Debug)]
pub(super) struct Variant {
    pub(super) name: String,
    pub(super) result: String,
    pub(super) winner: bool,
}

#[derive(Debug)]
pub(super) struct Custom {
    pub(super) kind: String,
    /// Names of the fields, where there are few enough for a table; otherwise each row has its whole spec in one cell.
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Row>,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) mark: Mark,
    pub(super) name: String,
    pub(super) cells: Vec<String>,
}

/// Reads the page off a state.
pub(super) fn live(snapshot: &Snapshot, language: Language) -> Live {
    let words = words::of(language);
    let mut live = Live {
        version: version(snapshot),
        revision: snapshot.revision.as_ref().map(|r| r.short().to_owned()),
        digest: snapshot.state.digest().short(),
        ..Live::default()
    };
    let mut items: Vec<&Item> = snapshot.state.items().map(AsRef::as_ref).collect();
    items.sort_by(|a, b| a.id.cmp(&b.id));
    live.resources = items.len();

    let mut notices: Vec<(&Item, Value)> = Vec::new();
    let mut interviews: BTreeMap<String, Vec<InterviewType>> = BTreeMap::new();
    let mut grants: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    let mut requirements: BTreeMap<String, Requirement> = BTreeMap::new();
    let mut customs: BTreeMap<String, Vec<&Item>> = BTreeMap::new();
    let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
    for item in items {
        let (kind, name) = (item.id.kind(), item.id.name());
        let count = shown.entry(kind).or_default();
        *count += 1;
        // Of notices all are read, since the gravest may be the last.
        if *count > SHOWN && kind != "Notice" {
            live.hidden += 1;
            continue;
        }
        let spec = item.spec.value();
        match kind {
            "FeatureFlag" => live.flags.push(flag(item, spec, words)),
            "InterviewType" => {
                let classification = text(&spec, &["classification"]).unwrap_or_default();
                let types = interviews.entry(classification).or_default();
                types.push(interview_type(item, &spec));
            }
            "AccessGrant" => {
                let (role, who) = name.split_once('/').unwrap_or(("", name));
                let entries = grants.entry(role.to_owned()).or_default();
                entries.push(entry(item, who, &spec));
            }
            "IpBlock" => live.blocks.push(entry(item, name, &spec)),
            "Requirement" => {
                let requirement = requirements.entry(name.to_owned()).or_default();
                requirement.title = title(item, &spec);
                requirement.effective = text(&spec, &["effective"]);
            }
            "ComplianceItem" => {
                let (requirement, rest) = name.split_once('/').unwrap_or((name, ""));
                let requirement = requirements.entry(requirement.to_owned()).or_default();
                requirement.items.push(task(item, rest, &spec));
            }
            "Notice" => notices.push((item, spec)),
            // What was retracted is not shown any more; notices are looked at together below.
            "Incident" | "Experiment" if is_true(&spec, &["retracted"]) => {}
            "Incident" => {
                let incident = incident(item, &spec, words);
                let place = if incident.open {
                    &mut live.incidents
                } else {
                    &mut live.past
                };
                place.push(incident);
            }
            "Experiment" => live.experiments.push(experiment(item, &spec)),
            _ => customs.entry(kind.to_owned()).or_default().push(item),
        }
    }
    live.banners = banners(&notices, words);
    live.interviews = interviews
        .into_iter()
        .map(|(name, mut types)| {
            types.sort_by_key(|t| t.retired);
            Classification { name, types }
        })
        .collect();
    live.grants = grants
        .into_iter()
        .map(|(role, entries)| Role {
            name: words.role(&role),
            entries,
        })
        .collect();
    live.requirements = requirements
        .into_iter()
        .map(|(name, mut requirement)| {
            if requirement.title.is_empty() {
                requirement.title = name;
            }
            requirement.done = requirement.items.iter().filter(|i| i.done).count();
            requirement
        })
        .collect();
    live.customs = customs
        .into_iter()
        .map(|(kind, items)| custom(kind, &items))
        .collect();
    live
}

fn mark(item: &Item) -> Mark {
    Mark {
        key: item.id.as_str().to_owned(),
        digest: item.digest().short(),
    }
}

/// The first of these fields that is there, as text.
fn text(spec: &Value, fields: &[&str]) -> Option<String> {
    fields.iter().find_map(|field| match spec.get(field)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) => {
            let words: Vec<_> = items.iter().filter_map(Value::as_str).collect();
            (!words.is_empty()).then(|| words.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Object(_) => None,
    })
}

fn is_true(spec: &Value, fields: &[&str]) -> bool {
    fields
        .iter()
        .any(|f| spec.get(f).and_then(Value::as_bool) == Some(true))
}

fn title(item: &Item, spec: &Value) -> String {
    text(spec, &["title", "name"]).unwrap_or_else(|| item.id.name().to_owned())
}

fn flag(item: &Item, mut spec: Value, words: &Words) -> Flag {
    let enabled = is_true(&spec, &["enabled"]);
    let rollout = spec.get("rollout").and_then(Value::as_f64);
    let rollout = rollout.unwrap_or(100.0).clamp(0.0, 100.0);
    let mut notes: Vec<String> = [(words.owner, "owner"), (words.until, "expires")]
        .iter()
        .filter_map(|(label, field)| Some(format!("{label} {}", text(&spec, &[field])?)))
        .collect();
    if !enabled && rollout > 0.0 {
        notes.push(format!("{} {rollout}%", words.when_on));
    }
    if spec.get("targeting").is_some() {
        notes.push(words.targeted.to_owned());
    }
    let description = text(&spec, &["description"]).unwrap_or_default();
    let flipped = spec.get_mut("enabled").map(|place| {
        *place = Value::Bool(!enabled);
    });
    Flag {
        mark: mark(item),
        name: item.id.name().to_owned(),
        description,
        enabled,
        reach: if enabled { rollout } else { 0.0 },
        flipped: flipped.map(|()| spec.to_string()),
        notes,
    }
}

fn interview_type(item: &Item, spec: &Value) -> InterviewType {
    InterviewType {
        mark: mark(item),
        name: title(item, spec),
        description: text(spec, &["description"]).unwrap_or_default(),
        minutes: text(spec, &["duration_minutes"]),
        retired: is_true(spec, &["retired"]),
        successor: text(spec, &["successor"]),
    }
}

fn entry(item: &Item, name: &str, spec: &Value) -> Entry {
    Entry {
        mark: mark(item),
        name: name.to_owned(),
        until: text(spec, &["until"]),
        reason: text(spec, &["reason"]),
    }
}

fn task(item: &Item, rest: &str, spec: &Value) -> Task {
    Task {
        mark: mark(item),
        action: text(spec, &["action"]).unwrap_or_else(|| rest.to_owned()),
        done: is_true(spec, &["done"]),
    }
}

/// An incident, or what was learned from one: a postmortem has no status of its own and is never open.
fn incident(item: &Item, spec: &Value, words: &Words) -> Incident {
    let status = text(spec, &["status"]);
    let open = status.as_deref().is_some_and(|s| s != "resolved");
    let status = match status {
        Some(status) => Some(words.status(&status)),
        None => text(spec, &["incident"]).map(|_| words.postmortem.to_owned()),
    };
    Incident {
        mark: mark(item),
        title: title(item, spec),
        severity: text(spec, &["severity"]).map(|s| words.severity(&s).2.to_owned()),
        lines: [
            (words.impact, ["impact", "affected"]),
            (words.cause, ["cause", "cause"]),
        ]
        .iter()
        .filter_map(|(label, fields)| Some((*label, text(spec, fields)?)))
        .collect(),
        status,
        open,
    }
}

fn experiment(item: &Item, spec: &Value) -> Experiment {
    let variants = spec.get("variants").and_then(Value::as_array);
    let variants = variants.into_iter().flatten().map(|variant| {
        let name = text(variant, &["name"]).unwrap_or_default();
        let name = match text(variant, &["label"]) {
            Some(label) => format!("{name} · {label}"),
            None => name,
        };
        let counted = ["successes", "trials"].map(|field| text(variant, &[field]));
        let counted = match counted {
            [Some(successes), Some(trials)] => Some(format!("{successes}/{trials}")),
            [Some(_) | None, _] => None,
        };
        let value = text(variant, &["value"]).map(|value| format!("{value}%"));
        let result: Vec<String> = [text(variant, &["metric"]), value, counted]
            .into_iter()
            .flatten()
            .collect();
        Variant {
            name,
            result: result.join(" "),
            winner: is_true(variant, &["winner"]),
        }
    });
    Experiment {
        mark: mark(item),
        title: title(item, spec),
        variants: variants.collect(),
        recommendation: text(spec, &["recommendation"]),
    }
}

/// A custom kind as a table: its fields are the columns.
fn custom(kind: String, items: &[&Item]) -> Custom {
    let specs: Vec<Value> = items.iter().map(|item| item.spec.value()).collect();
    let fields: BTreeSet<&str> = specs
        .iter()
        .filter_map(Value::as_object)
        .flat_map(|fields| fields.keys().map(String::as_str))
        .collect();
    let tabular = fields.len() <= COLUMNS && specs.iter().all(Value::is_object);
    let mut columns: Vec<String> = fields.iter().map(|f| (*f).to_owned()).collect();
    columns.sort_by_key(|field| field != "name");
    columns.retain(|_| tabular);
    let cells = |item: &Item, spec: &Value| match tabular {
        true => columns.iter().map(|field| cell(spec.get(field))).collect(),
        false => vec![item.spec.as_str().to_owned()],
    };
    let rows = items.iter().zip(&specs).map(|(item, spec)| Row {
        mark: mark(item),
        name: item.id.name().to_owned(),
        cells: cells(item, spec),
    });
    Custom {
        kind,
        rows: rows.collect(),
        columns,
    }
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

/// Notices that hold, the gravest first: none that was retracted, or that another one supersedes.
fn banners(notices: &[(&Item, Value)], words: &'static Words) -> Vec<Banner> {
    let superseded: BTreeSet<String> = notices
        .iter()
        .filter(|(_, spec)| !is_true(spec, &["retracted"]))
        .filter_map(|(_, spec)| text(spec, &["supersedes"]))
        .map(|name| name.trim_start_matches("Notice/").to_owned())
        .collect();
    let mut banners: Vec<(usize, Banner)> = notices
        .iter()
        .filter(|(item, spec)| {
            !is_true(spec, &["retracted"]) && !superseded.contains(item.id.name())
        })
        .map(|(item, spec)| {
            let severity = text(spec, &["severity"]).unwrap_or_default();
            let (rank, class, severity) = words.severity(&severity);
            let lines = [
                ("", "body"),
                (words.when, "when"),
                (words.impact, "impact"),
                (words.response, "response"),
                (words.due, "due"),
                ("", "cve"),
            ];
            let title = title(item, spec);
            let banner = Banner {
                mark: mark(item),
                class,
                severity,
                lines: lines
                    .iter()
                    .filter_map(|(label, field)| Some((*label, text(spec, &[field])?)))
                    .filter(|(_, text)| !title.contains(text.as_str()))
                    .collect(),
                title,
            };
            (rank, banner)
        })
        .collect();
    banners.sort_by_key(|(rank, _)| *rank);
    banners.into_iter().map(|(_, banner)| banner).collect()
}
