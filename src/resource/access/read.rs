//! Reading an access document: each list, each entry, in one of its two forms.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::address::{NoNetwork, network};
use super::{BLOCK, GRANT, LISTS, List};
use crate::config::Config;
use crate::document::data;
use crate::document::faults::Faults;
use crate::document::fields::{self, Fields, Placed};
use crate::document::tree::{Node, NodeValue};
use crate::ids::{ResourceRef, SystemName};
use crate::resource::declare::{
    Targets, canonical, duplicate, listed_system, no_system, resource, systems_for,
};
use crate::resource::form::{Context, Declared, Reading, Source};
use crate::resource::{SystemSet, dating};

const TOP: &[&str] = &[
    "$schema",
    "admin_users",
    "readonly_users",
    "blocked_ips",
    "systems",
];

pub(super) fn read(source: Source<'_>, context: Context<'_>) -> Reading {
    let mut faults = Faults::new(source.path, source.text);
    let mut reader = Reader {
        grants: Targets::new(context.config, GRANT),
        blocks: Targets::new(context.config, BLOCK),
        timezone: &context.config.timezone,
        default: None,
        seen: HashSet::new(),
        resources: Vec::new(),
    };
    if let Some(node) = data::read(&mut faults)
        && let Some(top) = Fields::read(&mut faults, &node, "an access document", TOP)
    {
        if let Some(schema) = top.get("$schema") {
            fields::text(&mut faults, schema);
        }
        reader.default = default_systems(&mut faults, &top, context.config);
        for (key, list) in LISTS {
            let Some(member) = top.get(key) else { continue };
            let what = format!("`{key}`");
            let entries = fields::items(&mut faults, &member.value, &what, "a list");
            for entry in entries.unwrap_or_default() {
                reader.entry(&mut faults, entry, *list);
            }
        }
    }
    Reading {
        resources: reader.resources,
        findings: faults.finish(),
    }
}

struct Reader<'c> {
    grants: Targets<'c>,
    blocks: Targets<'c>,
    timezone: &'c str,
    /// The systems named for the whole document, those of them that take the kind.
    default: Option<(SystemSet, SystemSet)>,
    seen: HashSet<ResourceRef>,
    resources: Vec<Declared>,
}

/// The systems named at the top. They are for two kinds: one that takes neither is an error, one that takes only one of
/// them gets that one.
fn default_systems(
    faults: &mut Faults<'_>,
    top: &Fields<'_>,
    config: &Config,
) -> Option<(SystemSet, SystemSet)> {
    let names = top.texts(faults, "systems")?;
    let (grants, blocks) = (systems_for(config, GRANT), systems_for(config, BLOCK));
    let mut named: Vec<&SystemName> = Vec::new();
    for placed in &names {
        let takes_blocks = config
            .system_called(placed.text)
            .filter(|s| blocks.contains(*s));
        named.extend(takes_blocks.or_else(|| listed_system(faults, config, GRANT, placed)));
    }
    let only = |all: &SystemSet| -> SystemSet {
        let both = named.iter().filter(|s| all.contains(**s));
        std::sync::Arc::new(both.map(|s| (*s).clone()).collect())
    };
    Some((only(&grants), only(&blocks)))
}

