//! What of flagd's targeting Unleash can do: weights of variants, and conditions that decide whether somebody has the flag at all.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::form::Constraint;

/// Characters of a value in a condition.
const VALUE: usize = 100;

/// What a flag gives to those who are in its rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Chosen {
    /// It is on for them.
    On,
    /// It is off for everyone: what it gives by default is `false`.
    Off,
    /// It is on for those of whom all of this is true.
    Where(Vec<Constraint>),
    /// One of several variants, by weight.
    Weights {
        weights: BTreeMap<String, u64>,
        /// By what a person keeps a variant.
        stickiness: &'static str,
    },
}

/// Reads variants and targeting. The error names the field that can't be had.
pub(super) fn chosen(
    targeting: Option<&Value>,
    default_variant: Option<&str>,
    variants: &Map<String, Value>,
) -> Result<Chosen, String> {
    let targeting = targeting.filter(|t| !t.as_object().is_some_and(Map::is_empty));
    let all_booleans = !variants.is_empty() && variants.values().all(Value::is_boolean);
    match (targeting, default_variant) {
        (None, None) if variants.is_empty() => Ok(Chosen::On),
        (None, None) => Err(
            "default_variant: with variants and no targeting, Unleash has to be told which one is given"
                .to_owned(),
        ),
        (None, Some(name)) if all_booleans => Ok(match is_true(name, variants)? {
            true => Chosen::On,
            false => Chosen::Off,
        }),
        (None, Some(name)) => {
            value(name, variants)?;
            Ok(Chosen::Weights {
                weights: [(name.to_owned(), 1)].into(),
                stickiness: "default",
            })
        }
        (Some(rule), _) => rules(rule, variants, all_booleans),
    }
}

fn value<'a>(name: &str, variants: &'a Map<String, Value>) -> Result<&'a Value, String> {
    let value = variants.get(name);
    value.ok_or_else(|| format!("default_variant: {name:?} is none of the variants"))
}

fn is_true(name: &str, variants: &Map<String, Value>) -> Result<bool, String> {
    Ok(value(name, variants)?.as_bool() == Some(true))
}

fn unmapped(what: &str) -> String {
    format!(
        "targeting: Unleash can't have {what}; it can have `fractional` alone, and `if` with conditions where the variants are true and false"
    )
}

fn rules(
    rule: &Value,
    variants: &Map<String, Value>,
    all_booleans: bool,
) -> Result<Chosen, String> {
    let (operator, arguments) = single(rule).ok_or_else(|| unmapped("more than one rule"))?;
    match operator {
        "fractional" if all_booleans => Err(unmapped(
            "`fractional` for true and false; give it as rollout",
        )),
        "fractional" => fractional(arguments, variants),
        "if" if all_booleans => {
            let [condition, then, otherwise] = arguments else {
                return Err(unmapped("an `if` without both of its outcomes"));
            };
            if !gives(then, true, variants) || !gives(otherwise, false, variants) {
                return Err(unmapped(
                    "an `if` that does not give true, and false otherwise",
                ));
            }
            conditions(condition).map(Chosen::Where)
        }
        "if" => Err(unmapped("an `if` between variants")),
        other => Err(unmapped(&format!("`{other}`"))),
    }
}

/// A rule is an object of one operator; one argument may stand without a list.
fn single(rule: &Value) -> Option<(&str, &[Value])> {
    let object = rule.as_object().filter(|o| o.len() == 1)?;
    let (operator, arguments) = object.iter().next()?;
    let arguments = match arguments {
        Value::Array(list) => list.as_slice(),
        one @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Object(_)) => std::slice::from_ref(one),
    };
    Some((operator, arguments))
}

/// Whether an outcome names a variant whose value is this.
fn gives(outcome: &Value, wanted: bool, variants: &Map<String, Value>) -> bool {
    let named = outcome.as_str().and_then(|name| variants.get(name));
    named.and_then(Value::as_bool) == Some(wanted)
}

fn variable(value: &Value) -> Option<&str> {
    match single(value)? {
        ("var", [name]) => name.as_str(),
        _ => None,
    }
}

/// The context field of Unleash that a variable is.
fn context(name: &str) -> &str {
    match name {
        "targetingKey" => "userId",
        other => other,
    }
}

