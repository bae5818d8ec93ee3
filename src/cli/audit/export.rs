//! `lockstep audit export`: who changed what, who approved it, and when each system had it.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::app::{self, App};
use crate::audit::AuditError;
use crate::audit::export::{
    CloudEvents, Csv, Form, Gap, Jsonl, Output, Summary, Wanted, export, manifest,
};
use crate::audit::feed::Feed;
use crate::cli::{Env, Exit, print, talk};
use crate::config::Config;
use crate::ids::{Digest, SystemName};

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// From this day or moment on, such as 2026-07-01 or 2026-07-01T09:00+09:00; without it, from the beginning.
    #[arg(long, value_name = "WHEN")]
    from: Option<When>,
    /// Until before this day or moment; without it, until now.
    #[arg(long, value_name = "WHEN")]
    until: Option<When>,
    /// Only one system.
    #[arg(long, value_name = "NAME")]
    system: Option<SystemName>,
    /// Only changes of one kind, such as `AccessGrant`.
    #[arg(long)]
    kind: Option<String>,
    /// Only what one person or program did.
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    #[arg(long, value_enum, default_value_t = ExportFormat::Csv)]
    format: ExportFormat,
    /// Begin CSV with a byte order mark, by which spreadsheets know UTF-8.
    #[arg(long)]
    bom: bool,
    /// Write to this file, whole or not at all, and beside it what it was made from: FILE.manifest.json.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    Csv,
    Jsonl,
    Cloudevents,
}

impl ExportFormat {
    fn word(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Cloudevents => "cloudevents",
        }
    }
}

/// A moment, or a day of the config repo's calendar.
#[derive(Debug, Clone, Copy)]
enum When {
    Moment(Timestamp),
    Day(Date),
}

impl std::str::FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(moment) = text.parse() {
            return Ok(Self::Moment(moment));
        }
        match text.parse() {
            Ok(day) if text.len() == "2026-07-01".len() => Ok(Self::Day(day)),
            _ => Err(
                "write a day as 2026-07-01, or a moment with its zone as 2026-07-01T09:00+09:00"
                    .to_owned(),
            ),
        }
    }
}

impl When {
    fn at(self, zone: &TimeZone) -> anyhow::Result<Timestamp> {
        Ok(match self {
            Self::Moment(at) => at,
            Self::Day(day) => day.to_zoned(zone.clone())?.timestamp(),
        })
    }
}

pub(super) async fn run(args: ExportArgs, env: Env) -> anyhow::Result<Exit> {
    anyhow::ensure!(
        !args.bom || args.format == ExportFormat::Csv,
        "--bom is for CSV; JSON has none"
    );
    let app = App::open(env.settings).await?;
    let config = app.base_config().await?;
    let zone = crate::cli::status::timezone(&config.timezone);
    let wanted = Wanted {
        from: args
            .from
            .map_or(Ok(Timestamp::UNIX_EPOCH), |when| when.at(&zone))?,
        until: args
            .until
            .map_or(Ok(app.clock.now()), |when| when.at(&zone))?,
        system: args.system.clone(),
        kind: args.kind.clone(),
        actor: args.actor.clone(),
    };
    anyhow::ensure!(
        wanted.from <= wanted.until,
        "--from {} is after --until {}",
        wanted.from,
        wanted.until
    );
    let (feeds, gaps) = feeds(&app, &config, &wanted).await?;
    let mut reader = app.store.reader().await?;
    let form: Box<dyn Form + Send> = match args.format {
        ExportFormat::Csv => {
            let lookup = app.store.reader().await?;
            Box::new(Csv::new(wanted.clone(), lookup, args.bom))
        }
        ExportFormat::Jsonl => Box::new(Jsonl::new(wanted.clone())),
        ExportFormat::Cloudevents => Box::new(CloudEvents::new(wanted.clone(), app.origin()?)),
    };
    let (out, format) = (args.out.clone(), args.format);
    let asked = wanted.clone();
    let mut work = Work { form, feeds, gaps };
    let done = tokio::task::spawn_blocking(move || match out {
        Some(path) => work.write_file(&mut reader, &asked, &path),
        None => work.print(&mut reader, &asked, format == ExportFormat::Jsonl),
    });
    let Some((summary, digest)) = done.await?? else {
        // Nobody reads any more.
        return Ok(Exit::Done);
    };
    finish(&app, &args, &wanted, &summary, digest).await?;
    for gap in &summary.gaps {
        talk(&format!("{}: {}", gap.system, gap.why));
    }
    Ok(if summary.is_whole() {
        Exit::Done
    } else {
        Exit::Findings
    })
}

struct Work {
    form: Box<dyn Form + Send>,
    feeds: Vec<Feed>,
    gaps: Vec<Gap>,
}

type Made = anyhow::Result<Option<(Summary, Option<Digest>)>>;

impl Work {
    fn run(
        &mut self,
        reader: &mut crate::store::Reader,
        wanted: &Wanted,
        out: &mut dyn Write,
    ) -> Result<Summary, AuditError> {
        let bar = bar();
        let feeds = std::mem::take(&mut self.feeds);
        let gaps = std::mem::take(&mut self.gaps);
        let summary = export(
            reader,
            feeds,
            gaps,
            wanted,
            &mut *self.form,
            out,
            &|done, all| {
                bar.set_length(all);
                bar.set_position(done);
            },
        );
        bar.finish_and_clear();
        summary
    }

