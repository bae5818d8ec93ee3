use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use super::*;
use crate::connector::suite::{apply, changeset, class, item, observe};
use crate::state::State;
use crate::store::tests::server::{Server, Sort, database, preparing_database};

mod faults;
mod tables;

/// The tables that the ward's own program has.
const WARD: &str = r#"
CREATE TYPE shade AS ENUM ('red', 'green');
CREATE TABLE ward (name text PRIMARY KEY, floor int CHECK (floor >= 0), code varchar(3) UNIQUE, seen timestamptz DEFAULT now());
CREATE TABLE staff (id int PRIMARY KEY, ward text NOT NULL REFERENCES ward, note text DEFAULT 'by the program');
CREATE TABLE flags (
  name text PRIMARY KEY, "Enabled" boolean, rollout int, ratio double precision, price numeric(6, 2), expires date,
  since timestamptz, teams text[], "more ""info""" jsonb, shade shade, touched int NOT NULL DEFAULT 7
);
"#;

fn tables() -> Value {
    json!({
        "Ward": {"table": "ward", "key": "name", "columns": {"floor": "floor", "code": "code"}},
        "Staff": {"table": "public.staff", "key": "id", "columns": {"ward": "ward"}},
        "FeatureFlag": {"table": "flags", "key": "name", "columns": {
            "enabled": "Enabled", "rollout": "rollout", "ratio": "ratio", "price": "price", "expires": "expires", "since": "since",
            "teams": "teams", "more": "more \"info\"", "shade": "shade",
        }},
    })
}

fn settings(url: &str, tables: &Value) -> PostgresSettings {
    PostgresSettings {
        system: "ward".parse().unwrap(),
        url: url.parse().unwrap(),
        credential: None,
        schema: Ident::parse("lock\"step").unwrap(),
        tables: crate::config::connectors::postgres::mappings(tables).unwrap(),
        kinds: ["FeatureFlag", "Staff", "Ward", "Notice"]
            .iter()
            .map(|kind| kind.parse().unwrap())
            .collect(),
        notify: true,
        connect_timeout: Duration::from_secs(30),
        timeout: Duration::from_secs(60),
    }
}

fn connector(url: &str) -> PostgresConnector {
    PostgresConnector::new(settings(url, &tables())).unwrap()
}

/// Statements of somebody who has the database open.
async fn by_hand(url: &str, statements: &'static str) -> Result<(), String> {
    let mut on = PgConnection::connect(url).await.unwrap();
    let done = sqlx::raw_sql(statements).execute(&mut on).await;
    on.close().await.unwrap();
    done.map(drop).map_err(|e| server::said(&e))
}

async fn one<T>(url: &str, statement: &'static str) -> T
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    let mut on = PgConnection::connect(url).await.unwrap();
    let value = sqlx::query_scalar(statement).fetch_one(&mut on).await;
    on.close().await.unwrap();
    value.unwrap()
}

/// A database with the ward's tables; `None`, said aloud, where there is no server.
async fn ward() -> Option<String> {
    let url = database()?;
    by_hand(&url, WARD).await.unwrap();
    Some(url)
}

fn state(items: &[(&str, Value)]) -> State {
    let items = items.iter().map(|(name, spec)| item(name, spec.clone()));
    items.collect()
}

fn told<T: std::fmt::Debug>(answer: Result<T, ConnectorError>) -> String {
    let error = answer.unwrap_err();
    format!("{}: {error}", class::<()>(Err(error.clone())))
}
