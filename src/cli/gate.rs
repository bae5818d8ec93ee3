//! `lockstep gate`: the judgement of what lies between two revisions, for a CI that no server of Lockstep watches.
//!
//! The same judgement as a proposal's, by the policies, people and systems at the base. Nobody's approval is known here, so a missing one
//! is told and fails nothing: whether it was given is for the forge or a server to see.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use super::{Env, Exit, leave, print};
use crate::app;
use crate::clock::{Clock as _, SystemClock};
use crate::gate;
use crate::repo::Repo;
use crate::view;

#[derive(Debug, Args)]
pub(crate) struct GateArgs {
    /// What judges: policies, people, limits and systems are read here.
    #[arg(long, value_name = "REV")]
    base: String,
    /// What is judged, as it would be after the merge into base.
    #[arg(long, value_name = "REV")]
    head: String,
    /// The account on the forge of who proposes it; without it, whoever the last commit names.
    #[arg(long, value_name = "LOGIN")]
    author: Option<String>,
    /// How to print: for people, for programs, as a proposal's comment, or as annotations of a GitHub workflow.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Add the comment that a proposal would have to this file, as for GITHUB_STEP_SUMMARY.
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// Write findings and denials to this file, for code scanning.
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
    Markdown,
    Github,
}

pub(crate) fn run(args: &GateArgs, env: &Env) -> anyhow::Result<Exit> {
    let repo = Repo::open(&env.settings.repo)?;
    let judgement = gate::judge_between(
        &repo,
        (&repo.resolve(&args.base)?, &repo.resolve(&args.head)?),
        args.author.as_deref(),
        SystemClock.now(),
        env.language,
        app::addresses(&env.settings),
    )?;
    let summary = gate::view_of(&judgement, env.language);
    let placed = || {
        let judged = summary.judged(|path| judgement.after.text(path));
        judged.with_paths(|path| repo.git_path(path))
    };
    if let Some(file) = &args.summary {
        add(file, &view::markdown::comment(&summary))?;
    }
    if let Some(file) = &args.sarif {
        std::fs::write(file, view::sarif::sarif(&placed()))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    print(&match args.format {
        Format::Human => view::text::gate(&summary),
        Format::Json => format!("{:#}\n", gate::json_of(&judgement)),
        Format::Markdown => view::markdown::comment(&summary),
        Format::Github => {
            let statuses = view::annotations::statuses(&summary.statuses);
            let findings = view::annotations::annotations(&placed(), env.language);
            format!("{statuses}{findings}")
        }
    })?;
    let blocked = judgement.blocked();
    leave((summary, judgement));
    Ok(if blocked { Exit::Findings } else { Exit::Done })
}

/// GitHub gives every step a file that it may add to.
fn add(file: &Path, text: &str) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let open = options.create(true).append(true).open(file);
    open.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", file.display()))
}
