//! How the systems stand, and the history.

use anstyle::Style;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, styled};
use crate::plan::Op;
use crate::resource::Language;
use crate::view::printable::{pad, printable, width};
use crate::view::status::{
    GroupStatus, HeldChange, HeldPlan, HistoryEntry, HistoryView, Outcome, Standing, StatusView,
    SystemStatus,
};
use crate::view::words::{Words, words};

/// What stands in a cell that has nothing to say.
const NOTHING: &str = "–";

/// A table of the systems for each group.
pub fn status(view: &StatusView) -> String {
    let words = words(view.language);
    if view.groups.is_empty() {
        return format!("{}\n", words.no_systems);
    }
    let mut out = String::new();
    for (at, group) in view.groups.iter().enumerate() {
        if at > 0 {
            out.push('\n');
        }
        group_line(&mut out, group, words);
        let header = [
            words.system,
            words.revision,
            words.standing,
            words.mode,
            words.digest,
            words.last_change,
        ];
        let rows: Vec<[Cell; 6]> = group
            .systems
            .iter()
            .map(|system| row(system, &view.timezone, words))
            .collect();
        table(&mut out, header, &rows);
        reasons(&mut out, group, words);
    }
    if !view.upcoming.is_empty() {
        out.push('\n');
        let mut dates = String::new();
        super::plan::dates(
            &mut dates,
            words.within_a_week,
            &view.upcoming,
            view.language,
        );
        out.push_str(dates.strip_suffix('\n').unwrap_or(&dates));
    }
    for plan in &view.held {
        out.push('\n');
        out.push_str(&held(plan, view.language));
    }
    out
}

/// Why systems are not in step: once for all for which it is the same.
fn reasons(out: &mut String, group: &GroupStatus, words: &Words) {
    let mut said: Vec<(&str, Style, Vec<&str>)> = Vec::new();
    for system in &group.systems {
        let Some(why) = system.standing.why().filter(|why| !why.is_empty()) else {
            continue;
        };
        let name = system.system.as_str();
        match said.iter_mut().find(|(other, ..)| *other == why) {
            Some((.., names)) => names.push(name),
            None => said.push((why, standing(system, words).0, vec![name])),
        }
    }
    for (why, style, names) in said {
        let names = names.join(words.comma);
        let line = format!("{names}{}{}", words.colon, printable(why));
        out.push_str(&format!("  {}\n", styled(style, &line)));
    }
}

/// A plan that waits for a person: what it would do, deletes first, and the command that lets it pass.
pub fn held(plan: &HeldPlan, language: Language) -> String {
    let words = words(language);
    let digest = plan.plan.to_string();
    let title = (words.held_plan)(plan.group.as_str(), &digest);
    let mut out = format!("{}\n", styled(BOLD, &title));
    let totals = (words.totals)(plan.deletes, plan.creates, plan.updates);
    out.push_str(&format!("  {totals}\n"));
    for HeldChange { op, system, id } in &plan.changes {
        let (style, sign) = match op {
            Op::Delete => (RED, "-"),
            Op::Create => (GREEN, "+"),
            Op::Update => (YELLOW, "~"),
        };
        let line = format!("{sign} {system}{}{}", words.colon, printable(id.as_str()));
        out.push_str(&format!("  {}\n", styled(style, &line)));
    }
    if plan.more() > 0 {
        out.push_str(&format!("  {}\n", (words.more_changes)(plan.more())));
    }
    if plan.releasable {
        out.push_str(&format!(
            "  {} lockstep release --plan {digest} --because …\n",
            words.released_by
        ));
    } else {
        out.push_str(&format!("  {}\n", words.released_by_nobody));
    }
    out
}

fn group_line(out: &mut String, group: &GroupStatus, words: &Words) {
    let GroupStatus {
        group: name,
        revision,
        note,
        systems,
    } = group;
    let in_step = systems
        .iter()
        .filter(|s| s.standing == Standing::InStep)
        .count();
    let style = if in_step == systems.len() {
        GREEN
    } else {
        YELLOW
    };
    out.push_str(&styled(BOLD, name.as_str()));
    if let Some(revision) = revision {
        out.push_str(&format!(" · {} {}", words.revision, revision.short()));
    }
    let sum = (words.group_in_step)(in_step, systems.len());
    out.push_str(&format!(" · {}\n", styled(style, &sum)));
    if let Some(note) = note {
        out.push_str(&format!("  {}\n", styled(YELLOW, &printable(note))));
    }
}

