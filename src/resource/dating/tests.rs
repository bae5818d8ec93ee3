use std::collections::BTreeMap;

use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::Config;
use crate::ids::DocPath;
use crate::resource::{access, flag, kinds};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn tokyo() -> TimeZone {
    zone("Asia/Tokyo")
}

#[test]
fn a_date_begins_with_its_day_and_ends_after_it() {
    let window = |from, until| Window::of(&json!({"from": from, "until": until}), &tokyo());
    let december = window(json!("2026-12-01"), json!("2026-12-31")).unwrap();
    assert_eq!(december.from, Some(at("2026-11-30T15:00:00Z")));
    assert_eq!(december.until, Some(at("2026-12-31T15:00:00Z")));
    assert!(!december.holds(at("2026-11-30T14:59:59.999Z")));
    assert!(december.holds(at("2026-11-30T15:00:00Z")));
    assert!(december.holds(at("2026-12-31T14:59:59.999Z")));
    assert!(!december.holds(at("2026-12-31T15:00:00Z")));
    // A time is that instant: the first is in it, the last is not.
    let hour = window(
        json!("2026-12-01T09:00+09:00"),
        json!("2026-12-01T10:00+09:00"),
    );
    let hour = hour.unwrap();
    assert!(hour.holds(at("2026-12-01T00:00:00Z")));
    assert!(!hour.holds(at("2026-12-01T01:00:00Z")));
    assert_eq!(window(json!(null), json!(7)), None);
}

#[test]
fn a_day_whose_midnight_is_skipped_begins_after_the_gap() {
    let saopaulo = zone("America/Sao_Paulo");
    assert_eq!(
        start("2017-10-15", &saopaulo),
        Some(at("2017-10-15T03:00:00Z"))
    );
    assert_eq!(
        end("2017-10-14", &saopaulo),
        Some(at("2017-10-15T03:00:00Z"))
    );
}

fn kinds_of() -> crate::resource::Kinds {
    kinds::builtin()
}

fn resource(id: &str, spec: &Value) -> Arc<Resource> {
    let id: ResourceRef = id.parse().unwrap();
    let spec = Spec::from_value(spec).unwrap();
    let dated = dated(kinds_of().get(id.kind()), &id, &spec, tokyo);
    Arc::new(Resource {
        item: Arc::new(Item::new(id, spec)),
        systems: Arc::new(std::iter::once(medical()).collect()),
        document: "config/x.json".parse::<DocPath>().unwrap(),
        dated,
    })
}

fn medical() -> SystemName {
    "medical".parse().unwrap()
}

fn bundle(resources: Vec<Arc<Resource>>) -> Bundle {
    Bundle::new(None, Arc::new(Config::default()), kinds_of(), resources)
}

/// What a system has at a moment, by name.
fn held(bundle: &Bundle, moment: &str) -> BTreeMap<String, String> {
    let state = bundle.project_at(&medical(), at(moment));
    let items = state.items();
    items
        .map(|i| (i.id.to_string(), i.spec.as_str().to_owned()))
        .collect()
}

