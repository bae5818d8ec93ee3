//! What lies on the shelf of a system, text by text.
//!
//! `journal`: the changesets. `staged/<id>`: what one is to do, and what was there before it. `progress/<id>`: how far its commit came. `specs/<bucket>`:
//! the specs that their forms do not say. `head`: which revision was committed last, and a number that changes whenever the specs did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Plain;
use crate::connector::journal::Becomes;
pub(super) use crate::connector::shelf::put;
use crate::connector::shelf::{self, Shelf};
use crate::connector::{ConnectorError, journal};
use crate::ids::{ChangesetId, Digest, ResourceRef, Revision};
use crate::state::{Item, Spec};

pub(super) const JOURNAL: &str = "journal";
const HEAD: &str = "head";
const SPECS: &str = "specs/";
pub(super) const STAGED: &str = "staged/";
pub(super) const PROGRESS: &str = "progress/";

/// A text as it was read, or nothing, with what a write in its place has to name.
pub(super) struct Page<T> {
    pub(super) value: T,
    pub(super) digest: Option<Digest>,
}

/// Reads a text of ours.
pub(super) async fn page<T: DeserializeOwned>(
    shelf: &dyn Shelf,
    name: &str,
) -> Result<Option<Page<T>>, ConnectorError> {
    let page = shelf::page(shelf, name).await?;
    Ok(page.map(|(value, digest)| Page {
        value,
        digest: Some(digest),
    }))
}

/// Which revision was committed last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Head {
    pub(super) revision: Option<Revision>,
    /// Of how many commits.
    writes: u64,
}

impl Head {
    pub(super) async fn read(shelf: &dyn Shelf) -> Result<Self, ConnectorError> {
        let page = page(shelf, HEAD).await?;
        Ok(page.map_or_else(Self::default, |p| p.value))
    }

    /// Says that a revision was committed, after everything else of it is kept.
    pub(super) async fn advance(
        shelf: &dyn Shelf,
        revision: &Revision,
    ) -> Result<(), ConnectorError> {
        let (before, over) = match page::<Self>(shelf, HEAD).await? {
            Some(page) => (page.value, page.digest),
            None => (Self::default(), None),
        };
        let head = Self {
            revision: Some(revision.clone()),
            writes: before.writes + 1,
        };
        put(shelf, HEAD, over, &head).await.map(drop)
    }
}

/// A spec, and the digest of the form that it was written as.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Standing {
    form: Digest,
    spec: Value,
}

type Bucket = BTreeMap<ResourceRef, Standing>;

/// The specs that their forms do not say.
#[derive(Debug, Default)]
pub(super) struct Kept(BTreeMap<ResourceRef, (Digest, Spec)>);

impl Kept {
    pub(super) async fn read(shelf: &dyn Shelf) -> Result<Self, ConnectorError> {
        let mut all = BTreeMap::new();
        for name in shelf.list(SPECS).await? {
            let Some(page) = page::<Bucket>(shelf, &name).await? else {
                continue;
            };
            for (id, Standing { form, spec }) in page.value {
                let spec = Spec::from_value(&spec).map_err(|e| ConnectorError::Terminal {
                    message: format!("{id} as the store keeps it: {e}"),
                })?;
                all.insert(id, (form, spec));
            }
        }
        Ok(Self(all))
    }

    /// What a form stands for: the spec that was kept with it, where it is as it was left. Where somebody has changed it, what it says now; and of the
    /// spec that was kept what it can't say, since nobody can have changed that there.
    pub(super) fn spec(&self, form: &Item, plain: &impl Plain) -> Spec {
        let kept = self.0.get(&form.id);
        if let Some((_, spec)) = kept.filter(|(written, _)| *written == form.digest()) {
            return spec.clone();
        }
        let said = plain.spec(&form.id, &form.spec);
        let kept = kept.map(|(_, spec)| spec.value());
        let (Value::Object(mut fields), Some(Value::Object(kept))) = (said.value(), kept) else {
            return said;
        };
        fields.extend(
            kept.into_iter()
                .filter(|(field, _)| !plain.has_place(field)),
        );
        // Both were canonical, so what is made of them is.
        Spec::from_value(&Value::Object(fields)).unwrap_or(said)
    }

