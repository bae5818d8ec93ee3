//! `lockstep audit verify`: is the record whole?

use clap::Args;
use serde_json::json;

use super::Format;
use crate::app::App;
use crate::audit::checkpoints::Checkpoints;
use crate::audit::signing::noted;
use crate::audit::verify::{Fault, Verified, verify};
use crate::cli::{Env, Exit, print, talk};

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

pub(super) async fn run(args: VerifyArgs, env: Env) -> anyhow::Result<Exit> {
    let app = App::open(env.settings).await?;
    let (origin, signed) = (app.origin()?, noted(&app.signed_file()?)?);
    let trusted = app.trusted()?;
    let repo = app.repo.clone();
    let checkpoints =
        tokio::task::spawn_blocking(move || Checkpoints::read(&repo, &trusted)).await??;
    let mut reader = app.store.reader().await?;
    let (mut verified, checkpoints) = tokio::task::spawn_blocking(move || {
        verify(&mut reader, &checkpoints).map(|verified| (verified, checkpoints))
    })
    .await??;
    let more = signed.and_then(|s| s.missing(verified.entries, &verified.restored));
    verified
        .faults
        .extend(unshown(&verified, &checkpoints, &origin, more));
    match args.format {
        Format::Json => print(&json_of(&verified, &checkpoints))?,
        Format::Human => tell(&verified, &checkpoints),
    }
    Ok(match verified.faults.is_empty() {
        true => Exit::Done,
        false => Exit::Findings,
    })
}

/// What nobody here can show to be whole: everything was signed by keys that are not known any more, or more was signed than there is.
fn unshown(
    verified: &Verified,
    checkpoints: &Checkpoints,
    origin: &str,
    signed: Option<u64>,
) -> Vec<Fault> {
    let entries = verified.entries;
    let is_said = verified
        .faults
        .iter()
        .any(|fault| matches!(fault, Fault::Entry { .. } | Fault::Truncated { .. }));
    let cut = signed
        .filter(|_| !is_said)
        .map(|signed| Fault::Truncated { signed, entries });
    let unknown = checkpoints.unknown.get(origin);
    let unknown = unknown.filter(|_| verified.checkpoints == 0);
    let unknown = unknown.map(|count| Fault::Checkpoint {
        why: format!(
            "{count} checkpoints of this log are in the notes and none by a key that is trusted here, so nothing shows that its end was not \
             cut off"
        ),
    });
    cut.into_iter().chain(unknown).collect()
}

fn tell(verified: &Verified, checkpoints: &Checkpoints) {
    let Verified {
        entries,
        head,
        root: _,
        checkpoints: held,
        unsigned,
        restored,
        faults,
    } = verified;
    for fault in faults {
        talk(&fault.to_string());
    }
    for again in restored {
        talk(&format!(
            "entry {}: the store was restored by {} at {}, and goes on from entry {}; what was signed up to entry {} then is lost, and {} \
             checkpoints of it are not held against the ledger",
            again.seq,
            again.by,
            again.at,
            again.from,
            again.reached(),
            again.lost.len()
        ));
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
        restored,
        faults,
    } = verified;
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let restored: Vec<_> = restored
        .iter()
        .map(|again| {
            json!({
                "seq": again.seq,
                "by": again.by,
                "at": again.at,
                "from": again.from,
                "to": again.reached(),
                "checkpoint": again.checkpoint,
                "lost": again.lost,
            })
        })
        .collect();
    let value = json!({
        "entries": entries,
        "head": head,
        "root": root,
        "checkpoints": held,
        "unsigned": unsigned,
        "unknown_keys": checkpoints.unknown,
        "restored": restored,
        "faults": faults,
    });
    format!("{value:#}\n")
}
