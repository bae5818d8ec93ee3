//! GitHub's published description of its API, and whether a request is one that it describes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::Validator;
use serde::Deserialize;
use serde_json::Value;

use super::ask::{Ask, decoded};
use super::emulator;

/// Everything that is described of the API, as far as the tests need it.
pub(super) struct Description {
    requests: Vec<Described>,
    /// Schemas that were needed so far, by their text.
    compiled: Mutex<HashMap<String, Arc<Validator>>>,
}

#[derive(Deserialize)]
struct Described {
    method: String,
    path: String,
    parameters: BTreeMap<String, Parameter>,
    query: BTreeMap<String, Parameter>,
    body: Option<Parameter>,
}

#[derive(Deserialize)]
struct Parameter {
    required: bool,
    schema: Value,
}

impl Description {
    /// What GitHub publishes, read once.
    pub(super) fn published() -> &'static Self {
        static PUBLISHED: LazyLock<Description> =
            LazyLock::new(|| Description::of(&emulator::generated("requests.json")));
        &PUBLISHED
    }

    pub(super) fn of(text: &str) -> Self {
        let mut requests: Vec<Described> = serde_json::from_str(text).unwrap();
        // Where two descriptions fit a path, the one with fewer open parts is meant, and of these the longer one.
        let parts = |of: &str, what: char| of.matches(what).count();
        requests.sort_by_key(|one| (parts(&one.path, '{'), Reverse(parts(&one.path, '/'))));
        Self {
            requests,
            compiled: Mutex::default(),
        }
    }

    /// Whether GitHub knows such a request; otherwise what is wrong with it.
    pub(super) fn check(&self, ask: &Ask) -> Result<(), String> {
        let path: Vec<&str> = ask.path.trim_matches('/').split('/').collect();
        let mut fitting = self.requests.iter().filter_map(|one| {
            let template: Vec<&str> = one.path.trim_matches('/').split('/').collect();
            let bound = bind(&template, &path)?;
            (one.method == ask.method.as_str()).then_some((one, bound))
        });
        let Some((described, bound)) = fitting.next() else {
            return Err("no such request is described".to_owned());
        };
        for (name, value) in &bound {
            if let Some(parameter) = described.parameters.get(name) {
                self.parameter(name, &decoded(value), parameter)?;
            }
        }
        let pairs = ask.pairs();
        for (name, value) in &pairs {
            let Some(parameter) = described.query.get(name) else {
                return Err(format!("{}: no query parameter `{name}`", described.path));
            };
            self.parameter(name, value, parameter)?;
        }
        for (name, parameter) in &described.query {
            if parameter.required && !pairs.iter().any(|(given, _)| given == name) {
                return Err(format!(
                    "{}: the query parameter `{name}` is missing",
                    described.path
                ));
            }
        }
        self.body(ask, described)
    }

    fn body(&self, ask: &Ask, described: &Described) -> Result<(), String> {
        let path = &described.path;
        let Some(parameter) = &described.body else {
            return match ask.body.is_empty() || ask.json() == serde_json::json!({}) {
                true => Ok(()),
                false => Err(format!("{path}: takes no body")),
            };
        };
        if ask.body.is_empty() {
            return match parameter.required {
                true => Err(format!("{path}: the body is missing")),
                false => Ok(()),
            };
        }
        let body: Value =
            serde_json::from_slice(&ask.body).map_err(|e| format!("{path}: the body: {e}"))?;
        if let (Some(given), Some(properties)) =
            (body.as_object(), parameter.schema["properties"].as_object())
            && parameter.schema.get("additionalProperties").is_none()
            && let Some(unknown) = given.keys().find(|name| !properties.contains_key(*name))
        {
            return Err(format!("{path}: the body has no property `{unknown}`"));
        }
        self.fits(&parameter.schema, &body)
            .map_err(|wrong| format!("{path}: the body: {wrong}"))
    }

    /// A parameter's text as the type that it should have.
    fn parameter(&self, name: &str, text: &str, parameter: &Parameter) -> Result<(), String> {
        let value = typed(text, &parameter.schema);
        self.fits(&parameter.schema, &value)
            .map_err(|wrong| format!("the parameter `{name}`: {wrong}"))
    }

    fn fits(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let key = schema.to_string();
        let known = self.compiled.lock().unwrap().get(&key).cloned();
        let validator = known.unwrap_or_else(|| {
            let made = Arc::new(jsonschema::draft202012::new(schema).unwrap());
            self.compiled.lock().unwrap().insert(key, made.clone());
            made
        });
        let wrong: Vec<String> = validator
            .iter_errors(value)
            .map(|error| format!("{} at `{}`", error, error.instance_path()))
            .collect();
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join("; "))
        }
    }
}

fn typed(text: &str, schema: &Value) -> Value {
    match schema["type"].as_str() {
        Some("integer" | "number") => {
            let number = text.parse::<i64>();
            number.map_or_else(|_| Value::from(text), Value::from)
        }
        Some("boolean") => {
            let truth = text.parse::<bool>();
            truth.map_or_else(|_| Value::from(text), Value::from)
        }
        Some("array") => text.split(',').map(Value::from).collect(),
        _ => Value::from(text),
    }
}

/// The open parts of a template in a path. A few of them may have slashes of their own.
fn bind(template: &[&str], path: &[&str]) -> Option<Vec<(String, String)>> {
    let Some((first, template)) = template.split_first() else {
        return path.is_empty().then(Vec::new);
    };
    let Some(name) = first.strip_prefix('{').and_then(|f| f.strip_suffix('}')) else {
        let (given, path) = path.split_first()?;
        return (given == first).then(|| bind(template, path)).flatten();
    };
    let most = match name {
        "ref" | "branch" | "path" | "basehead" => path.len(),
        _ => 1,
    };
    (1..=most.min(path.len())).find_map(|taken| {
        let (given, path) = path.split_at(taken);
        let mut bound = bind(template, path)?;
        bound.push((name.to_owned(), given.join("/")));
        Some(bound)
    })
}
