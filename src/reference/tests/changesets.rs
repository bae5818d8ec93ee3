//! Prepare, commit and abort: each line of the contract, repetitions, restarts.

use proptest::prelude::*;

use super::*;
use crate::plan;
use crate::resource::Direction;

fn flag(rollout: u32) -> Value {
    json!({"enabled": true, "rollout": rollout})
}

fn code(answer: &(StatusCode, Value)) -> (u16, &str) {
    (answer.0.as_u16(), answer.1["code"].as_str().unwrap_or(""))
}

#[tokio::test]
async fn a_changeset_is_staged_then_committed_and_repetitions_change_nothing() {
    let world = World::new().await;
    let before = world.digest().await;
    let request = world.request(1, &[create("FeatureFlag/ai", flag(10))]);

    let first = world.prepare("a", &request).await;
    assert_eq!(
        first,
        (StatusCode::CREATED, json!({"id": "a", "status": "staged"}))
    );
    assert_eq!(
        world.prepare("a", &request).await,
        (StatusCode::OK, json!({"id": "a", "status": "staged"}))
    );
    assert_eq!(
        world.digest().await,
        before,
        "staging is not visible to users"
    );

    let committed = world.end("a", "commit", 1).await;
    assert_eq!(
        committed,
        (
            StatusCode::OK,
            json!({"digest": request["target_digest"], "revision": REVISION})
        )
    );
    assert_eq!(world.end("a", "commit", 1).await, committed);
    assert_eq!(
        world.prepare("a", &request).await,
        (StatusCode::OK, json!({"id": "a", "status": "committed"}))
    );
    assert_eq!(code(&world.end("a", "abort", 1).await), (409, "committed"));
    let audit = world.get("/lockstep/v1/audit").await;
    assert_eq!(audit["events"].as_array().unwrap().len(), 1);
    // A repeated commit answers what it did, whatever has happened since.
    world
        .call(Method::DELETE, "/admin/resources/FeatureFlag/ai", None)
        .await;
    assert_eq!(world.end("a", "commit", 1).await, committed);
}

#[tokio::test]
async fn an_aborted_changeset_stays_aborted() {
    let world = World::new().await;
    let request = world.request(1, &[create("FeatureFlag/ai", flag(10))]);
    world.prepare("a", &request).await;
    assert_eq!(world.end("a", "abort", 1).await.0, StatusCode::OK);
    assert_eq!(world.end("a", "abort", 1).await.0, StatusCode::OK);
    assert_eq!(code(&world.end("a", "commit", 1).await), (409, "aborted"));
    assert_eq!(code(&world.prepare("a", &request).await), (409, "aborted"));

    // One that was never seen is remembered: the prepare may still be on its way.
    assert_eq!(world.end("late", "abort", 1).await.0, StatusCode::OK);
    assert_eq!(
        code(&world.prepare("late", &request).await),
        (409, "aborted")
    );
    assert_eq!(
        code(&world.end("never", "commit", 1).await),
        (404, "unknown_changeset")
    );
    assert_eq!(world.digest().await, State::default().digest());
}

#[tokio::test]
async fn another_base_and_other_content_are_conflicts() {
    let mut world = World::new().await;
    let early = world.request(1, &[create("FeatureFlag/b", flag(1))]);
    world.apply("a", &[create("FeatureFlag/a", flag(10))]).await;
    assert_eq!(code(&world.prepare("b", &early).await), (409, "other_base"));
    let one = world.request(1, &[create("FeatureFlag/b", flag(1))]);
    let two = world.request(1, &[create("FeatureFlag/b", flag(2))]);
    assert_eq!(world.prepare("c", &one).await.0, StatusCode::CREATED);
    assert_eq!(
        code(&world.prepare("c", &two).await),
        (409, "other_content")
    );
}

#[tokio::test]
async fn an_older_fence_can_do_nothing() {
    let world = World::new().await;
    let changes = [create("FeatureFlag/a", flag(10))];
    world.prepare("old", &world.request(5, &changes)).await;
    // Refused for its content, but its fence counts.
    let mut wrong = world.request(6, &changes);
    wrong["target_digest"] = json!(Digest::of(b"elsewhere"));
    assert_eq!(code(&world.prepare("new", &wrong).await), (422, "refused"));

    let older = world.request(5, &changes);
    assert_eq!(
        code(&world.prepare("b", &older).await),
        (412, "older_fence")
    );
    assert_eq!(
        code(&world.end("old", "commit", 5).await),
        (412, "older_fence")
    );
    assert_eq!(
        code(&world.end("old", "abort", 5).await),
        (412, "older_fence")
    );
    // The new holder's prepare has ended what the old one staged, and a restart forgets none of it.
    let world = world.restart().await;
    assert_eq!(
        code(&world.end("old", "commit", 5).await),
        (412, "older_fence")
    );
    assert_eq!(code(&world.end("old", "commit", 6).await), (409, "aborted"));
}

