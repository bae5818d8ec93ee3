use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::compile::{Compiled, compile};
use crate::document::{Blob, BlobId, Content, Snapshot};
use crate::ids::Digest;
use crate::plan::{Op, Plan, diff};
use crate::resource::Direction;

fn modes() -> FieldModes {
    let fields = [
        ("initial".to_owned(), FieldMode::Initial),
        ("observed".to_owned(), FieldMode::Observed),
    ];
    FieldModes([("FeatureFlag".parse().unwrap(), fields.into())].into())
}

fn spec() -> impl Strategy<Value = Value> {
    let field = || proptest::option::of(0..3i64);
    (field(), field(), field()).prop_map(|(enforced, initial, observed)| {
        let all = [
            ("enforced", enforced),
            ("initial", initial),
            ("observed", observed),
        ];
        let there = all
            .into_iter()
            .filter_map(|(name, n)| Some((name.to_owned(), n?.into())));
        Value::Object(there.collect())
    })
}

/// Resources of a kind with modes and of one without.
fn state() -> impl Strategy<Value = State> {
    let name = ("(FeatureFlag|Notice)", "[a-d]{1,2}");
    proptest::collection::btree_map(name, spec(), 0..30).prop_map(|all| {
        all.iter()
            .map(|((kind, name), spec)| {
                let id = ResourceRef::new(kind, name).unwrap();
                Arc::new(Item::new(id, Spec::from_value(spec).unwrap()))
            })
            .collect()
    })
}

fn changes(from: &State, to: &State) -> usize {
    diff(from, to, |_, _, _| Direction::Neutral).len()
}

proptest! {
    /// Without modes every field is Lockstep's.
    #[test]
    fn without_modes_nothing_yields(desired in state(), there in state()) {
        prop_assert_eq!(settled(&desired, &there, &FieldModes::default()), desired);
    }

    /// What is remembered saves work and says nothing else.
    #[test]
    fn what_is_remembered_changes_nothing(states in proptest::collection::vec((state(), state(), any::<bool>()), 1..6)) {
        let mut settled_last = Settled::default();
        let mut last: Option<(State, State)> = None;
        for (desired, there, keeps) in states {
            // Often only one side moves, or neither.
            let (desired, there) = match last {
                Some((desired, _)) if keeps => (desired, there),
                _ => (desired, there),
            };
            for _ in 0..2 {
                let state = settled_last.next(&desired, &there, &modes());
                prop_assert_eq!(state, settled(&desired, &there, &modes()));
            }
            let plain = settled_last.next(&desired, &there, &FieldModes::default());
            prop_assert_eq!(&plain, &desired);
            last = Some((desired, there));
        }
    }

    /// Each field has the value of the one whose it is, and no resource comes or goes.
    #[test]
    fn every_field_is_its_owner_s(desired in state(), there in state()) {
        let state = settled(&desired, &there, &modes());
        prop_assert!(state.items().map(|i| &i.id).eq(desired.items().map(|i| &i.id)));
        for item in state.items() {
            let (got, wanted) = (item.spec.value(), desired.get(&item.id).unwrap().spec.value());
            let live = there.get(&item.id).map(|i| i.spec.value());
            let is_moded = item.id.kind() == "FeatureFlag";
            prop_assert_eq!(got.get("enforced"), wanted.get("enforced"));
            for name in ["initial", "observed"] {
                let owner = match &live {
                    Some(live) if is_moded => live.get(name),
                    None if is_moded && name == "observed" => None,
                    Some(_) | None => wanted.get(name),
                };
                prop_assert_eq!(got.get(name), owner, "{} of {}", name, item.id);
            }
        }
    }

    /// After a run there is nothing left to do, and what people then do to their fields is no drift.
    #[test]
    fn a_system_that_was_brought_there_stays_in_step(desired in state(), there in state(), theirs in spec()) {
        let state = settled(&desired, &there, &modes());
        prop_assert_eq!(&settled(&desired, &state, &modes()), &state);
        let touched: State = state.items().map(|item| {
            let mut spec = item.spec.value();
            if item.id.kind() == "FeatureFlag" {
                for name in ["initial", "observed"] {
                    match theirs.get(name) {
                        Some(value) => spec[name] = value.clone(),
                        None => drop(spec.as_object_mut().unwrap().remove(name)),
                    }
                }
            }
            Arc::new(Item::new(item.id.clone(), Spec::from_value(&spec).unwrap()))
        }).collect();
        prop_assert_eq!(changes(&touched, &settled(&desired, &touched, &modes())), 0);
    }
}

