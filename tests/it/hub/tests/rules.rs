//! What GitHub allows and refuses.

use super::*;

#[tokio::test]
async fn statuses_have_githubs_limits() {
    let Some(hub) = Hub::start().await else {
        return;
    };
    let sha = hub.seed(&[("a.json", "{}\n")]).await;
    assert_eq!(
        status(&hub, &"0".repeat(40), "gate", "success").await.0,
        422
    );
    let long = json!({"state": "success", "description": "長".repeat(141)});
    let path = format!("{REPO}/statuses/{sha}");
    let (refused, why) = hub.api("sato", "POST", &path, Some(long)).await;
    assert_eq!(refused, 422);
    assert!(
        why.to_string().contains("maximum is 140 characters"),
        "{why}"
    );
    let fits = json!({"state": "success", "context": "long", "description": "長".repeat(140)});
    assert_eq!(hub.api("sato", "POST", &path, Some(fits)).await.0, 201);

    assert_eq!(status(&hub, &sha, "Gate", "pending").await.0, 201);
    assert_eq!(status(&hub, &sha, "gate", "failure").await.0, 201);
    let shown = hub
        .done("sato", "GET", &format!("{REPO}/commits/main/status"), None)
        .await;
    assert_eq!(
        (&shown["state"], &shown["total_count"]),
        (&json!("failure"), &json!(2))
    );
    assert_eq!(shown["sha"], json!(sha));

    for _ in 2..1000 {
        assert_eq!(status(&hub, &sha, "GATE", "success").await.0, 201);
    }
    let (refused, why) = status(&hub, &sha, "gate", "success").await;
    assert_eq!(refused, 422);
    let said = "This SHA and context has reached the maximum number of statuses.";
    assert_eq!(why["errors"][0]["message"], said);
    assert_eq!(status(&hub, &sha, "another", "success").await.0, 201);

    let path = format!("{REPO}/commits/{sha}/statuses?per_page=100&page=2");
    let page = ask(&hub, "GET", &path, "sato", &[]).await;
    assert_eq!(page.body.as_array().map(Vec::len), Some(100));
    let link = page.header("link").to_owned();
    assert!(
        link.contains(&format!(
            "{}{REPO}/commits/{sha}/statuses?page=3&per_page=100>; rel=\"next\"",
            hub.api_url()
        )),
        "{link}"
    );
    let newest = hub
        .done(
            "sato",
            "GET",
            &format!("{REPO}/commits/{sha}/statuses"),
            None,
        )
        .await;
    assert_eq!(newest[0]["context"], "another");
    assert_eq!(newest[0]["creator"]["login"], "lockstep-bot");
    hub.finish();
}

#[tokio::test]
async fn what_has_not_changed_costs_nothing() {
    let Some(hub) = Hub::start().await else {
        return;
    };
    let sha = hub.seed(&[("a.json", "{}\n")]).await;
    let path = format!("{REPO}/commits/{sha}/statuses");
    let first = ask(&hub, "GET", &path, "sato", &[]).await;
    let tag = first.header("etag").to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    let again = ask(&hub, "GET", &path, "sato", &[("if-none-match", &tag)]).await;
    assert_eq!(again.status, 304);
    assert_eq!(
        again.header("x-ratelimit-used"),
        first.header("x-ratelimit-used")
    );
    let other = ask(&hub, "GET", &path, "suzuki", &[("if-none-match", &tag)]).await;
    assert_eq!(other.status, 200);
    status(&hub, &sha, "gate", "success").await;
    let changed = ask(&hub, "GET", &path, "sato", &[("if-none-match", &tag)]).await;
    assert_eq!(changed.status, 200);
    let asked = hub.requests();
    assert_eq!(asked.iter().filter(|asked| asked.not_modified).count(), 1);
    assert_eq!(asked[0].login.as_deref(), Some("sato"));
    assert_eq!((asked[0].method.as_str(), &asked[0].path), ("GET", &path));
    hub.forget_requests();
    assert!(hub.requests().is_empty());

    hub.leave("sato", 1);
    assert_eq!(ask(&hub, "GET", &path, "sato", &[]).await.status, 200);
    let refused = ask(&hub, "GET", &path, "sato", &[]).await;
    assert_eq!(
        (refused.status, refused.header("x-ratelimit-remaining")),
        (403, "0")
    );
    let shown = ask(&hub, "GET", "/rate_limit", "sato", &[]).await;
    assert_eq!(shown.body["rate"]["remaining"], 0);
    hub.finish();
}

