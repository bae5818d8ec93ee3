//! The resident half: an engine, two reference systems on loopback, and what a pass costs where nothing changed and where one flag did.
//!
//! `cargo bench --bench passes [-- LARGEST]`. The engine and each system are processes of their own; the CPU is the engine's. Every commit is
//! in the repository before the clock starts, as after a fetch: what is measured begins with the branch's new tip and ends with both
//! systems verified, the ledger written and the statuses set.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use lockstep::app::App;
use lockstep::engine::{GroupReport, Rounds};
use lockstep::record::Trigger;
use lockstep::settings::Settings;

mod counting;
#[expect(dead_code, reason = "the other bench uses the rest")]
mod fixture;
#[expect(dead_code, reason = "the other bench uses the rest")]
mod measure;
mod system;

use counting::counting;
use fixture::{Layout, Shape, Syntax};
use measure::{cpu_of_threads, exponent, millis, shown};
use system::runtime;

const SIZES: [usize; 4] = [100, 1_000, 10_000, 100_000];
const IDLE_PASSES: usize = 300;

/// What one shape came to, in milliseconds of CPU and of wall time.
struct Figures {
    first: f64,
    first_wall: f64,
    idle: f64,
    idle_wall: f64,
    idle_requests: f64,
    change: f64,
    change_wall_least: f64,
    change_wall_median: f64,
    change_requests: f64,
    memory: f64,
}

fn main() -> anyhow::Result<()> {
    let (bench, words): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|w| w == "--bench");
    // Started by `cargo test`, which only wants to know that it builds.
    if bench.is_empty() && words.is_empty() {
        return Ok(());
    }
    match words.split_first() {
        Some((role, rest)) if role == system::ROLE => system::serve(rest),
        Some((role, rest)) if role == "engine" => engine(rest),
        _ => all(words.first().map(|w| w.parse()).transpose()?),
    }
}

fn all(largest: Option<usize>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for layout in [Layout::OneEach, Layout::OneFile] {
        let mut rows = vec![
            [
                "flags",
                "first pass",
                "wall",
                "no-op pass",
                "wall",
                "requests",
                "one change",
                "wall: least",
                "median",
                "requests",
                "peak MiB",
            ]
            .map(String::from)
            .to_vec(),
        ];
        let (mut first, mut idle, mut change) = (Vec::new(), Vec::new(), Vec::new());
        for flags in SIZES
            .into_iter()
            .filter(|n| *n <= largest.unwrap_or(usize::MAX))
        {
            let found = shape(Shape {
                layout,
                syntax: Syntax::Json,
                flags,
            })?;
            first.push((flags, found.first));
            idle.push((flags, found.idle));
            change.push((flags, found.change));
            let mut row = vec![flags.to_string()];
            row.extend(
                [
                    found.first,
                    found.first_wall,
                    found.idle,
                    found.idle_wall,
                    found.idle_requests,
                    found.change,
                    found.change_wall_least,
                    found.change_wall_median,
                    found.change_requests,
                    found.memory,
                ]
                .map(shown),
            );
            rows.push(row);
        }
        let mut growth = vec![String::new(); 7];
        for (place, mut points) in [(1, first), (3, idle), (6, change)] {
            points.retain(|(flags, _)| *flags >= 1_000);
            if let (Some(cell), Some(e)) = (growth.get_mut(place), exponent(&points)) {
                *cell = format!("N^{e:.2}");
            }
        }
        if let Some(cell) = growth.first_mut() {
            "growth from 1000".clone_into(cell);
        }
        rows.push(growth);
        writeln!(
            out,
            "{}, JSON: ms of our CPU, ms of wall time\n{}",
            layout.name(),
            measure::table(&rows)
        )?;
    }
    Ok(())
}

