//! Runs the simulation over many seeds: `cargo run --release --example simulate -- --seeds 100000`.

#[path = "sim.rs"]
mod sim;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use sim::{BUGS, Bug, Fault, Promise, Tally, Tracing};

/// How many seeds a planted bug may hide in.
const WITHIN: u64 = 1_000;

/// Replicas, store, forge, systems and clocks in one thread on virtual time, with faults from a seed.
#[derive(Debug, Parser)]
struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// One seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Print what happens, line by line; with --seed.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Plant a bug, by its name.
    #[arg(long)]
    bug: Option<Bug>,
    /// Plant every bug, one after the other, and say in which seed each is found.
    #[arg(long, conflicts_with_all = ["bug", "seed"])]
    bugs: bool,
    /// List the faults, the promises and the bugs.
    #[arg(long)]
    list: bool,
}

fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    let mut out = anstream::stdout().lock();
    if args.list {
        list(&mut out)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.bugs {
        return hunt(&mut out, args.from);
    }
    if let Some(seed) = args.seed {
        return one(&mut out, seed, &args);
    }
    many(&mut out, &args)
}

fn one(out: &mut impl Write, seed: u64, args: &Args) -> io::Result<ExitCode> {
    let tracing = if args.trace {
        Tracing::Kept
    } else {
        Tracing::Not
    };
    let done = sim::run(seed, args.bug, tracing);
    out.write_all(done.trace.as_bytes())?;
    match done.broken {
        None => {
            writeln!(
                out,
                "seed {seed}: every promise held over {} steps",
                done.tally.steps
            )?;
            Ok(ExitCode::SUCCESS)
        }
        Some(broken) => {
            writeln!(out, "seed {seed} breaks {broken}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn many(out: &mut impl Write, args: &Args) -> io::Result<ExitCode> {
    let begun = Instant::now();
    let mut all = Tally::default();
    for seed in args.from..args.from.saturating_add(args.seeds) {
        let done = sim::run(seed, args.bug, Tracing::Not);
        all.add(&done.tally);
        if let Some(broken) = done.broken {
            let traced = sim::run(seed, args.bug, Tracing::Kept);
            out.write_all(traced.trace.as_bytes())?;
            writeln!(out, "\nseed {seed} breaks {broken}")?;
            writeln!(out, "again: {}", again(seed, args.bug))?;
            return Ok(ExitCode::FAILURE);
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let rate = rate(args.seeds, seconds);
    writeln!(
        out,
        "{} seeds from {}: every promise held",
        args.seeds, args.from
    )?;
    writeln!(out, "{seconds:.1} s, {rate:.0} seeds/s")?;
    report(out, &all)?;
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(seeds: u64, seconds: f64) -> f64 {
    seeds as f64 / seconds.max(1e-9)
}

fn report(out: &mut impl Write, all: &Tally) -> io::Result<()> {
    writeln!(
        out,
        "{} steps, {} facts judged; {} runs, {} taken up after a crash or a lost lease, {} changes of leader; {} ledger entries, {} statuses shown",
        all.steps, all.checks, all.runs, all.recovered, all.overtaken, all.entries, all.deliveries
    )?;
    line(out, "outcomes", all.outcomes())?;
    line(out, "faults", all.faults())
}

fn line(
    out: &mut impl Write,
    what: &str,
    counts: impl Iterator<Item = (&'static str, u64)>,
) -> io::Result<()> {
    let words: Vec<String> = counts.map(|(name, n)| format!("{name} {n}")).collect();
    writeln!(out, "{what}: {}", words.join(", "))
}

fn again(seed: u64, bug: Option<Bug>) -> String {
    let planted = BUGS.iter().find(|planted| Some(planted.bug) == bug);
    let bug = planted.map_or_else(String::new, |planted| format!(" --bug {}", planted.name));
    format!("cargo run --release --example simulate -- --seed {seed} --trace{bug}")
}

/// Looks for every planted bug.
fn hunt(out: &mut impl Write, from: u64) -> io::Result<ExitCode> {
    let mut missed = 0;
    for planted in &BUGS {
        let seeds = from..from.saturating_add(WITHIN);
        let found = seeds.into_iter().find_map(|seed| {
            let broken = sim::run(seed, Some(planted.bug), Tracing::Not).broken?;
            Some((seed, broken))
        });
        match found {
            Some((seed, broken)) if planted.breaks.contains(&broken.promise) => {
                writeln!(out, "{:<30} seed {seed:>4}  {broken}", planted.name)?;
            }
            Some((seed, broken)) => {
                missed += 1;
                writeln!(
                    out,
                    "{:<30} seed {seed:>4}  {broken} (expected {:?})",
                    planted.name, planted.breaks
                )?;
            }
            None => {
                missed += 1;
                writeln!(out, "{:<30} NOT FOUND in {WITHIN} seeds", planted.name)?;
            }
        }
    }
    let found = BUGS.len() - missed;
    writeln!(
        out,
        "{found} of {} planted bugs found within {WITHIN} seeds",
        BUGS.len()
    )?;
    Ok(if missed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// As tables, which `docs/simulator.md` holds.
fn list(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "| fault | what happens |\n| --- | --- |")?;
    for (_, name, what) in Fault::ALL {
        writeln!(out, "| `{name}` | {what} |")?;
    }
    writeln!(out, "\n| promise | what must hold |\n| --- | --- |")?;
    for (promise, what) in Promise::ALL {
        writeln!(out, "| `{promise:?}` | {what} |")?;
    }
    writeln!(out, "\n| bug | what it does |\n| --- | --- |")?;
    for planted in &BUGS {
        writeln!(out, "| `{}` | {} |", planted.name, planted.what)?;
    }
    Ok(())
}
