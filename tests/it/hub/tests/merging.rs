//! Git and the API tell the same story.

use super::*;
use crate::hub::git::git;

async fn fetched(hub: &Hub, what: &str) -> (std::path::PathBuf, String) {
    let folder = hub.path(&format!("fetched-{}", what.replace('/', "-")));
    std::fs::create_dir_all(&folder).unwrap();
    git(&folder, &["init", "--quiet"]).await;
    let url = hub.git_url_as("suzuki", "acme/config");
    git(&folder, &["fetch", "--quiet", &url, what]).await;
    let sha = git(&folder, &["rev-parse", "FETCH_HEAD"]).await;
    (folder, sha.trim().to_owned())
}

#[tokio::test]
async fn a_pushed_branch_becomes_a_pull_request_and_is_merged() {
    let Some(hub) = Hub::start().await else {
        return;
    };
    let start = hub
        .seed(&[("a.json", "{\"a\": 1}\n"), ("dir/b.json", "{}\n")])
        .await;
    let head = hub
        .push(
            "sato",
            "acme/config",
            "change",
            "A change",
            &[("a.json", "{\"a\": 2}\n")],
        )
        .await;
    let number = hub.open("sato", "change", "Change a").await;
    let path = format!("{REPO}/pulls/{number}");
    let pull = hub.done("suzuki", "GET", &path, None).await;
    assert_eq!(pull["head"]["sha"], json!(head));
    assert_eq!(
        (&pull["mergeable"], &pull["changed_files"], &pull["commits"]),
        (&json!(true), &json!(1), &json!(1))
    );
    assert_eq!(
        fetched(&hub, &format!("refs/pull/{number}/head")).await.1,
        head
    );

    let files = hub
        .done("suzuki", "GET", &format!("{path}/files"), None)
        .await;
    assert_eq!(
        (&files[0]["filename"], &files[0]["status"]),
        (&json!("a.json"), &json!("modified"))
    );
    assert_eq!(files[0]["patch"], "@@ -1 +1 @@\n-{\"a\": 1}\n+{\"a\": 2}");
    let commits = hub
        .done("suzuki", "GET", &format!("{path}/commits"), None)
        .await;
    assert_eq!(commits[0]["sha"], json!(head));
    assert_eq!(commits.as_array().map(Vec::len), Some(1));

    let own = json!({"event": "APPROVE"});
    assert_eq!(
        hub.api("sato", "POST", &format!("{path}/reviews"), Some(own))
            .await
            .0,
        422
    );
    hub.approve("suzuki", number).await;
    let reviews = hub
        .done("sato", "GET", &format!("{path}/reviews"), None)
        .await;
    assert_eq!(
        (&reviews[0]["state"], &reviews[0]["commit_id"]),
        (&json!("APPROVED"), &json!(head))
    );

    // Main has moved meanwhile: what it got must be in the merge as well.
    let moved = hub
        .push(
            "admin",
            "acme/config",
            "main",
            "Meanwhile",
            &[("c.json", "{}\n")],
        )
        .await;
    let stale = json!({"sha": start});
    assert_eq!(
        hub.api("tanaka", "PUT", &format!("{path}/merge"), Some(stale))
            .await
            .0,
        409
    );
    let merged = hub.merge("tanaka", number, "merge").await;
    let (folder, main) = fetched(&hub, "main").await;
    assert_eq!(main, merged);
    let parents = git(&folder, &["show", "-s", "--format=%P", &main]).await;
    assert_eq!(parents.trim(), format!("{moved} {head}"));
    let files = git(&folder, &["ls-tree", "-r", "--name-only", &main]).await;
    assert_eq!(files, "a.json\nc.json\ndir/b.json\n");

    let pull = hub.done("suzuki", "GET", &path, None).await;
    assert_eq!(
        (&pull["merged"], &pull["merge_commit_sha"]),
        (&json!(true), &json!(merged))
    );
    assert_eq!(pull["merged_by"]["login"], "tanaka");
    let of = hub
        .done(
            "suzuki",
            "GET",
            &format!("{REPO}/commits/{merged}/pulls"),
            None,
        )
        .await;
    assert_eq!(of[0]["number"], number);
    assert!(of[0].get("mergeable").is_none());
    let (status, _) = hub
        .api("tanaka", "PUT", &format!("{path}/merge"), None)
        .await;
    assert_eq!(status, 405);
    hub.finish();
}

