//! English.

use super::explain::UsedView;
use super::words::{Counts, ExplainWords, Words};
use crate::config::Ceiling;
use crate::plan::Op;

pub(super) static WORDS: Words = Words {
    error: "error",
    warning: "warning",
    note: "note",
    help: "help",
    found: |counts| {
        let Counts {
            errors,
            warnings,
            notes,
            files,
        } = *counts;
        let parts: Vec<String> = [(errors, "error"), (warnings, "warning"), (notes, "note")]
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, word)| some(*n, word))
            .collect();
        format!("{} in {}", parts.join(", "), some(files, "file"))
    },
    nothing_found: "no findings",
    more_in_file: |n, path| format!("… and {} in {path}", some(n, "more finding")),
    more_in_files: |n, files| {
        format!(
            "… and {} in {}",
            some(n, "more finding"),
            some(files, "further file")
        )
    },

    delete: "delete",
    create: "create",
    update: "update",
    widening: "widening",
    narrowing: "narrowing",
    on_systems: |sentence, systems, direction| match direction {
        Some(direction) => format!("{sentence} on {systems} · {direction}"),
        None => format!("{sentence} on {systems}"),
    },
    describe: |op, name| match op {
        Op::Delete => format!("{name}: deleted"),
        Op::Create => format!("{name}: created"),
        Op::Update => format!("{name}: changed"),
    },
    plan: "Plan",
    revision: "revision",
    no_changes: "No changes: already in step.",
    later: "Later, by date",
    within_a_week: "Within a week, by date",
    one_by_one: |systems| {
        format!(
            "{systems} can stage nothing, so changes take effect there one after another and not all at once; if one fails half way, what was is put \
             back from a snapshot."
        )
    },
    kept: |system, what| {
        format!(
            "{system} keeps what it has of {what}: the documents say otherwise now, but these fields are not enforced there."
        )
    },
    total: "total",
    totals: |deletes, creates, updates| {
        format!("{deletes} to delete, {creates} to create, {updates} to update")
    },
    diff_too_large: "too large to show",
    more_diffs: |n| {
        format!(
            "… the differences of {} are left out",
            some(n, "more change")
        )
    },

    gate_ready: "ready to merge",
    gate_waiting: "waiting for approval",
    gate_blocked: "cannot be merged",
    proposed_by: |who| format!("proposed by {who}"),
    denied: "Denied",
    warned: "Warnings",
    still_needed: "Still needed",
    not_counted: "Approvals that don't count",
    said: "Commands",
    approvals: |have, count, from| format!("{have} of {count} approvals by {from}"),
    approved_by: |who| format!("approved so far by {who}"),
    anyone: "any reviewer",
    findings: "Findings",
    this_changes: "This proposal changes",
    differences: "Differences",
    already_adrift: "Already adrift before it",
    drift_unknown: "Not known: no record of the systems is at hand here.",
    drift_none: "Nothing: when last seen, every system had what the main branch says.",
    on_merge: "What will happen on merge",
    on_merge_applies: |systems| format!("The changes above reach {systems}."),
    on_merge_later: "Nothing at once: all of it waits for its date.",
    on_merge_nothing: "Nothing: no system is concerned.",
    more_items: |n| format!("… and {n} more"),
    cut: |items, chars, rest| {
        format!(
            "Left out to keep this comment short: {} ({}). For all of it: {rest}.",
            some(items, "item"),
            some(chars, "character")
        )
    },

    in_step: "in step",
    never_synced: "not synced yet",
    behind: "behind",
    adrift: "adrift",
    held: "held",
    unreachable: "unreachable",
    failed: "failed",
    system: "SYSTEM",
    standing: "STATE",
    mode: "MODE",
    digest: "DIGEST",
    last_change: "LAST CHANGE",
    never: "never",
    no_systems: "No systems are connected yet: add them under `systems:` in lockstep.yaml.",
    observe: "observe",
    detect: "detect",
    upsert: "upsert",
    enforce: "enforce",
    group_in_step: |n, all| {
        if n == all {
            "in step".to_owned()
        } else {
            format!("{n} of {all} in step")
        }
    },
    held_plan: |group, plan| format!("{group} waits for a person: plan {plan}"),
    more_changes: |n| format!("… and {n} more; all of them: lockstep plan --live"),
    released_by: "to let it pass:",
    released_by_nobody: "Nobody can release it: mend it in the repo.",
    no_history: "Nothing has been recorded yet.",
    more_history: |n| format!("… {} before these", some(n, "entry")),

    explain: ExplainWords {
        judged_by: |revision| format!("Judged by the rules at {revision}."),
        judged_by_work_tree: "Judged by the rules as they lie in the work tree.",
        read_default: |kinds, pattern| format!("read as {kinds} · {pattern}"),
        read_mapped: |kinds, pattern| format!("read as {kinds} · {pattern} under documents:"),
        read_by_none: "declares no resources",
        policy: "a policy",
        settings: "systems, groups, people, ceilings and freezes that judge",
        title: "rule",
        package: "package",
        judges_after_merge: "The proposal changes it; the new text judges after the merge.",
        judges_nothing: "It judges nothing by itself: helpers and tests are used by other policies.",
        its_rules: "Rules",
        tests: "Tests",
        change_asks: "A change of it is judged",
        not_written: "not written; Lockstep's own value",
        form: "read as",
        owner: "owner",
        people: "people of its systems",
        unchanged: "The proposal does not change it.",
        no_rules: "No policy says anything of it.",
        rules: "Policies say",
        policies: "Policies that may speak of it",
        systems: "Systems",
        freezes: "Freezes",
        no_freeze: "none is on, and none comes",
        eligible: |people| format!("may approve: {people}"),
        group: |group| format!("group {group}"),
        ceiling: |under, limits| {
            let Ceiling {
                delete_percent,
                delete_count,
                update_percent,
                window_hours,
                small,
            } = limits;
            format!(
                "ceiling {under}: deletes {} % and {delete_count}, updates {} %, within {window_hours} h; below {small} rows a delete that does not narrow is asked about",
                delete_percent.get(),
                update_percent.get()
            )
        },
        used: |used| {
            let UsedView {
                rows,
                deletes,
                delete_limit,
                updates,
                update_limit,
                past_known: _,
            } = used;
            format!(
                "used of {}: {deletes} of {delete_limit} deletes, {updates} of {update_limit} updates",
                some(usize::try_from(*rows).unwrap_or(usize::MAX), "row")
            )
        },
        past_unknown: "what was changed before is not known here",
        on_now: "on now",
        next: "next",
        stops: "stops this change",
        lets_pass: "lets this change pass",
        stops_widening: "stops what widens",
        except: |except| format!("except {except}"),
    },

    actions: &[
        ("run.finished", "run of"),
        ("system.applied", "applied to"),
        ("system.unchanged", "nothing changed on"),
        ("system.rolled_back", "rolled back on"),
        ("system.incident", "incident on"),
        ("plan.released", "plan released"),
        ("decision.commit", "decided to commit:"),
        ("decision.compensate", "decided to take back:"),
        ("release.used", "release used up"),
        ("command.taken", "said in a comment"),
        ("ledger.upgraded", "took older rows into the ledger"),
        ("ledger.restored", "restored the store"),
        ("proposal.opened", "opened"),
        ("proposal.reopened", "opened again"),
        ("proposal.head_changed", "moved on"),
        ("proposal.closed", "closed"),
        ("proposal.merged", "merged"),
        ("approval.given", "approved"),
        ("approval.voided", "approval counts no more"),
        ("approval.withdrawn", "approval withdrawn"),
        ("changes.requested", "changes requested"),
        ("verdict.given", "judged"),
        ("gate.bypassed", "reached main past the gate"),
        ("delivery.sent", "message delivered"),
        ("delivery.dead", "message given up"),
        ("delivery.resent", "message sent again"),
        ("date.reached", "dates reached in"),
        ("date.announced", "dates announced for"),
        ("drift.found", "drift found on"),
        ("rows.quarantined", "rows left out on"),
        ("drift.proposed", "adopting proposed for"),
        ("drift.withdrawn", "adopting withdrawn for"),
    ],
    succeeded: "success",
    pending: "pending",
    refused: "failure",
    broken: "error",
    comma: ", ",
    colon: ": ",
};

/// A number with its noun: `1 error`, `2 errors`, `3 entries`.
fn some(n: usize, noun: &str) -> String {
    match (n, noun.strip_suffix("ry")) {
        (1, _) => format!("1 {noun}"),
        (n, Some(stem)) => format!("{n} {stem}ries"),
        (n, None) => format!("{n} {noun}s"),
    }
}
