//! Reading: state, digests, conditions, audit; who may.

use secrecy::SecretString;

use super::*;

fn notice(n: u32) -> (Value, Step) {
    create(
        &format!("Notice/alerts/お知らせ-{n}"),
        json!({ "title": n }),
    )
}

#[tokio::test]
async fn the_state_is_tagged_with_its_digest() {
    let mut world = World::new().await;
    world.apply("a", &[notice(1), notice(2)]).await;
    let tag = format!("\"{}\"", world.state.digest());
    for path in [
        "/lockstep/v1/state",
        "/lockstep/v1/state?bucket=3f",
        "/lockstep/v1/state/digests",
    ] {
        let response = world.call(Method::GET, path, None).await;
        assert_eq!(response.headers()["etag"], tag.as_str(), "{path}");
        for (sent, status) in [
            (tag.as_str(), 304),
            (&format!("\"x\", W/{tag}"), 304),
            ("\"x\"", 200),
        ] {
            let response = world
                .client
                .get(format!("{}{path}", world.server.url()))
                .header("if-none-match", sent)
                .send()
                .await
                .unwrap();
            assert_eq!(response.status().as_u16(), status, "{path} {sent}");
            assert_eq!(response.headers()["etag"], tag.as_str());
            let empty = response.bytes().await.unwrap().is_empty();
            assert_eq!(empty, status == 304);
        }
    }
}

#[tokio::test]
async fn buckets_are_given_alone() {
    let mut world = World::new().await;
    let changes: Vec<_> = (0..40).map(notice).collect();
    world.apply("a", &changes).await;
    let digests = world.get("/lockstep/v1/state/digests").await;
    assert_eq!(digests["revision"], REVISION);
    assert_eq!(digests["buckets"], json!(world.state.bucket_digests()));
    let wanted: Vec<u8> = [&changes[0].1, &changes[1].1].map(|s| s.id.bucket()).into();
    let path = format!(
        "/lockstep/v1/state?bucket={:02x}&bucket={:02x}",
        wanted[0], wanted[1]
    );
    let answer = world.get(&path).await;
    assert_eq!(answer["digest"], digests["digest"]);
    let resources = answer["resources"].as_array().unwrap();
    let expected = world
        .state
        .items()
        .filter(|i| wanted.contains(&i.bucket))
        .count();
    assert_eq!(resources.len(), expected);
    for path in ["?bucket=3F", "?bucket=3", "?bucket=%2B3", "?bucket="] {
        let path = format!("/lockstep/v1/state{path}");
        let response = world.call(Method::GET, &path, None).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{path}");
    }
}

#[tokio::test]
async fn only_who_knows_the_token_is_answered() {
    let folder = TempDir::new().unwrap();
    let options = Options {
        token: Some(SecretString::from("correct-horse")),
        ..options(&folder)
    };
    let world = World::with(folder, options).await;
    let url = world.server.url();
    for (authorization, status) in [
        (None, 401),
        (Some("Bearer wrong"), 401),
        (Some("Basic correct-horse"), 401),
        (Some("correct-horse"), 401),
        (Some("Bearer "), 401),
        (Some("Bearer correct-horse"), 200),
        (Some("bearer correct-horse"), 200),
    ] {
        for path in ["/state", "/state/digests", "/audit"] {
            let mut request = world.client.get(format!("{url}/lockstep/v1{path}"));
            if let Some(authorization) = authorization {
                request = request.header("authorization", authorization);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.status().as_u16(), status, "{authorization:?}");
            let challenged = response.headers().contains_key("www-authenticate");
            assert_eq!(challenged, status == 401);
        }
    }
    for verb in ["commit", "abort"] {
        assert_eq!(world.end("a", verb, 1).await.1["code"], "unauthorized");
    }
    let put = world.prepare("a", &world.request(1, &[])).await;
    assert_eq!(put.1["code"], "unauthorized");
    // What holds no secret is open.
    let document = world.get("/lockstep/v1/openapi.json").await;
    assert_eq!(document["info"]["title"], "Lockstep System API");
}

/// Every path and method of the document is answered by the system, and by nothing else.
#[tokio::test]
async fn the_openapi_document_is_what_is_served() {
    let world = World::new().await;
    let document = world.get("/lockstep/v1/openapi.json").await;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "unknown");
        for method in ["GET", "PUT", "POST", "DELETE"] {
            let described = methods.get(method.to_lowercase()).is_some();
            let method: Method = method.parse().unwrap();
            let response = world.call(method.clone(), &path, Some(json!({}))).await;
            let served = response.status() != StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(served, described, "{method} {path}");
        }
    }
    let elsewhere = world.call(Method::GET, "/lockstep/v2/state", None).await;
    assert_eq!(elsewhere.status(), StatusCode::NOT_FOUND);
    let answer: Value = elsewhere.json().await.unwrap();
    assert_eq!(answer["code"], "not_found");
}

