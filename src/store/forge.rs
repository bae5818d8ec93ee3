//! What came from a forge and must not be taken twice: deliveries, and what people said in comments.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::engine::{Doing as _, query};
use super::values::{json as read_json, ms, time};
use super::{Durability, NewEntry, Store, StoreError, ledger, mirror};

/// How long a delivery's id is kept. A forge repeats one within days, if at all, and to look twice does no harm.
const KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Something that a person said to Lockstep on a proposal, and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct SaidRow {
    /// The forge's id of the comment.
    pub id: String,
    pub proposal: u64,
    /// The login.
    pub author: String,
    pub at: Timestamp,
    /// The command and its outcome, as their owner wrote them.
    pub body: Value,
}

type Columns = (String, i64, String, i64, String);

impl Store {
    /// Notes a delivery. `false`: it was here before.
    pub async fn take_delivery(&self, id: &str, at: Timestamp) -> Result<bool, StoreError> {
        let doing = "note a delivery";
        let mut tx = self.write(Durability::Relaxed, doing).await?;
        query("DELETE FROM deliveries WHERE at_ms < $1")
            .bind(ms(at.saturating_sub(KEPT).unwrap_or(Timestamp::MIN)))
            .execute(&mut tx)
            .await
            .doing(doing)?;
        let done =
            query("INSERT INTO deliveries (id, at_ms) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(id)
                .bind(ms(at))
                .execute(&mut tx)
                .await
                .doing(doing)?;
        tx.commit().await.doing(doing)?;
        Ok(done == 1)
    }

    /// Whether a comment was answered already.
    pub async fn has_said(&self, id: &str) -> Result<bool, StoreError> {
        query("SELECT EXISTS (SELECT 1 FROM commands WHERE id = $1)")
            .bind(id)
            .value(self.read())
            .await
            .doing("look for a command")
    }

    /// Keeps what somebody said and what came of it. Once is enough: what is there stays.
    pub async fn keep_said(&self, said: &SaidRow) -> Result<(), StoreError> {
        let doing = "keep a command";
        let SaidRow {
            id,
            proposal,
            author,
            at,
            body,
        } = said;
        let text = body.to_string();
        let number = i64::try_from(*proposal).unwrap_or(i64::MAX);
        let mut tx = self.write(Durability::Full, doing).await?;
        let done = query(
            "INSERT INTO commands (id, proposal, author, at_ms, body) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT DO NOTHING",
        )
        .bind(id.as_str())
        .bind(number)
        .bind(author.as_str())
        .bind(ms(*at))
        .bind(text.as_str())
        .execute(&mut tx)
        .await
        .doing(doing)?;
        // A login that no actor can have was nobody's that may say anything.
        if done == 1
            && let Ok(actor) = author.parse()
        {
            let record = [
                id.as_str(),
                &number.to_string(),
                author,
                &ms(*at).to_string(),
                &text,
            ];
            let entry = NewEntry {
                at: *at,
                actor,
                action: "command.taken".to_owned(),
                group: None,
                system: None,
                run: None,
                revision: None,
                body: json!({"proposal": proposal, "comment": id, "said": body}),
            };
            let entry = mirror::with(entry, mirror::RECORD, mirror::row_digest(&record));
            ledger::put(&mut tx, &[entry]).await?;
        }
        tx.commit().await.doing(doing)
    }

    /// All that was said on a proposal, oldest first.
    pub async fn said(&self, proposal: u64) -> Result<Vec<SaidRow>, StoreError> {
        let rows: Vec<Columns> = query(
            "SELECT id, proposal, author, at_ms, body FROM commands WHERE proposal = $1 \
             ORDER BY at_ms, id",
        )
        .bind(i64::try_from(proposal).unwrap_or(i64::MAX))
        .fetch_all(self.read())
        .await
        .doing("read commands")?;
        rows.into_iter()
            .map(|(id, proposal, author, at, body)| {
                Ok(SaidRow {
                    id,
                    proposal: u64::try_from(proposal).unwrap_or_default(),
                    author,
                    at: time(at)?,
                    body: read_json(&body)?,
                })
            })
            .collect()
    }

    /// Whether something was ever done.
    pub async fn has_first(&self, name: &str) -> Result<bool, StoreError> {
        query("SELECT EXISTS (SELECT 1 FROM firsts WHERE name = $1)")
            .bind(name)
            .value(self.read())
            .await
            .doing("look when something began")
    }

    /// When something was done first: now, if it never was.
    pub async fn first(&self, name: &str, now: Timestamp) -> Result<Timestamp, StoreError> {
        let doing = "note when something began";
        let mut tx = self.write(Durability::Full, doing).await?;
        query("INSERT INTO firsts (name, at_ms) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(name)
            .bind(ms(now))
            .execute(&mut tx)
            .await
            .doing(doing)?;
        let at: i64 = query("SELECT at_ms FROM firsts WHERE name = $1")
            .bind(name)
            .value(&mut tx)
            .await
            .doing(doing)?;
        tx.commit().await.doing(doing)?;
        time(at)
    }
}
