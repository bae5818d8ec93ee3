//! What a merge would set off, in sentences.

use super::Judgement;
use super::foresight::Hold;
use crate::plan::safety::{RELEASERS, Rule};
use crate::resource::Language;

/// Which systems move together, then what will be held and how it is let pass.
pub(super) fn on_merge(j: &Judgement, language: Language) -> Vec<String> {
    let mut notes = together(j, language);
    for hold in &j.foresight.holds {
        let group = &hold.group;
        notes.extend(hold.breaches.iter().map(|breach| {
            let why = breach.message(language);
            match language {
                Language::English => format!("Held after the merge (group {group}): {why}."),
                Language::Japanese => {
                    format!("マージ後に保留されます（グループ {group}）: {why}。")
                }
            }
        }));
        notes.push(way_out(hold, language));
    }
    for (date, hold) in &j.foresight.later {
        let when = &date.when;
        notes.extend(hold.breaches.iter().map(|breach| {
            let why = breach.message(language);
            match language {
                Language::English => {
                    format!("Held when {when} comes (group {}): {why}.", hold.group)
                }
                Language::Japanese => {
                    format!("{when} に保留されます（グループ {}）: {why}。", hold.group)
                }
            }
        }));
    }
    let uncounted: Vec<&str> = j.foresight.uncounted.iter().map(|s| s.as_str()).collect();
    if !uncounted.is_empty() {
        let list = uncounted.join(", ");
        notes.push(match language {
            Language::English => format!(
                "For the limits only this proposal is counted: what was changed on {list} before is not known here."
            ),
            Language::Japanese => format!(
                "上限はこの提案だけで数えています。{list} のこれまでの変更は、ここでは分かりません。"
            ),
        });
    }
    notes
}

fn together(j: &Judgement, language: Language) -> Vec<String> {
    let mut notes = Vec::new();
    let touched: Vec<&str> = j
        .at_once()
        .systems
        .iter()
        .filter(|(_, s)| !s.changes.is_empty())
        .map(|(name, _)| name.as_str())
        .collect();
    if touched.is_empty() {
        return notes;
    }
    for (name, group) in &j.base.bundle.config.groups {
        let members: Vec<&str> = group
            .systems
            .iter()
            .map(|s| s.as_str())
            .filter(|s| touched.contains(s))
            .collect();
        let together = group.consistency == crate::config::Consistency::Lockstep;
        // One alone has nobody to move with.
        if members.is_empty() || (together && members.len() < 2) {
            continue;
        }
        let list = members.join(", ");
        notes.push(match (language, together) {
            (Language::English, true) => format!("{list} move together (group {name}), or none of them does."),
            (Language::English, false) => format!("{list} move independently (group {name})."),
            (Language::Japanese, true) => format!("{list} は一緒に反映されます（グループ {name}）。一つでも準備できなければどこにも反映されません。"),
            (Language::Japanese, false) => format!("{list} はそれぞれ独立に反映されます（グループ {name}）。"),
        });
    }
    notes
}

/// What to do about a hold: avoid it, or who lets it pass and how.
fn way_out(hold: &Hold, language: Language) -> String {
    let rules = || hold.breaches.iter().map(|b| &b.rule);
    let hours = rules().filter_map(|rule| match rule {
        Rule::DeleteCount { hours } | Rule::DeleteShare { hours } | Rule::UpdateShare { hours } => {
            Some(*hours)
        }
        Rule::Emptied
        | Rule::SmallTable { .. }
        | Rule::Freeze { .. }
        | Rule::LastAdmin
        | Rule::Lost { .. }
        | Rule::OwnAccess => None,
    });
    let frozen_only = rules().all(|rule| matches!(rule, Rule::Freeze { .. }));
    if rules().any(|rule| *rule == Rule::OwnAccess) {
        return match language {
            Language::English => {
                "Take it out of the proposal: nobody can release a plan that shuts Lockstep out."
            }
            Language::Japanese => {
                "この変更を提案から外してください。Lockstep自身を締め出す計画は誰も解除できません。"
            }
        }
        .to_owned();
    }
    if rules().any(Rule::is_final) {
        return match language {
            Language::English => {
                "Add the next admin first: nobody can release a plan that leaves a system without one."
            }
            Language::Japanese => {
                "先に次の管理者を追加してください。管理者がいなくなる計画は誰も解除できません。"
            }
        }
        .to_owned();
    }
    let digest = hold.plan.0.short();
    let roles = RELEASERS.join(", ");
    match language {
        Language::English => {
            let instead = match (hours.max(), frozen_only) {
                (Some(hours), ..) => {
                    format!("Propose it in parts, more than {hours} h apart; or once")
                }
                (None, true) => {
                    "After the freeze it is planned again and goes ahead by itself; to let it pass sooner, once".to_owned()
                }
                (None, ..) => "Once".to_owned(),
            };
            format!(
                "{instead} it is merged, someone with one of the roles {roles} lets it pass: lockstep release --plan {digest} --because …"
            )
        }
        Language::Japanese => {
            let instead = match (hours.max(), frozen_only) {
                (Some(_), ..) => "時間をあけて少しずつ提案してください。または、",
                (None, true) => {
                    "凍結期間が終われば、計画し直して自動で反映されます。それより早く進めるには、"
                }
                (None, ..) => "",
            };
            format!(
                "{instead}マージのあと {roles} のいずれかの役割の人が解除できます: lockstep release --plan {digest} --because …"
            )
        }
    }
}
