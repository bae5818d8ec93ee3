//! The `unleash` connector: feature flags as features of one project of Unleash, in one environment of it, over its admin API.
//!
//! What is Lockstep's carries a tag that says which config repo it is of. Features without one are listed, since they may be adopted, and stay as
//! they are; those of another repo are refused. What a feature says of a flag is in `form`; the rest of the flag is kept on the shelf. Deleting
//! archives, and a name that was archived under our mark is revived.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::compensating::{Compensating, Plain, Step};
use super::rest::{Ask, Rest, RestSettings, part};
use super::shelf::Shelf;
use super::{Changeset, ConnectorError, Reason};
use crate::ids::{ResourceRef, SystemName};
use crate::plan::Op;
use crate::state::{Item, Spec, State};

mod form;
mod read;
mod targeting;
mod write;

#[cfg(test)]
mod tests;

use form::{Form, mark};
use read::Reader;

const KIND: &str = "FeatureFlag";
/// The type of the tag whose value says whose a feature is.
const TAG: &str = "lockstep";
/// Requests at a time. Unleash answers them one after another, so more would only wait there.
const AT_ONCE: usize = 4;

/// What the connector is made of.
pub(super) struct UnleashSettings {
    pub rest: RestSettings,
    pub project: String,
    pub environment: String,
}

/// A project in one environment.
pub(super) struct Project {
    rest: Rest,
    what: String,
    project: String,
    environment: String,
    reader: tokio::sync::Mutex<Reader>,
}

/// A connector to one project in one environment.
pub(super) fn connect(
    system: SystemName,
    settings: UnleashSettings,
    shelf: Arc<dyn Shelf>,
) -> Result<Compensating<Project>, String> {
    let project = Project::new(settings)?;
    Ok(Compensating::new(system, project, shelf))
}

impl Project {
    fn new(settings: UnleashSettings) -> Result<Self, String> {
        let UnleashSettings {
            rest,
            project,
            environment,
        } = settings;
        Ok(Self {
            rest: Rest::new(rest)?,
            what: format!("the project {project} of Unleash"),
            project,
            environment,
            reader: tokio::sync::Mutex::new(Reader::default()),
        })
    }

    /// A path below the project's features.
    fn features(&self, rest: &str) -> String {
        format!("/api/admin/projects/{}/features{rest}", part(&self.project))
    }

    fn feature(&self, name: &str, rest: &str) -> String {
        self.features(&format!("/{}{rest}", part(name)))
    }

    /// What Unleash says of a name that nothing has yet; `None` where it can be given.
    async fn check_name(&self, id: &ResourceRef) -> Result<Option<Taken>, ConnectorError> {
        let name = id.name();
        let body = json!({"name": name, "projectId": self.project});
        let ask = Ask::new(Method::POST, "/api/admin/features/validate").with(body);
        let reply = self.rest.ask(&ask).await?;
        match reply.status {
            StatusCode::OK => Ok(None),
            StatusCode::CONFLICT => Ok(Some(Taken::Conflict(id.clone()))),
            StatusCode::BAD_REQUEST => Ok(Some(Taken::Refused(Reason {
                id: id.clone(),
                message: format!("the name: Unleash refuses it{}", reply.words()),
            }))),
            _ => Err(self.rest.unexpected(&ask, &reply)),
        }
    }

    /// Why the features of these names can't become ours. One that was archived under our mark can.
    async fn check_names(
        &self,
        ids: Vec<&ResourceRef>,
        owner: Option<&str>,
    ) -> Result<Vec<Reason>, ConnectorError> {
        let mut asked = Vec::new();
        for id in ids {
            asked.push(self.check_name(id).boxed());
        }
        let asked = stream::iter(asked).buffered(AT_ONCE);
        let found: Vec<Option<Taken>> = asked.try_collect().await?;
        let (mut reasons, mut archived) = (Vec::new(), None);
        for taken in found.into_iter().flatten() {
            let id = match taken {
                Taken::Refused(reason) => {
                    reasons.push(reason);
                    continue;
                }
                Taken::Conflict(id) => id,
            };
            let there = match &archived {
                Some(there) => there,
                None => archived.insert(self.archived().await?),
            };
            let message = match there.get(id.name()) {
                Some(marks) if marks.contains(&mark(owner)) => continue,
                Some(marks) if marks.is_empty() => "the name: an archived feature has it that is not Lockstep's; delete that for good, or choose another name".to_owned(),
                Some(marks) => foreign(marks, owner),
                None => "the name: a feature of another project has it, and names count for all of Unleash".to_owned(),
            };
            reasons.push(Reason { id, message });
        }
        Ok(reasons)
    }
}

