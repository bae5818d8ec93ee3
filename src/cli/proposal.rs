//! `lockstep proposal`: list, show, review, merge and close.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::sign::{self, Key};
use super::{Env, Exit, print, talk};
use crate::app::App;
use crate::forge::{Logins, ProposalState, ReviewKind};
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
    /// Approve what it does now; signed, where `people:` gives you a key.
    Approve {
        number: u64,
        #[arg(long, short = 'm', default_value = "")]
        message: String,
        /// Your SSH key, private or, if an agent has it, public; by default git's `user.signingkey`, or the agent's key that is
        /// under `people:`.
        #[arg(long, value_name = "PATH")]
        sign_with: Option<PathBuf>,
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
    let key = if let ProposalCommand::Approve { sign_with, .. } = &args.command {
        Key::find(sign_with.as_deref(), &env.settings)?
    } else {
        None
    };
    let app = App::open(super::upstream::settings(env.settings)?).await?;
    let as_user = args.as_user.as_deref();
    let user = async || app.user(as_user).await;
    match args.command {
        ProposalCommand::List { all, format } => list(&app, all, format, language).await,
        ProposalCommand::Show { number, format } => show(&app, number, language, format).await,
        ProposalCommand::Approve {
            number,
            message,
            sign_with,
        } => {
            let key = (key, sign_with.is_some());
            let given = approve(&app, number, &user().await?, &message, key, language).await;
            reviewed(
                &app,
                number,
                &user().await?,
                ReviewKind::Approve,
                given,
                language,
            )
            .await
        }
        ProposalCommand::RequestChanges { number, message } => {
            let (user, kind) = (user().await?, ReviewKind::RequestChanges);
            let given = app.gate.review(number, &user, kind, &message).await;
            reviewed(
                &app,
                number,
                &user,
                kind,
                given.map_err(Into::into),
                language,
            )
            .await
        }
        ProposalCommand::Merge { number } => merge(&app, number, &user().await?, language).await,
        ProposalCommand::Close { number, message } => {
            app.forge.close(number, &user().await?, &message).await?;
            talk(&match language {
                Language::English => format!("proposal {number} is closed"),
                Language::Japanese => format!("提案 {number} を閉じました"),
            });
            Ok(Exit::Done)
        }
    }
}