#[tokio::test]
async fn nothing_is_open_to_the_network_without_a_token() {
    let folder = TempDir::new().unwrap();
    let open = Options {
        listen: "0.0.0.0:0".parse().unwrap(),
        ..options(&folder)
    };
    assert!(matches!(bind(open).await, Err(ReferenceError::Open(_))));
}

#[tokio::test]
async fn a_database_belongs_to_one_system() {
    let folder = TempDir::new().unwrap();
    let first = bind(options(&folder)).await.unwrap();
    first.stop().await.unwrap();
    let other = Options {
        name: "voicedrive".parse().unwrap(),
        ..options(&folder)
    };
    assert!(matches!(
        bind(other).await,
        Err(ReferenceError::OtherSystem { .. })
    ));
}

#[tokio::test]
async fn local_edits_are_seen_and_recorded() {
    let mut world = World::new().await;
    world.apply("a", &[notice(1)]).await;
    let path = "/admin/resources/IpBlock/10.0.0.0/8";
    let put = |body| world.call(Method::PUT, path, Some(body));
    assert_eq!(
        put(json!({"reason": "x"})).await.status(),
        StatusCode::CREATED
    );
    assert_eq!(put(json!({"reason": "y"})).await.status(), StatusCode::OK);
    assert_eq!(put(json!({"reason": "y"})).await.status(), StatusCode::OK);
    let deleted = world.call(Method::DELETE, path, None).await;
    assert_eq!(deleted.status(), StatusCode::OK);
    let again = world.call(Method::DELETE, path, None).await;
    assert_eq!(again.status(), StatusCode::NOT_FOUND);

    assert_eq!(world.digest().await, world.state.digest());
    let audit = world
        .get("/lockstep/v1/audit?from=2026-11-22T00:00:02Z&until=2026-11-22T00:00:04Z")
        .await;
    let events: Vec<_> = audit["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| {
            (
                e["at"].as_str().unwrap(),
                e["actor"].as_str().unwrap(),
                e["action"].as_str().unwrap(),
                e["name"].as_str().unwrap(),
                e["changeset"].is_null(),
            )
        })
        .collect();
    assert_eq!(
        events,
        [
            (
                "2026-11-22T00:00:02Z",
                "local",
                "create",
                "10.0.0.0/8",
                true
            ),
            (
                "2026-11-22T00:00:03Z",
                "local",
                "update",
                "10.0.0.0/8",
                true
            ),
        ]
    );
    for query in ["from=yesterday", "cursor=x"] {
        let path = format!("/lockstep/v1/audit?{query}");
        let response = world.call(Method::GET, &path, None).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn web_pages_of_others_cannot_edit() {
    let world = World::new().await;
    let url = format!("{}/admin/resources/FeatureFlag/x", world.server.url());
    for (name, value) in [
        ("host", "evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let request = world.client.put(&url).json(&json!({})).header(name, value);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{name}: {value}");
    }
    let own = world.client.put(&url).json(&json!({}));
    let own = own.header("sec-fetch-site", "same-origin");
    assert_eq!(own.send().await.unwrap().status(), StatusCode::CREATED);
}

#[tokio::test]
async fn faults_are_there_only_when_asked_for() {
    let folder = TempDir::new().unwrap();
    let options = Options {
        faults: None,
        ..options(&folder)
    };
    let world = World::with(folder, options).await;
    let response = world.call(Method::GET, "/faults", None).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);

    let world = World::new().await;
    let set = |faults| world.call(Method::PUT, "/faults", Some(faults));
    assert_eq!(
        set(json!({"no_such_fault": true})).await.status(),
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        set(json!({"fail_state": 1, "refuse_prepare": "busy season"}))
            .await
            .status(),
        StatusCode::OK
    );
    let failed = world.call(Method::GET, "/lockstep/v1/state", None).await;
    assert_eq!(failed.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(world.digest().await, State::default().digest());
    let (status, answer) = world.prepare("a", &world.request(1, &[notice(1)])).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer["reasons"][0]["message"], "busy season");
    assert!(world.folder.path().join("medical.db").exists());
}

#[test]
fn what_a_system_is_started_with_can_be_printed_without_its_token() {
    let options = Options {
        name: "medical".parse().unwrap(),
        title: None,
        listen: "127.0.0.1:0".parse().unwrap(),
        database: "medical.db".into(),
        token: Some(SecretString::from("hunter2")),
        kinds: BTreeSet::new(),
        faults: None,
    };
    let printed = format!("{options:?} {options:#?}");
    assert!(
        printed.contains("medical.db") && !printed.contains("hunter2"),
        "{printed}"
    );
}
