//! Users and groups over the wire: every page of a list, and nothing believed of one that does not add up.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::header::{IF_MATCH, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::connector::ConnectorError;
use crate::connector::rest::{Ask, Reply, Rest, part};

/// Resources on one page. A server may give fewer.
const PAGE: usize = 100;
/// So many people are looked for one by one; for more, all are listed.
const FEW: usize = 8;

const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

pub(super) struct Directory {
    rest: Rest,
}

/// A user, as far as it is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User {
    pub(super) id: String,
    #[serde(default)]
    pub(super) user_name: Option<String>,
    #[serde(default)]
    pub(super) external_id: Option<String>,
    /// Left out it is on.
    #[serde(default = "yes", deserialize_with = "switch")]
    pub(super) active: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    pub(super) id: String,
    #[serde(default)]
    pub(super) display_name: Option<String>,
    #[serde(default)]
    pub(super) external_id: Option<String>,
    #[serde(default)]
    pub(super) members: Vec<Member>,
    #[serde(default)]
    pub(super) meta: Meta,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Member {
    pub(super) value: String,
    #[serde(rename = "type", default)]
    pub(super) sort: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Meta {
    /// Only a server that keeps versions says one; an ETag without it is not of the resource.
    #[serde(default)]
    pub(super) version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    total_results: usize,
    #[serde(rename = "Resources", default = "Vec::new")]
    resources: Vec<T>,
}

fn yes() -> bool {
    true
}

/// Some write `"True"`.
fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let value = Value::deserialize(deserializer)?;
    match &value {
        Value::Bool(is) => Ok(*is),
        Value::Null => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        Value::String(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(serde::de::Error::custom(format!("active is {value}")))
        }
    }
}

impl User {
    /// What the user is called where nobody called it otherwise.
    pub(super) fn name(&self) -> &str {
        let texts = [self.external_id.as_deref(), self.user_name.as_deref()];
        let mut texts = texts.into_iter().flatten().filter(|text| !text.is_empty());
        texts.next().unwrap_or(&self.id)
    }
}

impl Group {
    pub(super) fn is_called(&self, name: &str) -> bool {
        let called = self.display_name.as_deref();
        called.is_some_and(|called| called.eq_ignore_ascii_case(name))
    }

    /// The users in it; groups may be members too, and are none of ours.
    pub(super) fn users(&self) -> BTreeSet<String> {
        let is_user = |m: &&Member| {
            let sort = m.sort.as_deref();
            !sort.is_some_and(|sort| sort.eq_ignore_ascii_case("group"))
        };
        let users = self.members.iter().filter(is_user);
        users.map(|m| m.value.clone()).collect()
    }
}