/// A revision with one flag on one system, and what is written of its fields' modes.
fn revision(rollout: u64, fields: &str) -> Compiled {
    let config = format!(
        "version: 1\nsystems:\n  medical: {{connector: http, url: 'http://127.0.0.1:1', kinds: [FeatureFlag]{fields}}}\n"
    );
    let flags = json!({"a": {"enabled": true, "rollout": rollout, "owner": "sato"}}).to_string();
    let files = [
        ("lockstep.yaml", config),
        ("config/feature-flags.json", flags),
    ];
    let files = files.map(|(path, text)| {
        let content = Content::Bytes(text.as_bytes().into());
        let id = BlobId::from_digest(Digest::of(text.as_bytes()));
        (path.parse().unwrap(), Blob { id, content })
    });
    let compiled = compile(&Snapshot {
        files: files.into(),
        ..Snapshot::default()
    });
    assert!(compiled.report.passes(), "{:?}", compiled.report);
    compiled
}

const INITIAL: &str = ", fields: {FeatureFlag: {rollout: initial, owner: observed}}";

/// What a proposal changes on the system: what is done, and from what to what.
fn planned(before: &Compiled, after: &Compiled) -> Vec<(Op, Option<Value>, Option<Value>)> {
    let plan = Plan::between(Some(&before.bundle), &after.bundle);
    let changes = plan.systems.into_values().flat_map(|share| share.changes);
    changes
        .map(|c| {
            let value = |item: Option<Arc<Item>>| item.map(|i| i.spec.value());
            (c.op, value(c.before), value(c.after))
        })
        .collect()
}

#[test]
fn what_is_made_gets_what_is_initial_and_not_what_is_observed() {
    let nothing = compile(&Snapshot::default());
    let made = json!({"enabled": true, "rollout": 10});
    assert_eq!(
        planned(&nothing, &revision(10, INITIAL)),
        [(Op::Create, None, Some(made))]
    );
}

#[test]
fn another_initial_value_is_no_change_where_the_resource_is_and_that_is_told() {
    let (before, after) = (revision(10, INITIAL), revision(25, INITIAL));
    assert_eq!(planned(&before, &after), []);
    let kept = kept(&before.bundle, &after.bundle);
    let told: Vec<String> = kept
        .iter()
        .flat_map(|(s, of)| of.iter().map(move |(id, f)| format!("{s} {id} {f:?}")))
        .collect();
    assert_eq!(told, [r#"medical FeatureFlag/a {"rollout"}"#]);
}

/// Dates work by what is written when they come, so what has some is Lockstep's whole.
#[test]
fn what_has_dates_is_enforced_whole() {
    let item = |spec: Value| {
        let id = ResourceRef::new("FeatureFlag", "a").unwrap();
        Arc::new(Item::new(id, Spec::from_value(&spec).unwrap()))
    };
    let wanted = item(json!({"initial": 1, "until": "2027-01-01"}));
    let there = item(json!({"initial": 2}));
    let settled = settled_item(&wanted, Some(&*there), &modes());
    assert_eq!(settled, wanted);
}

/// What the system has in a field that was its own is not known from the documents, so the first writing of it is a change like any.
#[test]
fn a_field_that_is_enforced_from_now_on_is_a_change_that_is_judged() {
    let plan = planned(&revision(10, INITIAL), &revision(10, ""));
    let full = json!({"enabled": true, "rollout": 10, "owner": "sato"});
    assert_eq!(plan, [(Op::Create, None, Some(full))]);
    // And one that is left to the system is none.
    assert_eq!(planned(&revision(10, ""), &revision(10, INITIAL)), []);
}
