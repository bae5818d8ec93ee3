//! JSON Schemas (draft 2020-12) of the document forms, for editors: completion, hovers and red lines while typing. What they
//! can't say (which systems exist, which networks are canonical) the readers check.

use serde_json::{Value, json};

use crate::config::connectors::CONNECTORS;

#[cfg(test)]
mod tests;

/// The names under which [`schema`] answers: kinds, and `Config` for `lockstep.yaml`.
pub const NAMES: &[&str] = &[
    "AccessGrant",
    "Config",
    "FeatureFlag",
    "InterviewType",
    "IpBlock",
];

/// The schema of the documents that declare a kind.
pub fn schema(kind: &str) -> Option<Value> {
    let (title, mut body) = match kind {
        "FeatureFlag" => ("Feature flags", flags()),
        "AccessGrant" | "IpBlock" => ("Access control", access()),
        "InterviewType" => ("Interview types", interview_types()),
        "Config" => ("lockstep.yaml", config()),
        _ => return None,
    };
    if let Some(members) = body.as_object_mut() {
        let draft = "https://json-schema.org/draft/2020-12/schema";
        members.insert("$schema".to_owned(), draft.into());
        members.insert("title".to_owned(), title.into());
    }
    Some(body)
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn name() -> Value {
    json!({"type": "string", "pattern": "^\\S+$", "maxLength": 512})
}

fn date(description: &str) -> Value {
    json!({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "description": description})
}

fn moment(description: &str) -> Value {
    json!({
        "type": "string",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ].+([Zz]|[+-][0-9]{2}(:?[0-9]{2})?))?$",
        "description": description,
    })
}

/// The systems a resource is for: by name, title or alias.
fn systems(description: &str) -> Value {
    json!({
        "type": "array",
        "items": {"type": "string"},
        "minItems": 1,
        "description": description,
    })
}

const SYSTEMS: &str =
    "The systems it is for, by name, title or alias; all that take the kind where this is left out";

fn flags() -> Value {
    let one_sort = ["boolean", "string", "number", "object"]
        .map(|sort| json!({"additionalProperties": {"type": sort}}));
    let flag = json!({
        "type": "object",
        "properties": {
            "enabled": {"type": "boolean", "description": "Whether anyone has the flag"},
            "rollout": {
                "type": "integer", "minimum": 0, "maximum": 100, "default": 100,
                "description": "The share of users who have it, in percent",
            },
            "teams": systems(SYSTEMS),
            "description": text("What it switches"),
            "owner": text("Who looks after it"),
            "expires": date("When it should be gone, such as 2026-12-31: a reminder for people, nothing happens then"),
            "from": moment("When it is switched on: a date, from its first instant, or a time with its offset"),
            "until": moment("When it is switched off: a date, after its last instant, or a time with its offset"),
            "variants": {
                "type": "object", "minProperties": 1,
                "description": "Values by name, all of one type",
                "anyOf": one_sort,
            },
            "default_variant": text("The variant that holds where targeting names none"),
            "targeting": {"type": "object", "description": "JsonLogic, as flagd reads it"},
        },
        "required": ["enabled"],
        "additionalProperties": false,
    });
    json!({
        "type": "object",
        "properties": {"$schema": {"type": "string"}},
        "propertyNames": name(),
        "additionalProperties": flag,
    })
}

fn access() -> Value {
    let entries = |key: &str, what: &str, description: &str| {
        json!({
            "type": "array",
            "description": description,
            "items": {"anyOf": [
                name(),
                {
                    "type": "object",
                    "properties": {
                        key: {"type": "string", "pattern": "^\\S+$", "description": what},
                        "from": moment("When it begins: a date, from its first instant, or a time with its offset"),
                        "until": moment("When it ends: a date, after its last instant, or a time with its offset"),
                        "reason": text("Why"),
                        "systems": systems(SYSTEMS),
                    },
                    "required": [key],
                    "additionalProperties": false,
                },
            ]},
        })
    };
    let address = "An IP address or network, such as 192.168.1.0/24";
    json!({
        "type": "object",
        "properties": {
            "$schema": {"type": "string"},
            "admin_users": entries("id", "The user's id", "Who may administer"),
            "readonly_users": entries("id", "The user's id", "Who may look"),
            "blocked_ips": entries("cidr", address, "Addresses that are refused"),
            "systems": {"type": "array", "items": {"type": "string"}, "description": SYSTEMS},
        },
        "additionalProperties": false,
    })
}

fn interview_types() -> Value {
    let filled =
        |description: &str| json!({"type": "string", "pattern": "\\S", "description": description});
    let one = json!({
        "type": "object",
        "properties": {
            "$schema": {"type": "string"},
            "id": name(),
            "name": filled("What users see"),
            "classification": filled("The class it is counted in"),
            "description": text("What it is for"),
            "duration_minutes": {"type": "integer", "minimum": 1, "maximum": 1440},
            "systems": systems(SYSTEMS),
            "retired": {"type": "boolean", "default": false, "description": "No longer offered"},
            "successor": text("The id of the type that takes its place"),
        },
        "required": ["id", "name", "classification"],
        "additionalProperties": false,
    });
    json!({
        "anyOf": [{"type": "array", "items": {"$ref": "#/$defs/type"}}, {"$ref": "#/$defs/type"}],
        "$defs": {"type": one},
    })
}

