//! Faults happen as told, and only then.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn an_answer_is_replaced_as_often_as_told() {
    let Some(hub) = Hub::start().await else {
        return;
    };
    hub.seed(&[("a.json", "1\n")]).await;
    let broken = What::Status(502, json!({"message": "Server Error"}));
    hub.fail(Fault::new("GET", "/pulls", broken).times(2));
    let mut answered = Vec::new();
    for _ in 0..3 {
        answered.push(
            ask(&hub, "GET", &format!("{REPO}/pulls"), "sato", &[])
                .await
                .status,
        );
    }
    assert_eq!(answered, [502, 502, 200]);
    let recorded: Vec<u16> = hub.requests().iter().map(|asked| asked.status).collect();
    assert_eq!(recorded, answered);

    hub.fail(Fault::once(
        "",
        REPO,
        What::SecondaryLimit { retry_after: 7 },
    ));
    let limited = ask(&hub, "GET", REPO, "sato", &[]).await;
    assert_eq!((limited.status, limited.header("retry-after")), (403, "7"));
    hub.fail(Fault::once("", REPO, What::PrimaryLimit { reset: 60 }));
    let limited = ask(&hub, "GET", REPO, "sato", &[]).await;
    assert_eq!(
        (limited.status, limited.header("x-ratelimit-remaining")),
        (403, "0")
    );
    hub.fail(Fault::once("", REPO, What::WrongClock(-90_000_000)));
    let wrong = ask(&hub, "GET", REPO, "sato", &[]).await;
    assert_eq!(wrong.status, 200);
    assert_ne!(wrong.header("date"), "");
    let right = ask(&hub, "GET", REPO, "sato", &[]).await;
    let year = |raw: &Raw| raw.header("date")[12..16].parse::<i32>().unwrap();
    assert!((2..=3).contains(&(year(&right) - year(&wrong))));
    hub.fail(Fault::once("", REPO, What::Slow(Duration::from_millis(1))));
    assert_eq!(ask(&hub, "GET", REPO, "sato", &[]).await.status, 200);
    hub.finish();
}

#[tokio::test]
async fn an_answer_is_cut_or_lost() {
    let Some(hub) = Hub::start().await else {
        return;
    };
    let sha = hub.seed(&[("a.json", "1\n")]).await;
    hub.fail(Fault::once("GET", "/pulls", What::DropMidBody));
    let path = format!("{REPO}/pulls?state=all&per_page=100");
    let cut = sent(&hub, "GET", &path, "sato", &[], None).await.unwrap();
    assert_eq!(cut.status().as_u16(), 200);
    assert!(cut.bytes().await.is_err());
    hub.fail(Fault::once("POST", "/statuses/", What::DoneAndLost));
    let body = Some(json!({"state": "success", "context": "gate"}));
    let path = format!("{REPO}/statuses/{sha}");
    let lost = sent(&hub, "POST", &path, "sato", &[], body).await;
    let read = match lost {
        Ok(answer) => answer.bytes().await.map(|_| ()),
        Err(e) => Err(e),
    };
    assert!(read.is_err());
    let asked = hub.requests();
    let [read, wrote] = asked.as_slice() else {
        panic!("{asked:?}")
    };
    assert_eq!(read.query, "state=all&per_page=100");
    assert_eq!(wrote.body["context"], "gate");
    let shown = hub
        .done("sato", "GET", &format!("{REPO}/commits/{sha}/status"), None)
        .await;
    assert_eq!(shown["total_count"], 1);
    hub.finish();
}

#[tokio::test]
async fn a_page_leads_to_itself() {
    let Some(hub) = Hub::start().await else {
        return;
    };
    hub.seed(&[("a.json", "1\n")]).await;
    hub.fail(Fault::once("GET", "/pulls?", What::RepeatPage));
    let path = format!("{REPO}/pulls?per_page=100&page=1");
    let page = ask(&hub, "GET", &path, "sato", &[]).await;
    assert_eq!(
        page.header("link"),
        format!("<{}{path}>; rel=\"next\"", hub.api_url())
    );
    assert_eq!(
        ask(&hub, "GET", &path, "sato", &[]).await.header("link"),
        ""
    );
    hub.finish();
}

#[tokio::test]
async fn it_is_down_until_it_is_up() {
    let Some(hub) = Hub::start().await else {
        return;
    };
    hub.down();
    assert!(sent(&hub, "GET", REPO, "sato", &[], None).await.is_err());
    hub.up();
    assert_eq!(ask(&hub, "GET", REPO, "sato", &[]).await.status, 200);
    hub.fail(Fault::once("GET", REPO, What::Down));
    let cut = sent(&hub, "GET", REPO, "sato", &[], None).await;
    let is_cut = match cut {
        Ok(answer) => answer.bytes().await.is_err(),
        Err(_) => true,
    };
    assert!(is_cut);
    assert!(sent(&hub, "GET", REPO, "sato", &[], None).await.is_err());
    hub.heal();
    assert_eq!(ask(&hub, "GET", REPO, "sato", &[]).await.status, 200);
    hub.finish();
}

#[tokio::test]
async fn an_old_name_leads_on() {
    let Some(hub) = Hub::start().await else {
        return;
    };
    let sha = hub.seed(&[("a.json", "1\n")]).await;
    status(&hub, &sha, "gate", "success").await;
    hub.fail(Fault::once("GET", REPO, What::Renamed));
    let moved = ask(&hub, "GET", &format!("{REPO}/pulls?state=all"), "sato", &[]).await;
    assert_eq!(moved.status, 301);
    let to = moved.header("location").replace(&hub.api_url(), "");
    assert!(
        to.starts_with("/repositories/") && to.ends_with("/pulls?state=all"),
        "{to}"
    );
    assert_eq!(ask(&hub, "GET", &to, "sato", &[]).await.status, 200);

    hub.rename("settings").await;
    let moved = ask(&hub, "GET", REPO, "sato", &[]).await;
    assert_eq!(moved.status, 301);
    let to = moved.header("location").replace(&hub.api_url(), "");
    let shown = ask(&hub, "GET", &to, "sato", &[]).await;
    assert_eq!(shown.body["full_name"], "acme/settings");
    let head = hub
        .push(
            "sato",
            "acme/config",
            "after",
            "After",
            &[("a.json", "2\n")],
        )
        .await;
    let heads = ask(
        &hub,
        "GET",
        "/repos/acme/settings/branches/after",
        "sato",
        &[],
    )
    .await;
    assert_eq!(heads.body["commit"]["sha"], json!(head));
    hub.finish();
}