#[test]
fn a_grant_is_gone_and_a_flag_is_off_outside_its_window() {
    let bundle = bundle(vec![
        resource(
            "AccessGrant/admin/a",
            &json!({"id": "a", "from": "2026-12-01", "until": "2026-12-31"}),
        ),
        resource("AccessGrant/admin/b", &json!({"id": "b"})),
        resource(
            "FeatureFlag/f",
            &json!({"enabled": true, "rollout": 25, "from": "2026-12-10"}),
        ),
        // Off at all times.
        resource(
            "FeatureFlag/g",
            &json!({"enabled": false, "until": "2026-12-10"}),
        ),
    ]);
    let november = held(&bundle, "2026-11-01T00:00:00Z");
    assert!(!november.contains_key("AccessGrant/admin/a"));
    assert!(november.contains_key("AccessGrant/admin/b"));
    assert_eq!(
        november["FeatureFlag/f"],
        r#"{"enabled":false,"from":"2026-12-10","rollout":25}"#
    );
    let christmas = held(&bundle, "2026-12-24T00:00:00Z");
    assert!(christmas.contains_key("AccessGrant/admin/a"));
    assert_eq!(
        christmas["FeatureFlag/f"],
        r#"{"enabled":true,"from":"2026-12-10","rollout":25}"#
    );
    assert!(!held(&bundle, "2027-01-01T00:00:00Z").contains_key("AccessGrant/admin/a"));
    // What is written does not depend on the moment, and neither does the digest.
    assert_eq!(bundle.project(&medical()).items().count(), 4);
    let mut next = at("2000-01-01T00:00:00Z");
    let mut boundaries = Vec::new();
    while let Some(boundary) = bundle.next_boundary(next) {
        boundaries.push(boundary.to_string());
        next = boundary;
    }
    assert_eq!(
        boundaries,
        [
            "2026-11-30T15:00:00Z",
            "2026-12-09T15:00:00Z",
            "2026-12-31T15:00:00Z"
        ]
    );
}

#[test]
fn what_turned_is_what_holds_at_one_moment_and_not_at_the_other() {
    let bundle = bundle(vec![resource(
        "AccessGrant/admin/a",
        &json!({"id": "a", "from": "2026-12-01", "until": "2026-12-31"}),
    )]);
    let turned = |since, to| {
        let turned = bundle.turned(at(since), at(to));
        let told = turned.into_iter().map(|o| (o.effect, o.at.to_string()));
        told.collect::<Vec<_>>()
    };
    let (before, within, after) = (
        "2026-11-01T00:00:00Z",
        "2026-12-24T00:00:00Z",
        "2027-02-01T00:00:00Z",
    );
    let begun = (Effect::Begins, "2026-11-30T15:00:00Z".to_owned());
    let ended = (Effect::Ends, "2026-12-31T15:00:00Z".to_owned());
    assert_eq!(turned(before, within), [begun]);
    assert_eq!(turned(within, after), [ended]);
    assert_eq!(turned(before, after), []);
    // A clock that was wrong and is set back.
    let undone = (Effect::Begins, "2026-12-31T15:00:00Z".to_owned());
    assert_eq!(turned(after, within), [undone]);
}

#[test]
fn a_window_gives_more_the_longer_it_is_open() {
    use Direction::{Narrowing, Neutral, Widening};
    let spec = |from: Option<&str>, until: Option<&str>| {
        let mut spec = json!({"id": "a", "enabled": true});
        let fields = spec.as_object_mut().unwrap();
        fields.extend(from.map(|from| ("from".to_owned(), json!(from))));
        fields.extend(until.map(|until| ("until".to_owned(), json!(until))));
        spec
    };
    let open = spec(None, None);
    let from_may = spec(Some("2026-05-01"), None);
    let until_may = spec(None, Some("2026-05-01"));
    let june = spec(Some("2026-06-01"), Some("2026-06-30"));
    let july = spec(Some("2026-07-01"), Some("2026-07-31"));
    for (before, after, expected) in [
        (&open, &from_may, Narrowing),
        (&from_may, &open, Widening),
        (&open, &until_may, Narrowing),
        (&until_may, &open, Widening),
        (&from_may, &june, Narrowing),
        (&june, &june, Neutral),
        // Each of the two gives what the other does not.
        (&june, &july, Widening),
        (&july, &june, Widening),
    ] {
        let (before, after) = (Some(before), Some(after));
        assert_eq!(access::AccessGrant.direction(before, after), expected);
        assert_eq!(flag::FeatureFlag.direction(before, after), expected);
        if before
            .zip(after)
            .is_some_and(|(b, a)| b["from"].is_null() || a["from"].is_null())
        {
            let block = access::IpBlock.direction(before, after);
            assert_eq!(block, expected.reversed());
        } else if expected == Widening {
            assert_eq!(access::IpBlock.direction(before, after), Widening);
        }
    }
    let off = json!({"enabled": false});
    assert_eq!(
        flag::FeatureFlag.direction(Some(&off), Some(&june)),
        Widening
    );
    assert_eq!(
        flag::FeatureFlag.direction(Some(&june), Some(&off)),
        Narrowing
    );
}

