//! The `scim` connector: access grants as membership of groups in an identity provider, over SCIM 2.0 (RFC 7643, 7644).
//!
//! A role is a group that Lockstep made and marked by its `externalId`; groups without that mark are never touched. A person is a user with that
//! `externalId` or else that `userName`. A grant adds the membership and switches on a user who is switched off; nothing here switches a user off,
//! makes one or deletes one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;

use super::compensating::{Compensating, Plain, Step, WasMade};
use super::rest::{Rest, RestSettings};
use super::shelf::Shelf;
use super::{Changeset, ConnectorError, Reason};
use crate::ids::{ResourceRef, SystemName};
use crate::plan::{Change, Op};
use crate::state::{Item, Spec, State};

mod directory;
mod read;
mod write;

use directory::{Directory, User};
use read::Reader;

pub(super) const KIND: &str = "AccessGrant";
/// What a membership looks like there: it is, or it is not.
const MEMBER: &str = r#"{"member":true}"#;
/// The group's mark where the settings give none.
pub(super) const PREFIX: &str = "lockstep:";

/// What the connector is made of.
pub(super) struct ScimSettings {
    pub(super) rest: RestSettings,
    /// What the `externalId` of our groups begins with; the role follows.
    pub(super) prefix: String,
    /// What the group of a role is called, where it is not called like the role.
    pub(super) groups: BTreeMap<String, String>,
}

/// The groups of an identity provider.
pub(super) struct Grants {
    directory: Directory,
    prefix: String,
    groups: BTreeMap<String, String>,
    shelf: Arc<dyn Shelf>,
    reader: tokio::sync::Mutex<Reader>,
}

pub(super) fn connect(
    system: SystemName,
    settings: ScimSettings,
    shelf: Arc<dyn Shelf>,
) -> Result<Compensating<Grants>, String> {
    let ScimSettings {
        rest,
        prefix,
        groups,
    } = settings;
    let grants = Grants {
        directory: Directory::new(Rest::new(rest)?),
        prefix,
        groups,
        shelf: shelf.clone(),
        reader: tokio::sync::Mutex::new(Reader::default()),
    };
    Ok(Compensating::new(system, grants, shelf))
}

impl Grants {
    /// What the group of a role is called.
    fn called<'a>(&'a self, role: &'a str) -> &'a str {
        self.groups.get(role).map_or(role, String::as_str)
    }

    fn mark(&self, role: &str) -> String {
        format!("{}{role}", self.prefix)
    }

    /// The users that the grants' people are.
    async fn find(&self, granted: &[Granted<'_>]) -> Result<Found, ConnectorError> {
        let people: BTreeSet<String> = granted.iter().map(|(.., who)| (*who).to_owned()).collect();
        if people.is_empty() {
            return Ok(Found::new());
        }
        self.directory.find_users(&people).await
    }
}

/// A grant's role and person.
fn parts(id: &ResourceRef) -> Option<(&str, &str)> {
    (id.kind() == KIND).then(|| id.name().split_once('/'))?
}

/// A grant with its role and person.
type Granted<'a> = (&'a ResourceRef, &'a str, &'a str);

/// Users by the names that were looked for.
type Found = BTreeMap<String, Vec<User>>;

/// What is granted, with role and person.
fn granted(changes: &[Change]) -> Vec<Granted<'_>> {
    let made = changes.iter().filter(|change| change.op == Op::Create);
    made.filter_map(|change| parts(&change.id).map(|(role, who)| (&change.id, role, who)))
        .collect()
}

/// The grants whose person the identity provider can't tell, and why.
fn unknown(granted: &[Granted<'_>], found: &Found) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for (id, _, who) in granted {
        let message = match found.get(*who).map(Vec::as_slice).unwrap_or_default() {
            [_] => continue,
            [] => format!(
                "no user has the externalId or userName {who:?}; make the user there first, or correct the name"
            ),
            several => format!(
                "{} users are called {who:?}; names of people have to be told apart",
                several.len()
            ),
        };
        reasons.push(Reason {
            id: (*id).clone(),
            message,
        });
    }
    reasons
}

fn member() -> Spec {
    Spec::from_canonical(MEMBER)
}

#[async_trait]
impl Plain for Grants {
    fn what(&self) -> &'static str {
        "the identity provider"
    }

    async fn read(&self) -> Result<Arc<State>, ConnectorError> {
        self.reader.lock().await.read(self).await
    }

    fn form(&self, item: &Item, _owner: Option<&str>) -> Result<Spec, String> {
        match parts(&item.id) {
            Some((role, person)) if !role.is_empty() && !person.is_empty() => Ok(member()),
            _ => Err(format!(
                "over SCIM there are access grants by role and person, and no {}",
                item.id
            )),
        }
    }

    fn spec(&self, _: &ResourceRef, _: &Spec) -> Spec {
        Spec::from_canonical("{}")
    }

    /// A membership is there or not.
    fn has_place(&self, _: &str) -> bool {
        false
    }

    async fn check(
        &self,
        changeset: &Changeset,
        _live: &State,
    ) -> Result<Vec<Reason>, ConnectorError> {
        let granted = granted(&changeset.changes);
        if granted.is_empty() {
            return Ok(Vec::new());
        }
        let mut reasons = unknown(&granted, &self.find(&granted).await?);
        let groups = self.directory.groups().await?;
        for (id, role, _) in granted {
            let (mark, called) = (self.mark(role), self.called(role));
            let is_ours = groups
                .iter()
                .any(|g| g.external_id.as_deref() == Some(&mark));
            let theirs = groups
                .iter()
                .find(|g| g.is_called(called))
                .filter(|_| !is_ours);
            if let Some(theirs) = theirs {
                let whose = match theirs.external_id.as_deref() {
                    Some(other) => format!("has the externalId {other:?}"),
                    None => "has no mark of Lockstep".to_owned(),
                };
                reasons.push(Reason {
                    id: id.clone(),
                    message: format!("the group {called:?} {whose}, so it is somebody else's; give it the externalId {mark:?} to adopt it, or another name to the role under `groups`"),
                });
            }
        }
        Ok(reasons)
    }

    /// Whoever is not known there yet gets what is theirs as soon as they are; nobody else waits for that. And whoever was switched off there, and
    /// lost what had been granted, has left: that is not put back, which would switch them on.
    async fn unfit(
        &self,
        changes: &[Change],
        was_made: &WasMade<'_>,
    ) -> Result<Vec<Reason>, ConnectorError> {
        let granted = granted(changes);
        let found = self.find(&granted).await?;
        let mut reasons = unknown(&granted, &found);
        for (id, _, who) in granted.iter().filter(|(id, ..)| was_made(id)) {
            if let Some([user]) = found.get(*who).map(Vec::as_slice)
                && !user.active
            {
                reasons.push(Reason {
                    id: (*id).clone(),
                    message: format!("{who:?} is switched off there, and lost this; take it out of the repo, or switch the user on there"),
                });
            }
        }
        Ok(reasons)
    }

    async fn write(&self, steps: &[Step]) -> Result<(), ConnectorError> {
        let mut by_role: BTreeMap<&str, Vec<(&str, &Step)>> = BTreeMap::new();
        for step in steps {
            if let Some((role, who)) = parts(&step.id) {
                by_role.entry(role).or_default().push((who, step));
            }
        }
        for (role, steps) in by_role {
            self.write_role(role, &steps).await?;
        }
        Ok(())
    }

    /// Nobody may be the last of a role while the next one waits for it.
    fn adds_first(&self) -> bool {
        true
    }

    fn batch(&self) -> usize {
        100
    }
}
