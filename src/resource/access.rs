//! Access control: `config/access-control.json`, which declares two kinds. `admin_users` and `readonly_users` are access
//! grants, `blocked_ips` are address blocks.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

use super::dating::{Outside, relaxes, widens};
use super::declare::{kind_name, places};
use super::form::{Context, Form, NotWritten, Reading, Rewrite, Source};
use super::words::{Field, Show, dates, differences, line, say};
use super::{Direction, Kind, Language};
use crate::document::tree::{Node, NodeValue};
use crate::finding::Span;
use crate::ids::{KindName, ResourceRef};
use crate::state::Spec;

mod address;
mod read;
mod write;

#[cfg(test)]
mod tests;

const GRANT: &str = "AccessGrant";
const BLOCK: &str = "IpBlock";

/// The kind `AccessGrant`: a person's access to a system, named `role/id`.
#[derive(Debug, Clone, Copy)]
pub struct AccessGrant;

/// The kind `IpBlock`: addresses that a system refuses, named by their network.
#[derive(Debug, Clone, Copy)]
pub struct IpBlock;

/// Documents of access control.
#[derive(Debug, Clone, Copy)]
pub struct AccessForm;

/// What a list of the document declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Users { role: &'static str },
    Addresses,
}

/// The lists by their field names.
const LISTS: &[(&str, List)] = &[
    ("admin_users", List::Users { role: "admin" }),
    ("readonly_users", List::Users { role: "readonly" }),
    ("blocked_ips", List::Addresses),
];

/// The direction of a change of what is given, or of what is kept away, while it lasts.
fn lasting(
    before: Option<&Value>,
    after: Option<&Value>,
    alone: Direction,
    both: fn(&Value, &Value) -> Direction,
) -> Direction {
    match (before, after) {
        (None, Some(_)) => alone,
        (Some(_), None) => alone.reversed(),
        (Some(before), Some(after)) => both(before, after),
        (None, None) => Direction::Neutral,
    }
}

const FIELDS: &[Field] = &[
    Field {
        key: "from",
        english: "from",
        japanese: "開始",
        show: Show::Values,
    },
    Field {
        key: "until",
        english: "until",
        japanese: "期限",
        show: Show::Values,
    },
    Field {
        key: "reason",
        english: "reason",
        japanese: "理由",
        show: Show::Values,
    },
];

/// What is done to the whole of it, from when and until when, and what else differs.
fn told(
    verb: Option<&str>,
    before: Option<&Value>,
    after: Option<&Value>,
    language: Language,
) -> Vec<String> {
    match (before, after) {
        (Some(before), Some(after)) => verb
            .map(str::to_owned)
            .into_iter()
            .chain(differences(FIELDS, before, after, language))
            .collect(),
        (one, other) => {
            let dates = one.or(other).and_then(|spec| dates(spec, language));
            verb.map(str::to_owned).into_iter().chain(dates).collect()
        }
    }
}

impl Kind for AccessGrant {
    fn name(&self) -> &str {
        GRANT
    }

    fn fields(&self) -> Option<&'static [&'static str]> {
        Some(&["reason"])
    }

    fn direction(&self, before: Option<&Value>, after: Option<&Value>) -> Direction {
        lasting(before, after, Direction::Widening, widens)
    }

    fn outside(&self, _spec: &Spec) -> Option<Outside> {
        Some(Outside::Gone)
    }

    fn describe(
        &self,
        name: &str,
        before: Option<&Value>,
        after: Option<&Value>,
        language: Language,
    ) -> String {
        let (role, person) = name.split_once('/').unwrap_or(("", name));
        let access = match (role, language) {
            ("admin", _) => say(language, "admin access", "管理者権限").to_owned(),
            ("readonly", _) => say(language, "read-only access", "閲覧権限").to_owned(),
            (_, Language::English) => format!("{role} access"),
            (_, Language::Japanese) => format!("{role} の権限"),
        };
        let verb = match (before.is_some(), after.is_some(), language) {
            (false, true, Language::English) => format!("{access} granted"),
            (false, true, Language::Japanese) => format!("{access}を付与"),
            (true, false, Language::English) => format!("{access} revoked"),
            (true, false, Language::Japanese) => format!("{access}を取消"),
            (true, true, _) | (false, false, _) => access,
        };
        line(
            person,
            &told(Some(&verb), before, after, language),
            language,
        )
    }
}

