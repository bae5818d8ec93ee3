//! What a proposal foretells, against what the engine then does, with a store that knows the systems.

use serde_json::Value;

use crate::world::World;

/// So many flags on both systems.
fn flags(rollouts: &[u32]) -> String {
    let lines: Vec<String> = rollouts
        .iter()
        .enumerate()
        .map(|(n, rollout)| {
            format!(
                "  \"flag_{n:02}\": {{ \"enabled\": true, \"rollout\": {rollout}, \"teams\": [\"medical\", \"voicedrive\"], \"owner\": \"sato\", \"expires\": \"2027-12-31\" }}"
            )
        })
        .collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

/// Proposes the flags on a branch, and shows what the gate says.
async fn proposed(world: &World, branch: &str, number: u64, rollouts: &[u32]) -> Value {
    world.git_in("work", &["fetch", "--quiet", "origin"]);
    world.git_in(
        "work",
        &["checkout", "--quiet", "-B", branch, "origin/main"],
    );
    world.write("config/feature-flags.json", &flags(rollouts));
    world.git_in("work", &["add", "-A"]);
    world.git_in("work", &["commit", "--quiet", "-m", branch]);
    world.git_in("work", &["push", "--quiet", "origin", branch]);
    world.ok(&["propose", "--branch", branch]).await;
    show(world, number).await
}

async fn show(world: &World, number: u64) -> Value {
    let number = number.to_string();
    let shown = world
        .ok(&["proposal", "show", &number, "--format", "json"])
        .await;
    serde_json::from_str(&shown).unwrap()
}

async fn merged(world: &World, number: &str) {
    for args in [
        ["proposal", "approve", number],
        ["proposal", "merge", number],
    ] {
        let output = world.run_as("tanaka", &args).await;
        assert!(output.status.success(), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slices_are_counted_together_and_the_digest_foretold_is_the_one_to_release() {
    let world = World::new().await;
    let mut rollouts = vec![10; 12];
    world.write("config/feature-flags.json", &flags(&rollouts));
    world.commit("twelve flags");
    world.ok(&["apply"]).await;

    // Three of twelve pass unasked; a fourth within the day does not.
    rollouts[..3].fill(20);
    let shown = proposed(&world, "three", 1, &rollouts).await;
    assert_eq!(shown["held"], serde_json::json!([]));
    assert_eq!(shown["uncounted"], serde_json::json!([]));
    assert_eq!(shown["before"]["medical"]["standing"], "in_step");
    merged(&world, "1").await;
    world.ok(&["apply"]).await;
    rollouts[3] = 20;
    let shown = proposed(&world, "fourth", 2, &rollouts).await;
    let hold = &shown["held"][0];
    assert_eq!(hold["group"], "hospital");
    assert_eq!(
        hold["breaches"][0]["message"],
        "medical: updates 4 of 12 FeatureFlag within 24 h; the limit is 3"
    );
    assert_eq!(hold["breaches"][1]["system"], "voicedrive");

    merged(&world, "2").await;
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let digest = hold["plan"].as_str().unwrap();
    let args = ["release", "--plan", digest, "--because", "agreed by phone"];
    let released = world.run_as("suzuki", &args).await;
    assert!(released.status.success(), "{released:?}");
    assert_eq!(world.apply().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_tells_how_the_systems_stood_before_it() {
    let mut world = World::in_step().await;
    world.system_mut("voicedrive").kill();
    world.set_rollout(20);
    world.commit("twenty");
    assert_eq!(world.apply().await.code, Some(1));
    let edit = ["propose", "--set", "flag.ai_assistant.rollout=30"];
    world.ok(&edit).await;
    let shown = show(&world, 1).await;
    assert_eq!(shown["before"]["medical"]["standing"], "behind");
    assert_eq!(shown["before"]["voicedrive"]["standing"], "unreachable");
    let comment = world
        .ok(&["proposal", "show", "1", "--format", "markdown"])
        .await;
    let second = comment
        .split("### Already adrift before it")
        .nth(1)
        .unwrap();
    let second = second.split("### ").next().unwrap();
    assert!(second.contains("- voicedrive: unreachable: "), "{comment}");
    assert!(second.contains("- medical: behind: "), "{comment}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_freeze_holds_is_released_by_the_role_that_it_excepts() {
    let world = World::with(
        "  kato: {name: 加藤, forge: kato, roles: [commander]}\n\
         freezes:\n  - {name: always, from: 2000-01-01, until: 2999-01-01, except: [narrowing, 'role:commander']}\n",
    )
    .await;
    // The first sync grants and switches on.
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let (_, rest) = ended.out.split_once("held until plan ").unwrap();
    let digest = rest.split_whitespace().next().unwrap();
    let args = ["release", "--plan", digest, "--because", "the ward opens"];
    let refused = world.run_as("sato", &args).await;
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("it takes the role approver or security or admin or commander"),
        "{said}"
    );
    let released = world.run_as("kato", &args).await;
    assert!(released.status.success(), "{released:?}");
    assert_eq!(world.apply().await.code, Some(0));

    // What a ceiling holds as well is beyond the role.
    world.write("config/feature-flags.json", &flags(&[5]));
    world.commit("all flags but a new one");
    let ended = world.apply().await;
    let (_, rest) = ended.out.split_once("held until plan ").unwrap();
    let digest = rest.split_whitespace().next().unwrap();
    let args = ["release", "--plan", digest, "--because", "the ward opens"];
    assert_eq!(world.run_as("kato", &args).await.status.code(), Some(2));
    assert_eq!(world.run_as("suzuki", &args).await.status.code(), Some(0));
}
