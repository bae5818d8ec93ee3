//! `lockstep audit`: what happened, and whether the record is whole.

use clap::{Args, Subcommand, ValueEnum};

use super::{Env, Exit, print};
use crate::app::App;
use crate::ids::{RunId, SystemName};
use crate::resource::Language;
use crate::store::{Entry, EntryFilter, Order};
use crate::view::{self, HistoryEntry, HistoryView, Outcome};

mod export;
mod prove;
mod verify;

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Show the latest entries of the ledger.
    Show(ShowArgs),
    /// Check every entry against the chain, the tree against all checkpoints, and the tables beside it.
    Verify(verify::VerifyArgs),
    /// Prove that an entry is in the ledger, or that one checkpoint carries on another; or check such a proof.
    Prove(prove::ProveArgs),
    /// Write out who changed what, who approved it and when each system had it.
    Export(export::ExportArgs),
    /// Print the public key that checkpoints are signed with.
    Key,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// How many.
    #[arg(long, short = 'n', default_value_t = 20)]
    last: u32,
    /// Only what a system did or had done to it.
    #[arg(long, value_name = "NAME")]
    system: Option<SystemName>,
    /// Only one sort of entry, such as `plan.released`.
    #[arg(long)]
    action: Option<String>,
    /// Only one run's.
    #[arg(long, value_name = "ID")]
    run: Option<RunId>,
    /// Only what belongs to a revision; at least four digits of it.
    #[arg(long)]
    revision: Option<String>,
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

pub(crate) async fn run(args: AuditArgs, env: Env) -> anyhow::Result<Exit> {
    match args.command {
        AuditCommand::Show(args) => {
            let language = env.language;
            let app = App::open(env.settings).await?;
            let filter = filter(&app, &args)?;
            let view = history(&app, filter, language).await?;
            print(&match args.format {
                Format::Human => view::text::history(&view),
                Format::Json => view::json::history(&view),
            })?;
            Ok(Exit::Done)
        }
        AuditCommand::Verify(args) => verify::run(args, env).await,
        AuditCommand::Export(args) => export::run(args, env).await,
        AuditCommand::Prove(args) => prove::run(args, env).await,
        AuditCommand::Key => {
            let app = App::open(env.settings).await?;
            // Made here where nothing was signed yet, so that it can be given away beforehand.
            print(&format!("{}\n", app.signing()?.key()))?;
            Ok(Exit::Done)
        }
    }
}

fn filter(app: &App, args: &ShowArgs) -> anyhow::Result<EntryFilter> {
    let revision = args.revision.as_deref().map(|text| app.repo.resolve(text));
    Ok(EntryFilter {
        system: args.system.clone(),
        action: args.action.clone(),
        run: args.run,
        revision: revision.transpose()?,
        ..latest(args.last)
    })
}

/// The latest entries, so many.
pub(crate) fn latest(last: u32) -> EntryFilter {
    EntryFilter {
        order: Order::NewestFirst,
        limit: Some(last),
        ..EntryFilter::default()
    }
}

/// The last entries, oldest first.
pub(crate) async fn history(
    app: &App,
    filter: EntryFilter,
    language: Language,
) -> anyhow::Result<HistoryView> {
    let mut entries = app.store.entries(&filter).await?;
    entries.reverse();
    let earlier = entries.first().map_or(0, |e| {
        usize::try_from(e.seq.saturating_sub(1)).unwrap_or(usize::MAX)
    });
    let config = app.base_config().await?;
    Ok(HistoryView {
        language,
        timezone: super::status::timezone(&config.timezone),
        earlier,
        entries: entries.iter().map(|e| line(e, language)).collect(),
    })
}

fn line(entry: &Entry, language: Language) -> HistoryEntry {
    let outcome = match entry.action.as_str() {
        "run.finished" => match entry
            .body
            .pointer("/outcome/outcome")
            .and_then(|o| o.as_str())
        {
            Some("applied") => Outcome::Done,
            Some("in_step") => Outcome::Unchanged,
            Some("held") => Outcome::Held,
            Some("unreachable" | "refused" | "stale" | "interrupted" | "rolled_back") => {
                Outcome::Refused
            }
            _ => Outcome::Failed,
        },
        "verdict.given" => match entry.body.get("decision").and_then(|d| d.as_str()) {
            Some("allowed") => Outcome::Done,
            Some("waiting") => Outcome::Held,
            _ => Outcome::Refused,
        },
        "approval.voided" | "approval.withdrawn" | "changes.requested" => Outcome::Held,
        "decision.compensate" => Outcome::Refused,
        "system.unchanged" => Outcome::Unchanged,
        "drift.found" | "rows.quarantined" => Outcome::Held,
        "system.rolled_back" => Outcome::Refused,
        "system.incident" => Outcome::Failed,
        _ => Outcome::Done,
    };
    let subject = match (&entry.system, &entry.group) {
        (Some(system), _) => system.to_string(),
        (None, Some(group)) => group.to_string(),
        (None, None) => String::new(),
    };
    let revision = entry
        .revision
        .as_ref()
        .map(|r| format!(" @ {}", r.short()))
        .unwrap_or_default();
    HistoryEntry {
        seq: entry.seq,
        at: entry.at,
        actor: entry.actor.to_string(),
        what: format!(
            "{} {subject}{revision}",
            view::action(&entry.action, language)
        ),
        outcome,
        detail: detail(entry),
    }
}

fn detail(entry: &Entry) -> Option<String> {
    if entry.action == "run.finished" {
        let outcome: crate::record::Outcome =
            serde_json::from_value(entry.body.get("outcome")?.clone()).ok()?;
        return Some(outcome.to_string());
    }
    if let Some(number) = entry.body.get("proposal").and_then(|n| n.as_u64()) {
        let title = entry.body.get("title").and_then(|t| t.as_str());
        let title = title.map(|title| format!(" {}", view::printable(title)));
        return Some(format!("#{number}{}", title.unwrap_or_default()));
    }
    let changes = entry.body.get("changes")?.as_array()?;
    let names: Vec<&str> = changes
        .iter()
        .filter_map(|c| c.get("id")?.as_str())
        .take(3)
        .collect();
    let more = changes.len().saturating_sub(names.len());
    Some(if more > 0 {
        format!("{} +{more}", names.join(", "))
    } else {
        names.join(", ")
    })
}
