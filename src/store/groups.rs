//! Where each group of systems stands: the last good revision, the one that failed, the newest seen.

use super::engine::{Doing as _, Tx, query};
use super::values::id;
use super::{Durability, Store, StoreError};
use crate::ids::{GroupName, Revision};

/// What is known of a group. A group never seen has none of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupState {
    /// The last revision that was applied and verified on all its systems: what a rollback returns to.
    pub good: Option<Revision>,
    /// A revision that could not be applied, until another one is.
    pub failed: Option<FailedRevision>,
    /// The newest merged revision that was looked at.
    pub seen: Option<Revision>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRevision {
    pub revision: Revision,
    pub why: String,
}

/// What changes about a group; what is `None` or kept stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupUpdate {
    pub good: Option<Revision>,
    pub failed: FailedUpdate,
    pub seen: Option<Revision>,
}

/// A failed revision is cleared only on purpose: healing drift at the good revision succeeds while a newer one is still failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum FailedUpdate {
    #[default]
    Keep,
    Clear,
    Set(FailedRevision),
}

impl Store {
    pub async fn group_state(&self, group: &GroupName) -> Result<GroupState, StoreError> {
        type Columns = (
            Option<String>,
            Option<String>,
            Option<String>,
            Option<String>,
        );
        let row: Option<Columns> = query(
            "SELECT good_revision, failed_revision, failed_why, seen_revision FROM groups WHERE name = $1",
        )
        .bind(group.as_str())
        .fetch_optional(self.read())
        .await
        .doing("read a group's state")?;
        let Some((good, failed, why, seen)) = row else {
            return Ok(GroupState::default());
        };
        let revision = |text: Option<String>| text.map(|t| id(&t)).transpose();
        Ok(GroupState {
            good: revision(good)?,
            failed: revision(failed)?
                .zip(why)
                .map(|(revision, why)| FailedRevision { revision, why }),
            seen: revision(seen)?,
        })
    }

    /// For what happens outside a run, such as a new revision seen; a run's own update goes with its end.
    pub async fn update_group(
        &self,
        group: &GroupName,
        update: &GroupUpdate,
    ) -> Result<(), StoreError> {
        let doing = "update a group's state";
        let mut tx = self.write(Durability::Full, doing).await?;
        put(&mut tx, group, update).await?;
        tx.commit().await.doing(doing)
    }
}

pub(super) async fn put(
    tx: &mut Tx,
    group: &GroupName,
    update: &GroupUpdate,
) -> Result<(), StoreError> {
    let GroupUpdate { good, failed, seen } = update;
    let (touch_failed, failed) = match failed {
        FailedUpdate::Keep => (false, None),
        FailedUpdate::Clear => (true, None),
        FailedUpdate::Set(failed) => (true, Some(failed)),
    };
    query(
        "INSERT INTO groups (name, good_revision, failed_revision, failed_why, seen_revision) \
         VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (name) DO UPDATE SET \
         good_revision = COALESCE(excluded.good_revision, groups.good_revision), \
         failed_revision = CASE WHEN $6 THEN excluded.failed_revision ELSE groups.failed_revision END, \
         failed_why = CASE WHEN $6 THEN excluded.failed_why ELSE groups.failed_why END, \
         seen_revision = COALESCE(excluded.seen_revision, groups.seen_revision)",
    )
    .bind(group.as_str())
    .bind(good.as_ref().map(Revision::as_str))
    .bind(failed.map(|f| f.revision.as_str()))
    .bind(failed.map(|f| f.why.as_str()))
    .bind(seen.as_ref().map(Revision::as_str))
    .bind(touch_failed)
    .execute(tx)
    .await
    .doing("update a group's state")?;
    Ok(())
}
