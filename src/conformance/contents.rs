//! What a system is given to hold: much of it, of kinds it never heard of, in every script.

use serde_json::{Value, json};

use super::session::{Session, Step};
use super::{Judged, Miss, failed, preparing};
use crate::ids::ResourceRef;
use crate::plan::Op;
use crate::system_api::Code;

pub(super) async fn many(s: &mut Session) -> Judged {
    let count = s.many;
    let steps = (0..count).map(|n| s.create(&format!("many-{n}"), n));
    let steps = steps.collect::<Result<Vec<_>, _>>()?;
    s.apply(&steps).await?;
    let steps = (0..count).map(|n| s.delete(&format!("many-{n}")));
    let steps = steps.collect::<Result<Vec<_>, _>>()?;
    s.apply(&steps).await?;
    Ok(Some(format!("{count} changes")))
}

/// A system may refuse what it can't hold, with a reason for each, or hold it as it was sent. `exotic` are the steps it may refuse.
async fn refused_or_kept(s: &mut Session, steps: &[Step], exotic: &[ResourceRef]) -> Judged {
    let draft = s.draft(steps)?;
    let answer = s.prepare(&draft).await?;
    if answer.status.as_u16() == 422 {
        let refusal = s.refusal(answer, 422, Code::Refused, "what the system does not take")?;
        preparing::named(
            &refusal.reasons,
            steps.iter().filter(|step| exotic.contains(&step.id)),
        )?;
        s.shows("after the refusal").await?;
        return Ok(Some("refused with a reason".to_owned()));
    }
    answer.want(&[201, 422], "what a system may take or refuse")?;
    let outcome = s.commit(&draft).await?;
    s.shows("after the commit").await?;
    if outcome.digest != draft.after.digest() {
        let expected = format!("the commit to answer {}", draft.after.digest());
        return Err(failed(expected, outcome.digest.to_string()));
    }
    Ok(Some("kept".to_owned()))
}

pub(super) async fn unknown_kind(s: &mut Session) -> Judged {
    let unknown = Step {
        op: Op::Create,
        id: s.name_of("LockstepConformanceUnknown", "unknown")?,
        spec: Some(json!({"of": ["no", "known"], "kind": true})),
    };
    let known = s.create("known", 0)?;
    let exotic = [unknown.id.clone()];
    refused_or_kept(s, &[known, unknown], &exotic).await
}

pub(super) async fn unicode_names(s: &mut Session) -> Judged {
    let words = [
        "緊急/メンテナンス",
        // Composed and decomposed.
        "caf\u{e9}",
        "cafe\u{301}",
        // Full-width, which compatibility forms would fold.
        "\u{ff21}",
        "A",
        "\u{1f469}\u{200d}\u{2695}\u{fe0f}",
        "\u{5d0}\u{5d1}\u{200f}",
        "ß\u{1e9e}",
        "\u{10000}\u{fffd}",
        "%2F?#&\"\\",
    ];
    one_by_one(s, words.iter().map(|word| (*word, None)).collect()).await
}

pub(super) async fn unicode_specs(s: &mut Session) -> Judged {
    let text = "緊急 caf\u{e9} cafe\u{301} \u{1f469}\u{200d}\u{2695}\u{fe0f} \u{202e}\u{2028} \"\\/ \u{7f} \t\r\n";
    let mut base = s.spec(0);
    if let Some(fields) = base.as_object_mut() {
        fields.insert("description".to_owned(), json!(text));
    }
    let mut keys = s.spec(0);
    if let Some(fields) = keys.as_object_mut() {
        // By UTF-16 code units the astral key comes first, by bytes last.
        fields.insert("\u{10000}".to_owned(), json!(1));
        fields.insert(
            "\u{fffd}".to_owned(),
            json!({"\u{10000}": [], "\u{fffd}": {}}),
        );
    }
    one_by_one(
        s,
        vec![
            ("text", Some(base)),
            ("keys", Some(keys)),
            (
                "null-character",
                Some(json!({"enabled": false, "description": "a\u{0}b"})),
            ),
        ],
    )
    .await
}

pub(super) async fn numbers(s: &mut Session) -> Judged {
    let numbers = json!([
        0,
        -0.0,
        1.0,
        1.5,
        0.1,
        1e21,
        1e-7,
        5e-324,
        1.7976931348623157e308,
        9_007_199_254_740_992_i64,
        -9_007_199_254_740_992_i64,
        333333333.333_333_3
    ]);
    let mut spec = s.spec(0);
    match spec.as_object_mut() {
        Some(fields) => {
            fields.insert("numbers".to_owned(), numbers);
        }
        None => spec = numbers,
    }
    let mut half = s.spec(0);
    if let Some(fields) = half.as_object_mut() {
        fields.insert("rollout".to_owned(), json!(12.5));
    }
    one_by_one(s, vec![("numbers", Some(spec)), ("half", Some(half))]).await
}

/// Each in a changeset of its own, so that what is refused hides nothing.
async fn one_by_one(s: &mut Session, cases: Vec<(&str, Option<Value>)>) -> Judged {
    let (mut kept, mut refused) = (0_usize, Vec::new());
    for (word, spec) in cases {
        let step = Step {
            op: Op::Create,
            id: s.name(word)?,
            spec: Some(spec.unwrap_or_else(|| s.spec(0))),
        };
        let exotic = [step.id.clone()];
        match refused_or_kept(s, &[step], &exotic).await {
            Ok(Some(how)) if how == "kept" => kept += 1,
            Ok(_) => refused.push(word.escape_debug().to_string()),
            Err(Miss::Failed { expected, came }) => {
                let expected = format!("{expected} (for {:?})", word);
                return Err(failed(expected, came));
            }
            Err(skipped) => return Err(skipped),
        }
    }
    if refused.is_empty() {
        return Ok(Some(format!("all {kept} kept")));
    }
    Ok(Some(format!(
        "{kept} kept; refused with a reason: {}",
        refused.join(", ")
    )))
}
