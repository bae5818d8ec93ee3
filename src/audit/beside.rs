//! The tables beside the ledger, held against what it says of them: runs, their decisions and what they count against the ceilings, releases, and
//! commands. Each row there has one entry that keeps its digest; so none is altered, added or dropped unnoticed.
//!
//! Not held against it: where systems and groups stand, leases, heat, what connectors keep and deliveries owed. They are overwritten as things move, and are
//! found out anew from git and the systems.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::verify::Fault;
use crate::ids::Digest;
use crate::store::{
    Columns, LedgerRow, Older, Reader, StoreError, UPGRADED, counted_digest, counted_of, row_digest,
};

/// Rows read at a time.
const FEW: usize = 50;
/// Faults that are named in one table; the rest would say the same.
const NAMED: usize = 10;

/// What the ledger has said of other tables.
#[derive(Debug, Default)]
pub(super) struct Said {
    runs: u64,
    decisions: u64,
    /// Rows from before it kept each, said together.
    older: Older,
    /// Whether it has kept one by itself.
    keeps: bool,
    faults: Vec<Fault>,
    /// What people do is little enough to be kept.
    releases: BTreeSet<Digest>,
    used: BTreeSet<Digest>,
    commands: BTreeSet<Digest>,
}

#[derive(Deserialize)]
struct Leaf {
    body: Option<Body>,
}

#[derive(Deserialize)]
struct OlderLeaf {
    body: Older,
}

#[derive(Deserialize)]
struct Body {
    record: Option<Digest>,
    counted: Option<Digest>,
}

/// What an entry keeps of rows, inside its leaf or beside it.
fn kept(leaf: Option<&str>, outside: Option<&str>) -> Option<Body> {
    match outside {
        Some(body) => serde_json::from_str(body).ok(),
        None => serde_json::from_str::<Leaf>(leaf?).ok()?.body,
    }
}

impl Said {
    pub(super) fn hear(&mut self, row: &LedgerRow<'_>) {
        let record = || kept(Some(row.leaf), row.body).and_then(|body| body.record);
        match row.action {
            "run.finished" => {
                let is_kept = record().is_some();
                self.runs += u64::from(is_kept);
                self.keeps |= is_kept;
            }
            "decision.commit" | "decision.compensate" => {
                self.decisions += 1;
                self.keeps = true;
            }
            "plan.released" => {
                let record = record();
                self.keeps |= record.is_some();
                self.releases.extend(record);
            }
            "release.used" => {
                self.used.extend(record());
                self.keeps = true;
            }
            "command.taken" => {
                self.commands.extend(record());
                self.keeps = true;
            }
            UPGRADED => self.hear_older(row),
            _ => {}
        }
    }

    /// Rows from before. Once the ledger keeps rows there are no more of them: whoever adds one later could excuse it so.
    fn hear_older(&mut self, row: &LedgerRow<'_>) {
        let older: Option<Older> = match row.body {
            Some(outside) => serde_json::from_str(outside).ok(),
            None => serde_json::from_str::<OlderLeaf>(row.leaf)
                .ok()
                .map(|leaf| leaf.body),
        };
        let Some(older) = older.filter(|_| !self.keeps) else {
            let why = "excuses rows that are not from before the ledger kept them";
            self.faults
                .push(fault("ledger", &format!("entry {}", row.seq), why));
            return;
        };
        self.older.runs.extend(older.runs);
        self.older.changes.extend(older.changes);
        self.older.decisions.extend(older.decisions);
        self.releases.extend(older.releases);
        self.used.extend(older.used);
        self.commands.extend(older.commands);
    }

    /// What does not agree.
    pub(super) fn check(self, reader: &mut Reader) -> Result<Vec<Fault>, StoreError> {
        let mut faults = self.faults;
        let Older {
            runs: older_runs,
            changes,
            decisions: older_decisions,
            ..
        } = self.older;
        faults.extend(runs(reader, self.runs, (older_runs, changes))?);
        faults.extend(strays(reader)?);
        faults.extend(decisions(reader, self.decisions, older_decisions)?);
        faults.extend(releases(reader, self.releases, self.used)?);
        faults.extend(commands(reader, self.commands)?);
        Ok(faults)
    }
}

fn fault(table: &'static str, row: &str, why: impl Into<String>) -> Fault {
    Fault::Row {
        table,
        row: row.to_owned(),
        why: why.into(),
    }
}

/// The texts of a row; a column that holds nothing is empty.
fn texts(row: &Columns) -> Vec<&str> {
    row.iter()
        .map(|c| c.as_deref().unwrap_or_default())
        .collect()
}

