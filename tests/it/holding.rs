//! What is held: by a freeze until it ends, and for good what would shut Lockstep out.

use crate::world::{World, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_for_the_end_of_a_freeze_goes_by_itself() {
    let world = World::in_step().await;
    // Long enough that the first pass is within it on a busy machine.
    let now = lockstep::clock::Clock::now(&lockstep::clock::SystemClock);
    let until = now + jiff::SignedDuration::from_secs(8);
    let freeze = format!(
        "freezes:\n  - {{name: deploy, from: 2020-01-01T00:00Z, until: {until}, except: [narrowing]}}\n"
    );
    world.write("lockstep.yaml", &world.config(&freeze));
    world.set_rollout(25);
    let revision = world.commit("raise the rollout");
    let mut lockstep = world.start(&["run"], "run.log");
    eventually("it is held", async || {
        (world.standing("medical").await.0 == "held").then_some(())
    })
    .await;
    assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
    let (_, said) = &world.statuses(&revision)["lockstep/apply/medical"];
    assert!(said.contains("during the freeze deploy"), "{said}");
    eventually("it goes when the freeze is over", async || {
        (world.rollouts().await == [Some(25), Some(25)]).then_some(())
    })
    .await;
    eventually("the statuses say so", async || {
        (world.states(&revision) == ["success"; 3]).then_some(())
    })
    .await;
    lockstep.terminate();
    assert_eq!(lockstep.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_shuts_lockstep_out() {
    let world =
        World::with("safety: {default: {deletes: {percent: 100, count: 9}, small: 0}}\n").await;
    let access = |admins: &str| {
        format!("{{ \"admin_users\": [{admins}], \"readonly_users\": [], \"blocked_ips\": [] }}\n")
    };
    world.write(
        "config/access-control.json",
        &access("\"user001\", \"svc-lockstep\""),
    );
    world.commit("Lockstep's own account");
    world.ok(&["apply"]).await;
    let settings = std::fs::read_to_string(world.path("lockstep.toml")).unwrap();
    let own = "[credentials.test]\nidentity = \"svc-lockstep\"\n";
    std::fs::write(
        world.path("lockstep.toml"),
        settings.replace("[credentials.test]\n", own),
    )
    .unwrap();
    world.write("config/access-control.json", &access("\"user001\""));
    world.commit("who is svc-lockstep?");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.out.contains("would shut Lockstep itself out"),
        "{ended:?}"
    );
    let plan = ended.out.split("plan ").nth(1).unwrap();
    let plan = plan.split_whitespace().next().unwrap();
    let released = world
        .run_as("tanaka", &["release", "--plan", plan, "--because", "sure"])
        .await;
    assert_eq!(released.status.code(), Some(2), "{released:?}");
    assert_eq!(world.apply().await.code, Some(1));
    let medical = world.system("medical").resources().await;
    assert!(medical.contains_key("AccessGrant/admin/svc-lockstep"));
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_08_nobody_can_release_that_no_admin_is_left() {
    let world =
        World::with("safety: {default: {deletes: {percent: 100, count: 9}, small: 0}}\n").await;
    let access = |admins: &str| {
        format!(
            "{{ \"admin_users\": [{admins}], \"readonly_users\": [\"user009\"], \"blocked_ips\": [] }}\n"
        )
    };
    world.write("config/access-control.json", &access("\"user001\""));
    world.commit("one admin");
    world.ok(&["apply"]).await;
    world.write("config/access-control.json", &access(""));
    world.commit("none");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended
            .out
            .contains("none would be left; nobody can release that"),
        "{ended:?}"
    );
    let plan = ended.out.split("plan ").nth(1).unwrap();
    let plan = plan.split_whitespace().next().unwrap();
    let released = world
        .run_as("tanaka", &["release", "--plan", plan, "--because", "sure"])
        .await;
    assert_eq!(released.status.code(), Some(2), "{released:?}");
    assert_eq!(world.apply().await.code, Some(1));
    let admins = |resources: &std::collections::BTreeMap<String, serde_json::Value>| {
        let named = |id: &str| id.starts_with("AccessGrant/admin/");
        resources
            .keys()
            .filter(|id| named(id))
            .cloned()
            .collect::<Vec<_>>()
    };
    let medical = world.system("medical").resources().await;
    assert_eq!(admins(&medical), ["AccessGrant/admin/user001"]);
    // The next one first, and the other may go.
    world.write("config/access-control.json", &access("\"user002\""));
    world.commit("another");
    assert_eq!(world.apply().await.code, Some(0));
    let medical = world.system("medical").resources().await;
    assert_eq!(admins(&medical), ["AccessGrant/admin/user002"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_without_a_reason_is_none() {
    let world = World::new().await;
    for blank in ["", "  ", "\u{3000}\n"] {
        let released = world
            .run_as(
                "tanaka",
                &["release", "--plan", "00000000", "--because", blank],
            )
            .await;
        assert_eq!(released.status.code(), Some(2), "{released:?}");
        let said = String::from_utf8_lossy(&released.stderr).into_owned();
        assert!(said.contains("say why this plan may pass"), "{said}");
    }
    assert!(world.entries("plan.released").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_08_a_ceiling_loosened_in_the_same_merge_still_holds() {
    let safety = |percent: u32| {
        format!(
            "safety: {{default: {{deletes: {{percent: {percent}, count: 9}}, updates: {{percent: 100}}, small: 0}}}}\n"
        )
    };
    let world = World::with(&safety(20)).await;
    world.ok(&["apply"]).await;
    world.write("lockstep.yaml", &world.config(&safety(100)));
    let without = |name: &str| {
        let lines = crate::world::FLAGS.lines().filter(|l| !l.contains(name));
        lines.collect::<Vec<_>>().join("\n")
    };
    world.write("config/feature-flags.json", &without("night_mode"));
    world.commit("more may be deleted, and is");
    for _ in 0..2 {
        let ended = world.apply().await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.out.contains("the limit is 0"), "{ended:?}");
    }
    // Loosened first and used afterwards it may.
    world.write("config/feature-flags.json", crate::world::FLAGS);
    world.commit("keep it for now");
    assert_eq!(world.apply().await.code, Some(0));
    world.write("config/feature-flags.json", &without("night_mode"));
    world.commit("now it goes");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_revision_supersedes_what_could_not_be_applied() {
    let world = World::in_step().await;
    let voicedrive = world.system("voicedrive");
    voicedrive
        .set_faults(serde_json::json!({"refuse_prepare": "not now"}))
        .await;
    world.set_rollout(25);
    let first = world.commit("raise the rollout");
    assert_eq!(world.apply().await.code, Some(1));
    assert_eq!(world.states(&first), ["failure"; 3]);
    voicedrive.set_faults(serde_json::json!({})).await;
    world.set_rollout(20);
    let second = world.commit("a little less");
    assert_eq!(world.apply().await.code, Some(0));
    assert_eq!(world.states(&second), ["success"; 3]);
    // Each commit says what became of it, and by which it was overtaken.
    assert_eq!(world.states(&first), ["success"; 3]);
    let (_, said) = &world.statuses(&first)["lockstep/apply/medical"];
    assert_eq!(
        *said,
        format!("superseded by {}, which is applied", &second[..10])
    );
}
