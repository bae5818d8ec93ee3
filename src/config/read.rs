//! Reading `lockstep.yaml`: every fault of it in one pass, and a [`Config`] of what could be read all the same.
//!
//! What a connector's own settings mean is the connector's business; here they are carried as they stand, and only
//! what looks like a secret is refused.

use super::{Config, DocumentMapping, time_zone};
use crate::document::fields::{self, Fields, Placed};
use crate::document::tree::{Member, Node};
use crate::document::{data, faults::Faults, suggest};
use crate::finding::Finding;
use crate::ids::{DocPath, KindName};

mod calls;
mod field_modes;
mod groups;
mod limits;
mod names;
mod people;
mod systems;

#[cfg(test)]
mod tests;

pub(crate) use names::fold;

const TOP: &[&str] = &[
    "$schema",
    "version",
    "timezone",
    "systems",
    "groups",
    "people",
    "documents",
    "safety",
    "freezes",
];

/// Reads `lockstep.yaml`. `known_kinds` are the built-in kinds and the repo's custom ones.
pub fn read(path: &DocPath, text: &str, known_kinds: &[KindName]) -> (Config, Vec<Finding>) {
    read_with(path, text, known_kinds, &|_| KindFields::default())
}

/// What a kind says of its fields.
#[derive(Debug, Clone, Copy, Default)]
pub struct KindFields {
    /// Those that can have a mode; `None` where any can.
    pub all: Option<&'static [&'static str]>,
    /// Those without which a system can't make a resource.
    pub required: &'static [&'static str],
}

/// What the kinds say of their fields.
pub type FieldsOf<'a> = &'a dyn Fn(&KindName) -> KindFields;

/// The same with what the kinds say of their fields.
pub fn read_with(
    path: &DocPath,
    text: &str,
    known_kinds: &[KindName],
    fields_of: FieldsOf<'_>,
) -> (Config, Vec<Finding>) {
    let mut faults = Faults::new(path, text);
    let config = match data::read(&mut faults) {
        Some(node) => Reader {
            faults: &mut faults,
            kinds: known_kinds,
            fields_of,
        }
        .config(&node),
        None => empty(),
    };
    (config, faults.finish())
}

fn empty() -> Config {
    Config {
        timezone: "UTC".to_owned(),
        ..Config::default()
    }
}

struct Reader<'r, 'a> {
    faults: &'r mut Faults<'a>,
    kinds: &'r [KindName],
    fields_of: FieldsOf<'r>,
}

impl Reader<'_, '_> {
    fn config(&mut self, node: &Node) -> Config {
        let mut config = empty();
        let Some(top) = Fields::read(self.faults, node, "lockstep.yaml", TOP) else {
            return config;
        };
        self.version(&top);
        if let Some(zone) = top.text(self.faults, "timezone") {
            if time_zone(zone.text).is_some() {
                config.timezone = zone.text.to_owned();
            } else {
                self.faults.error(
                    "config/timezone",
                    zone.at,
                    format!("there is no time zone {:?}", fields::shorten(zone.text)),
                    Some("use an IANA name such as Asia/Tokyo".to_owned()),
                );
            }
        }
        config.systems = self.systems(&top);
        config.groups = self.groups(&top, &config.systems);
        config.people = self.people(&top, &config.systems);
        config.documents = self.documents(&top);
        config.safety = self.safety(&top, &config.systems);
        config.freezes = self.freezes(&top, &config.timezone, &config.people);
        config
    }

    fn version(&mut self, top: &Fields<'_>) {
        let hint = || Some("write version: 1".to_owned());
        match top.whole(self.faults, "version") {
            Some((1, _)) => {}
            Some((other, at)) => self.faults.error(
                "config/version",
                at,
                format!("version {other} is not known; this Lockstep reads version 1"),
                hint(),
            ),
            None if top.get("version").is_none() => {
                self.faults
                    .warning("config/version", 0..0, "`version` is missing", hint());
            }
            None => {}
        }
    }

    /// The members of a top-level object whose keys are names. Those beyond the limit are reported and not read.
    fn named<'n>(&mut self, top: &Fields<'n>, key: &str, limit: usize) -> &'n [Member] {
        let members: &[Member] = top
            .get(key)
            .and_then(|m| Fields::open(self.faults, &m.value, &format!("`{key}`")))
            .map_or(&[], |f| f.members());
        let Some((read, beyond)) = members.split_at_checked(limit) else {
            return members;
        };
        if let Some(first) = beyond.first() {
            self.faults.error(
                "config/too-many",
                first.key_span.clone(),
                format!(
                    "`{key}` has {} entries; {limit} are read, and this is the first beyond them",
                    members.len()
                ),
                Some("take out what is not used any more, or divide the config repo".to_owned()),
            );
        }
        read
    }

    /// A name as a type; what is none is reported where it stands.
    fn name<T: std::str::FromStr<Err = crate::ids::InvalidId>>(
        &mut self,
        placed: &Placed<'_>,
    ) -> Option<T> {
        match placed.text.parse() {
            Ok(name) => Some(name),
            Err(error) => {
                self.faults.error(
                    "document/bad-name",
                    placed.at.clone(),
                    error.to_string(),
                    None,
                );
                None
            }
        }
    }

    /// A kind that is known.
    fn kind(&mut self, placed: &Placed<'_>) -> Option<KindName> {
        let found = self.kinds.iter().find(|k| k.as_str() == placed.text);
        if found.is_none() {
            self.faults.error(
                "reference/unknown-kind",
                placed.at.clone(),
                format!("there is no kind `{}`", fields::shorten(placed.text)),
                suggest::hint(placed.text, self.kinds.iter().map(KindName::as_str)),
            );
        }
        found.cloned()
    }

    fn documents(&mut self, top: &Fields<'_>) -> Vec<DocumentMapping> {
        let Some(member) = top.get("documents") else {
            return Vec::new();
        };
        let expected = "a list of {path, kind}";
        let items = fields::items(self.faults, &member.value, "`documents`", expected);
        items
            .unwrap_or_default()
            .iter()
            .filter_map(|item| self.mapping(item))
            .collect()
    }

    fn mapping(&mut self, item: &Node) -> Option<DocumentMapping> {
        let what = "an entry of `documents`";
        let fields = Fields::read(self.faults, item, what, &["path", "kind"])?;
        let path = fields
            .require(self.faults, "path", what, None, "path: config/rates.json")
            .and_then(|m| fields::text(self.faults, m));
        let kind = fields
            .require(self.faults, "kind", what, None, "kind: FeatureFlag")
            .and_then(|m| fields::text(self.faults, m))
            .and_then(|placed| self.kind(&placed));
        let path = path?;
        if let Err(error) = globset::Glob::new(path.text) {
            self.faults.error(
                "config/glob",
                path.at,
                format!("not a path pattern: {}", error.kind()),
                Some("write it like config/*.yaml".to_owned()),
            );
            return None;
        }
        Some(DocumentMapping {
            path: path.text.to_owned(),
            kind: kind?,
        })
    }

    fn owned_texts(&mut self, fields: &Fields<'_>, key: &str) -> Vec<String> {
        let texts = fields.texts(self.faults, key).unwrap_or_default();
        texts.into_iter().map(|p| p.text.to_owned()).collect()
    }
}

fn key(member: &Member) -> Placed<'_> {
    Placed {
        text: &member.key,
        at: member.key_span.clone(),
    }
}

fn owned(placed: Option<Placed<'_>>) -> Option<String> {
    placed.map(|p| p.text.to_owned())
}
