//! Whose a resource on a system is, where the last good revision does not say so.

use std::collections::BTreeMap;

use super::engine::{Doing as _, Tx, Value, query};
use super::values::id;
use super::{Durability, Store, StoreError};
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
    /// Whether a system was looked at before: whether what was there then has been written down.
    pub async fn is_known_system(&self, system: &SystemName) -> Result<bool, StoreError> {
        query("SELECT EXISTS (SELECT 1 FROM ownership WHERE system = $1 AND id = '')")
            .bind(system.as_str())
            .value(self.read())
            .await
            .doing("read who owns resources")
    }

    /// Writes down who owns what, and that the system has been looked at.
    pub async fn note_owners(&self, system: &SystemName, claims: Claims) -> Result<(), StoreError> {
        let doing = "note who owns resources";
        let mut tx = self.write(Durability::Full, doing).await?;
        put(&mut tx, &BTreeMap::from([(system.clone(), claims)])).await?;
        query("INSERT INTO ownership (system, id, owner) VALUES ($1, '', 'other') ON CONFLICT DO NOTHING")
            .bind(system.as_str())
            .execute(&mut tx)
            .await
            .doing(doing)?;
        tx.commit().await.doing(doing)
    }

    /// Whose these resources of a system are, as far as it was written down.
    pub async fn owners(
        &self,
        system: &SystemName,
        ids: &[ResourceRef],
    ) -> Result<BTreeMap<ResourceRef, Owner>, StoreError> {
        let mut owners = BTreeMap::new();
        for part in ids.chunks(ROWS) {
            let mut select = query("SELECT id, owner FROM ownership WHERE system = $1 AND id IN ")
                .bind(system.as_str());
            select.push_list(part.iter().map(ResourceRef::as_str));
            let rows: Vec<(String, String)> = select
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
    tx: &mut Tx,
    claims: &BTreeMap<SystemName, Claims>,
) -> Result<(), StoreError> {
    let doing = "note who owns resources";
    for (system, Claims { own, other, gone }) in claims {
        for (ids, owner) in [(own, Owner::Lockstep), (other, Owner::Other)] {
            for part in ids.chunks(ROWS) {
                let mut insert = query("INSERT INTO ownership (system, id, owner) ");
                insert.push_rows(part.iter().map(|id| -> [Value; 3] {
                    [system.as_str(), id.as_str(), word(owner)].map(Value::from)
                }));
                insert.push(" ON CONFLICT (system, id) DO UPDATE SET owner = excluded.owner");
                insert.execute(&mut *tx).await.doing(doing)?;
            }
        }
        for part in gone.chunks(ROWS) {
            let mut delete =
                query("DELETE FROM ownership WHERE system = $1 AND id IN ").bind(system.as_str());
            delete.push_list(part.iter().map(ResourceRef::as_str));
            delete.execute(&mut *tx).await.doing(doing)?;
        }
    }
    Ok(())
}
