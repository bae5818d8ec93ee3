use std::str::FromStr;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::ids::{Actor, ResourceRef};
use crate::plan::Op;
use crate::plan::safety::{Breach, Rule};
use crate::resource::Direction;
use crate::state::{Item, Spec};

fn item(name: &str, spec: &Value) -> Arc<Item> {
    Arc::new(Item::new(
        ResourceRef::new("FeatureFlag", name).unwrap(),
        Spec::from_value(spec).unwrap(),
    ))
}

fn change(name: &str, before: Option<Value>, after: Option<Value>) -> Option<Change> {
    let item = |spec: Option<Value>| spec.map(|spec| item(name, &spec));
    Change::between(item(before), item(after), |_, _| Direction::Widening)
}

fn run() -> Run {
    let change = change(
        "a",
        Some(json!({"rollout": 10})),
        Some(json!({"rollout": 25})),
    )
    .unwrap();
    let share = SystemPlan {
        base: Digest::of(b"base").into(),
        target: Digest::of(b"target").into(),
        changes: vec![change],
        existing: BTreeMap::new(),
    };
    let idle = SystemPlan {
        changes: Vec::new(),
        ..share.clone()
    };
    let plan = Plan {
        revision: None,
        systems: [
            ("medical", share.clone()),
            ("payroll", idle),
            ("voicedrive", share),
        ]
        .into_iter()
        .map(|(system, share)| (system.parse().unwrap(), share))
        .collect(),
    };
    let opening = Opening {
        id: RunId::from_str("0195f0f0-0000-7000-8000-000000000000").unwrap(),
        group: "hospital".parse().unwrap(),
        revision: "0123456789012345678901234567890123456789".parse().unwrap(),
        trigger: Trigger::Merge,
        consistency: Consistency::Lockstep,
        on_failure: OnFailure::Rollback,
        fence: Fence(3),
        started_at: Timestamp::UNIX_EPOCH,
    };
    Run::open(opening, &plan)
}

fn failures(system: &str, failure: Failure) -> Failures {
    Failures::from([(system.parse().unwrap(), failure)])
}

#[test]
fn a_run_has_those_who_have_something_to_change() {
    let members: Vec<_> = run().members.into_keys().map(|s| s.to_string()).collect();
    assert_eq!(members, ["medical", "voicedrive"]);
}

#[test]
fn a_run_leaves_doubt_where_a_system_may_yet_move() {
    let failure = || Failure::Silent { last: None };
    let receipt = || Receipt {
        digest: Digest::of(b"target"),
        reference: None,
    };
    let with = |state| {
        let mut run = run();
        run.members.get_mut("voicedrive").unwrap().state = state;
        run
    };
    for state in [
        MemberState::Uncommitted { failure: failure() },
        MemberState::Unverified {
            receipt: receipt(),
            failure: failure(),
        },
        MemberState::Left { failure: failure() },
        MemberState::Stuck { failure: failure() },
    ] {
        assert!(with(state.clone()).leaves_doubt(), "{state:?}");
    }
    for state in [
        MemberState::Aborted,
        MemberState::Unaborted { failure: failure() },
        MemberState::Verified { receipt: receipt() },
        MemberState::Compensated,
    ] {
        assert!(!with(state.clone()).leaves_doubt(), "{state:?}");
    }
}

