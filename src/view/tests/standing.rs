use insta::assert_snapshot;
use jiff::tz::{Offset, TimeZone};

use super::*;
use crate::config::Mode;
use crate::ids::{Digest, PlanDigest};
use crate::plan::Op;

fn tokyo() -> TimeZone {
    TimeZone::fixed(Offset::constant(9))
}

fn system(name: &str, standing: Standing) -> SystemStatus {
    SystemStatus {
        system: name.parse().unwrap(),
        mode: Mode::Enforce,
        revision: Some("c0ffee".repeat(7)[..40].parse().unwrap()),
        digest: Some(Digest::of(name.as_bytes())),
        standing,
        last_change: Some(LastChange {
            at: "2026-11-22T04:00:00Z".parse().unwrap(),
            by: "sato".to_owned(),
            what: "ai_assistant: rollout 10% → 25%".to_owned(),
        }),
    }
}

fn sample_status(language: Language) -> StatusView {
    let mut fresh = system("attendance", Standing::NeverSynced);
    (fresh.revision, fresh.digest, fresh.last_change, fresh.mode) =
        (None, None, None, Mode::Observe);
    let why = "connection refused\u{1b}[2J".to_owned();
    StatusView {
        language,
        timezone: tokyo(),
        upcoming: Vec::new(),
        groups: vec![
            GroupStatus {
                group: "hospital".parse().unwrap(),
                revision: Some("ba5e".repeat(10).parse().unwrap()),
                note: Some("medical waits for voicedrive".to_owned()),
                systems: vec![
                    system(
                        "medical",
                        Standing::Behind {
                            why: "waits for voicedrive".to_owned(),
                        },
                    ),
                    system("voicedrive", Standing::Unreachable { why }),
                ],
            },
            GroupStatus {
                group: "attendance".parse().unwrap(),
                revision: None,
                note: None,
                systems: vec![fresh, system("bi", Standing::InStep)],
            },
        ],
        held: vec![],
    }
}

