//! Looking a store over: its pages, its tables' versions, what rows say, the ledger's chain.

use serde_json::Value as Json;

use super::engine::{Doing as _, Pools, query};
use super::{Chain, Store, StoreError};

/// What checking a store found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Ledger entries that are as they were written.
    pub entries: u64,
    pub runs: u64,
    /// What is wrong, worst first. Empty where nothing is.
    pub faults: Vec<String>,
}

/// Rows that are read at a time.
const PAGE: i64 = 500;

impl Store {
    /// Reads everything there is. What can't be read is a fault and not an error: the rest is looked at as well.
    pub async fn check(&self) -> Checked {
        let mut checked = Checked::default();
        if let Err(error) = self.pages(&mut checked).await {
            checked.faults.push(error.to_string());
        }
        if let Err(error) = self.tables(&mut checked).await {
            checked.faults.push(error.to_string());
        }
        if let Err(error) = self.bodies(&mut checked).await {
            checked.faults.push(error.to_string());
        }
        match self.verify_chain().await {
            Ok(Chain::Intact { entries, .. }) => checked.entries = entries,
            Ok(Chain::Broken { seq, why }) => {
                checked.entries = seq.saturating_sub(1);
                checked.faults.push(format!(
                    "ledger entry {seq} is not as it was written: {why}"
                ));
            }
            Err(error) => checked.faults.push(error.to_string()),
        }
        checked
    }

    /// The number of the newest migration.
    pub async fn schema(&self) -> Result<i64, StoreError> {
        let applied = self.pools.applied().await?;
        Ok(applied.last().map_or(0, |(version, _)| *version))
    }

    /// The pages of SQLite's file. A server looks after its own; what it can't read shows when it is read.
    async fn pages(&self, checked: &mut Checked) -> Result<(), StoreError> {
        let Pools::Sqlite(_) = &self.pools else {
            return Ok(());
        };
        let said: Vec<String> = query("PRAGMA integrity_check(20)")
            .list(self.read())
            .await
            .doing("check the store's pages")?;
        let said = said.into_iter().filter(|line| line != "ok");
        checked.faults.extend(said);
        let orphans: i64 = query("SELECT COUNT(*) FROM pragma_foreign_key_check")
            .value(self.read())
            .await
            .doing("check the store's references")?;
        if orphans > 0 {
            checked
                .faults
                .push(format!("{orphans} rows refer to rows that are not there"));
        }
        Ok(())
    }

    /// Whether the tables were made by this program's migrations.
    async fn tables(&self, checked: &mut Checked) -> Result<(), StoreError> {
        let applied = self.pools.applied().await?;
        for (version, is_same) in applied {
            if !is_same {
                checked.faults.push(format!(
                    "schema {version} was not made by this program: another build made the tables"
                ));
            }
        }
        Ok(())
    }

    /// Whether what runs and decisions say can be read.
    async fn bodies(&self, checked: &mut Checked) -> Result<(), StoreError> {
        let doing = "read runs";
        let mut after = String::new();
        loop {
            let rows: Vec<(String, String, Option<String>)> =
                query("SELECT id, body, outcome FROM runs WHERE id > $1 ORDER BY id LIMIT $2")
                    .bind(after.as_str())
                    .bind(PAGE)
                    .fetch_all(self.read())
                    .await
                    .doing(doing)?;
            let Some((last, ..)) = rows.last() else {
                return Ok(());
            };
            after.clone_from(last);
            for (id, body, outcome) in rows {
                checked.runs += 1;
                let bodies = self.decided(&id).await?;
                let all = [Some(body), outcome].into_iter().flatten().chain(bodies);
                let mut read = all.map(|text| serde_json::from_str::<Json>(&text));
                if let Some(error) = read.find_map(Result::err) {
                    checked
                        .faults
                        .push(format!("run {id} can't be read: {error}"));
                }
            }
        }
    }

    async fn decided(&self, run: &str) -> Result<Vec<String>, StoreError> {
        query("SELECT body FROM decisions WHERE run = $1 ORDER BY ordinal")
            .bind(run)
            .list(self.read())
            .await
            .doing("read a run's decisions")
    }
}
