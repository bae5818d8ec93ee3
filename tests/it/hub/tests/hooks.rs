//! Webhooks, the App, and Enterprise Server's prefix.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::HeaderMap;

use super::*;

type Heard = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

/// A receiver of webhooks, and what it has heard.
async fn receiver() -> (String, Heard) {
    let heard: Heard = Arc::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let hears = heard.clone();
    let router = axum::Router::new().route(
        "/hook",
        axum::routing::post(async move |headers: HeaderMap, body: Bytes| {
            hears.lock().unwrap().push((headers, body));
            "taken"
        }),
    );
    crate::world::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, heard)
}

#[test]
fn a_signature_is_githubs() {
    let signed = sign("It's a Secret to Everybody", b"Hello, World!");
    let documented = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert_eq!(signed, format!("sha256={documented}"));
}

#[tokio::test]
async fn an_example_is_delivered_as_github_does() {
    let Some(hub) = Hub::start().await else {
        return;
    };
    let (url, heard) = receiver().await;
    let mut payload = example("pull_request", "opened");
    payload["number"] = json!(7);
    let answered = hub.deliver("pull_request", &payload, "secret", &url).await;
    assert_eq!(answered, (200, "taken".to_owned()));
    let (headers, body) = heard.lock().unwrap()[0].clone();
    assert_eq!(headers["x-github-event"], "pull_request");
    assert_eq!(headers["x-hub-signature-256"], sign("secret", &body));
    assert_eq!(headers["content-type"], "application/json");
    assert!(
        headers["user-agent"]
            .to_str()
            .unwrap()
            .starts_with("GitHub-Hookshot/")
    );
    assert_eq!(headers["x-github-delivery"].len(), 36);
    for (event, action) in [
        ("merge_group", "checks_requested"),
        ("push", ""),
        ("ping", ""),
        ("issue_comment", "created"),
        ("pull_request_review", "submitted"),
        ("star", "created"),
    ] {
        assert!(example(event, action).is_object(), "{event}");
    }
    hub.finish();
}

#[tokio::test]
async fn a_registered_hook_hears_what_happens() {
    let Some(hub) = Hub::start().await else {
        return;
    };
    let (url, heard) = receiver().await;
    hub.seed(&[("a.json", "1\n")]).await;
    let events = [
        "push",
        "pull_request",
        "pull_request_review",
        "issue_comment",
    ];
    let body =
        json!({"config": {"url": url, "secret": "s", "content_type": "json"}, "events": events});
    hub.done("admin", "POST", &format!("{REPO}/hooks"), Some(body))
        .await;
    hub.app_hook(&url, "of-app");
    hub.push(
        "sato",
        "acme/config",
        "change",
        "Change",
        &[("a.json", "2\n")],
    )
    .await;
    let number = hub.open("sato", "change", "Change").await;
    let later = hub
        .push(
            "sato",
            "acme/config",
            "change",
            "More",
            &[("a.json", "3\n")],
        )
        .await;
    hub.approve("suzuki", number).await;
    let comments = format!("{REPO}/issues/{number}/comments");
    hub.done(
        "suzuki",
        "POST",
        &comments,
        Some(json!({"body": "/lockstep plan"})),
    )
    .await;
    let labels = format!("{REPO}/issues/{number}/labels");
    hub.done(
        "suzuki",
        "POST",
        &labels,
        Some(json!({"labels": ["urgent"]})),
    )
    .await;
    let merged = hub.merge("tanaka", number, "merge").await;
    let expected = [
        "push",
        "pull_request opened",
        "push",
        "pull_request synchronize",
        "pull_request_review submitted",
        "issue_comment created",
        "pull_request labeled",
        "push",
        "pull_request closed",
    ];
    let told = eventually("everything is delivered", async || {
        let heard = heard.lock().unwrap();
        let of_hook: Vec<(String, Value)> = heard
            .iter()
            .filter(|(headers, body)| {
                headers
                    .get("x-hub-signature-256")
                    .is_some_and(|s| *s == *sign("s", body))
            })
            .map(|(headers, body)| {
                let payload: Value = serde_json::from_slice(body).unwrap();
                let event = headers["x-github-event"].to_str().unwrap();
                let name = format!("{event} {}", payload["action"].as_str().unwrap_or_default());
                (name.trim().to_owned(), payload)
            })
            .collect();
        of_hook
            .iter()
            .any(|(name, _)| name == "pull_request closed")
            .then_some(of_hook)
    })
    .await;
    let names: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, expected);
    let of = |at: usize| &told[at].1;
    assert_eq!(of(3)["after"], json!(later));
    assert_eq!(of(7)["after"], json!(merged));
    assert_eq!(of(7)["pusher"]["name"], "tanaka");
    assert_eq!(of(8)["pull_request"]["merge_commit_sha"], json!(merged));
    assert_eq!(of(8)["pull_request"]["merged"], true);
    assert_eq!(of(5)["comment"]["user"]["login"], "suzuki");
    assert_eq!(
        of(5)["issue"]["pull_request"]["url"],
        of(1)["pull_request"]["url"]
    );
    assert_eq!(of(1)["number"], number);
    assert_eq!(of(1)["pull_request"]["changed_files"], 1);
    let to_app = eventually("the App hears it too", async || {
        let heard = heard.lock().unwrap();
        let mut of_app = heard.iter().filter(|(headers, body)| {
            headers["x-github-event"] == "push"
                && headers["x-hub-signature-256"] == *sign("of-app", body)
        });
        of_app
            .next()
            .map(|(_, body)| serde_json::from_slice::<Value>(body).unwrap())
    })
    .await;
    assert_eq!(to_app["installation"]["id"], INSTALLATION);
    let delivered = hub.deliveries();
    assert!(
        delivered
            .iter()
            .all(|one| one.url == url && one.status == Some(200) && one.id.len() == 36)
    );
    assert!(
        delivered
            .iter()
            .any(|one| one.event == "push" && one.action.is_none())
    );
    hub.finish();
}