#[test]
fn the_stored_form_is_what_stores_of_today_hold() {
    let mut run = run();
    run.members.remove("voicedrive");
    insta::assert_json_snapshot!(run, @r###"
    {
      "id": "0195f0f0-0000-7000-8000-000000000000",
      "group": "hospital",
      "revision": "0123456789012345678901234567890123456789",
      "plan": "77bebb5ec00a3f7d2ba57e032c04ddfbe64a894ff0498336ecf5f68e93e837c6",
      "trigger": "merge",
      "consistency": "lockstep",
      "on_failure": "rollback",
      "fence": 3,
      "members": {
        "medical": {
          "base": "cae662172fd450bb0cd710a769079c05bfc5d8e35efa6576edc7d0377afdd4a2",
          "target": "34a04005bcaf206eec990bd9637d9fdb6725e0a0c0d4aebf003f17f4c956eb5c",
          "changes": [
            {
              "op": "update",
              "id": "FeatureFlag/a",
              "before": {
                "rollout": 10
              },
              "after": {
                "rollout": 25
              },
              "direction": "widening"
            }
          ],
          "state": {
            "is": "planned"
          },
          "attempt": 0,
          "prepared_at": null,
          "committed_at": null,
          "verified_at": null
        }
      },
      "phase": "planned",
      "decision": null,
      "outcome": null,
      "started_at": "1970-01-01T00:00:00Z",
      "decided_at": null,
      "finished_at": null
    }
    "###);
}

#[test]
fn undoing_goes_from_the_target_to_the_base() {
    let run = run();
    let member = run.members.get("medical").unwrap();
    let (forward, undo) = (member.share(Stage::Forward), member.share(Stage::Undo));
    assert_eq!((forward.base, forward.target), (undo.target, undo.base));
    assert_eq!(forward.changes[0].before, undo.changes[0].after);
    assert_eq!(undo.changes[0].direction, Direction::Narrowing);
}

#[test]
fn a_stored_change_that_lacks_a_side_is_an_error() {
    let mut stored = serde_json::to_value(run()).unwrap();
    stored["members"]["medical"]["changes"][0]["op"] = json!("delete");
    let error = serde_json::from_value::<Run>(stored).unwrap_err();
    insta::assert_snapshot!(error, @"the stored change of FeatureFlag/a does not hold what its operation needs");
}

#[test]
fn whole_floats_and_null_come_back_as_they_were() {
    for spec in [
        json!({"n": 1e17}),
        json!({"n": -0.0}),
        Value::Null,
        json!([1.5, "é"]),
    ] {
        let mut run = run();
        let created = change("b", None, Some(spec)).unwrap();
        run.members.get_mut("medical").unwrap().changes = vec![created];
        let text = serde_json::to_string(&run).unwrap();
        assert_eq!(serde_json::from_str::<Run>(&text).unwrap(), run);
    }
}

fn spec() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-(1_i64 << 53)..(1_i64 << 53)).prop_map(Value::from),
        any::<f64>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(".{0,3}", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn changes_come_back_to_the_same_digests(before in proptest::option::of(spec()), after in proptest::option::of(spec())) {
        let Some(change) = change("a", before, after) else { return Ok(()) };
        let mut run = run();
        run.members.get_mut("medical").unwrap().changes = vec![change];
        // Through text, and through a store that parses JSON and writes it anew.
        let value = serde_json::to_value(&run).unwrap();
        let text = serde_json::to_string(&value).unwrap();
        prop_assert_eq!(serde_json::from_str::<Run>(&text).unwrap(), run.clone());
        prop_assert_eq!(serde_json::from_value::<Run>(value).unwrap(), run);
    }
}

