//! A judgement as people and programs read it.

use serde_json::{Value, json};

use super::merging::on_merge;
use super::{Command, CountedReview, Judgement, Said, Standing, commands, statuses};
use crate::finding::Severity;
use crate::forge::ReviewKind;
use crate::ids::SystemName;
use crate::plan::fields;
use crate::plan::safety::Breach;
use crate::policy::Message;
use crate::resource::Language;
use crate::view::{
    self, ApprovalView, DateView, GateView, MessageView, PlanView, ReportView, SystemBefore,
    VerdictView,
};

/// The judgement as the comment and the terminal show it.
pub fn view_of(j: &Judgement, language: Language) -> GateView {
    let message = |m: &Message| MessageView {
        msg: statuses::message(m, language).to_owned(),
        code: m.code.clone(),
        resource: m.resource.clone(),
    };
    let approvals = j.verdict.approvals.iter().map(|need| ApprovalView {
        from: need.from.clone(),
        count: need.count,
        because: statuses::because(need, language).to_owned(),
        have: need.satisfied_by.clone(),
    });
    GateView {
        language,
        number: j.proposal.number,
        title: j.proposal.title.clone(),
        author: j.proposal.author.clone(),
        base: j.proposal.base.clone(),
        head: j.proposal.head.clone(),
        report: ReportView::new(&j.report, |path| j.after.text(path)),
        verdict: VerdictView {
            denials: j.verdict.denials.iter().map(message).collect(),
            warnings: j.verdict.warnings.iter().map(message).collect(),
            approvals: approvals.collect(),
        },
        plan: PlanView::new(&j.plan, &j.compiled.bundle.kinds, language)
            .with_dates(j.at_once(), later(j))
            .with_limits(&j.compiled.bundle.config)
            .with_kept(fields::kept(&j.base.bundle, &j.compiled.bundle)),
        already_adrift: j.foresight.before.as_ref().map(|systems| {
            let standing = |(system, standing): (&SystemName, &view::Standing)| SystemBefore {
                system: system.clone(),
                standing: standing.clone(),
            };
            systems.iter().map(standing).collect()
        }),
        on_merge: on_merge(j, language),
        not_counted: not_counted(j, language),
        said: said(j, language),
        rest: j.page.clone(),
        statuses: statuses::statuses(j, language),
    }
}

/// What the dates of a proposal will do after its merge.
fn later(j: &Judgement) -> Vec<DateView> {
    DateView::of_plan(&j.plan, &j.compiled.bundle, j.at)
}

/// How many of the last commands the comment answers.
const ANSWERED: usize = 5;

/// The last commands and what came of each.
fn said(j: &Judgement, language: Language) -> Vec<String> {
    let shown: Vec<&Said> = j.said.iter().filter(|said| said.is_shown()).collect();
    let last = shown.len().saturating_sub(ANSWERED);
    let line = |said: &&Said| {
        let outcome = match language {
            Language::English => &said.outcome.en,
            Language::Japanese => &said.outcome.ja,
        };
        let command = match &said.command {
            Command::Plan => "/lockstep plan",
            Command::Retry => "/lockstep retry",
            Command::Accept { .. } => "/lockstep accept",
            Command::Hold => "/lockstep hold",
            Command::Help => "/lockstep help",
            Command::Unknown => "/lockstep",
        };
        format!("{} {command}: {outcome}", said.author)
    };
    let mut lines: Vec<String> = shown.iter().skip(last).map(line).collect();
    let lost = |said: &&Said| matches!(said.command, Command::Help | Command::Unknown);
    if shown.last().is_some_and(lost) {
        lines.push(commands::help(language).to_owned());
    }
    lines
}