/// A day in 2026, as an offset.
fn day() -> impl Strategy<Value = Option<i64>> {
    prop::option::of(0_i64..40)
}

fn dated_grant(n: usize, from: Option<i64>, until: Option<i64>) -> Arc<Resource> {
    let first = at("2026-01-01T00:00:00Z");
    let text = |days: i64| (first + SignedDuration::from_hours(24 * days)).to_string();
    let mut spec = json!({"id": format!("u{n}")});
    let fields = spec.as_object_mut().unwrap();
    fields.extend(from.map(|from| ("from".to_owned(), json!(text(from)))));
    fields.extend(until.map(|until| ("until".to_owned(), json!(text(until)))));
    resource(&format!("AccessGrant/admin/u{n}"), &spec)
}

proptest! {
    #[test]
    fn between_two_boundaries_nothing_changes(
        windows in prop::collection::vec((day(), day()), 0..12),
        moments in prop::collection::vec(0_i64..(42 * 24), 2..6),
    ) {
        let resources = windows.iter().enumerate().map(|(n, (from, until))| dated_grant(n, *from, *until));
        let bundle = bundle(resources.collect());
        let first = at("2025-12-31T00:00:00Z");
        let mut moments: Vec<Timestamp> =
            moments.into_iter().map(|hours| first + SignedDuration::from_hours(hours)).collect();
        let mut last: Option<(Timestamp, State)> = None;
        // In any order: a clock may be set back.
        moments.push(moments[0]);
        for moment in moments {
            let whole = bundle.project_at(&medical(), moment);
            if let Some((then, projected)) = &last {
                // What is moved on from another moment is what is made anew.
                let moved = bundle.project_after_at(&medical(), moment, (&bundle, *then), projected);
                prop_assert_eq!(moved.digest(), whole.digest());
                let (a, b) = (moment.min(*then), moment.max(*then));
                let next = bundle.next_boundary(a);
                prop_assert_eq!(next.is_none_or(|next| next > b), bundle.is_alike(moment, *then));
                if bundle.is_alike(moment, *then) {
                    prop_assert_eq!(projected.digest(), whole.digest());
                    prop_assert_eq!(bundle.turned(*then, moment), vec![]);
                }
                // What turned is exactly what differs.
                let mut differ: Vec<String> = crate::plan::diff(projected, &whole, |_, _, _| Direction::Neutral)
                    .into_iter().map(|c| c.id.to_string()).collect();
                let mut turned: Vec<String> =
                    bundle.turned(*then, moment).iter().map(|o| o.resource.item.id.to_string()).collect();
                differ.sort();
                turned.sort();
                prop_assert_eq!(differ, turned);
            }
            last = Some((moment, whole));
        }
    }

    #[test]
    fn occasions_come_in_order_and_each_once(
        windows in prop::collection::vec((day(), day()), 0..12),
        split in 0_i64..40,
    ) {
        let resources = windows.iter().enumerate().map(|(n, (from, until))| dated_grant(n, *from, *until));
        let bundle = bundle(resources.collect());
        let split = at("2026-01-01T00:00:00Z") + SignedDuration::from_hours(24 * split);
        let all = bundle.occasions(Timestamp::MIN, Timestamp::MAX);
        prop_assert!(all.is_sorted_by_key(|o| o.at));
        let mut parts = bundle.occasions(Timestamp::MIN, split);
        parts.extend(bundle.occasions(split, Timestamp::MAX));
        prop_assert_eq!(parts, all);
    }
}