#[test]
fn status_english() {
    assert_snapshot!(plain(&text::status(&sample_status(Language::English))), @r#"
    hospital · revision ba5eba5eba · 0 of 2 in step
      medical waits for voicedrive
      SYSTEM      REVISION    STATE        MODE     DIGEST        LAST CHANGE
      medical     c0ffeec0ff  behind       enforce  948dbde67a8e  2026-11-22 13:00:00 sato: ai_assistant: rollout 10% → 25%
      voicedrive  c0ffeec0ff  unreachable  enforce  15aa96979417  2026-11-22 13:00:00 sato: ai_assistant: rollout 10% → 25%
      medical: waits for voicedrive
      voicedrive: connection refused\u{1b}[2J

    attendance · 1 of 2 in step
      SYSTEM      REVISION    STATE           MODE     DIGEST        LAST CHANGE
      attendance  –           not synced yet  observe  –             never
      bi          c0ffeec0ff  in step         enforce  d9065d6da185  2026-11-22 13:00:00 sato: ai_assistant: rollout 10% → 25%
    "#);
}

#[test]
fn status_japanese() {
    assert_snapshot!(plain(&text::status(&sample_status(Language::Japanese))), @r#"
    hospital · リビジョン ba5eba5eba · 2 件中 0 件が同期済み
      medical waits for voicedrive
      システム    リビジョン  状態      モード  ダイジェスト  最後の変更
      medical     c0ffeec0ff  遅れ      適用    948dbde67a8e  2026-11-22 13:00:00 sato：ai_assistant: rollout 10% → 25%
      voicedrive  c0ffeec0ff  応答なし  適用    15aa96979417  2026-11-22 13:00:00 sato：ai_assistant: rollout 10% → 25%
      medical：waits for voicedrive
      voicedrive：connection refused\u{1b}[2J

    attendance · 2 件中 1 件が同期済み
      システム    リビジョン  状態      モード    ダイジェスト  最後の変更
      attendance  –           未同期    観察のみ  –             なし
      bi          c0ffeec0ff  同期済み  適用      d9065d6da185  2026-11-22 13:00:00 sato：ai_assistant: rollout 10% → 25%
    "#);
}

fn held_view(language: Language, releasable: bool) -> StatusView {
    let change = |op, system: &str, id: &str| HeldChange {
        op,
        system: system.parse().unwrap(),
        id: id.parse().unwrap(),
    };
    let mut view = sample_status(language);
    view.groups.truncate(1);
    for system in &mut view.groups[0].systems {
        system.standing = Standing::Held {
            why: "held until plan ba5eba5eba5e is released".to_owned(),
        };
    }
    view.held = vec![HeldPlan {
        plan: PlanDigest(Digest::of(b"plan")),
        group: "hospital".parse().unwrap(),
        deletes: 1,
        creates: 0,
        updates: 30,
        changes: vec![
            change(Op::Delete, "voicedrive", "FeatureFlag/night_mode"),
            change(Op::Update, "medical", "FeatureFlag/ai_assistant"),
        ],
        releasable,
    }];
    view
}

/// Why is said once, and what is held with the command that lets it pass.
#[test]
fn what_is_held_is_shown_once() {
    let said = |language, releasable| {
        let text = plain(&text::status(&held_view(language, releasable)));
        let from = text
            .find("medical, voicedrive")
            .or(text.find("medical、voicedrive"));
        text[from.unwrap()..].to_owned()
    };
    assert_snapshot!(said(Language::English, true), @r"
    medical, voicedrive: held until plan ba5eba5eba5e is released

    hospital waits for a person: plan 64879f7d6b960a01909762d911a32d4582c20010c5641ee90278b644a9e3b525
      1 to delete, 0 to create, 30 to update
      - voicedrive: FeatureFlag/night_mode
      ~ medical: FeatureFlag/ai_assistant
      … and 29 more; all of them: lockstep plan --live
      to let it pass: lockstep release --plan 64879f7d6b960a01909762d911a32d4582c20010c5641ee90278b644a9e3b525 --because …
    ");
    assert_snapshot!(said(Language::Japanese, false), @r"
    medical、voicedrive：held until plan ba5eba5eba5e is released

    hospital は人の判断を待っています: 計画 64879f7d6b960a01909762d911a32d4582c20010c5641ee90278b644a9e3b525
      削除 1 件、追加 0 件、変更 30 件
      - voicedrive：FeatureFlag/night_mode
      ~ medical：FeatureFlag/ai_assistant
      … ほか 29 件。すべて見るには: lockstep plan --live
      誰にも解放できません。リポジトリを直してください。
    ");
}

#[test]
fn status_json() {
    let mut view = sample_status(Language::English);
    view.groups.truncate(1);
    view.groups[0].systems.truncate(1);
    assert_snapshot!(json::status(&view), @r#"
    {
      "groups": [
        {
          "group": "hospital",
          "revision": "ba5eba5eba5eba5eba5eba5eba5eba5eba5eba5e",
          "note": "medical waits for voicedrive",
          "systems": [
            {
              "system": "medical",
              "mode": "enforce",
              "revision": "c0ffeec0ffeec0ffeec0ffeec0ffeec0ffeec0ff",
              "digest": "948dbde67a8ef961ee8b24e10eac195791e61a4460cc984ce509210979d7539c",
              "standing": "behind",
              "why": "waits for voicedrive",
              "last_change": {
                "at": "2026-11-22T04:00:00Z",
                "by": "sato",
                "what": "ai_assistant: rollout 10% → 25%"
              }
            }
          ]
        }
      ]
    }
    "#);
}

#[test]
fn nothing_connected_says_what_to_do() {
    let view = StatusView {
        groups: vec![],
        ..sample_status(Language::English)
    };
    assert_snapshot!(plain(&text::status(&view)), @"No systems are connected yet: add them under `systems:` in lockstep.yaml.");
}

fn entry(
    seq: u64,
    actor: &str,
    what: &str,
    outcome: Outcome,
    detail: Option<&str>,
) -> HistoryEntry {
    HistoryEntry {
        seq,
        at: format!("2026-11-22T04:00:{seq:02}Z").parse().unwrap(),
        actor: actor.to_owned(),
        what: what.to_owned(),
        outcome,
        detail: detail.map(str::to_owned),
    }
}

fn sample_history(language: Language) -> HistoryView {
    HistoryView {
        language,
        timezone: tokyo(),
        earlier: 3,
        entries: vec![
            entry(
                4,
                "sato",
                "proposed #1: rollout 10% → 70%",
                Outcome::Refused,
                Some("at most 25 points"),
            ),
            entry(5, "田中", "approved #1", Outcome::Done, None),
            entry(
                6,
                "lockstep/engine",
                "applied c0ffeec0ff to medical, voicedrive",
                Outcome::Done,
                Some("312 ms"),
            ),
            entry(
                7,
                "lockstep/engine",
                "no differences",
                Outcome::Unchanged,
                None,
            ),
            entry(
                8,
                "lockstep/engine",
                "held",
                Outcome::Held,
                Some("30 deletes\nare too many"),
            ),
        ],
    }
}

#[test]
fn history_english() {
    assert_snapshot!(plain(&text::history(&sample_history(Language::English))), @r#"
    … 3 entries before these
    2026-11-22 13:00:04  ✗ sato            proposed #1: rollout 10% → 70% · at most 25 points
    2026-11-22 13:00:05  ✓ 田中            approved #1
    2026-11-22 13:00:06  ✓ lockstep/engine applied c0ffeec0ff to medical, voicedrive · 312 ms
    2026-11-22 13:00:07  = lockstep/engine no differences
    2026-11-22 13:00:08  … lockstep/engine held · 30 deletes\nare too many
    "#);
}

#[test]
fn history_japanese_and_json() {
    let mut view = sample_history(Language::Japanese);
    view.entries.truncate(1);
    assert_snapshot!(plain(&text::history(&view)), @r#"
    … これより前に 3 件
    2026-11-22 13:00:04  ✗ sato proposed #1: rollout 10% → 70% · at most 25 points
    "#);
    assert_snapshot!(json::history(&view), @r#"
    {
      "earlier": 3,
      "entries": [
        {
          "seq": 4,
          "at": "2026-11-22T04:00:04Z",
          "actor": "sato",
          "what": "proposed #1: rollout 10% → 70%",
          "outcome": "refused",
          "detail": "at most 25 points"
        }
      ]
    }
    "#);
}
