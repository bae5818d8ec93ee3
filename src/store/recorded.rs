//! Entries that are written once for each thing that happens, by whoever looks and as often as they look: what was said last is remembered with
//! them, in one transaction.

use super::engine::{Doing as _, query};
use super::{Durability, NewEntry, Store, StoreError, ledger};

/// How something stands, and what the ledger is to say where that is news.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// What it is: `proposal/12`, `approval/12/tanaka/…`.
    pub name: String,
    pub said: String,
    /// Where nothing was said of it before.
    pub first: Option<NewEntry>,
    /// Where something else was.
    pub changed: Option<NewEntry>,
}

/// What nothing comes after, whoever still sees it as it was before.
pub const FINAL: &str = "merged";

impl Store {
    /// Records what is news. How many entries that made.
    pub async fn record_news(&self, standings: &[Standing]) -> Result<usize, StoreError> {
        let doing = "write to the ledger";
        if !self.any_news(standings).await? {
            return Ok(0);
        }
        let mut tx = self.write(Durability::Full, doing).await?;
        let mut entries = Vec::new();
        for standing in standings {
            let Standing {
                name,
                said,
                first,
                changed,
            } = standing;
            let known: Option<String> = query("SELECT said FROM recorded WHERE name = $1")
                .bind(name)
                .find(&mut tx)
                .await
                .doing(doing)?;
            let entry = match &known {
                Some(known) if known == said || known == FINAL => continue,
                Some(_) => changed,
                None => first,
            };
            entries.extend(entry.clone());
            query("INSERT INTO recorded (name, said) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET said = excluded.said")
                .bind(name)
                .bind(said)
                .execute(&mut tx)
                .await
                .doing(doing)?;
        }
        ledger::put(&mut tx, &entries).await?;
        tx.commit().await.doing(doing)?;
        Ok(entries.len())
    }

    /// Looked at without the write lock first: mostly nothing is.
    async fn any_news(&self, standings: &[Standing]) -> Result<bool, StoreError> {
        for Standing { name, said, .. } in standings {
            if self.recorded(name).await?.as_ref() != Some(said) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What was said last of something.
    pub async fn recorded(&self, name: &str) -> Result<Option<String>, StoreError> {
        query("SELECT said FROM recorded WHERE name = $1")
            .bind(name)
            .find(self.read())
            .await
            .doing("read what was recorded")
    }

    /// The names below a folder, of which this was said last.
    pub async fn recorded_as(&self, folder: &str, said: &str) -> Result<Vec<String>, StoreError> {
        query(
            "SELECT name FROM recorded WHERE name >= $1 AND name < $2 AND said = $3 ORDER BY name",
        )
        .bind(format!("{folder}/"))
        // The character after the slash.
        .bind(format!("{folder}0"))
        .bind(said)
        .list(self.read())
        .await
        .doing("read what was recorded")
    }
}
