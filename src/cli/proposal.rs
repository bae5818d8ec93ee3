//! `lockstep proposal`: list, show, review, merge and close.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{Env, Exit, print, talk};
use crate::app::App;
use crate::forge::{ProposalState, ReviewKind};
use crate::gate::{self, GateError};
use crate::resource::Language;
use crate::view;

#[derive(Debug, Args)]
pub(crate) struct ProposalArgs {
    #[command(subcommand)]
    command: ProposalCommand,
    /// Who acts; from `LOCKSTEP_USER` or git's `user.name` by default.
    #[arg(long = "as", value_name = "PERSON", global = true)]
    as_user: Option<String>,
}

#[derive(Debug, Subcommand)]
enum ProposalCommand {
    /// List the open proposals.
    List {
        /// Merged and closed ones too.
        #[arg(long)]
        all: bool,
        #[arg(long, value_enum, default_value_t = ListFormat::Human)]
        format: ListFormat,
    },
    /// Judge a proposal and show everything about it.
    Show {
        number: u64,
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
    /// Approve what it does now.
    Approve {
        number: u64,
        #[arg(long, short = 'm', default_value = "")]
        message: String,
    },
    /// Block it until you approve.
    RequestChanges {
        number: u64,
        #[arg(long, short = 'm')]
        message: String,
    },
    /// Merge it, if everything required is there.
    Merge { number: u64 },
    /// Close it without merging.
    Close {
        number: u64,
        #[arg(long, short = 'm', default_value = "")]
        message: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Human,
    Json,
    Markdown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ListFormat {
    Human,
    Json,
}

pub(crate) async fn run(args: ProposalArgs, env: Env) -> anyhow::Result<Exit> {
    let language = env.language;
    let app = App::open(env.settings).await?;
    let user = || app.user(args.as_user.as_deref());
    match args.command {
        ProposalCommand::List { all, format } => list(&app, all, format).await,
        ProposalCommand::Show { number, format } => show(&app, number, language, format).await,
        ProposalCommand::Approve { number, message } => {
            review(
                &app,
                number,
                &user()?,
                ReviewKind::Approve,
                &message,
                language,
            )
            .await
        }
        ProposalCommand::RequestChanges { number, message } => {
            review(
                &app,
                number,
                &user()?,
                ReviewKind::RequestChanges,
                &message,
                language,
            )
            .await
        }
        ProposalCommand::Merge { number } => merge(&app, number, &user()?).await,
        ProposalCommand::Close { number, message } => {
            app.forge.close(number, &user()?, &message).await?;
            talk(&format!("proposal {number} is closed"));
            Ok(Exit::Done)
        }
    }
}

async fn list(app: &App, all: bool, format: ListFormat) -> anyhow::Result<Exit> {
    let proposals = app.forge.proposals(all).await?;
    if format == ListFormat::Json {
        print(&format!("{:#}\n", json!(proposals)))?;
        return Ok(Exit::Done);
    }
    if proposals.is_empty() {
        talk(if all {
            "there are no proposals"
        } else {
            "there are no open proposals"
        });
    }
    for p in proposals {
        let state = match &p.state {
            ProposalState::Open => "open".to_owned(),
            ProposalState::Merged { commit } => format!("merged {}", commit.short()),
            ProposalState::Closed => "closed".to_owned(),
        };
        print(&format!(
            "#{:<4} {state:<18} {:<10} {}\n",
            p.number,
            view::printable(&p.author),
            view::printable(&p.title)
        ))?;
    }
    Ok(Exit::Done)
}

/// Judges, publishes and shows. 1 where something stands in the way of merging, other than approvals that are still to come.
pub(crate) async fn show(
    app: &App,
    number: u64,
    language: Language,
    format: Format,
) -> anyhow::Result<Exit> {
    let judgement = app.gate.judge(number).await?;
    let summary = gate::view_of(&judgement, language);
    if judgement.proposal.state == ProposalState::Open {
        app.gate
            .publish(&judgement, &view::markdown::comment(&summary))
            .await?;
    }
    print(&match format {
        Format::Human => view::text::gate(&summary),
        Format::Json => format!("{:#}\n", gate::json_of(&judgement)),
        Format::Markdown => view::markdown::comment(&summary),
    })?;
    Ok(if judgement.blocked() {
        Exit::Findings
    } else {
        Exit::Done
    })
}

async fn review(
    app: &App,
    number: u64,
    user: &str,
    kind: ReviewKind,
    message: &str,
    language: Language,
) -> anyhow::Result<Exit> {
    match app.gate.review(number, user, kind, message).await {
        Ok(()) => {}
        Err(GateError::Closed(why)) => {
            talk(&why);
            return Ok(Exit::Findings);
        }
        Err(other) => return Err(other.into()),
    }
    let judgement = app.gate.judge(number).await?;
    let summary = gate::view_of(&judgement, language);
    app.gate
        .publish(&judgement, &view::markdown::comment(&summary))
        .await?;
    let verb = match kind {
        ReviewKind::Approve => "approved",
        ReviewKind::RequestChanges => "changes requested on",
        ReviewKind::Comment => "commented on",
    };
    talk(&format!(
        "{verb} proposal {number} as {user}, at {}",
        judgement.proposal.head.short()
    ));
    for missing in judgement.missing() {
        talk(&format!("  still missing: {missing}"));
    }
    Ok(Exit::Done)
}

async fn merge(app: &App, number: u64, user: &str) -> anyhow::Result<Exit> {
    match app.gate.merge(number, user).await {
        Ok(commit) => {
            print(&format!("{commit}\n"))?;
            talk(&format!(
                "merged proposal {number} as {}; the reconciler takes it from here",
                commit.short()
            ));
            Ok(Exit::Done)
        }
        Err(GateError::Closed(why)) => {
            talk(&why);
            Ok(Exit::Findings)
        }
        Err(other) => Err(other.into()),
    }
}
