//! A changeset in a transaction that is held open, or prepared in the server, until it is decided: everything is written and every constraint
//! checked, the rows are locked, and what the tables then hold was read back.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, PgConnection};

use super::read::{View, view};
use super::server::{Doing as _, Pool, Transaction, said, sqlstate};
use super::shape::Shape;
use super::sql::{Table, Way, own_table};
use crate::config::connectors::postgres::Ident;
use crate::connector::journal::{judge, stale};
use crate::connector::{Changeset, ConnectorError, Reason};
use crate::ids::{ChangesetId, ResourceRef};
use crate::plan::Change;
use crate::state::State;

/// How long a transaction may stand still before the server ends it: it locks rows that others want. The changeset stays staged.
const STANDSTILL: &str = "60s";

/// How much of a spec a message shows.
const SHOWN: usize = 200;

/// A changeset that can be committed at once.
pub(super) struct Hold {
    pub(super) id: ChangesetId,
    /// The open transaction; `None` where the server has it prepared.
    pub(super) open: Option<Transaction>,
    /// What the tables hold once it is committed.
    pub(super) after: Arc<View>,
}

/// What a changeset is written with.
pub(super) struct Ground<'a> {
    pub(super) pool: &'a Pool,
    pub(super) shape: &'a Shape,
    pub(super) schema: &'a Ident,
    pub(super) known: Option<Arc<View>>,
}

impl Hold {
    /// Writes a staged changeset, or says why the database does not take it.
    pub(super) async fn take(
        ground: &Ground<'_>,
        changeset: &Changeset,
    ) -> Result<Self, ConnectorError> {
        if ground.shape.keeps_prepared
            && let Some(hold) = Self::prepared(ground, changeset).await?
        {
            return Ok(hold);
        }
        let (tx, after) = write(ground, changeset).await?;
        Ok(Self {
            id: changeset.id.clone(),
            open: Some(tx),
            after,
        })
    }

    /// `None` where this transaction can't be prepared: a trigger of the system's own sends a notification, or there is no room for one more.
    async fn prepared(
        ground: &Ground<'_>,
        changeset: &Changeset,
    ) -> Result<Option<Self>, ConnectorError> {
        let (mut tx, after) = write(ground, changeset).await?;
        // Seen only once it is committed: so its end is known also where nobody was there to note it.
        let note = format!(
            "INSERT INTO {}.done (changeset, revision) VALUES ($1, $2)",
            ground.schema
        );
        sqlx::query(AssertSqlSafe(note))
            .bind(changeset.id.as_str())
            .bind(changeset.revision.as_str())
            .execute(&mut *tx)
            .await
            .doing("prepare the transaction")?;
        let gid = gid(ground.schema, &changeset.id);
        // Not a statement that takes parameters; the id is of letters, digits, '-', '_' and '.' by its type.
        let done = sqlx::raw_sql(AssertSqlSafe(format!("PREPARE TRANSACTION '{gid}'")))
            .execute(&mut *tx)
            .await;
        // What is left of it on this connection is nothing.
        let ended = tx.rollback().await;
        match done {
            Ok(_) => {
                ended.doing("leave the prepared transaction")?;
                Ok(Some(Self {
                    id: changeset.id.clone(),
                    open: None,
                    after,
                }))
            }
            Err(error) if matches!(sqlstate(&error).as_deref(), Some("0A000" | "53200")) => {
                tracing::debug!(
                    error = said(&error),
                    "held open, as it can't be prepared in the server"
                );
                Ok(None)
            }
            Err(error) => Err(error).doing("prepare the transaction"),
        }
    }
}

/// The name of a prepared transaction: of this schema's, and of that changeset.
pub(super) fn gid(schema: &Ident, id: &ChangesetId) -> String {
    format!("{}{id}", gids(schema))
}

/// What the names of all prepared transactions of a schema begin with.
pub(super) fn gids(schema: &Ident) -> String {
    format!("lockstep/{}/", key(schema))
}

/// A schema's name in digits: what is built of it is short and of plain characters.
pub(super) fn key(schema: &Ident) -> String {
    let mut key = crate::ids::Digest::of(schema.as_str().as_bytes()).to_hex();
    key.truncate(16);
    key
}

