//! `lockstep outbox`: what is owed to the outside, what was given up, and sending that again.

use std::fmt::Write as _;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Env, Exit, print, talk};
use crate::app::App;
use crate::ops::outbox::entry;
use crate::record::Action;
use crate::resource::Language;
use crate::store::Delivery;
use crate::view::printable;

/// More would not be read.
const SHOWN: u32 = 1_000;

#[derive(Debug, Args)]
pub(crate) struct OutboxArgs {
    #[command(subcommand)]
    command: Option<OutboxCommand>,
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum OutboxCommand {
    /// Send dead letters again: those of these numbers, or all
    Resend {
        /// As `lockstep outbox` shows them
        #[arg(value_name = "NUMBER", required_unless_present = "all")]
        numbers: Vec<i64>,
        #[arg(long, conflicts_with = "numbers")]
        all: bool,
        /// Who asks for it
        #[arg(long = "as", value_name = "PERSON")]
        user: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

pub(crate) async fn run(args: OutboxArgs, env: Env) -> anyhow::Result<Exit> {
    let language = env.language;
    let app = App::open(env.settings).await?;
    match args.command {
        None => {
            let letters = app.store.undelivered(SHOWN).await?;
            print(&match args.format {
                Format::Human => human(&letters, language),
                Format::Json => {
                    format!("{}\n", json!(letters.iter().map(shown).collect::<Vec<_>>()))
                }
            })?;
            Ok(Exit::Done)
        }
        Some(OutboxCommand::Resend { numbers, all, user }) => {
            let dead: Vec<Delivery> = app
                .store
                .undelivered(u32::MAX)
                .await?
                .into_iter()
                .filter(|d| d.dead_at.is_some() && (all || numbers.contains(&d.id)))
                .collect();
            let missing = numbers.iter().find(|n| !dead.iter().any(|d| d.id == **n));
            if let Some(missing) = missing {
                anyhow::bail!("there is no dead letter {missing}; `lockstep outbox` shows them");
            }
            let actor = app.user(user.as_deref()).await?.parse()?;
            let now = app.clock.now();
            for letter in &dead {
                let said = entry(letter, &actor, Action::DELIVERY_RESENT, now, Value::Null);
                app.store.resend(letter.id, now, said).await?;
            }
            talk(&match (language, dead.len()) {
                (Language::Japanese, n) => format!("{n} 件を再送します"),
                (Language::English, 1) => "1 letter is owed again".to_owned(),
                (Language::English, n) => format!("{n} letters are owed again"),
            });
            Ok(Exit::Done)
        }
    }
}

fn shown(delivery: &Delivery) -> Value {
    json!({
        "number": delivery.id,
        "destination": delivery.destination,
        "key": delivery.key,
        "created_at": delivery.created_at,
        "attempts": delivery.attempts,
        "error": delivery.error,
        "next_at": delivery.dead_at.is_none().then_some(delivery.next_at),
        "dead_at": delivery.dead_at,
    })
}

fn human(letters: &[Delivery], language: Language) -> String {
    if letters.is_empty() {
        return match language {
            Language::Japanese => "未配信のものはありません\n",
            Language::English => "nothing is owed\n",
        }
        .to_owned();
    }
    letters.iter().fold(String::new(), |mut text, letter| {
        let stands = standing(letter, language);
        let key = printable(&letter.key);
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "{:>6}  {}  {key}  {stands}",
            letter.id, letter.destination
        );
        if let Some(error) = &letter.error {
            let _ = writeln!(text, "        {}", printable(error));
        }
        text
    })
}

fn standing(letter: &Delivery, language: Language) -> String {
    let second = |at: Timestamp| format!("{at:.0}");
    match (language, letter.dead_at) {
        (Language::English, Some(at)) => format!(
            "given up at {} after {} tries; `lockstep outbox resend {}` sends it again",
            second(at),
            letter.attempts,
            letter.id
        ),
        (Language::English, None) => {
            format!(
                "{} tries; next at {}",
                letter.attempts,
                second(letter.next_at)
            )
        }
        (Language::Japanese, Some(at)) => format!(
            "{} に {} 回で断念。`lockstep outbox resend {}` で再送できます",
            second(at),
            letter.attempts,
            letter.id
        ),
        (Language::Japanese, None) => {
            format!(
                "{} 回試行。次は {}",
                letter.attempts,
                second(letter.next_at)
            )
        }
    }
}
