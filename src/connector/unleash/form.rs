//! A feature flag as Unleash has it, in one environment.
//!
//! A rollout becomes one `flexibleRollout` strategy, variants the weights of that strategy, and conditions its constraints. What Unleash takes without
//! looking (a rollout of 150, a stickiness that nobody knows) is refused here. Unleash puts people into buckets by a hash of its own, so the same
//! person may be on the other side of a percentage than with flagd.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::targeting::{self, Chosen};
use crate::state::Spec;

/// The strategy that a rollout becomes.
const ROLLOUT: &str = "flexibleRollout";
/// The field of a spec that says what can't be said otherwise. No document has it.
const BEYOND: &str = "unleash";
/// The fields of a spec that a form has a place for.
pub(super) const FIELDS: [&str; 7] = [
    "enabled",
    "rollout",
    "description",
    "variants",
    "default_variant",
    "targeting",
    BEYOND,
];
/// A tag's longest value.
const MARK: usize = 50;
/// What weights add up to.
const WHOLE: u64 = 1000;

/// A feature in one environment, as far as it is managed. Its type, whether it is stale and who favours it are people's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Form {
    pub(super) description: Option<String>,
    pub(super) enabled: bool,
    /// Whose it is: the values of its `lockstep` tags.
    pub(super) marks: Vec<String>,
    pub(super) strategies: Vec<Strategy>,
    /// Variants of the feature itself, which older versions of Unleash had.
    pub(super) variants: Vec<Value>,
}

/// An activation strategy, without its id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Strategy {
    pub(super) name: String,
    #[serde(default)]
    pub(super) title: Option<String>,
    #[serde(default)]
    pub(super) disabled: Option<bool>,
    #[serde(default)]
    pub(super) parameters: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) constraints: Vec<Constraint>,
    #[serde(default)]
    pub(super) segments: Vec<i64>,
    #[serde(default)]
    pub(super) variants: Vec<Variant>,
}

/// A condition on the user's context.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Constraint {
    pub(super) context_name: String,
    pub(super) operator: String,
    #[serde(default)]
    pub(super) values: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<String>,
    #[serde(default)]
    pub(super) inverted: bool,
    #[serde(default)]
    pub(super) case_insensitive: bool,
}

/// A variant of a strategy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Variant {
    pub(super) name: String,
    pub(super) weight: u64,
    pub(super) weight_type: String,
    pub(super) stickiness: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) payload: Option<Value>,
}

/// The fields of a flag that mean something to Unleash.
#[derive(Debug, Deserialize)]
struct Flag {
    enabled: bool,
    #[serde(default = "all")]
    rollout: f64,
    description: Option<String>,
    #[serde(default)]
    variants: Map<String, Value>,
    default_variant: Option<String>,
    targeting: Option<Value>,
}

fn all() -> f64 {
    100.0
}

/// The value of the tag that says whose a feature is.
pub(super) fn mark(owner: Option<&str>) -> String {
    let owner = owner.unwrap_or("lockstep").trim();
    let mark: String = owner.chars().take(MARK).collect();
    mark.trim().to_owned()
}

impl Form {
    pub(super) fn read(form: &Spec) -> Option<Self> {
        form.read()
    }

    /// What a flag becomes; or the field that Unleash can't have, and why.
    pub(super) fn of(name: &str, spec: &Spec, owner: Option<&str>) -> Result<Self, String> {
        check_name(name)?;
        let flag: Flag = serde_json::from_str(spec.as_str())
            .map_err(|e| format!("is no flag that Unleash can have: {e}"))?;
        let description = flag.description.clone().filter(|text| !text.is_empty());
        if description.as_ref().is_some_and(|text| text.contains('\0')) {
            return Err("description: Unleash can't keep a zero character".to_owned());
        }
        let rollout = whole_percent(flag.rollout)?;
        let chosen = targeting::chosen(
            flag.targeting.as_ref(),
            flag.default_variant.as_deref(),
            &flag.variants,
        )?;
        let mut strategy = Strategy {
            name: ROLLOUT.to_owned(),
            disabled: Some(false),
            parameters: parameters(name, rollout),
            ..Strategy::default()
        };
        let mut enabled = flag.enabled;
        match chosen {
            Chosen::On => {}
            Chosen::Off => enabled = false,
            Chosen::Where(constraints) => strategy.constraints = constraints,
            Chosen::Weights {
                weights,
                stickiness,
            } => {
                strategy.variants = variants(&flag.variants, &weights, stickiness)?;
            }
        }
        Ok(Self {
            description,
            enabled,
            marks: vec![mark(owner)],
            strategies: vec![strategy],
            variants: Vec::new(),
        })
    }

