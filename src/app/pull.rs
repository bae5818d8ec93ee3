//! Who may come to which counter: systems that pull, by the credential that the main branch and the server's settings give them.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::shelf::Bell;
use super::{App, shelf};
use crate::clock::Clock;
use crate::config::{Config, System};
use crate::connector::pull::Counter;
use crate::engine;
use crate::ids::{Revision, SystemName};
use crate::repo::Repo;
use crate::serve::{Closed, Directory};
use crate::settings::Settings;
use crate::store::Store;

/// The counters of all systems that pull.
struct Counters {
    settings: Settings,
    repo: Arc<Repo>,
    store: Store,
    clock: Arc<dyn Clock>,
    bell: Bell,
    /// The definitions of the newest revision that was looked at: read again only where main has moved.
    known: Mutex<Option<(Revision, Arc<Config>)>>,
}

impl App {
    /// Where systems that pull are served, and what rings when there may be something for them.
    pub fn counters(&self) -> Arc<dyn Directory> {
        Arc::new(Counters {
            settings: self.settings.clone(),
            repo: self.repo.clone(),
            store: self.store.clone(),
            clock: self.clock.clone(),
            bell: self.bell.clone(),
            known: Mutex::new(None),
        })
    }
}

impl Counters {
    async fn config(&self) -> anyhow::Result<Arc<Config>> {
        let (repo, branch) = (self.repo.clone(), self.settings.branch.clone());
        let known = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.clone()
        };
        let read = move || {
            let head = repo.head(&branch)?;
            match known {
                Some((revision, config)) if head.as_ref() == Some(&revision) => {
                    anyhow::Ok((revision, config))
                }
                Some(_) | None => {
                    let head = engine::read_head(repo, &branch)?;
                    Ok((head.revision, head.config))
                }
            }
        };
        let (revision, config) = tokio::task::spawn_blocking(read).await??;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((revision, config.clone()));
        Ok(config)
    }

    /// Whether what is shown is the credential of this system.
    fn is_shown(&self, system: &System, token: &str) -> bool {
        let name = system.credential.as_ref();
        let credential = name.and_then(|name| self.settings.credentials.get(name));
        system.connector == "pull" && credential.is_some_and(|c| c.is_shown_by(token))
    }
}

#[async_trait]
impl Directory for Counters {
    async fn open(&self, system: &str, token: &str) -> Result<Counter, Closed> {
        let config = self.config().await.map_err(|error| {
            tracing::warn!(%error, "what systems there are could not be read");
            Closed::Unreadable
        })?;
        // A system that there is not, and one with another credential: nobody is told which.
        let name: SystemName = system.parse().map_err(|_| Closed::Unauthorized)?;
        let known = config.systems.get(&name);
        if !known.is_some_and(|known| self.is_shown(known, token)) {
            return Err(Closed::Unauthorized);
        }
        let shelf = shelf(&name, &self.store, &self.bell);
        Ok(Counter::new(shelf, self.clock.clone()))
    }

    fn heard(&self) -> tokio::sync::watch::Receiver<u64> {
        self.bell.subscribe()
    }
}
