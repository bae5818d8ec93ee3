//! `lockstep status`: for each system its revision, whether it is in step or why not, and its last change, as the store knows it.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Env, Exit, print};
use crate::app::App;
use crate::config::Config;
use crate::engine::ANNOUNCED;
use crate::ids::{GroupName, Revision, SystemName};
use crate::record::{Condition, Run};
use crate::resource::Bundle;
use crate::store::{EntryFilter, Order, Reach, SystemState};
use crate::view::{self, DateView, GroupStatus, LastChange, Standing, StatusView, SystemStatus};

/// How many of a group's latest urgent runs are looked through.
const URGENT: u32 = 100;

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

pub(crate) async fn run(args: StatusArgs, env: Env) -> anyhow::Result<Exit> {
    let language = env.language;
    let app = App::open(env.settings).await?;
    let view = of(&app, language).await?;
    let in_step = view
        .groups
        .iter()
        .flat_map(|g| &g.systems)
        .all(|s| s.standing == Standing::InStep);
    print(&match args.format {
        Format::Human => view::text::status(&view),
        Format::Json => view::json::status(&view),
    })?;
    Ok(if in_step { Exit::Done } else { Exit::Findings })
}

/// What `status` shows.
pub(crate) async fn of(
    app: &App,
    language: crate::resource::Language,
) -> anyhow::Result<StatusView> {
    let crate::engine::Head {
        revision: head,
        config,
        broken,
        bundle,
    } = app.head().await?;
    if let (Some(why), true) = (&broken, config.systems.is_empty()) {
        anyhow::bail!("nothing is applied: {why}");
    }
    let states: BTreeMap<SystemName, SystemState> = app
        .store
        .system_states()
        .await?
        .into_iter()
        .map(|s| (s.system.clone(), s))
        .collect();
    let mut groups = Vec::new();
    for (name, group) in config.effective_groups() {
        let state = app.store.group_state(&name).await?;
        let ahead = ahead(app, &name, &head).await?;
        let mut systems = Vec::new();
        for system in &group.systems {
            let known = states.get(system);
            systems.push(SystemStatus {
                system: system.clone(),
                mode: config
                    .systems
                    .get(system)
                    .map(|s| s.mode)
                    .unwrap_or_default(),
                revision: known.and_then(|k| k.revision.clone()),
                digest: known.and_then(|k| k.digest),
                standing: standing(known, &head, ahead.get(system)),
                last_change: last_change(app, system).await?,
            });
        }
        let failed = state.failed.filter(|f| f.revision == head);
        let note = broken.clone().or(failed.map(|f| f.why));
        groups.push(GroupStatus {
            group: name,
            revision: state.good,
            note,
            systems,
        });
    }
    Ok(StatusView {
        language,
        timezone: timezone(&config.timezone),
        groups,
        held: super::held::of(app, &config).await?,
        upcoming: upcoming(app, &config, &bundle),
    })
}

/// What begins or ends within a week, on any system that is there.
fn upcoming(app: &App, config: &Config, bundle: &Bundle) -> Vec<DateView> {
    let now = app.clock.now();
    let to = now.checked_add(ANNOUNCED).unwrap_or(Timestamp::MAX);
    let systems = config.systems.keys().cloned().collect();
    DateView::between(bundle, &systems, now, to)
}

pub(crate) fn timezone(name: &str) -> TimeZone {
    crate::config::time_zone(name).unwrap_or(TimeZone::UTC)
}

fn standing(known: Option<&SystemState>, head: &Revision, ahead: Option<&String>) -> Standing {
    let condition: Option<Condition> =
        known.and_then(|k| serde_json::from_value(k.condition.clone()).ok());
    let revision = known.and_then(|k| k.revision.as_ref());
    let nothing_waits = condition.as_ref().is_some_and(Condition::is_in_step);
    if let (Some(ahead), true) = (ahead, nothing_waits && revision != Some(head)) {
        return Standing::Behind { why: ahead.clone() };
    }
    Standing::of(condition, revision, head)
}

/// The systems that have got all that the head wants of them, because it was urgent, while their group has not moved: with what the commit's own
/// status says of them.
async fn ahead(
    app: &App,
    group: &GroupName,
    head: &Revision,
) -> anyhow::Result<BTreeMap<SystemName, String>> {
    let mut ahead = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for stored in app.store.recent_runs(group, Reach::Urgent, URGENT).await? {
        let Ok(run) = serde_json::from_value::<Run>(stored.run.body) else {
            continue;
        };
        for (system, condition) in run.conditions() {
            // Of each system the newest run counts.
            if seen.insert(system.clone()) && run.revision == *head && condition.is_in_step() {
                ahead.insert(system, condition.message);
            }
        }
    }
    Ok(ahead)
}

async fn last_change(app: &App, system: &SystemName) -> anyhow::Result<Option<LastChange>> {
    let filter = EntryFilter {
        system: Some(system.clone()),
        action: Some("system.applied".to_owned()),
        order: Order::NewestFirst,
        limit: Some(1),
        ..EntryFilter::default()
    };
    let entry = app.store.entries(&filter).await?.into_iter().next();
    Ok(entry.map(|e| {
        let changes = e
            .body
            .get("changes")
            .and_then(|c| c.as_array())
            .map_or(&[][..], Vec::as_slice);
        let first = changes
            .first()
            .and_then(|c| c.get("id"))
            .and_then(|id| id.as_str())
            .unwrap_or_default();
        let what = match changes.len() {
            0 => String::new(),
            1 => first.to_owned(),
            n => format!("{first} +{}", n - 1),
        };
        LastChange {
            at: e.at,
            by: e.actor.to_string(),
            what,
        }
    }))
}