/// Why a name can't just be given.
enum Taken {
    /// A feature has it, here or elsewhere, archived or not.
    Conflict(ResourceRef),
    Refused(Reason),
}

/// Why what another repo made is left alone.
fn foreign(marks: &[String], owner: Option<&str>) -> String {
    format!(
        "belongs to {}, so {} may not change it; declare it in one of the two",
        marks.join(" and "),
        mark(owner)
    )
}

#[async_trait]
impl Plain for Project {
    fn what(&self) -> &str {
        &self.what
    }

    async fn read(&self) -> Result<Arc<State>, ConnectorError> {
        self.reader.lock().await.read(self).await
    }

    fn form(&self, item: &Item, owner: Option<&str>) -> Result<Spec, String> {
        if item.id.kind() != KIND {
            return Err(format!(
                "Unleash keeps feature flags, and no {}",
                item.id.kind()
            ));
        }
        let form = Form::of(item.id.name(), &item.spec, owner)?;
        Spec::from_value(&form).map_err(|e| e.to_string())
    }

    fn spec(&self, id: &ResourceRef, form: &Spec) -> Spec {
        let spec = Form::read(form).map(|f| f.spec(id.name()));
        let spec = spec.and_then(|spec| Spec::from_value(&spec).ok());
        // A form is what this connector wrote or read; were it none, it stands for itself.
        spec.unwrap_or_else(|| form.clone())
    }

    fn mark(&self, form: &Spec) -> Option<String> {
        let form = Form::read(form)?;
        // That of a repo that has none says nothing.
        form.marks.into_iter().find(|m| *m != mark(None))
    }

    fn has_place(&self, field: &str) -> bool {
        form::FIELDS.contains(&field)
    }

    async fn check(
        &self,
        changeset: &Changeset,
        live: &State,
    ) -> Result<Vec<Reason>, ConnectorError> {
        let owner = changeset.owner.as_deref();
        let ours = mark(owner);
        let mut reasons = Vec::new();
        for change in &changeset.changes {
            let form = live.get(&change.id).and_then(|form| Form::read(&form.spec));
            let Some(Form { marks, .. }) = form else {
                continue;
            };
            // One without a mark was declared as it is: what is not Lockstep's to change or to take away is in no changeset.
            if marks.iter().any(|m| *m != ours) {
                reasons.push(Reason {
                    id: change.id.clone(),
                    message: foreign(&marks, owner),
                });
            }
        }
        let made = changeset.changes.iter().filter(|change| {
            // Those of another kind are refused anyway.
            change.op == Op::Create && change.id.kind() == KIND
        });
        let names = made.map(|change| &change.id).collect();
        reasons.extend(self.check_names(names, owner).await?);
        Ok(reasons)
    }

    async fn write(&self, steps: &[Step]) -> Result<(), ConnectorError> {
        self.make_tag().await?;
        let mut writes = Vec::with_capacity(steps.len());
        for step in steps {
            writes.push(self.write_one(step).boxed());
        }
        // All are awaited: one that fails leaves no other half way.
        let ended = stream::iter(writes).buffer_unordered(AT_ONCE);
        let ended: Vec<Result<(), ConnectorError>> = ended.collect().await;
        let mut failed = None;
        for result in ended {
            match (result, &failed) {
                (Err(error @ ConnectorError::Transient { .. }), None) => failed = Some(error),
                (Err(ConnectorError::Transient { .. }) | Ok(()), _) => {}
                // What won't do later either outweighs what may.
                (Err(error), _) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn batch(&self) -> usize {
        32
    }
}
