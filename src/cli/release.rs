//! `lockstep release`: a named person lets one held plan pass, by its digest.

use clap::Args;

use super::{Env, Exit, talk};
use crate::app::App;
use crate::gate::person_of;
use crate::ops::release::{Releaser, release};

#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// The plan's digest, as the held run shows it: all 64 digits, or enough of its beginning.
    #[arg(long, value_name = "DIGEST")]
    plan: String,
    /// Why it may pass; goes into the ledger.
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    because: String,
    /// Who releases it; from `LOCKSTEP_USER` or git's `user.name` by default.
    #[arg(long = "as", value_name = "PERSON")]
    as_user: Option<String>,
}

pub(crate) async fn run(args: ReleaseArgs, env: Env) -> anyhow::Result<Exit> {
    let app = App::open(env.settings).await?;
    let user = app.user(args.as_user.as_deref()).await?;
    let config = app.base_config().await?;
    let found = person_of(&config, &user, app.forge.logins());
    let Some((person, known)) = found else {
        anyhow::bail!("{user} is not in people: of the main branch, so may release nothing");
    };
    let by = Releaser {
        person,
        roles: &known.roles,
        because: &args.because,
    };
    let plan = release(&app.store, &config, &args.plan, by, app.clock.now()).await?;
    talk(&format!(
        "released {plan}; the next pass applies it if it is still that plan"
    ));
    Ok(Exit::Done)
}

/// A reason has words: it is all that the ledger will know.
fn reason(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("say why this plan may pass, in words; the ledger keeps them"),
        words => Ok(words.to_owned()),
    }
}
