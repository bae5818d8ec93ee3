use insta::assert_snapshot;
use jiff::tz::{Offset, TimeZone};

use super::*;
use crate::config::Mode;
use crate::ids::Digest;

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
    }
}

#[test]
fn status_english() {
    assert_snapshot!(plain(&text::status(&sample_status(Language::English))), @"");
}

#[test]
fn status_japanese() {
    assert_snapshot!(plain(&text::status(&sample_status(Language::Japanese))), @"");
}

#[test]
fn status_json() {
    let mut view = sample_status(Language::English);
    view.groups.truncate(1);
    view.groups[0].systems.truncate(1);
    assert_snapshot!(json::status(&view), @"");
}

#[test]
fn nothing_connected_says_what_to_do() {
    let view = StatusView {
        groups: vec![],
        ..sample_status(Language::English)
    };
    assert_snapshot!(plain(&text::status(&view)), @"");
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
    assert_snapshot!(plain(&text::history(&sample_history(Language::English))), @"");
}

#[test]
fn history_japanese_and_json() {
    let mut view = sample_history(Language::Japanese);
    view.entries.truncate(1);
    assert_snapshot!(plain(&text::history(&view)), @"");
    assert_snapshot!(json::history(&view), @"");
}
