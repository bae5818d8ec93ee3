//! Runs: opened before anything is sent, decided durably, ended exactly once together with all that follows from the end.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::engine::{Doing as _, Query, Tx, query};
use super::values::{id, json as read_json, ms, number, signed, time};
use super::{
    Claims, Durability, GroupUpdate, NewDelivery, NewEntry, Store, StoreError, SystemState, Topic,
    groups, leases, ledger, mirror, news, outbox, ownership, systems,
};
use crate::ids::{Fence, GroupName, Revision, RunId, SystemName};
use crate::plan::safety::PastChange;

/// A run as it is kept. `body` belongs to the protocol and is not looked into.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    pub id: RunId,
    pub group: GroupName,
    pub revision: Revision,
    /// The fence under which it is written: a write under one that has been passed is refused.
    pub fence: Fence,
    pub reach: Reach,
    pub body: Value,
}

/// What a run speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Its group.
    Whole,
    /// One system, which got its urgent changes alone.
    Urgent,
}

impl Reach {
    fn word(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Urgent => "urgent",
        }
    }
}

/// A run as it is read back. It is open while it has no outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRun {
    pub run: RunRow,
    pub outcome: Option<Value>,
    pub finished_at: Option<Timestamp>,
    /// In the order in which they were taken.
    pub decisions: Vec<Decision>,
}

/// Something that was durable before it was acted on.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    pub decision: String,
    pub body: Value,
    pub at: Timestamp,
}

/// Whether a decision is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    Now,
    /// It was taken before; that record stands.
    Before,
}

/// The end of a run and all that follows from it, in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Finish {
    pub run: RunRow,
    pub outcome: Value,
    pub at: Timestamp,
    pub group: Option<GroupUpdate>,
    pub systems: Vec<SystemState>,
    /// What was done to which resource, for the ceilings of later runs.
    pub changes: Vec<PastChange>,
    /// Who owns what, as far as the run's end changes it.
    pub claims: BTreeMap<SystemName, Claims>,
    pub ledger: Vec<NewEntry>,
    pub outbox: Vec<NewDelivery>,
}

/// Whether this call ended the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    Now,
    /// It had ended before; nothing was written.
    Before,
}

/// What the ledger says of the end of a run.
const RUN_FINISHED: &str = "run.finished";

/// The entries of a run's end; the one that speaks of the whole keeps the digests of the rows written with it.
fn mirrored(finish: &Finish) -> Vec<NewEntry> {
    let run = &finish.run;
    let row = mirror::row_digest(&[
        &run.id.to_string(),
        run.group.as_str(),
        run.revision.as_str(),
        &run.fence.0.to_string(),
        run.reach.word(),
        &run.body.to_string(),
        &finish.outcome.to_string(),
        &ms(finish.at).to_string(),
    ]);
    let counted = mirror::changes_digest(run.id, &finish.changes);
    let entries = finish.ledger.iter().cloned();
    entries
        .map(|entry| match entry.action == RUN_FINISHED {
            true => {
                let entry = mirror::with(entry, mirror::RECORD, row);
                mirror::with(entry, mirror::CHANGES, counted)
            }
            false => entry,
        })
        .collect()
}

/// What the ledger says of a decision, in the transaction in which it is taken.
fn decided(
    run: RunId,
    group: &str,
    decision: &str,
    (ordinal, body): (i64, &Value),
    at: Timestamp,
) -> Result<Option<NewEntry>, StoreError> {
    let Some(actor) = mirror::engine() else {
        return Ok(None);
    };
    let record = mirror::row_digest(&[
        &run.to_string(),
        &ordinal.to_string(),
        decision,
        &body.to_string(),
        &ms(at).to_string(),
    ]);
    let revision = body.get("revision").and_then(Value::as_str);
    let entry = NewEntry {
        at,
        actor,
        action: format!("decision.{decision}"),
        group: Some(id(group)?),
        system: None,
        run: Some(run),
        revision: revision.and_then(|r| r.parse().ok()),
        body: json!({"plan": body.get("plan")}),
    };
    Ok(Some(mirror::with(entry, mirror::RECORD, record)))
}