#[tokio::test]
async fn squashed_and_rebased() {
    let Some(hub) = Hub::start().await else {
        return;
    };
    hub.seed(&[("a.json", "1\n"), ("b.json", "1\n")]).await;
    for (method, file) in [("squash", "a.json"), ("rebase", "b.json")] {
        hub.push("sato", "acme/config", method, "One", &[(file, "2\n")])
            .await;
        hub.push("sato", "acme/config", method, "Two", &[(file, "3\n")])
            .await;
        let number = hub.open("sato", method, &format!("By {method}")).await;
        let merged = hub.merge("suzuki", number, method).await;
        let (folder, main) = fetched(&hub, "main").await;
        assert_eq!(main, merged);
        let subjects = git(&folder, &["log", "--format=%s by %an", "-2", &main]).await;
        let expected = match method {
            "squash" => format!("By squash (#{number}) by 佐藤\nConfiguration by admin\n"),
            _ => "Two by sato\nOne by sato\n".to_owned(),
        };
        assert_eq!(subjects, expected);
        let of = hub
            .done(
                "sato",
                "GET",
                &format!("{REPO}/commits/{merged}/pulls"),
                None,
            )
            .await;
        assert_eq!(of[0]["number"], number, "{method}");
    }
    hub.finish();
}

#[tokio::test]
async fn a_conflict_or_a_rule_stops_a_merge() {
    let Some(hub) = Hub::start().await else {
        return;
    };
    hub.seed(&[("a.json", "1\n")]).await;
    let head = hub
        .push("sato", "acme/config", "one", "One", &[("a.json", "2\n")])
        .await;
    let number = hub.open("sato", "one", "One").await;
    let rules = json!({
        "required_status_checks": {"strict": false, "contexts": ["lockstep/gate"]},
        "enforce_admins": true, "restrictions": null,
        "required_pull_request_reviews": {"required_approving_review_count": 1},
    });
    let protection = format!("{REPO}/branches/main/protection");
    hub.done("admin", "PUT", &protection, Some(rules)).await;
    let path = format!("{REPO}/pulls/{number}/merge");
    let refusals = [
        (
            "Required status check \"lockstep/gate\" is expected.",
            "pending",
        ),
        (
            "Required status check \"lockstep/gate\" is failing.",
            "success",
        ),
        (
            "At least 1 approving review is required by reviewers with write access.",
            "success",
        ),
    ];
    for (refusal, then) in refusals {
        let (refused, why) = hub.api("tanaka", "PUT", &path, None).await;
        assert_eq!((refused, &why["message"]), (405, &json!(refusal)));
        status(&hub, &head, "lockstep/gate", then).await;
    }
    hub.approve("suzuki", number).await;
    hub.done("tanaka", "PUT", &path, None).await;

    hub.done("admin", "DELETE", &protection, None).await;
    hub.push("sato", "acme/config", "two", "Two", &[("a.json", "3\n")])
        .await;
    let number = hub.open("sato", "two", "Two").await;
    hub.push(
        "admin",
        "acme/config",
        "main",
        "Three",
        &[("a.json", "4\n")],
    )
    .await;
    let pull = hub
        .done("sato", "GET", &format!("{REPO}/pulls/{number}"), None)
        .await;
    assert_eq!(
        (&pull["mergeable"], &pull["mergeable_state"]),
        (&json!(false), &json!("dirty"))
    );
    assert_eq!(
        hub.api(
            "tanaka",
            "PUT",
            &format!("{REPO}/pulls/{number}/merge"),
            None
        )
        .await
        .0,
        405
    );
    hub.finish();
}

