//! `lockstep store`: bringing the store's tables up to date, looking it over, copying it.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{Env, Exit, print, talk};
use crate::app::{App, begin_store_anew, note_new_beginning, open_store, restored_store};
use crate::audit::restored;
use crate::repo::Repo;
use crate::resource::Language;
use crate::settings::Settings;
use crate::store::{Checked, Store};

#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Bring the store's tables up to date; with --from, take another store in, such as a backup, into one in which nothing has happened yet
    Migrate {
        /// The other store: a file, or the URL of a server
        #[arg(long, value_name = "FILE")]
        from: Option<String>,
        /// Begin with nothing where a store was lost
        #[arg(long, conflicts_with = "from")]
        begin_anew: bool,
    },
    /// Read everything in the store, and check the ledger against its chain
    Check {
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
    /// Copy the store, as of one moment, into a new SQLite file; it may be in use meanwhile
    Backup {
        #[arg(value_name = "FILE")]
        to: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

pub(crate) async fn run(args: StoreArgs, env: Env) -> anyhow::Result<Exit> {
    let language = env.language;
    let repo = Repo::open(&env.settings.repo)?;
    match args.command {
        StoreCommand::Migrate { from, begin_anew } => {
            let is_restored = begin_anew || from.is_some();
            let store = match from {
                // Looked over before anything is made: a wrong name must not begin anything anew.
                Some(from) => {
                    let source = Store::open_copy(&from).await?;
                    let store = restored_store(&env.settings, &repo, &source).await?;
                    note_new_beginning(&store).await?;
                    store
                }
                None if begin_anew => {
                    let store = begin_store_anew(&env.settings, &repo).await?;
                    note_new_beginning(&store).await?;
                    store
                }
                // Opening brings the tables up to date.
                None => open_store(&env.settings, &repo).await?,
            };
            let schema = store.schema().await?;
            store.close().await;
            if is_restored {
                say_restored(env.settings).await?;
            }
            talk(&match language {
                Language::Japanese => format!("ストアはスキーマ {schema} です"),
                Language::English => format!("the store's tables are of schema {schema}"),
            });
            Ok(Exit::Done)
        }
        StoreCommand::Check { format } => {
            let checked = open_store(&env.settings, &repo).await?.check().await;
            match format {
                Format::Human => talk(&human(&checked, language)),
                Format::Json => print(&format!(
                    "{}\n",
                    json!({ "entries": checked.entries, "runs": checked.runs, "faults": checked.faults })
                ))?,
            }
            Ok(match checked.faults.is_empty() {
                true => Exit::Done,
                false => Exit::Findings,
            })
        }
        StoreCommand::Backup { to } => {
            let store = open_store(&env.settings, &repo).await?;
            let entries = store.backup(&to).await?;
            talk(&match language {
                Language::Japanese => {
                    format!("{}: 台帳 {entries} 件を含む控えを書きました", to.display())
                }
                Language::English => format!(
                    "{}: a copy with {entries} ledger entries, verified",
                    to.display()
                ),
            });
            Ok(Exit::Done)
        }
    }
}

/// Says in the ledger that it goes on from an earlier state, and on whose word: else nothing would be signed any more.
async fn say_restored(settings: Settings) -> anyhow::Result<()> {
    let app = App::open(settings).await?;
    // Whoever brings a backup back may have no name here.
    let actor = match app.user(None).await {
        Ok(user) => user.parse()?,
        Err(_) => "lockstep/store".parse()?,
    };
    let (repo, trusted) = (app.repo.clone(), app.trusted()?);
    restored(&app.store, repo, trusted, actor, app.clock.now()).await?;
    Ok(())
}

fn human(checked: &Checked, language: Language) -> String {
    let Checked {
        entries,
        runs,
        faults,
    } = checked;
    if faults.is_empty() {
        return match language {
            Language::Japanese => format!("問題ありません（台帳 {entries} 件、実行 {runs} 件）"),
            Language::English => format!("sound: {entries} ledger entries, {runs} runs"),
        };
    }
    let advice = match language {
        Language::Japanese => {
            "停止してこのストアの写しを取り、控えから戻してください（`lockstep store migrate --from 控え`）"
        }
        Language::English => {
            "stop, keep a copy of this store, and bring a backup back: `lockstep store migrate --from BACKUP` into a new one"
        }
    };
    format!("{}\n{advice}", faults.join("\n"))
}
