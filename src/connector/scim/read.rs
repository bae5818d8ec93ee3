//! Who is in our groups now.
//!
//! A pass costs the list of groups and one request for each of ours, answered without a body where the server keeps versions. What users are called
//! is remembered for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::directory::Group;
use super::{Grants, KIND, member};
use crate::connector::ConnectorError;
use crate::connector::shelf;
use crate::ids::ResourceRef;
use crate::state::{Item, State};

/// How often in a row it is believed that users are still called what they were.
const BELIEVED: u32 = 60;
/// So many unknown users are asked for one by one; for more, all are listed.
const FEW: usize = 8;
/// Where on the shelf the names lie by which people were granted something, and would not be called by themselves.
const NAMES: &str = "names";

/// What was read last.
#[derive(Default)]
pub(super) struct Reader {
    groups: BTreeMap<String, Group>,
    /// Users' names by id.
    names: BTreeMap<String, String>,
    believed: u32,
    state: Option<Arc<State>>,
}

impl Reader {
    pub(super) async fn read(&mut self, grants: &Grants) -> Result<Arc<State>, ConnectorError> {
        self.believed += 1;
        if self.believed > BELIEVED {
            self.names.clear();
            self.believed = 0;
        }
        let (aliases, _) = grants.aliases().await?;
        let mut groups = BTreeMap::new();
        for listed in grants.directory.groups().await? {
            let mark = listed.external_id.clone().unwrap_or_default();
            let Some(role) = mark
                .strip_prefix(&grants.prefix)
                .filter(|role| !role.is_empty())
            else {
                continue;
            };
            let known = self.groups.get(role).filter(|known| known.id == listed.id);
            // Gone since it was listed.
            let Some(group) = grants.directory.group(&listed.id, known).await? else {
                continue;
            };
            if groups.insert(role.to_owned(), group).is_some() {
                return Err(ConnectorError::Terminal {
                    message: format!(
                        "two groups have the externalId {mark:?}; take it from the one that is not Lockstep's"
                    ),
                });
            }
        }
        self.groups = groups;
        self.learn(grants).await?;
        let mut items = Vec::new();
        for (role, group) in &self.groups {
            for id in group.users() {
                let name = aliases
                    .get(&id)
                    .or_else(|| self.names.get(&id))
                    .unwrap_or(&id);
                let id = ResourceRef::new(KIND, &format!("{role}/{name}")).map_err(|e| {
                    ConnectorError::Terminal {
                        message: format!(
                            "a member of the group of {role} has no name that can be said: {e}"
                        ),
                    }
                })?;
                items.push(Arc::new(Item::new(id, member())));
            }
        }
        let count = items.len();
        let state: State = items.into_iter().collect();
        if state.len() < count {
            return Err(ConnectorError::Terminal {
                message:
                    "two members of one group are called the same; give them an externalId each"
                        .to_owned(),
            });
        }
        let state = match &self.state {
            Some(last) if **last == state => last.clone(),
            Some(_) | None => Arc::new(state),
        };
        self.state = Some(state.clone());
        Ok(state)
    }

    /// Finds out what users are called that are not known yet.
    async fn learn(&mut self, grants: &Grants) -> Result<(), ConnectorError> {
        let all: BTreeSet<String> = self.groups.values().flat_map(Group::users).collect();
        let unknown: Vec<String> = all
            .into_iter()
            .filter(|id| !self.names.contains_key(id))
            .collect();
        if unknown.len() > FEW {
            for user in grants.directory.users().await? {
                self.names.insert(user.id.clone(), user.name().to_owned());
            }
            return Ok(());
        }
        for id in unknown {
            if let Some(user) = grants.directory.user(&id).await? {
                self.names.insert(id, user.name().to_owned());
            }
        }
        Ok(())
    }
}

impl Grants {
    /// By users' ids, the names by which they were granted something.
    pub(super) async fn aliases(
        &self,
    ) -> Result<(BTreeMap<String, String>, Option<crate::ids::Digest>), ConnectorError> {
        let page = shelf::page(&*self.shelf, NAMES).await?;
        Ok(page.map_or_else(Default::default, |(names, digest)| (names, Some(digest))))
    }

    /// Remembers names that users don't say themselves.
    pub(super) async fn call(&self, new: &BTreeMap<String, String>) -> Result<(), ConnectorError> {
        let (mut names, over) = self.aliases().await?;
        let before = names.clone();
        names.extend(new.clone());
        if names == before {
            return Ok(());
        }
        shelf::put(&*self.shelf, NAMES, over, &names)
            .await
            .map(drop)
    }
}
