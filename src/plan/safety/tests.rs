use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::ids::{Digest, KindName};
use crate::plan::diff;
use crate::resource::{Language, custom, kinds};
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
    own: Own,
    by_date: BTreeSet<ResourceRef>,
    now: Timestamp,
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
            own: Own::default(),
            by_date: BTreeSet::new(),
            now: now(),
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
            now: self.now,
            past: &self.past,
            observed: &self.observed,
            released: self.released,
            own: &self.own,
            by_date: &self.by_date,
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
    insta::assert_snapshot!(deleting(1, 9).messages(), @"medical: deletes 1 of 9 Ward; below 10 rows a delete needs a release unless it narrows");
    assert_eq!(deleting(1, 10).messages(), "");
}

#[test]
fn in_a_small_table_safety_does_not_wait() {
    let revoking = |count: i64, of: i64| {
        let before = state(vec![rows("AccessGrant", 0..of, 0)]);
        let after = state(vec![rows("AccessGrant", count..of, 0)]);
        Case::directed(before, &after, Direction::Narrowing)
    };
    // What a table of ten would allow, however few there are.
    assert_eq!(revoking(1, 3).messages(), "");
    assert_eq!(revoking(1, 2).messages(), "");
    assert_eq!(revoking(2, 9).messages(), "");
    insta::assert_snapshot!(revoking(3, 9).messages(), @"medical: deletes 3 of 9 AccessGrant within 24 h; the limit is 2");
    // Not the last one, and not one after the other.
    insta::assert_snapshot!(revoking(1, 1).messages(), @"medical: deletes 1 of 1 AccessGrant, and none would be left");
    insta::assert_snapshot!(revoking(3, 3).messages(), @"
    medical: deletes 3 of 3 AccessGrant, and none would be left
    medical: deletes 3 of 3 AccessGrant within 24 h; the limit is 2
    ");
    let again = revoking(1, 3).after(1, Op::Delete, "AccessGrant", 7..9);
    insta::assert_snapshot!(again.messages(), @"medical: deletes 3 of 5 AccessGrant within 24 h; the limit is 2");
    let strict = |mut case: Case| {
        case.config.safety.default.delete_count = 0;
        case.messages()
    };
    insta::assert_snapshot!(strict(revoking(1, 3)), @"medical: deletes 1 of 3 AccessGrant within 24 h; the limit is 0");
    // One delete that gives more, or neither, is asked about all the same.
    let mut mixed = revoking(2, 5);
    let share = mixed.plan.systems.get_mut(MEDICAL).unwrap();
    share.changes[1].direction = Direction::Widening;
    insta::assert_snapshot!(mixed.messages(), @"medical: deletes 1 of 5 AccessGrant; below 10 rows a delete needs a release unless it narrows");
}

#[test]
fn in_a_small_table_updates_are_limited_too() {
    assert_eq!(updating(3, 3).messages(), "");
    insta::assert_snapshot!(updating(4, 4).messages(), @"medical: updates 4 of 4 Ward within 24 h; the limit is 3");
    let again = updating(1, 9).after(2, Op::Update, "Ward", 5..8);
    insta::assert_snapshot!(again.messages(), @"medical: updates 4 of 9 Ward within 24 h; the limit is 3");
    let before = state(vec![rows("Ward", 0..3, 0)]);
    let more = Case::new(before, &state(vec![rows("Ward", 0..6, 0)]));
    let past = more.after(2, Op::Update, "Ward", 10..20);
    assert_eq!(
        past.messages(),
        "",
        "what only creates is not held for updates"
    );
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
        delete_percent: crate::config::Percent::new(100.0).unwrap(),
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
    insta::assert_snapshot!(case(&["sato", "suzuki"], &[]), @"medical: takes away 2 of 2 admins, and none would be left; nobody can release that, add the next admin first");
    assert_eq!(case(&["sato", "suzuki"], &["suzuki"]), "");
    assert_eq!(case(&["sato"], &["suzuki"]), "");
    assert_eq!(case(&[], &[]), "");
    // Like Lockstep's own access, nobody can release that, whatever their roles.
    let mut gone = Case::new(state(vec![admins(&["sato"])]), &state(vec![admins(&[])]));
    gone.released = Some(gone.plan.digest());
    let breaches = gone.breaches();
    assert_eq!(breaches.len(), 1);
    assert_eq!(breaches[0].rule, Rule::LastAdmin);
    assert!(!may_release(&RELEASERS.map(str::to_owned), &breaches));
}

#[test]
fn going_from_some_to_none_passes_when_it_is_asked_for_twice() {
    // Merged, it is held; released by its digest, it passes; anything else is not what was released.
    let mut case = deleting(4, 4);
    assert_eq!(case.breaches()[0].rule, Rule::Emptied);
    case.released = Some(case.plan.digest());
    assert_eq!(case.messages(), "");
    let mut other = deleting(5, 5);
    other.released = case.released;
    assert_eq!(other.breaches()[0].rule, Rule::Emptied);
    // One by one, the last one is held, also in a kind without rows enough for a share, whatever its direction.
    for direction in [
        Direction::Narrowing,
        Direction::Neutral,
        Direction::Widening,
    ] {
        let last = Case::directed(
            state(vec![rows("Ward", 0..1, 0)]),
            &State::default(),
            direction,
        );
        assert_eq!(last.breaches()[0].rule, Rule::Emptied);
    }
}

#[test]
fn every_registered_kind_has_a_ceiling_on_every_system() {
    let schema = "kinds/Ward.schema.json".parse().unwrap();
    let (ward, findings) = custom::read_schema(&schema, "{\"type\": \"object\"}");
    assert_eq!(findings, []);
    let ward = BTreeMap::from([("Ward".parse().unwrap(), Arc::new(ward.unwrap()))]);
    let kinds = kinds::with_custom(&ward);
    assert!(kinds.len() > 9);
    let names = kinds.keys().map(KindName::as_str);
    for kind in names.chain(["Unheard"]) {
        for direction in [
            Direction::Narrowing,
            Direction::Neutral,
            Direction::Widening,
        ] {
            for of in [4, 9, 10, 60] {
                let all = || state(vec![rows(kind, 0..of, 0)]);
                let updated = state(vec![rows(kind, 0..of, 1)]);
                let held = Case::directed(all(), &updated, direction).breaches();
                let limits = |b: &Breach| matches!(b.rule, Rule::UpdateShare { .. });
                assert!(held.iter().any(limits), "updates of {of} {kind}: {held:?}");
                let one = state(vec![rows(kind, 0..1, 0)]);
                let held = Case::directed(all(), &one, direction).breaches();
                assert!(!held.is_empty(), "deletes of {of} {kind}");
                let held = Case::directed(all(), &State::default(), direction).breaches();
                assert!(held.iter().any(|b| b.rule == Rule::Emptied), "{kind}");
            }
        }
    }
    // On a system that nobody has thought of, too; and an entry of `safety:` replaces one ceiling by another, never by none.
    let safety = Safety {
        overrides: BTreeMap::from([("Ward".to_owned(), crate::config::Ceiling::DEFAULT)]),
        ..Safety::default()
    };
    for system in ["medical", "payroll"] {
        for kind in kinds.keys() {
            let (under, ceiling) = safety.ceiling_under(&system.parse().unwrap(), kind.as_str());
            assert_eq!(ceiling, crate::config::Ceiling::DEFAULT);
            let expected = if kind.as_str() == "Ward" {
                "Ward"
            } else {
                "default"
            };
            assert_eq!(under, expected);
        }
    }
}

#[test]
fn who_may_release_a_held_plan() {
    let freeze = |roles: &[&str]| Breach {
        system: MEDICAL.parse().unwrap(),
        kind: "Ward".to_owned(),
        rule: Rule::Freeze {
            name: "year-end".to_owned(),
            until: at("2026-07-11T00:00:00Z"),
            roles: roles.iter().map(ToString::to_string).collect(),
        },
        count: 1,
        rows: 1,
        limit: 0,
    };
    let may = |role: &str, breaches: &[Breach]| may_release(&[role.to_owned()], breaches);
    let ceiling = deleting(3, 3).breaches();
    for role in RELEASERS {
        assert!(may(role, &ceiling) && may(role, &[freeze(&[])]), "{role}");
    }
    assert!(may("commander", &[freeze(&["commander"])]));
    assert!(!may("operator", &[freeze(&["commander"])]));
    assert!(!may("commander", &[freeze(&["commander"]), freeze(&[])]));
    let mut both = ceiling.clone();
    both.push(freeze(&["commander"]));
    assert!(!may("commander", &both) && !may("commander", &ceiling));
    assert!(!may("commander", &[]));
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

    /// Slices over days: of what passes unasked, no window holds more than its limit, and the last row stays.
    #[test]
    fn slices_never_add_up_to_more_than_a_window_allows(
        start in 1_i64..80,
        slices in proptest::collection::vec((1_i64..30, 1_i64..9, any::<bool>()), 1..40),
    ) {
        let (mut first, mut past, mut hour) = (0_i64, Vec::new(), 0_i64);
        let mut passed: Vec<(i64, i64, i64)> = Vec::new();
        for (pause, count, narrows) in slices {
            hour += pause;
            let rows_now = start - first;
            let count = count.min(rows_now);
            let direction = if narrows { Direction::Narrowing } else { Direction::Neutral };
            let mut case = Case::directed(
                state(vec![rows("Ward", first..start, 0)]),
                &state(vec![rows("Ward", first + count..start, 0)]),
                direction,
            );
            case.now = now() + SignedDuration::from_hours(hour);
            case.past = past.clone();
            if !case.breaches().is_empty() {
                continue;
            }
            past.extend((first..first + count).map(|i| PastChange {
                at: case.now,
                system: MEDICAL.parse().unwrap(),
                id: format!("Ward/r{i}").parse().unwrap(),
                op: Op::Delete,
            }));
            first += count;
            passed.push((hour, count, rows_now));
        }
        prop_assert!(first < start);
        for (end, ..) in &passed {
            let window: Vec<_> = passed.iter().filter(|(h, ..)| *h <= *end && *h >= end - 24).collect();
            let gone: i64 = window.iter().map(|(_, count, _)| count).sum();
            let whole = window[0].2.max(10);
            prop_assert!(gone <= 10 && gone * 5 <= whole, "{gone} of {whole} within a window: {passed:?}");
        }
    }

    /// A freeze holds from its first instant up to its last, and where several lie over each other as long as one of them does.
    #[test]
    fn freezes_hold_exactly_while_they_last(
        spans in proptest::collection::vec((-50_i64..50, 1_i64..60), 1..4),
        second in -60_i64..120,
    ) {
        let before = state(vec![rows("Ward", 0..20, 0)]);
        let after = state(vec![rows("Ward", 0..1, 1), rows("Ward", 1..20, 0)]);
        let mut case = Case::directed(before, &after, Direction::Widening);
        let time = |s: i64| now() + SignedDuration::from_secs(s);
        case.config.freezes = spans.iter().map(|(from, length)| Freeze {
            name: from.to_string(),
            from: time(*from),
            until: time(from + length),
            except: vec!["narrowing".to_owned(), "role:security".to_owned()],
        }).collect();
        case.now = time(second);
        let on = spans.iter().filter(|(from, length)| *from <= second && second < from + length).count();
        prop_assert_eq!(case.breaches().len(), on);
        // An instant before and after the edges.
        for freeze in case.config.freezes.clone() {
            let nano = SignedDuration::from_nanos(1);
            for (at, inside) in [(freeze.from - nano, false), (freeze.from, true), (freeze.until - nano, true), (freeze.until, false)] {
                prop_assert_eq!(freeze.is_on(at), inside);
            }
        }
        case.released = Some(case.plan.digest());
        prop_assert_eq!(case.breaches(), vec![]);
    }
}

#[test]
fn nobody_can_release_what_would_shut_lockstep_out() {
    let state = |ids: &[&str]| -> State {
        let items = ids.iter().map(|id| {
            let spec = Spec::from_value(&serde_json::json!({})).unwrap();
            Arc::new(Item::new(id.parse().unwrap(), spec))
        });
        items.collect()
    };
    let kinds = ["AccessGrant", "IpBlock"].map(|k| k.parse().unwrap());
    let (config, findings) = crate::config::read::read(
        &"lockstep.yaml".parse().unwrap(),
        "version: 1\ntimezone: Asia/Tokyo\nsystems:\n  medical: {connector: http, url: 'http://127.0.0.1:1', credential: med, kinds: [AccessGrant, IpBlock]}\n",
        &kinds,
    );
    assert_eq!(findings, []);
    let (kept, own, other) = (
        "AccessGrant/admin/user001",
        "AccessGrant/admin/svc-lockstep",
        "AccessGrant/readonly/svc-lockstep2",
    );
    let before = state(&[kept, own, other]);
    let after = state(&[kept, "IpBlock/10.0.0.0/24", "IpBlock/10.0.1.0/24"]);
    let mut case = Case::directed(before, &after, Direction::Narrowing);
    case.config = config;
    case.own = Own {
        identities: BTreeMap::from([("med".to_owned(), "svc-lockstep".to_owned())]),
        addresses: vec!["10.0.0.9".parse().unwrap(), "::1".parse().unwrap()],
    };
    case.released = Some(case.plan.digest());
    insta::assert_snapshot!(case.messages(), @r"
    medical: would shut Lockstep itself out (1 AccessGrant); nobody can release that, take it out of the repo
    medical: would shut Lockstep itself out (1 IpBlock); nobody can release that, take it out of the repo
    ");
    let all = ["approver", "security", "admin"].map(str::to_owned);
    assert!(!may_release(&all, &case.breaches()));

    // To unblock it, and what concerns others, is no breach of this rule.
    case.own.identities.clear();
    case.own.addresses = vec!["10.0.2.9".parse().unwrap()];
    assert_eq!(case.breaches(), []);
}
