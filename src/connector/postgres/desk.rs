//! The journal under its lock: a row in Lockstep's own schema, locked by one transaction at a time. What was staged lies beside it, so that
//! it can be carried out again where the transaction that held it open is gone.

use sqlx::{AssertSqlSafe, PgConnection};

use super::server::{Doing as _, Transaction};
use crate::config::connectors::postgres::Ident;
use crate::connector::journal::Journal;
use crate::connector::{Changeset, ConnectorError};
use crate::ids::{ChangesetId, Fence, Revision, SystemName};
use crate::system_api::{ChangesetStatus, op_word};

/// A transaction that has the journal's lock, and the journal.
pub(super) struct Desk {
    pub(super) tx: Transaction,
    pub(super) journal: Journal,
    /// The journal as it is kept.
    saved: Option<Journal>,
    revision: Option<String>,
    schema: Ident,
}

/// The number of the row that says which revision a staged changeset leads to.
const REVISION: i32 = -1;

/// What the journal's row says.
type Kept = (Option<String>, Option<String>);

impl Desk {
    /// Takes the lock in a transaction, judges the sender of what is `new`, and then the fence.
    pub(super) async fn open(
        mut tx: Transaction,
        schema: &Ident,
        system: &SystemName,
        (fence, new): (Fence, Option<&Changeset>),
    ) -> Result<Self, ConnectorError> {
        let statement = format!("SELECT journal, revision FROM {schema}.journal FOR UPDATE");
        let (text, revision): Kept = sqlx::query_as(AssertSqlSafe(statement))
            .fetch_one(&mut *tx)
            .await
            .doing("lock the journal")?;
        let saved = text.map(|text| read(&text, schema, system)).transpose()?;
        let mut desk = Self {
            tx,
            journal: saved.clone().unwrap_or_else(|| Journal::new(system)),
            saved,
            revision,
            schema: schema.clone(),
        };
        if let Some(new) = new {
            let release = format!("drop the schema {} to give it to another", schema.as_str());
            desk.journal.judge_sender(new, "the database", &release)?;
        }
        desk.journal.admit(fence)?;
        Ok(desk)
    }

    /// Takes over what prepared transactions have left word of: that they were committed.
    pub(super) async fn take_done(&mut self) -> Result<(), ConnectorError> {
        let statement = format!("SELECT changeset, revision FROM {}.done", self.schema);
        let done: Vec<(String, String)> = sqlx::query_as(AssertSqlSafe(statement))
            .fetch_all(&mut *self.tx)
            .await
            .doing("read which changesets are done")?;
        for (id, revision) in done {
            let entries = &mut self.journal.changesets;
            let entry = entries.iter_mut().find(|e| e.id.as_str() == id);
            if let Some(entry) = entry.filter(|e| e.status == ChangesetStatus::Staged) {
                entry.status = ChangesetStatus::Committed;
                self.revision = Some(revision);
                self.journal.existed = true;
            }
        }
        Ok(())
    }

    /// Puts a changeset beside the journal, a row a change.
    pub(super) async fn stage(&mut self, changeset: &Changeset) -> Result<(), ConnectorError> {
        let table = format!("{}.staged", self.schema);
        let clear = format!("DELETE FROM {table} WHERE changeset = $1");
        let doing = "stage the changeset";
        sqlx::query(AssertSqlSafe(clear))
            .bind(changeset.id.as_str())
            .execute(&mut *self.tx)
            .await
            .doing(doing)?;
        let statement = format!("COPY {table} (changeset, n, op, kind, name, spec) FROM STDIN");
        let mut copy = self.tx.copy_in_raw(&statement).await.doing(doing)?;
        // Beside the changes, what they belong to.
        let first = format!(
            "{}\t{REVISION}\trevision\t\t\t{}\n",
            changeset.id, changeset.revision
        );
        copy.send(first.into_bytes()).await.doing(doing)?;
        for lines in copied(changeset) {
            copy.send(lines.into_bytes()).await.doing(doing)?;
        }
        copy.finish().await.doing(doing)?;
        self.journal.stage(changeset);
        Ok(())
    }

    /// Remembers the revision that a staged changeset leads to.
    pub(super) async fn note_revision(&mut self, id: &ChangesetId) -> Result<(), ConnectorError> {
        let table = &self.schema;
        let statement = format!("SELECT spec FROM {table}.staged WHERE changeset = $1 AND n = $2");
        let revision: Option<String> = sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(id.as_str())
            .bind(REVISION)
            .fetch_optional(&mut *self.tx)
            .await
            .doing("read the changeset's revision")?;
        self.revision = revision.or(self.revision.take());
        Ok(())
    }

