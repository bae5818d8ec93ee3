//! Bringing the members of one group to what they are to be.
//!
//! Against the version that was just read, where the server keeps versions; else it is read again afterwards. Others may change the group in between:
//! then it is looked at again, and only our own members are added and removed.

use std::collections::{BTreeMap, BTreeSet};

use super::Grants;
use super::directory::{Changed, Group, User};
use crate::connector::compensating::Step;
use crate::connector::{ConnectorError, Reason};

/// How often a group that moves meanwhile is looked at again.
const ATTEMPTS: usize = 5;

impl Grants {
    pub(super) async fn write_role(
        &self,
        role: &str,
        steps: &[(&str, &Step)],
    ) -> Result<(), ConnectorError> {
        let people: BTreeSet<String> = steps.iter().map(|(who, _)| (*who).to_owned()).collect();
        let (aliases, _) = self.aliases().await?;
        let found = self.directory.find_users(&people).await?;
        let (mut add, mut remove, mut called) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        for (who, step) in steps {
            let users = found.get(*who).map(Vec::as_slice).unwrap_or_default();
            // A user that is not there any more may still be called so in our own book.
            let known = aliases.iter().filter(|(_, name)| name == who);
            match (&step.to, users) {
                (Some(_), [user]) => {
                    if user.name() != *who {
                        called.insert(user.id.clone(), (*who).to_owned());
                    }
                    add.insert(user.id.clone(), (user, *step));
                }
                (Some(_), _) => {
                    return Err(
                        self.refused(step, format!("{} users are called {who:?}", users.len()))
                    );
                }
                (None, users) => {
                    // A user of the same name who was made anew may be a member too; one who goes by another name here is not meant.
                    let is_meant = |user: &&User| aliases.get(&user.id).is_none_or(|n| n == who);
                    remove.extend(known.map(|(id, _)| id.clone()));
                    remove.extend(users.iter().filter(is_meant).map(|user| user.id.clone()));
                }
            }
        }
        // Before the membership, so that nobody ever reads it under another name.
        self.call(&called).await?;
        for (user, step) in add.values() {
            self.wake(user, step).await?;
        }
        let first = steps.first().map(|(_, step)| *step);
        for _ in 0..ATTEMPTS {
            let Some(group) = self.group_of(role, !add.is_empty(), first).await? else {
                return Ok(());
            };
            let there = group.users();
            let new: Vec<String> = add
                .keys()
                .filter(|id| !there.contains(*id))
                .cloned()
                .collect();
            let gone: Vec<String> = remove
                .iter()
                .filter(|id| there.contains(*id))
                .cloned()
                .collect();
            if new.is_empty() && gone.is_empty() {
                return Ok(());
            }
            match self.directory.change_members(&group, &new, &gone).await? {
                // Looked at once more: what a server takes is not always what it does.
                Changed::Done | Changed::Moved => {}
                Changed::Refused(why) => return Err(self.refused_role(first, why)),
            }
        }
        Err(ConnectorError::Transient {
            message: format!(
                "the group of {role} is not what it was changed to; somebody else changes it too"
            ),
        })
    }

    /// A user who is granted something can use it.
    async fn wake(&self, user: &User, step: &Step) -> Result<(), ConnectorError> {
        if user.active {
            return Ok(());
        }
        let done = self.directory.switch_on(user).await?;
        done.map_err(|why| self.refused(step, why))
    }

    /// The group of a role with its members, made where one is wanted.
    async fn group_of(
        &self,
        role: &str,
        is_wanted: bool,
        step: Option<&Step>,
    ) -> Result<Option<Group>, ConnectorError> {
        let mark = self.mark(role);
        let groups = self.directory.groups().await?;
        let ours = groups
            .into_iter()
            .find(|g| g.external_id.as_deref() == Some(&mark));
        if let Some(ours) = ours {
            return self.directory.group(&ours.id, None).await;
        }
        if !is_wanted {
            return Ok(None);
        }
        let made = self.directory.make_group(self.called(role), &mark).await?;
        made.map(Some).map_err(|why| self.refused_role(step, why))
    }

    fn refused(&self, step: &Step, message: String) -> ConnectorError {
        ConnectorError::Refused {
            message: "the identity provider refuses a change".to_owned(),
            reasons: vec![Reason {
                id: step.id.clone(),
                message,
            }],
        }
    }

    fn refused_role(&self, step: Option<&Step>, why: String) -> ConnectorError {
        match step {
            Some(step) => self.refused(step, why),
            None => ConnectorError::Refused {
                message: why,
                reasons: Vec::new(),
            },
        }
    }
}
