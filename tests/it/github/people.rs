//! Who is who: proposals by command, forks, and names that only look like somebody's.

use super::*;
use crate::world::Ended;

#[tokio::test]
async fn the_commands_about_proposals_work_as_on_the_local_forge() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let _server = place.run().await;
    let said = place
        .world
        .run(&[
            "propose",
            "--set",
            "flag.ai_assistant.rollout=25",
            "-m",
            "Twenty-five",
        ])
        .await;
    let said = Ended::of(&said);
    assert_eq!(said.code, Some(0), "{} {}", said.out, said.err);
    assert!(said.err.contains("/acme/config/pull/1"), "{}", said.err);
    let pull = place
        .hub
        .done("admin", "GET", &format!("{REPO}/pulls/1"), None)
        .await;
    assert_eq!(pull["title"], "flag.ai_assistant.rollout=25");
    assert_eq!(pull["user"]["login"], "lockstep-bot");
    let head = pull["head"]["sha"].as_str().unwrap().to_owned();
    place.shown(&head, "lockstep/plan", "success").await;

    let list = place
        .world
        .ok(&["proposal", "list", "--format", "json"])
        .await;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list[0]["number"], 1);
    let shown = place.world.ok(&["proposal", "show", "1"]).await;
    assert!(shown.contains("10% → 25%"), "{shown}");

    // The token says who acts, whatever is claimed.
    let claimed = place
        .world
        .run(&["proposal", "approve", "1", "--as", "suzuki"])
        .await;
    let claimed = Ended::of(&claimed);
    assert_eq!(claimed.code, Some(2), "{}", claimed.err);
    assert!(claimed.err.contains("lockstep-bot"), "{}", claimed.err);
    std::fs::write(place.world.path("github-token"), place.hub.token("suzuki")).unwrap();
    let approved = Ended::of(
        &place
            .world
            .run(&["proposal", "approve", "1", "-m", "fine"])
            .await,
    );
    assert_eq!(approved.code, Some(0), "{}", approved.err);
    assert!(approved.err.contains("ready"), "{}", approved.err);
    let updated = place
        .world
        .run(&[
            "propose",
            "--update",
            "1",
            "--set",
            "flag.ai_assistant.rollout=30",
            "-t",
            "Thirty",
        ])
        .await;
    let updated = Ended::of(&updated);
    assert_eq!(updated.code, Some(0), "{}", updated.err);
    let early = Ended::of(&place.world.run(&["proposal", "merge", "1"]).await);
    assert_eq!(early.code, Some(1), "{} {}", early.out, early.err);
    assert!(early.err.contains("lockstep/approval"), "{}", early.err);
    std::fs::write(place.world.path("github-token"), place.hub.token("tanaka")).unwrap();
    assert_eq!(
        Ended::of(&place.world.run(&["proposal", "approve", "1"]).await).code,
        Some(0)
    );
    // The server has its say too.
    let path = format!("{REPO}/pulls/1");
    let pull = place.hub.done("admin", "GET", &path, None).await;
    let head = pull["head"]["sha"].as_str().unwrap();
    place.shown(head, "lockstep/approval", "success").await;
    let merged = Ended::of(&place.world.run(&["proposal", "merge", "1"]).await);
    assert_eq!(merged.code, Some(0), "{}", merged.err);
    assert_eq!(merged.out.trim(), place.main().await);

    let (number, _) = place.propose("sato", "other", 40).await;
    let number = number.to_string();
    let closed = place
        .world
        .run(&["proposal", "close", &number, "-m", "not now"])
        .await;
    assert_eq!(Ended::of(&closed).code, Some(0), "{:?}", Ended::of(&closed));
    let pull = place
        .hub
        .done("admin", "GET", &format!("{REPO}/pulls/{number}"), None)
        .await;
    assert_eq!(pull["state"], "closed");
    place.finish();
}

