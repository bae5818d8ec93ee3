//! The pure half, from documents to a plan: what each step costs, how that grows with size, and how it compares with a bare
//! typed parse of the same bytes in the same run.
//!
//! `cargo bench --bench pipeline [-- LARGEST]`; every row runs in a process of its own.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use clap::Parser as _;
use lockstep::compile::{self, CONFIG, Compiled};
use lockstep::document::{Blob, BlobId, Content, Snapshot, SnapshotDelta};
use lockstep::ids::{Digest, SystemName};
use lockstep::plan::{self, Plan};
use lockstep::resource::{Direction, Language};
use lockstep::view::{self, PlanView, ReportView};
use serde::Deserialize;

mod fixture;
#[expect(dead_code, reason = "the other bench uses the rest")]
mod measure;

use fixture::{Layout, Shape, Syntax};
use measure::{Cost, MARK, exponent, shown};

const SIZES: [usize; 4] = [100, 1_000, 10_000, 100_000];

/// What is timed inside a process; the first is the floor.
const STEPS: [&str; 8] = [
    "parse",
    "compile",
    "check",
    "diff equal",
    "diff 1 change",
    "plan",
    "succeed",
    "project",
];

/// Whole processes: a floor that reads and parses, and two commands.
const COMMANDS: [&str; 3] = ["read+parse", "lockstep check", "lockstep plan"];

fn main() -> anyhow::Result<()> {
    let (bench, words): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|w| w == "--bench");
    // Started by `cargo test`, which only wants to know that it builds.
    if bench.is_empty() && words.is_empty() {
        return Ok(());
    }
    match words.split_first() {
        Some((role, rest)) if role == "step" => step(rest),
        Some((role, rest)) if role == "parse" => parse_files(rest),
        Some((role, rest)) if role == "lockstep" => command(rest),
        _ => all(words.first().map(|w| w.parse()).transpose()?),
    }
}

/// Everything, as a table.
fn all(largest: Option<usize>) -> anyhow::Result<()> {
    let sizes: Vec<usize> = SIZES
        .into_iter()
        .filter(|n| *n <= largest.unwrap_or(usize::MAX))
        .collect();
    let mut tables = String::new();
    let mut ratios = vec![vec![
        "of what (at the largest sizes)".to_owned(),
        "flags".to_owned(),
        "ours".to_owned(),
        "floor".to_owned(),
        "ratio".to_owned(),
    ]];
    for layout in [Layout::OneFile, Layout::OneEach] {
        for syntax in [Syntax::Json, Syntax::Yaml] {
            let mut found: BTreeMap<(&str, usize), (f64, f64)> = BTreeMap::new();
            for flags in &sizes {
                let shape = Shape {
                    layout,
                    syntax,
                    flags: *flags,
                };
                measure_shape(shape, &mut found)?;
                for (ours, floor) in [("compile", "parse"), ("lockstep check", "read+parse")] {
                    if let (Some(a), Some(b)) =
                        (found.get(&(ours, *flags)), found.get(&(floor, *flags)))
                        && *flags >= 10_000
                    {
                        ratios.push(vec![
                            format!("{ours} : {floor}, {}, {}", layout.name(), syntax.name()),
                            flags.to_string(),
                            shown(a.0),
                            shown(b.0),
                            format!("{:.2}", a.0 / b.0),
                        ]);
                    }
                }
            }
            tables.push_str(&format!(
                "\n{}, {}: ms of CPU (peak MiB)\n",
                layout.name(),
                syntax.name()
            ));
            tables.push_str(&rows(&sizes, &found));
        }
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}{tables}", measure::table(&ratios))?;
    Ok(())
}

fn rows(sizes: &[usize], found: &BTreeMap<(&str, usize), (f64, f64)>) -> String {
    let mut head = vec!["step".to_owned()];
    head.extend(sizes.iter().map(ToString::to_string));
    head.push("growth from 1000".to_owned());
    let mut lines = vec![head];
    for step in STEPS.into_iter().chain(COMMANDS) {
        let mut line = vec![step.to_owned()];
        let mut points = Vec::new();
        for flags in sizes {
            match found.get(&(step, *flags)) {
                Some((cpu, memory)) => {
                    line.push(format!("{} ({memory:.0})", shown(*cpu)));
                    points.push((*flags, *cpu));
                }
                None => line.push("-".to_owned()),
            }
        }
        points.retain(|(flags, _)| *flags >= 1_000);
        line.push(exponent(&points).map_or("-".to_owned(), |e| format!("N^{e:.2}")));
        lines.push(line);
    }
    measure::table(&lines)
}

