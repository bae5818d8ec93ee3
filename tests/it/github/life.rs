//! A proposal's whole life on GitHub.

use super::*;

const GATE: [&str; 4] = [
    "lockstep/check",
    "lockstep/policy",
    "lockstep/plan",
    "lockstep/approval",
];

#[tokio::test]
async fn a_pull_request_is_judged_approved_merged_and_applied() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let _server = place.run().await;
    place.has_rollout(10).await;
    let (number, head) = place.propose("sato", "more", 25).await;

    for context in &GATE[..3] {
        place.shown(&head, context, "success").await;
    }
    let missing = eventually("who is needed is said", async || {
        let said = place.statuses(&head).await["lockstep/approval"].1.clone();
        said.contains("approver").then_some(said)
    })
    .await;
    assert_eq!(
        missing,
        "0 of 1 from approver: every change has a second pair of eyes"
    );
    let history = place.history(&head).await;
    for context in GATE {
        let first = history.iter().find(|(c, _)| c == context).unwrap();
        assert_eq!(first.1, "pending", "{context} in {history:?}");
    }
    let comment = place.told(number, "10% → 25%").await;
    assert!(
        comment.contains("every change has a second pair of eyes"),
        "{comment}"
    );

    place.hub.approve("suzuki", number).await;
    place.shown(&head, "lockstep/approval", "success").await;
    assert_eq!(place.world.rollouts().await, [Some(10), Some(10)]);
    let merged = place.hub.merge("sato", number, "merge").await;
    let said = place.shown(&merged, "lockstep/apply", "success").await;
    assert!(said.contains("2 systems are in step"), "{said}");
    for system in ["medical", "voicedrive"] {
        place
            .shown(&merged, &format!("lockstep/apply/{system}"), "success")
            .await;
    }
    place.has_rollout(25).await;
    let history = place.history(&merged).await;
    for context in [
        "lockstep/apply",
        "lockstep/apply/medical",
        "lockstep/apply/voicedrive",
    ] {
        let first = history.iter().find(|(c, _)| c == context).unwrap();
        assert_eq!(first.1, "pending", "{context} in {history:?}");
    }
    // One comment, however often it changed.
    let ours = place.comments(number).await;
    assert_eq!(ours.len(), 1, "{ours:?}");
    assert_eq!(ours[0].0, "lockstep-bot");
    place.finish();
}

#[tokio::test]
async fn the_whole_life_of_a_proposal_takes_few_requests() {
    let Some(place) = Place::new(DELIVERED).await else {
        return;
    };
    let server = place.run().await;
    place.subscribe(&server).await;
    // What it asks at its start is asked.
    tokio::time::sleep(A_WHILE).await;
    place.hub.forget_requests();

    let (number, head) = place.propose("sato", "more", 25).await;
    place.told(number, "10% → 25%").await;
    place.hub.approve("suzuki", number).await;
    place.shown(&head, "lockstep/approval", "success").await;
    place.told(number, "✅ Lockstep").await;
    let merged = place.hub.merge("sato", number, "merge").await;
    place.shown(&merged, "lockstep/apply", "success").await;
    place.has_rollout(25).await;
    tokio::time::sleep(A_WHILE).await;

    let requests = place.hub.requests();
    let asked: Vec<String> = requests
        .iter()
        .map(|r| format!("{} {} {} {}", r.method, r.path, r.query, r.status))
        .collect();
    let counted = requests.iter().filter(|r| !r.not_modified).count();
    println!(
        "{counted} requests, and {} that changed nothing",
        requests.len() - counted
    );
    // One of them asks what became of the proposal, once it is not open any more: for the ledger. A slow machine shows more states in between.
    assert!(counted <= 30, "{counted}: {asked:#?}");
    place.finish();
}

#[tokio::test]
async fn what_does_not_concern_lockstep_is_a_success_and_not_silence() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let _server = place.run().await;
    let (number, head) = place
        .propose_files("sato", "prose", &[("docs/how.md", "How we do it.\n")])
        .await;
    let said = place.shown(&head, "lockstep/plan", "success").await;
    assert_eq!(said, "nothing here concerns Lockstep");
    for context in GATE {
        place.shown(&head, context, "success").await;
    }
    place.told(number, "nothing here concerns Lockstep").await;
    place.finish();
}

#[tokio::test]
async fn a_proposal_that_is_wrong_says_where() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let _server = place.run().await;
    let wrong = FLAGS.replace("\"rollout\": 10", "\"rollout\": 1000");
    let (number, head) = place
        .propose_files("sato", "wrong", &[("config/feature-flags.json", &wrong)])
        .await;
    let said = place.shown(&head, "lockstep/check", "failure").await;
    assert!(said.contains("config/feature-flags.json:3"), "{said}");
    let comment = place.told(number, "feature-flags.json").await;
    assert!(comment.contains("❌"), "{comment}");
    place.finish();
}

#[tokio::test]
async fn a_new_server_finds_its_comment_and_its_statuses() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let mut server = place.run().await;
    let (number, head) = place.propose("sato", "more", 25).await;
    place.told(number, "10% → 25%").await;
    let before = place.history(&head).await;
    // Somebody writes the marker too.
    place
        .say(
            "outsider",
            number,
            "<!-- lockstep --> all is well, merge it",
        )
        .await;
    server.process.kill();
    let _server = place.run().await;
    place.hub.approve("suzuki", number).await;
    place.shown(&head, "lockstep/approval", "success").await;
    place.told(number, "✅ Lockstep").await;
    let comments = place.comments(number).await;
    let of = |who: &str| comments.iter().filter(|(login, _)| login == who).count();
    assert_eq!((of("lockstep-bot"), of("outsider")), (1, 1), "{comments:?}");
    let after = place.history(&head).await;
    assert_eq!(after.len(), before.len() + 1, "{after:?}");
    place.finish();
}

#[tokio::test]
async fn an_approval_survives_a_push_that_changes_no_plan_and_not_one_that_adds_to_it() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let _server = place.run().await;
    let (number, _) = place.approved("more", 25).await;
    let comment = format!("// only a remark\n{}", flags(25));
    let same = place
        .hub
        .push(
            "sato",
            "acme/config",
            "more",
            "A remark",
            &[("config/feature-flags.json", &comment)],
        )
        .await;
    place.shown(&same, "lockstep/approval", "success").await;
    let more = place
        .hub
        .push(
            "sato",
            "acme/config",
            "more",
            "More",
            &[("config/feature-flags.json", &flags(30))],
        )
        .await;
    place.shown(&more, "lockstep/plan", "success").await;
    let said = eventually("the approval does not count any more", async || {
        let said = place
            .statuses(&more)
            .await
            .get("lockstep/approval")?
            .1
            .clone();
        said.contains("0 of 1").then_some(said)
    })
    .await;
    assert!(said.contains("approver"), "{said}");
    place
        .told(number, "a later push added to what was approved")
        .await;
    place.finish();
}
