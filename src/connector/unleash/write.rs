//! Bringing one feature to its form, in the order in which nobody gets more than they should on the way.
//!
//! What is switched off is switched off first, and what is switched on last: switching on an environment without a strategy makes Unleash add one for
//! everybody, and deleting the last strategy switches the environment off. Each step looks at what is there, so that it can be repeated.

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::form::{Form, Strategy};
use super::read::Feature;
use super::{Project, Step, TAG};
use crate::connector::ConnectorError;
use crate::connector::Reason;
use crate::connector::rest::{Ask, Reply, part};
use crate::ids::ResourceRef;

impl Project {
    /// Makes the type of tag that marks what is Lockstep's.
    pub(super) async fn make_tag(&self) -> Result<(), ConnectorError> {
        let ask = Ask::get(format!("/api/admin/tag-types/{TAG}"));
        let reply = self.rest.ask(&ask).await?;
        if reply.status == StatusCode::OK {
            return Ok(());
        }
        if reply.status != StatusCode::NOT_FOUND {
            return Err(self.rest.unexpected(&ask, &reply));
        }
        let ask = Ask::new(Method::POST, "/api/admin/tag-types").with(json!({
            "name": TAG,
            "description": "Which config repo the feature is managed from; change it there",
            "icon": "L",
        }));
        let reply = self.rest.ask(&ask).await?;
        match reply.status {
            // Another process was quicker.
            StatusCode::CREATED | StatusCode::CONFLICT => Ok(()),
            _ => Err(self.rest.unexpected(&ask, &reply)),
        }
    }

    pub(super) async fn write_one(&self, step: &Step) -> Result<(), ConnectorError> {
        let name = step.id.name();
        let Some(to) = &step.to else {
            return self.archive(&step.id).await;
        };
        let to = Form::read(to).ok_or_else(|| ConnectorError::Terminal {
            message: format!("what {name} is to be in Unleash cannot be read"),
        })?;
        let now = match self.detail(name, None).await? {
            Some(now) => now,
            None => self.make(&step.id, &to).await?,
        };
        self.bring(&step.id, &now, &to).await?;
        // What it took without a word and keeps as something else is no success.
        let kept = self.detail(name, None).await?.map(|f| f.form);
        if kept.as_ref() == Some(&to) {
            return Ok(());
        }
        Err(ConnectorError::Refused {
            message: format!("{} keeps something else than it was sent", self.what),
            reasons: vec![Reason {
                id: step.id.clone(),
                message: differs(&to, kept.as_ref()),
            }],
        })
    }

    async fn archive(&self, id: &ResourceRef) -> Result<(), ConnectorError> {
        let ask = Ask::new(Method::DELETE, self.feature(id.name(), ""));
        let reply = self.rest.ask(&ask).await?;
        match reply.status {
            StatusCode::ACCEPTED | StatusCode::OK | StatusCode::NOT_FOUND => Ok(()),
            _ => Err(self.refused(id, &ask, &reply)),
        }
    }

    /// Creates a feature, or revives the archived one of its name.
    async fn make(&self, id: &ResourceRef, to: &Form) -> Result<Feature, ConnectorError> {
        let name = id.name();
        let ask = Ask::new(Method::POST, self.features("")).with(json!({
            "name": name, "type": "release", "description": to.description, "impressionData": false,
        }));
        let reply = self.rest.ask(&ask).await?;
        match reply.status {
            StatusCode::CREATED => {}
            StatusCode::CONFLICT => {
                let path = format!("/api/admin/projects/{}/revive", part(&self.project));
                let revive = Ask::new(Method::POST, path).with(json!({"features": [name]}));
                let revived = self.rest.ask(&revive).await?;
                if revived.status != StatusCode::OK {
                    return Err(self.refused(id, &revive, &revived));
                }
            }
            _ => return Err(self.refused(id, &ask, &reply)),
        }
        let made = self.detail(name, None).await?;
        made.ok_or_else(|| self.refused(id, &ask, &reply))
    }

