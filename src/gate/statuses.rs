//! The four statuses of a judgement, in words.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{CONTEXTS, Judgement, Standing, commands};
use crate::finding::{Finding, Severity};
use crate::forge::{ReviewKind, Status, StatusState, shortened};
use crate::plan::Op;
use crate::policy::{ApprovalNeed, Message};
use crate::resource::Language;

/// What is shown on a head until it has been judged.
pub(super) fn pending(context: &str, at: Timestamp, language: Language) -> Status {
    let text = match language {
        Language::English => "being judged",
        Language::Japanese => "判定しています",
    };
    status(context, StatusState::Pending, text.to_owned(), at)
}

/// Whether one state keeps a merge back more than another.
pub(super) fn is_worse(a: StatusState, b: StatusState) -> bool {
    let rank = |state| match state {
        StatusState::Success => 0,
        StatusState::Pending => 1,
        StatusState::Failure => 2,
        StatusState::Error => 3,
    };
    rank(a) > rank(b)
}

/// The statuses of a judgement, in the order of [`CONTEXTS`].
pub(super) fn statuses(j: &Judgement, language: Language) -> Vec<Status> {
    let [check, policy, plan, approval] = CONTEXTS;
    let checked = checked(j, language);
    let usable = checked.0 == StatusState::Success;
    [
        (check, checked),
        (policy, judged(j, usable, language)),
        (plan, planned(j, usable, language)),
        (approval, approved(j, language)),
    ]
    .into_iter()
    .map(|(context, (state, text))| status(context, state, text, j.at))
    .collect()
}

fn status(context: &str, state: StatusState, text: String, at: Timestamp) -> Status {
    Status {
        context: context.to_owned(),
        state,
        description: shortened(&text),
        at,
    }
}

type Told = (StatusState, String);

fn checked(j: &Judgement, language: Language) -> Told {
    if !j.conflicts.is_empty() {
        let list = j.conflicts.join(", ");
        let text = match language {
            Language::English => format!("conflicts with main in {list}: merge main into it"),
            Language::Japanese => format!("main と競合: {list}。main を取り込んでください"),
        };
        return (StatusState::Failure, text);
    }
    let errors = j.report.count(Severity::Error);
    let first = j
        .report
        .findings()
        .iter()
        .find(|f| f.severity == Severity::Error);
    if let Some(first) = first {
        let first = placed(first);
        let text = match language {
            Language::English if errors == 1 => format!("1 error: {first}"),
            Language::English => format!("{errors} errors; first: {first}"),
            Language::Japanese => format!("エラー {errors} 件。最初: {first}"),
        };
        return (StatusState::Failure, text);
    }
    let (resources, warnings) = (j.compiled.bundle.len(), j.report.count(Severity::Warning));
    let text = match language {
        Language::English => format!(
            "{}, {}",
            counted(resources, "resource"),
            counted(warnings, "warning")
        ),
        Language::Japanese => format!("リソース {resources} 件、警告 {warnings} 件"),
    };
    (StatusState::Success, text)
}

fn placed(finding: &Finding) -> String {
    let path = &finding.location.path;
    match finding.location.span {
        Some(span) => format!("{path}:{}: {}", span.line, finding.message),
        None => format!("{path}: {}", finding.message),
    }
}

fn judged(j: &Judgement, usable: bool, language: Language) -> Told {
    let (denials, warnings) = (j.verdict.denials.len(), j.verdict.warnings.len());
    match j.verdict.denials.first() {
        Some(first) => {
            let msg = message(first, language);
            let text = match language {
                Language::English if denials == 1 => format!("denied: {msg}"),
                Language::English => format!("{denials} denials; first: {msg}"),
                Language::Japanese => format!("却下 {denials} 件。最初: {msg}"),
            };
            (StatusState::Failure, text)
        }
        // What could not be read was not judged.
        None if !usable => {
            let text = match language {
                Language::English => "not known before the check passes",
                Language::Japanese => "検査に通るまで分かりません",
            };
            (StatusState::Pending, text.to_owned())
        }
        None => {
            let text = match language {
                Language::English => format!("allowed, {}", counted(warnings, "warning")),
                Language::Japanese => format!("許可、警告 {warnings} 件"),
            };
            (StatusState::Success, text)
        }
    }
}