impl Reader<'_> {
    fn entry(&mut self, faults: &mut Faults<'_>, entry: &Node, list: List) {
        let what = match list {
            List::Users { .. } => "a user",
            List::Addresses => "a blocked address",
        };
        let mut spec = Map::new();
        let (name, own) = match &entry.value {
            NodeValue::Object(_) => {
                let known = &[list.key(), "from", "until", "reason", "systems"];
                let Some(fields) = Fields::read(faults, entry, what, known) else {
                    return;
                };
                let example = format!("\"{}\": …", list.key());
                let name = fields
                    .require(faults, list.key(), what, None, &example)
                    .and_then(|m| fields::text(faults, m));
                let dates = dating::read(faults, &fields, self.timezone);
                for (key, date) in dates.into_iter().flatten() {
                    spec.insert(key.to_owned(), Value::from(date.text));
                }
                if let Some(reason) = fields.text(faults, "reason") {
                    spec.insert("reason".to_owned(), Value::from(reason.text));
                }
                (name, Some(fields))
            }
            NodeValue::Null
            | NodeValue::Bool(_)
            | NodeValue::Number(_)
            | NodeValue::String(_)
            | NodeValue::Array(_) => {
                let name = fields::node_text(faults, entry, || what.to_owned());
                (name, None)
            }
        };
        let Some(name) = name else { return };
        let id = match list {
            List::Users { role } => self.user(faults, role, &name, &mut spec),
            List::Addresses => address(faults, &name, &mut spec),
        };
        let Some(id) = id else { return };
        if !self.seen.insert(id.clone()) {
            duplicate(faults, &id, &name.at);
            return;
        }
        let systems = self.systems(faults, own, list, &name);
        if let Some(spec) = canonical(faults, &Value::Object(spec), &name.at) {
            self.resources.push(Declared { id, spec, systems });
        }
    }

    /// The entry's own systems, or the document's, or all that take the kind.
    fn systems(
        &mut self,
        faults: &mut Faults<'_>,
        own: Option<Fields<'_>>,
        list: List,
        name: &Placed<'_>,
    ) -> SystemSet {
        let (targets, index) = match list {
            List::Users { .. } => (&mut self.grants, false),
            List::Addresses => (&mut self.blocks, true),
        };
        if let Some(fields) = own.filter(|f| f.get("systems").is_some()) {
            return targets.of(faults, &fields, "systems", &name.at);
        }
        match &self.default {
            Some((grants, blocks)) => {
                let set = if index { blocks } else { grants };
                if set.is_empty() {
                    no_system(faults, list.kind(), &name.at);
                }
                set.clone()
            }
            None => targets.default_systems(faults, &name.at),
        }
    }

    fn user(
        &self,
        faults: &mut Faults<'_>,
        role: &str,
        name: &Placed<'_>,
        spec: &mut Map<String, Value>,
    ) -> Option<ResourceRef> {
        // The prefix would make a name of nothing look like one.
        resource(faults, GRANT, name.text, &name.at)?;
        let id = resource(faults, GRANT, &format!("{role}/{}", name.text), &name.at)?;
        let other = LISTS.iter().find_map(|(key, list)| match list {
            List::Users { role: other } if *other != role => {
                let id = list.id(name.text)?;
                self.seen.contains(&id).then_some(*key)
            }
            List::Users { .. } | List::Addresses => None,
        });
        if let Some(key) = other {
            faults.error(
                "access/two-roles",
                name.at.clone(),
                format!("`{}` is in `{key}` too", fields::shorten(name.text)),
                Some("a person has one role: keep one of the two".to_owned()),
            );
        }
        spec.insert("id".to_owned(), Value::from(name.text));
        spec.insert("role".to_owned(), Value::from(role));
        Some(id)
    }
}

fn address(
    faults: &mut Faults<'_>,
    name: &Placed<'_>,
    spec: &mut Map<String, Value>,
) -> Option<ResourceRef> {
    let net = match network(name.text) {
        Ok(net) => net,
        Err(NoNetwork::Unreadable) => {
            faults.error(
                "access/bad-address",
                name.at.clone(),
                format!(
                    "{:?} is not an IP address or network",
                    fields::shorten(name.text)
                ),
                Some("write it like 192.168.1.100, 192.168.1.0/24 or 2001:db8::/32".to_owned()),
            );
            return None;
        }
        Err(NoNetwork::HostBits { host, network }) => {
            faults.error(
                "access/host-bits",
                name.at.clone(),
                format!(
                    "{:?} is an address inside a network",
                    fields::shorten(name.text)
                ),
                Some(format!(
                    "write {host} for the one address or {network} for all of it"
                )),
            );
            return None;
        }
    };
    spec.insert("cidr".to_owned(), Value::from(net.to_string()));
    resource(faults, BLOCK, &net.to_string(), &name.at)
}
