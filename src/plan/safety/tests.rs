use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::ids::Digest;
use crate::plan::diff;
use crate::resource::Language;
use crate::state::{Item, Spec};

const MEDICAL: &str = "medical";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-07-10T12:00:00Z")
}

fn item(id: &str, n: i64) -> Arc<Item> {
    let spec = Spec::from_value(&json!({ "n": n })).unwrap();
    Arc::new(Item::new(id.parse().unwrap(), spec))
}

/// Rows of a kind, numbered.
fn rows(kind: &str, numbers: std::ops::Range<i64>, n: i64) -> Vec<Arc<Item>> {
    numbers.map(|i| item(&format!("{kind}/r{i}"), n)).collect()
}

fn state(items: Vec<Vec<Arc<Item>>>) -> State {
    items.into_iter().flatten().collect()
}

/// What is asked of the guard: from one state to another on one system.
struct Case {
    config: Config,
    observed: BTreeMap<SystemName, State>,
    plan: Plan,
    past: Vec<PastChange>,
    released: Option<PlanDigest>,
}

impl Case {
    fn new(before: State, after: &State) -> Self {
        Self::directed(before, after, Direction::Neutral)
    }

    fn directed(before: State, after: &State, direction: Direction) -> Self {
        let share = SystemPlan {
            base: (&before).into(),
            target: after.into(),
            changes: diff(&before, after, |_, _, _| direction),
            existing: before.counts(),
        };
        Self {
            config: Config::default(),
            observed: BTreeMap::from([(MEDICAL.parse().unwrap(), before)]),
            plan: Plan {
                revision: None,
                systems: BTreeMap::from([(MEDICAL.parse().unwrap(), share)]),
            },
            past: Vec::new(),
            released: None,
        }
    }

    /// Deletes or updates of rows that an earlier run made.
    fn after(mut self, hours_ago: i64, op: Op, kind: &str, numbers: std::ops::Range<i64>) -> Self {
        let at = now() - SignedDuration::from_hours(hours_ago);
        self.past.extend(numbers.map(|i| PastChange {
            at,
            system: MEDICAL.parse().unwrap(),
            id: format!("{kind}/r{i}").parse().unwrap(),
            op,
        }));
        self
    }

    fn breaches(&self) -> Vec<Breach> {
        let context = GuardContext {
            now: now(),
            past: &self.past,
            observed: &self.observed,
            released: self.released,
        };
        guard(&self.plan, &self.config, &context)
    }

    fn messages(&self) -> String {
        let messages = self.breaches();
        let messages: Vec<_> = messages.iter().map(ToString::to_string).collect();
        messages.join("\n")
    }
}

/// Rows 0..of, of which the first are deleted.
fn deleting(count: i64, of: i64) -> Case {
    Case::new(
        state(vec![rows("Ward", 0..of, 0)]),
        &state(vec![rows("Ward", count..of, 0)]),
    )
}

fn updating(count: i64, of: i64) -> Case {
    let after = state(vec![rows("Ward", 0..count, 1), rows("Ward", count..of, 0)]);
    Case::new(state(vec![rows("Ward", 0..of, 0)]), &after)
}

#[test]
fn creates_and_a_first_sync_are_not_limited() {
    let full = state(vec![rows("Ward", 0..500, 0), rows("Bed", 0..3, 0)]);
    assert_eq!(Case::new(State::default(), &full).messages(), "");
    let half = state(vec![rows("Ward", 0..20, 0)]);
    assert_eq!(Case::new(half, &full).messages(), "");
}

