//! Fields of a resource that are not Lockstep's alone on a system: `fields:` of `lockstep.yaml`.

use serde_json::{Value, json};

use crate::adopt::{flags_of, merge, proposals};
use crate::world::{FLAGS, World};

const FLAG: &str = "FeatureFlag/ai_assistant";

/// The usual definitions, with modes for medical.
fn with_modes(world: &World, more: &str) -> String {
    world.config("").replacen(
        "    credential: test\n",
        &format!("    credential: test\n    fields: {{FeatureFlag: {{rollout: initial, owner: observed}}}}\n{more}"),
        1,
    )
}

/// A world in which the flag was made on medical under these modes.
async fn world() -> World {
    let world = World::new().await;
    world.write("lockstep.yaml", &with_modes(&world, ""));
    world.commit("rollout and owner are medical's");
    in_step(&world).await;
    world
}

async fn in_step(world: &World) {
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.standing("medical").await.0, "in_step");
}

/// The flag on medical.
async fn flag(world: &World) -> Value {
    world.system("medical").resources().await[FLAG].clone()
}

/// Sets fields of the flag there, past Lockstep.
async fn edit(world: &World, fields: Value) {
    let mut spec = flag(world).await;
    for (name, value) in fields.as_object().unwrap() {
        spec[name] = value.clone();
    }
    world.system("medical").edit(FLAG, spec).await;
}

/// What the last commit changes.
async fn planned(world: &World) -> String {
    let args = ["plan", "--base", "HEAD~1", "--head", "HEAD"];
    world.ok(&args).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_set_in_their_fields_stays_and_the_rest_is_put_back() {
    let world = world().await;
    let made = flag(&world).await;
    assert_eq!(made["rollout"], 10);
    assert_eq!(made.get("owner"), None, "{made}");
    let voicedrive = world.system("voicedrive").resources().await;
    assert_eq!(voicedrive[FLAG]["owner"], "sato");

    edit(&world, json!({"rollout": 40, "owner": "ward 3"})).await;
    world.forget_requests();
    in_step(&world).await;
    let log = world.system("medical").proxy.take_log();
    assert!(log.iter().all(|s| s.what.starts_with("GET")), "{log:?}");
    assert!(world.entries("drift.found").await.is_empty());
    let live = world.ok(&["plan", "--live"]).await;
    assert!(live.contains("No changes"), "{live}");

    // Together with a field of Lockstep's: that one alone is put back.
    edit(&world, json!({"enabled": false, "rollout": 45})).await;
    in_step(&world).await;
    let now = flag(&world).await;
    assert_eq!(
        (&now["enabled"], &now["rollout"], &now["owner"]),
        (&json!(true), &json!(45), &json!("ward 3"))
    );
    let found = world.entries("drift.found").await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].body["changes"][0]["desired"]["rollout"], 45);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_of_another_value_reaches_those_that_take_it_and_says_who_does_not() {
    let world = world().await;
    edit(&world, json!({"rollout": 40})).await;
    let flags = FLAGS.replace("\"rollout\": 10", "\"rollout\": 20");
    world.write("config/feature-flags.json", &flags);
    world.commit("a fifth of all");
    let plan = planned(&world).await;
    assert!(plan.contains("rollout 10% → 20%"), "{plan}");
    assert!(
        plan.contains("medical keeps what it has of FeatureFlag/ai_assistant rollout"),
        "{plan}"
    );
    in_step(&world).await;
    assert_eq!(world.rollouts().await, [Some(40), Some(20)]);

    // Given back to Lockstep, it is a change that the plan shows, and then there.
    world.write("lockstep.yaml", &world.config(""));
    world.commit("the rollout is the repo's again");
    let plan = planned(&world).await;
    assert!(
        plan.contains("ai_assistant") && plan.contains("medical"),
        "{plan}"
    );
    in_step(&world).await;
    assert_eq!(world.rollouts().await, [Some(20), Some(20)]);
    assert_eq!(flag(&world).await["owner"], "sato");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_proposed_of_drift_leaves_out_what_is_not_the_repo_s() {
    let world = world().await;
    world.write("lockstep.yaml", &with_modes(&world, "    drift: propose\n"));
    world.commit("propose what is changed on medical");
    in_step(&world).await;
    edit(&world, json!({"rollout": 40, "owner": "ward 3"})).await;
    in_step(&world).await;
    assert!(proposals(&world).await.is_empty());

    edit(&world, json!({"enabled": false})).await;
    assert_eq!(world.apply().await.code, Some(1));
    let all = proposals(&world).await;
    assert_eq!(all.len(), 1, "{all:#?}");
    let wanted = FLAGS.replacen("\"enabled\": true", "\"enabled\": false", 1);
    assert_eq!(flags_of(&world, &all[0]), wanted);
    merge(&world, "1").await;
    in_step(&world).await;
    assert_eq!(flag(&world).await["rollout"], 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_enforced_again_is_written_also_where_drift_is_only_reported() {
    let world = world().await;
    let report = "    drift: report\n";
    world.write("lockstep.yaml", &with_modes(&world, report));
    world.commit("report what is changed on medical");
    in_step(&world).await;
    edit(&world, json!({"rollout": 40})).await;
    in_step(&world).await;
    let credential = "    credential: test\n";
    let config = world.config("");
    let config = config.replacen(credential, &format!("{credential}{report}"), 1);
    world.write("lockstep.yaml", &config);
    world.commit("the rollout is the repo's again");
    in_step(&world).await;
    assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
    assert!(world.entries("drift.found").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lower_mode_kept_back_goes_out_also_where_drift_is_only_reported() {
    let world = World::in_step().await;
    let credential = "    credential: test\n";
    let config = |mode: &str| {
        let with = format!("{credential}    drift: report\n    mode: {mode}\n");
        world.config("").replacen(credential, &with, 1)
    };
    world.write("lockstep.yaml", &config("detect"));
    world.set_rollout(20);
    world.commit("medical is only looked at");
    assert_eq!(world.apply().await.code, Some(1));
    assert_eq!(world.rollouts().await, [Some(10), Some(20)]);
    world.write("lockstep.yaml", &config("enforce"));
    world.commit("medical is enforced");
    in_step(&world).await;
    assert_eq!(world.rollouts().await, [Some(20), Some(20)]);
}
