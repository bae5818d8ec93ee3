//! What is owed to the outside when a run ends: its statuses, and news of it. Written in the transaction of the end itself.

use serde_json::{Value, json};

use super::execute::Ending;
use super::finish::standings;
use crate::record::{Outcome, Run};
use crate::store::NewDelivery;

/// What follows from a run's end. One that found nothing to do is no news, and what it leaves to show is shown.
pub(super) fn owed(run: &Run, outcome: &Outcome, ending: &Ending) -> Vec<NewDelivery> {
    let mut owed = vec![statuses(run)];
    if *outcome != Outcome::InStep {
        owed.push(NewDelivery {
            destination: NewDelivery::NEWS.to_owned(),
            key: format!("run/{}", run.id),
            body: news(run, outcome, ending),
        });
    }
    owed
}

/// The statuses of the run's commit.
fn statuses(run: &Run) -> NewDelivery {
    NewDelivery {
        destination: NewDelivery::FORGE.to_owned(),
        key: format!("statuses/{}", run.id),
        body: json!({ "revision": run.revision }),
    }
}

fn news(run: &Run, outcome: &Outcome, ending: &Ending) -> Value {
    json!({
        "topic": "run.finished",
        "run": run.id,
        "group": run.group,
        "revision": run.revision,
        "outcome": outcome.name(),
        "changes": run.changes(),
        "systems": standings(run, outcome, ending),
        "text": { "en": english(run, outcome), "ja": japanese(run, outcome) },
    })
}

fn english(run: &Run, outcome: &Outcome) -> String {
    format!("{} at {}: {outcome}", run.group, run.revision.short())
}

/// What systems themselves said stays as they said it.
fn japanese(run: &Run, outcome: &Outcome) -> String {
    let failures = outcome.failures();
    let who: Vec<String> = failures
        .iter()
        .map(|(system, failure)| format!("{system}（{failure}）"))
        .collect();
    let who = who.join("、");
    let what = match outcome {
        Outcome::InStep => "すでに一致しています".to_owned(),
        Outcome::Applied { changes } => format!("変更 {changes} 件を適用し、確認しました"),
        Outcome::Refused { .. } => format!("拒否されたため何も変更していません: {who}"),
        Outcome::Unreachable { .. } => format!("応答がないため何も変更していません: {who}"),
        Outcome::Misconfigured { .. } => format!("設定に問題があるため何も変更していません: {who}"),
        Outcome::Stale { .. } => format!("途中で内容が変わったため計画し直します: {who}"),
        Outcome::Interrupted => "決定の前に中断したため何も変更していません".to_owned(),
        Outcome::Held { plan, .. } => {
            format!("保留中です。計画 {} の解除を待っています", plan.0.short())
        }
        Outcome::RolledBack { .. } => format!("適用後に元へ戻しました: {who}"),
        Outcome::Stuck { .. } => format!("人による確認が必要です: {who}"),
    };
    format!("{}（{}）: {what}", run.group, run.revision.short())
}