    /// Makes durable what is to be remembered, and gives the lock back.
    pub(super) async fn close(mut self) -> Result<(), ConnectorError> {
        if self.saved.as_ref() != Some(&self.journal) {
            self.journal.prune();
            self.save().await?;
        }
        self.tx.commit().await.doing("keep the journal")
    }

    async fn save(&mut self) -> Result<(), ConnectorError> {
        let doing = "keep the journal";
        let schema = &self.schema;
        let text = serde_json::to_string(&self.journal).map_err(|e| ConnectorError::Terminal {
            message: format!("the journal cannot be written: {e}"),
        })?;
        let keep = format!("UPDATE {schema}.journal SET journal = $1, revision = $2");
        sqlx::query(AssertSqlSafe(keep))
            .bind(text)
            .bind(&self.revision)
            .execute(&mut *self.tx)
            .await
            .doing(doing)?;
        let staged: Vec<&str> = self.journal.staged().map(|e| e.id.as_str()).collect();
        for table in ["staged", "done"] {
            let sweep = format!("DELETE FROM {schema}.{table} WHERE changeset <> ALL($1)");
            sqlx::query(AssertSqlSafe(sweep))
                .bind(&staged)
                .execute(&mut *self.tx)
                .await
                .doing(doing)?;
        }
        Ok(())
    }

    /// Forgets a changeset that turned out not to fit: it was never answered to be staged.
    pub(super) fn forget(&mut self, id: &ChangesetId) {
        self.journal.changesets.retain(|e| e.id != *id);
    }
}

fn read(text: &str, schema: &Ident, system: &SystemName) -> Result<Journal, ConnectorError> {
    let schema = schema.as_str();
    let wrong = |what: String| ConnectorError::Terminal {
        message: format!("the journal in the schema {schema} {what}"),
    };
    let journal: Journal =
        serde_json::from_str(text).map_err(|e| wrong(format!("cannot be read: {e}")))?;
    if journal.version != 1 {
        return Err(wrong(format!("has the version {}, not 1", journal.version)));
    }
    if journal.system != *system {
        return Err(wrong(format!(
            "says that it belongs to the system {}; give each system a schema of its own (schema: NAME), or drop it if the \
             system was renamed",
            journal.system
        )));
    }
    Ok(journal)
}

/// The revision that the database was brought to last.
pub(super) async fn revision(
    on: &mut PgConnection,
    schema: &Ident,
) -> Result<Option<Revision>, ConnectorError> {
    let statement = format!(
        "SELECT coalesce((SELECT d.revision FROM {schema}.done d LIMIT 1), (SELECT revision FROM {schema}.journal))"
    );
    let revision: Option<String> = sqlx::query_scalar(AssertSqlSafe(statement))
        .fetch_one(on)
        .await
        .doing("read the revision")?;
    Ok(revision.and_then(|r| r.parse().ok()))
}

/// How much is sent at once.
const PORTION: usize = 1 << 18;

/// The changes as lines for COPY, in portions.
fn copied(changeset: &Changeset) -> Vec<String> {
    let mut portions = Vec::new();
    let mut lines = String::new();
    for (n, change) in changeset.changes.iter().enumerate() {
        escape(changeset.id.as_str(), &mut lines);
        lines.push_str(&format!("\t{n}\t{}\t", op_word(change.op)));
        escape(change.id.kind(), &mut lines);
        lines.push('\t');
        escape(change.id.name(), &mut lines);
        lines.push('\t');
        match &change.after {
            Some(item) => escape(item.spec.as_str(), &mut lines),
            None => lines.push_str("\\N"),
        }
        lines.push('\n');
        if lines.len() >= PORTION {
            portions.push(std::mem::take(&mut lines));
        }
    }
    portions.push(lines);
    portions
}

/// <https://www.postgresql.org/docs/current/sql-copy.html>, text format.
fn escape(text: &str, into: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => into.push_str("\\\\"),
            '\n' => into.push_str("\\n"),
            '\r' => into.push_str("\\r"),
            '\t' => into.push_str("\\t"),
            c => into.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a value back as the server does.
    fn unescape(text: &str) -> String {
        let mut read = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            read.push(match c {
                '\\' => match chars.next().unwrap() {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    c => c,
                },
                c => c,
            });
        }
        read
    }

    proptest! {
        #[test]
        fn a_value_is_one_field_of_one_line_and_reads_back(text in ".*|[\\\\\n\r\tN.a]{0,8}") {
            let mut line = String::new();
            escape(&text, &mut line);
            prop_assert!(!line.contains(['\n', '\r', '\t']));
            prop_assert_ne!(&line, "\\N");
            prop_assert_ne!(&line, "\\.");
            prop_assert_eq!(unescape(&line), text);
        }
    }
}
