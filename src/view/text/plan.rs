//! Plans: what is done, to which systems, then exactly what differs.

use anstyle::Style;

use super::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, styled};
use crate::ids::SystemName;
use crate::plan::Op;
use crate::resource::{Direction, Language};
use crate::view::DateView;
use crate::view::plan::{ChangeView, PlanView};
use crate::view::printable::{pad, printable, printable_lines, width};
use crate::view::words::{Words, words};

/// How many changes have their differences shown; every change has its line.
pub(super) const DIFFS: usize = 100;

/// The plan's digest and revision, one line a change, the differences, the totals.
pub fn plan(view: &PlanView) -> String {
    let words = words(view.language);
    let mut out = heading(view, words);
    if view.is_empty() {
        out.push_str(&styled(GREEN, words.no_changes));
        out.push('\n');
        kept(&mut out, view);
        return out;
    }
    out.push('\n');
    for change in &view.changes {
        out.push_str(&line(change, words));
        out.push('\n');
    }
    out.push('\n');
    for change in view.changes.iter().take(DIFFS) {
        difference(&mut out, change, words);
    }
    if let left @ 1.. = view.changes.len().saturating_sub(DIFFS) {
        out.push_str(&(words.more_diffs)(left));
        out.push_str("\n\n");
    }
    dates(&mut out, words.later, &view.later, view.language);
    if let Some(limits) = limits(view, words) {
        out.push_str(&format!("{}\n\n", styled(YELLOW, &limits)));
    }
    kept(&mut out, view);
    totals(&mut out, view, words);
    out
}

/// What reaches a system only where it does not have the resource yet.
fn kept(out: &mut String, view: &PlanView) {
    for line in view.kept_by(|name| printable(name).into_owned()) {
        out.push_str(&format!("{}\n", styled(YELLOW, &line)));
    }
}

/// Where a promise is weaker on some of the systems.
pub(super) fn limits(view: &PlanView, words: &Words) -> Option<String> {
    let names: Vec<&str> = view.one_by_one.iter().map(SystemName::as_str).collect();
    (!names.is_empty()).then(|| (words.one_by_one)(&names.join(", ")))
}

/// What begins and ends by its date, under a heading.
pub(super) fn dates(out: &mut String, heading: &str, dates: &[DateView], language: Language) {
    if dates.is_empty() {
        return;
    }
    out.push_str(&format!("{}\n", styled(BOLD, heading)));
    for date in dates {
        out.push_str(&format!("  {}\n", printable(&date.sentence(language))));
    }
    out.push('\n');
}

fn heading(view: &PlanView, words: &Words) -> String {
    let mut out = styled(BOLD, words.plan);
    out.push(' ');
    out.push_str(&styled(CYAN, &view.digest.0.short()));
    if let Some(revision) = &view.revision {
        out.push_str(&format!(" · {} {}", words.revision, revision.short()));
    }
    out.push('\n');
    out
}

fn sign(op: Op) -> (Style, char) {
    match op {
        Op::Delete => (RED, '-'),
        Op::Create => (GREEN, '+'),
        Op::Update => (YELLOW, '~'),
    }
}

/// One change in one line.
pub(super) fn line(change: &ChangeView, words: &Words) -> String {
    let (style, sign) = sign(change.op);
    let direction = words.direction(change.direction).map(|word| {
        let style = match change.direction {
            Direction::Widening => YELLOW,
            Direction::Narrowing => CYAN,
            Direction::Neutral => DIM,
        };
        styled(style, word)
    });
    let sentence = printable(&change.sentence);
    let text = (words.on_systems)(&sentence, &change.system_list(), direction.as_deref());
    format!("{} {text}", styled(style, &sign.to_string()))
}

fn difference(out: &mut String, change: &ChangeView, words: &Words) {
    let name = printable(&change.name).into_owned();
    out.push_str(&styled(BOLD, &format!("{}/{name}", change.kind)));
    if let Some(origin) = &change.origin {
        let place = match origin.line {
            Some(line) => format!("{}:{line}", printable(origin.document.as_str())),
            None => printable(origin.document.as_str()).into_owned(),
        };
        out.push_str(&format!("  {}", styled(DIM, &place)));
    }
    out.push('\n');
    match change.diff() {
        None => out.push_str(&format!("  {}\n", styled(DIM, words.diff_too_large))),
        Some(diff) => {
            for line in printable_lines(&diff).lines() {
                let line = match line.as_bytes().first() {
                    Some(b'-') => styled(RED, line),
                    Some(b'+') => styled(GREEN, line),
                    Some(b'@') => styled(CYAN, line),
                    _ => line.to_owned(),
                };
                out.push_str(&format!("  {line}\n"));
            }
        }
    }
    out.push('\n');
}

fn totals(out: &mut String, view: &PlanView, words: &Words) {
    let names = view.systems.iter().map(|s| s.system.as_str());
    let widest = names.map(width).max().unwrap_or(0).max(width(words.total));
    for system in &view.systems {
        let totals = (words.totals)(system.deletes, system.creates, system.updates);
        out.push_str(&format!(
            "{}  {totals}\n",
            pad(system.system.as_str(), widest)
        ));
    }
    if view.systems.len() > 1 {
        let sum = |of: fn(&crate::view::SystemTotals) -> usize| view.systems.iter().map(of).sum();
        let totals = (words.totals)(sum(|s| s.deletes), sum(|s| s.creates), sum(|s| s.updates));
        out.push_str(&styled(
            BOLD,
            &format!("{}  {totals}", pad(words.total, widest)),
        ));
        out.push('\n');
    }
}
