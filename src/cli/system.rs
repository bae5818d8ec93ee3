//! `lockstep system`: a reference system for demonstrations, tests and people who write a real one.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use secrecy::SecretString;

use crate::ids::{KindName, SystemName};
use crate::reference::{self, Faults, Options};

/// Connected systems.
#[derive(Debug, clap::Args)]
pub struct SystemArgs {
    #[command(subcommand)]
    pub command: SystemCommand,
}

#[derive(Debug, clap::Subcommand)]
pub enum SystemCommand {
    /// Run a small reference system: the System API over SQLite, and a page that shows what its users see
    Serve(ServeArgs),
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

/// Runs the command; returns when the system has been stopped.
pub async fn run(args: SystemArgs) -> anyhow::Result<()> {
    match args.command {
        SystemCommand::Serve(args) => serve(args).await,
    }
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

/// A token never comes by an argument, where every process on the host could read it.
fn read_token(file: &Path) -> anyhow::Result<SecretString> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the token file {}", file.display()))?;
    let token = text.trim();
    anyhow::ensure!(
        !token.is_empty(),
        "the token file {} is empty; put the bearer token into it",
        file.display()
    );
    Ok(SecretString::from(token))
}
