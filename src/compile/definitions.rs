//! What must be known before any document can be read: `lockstep.yaml` and the kinds.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::CONFIG;
use super::read::source;
use crate::config::read::KindFields;
use crate::config::{self, Config};
use crate::document::{Snapshot, hidden};
use crate::finding::Finding;
use crate::ids::{DocPath, KindName};
use crate::resource::Kinds;
use crate::resource::custom::{self, CustomKind};
use crate::resource::kinds;

/// The repo's own kinds.
pub(super) type Custom = BTreeMap<KindName, Arc<CustomKind>>;

/// What must be known before any document can be read.
pub(super) struct Definitions {
    pub(super) config: Arc<Config>,
    pub(super) kinds: Kinds,
    pub(super) custom: Custom,
}

impl Definitions {
    fn new(config: Config, kinds: Kinds, custom: Custom) -> Self {
        Self {
            config: Arc::new(config),
            kinds,
            custom,
        }
    }
}

/// `lockstep.yaml` and the kinds.
pub(super) fn definitions(snapshot: &Snapshot, findings: &mut Vec<Finding>) -> Definitions {
    let mut custom = Custom::new();
    for path in snapshot
        .files
        .keys()
        .filter(|p| custom::kind_of_schema(p).is_some())
    {
        let Some(text) = snapshot.text(path) else {
            continue;
        };
        let text = source(path, text).text;
        let (kind, found) = custom::read_schema(path, text);
        findings.extend(found);
        findings.extend(hidden::check(path, text));
        if let Some(kind) = kind {
            custom.insert(kind.kind_name().clone(), Arc::new(kind));
        }
    }
    let kinds = kinds::with_custom(&custom);
    let names: Vec<KindName> = kinds.keys().cloned().collect();
    let config = match CONFIG.parse::<DocPath>() {
        Ok(path) if snapshot.files.contains_key(&path) => {
            // Where it is no text, that has been said of the tree.
            let Some(text) = snapshot.text(&path) else {
                return Definitions::new(Config::default(), kinds, custom);
            };
            let text = source(&path, text).text;
            let fields_of = |kind: &KindName| {
                let Some(kind) = kinds.get(kind) else {
                    return KindFields::default();
                };
                // What is published is published.
                let none = kind.is_record().then_some(&[] as &[&str]);
                KindFields {
                    all: none.or(kind.fields()),
                    required: kind.required(),
                }
            };
            let (config, found) = config::read::read_with(&path, text, &names, &fields_of);
            findings.extend(found);
            findings.extend(hidden::check(&path, text));
            config
        }
        // What was not read in full may have one.
        Ok(_) if snapshot.beyond.is_some() => Config::default(),
        Ok(path) => {
            let message = "there is no lockstep.yaml: it names the systems, groups and people";
            findings.push(
                Finding::error("config/missing", &path, None, message)
                    .with_hint("`lockstep init DIR` writes a config repo to start from"),
            );
            Config::default()
        }
        Err(_) => Config::default(),
    };
    Definitions::new(config, kinds, custom)
}
