//! What the demo plays on: a temporary folder with a bare config repo, two reference systems and the reconciler as processes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use super::sample;
use crate::app::App;
use crate::ids::DocPath;
use crate::repo::{Identity, Repo};
use crate::resource::Language;
use crate::settings::Settings;

/// How long any one step may take: far more than it needs, for machines that are busy with other things.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// The systems, with the ports that the sample names; another is taken where one is not free.
const SYSTEMS: [(&str, &str, u16); 2] = [
    ("medical", "医療職員管理システム", 8801),
    ("voicedrive", "VoiceDrive 職員の声アプリ", 8802),
];

pub(super) struct Stage {
    dir: tempfile::TempDir,
    pub(super) systems: Vec<System>,
    reconciler: Option<Child>,
}

/// A reference system in a process of its own.
pub(super) struct System {
    pub(super) name: &'static str,
    title: &'static str,
    address: SocketAddr,
    token: String,
    client: reqwest::Client,
    process: Option<Child>,
}

impl Stage {
    /// Starts the systems and makes the config repo that names them.
    pub(super) async fn build(_language: Language) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("lockstep-demo-")
            .tempdir()
            .context("can't make a temporary folder")?;
        let mut systems = Vec::new();
        for (name, title, port) in SYSTEMS {
            let token = uuid::Uuid::new_v4().simple().to_string();
            write_secret(&dir.path().join(format!("{name}.token")), &token)?;
            let mut system = System {
                name,
                title,
                address: SocketAddr::from(([127, 0, 0, 1], port)),
                token,
                client: reqwest::Client::new(),
                process: None,
            };
            if system.start(dir.path()).await.is_err() {
                system.address.set_port(0);
                system.start(dir.path()).await?;
            }
            systems.push(system);
        }
        let stage = Self {
            dir,
            systems,
            reconciler: None,
        };
        stage.write_settings()?;
        stage.write_repo()?;
        Ok(stage)
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn repo_path(&self) -> PathBuf {
        self.dir.path().join("config.git")
    }

    fn settings_path(&self) -> PathBuf {
        self.dir.path().join("lockstep.toml")
    }

    fn write_settings(&self) -> anyhow::Result<()> {
        let mut text = String::from("[intervals]\ngit = \"1s\"\nsystems = \"1s\"\n");
        for system in &self.systems {
            text.push_str(&format!(
                "\n[credentials.{0}]\ntoken_file = \"{0}.token\"\nhosts = [\"{1}\"]\n",
                system.name, system.address
            ));
        }
        std::fs::write(self.settings_path(), text).context("can't write the settings")
    }

    /// The sample as a bare repository's first commit, with the addresses that the systems really have.
    fn write_repo(&self) -> anyhow::Result<()> {
        let mut files: BTreeMap<DocPath, Option<Vec<u8>>> = BTreeMap::new();
        for (path, text) in sample::FILES.iter().chain(crate::cli::policies::POLICIES) {
            files.insert(path.parse()?, Some(self.adapted(path, text).into_bytes()));
        }
        let repo = Repo::init_bare(&self.repo_path())?;
        let now = crate::clock::Clock::now(&crate::clock::SystemClock);
        repo.commit_files(
            "main",
            None,
            &files,
            &Identity::new("sato", "sato@localhost"),
            "The hospital's settings",
            now,
        )?;
        Ok(())
    }

    fn adapted(&self, path: &str, text: &str) -> String {
        if path != crate::compile::CONFIG {
            return text.to_owned();
        }
        // The story has to hold on any day of the year, so the sample's freeze is left out.
        let text = text.split("\nfreezes:").next().unwrap_or(text);
        SYSTEMS.iter().zip(&self.systems).fold(
            format!("{text}\n"),
            |text, ((_, _, port), system)| {
                text.replace(&format!("http://127.0.0.1:{port}"), &system.url())
            },
        )
    }

