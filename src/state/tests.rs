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
}
