//! `lockstep policy`: the policies' own tests.

use clap::{Args, Subcommand, ValueEnum};

use super::input::InputArgs;
use super::{Env, Exit, print};
use crate::policy::testing::{self, Outcome, TestReport};

#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Run the `*_test.rego` files.
    Test {
        #[command(flatten)]
        input: InputArgs,
        /// Show how much of each policy the tests reach, by line.
        #[arg(long)]
        coverage: bool,
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

pub(crate) fn run(args: &PolicyArgs, env: &Env) -> anyhow::Result<Exit> {
    let PolicyCommand::Test {
        input,
        coverage,
        format,
    } = &args.command;
    let input = input.read(env)?;
    let report = testing::run_tests(&input.snapshot.policies);
    print(&match format {
        Format::Human => text(&report, *coverage),
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&report)?),
    })?;
    Ok(if report.passed() {
        Exit::Done
    } else {
        Exit::Findings
    })
}

fn text(report: &TestReport, coverage: bool) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        out.push_str(&format!("{}: {}\n", finding.location.path, finding.message));
    }
    for result in &report.results {
        let sign = match result.outcome {
            Outcome::Passed => "ok     ",
            Outcome::Failed => "FAILED ",
            Outcome::Skipped => "skipped",
        };
        out.push_str(&format!(
            "{sign} {}:{} {}\n",
            result.file, result.line, result.name
        ));
        if let Some(message) = &result.message {
            out.push_str(&format!("        {message}\n"));
        }
    }
    if coverage {
        for (path, cover) in &report.coverage {
            let missing: Vec<String> = cover.not_covered.iter().map(ToString::to_string).collect();
            let missing = if missing.is_empty() {
                String::new()
            } else {
                format!("  not reached: {}", missing.join(", "))
            };
            out.push_str(&format!("{:>5.1}%  {path}{missing}\n", cover.percent));
        }
    }
    out.push_str(&format!(
        "policy tests: {} passed, {} failed, {} skipped\n",
        report.count(Outcome::Passed),
        report.count(Outcome::Failed),
        report.count(Outcome::Skipped)
    ));
    out
}
