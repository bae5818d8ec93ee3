//! What people say to Lockstep in comments.

use super::*;

#[tokio::test]
async fn a_proposal_is_held_and_let_go_by_people_and_by_nobody_else() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let _server = place.run().await;
    let (number, head) = place.approved("more", 25).await;

    place.say("outsider", number, "/lockstep hold").await;
    place.heard(number, 1).await;
    place.shown(&head, "lockstep/approval", "success").await;

    place
        .say("tanaka", number, "/lockstep hold\n\nNot before Monday.")
        .await;
    let said = place.shown(&head, "lockstep/approval", "failure").await;
    assert_eq!(said, "held by tanaka; /lockstep retry lets it go on");
    place.say("outsider", number, "/lockstep retry").await;
    place.heard(number, 3).await;
    place.shown(&head, "lockstep/approval", "failure").await;
    place.say("suzuki", number, "/lockstep retry").await;
    place.shown(&head, "lockstep/approval", "success").await;

    place
        .say("suzuki", number, "/lockstep plan --repo /etc")
        .await;
    let comment = place.told(number, "there is no such command").await;
    assert!(comment.contains("releases a held plan"), "{comment}");
    place.say("suzuki", number, "I'd say /lockstep hold").await;
    place.say("suzuki", number, "/lockstep plan").await;
    place.told(number, "judged again").await;
    place.shown(&head, "lockstep/approval", "success").await;
    // All answers are in the one comment.
    let comments = place.comments(number).await;
    let ours = comments
        .iter()
        .filter(|(login, _)| login == "lockstep-bot")
        .count();
    assert_eq!(ours, 1, "{comments:?}");
    // Who has no business here is not answered.
    let all = place.told(number, "Lockstep").await;
    assert!(!all.contains("outsider"), "{all}");
    place.finish();
}

#[tokio::test]
async fn a_comment_that_was_edited_is_not_followed() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let _server = place.run().await;
    let (number, head) = place.propose("sato", "more", 25).await;
    place.told(number, "10% → 25%").await;
    place.say("tanaka", number, "looks fine").await;
    let path = format!("{REPO}/issues/{number}/comments");
    let comments = place.hub.done("admin", "GET", &path, None).await;
    let id = comments
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["user"]["login"] == "tanaka")
        .unwrap()["id"]
        .clone();
    // GitHub's times are whole seconds.
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let path = format!("{REPO}/issues/comments/{id}");
    let body = json!({"body": "/lockstep hold"});
    place.hub.done("admin", "PATCH", &path, Some(body)).await;
    place
        .told(number, "a comment that was edited is not followed")
        .await;
    let (state, said) = place.statuses(&head).await["lockstep/approval"].clone();
    assert_eq!(state, "pending", "{said}");
    place.finish();
}

#[tokio::test]
async fn a_held_plan_is_accepted_by_its_digest_by_who_may() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let _server = place.run().await;
    // Some to none: held, whatever the ceilings are.
    let (number, head) = place
        .propose_files("sato", "none", &[("config/feature-flags.json", "{}\n")])
        .await;
    place.hub.approve("suzuki", number).await;
    place.shown(&head, "lockstep/approval", "success").await;
    let merged = place.hub.merge("sato", number, "merge").await;
    let said = place.shown(&merged, "lockstep/apply", "failure").await;
    assert!(said.contains("held"), "{said}");
    let store = place.world.store().await;
    let digest = eventually("the plan is held", async || {
        let runs = store
            .recent_runs(
                &"hospital".parse().unwrap(),
                lockstep::store::Reach::Whole,
                1,
            )
            .await
            .ok()?;
        Some(runs.first()?.outcome.as_ref()?["plan"].as_str()?.to_owned())
    })
    .await;
    place
        .say("sato", number, &format!("/lockstep accept {digest}"))
        .await;
    eventually("sato may not", async || {
        let comments = place.comments(number).await;
        comments
            .iter()
            .any(|(_, body)| body.contains("@sato") && body.contains("role"))
            .then_some(())
    })
    .await;
    assert_eq!(place.world.rollouts().await, [Some(10), Some(10)]);
    place
        .say(
            "tanaka",
            number,
            &format!("/lockstep accept {}", &digest[..12]),
        )
        .await;
    place.shown(&merged, "lockstep/apply", "success").await;
    assert_eq!(place.world.rollouts().await, [None, None]);
    place.finish();
}

#[tokio::test]
async fn a_command_is_carried_out_once_whatever_is_restarted() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let mut server = place.run().await;
    let (number, head) = place.propose("sato", "more", 25).await;
    place.say("tanaka", number, "/lockstep hold").await;
    place.shown(&head, "lockstep/approval", "failure").await;
    place.say("tanaka", number, "/lockstep retry").await;
    place.shown(&head, "lockstep/approval", "pending").await;
    server.process.kill();
    let _server = place.run().await;
    place.hub.approve("suzuki", number).await;
    place.shown(&head, "lockstep/approval", "success").await;
    let held = place.world.entries("proposal.held").await;
    assert_eq!(held.len(), 1, "{held:?}");
    place.finish();
}
