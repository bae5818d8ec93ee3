//! `lockstep plan`: what would change, on paper or against the live systems. It can't write: it is only given the half of a connector
//! that reads.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use futures_util::future::join_all;
use jiff::Timestamp;

use super::input::InputArgs;
use super::{Env, Exit, leave, print, talk, wait_for};
use crate::app;
use crate::clock::{Clock as _, SystemClock};
use crate::compile;
use crate::config::{Config, System};
use crate::engine::{self, Hope};
use crate::ids::SystemName;
use crate::plan::{Plan, SystemPlan, fields};
use crate::resource::Bundle;
use crate::state::State;
use crate::store::Store;
use crate::view::{self, DateView, PlanView, ReportView};

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    input: InputArgs,
    /// Compare with what the systems have now, not with the base or an empty world.
    #[arg(long)]
    live: bool,
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// End with 1 where there are differences.
    #[arg(long)]
    exit_code: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
    Markdown,
}

pub(crate) fn run(args: &PlanArgs, env: &Env) -> anyhow::Result<Exit> {
    let input = args.input.read(env)?;
    let base = input
        .before
        .as_ref()
        .map(|(before, _)| compile::compile(before));
    let compiled = match (&base, &input.before) {
        (Some(base), Some((_, delta))) => {
            let mut compiled = base.clone();
            compiled.succeed(&input.snapshot, delta);
            compiled
        }
        _ => compile::compile(&input.snapshot),
    };
    let found = input.report(&compiled);
    if !found.passes() {
        let report = ReportView::new(&found, |path| input.snapshot.text(path));
        talk(&view::text::report(&report, env.language));
        return Ok(Exit::Findings);
    }
    let now = SystemClock.now();
    let before_at = base.as_ref().map(|b| b.bundle.clone());
    let mut plan = if args.live {
        let base = base.as_ref().map(|base| base.bundle.clone());
        let judge = match base {
            Some(base) => Some(base.config.clone()),
            None => input.main_config(env)?,
        };
        let judge = judge.unwrap_or_else(|| compiled.bundle.config.clone());
        wait_for(live(&compiled.bundle, &judge, now, env))?
    } else {
        Plan::between(base.as_ref().map(|b| &*b.bundle), &compiled.bundle)
    };
    let before = input.before.as_ref().map(|(before, _)| before);
    let before = before.zip(base.as_ref());
    compile::fill_lines(&mut plan, (&input.snapshot, &compiled), before);
    let later = DateView::of_plan(&plan, &compiled.bundle, now);
    // Live systems are compared with what holds now; two revisions with all that is written, of which only some is done at once.
    let at_once = match args.live {
        true => plan.clone(),
        false => Plan::between_at(before_at.as_deref(), &compiled.bundle, now),
    };
    let kept = match &before_at {
        Some(before) if !args.live => fields::kept(before, &compiled.bundle),
        Some(_) | None => fields::Kept::new(),
    };
    let shown = || {
        PlanView::new(&plan, &compiled.bundle.kinds, env.language)
            .with_dates(&at_once, later.clone())
            .with_limits(&compiled.bundle.config)
            .with_kept(kept.clone())
    };
    let text = match args.format {
        Format::Human => view::text::plan(&shown()),
        Format::Json => view::json::plan(&plan, &later),
        Format::Markdown => view::markdown::plan(&shown()),
    };
    print(&text)?;
    let differs = !plan.is_empty();
    leave((input, compiled, base, plan));
    Ok(if args.exit_code && differs {
        Exit::Findings
    } else {
        Exit::Done
    })
}

/// The plan against what every system has now. All are asked at once; one that can't be read fails the plan, and says which and why.
///
/// Where a system is and with which credential it is asked is read from `judge`, what a proposal is judged by, or else the main branch: what
/// a proposal says of that is data, and nothing is sent where it leads.
async fn live(bundle: &Bundle, judge: &Config, now: Timestamp, env: &Env) -> anyhow::Result<Plan> {
    // What can't be opened is not needed by every connector: those that do need it say so.
    let store = app::known_store(&env.settings).await;
    let store = store.unwrap_or_else(|why| {
        talk(&format!("{why}; planned without the store"));
        None
    });
    let asked = bundle.config.systems.iter().map(async |(name, system)| {
        let desired = bundle.project_at(name, now);
        let observed = match judge.systems.get(name) {
            Some(known) => {
                if !is_reached_alike(known, system) {
                    talk(&format!(
                        "{name}: its connector, address or credential is another than what is merged; asked where it is now"
                    ));
                }
                read(name, known, &desired, env, store.as_ref()).await
            }
            None => {
                talk(&format!(
                    "{name}: not merged yet, so it is not asked; planned as if it held nothing"
                ));
                Ok(State::default())
            }
        };
        (
            name.clone(),
            observed.map(|state| {
                let desired = fields::settled(&desired, &state, &system.fields);
                SystemPlan::new(&desired, &state, bundle)
            }),
        )
    });
    let mut systems: BTreeMap<SystemName, SystemPlan> = BTreeMap::new();
    let mut failures = Vec::new();
    for (name, result) in join_all(asked).await {
        match result {
            Ok(share) => {
                systems.insert(name, share);
            }
            Err(why) => failures.push(format!("{name}: {why}")),
        }
    }
    anyhow::ensure!(
        failures.is_empty(),
        "could not read every system:\n  {}",
        failures.join("\n  ")
    );
    Ok(Plan {
        revision: bundle.revision.clone(),
        systems,
    })
}

async fn read(
    name: &SystemName,
    system: &System,
    desired: &State,
    env: &Env,
    store: Option<&Store>,
) -> Result<State, String> {
    let connector = app::observe_only(name, system, &env.settings, store)?;
    engine::observe(&*connector, None, desired, Hope::Unknown)
        .await
        .map_err(|e| e.to_string())
}

/// Whether two definitions lead to the same place in the same way.
fn is_reached_alike(a: &System, b: &System) -> bool {
    (&a.connector, &a.settings, &a.credential) == (&b.connector, &b.settings, &b.credential)
}
