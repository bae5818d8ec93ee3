//! Marks: which config repo made a resource. Who sends a changeset with another mark is refused, by both names.

use std::collections::BTreeMap;

use super::changeset::Step;
use super::database::Tx;
use super::problem::Problem;
use crate::ids::ChangesetId;
use crate::system_api::WireReason;

pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS marks (id TEXT PRIMARY KEY, owner TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS senders (changeset TEXT PRIMARY KEY, owner TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// Refuses steps on what carries another mark than the sender's.
pub(super) async fn judge(tx: &mut Tx, steps: &[Step], owner: Option<&str>) -> Result<(), Problem> {
    let marks: BTreeMap<String, String> = sqlx::query_as::<_, (String, String)>(
        "SELECT id, owner FROM marks WHERE id IN (SELECT value FROM json_each($1))",
    )
    .bind(ids(steps.iter())?)
    .fetch_all(&mut **tx)
    .await?
    .into_iter()
    .collect();
    let reasons: Vec<WireReason> = steps
        .iter()
        .filter_map(|step| {
            let mark = marks
                .get(step.id.as_str())
                .filter(|m| Some(m.as_str()) != owner)?;
            let sender = owner.unwrap_or("who sends this and carries no mark");
            Some(WireReason {
                kind: step.id.kind().to_owned(),
                name: step.id.name().to_owned(),
                message: format!(
                    "belongs to {mark}, so {sender} may not change it; declare it in one of the two"
                ),
            })
        })
        .collect();
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Problem::Refused {
        message: format!(
            "{} of {} changes are to what others own",
            reasons.len(),
            steps.len()
        ),
        reasons,
    })
}

/// Remembers who sent a changeset.
pub(super) async fn stage(
    tx: &mut Tx,
    id: &ChangesetId,
    owner: Option<&str>,
) -> Result<(), sqlx::Error> {
    if let Some(owner) = owner {
        sqlx::query("INSERT OR REPLACE INTO senders (changeset, owner) VALUES ($1, $2)")
            .bind(id.as_str())
            .bind(owner)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

/// Marks what a changeset made, and takes the marks off what is gone. `None` for a change that came with no changeset.
pub(super) async fn commit(
    tx: &mut Tx,
    id: Option<&ChangesetId>,
    steps: &[Step],
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM marks WHERE id IN (SELECT value FROM json_each($1))")
        .bind(ids(steps.iter().filter(|s| s.item.is_none()))?)
        .execute(&mut **tx)
        .await?;
    if let Some(id) = id {
        sqlx::query(
            "INSERT OR REPLACE INTO marks (id, owner) SELECT value, owner FROM json_each($1), senders WHERE changeset = $2",
        )
        .bind(ids(steps.iter().filter(|s| s.item.is_some()))?)
        .bind(id.as_str())
        .execute(&mut **tx)
        .await?;
        sqlx::query("DELETE FROM senders WHERE changeset = $1")
            .bind(id.as_str())
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

fn ids<'s>(steps: impl Iterator<Item = &'s Step>) -> Result<String, sqlx::Error> {
    let ids: Vec<&str> = steps.map(|s| s.id.as_str()).collect();
    serde_json::to_string(&ids).map_err(|e| sqlx::Error::Decode(Box::new(e)))
}
