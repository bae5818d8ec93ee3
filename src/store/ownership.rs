//! Whose a resource on a system is, where the last good revision does not say so.

use std::collections::BTreeMap;

use sqlx::QueryBuilder;

use super::engine::{Connection, Doing as _, Engine};
use super::values::id;
use super::{Store, StoreError};
use crate::ids::{ResourceRef, SystemName};

/// Who has a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Lockstep made it, so Lockstep may delete it.
    Lockstep,
    /// It was there before, and is left alone.
    Other,
}

/// What a run teaches about one system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    pub own: Vec<ResourceRef>,
    pub other: Vec<ResourceRef>,
    /// Deleted: nobody's any more.
    pub gone: Vec<ResourceRef>,
}

/// Rows of one statement: SQLite takes 32,766 values in one.
const ROWS: usize = 1_000;

impl Store {
    /// Whose these resources of a system are, as far as it was written down.
    pub async fn owners(
        &self,
        system: &SystemName,
        ids: &[ResourceRef],
    ) -> Result<BTreeMap<ResourceRef, Owner>, StoreError> {
        let mut owners = BTreeMap::new();
        for part in ids.chunks(ROWS) {
            let mut query =
                QueryBuilder::<Engine>::new("SELECT id, owner FROM ownership WHERE system = ");
            query.push_bind(system.to_string()).push(" AND id IN (");
            let mut list = query.separated(", ");
            for id in part {
                list.push_bind(id.to_string());
            }
            query.push(")");
            let rows: Vec<(String, String)> = query
                .build_query_as()
                .fetch_all(self.read())
                .await
                .doing("read who owns resources")?;
            for (resource, owner) in rows {
                let owner = [Owner::Lockstep, Owner::Other]
                    .into_iter()
                    .find(|o| word(*o) == owner)
                    .ok_or_else(|| StoreError::Damaged {
                        what: format!("{owner:?} is no owner"),
                    })?;
                owners.insert(id(&resource)?, owner);
            }
        }
        Ok(owners)
    }
}

fn word(owner: Owner) -> &'static str {
    match owner {
        Owner::Lockstep => "lockstep",
        Owner::Other => "other",
    }
}

pub(super) async fn put(
    tx: &mut Connection,
    claims: &BTreeMap<SystemName, Claims>,
) -> Result<(), StoreError> {
    let doing = "note who owns resources";
    for (system, Claims { own, other, gone }) in claims {
        for (ids, owner) in [(own, Owner::Lockstep), (other, Owner::Other)] {
            for part in ids.chunks(ROWS) {
                let mut query =
                    QueryBuilder::<Engine>::new("INSERT INTO ownership (system, id, owner) ");
                query.push_values(part, |mut row, id| {
                    row.push_bind(system.to_string())
                        .push_bind(id.to_string())
                        .push_bind(word(owner));
                });
                query.push(" ON CONFLICT (system, id) DO UPDATE SET owner = excluded.owner");
                query.build().execute(&mut *tx).await.doing(doing)?;
            }
        }
        for part in gone.chunks(ROWS) {
            let mut query = QueryBuilder::<Engine>::new("DELETE FROM ownership WHERE system = ");
            query.push_bind(system.to_string()).push(" AND id IN (");
            let mut list = query.separated(", ");
            for id in part {
                list.push_bind(id.to_string());
            }
            query.push(")");
            query.build().execute(&mut *tx).await.doing(doing)?;
        }
    }
    Ok(())
}