fn measure_shape(
    shape: Shape,
    found: &mut BTreeMap<(&'static str, usize), (f64, f64)>,
) -> anyhow::Result<()> {
    for name in STEPS {
        let mut words = vec!["step".to_owned(), name.to_owned()];
        words.extend(shape.to_words());
        let cost = measure::run_self(&words)?;
        if let [time, memory, ..] = cost.figures.as_slice() {
            found.insert((name, shape.flags), (*time, *memory));
        }
    }
    let folder = tempfile::tempdir()?;
    let (tree, bare) = (folder.path().join("tree"), folder.path().join("bare"));
    let documents = shape.documents();
    fixture::write_tree(&tree, &documents)?;
    fixture::write_bare(&bare, &documents, &[shape.edited(1)])?;
    for name in COMMANDS {
        let (tree, bare) = (text(&tree)?, text(&bare)?);
        let words: Vec<String> = match name {
            "read+parse" => {
                let mut words = vec!["parse".to_owned(), tree];
                words.extend(shape.to_words());
                words
            }
            "lockstep check" => ["lockstep", "check", "--repo", &tree]
                .map(String::from)
                .into(),
            _ => [
                "lockstep",
                "plan",
                "--repo",
                &bare,
                "--base",
                "edition-0",
                "--head",
                "edition-1",
            ]
            .map(String::from)
            .into(),
        };
        let mut best: Option<Cost> = None;
        let times = if shape.flags >= 100_000 { 5 } else { 15 };
        for _ in 0..times {
            let cost = measure::run_self(&words)?;
            anyhow::ensure!(cost.exit == Some(0), "{words:?} ended with {:?}", cost.exit);
            if best.as_ref().is_none_or(|b| cost.cpu < b.cpu) {
                best = Some(cost);
            }
        }
        if let Some(best) = best {
            let memory = best.figures.first().copied().unwrap_or_default();
            found.insert((name, shape.flags), (best.cpu, memory));
        }
    }
    Ok(())
}

fn text(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().context("a path as text")?.to_owned())
}

fn say(figures: &[f64]) -> anyhow::Result<()> {
    let figures: Vec<String> = figures.iter().map(ToString::to_string).collect();
    writeln!(std::io::stderr(), "{MARK} {}", figures.join(" "))?;
    Ok(())
}

/// A flag as a program would have it that does nothing but read it.
#[derive(Deserialize)]
#[expect(dead_code, reason = "what a bare parse makes is never looked at")]
struct Flag<'t> {
    enabled: bool,
    rollout: u8,
    teams: Vec<&'t str>,
    owner: &'t str,
}

/// The same for YAML, whose scalars are not always borrowed.
#[derive(Deserialize)]
#[expect(dead_code, reason = "what a bare parse makes is never looked at")]
struct OwnedFlag {
    enabled: bool,
    rollout: u8,
    teams: Vec<String>,
    owner: String,
}

/// The floor: a typed parse of every document but `lockstep.yaml`; returns how many flags there are.
fn parse<'t>(documents: impl Iterator<Item = &'t str>, syntax: Syntax) -> anyhow::Result<usize> {
    let mut flags = 0;
    for text in documents {
        flags += match syntax {
            Syntax::Json => serde_json::from_str::<BTreeMap<&str, Flag<'_>>>(text)?.len(),
            Syntax::Yaml => {
                // The parser's default budget ends before the largest document does.
                let mut options = serde_yaml::Options::default();
                options.budget = None;
                serde_yaml::from_str_with_options::<BTreeMap<String, OwnedFlag>>(text, options)?
                    .len()
            }
        };
    }
    Ok(flags)
}

/// A process that reads and parses a work tree, and does nothing else.
fn parse_files(words: &[String]) -> anyhow::Result<()> {
    let (tree, shape) = words.split_first().context("a folder")?;
    let shape = Shape::from_words(shape)?;
    let mut folders = vec![Path::new(tree).to_owned()];
    let mut flags = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() != CONFIG {
                let text = std::fs::read_to_string(entry.path())?;
                flags += parse(std::iter::once(text.as_str()), shape.syntax)?;
            }
        }
    }
    anyhow::ensure!(flags == shape.flags, "{flags} flags");
    say(&[measure::peak_mib()?])
}

