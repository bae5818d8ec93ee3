//! What becomes of merges: squash, rebase, the queue, several at once, and one that can't be applied.

use super::*;

#[tokio::test]
async fn squash_and_rebase_merges_have_their_statuses_on_the_commit_that_main_got() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let _server = place.run().await;
    for (method, rollout) in [("squash", 20), ("rebase", 30)] {
        let (number, _) = place.approved(method, rollout).await;
        let merged = place.hub.merge("sato", number, method).await;
        assert_eq!(merged, place.main().await);
        place.shown(&merged, "lockstep/apply", "success").await;
        place.has_rollout(rollout.into()).await;
    }
    place.finish();
}

#[tokio::test]
async fn a_revision_that_was_overtaken_says_by_which() {
    let Some(mut place) = Place::new(POLLED).await else {
        return;
    };
    let _server = place.run().await;
    place.world.system_mut("voicedrive").kill();
    let (first, _) = place.approved("first", 20).await;
    let overtaken = place.hub.merge("sato", first, "merge").await;
    let said = place.shown(&overtaken, "lockstep/apply", "failure").await;
    assert!(said.contains("voicedrive"), "{said}");
    // Two more, of which the engine may see only the last.
    let between = place
        .hub
        .push(
            "admin",
            "acme/config",
            "main",
            "Between",
            &[("config/feature-flags.json", &flags(21))],
        )
        .await;
    let newest = place
        .hub
        .push(
            "admin",
            "acme/config",
            "main",
            "Newest",
            &[("config/feature-flags.json", &flags(22))],
        )
        .await;
    place.world.system_mut("voicedrive").restart().await;
    place.shown(&newest, "lockstep/apply", "success").await;
    for commit in [&overtaken, &between] {
        let said = place
            .shown(commit, "lockstep/apply/medical", "success")
            .await;
        assert!(said.contains("superseded by"), "{said}");
    }
    place.has_rollout(22).await;
    place.finish();
}

#[tokio::test]
async fn the_merge_queue_is_told_on_its_own_commits() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let _server = place.run().await;
    let (first, _) = place.propose("sato", "first", 20).await;
    let notice = "# 停電\n\n時刻: 2026-12-01 10:00\n影響: 病棟\n対応: 待機\n";
    let (second, _) = place
        .propose_files("sato", "second", &[("alerts/power.md", notice)])
        .await;
    place.hub.approve("suzuki", first).await;
    let main = place.main().await;
    // As GitHub makes them: each on the one before it.
    let on = queue(&place, first, "first", &main).await;
    let next = queue(&place, second, "second", &on).await;
    for context in [
        "lockstep/check",
        "lockstep/policy",
        "lockstep/plan",
        "lockstep/approval",
    ] {
        place.shown(&on, context, "success").await;
    }
    // Nobody has approved the second.
    place.shown(&next, "lockstep/plan", "success").await;
    place.shown(&next, "lockstep/approval", "pending").await;
    place.hub.approve("suzuki", second).await;
    place.shown(&next, "lockstep/approval", "success").await;

    // A commit that holds something else than the pull request.
    let third = place.propose("tanaka", "third", 50).await.0;
    place.hub.approve("suzuki", third).await;
    let name = format!("gh-readonly-queue/main/pr-{third}-{main}");
    let forged = place
        .hub
        .push(
            "admin",
            "acme/config",
            &name,
            "Merge",
            &[("config/feature-flags.json", &flags(99))],
        )
        .await;
    let said = place.shown(&forged, "lockstep/check", "failure").await;
    assert!(said.contains("something else"), "{said}");
    place.finish();
}

