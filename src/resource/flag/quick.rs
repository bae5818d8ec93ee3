//! The typed pass: no places, no tree, text borrowed from the document, specs written straight in canonical form. It
//! gives up at the first thing that is not as it should be, and leaves saying what to the careful pass.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::{self, Write as _};

use foldhash::fast::RandomState;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::KIND;
use crate::document::data::{Syntax, syntax};
use crate::document::faults::spans;
use crate::document::json::{Strict, blank};
use crate::document::{fields, yaml};
use crate::finding::Span;
use crate::ids::ResourceRef;
use crate::resource::SystemSet;
use crate::resource::declare::Targets;
use crate::resource::form::{Declared, Source};
use crate::state::Spec;

/// All flags, or `None` where anything at all is to be said about the document.
pub(super) fn read(source: Source<'_>, targets: &mut Targets<'_>) -> Option<Vec<Declared>> {
    let text = source.text;
    match syntax(source.path, text) {
        Syntax::Yaml => declare(yaml::from_str(text).ok()?, targets),
        // Most documents are strict JSON: blanking comes second.
        Syntax::Json => match serde_json::from_str(text) {
            Ok(flags) => declare(flags, targets),
            Err(_) => match blank(text) {
                Cow::Borrowed(_) => None,
                Cow::Owned(strict) => declare(serde_json::from_str(&strict).ok()?, targets),
            },
        },
    }
}

/// Where flags stand in a document of JSON, found without a tree; `None` where that takes one.
pub(super) fn places(
    source: Source<'_>,
    wanted: &[ResourceRef],
) -> Option<BTreeMap<ResourceRef, Span>> {
    let text = source.text;
    match syntax(source.path, text) {
        Syntax::Yaml => None,
        Syntax::Json => match serde_json::from_str(text) {
            Ok(keys) => keys_at(text, &keys, text, wanted),
            Err(_) => match blank(text) {
                Cow::Borrowed(_) => None,
                Cow::Owned(strict) => {
                    keys_at(text, &serde_json::from_str(&strict).ok()?, &strict, wanted)
                }
            },
        },
    }
}

/// The members' keys alone, in order.
struct Keys<'t>(Vec<Text<'t>>);

/// The places in `text` of keys that were read from `strict`, which is as long.
fn keys_at(
    text: &str,
    Keys(keys): &Keys<'_>,
    strict: &str,
    wanted: &[ResourceRef],
) -> Option<BTreeMap<ResourceRef, Span>> {
    let names: HashMap<&str, &ResourceRef> = wanted
        .iter()
        .filter(|id| id.kind() == KIND)
        .map(|id| (id.name(), id))
        .collect();
    let mut found = Vec::new();
    for Text(key) in keys {
        // With escapes it is a text of its own, which does not say where it came from.
        let Cow::Borrowed(key) = key else { return None };
        if let Some(id) = names.get(key) {
            let start = key.as_ptr().addr().checked_sub(strict.as_ptr().addr())?;
            let end = start + key.len();
            if strict.get(start..end) != Some(key) {
                return None;
            }
            found.push(((*id).clone(), start.checked_sub(1)?..end + 1));
        }
    }
    let mut places = BTreeMap::new();
    for (id, span) in spans(text, found) {
        places.entry(id).or_insert(span);
    }
    Some(places)
}

impl<'de: 't, 't> Deserialize<'de> for Keys<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Keys<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of flags")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Keys<'de>, A::Error> {
                let mut keys = Vec::new();
                while let Some(Key(key)) = members.next_key()? {
                    members.next_value::<IgnoredAny>()?;
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// Text that is borrowed where it has no escapes.
#[derive(PartialEq, Eq, Hash)]
struct Text<'t>(Cow<'t, str>);

/// The members of the document, in order.
struct Flags<'t>(Vec<(Text<'t>, Flag<'t>)>);

