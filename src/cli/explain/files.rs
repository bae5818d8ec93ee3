//! What is told of a file that declares no resource but judges: `lockstep.yaml` and its entries, and policies.

use std::collections::BTreeSet;

use super::Scene;
use crate::compile::CONFIG;
use crate::config::places::Places;
use crate::config::{Ceiling, Config, FieldModes, Freeze, Group, Person, System};
use crate::ids::{DocPath, Revision};
use crate::plan::Plan;
use crate::policy::input::ProposalFacts;
use crate::policy::trace::{self, Judged, Subject};
use crate::policy::{PolicyInput, is_policy};
use crate::view::explain::{PolicyFileView, SettingView, Whence};

/// Whether a line of this file is asked about for itself, and not for a resource in it.
pub(super) fn judges(path: &DocPath) -> bool {
    path.as_str() == CONFIG || is_policy(path)
}

/// What the rules ask for because this file changes; foreseen where no proposal changes it.
pub(super) fn said_of_change(scene: &Scene, path: &DocPath) -> Vec<Judged> {
    let files = &scene.before.policies;
    match &scene.case {
        Some(case) => trace::said_of(files, &case.input, Subject::File(path)),
        None if judges(path) => {
            trace::said_of(files, &as_if_changed(scene, path), Subject::File(path))
        }
        None => Vec::new(),
    }
}

/// A proposal by nobody that changes this file alone.
fn as_if_changed(scene: &Scene, path: &DocPath) -> PolicyInput {
    let revision = scene.before.revision.clone().unwrap_or_else(Revision::none);
    let bundle = &scene.base.bundle;
    let facts = ProposalFacts {
        number: 0,
        title: String::new(),
        author: String::new(),
        labels: Vec::new(),
        base: revision.clone(),
        head: revision,
        opened_at: scene.now,
        approvals: Vec::new(),
        files: vec![path.clone()],
    };
    PolicyInput::new(
        facts,
        &Plan::default(),
        Some(bundle),
        bundle,
        &bundle.config,
        scene.now,
    )
}

/// A policy as it judges now.
pub(super) fn policy(scene: &Scene, path: &DocPath) -> Option<PolicyFileView> {
    if !is_policy(path) {
        return None;
    }
    let judging = scene.before.policies.get(path).map(|b| b.id);
    let proposed = scene.after.policies.get(path).map(|b| b.id);
    // One that only the proposal has is told of as it would be.
    let files = match judging {
        Some(_) => &scene.before.policies,
        None => &scene.after.policies,
    };
    let about = trace::about(files, path)?;
    let placed = |(path, line): (DocPath, u32)| Whence {
        path,
        line: Some(line),
    };
    Some(PolicyFileView {
        package: about.package,
        title: about.title,
        owner: about.owner,
        judges: about.judges,
        changed: judging != proposed,
        rules: about
            .rules
            .into_iter()
            .map(|(name, at)| (name, placed(at)))
            .collect(),
        tests: about
            .tests
            .into_iter()
            .map(|(name, at)| (name, placed(at)))
            .collect(),
    })
}

/// The entries of `lockstep.yaml` as the rules have them; with a line, the one that it is in.
pub(super) fn settings(
    config: &Config,
    places: &(&DocPath, Places<'_>),
    line: Option<u32>,
) -> Vec<SettingView> {
    let (path, places) = places;
    let mut all = Vec::new();
    let mut entry =
        |section: &str, name: &str, at: Option<u32>, says: Vec<(&'static str, String)>| {
            all.push(SettingView {
                entry: format!("{section}.{name}"),
                place: at.map(|line| Whence {
                    path: (*path).clone(),
                    line: Some(line),
                }),
                says,
            });
        };
    for (name, system) in &config.systems {
        let at = places.line(&["systems", name.as_str()]);
        let group = config.group_of(name).map(ToString::to_string);
        entry("systems", name.as_str(), at, of_system(system, group));
    }
    for (name, group) in &config.groups {
        let at = places.line(&["groups", name.as_str()]);
        entry("groups", name.as_str(), at, of_group(group));
    }
    for (key, person) in &config.people {
        entry(
            "people",
            key,
            places.line(&["people", key]),
            of_person(person),
        );
    }
    let safety = &config.safety;
    let ceilings = safety.overrides.iter().map(|(k, c)| (k.as_str(), c));
    for (key, ceiling) in [("default", &safety.default)].into_iter().chain(ceilings) {
        let at = places.line(&["safety", key]);
        let says = of_ceiling(ceiling, limited_by(config, key));
        entry("safety", key, at, says);
    }
    for freeze in &config.freezes {
        let at = places.freeze(&freeze.name);
        entry("freezes", &freeze.name, at, of_freeze(freeze));
    }
    let Some(line) = line else {
        return all;
    };
    // The entry that the line is in begins at it or is the last one before.
    let begins = |e: &SettingView| {
        e.place
            .as_ref()
            .and_then(|p| p.line)
            .filter(|at| *at <= line)
    };
    let nearest = all.iter().filter_map(begins).max();
    all.retain(|e| begins(e) == nearest && nearest.is_some());
    all
}

fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|i| i.to_string()).collect();
    items.join(", ")
}