/// A whole command, as the program would run it.
fn command(words: &[String]) -> anyhow::Result<()> {
    let words = ["lockstep".to_owned()]
        .into_iter()
        .chain(words.iter().cloned());
    let exit = lockstep::cli::run(lockstep::cli::Cli::parse_from(words));
    say(&[measure::peak_mib()?])?;
    anyhow::ensure!(exit == lockstep::cli::Exit::Done, "the command failed");
    Ok(())
}

fn step(words: &[String]) -> anyhow::Result<()> {
    let (name, shape) = words.split_first().context("a step")?;
    let shape = Shape::from_words(shape)?;
    let documents = shape.documents();
    if name == "parse" {
        let texts = || {
            let others = documents.iter().filter(|(path, _)| path != CONFIG);
            others.map(|(_, text)| text.as_str())
        };
        anyhow::ensure!(
            parse(texts(), shape.syntax)? == shape.flags,
            "not all flags"
        );
        let time = measure::shortest(|| parse(texts(), shape.syntax));
        return say(&[time, measure::peak_mib()?]);
    }
    let before = snapshot(documents)?;
    let (path, text) = shape.edited(1);
    let there = delta(path, text)?;
    let (path, text) = shape.edited(0);
    let back = delta(path, text)?;
    let mut after = before.clone();
    after.succeed(None, &there);
    let whole = || compile::compile(&before);
    let compiled = || -> anyhow::Result<Compiled> {
        let compiled = whole();
        let findings = compiled.report.findings();
        anyhow::ensure!(findings.is_empty(), "findings: {findings:?}");
        anyhow::ensure!(compiled.bundle.len() == shape.flags, "not all flags");
        Ok(compiled)
    };
    let system: SystemName = "medical".parse()?;
    let time = match name.as_str() {
        "compile" => {
            // Checked once, apart from what is timed: the first compile also sets the peak.
            drop(compiled()?);
            measure::shortest(whole)
        }
        "check" => measure::shortest(|| {
            let compiled = whole();
            let report = ReportView::new(&compiled.report, |path| before.text(path));
            view::text::report(&report, Language::English)
        }),
        "diff equal" | "diff 1 change" => {
            let other = if name == "diff equal" {
                &before
            } else {
                &after
            };
            let a = compiled()?.bundle.project(&system);
            let b = compile::compile(other).bundle.project(&system);
            measure::shortest(|| plan::diff(&a, &b, |_, _, _| Direction::Neutral))
        }
        "plan" => measure::shortest(|| {
            let (base, head) = (whole(), compile::compile(&after));
            let mut plan = Plan::between(Some(&base.bundle), &head.bundle);
            compile::fill_lines(&mut plan, (&after, &head), Some((&before, &base)));
            view::text::plan(&PlanView::new(&plan, &head.bundle.kinds, Language::English))
        }),
        "succeed" => {
            let mut compiled = compiled()?;
            let mut forth = true;
            measure::shortest(|| {
                let (snapshot, delta) = if forth {
                    (&after, &there)
                } else {
                    (&before, &back)
                };
                compiled.succeed(snapshot, delta);
                forth = !forth;
            })
        }
        "project" => {
            let bundle = compiled()?.bundle;
            measure::shortest(|| bundle.project(&system))
        }
        other => anyhow::bail!("no step {other}"),
    };
    say(&[time, measure::peak_mib()?])
}

fn blob(text: &str) -> Blob {
    Blob {
        id: BlobId::from_digest(Digest::of(text.as_bytes())),
        content: Content::Bytes(text.as_bytes().into()),
    }
}

fn snapshot(documents: Vec<(String, String)>) -> anyhow::Result<Snapshot> {
    let files = documents
        .into_iter()
        .map(|(path, text)| Ok((path.parse()?, blob(&text))))
        .collect::<anyhow::Result<_>>()?;
    Ok(Snapshot {
        files,
        ..Snapshot::default()
    })
}

fn delta(path: String, text: String) -> anyhow::Result<SnapshotDelta> {
    let files = [(path.parse()?, Some(blob(&text)))];
    Ok(SnapshotDelta {
        files: files.into(),
        ..SnapshotDelta::default()
    })
}
