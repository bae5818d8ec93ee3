//! `systems:` of `lockstep.yaml`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Reader, key, names, owned};
use crate::config::connectors::{CONNECTORS, Check, ConnectorForm, Setting, address};
use crate::config::{DriftPolicy, Mode, System};
use crate::document::fields::{self, Fields, Placed};
use crate::document::tree::{Member, Node, NodeValue};
use crate::document::{limits, suggest};
use crate::ids::{KindName, SystemName};

/// The fields of a system that are not its connector's.
const SYSTEM: &[&str] = &[
    "title",
    "aliases",
    "connector",
    "credential",
    "kinds",
    "mode",
    "drift",
    "limits",
    "fields",
];

impl Reader<'_, '_> {
    pub(super) fn systems(&mut self, top: &Fields<'_>) -> BTreeMap<SystemName, System> {
        let mut systems = BTreeMap::new();
        let mut taken = names::Taken::default();
        let members = self.named(top, "systems", limits::SYSTEMS);
        for member in members {
            let name = self.name::<SystemName>(&key(member));
            self.looks_like_another(member, taken.claim(&member.key, &member.key), "system");
            if let Some(system) = self.system(member)
                && let Some(name) = name
            {
                systems.insert(name, system);
            }
        }
        // Only now, so that an alias that is the name of a later system is seen.
        for member in members {
            self.aliases_are_unique(member, &mut taken);
        }
        systems
    }