/// The two numbers of the lock that whoever holds a changeset open has: the schema's and the changeset's.
pub(super) fn lock_of(schema: &Ident, id: &ChangesetId) -> (i32, i32) {
    (number(schema.as_str()), number(id.as_str()))
}

/// Thirty-one bits of a text's digest: the catalogue shows such numbers without a sign.
pub(super) fn number(text: &str) -> i32 {
    let digest = crate::ids::Digest::of(text.as_bytes());
    let [a, b, c, d, ..] = *digest.as_bytes();
    i32::from_be_bytes([a & 0x7f, b, c, d])
}

/// Everything written and checked, in an open transaction on one moment's state.
async fn write(
    ground: &Ground<'_>,
    changeset: &Changeset,
) -> Result<(Transaction, Arc<View>), ConnectorError> {
    let doing = "begin the changeset";
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ";
    let mut tx = ground.pool.begin_with(begin).await.doing(doing)?;
    let (schema, own) = lock_of(ground.schema, &changeset.id);
    sqlx::query(
        "SELECT pg_advisory_xact_lock($1, $2), set_config('lockstep.quiet', 'on', true), \
         set_config('idle_in_transaction_session_timeout', $3, true)",
    )
    .bind(schema)
    .bind(own)
    .bind(STANDSTILL)
    .execute(&mut *tx)
    .await
    .doing(doing)?;
    let before = view(&mut tx, ground.shape, ground.known.as_ref()).await?;
    let now = before.state.digest();
    if now != changeset.base {
        return Err(stale(format!(
            "the state is {}, not {} that the changes were planned on; observe and plan again",
            now.short(),
            changeset.base.short()
        )));
    }
    let next = judge(changeset, &before.state, "the database")?;
    has_room(ground.shape, changeset)?;
    let staged = Staged {
        shape: ground.shape,
        schema: ground.schema,
        id: &changeset.id,
        way: Way::AsPlanned,
    };
    staged.carry_out(&mut tx).await?;
    let after = view(&mut tx, ground.shape, Some(&before)).await?;
    comes_back(changeset, &next, &after.state)?;
    Ok((tx, after))
}

/// Refuses what no column is there for.
fn has_room(shape: &Shape, changeset: &Changeset) -> Result<(), ConnectorError> {
    let reasons: Vec<Reason> = changeset
        .changes
        .iter()
        .filter_map(|change| {
            let table = shape.tables.iter().find(|t| is_in(change, t));
            let why = match table {
                None => format!("the kind {} is not one of this system's", change.id.kind()),
                Some(table) => without_column(change, table)?,
            };
            Some(Reason {
                id: change.id.clone(),
                message: why,
            })
        })
        .collect();
    refused_if_any(reasons, "not all changes have a place in the tables")
}

fn is_in(change: &Change, table: &Table) -> bool {
    table.kinds.iter().any(|kind| kind == change.id.kind())
}

fn without_column(change: &Change, table: &Table) -> Option<String> {
    table.columns()?;
    let spec = change.after.as_ref()?.spec.value();
    let shown = table.name.shown();
    let Some(fields) = spec.as_object() else {
        return Some(format!("it is no object, and {shown} has a column a field"));
    };
    let lost: Vec<&str> = fields
        .keys()
        .map(String::as_str)
        .filter(|field| table.fields().all(|mapped| mapped != *field))
        .collect();
    (!lost.is_empty()).then(|| {
        let lost = lost.join(", ");
        format!("no column of {shown} is mapped to {lost}; name one in tables:")
    })
}

