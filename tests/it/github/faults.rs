//! GitHub when it fails: each fault ends in a retry, or in words that say what to do, and nothing is lost.

use super::*;
use crate::hub::{Fault, What};
use crate::world::Ended;

/// A proposal is judged while something is wrong, and all of it is there once that is over.
async fn through(place: &Place, faults: Vec<Fault>) {
    let (number, head) = {
        for fault in faults {
            place.hub.fail(fault);
        }
        place.propose("sato", "more", 25).await
    };
    place.told(number, "10% → 25%").await;
    for context in ["lockstep/check", "lockstep/policy", "lockstep/plan"] {
        place.shown(&head, context, "success").await;
    }
    let comments = place.comments(number).await;
    assert_eq!(comments.len(), 1, "{comments:?}");
}

macro_rules! passes {
    ($($name:ident: $faults:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let Some(place) = Place::new(POLLED).await else {
                return;
            };
            let _server = place.run().await;
            through(&place, $faults).await;
            place.finish();
        }
    )*};
}

passes! {
    server_errors_are_tried_again: vec![
        Fault::new("GET", "/pulls?", What::Status(502, json!({"message": "Bad Gateway"}))).times(4),
        Fault::new("POST", "/statuses/", What::Status(500, json!({}))).times(2),
    ];
    a_secondary_limit_is_waited_for: vec![
        Fault::once("POST", "/statuses/", What::SecondaryLimit { retry_after: 1 }),
        Fault::once("POST", "/comments", What::SecondaryLimit { retry_after: 4 }),
    ];
    too_many_requests_are_waited_for: vec![
        Fault::once("GET", "/pulls", What::TooMany { retry_after: 4 }),
        Fault::once("POST", "/statuses/", What::TooMany { retry_after: 2 }),
    ];
    the_limit_of_the_hour_is_waited_for: vec![
        Fault::once("GET", "/pulls", What::PrimaryLimit { reset: 4 }),
    ];
    an_answer_that_breaks_off_is_asked_for_again: vec![
        Fault::new("GET", "/pulls", What::DropMidBody).times(2),
        Fault::new("GET", "/comments", What::DropMidBody).times(2),
        Fault::once("GET", "/reviews", What::DropMidBody),
    ];
    a_comment_whose_answer_was_lost_is_not_written_twice: vec![
        Fault::once("POST", "/comments", What::DoneAndLost),
    ];
    an_answer_that_comes_late_is_waited_for: vec![
        Fault::new("GET", "/pulls", What::Slow(Duration::from_secs(2))).times(2),
    ];
    a_clock_that_is_wrong_harms_nothing: vec![
        Fault::new("", REPO, What::WrongClock(7200)),
    ];
    a_conflict_is_looked_at_again: vec![
        Fault::new("POST", "/statuses/", What::Status(409, json!({"message": "Conflict"}))).times(2),
    ];
}

#[tokio::test]
async fn a_page_that_repeats_is_no_listing() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let _server = place.run().await;
    place
        .hub
        .fail(Fault::new("GET", "/pulls?", What::RepeatPage));
    let (number, head) = place.propose("sato", "more", 25).await;
    tokio::time::sleep(A_WHILE).await;
    // Not half a listing: nothing.
    assert!(place.statuses(&head).await.is_empty());
    let listed = Ended::of(&place.world.run(&["proposal", "list"]).await);
    assert_eq!(listed.code, Some(2), "{}", listed.out);
    assert!(
        listed.err.contains("not known to be whole"),
        "{}",
        listed.err
    );
    place.hub.heal();
    place.told(number, "10% → 25%").await;
    place.finish();
}

#[tokio::test]
async fn github_down_for_long_loses_nothing_and_stops_nothing() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let mut server = place.run().await;
    let (number, _) = place.approved("more", 25).await;
    // The last thing that it does is to merge.
    place
        .hub
        .fail(Fault::new("", "/statuses", What::Status(503, json!({}))));
    let merged = place.hub.merge("sato", number, "merge").await;
    place.has_rollout(25).await;
    eventually("the run is over", async || {
        (place.world.outcomes().await.len() == 2).then_some(())
    })
    .await;
    place.hub.down();
    // The systems are looked after all the same, from a new start too.
    server.process.kill();
    let medical = place.world.system("medical");
    let mut spec = medical.resources().await["FeatureFlag/ai_assistant"].clone();
    spec["rollout"] = json!(70);
    medical.edit("FeatureFlag/ai_assistant", spec).await;
    let again = place.start().await;
    eventually(
        "what drifted is put back while GitHub is down",
        async || (place.world.rollouts().await == [Some(25), Some(25)]).then_some(()),
    )
    .await;
    drop(again);
    let _server = place.start().await;
    place.hub.heal();
    place.shown(&merged, "lockstep/apply", "success").await;
    for system in ["medical", "voicedrive"] {
        place
            .shown(&merged, &format!("lockstep/apply/{system}"), "success")
            .await;
    }
    place.finish();
}