#[test]
fn deletes_have_a_count_and_a_share() {
    assert_eq!(deleting(10, 100).messages(), "");
    assert_eq!(deleting(10, 50).messages(), "");
    insta::assert_snapshot!(deleting(11, 100).messages(), @"medical: deletes 11 of 100 Ward within 24 h; the limit is 10");
    insta::assert_snapshot!(deleting(5, 20).messages(), @"medical: deletes 5 of 20 Ward within 24 h; the limit is 4");
    insta::assert_snapshot!(deleting(30, 40).messages(), @"
    medical: deletes 30 of 40 Ward within 24 h; the limit is 10
    medical: deletes 30 of 40 Ward within 24 h; the limit is 8
    ");
}

#[test]
fn below_small_every_delete_is_acknowledged() {
    insta::assert_snapshot!(deleting(1, 9).messages(), @"medical: deletes 1 of 9 Ward; below 10 rows every delete needs a release");
    assert_eq!(deleting(1, 10).messages(), "");
}

#[test]
fn going_from_some_to_none_is_always_held() {
    insta::assert_snapshot!(deleting(1, 1).messages(), @"medical: deletes 1 of 1 Ward, and none would be left");
    insta::assert_snapshot!(deleting(10, 10).messages(), @"
    medical: deletes 10 of 10 Ward, and none would be left
    medical: deletes 10 of 10 Ward within 24 h; the limit is 2
    ");
    let mut lenient = deleting(10, 10);
    lenient.config.safety.default = crate::config::Ceiling {
        delete_percent: 100.0,
        delete_count: 1000,
        small: 0,
        ..crate::config::Ceiling::DEFAULT
    };
    insta::assert_snapshot!(lenient.messages(), @"medical: deletes 10 of 10 Ward, and none would be left");
}

#[test]
fn replacing_all_rows_leaves_some() {
    let (old, new) = (rows("Ward", 0..50, 0), rows("Ward", 50..100, 0));
    let rules: Vec<_> = Case::new(state(vec![old]), &state(vec![new])).breaches();
    assert!(!rules.is_empty());
    assert!(rules.iter().all(|b| b.rule != Rule::Emptied));
}

#[test]
fn updates_have_a_share_above_small() {
    assert_eq!(updating(30, 100).messages(), "");
    insta::assert_snapshot!(updating(31, 100).messages(), @"medical: updates 31 of 100 Ward within 24 h; the limit is 30");
    assert_eq!(updating(9, 9).messages(), "");
}

#[test]
fn slices_count_together_until_the_window_is_over() {
    let slice = || {
        let before = state(vec![rows("Ward", 6..60, 0)]);
        Case::new(before, &state(vec![rows("Ward", 12..60, 0)]))
    };
    assert_eq!(slice().messages(), "");
    let earlier = slice().after(23, Op::Delete, "Ward", 0..6);
    insta::assert_snapshot!(earlier.messages(), @"medical: deletes 12 of 60 Ward within 24 h; the limit is 10");
    let long_ago = slice().after(25, Op::Delete, "Ward", 0..6);
    assert_eq!(long_ago.messages(), "");
    let other_kind = slice().after(1, Op::Delete, "Bed", 0..6);
    assert_eq!(other_kind.messages(), "");
}

#[test]
fn the_same_resource_again_counts_once() {
    let again = updating(3, 10).after(1, Op::Update, "Ward", 0..3);
    assert_eq!(again.messages(), "");
    let others = updating(3, 10).after(1, Op::Update, "Ward", 5..6);
    insta::assert_snapshot!(others.messages(), @"medical: updates 4 of 10 Ward within 24 h; the limit is 3");
}

#[test]
fn a_freeze_holds_what_widens() {
    let case = |direction, except: &[&str], from: &str| {
        let before = state(vec![rows("Ward", 0..20, 0)]);
        let after = state(vec![rows("Ward", 0..2, 1), rows("Ward", 2..20, 0)]);
        let mut case = Case::directed(before, &after, direction);
        case.config.freezes = vec![Freeze {
            name: "year-end".to_owned(),
            from: at(from),
            until: at("2026-07-11T00:00:00Z"),
            except: except.iter().map(|&e| e.to_owned()).collect(),
        }];
        case.messages()
    };
    let active = "2026-07-10T12:00:00Z";
    insta::assert_snapshot!(case(Direction::Widening, &["narrowing"], active), @"medical: widens 2 Ward during the freeze year-end, which lasts until 2026-07-11T00:00:00Z");
    assert_eq!(case(Direction::Narrowing, &[], active), "");
    assert_eq!(case(Direction::Neutral, &[], active), "");
    assert_eq!(case(Direction::Widening, &["Ward"], active), "");
    let later = "2026-07-10T12:00:01Z";
    assert_eq!(case(Direction::Widening, &[], later), "");
}

#[test]
fn the_last_admin_stays() {
    let admins = |names: &[&str]| -> Vec<Arc<Item>> {
        let mut grants: Vec<_> = names
            .iter()
            .map(|name| item(&format!("AccessGrant/admin/{name}"), 0))
            .collect();
        grants.extend((0..40).map(|i| item(&format!("AccessGrant/readonly/u{i}"), 0)));
        grants
    };
    let case = |before: &[&str], after: &[&str]| {
        Case::new(state(vec![admins(before)]), &state(vec![admins(after)])).messages()
    };
    insta::assert_snapshot!(case(&["sato", "suzuki"], &[]), @"medical: takes away 2 of 2 admins, and none would be left");
    assert_eq!(case(&["sato", "suzuki"], &["suzuki"]), "");
    assert_eq!(case(&["sato"], &["suzuki"]), "");
    assert_eq!(case(&[], &[]), "");
}

#[test]
fn breaches_are_said_in_japanese_too() {
    let breaches = deleting(5, 20).breaches();
    insta::assert_snapshot!(breaches[0].message(Language::Japanese), @"medical: 24時間以内にWard 20件のうち5件を削除することになります。上限は4件です");
}

#[test]
fn modes_leave_out_what_they_must() {
    let before = state(vec![rows("Ward", 0..3, 0)]);
    let after = state(vec![rows("Ward", 1..2, 1), rows("Ward", 2..5, 0)]);
    let plan = || {
        Case::new(before.clone(), &after)
            .plan
            .systems
            .remove(MEDICAL)
            .unwrap()
    };
    let skipped = |mode| {
        let (kept, skipped) = apply_mode(plan(), &before, mode);
        // What is left leads where it says it does.
        assert_eq!(apply(&kept.changes, &before).digest(), kept.target.get());
        (kept.changes.len(), skipped.len())
    };
    assert_eq!(skipped(Mode::Observe), (0, 4));
    assert_eq!(skipped(Mode::Detect), (0, 4));
    assert_eq!(skipped(Mode::Upsert), (3, 1));
    assert_eq!(skipped(Mode::Enforce), (4, 0));
}

#[test]
fn urgent_changes_are_cut_out_with_their_own_target() {
    let before = state(vec![rows("Ward", 0..3, 0)]);
    let after = state(vec![rows("Ward", 0..3, 1), rows("Notice", 0..1, 0)]);
    let share = Case::new(before.clone(), &after)
        .plan
        .systems
        .remove(MEDICAL)
        .unwrap();
    let (kept, waiting) = urgent(
        share,
        &before,
        &["narrowing".to_owned(), "Notice".to_owned()],
    );
    assert_eq!((kept.changes.len(), waiting.len()), (1, 3));
    assert_eq!(apply(&kept.changes, &before).digest(), kept.target.get());
}

fn states() -> impl Strategy<Value = State> {
    proptest::collection::btree_map(0..60_i64, 0..3_i64, 0..60).prop_map(|rows| {
        let items = rows.iter().map(|(i, n)| item(&format!("Ward/r{i}"), *n));
        items.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_release_lets_exactly_that_plan_pass(before in states(), after in states(), other in states()) {
        let mut case = Case::new(before.clone(), &after);
        let held = case.breaches();
        case.released = Some(case.plan.digest());
        prop_assert_eq!(case.breaches(), vec![]);
        let another = Case::new(before, &other).plan.digest();
        if another != case.plan.digest() {
            case.released = Some(another);
            prop_assert_eq!(case.breaches(), held.clone());
        }
        case.released = Some(PlanDigest(Digest::of(b"nothing")));
        prop_assert_eq!(case.breaches(), held);
    }

    #[test]
    fn whatever_empties_a_kind_is_held(before in states()) {
        let case = Case::new(before.clone(), &State::default());
        let emptied = case.breaches().iter().any(|b| b.rule == Rule::Emptied);
        prop_assert_eq!(emptied, !before.is_empty());
    }

    #[test]
    fn breaches_come_back_from_the_store(before in states(), after in states()) {
        let breaches = Case::new(before, &after).breaches();
        let text = serde_json::to_string(&breaches).unwrap();
        prop_assert_eq!(serde_json::from_str::<Vec<Breach>>(&text).unwrap(), breaches);
    }
}
