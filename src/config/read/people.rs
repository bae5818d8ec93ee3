//! `people:` of `lockstep.yaml`.

use std::collections::BTreeMap;

use ssh_key::{Algorithm, EcdsaCurve, PublicKey};

use super::{Reader, key, names, owned};
use crate::config::{Person, System};
use crate::document::fields::{self, Fields};
use crate::document::limits;
use crate::document::tree::Member;
use crate::ids::{Actor, SystemName};

const PERSON: &[&str] = &["name", "forge", "roles", "systems", "ids", "signing_key"];

impl Reader<'_, '_> {
    pub(super) fn people(
        &mut self,
        top: &Fields<'_>,
        systems: &BTreeMap<SystemName, System>,
    ) -> BTreeMap<String, Person> {
        let mut people = BTreeMap::new();
        // An approval is looked up by key, then by login: one that could mean two people would count for either. Forges tell no
        // upper from lower case in a login.
        let (mut keys, mut logins) = (names::Taken::default(), names::Taken::default());
        let members = self.named(top, "people", limits::PEOPLE);
        for member in members {
            self.looks_like_another(member, keys.claim(&member.key, &member.key), "person");
        }
        let mut signing: BTreeMap<String, String> = BTreeMap::new();
        for member in members {
            let name = self.name::<Actor>(&key(member));
            let Some(person) = self.person(member, systems) else {
                continue;
            };
            let other = logins
                .claim(&person.forge, &member.key)
                .or_else(|| keys.claim(&person.forge, &member.key));
            if let Some(other) = other {
                let at = member.value.get("forge");
                self.faults.error(
                    "config/duplicate-login",
                    at.map_or(member.key_span.clone(), |m| m.value.span.clone()),
                    format!(
                        "the login `{}` is already `{other}`'s",
                        fields::shorten(&person.forge)
                    ),
                    Some("each person has a login of their own".to_owned()),
                );
            }
            // Whoever holds the key could sign for both.
            if let Some(key) = person.signing_key.as_deref().map(without_comment)
                && let Some(other) = signing.insert(key, member.key.clone())
            {
                let at = member.value.get("signing_key");
                self.faults.error(
                    "config/duplicate-key",
                    at.map_or(member.key_span.clone(), |m| m.value.span.clone()),
                    format!("this key is already `{other}`'s"),
                    Some("each person signs with a key of their own".to_owned()),
                );
            }
            if name.is_some() {
                people.insert(member.key.clone(), person);
            }
        }
        people
    }

    fn person(
        &mut self,
        member: &Member,
        systems: &BTreeMap<SystemName, System>,
    ) -> Option<Person> {
        let what = format!("the person `{}`", fields::shorten(&member.key));
        let fields = Fields::read(self.faults, &member.value, &what, PERSON)?;
        let key = || member.key.clone();
        let listed = fields.texts(self.faults, "systems").unwrap_or_default();
        let signing_key = fields.text(self.faults, "signing_key");
        if let Some(placed) = &signing_key
            && let Err((message, hint)) = check_key(placed.text)
        {
            self.faults.error(
                "config/signing-key",
                placed.at.clone(),
                message,
                Some(hint.to_owned()),
            );
        }
        let login = owned(fields.text(self.faults, "forge"));
        Some(Person {
            name: owned(fields.text(self.faults, "name")).unwrap_or_else(key),
            has_login: login.is_some(),
            forge: login.unwrap_or_else(key),
            roles: self.owned_texts(&fields, "roles"),
            systems: listed
                .iter()
                .filter_map(|placed| self.known_system(placed, systems))
                .collect(),
            ids: self.owned_texts(&fields, "ids"),
            signing_key: owned(signing_key),
        })
    }
}

/// Whether signatures can be verified with a key, or what is wrong with it.
fn check_key(text: &str) -> Result<(), (&'static str, &'static str)> {
    match PublicKey::from_openssh(text).map(|key| key.algorithm()) {
        Ok(
            Algorithm::Ed25519
            | Algorithm::SkEd25519
            | Algorithm::SkEcdsaSha2NistP256
            | Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP256,
            },
        ) => Ok(()),
        Ok(_) => Err((
            "signatures by this sort of key are not verified, so its owner could approve nothing",
            "make one with `ssh-keygen -t ed25519`; nistp256 and both kept on a security key (sk-) do too",
        )),
        Err(_) => Err((
            "not an SSH public key",
            "paste the one line of a .pub file: ssh-ed25519 AAAA…",
        )),
    }
}

/// The algorithm and the key; the comment behind them is anything.
fn without_comment(key: &str) -> String {
    key.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}
