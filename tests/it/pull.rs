//! Systems that pull: the example clients, as they stand in `examples/`, against the built binary.

use std::time::Duration;

use serde_json::Value;

use crate::crash::applied;
use crate::world::proxy::Side;
use crate::world::{Settings, eventually, postgres, token};

mod idle;
mod pulling;

use idle::IdleProxy;
use pulling::{IMPATIENT, Pulling};

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_reaches_systems_that_pull_together_with_one_that_is_asked() {
    let Some(pulling) = Pulling::new().await else {
        return;
    };
    let _voicedrive = pulling.voicedrive();
    let mut kiosk = pulling.kiosk();
    pulling.all_at(10).await;
    let revision = pulling.merge(25);
    pulling.all_at(25).await;
    pulling.ends_with(&revision, "success").await;
    // What Lockstep wants of one, and that it has it.
    let (status, desired) = pulling.get("voicedrive/desired").await;
    assert_eq!(status, 200);
    assert_eq!(desired["revision"], revision.as_str());
    let tag = format!("\"{}\"", desired["digest"].as_str().unwrap());
    let url = format!("http://{}/pull/v1/voicedrive/desired", pulling.listens);
    let again = reqwest::Client::new().get(url).bearer_auth(token());
    let again = again.header("if-none-match", &tag).send().await.unwrap();
    assert_eq!(again.status().as_u16(), 304);
    let kept = pulling.kept("voicedrive");
    assert_eq!(kept["revision"], revision.as_str());
    assert_eq!(kept["staged"], serde_json::json!({}));

    // One of them away: nobody moves, and it is said whom the others wait for.
    kiosk.kill();
    let revision = pulling.merge(50);
    eventually("it is said that kiosk keeps the others", async || {
        let statuses = pulling.world.statuses(&revision);
        let (_, said) = statuses.get("lockstep/apply/kiosk")?;
        said.contains("not acknowledged").then_some(())
    })
    .await;
    assert_eq!(pulling.rollouts().await, [Some(25); 3]);
    let _kiosk = pulling.kiosk();
    pulling.all_at(50).await;
    pulling.ends_with(&revision, "success").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_killed_between_prepared_and_committed_commits_when_it_is_back() {
    let Some(pulling) = Pulling::new().await else {
        return;
    };
    let mut voicedrive = pulling.voicedrive();
    let mut kiosk = pulling.kiosk();
    pulling.all_at(10).await;
    let medical = &pulling.world.system("medical").proxy;
    medical.hold_at("/changesets", Side::Before);
    let revision = pulling.merge(25);
    medical.stopped().await;
    // Both have said that they are prepared: nothing waits for them any more.
    for (system, token) in [("voicedrive", token()), ("kiosk", "kiosk-token")] {
        eventually(&format!("{system} has prepared"), async || {
            let path = format!("{system}/changesets");
            let (_, waiting) = pulling.call(reqwest::Method::GET, &path, Some(token)).await;
            let staged = pulling.kept(system)["staged"].clone();
            let has_staged = staged.as_object().is_some_and(|s| !s.is_empty());
            (has_staged && waiting["changesets"] == serde_json::json!([])).then_some(())
        })
        .await;
    }
    voicedrive.kill();
    kiosk.kill();
    medical.release();
    eventually("the commit is decided", async || {
        (pulling.world.rollouts().await == [Some(25)]).then_some(())
    })
    .await;
    assert_eq!(pulling.rollouts().await, [Some(25), Some(10), Some(10)]);
    let _voicedrive = pulling.voicedrive();
    let _kiosk = pulling.kiosk();
    pulling.all_at(25).await;
    pulling.ends_with(&revision, "success").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_cuts_idle_connections_keeps_nothing_back() {
    let Some(pulling) = Pulling::new().await else {
        return;
    };
    let proxy = IdleProxy::start(pulling.listens, Duration::from_millis(400)).await;
    let _voicedrive = pulling.client("voicedrive", proxy.address, "token");
    let _kiosk = pulling.client("kiosk", proxy.address, "kiosk.token");
    pulling.all_at(10).await;
    eventually(
        "streams were cut, and taken up where they were",
        async || (proxy.cut() >= 4 && proxy.has_seen("last-event-id: ")).then_some(()),
    )
    .await;
    let revision = pulling.merge(25);
    pulling.all_at(25).await;
    pulling.ends_with(&revision, "success").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_says_that_it_is_there_and_goes_on_after_an_event() {
    let Some(pulling) = Pulling::new().await else {
        return;
    };
    let _voicedrive = pulling.voicedrive();
    let _kiosk = pulling.kiosk();
    pulling.all_at(10).await;
    let follow = async |after: Option<&str>, wanted: &str| {
        let url = format!("http://{}/pull/v1/voicedrive/events", pulling.listens);
        let mut request = reqwest::Client::new().get(url).bearer_auth(token());
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let mut answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        let mut text = String::new();
        let heard = async {
            while !text.contains(wanted) {
                let bytes = answer.chunk().await.unwrap().unwrap();
                text.push_str(&String::from_utf8_lossy(&bytes));
            }
        };
        tokio::time::timeout(crate::world::DEADLINE, heard)
            .await
            .unwrap();
        text
    };
    let silent = follow(None, ": still here").await;
    assert!(silent.contains("event: look"), "{silent}");
    let told = follow(Some("0"), "event: changed").await;
    let events: Vec<&str> = told.lines().filter(|l| l.starts_with("event: ")).collect();
    assert_eq!(
        events,
        ["event: prepare", "event: commit", "event: changed"]
    );
    let lost = follow(Some("1000000"), "event: look").await;
    assert!(!lost.contains("event: prepare"), "{lost}");
}

/// One group is driven by one replica; the clients come to both.
#[tokio::test(flavor = "multi_thread")]
async fn any_replica_serves_a_system_whichever_drives_it() {
    let Some(store) = postgres::database() else {
        return;
    };
    let Some(pulling) = Pulling::over(&store).await else {
        return;
    };
    let (_replica, other) = pulling.replica();
    let _voicedrive = pulling.voicedrive();
    let _kiosk = pulling.client("kiosk", other, "kiosk.token");
    pulling.all_at(10).await;
    let revision = pulling.merge(25);
    pulling.all_at(25).await;
    pulling.ends_with(&revision, "success").await;
}

/// The replica that drives the group is killed before the decision, and after it. Which one that is they settle among themselves.
#[tokio::test(flavor = "multi_thread")]
async fn another_replica_takes_a_run_of_systems_that_pull_over_in_the_middle() {
    for what in ["/changesets", "/commit"] {
        let Some(store) = postgres::database() else {
            return;
        };
        let settings = Settings {
            lease: "4s",
            ..IMPATIENT
        };
        let Some(mut pulling) = Pulling::with(&store, &settings).await else {
            return;
        };
        let (mut replica, other) = pulling.replica();
        let mut clients = pulling.clients(other);
        pulling.all_at(10).await;
        let medical = &pulling.world.system("medical").proxy;
        medical.hold_at(what, Side::Before);
        let revision = pulling.merge(25);
        medical.stopped().await;
        if what == "/changesets" {
            pulling.both_have_staged().await;
            assert_eq!(pulling.rollouts().await, [Some(10); 3]);
        }
        if pulling.driver().await == replica.id() {
            // What stands in front of both leads them to the one that is left.
            drop(clients);
            clients = pulling.clients(pulling.listens);
            replica.kill();
        } else {
            pulling.lockstep.kill();
        }
        pulling.world.system("medical").proxy.release();
        pulling.all_at(25).await;
        pulling.ends_with(&revision, "success").await;
        for system in ["voicedrive", "kiosk"] {
            let kept = pulling.kept(system);
            assert_eq!(kept["revision"], revision.as_str(), "{system}");
            assert_eq!(kept["staged"], serde_json::json!({}), "{system}");
        }
        let applied = applied(&pulling.world).await;
        assert_eq!(applied.len(), 2, "{applied:#?}");
        assert!(applied.values().all(|systems| systems.len() == 3));
        let audit = pulling.world.system("medical").changes().await;
        let changes = audit.iter().filter(|e| e["name"] == "ai_assistant");
        assert_eq!(changes.count(), 2, "{what}: {audit:#?}");
        drop(clients);
        pulling.world.ok(&["audit", "verify"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_opens_to_the_credential_of_its_own_system_alone() {
    let Some(pulling) = Pulling::new().await else {
        return;
    };
    std::fs::write(pulling.world.path("wrong.token"), "not-it\n").unwrap();
    let client = pulling.client("voicedrive", pulling.listens, "wrong.token");
    eventually("the client is told that its token is wrong", async || {
        client.output().contains("401").then_some(())
    })
    .await;
    let mut answers = Vec::new();
    for (path, token) in [
        ("voicedrive/changesets", None),
        ("voicedrive/changesets", Some("not-it")),
        ("voicedrive/events", Some("kiosk-token")),
        ("voicedrive/desired", Some("")),
        // One that is asked, and one that there is not.
        ("medical/desired", Some(token())),
        ("nobody/desired", Some(token())),
        ("../voicedrive/desired", Some("kiosk-token")),
    ] {
        let (status, body) = pulling.call(reqwest::Method::GET, path, token).await;
        answers.push(format!("{status} {}", body["code"]));
    }
    insta::assert_snapshot!(answers.join("\n"), @r#"
    401 "unauthorized"
    401 "unauthorized"
    401 "unauthorized"
    401 "unauthorized"
    401 "unauthorized"
    401 "unauthorized"
    404 null
    "#);
    // Who does not say who they are is not read.
    let (status, _) = pulling
        .call(reqwest::Method::PUT, "voicedrive/state", Some("not-it"))
        .await;
    assert_eq!(status, 401);
    let (status, document) = pulling
        .call(reqwest::Method::GET, "openapi.json", None)
        .await;
    assert_eq!((status, &document["openapi"]), (200, &Value::from("3.1.0")));
    eventually("the system that has not reported is named", async || {
        let (_, why) = pulling.world.standing("voicedrive").await;
        why.contains("has never reported").then_some(())
    })
    .await;
    assert!(!pulling.lockstep.output().contains("panicked"));
}
