//! Feature flags: `config/feature-flags.json`, an object by flag key.
//!
//! A flag's spec is everything but `teams`, which say for which systems it is; `rollout` is always written out, so that a flag
//! means the same whatever a system's default is. Large documents are read by a typed pass without places; only one that is
//! not faultless is read again by the pass that keeps them. A property test holds the two to the same result.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

use super::dating::{Outside, widens};
use super::declare::{Targets, kind_name, places};
use super::form::{Context, Form, NotWritten, Reading, Rewrite, Source};
use super::rewrite::{Pen, below, names, with};
use super::words::{Field, Show, dates, differences, line, say, whole};
use super::{Direction, Kind, Language};
use crate::document::tree::{Node, NodeValue};
use crate::finding::Span;
use crate::ids::{KindName, ResourceRef};
use crate::state::Spec;

mod careful;
mod quick;

#[cfg(test)]
mod tests;

const KIND: &str = "FeatureFlag";

/// The kind `FeatureFlag`.
#[derive(Debug, Clone, Copy)]
pub struct FeatureFlag;

/// Documents of feature flags.
#[derive(Debug, Clone, Copy)]
pub struct FlagForm;

/// The share of users, in percent, who have the flag.
fn exposure(spec: Option<&Value>) -> f64 {
    let Some(spec) = spec else { return 0.0 };
    if !is_on(spec) {
        return 0.0;
    }
    rollout(spec)
}

fn is_on(spec: &Value) -> bool {
    spec.get("enabled").and_then(Value::as_bool) == Some(true)
}

fn rollout(spec: &Value) -> f64 {
    spec.get("rollout").and_then(Value::as_f64).unwrap_or(100.0)
}

const FIELDS: &[Field] = &[
    Field {
        key: "from",
        english: "from",
        japanese: "開始",
        show: Show::Values,
    },
    Field {
        key: "until",
        english: "until",
        japanese: "終了",
        show: Show::Values,
    },
    Field {
        key: "expires",
        english: "expiry",
        japanese: "期限",
        show: Show::Values,
    },
    Field {
        key: "owner",
        english: "owner",
        japanese: "担当",
        show: Show::Values,
    },
    Field {
        key: "default_variant",
        english: "default variant",
        japanese: "既定のバリエーション",
        show: Show::Values,
    },
    Field {
        key: "variants",
        english: "variants",
        japanese: "バリエーション",
        show: Show::Changed,
    },
    Field {
        key: "targeting",
        english: "targeting",
        japanese: "対象条件",
        show: Show::Changed,
    },
    Field {
        key: "description",
        english: "description",
        japanese: "説明",
        show: Show::Changed,
    },
];

impl Kind for FeatureFlag {
    fn name(&self) -> &str {
        KIND
    }

    fn fields(&self) -> Option<&'static [&'static str]> {
        Some(&[
            "enabled",
            "rollout",
            "owner",
            "expires",
            "description",
            "variants",
            "default_variant",
            "targeting",
        ])
    }

    fn required(&self) -> &'static [&'static str] {
        &["enabled", "rollout"]
    }

    fn direction(&self, before: Option<&Value>, after: Option<&Value>) -> Direction {
        let (had, has) = (exposure(before), exposure(after));
        // When it is on matters only where it is on at some time before and after.
        let lasts = match (before, after) {
            (Some(before), Some(after)) if had > 0.0 && has > 0.0 => widens(before, after),
            (_, _) => Direction::Neutral,
        };
        if has > had || lasts == Direction::Widening {
            Direction::Widening
        } else if has < had {
            Direction::Narrowing
        } else {
            lasts
        }
    }

    /// Off, and with all else as it is. One that is off anyway stays so.
    fn outside(&self, spec: &Spec) -> Option<Outside> {
        let mut spec = spec.value();
        if !is_on(&spec) {
            return None;
        }
        spec.as_object_mut()?
            .insert("enabled".to_owned(), Value::from(false));
        Some(Outside::Spec(spec))
    }

    fn describe(
        &self,
        name: &str,
        before: Option<&Value>,
        after: Option<&Value>,
        language: Language,
    ) -> String {
        let state = |spec: &Value| match (is_on(spec), language) {
            (true, Language::English) => format!("on at {}%", rollout(spec)),
            (true, Language::Japanese) => format!("有効・公開率 {}%", rollout(spec)),
            (false, _) => say(language, "off", "無効").to_owned(),
        };
        let parts = match (before, after) {
            (Some(before), Some(after)) => update(before, after, language),
            (None, Some(after)) => {
                let mut parts = vec![whole(language, true, &state(after))];
                parts.extend(dates(after, language));
                parts
            }
            (Some(before), None) => vec![whole(language, false, &state(before))],
            (None, None) => Vec::new(),
        };
        line(name, &parts, language)
    }
}

