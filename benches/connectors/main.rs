//! What a connector costs beside a plain client that writes the same to the same server, in the best batches that it has: the first sync of N resources
//! in one changeset, and a pass with one change.
//!
//! `cargo bench --bench connectors [-- N [CONNECTOR]]`. Ours is what the engine asks of a connector in a pass: look, plan, prepare, commit, and read back
//! what was touched. The plain client has its bytes ready and is connected before the clock starts, writes once, stages nothing and checks nothing.
//! A connector is measured in a process of its own with a server of its own below it, whose CPU counts on both sides.

use std::io::Write as _;

use anyhow::Context as _;

#[path = "../measure.rs"]
#[expect(dead_code, reason = "the other benches use the rest")]
mod measure;
#[path = "../system.rs"]
mod system;

mod file;
mod http;
mod peer;
mod postgres;
mod redis;
mod round;
mod scim;
mod shelf;
mod unleash;

use measure::shown;
use peer::Peer;
use round::{Rounds, Spent};

const RESOURCES: usize = 10_000;

/// A connector, how many resources of it are taken at most, how often it is measured anew, and how many single changes follow each time. What
/// takes several requests a resource takes fewer; what looks at everything for one change is asked for fewer.
const ROWS: [(&str, usize, Rounds); 7] = [
    ("http", usize::MAX, Rounds::QUICK),
    ("postgres", usize::MAX, Rounds::SLOW),
    ("postgres prepared", usize::MAX, Rounds::SLOW),
    ("redis", usize::MAX, Rounds::SLOW),
    ("file", usize::MAX, Rounds::SLOW),
    ("scim", 1_000, Rounds::SLOW),
    ("unleash", 200, Rounds::SLOW),
];

/// The word that this bench is started with again to measure one connector.
const ROLE: &str = "row";

fn main() -> anyhow::Result<()> {
    let (bench, words): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|w| w == "--bench");
    // Started by `cargo test`, which only wants to know that it builds.
    if bench.is_empty() && words.is_empty() {
        return Ok(());
    }
    match words.split_first() {
        Some((role, rest)) if role == system::ROLE => system::serve(rest),
        Some((role, rest)) if role == ROLE => row(rest),
        _ => all(&words),
    }
}

fn all(words: &[String]) -> anyhow::Result<()> {
    let most = words.first().map_or(Ok(RESOURCES), |n| n.parse())?;
    let only = words.get(1);
    let mut rows = vec![
        [
            "",
            "cpu",
            "server",
            "wall",
            "| bare cpu",
            "server",
            "wall",
            "| cpu",
            "wall",
        ]
        .map(String::from)
        .to_vec(),
    ];
    let mut skipped = String::new();
    for (name, limit, _) in ROWS
        .iter()
        .filter(|(name, ..)| only.is_none_or(|only| only == name))
    {
        let count = most.min(*limit);
        let words = [ROLE, name, &count.to_string()].map(String::from);
        let cost = measure::run_self(&words)?;
        if cost.figures.is_empty() {
            skipped.push_str(&format!(
                "skipped: {name}: its server is not installed (./test installs it)\n"
            ));
            continue;
        }
        anyhow::ensure!(
            cost.exit == Some(0),
            "{name} ended with {:?}, having said {:?}",
            cost.exit,
            cost.figures
        );
        let what = [
            format!("{name}: first sync of {count}"),
            format!("{name}: one change"),
        ];
        for (what, figures) in what.into_iter().zip(cost.figures.chunks(6)) {
            rows.push(compared(what, figures)?);
        }
    }
    writeln!(
        std::io::stdout(),
        "ms of CPU, ms of wall time, the least of several; how many times as much as bare, servers counted in\n{}{skipped}",
        measure::table(&rows)
    )?;
    Ok(())
}

fn compared(what: String, figures: &[f64]) -> anyhow::Result<Vec<String>> {
    let [own, server, wall, bare_own, bare_server, bare_wall] = figures else {
        anyhow::bail!("{what}: {figures:?}");
    };
    let times = |ours: f64, bare: f64| format!("{:.2}×", ours / bare);
    Ok(vec![
        what,
        shown(*own),
        shown(*server),
        shown(*wall),
        format!("| {}", shown(*bare_own)),
        shown(*bare_server),
        shown(*bare_wall),
        format!("| {}", times(own + server, bare_own + bare_server)),
        times(*wall, *bare_wall),
    ])
}

/// One connector in a process of its own. Says nothing where its server is not installed.
fn row(words: &[String]) -> anyhow::Result<()> {
    let [name, count] = words else {
        anyhow::bail!("row CONNECTOR RESOURCES");
    };
    let count = count.parse()?;
    let (_, _, rounds) = ROWS
        .iter()
        .find(|(row, ..)| row == name)
        .with_context(|| format!("no connector {name}"))?;
    let figures = system::runtime()?.block_on(async {
        let peer: Option<Box<dyn Peer>> = match name.as_str() {
            "http" => Some(Box::new(http::Http::new()?)),
            "file" => Some(Box::new(file::File::new()?)),
            "postgres" => boxed(postgres::Postgres::plain()),
            "postgres prepared" => boxed(postgres::Postgres::preparing()),
            "redis" => boxed(redis::Redis::new()),
            "scim" => boxed(scim::Scim::new(count).await?),
            "unleash" => boxed(unleash::Unleash::new().await?),
            other => anyhow::bail!("no connector {other}"),
        };
        match peer {
            Some(mut peer) => round::measure(&mut *peer, count, *rounds).await,
            None => Ok(Vec::new()),
        }
    })?;
    let figures: Vec<String> = figures.into_iter().flat_map(Spent::to_words).collect();
    writeln!(std::io::stderr(), "{} {}", measure::MARK, figures.join(" "))?;
    Ok(())
}

fn boxed<P: Peer + 'static>(peer: Option<P>) -> Option<Box<dyn Peer>> {
    peer.map(|peer| -> Box<dyn Peer> { Box::new(peer) })
}