#[tokio::test]
async fn edits_in_a_clone_become_a_pull_request() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    place.world.ok(&["proposal", "list"]).await;
    place.world.write("config/feature-flags.json", &flags(25));
    let mut clone = std::process::Command::new(env!("CARGO_BIN_EXE_lockstep"));
    clone
        .args([
            "propose",
            "-t",
            "From my clone",
            "--repo",
            "work",
            "--settings",
            "lockstep.toml",
            "--lang",
            "en",
        ])
        .current_dir(place.world.dir.path());
    let output = tokio::task::spawn_blocking(move || clone.output().unwrap())
        .await
        .unwrap();
    let said = Ended::of(&output);
    assert_eq!(said.code, Some(0), "{} {}", said.out, said.err);
    assert!(said.out.contains("10% → 25%"), "{}", said.out);
    let pull = place
        .hub
        .done("admin", "GET", &format!("{REPO}/pulls/1"), None)
        .await;
    assert_eq!(pull["title"], "From my clone");
    // What the person has checked out is theirs.
    let branch = place
        .world
        .git_in("work", &["rev-parse", "--abbrev-ref", "HEAD"]);
    assert_eq!(branch.trim(), "main");
    place.finish();
}

#[tokio::test]
async fn a_fork_is_only_ever_data() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let _server = place.run().await;
    place.world.forget_requests();
    place.hub.fork("outsider").await;
    // It moves a system to an address of its own, and lets everything pass.
    let trap = crate::world::proxy::Proxy::start(place.world.systems[0].address).await;
    let config = place.world.config("").replace(
        &place.world.systems[0].at.to_string(),
        &trap.address.to_string(),
    );
    let head = place
        .hub
        .push(
            "outsider",
            "outsider/config",
            "trap",
            "Trap",
            &[
                ("lockstep.yaml", &config),
                (
                    "policies/approvals.rego",
                    "package lockstep\n\nwarn contains \"hello\" if false\n",
                ),
                ("config/feature-flags.json", &flags(90)),
            ],
        )
        .await;
    let body = json!({"title": "Trap", "head": "outsider:trap", "base": "main"});
    let pull = place
        .hub
        .done("outsider", "POST", &format!("{REPO}/pulls"), Some(body))
        .await;
    let number = pull["number"].as_u64().unwrap();
    place.told(number, "10% → 90%").await;
    // Judged by the base's policies, and its own account approves nothing.
    place
        .hub
        .api(
            "outsider",
            "POST",
            &format!("{REPO}/pulls/{number}/reviews"),
            Some(json!({"event": "COMMENT", "body": "fine"})),
        )
        .await;
    let said = place.shown(&head, "lockstep/approval", "pending").await;
    assert!(!said.is_empty());
    tokio::time::sleep(A_WHILE).await;
    assert!(
        trap.take_log().is_empty(),
        "the proposal's address was asked"
    );
    assert_eq!(place.world.rollouts().await, [Some(10), Some(10)]);
    place.finish();
}

#[tokio::test]
async fn an_account_that_has_a_persons_key_for_a_name_is_a_stranger() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    // She is `tanaka-h` on GitHub; the account `tanaka` is somebody else's.
    let config = place.world.config("").replace(
        "forge: tanaka, roles: [approver",
        "forge: tanaka-h, roles: [approver",
    );
    place.world.write("lockstep.yaml", &config);
    place.world.commit("Her account");
    let _server = place.run().await;
    let (number, head) = place.propose("sato", "more", 25).await;
    place.told(number, "10% → 25%").await;
    place.hub.approve("tanaka", number).await;
    let reviews = || {
        place
            .hub
            .done("admin", "GET", "/repos/acme/config/pulls/1/reviews", None)
    };
    assert_eq!(reviews().await.as_array().map(Vec::len), Some(1));
    tokio::time::sleep(A_WHILE).await;
    let (state, said) = place.statuses(&head).await["lockstep/approval"].clone();
    assert_eq!(state, "pending", "{said}");
    place.finish();
}