fn update(before: &Value, after: &Value, language: Language) -> Vec<String> {
    let mut parts = Vec::new();
    let (from, to) = (rollout(before), rollout(after));
    match (is_on(before), is_on(after), language) {
        (false, true, Language::English) => parts.push(format!("switched on at {to}%")),
        (false, true, Language::Japanese) => parts.push(format!("有効化（公開率 {to}%）")),
        (true, false, _) => parts.push(say(language, "switched off", "無効化").to_owned()),
        (true, true, _) | (false, false, _) => {}
    }
    let told = !is_on(before) && is_on(after);
    if from.total_cmp(&to).is_ne() && !told {
        let word = say(language, "rollout", "公開率");
        parts.push(format!("{word} {from}% → {to}%"));
    }
    parts.extend(differences(FIELDS, before, after, language));
    parts
}

impl Form for FlagForm {
    fn kinds(&self) -> Vec<KindName> {
        kind_name(KIND).into_iter().collect()
    }

    fn read(&self, source: Source<'_>, context: Context<'_>) -> Reading {
        let mut targets = Targets::new(context.config, KIND);
        match quick::read(source, &mut targets) {
            Some(resources) => Reading {
                resources,
                findings: Vec::new(),
            },
            None => careful::read(source, &mut targets),
        }
    }

    fn locate(&self, source: Source<'_>, context: Context<'_>, id: &ResourceRef) -> Option<Span> {
        self.locate_all(source, context, std::slice::from_ref(id))
            .remove(id)
    }

    fn locate_all(
        &self,
        source: Source<'_>,
        _: Context<'_>,
        ids: &[ResourceRef],
    ) -> BTreeMap<ResourceRef, Span> {
        quick::places(source, ids).unwrap_or_else(|| places(source, ids, declared))
    }

    fn rewrite(
        &self,
        source: Source<'_>,
        _: Context<'_>,
        rewrite: &Rewrite<'_>,
    ) -> Result<String, NotWritten> {
        let at = below(&[], rewrite.id.name());
        let mut pen = Pen::new(source.path, source.text);
        match (rewrite.declared, rewrite.wanted) {
            (_, None) => pen.remove(&at)?,
            (None, Some((spec, systems))) => {
                pen.set(&at, with(spec.clone(), "teams", names(systems))?)?;
            }
            (Some((before, were)), Some((spec, systems))) => {
                pen.turn(&at, before, spec)?;
                if were != systems {
                    pen.set(&below(&at, "teams"), names(systems))?;
                }
            }
        }
        Ok(pen.finish())
    }
}

/// Every flag with the place of its key.
fn declared(node: &Node) -> Vec<(ResourceRef, Range<usize>)> {
    let NodeValue::Object(members) = &node.value else {
        return Vec::new();
    };
    let flags = members.iter().filter(|m| m.key != "$schema");
    flags
        .filter_map(|m| Some((ResourceRef::new(KIND, &m.key).ok()?, m.key_span.clone())))
        .collect()
}
