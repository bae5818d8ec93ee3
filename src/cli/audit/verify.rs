//! `lockstep audit verify`: is the record whole?

use clap::Args;
use serde_json::json;

use super::Format;
use crate::app::App;
use crate::audit::checkpoints::Checkpoints;
use crate::audit::verify::{Verified, verify};
use crate::cli::{Env, Exit, print, talk};

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

pub(super) async fn run(args: VerifyArgs, env: Env) -> anyhow::Result<Exit> {
    let app = App::open(env.settings).await?;
    let trusted = app.trusted()?;
    let repo = app.repo.clone();
    let checkpoints =
        tokio::task::spawn_blocking(move || Checkpoints::read(&repo, &trusted)).await??;
    let mut reader = app.store.reader().await?;
    let (verified, checkpoints) = tokio::task::spawn_blocking(move || {
        verify(&mut reader, &checkpoints).map(|verified| (verified, checkpoints))
    })
    .await??;
    match args.format {
        Format::Json => print(&json_of(&verified, &checkpoints))?,
        Format::Human => tell(&verified, &checkpoints),
    }
    Ok(match verified.faults.is_empty() {
        true => Exit::Done,
        false => Exit::Findings,
    })
}

fn tell(verified: &Verified, checkpoints: &Checkpoints) {
    let Verified {
        entries,
        head,
        root: _,
        checkpoints: held,
        unsigned,
        faults,
    } = verified;
    for fault in faults {
        talk(&fault.to_string());
    }
    if faults.is_empty() {
        talk(&format!(
            "{entries} entries, all in their place; the last one's hash is {head}"
        ));
        talk(&match held {
            0 => "no checkpoint of a key that is trusted here is in the notes, so that nothing was cut off can't be shown".to_owned(),
            1 => format!("1 checkpoint agrees; {unsigned} entries are newer than it"),
            _ => format!("{held} checkpoints agree; {unsigned} entries are newer than the last"),
        });
    }
    for (name, count) in &checkpoints.unknown {
        talk(&format!(
            "{count} checkpoints are signed by a key of {name} that is not trusted here, and were not looked at; `lockstep audit key` \
             prints a server's key, and `trusted` under [ledger] in lockstep.toml takes it"
        ));
    }
}

fn json_of(verified: &Verified, checkpoints: &Checkpoints) -> String {
    let Verified {
        entries,
        head,
        root,
        checkpoints: held,
        unsigned,
        faults,
    } = verified;
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let value = json!({
        "entries": entries,
        "head": head,
        "root": root,
        "checkpoints": held,
        "unsigned": unsigned,
        "unknown_keys": checkpoints.unknown,
        "faults": faults,
    });
    format!("{value:#}\n")
}