#[derive(Default)]
struct Flag<'t> {
    enabled: Option<bool>,
    rollout: Option<u8>,
    teams: Option<Vec<Text<'t>>>,
    description: Option<Text<'t>>,
    owner: Option<Text<'t>>,
    expires: Option<Text<'t>>,
    variants: Option<Value>,
    default_variant: Option<Text<'t>>,
    targeting: Option<Value>,
}

fn declare(flags: Flags<'_>, targets: &mut Targets<'_>) -> Option<Vec<Declared>> {
    let Flags(flags) = flags;
    let mut keys = HashSet::with_capacity_and_hasher(flags.len(), RandomState::default());
    if !flags.iter().all(|(key, _)| keys.insert(&*key.0)) {
        return None;
    }
    let mut sets: HashMap<&[Text<'_>], SystemSet, RandomState> = HashMap::default();
    let mut declared = Vec::with_capacity(flags.len());
    let mut spec = String::new();
    for (key, flag) in &flags {
        let systems = match &flag.teams {
            None => targets.all(),
            Some(teams) => match sets.get(teams.as_slice()) {
                Some(set) => set.clone(),
                None => {
                    let set = targets.exactly(teams.iter().map(|t| &*t.0))?;
                    sets.insert(teams, set.clone());
                    set
                }
            },
        };
        if systems.is_empty() {
            return None;
        }
        declared.push(Declared {
            id: ResourceRef::new(KIND, &key.0).ok()?,
            spec: flag.spec(&mut spec)?,
            systems,
        });
    }
    Some(declared)
}

impl Flag<'_> {
    /// The spec as canonical JSON: members sorted by name. `out` is only lent, to save an allocation a flag.
    fn spec(&self, out: &mut String) -> Option<Spec> {
        let Self {
            enabled,
            rollout,
            teams: _,
            description,
            owner,
            expires,
            variants,
            default_variant,
            targeting,
        } = self;
        let enabled = (*enabled)?;
        let rollout = rollout.unwrap_or(100);
        if rollout > 100 || expires.as_ref().is_some_and(|d| !fields::is_date(&d.0)) {
            return None;
        }
        self.variants_are_right()?;
        out.clear();
        out.push('{');
        text(out, "default_variant", default_variant.as_ref())?;
        text(out, "description", description.as_ref())?;
        out.push_str(if enabled {
            "\"enabled\":true,"
        } else {
            "\"enabled\":false,"
        });
        text(out, "expires", expires.as_ref())?;
        text(out, "owner", owner.as_ref())?;
        write!(out, "\"rollout\":{rollout},").ok()?;
        value(out, "targeting", targeting.as_ref())?;
        value(out, "variants", variants.as_ref())?;
        out.pop();
        out.push('}');
        Some(Spec::from_canonical(out))
    }

    fn variants_are_right(&self) -> Option<()> {
        if let Some(targeting) = &self.targeting {
            targeting.as_object()?;
        }
        let default = self.default_variant.as_ref().map(|d| &*d.0);
        let Some(variants) = &self.variants else {
            return matches!(default, None | Some("on" | "off")).then_some(());
        };
        let variants = variants.as_object()?;
        let first = variants.values().next()?;
        let one_sort = variants.values().all(|v| {
            !v.is_null()
                && !v.is_array()
                && std::mem::discriminant(v) == std::mem::discriminant(first)
        });
        (one_sort && default.is_none_or(|d| variants.contains_key(d))).then_some(())
    }
}

/// `"name":"text",` where there is one. Names are plain ASCII; text is escaped as RFC 8785 says, which is how `serde_json`
/// does it.
fn text(out: &mut String, name: &str, text: Option<&Text<'_>>) -> Option<()> {
    let Some(Text(text)) = text else {
        return Some(());
    };
    member(out, name);
    if text.bytes().any(|b| b < b' ' || matches!(b, b'"' | b'\\')) {
        out.push_str(&serde_json::to_string(text).ok()?);
    } else {
        out.push('"');
        out.push_str(text);
        out.push('"');
    }
    out.push(',');
    Some(())
}

