//! `drift: propose`: what somebody changes on a system becomes a proposal, once.

use serde_json::{Value, json};

use crate::drift::{edit, with_drift};
use crate::world::{FLAGS, World};

const FLAG: &str = "FeatureFlag/ai_assistant";
const FILE: &str = "config/feature-flags.json";

/// All proposals, newest first.
pub(crate) async fn proposals(world: &World) -> Vec<Value> {
    let text = world
        .ok(&["proposal", "list", "--all", "--format", "json"])
        .await;
    serde_json::from_str(&text).unwrap()
}

/// A world in step in which drift on medical is proposed.
async fn proposing() -> World {
    let world = World::in_step().await;
    world.write("lockstep.yaml", &with_drift(&world, "propose"));
    world.commit("propose what is changed on medical");
    assert_eq!(world.apply().await.code, Some(0));
    world
}

/// The text of the flags as a proposal has them.
pub(crate) fn flags_of(world: &World, proposal: &Value) -> String {
    let head = proposal["head"].as_str().unwrap();
    world.git_in("config.git", &["show", &format!("{head}:{FILE}")])
}

/// States of the proposals, newest first.
async fn states(world: &World) -> Vec<(u64, String)> {
    let all = proposals(world).await;
    all.iter()
        .map(|p| {
            let state = p["state"]["state"].as_str().unwrap();
            (p["number"].as_u64().unwrap(), state.to_owned())
        })
        .collect()
}

/// Approves a proposal and merges it.
pub(crate) async fn merge(world: &World, number: &str) {
    let approved = world
        .run_as("suzuki", &["proposal", "approve", number])
        .await;
    assert!(approved.status.success(), "{approved:?}");
    world.ok(&["proposal", "merge", number]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_on_a_system_is_proposed_once_and_merged_without_touching_it() {
    let world = proposing().await;
    assert!(proposals(&world).await.is_empty());
    edit(&world, "medical", 77).await;
    // Each is a start of its own.
    for _ in 0..3 {
        assert_eq!(world.apply().await.code, Some(1));
        assert_eq!(world.rollouts().await, [Some(77), Some(10)]);
    }
    let all = proposals(&world).await;
    assert_eq!(all.len(), 1, "{all:#?}");
    assert_eq!(
        flags_of(&world, &all[0]),
        FLAGS.replace("\"rollout\": 10", "\"rollout\": 77")
    );
    let title = all[0]["title"].as_str().unwrap();
    assert_eq!(
        title,
        "medical の現在の値を取り込む / Adopt what is live on medical: FeatureFlag/ai_assistant"
    );
    let said = all[0]["description"].as_str().unwrap();
    for part in [
        "Merging this writes the values below into the repo",
        "マージすると",
        "`FeatureFlag/ai_assistant`",
        "`ai_assistant: rollout 10% → 77%`",
        "changes `voicedrive` too",
        "\"rollout\":77",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    assert_eq!(world.entries("drift.proposed").await.len(), 1);

    merge(&world, "1").await;
    world.forget_requests();
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.rollouts().await, [Some(77), Some(77)]);
    assert_eq!(world.standing("medical").await.0, "in_step");
    let log = world.system("medical").proxy.take_log();
    assert!(log.iter().all(|s| s.what.starts_with("GET")), "{log:?}");
    assert_eq!(world.apply().await.code, Some(0));
    assert_eq!(states(&world).await, [(1, "merged".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_closed_is_not_proposed_again_and_other_drift_is() {
    let world = proposing().await;
    edit(&world, "medical", 77).await;
    assert_eq!(world.apply().await.code, Some(1));
    world.ok(&["proposal", "close", "1"]).await;
    for _ in 0..2 {
        assert_eq!(world.apply().await.code, Some(1));
    }
    assert_eq!(states(&world).await, [(1, "closed".to_owned())]);

    // Another drift is another question, and takes the place of one that is still open.
    edit(&world, "medical", 78).await;
    assert_eq!(world.apply().await.code, Some(1));
    edit(&world, "medical", 79).await;
    assert_eq!(world.apply().await.code, Some(1));
    let now = [
        (3, "open".to_owned()),
        (2, "closed".to_owned()),
        (1, "closed".to_owned()),
    ];
    assert_eq!(states(&world).await, now);

    // The first one was closed by a person and stays so; the second one was not, so it is asked anew.
    edit(&world, "medical", 77).await;
    assert_eq!(world.apply().await.code, Some(1));
    assert_eq!(states(&world).await[0].0, 3);
    edit(&world, "medical", 78).await;
    assert_eq!(world.apply().await.code, Some(1));
    let now = states(&world).await;
    assert_eq!(now[..2], [(4, "open".to_owned()), (3, "closed".to_owned())]);

    // Put back by hand, there is nothing left to ask.
    edit(&world, "medical", 10).await;
    assert_eq!(world.apply().await.code, Some(0));
    let now = states(&world).await;
    assert!(now.iter().all(|(_, state)| state == "closed"), "{now:?}");
    assert_eq!(world.entries("drift.withdrawn").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_appears_on_a_system_is_declared_for_that_one() {
    let world = proposing().await;
    let spec = json!({"enabled": true, "rollout": 5, "owner": "sato"});
    world
        .system("medical")
        .edit("FeatureFlag/by_hand", spec)
        .await;
    let notice = json!({"title": "by hand"});
    world.system("medical").edit("Notice/x", notice).await;
    for _ in 0..2 {
        assert_eq!(world.apply().await.code, Some(1));
    }
    let all = proposals(&world).await;
    assert_eq!(all.len(), 1, "{all:#?}");
    let flags = flags_of(&world, &all[0]);
    assert!(flags.contains("// flags for both"), "{flags}");
    assert!(flags.contains("by_hand"), "{flags}");
    let said = all[0]["description"].as_str().unwrap();
    let (_, left) = said.split_once("Left out").unwrap();
    assert!(left.contains("`Notice/x`"), "{said}");
    assert!(left.contains("no document declares"), "{said}");

    merge(&world, "1").await;
    // What was left out still stands there, and nothing else does.
    assert_eq!(world.apply().await.code, Some(1));
    let (_, why) = world.standing("medical").await;
    assert!(
        why.contains("Notice/x") && !why.contains("by_hand"),
        "{why}"
    );
    let resources = world.system("voicedrive").resources().await;
    assert!(!resources.contains_key("FeatureFlag/by_hand"));
    assert_eq!(proposals(&world).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_was_put_in_the_way_is_not_proposed() {
    let world = proposing().await;
    edit(&world, "medical", 77).await;
    assert_eq!(world.apply().await.code, Some(1));
    let branch = proposals(&world).await[0]["branch"]
        .as_str()
        .unwrap()
        .to_owned();
    // The same drift in another world, where somebody has taken the name with something else on it.
    let other = proposing().await;
    other.set_rollout(99);
    other.git_in("work", &["commit", "--quiet", "-am", "not what is live"]);
    other.git_in(
        "work",
        &["push", "--quiet", "origin", &format!("HEAD:{branch}")],
    );
    edit(&other, "medical", 77).await;
    assert_eq!(other.apply().await.code, Some(1));
    let all = proposals(&other).await;
    assert_eq!(all.len(), 1, "{all:#?}");
    assert_eq!(all[0]["branch"], format!("{branch}-2"));
    assert!(flags_of(&other, &all[0]).contains("\"rollout\": 77"));
    assert!(all[0]["description"].as_str().unwrap().contains(FLAG));
}
