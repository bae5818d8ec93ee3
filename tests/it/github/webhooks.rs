//! Deliveries: believed only when signed, acted on once, and never needed.

use super::*;
use crate::hub::{example, sign};

#[tokio::test]
async fn a_delivery_makes_it_sooner() {
    let Some(place) = Place::new(DELIVERED).await else {
        return;
    };
    let server = place.run().await;
    place.subscribe(&server).await;
    let (number, head) = place.propose("sato", "more", 25).await;
    place.told(number, "10% → 25%").await;
    place.hub.approve("suzuki", number).await;
    place.shown(&head, "lockstep/approval", "success").await;
    let merged = place.hub.merge("sato", number, "merge").await;
    place.shown(&merged, "lockstep/apply", "success").await;
    place.say("tanaka", number, "/lockstep help").await;
    place.finish();
}

/// Deliveries and pages go to one replica, and the other does what follows.
#[tokio::test]
async fn a_delivery_may_come_to_any_replica() {
    let Some(url) = crate::world::postgres::database() else {
        return;
    };
    let Some(place) = Place::new(DELIVERED).await else {
        return;
    };
    place.store_on(&url);
    // The first has all duties.
    let first = place.run().await;
    let second = place.start_with("second.git").await;
    place.subscribe(&second).await;
    let (number, head) = place.propose("sato", "more", 25).await;
    place.told(number, "10% → 25%").await;
    place.hub.approve("suzuki", number).await;
    place.shown(&head, "lockstep/approval", "success").await;
    place.say("tanaka", number, "/lockstep help").await;
    place.told(number, "### Commands").await;
    let merged = place.hub.merge("sato", number, "merge").await;
    place.shown(&merged, "lockstep/apply", "success").await;
    for server in [&first, &second] {
        for page in [
            format!("/proposals/{number}"),
            format!("/revisions/{merged}"),
        ] {
            let url = format!("{}{page}", server.hook.trim_end_matches("/hooks/github"));
            let answer = reqwest::get(&url).await.unwrap();
            assert!(answer.status().is_success(), "{page}: {}", answer.status());
        }
    }
    place.finish();
}

#[tokio::test]
async fn what_was_not_delivered_is_seen_at_the_next_poll() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    // Nobody delivers anything.
    let _server = place.run().await;
    let (number, head) = place.propose("sato", "more", 25).await;
    place.told(number, "10% → 25%").await;
    place.hub.approve("suzuki", number).await;
    place.shown(&head, "lockstep/approval", "success").await;
    assert!(place.hub.deliveries().is_empty());
    place.finish();
}

#[tokio::test]
async fn only_what_is_signed_is_taken_and_that_once() {
    let Some(place) = Place::new(DELIVERED).await else {
        return;
    };
    let server = place.run().await;
    let (hub, hook) = (&place.hub, &server.hook);
    let opened = example("pull_request", "opened");
    for secret in ["", "another secret"] {
        let (status, _) = hub.deliver("pull_request", &opened, secret, hook).await;
        assert_eq!(status, 401);
    }
    hub.forget_requests();
    tokio::time::sleep(A_WHILE).await;
    assert!(hub.requests().is_empty(), "{:?}", hub.requests());

    let id = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
    let (status, said) = hub
        .deliver_as(id, "pull_request", &opened, SECRET, hook)
        .await;
    assert_eq!((status, said.trim()), (202, "taken"));
    let pulls = |hub: &Hub| {
        hub.requests()
            .iter()
            .filter(|r| r.path.ends_with("/pulls"))
            .count()
    };
    eventually("it looks", async || (pulls(hub) == 1).then_some(())).await;
    let (status, said) = hub
        .deliver_as(id, "pull_request", &opened, SECRET, hook)
        .await;
    assert_eq!((status, said.trim()), (202, "known already"));
    // What it does not know it accepts, and does nothing.
    for (event, payload) in [
        ("star", json!({"action": "created"})),
        ("no_such_event", json!([])),
        ("ping", json!({"zen": "…"})),
    ] {
        let (status, _) = hub.deliver(event, &payload, SECRET, hook).await;
        assert_eq!(status, 202, "{event}");
    }
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(pulls(hub), 1);
    place.finish();
}

#[tokio::test]
async fn deliveries_that_are_no_good_are_refused_and_harm_nothing() {
    let Some(place) = Place::new(DELIVERED).await else {
        return;
    };
    let server = place.run().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let send = async |body: Vec<u8>, signed: bool, more: &[(&str, &str)]| {
        let mut asked = client
            .post(&server.hook)
            .header("content-type", "application/json");
        if signed {
            asked = asked.header("x-hub-signature-256", sign(SECRET, &body));
        }
        for (name, value) in more {
            asked = asked.header(*name, *value);
        }
        asked
            .body(body)
            .send()
            .await
            .map(|answer| answer.status().as_u16())
    };
    assert_eq!(send(b"{}".to_vec(), true, &[]).await.unwrap(), 400);
    let known = [("x-github-event", "push"), ("x-github-delivery", "1")];
    assert_eq!(send(b"{}".to_vec(), false, &known).await.unwrap(), 401);
    // Signed by GitHub and still no JSON: looked at, not trusted.
    assert_eq!(
        send(b"\xff\xfe{".to_vec(), true, &known).await.unwrap(),
        202
    );
    let long = "x".repeat(65);
    let id = [
        ("x-github-event", "push"),
        ("x-github-delivery", long.as_str()),
    ];
    assert_eq!(send(b"{}".to_vec(), true, &id).await.unwrap(), 400);
    // The limit is GitHub's own, 25 MB; the connection may end before the answer is read.
    if let Ok(status) = send(vec![b' '; (25 << 20) + 1], true, &known).await {
        assert_eq!(status, 413);
    }
    assert_eq!(
        client
            .get(&server.hook)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16(),
        405
    );
    let (number, _) = place.propose("sato", "more", 25).await;
    let opened = example("pull_request", "opened");
    assert_eq!(
        place
            .hub
            .deliver("pull_request", &opened, SECRET, &server.hook)
            .await
            .0,
        202
    );
    place.told(number, "10% → 25%").await;
    place.finish();
}

#[tokio::test]
async fn the_pages_that_statuses_link_to_are_there() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let server = place.run().await;
    let (number, head) = place.propose("sato", "more", 25).await;
    place.told(number, "10% → 25%").await;
    let path = format!("{REPO}/commits/{head}/status");
    let combined = place.hub.done("admin", "GET", &path, None).await;
    let link = combined["statuses"][0]["target_url"].as_str().unwrap();
    assert_eq!(
        link,
        format!("https://lockstep.example.jp/revisions/{head}")
    );
    let base = server.hook.trim_end_matches("/hooks/github");
    let page = async |path: &str| {
        let answer = reqwest::get(format!("{base}{path}")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, text) = page(&format!("/revisions/{head}")).await;
    assert!(
        status == 200 && text.contains("10% → 25%"),
        "{status} {text}"
    );
    let (status, text) = page(&format!("/proposals/{number}")).await;
    assert!(
        status == 200 && text.contains("10% → 25%"),
        "{status} {text}"
    );
    let main = place.main().await;
    let (status, text) = page(&format!("/revisions/{main}")).await;
    assert!(
        status == 200 && text.contains("hospital"),
        "{status} {text}"
    );
    assert_eq!(page("/revisions/nothing").await.0, 404);
    assert_eq!(page("/healthz").await.0, 200);
    place.finish();
}