    pub(super) fn start_reconciler(&mut self) -> anyhow::Result<()> {
        let log = std::fs::File::create(self.dir.path().join("reconciler.log"))?;
        let child = this_binary()?
            .args(["run", "--log", "info", "--repo"])
            .arg(self.repo_path())
            .arg("--settings")
            .arg(self.settings_path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("can't start the reconciler")?;
        self.reconciler = Some(child);
        Ok(())
    }

    /// The same repository and store that the reconciler works on.
    pub(super) async fn app(&self) -> anyhow::Result<App> {
        App::open(Settings::load(
            Some(&self.settings_path()),
            Some(&self.repo_path()),
        )?)
        .await
    }

    pub(super) fn system(&self, name: &str) -> anyhow::Result<&System> {
        self.systems
            .iter()
            .find(|s| s.name == name)
            .with_context(|| format!("no system {name}"))
    }

    pub(super) async fn stop(&mut self, name: &str) -> anyhow::Result<()> {
        let system = self
            .systems
            .iter_mut()
            .find(|s| s.name == name)
            .with_context(|| format!("no system {name}"))?;
        system.stop().await;
        Ok(())
    }

    pub(super) async fn restart(&mut self, name: &str) -> anyhow::Result<()> {
        let dir = self.dir.path().to_owned();
        let system = self
            .systems
            .iter_mut()
            .find(|s| s.name == name)
            .with_context(|| format!("no system {name}"))?;
        system.start(&dir).await
    }

    /// Ends the processes in order; the folder goes with the stage.
    pub(super) async fn strike(mut self) {
        if let Some(mut reconciler) = self.reconciler.take() {
            end(&mut reconciler).await;
        }
        for system in &mut self.systems {
            system.stop().await;
        }
    }
}

impl System {
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn start(&mut self, dir: &Path) -> anyhow::Result<()> {
        let mut child = this_binary()?
            .args([
                "system", "serve", "--name", self.name, "--title", self.title, "--listen",
            ])
            .arg(self.address.to_string())
            .arg("--database")
            .arg(dir.join(format!("{}.db", self.name)))
            .arg("--token-file")
            .arg(dir.join(format!("{}.token", self.name)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("can't start {}", self.name))?;
        let said = child
            .stderr
            .take()
            .context("the system's messages can't be read")?;
        let mut lines = BufReader::new(said).lines();
        let mut heard = String::new();
        let listening = tokio::time::timeout(DEADLINE, async {
            while let Ok(Some(line)) = lines.next_line().await {
                let address = line
                    .split("http://")
                    .nth(1)
                    .and_then(|rest| rest.trim().parse().ok());
                if address.is_some() {
                    return address;
                }
                heard = line;
            }
            None
        })
        .await;
        let Ok(Some(address)) = listening else {
            bail!("{} did not start: {heard}", self.name)
        };
        self.address = address;
        self.process = Some(child);
        Ok(())
    }

    async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            end(&mut process).await;
        }
    }

    /// A flag as the system has it now.
    pub(super) async fn flag(&self, key: &str) -> anyhow::Result<Value> {
        let state: Value = self
            .client
            .get(format!("{}/lockstep/v1/state", self.url()))
            .bearer_auth(&self.token)
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        let resources = state["resources"]
            .as_array()
            .context("the state has no resources")?;
        let found = resources
            .iter()
            .find(|r| r["kind"] == "FeatureFlag" && r["name"] == key);
        Ok(found.map_or(Value::Null, |r| r["spec"].clone()))
    }

    /// Changes a resource behind Lockstep's back, as someone on the system itself would.
    pub(super) async fn edit(&self, id: &str, spec: &Value) -> anyhow::Result<()> {
        let url = format!("{}/admin/resources/{id}", self.url());
        self.client
            .put(url)
            .bearer_auth(&self.token)
            .json(spec)
            .send()
            .await?
            .error_for_status()?;
        Ok(())
    }
}

fn this_binary() -> anyhow::Result<Command> {
    let program = std::env::current_exe().context("can't find this program's own file")?;
    let mut command = Command::new(program);
    // What is set for this process is not for the ones on the stage.
    for name in crate::settings::own_variables() {
        command.env_remove(name);
    }
    Ok(command)
}

/// Asks a process to end, and makes it after a while.
async fn end(child: &mut Child) {
    if let Some(id) = child.id() {
        let asked = Command::new("kill")
            .args(["-TERM", &id.to_string()])
            .status()
            .await;
        if asked.is_ok_and(|s| s.success())
            && tokio::time::timeout(Duration::from_secs(5), child.wait())
                .await
                .is_ok()
        {
            return;
        }
    }
    let _ = child.kill().await;
}

fn write_secret(path: &Path, secret: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    Ok(file.write_all(secret.as_bytes())?)
}
