//! The command line: one file a command; this one is the tree, and the contract of exit codes.
//!
//! 0 done or in step, 1 findings (invalid, denied, held, differences with `plan --exit-code`), 2 could not do it. Data goes to stdout, talk to
//! stderr. Without `--repo` the config repo is the current folder.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::resource::Language;
use crate::settings::Settings;

mod apply;
mod audit;
mod check;
mod demo;
mod hook;
pub mod init;
mod input;
mod plan;
pub mod policies;
mod policy;
mod proposal;
mod propose;
mod release;
mod run;
mod sign;
mod status;
pub mod system;
mod upstream;

/// Lockstep keeps every connected system equal to one reviewed config repository.
#[derive(Debug, Parser)]
#[command(
    name = "lockstep",
    version,
    max_term_width = 100,
    infer_long_args = true
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// The config repo: a work tree or a bare repository.
    #[arg(long, global = true, value_name = "DIR")]
    repo: Option<PathBuf>,
    /// The server's settings.
    #[arg(long, global = true, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Language of texts for people; from the locale by default.
    #[arg(long, global = true, value_enum)]
    lang: Option<Lang>,
    /// How loudly to talk on stderr: an env_logger filter such as `info` or `lockstep=debug`.
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Lang {
    En,
    Ja,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a config repo to start from.
    Init(init::InitArgs),
    /// Report every fault of the config repo.
    Check(check::CheckArgs),
    /// Show what would change, on paper or against the live systems.
    Plan(plan::PlanArgs),
    /// Bring every system in step with the merged state, once.
    Apply(apply::ApplyArgs),
    /// Keep every system in step, until told to stop.
    Run(run::RunArgs),
    /// Open a proposal from the work tree or from `--set` edits.
    Propose(propose::ProposeArgs),
    /// List, show, review, merge or close proposals.
    Proposal(proposal::ProposalArgs),
    /// Show for each system: revision, in step or why not, last change.
    Status(status::StatusArgs),
    /// Let one held plan pass, by its digest.
    Release(release::ReleaseArgs),
    /// Make a bare repository refuse pushes that have not passed the gate.
    Hook(hook::HookArgs),
    /// Test the policies.
    Policy(policy::PolicyArgs),
    /// Serve the reference system, or test a real one.
    System(system::SystemArgs),
    /// Show what happened, and verify that the record is whole.
    Audit(audit::AuditArgs),
    /// Print the JSON Schema of a document, for editors.
    Schema {
        /// `FeatureFlag`, `AccessGrant`, `InterviewType`, `Config`, …
        kind: String,
    },
    /// Watch a reviewed change reach two running systems.
    Demo(demo::DemoArgs),
    /// Print a completion script.
    Completions { shell: clap_complete::Shell },
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or in step.
    Done,
    /// Findings: invalid, denied, held, different.
    Findings,
    /// Could not do it.
    Failed,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Findings => Self::from(1),
            Exit::Failed => Self::from(2),
        }
    }
}

/// What a command is given besides its own arguments.
pub(crate) struct Env {
    pub(crate) settings: Settings,
    pub(crate) language: Language,
}

/// Runs one command to its end.
pub fn run(cli: Cli) -> Exit {
    start_log(cli.global.log.as_deref());
    match dispatch(cli) {
        Ok(exit) => exit,
        Err(error) => {
            talk(&format!("error: {error:#}"));
            Exit::Failed
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    let settings = Settings::load(cli.global.settings.as_deref(), cli.global.repo.as_deref())?;
    let language = match cli.global.lang {
        Some(Lang::En) => Language::English,
        Some(Lang::Ja) => Language::Japanese,
        None => settings.language,
    };
    let env = Env { settings, language };
    match cli.command {
        Command::Init(args) => {
            talk(&init::run(
                &args,
                env.language,
                crate::clock::Clock::now(&crate::clock::SystemClock),
            )?);
            Ok(Exit::Done)
        }
        Command::Check(args) => check::run(&args, &env),
        Command::Plan(args) => plan::run(&args, &env),
        Command::Apply(args) => wait_for(apply::run(args, env)),
        Command::Run(args) => wait_for(run::run(args, env)),
        Command::Propose(args) => wait_for(propose::run(args, env)),
        Command::Proposal(args) => wait_for(proposal::run(args, env)),
        Command::Status(args) => wait_for(status::run(args, env)),
        Command::Release(args) => wait_for(release::run(args, env)),
        Command::Hook(args) => hook::run(&args, &env),
        Command::Policy(args) => policy::run(&args, &env),
        Command::System(args) => wait_for(system::run(args)),
        Command::Audit(args) => wait_for(audit::run(args, env)),
        Command::Schema { kind } => schema(&kind),
        Command::Demo(args) => wait_for(demo::run(args, env)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "lockstep", &mut script);
            print(&String::from_utf8_lossy(&script))?;
            Ok(Exit::Done)
        }
    }
}

/// Runs an asynchronous command. Two workers: the work is waiting for systems, not computing.
pub(crate) fn wait_for<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(command)
}

/// Waits for Ctrl-C or SIGTERM.
pub(crate) async fn interrupted() {
    let interrupt = tokio::signal::ctrl_c();
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = interrupt => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = interrupt.await;
        }
    }
}

fn schema(kind: &str) -> anyhow::Result<Exit> {
    let Some(schema) = crate::resource::schema::schema(kind) else {
        anyhow::bail!(
            "there is no schema for {kind:?}; there is one for each of: {}",
            crate::resource::schema::NAMES.join(", ")
        );
    };
    print(&format!("{schema:#}\n"))?;
    Ok(Exit::Done)
}

fn start_log(filter: Option<&str>) {
    let filter = tracing_subscriber::EnvFilter::try_new(filter.unwrap_or("warn"))
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    // A second subscriber in one process (tests) is no reason to fail.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .try_init();
}

/// Writes data to stdout, without colour unless it is a terminal. A closed pipe ends the output quietly.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Leaves memory to the end of the process, which is near: freeing a large repo piece by piece would be a tenth of the work.
fn leave<T>(memory: T) {
    std::mem::forget(memory);
}

/// Says something to the person at the terminal.
pub(crate) fn talk(text: &str) {
    let mut err = anstream::stderr().lock();
    // If nobody can be told, there is nobody to tell that.
    let _ = writeln!(err, "{text}");
}