/// A token that the App's key signs, by openssl: not by the code under test.
async fn jwt(hub: &Hub) -> String {
    let url_safe = |bytes: &[u8]| {
        let text = crate::hub::ask::in_base64(bytes);
        text.trim_end_matches('=')
            .replace('+', "-")
            .replace('/', "_")
    };
    let now = crate::hub::limits::now().as_second();
    let head = url_safe(br#"{"alg":"RS256","typ":"JWT"}"#);
    let claims = json!({"iat": now - 60, "exp": now + 500, "iss": APP.to_string()});
    let signed = format!("{head}.{}", url_safe(claims.to_string().as_bytes()));
    std::fs::write(hub.path("app.pem"), hub.app_key()).unwrap();
    std::fs::write(hub.path("signed"), &signed).unwrap();
    let output = tokio::process::Command::new("openssl")
        .args(["dgst", "-sha256", "-sign"])
        .arg(hub.path("app.pem"))
        .arg(hub.path("signed"))
        .output()
        .await
        .unwrap();
    assert!(output.status.success());
    format!("{signed}.{}", url_safe(&output.stdout))
}

#[tokio::test]
async fn the_app_gets_a_token_and_may_what_it_was_given() {
    let Some(hub) = Hub::start().await else {
        return;
    };
    let sha = hub.seed(&[("a.json", "1\n")]).await;
    let bearer = format!("Bearer {}", jwt(&hub).await);
    let with = [("authorization", bearer.as_str())];
    let app = ask(&hub, "GET", "/app", "", &with).await;
    assert_eq!((app.status, &app.body["slug"]), (200, &json!("lockstep")));
    let installed = ask(&hub, "GET", &format!("{REPO}/installation"), "", &with).await;
    assert_eq!(installed.body["id"], INSTALLATION);
    assert_eq!(ask(&hub, "GET", REPO, "", &with).await.status, 401);
    let path = format!("/app/installations/{INSTALLATION}/access_tokens");
    let given = ask(&hub, "POST", &path, "", &with).await;
    assert_eq!(given.status, 201);
    let token = format!("token {}", given.body["token"].as_str().unwrap());
    let with = [("authorization", token.as_str())];

    let run = json!({
        "name": "lockstep/check", "head_sha": sha, "status": "completed", "conclusion": "failure",
        "output": {"title": "t", "summary": "s", "annotations": [
            {"path": "a.json", "start_line": 1, "end_line": 1, "annotation_level": "failure", "message": "m"}]},
    });
    let path = format!("{REPO}/check-runs");
    let made = sent(&hub, "POST", &path, "", &with, Some(run.clone()))
        .await
        .unwrap();
    assert_eq!(made.status().as_u16(), 201);
    let made: Value = made.json().await.unwrap();
    assert_eq!(made["app"]["id"], APP);
    assert_eq!(made["output"]["annotations_count"], 1);
    assert_eq!(
        hub.api("sato", "POST", &path, Some(run.clone())).await.0,
        403
    );
    let runs = ask(
        &hub,
        "GET",
        &format!("{REPO}/commits/{sha}/check-runs"),
        "",
        &with,
    )
    .await;
    assert_eq!(runs.body["check_runs"][0]["app"]["slug"], "lockstep");
    assert_eq!(
        hub.requests().last().unwrap().login.as_deref(),
        Some("lockstep[bot]")
    );

    hub.withhold("lockstep[bot]", "checks");
    let refused = sent(&hub, "POST", &path, "", &with, Some(run))
        .await
        .unwrap();
    assert_eq!(refused.status().as_u16(), 403);
    let why: Value = refused.json().await.unwrap();
    assert_eq!(why["message"], "Resource not accessible by integration");
    hub.revoke("lockstep[bot]");
    assert_eq!(ask(&hub, "GET", REPO, "", &with).await.status, 401);
    hub.finish();
}

#[tokio::test]
async fn enterprise_server_has_a_prefix() {
    let Some(hub) = Hub::start().await else {
        return;
    };
    hub.seed(&[("a.json", "1\n")]).await;
    let shown = ask(&hub, "GET", &format!("/api/v3{REPO}"), "sato", &[]).await;
    assert_eq!(shown.body["url"], format!("{}{REPO}", hub.enterprise_url()));
    assert_eq!(
        shown.body["html_url"],
        format!("{}/acme/config", hub.api_url())
    );
    hub.finish();
}

#[tokio::test]
async fn a_comment_is_changed_by_either_method() {
    let Some(hub) = Hub::start().await else {
        return;
    };
    hub.seed(&[("a.json", "1\n")]).await;
    hub.push(
        "sato",
        "acme/config",
        "change",
        "Change",
        &[("a.json", "2\n")],
    )
    .await;
    let number = hub.open("sato", "change", "Change").await;
    let path = format!("{REPO}/issues/{number}/comments");
    let made = hub
        .done("lockstep-bot", "POST", &path, Some(json!({"body": "one"})))
        .await;
    let id = &made["id"];
    for (method, body) in [("PATCH", "two"), ("POST", "three")] {
        let path = format!("{REPO}/issues/comments/{id}");
        let changed = hub
            .done("lockstep-bot", method, &path, Some(json!({"body": body})))
            .await;
        assert_eq!(changed["body"], body);
    }
    let theirs = format!("{REPO}/issues/comments/{id}");
    let forged = Some(json!({"body": "forged"}));
    assert_eq!(hub.api("outsider", "PATCH", &theirs, forged).await.0, 403);
    let issue = hub
        .done("sato", "GET", &format!("{REPO}/issues/{number}"), None)
        .await;
    assert_eq!(issue["number"], number);
    assert!(issue["pull_request"]["url"].is_string());
    let long = json!({"body": "長".repeat(65_537)});
    assert_eq!(
        hub.api("lockstep-bot", "POST", &path, Some(long)).await.0,
        422
    );
    let labels = format!("{REPO}/issues/{number}/labels");
    let labelled = hub
        .done("sato", "POST", &labels, Some(json!({"labels": ["urgent"]})))
        .await;
    assert_eq!(labelled[0]["name"], "urgent");
    hub.finish();
}
