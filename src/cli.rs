//! The command line: one file a command; this one is the tree, and the contract of exit codes.
//!
//! 0 done or in step, 1 findings (invalid, denied, held, differences with `plan --exit-code`), 2 could not do it. Data goes to stdout, talk to
//! stderr. Without `--repo` the config repo is the current folder.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::resource::Language;
use crate::settings::Settings;

mod adopt;
mod apply;
mod audit;
mod check;
mod codeowners;
mod demo;
mod explain;
mod gate;
mod held;
mod hook;
pub mod init;
mod input;
mod outbox;
mod plan;
pub mod policies;
mod policy;
mod proposal;
mod propose;
mod release;
mod run;
mod sign;
mod signals;
mod status;
mod store;
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
    /// Add the log to this file instead; what is for the person at the terminal stays on stderr.
    #[arg(long, global = true, value_name = "FILE")]
    log_file: Option<PathBuf>,
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
    /// Judge what lies between two revisions, for CI: findings, policies and plan; missing approvals are told, and are no failure.
    Gate(gate::GateArgs),
    /// Open a proposal from the work tree or from `--set` edits.
    Propose(propose::ProposeArgs),
    /// Open a proposal that writes into the repo what is live on a system and no document declares.
    Adopt(adopt::AdoptArgs),
    /// List, show, review, merge or close proposals.
    Proposal(proposal::ProposalArgs),
    /// Show for each system: revision, in step or why not, last change.
    Status(status::StatusArgs),
    /// Let one held plan pass, by its digest.
    Release(release::ReleaseArgs),
    /// Say which rules, people, limits and freezes judge a document, a resource or a line of a plan.
    Explain(explain::ExplainArgs),
    /// Make a bare repository refuse pushes that have not passed the gate.
    Hook(hook::HookArgs),
    /// Write CODEOWNERS from `people:` and from whom the policies ask.
    Codeowners(codeowners::CodeownersArgs),
    /// Test the policies, or write what they judge by.
    Policy(policy::PolicyArgs),
    /// Add a system to the config repo, test one, or serve the reference system.
    System(system::SystemArgs),
    /// Show what happened, and verify that the record is whole.
    Audit(audit::AuditArgs),
    /// Show what is owed to the outside and what was given up, or send that again.
    Outbox(outbox::OutboxArgs),
    /// Bring the store up to date, look it over or copy it.
    Store(store::StoreArgs),
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
    let log = (cli.global.log.clone(), cli.global.log_file.clone());
    match start_log(log.0.as_deref(), log.1.as_deref()).and_then(|()| dispatch(cli)) {
        Ok(exit) => exit,
        Err(error) => {
            talk(&format!("error: {error:#}"));
            Exit::Failed
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    let settings = Settings::load(cli.global.settings.as_deref(), cli.global.repo.as_deref())?;
    for warning in &settings.warnings {
        talk(&format!("warning: {warning}"));
    }
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
        Command::Gate(args) => gate::run(&args, &env),
        Command::Apply(args) => wait_for(apply::run(args, env)),
        Command::Run(args) => wait_for(run::run(args, env)),
        Command::Propose(args) => wait_for(propose::run(args, env)),
        Command::Adopt(args) => wait_for(adopt::run(args, env)),
        Command::Proposal(args) => wait_for(proposal::run(args, env)),
        Command::Status(args) => wait_for(status::run(args, env)),
        Command::Release(args) => wait_for(release::run(args, env)),
        Command::Explain(args) => explain::run(&args, &env),
        Command::Hook(args) => hook::run(&args, &env),
        Command::Codeowners(args) => codeowners::run(&args, &env),
        Command::Policy(args) => policy::run(&args, &env),
        Command::System(args) => wait_for(system::run(args, env)),
        Command::Audit(args) => wait_for(audit::run(args, env)),
        Command::Outbox(args) => wait_for(outbox::run(args, env)),
        Command::Store(args) => wait_for(store::run(args, env)),
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(BLOCKING)
        .enable_all()
        .build()?;
    let done = runtime.block_on(command);
    // What still blocks by now (a disk, a lock) has lost whoever waited for it, and leaves what a crash would leave.
    runtime.shutdown_timeout(LAST);
    done
}

/// Threads for git, documents and files; more work than that waits its turn.
const BLOCKING: usize = 64;

/// How long a command's own end may be held up by something that blocks.
const LAST: std::time::Duration = std::time::Duration::from_secs(1);

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

fn start_log(filter: Option<&str>, file: Option<&Path>) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(filter.unwrap_or("warn"))
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    // A second subscriber in one process (tests) is no reason to fail.
    let _ = match file {
        Some(path) => {
            let mut options = std::fs::OpenOptions::new();
            options.create(true).append(true);
            // Names of systems and people are nobody else's business.
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let file = options
                .open(path)
                .with_context(|| format!("cannot write the log to {}", path.display()))?;
            log.with_writer(Arc::new(file)).with_ansi(false).try_init()
        }
        None => log
            .with_writer(std::io::stderr)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .try_init(),
    };
    Ok(())
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    /// What stands on a command line is seen by every process of the host.
    #[test]
    fn no_argument_takes_a_secret() {
        fn walk(command: &clap::Command, seen: &mut usize) {
            for argument in command.get_arguments() {
                *seen += 1;
                let name = argument.get_id().as_str().replace('-', "_");
                let words = ["token", "secret", "password", "credential", "api_key"];
                let is_secret = words.iter().any(|word| name.contains(word));
                let is_file = name.ends_with("_file");
                // The name of a credential, as lockstep.yaml has it.
                let is_name = name.ends_with("_name");
                let command = command.get_name();
                assert!(
                    !is_secret || is_file || is_name,
                    "{command} takes {name} as an argument"
                );
            }
            for command in command.get_subcommands() {
                walk(command, seen);
            }
        }
        let mut seen = 0;
        walk(&Cli::command(), &mut seen);
        assert!(seen > 40, "{seen}");
    }
}
