//! The one comment on a proposal, as GitHub-flavoured Markdown.
//!
//! Everything from the repo or a person is data: what isn't plain prose goes into code spans and fences that it can't leave, so
//! that no title, path or value can mention people, link, open a heading or close ours. The comment stays below the forge's limit
//! and says how much it left out.

use super::plan::{ChangeView, PlanView};
use super::printable::clip;
use super::report::{FindingView, Place};
use super::words::{Words, words};
use super::{ApprovalView, GateView, MessageView, Standpoint};
use crate::forge::StatusState;
use crate::plan::Op;

mod escape;

pub(crate) use escape::code;
use escape::{fence, prose};

/// Marks the comment as ours, so that it is found and replaced.
pub use crate::forge::COMMENT_MARKER as MARKER;

/// The longest comment in characters; GitHub refuses more than 65,536.
pub const COMMENT_CHARS: usize = 60_000;

/// Characters of one sentence, message or name.
const SENTENCE: usize = 400;
/// Characters of one spec's differences.
const DIFFERENCE: usize = 6_000;

/// How many characters each list may take. Together they leave room for headings; the differences take what the others leave.
const STATUSES: usize = 4_000;
const MESSAGES: usize = 6_000;
const APPROVALS: usize = 4_000;
const FINDINGS: usize = 8_000;
const CHANGES: usize = 14_000;
const LATER: usize = 3_000;
const DRIFT: usize = 6_000;
const ON_MERGE: usize = 4_000;
const HEADINGS: usize = 2_000;

/// What was left out.
#[derive(Default)]
struct Cut {
    items: usize,
    chars: usize,
}

/// The comment.
pub fn comment(view: &GateView) -> String {
    let words = words(view.language);
    let mut cut = Cut::default();
    let mut top = head(view, words);

    let statuses = view.statuses.iter().map(|s| {
        let icon = match s.state {
            StatusState::Pending => "⏳",
            StatusState::Success => "✅",
            StatusState::Failure => "❌",
            StatusState::Error => "⚠️",
        };
        let state = words.status(s.state);
        let said = prose(&clip(&s.description, SENTENCE));
        let said = if said.is_empty() {
            said
        } else {
            format!("{}{said}", words.colon)
        };
        format!("- {icon} {} {state}{said}\n", code(&s.context))
    });
    list(&mut top, None, statuses, STATUSES, &mut cut, words);
    let denials = view.verdict.denials.iter().map(|m| message("❌", m));
    let heading = Some(words.denied);
    list(&mut top, heading, denials, MESSAGES, &mut cut, words);
    let needed = view.verdict.approvals.iter().filter(|a| !a.is_met());
    let needed = needed.map(|a| approval(a, words));
    let heading = Some(words.still_needed);
    list(&mut top, heading, needed, APPROVALS, &mut cut, words);
    let not_counted = view.not_counted.iter();
    let not_counted = not_counted.map(|line| format!("- {}\n", prose(&clip(line, SENTENCE))));
    let heading = Some(words.not_counted);
    list(&mut top, heading, not_counted, APPROVALS, &mut cut, words);
    let said = view.said.iter();
    let said = said.map(|line| format!("- {}\n", prose(&clip(line, SENTENCE))));
    list(&mut top, Some(words.said), said, MESSAGES, &mut cut, words);
    let warnings = view.verdict.warnings.iter().map(|m| message("⚠️", m));
    let heading = Some(words.warned);
    list(&mut top, heading, warnings, MESSAGES, &mut cut, words);
    let findings = view.report.findings.iter().map(|f| finding(f, words));
    let heading = Some(words.findings);
    list(&mut top, heading, findings, FINDINGS, &mut cut, words);

    top.push_str(&format!("\n### {}\n\n", words.this_changes));
    changes(&mut top, &view.plan, CHANGES, &mut cut, words);
    later(&mut top, &view.plan, &mut cut, words);
    limits(&mut top, &view.plan, words);

    let mut bottom = format!("\n### {}\n\n", words.already_adrift);
    let before = view.already_adrift.as_deref().unwrap_or_default();
    let before: Vec<String> = before.iter().filter_map(|b| words.before(b)).collect();
    match &view.already_adrift {
        None => bottom.push_str(&format!("{}\n", words.drift_unknown)),
        Some(_) if before.is_empty() => bottom.push_str(&format!("{}\n", words.drift_none)),
        Some(_) => {
            let lines = before
                .iter()
                .map(|line| format!("- {}\n", prose(&clip(line, SENTENCE))));
            list(&mut bottom, None, lines, DRIFT, &mut cut, words);
        }
    }
    bottom.push_str(&format!("\n### {}\n\n", words.on_merge));
    let reach =
        reach(&view.plan).map(|systems| format!("- {}\n", (words.on_merge_applies)(&systems)));
    let notes = view.on_merge.iter();
    let notes = notes.map(|note| format!("- {}\n", prose(&clip(note, SENTENCE))));
    if reach.is_none() && view.on_merge.is_empty() {
        let nothing = match view.plan.later.is_empty() {
            true => words.on_merge_nothing,
            false => words.on_merge_later,
        };
        bottom.push_str(&format!("{nothing}\n"));
    }
    let notes = reach.into_iter().chain(notes);
    list(&mut bottom, None, notes, ON_MERGE, &mut cut, words);

    let used = top.chars().count() + bottom.chars().count() + HEADINGS;
    let room = COMMENT_CHARS.saturating_sub(used);
    differences(&mut top, &view.plan, room, &mut cut, words);
    top.push_str(&bottom);
    if cut.items > 0 {
        let rest = match &view.rest {
            Some(url) => format!("<{url}>"),
            None => code(&format!("lockstep proposal show {}", view.number)),
        };
        let cut = (words.cut)(cut.items, cut.chars, &rest);
        top.push_str(&format!("\n_{cut}_\n"));
    }
    top
}

