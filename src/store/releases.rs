//! Plans that went past a ceiling and that a named person released, by digest, for one run.

use jiff::Timestamp;
use serde_json::json;

use super::engine::{Doing as _, query};
use super::values::{id, ms, time};
use super::{Durability, NewEntry, Store, StoreError, Topic, ledger, mirror, news};
use crate::ids::{Actor, PlanDigest, RunId};

/// A person's word that a held plan may go ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    pub plan: PlanDigest,
    pub by: Actor,
    pub because: String,
    pub at: Timestamp,
}

impl Store {
    /// Releases a plan. `false`: it was released already and that is not used up yet.
    pub async fn release(&self, release: &Release) -> Result<bool, StoreError> {
        let doing = "release a plan";
        let Release {
            plan,
            by,
            because,
            at,
        } = release;
        let mut tx = self.write(Durability::Full, doing).await?;
        let done = query(
            "INSERT INTO releases (plan, released_by, because, at_ms) VALUES ($1, $2, $3, $4) \
             ON CONFLICT DO NOTHING",
        )
        .bind(plan.to_string())
        .bind(by.as_str())
        .bind(because.as_str())
        .bind(ms(*at))
        .execute(&mut tx)
        .await
        .doing(doing)?;
        if done == 1 {
            let record = [
                &plan.to_string(),
                by.as_str(),
                because,
                &ms(*at).to_string(),
            ];
            let entry = NewEntry {
                at: *at,
                actor: by.clone(),
                action: "plan.released".to_owned(),
                group: None,
                system: None,
                run: None,
                revision: None,
                body: json!({"plan": plan, "because": because}),
            };
            let entry = mirror::with(entry, mirror::RECORD, mirror::row_digest(&record));
            ledger::put(&mut tx, &[entry]).await?;
        }
        news::told(&mut tx, Topic::Again).await?;
        tx.commit().await.doing(doing)?;
        Ok(done == 1)
    }

    /// The release of this plan that no run has used.
    pub async fn find_release(&self, plan: PlanDigest) -> Result<Option<Release>, StoreError> {
        let row: Option<(String, String, i64)> = query(
            "SELECT released_by, because, at_ms FROM releases WHERE plan = $1 AND used_by IS NULL",
        )
        .bind(plan.to_string())
        .fetch_optional(self.read())
        .await
        .doing("look for a release")?;
        row.map(|row| release(plan, row)).transpose()
    }

    /// The release that a run has used up.
    pub async fn release_of(
        &self,
        plan: PlanDigest,
        run: RunId,
    ) -> Result<Option<Release>, StoreError> {
        let row: Option<(String, String, i64)> = query(
            "SELECT released_by, because, at_ms FROM releases WHERE plan = $1 AND used_by = $2",
        )
        .bind(plan.to_string())
        .bind(run.to_string())
        .fetch_optional(self.read())
        .await
        .doing("look for a release")?;
        row.map(|row| release(plan, row)).transpose()
    }

    /// Uses a release up for a run. `true` also where this run has used it before: a run taken up after a crash goes on. `false`: there
    /// is none.
    pub async fn use_release(
        &self,
        plan: PlanDigest,
        run: RunId,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let doing = "use a release";
        let mut tx = self.write(Durability::Full, doing).await?;
        let used: bool =
            query("SELECT EXISTS (SELECT 1 FROM releases WHERE plan = $1 AND used_by = $2)")
                .bind(plan.to_string())
                .bind(run.to_string())
                .value(&mut tx)
                .await
                .doing(doing)?;
        if used {
            return Ok(true);
        }
        let done = query("UPDATE releases SET used_by = $2 WHERE plan = $1 AND used_by IS NULL")
            .bind(plan.to_string())
            .bind(run.to_string())
            .execute(&mut tx)
            .await
            .doing(doing)?;
        if done == 1
            && let Some(actor) = mirror::engine()
        {
            let record = mirror::row_digest(&[&plan.to_string(), &run.to_string()]);
            let entry = NewEntry {
                at,
                actor,
                action: "release.used".to_owned(),
                group: None,
                system: None,
                run: Some(run),
                revision: None,
                body: json!({"plan": plan}),
            };
            let entry = mirror::with(entry, mirror::RECORD, record);
            ledger::put(&mut tx, &[entry]).await?;
        }
        tx.commit().await.doing(doing)?;
        Ok(done == 1)
    }
}

fn release(plan: PlanDigest, row: (String, String, i64)) -> Result<Release, StoreError> {
    let (by, because, at) = row;
    Ok(Release {
        plan,
        by: id(&by)?,
        because,
        at: time(at)?,
    })
}