    async fn bring(
        &self,
        id: &ResourceRef,
        now: &Feature,
        to: &Form,
    ) -> Result<(), ConnectorError> {
        let name = id.name();
        let place = self.feature(name, &format!("/environments/{}", part(&self.environment)));
        let mut is_on = now.form.enabled;
        if is_on && !to.enabled {
            self.send(id, Ask::new(Method::POST, format!("{place}/off")))
                .await?;
            is_on = false;
        }
        if now.form.marks != to.marks {
            self.tag(id, &now.form.marks, &to.marks).await?;
        }
        if now.form.description != to.description {
            let patch = json!([{"op": "replace", "path": "/description", "value": to.description}]);
            let ask = Ask::new(Method::PATCH, self.feature(name, "")).with(patch);
            self.send(id, ask).await?;
        }
        if now.form.variants != to.variants {
            let ask = Ask::new(Method::PUT, format!("{place}/variants"));
            self.send(id, ask.with(json!(to.variants))).await?;
        }
        let all = format!("{place}/strategies");
        for (n, wanted) in to.strategies.iter().enumerate() {
            let known = now.ids.get(n).zip(now.form.strategies.get(n));
            let ask = match known {
                Some((_, there)) if there == wanted => continue,
                Some((id, _)) => Ask::new(Method::PUT, format!("{all}/{}", part(id))),
                None => Ask::new(Method::POST, all.clone()),
            };
            self.send(id, ask.with(body(wanted, n))).await?;
        }
        for surplus in now.ids.iter().skip(to.strategies.len()) {
            let ask = Ask::new(Method::DELETE, format!("{all}/{}", part(surplus)));
            self.send(id, ask).await?;
        }
        if to.strategies.is_empty() && !now.ids.is_empty() {
            is_on = false;
        }
        if to.enabled && !is_on {
            self.send(id, Ask::new(Method::POST, format!("{place}/on")))
                .await?;
        }
        Ok(())
    }

    async fn tag(
        &self,
        id: &ResourceRef,
        now: &[String],
        to: &[String],
    ) -> Result<(), ConnectorError> {
        let tags = |these: &[String], but: &[String]| {
            let these = these.iter().filter(|value| !but.contains(value));
            let tags = these.map(|value| json!({"type": TAG, "value": value}));
            tags.collect::<Vec<_>>()
        };
        let path = format!("/api/admin/features/{}/tags", part(id.name()));
        let body = json!({"addedTags": tags(to, now), "removedTags": tags(now, to)});
        self.send(id, Ask::new(Method::PUT, path).with(body)).await
    }

    async fn send(&self, id: &ResourceRef, ask: Ask<'_>) -> Result<(), ConnectorError> {
        let reply = self.rest.ask(&ask).await?;
        if reply.status.is_success() {
            return Ok(());
        }
        Err(self.refused(id, &ask, &reply))
    }

    /// Unleash understood, and said no to this feature.
    fn refused(&self, id: &ResourceRef, ask: &Ask<'_>, reply: &Reply) -> ConnectorError {
        let number = reply.status.as_u16();
        ConnectorError::Refused {
            message: format!("{} refuses a change", self.what),
            reasons: vec![Reason {
                id: id.clone(),
                message: format!("{} answered {number}{}", ask.method, reply.words()),
            }],
        }
    }
}

fn body(strategy: &Strategy, order: usize) -> serde_json::Value {
    let Strategy {
        name,
        title,
        disabled,
        parameters,
        constraints,
        segments,
        variants,
    } = strategy;
    json!({
        "name": name, "title": title, "disabled": disabled, "parameters": parameters, "constraints": constraints,
        "segments": segments, "variants": variants, "sortOrder": order,
    })
}

/// Which part is not as it was sent.
fn differs(to: &Form, kept: Option<&Form>) -> String {
    let Some(kept) = kept else {
        return "is not there after it was written".to_owned();
    };
    let parts = [
        ("enabled", to.enabled == kept.enabled),
        ("description", to.description == kept.description),
        ("the mark", to.marks == kept.marks),
        (
            "rollout, variants or targeting",
            to.strategies == kept.strategies,
        ),
        ("variants", to.variants == kept.variants),
    ];
    let wrong = parts.into_iter().find(|(_, is_same)| !is_same);
    format!(
        "{}: reads back as something else",
        wrong.map_or("it", |(name, _)| name)
    )
}