/// A plan by itself: every change in a line, then the differences.
pub fn plan(view: &PlanView) -> String {
    let words = words(view.language);
    let mut cut = Cut::default();
    let mut out = String::new();
    changes(&mut out, view, CHANGES, &mut cut, words);
    later(&mut out, view, &mut cut, words);
    limits(&mut out, view, words);
    let room = COMMENT_CHARS.saturating_sub(out.chars().count());
    differences(&mut out, view, room, &mut cut, words);
    if cut.items > 0 {
        let cut = (words.cut)(cut.items, cut.chars, &code("lockstep plan"));
        out.push_str(&format!("\n_{cut}_\n"));
    }
    out
}

fn head(view: &GateView, words: &Words) -> String {
    let (icon, standing) = match view.standpoint() {
        Standpoint::Blocked => ("❌", words.gate_blocked),
        Standpoint::Waiting => ("⏳", words.gate_waiting),
        Standpoint::Ready => ("✅", words.gate_ready),
    };
    format!(
        "{MARKER}\n## {icon} Lockstep{}{standing}\n\n{} · {} · {}…{}\n\n",
        words.colon,
        code(&clip(&view.title, SENTENCE)),
        (words.proposed_by)(&code(&clip(&view.author, SENTENCE))),
        code(view.base.short()),
        code(view.head.short()),
    )
}

/// A heading with a list under it, neither where there are no items; as many items as fit into `room` characters.
fn list(
    out: &mut String,
    heading: Option<&str>,
    items: impl Iterator<Item = String>,
    room: usize,
    cut: &mut Cut,
    words: &Words,
) {
    let (mut used, mut left) = (0, 0);
    for (at, item) in items.enumerate() {
        if let (0, Some(heading)) = (at, heading) {
            out.push_str(&format!("\n### {heading}\n\n"));
        }
        let chars = item.chars().count();
        if left > 0 || used + chars > room {
            left += 1;
            cut.chars += chars;
        } else {
            used += chars;
            out.push_str(&item);
        }
    }
    if left > 0 {
        out.push_str(&format!("- {}\n", (words.more_items)(left)));
        cut.items += left;
    }
}

fn message(icon: &str, message: &MessageView) -> String {
    let MessageView {
        msg,
        code: id,
        resource,
    } = message;
    let about: Vec<String> = [resource, id]
        .into_iter()
        .flatten()
        .map(|text| code(&clip(text, SENTENCE)))
        .collect();
    let about = match about.as_slice() {
        [] => String::new(),
        about => format!(" ({})", about.join(" · ")),
    };
    format!("- {icon} {}{about}\n", prose(&clip(msg, SENTENCE)))
}

fn approval(need: &ApprovalView, words: &Words) -> String {
    let ApprovalView {
        from,
        count,
        because,
        have,
    } = need;
    let names = |names: &[String]| {
        let names: Vec<String> = names.iter().map(|n| code(&clip(n, SENTENCE))).collect();
        names.join(words.comma)
    };
    let by = if from.is_empty() {
        words.anyone.to_owned()
    } else {
        names(from)
    };
    let mut out = format!("- {}", (words.approvals)(have.len(), *count, &by));
    if !because.is_empty() {
        out.push_str(&format!(
            "{}{}",
            words.colon,
            prose(&clip(because, SENTENCE))
        ));
    }
    if !have.is_empty() {
        out.push_str(&format!(" ({})", (words.approved_by)(&names(have))));
    }
    out.push('\n');
    out
}

