//! Who Lockstep is on GitHub: a token or an App, and what either may do.

use super::*;
use crate::world::Ended;

const AS_APP: Setup = Setup {
    app: true,
    ..POLLED
};

#[tokio::test]
async fn an_app_fetches_its_tokens_and_shows_findings_at_their_lines() {
    let Some(place) = Place::new(AS_APP).await else {
        return;
    };
    let _server = place.run().await;
    // As many faults as take two requests.
    let flags: Vec<String> = (0..60)
        .map(|n| {
            format!(
                "\"flag_{n}\": {{\"enabled\": true, \"rollout\": 1000, \"teams\": [\"medical\"]}}"
            )
        })
        .collect();
    let text = format!("{{\n{}\n}}\n", flags.join(",\n"));
    let (number, head) = place
        .propose_files("sato", "wrong", &[("config/feature-flags.json", &text)])
        .await;
    place.shown(&head, "lockstep/check", "failure").await;
    let run = eventually("a check run shows the findings", async || {
        let path = format!("{REPO}/commits/{head}/check-runs");
        let runs = place.hub.done("admin", "GET", &path, None).await;
        let run = runs["check_runs"].as_array()?.first()?.clone();
        (run["output"]["annotations_count"].as_u64() >= Some(60)).then_some(run)
    })
    .await;
    assert_eq!(run["conclusion"], "failure");
    let comment = place.comments(number).await;
    assert_eq!(comment[0].0, "lockstep[bot]");

    // Its tokens end; it gets others.
    place.hub.revoke("lockstep[bot]");
    let right = place
        .hub
        .push(
            "sato",
            "acme/config",
            "wrong",
            "Right",
            &[("config/feature-flags.json", &super::flags(25))],
        )
        .await;
    place.shown(&right, "lockstep/plan", "success").await;
    let tokens = |r: &&crate::hub::Asked| r.path.ends_with("/access_tokens");
    assert!(place.hub.requests().iter().filter(tokens).count() >= 2);
    place.finish();
}

#[tokio::test]
async fn a_permission_that_is_missing_is_named_at_the_start() {
    let Some(place) = Place::new(AS_APP).await else {
        return;
    };
    place.hub.withhold("lockstep[bot]", "statuses=write");
    let ended = Ended::of(&place.world.run(&["run"]).await);
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains("statuses: write"), "{}", ended.err);
    place.finish();
}

#[tokio::test]
async fn a_token_that_may_only_read_is_said_at_the_start() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    std::fs::write(
        place.world.path("github-token"),
        place.hub.token("outsider"),
    )
    .unwrap();
    let ended = Ended::of(&place.world.run(&["run"]).await);
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains("[github]"), "{}", ended.err);
    std::fs::write(place.world.path("github-token"), "no-such-token").unwrap();
    let ended = Ended::of(&place.world.run(&["run"]).await);
    assert_eq!(ended.code, Some(2), "{}", ended.err);
    assert!(ended.err.contains("revoked"), "{}", ended.err);
    assert!(!ended.err.contains("no-such-token"), "{}", ended.err);
    place.finish();
}

#[tokio::test]
async fn an_enterprise_server_is_as_good() {
    const ENTERPRISE: Setup = Setup {
        enterprise: true,
        ..POLLED
    };
    let Some(place) = Place::new(ENTERPRISE).await else {
        return;
    };
    let _server = place.run().await;
    let (number, head) = place.propose("sato", "more", 25).await;
    place.told(number, "10% → 25%").await;
    place.hub.approve("suzuki", number).await;
    place.shown(&head, "lockstep/approval", "success").await;
    place.finish();
}