    fn print(
        &mut self,
        reader: &mut crate::store::Reader,
        wanted: &Wanted,
        is_hashed: bool,
    ) -> Made {
        let mut out = Output::new(io::stdout().lock(), is_hashed);
        let summary = match self.run(reader, wanted, &mut out) {
            Err(AuditError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(None);
            }
            summary => summary?,
        };
        let digest = out.digest();
        match out.finish().and_then(|mut stdout| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(None),
            flushed => {
                flushed?;
                Ok(Some((summary, digest)))
            }
        }
    }

    /// Whole or not at all, and readable by its owner alone: it names people.
    fn write_file(
        &mut self,
        reader: &mut crate::store::Reader,
        wanted: &Wanted,
        path: &Path,
    ) -> Made {
        let cannot = || format!("cannot write {}", path.display());
        let file = tempfile::NamedTempFile::new_in(folder(path)).with_context(cannot)?;
        let mut out = Output::new(file, true);
        let summary = self.run(reader, wanted, &mut out)?;
        let digest = out.digest();
        let file = out.finish().with_context(cannot)?;
        file.as_file().sync_all().with_context(cannot)?;
        file.persist(path).with_context(cannot)?;
        Ok(Some((summary, digest)))
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// On a terminal alone.
fn bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:30} {percent}% {human_pos}/{human_len}, {eta} left")
    {
        bar.set_style(style);
    }
    bar
}

/// The feeds of the systems that have one; and those that have none or can't be asked, which is said in the export. A system that the ledger speaks of
/// in this time and that is defined no longer can't be asked either.
async fn feeds(
    app: &App,
    config: &Arc<Config>,
    wanted: &Wanted,
) -> anyhow::Result<(Vec<Feed>, Vec<Gap>)> {
    let runtime = tokio::runtime::Handle::current();
    let (mut feeds, mut gaps) = (Vec::new(), Vec::new());
    let span = (wanted.from, wanted.until);
    let is_wanted = |name: &SystemName| wanted.system.as_ref().is_none_or(|w| w == name);
    let named = app.store.ledger_systems(span).await?;
    let mut gone: BTreeSet<SystemName> = named.into_iter().filter(is_wanted).collect();
    gone.retain(|name| !config.systems.contains_key(name));
    if let Some(system) = &wanted.system
        && !config.systems.contains_key(system)
    {
        let ever = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        let is_known = app.store.ledger_systems(ever).await?.contains(system);
        anyhow::ensure!(
            is_known,
            "there is no system {system} in lockstep.yaml, and the ledger knows of none"
        );
        gone.insert(system.clone());
    }
    gaps.extend(gone.into_iter().map(|system| Gap {
        system,
        is_broken: true,
        why: "is not in lockstep.yaml any more, so its audit feed can't be asked: only what Lockstep did there is known"
            .to_owned(),
    }));
    let asked = config.systems.iter().filter(|(name, _)| is_wanted(name));
    for (name, system) in asked {
        let mut gap = |is_broken, why: String| {
            gaps.push(Gap {
                system: name.clone(),
                is_broken,
                why,
            });
        };
        match app::observe_only(name, system, &app.settings, Some(&app.store)) {
            Err(why) => gap(true, format!("its audit feed can't be asked: {why}")),
            Ok(link) if !link.capabilities().audit => gap(
                false,
                "keeps no audit feed of its own: only what Lockstep did there is known".to_owned(),
            ),
            Ok(link) => feeds.push(Feed::new(
                name.clone(),
                Arc::from(link),
                runtime.clone(),
                (wanted.from, wanted.until),
            )),
        }
    }
    Ok((feeds, gaps))
}

/// What the export was made from: beside the file, or as the last line of JSON.
async fn finish(
    app: &App,
    args: &ExportArgs,
    wanted: &Wanted,
    summary: &Summary,
    digest: Option<Digest>,
) -> anyhow::Result<()> {
    if args.out.is_none() && args.format != ExportFormat::Jsonl {
        return Ok(());
    }
    let found = app.checkpoints().await?;
    let covering = summary
        .window
        .and_then(|window| found.covering(window.last));
    let signed = covering
        .or(found.newest())
        .map(|signed| signed.text.as_str());
    let about = (args.format.word(), digest);
    let manifest = manifest(wanted, summary, about, signed, app.clock.now());
    match &args.out {
        None => print(&format!("{}\n", serde_json::json!({"manifest": manifest}))),
        Some(path) => {
            let mut name = path.clone().into_os_string();
            name.push(".manifest.json");
            let name = PathBuf::from(name);
            let mut file = tempfile::NamedTempFile::new_in(folder(path))?;
            writeln!(file, "{manifest:#}")?;
            file.as_file().sync_all()?;
            file.persist(&name)
                .with_context(|| format!("cannot write {}", name.display()))?;
            Ok(())
        }
    }
}