#[tokio::test]
async fn a_forge_that_does_not_answer_keeps_no_system_waiting() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let mut server = place.run().await;
    place.has_rollout(10).await;
    server.process.kill();
    let medical = place.world.system("medical");
    let mut spec = medical.resources().await["FeatureFlag/ai_assistant"].clone();
    spec["rollout"] = json!(70);
    medical.edit("FeatureFlag/ai_assistant", spec).await;
    let forever = What::Slow(Duration::from_secs(3600));
    place.hub.fail(Fault::new("", "/", forever));
    let mut server = place.start().await;
    place.has_rollout(10).await;
    // And it ends when it is told to.
    server.process.terminate();
    let ended = server.process.ended_within(Duration::from_secs(30)).await;
    assert!(ended.success(), "{ended}");
    place.hub.heal();
    place.finish();
}

#[tokio::test]
async fn a_repository_that_was_renamed_is_followed_and_said() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let server = place.run().await;
    place.hub.rename("settings").await;
    let head = place
        .hub
        .push(
            "sato",
            "acme/settings",
            "more",
            "More",
            &[("config/feature-flags.json", &flags(25))],
        )
        .await;
    let body = json!({"title": "More", "head": "more", "base": "main"});
    let pull = place
        .hub
        .done("sato", "POST", "/repos/acme/settings/pulls", Some(body))
        .await;
    assert!(pull["number"].is_u64());
    eventually("it is judged under its new name", async || {
        let path = format!("/repos/acme/settings/commits/{head}/status");
        let combined = place.hub.done("admin", "GET", &path, None).await;
        let statuses = combined["statuses"].as_array()?;
        statuses
            .iter()
            .any(|s| s["context"] == "lockstep/plan" && s["state"] == "success")
            .then_some(())
    })
    .await;
    assert!(place.log().contains("the repository has another name now"));
    drop(server);
    place.finish();
}

#[tokio::test]
async fn a_token_that_ends_is_said_and_a_new_one_catches_up() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let mut server = place.run().await;
    for path in ["/pulls?", "/git/ref/"] {
        let refused = What::Status(401, json!({"message": "Bad credentials"}));
        place.hub.fail(Fault::new("GET", path, refused));
    }
    let (number, head) = place.propose("sato", "more", 25).await;
    eventually("it says what is wrong", async || {
        place.log().contains("revoked").then_some(())
    })
    .await;
    assert!(place.statuses(&head).await.is_empty());
    place.hub.heal();
    place.told(number, "10% → 25%").await;
    server.process.kill();
    place.finish();
}

#[tokio::test]
async fn a_permission_that_is_taken_away_is_named() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let _server = place.run().await;
    place.hub.withhold("lockstep-bot", "statuses=write");
    let (number, head) = place.propose("sato", "more", 25).await;
    eventually("it says which", async || {
        place.log().contains("statuses=write").then_some(())
    })
    .await;
    place.hub.grant("lockstep-bot");
    place.told(number, "10% → 25%").await;
    place.shown(&head, "lockstep/plan", "success").await;
    place.finish();
}

#[tokio::test]
async fn a_context_that_is_full_keeps_no_other_from_being_shown() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let _server = place.run().await;
    let head = place
        .hub
        .push(
            "sato",
            "acme/config",
            "more",
            "More",
            &[("config/feature-flags.json", &flags(25))],
        )
        .await;
    for _ in 0..1000 {
        let body = json!({"state": "pending", "context": "lockstep/check", "description": "again"});
        place
            .hub
            .done(
                "tanaka",
                "POST",
                &format!("{REPO}/statuses/{head}"),
                Some(body),
            )
            .await;
    }
    let number = place.hub.open("sato", "more", "More").await;
    place.told(number, "10% → 25%").await;
    place.shown(&head, "lockstep/plan", "success").await;
    let refused = || {
        place
            .hub
            .requests()
            .iter()
            .filter(|r| r.status == 422)
            .count()
    };
    let before = refused();
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(refused(), before, "it is not asked again and again");
    place.finish();
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let ended = Ended::of(&place.world.run(&["proposal", "show", "77"]).await);
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains("#77"), "{}", ended.err);
    let settings = place.world.path("lockstep.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, text.replace("acme/config", "acme/nothing")).unwrap();
    std::fs::remove_dir_all(place.world.path("config.git")).unwrap();
    let ended = Ended::of(&place.world.run(&["proposal", "list"]).await);
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(
        ended.err.contains("`repository` under [github]"),
        "{}",
        ended.err
    );
    place.finish();
}
