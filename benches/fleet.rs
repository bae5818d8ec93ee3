//! Many systems: what a pass over all of them costs when they are brought in step for the first time, and when nothing has changed.
//!
//! `cargo bench --bench fleet [-- SYSTEMS]`. The systems are reference systems, reached over loopback, ten in a lockstep group and each with the same ten
//! flags; they are processes of their own, as is the engine, whose CPU it is. The first look at them is a pass too: it makes the connections.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use lockstep::app::App;
use lockstep::engine::{GroupReport, Rounds};
use lockstep::record::Trigger;
use lockstep::settings::Settings;

mod counting;
#[expect(dead_code, reason = "the other benches use the rest")]
mod fixture;
#[expect(dead_code, reason = "the other benches use the rest")]
mod measure;
mod system;

use counting::counting;
use measure::{cpu_of_threads, millis, shown};

const SYSTEMS: [usize; 2] = [100, 1_000];
/// Systems in a group, and flags on each.
const TEN: usize = 10;
/// Systems in a process.
const TOGETHER: usize = 250;
const IDLE_PASSES: usize = 20;

/// The word that this bench is started with again to be the engine.
const ROLE: &str = "engine";

fn main() -> anyhow::Result<()> {
    let (bench, words): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|w| w == "--bench");
    // Started by `cargo test`, which only wants to know that it builds.
    if bench.is_empty() && words.is_empty() {
        return Ok(());
    }
    match words.split_first() {
        Some((role, rest)) if role == system::ROLE => system::serve(rest),
        Some((role, rest)) if role == ROLE => engine(rest),
        Some((systems, _)) => all(&[systems.parse()?]),
        None => all(&SYSTEMS),
    }
}

fn all(sizes: &[usize]) -> anyhow::Result<()> {
    let mut rows = vec![
        [
            "systems",
            "first pass",
            "wall",
            "requests",
            "no-op pass",
            "least",
            "wall",
            "requests",
            "peak MiB",
        ]
        .map(String::from)
        .to_vec(),
    ];
    for systems in sizes {
        let mut row = vec![systems.to_string()];
        row.extend(fleet(*systems)?.into_iter().map(shown));
        rows.push(row);
    }
    writeln!(
        std::io::stdout(),
        "ms of our CPU, ms of wall time; groups of {TEN}\n{}",
        measure::table(&rows)
    )?;
    Ok(())
}

fn fleet(systems: usize) -> anyhow::Result<Vec<f64>> {
    let folder = tempfile::tempdir()?;
    let names: Vec<String> = (0..systems).map(|n| format!("system{n:04}")).collect();
    let (mut running, mut ports) = (Vec::new(), Vec::new());
    for some in names.chunks(TOGETHER) {
        let (process, some) = system::start(folder.path(), some)?;
        running.push(process);
        ports.extend(some);
    }
    let documents = [
        ("lockstep.yaml".to_owned(), config(&names, &ports)?),
        ("flags/flags.yaml".to_owned(), flags()?),
    ];
    let bare = folder.path().join("config.git");
    fixture::write_bare(&bare, &documents, &[])?;
    let words = [
        ROLE.to_owned(),
        bare.display().to_string(),
        systems.div_ceil(TEN).to_string(),
    ];
    let cost = measure::run_self(&words)?;
    anyhow::ensure!(
        cost.exit == Some(0),
        "the engine ended with {:?}",
        cost.exit
    );
    Ok(cost.figures)
}

fn config(names: &[String], ports: &[u16]) -> anyhow::Result<String> {
    let mut text = "version: 1\ntimezone: Asia/Tokyo\nsystems:\n".to_owned();
    for (name, port) in names.iter().zip(ports) {
        writeln!(
            text,
            "  {name}: {{connector: http, url: \"http://127.0.0.1:{port}\", kinds: [FeatureFlag], mode: enforce, drift: heal}}"
        )?;
    }
    text.push_str("groups:\n");
    for (n, some) in names.chunks(TEN).enumerate() {
        writeln!(
            text,
            "  group{n:03}: {{systems: [{}], consistency: lockstep, on_failure: rollback}}",
            some.join(", ")
        )?;
    }
    text.push_str("documents:\n  - {path: \"flags/*.yaml\", kind: FeatureFlag}\n");
    Ok(text)
}

fn flags() -> anyhow::Result<String> {
    let mut text = String::new();
    for n in 0..TEN {
        writeln!(
            text,
            "flag_{n}: {{enabled: true, rollout: {}, owner: sato}}",
            n * 7
        )?;
    }
    Ok(text)
}

/// The engine in a process of its own.
fn engine(words: &[String]) -> anyhow::Result<()> {
    let [bare, groups] = words else {
        anyhow::bail!("engine REPO GROUPS");
    };
    let groups = groups.parse()?;
    system::runtime()?.block_on(passes(Path::new(bare), groups))
}

async fn passes(bare: &Path, groups: usize) -> anyhow::Result<()> {
    let app = App::open(Settings::load(None, Some(bare))?).await?;
    let requests = Arc::new(AtomicUsize::new(0));
    let mut engine = Rounds::new(counting(&app, &requests)?);

    let (cpu, start) = (cpu_of_threads()?, Instant::now());
    in_step(&engine.pass(Trigger::Start).await?, groups, true)?;
    let mut figures = vec![cpu_of_threads()? - cpu, millis(start.elapsed())];
    figures.push(count(requests.load(Ordering::Relaxed)));
    // The pass after it settles what the first one left to say.
    engine.pass(Trigger::Drift).await?;

    requests.store(0, Ordering::Relaxed);
    let (mut spent, mut least, mut wall) = (0.0, f64::INFINITY, f64::INFINITY);
    for _ in 0..IDLE_PASSES {
        let (cpu, start) = (cpu_of_threads()?, Instant::now());
        in_step(&engine.pass(Trigger::Drift).await?, groups, false)?;
        let cpu = cpu_of_threads()? - cpu;
        wall = wall.min(millis(start.elapsed()));
        least = least.min(cpu);
        spent += cpu;
    }
    let passes = count(IDLE_PASSES);
    let requests = count(requests.load(Ordering::Relaxed));
    figures.extend([spent / passes, least, wall, requests / passes]);
    figures.push(measure::peak_mib()?);
    let figures: Vec<String> = figures.iter().map(ToString::to_string).collect();
    writeln!(std::io::stderr(), "{} {}", measure::MARK, figures.join(" "))?;
    Ok(())
}

/// Fails unless the pass did what it should: the benchmark of an engine that does nothing would be a fast one.
fn in_step(reports: &[GroupReport], groups: usize, changed: bool) -> anyhow::Result<()> {
    for report in reports {
        anyhow::ensure!(report.in_step(), "not in step: {report:?}");
        anyhow::ensure!(
            report.outcome.is_some() == changed,
            "unexpected: {report:?}"
        );
    }
    anyhow::ensure!(reports.len() == groups, "{} groups", reports.len());
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn count(n: usize) -> f64 {
    n as f64
}
