//! How processes end, and how they share a store.

use std::time::Duration;

use serde_json::json;

use crate::world::{SETTINGS, Settings, World, eventually};

/// What is promised is ten seconds; the rest is for machines that are busy with other things.
const ENDED: Duration = Duration::from_secs(15);

const SUCCESS: [&str; 3] = ["success", "success", "success"];

/// A reconciler in the middle of a run: voicedrive was asked this and does not answer.
async fn hanging(world: &World, fault: &str, asked: &str) -> (crate::world::Process, String) {
    world
        .system("voicedrive")
        .set_faults(json!({fault: 600_000}))
        .await;
    let lockstep = world.start(&["run"], "run.log");
    world.set_rollout(25);
    let revision = world.commit("raise the rollout");
    for (system, answered) in [("medical", true), ("voicedrive", false)] {
        eventually(
            "both systems were asked, and one has answered",
            async || {
                let log = world.system(system).proxy.log();
                let seen = log.iter().find(|s| s.what.ends_with(asked))?;
                (seen.status.is_some() == answered).then_some(())
            },
        )
        .await;
    }
    (lockstep, revision)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_a_hanging_run_in_time_and_the_next_start_finishes_it() {
    for (fault, asked, left) in [
        ("hang_prepare_ms", "/changesets", [Some(10), Some(10)]),
        ("hang_commit_ms", "/commit", [Some(25), Some(10)]),
    ] {
        let mut world = World::in_step().await;
        let (mut lockstep, revision) = hanging(&world, fault, asked).await;
        lockstep.terminate();
        let ended = lockstep.ended_within(ENDED).await;
        assert_eq!(ended.code(), Some(0), "{fault}: {}", lockstep.output());
        let said = lockstep.output();
        assert!(said.contains("the next start takes up"), "{said}");
        assert_eq!(world.rollouts().await, left, "{fault}");
        assert_eq!(world.states(&revision)[0], "pending", "{fault}");

        world.system("voicedrive").set_faults(json!({})).await;
        let mut lockstep = world.start(&["run"], "again.log");
        eventually("the run is finished", async || {
            (world.states(&revision) == SUCCESS).then_some(())
        })
        .await;
        assert_eq!(world.rollouts().await, [Some(25), Some(25)], "{fault}");
        lockstep.terminate();
        let ended = lockstep.ended_within(ENDED).await;
        assert_eq!(ended.code(), Some(0), "{}", lockstep.output());
        assert!(!lockstep.output().contains("the next start takes up"));
        world.ok(&["audit", "verify"]).await;
        assert_eq!(world.staged().await, 0, "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_it_at_once() {
    let world = World::in_step().await;
    let (mut lockstep, revision) = hanging(&world, "hang_commit_ms", "/commit").await;
    lockstep.terminate();
    eventually("it says what a second one does", async || {
        lockstep
            .output()
            .contains("once more ends it at once")
            .then_some(())
    })
    .await;
    lockstep.terminate();
    // Less than a run is given after the first.
    let ended = lockstep.ended_within(Duration::from_secs(5)).await;
    assert_eq!(ended.code(), Some(0), "{}", lockstep.output());
    // What held the lease is gone, so one pass is enough.
    world.system("voicedrive").set_faults(json!({})).await;
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.states(&revision), SUCCESS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_one_pass_as_well() {
    let world = World::in_step().await;
    world
        .system("voicedrive")
        .set_faults(json!({"hang_prepare_ms": 600_000}))
        .await;
    world.set_rollout(25);
    world.commit("raise the rollout");
    let mut pass = world.start(&["apply"], "apply.log");
    eventually("voicedrive is asked", async || {
        let log = world.system("voicedrive").proxy.log();
        log.iter().any(|s| s.what.starts_with("PUT")).then_some(())
    })
    .await;
    pass.terminate();
    let ended = pass.ended_within(ENDED).await;
    assert_eq!(ended.code(), Some(2), "{}", pass.output());
    world.system("voicedrive").set_faults(json!({})).await;
    assert_eq!(world.apply().await.code, Some(0));
    assert_eq!(world.rollouts().await, [Some(25), Some(25)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_reconciler_keeps_a_store_and_others_are_told_which() {
    let world = World::new().await;
    world.settings(&Settings {
        git: "1h",
        systems: "1h",
        ..SETTINGS
    });
    let mut first = world.start(&["run"], "first.log");
    eventually("the first sync", async || {
        (world.rollouts().await == [Some(10), Some(10)]).then_some(())
    })
    .await;
    let id = first.id();
    let second = world.run(&["run"]).await;
    assert_eq!(second.status.code(), Some(2), "{second:?}");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        said.contains(&format!("lockstep run (process {id}, since 20")),
        "{said}"
    );
    assert!(said.contains("store.db already"), "{said}");

    // Looking is for everybody; a pass is told who has the group.
    eventually("the first pass is over", async || {
        (world.standing("medical").await.0 == "in_step").then_some(())
    })
    .await;
    assert_eq!(world.run(&["status"]).await.status.code(), Some(0));
    let pass = world.apply().await;
    assert_eq!(pass.code, Some(1), "{pass:?}");
    assert!(
        pass.out.contains(&format!("lockstep run (process {id}")),
        "{pass:?}"
    );
    let nothing = [
        "release",
        "--plan",
        "0000000000",
        "--because",
        "none is held",
    ];
    let release = world.run_as("suzuki", &nothing).await;
    let said = String::from_utf8_lossy(&release.stderr).into_owned();
    assert!(said.contains("no held plan"), "{said}");

    // What a dead process said keeps nobody out.
    first.kill();
    let mut third = world.start(&["run"], "third.log");
    eventually("the third has the store", async || {
        third.output().contains("keeping").then_some(())
    })
    .await;
    world.set_rollout(25);
    world.commit("raise the rollout");
    eventually("and the group", async || {
        (world.rollouts().await == [Some(25), Some(25)]).then_some(())
    })
    .await;
    third.terminate();
    assert_eq!(
        third.ended_within(ENDED).await.code(),
        Some(0),
        "{}",
        third.output()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_served_system_ends_in_time_and_has_its_file_to_itself() {
    let mut world = World::in_step().await;
    world
        .system("voicedrive")
        .set_faults(json!({"hang_commit_ms": 600_000}))
        .await;
    world.set_rollout(25);
    world.commit("raise the rollout");
    let mut pass = world.start(&["apply"], "apply.log");
    eventually("voicedrive is asked to commit", async || {
        let log = world.system("voicedrive").proxy.log();
        log.iter()
            .any(|s| s.what.ends_with("/commit"))
            .then_some(())
    })
    .await;
    let database = world.path("voicedrive.db");
    let database = database.to_str().unwrap();
    let serve = [
        "system",
        "serve",
        "--name",
        "voicedrive",
        "--listen",
        "127.0.0.1:0",
        "--database",
        database,
    ];
    let second = world.run(&serve).await;
    assert_eq!(second.status.code(), Some(2), "{second:?}");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("open in another process"), "{said}");

    let process = world.system_mut("voicedrive").process();
    process.terminate();
    let ended = process.ended_within(ENDED).await;
    assert_eq!(ended.code(), Some(0), "{}", process.output());
    world.system_mut("voicedrive").restart().await;
    assert_eq!(pass.ended().await.code(), Some(0), "{}", pass.output());
    assert_eq!(world.rollouts().await, [Some(25), Some(25)]);
}