#[tokio::test]
async fn the_next_holder_of_the_lease_finishes_what_was_decided() {
    let world = World::new().await;
    let changes = [create("FeatureFlag/a", flag(10))];
    world.prepare("a", &world.request(5, &changes)).await;
    let committed = world.end("a", "commit", 6).await;
    assert_eq!(committed.0, StatusCode::OK);
    // Prepared again under the newer fence it would have become the new holder's.
    let world = World::new().await;
    world.prepare("a", &world.request(5, &changes)).await;
    assert_eq!(
        world.prepare("a", &world.request(6, &changes)).await.0,
        StatusCode::OK
    );
    assert_eq!(world.end("a", "commit", 6).await, committed);
}

#[tokio::test]
async fn what_is_not_acceptable_is_refused_with_a_reason_for_each_change() {
    let mut world = World::new().await;
    world
        .apply("a", &[create("FeatureFlag/there", flag(10))])
        .await;
    let good = create("FeatureFlag/new", flag(5));
    let mut request = world.request(1, &[good.clone(), good]);
    let changes = request["changes"].as_array_mut().unwrap();
    changes.extend([
        json!({"op": "rename", "kind": "FeatureFlag", "name": "x"}),
        json!({"op": "create", "kind": "flag", "name": "x", "spec": {}}),
        json!({"op": "create", "kind": "FeatureFlag", "name": "a b", "spec": {}}),
        json!({"op": "create", "kind": "FeatureFlag", "name": "nothing"}),
        json!({"op": "delete", "kind": "FeatureFlag", "name": "there", "spec": {}}),
        json!({"op": "create", "kind": "FeatureFlag", "name": "wide", "spec": {"rollout": 250}}),
        json!({"op": "create", "kind": "Shift", "name": "n", "spec": 9_007_199_254_740_993_u64}),
    ]);
    let answer = world.prepare("b", &request).await;
    assert_eq!(code(&answer), (422, "refused"));
    let reasons = answer.1["reasons"].as_array().unwrap();
    let messages: Vec<_> = reasons
        .iter()
        .map(|r| {
            format!(
                "{}/{}: {}",
                r["kind"].as_str().unwrap(),
                r["name"].as_str().unwrap(),
                r["message"].as_str().unwrap()
            )
        })
        .collect();
    insta::assert_snapshot!(messages.join("\n"), @r#"
    FeatureFlag/new: is changed twice in this changeset; send one change for each resource
    FeatureFlag/x: "rename" is no operation; expected create, update or delete
    flag/x: "flag" is not a kind: an upper-case ASCII letter, then letters and digits, at most 64 long
    FeatureFlag/a b: "a b" is not a resource name: not empty, at most 512 bytes, no white space
    FeatureFlag/nothing: a create needs a spec
    FeatureFlag/there: a delete has no spec
    FeatureFlag/wide: a rollout is a number from 0 to 100, not 250
    Shift/n: no canonical JSON form: the integer 9007199254740993 is beyond 2^53; write it as a string
    "#);

    let fitting = [
        change(Op::Create, "FeatureFlag/there", Some(flag(1))),
        change(Op::Update, "FeatureFlag/gone", Some(flag(1))),
        change(Op::Delete, "FeatureFlag/away", None),
    ];
    let answer = world.prepare("c", &world.request(1, &fitting)).await;
    assert_eq!(code(&answer), (422, "refused"));
    assert_eq!(answer.1["reasons"].as_array().unwrap().len(), 3);

    let mut elsewhere = world.request(1, &[create("FeatureFlag/new", flag(5))]);
    elsewhere["target_digest"] = json!(Digest::of(b"elsewhere"));
    let answer = world.prepare("d", &elsewhere).await;
    assert_eq!(code(&answer), (422, "refused"));
    assert!(answer.1.get("reasons").is_none());
    assert_eq!(world.digest().await, world.state.digest());
}

#[tokio::test]
async fn a_system_takes_only_its_kinds() {
    let folder = TempDir::new().unwrap();
    let options = Options {
        kinds: BTreeSet::from(["FeatureFlag".parse().unwrap()]),
        ..options(&folder)
    };
    let mut world = World::with(folder, options).await;
    let request = world.request(1, &[create("Shift/night", json!({}))]);
    let (status, answer) = world.prepare("a", &request).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        answer["reasons"][0]["message"],
        "this system takes no Shift; it takes FeatureFlag"
    );
    world.apply("b", &[create("FeatureFlag/a", flag(1))]).await;
}