/// After this one a run can only be compensated.
const COMMIT: &str = "commit";
const COMPENSATE: &str = "compensate";

/// Greater than any run's id, as ids are sorted.
const AFTER_ALL: &str = "g";
/// How many runs are looked through at a time.
const LOOKED_THROUGH: i64 = 100;

impl Store {
    /// Writes a run down, new or open.
    pub async fn save_run(&self, run: &RunRow) -> Result<(), StoreError> {
        let doing = "save a run";
        let mut tx = self.write(Durability::Full, doing).await?;
        leases::guard(&mut tx, &run.group, run.fence).await?;
        let RunRow {
            id,
            group,
            revision,
            fence,
            reach,
            body,
        } = run;
        let done = query(
            "INSERT INTO runs (id, group_name, revision, fence, body, reach) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, fence = excluded.fence, body = excluded.body \
             WHERE runs.outcome IS NULL AND runs.group_name = excluded.group_name",
        )
        .bind(id.to_string())
        .bind(group.as_str())
        .bind(revision.as_str())
        .bind(signed(fence.0))
        .bind(body.to_string())
        .bind(reach.word())
        .execute(&mut tx)
        .await
        .doing(doing)?;
        if done == 0 {
            return Err(contradiction(
                *id,
                "it has ended, or is another group's, and cannot be saved",
            ));
        }
        tx.commit().await.doing(doing)
    }

