//! `lockstep audit`: what happened, and whether the record is whole.

use clap::{Args, Subcommand, ValueEnum};

use super::{Env, Exit, print, talk};
use crate::app::App;
use crate::resource::Language;
use crate::store::{Chain, Entry, EntryFilter, Order};
use crate::view::{self, HistoryEntry, HistoryView, Outcome};

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Show the latest entries of the ledger.
    Show {
        /// How many.
        #[arg(long, short = 'n', default_value_t = 20)]
        last: u32,
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
    /// Check every entry against the chain.
    Verify,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

pub(crate) async fn run(args: AuditArgs, env: Env) -> anyhow::Result<Exit> {
    let language = env.language;
    let app = App::open(env.settings).await?;
    match args.command {
        AuditCommand::Show { last, format } => {
            let view = history(&app, last, language).await?;
            print(&match format {
                Format::Human => view::text::history(&view),
                Format::Json => view::json::history(&view),
            })?;
            Ok(Exit::Done)
        }
        AuditCommand::Verify => match app.store.verify_chain().await? {
            Chain::Intact { entries, head } => {
                talk(&format!(
                    "{entries} entries, all in their place; the last one's hash is {head}"
                ));
                Ok(Exit::Done)
            }
            Chain::Broken { seq, why } => {
                talk(&format!("entry {seq} is not as it was written: {why}"));
                Ok(Exit::Findings)
            }
        },
    }
}

/// The last entries, oldest first.
pub(crate) async fn history(
    app: &App,
    last: u32,
    language: Language,
) -> anyhow::Result<HistoryView> {
    let filter = EntryFilter {
        order: Order::NewestFirst,
        limit: Some(last),
        ..EntryFilter::default()
    };
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
        "system.unchanged" => Outcome::Unchanged,
        "drift.found" => Outcome::Held,
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
