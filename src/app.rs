//! The composition root: from settings to the parts that commands work with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::audit::believed;
use crate::audit::checkpoints::Checkpoints;
use crate::audit::key;
use crate::audit::signing::Signing;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, System};
use crate::connector::shelf::Shelf;
use crate::connector::{Apply, Observe, registry};
use crate::engine::{self, Engine, Head, Timing};
use crate::forge::Forge;
use crate::forge::github::GithubForge;
use crate::forge::local::LocalForge;
use crate::gate::{Gate, LOOPBACK};
use crate::ids::SystemName;
use crate::plan::safety::Own;
use crate::repo::Repo;
use crate::settings::{ForgeKind, Settings, StorePlace};
use crate::sink::Sink;
use crate::sink::webhook::Webhook;
use crate::store::{Duty, Store};
use crate::tlog::VerifierKey;

mod pull;
mod shelf;

use shelf::{Bell, StoreShelf};

/// What the store remembers a person's word by that it begins with nothing on purpose.
const BEGUN_ANEW: &str = "begun-anew";

/// Everything a command that touches the outside works with.
pub struct App {
    pub settings: Settings,
    pub repo: Arc<Repo>,
    pub store: Store,
    pub forge: Arc<dyn Forge>,
    pub gate: Gate,
    pub clock: Arc<dyn Clock>,
    bell: Bell,
    /// Unique to this start of the process: two starts are two holders of a lease.
    pub holder: String,
}

