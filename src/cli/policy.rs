//! `lockstep policy`: the policies' own tests, and the input that they judge by.

use clap::{Args, Subcommand, ValueEnum};

use super::input::{CaseArgs, InputArgs};
use super::{Env, Exit, print, talk};
use crate::document::Snapshot;
use crate::finding::{Finding, Report, Span};
use crate::ids::Digest;
use crate::policy::PolicySet;
use crate::policy::testing::{self, Outcome, TestReport};
use crate::view::{self, ReportView};

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
        /// How to print: for people, for programs, for code scanning, or as annotations of a GitHub workflow.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
    /// Write what a proposal is judged by, for opa, conftest, regorus and other Rego tools: `input` as JSON.
    Input {
        #[command(flatten)]
        case: CaseArgs,
        /// All resources before and after, not only those of the kinds that the policies look at.
        #[arg(long)]
        all: bool,
        #[arg(long, value_enum, default_value_t = InputFormat::Json)]
        format: InputFormat,
    },
}

/// How the input is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum InputFormat {
    /// Canonical, to the byte what was judged: its SHA-256 is the verdict's input digest.
    Json,
    /// Indented, for reading.
    Pretty,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
    Sarif,
    Github,
}

pub(crate) fn run(args: &PolicyArgs, env: &Env) -> anyhow::Result<Exit> {
    match &args.command {
        PolicyCommand::Test {
            input,
            coverage,
            format,
        } => test(input, *coverage, *format, env),
        PolicyCommand::Input { case, all, format } => write_input(case, *all, *format, env),
    }
}

fn write_input(case: &CaseArgs, all: bool, format: InputFormat, env: &Env) -> anyhow::Result<Exit> {
    let Some(judgement) = case.judge(env)? else {
        anyhow::bail!("only a proposal is judged: give its number, or --base REV and --head REV");
    };
    let (policies, _) = PolicySet::compile(&judgement.before.policies);
    let text = if all {
        judgement.input.canonical_json(None)?
    } else {
        policies.input_text(&judgement.input)?
    };
    let digest = Digest::of(text.as_bytes());
    print(&match format {
        InputFormat::Json => text,
        InputFormat::Pretty => {
            let value: serde_json::Value = serde_json::from_str(&text)?;
            format!("{value:#}\n")
        }
    })?;
    talk(&format!(
        "input {digest}; policies at {}",
        judgement.proposal.base.short()
    ));
    Ok(Exit::Done)
}

fn test(input: &InputArgs, coverage: bool, format: Format, env: &Env) -> anyhow::Result<Exit> {
    let input = input.read(env)?;
    let report = testing::run_tests(&input.snapshot.policies);
    let failures = || {
        let found = ReportView::new(&failures(&report, &input.snapshot), |path| {
            input.snapshot.text(path)
        });
        found.with_paths(|path| input.repo.git_path(path))
    };
    print(&match format {
        Format::Human => text(&report, coverage),
        Format::Json => format!("{}\n", serde_json::to_string_pretty(&report)?),
        Format::Sarif => view::sarif::sarif(&failures()),
        Format::Github => view::annotations::annotations(&failures(), env.language),
    })?;
    Ok(if report.passed() {
        Exit::Done
    } else {
        Exit::Findings
    })
}

/// Tests that failed, as findings at the lines where they begin.
fn failures(report: &TestReport, snapshot: &Snapshot) -> Report {
    let failed = report.results.iter();
    let failed = failed.filter(|result| result.outcome == Outcome::Failed);
    let findings = failed.map(|result| {
        let at = snapshot
            .text(&result.file)
            .and_then(|text| line_of(text, result.line));
        let why = result.message.as_deref().unwrap_or("it failed");
        let message = format!("{}: {why}", result.name);
        Finding::error("policy/test-failed", &result.file, at, message)
    });
    Report::new(findings.chain(report.findings.iter().cloned()).collect())
}

fn line_of(text: &str, line: u32) -> Option<Span> {
    let nth = usize::try_from(line).ok()?.checked_sub(1)?;
    let start: usize = text.split('\n').take(nth).map(|l| l.len() + 1).sum();
    let length = text.split('\n').nth(nth)?.trim_end().len();
    Some(Span::in_source(text, start..start + length))
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