fn planned(j: &Judgement, usable: bool, language: Language) -> Told {
    if !usable {
        let text = match language {
            Language::English => "no plan before the check passes",
            Language::Japanese => "検査に通るまで計画はありません",
        };
        return (StatusState::Failure, text.to_owned());
    }
    // Of resources, as the comment counts them: one that is for two systems is one.
    let changed = |op| {
        let changes = j.plan.systems.values().flat_map(|system| &system.changes);
        let changes = changes.filter(|change| change.op == op);
        changes.map(|c| &c.id).collect::<BTreeSet<_>>().len()
    };
    let [deletes, creates, updates] = [Op::Delete, Op::Create, Op::Update].map(changed);
    let text = match language {
        Language::English if !j.concerns => "nothing here concerns Lockstep".to_owned(),
        Language::Japanese if !j.concerns => "Lockstep に関わる変更はありません".to_owned(),
        Language::English if j.plan.is_empty() => "nothing changes on any system".to_owned(),
        Language::Japanese if j.plan.is_empty() => "どのシステムにも変更はありません".to_owned(),
        Language::English => {
            format!("{deletes} to delete, {creates} to create, {updates} to update")
        }
        Language::Japanese => format!("削除 {deletes}、作成 {creates}、更新 {updates}"),
    };
    (StatusState::Success, text + &held(j, language))
}

/// That the merge will be held, and the first reason: a warning, no refusal.
fn held(j: &Judgement, language: Language) -> String {
    let mut reasons = j.foresight.holds.iter().flat_map(|h| &h.breaches);
    let Some(first) = reasons.next() else {
        return String::new();
    };
    let (first, more) = (first.message(language), reasons.count());
    match (language, more) {
        (Language::English, 0) => format!("; held after the merge: {first}"),
        (Language::English, more) => format!("; held after the merge, {first}, and {more} more"),
        (Language::Japanese, 0) => format!("。マージ後に保留: {first}"),
        (Language::Japanese, more) => format!("。マージ後に保留: {first}、ほか {more} 件"),
    }
}

fn approved(j: &Judgement, language: Language) -> Told {
    if let Some(who) = commands::held_by(&j.said) {
        let text = match language {
            Language::English => format!("held by {who}; /lockstep retry lets it go on"),
            Language::Japanese => format!("{who} が止めています。/lockstep retry で解除"),
        };
        return (StatusState::Failure, text);
    }
    let objections: Vec<&str> = j
        .reviews
        .iter()
        .filter(|r| r.standing == Standing::Counts && r.review.kind == ReviewKind::RequestChanges)
        .map(|r| r.review.user.as_str())
        .collect();
    if !objections.is_empty() {
        let list = objections.join(", ");
        let text = match language {
            Language::English => format!("changes requested by {list}"),
            Language::Japanese => format!("{list} が修正を求めています"),
        };
        return (StatusState::Failure, text);
    }
    let needed: Vec<String> = j
        .verdict
        .approvals
        .iter()
        .filter(|need| !need.is_satisfied())
        .map(|need| {
            let (have, from) = (need.satisfied_by.len(), need.from.join("/"));
            let because = because(need, language);
            match language {
                Language::English => format!("{have} of {} from {from}: {because}", need.count),
                Language::Japanese => {
                    format!("{from} の承認 {have}/{}: {because}", need.count)
                }
            }
        })
        .collect();
    if !needed.is_empty() {
        return (StatusState::Pending, needed.join("; "));
    }
    // A judgement that could not be finished may not know who is needed.
    if !j.verdict.approved() {
        let text = match language {
            Language::English => "not known before the policies can be asked",
            Language::Japanese => "ポリシーを評価できるまで分かりません",
        };
        return (StatusState::Pending, text.to_owned());
    }
    let text = match language {
        Language::English => "everyone needed has approved",
        Language::Japanese => "必要な承認は揃っています",
    };
    (StatusState::Success, text.to_owned())
}

/// What a policy says, in the reader's language where it has it.
pub(super) fn message(message: &Message, language: Language) -> &str {
    match (language, &message.msg_ja) {
        (Language::Japanese, Some(ja)) => ja,
        (Language::Japanese | Language::English, _) => &message.msg,
    }
}

/// Why an approval is needed, in the reader's language where the policy has it.
pub(super) fn because(need: &ApprovalNeed, language: Language) -> &str {
    match (language, &need.because_ja) {
        (Language::Japanese, Some(ja)) => ja,
        (Language::Japanese | Language::English, _) => &need.because,
    }
}

fn counted(n: usize, what: &str) -> String {
    match n {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}
