//! The composition root: from settings to the parts that commands work with.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, System};
use crate::connector::{Apply, Observe, registry};
use crate::engine::{self, Engine, Head, Timing};
use crate::forge::Forge;
use crate::forge::local::LocalForge;
use crate::gate::{Gate, LOOPBACK};
use crate::ids::{PlanDigest, SystemName};
use crate::plan::safety::{Breach, Own};
use crate::record::{Outcome, Run};
use crate::repo::Repo;
use crate::settings::Settings;
use crate::store::{Reach, Store, StoredRun};

/// How long a group's lease lasts without being renewed: what another process waits at most before it takes over.
const LEASE: Duration = Duration::from_secs(30);

/// How many of a group's latest runs are looked through for plans that wait for a person.
const HELD_AMONG: u32 = 100;

/// Everything a command that touches the outside works with.
pub struct App {
    pub settings: Settings,
    pub repo: Arc<Repo>,
    pub store: Store,
    pub forge: Arc<dyn Forge>,
    pub gate: Gate,
    pub clock: Arc<dyn Clock>,
}

impl App {
    /// Opens repository, store and forge as the settings say.
    pub async fn open(settings: Settings) -> anyhow::Result<Self> {
        let repo = Arc::new(Repo::open(&settings.repo)?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Store::open(store_path(&settings, &repo)?).await?;
        let forge: Arc<dyn Forge> = Arc::new(LocalForge::new(
            repo.clone(),
            &settings.branch,
            clock.clone(),
        ));
        let gate =
            gate(&settings, forge.clone(), repo.clone(), clock.clone()).remembering(store.clone());
        Ok(Self {
            settings,
            repo,
            store,
            forge,
            gate,
            clock,
        })
    }

    /// The engine, connected as the settings say. It carries a name of its own: two starts of one process are two holders of a lease.
    pub fn engine(&self) -> anyhow::Result<Engine> {
        let settings = self.settings.clone();
        let timing = Timing {
            prepare: settings.timeouts.prepare,
            commit: settings.timeouts.commit,
            urgent: settings.timeouts.urgent,
            lease: LEASE,
        };
        Ok(Engine::new(
            self.store.clone(),
            self.forge.clone(),
            self.repo.clone(),
            &self.settings.branch,
            self.clock.clone(),
            Box::new(move |name, system| connect(name, system, &settings)),
            timing,
            format!("{}-{}", std::process::id(), uuid::Uuid::new_v4()),
            "lockstep/engine".parse()?,
        )
        .protecting(own(&self.settings))
        .owned_by(self.mark()?))
    }

    /// What systems are told this config repo is called.
    fn mark(&self) -> anyhow::Result<Option<Arc<str>>> {
        if let Some(mark) = &self.settings.mark {
            return Ok(Some(mark.as_str().into()));
        }
        let mark = self.repo.mark(&self.settings.branch)?;
        if mark.is_none() && self.repo.head(&self.settings.branch)?.is_some() {
            tracing::warn!(
                "this clone is cut off, so what marks the config repo is not known: systems that keep marks refuse what comes from \
                 here where they have one, and can't tell another repo from this one where they have none; `git fetch --unshallow`, or \
                 set `mark` in lockstep.toml"
            );
        }
        Ok(mark.map(Arc::from))
    }

    /// Who acts: as named, or `LOCKSTEP_USER`, or git's own configuration.
    pub fn user(&self, named: Option<&str>) -> anyhow::Result<String> {
        let from_git = || Ok::<_, anyhow::Error>(self.repo.identity()?.map(|i| i.name));
        let user = match (named, &self.settings.user) {
            (Some(user), _) => Some(user.to_owned()),
            (None, Some(user)) => Some(user.clone()),
            (None, None) => from_git()?,
        };
        user.ok_or_else(|| {
            anyhow::anyhow!("who are you? give --as PERSON, set LOCKSTEP_USER or git's user.name")
        })
    }

    /// The main branch as the engine sees it: its newest revision, and the definitions of the newest one that compiles.
    pub async fn head(&self) -> anyhow::Result<Head> {
        let (repo, branch) = (self.repo.clone(), self.settings.branch.clone());
        Ok(tokio::task::spawn_blocking(move || engine::read_head(repo, &branch)).await??)
    }

    /// `lockstep.yaml` on the main branch: what judges.
    pub async fn base_config(&self) -> anyhow::Result<Arc<Config>> {
        Ok(self.head().await?.config)
    }

    /// The plans that wait for a person, and why.
    pub async fn held_plans(
        &self,
        config: &Config,
    ) -> anyhow::Result<Vec<(PlanDigest, Vec<Breach>)>> {
        let mut held = Vec::new();
        for group in config.effective_groups().keys() {
            let last = self.store.recent_runs(group, Reach::Whole, 1).await?;
            let last = last.into_iter().next();
            let outcome = |run: &StoredRun| {
                let outcome = run.outcome.clone()?;
                serde_json::from_value::<Outcome>(outcome).ok()
            };
            // Once the group has moved as a whole, nothing of its systems' waits by itself.
            let moved = last
                .as_ref()
                .and_then(&outcome)
                .is_some_and(|o| o.is_success());
            let since = last.as_ref().filter(|_| moved).map(|run| run.run.id);
            let urgent = self
                .store
                .recent_runs(group, Reach::Urgent, HELD_AMONG)
                .await?;
            let urgent = urgent.into_iter().filter(|run| Some(run.run.id) > since);
            let mut seen = BTreeSet::new();
            for stored in last.into_iter().chain(urgent) {
                // Of each system the newest counts, and the group's.
                let whose = serde_json::from_value::<Run>(stored.run.body.clone())
                    .ok()
                    .filter(|run| !run.scope.is_whole())
                    .map(|run| run.members.into_keys().collect::<Vec<_>>());
                if !seen.insert(whose) {
                    continue;
                }
                if let Some(Outcome::Held { plan, breaches }) = outcome(&stored) {
                    held.push((plan, breaches));
                }
            }
        }
        Ok(held)
    }
}

/// A server that listens beyond loopback has an address there that systems know it by.
fn listens(settings: &Settings) -> Option<String> {
    let address = settings.listen.ip();
    (!address.is_unspecified()).then(|| address.to_string())
}

/// All addresses from which systems are reached.
pub fn addresses(settings: &Settings) -> Vec<String> {
    let loopback = LOOPBACK.map(str::to_owned);
    loopback.into_iter().chain(listens(settings)).collect()
}

/// The gate on a repository, as the settings say.
pub fn gate(
    settings: &Settings,
    forge: Arc<dyn Forge>,
    repo: Arc<Repo>,
    clock: Arc<dyn Clock>,
) -> Gate {
    Gate::new(forge, repo, clock)
        .in_language(settings.language)
        .reached_from(listens(settings))
        .protecting(own(settings))
}

/// Who and where Lockstep is to the systems.
fn own(settings: &Settings) -> Own {
    let identities = settings.credentials.iter();
    Own {
        identities: identities
            .filter_map(|(name, c)| Some((name.clone(), c.identity()?.to_owned())))
            .collect(),
        addresses: addresses(settings)
            .iter()
            .filter_map(|a| a.parse().ok())
            .collect(),
    }
}

/// Where the store is: as set, or inside the git folder, where it is out of every work tree.
fn store_path(settings: &Settings, repo: &Repo) -> anyhow::Result<PathBuf> {
    match &settings.store {
        Some(path) => Ok(path.clone()),
        None => match repo.git_dir() {
            Some(dir) => Ok(dir.join("lockstep").join("store.db")),
            None => anyhow::bail!(
                "{} is no git repository, so there is nothing to follow; `lockstep init DIR` makes one",
                settings.repo.display()
            ),
        },
    }
}

/// The store where there is one already: who only looks makes none.
pub async fn known_store(settings: &Settings) -> anyhow::Result<Option<Store>> {
    let repo = Repo::open(&settings.repo)?;
    match store_path(settings, &repo) {
        Ok(path) if path.exists() => Ok(Some(Store::open(path).await?)),
        Ok(_) | Err(_) => Ok(None),
    }
}

fn connect(
    name: &SystemName,
    system: &System,
    settings: &Settings,
) -> Result<Arc<dyn Apply>, String> {
    registry::connect(
        name,
        system,
        &credentials(settings),
        timeouts(settings),
        settings.files.as_deref(),
    )
    .map(Arc::from)
    .map_err(|e| e.to_string())
}

/// The reading half of a system's connector: all that planning is given.
pub fn observe_only(
    name: &SystemName,
    system: &System,
    settings: &Settings,
) -> Result<Box<dyn Observe>, String> {
    registry::observe_only(
        name,
        system,
        &credentials(settings),
        timeouts(settings),
        settings.files.as_deref(),
    )
    .map_err(|e| e.to_string())
}

fn timeouts(settings: &Settings) -> registry::Timeouts {
    registry::Timeouts {
        request: settings.timeouts.request,
        ..registry::Timeouts::default()
    }
}

/// A credential goes only to the hosts that the server's settings bind it to.
fn credentials(
    settings: &Settings,
) -> impl Fn(&str, &url::Url) -> Option<secrecy::SecretString> + '_ {
    |name, url| settings.credentials.get(name)?.token_for(url).cloned()
}