    /// Makes a decision about an open run durable; only after this returns may it be acted on. The same decision again is fine, a
    /// different one is refused, except `compensate` after `commit`.
    pub async fn record_decision(
        &self,
        run: RunId,
        fence: Fence,
        decision: &str,
        body: &Value,
        at: Timestamp,
    ) -> Result<Decided, StoreError> {
        let doing = "record a decision";
        let mut tx = self.write(Durability::Full, doing).await?;
        let known: Option<(String, bool)> =
            query("SELECT group_name, outcome IS NOT NULL FROM runs WHERE id = $1")
                .bind(run.to_string())
                .fetch_optional(&mut tx)
                .await
                .doing(doing)?;
        let Some((group, ended)) = known else {
            return Err(contradiction(run, "it was decided before it was saved"));
        };
        leases::guard(&mut tx, &id(&group)?, fence).await?;
        let taken: Vec<String> =
            query("SELECT decision FROM decisions WHERE run = $1 ORDER BY ordinal")
                .bind(run.to_string())
                .list(&mut tx)
                .await
                .doing(doing)?;
        if taken.iter().any(|d| d == decision) {
            return Ok(Decided::Before);
        }
        if ended {
            return Err(contradiction(
                run,
                &format!("it has ended; {decision:?} comes too late"),
            ));
        }
        let allowed = match (taken.last().map(String::as_str), decision) {
            (None, first) => first != COMPENSATE,
            (Some(last), next) => last == COMMIT && next == COMPENSATE,
        };
        if !allowed {
            let before = taken.last().map_or("nothing", String::as_str);
            return Err(contradiction(
                run,
                &format!("{decision:?} may not follow {before:?}"),
            ));
        }
        let ordinal = i64::try_from(taken.len()).unwrap_or(i64::MAX);
        query(
            "INSERT INTO decisions (run, ordinal, decision, body, at_ms) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(run.to_string())
        .bind(ordinal)
        .bind(decision)
        .bind(body.to_string())
        .bind(ms(at))
        .execute(&mut tx)
        .await
        .doing(doing)?;
        if let Some(entry) = decided(run, &group, decision, (ordinal, body), at)? {
            ledger::put(&mut tx, &[entry]).await?;
        }
        tx.commit().await.doing(doing)?;
        Ok(Decided::Now)
    }

    /// Ends a run, saved before or not, with its ledger entries, deliveries and updates: all of it or nothing, and once however
    /// often it is called.
    pub async fn finish_run(&self, finish: &Finish) -> Result<Finished, StoreError> {
        let doing = "end a run";
        let Finish {
            run,
            outcome,
            at,
            group,
            systems: states,
            changes,
            claims,
            ledger: _,
            outbox: deliveries,
        } = finish;
        let mut tx = self.write(Durability::Full, doing).await?;
        leases::guard(&mut tx, &run.group, run.fence).await?;
        let done = query(
            "INSERT INTO runs (id, group_name, revision, fence, body, outcome, finished_ms, reach) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, fence = excluded.fence, \
             body = excluded.body, outcome = excluded.outcome, finished_ms = excluded.finished_ms \
             WHERE runs.outcome IS NULL AND runs.group_name = excluded.group_name",
        )
        .bind(run.id.to_string())
        .bind(run.group.as_str())
        .bind(run.revision.as_str())
        .bind(signed(run.fence.0))
        .bind(run.body.to_string())
        .bind(outcome.to_string())
        .bind(ms(*at))
        .bind(run.reach.word())
        .execute(&mut tx)
        .await
        .doing(doing)?;
        if done == 0 {
            return ended(&mut tx, run).await;
        }
        if let Some(update) = group {
            groups::put(&mut tx, &run.group, update).await?;
        }
        for state in states {
            systems::put(&mut tx, state).await?;
        }
        systems::put_changes(&mut tx, run.id, changes).await?;
        ownership::put(&mut tx, claims).await?;
        ledger::put(&mut tx, &mirrored(finish)).await?;
        outbox::put(&mut tx, deliveries, *at).await?;
        news::told(&mut tx, Topic::Runs).await?;
        tx.commit().await.doing(doing)?;
        Ok(Finished::Now)
    }

    pub async fn run(&self, run: RunId) -> Result<Option<StoredRun>, StoreError> {
        let rows = self
            .runs(query(
                "SELECT id, group_name, revision, fence, body, outcome, finished_ms, reach FROM runs WHERE id = $1",
            ).bind(run.to_string()))
            .await?;
        Ok(rows.into_iter().next())
    }

    /// The runs of a group that have not ended, oldest first: what recovery takes up.
    pub async fn open_runs(&self, group: &GroupName) -> Result<Vec<StoredRun>, StoreError> {
        self.runs(
            query(
                "SELECT id, group_name, revision, fence, body, outcome, finished_ms, reach FROM runs \
             WHERE group_name = $1 AND outcome IS NULL ORDER BY id",
            )
            .bind(group.to_string()),
        )
        .await
    }

    /// The last runs of a group, newest first, open or ended.
    pub async fn recent_runs(
        &self,
        group: &GroupName,
        reach: Reach,
        limit: u32,
    ) -> Result<Vec<StoredRun>, StoreError> {
        self.runs(
            query(
                "SELECT id, group_name, revision, fence, body, outcome, finished_ms, reach FROM runs \
             WHERE group_name = $1 AND reach = $2 ORDER BY id DESC LIMIT $3",
            )
            .bind(group.to_string())
            .bind(reach.word())
            .bind(i64::from(limit)),
        )
        .await
    }

    /// The same runs by id and revision alone: what a run was to do can be a great deal.
    pub async fn recent_run_ids(
        &self,
        group: &GroupName,
        reach: Reach,
        limit: u32,
    ) -> Result<Vec<(RunId, Revision)>, StoreError> {
        let doing = "read runs";
        let rows: Vec<(String, String)> = query(
            "SELECT id, revision FROM runs WHERE group_name = $1 AND reach = $2 ORDER BY id DESC LIMIT $3",
        )
        .bind(group.to_string())
        .bind(reach.word())
        .bind(i64::from(limit))
        .fetch_all(self.read())
        .await
        .doing(doing)?;
        rows.into_iter()
            .map(|(run, revision)| Ok((id(&run)?, id(&revision)?)))
            .collect()
    }

    /// All runs for a revision, of all groups, oldest first.
    pub async fn runs_of_revision(
        &self,
        revision: &Revision,
    ) -> Result<Vec<StoredRun>, StoreError> {
        self.runs(
            query(
                "SELECT id, group_name, revision, fence, body, outcome, finished_ms, reach FROM runs \
             WHERE revision = $1 ORDER BY id",
            )
            .bind(revision.to_string()),
        )
        .await
    }

    /// The last run of a group that ended in one of these ways, by the word in its outcome's `outcome`.
    pub async fn last_run_that(
        &self,
        group: &GroupName,
        reach: Reach,
        outcomes: &[&str],
    ) -> Result<Option<StoredRun>, StoreError> {
        let mut before = String::from(AFTER_ALL);
        loop {
            let page = self.ended_before(group, reach, &before).await?;
            let found = page.iter().find(|(_, outcome)| {
                let word = outcome.get("outcome").and_then(Value::as_str);
                word.is_some_and(|word| outcomes.contains(&word))
            });
            if let Some((run, _)) = found {
                return self.run(id(run)?).await;
            }
            match page.into_iter().next_back() {
                Some((run, _)) => before = run,
                None => return Ok(None),
            }
        }
    }

    /// How a group's runs ended that are older than one, newest first, some at a time: without what they were to do, which can be a great deal.
    async fn ended_before(
        &self,
        group: &GroupName,
        reach: Reach,
        before: &str,
    ) -> Result<Vec<(String, Value)>, StoreError> {
        let rows: Vec<(String, String)> = query(
            "SELECT id, outcome FROM runs WHERE group_name = $1 AND reach = $2 AND outcome IS NOT NULL AND id < $3 \
             ORDER BY id DESC LIMIT $4",
        )
        .bind(group.to_string())
        .bind(reach.word())
        .bind(before.to_owned())
        .bind(LOOKED_THROUGH)
        .fetch_all(self.read())
        .await
        .doing("read runs")?;
        rows.into_iter()
            .map(|(run, outcome)| Ok((run, read_json(&outcome)?)))
            .collect()
    }

    /// Runs and their decisions as of one moment.
    async fn runs(&self, runs: Query) -> Result<Vec<StoredRun>, StoreError> {
        let doing = "read runs";
        let mut snapshot = self.pools.snapshot(doing).await?;
        let rows: Vec<Columns> = runs.fetch_all(&mut snapshot).await.doing(doing)?;
        let mut runs = Vec::with_capacity(rows.len());
        for row in rows {
            let decisions = decisions(&mut snapshot, &row.0).await?;
            runs.push(stored(row, decisions)?);
        }
        Ok(runs)
    }
}

type Columns = (
    String,
    String,
    String,
    i64,
    String,
    Option<String>,
    Option<i64>,
    String,
);

fn stored(columns: Columns, decisions: Vec<Decision>) -> Result<StoredRun, StoreError> {
    let (run, group, revision, fence, body, outcome, finished, reach) = columns;
    Ok(StoredRun {
        run: RunRow {
            id: id(&run)?,
            group: id(&group)?,
            revision: id(&revision)?,
            fence: Fence(number(fence)?),
            reach: match reach.as_str() {
                "urgent" => Reach::Urgent,
                _ => Reach::Whole,
            },
            body: read_json(&body)?,
        },
        outcome: outcome.map(|o| read_json(&o)).transpose()?,
        finished_at: finished.map(time).transpose()?,
        decisions,
    })
}

async fn decisions(connection: &mut Tx, run: &str) -> Result<Vec<Decision>, StoreError> {
    let rows: Vec<(String, String, i64)> =
        query("SELECT decision, body, at_ms FROM decisions WHERE run = $1 ORDER BY ordinal")
            .bind(run)
            .fetch_all(connection)
            .await
            .doing("read a run's decisions")?;
    rows.into_iter()
        .map(|(decision, body, at)| {
            Ok(Decision {
                decision,
                body: read_json(&body)?,
                at: time(at)?,
            })
        })
        .collect()
}

/// Why a run was not ended: it had ended before, or the caller took it for another group's.
async fn ended(connection: &mut Tx, run: &RunRow) -> Result<Finished, StoreError> {
    let group: String = query("SELECT group_name FROM runs WHERE id = $1")
        .bind(run.id.to_string())
        .value(connection)
        .await
        .doing("end a run")?;
    if group == run.group.as_str() {
        Ok(Finished::Before)
    } else {
        Err(contradiction(run.id, "it is another group's"))
    }
}

fn contradiction(run: RunId, why: &str) -> StoreError {
    StoreError::Contradiction {
        run,
        why: why.to_owned(),
    }
}
