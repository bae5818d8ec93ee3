//! Hearing that somebody changed a row: triggers tell, a connection listens. It only makes the next look sooner; what they miss, the next look
//! sees.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::sync::Mutex;

use super::PostgresSettings;
use super::hold::key;
use super::server::{self, Doing as _, said};
use super::shape::Shape;
use super::sql;
use crate::config::connectors::postgres::Ident;
use crate::connector::ConnectorError;

/// How long after a connection was lost, or could not be had, it is tried again.
const PAUSE: Duration = Duration::from_secs(10);

fn channel(schema: &Ident) -> Result<Ident, ConnectorError> {
    let name = format!("lockstep_{}", key(schema));
    Ident::parse(&name).map_err(|message| ConnectorError::Terminal { message })
}

/// Gives the tables the triggers that tell, where they have none: Lockstep's own, and the mapped ones where the system says so. Where that may
/// not be, looking at intervals is what is left.
pub(super) async fn hang_bells(
    on: &mut PgConnection,
    settings: &PostgresSettings,
    shape: &Shape,
) -> Result<(), ConnectorError> {
    let doing = "make the triggers";
    let channel = channel(&settings.schema)?;
    let wants_bell = |table: &&sql::Table| settings.notify || table.columns().is_none();
    for table in shape.tables.iter().filter(wants_bell) {
        let has_bell: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid \
             JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE g.tgname = 'lockstep_told' AND n.nspname = $1 AND c.relname = $2)",
        )
        .bind(table.name.schema.as_str())
        .bind(table.name.table.as_str())
        .fetch_one(&mut *on)
        .await
        .doing(doing)?;
        if has_bell {
            continue;
        }
        sqlx::raw_sql("SAVEPOINT bell")
            .execute(&mut *on)
            .await
            .doing(doing)?;
        let statement = sql::tells(&settings.schema, &table.name, &channel);
        let made = sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut *on)
            .await;
        if let Err(error) = made {
            tracing::warn!(
                system.name = %settings.system,
                table = table.name.shown(),
                error = said(&error),
                "no trigger tells of changes; they are seen at the next look"
            );
            let back = "ROLLBACK TO SAVEPOINT bell";
            sqlx::raw_sql(back).execute(&mut *on).await.doing(doing)?;
        }
    }
    Ok(())
}

/// The connection that listens, once somebody wants to hear.
#[derive(Default)]
pub(super) struct Ear {
    listener: Mutex<Option<PgListener>>,
}

impl Ear {
    /// Waits until something changed, or may have.
    pub(super) async fn hears(&self, settings: &PostgresSettings) {
        let mut listener = self.listener.lock().await;
        loop {
            match listener.as_mut() {
                None => match listen(settings).await {
                    Ok(new) => *listener = Some(new),
                    Err(why) => {
                        tracing::debug!(
                            system.name = %settings.system,
                            why,
                            "changes are seen at the next look only"
                        );
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                Some(open) => {
                    let heard = open.try_recv().await;
                    if matches!(heard, Ok(Some(_))) {
                        // Of many at once, one is enough.
                        while open.next_buffered().is_some() {}
                        return;
                    }
                    // What was said meanwhile is lost.
                    *listener = None;
                    tokio::time::sleep(PAUSE).await;
                    return;
                }
            }
        }
    }
}

async fn listen(settings: &PostgresSettings) -> Result<PgListener, String> {
    let options = server::options(settings)?;
    let own = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(settings.connect_timeout)
        .connect_lazy_with(options);
    let channel = channel(&settings.schema).map_err(|e| e.to_string())?;
    let mut listener = PgListener::connect_with(&own).await.map_err(|e| said(&e))?;
    listener
        .listen(channel.as_str())
        .await
        .map_err(|e| said(&e))?;
    Ok(listener)
}
