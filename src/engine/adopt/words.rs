//! What an adopting proposal says of itself, in Japanese and English: it is read by people of either.

use super::Adrift;
use crate::compile::Adoption;
use crate::ids::SystemName;
use crate::resource::Bundle;
use crate::view::adoption;
use crate::view::markdown::code;

/// What was changed, what merging does, and what is left out and why.
pub(super) fn description(
    system: &SystemName,
    adrift: &Adrift,
    adoption: &Adoption,
    bundle: &Bundle,
) -> String {
    let name = code(system.as_str());
    let mut out = format!(
        "{name} で、Lockstep を通さない変更が見つかりました。マージすると、次の値がリポジトリに書き込まれ、{name} の現在の値と同じになります。\
         誰が変更したかは Lockstep には分かりません。取り込まないなら閉じてください。同じずれが再び提案されることはありません。\n\n\
         Something was changed on {name} past Lockstep. Merging this writes the values below into the repo, as they are live on {name} now. \
         Who changed them Lockstep can't know. To not adopt them, close this: the same drift is not proposed again.\n"
    );
    if adrift.keeps_changing {
        out.push_str(
            "\n繰り返し変更されているため、Lockstep はもう元に戻していません。値はこの提案を作成した時点のものです。\n\n\
             It keeps being changed, so Lockstep does not put it back any more. The values are those of when this was opened.\n",
        );
    }
    adoption::description(&out, adoption, bundle)
}

/// Why an earlier proposal is closed.
pub(super) fn withdrawn(system: &SystemName, by: Option<u64>) -> String {
    match by {
        Some(number) => format!(
            "{system} の値がさらに変わったため、#{number} に置き換えました。\n\nWhat is live on {system} has changed again: #{number} takes this one's place."
        ),
        None => format!(
            "{system} はリポジトリと同じ値に戻りました。\n\nWhat is live on {system} is what the repo says again."
        ),
    }
}