#[tokio::test]
async fn who_asks_and_what_they_may() {
    let Some(hub) = Hub::start().await else {
        return;
    };
    let sha = hub.seed(&[("a.json", "{}\n")]).await;
    let nobody = ask(&hub, "GET", REPO, "", &[]).await;
    assert_eq!(nobody.status, 401);
    let stranger = [("authorization", "Bearer github_pat_unknown")];
    let stranger = ask(&hub, "GET", REPO, "", &stranger).await;
    assert_eq!(
        (stranger.status, &stranger.body["message"]),
        (401, &json!("Bad credentials"))
    );
    let silent = reqwest::Client::new().get(format!("{}{REPO}", hub.api_url()));
    let silent = silent.bearer_auth(hub.token("sato")).send().await.unwrap();
    assert_eq!(silent.status().as_u16(), 403);

    hub.withhold("lockstep-bot", "statuses=write");
    let body = json!({"state": "success"});
    let path = format!("{REPO}/statuses/{sha}");
    let refused = sent(&hub, "POST", &path, "lockstep-bot", &[], Some(body.clone()))
        .await
        .unwrap();
    assert_eq!(refused.status().as_u16(), 403);
    assert_eq!(
        refused.headers()["x-accepted-github-permissions"],
        "statuses=write"
    );
    let why: Value = refused.json().await.unwrap();
    assert_eq!(
        why["message"],
        "Resource not accessible by personal access token"
    );
    let read = format!("{REPO}/commits/{sha}/statuses");
    assert_eq!(
        ask(&hub, "GET", &read, "lockstep-bot", &[]).await.status,
        200
    );
    hub.grant("lockstep-bot");
    assert_eq!(
        hub.api("lockstep-bot", "POST", &path, Some(body.clone()))
            .await
            .0,
        201
    );
    assert_eq!(
        hub.api("outsider", "POST", &path, Some(body.clone()))
            .await
            .0,
        403
    );

    hub.classic("suzuki", &["read:org"]);
    let classic = ask(&hub, "GET", REPO, "suzuki", &[]).await;
    assert_eq!(classic.header("x-oauth-scopes"), "read:org");
    assert_eq!(hub.api("suzuki", "POST", &path, Some(body)).await.0, 404);
    hub.revoke("tanaka");
    assert_eq!(ask(&hub, "GET", REPO, "tanaka", &[]).await.status, 401);

    for (login, role) in [("admin", "admin"), ("sato", "write"), ("outsider", "read")] {
        let path = format!("{REPO}/collaborators/{login}/permission");
        let shown = hub.done("sato", "GET", &path, None).await;
        assert_eq!(shown["permission"], role, "{login}");
        assert_eq!(shown["user"]["login"], login);
    }
    hub.finish();
}

#[tokio::test]
#[should_panic(expected = "requests that GitHub would not take")]
async fn a_bad_request_fails_the_test() {
    let Some(hub) = Hub::start().await else {
        panic!("requests that GitHub would not take: left out");
    };
    hub.api("sato", "GET", &format!("{REPO}/statuses"), None)
        .await;
    hub.finish();
}

#[tokio::test]
async fn a_request_is_checked_in_all_its_parts() {
    let Some(hub) = Hub::start().await else {
        return;
    };
    let sha = hub.seed(&[("a.json", "{}\n")]).await;
    let statuses = format!("{REPO}/statuses/{sha}");
    let cases = [
        (
            "POST",
            statuses.as_str(),
            Some(json!({"state": "ok"})),
            "\"ok\" is not one of",
        ),
        (
            "POST",
            &statuses,
            Some(json!({"description": "x"})),
            "\"state\" is a required property",
        ),
        (
            "POST",
            &statuses,
            Some(json!({"state": "success", "contxt": "x"})),
            "no property `contxt`",
        ),
        ("POST", &statuses, None, "the body is missing"),
        (
            "GET",
            "/repos/acme/config/pulls?stat=open",
            None,
            "no query parameter `stat`",
        ),
        (
            "GET",
            "/repos/acme/config/pulls?state=opened",
            None,
            "the parameter `state`",
        ),
        (
            "GET",
            "/repos/acme/config/pulls/one",
            None,
            "the parameter `pull_number`",
        ),
        (
            "GET",
            "/repos/acme/config/statuses",
            None,
            "no such request",
        ),
        (
            "DELETE",
            "/repos/acme/config/pulls/1",
            None,
            "no such request",
        ),
    ];
    for (method, path, body, wrong) in cases {
        let (refused, _) = hub.api("sato", method, path, body).await;
        let violations = hub.take_violations();
        assert_eq!(refused, 422, "{method} {path}");
        assert!(
            violations.len() == 1 && violations[0].contains(wrong),
            "{violations:?}"
        );
    }
    // What may be null may be null.
    let null = json!({"state": "success", "target_url": null, "description": null});
    assert_eq!(hub.api("sato", "POST", &statuses, Some(null)).await.0, 201);
    hub.finish();
}
