//! What reaches main without having been seen on its way is in the ledger all the same.

use crate::world::{World, eventually};

#[tokio::test]
async fn a_commit_that_no_proposal_brought_is_said_to_have_passed_the_gate() {
    let world = World::in_step().await;
    let mut server = world.start(&["run", "--log", "info"], "run.log");
    // From where it first looked on, so that the history before it is nobody's fault.
    eventually("main is known", async || {
        let known = world.store().await.recorded("main").await.unwrap();
        known.filter(|head| *head == world.git_in("work", &["rev-parse", "HEAD"]).trim())
    })
    .await;
    assert!(world.entries("gate.bypassed").await.is_empty());
    server.kill();

    world.set_rollout(20);
    let first = world.commit("by hand");
    world.set_rollout(30);
    let second = world.commit("by hand again");
    let _server = world.start(&["run", "--log", "info"], "again.log");
    let said = eventually("both are told", async || {
        let said = world.entries("gate.bypassed").await;
        (said.len() == 2).then_some(said)
    })
    .await;
    let revisions: Vec<String> = said
        .iter()
        .map(|e| e.revision.clone().unwrap().to_string())
        .collect();
    assert_eq!(revisions, [first, second]);
    assert_eq!(said[0].body["why"], "no proposal brought this commit");
    assert_eq!(said[0].body["subject"], "by hand");
    world.ok(&["audit", "verify"]).await;
}
