//! Drift that becomes a pull request.

use super::*;
use crate::drift::{edit, with_drift};

/// The pull requests that would adopt something, open or not.
async fn adopting(place: &Place) -> Vec<Value> {
    let path = format!("{REPO}/pulls?state=all");
    let pulls = place.hub.done("admin", "GET", &path, None).await;
    let mut pulls = pulls.as_array().cloned().unwrap_or_default();
    pulls.retain(|pull| {
        let branch = pull["head"]["ref"].as_str().unwrap();
        branch.starts_with("lockstep/adopt-medical-")
    });
    pulls
}

#[tokio::test]
async fn what_is_changed_on_a_system_becomes_one_pull_request() {
    let Some(place) = Place::new(POLLED).await else {
        return;
    };
    let mut server = place.run().await;
    let config = with_drift(&place.world, "propose");
    let files = [("lockstep.yaml", config.as_str())];
    let pushed = place
        .hub
        .push("admin", "acme/config", "main", "Propose drift", &files)
        .await;
    place.shown(&pushed, "lockstep/apply", "success").await;
    server.process.kill();

    // Each start looks at the systems.
    edit(&place.world, "medical", 77).await;
    let mut server = place.start().await;
    let pull = eventually("a pull request adopts it", async || {
        adopting(&place).await.into_iter().next()
    })
    .await;
    assert_eq!(pull["user"]["login"], "lockstep-bot");
    let body = pull["body"].as_str().unwrap();
    assert!(body.contains("rollout 10% → 77%"), "{body}");
    assert!(body.contains("changes `voicedrive` too"), "{body}");
    server.process.kill();
    let _server = place.start().await;
    let head = pull["head"]["sha"].as_str().unwrap();
    place.shown(head, "lockstep/check", "success").await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(adopting(&place).await.len(), 1);

    let number = pull["number"].as_u64().unwrap();
    place.hub.approve("suzuki", number).await;
    place.shown(head, "lockstep/approval", "success").await;
    let merged = place.hub.merge("sato", number, "squash").await;
    place.shown(&merged, "lockstep/apply", "success").await;
    place.has_rollout(77).await;
    assert_eq!(adopting(&place).await.len(), 1);
    place.finish();
}
