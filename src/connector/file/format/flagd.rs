//! Flag definitions as flagd and its in-process providers read them.
//!
//! A flag that carries `lockstep.spec` in its metadata is Lockstep's; all others, and whatever else the file has, stay as they are. The
//! spec is kept whole, because a definition does not say all of it. A definition that is no longer what its spec gives was edited: then
//! the spec that is read differs too, or the edit would never be seen.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::super::ConnectorError;
use super::super::content::{Around, Content, Gathered};
use super::json::{parse, pretty};
use super::unreadable;
use crate::ids::Revision;
use crate::state::{Item, Spec};

mod definition;

use definition::definition;

const KIND: &str = "FeatureFlag";
const SCHEMA: &str = "https://flagd.dev/schema/v0/flags.json";
/// The metadata in which a flag's spec is kept.
const SPEC: &str = "lockstep.spec";
/// The metadata of the file that says what it was written at.
const REVISION: &str = "lockstep.revision";
/// The field under which an edited definition is shown.
const EDITED: &str = "edited";

pub(super) fn unfit(item: &Item, around: &Around) -> Option<String> {
    if item.id.kind() != KIND {
        return Some(format!(
            "flagd holds flags only; take {} out of the system's kinds",
            item.id.kind()
        ));
    }
    if let Around::Flags { flags, .. } = around
        && flags.iter().any(|(key, _)| key == item.id.name())
    {
        return Some(
            "the file has a flag of this key that Lockstep did not write; take it out, or give the flag another key"
                .to_owned(),
        );
    }
    match item.spec.value().get(EDITED) {
        Some(_) => Some(format!("the field {EDITED:?} is not one of a flag")),
        None => definition(&item.spec).err(),
    }
}

