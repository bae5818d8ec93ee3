//! `lockstep check`: every fault of the config repo, its policies included, in one pass.

use clap::{Args, ValueEnum};

use super::input::{Input, InputArgs};
use super::{Env, Exit, leave, print};
use crate::clock::{Clock as _, SystemClock};
use crate::compile::{self, Compiled};
use crate::finding::Finding;
use crate::plan::Plan;
use crate::view::{self, ReportView};

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    input: InputArgs,
    /// How to print: for people, for programs, for code scanning, or as annotations of a GitHub workflow.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
    Sarif,
    Github,
}

/// What a proposal brings that is over by now. Of a tree by itself nothing is said: what has ended there was once wanted.
fn over(input: &Input, compiled: &Compiled) -> Vec<Finding> {
    let Some((before, _)) = &input.before else {
        return Vec::new();
    };
    let base = compile::compile(before);
    let plan = Plan::between(Some(&base.bundle), &compiled.bundle);
    compile::past(&input.snapshot, compiled, &plan, SystemClock.now())
}

pub(crate) fn run(args: &CheckArgs, env: &Env) -> anyhow::Result<Exit> {
    let input = args.input.read(env)?;
    let compiled = compile::compile(&input.snapshot);
    let found = input.report(&compiled).with(over(&input, &compiled));
    let report = ReportView::new(&found, |path| input.snapshot.text(path));
    let in_git = || report.with_paths(|path| input.repo.git_path(path));
    let text = match args.format {
        Format::Human => view::text::report(&report, env.language),
        Format::Json => view::json::check(&report, &compiled.bundle.counts),
        Format::Sarif => view::sarif::sarif(&in_git()),
        Format::Github => view::annotations::annotations(&in_git(), env.language),
    };
    print(&text)?;
    let passes = found.passes();
    leave((input, compiled));
    Ok(if passes { Exit::Done } else { Exit::Findings })
}
