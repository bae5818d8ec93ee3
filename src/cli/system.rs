//! `lockstep system`: adding one to the config repo; a reference system for demonstrations, tests and people who write a real one, and the
//! conformance test for those.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use secrecy::SecretString;
use url::Url;

use super::{Env, Exit, print};
use crate::clock::SystemClock;
use crate::config::connectors::address;
use crate::conformance::{self, Occupied};
use crate::ids::{Fence, KindName, SystemName};
use crate::reference::{self, Faults, Options};

mod add;

/// Connected systems.
#[derive(Debug, clap::Args)]
pub struct SystemArgs {
    #[command(subcommand)]
    pub command: SystemCommand,
}

#[derive(Debug, clap::Subcommand)]
pub enum SystemCommand {
    /// Propose a new system for lockstep.yaml, which is only watched at first
    ///
    /// It climbs from there, one proposal each: detect (differences are told), upsert (creates and updates), enforce (deletes too).
    Add(add::AddArgs),
    /// Run a small reference system: the System API over SQLite, and a page that shows what its users see
    Serve(ServeArgs),
    /// Test whether a system keeps the System API, behaviour by behaviour
    ///
    /// It makes resources of its own and removes them. Exit code 1 where a behaviour failed, 2 where the system could not be tested.
    Test(TestArgs),
}

/// What a reference system is started with.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// The system's name, as lockstep.yaml has it
    #[arg(long)]
    pub name: SystemName,
    /// Where to listen; port 0 takes any that is free
    #[arg(long, default_value = "127.0.0.1:8801", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// The SQLite file that holds its state; made where it is not there
    #[arg(long, value_name = "FILE")]
    pub database: PathBuf,
    /// What its page is called; the name by default
    #[arg(long)]
    pub title: Option<String>,
    /// A file that holds the bearer token it asks for; needed to listen on other than loopback
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The kinds it takes, separated by commas; all by default
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    pub kinds: Vec<KindName>,
    /// Let tests set faults (refusals, delays, lies) at PUT /faults
    #[arg(long)]
    pub faults: bool,
}

/// What a system is tested with.
#[derive(Debug, clap::Args)]
pub struct TestArgs {
    /// Where its API is, without /lockstep/v1
    #[arg(value_parser = address)]
    pub url: Url,
    /// A file that holds the bearer token it asks for
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The kind of the resources that are made
    #[arg(long, default_value = "FeatureFlag")]
    pub kind: KindName,
    /// A JSON list of at least two different contents that are valid for the kind; built in for FeatureFlag
    #[arg(long, value_name = "FILE")]
    pub specs: Option<PathBuf>,
    /// Test a system that holds resources already; they are left alone, but the fence is raised
    #[arg(long)]
    pub yes: bool,
    /// A shell command that restarts the system, to see what it still knows then
    #[arg(long, value_name = "COMMAND")]
    pub restart_command: Option<String>,
    /// How many changes the large changeset has
    #[arg(long, default_value_t = 10_000, value_name = "COUNT")]
    pub changes: usize,
    /// Where to begin looking for the highest fence that the system has seen
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub fence: u64,
    /// How long one request may take, in seconds
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub timeout: u64,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Human,
    Json,
}

/// Runs the command; a served system returns when it has been stopped.
pub(crate) async fn run(args: SystemArgs, env: Env) -> anyhow::Result<Exit> {
    match args.command {
        SystemCommand::Add(args) => add::run(args, env).await,
        SystemCommand::Serve(args) => serve(args).await.map(|()| Exit::Done),
        SystemCommand::Test(args) => test(args, &env).await,
    }
}

async fn test(args: TestArgs, env: &Env) -> anyhow::Result<Exit> {
    let TestArgs {
        url,
        token_file,
        kind,
        specs,
        yes,
        restart_command,
        changes,
        fence,
        timeout,
        format,
    } = args;
    let specs = match specs {
        None => Vec::new(),
        Some(file) => {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            serde_json::from_str(&text)
                .with_context(|| format!("{} is no JSON list of contents", file.display()))?
        }
    };
    let report = conformance::test(conformance::Options {
        url,
        token: token_file.as_deref().map(read_token).transpose()?,
        kind,
        specs,
        occupied: if yes {
            Occupied::Test
        } else {
            Occupied::Refuse
        },
        many: changes,
        fence: Fence(fence),
        timeout: Duration::from_secs(timeout.max(1)),
        restart: restart_command
            .map(|command| restart_by(command, env.settings.private_variables())),
        clock: Arc::new(SystemClock),
    })
    .await?;
    match format {
        Format::Human => print(&conformance::text(&report))?,
        Format::Json => print(&format!("{}\n", serde_json::to_string_pretty(&report)?))?,
    }
    Ok(if report.passes() {
        Exit::Done
    } else {
        Exit::Findings
    })
}

/// Runs a command of the person at the keyboard in a shell. What it prints goes to stderr, away from the report; what is private to this
/// process does not go into its environment.
fn restart_by(command: String, private: BTreeSet<String>) -> conformance::Restart {
    Arc::new(move || {
        let (command, private) = (command.clone(), private.clone());
        Box::pin(async move {
            let mut shell = tokio::process::Command::new("sh");
            for name in &private {
                shell.env_remove(name);
            }
            let output = shell
                .args(["-c", &command])
                .stdin(std::process::Stdio::null())
                .stdout(std::io::stderr())
                .status()
                .await
                .map_err(|error| format!("{command}: {error}"))?;
            if output.success() {
                Ok(())
            } else {
                Err(format!("{command}: {output}"))
            }
        })
    })
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let ServeArgs {
        name,
        listen,
        database,
        title,
        token_file,
        kinds,
        faults,
    } = args;
    let token = token_file.as_deref().map(read_token).transpose()?;
    let told = name.clone();
    let options = Options {
        name,
        title,
        listen,
        database,
        token,
        kinds: BTreeSet::from_iter(kinds),
        faults: faults.then(Faults::default),
    };
    reference::serve(options, |addr| {
        // A closed standard error is no reason to stop serving.
        let _ = writeln!(std::io::stderr(), "{told} listens on http://{addr}");
    })
    .await?;
    Ok(())
}

/// More than that is no token.
const TOKEN_LIMIT: u64 = 64 << 10;

/// A token never comes by an argument, where every process on the host could read it.
fn read_token(file: &Path) -> anyhow::Result<SecretString> {
    let mut text = String::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(TOKEN_LIMIT).read_to_string(&mut text))
        .with_context(|| format!("cannot read the token file {}", file.display()))?;
    let token = text.trim();
    anyhow::ensure!(
        !token.is_empty(),
        "the token file {} is empty; put the bearer token into it",
        file.display()
    );
    Ok(SecretString::from(token))
}
