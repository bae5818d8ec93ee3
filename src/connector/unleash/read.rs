//! Reading a project: once all of it, then what its event log says has changed.
//!
//! Unleash lists features without their strategies, so each is read by itself; ten thousand are as many requests, a few at a time. Afterwards a pass
//! with nothing new costs one request, for the newest event. What the log does not know (it is written beside the change, and a failure there is only
//! logged) is found by reading all again now and then.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::form::{Form, Strategy};
use super::{AT_ONCE, KIND, Project, TAG};
use crate::connector::ConnectorError;
use crate::connector::rest::{Ask, part};
use crate::ids::ResourceRef;
use crate::state::{Item, Spec, State};

/// Archived features on one page, the most that Unleash gives.
const PAGE: usize = 100;
/// How often in a row the event log is believed.
const BELIEVED: u32 = 100;
/// Events that are read at once; where more came, all features are read again.
const EVENTS: usize = 500;
/// Read beyond those that are new: they are in order of their time, which is not always that of their number.
const MARGIN: usize = 20;

/// What was read last.
#[derive(Default)]
pub(super) struct Reader {
    known: Option<Known>,
}

struct Known {
    newest: Newest,
    forms: BTreeMap<String, Arc<Item>>,
    state: Arc<State>,
    believed: u32,
}

/// The end of the event log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Newest {
    id: u64,
    total: usize,
}

#[derive(Deserialize)]
struct Events {
    events: Vec<Event>,
    total: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    id: u64,
    #[serde(rename = "type")]
    sort: String,
    feature_name: Option<String>,
}

#[derive(Deserialize)]
struct List {
    features: Vec<Found>,
}

#[derive(Deserialize)]
struct Page {
    features: Vec<Found>,
    total: usize,
}

#[derive(Deserialize)]
struct Found {
    name: String,
    #[serde(default)]
    tags: Option<Vec<Tag>>,
}

#[derive(Deserialize)]
struct Tags {
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    #[serde(rename = "type")]
    sort: String,
    value: String,
}

/// A feature with all that is managed of it.
#[derive(Deserialize)]
struct Detail {
    description: Option<String>,
    project: String,
    #[serde(default)]
    archived: bool,
    environments: Vec<InEnvironment>,
}

#[derive(Deserialize)]
struct InEnvironment {
    name: String,
    enabled: bool,
    #[serde(default)]
    strategies: Vec<Numbered>,
    #[serde(default)]
    variants: Option<Vec<Value>>,
}

/// A strategy with its id.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Numbered {
    pub(super) id: String,
    #[serde(default)]
    sort_order: i64,
    #[serde(flatten)]
    pub(super) strategy: Strategy,
}

/// A feature as it is now.
pub(super) struct Feature {
    pub(super) form: Form,
    /// The ids of its strategies, in the form's order.
    pub(super) ids: Vec<String>,
}

impl Reader {
    pub(super) async fn read(&mut self, project: &Project) -> Result<Arc<State>, ConnectorError> {
        // Before the features: what changes while they are read is newer than this, and read the next time.
        let newest = project.newest().await?;
        if let Some(known) = self.known.as_mut().filter(|k| k.believed < BELIEVED) {
            known.believed += 1;
            if known.newest == newest {
                return Ok(known.state.clone());
            }
            if let Some(names) = project.changed(&known.newest, &newest).await? {
                project.read_again(known, &names).await?;
                known.newest = newest;
                return Ok(known.state.clone());
            }
        }
        let forms = project.read_all().await?;
        let state: State = forms.values().cloned().collect();
        let same = self.known.take().filter(|known| *known.state == state);
        let state = same.map_or_else(|| Arc::new(state), |known| known.state);
        self.known = Some(Known {
            newest,
            forms,
            state: state.clone(),
            believed: 0,
        });
        Ok(state)
    }
}

impl Project {
    async fn newest(&self) -> Result<Newest, ConnectorError> {
        let events = self.events(1).await?;
        Ok(Newest {
            id: events.events.first().map_or(0, |e| e.id),
            total: events.total,
        })
    }

    async fn events(&self, count: usize) -> Result<Events, ConnectorError> {
        let mut ask = Ask::get("/api/admin/search/events");
        ask.query.push(("limit", count.to_string()));
        let events: Events = self.rest.fetch(&ask).await?;
        // It answers so where its database failed it.
        if events.events.is_empty() && events.total > 0 {
            return Err(self.rest.transient(&ask, "listed none of its events"));
        }
        Ok(events)
    }

