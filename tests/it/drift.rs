//! What somebody changes on a system behind Lockstep's back.

use serde_json::{Value, json};

use crate::adopt::proposals;
use crate::world::{FLAGS, SETTINGS, Settings, World, eventually};

const FLAG: &str = "FeatureFlag/ai_assistant";

/// Sets the flag's rollout on one system, past Lockstep.
pub(crate) async fn edit(world: &World, system: &str, rollout: u64) {
    let system = world.system(system);
    let mut spec = system.resources().await[FLAG].clone();
    spec["rollout"] = json!(rollout);
    system.edit(FLAG, spec).await;
}

async fn flag(world: &World, system: &str, name: &str) -> Value {
    let resources = world.system(system).resources().await;
    resources[&format!("FeatureFlag/{name}")].clone()
}

/// The usual definitions, with another drift policy for medical.
pub(crate) fn with_drift(world: &World, policy: &str) -> String {
    let config = world.config("");
    config.replacen(
        "    credential: test\n",
        &format!("    credential: test\n    drift: {policy}\n"),
        1,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_put_back_and_recorded_once() {
    let world = World::in_step().await;
    edit(&world, "medical", 77).await;
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
    assert_eq!(world.apply().await.code, Some(0));
    let found = world.entries("drift.found").await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].system.as_ref().unwrap().as_str(), "medical");
    let change = &found[0].body["changes"][0];
    assert_eq!(change["id"], FLAG);
    assert_eq!(change["found"]["rollout"], 77);
    assert_eq!(change["desired"]["rollout"], 10);
    let runs = world.entries("run.finished").await;
    assert_eq!(runs.last().unwrap().body["trigger"], "drift");
    assert_eq!(world.outcomes().await, ["applied", "applied"]);
    assert_eq!(world.standing("medical").await.0, "in_step");
    assert!(proposals(&world).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_that_cannot_be_put_back_is_recorded_once_too() {
    let world = World::in_step().await;
    let medical = world.system("medical");
    medical.set_faults(json!({"refuse_prepare": true})).await;
    edit(&world, "medical", 77).await;
    for _ in 0..3 {
        assert_eq!(world.apply().await.code, Some(1));
    }
    assert_eq!(world.entries("drift.found").await.len(), 1);
    medical.set_faults(json!({})).await;
    assert_eq!(world.apply().await.code, Some(0));
    assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
    assert_eq!(world.entries("drift.found").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_that_is_only_reported_stays() {
    let world = World::in_step().await;
    world.write("lockstep.yaml", &with_drift(&world, "report"));
    world.commit("only report drift on medical");
    assert_eq!(world.apply().await.code, Some(0));
    edit(&world, "medical", 77).await;
    for _ in 0..2 {
        assert_eq!(world.apply().await.code, Some(1));
        assert_eq!(world.rollouts().await, [Some(77), Some(10)]);
    }
    let (standing, why) = world.standing("medical").await;
    assert_eq!(standing, "adrift");
    assert!(why.contains(FLAG), "{why}");
    assert_eq!(world.entries("drift.found").await.len(), 1);
    assert!(proposals(&world).await.is_empty());

    // A merge carries what it changes and leaves what somebody else changed, then and afterwards.
    let flags = FLAGS.replace(
        "\"night_mode\": { \"enabled\": false",
        "\"night_mode\": { \"enabled\": true",
    );
    world.write("config/feature-flags.json", &flags);
    world.commit("night mode");
    for _ in 0..2 {
        assert_eq!(world.apply().await.code, Some(1));
        assert_eq!(world.rollouts().await, [Some(77), Some(10)]);
        assert_eq!(flag(&world, "medical", "night_mode").await["enabled"], true);
        assert_eq!(
            flag(&world, "voicedrive", "night_mode").await["enabled"],
            true
        );
        assert_eq!(world.standing("medical").await.0, "adrift");
    }
    assert_eq!(world.entries("drift.found").await.len(), 1);

    // A merge that changes this flag is about it, so it goes there.
    world.write(
        "config/feature-flags.json",
        &flags.replace("\"rollout\": 10", "\"rollout\": 20"),
    );
    world.commit("raise the rollout");
    assert_eq!(world.apply().await.code, Some(0));
    assert_eq!(world.rollouts().await, [Some(20), Some(20)]);
    assert_eq!(world.standing("medical").await.0, "in_step");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_being_changed_is_not_fought_over() {
    let world = World::in_step().await;
    world.settings(&Settings {
        systems: "50ms",
        ..SETTINGS
    });
    let mut lockstep = world.start(&["run"], "run.log");
    // Each time it is put back somebody changes it again, until nobody puts it back any more.
    let mut healed = 0;
    for rollout in 60..80 {
        edit(&world, "medical", rollout).await;
        let left = eventually("the drift is put back or given up", async || {
            if world.rollouts().await[0] == Some(10) {
                return Some(false);
            }
            let (standing, why) = world.standing("medical").await;
            (standing == "adrift" && why.contains("not put back")).then_some(true)
        })
        .await;
        if left {
            break;
        }
        healed += 1;
    }
    assert!((4..15).contains(&healed), "put back {healed} times");
    assert_ne!(world.rollouts().await[0], Some(10));

    // A person is asked whether it is to be so; once, whatever it is changed to next.
    let proposed = eventually("adopting it is proposed", async || {
        proposals(&world).await.into_iter().next()
    })
    .await;
    let branch = proposed["branch"].as_str().unwrap();
    assert!(branch.starts_with("lockstep/adopt-medical-"), "{branch}");
    let said = proposed["description"].as_str().unwrap();
    assert!(said.contains("It keeps being changed"), "{said}");
    edit(&world, "medical", 99).await;
    eventually("that is seen too", async || {
        let found = world.entries("drift.found").await;
        let newest = found.last()?.body["changes"][0]["found"]["rollout"].as_u64()?;
        (newest == 99).then_some(())
    })
    .await;
    lockstep.terminate();
    assert_eq!(lockstep.ended().await.code(), Some(0));
    assert_eq!(proposals(&world).await.len(), 1);
}