#[test]
fn outcomes_say_why_and_what_follows() {
    let refused = Failure::Said {
        error: ConnectorError::Refused {
            message: "no such ward".to_owned(),
            reasons: Vec::new(),
        },
    };
    let silent = Failure::Silent {
        last: Some("connection refused".to_owned()),
    };
    let breach = Breach {
        system: "medical".parse().unwrap(),
        kind: "InterviewType".to_owned(),
        rule: Rule::DeleteCount { hours: 24 },
        count: 12,
        rows: 50,
        limit: 10,
    };
    let outcomes = [
        Outcome::InStep,
        Outcome::Applied { changes: 2 },
        Outcome::Refused {
            systems: failures("medical", refused.clone()),
        },
        Outcome::Unreachable {
            systems: failures("medical", silent.clone()),
        },
        Outcome::Interrupted,
        Outcome::Held {
            plan: PlanDigest(Digest::of(b"plan")),
            breaches: vec![breach],
        },
        Outcome::RolledBack {
            cause: failures("medical", silent),
            left: Failures::new(),
        },
        Outcome::Stuck {
            systems: failures("medical", refused),
        },
    ];
    let lines: Vec<_> = outcomes
        .iter()
        .map(|o| {
            let stored = serde_json::to_string(o).unwrap();
            assert_eq!(&serde_json::from_str::<Outcome>(&stored).unwrap(), o);
            let run = run().concluded(o.clone(), Timestamp::UNIX_EPOCH);
            let states: Vec<_> = run
                .conditions()
                .iter()
                .map(|(s, c)| format!("{s} {:?}/{:?}: {}", c.state, c.reason, c.message))
                .collect();
            format!("{o} -> {:?}\n  {}", o.next(), states.join("\n  "))
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    already in step -> Done
      medical InStep/AlreadyInStep: already in step
      voicedrive InStep/AlreadyInStep: already in step
    applied: 2 changes verified -> Done
      medical InStep/Applied: 1 change verified
      voicedrive InStep/Applied: 1 change verified
    refused by medical: no such ward -> NewRevision
      medical Behind/Refused: no such ward
      voicedrive Behind/WaitsForOthers: refused by medical: no such ward
    could not reach medical: no answer before the deadline (connection refused) -> Retry
      medical Behind/Unreachable: no answer before the deadline (connection refused)
      voicedrive Behind/WaitsForOthers: could not reach medical: no answer before the deadline (connection refused)
    interrupted before the decision; nothing was changed -> Replan
      medical Behind/Interrupted: interrupted before the decision; nothing was changed
      voicedrive Behind/Interrupted: interrupted before the decision; nothing was changed
    held until plan 64879f7d6b96 is released: medical: deletes 12 of 50 InterviewType within 24 h; the limit is 10 -> Person
      medical Held/Held: held until plan 64879f7d6b96 is released: medical: deletes 12 of 50 InterviewType within 24 h; the limit is 10
      voicedrive Held/Held: held until plan 64879f7d6b96 is released: medical: deletes 12 of 50 InterviewType within 24 h; the limit is 10
    rolled back because of medical: no answer before the deadline (connection refused) -> NewRevision
      medical Behind/RolledBack: no answer before the deadline (connection refused)
      voicedrive Behind/RolledBack: rolled back because of medical: no answer before the deadline (connection refused)
    a person must look at medical: no such ward -> Person
      medical Incident/Stuck: no such ward
      voicedrive Held/WaitsForOthers: a person must look at medical: no such ward
    ");
}

#[test]
fn the_ledger_gets_an_entry_a_system_and_one_for_the_run() {
    let mut run = run();
    let receipt = Receipt {
        digest: Digest::of(b"target"),
        reference: Some("tx-17".to_owned()),
    };
    run.members.get_mut("medical").unwrap().state = MemberState::Verified { receipt };
    run.members.get_mut("voicedrive").unwrap().state = MemberState::Compensated;
    let actor: Actor = "lockstep/engine".parse().unwrap();
    let entries = run.entries(&actor, Timestamp::UNIX_EPOCH);
    let actions: Vec<_> = entries
        .iter()
        .map(|e| {
            (
                e.action.as_str(),
                e.system.as_ref().map_or("-", |s| s.as_str()),
            )
        })
        .collect();
    assert_eq!(
        actions,
        [
            ("system.applied", "medical"),
            ("system.rolled_back", "voicedrive"),
            ("run.finished", "-"),
        ]
    );
    assert_eq!(
        entries[0].body["changes"][0]["after"],
        json!({"rollout": 25})
    );
    assert_eq!(entries[0].body["state"]["receipt"]["reference"], "tx-17");
    assert_eq!(entries[0].body["changes"][0]["op"], json!(Op::Update));
}

#[test]
fn actions_are_dotted_words() {
    assert!(Action::new("plan.released").is_ok());
    for bad in ["", ".", "plan.", "Plan.released", "plan released"] {
        assert!(Action::new(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_moving_system_says_what_it_waits_for() {
    let mut run = run();
    run.phase = Phase::Committing;
    run.members.get_mut("medical").unwrap().trouble = Some("connection refused".to_owned());
    let conditions = run.conditions();
    assert_eq!(
        conditions.get("medical").unwrap().message,
        "committing 0123456789: connection refused"
    );
}