/// Approvals that were given and don't count, each with the reason.
pub(super) fn not_counted(j: &Judgement, language: Language) -> Vec<String> {
    let approvals = j
        .reviews
        .iter()
        .filter(|r| r.review.kind == ReviewKind::Approve);
    approvals
        .filter_map(
            |CountedReview {
                 review,
                 person,
                 standing,
             }| {
                let recusal = j
                    .verdict
                    .recused
                    .iter()
                    .find(|r| Some(&r.person) == person.as_ref());
                let why = match (standing, recusal, language) {
                    (Standing::Counts, None, _)
                    | (Standing::Replaced | Standing::Comment, _, _) => return None,
                    (Standing::Counts, Some(recusal), Language::English) => recusal.because.clone(),
                    (Standing::Counts, Some(recusal), Language::Japanese) => recusal
                        .because_ja
                        .clone()
                        .unwrap_or_else(|| recusal.because.clone()),
                    (Standing::Outdated, _, Language::English) => {
                        "a later push added to what was approved".to_owned()
                    }
                    (Standing::Outdated, _, Language::Japanese) => {
                        "承認のあとの変更で内容が増えました".to_owned()
                    }
                    (Standing::Author, _, Language::English) => {
                        "authors don't approve their own proposals".to_owned()
                    }
                    (Standing::Author, _, Language::Japanese) => {
                        "自分の提案は承認できません".to_owned()
                    }
                    (Standing::Unsigned, _, Language::English) => {
                        "not signed with the key under people:".to_owned()
                    }
                    (Standing::Unsigned, _, Language::Japanese) => {
                        "people: の鍵で署名されていません".to_owned()
                    }
                    (Standing::BadSignature(fault), _, language) => fault.say(language).to_owned(),
                    (Standing::Unknown, _, Language::English) => {
                        "not under people: on the main branch".to_owned()
                    }
                    (Standing::Unknown, _, Language::Japanese) => {
                        "main の people: にいません".to_owned()
                    }
                };
                let (user, commit) = (&review.user, review.commit.short());
                Some(match language {
                    Language::English => format!("{user} at {commit}: {why}"),
                    Language::Japanese => format!("{user}（{commit}）: {why}"),
                })
            },
        )
        .collect()
}

/// The judgement for programs.
pub fn json_of(j: &Judgement) -> Value {
    json!({
        "proposal": j.proposal,
        "statuses": j.statuses,
        "passes": j.passes(),
        "plan": serde_json::from_str::<Value>(&crate::view::json::plan(&j.plan, &later(j))).unwrap_or(Value::Null),
        "scope": j.scope,
        "denials": j.verdict.denials.iter().map(|m| json!({"msg": m.msg, "code": m.code, "resource": m.resource})).collect::<Vec<_>>(),
        "warnings": j.verdict.warnings.iter().map(|m| json!({"msg": m.msg, "code": m.code, "resource": m.resource})).collect::<Vec<_>>(),
        "approvals": j.verdict.approvals.iter().map(|n| json!({"from": n.from, "count": n.count, "because": n.because, "satisfied_by": n.satisfied_by})).collect::<Vec<_>>(),
        "reviews": j.reviews.iter().map(|r| json!({
            "user": r.review.user, "person": r.person, "kind": kind(r.review.kind), "commit": r.review.commit, "counts": r.standing == Standing::Counts,
            "standing": standing(r.standing), "at": r.review.at, "message": r.review.message})).collect::<Vec<_>>(),
        "input_digest": j.verdict.input_digest,
        "policies_digest": j.verdict.policies_digest,
        "held": j.foresight.holds.iter().map(|hold| json!({
            "group": hold.group, "plan": hold.plan,
            "breaches": hold.breaches.iter().map(breach).collect::<Vec<_>>()})).collect::<Vec<_>>(),
        "held_later": j.foresight.later.iter().map(|(date, hold)| json!({
            "at": date.at, "group": hold.group,
            "breaches": hold.breaches.iter().map(breach).collect::<Vec<_>>()})).collect::<Vec<_>>(),
        "uncounted": j.foresight.uncounted,
        "before": j.foresight.before,
        "findings": j.report.findings().iter().filter(|f| f.severity == Severity::Error).count(),
    })
}

/// A breach with its sentence, in English as all of JSON is.
fn breach(breach: &Breach) -> Value {
    let mut value = serde_json::to_value(breach).unwrap_or(Value::Null);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("message".to_owned(), breach.to_string().into());
    }
    value
}

fn kind(kind: ReviewKind) -> &'static str {
    match kind {
        ReviewKind::Approve => "approve",
        ReviewKind::RequestChanges => "request_changes",
        ReviewKind::Comment => "comment",
        ReviewKind::Withdraw => "withdraw",
    }
}

fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Counts => "counts",
        Standing::Replaced => "replaced by a later review",
        Standing::Outdated => "a later push added to what was approved",
        Standing::Author => "authors don't approve their own proposals",
        Standing::Unknown => "not in people: at the base",
        Standing::Unsigned => "not signed with the key that people: gives",
        Standing::BadSignature(fault) => fault.say(Language::English),
        Standing::Comment => "a comment",
    }
}
