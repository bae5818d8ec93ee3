//! What a flag's spec is in flagd's words.
//!
//! Those in the rollout get what `targeting` says, or else `default_variant`, or else `on`; all others get `off`. The share in the
//! rollout comes first in `fractional`, so that raising it takes the flag from nobody.

use serde_json::{Map, Value, json};

use super::{SPEC, Spec};

/// What of a spec a definition is made of.
struct Flag {
    enabled: bool,
    rollout: u64,
    variants: Map<String, Value>,
    default: Option<String>,
    targeting: Option<Value>,
}

/// The definition of a flag, or why flagd has none for it.
pub(super) fn definition(spec: &Spec) -> Result<Value, String> {
    let value = spec.value();
    let flag = read(&value)?;
    let has = |name: &str| flag.variants.contains_key(name);
    if flag.rollout < 100 && !has("off") {
        return Err(format!(
            "a rollout of {}% needs a variant off for the others",
            flag.rollout
        ));
    }
    let served = match &flag.default {
        Some(default) if !has(default) => return Err(format!("there is no variant {default}")),
        Some(default) => Some(default.as_str()),
        None => has("on").then_some("on"),
    };
    // For those that no rule of the targeting is for.
    let rest = flag.default.as_deref().or(has("off").then_some("off"));
    let off = || Value::from("off");
    let (default, targeting) = match (&flag.targeting, served) {
        (None, None) => {
            return Err("it does not say which variant is served; give default_variant".to_owned());
        }
        (_, _) if flag.rollout == 0 => (off(), None),
        (None, Some(served)) if flag.rollout == 100 => (Value::from(served), None),
        (None, Some(served)) => (off(), Some(split(served, "off", flag.rollout))),
        (Some(rules), _) if flag.rollout == 100 => {
            (rest.map(Value::from).into(), Some(rules.clone()))
        }
        (Some(rules), _) => {
            let inside = json!({"==": [split("in", "out", flag.rollout), "in"]});
            let rules = json!({"if": [inside, rules, "off"]});
            (rest.map(Value::from).into(), Some(rules))
        }
    };
    let mut definition = Map::new();
    let state = if flag.enabled { "ENABLED" } else { "DISABLED" };
    definition.insert("state".to_owned(), state.into());
    definition.insert("variants".to_owned(), flag.variants.into());
    definition.insert("defaultVariant".to_owned(), default);
    if let Some(targeting) = targeting {
        definition.insert("targeting".to_owned(), targeting);
    }
    let mut metadata = Map::new();
    for field in ["owner", "expires"] {
        if let Some(text) = value.get(field).filter(|v| v.is_string()) {
            metadata.insert(field.to_owned(), text.clone());
        }
    }
    metadata.insert(SPEC.to_owned(), spec.as_str().into());
    definition.insert("metadata".to_owned(), metadata.into());
    Ok(definition.into())
}

fn split(first: &str, second: &str, percent: u64) -> Value {
    let rest = 100_u64.saturating_sub(percent);
    json!({"fractional": [[first, percent], [second, rest]]})
}

fn read(spec: &Value) -> Result<Flag, String> {
    let enabled = spec.get("enabled").and_then(Value::as_bool);
    let enabled = enabled.ok_or("it has no field enabled that is true or false")?;
    let rollout = spec.get("rollout").map_or(Some(100), Value::as_u64);
    let rollout = rollout
        .filter(|percent| *percent <= 100)
        .ok_or("its rollout is no whole number from 0 to 100")?;
    let variants = match spec.get("variants") {
        None => Map::from_iter([
            ("on".to_owned(), true.into()),
            ("off".to_owned(), false.into()),
        ]),
        Some(Value::Object(variants)) if !variants.is_empty() => variants.clone(),
        Some(_) => return Err("its variants are no object with at least one".to_owned()),
    };
    let default = match spec.get("default_variant") {
        None => None,
        Some(Value::String(name)) => Some(name.clone()),
        Some(_) => return Err("its default_variant is no text".to_owned()),
    };
    let targeting = match spec.get("targeting") {
        Some(Value::Object(rules)) if rules.is_empty() => None,
        Some(Value::Object(rules)) => Some(Value::Object(rules.clone())),
        None => None,
        Some(_) => return Err("its targeting is no object".to_owned()),
    };
    Ok(Flag {
        enabled,
        rollout,
        variants,
        default,
        targeting,
    })
}