    /// Which features the log names since then; `None` where that does not tell it all.
    async fn changed(
        &self,
        before: &Newest,
        now: &Newest,
    ) -> Result<Option<BTreeSet<String>>, ConnectorError> {
        let Some(new) = now.total.checked_sub(before.total).filter(|n| *n <= EVENTS) else {
            return Ok(None);
        };
        let events = self.events(new + MARGIN).await?.events;
        // What befalls a whole project or environment, and names no feature.
        let is_wide = |event: &Event| {
            let beyond = ["project", "environment"];
            event.id > before.id
                && event.feature_name.is_none()
                && beyond.iter().any(|b| event.sort.starts_with(b))
        };
        if events.iter().any(is_wide) {
            return Ok(None);
        }
        Ok(Some(
            events.into_iter().filter_map(|e| e.feature_name).collect(),
        ))
    }

    /// Everything: the list, and every feature on it.
    async fn read_all(&self) -> Result<BTreeMap<String, Arc<Item>>, ConnectorError> {
        self.find_place().await?;
        let found = self.list().await?;
        let details = self.details(found.into_iter().map(|(name, marks)| (name, Some(marks))));
        let details = details.await?;
        let mut forms = BTreeMap::new();
        for (name, feature) in details {
            // Archived since it was listed: there is an event of it.
            if let Some(feature) = feature {
                let item = item(&name, &feature.form)?;
                forms.insert(name, item);
            }
        }
        Ok(forms)
    }

    async fn read_again(
        &self,
        known: &mut Known,
        names: &BTreeSet<String>,
    ) -> Result<(), ConnectorError> {
        let details = self.details(names.iter().map(|name| (name.clone(), None)));
        let details = details.await?;
        let mut forms = known.forms.clone();
        for (name, feature) in details {
            match feature {
                Some(feature) => drop(forms.insert(name.clone(), item(&name, &feature.form)?)),
                None => drop(forms.remove(&name)),
            }
        }
        if forms != known.forms {
            known.state = Arc::new(forms.values().cloned().collect());
            known.forms = forms;
        }
        Ok(())
    }

