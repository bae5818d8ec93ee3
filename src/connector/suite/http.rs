//! `http` against the reference system.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use tempfile::TempDir;

use super::Rig;
use crate::connector::Apply;
use crate::connector::http::{HttpConnector, HttpSettings};
use crate::ids::ResourceRef;
use crate::reference::{self, Options, Server};
use crate::state::Spec;

pub(super) struct OverHttp {
    folder: TempDir,
    server: Server,
    connector: HttpConnector,
}

impl OverHttp {
    async fn serve(folder: &TempDir) -> Server {
        reference::bind(Options {
            name: "medical".parse().unwrap(),
            title: None,
            listen: "127.0.0.1:0".parse().unwrap(),
            database: folder.path().join("medical.db"),
            token: Some(SecretString::from("t0ken")),
            kinds: BTreeSet::new(),
            faults: None,
        })
        .await
        .unwrap()
    }

    fn to(server: &Server) -> HttpConnector {
        HttpConnector::new(HttpSettings {
            system: "medical".parse().unwrap(),
            base: server.url().parse().unwrap(),
            token: Some(SecretString::from("t0ken")),
            credential: None,
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(60),
        })
        .unwrap()
    }

    async fn over(folder: TempDir) -> Self {
        let server = Self::serve(&folder).await;
        Self {
            connector: Self::to(&server),
            folder,
            server,
        }
    }
}

#[async_trait]
impl Rig for OverHttp {
    async fn new() -> Option<Self> {
        Some(Self::over(TempDir::new().unwrap()).await)
    }

    fn connector(&self) -> &dyn Apply {
        &self.connector
    }

    async fn restart(self) -> Self {
        self.server.stop().await.unwrap();
        Self::over(self.folder).await
    }

    fn another(&self) -> Box<dyn Apply> {
        Box::new(Self::to(&self.server))
    }

    async fn edit(&self, id: &ResourceRef, spec: Option<&Spec>) {
        let url = format!("{}/admin/resources/{id}", self.server.url());
        let client = reqwest::Client::new();
        let request = match spec {
            Some(spec) => client.put(url).json(&spec.value()),
            None => client.delete(url),
        };
        let answer = request.bearer_auth("t0ken").send().await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }
}
