//! `lockstep release`: a named person lets one held plan pass, by its digest.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::json;

use super::{Env, Exit, talk};
use crate::app::App;
use crate::ids::{Digest, PlanDigest};
use crate::plan::safety::{self, Breach, Rule};
use crate::store::{NewEntry, Release};

#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// The plan's digest, as the held run shows it: all 64 digits, or enough of its beginning.
    #[arg(long, value_name = "DIGEST")]
    plan: String,
    /// Why it may pass; goes into the ledger.
    #[arg(long, value_name = "TEXT")]
    because: String,
    /// Who releases it; from `LOCKSTEP_USER` or git's `user.name` by default.
    #[arg(long = "as", value_name = "PERSON")]
    as_user: Option<String>,
}

pub(crate) async fn run(args: ReleaseArgs, env: Env) -> anyhow::Result<Exit> {
    let app = App::open(env.settings).await?;
    let user = app.user(args.as_user.as_deref())?;
    let config = app.base_config().await?;
    let Some((person, known)) = config.person(&user) else {
        anyhow::bail!("{user} is not in people: of the main branch, so may release nothing");
    };
    let held = app.held_plans(&config).await?;
    let matches = |plan: &PlanDigest| match args.plan.parse::<Digest>() {
        Ok(digest) => plan.0 == digest,
        Err(_) => plan.to_string().starts_with(&args.plan),
    };
    anyhow::ensure!(
        args.plan.len() >= 8,
        "{:?} is too short for a plan's digest: give at least 8 digits",
        args.plan
    );
    let matching: Vec<_> = held.iter().filter(|(plan, _)| matches(plan)).collect();
    let [(plan, breaches)] = matching.as_slice() else {
        anyhow::bail!(
            "no held plan has this digest; held are: {}",
            held.iter()
                .map(|(plan, _)| plan.to_string())
                .collect::<Vec<_>>()
                .join(", ")
        );
    };
    anyhow::ensure!(
        safety::may_release(&known.roles, breaches),
        "{person} may not release this plan: it takes the role {}{}",
        safety::RELEASERS.join(" or "),
        excepted(breaches)
    );
    let (at, actor) = (app.clock.now(), person.parse()?);
    app.store
        .append(&[NewEntry {
            at,
            actor,
            action: "plan.released".to_owned(),
            group: None,
            system: None,
            run: None,
            revision: None,
            body: json!({"plan": plan, "because": args.because}),
        }])
        .await?;
    app.store
        .release(&Release {
            plan: *plan,
            by: person.parse()?,
            because: args.because,
            at,
        })
        .await?;
    talk(&format!(
        "released {plan}; the next pass applies it if it is still that plan"
    ));
    Ok(Exit::Done)
}

/// The roles that a freeze excepts may release what it alone holds.
fn excepted(breaches: &[Breach]) -> String {
    let roles: BTreeSet<&str> = breaches
        .iter()
        .flat_map(|breach| match &breach.rule {
            Rule::Freeze { roles, .. } => roles.as_slice(),
            Rule::Emptied
            | Rule::SmallTable { .. }
            | Rule::DeleteCount { .. }
            | Rule::DeleteShare { .. }
            | Rule::UpdateShare { .. }
            | Rule::LastAdmin
            | Rule::Lost { .. }
            | Rule::OwnAccess => &[],
        })
        .map(String::as_str)
        .filter(|role| safety::may_release(&[(*role).to_owned()], breaches))
        .collect();
    roles.iter().map(|role| format!(" or {role}")).collect()
}
