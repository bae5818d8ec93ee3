//! `limits:` of a system, and that a slow system holds up no other.

use crate::world::proxy::Side;
use crate::world::{Layout, SETTINGS, World, eventually};

/// Three systems, each for itself, with one flag.
async fn three(limits: &str) -> World {
    let names = ["a", "b", "c"].map(str::to_owned);
    let world = World::bare(Layout {
        systems: &names,
        groups: "  each: {systems: [a, b, c], consistency: independent}\n",
        store: "store.db",
    })
    .await;
    let config = world.config("");
    let limited = config.replacen(
        "    credential: test\n",
        &format!("    credential: test\n{limits}"),
        1,
    );
    world.write("lockstep.yaml", &limited);
    flag(&world, 10);
    world.commit("start");
    world.settings(&SETTINGS);
    world
}

fn flag(world: &World, rollout: u32) {
    world.write(
        "config/feature-flags.json",
        &format!(
            "{{\"one\": {{\"enabled\": true, \"rollout\": {rollout}, \"teams\": [\"a\", \"b\", \"c\"], \"owner\": \"sato\", \
             \"expires\": \"2099-12-31\"}}}}\n"
        ),
    );
}

async fn has(world: &World, system: &str, rollout: u64) {
    eventually(&format!("{system} has {rollout}"), async || {
        let resources = world.system(system).resources().await;
        let flag = resources.get("FeatureFlag/one")?;
        (flag["rollout"].as_u64() == Some(rollout)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_system_in_an_independent_group_delays_no_other() {
    let world = three("").await;
    let _server = world.start(&["run"], "run.log");
    for system in ["a", "b", "c"] {
        has(&world, system, 10).await;
    }
    world.system("a").proxy.hold_at("/changesets", Side::Before);
    flag(&world, 20);
    world.commit("raise");
    world.system("a").proxy.stopped().await;
    // It is asked, and does not answer.
    has(&world, "b", 20).await;
    has(&world, "c", 20).await;
    flag(&world, 30);
    world.commit("raise again");
    let slow = world.system("a").resources().await;
    assert_eq!(slow["FeatureFlag/one"]["rollout"], 10);
    world.system("a").proxy.release();
    for system in ["a", "b", "c"] {
        has(&world, system, 30).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_fails_again_and_again_is_left_in_peace() {
    let mut world =
        three("    limits: {breaker: {failures: 2, pause: 1h}, concurrency: 1, batch: 16}\n").await;
    let server = world.start(&["run", "--log", "info"], "run.log");
    for system in ["a", "b", "c"] {
        has(&world, system, 10).await;
    }
    world.system_mut("a").kill();
    flag(&world, 20);
    world.commit("raise");
    has(&world, "b", 20).await;
    eventually("it is said that it is left in peace", async || {
        let said = server.output();
        said.contains("left in peace").then_some(())
    })
    .await;
    world.system_mut("a").restart().await;
    // A new definition is a new beginning.
    let config = std::fs::read_to_string(world.path("work/lockstep.yaml")).unwrap();
    world.write(
        "lockstep.yaml",
        &config.replace("pause: 1h", "pause: 100ms"),
    );
    world.commit("ask sooner");
    has(&world, "a", 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_that_are_none_are_shown_where_they_stand() {
    let world = three(
        "    limits: {concurrency: 0, rate: fast, timeout: 5, breaker: {failures: 3}, burst: 2}\n",
    )
    .await;
    let output = world.run(&["check"]).await;
    let said =
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    for part in [
        "`concurrency` is at least 1",
        "\"fast\" can't be `rate`",
        "write it like 10/s or 300/m",
        "pause: 30s",
        "burst",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}