async fn list(
    app: &App,
    all: bool,
    format: ListFormat,
    language: Language,
) -> anyhow::Result<Exit> {
    let proposals = app.forge.proposals(all).await?;
    if format == ListFormat::Json {
        print(&format!("{:#}\n", json!(proposals)))?;
        return Ok(Exit::Done);
    }
    if proposals.is_empty() {
        talk(match (all, language) {
            (true, Language::English) => "there are no proposals",
            (false, Language::English) => "there are no open proposals",
            (true, Language::Japanese) => "提案はありません",
            (false, Language::Japanese) => "開いている提案はありません",
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

/// Judges and, where this is the forge, publishes. On a forge of others the server publishes: two who do would write over each other.
async fn judged(app: &App, number: u64) -> anyhow::Result<gate::Judgement> {
    Ok(match app.forge.logins() {
        Logins::Own => app.gate.judge_and_publish(number).await?,
        Logins::Hosted => app.gate.judge(number).await?,
    })
}

/// Judges, publishes and shows. 1 where something stands in the way of merging, other than approvals that are still to come.
pub(crate) async fn show(
    app: &App,
    number: u64,
    language: Language,
    format: Format,
) -> anyhow::Result<Exit> {
    let judgement = judged(app, number).await?;
    let summary = gate::view_of(&judgement, language);
    print(&match format {
        Format::Human => view::text::gate(&summary),
        Format::Json => format!("{:#}\n", gate::json_of(&judgement)),
        Format::Markdown => view::markdown::comment(&summary),
    })?;
    Ok(
        if judgement.proposal.state == ProposalState::Open && judgement.blocked() {
            Exit::Findings
        } else {
            Exit::Done
        },
    )
}

/// Approves, with a signature where there must be one or a key was named for it.
async fn approve(
    app: &App,
    number: u64,
    user: &str,
    message: &str,
    (key, named): (Option<Key>, bool),
    language: Language,
) -> anyhow::Result<()> {
    let draft = app
        .gate
        .draft(number, user, ReviewKind::Approve, message)
        .await?;
    let Some(in_people) = draft.key().map(ToOwned::to_owned) else {
        // git's own key may be for commits alone; one that was named is missed.
        if named {
            talk(&match language {
                Language::English => {
                    format!("not signed: people: on the main branch has no signing_key for {user}")
                }
                Language::Japanese => format!(
                    "署名していません: main の people: に {user} の signing_key がありません"
                ),
            });
        }
        return Ok(app.gate.give(draft).await?);
    };
    let text = draft.text();
    let signing = move || sign::sign(&text, key.as_ref(), &in_people);
    let signature = tokio::task::spawn_blocking(signing).await?;
    Ok(app.gate.give(draft.signed(signature?)).await?)
}

/// Says what came of a review, and what is still missing.
async fn reviewed(
    app: &App,
    number: u64,
    user: &str,
    kind: ReviewKind,
    given: anyhow::Result<()>,
    language: Language,
) -> anyhow::Result<Exit> {
    if let Err(error) = given {
        return refused(error.downcast()?, language);
    }
    let judgement = judged(app, number).await?;
    let at = judgement.proposal.head.short();
    talk(&match (kind, language) {
        (ReviewKind::Approve, Language::English) => {
            format!("approved proposal {number} as {user}, at {at}")
        }
        (ReviewKind::RequestChanges, Language::English) => {
            format!("requested changes on proposal {number} as {user}, at {at}")
        }
        (ReviewKind::Comment | ReviewKind::Withdraw, Language::English) => {
            format!("commented on proposal {number} as {user}, at {at}")
        }
        (ReviewKind::Approve, Language::Japanese) => {
            format!("{user} として提案 {number} を承認しました（{at}）")
        }
        (ReviewKind::RequestChanges, Language::Japanese) => {
            format!("{user} として提案 {number} に修正を求めました（{at}）")
        }
        (ReviewKind::Comment | ReviewKind::Withdraw, Language::Japanese) => {
            format!("{user} として提案 {number} にコメントしました（{at}）")
        }
    });
    let missing = judgement.missing(language);
    for missing in &missing {
        talk(&match language {
            Language::English => format!("  still missing: {missing}"),
            Language::Japanese => format!("  不足: {missing}"),
        });
    }
    if missing.is_empty() {
        talk(&match language {
            Language::English => format!("  ready: `lockstep proposal merge {number}`"),
            Language::Japanese => format!("  マージできます: `lockstep proposal merge {number}`"),
        });
    }
    Ok(Exit::Done)
}

async fn merge(app: &App, number: u64, user: &str, language: Language) -> anyhow::Result<Exit> {
    match app.gate.merge(number, user).await {
        Ok(commit) => {
            print(&format!("{commit}\n"))?;
            let short = commit.short();
            talk(&match language {
                Language::English => format!(
                    "merged proposal {number} as {short}; the reconciler takes it from here"
                ),
                Language::Japanese => {
                    format!(
                        "提案 {number} を {short} としてマージしました。このあとは自動で反映されます"
                    )
                }
            });
            Ok(Exit::Done)
        }
        Err(error) => refused(error, language),
    }
}

/// A refusal is an answer, and no failure.
fn refused(error: GateError, language: Language) -> anyhow::Result<Exit> {
    match error {
        GateError::Refused(why) => {
            talk(&why.say(language));
            Ok(Exit::Findings)
        }
        GateError::Forge(_)
        | GateError::Repo(_)
        | GateError::Store(_)
        | GateError::Interrupted(_) => Err(error.into()),
    }
}
