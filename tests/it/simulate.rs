//! The simulator of `examples/simulate`, over as many seeds as a test may take: every promise holds, every fault strikes and every outcome comes
//! about, every planted bug is found, and a seed is all that it takes to see the same again.

use std::collections::BTreeSet;
use std::path::Path;

use sim::{BUGS, Fault, Promise, Tally, Tracing};

#[path = "../../examples/simulate/sim.rs"]
mod sim;

/// How many seeds a planted bug may hide in.
const WITHIN: u64 = 1_000;

#[test]
fn every_promise_holds_over_two_thousand_seeds() {
    let mut all = Tally::default();
    for seed in 0..2_000 {
        let done = sim::run(seed, None, Tracing::Not);
        if let Some(broken) = done.broken {
            let traced = sim::run(seed, None, Tracing::Kept);
            panic!("seed {seed} breaks {broken}\n{}", traced.trace);
        }
        all.add(&done.tally);
    }
    // A simulation in which nothing happens shows nothing.
    let missing: Vec<&str> = all
        .faults()
        .chain(all.outcomes())
        .filter(|(_, times)| *times < 20)
        .map(|(name, _)| name)
        .collect();
    assert!(missing.is_empty(), "hardly ever: {missing:?} in {all:?}");
    let Tally {
        steps,
        runs,
        recovered,
        overtaken,
        deliveries,
        entries,
        checks,
        ..
    } = all;
    let floors = [
        (steps, 1_000_000),
        (checks, 500_000),
        (runs, 20_000),
        (recovered, 1_000),
        (overtaken, 5_000),
        (entries, 50_000),
        (deliveries, 20_000),
    ];
    assert!(floors.iter().all(|(n, floor)| n > floor), "{floors:?}");
}

#[test]
fn every_planted_bug_is_found_within_a_thousand_seeds() {
    let mut shown = BTreeSet::new();
    for planted in &BUGS {
        let name = planted.name;
        assert_eq!(name.parse(), Ok(planted.bug), "{name}");
        let broken = (0..WITHIN).find_map(|seed| {
            let done = sim::run(seed, Some(planted.bug), Tracing::Not);
            done.broken
        });
        let broken = broken.unwrap_or_else(|| panic!("{name}: {} is not found", planted.what));
        assert!(
            planted.breaks.contains(&broken.promise),
            "{name} is found as {broken}, and should be as one of {:?}",
            planted.breaks
        );
        shown.insert(broken.promise);
    }
    let promises: BTreeSet<Promise> = Promise::ALL.iter().map(|(promise, _)| *promise).collect();
    assert_eq!(
        shown, promises,
        "each promise is seen to be broken by a bug"
    );
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let traced = |seed| sim::run(seed, None, Tracing::Kept);
    let first: Vec<_> = (0..12).map(traced).collect();
    for (seed, before) in (0..).zip(&first) {
        let again = traced(seed);
        assert_eq!(again.trace, before.trace, "seed {seed}");
        // Watching changes nothing.
        let unwatched = sim::run(seed, None, Tracing::Not);
        assert_eq!(unwatched.tally.steps, before.tally.steps, "seed {seed}");
        assert!(unwatched.trace.is_empty());
    }
    let different: BTreeSet<&str> = first.iter().map(|done| done.trace.as_str()).collect();
    assert_eq!(different.len(), first.len());
    assert!(first.iter().all(|done| done.trace.lines().count() > 50));
}

#[test]
fn a_broken_promise_ends_the_trace() {
    let bug = "prepare-not-awaited".parse().unwrap();
    let (seed, broken) = (0..WITHIN)
        .find_map(|seed| Some((seed, sim::run(seed, Some(bug), Tracing::Not).broken?)))
        .unwrap();
    let done = sim::run(seed, Some(bug), Tracing::Kept);
    let last = done.trace.lines().last().unwrap();
    assert!(last.ends_with(&format!("BROKEN  {broken}")), "{last}");
    let refused = "no-such-bug".parse::<sim::Bug>().unwrap_err();
    assert!(refused.contains("prepare-not-awaited"), "{refused}");
}

#[test]
fn the_page_names_every_fault_promise_and_bug() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/simulator.md");
    let page = std::fs::read_to_string(page).unwrap();
    let faults = Fault::ALL
        .iter()
        .map(|(_, name, what)| (name.to_string(), *what));
    let promises = Promise::ALL
        .iter()
        .map(|(promise, what)| (format!("{promise:?}"), *what));
    let bugs = BUGS
        .iter()
        .map(|planted| (planted.name.to_owned(), planted.what));
    for (name, what) in faults.chain(promises).chain(bugs) {
        let row = format!("| `{name}` | {what} |");
        assert!(page.contains(&row), "docs/simulator.md has no row {row}");
    }
}