#[tokio::test]
async fn a_restart_between_prepare_and_commit_loses_nothing() {
    let mut world = World::new().await;
    world.apply("a", &[create("FeatureFlag/a", flag(10))]).await;
    let changes = [
        change(Op::Update, "FeatureFlag/a", Some(flag(20))),
        create("Notice/alerts/緊急", json!({"title": "停止 😀"})),
    ];
    let request = world.request(1, &changes);
    assert_eq!(world.prepare("b", &request).await.0, StatusCode::CREATED);
    let world = world.restart().await;
    assert_eq!(world.digest().await, world.state.digest());
    assert_eq!(world.prepare("b", &request).await.0, StatusCode::OK);
    let committed = world.end("b", "commit", 1).await;
    assert_eq!(committed.1["digest"], request["target_digest"]);
    let world = world.restart().await;
    assert_eq!(world.end("b", "commit", 1).await, committed);
    let state = world.get("/lockstep/v1/state").await;
    assert_eq!(state["digest"], request["target_digest"]);
    assert_eq!(state["revision"], REVISION);
    assert_eq!(state["resources"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_local_edit_after_the_prepare_does_not_break_the_promise_to_commit() {
    let mut world = World::new().await;
    world.apply("a", &[create("FeatureFlag/a", flag(10))]).await;
    let changes = [change(Op::Delete, "FeatureFlag/a", None)];
    let request = world.request(1, &changes);
    world.prepare("b", &request).await;
    for name in ["a", "other"] {
        let path = format!("/admin/resources/FeatureFlag/{name}");
        world.call(Method::PUT, &path, Some(flag(99))).await;
    }
    // Not decided yet: plan again.
    assert_eq!(
        code(&world.prepare("b", &request).await),
        (409, "other_base")
    );
    // Decided: the staged content stands, and the answer tells the truth about the rest.
    let (status, answer) = world.end("b", "commit", 1).await;
    assert_eq!(status, StatusCode::OK);
    assert_ne!(answer["digest"], request["target_digest"]);
    assert_eq!(answer["digest"], json!(world.digest().await));
    let state = world.get("/lockstep/v1/state").await;
    assert_eq!(state["resources"][0]["name"], "other");
    assert_eq!(state["resources"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn thousands_of_changes_go_in_one_changeset_and_come_out_in_the_audit() {
    let mut world = World::new().await;
    let changes: Vec<_> = (0..2000)
        .map(|n| create(&format!("FeatureFlag/flag_{n:04}"), flag(n % 101)))
        .collect();
    world.apply("a", &changes).await;
    let mut events = Vec::new();
    let mut path = "/lockstep/v1/audit".to_owned();
    loop {
        let page = world.get(&path).await;
        events.extend(page["events"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => path = format!("/lockstep/v1/audit?cursor={next}"),
            None => break,
        }
    }
    assert_eq!(events.len(), 2000);
    assert_eq!(events[0]["name"], "flag_0000");
    assert_eq!(events[1999]["name"], "flag_1999");
    assert_eq!(events[7]["actor"], "lockstep");
    assert_eq!(events[7]["changeset"], "a");
    assert_eq!(events[7]["before"], Value::Null);
    assert_eq!(events[7]["after"], flag(7));
    let world = world.restart().await;
    assert_eq!(world.digest().await, world.state.digest());
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_said_to_be_so() {
    let world = World::new().await;
    for (path, body) in [
        ("/lockstep/v1/changesets/a", json!({"fence": 1})),
        (
            "/lockstep/v1/changesets/a%20b",
            world.request(1, &[create("FeatureFlag/a", flag(1))]),
        ),
        (
            "/lockstep/v1/changesets/a",
            world.request(u64::MAX, &[create("FeatureFlag/a", flag(1))]),
        ),
    ] {
        let response = world.call(Method::PUT, path, Some(body)).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["code"], "malformed");
    }
    let url = format!("{}/lockstep/v1/changesets/a/commit", world.server.url());
    let form = world
        .client
        .post(url)
        .header("content-type", "text/plain")
        .body(r#"{"fence": 1}"#);
    assert_eq!(form.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
}

fn state() -> impl Strategy<Value = State> {
    proptest::collection::btree_map("[a-d]{1,3}", 0..3_u32, 0..40).prop_map(|names| {
        names
            .iter()
            .map(|(name, n)| {
                let id = id(&format!("FeatureFlag/{name}"));
                Arc::new(Item::new(id, Spec::from_value(&flag(*n)).unwrap()))
            })
            .collect()
    })
}

proptest! {
    /// What the system makes of a changeset is what the plan said it would be.
    #[test]
    fn steps_lead_where_the_plan_leads(a in state(), b in state()) {
        let steps: Vec<Step> = plan::diff(&a, &b, |_, _, _| Direction::Neutral)
            .into_iter()
            .map(|c| Step { op: c.op, id: c.id, item: c.after })
            .collect();
        prop_assert_eq!(advance(&a, &steps), b);
    }
}