    /// Reports a name that differs from another in width or case alone: in documents it would mean either.
    pub(super) fn looks_like_another(
        &mut self,
        member: &Member,
        other: Option<String>,
        what: &str,
    ) {
        if let Some(other) = other {
            self.faults.error(
                "config/look-alike",
                member.key_span.clone(),
                format!(
                    "the {what} `{}` looks like `{}`",
                    fields::shorten(&member.key),
                    fields::shorten(&other)
                ),
                Some("give one of the two another name".to_owned()),
            );
        }
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
                let known: Vec<(&'static str, &'static ConnectorForm)> =
                    CONNECTORS.iter().map(|c| (c.name, c)).collect();
                fields::choice(self.faults, &placed, "connector", &known)
            }),
            None => None,
        };
        if let Some(form) = connector {
            self.suits_connector(form, &fields, &what, member);
        }
        let kinds = self.system_kinds(&fields, &what, member);
        let modes = self.field_modes(&fields, &what, &kinds);
        Some(System {
            title: owned(fields.text(self.faults, "title")),
            aliases: self.owned_texts(&fields, "aliases"),
            connector: connector.map_or("", |form| form.name).to_owned(),
            settings: self.settings(connector, &fields, &what),
            credential: self.credential(&fields),
            limits: self.call_limits(&fields),
            kinds,
            fields: modes,
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

    /// What would only fail once the system is to be reached is said here, where it is written.
    fn suits_connector(
        &mut self,
        form: &ConnectorForm,
        fields: &Fields<'_>,
        what: &str,
        member: &Member,
    ) {
        if let Some(given) = fields.get("credential").filter(|_| !form.credential) {
            self.faults.error(
                "document/unknown-field",
                given.key_span.clone(),
                format!("the {} connector takes no credential", form.name),
                Some("take the line away".to_owned()),
            );
        }
        for setting in form.settings.iter().filter(|s| s.required) {
            let at = Some(member.key_span.clone());
            fields.require(self.faults, setting.key, what, at, setting.example);
        }
    }

    /// One of the settings that a connector takes, or what it does not take.
    fn setting(&mut self, form: &ConnectorForm, settings: &[Setting], member: &Member) {
        let Some(setting) = settings.iter().find(|s| s.key == member.key) else {
            let known = SYSTEM.iter().copied().chain(form.keys());
            let has: Vec<String> = form.keys().map(|key| format!("`{key}`")).collect();
            self.faults.error(
                "document/unknown-field",
                member.key_span.clone(),
                format!(
                    "the {} connector has no setting `{}`; it has {}",
                    form.name,
                    fields::shorten(&member.key),
                    has.join(", ")
                ),
                suggest::nearest(&member.key, known).map(|near| format!("did you mean `{near}`?")),
            );
            return;
        };
        let judged = match setting.check {
            Check::Address | Check::Text(_) => {
                let Some(placed) = fields::text(self.faults, member) else {
                    return;
                };
                match setting.check {
                    Check::Text(judge) => judge(placed.text),
                    Check::Address | Check::Value(_) => {
                        address(placed.text).map(drop).map_err(|e| e.to_string())
                    }
                }
            }
            Check::Value(judge) => judge(&member.value.to_value()),
        };
        if let Err(fault) = judged {
            let rule = match setting.check {
                Check::Address => "config/address",
                Check::Text(_) | Check::Value(_) => "config/setting",
            };
            self.faults.error(
                rule,
                member.value.span.clone(),
                fault,
                Some(format!("write it like {}", setting.example)),
            );
        }
    }

    /// The name of a credential, and never the credential itself: what can't be a name is not repeated, as it may be one.
    fn credential(&mut self, fields: &Fields<'_>) -> Option<String> {
        let placed = fields.text(self.faults, "credential")?;
        if is_credential_name(placed.text) {
            return Some(placed.text.to_owned());
        }
        let member = fields.get("credential")?;
        self.faults.error(
            "config/secret",
            member.key_span.clone(),
            "`credential` is no name, and may be a secret, of which the config repo holds none".to_owned(),
            Some(format!(
                "give the name that it has in the server's lockstep.toml: at most {CREDENTIAL_CHARS} letters, digits, '-', '_' and '.'; \
                 if it was a secret, have it replaced, as git keeps it"
            )),
        );
        None
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

    /// What belongs to the connector. A field that is nearly one of ours is probably a slip.
    fn settings(
        &mut self,
        form: Option<&ConnectorForm>,
        fields: &Fields<'_>,
        what: &str,
    ) -> serde_json::Map<String, Value> {
        let takes = form.map(|form| (form, form.settings));
        let mut settings = serde_json::Map::new();
        for member in fields.members() {
            if SYSTEM.contains(&member.key.as_str()) {
                continue;
            }
            // A secret goes no further than here, and is not underlined: findings are shown to many.
            if self.secret_in(&key(member), &member.value) {
                continue;
            }
            if let Some((form, known)) = takes {
                self.setting(form, known, member);
            } else if let Some(near) = suggest::nearest(&member.key, SYSTEM.iter().copied()) {
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
            settings.insert(member.key.clone(), member.value.to_value());
        }
        settings
    }

    /// Secrets belong on the server: a value under a key that says so, or a password in a URL.
    fn secret_in(&mut self, key: &Placed<'_>, node: &Node) -> bool {
        let message = match &node.value {
            NodeValue::Object(members) => {
                let mut found = false;
                for member in members {
                    found |= self.secret_in(&self::key(member), &member.value);
                }
                return found;
            }
            NodeValue::Array(items) => {
                let mut found = false;
                for item in items {
                    found |= self.secret_in(key, item);
                }
                return found;
            }
            NodeValue::String(_) | NodeValue::Number(_) if is_secret_key(key.text) => "is a secret",
            NodeValue::String(text) if is_token(text) => "looks like a secret",
            NodeValue::String(text) => match secret_in_url(text) {
                Some(what) => what,
                None => return false,
            },
            NodeValue::Null | NodeValue::Bool(_) | NodeValue::Number(_) => return false,
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
}

/// What a URL holds besides an address. Over HTTP a user without a password is often a token.
fn secret_in_url(text: &str) -> Option<&'static str> {
    let url = url::Url::parse(text).ok()?;
    let over_http = matches!(url.scheme(), "http" | "https");
    if url.password().is_some() {
        Some("holds a password")
    } else if over_http && !url.username().is_empty() {
        Some("holds a user, which may be a token")
    } else if url
        .query()
        .is_some_and(|query| over_http || query.to_lowercase().contains("pass"))
    {
        Some("has a query, which may hold a token")
    } else if url.fragment().is_some() {
        Some("has a fragment, which may hold a token")
    } else {
        None
    }
}

/// How long a credential's name may be.
const CREDENTIAL_CHARS: usize = 64;

fn is_credential_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=CREDENTIAL_CHARS).contains(&text.len()) && text.chars().all(plain) && !is_token(text)
}

/// Whether a value begins as the tokens of well-known services do.
fn is_token(text: &str) -> bool {
    const BEGINNINGS: &[&str] = &[
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "glpat-",
        "xox",
        "AKIA",
    ];
    let text = text.trim_start();
    let bearer = text
        .get(..7)
        .is_some_and(|start| start.eq_ignore_ascii_case("bearer "));
    bearer || BEGINNINGS.iter().any(|b| text.starts_with(b))
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
