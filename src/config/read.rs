//! Reading `lockstep.yaml`: every fault of it in one pass, and a [`Config`] of what could be read all the same.
//!
//! What a connector's own settings mean is the connector's business; here they are carried as they stand, and only
//! what looks like a secret is refused.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Config, DocumentMapping, DriftPolicy, Mode, System};
use crate::document::fields::{self, Fields, Placed};
use crate::document::tree::{Member, Node, NodeValue};
use crate::document::{data, faults::Faults, suggest};
use crate::finding::Finding;
use crate::ids::{DocPath, KindName, SystemName};

mod groups;
mod limits;
mod names;
mod people;

#[cfg(test)]
mod tests;

pub(crate) use names::fold;

/// The connectors that a system may name.
pub const CONNECTORS: &[&str] = &[
    "http", "pull", "postgres", "redis", "file", "scim", "unleash",
];

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

/// The fields of a system that are not its connector's.
const SYSTEM: &[&str] = &[
    "title",
    "aliases",
    "connector",
    "credential",
    "kinds",
    "mode",
    "drift",
];

/// Reads `lockstep.yaml`. `known_kinds` are the built-in kinds and the repo's custom ones.
pub fn read(path: &DocPath, text: &str, known_kinds: &[KindName]) -> (Config, Vec<Finding>) {
    let mut faults = Faults::new(path, text);
    let config = match data::read(&mut faults) {
        Some(node) => Reader {
            faults: &mut faults,
            kinds: known_kinds,
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
}

impl Reader<'_, '_> {
    fn config(&mut self, node: &Node) -> Config {
        let mut config = empty();
        let Some(top) = Fields::read(self.faults, node, "lockstep.yaml", TOP) else {
            return config;
        };
        self.version(&top);
        if let Some(zone) = top.text(self.faults, "timezone") {
            if zone_exists(zone.text) {
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
        config.freezes = self.freezes(&top, &config.timezone);
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

    /// The members of a top-level object whose keys are names.
    fn named<'n>(&mut self, top: &Fields<'n>, key: &str) -> &'n [Member] {
        top.get(key)
            .and_then(|m| Fields::open(self.faults, &m.value, &format!("`{key}`")))
            .map_or(&[], |f| f.members())
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

    fn systems(&mut self, top: &Fields<'_>) -> BTreeMap<SystemName, System> {
        let mut systems = BTreeMap::new();
        let mut taken = names::Taken::default();
        for member in self.named(top, "systems") {
            let name = self.name::<SystemName>(&key(member));
            taken.name(&member.key);
            if let Some(system) = self.system(member)
                && let Some(name) = name
            {
                systems.insert(name, system);
            }
        }
        // Only now, so that an alias that is the name of a later system is seen.
        for member in self.named(top, "systems") {
            self.aliases_are_unique(member, &mut taken);
        }
        systems
    }

    fn aliases_are_unique(&mut self, member: &Member, taken: &mut names::Taken) {
        let given = |key: &str| member.value.get(key).map(|m| &m.value);
        let aliases = match given("aliases").map(|n| &n.value) {
            Some(NodeValue::Array(items)) => items.as_slice(),
            Some(_) | None => &[],
        };
        for node in given("title").into_iter().chain(aliases) {
            let NodeValue::String(text) = &node.value else {
                continue;
            };
            if let Some(owner) = taken.claim(text, &member.key) {
                self.faults.error(
                    "config/ambiguous-alias",
                    node.span.clone(),
                    format!(
                        "`{}` already means the system `{owner}`",
                        fields::shorten(text)
                    ),
                    Some("a title or alias must name one system".to_owned()),
                );
            }
        }
    }

    fn system(&mut self, member: &Member) -> Option<System> {
        let what = format!("the system `{}`", fields::shorten(&member.key));
        let fields = Fields::open(self.faults, &member.value, &what)?;
        let connector = match fields.require(
            self.faults,
            "connector",
            &what,
            Some(member.key_span.clone()),
            "connector: http",
        ) {
            Some(found) => fields::text(self.faults, found).and_then(|placed| {
                let known: Vec<(&'static str, &'static str)> =
                    CONNECTORS.iter().map(|c| (*c, *c)).collect();
                fields::choice(self.faults, &placed, "connector", &known)
            }),
            None => None,
        };
        let kinds = self.system_kinds(&fields, &what, member);
        Some(System {
            title: owned(fields.text(self.faults, "title")),
            aliases: self.owned_texts(&fields, "aliases"),
            connector: connector.unwrap_or_default().to_owned(),
            settings: self.settings(&fields, &what),
            credential: owned(fields.text(self.faults, "credential")),
            kinds,
            mode: fields
                .choice(
                    self.faults,
                    "mode",
                    &[
                        ("observe", Mode::Observe),
                        ("detect", Mode::Detect),
                        ("upsert", Mode::Upsert),
                        ("enforce", Mode::Enforce),
                    ],
                )
                .unwrap_or_default(),
            drift: fields
                .choice(
                    self.faults,
                    "drift",
                    &[
                        ("heal", DriftPolicy::Heal),
                        ("report", DriftPolicy::Report),
                        ("propose", DriftPolicy::Propose),
                    ],
                )
                .unwrap_or_default(),
        })
    }

    fn system_kinds(
        &mut self,
        fields: &Fields<'_>,
        what: &str,
        member: &Member,
    ) -> BTreeSet<KindName> {
        let listed = fields.texts(self.faults, "kinds").unwrap_or_default();
        if fields.get("kinds").is_none() {
            self.faults.warning(
                "config/no-kinds",
                member.key_span.clone(),
                format!("{what} takes no kind of resource, so nothing is for it"),
                Some("add kinds: [FeatureFlag]".to_owned()),
            );
        }
        listed
            .iter()
            .filter_map(|placed| self.kind(placed))
            .collect()
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

    /// What belongs to the connector. A field that is nearly one of ours is probably a slip.
    fn settings(&mut self, fields: &Fields<'_>, what: &str) -> serde_json::Map<String, Value> {
        let mut settings = serde_json::Map::new();
        for member in fields.members() {
            if SYSTEM.contains(&member.key.as_str()) {
                continue;
            }
            if let Some(near) = suggest::nearest(&member.key, SYSTEM.iter().copied()) {
                self.faults.warning(
                    "document/unknown-field",
                    member.key_span.clone(),
                    format!(
                        "{what} has no field `{}`; it goes to the connector as it stands",
                        fields::shorten(&member.key)
                    ),
                    Some(format!("did you mean `{near}`?")),
                );
            }
            // A secret goes no further than here, and is not underlined: findings are shown to many.
            if !self.secret_in(&key(member), &member.value) {
                settings.insert(member.key.clone(), member.value.to_value());
            }
        }
        settings
    }

    /// Secrets belong on the server: a value under a key that says so, or a password in a URL.
    fn secret_in(&mut self, key: &Placed<'_>, node: &Node) -> bool {
        let message = match &node.value {
            NodeValue::Object(members) => {
                return members.iter().fold(false, |found, member| {
                    self.secret_in(&self::key(member), &member.value) || found
                });
            }
            NodeValue::Array(items) => {
                return items
                    .iter()
                    .fold(false, |found, item| self.secret_in(key, item) || found);
            }
            NodeValue::String(_) | NodeValue::Number(_) if is_secret_key(key.text) => "is a secret",
            NodeValue::String(text)
                if url::Url::parse(text).is_ok_and(|u| u.password().is_some()) =>
            {
                "holds a password"
            }
            NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) | NodeValue::String(_) => {
                return false;
            }
        };
        self.faults.error(
            "config/secret",
            key.at.clone(),
            format!(
                "`{}` {message}, and the config repo holds none",
                fields::shorten(key.text)
            ),
            Some(
                "keep it in the server's lockstep.toml and name it here: credential: NAME"
                    .to_owned(),
            ),
        );
        true
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

/// Whether a time zone is known. Where no time zone database is installed, any name that looks like one is taken.
fn zone_exists(name: &str) -> bool {
    let database = jiff::tz::db();
    if database.is_definitively_empty() {
        return !name.is_empty() && name.is_ascii() && !name.contains(char::is_whitespace);
    }
    database.get(name).is_ok()
}

/// Whether a key says that its value is a secret: `token`, `client_secret`, `db-password`; not `token_url`.
fn is_secret_key(key: &str) -> bool {
    const ENDINGS: &[&str] = &[
        "token",
        "password",
        "passwd",
        "passphrase",
        "secret",
        "apikey",
        "privatekey",
        "accesskey",
    ];
    let plain: String = key
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    ENDINGS.iter().any(|ending| plain.ends_with(ending))
}