#[tokio::test]
async fn a_review_that_was_dismissed_brings_nothing_back() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let _server = place.run().await;
    let (number, head) = place.propose("sato", "more", 25).await;
    place.hub.approve("tanaka", number).await;
    place.shown(&head, "lockstep/approval", "success").await;
    let path = format!("{REPO}/pulls/{number}/reviews");
    let body = json!({"event": "REQUEST_CHANGES", "body": "not like this"});
    let review = place.hub.done("tanaka", "POST", &path, Some(body)).await;
    place.shown(&head, "lockstep/approval", "failure").await;
    let path = format!("{path}/{}/dismissals", review["id"]);
    let body = json!({"message": "never mind"});
    place.hub.done("admin", "PUT", &path, Some(body)).await;
    // Neither the objection nor the approval before it.
    place.shown(&head, "lockstep/approval", "pending").await;
    place.finish();
}

#[tokio::test]
async fn who_proposes_somebody_elses_commit_changes_nothing_of_its_statuses() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let _server = place.run().await;
    let (_, head) = place.approved("more", 25).await;
    place.hub.fork("outsider").await;
    let url = place.hub.git_url_as("outsider", "outsider/config");
    place
        .world
        .git_in("work", &["fetch", "--quiet", "origin", "more"]);
    place.world.git_in(
        "work",
        &["push", "--quiet", &url, "FETCH_HEAD:refs/heads/copy"],
    );
    let body = json!({"title": "Mine", "head": "outsider:copy", "base": "main"});
    let path = format!("{REPO}/pulls");
    let copy = place.hub.done("outsider", "POST", &path, Some(body)).await;
    assert_eq!(copy["head"]["sha"], json!(head));
    let number = copy["number"].as_u64().unwrap();
    place.told(number, "10% → 25%").await;
    tokio::time::sleep(A_WHILE).await;
    let (state, said) = place.statuses(&head).await["lockstep/approval"].clone();
    assert_eq!(state, "success", "{said}");
    // Two of the repository's own: the worst of them.
    let path = format!("{REPO}/git/refs");
    let body = json!({"ref": "refs/heads/again", "sha": head});
    place.hub.done("admin", "POST", &path, Some(body)).await;
    place
        .hub
        .open("tanaka", "again", "The same once more")
        .await;
    place.shown(&head, "lockstep/approval", "pending").await;
    place.finish();
}

#[tokio::test]
async fn a_hold_binds_who_merges_by_command_from_elsewhere() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let _server = place.run().await;
    let (number, head) = place.propose("sato", "more", 25).await;
    place.hub.approve("tanaka", number).await;
    place.shown(&head, "lockstep/approval", "success").await;
    place.say("tanaka", number, "/lockstep hold").await;
    place.shown(&head, "lockstep/approval", "failure").await;
    // A clone of suzuki's, with a store that knows nothing of it.
    let settings = std::fs::read_to_string(place.world.path("lockstep.toml")).unwrap();
    let settings = settings
        .replace("store.db", "other.db")
        .replace("github-token", "suzuki-token");
    std::fs::write(place.world.path("suzuki.toml"), settings).unwrap();
    std::fs::write(place.world.path("suzuki-token"), place.hub.token("suzuki")).unwrap();
    let folder = place.world.dir.path().to_owned();
    let run = async |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lockstep"));
        command
            .args(args)
            .args([
                "--repo",
                "other.git",
                "--settings",
                "suzuki.toml",
                "--lang",
                "en",
            ])
            .current_dir(&folder)
            .env("NO_COLOR", "1");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        Ended::of(&output.await.unwrap())
    };
    let number = number.to_string();
    run(&["proposal", "show", &number]).await;
    let merged = run(&["proposal", "merge", &number]).await;
    assert_eq!(merged.code, Some(1), "{} {}", merged.out, merged.err);
    assert!(merged.err.contains("held by tanaka"), "{}", merged.err);
    let (state, said) = place.statuses(&head).await["lockstep/approval"].clone();
    assert_eq!(state, "failure", "{said}");
    let ours = place.comments(number.parse().unwrap()).await;
    let ours = ours
        .iter()
        .filter(|(_, text)| text.contains("<!-- lockstep -->"));
    assert_eq!(ours.count(), 1);
    place.finish();
}