fn value(out: &mut String, name: &str, value: Option<&Value>) -> Option<()> {
    if let Some(value) = value {
        member(out, name);
        out.push_str(&serde_json_canonicalizer::to_string(value).ok()?);
        out.push(',');
    }
    Some(())
}

fn member(out: &mut String, name: &str) {
    out.push('"');
    out.push_str(name);
    out.push_str("\":");
}

// Every scalar is asked for by `deserialize_any`: YAML would otherwise make text of a number where text is wanted.

impl<'de: 't, 't> Deserialize<'de> for Text<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
            fn visit_string<E: de::Error>(self, text: String) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text)))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// A key: text, however it looks.
struct Key<'t>(Text<'t>);

impl<'de: 't, 't> Deserialize<'de> for Key<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Text(Cow::Borrowed(text))))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Text(Cow::Owned(text.to_owned()))))
            }
            fn visit_string<E: de::Error>(self, text: String) -> Result<Key<'de>, E> {
                Ok(Key(Text(Cow::Owned(text))))
            }
        }
        deserializer.deserialize_str(V)
    }
}

struct Bool(bool);

impl<'de> Deserialize<'de> for Bool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Bool;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or false")
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Bool, E> {
                Ok(Bool(value))
            }
        }
        deserializer.deserialize_any(V)
    }
}

struct Percent(u8);

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Percent;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number from 0 to 100")
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Percent, E> {
                u8::try_from(value).map(Percent).map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Percent, E> {
                u8::try_from(value).map(Percent).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(V)
    }
}

struct Texts<'t>(Vec<Text<'t>>);

impl<'de: 't, 't> Deserialize<'de> for Texts<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Texts<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of strings")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Texts<'de>, A::Error> {
                let mut texts = Vec::with_capacity(4);
                while let Some(text) = items.next_element()? {
                    texts.push(text);
                }
                Ok(Texts(texts))
            }
        }
        deserializer.deserialize_any(V)
    }
}

impl<'de: 't, 't> Deserialize<'de> for Flags<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Flags<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of flags")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Flags<'de>, A::Error> {
                let mut flags = Vec::new();
                let mut schema = false;
                while let Some(Key(key)) = members.next_key()? {
                    if key.0 == "$schema" {
                        members.next_value::<Text<'de>>()?;
                        if std::mem::replace(&mut schema, true) {
                            return Err(de::Error::custom("a duplicate key"));
                        }
                        continue;
                    }
                    flags.push((key, members.next_value()?));
                }
                Ok(Flags(flags))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// Fills a field that must not have been filled before.
fn fill<T, E: de::Error>(place: &mut Option<T>, value: T) -> Result<(), E> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom("a duplicate key")),
    }
}

impl<'de: 't, 't> Deserialize<'de> for Flag<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Flag<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a flag")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Flag<'de>, A::Error> {
                // The document and the flag itself.
                let inner = Strict { depth: 2 };
                let mut flag = Flag::default();
                while let Some(Key(Text(key))) = map.next_key()? {
                    match &*key {
                        "enabled" => fill(&mut flag.enabled, map.next_value::<Bool>()?.0)?,
                        "rollout" => fill(&mut flag.rollout, map.next_value::<Percent>()?.0)?,
                        "teams" => fill(&mut flag.teams, map.next_value::<Texts<'de>>()?.0)?,
                        "description" => fill(&mut flag.description, map.next_value()?)?,
                        "owner" => fill(&mut flag.owner, map.next_value()?)?,
                        "expires" => fill(&mut flag.expires, map.next_value()?)?,
                        "default_variant" => fill(&mut flag.default_variant, map.next_value()?)?,
                        "variants" => fill(&mut flag.variants, map.next_value_seed(inner)?)?,
                        "targeting" => fill(&mut flag.targeting, map.next_value_seed(inner)?)?,
                        _ => return Err(de::Error::custom("an unknown field")),
                    }
                }
                Ok(flag)
            }
        }
        deserializer.deserialize_any(V)
    }
}