/// Refuses what the tables would hold otherwise than it was wanted, as a column's type, a trigger or a cascade has it.
fn comes_back(changeset: &Changeset, next: &State, after: &State) -> Result<(), ConnectorError> {
    if next.digest() == after.digest() {
        return Ok(());
    }
    let named = |a: &State, b: &State| -> Vec<ResourceRef> {
        let differing = a.items().filter(|item| b.get(&item.id) != Some(*item));
        differing.map(|item| item.id.clone()).collect()
    };
    let mut ids = named(next, after);
    ids.extend(named(after, next));
    ids.sort();
    ids.dedup();
    let reasons = ids.into_iter().map(|id| {
        let is_ours = changeset.changes.iter().any(|c| c.id == id);
        let message = match (after.get(&id), is_ours) {
            (Some(item), true) if next.get(&id).is_some() => format!(
                "it would come back as {}: a column's type, a default or a trigger has it so",
                shortened(item.spec.as_str())
            ),
            (Some(_), true) => "it would still be there: a trigger or a rule keeps it".to_owned(),
            (None, true) => {
                "it would not be there: it is kept under another name, or a trigger takes it away"
                    .to_owned()
            }
            (Some(_), false) => "it would be changed as well, by a trigger or a cascade".to_owned(),
            (None, false) => "it would be deleted as well, by a trigger or a cascade".to_owned(),
        };
        Reason { id, message }
    });
    refused_if_any(
        reasons.collect(),
        "not all changes would come out as planned",
    )
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn refused_if_any(reasons: Vec<Reason>, message: &str) -> Result<(), ConnectorError> {
    if reasons.is_empty() {
        return Ok(());
    }
    Err(ConnectorError::Refused {
        message: message.to_owned(),
        reasons,
    })
}

/// A changeset as it lies beside the journal.
pub(super) struct Staged<'a> {
    pub(super) shape: &'a Shape,
    pub(super) schema: &'a Ident,
    pub(super) id: &'a ChangesetId,
    pub(super) way: Way,
}

/// A statement, the table whose it is, and what it is bound with.
struct Statement<'a> {
    sql: String,
    table: &'a Table,
    has_fields: bool,
}