/// A word of a closed set, as `lockstep.yaml` writes it.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(_) | Err(_) => String::new(),
    }
}

fn of_system(system: &System, group: Option<String>) -> Vec<(&'static str, String)> {
    let System {
        title: _,
        aliases: _,
        connector,
        settings: _,
        credential,
        kinds,
        mode,
        drift,
        limits: _,
        fields,
    } = system;
    let mut says = vec![
        ("connector", connector.clone()),
        ("mode", word(mode)),
        ("drift", word(drift)),
        ("kinds", list(kinds)),
    ];
    says.extend(group.map(|g| ("group", g)));
    says.extend(credential.clone().map(|c| ("credential", c)));
    says.extend(not_enforced(fields).map(|fields| ("fields", fields)));
    says
}

/// The fields that are not enforced, with their modes.
fn not_enforced(modes: &FieldModes) -> Option<String> {
    let all = modes.0.iter().flat_map(|(kind, fields)| {
        let of_kind = fields.iter();
        of_kind.map(move |(field, mode)| format!("{kind}.{field} {}", word(mode)))
    });
    (!modes.is_empty()).then(|| list(all))
}

fn of_group(group: &Group) -> Vec<(&'static str, String)> {
    let Group {
        systems,
        consistency,
        on_failure,
        urgent,
    } = group;
    vec![
        ("systems", list(systems)),
        ("consistency", word(consistency)),
        ("on_failure", word(on_failure)),
        ("urgent", list(urgent)),
    ]
}

fn of_person(person: &Person) -> Vec<(&'static str, String)> {
    let Person {
        name,
        forge,
        has_login: _,
        roles,
        systems,
        ids: _,
        signing_key,
    } = person;
    let signed = if signing_key.is_some() {
        "signing_key"
    } else {
        "-"
    };
    vec![
        ("name", name.clone()),
        ("forge", forge.clone()),
        ("roles", list(roles)),
        ("systems", list(systems)),
        ("approves with", signed.to_owned()),
    ]
}

fn of_ceiling(ceiling: &Ceiling, limits: BTreeSet<String>) -> Vec<(&'static str, String)> {
    let Ceiling {
        delete_percent,
        delete_count,
        update_percent,
        window_hours,
        small,
    } = ceiling;
    vec![
        (
            "deletes",
            format!("{} %, {delete_count}", delete_percent.get()),
        ),
        ("updates", format!("{} %", update_percent.get())),
        ("window", format!("{window_hours}h")),
        ("small", small.to_string()),
        ("limits", list(limits)),
    ]
}

/// Which kinds on which systems an entry of `safety:` is the ceiling of.
fn limited_by(config: &Config, key: &str) -> BTreeSet<String> {
    let all = config
        .systems
        .iter()
        .flat_map(|(name, system)| system.kinds.iter().map(move |kind| (name, kind)));
    all.filter(|(system, kind)| config.safety.ceiling_under(system, kind.as_str()).0 == key)
        .map(|(system, kind)| format!("{system}/{kind}"))
        .collect()
}

fn of_freeze(freeze: &Freeze) -> Vec<(&'static str, String)> {
    let Freeze {
        name: _,
        from,
        until,
        except,
    } = freeze;
    vec![
        ("from", from.to_string()),
        ("until", until.to_string()),
        ("except", list(except)),
    ]
}