#[tokio::test]
async fn a_pull_request_from_a_fork() {
    let Some(hub) = Hub::start().await else {
        return;
    };
    hub.seed(&[("a.json", "1\n")]).await;
    hub.fork("outsider").await;
    let head = hub
        .push(
            "outsider",
            "outsider/config",
            "mine",
            "Mine",
            &[("a.json", "2\n")],
        )
        .await;
    let number = hub.open("outsider", "outsider:mine", "From outside").await;
    let pull = hub
        .done("sato", "GET", &format!("{REPO}/pulls/{number}"), None)
        .await;
    assert_eq!(pull["head"]["repo"]["full_name"], "outsider/config");
    assert_eq!(pull["head"]["sha"], json!(head));
    assert_eq!(
        fetched(&hub, &format!("refs/pull/{number}/head")).await.1,
        head
    );
    let files = hub
        .done("sato", "GET", &format!("{REPO}/pulls/{number}/files"), None)
        .await;
    assert_eq!(files[0]["filename"], "a.json");
    let later = hub
        .push(
            "outsider",
            "outsider/config",
            "mine",
            "More",
            &[("a.json", "3\n")],
        )
        .await;
    let pull = hub
        .done("sato", "GET", &format!("{REPO}/pulls/{number}"), None)
        .await;
    assert_eq!(pull["head"]["sha"], json!(later));
    assert_eq!(fetched(&hub, &later).await.1, later);
    assert_eq!(status(&hub, &later, "gate", "success").await.0, 201);
    hub.merge("suzuki", number, "merge").await;

    let folder = hub.path("denied");
    std::fs::create_dir_all(&folder).unwrap();
    git(
        &folder,
        &[
            "clone",
            "--quiet",
            &hub.git_url_as("outsider", "acme/config"),
            ".",
        ],
    )
    .await;
    let pushed = tokio::process::Command::new("git")
        .args(["push", "origin", "HEAD:refs/heads/mine"])
        .current_dir(&folder)
        .output()
        .await
        .unwrap();
    assert!(String::from_utf8_lossy(&pushed.stderr).contains("403"));
    let asked = hub.git_requests();
    assert!(
        asked
            .iter()
            .any(|asked| asked.status == 401 && asked.login.is_none())
    );
    assert!(hub.git_url().ends_with("/acme/config.git"));
    hub.finish();
}

#[tokio::test]
async fn what_is_made_through_the_api_is_in_git() {
    let Some(hub) = Hub::start().await else {
        return;
    };
    let start = hub.seed(&[("a.json", "1\n"), ("dir/b.json", "1\n")]).await;
    let body = json!({"ref": "refs/heads/api", "sha": start});
    hub.done("sato", "POST", &format!("{REPO}/git/refs"), Some(body))
        .await;
    assert_eq!(fetched(&hub, "api").await.1, start);
    let body = json!({"message": "By API", "content": "Mgo=", "branch": "api"});
    let made = hub
        .done(
            "sato",
            "PUT",
            &format!("{REPO}/contents/dir/c.json"),
            Some(body),
        )
        .await;
    let (folder, sha) = fetched(&hub, "refs/heads/api").await;
    assert_eq!(json!(sha), made["commit"]["sha"]);
    assert_eq!(
        git(&folder, &["show", "FETCH_HEAD:dir/c.json"]).await,
        "2\n"
    );
    let number = hub.open("sato", "api", "By API").await;
    hub.done(
        "sato",
        "DELETE",
        &format!("{REPO}/git/refs/heads/api"),
        None,
    )
    .await;
    let pull = hub
        .done("sato", "GET", &format!("{REPO}/pulls/{number}"), None)
        .await;
    assert_eq!(pull["state"], "closed");
    let gone = git(
        &folder,
        &[
            "ls-remote",
            &hub.git_url_as("sato", "acme/config"),
            "refs/heads/api",
        ],
    )
    .await;
    assert_eq!(gone, "");
    assert!(hub.bare().exists());
    hub.finish();
}

#[tokio::test]
async fn what_cannot_be_opened_is_refused() {
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
    let path = format!("{REPO}/pulls");
    let open = |head: &str| Some(json!({"title": "x", "head": head, "base": "main"}));
    let (refused, why) = hub.api("sato", "POST", &path, open("nowhere")).await;
    assert_eq!((refused, &why["errors"][0]["field"]), (422, &json!("head")));
    hub.open("sato", "change", "Change").await;
    let (refused, why) = hub.api("sato", "POST", &path, open("change")).await;
    assert_eq!(refused, 422);
    assert_eq!(
        why["errors"][0]["message"],
        "A pull request already exists for acme:change."
    );
    let (refused, why) = hub.api("sato", "POST", &path, open("main")).await;
    assert_eq!(
        (refused, &why["errors"][0]["message"]),
        (422, &json!("No commits between main and main"))
    );
    hub.finish();
}
