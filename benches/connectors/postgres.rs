//! `postgres`, with the table of Lockstep's own; the plain client copies the same rows into one like it, in one transaction.

use std::fmt::Write as _;

use anyhow::Context as _;
use async_trait::async_trait;
use lockstep::connector::{Apply, Changeset};
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use crate::peer::{self, Bare, Peer};

#[path = "../../tests/it/world/postgres.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "the tests' own, which end where something is not as expected"
)]
pub(crate) mod server;

/// A server, and what makes an empty database on it.
pub(crate) struct Postgres {
    database: fn() -> Option<String>,
}

impl Postgres {
    /// A server that keeps no prepared transactions, as most do.
    pub(crate) fn plain() -> Option<Self> {
        Self::on(server::database)
    }

    pub(crate) fn preparing() -> Option<Self> {
        Self::on(server::preparing_database)
    }

    fn on(database: fn() -> Option<String>) -> Option<Self> {
        database().map(|_| Self { database })
    }

    fn url(&self) -> anyhow::Result<String> {
        (self.database)().context("the server was there")
    }
}

#[async_trait]
impl Peer for Postgres {
    async fn connector(&mut self) -> anyhow::Result<Box<dyn Apply>> {
        let settings = json!({"url": self.url()?});
        peer::connect("postgres", "FeatureFlag", settings, None, (None, None))
    }

    async fn bare(&mut self) -> anyhow::Result<Box<dyn Bare>> {
        let mut on = PgConnection::connect(&self.url()?).await?;
        sqlx::query(
            "CREATE TABLE resources (kind text COLLATE \"C\" NOT NULL, name text COLLATE \"C\" NOT NULL, spec text NOT NULL, \
             PRIMARY KEY (kind, name))",
        )
        .execute(&mut on)
        .await?;
        Ok(Box::new(Plain {
            on,
            lines: String::new(),
            updates: Vec::new(),
        }))
    }
}

struct Plain {
    on: PgConnection,
    /// New rows.
    lines: String,
    /// Rows that are there: kind, name and spec.
    updates: Vec<[String; 3]>,
}

#[async_trait]
impl Bare for Plain {
    async fn ready(&mut self, changeset: &Changeset) -> anyhow::Result<()> {
        self.lines.clear();
        self.updates.clear();
        for change in &changeset.changes {
            let item = change.after.as_ref().context("nothing is deleted here")?;
            let row = [item.id.kind(), item.id.name(), item.spec.as_str()];
            match change.before {
                // There is nothing in a flag of this bench that COPY would want escaped.
                None => writeln!(self.lines, "{}", row.join("\t"))?,
                Some(_) => self.updates.push(row.map(str::to_owned)),
            }
        }
        Ok(())
    }

    async fn write(&mut self) -> anyhow::Result<()> {
        let mut tx = self.on.begin().await?;
        if !self.lines.is_empty() {
            let statement = "COPY resources (kind, name, spec) FROM STDIN";
            let mut copy = tx.copy_in_raw(statement).await?;
            copy.send(self.lines.as_bytes()).await?;
            copy.finish().await?;
        }
        for [kind, name, spec] in &self.updates {
            sqlx::query("UPDATE resources SET spec = $3 WHERE kind = $1 AND name = $2")
                .bind(kind)
                .bind(name)
                .bind(spec)
                .execute(&mut *tx)
                .await?;
        }
        Ok(tx.commit().await?)
    }
}