fn finding(finding: &FindingView, words: &Words) -> String {
    let FindingView {
        rule,
        severity,
        path,
        place,
        message,
        hint,
        excerpt: _,
    } = finding;
    let place = match place {
        Some(Place { line, column, .. }) => format!("{path}:{line}:{column}"),
        None => path.to_string(),
    };
    let hint = match hint {
        Some(hint) => format!(
            " {}{}{}",
            words.help,
            words.colon,
            prose(&clip(hint, SENTENCE))
        ),
        None => String::new(),
    };
    format!(
        "- **{}** {} {} ({}){hint}\n",
        words.severity(*severity),
        code(&clip(&place, SENTENCE)),
        prose(&clip(message, SENTENCE)),
        code(rule),
    )
}

/// The plan's digest, totals and lines.
fn changes(out: &mut String, plan: &PlanView, room: usize, cut: &mut Cut, words: &Words) {
    if plan.is_empty() {
        out.push_str(&format!("{}\n", words.no_changes));
        return;
    }
    let (deletes, creates, updates) = plan.totals();
    out.push_str(&format!(
        "{} {} · {}\n\n",
        words.plan,
        code(&plan.digest.0.short()),
        (words.totals)(deletes, creates, updates)
    ));
    let lines = plan.changes.iter().map(|c| line(c, words));
    list(out, None, lines, room, cut, words);
}

/// What its dates will do: an approval is for that as well.
fn later(out: &mut String, plan: &PlanView, cut: &mut Cut, words: &Words) {
    let dates = plan.later.iter().map(|date| {
        let sentence = date.sentence(plan.language);
        format!("- {}\n", prose(&clip(&sentence, SENTENCE)))
    });
    list(out, Some(words.later), dates, LATER, cut, words);
}

/// Where a promise is weaker on some of the systems.
fn limits(out: &mut String, plan: &PlanView, words: &Words) {
    let names: Vec<String> = plan.one_by_one.iter().map(|s| code(s.as_str())).collect();
    if !names.is_empty() {
        let text = (words.one_by_one)(&names.join(", "));
        out.push_str(&format!("\n> {text}\n"));
    }
    for line in plan.kept_by(code) {
        out.push_str(&format!("\n> {line}\n"));
    }
}

/// The systems that a plan changes at once, as a list; `None` where there are none.
fn reach(plan: &PlanView) -> Option<String> {
    let names: Vec<String> = plan.reaches.iter().map(|s| code(s.as_str())).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn line(change: &ChangeView, words: &Words) -> String {
    let op = match change.op {
        Op::Delete => format!("**{}** ", words.delete),
        Op::Create | Op::Update => format!("{} ", words.op(change.op)),
    };
    let sentence = prose(&clip(&change.sentence, SENTENCE));
    let systems: Vec<String> = change.systems.iter().map(|s| code(s.as_str())).collect();
    let systems = systems.join(", ");
    let direction = words.direction(change.direction);
    format!(
        "- {op}{}\n",
        (words.on_systems)(&sentence, &systems, direction)
    )
}

/// The specs' differences, folded away.
fn differences(out: &mut String, plan: &PlanView, room: usize, cut: &mut Cut, words: &Words) {
    if plan.is_empty() {
        return;
    }
    out.push_str(&format!(
        "\n<details><summary>{}</summary>\n",
        words.differences
    ));
    let items = plan.changes.iter().map(|change| {
        let name = code(&clip(&format!("{}/{}", change.kind, change.name), SENTENCE));
        let place = match &change.origin {
            None => String::new(),
            Some(origin) => {
                let document = clip(origin.document.as_str(), SENTENCE);
                let line = origin.line.map(|l| format!(":{l}")).unwrap_or_default();
                format!(" · {}", code(&format!("{document}{line}")))
            }
        };
        let diff = match change.diff() {
            Some(diff) => fence(&clip(&diff, DIFFERENCE), "diff"),
            None => format!("{}\n", words.diff_too_large),
        };
        format!("\n{name}{place}\n\n{diff}")
    });
    let mut body = String::new();
    list(&mut body, None, items, room, cut, words);
    out.push_str(&body);
    out.push_str("\n</details>\n");
}