const RUNS: &str = "SELECT r.id, r.group_name, r.revision, CAST(r.fence AS TEXT), r.reach, r.body, r.outcome, \
     CAST(r.finished_ms AS TEXT), l.leaf, l.body \
     FROM runs r LEFT JOIN ledger l ON l.run = r.id AND l.action = 'run.finished' \
     WHERE r.id > $1 AND (r.outcome IS NOT NULL OR l.seq IS NOT NULL) ORDER BY r.id LIMIT 50";
const COUNTED: &str = "SELECT run, system, id, op, CAST(at_ms AS TEXT) FROM changes WHERE run = $1";
const STRAYS: &str = "SELECT DISTINCT c.run FROM changes c LEFT JOIN runs r ON r.id = c.run AND r.outcome IS NOT NULL \
     WHERE r.id IS NULL LIMIT 10";
const LOST_RUNS: &str = "SELECT l.run FROM ledger l LEFT JOIN runs r ON r.id = l.run \
     WHERE l.action = 'run.finished' AND r.id IS NULL ORDER BY l.seq LIMIT 10";

fn runs(
    reader: &mut Reader,
    said: u64,
    (mut older, mut changes): (BTreeSet<Digest>, BTreeSet<Digest>),
) -> Result<Vec<Fault>, StoreError> {
    let (mut faults, mut seen, mut after) = (Vec::new(), 0, String::new());
    loop {
        let page = reader.ask(RUNS, &[], &[&after])?;
        for row in &page {
            let columns = texts(row);
            let [id, .., leaf, body] = columns.as_slice() else {
                continue;
            };
            after = (*id).to_owned();
            let is_there = row.get(8).is_some_and(Option::is_some);
            let outside = row.get(9).and_then(Option::as_deref).map(|_| *body);
            let Some(kept) = kept(is_there.then_some(leaf), outside) else {
                faults.push(fault(
                    "run",
                    id,
                    "has ended, and the ledger does not say so",
                ));
                continue;
            };
            let row = row_digest(columns.get(..8).unwrap_or_default());
            let counted = reader.ask(COUNTED, &[], &[id])?;
            let has_none = counted.is_empty();
            let counted = counted_digest(counted);
            let (is_same, counts_same) = match kept.record {
                Some(record) => {
                    seen += 1;
                    let counts_same = kept.counted.is_none_or(|kept| kept == counted);
                    (row == record, counts_same)
                }
                None => {
                    let is_counted = changes.remove(&counted_of(id, counted));
                    (older.remove(&row), is_counted || has_none)
                }
            };
            if !is_same {
                faults.push(fault("run", id, "is not as the ledger has it"));
            }
            if !counts_same {
                let why = "what it counts against the ceilings is not as the ledger has it";
                faults.push(fault("run", id, why));
            }
        }
        if page.len() < FEW || faults.len() >= NAMED {
            break;
        }
    }
    if faults.is_empty() && seen != said {
        let lost = reader.ask(LOST_RUNS, &[], &[])?;
        let lost = lost.into_iter().flatten().flatten();
        faults.extend(lost.map(|id| fault("run", &id, "is in the ledger, and its row is gone")));
        if faults.is_empty() {
            let why = format!("the ledger has {said} ends of runs, and there are {seen}");
            faults.push(fault("runs", "", why));
        }
    }
    if faults.is_empty() {
        faults.extend(lost("runs", &older));
        faults.extend(lost("changes", &changes));
    }
    Ok(faults)
}

/// Rows from before that are not there any more.
fn lost(table: &'static str, older: &BTreeSet<Digest>) -> Option<Fault> {
    let why = format!(
        "{} from before the ledger kept each are in it, and not in its rows",
        older.len()
    );
    (!older.is_empty()).then(|| fault(table, "", why))
}

/// What is counted against the ceilings in the name of a run that has not ended or never was.
fn strays(reader: &mut Reader) -> Result<Vec<Fault>, StoreError> {
    let strays = reader.ask(STRAYS, &[], &[])?;
    let strays = strays.into_iter().flatten().flatten();
    let why = "counts against the ceilings, and no such run has ended";
    Ok(strays.map(|id| fault("run", &id, why)).collect())
}

const DECISIONS: &str = "SELECT d.run, CAST(d.ordinal AS TEXT), d.decision, d.body, CAST(d.at_ms AS TEXT), l.leaf, l.body \
     FROM decisions d LEFT JOIN ledger l ON l.run = d.run AND l.action = 'decision.' || d.decision \
     WHERE d.run > $1 OR (d.run = $1 AND d.decision > $2) ORDER BY d.run, d.decision LIMIT 50";
