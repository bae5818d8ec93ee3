//! The pass that keeps places and reports every fault.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::KIND;
use crate::document::data;
use crate::document::faults::Faults;
use crate::document::fields::{self, Fields};
use crate::document::suggest;
use crate::document::tree::{Member, Node, NodeValue};
use crate::resource::dating;
use crate::resource::declare::{Targets, canonical, duplicate, resource};
use crate::resource::form::{Declared, Reading, Source};

const FLAG: &[&str] = &[
    "enabled",
    "rollout",
    "teams",
    "description",
    "owner",
    "expires",
    "from",
    "until",
    "variants",
    "default_variant",
    "targeting",
];

pub(super) fn read(source: Source<'_>, targets: &mut Targets<'_>) -> Reading {
    let mut faults = Faults::new(source.path, source.text);
    let mut resources = Vec::new();
    if let Some(node) = data::read(&mut faults)
        && let Some(top) = Fields::open(&mut faults, &node, "a document of feature flags")
    {
        let mut seen = HashSet::new();
        for member in top.members() {
            if member.key == "$schema" {
                fields::text(&mut faults, member);
                continue;
            }
            if let Some(declared) = flag(&mut faults, targets, member) {
                if seen.insert(declared.id.clone()) {
                    resources.push(declared);
                } else {
                    duplicate(&mut faults, &declared.id, &member.key_span);
                }
            }
        }
    }
    Reading {
        resources,
        findings: faults.finish(),
    }
}

fn flag(faults: &mut Faults<'_>, targets: &mut Targets<'_>, member: &Member) -> Option<Declared> {
    let at = &member.key_span;
    let id = resource(faults, KIND, &member.key, at);
    let what = format!("the flag `{}`", fields::shorten(&member.key));
    let fields = Fields::read(faults, &member.value, &what, FLAG)?;
    let mut spec = Map::new();
    let enabled = fields
        .require(
            faults,
            "enabled",
            &what,
            Some(at.clone()),
            "\"enabled\": false",
        )
        .and_then(|m| fields::boolean(faults, m));
    let rollout = rollout(faults, &fields);
    for key in ["description", "owner"] {
        if let Some(text) = fields.text(faults, key) {
            spec.insert(key.to_owned(), Value::from(text.text));
        }
    }
    if let Some(date) = fields.date(faults, "expires") {
        spec.insert("expires".to_owned(), Value::from(date.text));
    }
    let dates = dating::read(faults, &fields, targets.timezone());
    for (key, date) in dates.into_iter().flatten() {
        spec.insert(key.to_owned(), Value::from(date.text));
    }
    variants(faults, &fields, &mut spec);
    if let Some(targeting) = fields.get("targeting")
        && Fields::open(faults, &targeting.value, "`targeting`").is_some()
    {
        spec.insert("targeting".to_owned(), targeting.value.to_value());
    }
    let systems = targets.of(faults, &fields, "teams", at);
    spec.insert("enabled".to_owned(), Value::from(enabled?));
    spec.insert("rollout".to_owned(), Value::from(rollout?));
    Some(Declared {
        id: id?,
        spec: canonical(faults, &Value::Object(spec), at)?,
        systems,
    })
}

/// The rollout in percent: 100 where it is left out.
fn rollout(faults: &mut Faults<'_>, fields: &Fields<'_>) -> Option<i64> {
    if fields.get("rollout").is_none() {
        return Some(100);
    }
    let (rollout, at) = fields.whole(faults, "rollout")?;
    if (0..=100).contains(&rollout) {
        return Some(rollout);
    }
    faults.error(
        "flag/rollout-range",
        at,
        format!("a rollout of {rollout}% is not possible"),
        Some("give a whole number from 0 to 100".to_owned()),
    );
    None
}

fn variants(faults: &mut Faults<'_>, fields: &Fields<'_>, spec: &mut Map<String, Value>) {
    let mut names: Vec<&str> = vec!["on", "off"];
    if let Some(member) = fields.get("variants") {
        let Some(inner) = Fields::open(faults, &member.value, "`variants`") else {
            return;
        };
        names = inner.members().iter().map(|m| m.key.as_str()).collect();
        if names.is_empty() {
            faults.error(
                "flag/variants",
                member.value.span.clone(),
                "`variants` names none",
                Some("add one, or leave `variants` out".to_owned()),
            );
        }
        one_sort(faults, inner.members());
        spec.insert("variants".to_owned(), member.value.to_value());
    }
    if let Some(default) = fields.text(faults, "default_variant") {
        if !names.contains(&default.text) {
            faults.error(
                "flag/default-variant",
                default.at.clone(),
                format!("there is no variant `{}`", fields::shorten(default.text)),
                suggest::hint(default.text, names.iter().copied()),
            );
        }
        spec.insert("default_variant".to_owned(), Value::from(default.text));
    }
}

/// All variants of a flag are of one type: a program asks for it by type.
fn one_sort(faults: &mut Faults<'_>, members: &[Member]) {
    let first = members.first().map(|m| m.value.sort());
    for member in members {
        let sort = member.value.sort();
        if is_variant(&member.value) && Some(sort) == first {
            continue;
        }
        let message = if is_variant(&member.value) {
            format!(
                "the variant `{}` is {sort}, but the first one is {}",
                fields::shorten(&member.key),
                first.unwrap_or("another")
            )
        } else {
            format!(
                "the variant `{}` can't be {sort}",
                fields::shorten(&member.key)
            )
        };
        faults.error(
            "flag/variants",
            member.key_span.clone(),
            message,
            Some("give all variants the same type: boolean, string, number or object".to_owned()),
        );
    }
}

fn is_variant(node: &Node) -> bool {
    match node.value {
        NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::String(_) | NodeValue::Object(_) => {
            true
        }
        NodeValue::Null | NodeValue::Array(_) => false,
    }
}