fn fractional(arguments: &[Value], variants: &Map<String, Value>) -> Result<Chosen, String> {
    let (stickiness, shares) = match arguments {
        [Value::Array(_), ..] => ("default", arguments),
        [by, shares @ ..] => match variable(by) {
            Some("targetingKey" | "userId") => ("userId", shares),
            Some("sessionId") => ("sessionId", shares),
            _ => {
                return Err(unmapped(
                    "`fractional` by anything but targetingKey, userId and sessionId",
                ));
            }
        },
        [] => return Err(unmapped("an empty `fractional`")),
    };
    let mut weights = BTreeMap::new();
    for share in shares {
        let list = share.as_array().map(Vec::as_slice);
        let (name, weight) = match list {
            Some([name]) => (name.as_str(), Some(1)),
            Some([name, weight]) => (name.as_str(), weight.as_u64()),
            _ => (None, None),
        };
        let (Some(name), Some(weight)) = (name, weight) else {
            return Err(unmapped("a share that is not [variant, weight]"));
        };
        if !variants.contains_key(name) {
            return Err(format!("targeting: {name:?} is none of the variants"));
        }
        *weights.entry(name.to_owned()).or_insert(0) += weight;
    }
    if weights.values().all(|weight| *weight == 0) {
        return Err(unmapped("`fractional` without any weight"));
    }
    Ok(Chosen::Weights {
        weights,
        stickiness,
    })
}

/// The conditions that all have to hold.
fn conditions(rule: &Value) -> Result<Vec<Constraint>, String> {
    let (operator, arguments) = single(rule).ok_or_else(|| unmapped("such a condition"))?;
    if operator == "and" {
        let parts = arguments.iter().map(conditions);
        return Ok(parts.collect::<Result<Vec<_>, _>>()?.concat());
    }
    if let ("!", [inner]) = (operator, arguments) {
        let mut found = conditions(inner)?;
        return match found.as_mut_slice() {
            [one] => {
                one.inverted = !one.inverted;
                Ok(found)
            }
            _ => Err(unmapped("the opposite of several conditions")),
        };
    }
    condition(operator, arguments).map(|one| vec![one])
}

fn condition(operator: &str, arguments: &[Value]) -> Result<Constraint, String> {
    let [left, right] = arguments else {
        return Err(unmapped(&format!("`{operator}` in a condition")));
    };
    let (name, other) = match (variable(left), variable(right)) {
        (Some(name), None) => (name, right),
        (None, Some(name)) if operator == "==" || operator == "!=" => (name, left),
        _ => {
            return Err(unmapped(
                "a condition that is not on one field of the context",
            ));
        }
    };
    if operator == "in" && !other.is_array() {
        return Err(unmapped("`in` for a part of a text"));
    }
    let (operator, inverted, is_text) = match operator {
        "in" => ("IN", false, true),
        "==" | "===" => ("IN", false, true),
        "!=" | "!==" => ("IN", true, true),
        "starts_with" => ("STR_STARTS_WITH", false, true),
        "ends_with" => ("STR_ENDS_WITH", false, true),
        ">" => ("NUM_GT", false, false),
        ">=" => ("NUM_GTE", false, false),
        "<" => ("NUM_LT", false, false),
        "<=" => ("NUM_LTE", false, false),
        other => return Err(unmapped(&format!("`{other}` in a condition"))),
    };
    let mut constraint = Constraint {
        context_name: context(name).to_owned(),
        operator: operator.to_owned(),
        inverted,
        ..Constraint::default()
    };
    match (other, is_text) {
        (Value::Number(number), false) => constraint.value = Some(number.to_string()),
        (Value::Array(list), true) => {
            constraint.values = list.iter().map(text).collect::<Result<_, _>>()?;
        }
        (one, true) => constraint.values = vec![text(one)?],
        (_, false) => return Err(unmapped("a comparison with what is no number")),
    }
    if constraint.values.is_empty() && is_text {
        return Err(unmapped("a condition without values"));
    }
    Ok(constraint)
}

fn text(value: &Value) -> Result<String, String> {
    let text = value
        .as_str()
        .filter(|t| (1..=VALUE).contains(&t.chars().count()));
    let text = text.ok_or_else(|| {
        unmapped(&format!(
            "a value that is no text of 1 to {VALUE} characters in a condition"
        ))
    })?;
    Ok(text.to_owned())
}