    /// Features one by one, some at a time.
    async fn details(
        &self,
        names: impl Iterator<Item = (String, Option<Vec<String>>)> + Send,
    ) -> Result<Vec<(String, Option<Feature>)>, ConnectorError> {
        let mut asked = Vec::new();
        for (name, marks) in names {
            let read = async move {
                let feature = self.detail(&name, marks).await?;
                Ok::<_, ConnectorError>((name, feature))
            };
            asked.push(read.boxed());
        }
        stream::iter(asked)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// A project that is not there would be listed as an empty one.
    async fn find_place(&self) -> Result<(), ConnectorError> {
        let project = part(&self.project);
        let ask = Ask::get(format!("/api/admin/projects/{project}/overview"));
        let reply = self.rest.ask(&ask).await?;
        if reply.status == StatusCode::NOT_FOUND {
            let what = format!(
                "has no project {}; check `project` in lockstep.yaml",
                self.project
            );
            return Err(self.rest.terminal(&ask, &what));
        }
        if reply.status != StatusCode::OK {
            return Err(self.rest.unexpected(&ask, &reply));
        }
        let ask = Ask::get(format!("/api/admin/environments/project/{project}"));
        let all: Value = self.rest.fetch(&ask).await?;
        let all = all.get("environments").and_then(Value::as_array);
        let is_here = |e: &&Value| e.get("visible").and_then(Value::as_bool) == Some(true);
        let names = all.into_iter().flatten().filter(is_here);
        let names: Vec<&str> = names.filter_map(|e| e.get("name")?.as_str()).collect();
        if names.contains(&self.environment.as_str()) {
            return Ok(());
        }
        let what = format!(
            "has no environment {} in the project {}; it has {}",
            self.environment,
            self.project,
            names.join(", ")
        );
        Err(self.rest.terminal(&ask, &what))
    }

    /// The names of all features with their marks. The list comes as a whole, without tags; so it is asked again for each mark that there is.
    async fn list(&self) -> Result<BTreeMap<String, Vec<String>>, ConnectorError> {
        let mut found = BTreeMap::new();
        for name in self.names(None).await? {
            found.insert(name, Vec::new());
        }
        let tags: Tags = self.rest.fetch(&Ask::get("/api/admin/tags")).await?;
        for mark in marks(tags.tags) {
            for name in self.names(Some(&mark)).await? {
                found.entry(name).or_default().push(mark.clone());
            }
        }
        Ok(found)
    }

    async fn names(&self, marked: Option<&str>) -> Result<Vec<String>, ConnectorError> {
        let mut ask = Ask::get(self.features(""));
        ask.query
            .extend(marked.map(|mark| ("tag[]", format!("{TAG}:{mark}"))));
        let list: List = self.rest.fetch(&ask).await?;
        Ok(list.features.into_iter().map(|f| f.name).collect())
    }

    /// The archived features of the project with their marks. Unleash lets this be asked only a few times a minute, so it is asked only where a name
    /// is taken. The pages have to make up what the server counts.
    pub(super) async fn archived(&self) -> Result<BTreeMap<String, Vec<String>>, ConnectorError> {
        let mut found = BTreeMap::new();
        let mut read = 0;
        loop {
            let mut ask = Ask::get("/api/admin/search/features");
            ask.query = vec![
                ("project", format!("IS:{}", self.project)),
                ("archived", "IS:true".to_owned()),
                ("sortBy", "name".to_owned()),
                ("sortOrder", "asc".to_owned()),
                ("limit", PAGE.to_string()),
                ("offset", read.to_string()),
            ];
            let page: Page = self.rest.fetch(&ask).await?;
            read += page.features.len();
            let is_last = read >= page.total;
            let is_short = page.features.is_empty() && !is_last;
            for feature in page.features {
                let marks = marks(feature.tags.unwrap_or_default());
                found.insert(feature.name, marks);
            }
            if is_short || (is_last && found.len() != page.total) {
                let what = "changed its list of features while it was read";
                return Err(self.rest.transient(&ask, what));
            }
            if is_last {
                return Ok(found);
            }
        }
    }

    /// A feature as it is now; `None` where there is none, or only an archived one.
    pub(super) async fn detail(
        &self,
        name: &str,
        known: Option<Vec<String>>,
    ) -> Result<Option<Feature>, ConnectorError> {
        let mut ask = Ask::get(self.feature(name, ""));
        ask.query.push(("variantEnvironments", "true".to_owned()));
        let reply = self.rest.ask(&ask).await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if reply.status != StatusCode::OK {
            return Err(self.rest.unexpected(&ask, &reply));
        }
        let detail: Detail = self.rest.read(&ask, &reply)?;
        if detail.archived || detail.project != self.project {
            return Ok(None);
        }
        let place = detail.environments.into_iter();
        let place = place.into_iter().find(|e| e.name == self.environment);
        let Some(mut place) = place else {
            let what = format!("says nothing of {name} in {}", self.environment);
            return Err(self.rest.terminal(&ask, &what));
        };
        place
            .strategies
            .sort_by(|a, b| (a.sort_order, &a.id).cmp(&(b.sort_order, &b.id)));
        let marks = match known {
            Some(marks) => marks,
            None => {
                let ask = Ask::get(format!("/api/admin/features/{}/tags", part(name)));
                marks(self.rest.fetch::<Tags>(&ask).await?.tags)
            }
        };
        let (ids, strategies) = place
            .strategies
            .into_iter()
            .map(|s| (s.id, normal(s.strategy)))
            .unzip();
        Ok(Some(Feature {
            ids,
            form: Form {
                description: detail.description.filter(|text| !text.is_empty()),
                enabled: place.enabled,
                marks,
                strategies,
                variants: place.variants.unwrap_or_default(),
            },
        }))
    }
}

/// What is left out and what is said to be nothing are the same.
fn normal(mut strategy: Strategy) -> Strategy {
    strategy.disabled = Some(strategy.disabled == Some(true));
    strategy.title = strategy.title.filter(|text| !text.is_empty());
    for constraint in &mut strategy.constraints {
        constraint.value = constraint.value.take().filter(|text| !text.is_empty());
    }
    strategy
}

fn marks(tags: Vec<Tag>) -> Vec<String> {
    let ours = tags.into_iter().filter(|tag| tag.sort == TAG);
    let mut marks: Vec<String> = ours.map(|tag| tag.value).collect();
    marks.sort();
    marks
}

fn item(name: &str, form: &Form) -> Result<Arc<Item>, ConnectorError> {
    let wrong = |why: String| ConnectorError::Terminal {
        message: format!("the feature {name} of Unleash cannot be read: {why}"),
    };
    let id = ResourceRef::new(KIND, name).map_err(|e| wrong(e.to_string()))?;
    let form = Spec::from_value(form).map_err(|e| wrong(e.to_string()))?;
    Ok(Arc::new(Item::new(id, form)))
}