impl Kind for IpBlock {
    fn name(&self) -> &str {
        BLOCK
    }

    fn fields(&self) -> Option<&'static [&'static str]> {
        Some(&["reason"])
    }

    fn direction(&self, before: Option<&Value>, after: Option<&Value>) -> Direction {
        lasting(before, after, Direction::Narrowing, relaxes)
    }

    fn outside(&self, _spec: &Spec) -> Option<Outside> {
        Some(Outside::Gone)
    }

    fn describe(
        &self,
        name: &str,
        before: Option<&Value>,
        after: Option<&Value>,
        language: Language,
    ) -> String {
        let verb = match (before.is_some(), after.is_some()) {
            (false, true) => Some(say(language, "blocked", "ブロック")),
            (true, false) => Some(say(language, "unblocked", "ブロック解除")),
            (true, true) | (false, false) => None,
        };
        line(name, &told(verb, before, after, language), language)
    }
}

impl Form for AccessForm {
    fn kinds(&self) -> Vec<KindName> {
        [GRANT, BLOCK].into_iter().filter_map(kind_name).collect()
    }

    fn read(&self, source: Source<'_>, context: Context<'_>) -> Reading {
        read::read(source, context)
    }

    fn locate(&self, source: Source<'_>, _: Context<'_>, id: &ResourceRef) -> Option<Span> {
        places(source, std::slice::from_ref(id), declared).remove(id)
    }

    fn locate_all(
        &self,
        source: Source<'_>,
        _: Context<'_>,
        ids: &[ResourceRef],
    ) -> BTreeMap<ResourceRef, Span> {
        places(source, ids, declared)
    }

    fn rewrite(
        &self,
        source: Source<'_>,
        context: Context<'_>,
        rewrite: &Rewrite<'_>,
    ) -> Result<String, NotWritten> {
        write::rewrite(source, context, rewrite)
    }
}

/// The text that names an entry: the entry itself, or its `id` or `cidr`.
fn naming(entry: &Node, list: List) -> Option<(&str, Range<usize>)> {
    let node = match &entry.value {
        NodeValue::Object(_) => &entry.get(list.key())?.value,
        NodeValue::Null
        | NodeValue::Bool(_)
        | NodeValue::Number(_)
        | NodeValue::String(_)
        | NodeValue::Array(_) => entry,
    };
    match &node.value {
        NodeValue::String(text) => Some((text, node.span.clone())),
        NodeValue::Null
        | NodeValue::Bool(_)
        | NodeValue::Number(_)
        | NodeValue::Array(_)
        | NodeValue::Object(_) => None,
    }
}

impl List {
    /// The field that names an entry written as an object.
    fn key(self) -> &'static str {
        match self {
            Self::Users { .. } => "id",
            Self::Addresses => "cidr",
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Users { .. } => GRANT,
            Self::Addresses => BLOCK,
        }
    }

    /// The resource that a name stands for.
    fn id(self, text: &str) -> Option<ResourceRef> {
        let name = match self {
            Self::Users { role } => format!("{role}/{text}"),
            Self::Addresses => address::network(text).ok()?.to_string(),
        };
        ResourceRef::new(self.kind(), &name).ok()
    }
}

/// Every entry with the place of what names it.
fn declared(node: &Node) -> Vec<(ResourceRef, Range<usize>)> {
    let mut found = Vec::new();
    for (key, list) in LISTS {
        let Some(NodeValue::Array(entries)) = node.get(key).map(|m| &m.value.value) else {
            continue;
        };
        let named = entries.iter().filter_map(|entry| naming(entry, *list));
        found.extend(named.filter_map(|(text, at)| Some((list.id(text)?, at))));
    }
    found
}
