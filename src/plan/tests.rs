use proptest::prelude::*;
use serde_json::json;

use super::*;

fn state() -> impl Strategy<Value = State> {
    proptest::collection::btree_map("[a-d]{1,3}", 0..3i64, 0..40).prop_map(|names| {
        names
            .iter()
            .map(|(name, n)| {
                let spec = Spec::from_value(&json!({ "n": n })).unwrap();
                Arc::new(Item::new(
                    ResourceRef::new("FeatureFlag", name).unwrap(),
                    spec,
                ))
            })
            .collect()
    })
}

fn neutral(_: &ResourceRef, _: Option<&Spec>, _: Option<&Spec>) -> Direction {
    Direction::Neutral
}

proptest! {
    #[test]
    fn applying_a_diff_gives_the_other_state(a in state(), b in state()) {
        let changes = diff(&a, &b, neutral);
        prop_assert_eq!(apply(&changes, &a), b.clone());
        let back: Vec<_> = changes.iter().map(Change::reversed).collect();
        prop_assert_eq!(apply(&back, &b), a);
    }

    #[test]
    fn equal_states_differ_in_nothing(a in state()) {
        prop_assert!(diff(&a, &a.clone(), neutral).is_empty());
        let rebuilt: State = a.items().cloned().collect();
        prop_assert!(diff(&a, &rebuilt, neutral).is_empty());
    }

    #[test]
    fn deletes_come_first(a in state(), b in state()) {
        let changes = diff(&a, &b, neutral);
        let first_kept = changes.iter().position(|c| c.op != Op::Delete).unwrap_or(changes.len());
        prop_assert!(changes.iter().skip(first_kept).all(|c| c.op != Op::Delete));
    }

    #[test]
    fn one_resource_more_is_one_create(a in state(), n in 0..3i64) {
        let spec = Spec::from_value(&json!({ "n": n })).unwrap();
        let more = Arc::new(Item::new(ResourceRef::new("AccessGrant", "admin/new").unwrap(), spec));
        let b: State = a.items().cloned().chain([more]).collect();
        let changes = diff(&a, &b, neutral);
        prop_assert_eq!(changes.len(), 1);
        prop_assert_eq!((changes[0].op, changes[0].id.as_str()), (Op::Create, "AccessGrant/admin/new"));
    }
}