const LOST_DECISIONS: &str = "SELECT l.run FROM ledger l LEFT JOIN decisions d ON d.run = l.run AND l.action = 'decision.' || d.decision \
     WHERE l.action LIKE 'decision.%' AND d.run IS NULL ORDER BY l.seq LIMIT 10";

fn decisions(
    reader: &mut Reader,
    said: u64,
    mut older: BTreeSet<Digest>,
) -> Result<Vec<Fault>, StoreError> {
    let (mut faults, mut seen) = (Vec::new(), 0);
    let mut after = (String::new(), String::new());
    loop {
        let page = reader.ask(DECISIONS, &[], &[&after.0, &after.1])?;
        for row in &page {
            let columns = texts(row);
            let [run, _, decision, ..] = columns.as_slice() else {
                continue;
            };
            after = ((*run).to_owned(), (*decision).to_owned());
            let leaf = row.get(5).and_then(Option::as_deref);
            let outside = row.get(6).and_then(Option::as_deref);
            let name = format!("{decision} of run {run}");
            let row = row_digest(columns.get(..5).unwrap_or_default());
            match kept(leaf, outside).and_then(|kept| kept.record) {
                None if older.remove(&row) => {}
                None => faults.push(fault("decision", &name, "is not in the ledger")),
                Some(record) => {
                    seen += 1;
                    if row != record {
                        faults.push(fault("decision", &name, "is not as the ledger has it"));
                    }
                }
            }
        }
        if page.len() < FEW || faults.len() >= NAMED {
            break;
        }
    }
    if faults.is_empty() && seen != said {
        let lost = reader.ask(LOST_DECISIONS, &[], &[])?;
        let lost = lost.into_iter().flatten().flatten();
        faults.extend(lost.map(|run| {
            let why = "is in the ledger, and its row is gone";
            fault("decision", &format!("of run {run}"), why)
        }));
    }
    if faults.is_empty() {
        faults.extend(lost("decisions", &older));
    }
    Ok(faults)
}

const RELEASES: &str = "SELECT plan, released_by, because, CAST(at_ms AS TEXT), used_by, CAST(id AS TEXT) FROM releases WHERE id > $1 ORDER BY id LIMIT 50";

fn releases(
    reader: &mut Reader,
    mut said: BTreeSet<Digest>,
    mut used: BTreeSet<Digest>,
) -> Result<Vec<Fault>, StoreError> {
    let (mut faults, mut after) = (Vec::new(), 0);
    loop {
        let page = reader.ask(RELEASES, &[after], &[])?;
        for row in &page {
            let columns = texts(row);
            let [plan, .., run, id] = columns.as_slice() else {
                continue;
            };
            after = id.parse().unwrap_or(i64::MAX);
            if !said.remove(&row_digest(columns.get(..4).unwrap_or_default())) {
                faults.push(fault(
                    "release",
                    plan,
                    "is not in the ledger as it stands there",
                ));
            }
            let is_used = row.get(4).is_some_and(Option::is_some);
            if is_used && !used.remove(&row_digest(&[plan, run])) {
                let why = format!("was used by run {run}, and the ledger does not say so");
                faults.push(fault("release", plan, why));
            }
        }
        if page.len() < FEW || faults.len() >= NAMED {
            break;
        }
    }
    if faults.is_empty() && !(said.is_empty() && used.is_empty()) {
        let why = format!(
            "{} given and {} used are in the ledger, and not in its rows",
            said.len(),
            used.len()
        );
        faults.push(fault("releases", "", why));
    }
    Ok(faults)
}

const COMMANDS: &str = "SELECT id, CAST(proposal AS TEXT), author, CAST(at_ms AS TEXT), body FROM commands WHERE id > $1 ORDER BY id LIMIT 50";

fn commands(reader: &mut Reader, mut said: BTreeSet<Digest>) -> Result<Vec<Fault>, StoreError> {
    let (mut faults, mut after) = (Vec::new(), String::new());
    loop {
        let page = reader.ask(COMMANDS, &[], &[&after])?;
        for row in &page {
            let columns = texts(row);
            let Some(id) = columns.first() else {
                continue;
            };
            after = (*id).to_owned();
            if !said.remove(&row_digest(&columns)) {
                faults.push(fault(
                    "command",
                    id,
                    "is not in the ledger as it stands there",
                ));
            }
        }
        if page.len() < FEW || faults.len() >= NAMED {
            break;
        }
    }
    if faults.is_empty() && !said.is_empty() {
        let why = format!("{} are in the ledger, and not in its rows", said.len());
        faults.push(fault("commands", "", why));
    }
    Ok(faults)
}