/// A table's cell: its text, made safe, and its style.
type Cell = (Style, String);

fn row(system: &SystemStatus, timezone: &TimeZone, words: &Words) -> [Cell; 6] {
    let plain = |text: String| (Style::new(), text);
    let or_nothing =
        |text: Option<String>| text.map_or((DIM, NOTHING.to_owned()), |t| (Style::new(), t));
    let last = match &system.last_change {
        None => (DIM, words.never.to_owned()),
        Some(last) => plain(format!(
            "{} {}{}{}",
            time(last.at, timezone),
            printable(&last.by),
            words.colon,
            printable(&last.what)
        )),
    };
    let (style, word) = standing(system, words);
    [
        (BOLD, system.system.to_string()),
        or_nothing(system.revision.as_ref().map(|r| r.short().to_owned())),
        (style, word.to_owned()),
        plain(words.mode(system.mode).to_owned()),
        or_nothing(system.digest.map(|d| d.short())),
        last,
    ]
}

fn standing(system: &SystemStatus, words: &Words) -> (Style, &'static str) {
    match &system.standing {
        Standing::InStep => (GREEN, words.in_step),
        Standing::NeverSynced => (DIM, words.never_synced),
        Standing::Behind { .. } => (YELLOW, words.behind),
        Standing::Adrift { .. } => (YELLOW, words.adrift),
        Standing::Held { .. } => (YELLOW, words.held),
        Standing::Unreachable { .. } => (RED, words.unreachable),
        Standing::Failed { .. } => (RED, words.failed),
    }
}

/// Columns as wide as their widest cell; the last one, which is the longest, runs free.
fn table<const N: usize>(out: &mut String, header: [&str; N], rows: &[[Cell; N]]) {
    let mut widths = header.map(width);
    for row in rows {
        for (widest, (_, text)) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width(text));
        }
    }
    let header = header.map(|text| (DIM, text.to_uppercase()));
    for row in std::iter::once(&header).chain(rows) {
        out.push(' ');
        for (at, ((style, text), widest)) in row.iter().zip(widths).enumerate() {
            let text = if at + 1 == N {
                text.clone()
            } else {
                pad(text, widest)
            };
            out.push_str(&format!(" {}", styled(*style, &text)));
            if at + 1 < N {
                out.push(' ');
            }
        }
        out.push('\n');
    }
}

/// The ledger's entries, oldest first: time, who, what, what came of it.
pub fn history(view: &HistoryView) -> String {
    let words = words(view.language);
    if view.entries.is_empty() {
        return format!("{}\n", words.no_history);
    }
    let mut out = String::new();
    if view.earlier > 0 {
        out.push_str(&styled(DIM, &(words.more_history)(view.earlier)));
        out.push('\n');
    }
    let actors = view.entries.iter().map(|e| width(&printable(&e.actor)));
    let widest = actors.max().unwrap_or(0).min(24);
    for entry in &view.entries {
        let HistoryEntry {
            seq: _,
            at,
            actor,
            what,
            outcome,
            detail,
        } = entry;
        let (style, sign) = match outcome {
            Outcome::Done => (GREEN, "✓"),
            Outcome::Unchanged => (DIM, "="),
            Outcome::Held => (YELLOW, "…"),
            Outcome::Refused => (RED, "✗"),
            Outcome::Failed => (RED, "!"),
        };
        out.push_str(&format!(
            "{}  {} {} {}",
            styled(DIM, &time(*at, &view.timezone)),
            styled(style, sign),
            styled(CYAN, &pad(&printable(actor), widest)),
            printable(what)
        ));
        if let Some(detail) = detail {
            out.push_str(&format!(" · {}", styled(DIM, &printable(detail))));
        }
        out.push('\n');
    }
    out
}

/// To the second, in the reader's zone, without the offset: it is the same for all lines.
fn time(at: Timestamp, timezone: &TimeZone) -> String {
    at.to_zoned(timezone.clone())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}