impl App {
    /// Opens repository, store and forge as the settings say.
    pub async fn open(settings: Settings) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let repo = Arc::new(match settings.forge {
            ForgeKind::Local => Repo::open(&settings.repo)?,
            ForgeKind::Github => mirror(&settings.repo)?,
        });
        let store = open_store(&settings, &repo).await?;
        if let Err(error) = store.take_in_older_rows(clock.now()).await {
            // On a disk that can't be written to what is there can still be looked at.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what an earlier version wrote is not in the ledger yet"
            );
        }
        let forge = forge(&settings, repo.clone(), clock.clone())?;
        if let Err(error) = forge.fetch().await {
            // What was fetched before can be worked with while the forge is away.
            let known = repo.head(&settings.branch)?.is_some();
            anyhow::ensure!(known, error);
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the config repo is as it was fetched last"
            );
        }
        let gate =
            gate(&settings, forge.clone(), repo.clone(), clock.clone()).remembering(store.clone());
        Ok(Self {
            settings,
            repo,
            store,
            forge,
            gate,
            clock,
            bell: Bell::default(),
            holder: format!("{}-{}", std::process::id(), uuid::Uuid::new_v4()),
        })
    }

    /// Who is told what happens.
    pub fn sinks(&self) -> anyhow::Result<BTreeMap<String, Arc<dyn Sink>>> {
        let mut sinks: BTreeMap<String, Arc<dyn Sink>> = BTreeMap::new();
        for (name, settings) in &self.settings.sinks {
            let sink = Webhook::new(settings.clone()).map_err(anyhow::Error::msg)?;
            sinks.insert(name.clone(), Arc::new(sink));
        }
        Ok(sinks)
    }

    /// Something that one replica does for all.
    pub fn duty(&self, name: &'static str) -> Duty {
        let lease = self.settings.timeouts.lease;
        Duty::new(self.store.clone(), name, self.holder.clone(), lease)
    }

    /// The engine, connected as the settings say.
    pub fn engine(&self) -> anyhow::Result<Engine> {
        let (settings, store) = (self.settings.clone(), self.store.clone());
        let bell = self.bell.clone();
        let timing = Timing {
            prepare: settings.timeouts.prepare,
            commit: settings.timeouts.commit,
            urgent: settings.timeouts.urgent,
            lease: settings.timeouts.lease,
        };
        Ok(Engine::new(
            self.store.clone(),
            self.forge.clone(),
            self.repo.clone(),
            &self.settings.branch,
            self.clock.clone(),
            Box::new(move |name, system| connect(name, system, &settings, (&store, &bell))),
            timing,
            self.holder.clone(),
            "lockstep/engine".parse()?,
        )
        .protecting(own(&self.settings))
        .owned_by(self.mark()?))
    }

    /// Refuses to go on with a store that knows less than was signed of it: it is another one, or was cut short, and what was decided and who
    /// owns what would be forgotten.
    pub async fn refuse_lost_store(&self) -> anyhow::Result<()> {
        if self.store.has_first(BEGUN_ANEW).await? {
            return Ok(());
        }
        let notes = self.checkpoints().await?;
        let signed = notes.newest().map_or(0, |s| s.checkpoint.size);
        let entries = self.store.ledger_len().await?;
        let is_other = entries == 0 && !notes.unknown.is_empty();
        anyhow::ensure!(
            entries >= signed && !is_other,
            "the store has {entries} ledger entries, and the repository's notes hold checkpoints of more: this is not the store that it was kept \
             in step from, or it was cut short. Bring a backup back with `lockstep store migrate --from BACKUP`, or name the right store as \
             `store` in lockstep.toml; where a new beginning is meant, `lockstep store migrate --begin-anew`"
        );
        Ok(())
    }

    /// The checkpoints that the ledger is to agree with: without those that are lost since the store was restored.
    pub async fn checkpoints(&self) -> anyhow::Result<Checkpoints> {
        let (repo, trusted) = (self.repo.clone(), self.trusted()?);
        let mut reader = self.store.reader().await?;
        let read = tokio::task::spawn_blocking(move || believed(&mut reader, &repo, &trusted));
        Ok(read.await??)
    }

    /// The file that says how much of the ledger was signed last.
    pub fn signed_file(&self) -> anyhow::Result<PathBuf> {
        Ok(ledger_place(&self.settings, &self.repo)?.signed)
    }

    /// What signs the ledger's checkpoints; its key is made where there is none.
    pub fn signing(&self) -> anyhow::Result<Signing> {
        let place = ledger_place(&self.settings, &self.repo)?;
        // Replicas with clones of their own each have a key; where the store is one process's, a second key means that the first was lost.
        let notes = || match self.store.is_shared() {
            true => Ok(Checkpoints::default()),
            false => Checkpoints::read(&self.repo, &self.settings.ledger.trusted),
        };
        let key = key::find_or_make(&place.key, &self.origin()?, notes)?;
        let mut trusted = vec![key.public().clone()];
        trusted.extend(self.settings.ledger.trusted.iter().cloned());
        Ok(Signing::new(
            self.repo.clone(),
            &self.settings.branch,
            self.store.clone(),
            key,
            place.signed,
            trusted,
        ))
    }

    /// The public key that this server signs with; `None` where it has not signed yet.
    pub fn ledger_key(&self) -> anyhow::Result<Option<VerifierKey>> {
        let place = ledger_place(&self.settings, &self.repo)?;
        Ok(key::find(&place.key)?.map(|key| key.public().clone()))
    }

    /// Whose signatures under checkpoints are believed: our own, and those that the settings name.
    pub fn trusted(&self) -> anyhow::Result<Vec<VerifierKey>> {
        let mut trusted: Vec<VerifierKey> = self.ledger_key()?.into_iter().collect();
        trusted.extend(self.settings.ledger.trusted.iter().cloned());
        Ok(trusted)
    }

    /// What the log is called in its checkpoints.
    pub fn origin(&self) -> anyhow::Result<String> {
        if let Some(origin) = &self.settings.ledger.origin {
            return Ok(origin.clone());
        }
        let mark = self.repo.mark(&self.settings.branch)?;
        let first = mark.as_deref().and_then(|m| m.rsplit(' ').next());
        Ok(format!("lockstep/{}", first.unwrap_or("ledger")))
    }

    /// What systems are told this config repo is called.
    pub fn mark(&self) -> anyhow::Result<Option<Arc<str>>> {
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

    /// Who acts: who the forge says it is, where it knows; else as named, or `LOCKSTEP_USER`, or git's own configuration.
    pub async fn user(&self, named: Option<&str>) -> anyhow::Result<String> {
        if let Some(login) = self.forge.acting_as().await? {
            let other = named.filter(|named| !named.eq_ignore_ascii_case(&login));
            if let Some(other) = other {
                anyhow::bail!(
                    "the token under [github] in lockstep.toml is {login}'s, so nothing can be done as {other}"
                );
            }
            return Ok(login);
        }
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
        .found_at(settings.public_url.clone())
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

/// Where proposals live, as the settings say.
fn forge(
    settings: &Settings,
    repo: Arc<Repo>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Arc<dyn Forge>> {
    Ok(match (settings.forge, &settings.github) {
        (ForgeKind::Github, Some(github)) => Arc::new(GithubForge::new(
            repo,
            &settings.branch,
            github,
            settings.public_url.clone(),
            settings.private_variables(),
        )?),
        (ForgeKind::Github, None) => anyhow::bail!("lockstep.toml says nothing about [github]"),
        (ForgeKind::Local, _) => Arc::new(LocalForge::new(repo, &settings.branch, clock)),
    })
}

/// The bare copy of a repository on GitHub: at the place itself, or beside a person's clone, whose branches are theirs.
fn mirror(place: &std::path::Path) -> anyhow::Result<Repo> {
    let beside = match Repo::open(place) {
        Ok(repo) if repo.has_git() && !repo.has_work_tree() => return Ok(repo),
        Ok(repo) => match repo.git_dir() {
            Some(git) => git.join("lockstep").join("github.git"),
            None => anyhow::bail!(
                "{} holds files and is no git repository; name an empty place as `repo` for the copy of the one on GitHub",
                place.display()
            ),
        },
        Err(_) if !place.exists() => place.to_owned(),
        Err(error) => return Err(error.into()),
    };
    Ok(match Repo::open(&beside) {
        Ok(repo) => repo,
        Err(_) => Repo::init_bare(&beside)?,
    })
}

/// Where the store is: as set, or inside the git folder, where it is out of every work tree.
fn store_place(settings: &Settings, repo: &Repo) -> anyhow::Result<StorePlace> {
    match &settings.store {
        Some(place) => Ok(place.clone()),
        None => match repo.git_dir() {
            Some(dir) => Ok(StorePlace::File(dir.join("lockstep").join("store.db"))),
            None => anyhow::bail!(
                "{} is no git repository, so there is nothing to follow; `lockstep init DIR` makes one",
                settings.repo.display()
            ),
        },
    }
}

/// The files that signing the ledger needs, beside the store.
struct LedgerPlace {
    key: PathBuf,
    /// What was signed last.
    signed: PathBuf,
}

fn ledger_place(settings: &Settings, repo: &Repo) -> anyhow::Result<LedgerPlace> {
    let beside = match store_place(settings, repo)? {
        StorePlace::File(path) => path,
        // A server's store has no file; the git folder is out of every work tree too.
        StorePlace::Server(_) => match repo.git_dir() {
            Some(dir) => dir.join("lockstep").join("ledger"),
            None => anyhow::bail!(
                "name a file for the key that signs the ledger: [ledger] key in lockstep.toml"
            ),
        },
    };
    let named = |ending: &str| {
        let mut name = beside.clone().into_os_string();
        name.push(ending);
        PathBuf::from(name)
    };
    Ok(LedgerPlace {
        key: settings.ledger.key.clone().unwrap_or_else(|| named(".key")),
        signed: named(".signed"),
    })
}

/// The store where there is one already: who only looks makes none.
pub async fn known_store(settings: &Settings) -> anyhow::Result<Option<Store>> {
    let repo = Repo::open(&settings.repo)?;
    match store_place(settings, &repo) {
        Ok(StorePlace::File(path)) if !path.exists() => Ok(None),
        Ok(_) => Ok(Some(open_store(settings, &repo).await?)),
        Err(_) => Ok(None),
    }
}

/// Opens the store as the settings say.
pub async fn open_store(settings: &Settings, repo: &Repo) -> anyhow::Result<Store> {
    Ok(match store_place(settings, repo)? {
        StorePlace::File(path) => Store::open(path).await?,
        StorePlace::Server(url) => Store::open(url.expose()).await?,
    })
}

/// Makes the store of what another one holds.
pub async fn restored_store(
    settings: &Settings,
    repo: &Repo,
    source: &Store,
) -> anyhow::Result<Store> {
    Ok(match store_place(settings, repo)? {
        StorePlace::File(path) => Store::restored(path, source).await?,
        StorePlace::Server(url) => Store::restored(url.expose(), source).await?,
    })
}

/// Writes down that a store begins with nothing on purpose.
pub async fn note_new_beginning(store: &Store) -> anyhow::Result<()> {
    store.first(BEGUN_ANEW, SystemClock.now()).await?;
    Ok(())
}

/// The same in the place of one that was lost.
pub async fn begin_store_anew(settings: &Settings, repo: &Repo) -> anyhow::Result<Store> {
    Ok(match store_place(settings, repo)? {
        StorePlace::File(path) => Store::begin_anew(path).await?,
        StorePlace::Server(url) => Store::begin_anew(url.expose()).await?,
    })
}

fn connect(
    name: &SystemName,
    system: &System,
    settings: &Settings,
    (store, bell): (&Store, &Bell),
) -> Result<Arc<dyn Apply>, String> {
    registry::connect(
        name,
        system,
        &credentials(settings),
        timeouts(settings),
        settings.files.as_deref(),
        Some(shelf(name, store, bell)),
    )
    .map(Arc::from)
    .map_err(|e| e.to_string())
}

/// The reading half of a system's connector: all that planning is given. Without a store, what the connector keeps there is not known.
pub fn observe_only(
    name: &SystemName,
    system: &System,
    settings: &Settings,
    store: Option<&Store>,
) -> Result<Box<dyn Observe>, String> {
    registry::observe_only(
        name,
        system,
        &credentials(settings),
        timeouts(settings),
        settings.files.as_deref(),
        store.map(|store| shelf(name, store, &Bell::default())),
    )
    .map_err(|e| e.to_string())
}

fn shelf(system: &SystemName, store: &Store, bell: &Bell) -> Arc<dyn Shelf> {
    Arc::new(StoreShelf::new(store.clone(), system.clone(), bell.clone()))
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
