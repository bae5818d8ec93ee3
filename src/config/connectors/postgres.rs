//! What `lockstep.yaml` says of a system in PostgreSQL: its address, and which tables hold which kinds.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::ids::KindName;

#[cfg(test)]
mod tests;

/// The longest identifier that PostgreSQL keeps whole, in bytes; what is longer it cuts without a word.
const LONGEST: usize = 63;

/// A name in the database as it stands there. It is only ever written in quotes: `Display` does that, and nothing else does.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ident(String);

impl Ident {
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains('\0') {
            return Err("this is no name of a schema, table or column".to_owned());
        }
        if text.len() > LONGEST {
            return Err(format!(
                "{:?}… has more than the {LONGEST} bytes of a name in PostgreSQL",
                text.chars().take(20).collect::<String>()
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// One that is known to be a name: Lockstep's own.
    pub fn known(name: &'static str) -> Self {
        Self(name.to_owned())
    }

    /// The name itself: to be bound as a value, or shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// In quotes, as it stands in a statement.
impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

/// A table in its schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableName {
    pub schema: Ident,
    pub table: Ident,
}

impl TableName {
    fn parse(text: &str) -> Result<Self, String> {
        let (schema, table) = text.split_once('.').unwrap_or(("public", text));
        Ok(Self {
            schema: Ident::parse(schema)?,
            table: Ident::parse(table)?,
        })
    }

    /// As people write it.
    pub fn shown(&self) -> String {
        format!("{}.{}", self.schema.as_str(), self.table.as_str())
    }
}

/// In quotes, as it stands in a statement.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.table)
    }
}

/// How one kind lies in a table that the system has already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    pub table: TableName,
    /// The column that holds the resource's name.
    pub key: Ident,
    /// Fields of the spec, and the column of each.
    pub columns: BTreeMap<String, Ident>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    table: String,
    key: String,
    columns: BTreeMap<String, String>,
}

/// Reads `tables:`.
pub fn mappings(value: &Value) -> Result<BTreeMap<KindName, Mapping>, String> {
    let written: BTreeMap<KindName, Written> =
        serde_json::from_value(value.clone()).map_err(|e| e.to_string())?;
    let mut all: BTreeMap<KindName, Mapping> = BTreeMap::new();
    for (
        kind,
        Written {
            table,
            key,
            columns,
        },
    ) in written
    {
        let mapping = Mapping {
            table: TableName::parse(&table)?,
            key: Ident::parse(&key)?,
            columns: columns
                .into_iter()
                .map(|(field, column)| Ok((field, Ident::parse(&column)?)))
                .collect::<Result<_, String>>()?,
        };
        if mapping.columns.is_empty() {
            return Err(format!("{kind} has no columns, so its specs would be lost"));
        }
        let mut columns: Vec<&Ident> = mapping.columns.values().chain([&mapping.key]).collect();
        columns.sort();
        if let Some([twice, _]) = columns.windows(2).find(|pair| pair[0] == pair[1]) {
            let twice = twice.as_str();
            return Err(format!("{kind} uses the column {twice} twice"));
        }
        if let Some((other, _)) = all.iter().find(|(_, m)| m.table == mapping.table) {
            let table = mapping.table.shown();
            return Err(format!("{other} and {kind} are both in the table {table}"));
        }
        all.insert(kind, mapping);
    }
    Ok(all)
}

/// Reads `notify:`.
pub fn flag(value: &Value) -> Result<bool, String> {
    value
        .as_bool()
        .ok_or_else(|| "this is true or false".to_owned())
}

/// Reads a `url`. The error does not repeat it: it may hold a password.
pub fn address(text: &str) -> Result<Url, String> {
    let wrong = |what: &str| Err(what.to_owned());
    let Ok(url) = Url::parse(text) else {
        return wrong("the url can't be read");
    };
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return wrong("the url of a database starts with postgres://");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return wrong("the url names no host");
    }
    if url.password().is_some() {
        return wrong("the url holds no password; name a credential instead");
    }
    let database = url.path().trim_start_matches('/');
    if database.is_empty() || database.contains('/') {
        return wrong(
            "the url ends with the database's name, such as postgres://db.example.org/medical",
        );
    }
    if url.fragment().is_some() {
        return wrong("the url has no fragment");
    }
    for (key, value) in url.query_pairs() {
        match (&*key, &*value) {
            ("sslmode", "disable" | "verify-full") => {}
            ("sslmode", _) => {
                return wrong("sslmode is verify-full, which it is without saying so, or disable");
            }
            // What a credential is bound to is the host that stands in front.
            ("host", folder) if folder.starts_with('/') => {
                if url.host_str() != Some("localhost") {
                    return wrong("a socket's folder in host= goes with postgres://localhost");
                }
            }
            ("host", _) => {
                return wrong("host= is the folder of a socket, such as /run/postgresql");
            }
            _ => return wrong("the url has no query but host= and sslmode="),
        }
    }
    Ok(url)
}
