//! `postgres` against a real server: one that keeps no prepared transactions, as servers do unless told to, and one that does.
//!
//! The server is shared by tests at the same time, so a restart here is that of Lockstep alone, whose connections and open transactions are
//! gone. A server that crashes is in the connector's own tests.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{Connection as _, PgConnection};

use super::Rig;
use crate::config::connectors::postgres::Ident;
use crate::connector::Apply;
use crate::connector::postgres::{PostgresConnector, PostgresSettings};
use crate::ids::ResourceRef;
use crate::state::Spec;
use crate::store::tests::server::{database, preparing_database};

pub(super) struct Plain(OverPostgres);
pub(super) struct Preparing(OverPostgres);

struct OverPostgres {
    url: String,
    connector: PostgresConnector,
}

impl OverPostgres {
    fn to(url: &str) -> PostgresConnector {
        PostgresConnector::new(PostgresSettings {
            system: "medical".parse().unwrap(),
            url: url.parse().unwrap(),
            credential: None,
            schema: Ident::parse("lockstep").unwrap(),
            tables: std::collections::BTreeMap::new(),
            kinds: ["FeatureFlag", "Notice", "Unheard"]
                .iter()
                .map(|kind| kind.parse().unwrap())
                .collect(),
            notify: false,
            connect_timeout: Duration::from_secs(30),
            timeout: Duration::from_secs(60),
        })
        .unwrap()
    }

    fn over(url: String) -> Self {
        Self {
            connector: Self::to(&url),
            url,
        }
    }

    async fn edit(&self, id: &ResourceRef, spec: Option<&Spec>) {
        let mut by_hand = PgConnection::connect(&self.url).await.unwrap();
        let query = match spec {
            Some(spec) => sqlx::query(
                "INSERT INTO lockstep.resources VALUES ($1, $2, $3) ON CONFLICT (kind, name) DO UPDATE SET spec = $3",
            )
            // Not as Lockstep would write it, but the same.
            .bind(id.kind())
            .bind(id.name())
            .bind(format!(" {} ", spec.as_str())),
            None => sqlx::query("DELETE FROM lockstep.resources WHERE kind = $1 AND name = $2")
                .bind(id.kind())
                .bind(id.name()),
        };
        query.execute(&mut by_hand).await.unwrap();
        by_hand.close().await.unwrap();
    }
}

macro_rules! rig {
    ($name:ident, $database:ident) => {
        #[async_trait]
        impl Rig for $name {
            async fn new() -> Option<Self> {
                $database().map(|url| Self(OverPostgres::over(url)))
            }

            fn connector(&self) -> &dyn Apply {
                &self.0.connector
            }

            async fn restart(self) -> Self {
                let url = self.0.url.clone();
                drop(self);
                Self(OverPostgres::over(url))
            }

            fn another(&self) -> Box<dyn Apply> {
                Box::new(OverPostgres::to(&self.0.url))
            }

            async fn edit(&self, id: &ResourceRef, spec: Option<&Spec>) {
                self.0.edit(id, spec).await;
            }
        }
    };
}

rig!(Plain, database);
rig!(Preparing, preparing_database);
