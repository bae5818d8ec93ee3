//! A proposal as the gate sees it: statuses, what is denied, who is still needed, and what it changes.

use super::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, styled};
use crate::forge::StatusState;
use crate::view::printable::printable;
use crate::view::words::{Words, words};
use crate::view::{ApprovalView, GateView, MessageView};

/// Everything about a proposal, for a terminal.
pub fn gate(view: &GateView) -> String {
    let words = words(view.language);
    let mut out = format!(
        "{}{}\n{} · {}…{}\n\n",
        // What lies between two revisions has no number.
        match view.number {
            0 => String::new(),
            number => format!("{} ", styled(BOLD, &format!("#{number}"))),
        },
        styled(BOLD, &printable(&view.title)),
        (words.proposed_by)(&printable(&view.author)),
        view.base.short(),
        view.head.short()
    );
    for status in &view.statuses {
        let (style, sign) = match status.state {
            StatusState::Success => (GREEN, "✓"),
            StatusState::Pending => (YELLOW, "…"),
            StatusState::Failure | StatusState::Error => (RED, "✗"),
        };
        out.push_str(&format!(
            "  {} {:<18} {}\n",
            styled(style, sign),
            status.context,
            printable(&status.description)
        ));
    }
    out.push('\n');
    messages(&mut out, words.denied, &view.verdict.denials, "✗", RED);
    messages(&mut out, words.warned, &view.verdict.warnings, "!", YELLOW);
    let needed: Vec<&ApprovalView> = view
        .verdict
        .approvals
        .iter()
        .filter(|a| !a.is_met())
        .collect();
    if !needed.is_empty() {
        out.push_str(&format!("{}\n", styled(BOLD, words.still_needed)));
        needed
            .iter()
            .for_each(|need| approval(&mut out, need, words));
        out.push('\n');
    }
    if !view.not_counted.is_empty() {
        out.push_str(&format!("{}\n", styled(BOLD, words.not_counted)));
        for line in &view.not_counted {
            out.push_str(&format!("  {} {}\n", styled(DIM, "-"), printable(line)));
        }
        out.push('\n');
    }
    if !view.report.findings.is_empty() {
        out.push_str(&super::report(&view.report, view.language));
        out.push('\n');
    }
    out.push_str(&super::plan(&view.plan));
    before(&mut out, view, words);
    if !view.on_merge.is_empty() {
        out.push_str(&format!("\n{}\n", styled(BOLD, words.on_merge)));
        for note in &view.on_merge {
            out.push_str(&format!("  {}\n", printable(note)));
        }
    }
    out
}

/// How the systems stood before it.
fn before(out: &mut String, view: &GateView, words: &Words) {
    out.push_str(&format!("\n{}\n", styled(BOLD, words.already_adrift)));
    let Some(systems) = &view.already_adrift else {
        out.push_str(&format!("  {}\n", words.drift_unknown));
        return;
    };
    let lines: Vec<String> = systems.iter().filter_map(|s| words.before(s)).collect();
    if lines.is_empty() {
        out.push_str(&format!("  {}\n", words.drift_none));
    }
    for line in lines {
        out.push_str(&format!("  {}\n", styled(YELLOW, &printable(&line))));
    }
}

fn messages(
    out: &mut String,
    heading: &str,
    messages: &[MessageView],
    sign: &str,
    style: anstyle::Style,
) {
    if messages.is_empty() {
        return;
    }
    out.push_str(&format!("{}\n", styled(BOLD, heading)));
    for message in messages {
        out.push_str(&format!(
            "  {} {}",
            styled(style, sign),
            printable(&message.msg)
        ));
        if let Some(resource) = &message.resource {
            out.push_str(&format!("  {}", styled(DIM, &printable(resource))));
        }
        out.push('\n');
    }
    out.push('\n');
}

fn approval(out: &mut String, need: &ApprovalView, words: &Words) {
    let from = if need.from.is_empty() {
        words.anyone.to_owned()
    } else {
        need.from.join(", ")
    };
    let line = (words.approvals)(need.have.len(), need.count, &printable(&from));
    out.push_str(&format!(
        "  {} {line}{}{}\n",
        styled(CYAN, "…"),
        words.colon,
        printable(&need.because)
    ));
}