    /// Whether it stood there once as one that was made, whatever became of it.
    pub(super) fn has(&self, id: &ResourceRef) -> bool {
        self.0.contains_key(id)
    }

    /// Keeps what a changeset has made, a bucket at a time.
    pub(super) async fn keep(shelf: &dyn Shelf, plan: &[Planned]) -> Result<(), ConnectorError> {
        let buckets: BTreeSet<u8> = plan.iter().map(|p| p.id.bucket()).collect();
        for bucket in buckets {
            let name = format!("{SPECS}{bucket:02x}");
            let (before, over) = match page::<Bucket>(shelf, &name).await? {
                Some(page) => (page.value, page.digest),
                None => (Bucket::new(), None),
            };
            let mut after = before.clone();
            for planned in plan.iter().filter(|p| p.id.bucket() == bucket) {
                match planned.after.as_ref().filter(|after| !after.is_said) {
                    Some(made) => drop(after.insert(planned.id.clone(), made.standing()?)),
                    None => drop(after.remove(&planned.id)),
                }
            }
            if after != before {
                put(shelf, &name, over, &after).await?;
            }
        }
        Ok(())
    }
}

fn unkept(error: crate::state::NotCanonical) -> ConnectorError {
    ConnectorError::Terminal {
        message: error.to_string(),
    }
}

/// A changeset as it waits for its commit.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Staged {
    pub(super) revision: Revision,
    pub(super) plan: Vec<Planned>,
}

/// One change: the form that the resource had when it was prepared, and what it is to become.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Planned {
    pub(super) id: ResourceRef,
    pub(super) before: Option<Value>,
    pub(super) after: Option<After>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    pub(super) form: Value,
    pub(super) spec: Value,
    /// Whether the form says the whole spec.
    pub(super) is_said: bool,
}

impl After {
    fn standing(&self) -> Result<Standing, ConnectorError> {
        let form = Spec::from_value(&self.form).map_err(unkept)?;
        Ok(Standing {
            form: Digest::of(form.as_str().as_bytes()),
            spec: self.spec.clone(),
        })
    }
}

impl Staged {
    pub(super) fn name(id: &ChangesetId) -> String {
        format!("{STAGED}{id}")
    }

    pub(super) async fn read(shelf: &dyn Shelf, id: &ChangesetId) -> Result<Self, ConnectorError> {
        let page = page(shelf, &Self::name(id)).await?;
        let page = page.ok_or_else(|| ConnectorError::Terminal {
            message: format!("the store does not know any more what the changeset {id} was to do"),
        })?;
        Ok(page.value)
    }

    /// What the changeset makes of each resource.
    pub(super) fn items(&self) -> Result<Vec<Becomes>, ConnectorError> {
        let item = |planned: &Planned| {
            let spec = planned.after.as_ref().map(|after| &after.spec);
            let item = match spec {
                None => None,
                Some(spec) => {
                    let spec = Spec::from_value(spec).map_err(unkept)?;
                    Some(Arc::new(Item::new(planned.id.clone(), spec)))
                }
            };
            Ok((planned.id.clone(), item))
        };
        self.plan.iter().map(item).collect()
    }
}

impl Planned {
    /// The form that it is to have, or had.
    pub(super) fn form(form: Option<&Value>) -> Result<Option<Spec>, ConnectorError> {
        form.map(Spec::from_value).transpose().map_err(unkept)
    }
}

/// How far a commit came.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Progress {
    /// How many changes, from the first, may have been written.
    pub(super) begun: usize,
    /// Why it can't be gone on with: what was written is put back.
    pub(super) failed: Option<ConnectorError>,
}

impl Progress {
    pub(super) fn name(id: &ChangesetId) -> String {
        format!("{PROGRESS}{id}")
    }

    pub(super) async fn read(
        shelf: &dyn Shelf,
        id: &ChangesetId,
    ) -> Result<Page<Self>, ConnectorError> {
        let page = page(shelf, &Self::name(id)).await?;
        Ok(page.unwrap_or(Page {
            value: Self::default(),
            digest: None,
        }))
    }
}

/// The journal as it was kept.
pub(super) async fn journal(
    shelf: &dyn Shelf,
) -> Result<Option<Page<journal::Journal>>, ConnectorError> {
    page(shelf, JOURNAL).await
}
