//! The suite's results as the table of docs/connectors.md: each connector's test checks its own column, or writes it where
//! `LOCKSTEP_DOCS=write` is set.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

/// The behaviours of one connector in order, and what came of each.
pub(super) type Results = Vec<(&'static str, Outcome)>;

pub(super) enum Outcome {
    Passed,
    Failed(String),
    /// Not asked of this connector, and why.
    Exempt(&'static str),
}

/// What a behaviour came to: a failed assertion is a result here.
pub(super) async fn outcome(behaviour: impl Future<Output = ()>) -> Outcome {
    match AssertUnwindSafe(behaviour).catch_unwind().await {
        Ok(()) => Outcome::Passed,
        Err(panic) => Outcome::Failed(
            (panic.downcast_ref::<String>().cloned())
                .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
                .unwrap_or_else(|| "it panicked".to_owned()),
        ),
    }
}

/// Fails where a behaviour failed, and where the table says something else than the results do.
pub(super) fn check(connector: &str, results: &Results) {
    let failed: Vec<String> = results
        .iter()
        .filter_map(|(name, outcome)| match outcome {
            Outcome::Failed(why) => Some(format!("{name}: {why}")),
            Outcome::Passed | Outcome::Exempt(_) => None,
        })
        .collect();
    assert!(failed.is_empty(), "{connector}:\n{}", failed.join("\n"));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/connectors.md");
    let text = std::fs::read_to_string(path).unwrap();
    let next = with_column(&text, connector, results);
    if is_to_write() {
        std::fs::write(path, next).unwrap();
    } else {
        assert_eq!(
            text, next,
            "the table of docs/connectors.md is not what {connector} does; write it with LOCKSTEP_DOCS=write"
        );
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a wish of whoever runs the tests, not a setting"
)]
fn is_to_write() -> bool {
    std::env::var("LOCKSTEP_DOCS").is_ok_and(|wish| wish == "write")
}

const BEGIN: &str = "<!-- conformance: written by the suite's own tests -->\n";
const END: &str = "<!-- conformance: end -->\n";

/// The text with one connector's results in its column. Notes say why a behaviour was not asked for.
fn with_column(text: &str, connector: &str, results: &Results) -> String {
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    let mut rows: Vec<Vec<String>> = table
        .lines()
        .filter(|line| line.starts_with('|') && !line.starts_with("| ---"))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect()
        })
        .collect();
    if rows.is_empty() {
        rows.push(vec!["behaviour".to_owned()]);
    }
    let column = rows[0].iter().position(|c| c == &format!("`{connector}`"));
    let column = column.unwrap_or_else(|| {
        rows[0].push(format!("`{connector}`"));
        rows[0].len() - 1
    });
    for (name, outcome) in results {
        let title = name.replace('_', " ");
        let at = rows.iter().position(|row| row[0] == title);
        let at = at.unwrap_or_else(|| {
            rows.push(vec![title]);
            rows.len() - 1
        });
        let row = &mut rows[at];
        row.resize(row.len().max(column + 1), String::new());
        row[column] = match outcome {
            Outcome::Passed => "✓".to_owned(),
            Outcome::Failed(_) => "✗".to_owned(),
            Outcome::Exempt(why) => (*why).to_owned(),
        };
    }
    let width = rows[0].len();
    let lines = rows.into_iter().enumerate().map(|(n, mut row)| {
        row.resize(width, String::new());
        let line = format!("| {} |\n", row.join(" | "));
        if n == 0 {
            line + &format!("|{}\n", " --- |".repeat(width))
        } else {
            line
        }
    });
    format!("{before}{BEGIN}{}{END}{after}", lines.collect::<String>())
}