/// A queue's commit: the branch merged into what it is put on.
async fn queue(place: &Place, number: u64, branch: &str, base: &str) -> String {
    let world = &place.world;
    world.git_in("work", &["fetch", "--quiet", "origin"]);
    world.git_in("work", &["fetch", "--quiet", "origin", base]);
    world.git_in("work", &["checkout", "--quiet", "--detach", base]);
    let message = format!("Merge pull request #{number}");
    let remote = format!("origin/{branch}");
    world.git_in(
        "work",
        &["merge", "--quiet", "--no-ff", "-m", &message, &remote],
    );
    let name = format!("HEAD:refs/heads/gh-readonly-queue/main/pr-{number}-{base}");
    world.git_in("work", &["push", "--quiet", "origin", &name]);
    world
        .git_in("work", &["rev-parse", "HEAD"])
        .trim()
        .to_owned()
}

#[tokio::test]
async fn a_merge_that_cannot_be_applied_is_proposed_to_be_taken_back() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let mut server = place.run().await;
    let faults = json!({"fail_commit": 1000});
    place.world.system("voicedrive").set_faults(faults).await;
    let (number, _) = place.approved("more", 25).await;
    let merged = place.hub.merge("sato", number, "merge").await;
    place.shown(&merged, "lockstep/apply", "failure").await;
    let reverting = eventually("a pull request takes it back", async || {
        let pulls = place
            .hub
            .done("admin", "GET", &format!("{REPO}/pulls?state=open"), None)
            .await;
        let pulls = pulls.as_array().cloned().unwrap_or_default();
        pulls.into_iter().find(|p| {
            p["head"]["ref"]
                .as_str()
                .is_some_and(|r| r.starts_with("lockstep/revert-"))
        })
    })
    .await;
    assert_eq!(reverting["user"]["login"], "lockstep-bot");
    // Not once more after a restart.
    server.process.kill();
    let _server = place.start().await;
    tokio::time::sleep(A_WHILE).await;
    let pulls = place
        .hub
        .done("admin", "GET", &format!("{REPO}/pulls?state=all"), None)
        .await;
    let reverts = pulls
        .as_array()
        .unwrap()
        .iter()
        .filter(|p| {
            p["head"]["ref"]
                .as_str()
                .unwrap()
                .starts_with("lockstep/revert-")
        })
        .count();
    assert_eq!(reverts, 1);
    place.finish();
}

/// Merged on GitHub's page while nobody looked: what it was, who agreed and who merged it is found out afterwards, and what would not have passed is
/// said to have gone past the gate.
#[tokio::test]
async fn what_was_merged_while_lockstep_was_down_is_in_the_ledger() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let mut server = place.run().await;
    eventually("main is known", async || {
        place.world.store().await.recorded("main").await.unwrap()
    })
    .await;
    server.process.kill();

    let (agreed, _) = place.propose("sato", "more", 20).await;
    place.hub.approve("suzuki", agreed).await;
    place.hub.merge("tanaka", agreed, "squash").await;
    let (alone, _) = place.propose("sato", "still-more", 30).await;
    let past = place.hub.merge("sato", alone, "merge").await;

    let _server = place.run().await;
    let merged = eventually("both merges are told", async || {
        let merged = place.world.entries("proposal.merged").await;
        (merged.len() == 2).then_some(merged)
    })
    .await;
    let told: Vec<_> = merged
        .iter()
        .map(|e| (e.body["proposal"].as_u64(), e.body["by"].as_str()))
        .collect();
    assert_eq!(
        told,
        [(Some(agreed), Some("tanaka")), (Some(alone), Some("sato"))]
    );
    let given = place.world.entries("approval.given").await;
    assert_eq!(given.len(), 1, "{given:#?}");
    assert_eq!(given[0].actor.to_string(), "suzuki");
    assert_eq!(place.world.entries("proposal.opened").await.len(), 2);
    let bypassed = place.world.entries("gate.bypassed").await;
    assert_eq!(bypassed.len(), 1, "{bypassed:#?}");
    assert_eq!(bypassed[0].revision.as_ref().unwrap().to_string(), past);
    assert_eq!(bypassed[0].body["proposal"], alone);
    place.finish();
}
