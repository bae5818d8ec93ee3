//! The typed pass: no places, no tree, text borrowed from the document, specs written straight in canonical form. It
//! gives up at the first thing that is not as it should be, and leaves saying what to the careful pass.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher};

use foldhash::fast::RandomState;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::KIND;
use crate::document::data::{Syntax, syntax};
use crate::document::faults::spans;
use crate::document::json::{Strict, blank};
use crate::document::{fields, yaml};
use crate::finding::Span;
use crate::ids::ResourceRef;
use crate::resource::declare::Targets;
use crate::resource::form::{Declared, Source};
use crate::resource::{SystemSet, dating};
use crate::state::Spec;

mod values;

use values::{Bool, Key, Percent, Text, Texts};

/// All flags, or `None` where anything at all is to be said about the document.
pub(super) fn read(source: Source<'_>, targets: &mut Targets<'_>) -> Option<Vec<Declared>> {
    let text = source.text;
    match syntax(source.path, text) {
        Syntax::Yaml => {
            let mut declaring = Declaring::new(targets, text.len());
            let Flags(flags) = yaml::from_str(text).ok()?;
            for (key, flag) in flags {
                declaring.flag(key, flag)?;
            }
            Some(declaring.declared)
        }
        // Most documents are strict JSON: blanking comes second.
        Syntax::Json => read_json(text, targets).or_else(|| match blank(text) {
            Cow::Borrowed(_) => None,
            Cow::Owned(strict) => read_json(&strict, targets),
        }),
    }
}

/// Flag by flag, so that a large document is never held a second time in between.
fn read_json(text: &str, targets: &mut Targets<'_>) -> Option<Vec<Declared>> {
    let mut declaring = Declaring::new(targets, text.len());
    let mut json = serde_json::Deserializer::from_str(text);
    Members(&mut declaring).deserialize(&mut json).ok()?;
    json.end().ok()?;
    Some(declaring.declared)
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
    from: Option<Text<'t>>,
    until: Option<Text<'t>>,
    variants: Option<Value>,
    default_variant: Option<Text<'t>>,
    targeting: Option<Value>,
}

/// Hashes what is a hash already.
#[derive(Default)]
struct Passed(u64);

type PassOn = BuildHasherDefault<Passed>;

impl Hasher for Passed {
    fn write(&mut self, _: &[u8]) {}
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// About as long as a flag is in a document: how much room to make at once.
const FLAG_BYTES: usize = 128;

/// Makes resources of flags.
struct Declaring<'a, 'c, 't> {
    targets: &'a mut Targets<'c>,
    /// Hashes of the keys so far. Two keys with one hash are taken for a duplicate: the careful pass then finds that there is none.
    keys: HashSet<u64, PassOn>,
    hasher: RandomState,
    sets: HashMap<Vec<Text<'t>>, SystemSet, RandomState>,
    /// Room for writing one name or spec, used again for each.
    room: String,
    declared: Vec<Declared>,
}

impl<'a, 'c, 't> Declaring<'a, 'c, 't> {
    fn new(targets: &'a mut Targets<'c>, bytes: usize) -> Self {
        let flags = bytes / FLAG_BYTES;
        Self {
            targets,
            keys: HashSet::with_capacity_and_hasher(flags, PassOn::default()),
            hasher: RandomState::default(),
            sets: HashMap::default(),
            room: String::new(),
            declared: Vec::with_capacity(flags),
        }
    }

    fn flag(&mut self, Text(key): Text<'t>, mut flag: Flag<'t>) -> Option<()> {
        let systems = match flag.teams.take() {
            None => self.targets.all(),
            Some(teams) => match self.sets.get(&teams) {
                Some(set) => set.clone(),
                None => {
                    let set = self.targets.exactly(teams.iter().map(|t| &*t.0))?;
                    self.sets.insert(teams, set.clone());
                    set
                }
            },
        };
        if systems.is_empty() {
            return None;
        }
        self.declared.push(Declared {
            id: ResourceRef::joined(KIND, &key, &mut self.room).ok()?,
            spec: flag.spec(&mut self.room, self.targets.timezone())?,
            systems,
        });
        self.keys.insert(self.hasher.hash_one(&*key)).then_some(())
    }
}

impl Flag<'_> {
    /// The spec as canonical JSON: members sorted by name. `out` is only lent, to save an allocation a flag.
    fn spec(&self, out: &mut String, timezone: &str) -> Option<Spec> {
        let Self {
            enabled,
            rollout,
            teams: _,
            description,
            owner,
            expires,
            from,
            until,
            variants,
            default_variant,
            targeting,
        } = self;
        let enabled = (*enabled)?;
        let rollout = rollout.unwrap_or(100);
        if rollout > 100 || expires.as_ref().is_some_and(|d| !fields::is_date(&d.0)) {
            return None;
        }
        self.dates_are_right(timezone)?;
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
        text(out, "from", from.as_ref())?;
        text(out, "owner", owner.as_ref())?;
        out.push_str("\"rollout\":");
        percent(out, rollout);
        out.push(',');
        value(out, "targeting", targeting.as_ref())?;
        text(out, "until", until.as_ref())?;
        value(out, "variants", variants.as_ref())?;
        out.pop();
        out.push('}');
        Some(Spec::from_canonical(out))
    }

    fn dates_are_right(&self, timezone: &str) -> Option<()> {
        let is_moment = |text: &Text<'_>| fields::is_date(&text.0) || fields::is_time(&text.0);
        let both = [&self.from, &self.until].into_iter().flatten();
        if !both.into_iter().all(is_moment) {
            return None;
        }
        match (&self.from, &self.until) {
            (Some(from), Some(until)) => {
                (!dating::is_empty(&from.0, &until.0, timezone)).then_some(())
            }
            (_, _) => Some(()),
        }
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

/// A number of at most three digits; the formatter takes as long as the rest of a spec.
fn percent(out: &mut String, n: u8) {
    for (unit, shown) in [(100, n >= 100), (10, n >= 10), (1, true)] {
        if shown {
            out.push(char::from(b'0' + n / unit % 10));
        }
    }
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

impl<'de: 't, 't> Deserialize<'de> for Flags<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Flags<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of flags")
            }
            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Flags<'de>, A::Error> {
                let mut flags = Vec::new();
                each(members, |key, flag| {
                    flags.push((key, flag));
                    Some(())
                })?;
                Ok(Flags(flags))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// The document as a visitor that passes every flag on.
struct Members<'s, 'a, 'c, 't>(&'s mut Declaring<'a, 'c, 't>);

impl<'de> DeserializeSeed<'de> for Members<'_, '_, '_, 'de> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Members<'_, '_, '_, 'de> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of flags")
    }
    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<(), A::Error> {
        each(members, |key, flag| self.0.flag(key, flag))
    }
}

/// Gives every flag of a document to `take`, and ends with the first one that it does not.
fn each<'de, A: MapAccess<'de>>(
    mut members: A,
    mut take: impl FnMut(Text<'de>, Flag<'de>) -> Option<()>,
) -> Result<(), A::Error> {
    let mut schema = false;
    while let Some(Key(key)) = members.next_key()? {
        if key.0 == "$schema" {
            members.next_value::<Text<'de>>()?;
            if std::mem::replace(&mut schema, true) {
                return Err(de::Error::custom("a duplicate key"));
            }
            continue;
        }
        if take(key, members.next_value()?).is_none() {
            return Err(de::Error::custom("a flag that is not right"));
        }
    }
    Ok(())
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
                        "from" => fill(&mut flag.from, map.next_value()?)?,
                        "until" => fill(&mut flag.until, map.next_value()?)?,
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
