//! What connectors keep of systems that have no place for it themselves: texts by system and name, which only their connector understands.

use super::engine::{Doing as _, query};
use super::values::id;
use super::{Durability, Store, StoreError};
use crate::ids::{Digest, SystemName};

impl Store {
    /// What lies under a name, with its digest.
    pub async fn on_shelf(
        &self,
        system: &SystemName,
        name: &str,
    ) -> Result<Option<(Digest, String)>, StoreError> {
        let row: Option<(String, String)> =
            query("SELECT digest, body FROM shelf WHERE system = $1 AND name = $2")
                .bind(system.as_str())
                .bind(name)
                .fetch_optional(self.read())
                .await
                .doing("read what a connector keeps")?;
        row.map(|(digest, body)| Ok((id(&digest)?, body)))
            .transpose()
    }

    /// Puts a text under a name, in the place of what has this digest, or where nothing is. `None`: something else lies there, and stays.
    pub async fn put_on_shelf(
        &self,
        system: &SystemName,
        name: &str,
        over: Option<Digest>,
        body: &str,
    ) -> Result<Option<Digest>, StoreError> {
        let doing = "keep something for a connector";
        let digest = Digest::of(body.as_bytes());
        let mut tx = self.write(Durability::Full, doing).await?;
        let statement = match over {
            None => query(
                "INSERT INTO shelf (system, name, digest, body) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            ),
            Some(_) => query(
                "UPDATE shelf SET digest = $3, body = $4 WHERE system = $1 AND name = $2 AND digest = $5",
            ),
        };
        let mut statement = statement
            .bind(system.as_str())
            .bind(name)
            .bind(digest.to_string())
            .bind(body);
        if let Some(over) = over {
            statement = statement.bind(over.to_string());
        }
        let written = statement.execute(&mut tx).await.doing(doing)?;
        tx.commit().await.doing(doing)?;
        Ok((written == 1).then_some(digest))
    }

    /// Takes away what lies under a name, if anything does.
    pub async fn clear_from_shelf(
        &self,
        system: &SystemName,
        name: &str,
    ) -> Result<(), StoreError> {
        let doing = "forget what a connector kept";
        let mut tx = self.write(Durability::Full, doing).await?;
        query("DELETE FROM shelf WHERE system = $1 AND name = $2")
            .bind(system.as_str())
            .bind(name)
            .execute(&mut tx)
            .await
            .doing(doing)?;
        tx.commit().await.doing(doing)
    }

    /// The names that begin so, sorted.
    pub async fn shelf_names(
        &self,
        system: &SystemName,
        prefix: &str,
    ) -> Result<Vec<String>, StoreError> {
        let names: Vec<String> =
            query("SELECT name FROM shelf WHERE system = $1 AND name >= $2 ORDER BY name")
                .bind(system.as_str())
                .bind(prefix)
                .list(self.read())
                .await
                .doing("read what a connector keeps")?;
        // What begins so comes first of those that are not before it.
        let wanted = names.into_iter().take_while(|n| n.starts_with(prefix));
        Ok(wanted.collect())
    }
}
