use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn item(name: &str, n: i64) -> Arc<Item> {
    Arc::new(Item::new(
        ResourceRef::new("FeatureFlag", name).unwrap(),
        Spec::from_value(&json!({ "n": n })).unwrap(),
    ))
}

#[test]
fn the_empty_state_has_the_documented_digest() {
    let empty = Digest::of(b"");
    assert_eq!(
        State::default().digest(),
        state_digest(std::iter::repeat_n(empty, 256))
    );
}

#[test]
fn specs_are_canonical_whatever_the_order_of_fields() {
    let a: Value = serde_json::from_str(r#"{"b":1.0,"a":"é"}"#).unwrap();
    let b: Value = serde_json::from_str(r#"{"a":"é","b":1}"#).unwrap();
    assert_eq!(Spec::from_value(&a).unwrap(), Spec::from_value(&b).unwrap());
    assert!(Spec::from_value(&json!({ "n": 9_007_199_254_740_993_u64 })).is_err());
}

#[test]
fn text_as_a_system_has_it_from_us_is_known_to_be_canonical() {
    let written = [
        r#"{"description":"AI アシスタント 🙂","enabled":true,"expires":null,"rollout":25,"tags":["a","b\n\"c\""],"zone":{}}"#,
        "[]",
        "-12",
        "0",
        r#""""#,
    ];
    for text in written {
        assert!(canonical::is_canonical(text), "{text}");
        assert_eq!(Spec::from_text(text).unwrap().as_str(), text);
    }
    let read_in_full = [
        ("{\"a\": 1}", Some(r#"{"a":1}"#)),
        (r#"{"b":1,"a":2}"#, Some(r#"{"a":2,"b":1}"#)),
        (r#"{"a":1,"a":2}"#, Some(r#"{"a":2}"#)),
        ("1.0", Some("1")),
        ("-0", Some("0")),
        (r#""\u0041\/""#, Some(r#""A/""#)),
        ("01", None),
        ("9007199254740993", None),
        (r#"{"a":1}}"#, None),
        (r#"{"a":1,}"#, None),
        ("", None),
    ];
    for (text, becomes) in read_in_full {
        assert!(!canonical::is_canonical(text), "{text}");
        let spec = Spec::from_text(text).ok();
        assert_eq!(spec.as_ref().map(Spec::as_str), becomes, "{text}");
    }
}

proptest! {
    #[test]
    fn digests_do_not_depend_on_order(names in proptest::collection::btree_map("[a-z]{1,6}", 0..9i64, 0..40), seed in any::<u64>()) {
        let sorted: Vec<_> = names.iter().map(|(k, v)| item(k, *v)).collect();
        let mut shuffled = sorted.clone();
        shuffled.sort_by_key(|i| Digest::of(format!("{seed}{}", i.id).as_bytes()));
        let (a, b): (State, State) = (sorted.into_iter().collect(), shuffled.into_iter().collect());
        prop_assert_eq!(a.digest(), b.digest());
        prop_assert_eq!(a.len(), names.len());
    }

    #[test]
    fn any_difference_changes_the_digest(names in proptest::collection::btree_map("[a-z]{1,6}", 0..9i64, 1..40)) {
        let items: Vec<_> = names.iter().map(|(k, v)| item(k, *v)).collect();
        let whole: State = items.iter().cloned().collect();
        let less: State = items.iter().skip(1).cloned().collect();
        prop_assert_ne!(whole.digest(), less.digest());
        for found in &items {
            prop_assert_eq!(whole.get(&found.id), Some(found));
        }
    }

    #[test]
    fn text_taken_over_unread_is_what_reading_it_gives(text in json_text()) {
        if canonical::is_canonical(&text) {
            let value: Value = serde_json::from_str(&text).unwrap();
            let spec = Spec::from_value(&value).unwrap();
            prop_assert_eq!(spec.as_str(), text);
        }
    }
}

/// JSON, nearly JSON, and canonical JSON.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(|n| Value::from(n >> (n & 63))),
        any::<f64>().prop_map(Value::from),
        ".{0,6}|[\u{0}-\u{20}\u{7f}\"\\\\/]{0,6}".prop_map(Value::from),
    ];
    let key = "[a-c]{0,2}|[\u{d000}-\u{d7ff}\u{e000}-\u{ffff}\u{10000}-\u{10fff}\"\\\\]{0,2}";
    let value = leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    let written = value.prop_flat_map(|value| {
        let canonical = serde_json_canonicalizer::to_string(&value).unwrap_or_default();
        prop_oneof![Just(value.to_string()), Just(canonical)]
    });
    prop_oneof![4 => written, 1 => "[-{}\\[\\]:,\"\\\\ua01.e]{0,12}"]
}