/// The members of an object in their order, each as it is written. A key that comes twice is an error.
struct Members(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members: Vec<(String, String)> = Vec::new();
                let mut seen = HashSet::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if !seen.insert(key.clone()) {
                        return Err(de::Error::custom(format!("{key:?} is there twice")));
                    }
                    members.push((key, value.get().to_owned()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

impl Members {
    fn take(&mut self, key: &str) -> Option<String> {
        let at = self.0.iter().position(|(k, _)| k == key)?;
        Some(self.0.remove(at).1)
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<Content, ConnectorError> {
    const FORM: &str = "{\"flags\": {key: definition}}";
    let mut file: Members = parse(bytes, "the file", FORM)?;
    let flags = file.take("flags").ok_or_else(|| {
        unreadable("the file has no \"flags\", an object of definitions by key as in-process providers read it")
    })?;
    let flags: Members = parse(
        flags.as_bytes(),
        "\"flags\" in the file",
        "{key: definition}",
    )?;
    let mut metadata = match file.take("metadata") {
        None => Members(Vec::new()),
        Some(metadata) => parse(
            metadata.as_bytes(),
            "\"metadata\" in the file",
            "{key: value}",
        )?,
    };
    let revision = match metadata.take(REVISION) {
        None => None,
        Some(revision) => Some(parse::<Revision>(
            revision.as_bytes(),
            REVISION,
            "a commit id",
        )?),
    };
    let mut gathered = Gathered::default();
    let mut foreign = Vec::new();
    for (key, written) in flags.0 {
        let what = format!("the flag {key:?} in the file");
        let there: Value = parse(written.as_bytes(), &what, "a definition")?;
        match there.get("metadata").and_then(|m| m.get(SPEC)) {
            None => foreign.push((key, written)),
            Some(kept) => {
                let spec = kept.as_str().and_then(|s| serde_json::from_str(s).ok());
                let spec = spec.ok_or_else(|| {
                    unreadable(&format!(
                        "{what}: {SPEC} in its metadata is no text that is JSON"
                    ))
                })?;
                gathered.add(KIND, &key, &as_it_is(spec, &there))?;
            }
        }
    }
    Ok(Content {
        revision,
        state: gathered.state(),
        around: Around::Flags {
            members: file.0,
            metadata: metadata.0,
            flags: foreign,
        },
    })
}

/// The spec that a definition stands for: the one it was made from, where it is still that. A flag that was only switched is that spec
/// switched; any other edit is shown as it is.
fn as_it_is(spec: Value, there: &Value) -> Value {
    let gives = |spec: &Value| {
        let spec = Spec::from_value(spec).ok()?;
        definition(&spec).ok()
    };
    // What carries the field by itself was written by hand.
    let known = spec.get(EDITED).is_none();
    if known && gives(&spec).as_ref() == Some(there) {
        return spec;
    }
    let mut edited = match spec.as_object() {
        Some(members) => members.clone(),
        None => Map::from_iter([("spec".to_owned(), spec)]),
    };
    let mut switched = edited.clone();
    let on = there.get("state").and_then(Value::as_str) == Some("ENABLED");
    switched.insert("enabled".to_owned(), Value::from(on));
    let mut as_kept = there.clone();
    let switched = Value::Object(switched);
    if let (true, Some(mut made)) = (known, gives(&switched)) {
        // The kept spec is the old one, which is all that may differ.
        for definition in [&mut as_kept, &mut made] {
            if let Some(metadata) = definition
                .get_mut("metadata")
                .and_then(Value::as_object_mut)
            {
                metadata.remove(SPEC);
            }
        }
        if made == as_kept {
            return switched;
        }
    }
    edited.insert(EDITED.to_owned(), there.clone());
    Value::Object(edited)
}

/// A part of the file: as it was written, or of ours.
#[derive(Serialize)]
#[serde(untagged)]
enum Part<'a> {
    Raw(&'a RawValue),
    Ours(Value),
    Object(Ordered<'a>),
}

/// An object with its members in this order.
struct Ordered<'a>(Vec<(&'a str, Part<'a>)>);

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(self.0.iter().map(|(key, part)| (key, part)))
    }
}

pub(super) fn write(content: &Content) -> Result<Vec<u8>, ConnectorError> {
    let nothing: &[(String, String)] = &[];
    let (members, metadata, foreign) = match &content.around {
        Around::Flags {
            members,
            metadata,
            flags,
        } => (members.as_slice(), metadata.as_slice(), flags.as_slice()),
        Around::Nothing | Around::Lines { .. } | Around::Files(_) => (nothing, nothing, nothing),
    };
    let mut file = Vec::new();
    if !members.iter().any(|(key, _)| key == "$schema") {
        file.push(("$schema", Part::Ours(Value::from(SCHEMA))));
    }
    file.extend(raw(members)?);
    let mut about = raw(metadata)?;
    if let Some(revision) = &content.revision {
        about.push((REVISION, Part::Ours(Value::from(revision.as_str()))));
    }
    file.push(("metadata", Part::Object(Ordered(about))));
    let ours = content.sorted();
    let mut flags = raw(foreign)?;
    // Where someone has added one of the same key since it was decided, it is ours now.
    flags.retain(|(key, _)| !ours.iter().any(|item| item.id.name() == *key));
    for item in ours {
        let definition = match item.spec.value().get(EDITED) {
            // Not ours to mend as long as no change says so.
            Some(edited) => edited.clone(),
            None => definition(&item.spec).map_err(|why| ConnectorError::Terminal {
                message: format!("{}: {why}", item.id),
            })?,
        };
        flags.push((item.id.name(), Part::Ours(definition)));
    }
    file.push(("flags", Part::Object(Ordered(flags))));
    pretty(&Ordered(file))
}

fn raw(members: &[(String, String)]) -> Result<Vec<(&str, Part<'_>)>, ConnectorError> {
    members
        .iter()
        .map(|(key, written)| {
            let raw: &RawValue =
                serde_json::from_str(written).map_err(|error| ConnectorError::Terminal {
                    message: format!("{key:?} cannot be written: {error}"),
                })?;
            Ok((key.as_str(), Part::Raw(raw)))
        })
        .collect()
}