fn shape(shape: Shape) -> anyhow::Result<Figures> {
    let folder = tempfile::tempdir()?;
    let (_medical, first) = system::start(folder.path(), &["medical".to_owned()])?;
    let (_voicedrive, second) = system::start(folder.path(), &["voicedrive".to_owned()])?;
    let ports = [first, second].concat();
    let mut documents = shape.documents();
    if let Some((_, text)) = documents.first_mut() {
        let ports = ports.as_slice().try_into().context("a port each")?;
        *text = fixture::config(shape, ports);
    }
    let changes = match (shape.layout, shape.flags) {
        (Layout::OneFile, 100_000..) => 8,
        _ => 40,
    };
    let editions: Vec<_> = (1..=changes).map(|n| shape.edited(n)).collect();
    let bare = folder.path().join("config.git");
    fixture::write_bare(&bare, &documents, &editions)?;
    let bare = bare.to_str().context("a path as text")?.to_owned();
    let cost = measure::run_self(&["engine".to_owned(), bare, changes.to_string()])?;
    anyhow::ensure!(
        cost.exit == Some(0),
        "the engine ended with {:?}",
        cost.exit
    );
    let [
        first,
        first_wall,
        idle,
        idle_wall,
        idle_requests,
        change,
        least,
        median,
        change_requests,
        memory,
    ] = cost.figures.as_slice()
    else {
        anyhow::bail!("{:?}", cost.figures);
    };
    Ok(Figures {
        first: *first,
        first_wall: *first_wall,
        idle: *idle,
        idle_wall: *idle_wall,
        idle_requests: *idle_requests,
        change: *change,
        change_wall_least: *least,
        change_wall_median: *median,
        change_requests: *change_requests,
        memory: *memory,
    })
}

/// The engine in a process of its own.
fn engine(words: &[String]) -> anyhow::Result<()> {
    let [bare, changes] = words else {
        anyhow::bail!("engine REPO CHANGES");
    };
    let changes = changes.parse()?;
    runtime()?.block_on(passes(Path::new(bare), changes))
}

async fn passes(bare: &Path, changes: usize) -> anyhow::Result<()> {
    let git = git2::Repository::open(bare)?;
    let app = App::open(Settings::load(None, Some(bare))?).await?;
    let requests = Arc::new(AtomicUsize::new(0));
    let mut engine = Rounds::new(counting(&app, &requests)?);

    let (cpu, start) = (cpu_of_threads()?, Instant::now());
    in_step(&engine.pass(Trigger::Start).await?, true)?;
    let first = [cpu_of_threads()? - cpu, millis(start.elapsed())];
    // The pass after it settles what the first one left to say.
    engine.pass(Trigger::Drift).await?;

    requests.store(0, Ordering::Relaxed);
    let (cpu, start) = (cpu_of_threads()?, Instant::now());
    for _ in 0..IDLE_PASSES {
        in_step(&engine.pass(Trigger::Drift).await?, false)?;
    }
    let idle = [
        (cpu_of_threads()? - cpu) / count(IDLE_PASSES),
        millis(start.elapsed()) / count(IDLE_PASSES),
        count(requests.swap(0, Ordering::Relaxed)) / count(IDLE_PASSES),
    ];

    let (mut spent, mut walls) = (0.0, Vec::new());
    for n in 1..=changes {
        let tip = git.refname_to_id(&format!("refs/heads/edition-{n}"))?;
        git.reference("refs/heads/main", tip, true, "bench")?;
        let (cpu, start) = (cpu_of_threads()?, Instant::now());
        let reports = engine.pass(Trigger::Merge).await?;
        walls.push(millis(start.elapsed()));
        spent += cpu_of_threads()? - cpu;
        in_step(&reports, true)?;
    }
    walls.sort_by(f64::total_cmp);
    let change = [
        spent / count(changes),
        walls.first().copied().unwrap_or_default(),
        walls.get(walls.len() / 2).copied().unwrap_or_default(),
        count(requests.swap(0, Ordering::Relaxed)) / count(changes),
    ];
    let figures: Vec<String> = first
        .iter()
        .chain(&idle)
        .chain(&change)
        .chain(&[measure::peak_mib()?])
        .map(ToString::to_string)
        .collect();
    writeln!(std::io::stderr(), "{} {}", measure::MARK, figures.join(" "))?;
    Ok(())
}

/// Fails unless the pass did what it should: the benchmark of an engine that does nothing would be a fast one.
fn in_step(reports: &[GroupReport], changed: bool) -> anyhow::Result<()> {
    for report in reports {
        anyhow::ensure!(report.in_step(), "not in step: {report:?}");
        anyhow::ensure!(
            report.outcome.is_some() == changed,
            "unexpected: {report:?}"
        );
    }
    anyhow::ensure!(reports.len() == 1, "{} groups", reports.len());
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn count(n: usize) -> f64 {
    n as f64
}
