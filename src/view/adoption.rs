//! What an adoption says of itself, in Japanese and English at once: it is read by people of either.

use std::collections::BTreeSet;

use super::markdown::code;
use crate::compile::{Adopted, Adoption, Left, Why};
use crate::ids::SystemName;
use crate::plan::Change;
use crate::resource::form::NotWritten;
use crate::resource::{Bundle, Language};
use crate::state::Item;

/// How many resources a title names, and how many of each list are told one by one.
const NAMED: usize = 2;
const TOLD: usize = 20;

/// Characters of one value, and of one reason.
const VALUE: usize = 200;

/// Characters of all of it: forges have a limit, above this.
const DESCRIPTION: usize = 60_000;

/// The proposal's title.
pub fn title(system: &SystemName, adoption: &Adoption) -> String {
    let names = adoption
        .adopted
        .iter()
        .map(|a| clip(a.change.id.as_str(), 60));
    let mut named = names.take(NAMED).collect::<Vec<_>>().join(", ");
    let (mut ja, mut en) = (String::new(), String::new());
    let more = adoption.adopted.len().saturating_sub(NAMED);
    if more > 0 {
        ja = format!(" ほか {more} 件");
        en = format!(" and {more} more");
    }
    named.retain(|c| !c.is_control());
    format!("{system} の現在の値を取り込む{ja} / Adopt what is live on {system}: {named}{en}")
}

/// The resources, one a line, for the commit.
pub fn subjects(adoption: &Adoption) -> String {
    let names = adoption.adopted.iter().take(TOLD);
    let mut lines: String = names.map(|a| format!("{}\n", a.change.id)).collect();
    if adoption.adopted.len() > TOLD {
        lines.push_str("…\n");
    }
    lines
}

/// A proposal's description: what it is for, then what is adopted, and what is left out and why.
pub fn description(intro: &str, adoption: &Adoption, bundle: &Bundle) -> String {
    let mut out = intro.to_owned();
    out.push_str("\n### 取り込むもの / Adopted\n\n");
    for adopted in adoption.adopted.iter().take(TOLD) {
        out.push_str(&one_adopted(adopted, bundle));
    }
    more(&mut out, adoption.adopted.len());
    if !adoption.left.is_empty() {
        out.push_str("\n### 取り込めないもの / Left out\n\n");
        for left in adoption.left.iter().take(TOLD) {
            out.push_str(&one_left(left, bundle));
        }
        more(&mut out, adoption.left.len());
    }
    clip(&out, DESCRIPTION)
}

fn more(out: &mut String, count: usize) {
    let more = count.saturating_sub(TOLD);
    if more > 0 {
        out.push_str(&format!("- ほか {more} 件 / and {more} more\n"));
    }
}

fn one_adopted(adopted: &Adopted, bundle: &Bundle) -> String {
    let Adopted {
        change,
        document,
        others,
        keeps,
    } = adopted;
    let mut out = told(change, bundle);
    out.push_str(&format!("  - {}\n", code(&clip(document.as_str(), VALUE))));
    let names = |systems: &BTreeSet<SystemName>, comma: &str| {
        let names: Vec<String> = systems.iter().map(|s| code(s.as_str())).collect();
        names.join(comma)
    };
    if !others.is_empty() {
        out.push_str(&format!(
            "  - ⚠️ 同じ値を使う {} も変わります / changes {} too, which has the same value\n",
            names(others, "、"),
            names(others, ", ")
        ));
    }
    if !keeps.is_empty() {
        out.push_str(&format!(
            "  - {} には残ります / stays on {}\n",
            names(keeps, "、"),
            names(keeps, ", ")
        ));
    }
    out
}

fn one_left(left: &Left, bundle: &Bundle) -> String {
    let Left { change, why } = left;
    let english = clip(&why.to_string(), VALUE);
    let mut out = told(change, bundle);
    out.push_str(&format!("  - {} / {}\n", in_japanese(why), code(&english)));
    out
}

/// Why something is left out.
pub fn in_japanese(why: &Why) -> &'static str {
    match why {
        Why::TooMany => {
            "一件ずつ書き込む数の上限を超えています。これらを取り込んだ後に続けられます"
        }
        Why::NoDocument => "この種類を書く文書がリポジトリにありません",
        Why::Written(NotWritten::ByHand) => "手で書く文書です",
        Why::Written(NotWritten::Edit(_)) => "文書を編集できません",
        Why::Unsound(_) => "書き込むと文書が正しくなくなります",
        Why::Dated => "開始・終了の日付があり、その期間の外では無効になるものです",
        Why::Unfaithful => "文書ではこのとおりに表せません",
    }
}

/// A change from what the repo says to what is live, in its kind's words and as values.
fn told(change: &Change, bundle: &Bundle) -> String {
    let spec = |item: &Option<std::sync::Arc<Item>>| item.as_ref().map(|i| i.spec.value());
    let (before, after) = (spec(&change.before), spec(&change.after));
    let value = |item: &Option<std::sync::Arc<Item>>| {
        let text = item.as_ref().map(|i| clip(i.spec.as_str(), VALUE));
        text.map_or_else(|| "∅".to_owned(), |text| code(&text))
    };
    let mut out = format!("- {}\n", code(&clip(change.id.as_str(), VALUE)));
    if let Some(kind) = bundle.kind(change.id.kind()) {
        let line = |language| {
            let line = kind.describe(change.id.name(), before.as_ref(), after.as_ref(), language);
            code(&clip(&line, VALUE))
        };
        out.push_str(&format!(
            "  - {} / {}\n",
            line(Language::Japanese),
            line(Language::English)
        ));
    }
    out.push_str(&format!(
        "  - {} → {}\n",
        value(&change.before),
        value(&change.after)
    ));
    out
}

fn clip(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
    }
}