fn config() -> Value {
    let exceptions = json!({
        "type": "array", "items": {"type": "string"},
        "description": "What it does not stop: narrowing, a kind's name, or role:NAME",
    });
    let short_name = json!({"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$", "maxLength": 64});
    json!({
        "type": "object",
        "properties": {
            "$schema": {"type": "string"},
            "version": {"const": 1},
            "timezone": text("IANA name, such as Asia/Tokyo"),
            "systems": {"type": "object", "propertyNames": short_name, "additionalProperties": system()},
            "groups": {"type": "object", "propertyNames": short_name, "additionalProperties": group()},
            "people": {"type": "object", "additionalProperties": person()},
            "documents": {"type": "array", "items": {
                "type": "object",
                "properties": {"path": text("A path pattern"), "kind": text("The kind it declares")},
                "required": ["path", "kind"],
                "additionalProperties": false,
            }},
            "safety": {
                "type": "object",
                "description": "default, or by kind, system or system/Kind",
                "additionalProperties": ceiling(),
            },
            "freezes": {"type": "array", "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "from": {"type": "string"},
                    "until": {"type": "string"},
                    "except": exceptions,
                },
                "required": ["name", "from", "until"],
                "additionalProperties": false,
            }},
        },
        "additionalProperties": false,
    })
}

fn system() -> Value {
    let words = json!({"type": "array", "items": {"type": "string"}});
    let names: Vec<_> = CONNECTORS.iter().map(|c| c.name).collect();
    json!({
        "type": "object",
        "properties": {
            "title": text("What people call it"),
            "aliases": words,
            "connector": {"enum": names, "description": "How Lockstep speaks to it; further fields are the connector's"},
            "credential": text("The name of a credential; its value is on the server"),
            "kinds": {"type": "array", "items": {"type": "string"}, "description": "The kinds of resource it takes"},
            "mode": {"enum": ["observe", "detect", "upsert", "enforce"], "default": "enforce"},
            "drift": {"enum": ["heal", "report", "propose"], "default": "heal"},
            "fields": {
                "type": "object",
                "description": "Who writes a field there, by kind: Lockstep always, Lockstep when it makes the resource, or the people there alone",
                "additionalProperties": {
                    "type": "object",
                    "additionalProperties": {"enum": ["enforced", "initial", "observed"], "default": "enforced"},
                },
            },
            "limits": {
                "type": "object",
                "description": "How it may be called",
                "properties": {
                    "concurrency": {"type": "integer", "minimum": 1, "description": "Calls under way at one time"},
                    "rate": text("Calls a second or minute: 10/s, 300/m"),
                    "timeout": text("For one call: 30s, 2m, 500ms"),
                    "batch": {"type": "integer", "minimum": 1, "description": "How many of the 256 parts of its state one call reads"},
                    "breaker": {
                        "type": "object",
                        "properties": {
                            "failures": {"type": "integer", "minimum": 1, "description": "So many calls in a row that failed"},
                            "pause": text("and it is left in peace for this long"),
                        },
                        "required": ["failures", "pause"],
                        "additionalProperties": false,
                    },
                },
                "additionalProperties": false,
            },
        },
        "required": ["connector"],
    })
}

fn group() -> Value {
    let words = json!({"type": "array", "items": {"type": "string"}});
    let classes = json!({
        "type": "array", "items": {"type": "string"},
        "description": "Classes of change: narrowing, or a kind's name",
    });
    json!({
        "type": "object",
        "properties": {
            "systems": words,
            "consistency": {"enum": ["lockstep", "independent"], "default": "lockstep"},
            "on_failure": {"enum": ["rollback", "hold"], "default": "rollback"},
            "urgent": classes,
        },
        "required": ["systems"],
        "additionalProperties": false,
    })
}

fn person() -> Value {
    let words = json!({"type": "array", "items": {"type": "string"}});
    json!({
        "type": "object",
        "properties": {
            "name": text("As people read it"),
            "forge": text("The login on the forge"),
            "roles": words,
            "systems": words,
            "ids": {"type": "array", "items": {"type": "string"}, "description": "The ids under which systems know this person"},
            "signing_key": text("SSH public key; once given, only approvals signed with it count"),
        },
        "additionalProperties": false,
    })
}

fn ceiling() -> Value {
    let percent = json!({"type": "number", "minimum": 0, "maximum": 100});
    let count = json!({"type": "integer", "minimum": 0});
    json!({
        "type": "object",
        "properties": {
            "deletes": {
                "type": "object",
                "properties": {"percent": percent, "count": count},
                "additionalProperties": false,
            },
            "updates": {
                "type": "object",
                "properties": {"percent": percent},
                "additionalProperties": false,
            },
            "window": {"type": "string", "pattern": "^\\+?[0-9]+[hd]$", "default": "24h"},
            "small": {
                "type": "integer", "minimum": 0,
                "description": "Below this many rows every delete that does not narrow is acknowledged, and percentages are of this many",
            },
        },
        "additionalProperties": false,
    })
}