impl Staged<'_> {
    /// Carries it out as a whole. What the database refuses is looked for by halves, so that the reason is that of the very change.
    pub(super) async fn carry_out(&self, on: &mut PgConnection) -> Result<(), ConnectorError> {
        let doing = "write the changes";
        let statements = self.statements(on).await.doing(doing)?;
        let table = own_table(self.schema, "staged");
        let count = format!("SELECT coalesce(max(n) + 1, 0) FROM {table} WHERE changeset = $1");
        let count: i32 = sqlx::query_scalar(AssertSqlSafe(count))
            .bind(self.id.as_str())
            .fetch_one(&mut *on)
            .await
            .doing(doing)?;
        let mut waiting = vec![(0, count)];
        loop {
            let (failed, is_moved) = self.pass(on, &statements, waiting).await?;
            if failed.is_empty() {
                return Ok(());
            }
            // What failed because of an order among the changes may pass once the others are done.
            if !is_moved {
                return Err(self.reasons(on, failed).await?);
            }
            waiting = failed.into_iter().map(|(n, _)| (n, n + 1)).collect();
        }
    }

    /// Tries each of the spans, halving those that fail. The changes that failed alone, each with what the database said; and whether any passed.
    async fn pass(
        &self,
        on: &mut PgConnection,
        statements: &[Statement<'_>],
        mut spans: Vec<(i32, i32)>,
    ) -> Result<(Vec<(i32, String)>, bool), ConnectorError> {
        let (mut failed, mut is_moved) = (Vec::new(), false);
        spans.reverse();
        while let Some((from, until)) = spans.pop() {
            match self.span(on, statements, (from, until)).await? {
                None => is_moved = true,
                Some(why) if until - from <= 1 => failed.push((from, why)),
                Some(_) => {
                    let half = from + (until - from) / 2;
                    spans.push((half, until));
                    spans.push((from, half));
                }
            }
        }
        Ok((failed, is_moved))
    }

    /// Tries the changes of one span: none of them are done where one is refused, and what was said is given back.
    async fn span(
        &self,
        on: &mut PgConnection,
        statements: &[Statement<'_>],
        (from, until): (i32, i32),
    ) -> Result<Option<String>, ConnectorError> {
        let doing = "write the changes";
        execute(on, "SAVEPOINT span; SET CONSTRAINTS ALL DEFERRED")
            .await
            .doing(doing)?;
        let mut done = Ok(());
        for statement in statements {
            let kinds = &statement.table.kinds;
            let mut query = sqlx::query(AssertSqlSafe(statement.sql.clone()))
                .bind(self.id.as_str())
                .bind(kinds)
                .bind(from)
                .bind(until);
            for field in statement.table.fields().filter(|_| statement.has_fields) {
                query = query.bind(field);
            }
            done = query.execute(&mut *on).await.map(drop);
            if done.is_err() {
                break;
            }
        }
        if done.is_ok() {
            done = execute(on, "SET CONSTRAINTS ALL IMMEDIATE").await;
        }
        let Err(error) = done else {
            execute(on, "RELEASE SAVEPOINT span").await.doing(doing)?;
            return Ok(None);
        };
        if sqlstate(&error).as_deref() == Some("40001") {
            return Err(stale(format!(
                "a row was changed by somebody else meanwhile: {}; observe and plan again",
                said(&error)
            )));
        }
        if !is_refusal(&error) {
            return Err(error).doing(doing);
        }
        execute(on, "ROLLBACK TO SAVEPOINT span; RELEASE SAVEPOINT span")
            .await
            .doing(doing)?;
        Ok(Some(said(&error)))
    }

    /// What is to be done: deletes from those that refer to others, the rest to those that are referred to first.
    async fn statements(&self, on: &mut PgConnection) -> sqlx::Result<Vec<Statement<'_>>> {
        let staged = own_table(self.schema, "staged");
        let which = format!("SELECT DISTINCT kind, op FROM {staged} WHERE changeset = $1");
        let which: Vec<(String, String)> = sqlx::query_as(AssertSqlSafe(which))
            .bind(self.id.as_str())
            .fetch_all(on)
            .await?;
        let wants = |table: &Table, is_op: &dyn Fn(&str) -> bool| {
            let mut which = which.iter();
            which.any(|(kind, op)| table.kinds.contains(kind) && is_op(op))
        };
        let way = self.way;
        let is_insert = |op: &str| op == "create" || (way == Way::Again && op == "update");
        let is_update = |op: &str| op == "update" || (way == Way::Again && op == "create");
        let tables = || self.shape.tables.iter();
        let mut all = Vec::new();
        let mut add = |sql: String, table, has_fields| {
            all.push(Statement {
                sql,
                table,
                has_fields,
            });
        };
        for table in tables().rev().filter(|t| wants(t, &|op| op == "delete")) {
            add(table.delete(&staged), table, false);
        }
        // Again, an insert would find nothing missing if it came before: what is there is updated, and then what is not there is added.
        for table in tables().filter(|t| way == Way::Again && wants(t, &is_update)) {
            add(table.update(&staged, way), table, true);
        }
        for table in tables().filter(|t| wants(t, &is_insert)) {
            add(table.insert(&staged, way), table, true);
        }
        for table in tables().filter(|t| way == Way::AsPlanned && wants(t, &is_update)) {
            add(table.update(&staged, way), table, true);
        }
        Ok(all)
    }

    async fn reasons(
        &self,
        on: &mut PgConnection,
        failed: Vec<(i32, String)>,
    ) -> Result<ConnectorError, ConnectorError> {
        let staged = own_table(self.schema, "staged");
        let numbers: Vec<i32> = failed.iter().map(|(n, _)| *n).collect();
        let names = format!(
            "SELECT kind, name FROM {staged} WHERE changeset = $1 AND n = ANY($2) ORDER BY n"
        );
        let names: Vec<(String, String)> = sqlx::query_as(AssertSqlSafe(names))
            .bind(self.id.as_str())
            .bind(&numbers)
            .fetch_all(on)
            .await
            .doing("read what was refused")?;
        let mut reasons = Vec::new();
        for ((kind, name), (_, message)) in names.iter().zip(failed) {
            let id = ResourceRef::new(kind, name).map_err(|e| ConnectorError::Terminal {
                message: e.to_string(),
            })?;
            reasons.push(Reason { id, message });
        }
        let noun = if reasons.len() == 1 {
            "change"
        } else {
            "changes"
        };
        Ok(ConnectorError::Refused {
            message: format!("the database refuses {} {noun}", reasons.len()),
            reasons,
        })
    }
}

async fn execute(on: &mut PgConnection, statements: &'static str) -> sqlx::Result<()> {
    sqlx::raw_sql(statements).execute(on).await.map(drop)
}

/// Whether it is what the change says that is refused, and not how or when it was said: data that does not fit a type, constraints, checks of
/// views, limits of size, and what the system's own triggers raise.
fn is_refusal(error: &sqlx::Error) -> bool {
    let state = sqlstate(error).unwrap_or_default();
    let class = state.get(..2).unwrap_or_default();
    matches!(class, "21" | "22" | "23" | "27" | "44" | "54" | "P0")
}