/// A text inside a filter.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl Directory {
    pub(super) fn new(rest: Rest) -> Self {
        Self { rest }
    }

    /// Every resource of a list. The pages have to make up what the server counts.
    async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        id: fn(&T) -> &str,
    ) -> Result<Vec<T>, ConnectorError> {
        let mut found: Vec<T> = Vec::new();
        let mut total = None;
        loop {
            let mut ask = Ask::get(path);
            ask.query = query.to_vec();
            ask.query
                .push(("startIndex", (found.len() + 1).to_string()));
            ask.query.push(("count", PAGE.to_string()));
            let page: Page<T> = self.rest.fetch(&ask).await?;
            let has_moved = total.is_some_and(|total| total != page.total_results);
            total = Some(page.total_results);
            let is_short = page.resources.is_empty() && found.len() < page.total_results;
            found.extend(page.resources);
            if has_moved || is_short || found.len() > page.total_results {
                let what = format!(
                    "counts {} and lists {}: the list is not complete",
                    page.total_results,
                    found.len()
                );
                return Err(self.rest.transient(&ask, &what));
            }
            if found.len() == page.total_results {
                let ids: BTreeSet<&str> = found.iter().map(id).collect();
                if ids.len() < found.len() {
                    return Err(self.rest.transient(&ask, "lists a resource twice"));
                }
                return Ok(found);
            }
        }
    }

    pub(super) async fn groups(&self) -> Result<Vec<Group>, ConnectorError> {
        let query = [("excludedAttributes", "members".to_owned())];
        self.list("/Groups", &query, |group: &Group| &group.id)
            .await
    }

    pub(super) async fn users(&self) -> Result<Vec<User>, ConnectorError> {
        let query = [("attributes", "userName,externalId,active".to_owned())];
        self.list("/Users", &query, |user: &User| &user.id).await
    }

    pub(super) async fn user(&self, id: &str) -> Result<Option<User>, ConnectorError> {
        let ask = Ask::get(format!("/Users/{}", part(id)));
        let reply = self.rest.ask(&ask).await?;
        match reply.status {
            StatusCode::OK => self.rest.read(&ask, &reply).map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.rest.unexpected(&ask, &reply)),
        }
    }

    /// A group with its members; `None` where it is gone. Where the server has the version already named, `known` is still true of it.
    pub(super) async fn group(
        &self,
        id: &str,
        known: Option<&Group>,
    ) -> Result<Option<Group>, ConnectorError> {
        let mut ask = Ask::get(format!("/Groups/{}", part(id)));
        let version = known.and_then(|group| group.meta.version.clone());
        ask.headers
            .extend(version.map(|version| (IF_NONE_MATCH, version)));
        let reply = self.rest.ask(&ask).await?;
        match (reply.status, known) {
            (StatusCode::OK, _) => self.rest.read(&ask, &reply).map(Some),
            (StatusCode::NOT_MODIFIED, Some(known)) => Ok(Some(known.clone())),
            (StatusCode::NOT_FOUND, _) => Ok(None),
            _ => Err(self.rest.unexpected(&ask, &reply)),
        }
    }

    /// Who these people are: those with such an externalId, or else those with such a userName.
    pub(super) async fn find_users(
        &self,
        people: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Vec<User>>, ConnectorError> {
        let mut found = BTreeMap::new();
        if people.len() > FEW {
            let all = self.users().await?;
            for person in people {
                found.insert(person.clone(), matching(&all, person));
            }
            return Ok(found);
        }
        for person in people {
            let mut users = Vec::new();
            for attribute in ["externalId", "userName"] {
                let filter = format!("{attribute} eq {}", quoted(person));
                let query = [("filter", filter)];
                let some = self.list("/Users", &query, |user: &User| &user.id).await?;
                // A server whose filter compares otherwise than we do is asked, and not believed.
                users = matching(&some, person);
                if !users.is_empty() {
                    break;
                }
            }
            found.insert(person.clone(), users);
        }
        Ok(found)
    }

    pub(super) async fn make_group(
        &self,
        name: &str,
        mark: &str,
    ) -> Result<Result<Group, String>, ConnectorError> {
        let body = json!({"schemas": [GROUP], "displayName": name, "externalId": mark});
        let ask = Ask::new(Method::POST, "/Groups").with(body);
        let reply = self.rest.ask(&ask).await?;
        match reply.status {
            StatusCode::CREATED | StatusCode::OK => self.rest.read(&ask, &reply).map(Ok),
            _ => Ok(Err(said("the group cannot be made", &reply))),
        }
    }

    /// Changes a group's members against the version that was read. `Ok(Err)` says why not.
    pub(super) async fn change_members(
        &self,
        group: &Group,
        add: &[String],
        remove: &[String],
    ) -> Result<Changed, ConnectorError> {
        let mut operations = Vec::new();
        if !add.is_empty() {
            let members: Vec<Value> = add.iter().map(|id| json!({"value": id})).collect();
            operations.push(json!({"op": "add", "path": "members", "value": members}));
        }
        for id in remove {
            // Never without the filter: that would be everyone.
            let path = format!("members[value eq {}]", quoted(id));
            operations.push(json!({"op": "remove", "path": path}));
        }
        let ask = patch(format!("/Groups/{}", part(&group.id)), operations);
        let ask = Ask {
            headers: group
                .meta
                .version
                .iter()
                .map(|v| (IF_MATCH, v.clone()))
                .collect(),
            ..ask
        };
        let reply = self.rest.ask(&ask).await?;
        Ok(match reply.status {
            StatusCode::OK | StatusCode::NO_CONTENT => Changed::Done,
            StatusCode::PRECONDITION_FAILED | StatusCode::CONFLICT => Changed::Moved,
            _ => Changed::Refused(said("the members cannot be changed", &reply)),
        })
    }

    pub(super) async fn switch_on(
        &self,
        user: &User,
    ) -> Result<Result<(), String>, ConnectorError> {
        let operation = json!({"op": "replace", "path": "active", "value": true});
        let ask = patch(format!("/Users/{}", part(&user.id)), vec![operation]);
        let reply = self.rest.ask(&ask).await?;
        Ok(match reply.status {
            StatusCode::OK | StatusCode::NO_CONTENT => Ok(()),
            _ => Err(said("the user cannot be switched on", &reply)),
        })
    }
}

/// What came of a change of members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Changed {
    Done,
    /// The group is not any more as it was read.
    Moved,
    Refused(String),
}

fn patch<'a>(path: String, operations: Vec<Value>) -> Ask<'a> {
    Ask::new(Method::PATCH, path).with(json!({"schemas": [PATCH], "Operations": operations}))
}

fn said(what: &str, reply: &Reply) -> String {
    format!("{what} ({}){}", reply.status.as_u16(), reply.words())
}

/// By externalId, which is ours to give; else by userName, which compares without case.
fn matching(users: &[User], person: &str) -> Vec<User> {
    let by = |is: &dyn Fn(&&User) -> bool| users.iter().filter(is).cloned().collect::<Vec<_>>();
    let marked = by(&|user| user.external_id.as_deref() == Some(person));
    if !marked.is_empty() {
        return marked;
    }
    let wanted = person.to_lowercase();
    by(&|user| {
        user.user_name
            .as_ref()
            .is_some_and(|name| name.to_lowercase() == wanted)
    })
}