    /// What a feature says as a flag. What is more than a flag says stands beside it, so that it is seen.
    pub(super) fn spec(&self, name: &str) -> Value {
        let mut spec = Map::new();
        spec.insert("enabled".to_owned(), json!(self.enabled));
        spec.insert("rollout".to_owned(), json!(100));
        if let Some(description) = &self.description {
            spec.insert("description".to_owned(), json!(description));
        }
        match self.plain_rollout(name) {
            Some(rollout) => drop(spec.insert("rollout".to_owned(), json!(rollout))),
            None => drop(spec.insert(
                BEYOND.to_owned(),
                json!({"strategies": self.strategies, "variants": self.variants}),
            )),
        }
        Value::Object(spec)
    }

    /// The rollout, where that is all that there is. A feature without strategies is given to everyone when it is on.
    fn plain_rollout(&self, name: &str) -> Option<u8> {
        if !self.variants.is_empty() {
            return None;
        }
        let [strategy] = self.strategies.as_slice() else {
            return self.strategies.is_empty().then_some(100);
        };
        let rollout: u8 = strategy.parameters.get("rollout")?.parse().ok()?;
        let plain = Strategy {
            name: ROLLOUT.to_owned(),
            title: strategy.title.clone(),
            disabled: Some(false),
            parameters: parameters(name, rollout),
            ..Strategy::default()
        };
        (rollout <= 100 && *strategy == plain).then_some(rollout)
    }
}

fn parameters(name: &str, rollout: u8) -> BTreeMap<String, String> {
    [
        ("rollout", rollout.to_string()),
        ("stickiness", "default".to_owned()),
        ("groupId", name.to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// What Unleash calls URL-friendly.
fn check_name(name: &str) -> Result<(), String> {
    let is_friendly = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '~' | '-');
    if name.len() > 100 || !name.chars().all(is_friendly) || matches!(name, "" | "." | "..") {
        return Err(
            "the name: Unleash takes up to 100 letters, digits and . _ ~ - for the name of a feature"
                .to_owned(),
        );
    }
    Ok(())
}

/// A client compares whole numbers, so a fraction would silently be less than it says.
fn whole_percent(rollout: f64) -> Result<u8, String> {
    let whole = (0..=100_u8).find(|n| f64::from(*n).total_cmp(&rollout).is_eq());
    whole.ok_or_else(|| {
        format!("rollout: Unleash counts whole percents from 0 to 100, and {rollout} is none")
    })
}

fn variants(
    values: &Map<String, Value>,
    weights: &BTreeMap<String, u64>,
    stickiness: &str,
) -> Result<Vec<Variant>, String> {
    let total: u64 = weights.values().sum();
    let share = |name: &String| {
        let weight = weights.get(name).copied().unwrap_or(0) * WHOLE;
        (total > 0 && weight.is_multiple_of(total)).then(|| weight / total)
    };
    let mut variants = Vec::with_capacity(values.len());
    // One has to take what is left; where all are fixed, Unleash says no.
    let largest = weights
        .iter()
        .max_by_key(|(_, weight)| **weight)
        .map(|(name, _)| name);
    for (name, value) in values {
        check_name(name).map_err(|_| {
            format!("variants: Unleash takes letters, digits and . _ ~ - for the name of a variant, not {name:?}")
        })?;
        let weight = share(name).ok_or_else(|| {
            "targeting: Unleash counts weights in tenths of a percent, and these are none"
                .to_owned()
        })?;
        let (sort, text) = match value {
            Value::String(text) => ("string", text.clone()),
            Value::Number(number) => ("number", number.to_string()),
            Value::Bool(is) => ("string", is.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => ("json", value.to_string()),
        };
        if text.is_empty() {
            return Err(format!(
                "variants: Unleash takes no empty text as a value, as {name} has"
            ));
        }
        variants.push(Variant {
            name: name.clone(),
            weight,
            weight_type: if largest == Some(name) {
                "variable"
            } else {
                "fix"
            }
            .to_owned(),
            stickiness: stickiness.to_owned(),
            payload: Some(json!({"type": sort, "value": text})),
        });
    }
    Ok(variants)
}
