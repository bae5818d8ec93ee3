//! The promises of the design, one by one, as far as they can be seen from outside. What holds between two steps is in `crash`.

use serde_json::json;

use crate::world::{FLAGS, World};

#[tokio::test(flavor = "multi_thread")]
async fn promise_01_in_step() {
    // A system that is asked to commit while another still prepares would have broken its word: the other is held in prepare.
    let world = World::in_step().await;
    world.set_rollout(25);
    world.commit("raise the rollout");
    let (medical, voicedrive) = (world.system("medical"), world.system("voicedrive"));
    voicedrive.proxy.hold(3, crate::world::proxy::Side::Before);
    let mut pass = world.start(&["apply"], "apply.log");
    voicedrive.proxy.stopped().await;
    crate::world::eventually("medical has prepared", async || {
        let log = medical.proxy.log();
        let prepared = log.iter().find(|s| s.what.starts_with("PUT"))?;
        (prepared.status == Some(201)).then_some(())
    })
    .await;
    let committed =
        |log: &[crate::world::proxy::Seen]| log.iter().any(|s| s.what.ends_with("commit"));
    assert!(!committed(&medical.proxy.log()));
    assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
    voicedrive.proxy.release();
    assert_eq!(pass.ended().await.code(), Some(0), "{}", pass.output());
    assert!(committed(&medical.proxy.log()));
    assert_eq!(world.rollouts().await, [Some(25), Some(25)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_02_merged_only() {
    let world = World::in_step().await;
    world.set_rollout(25);
    world.git_in("work", &["commit", "--quiet", "-am", "raise the rollout"]);
    world.git_in(
        "work",
        &["push", "--quiet", "origin", "HEAD:refs/heads/raise"],
    );
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
    for system in &world.systems {
        let log = system.proxy.log();
        assert!(log.iter().all(|s| s.what.starts_with("GET")), "{log:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_03_judged_by_the_base() {
    // A proposal that replaces the policy which asks for approvals is still judged by it.
    let world = World::in_step().await;
    let opened = world
        .run(&["propose", "--set", "flag.ai_assistant.rollout=25"])
        .await;
    assert!(opened.status.success(), "{opened:?}");
    let branches = world.git_in(
        "config.git",
        &[
            "for-each-ref",
            "--format=%(refname:short)",
            "refs/heads/proposal",
        ],
    );
    let branch = branches.trim();
    world.git_in("work", &["fetch", "--quiet", "origin", branch]);
    world.git_in("work", &["checkout", "--quiet", "FETCH_HEAD"]);
    let nobody =
        "package lockstep\n\nwarn contains \"nobody need agree\" if count(input.changes) > 1000\n";
    world.write("policies/approvals.rego", nobody);
    world.git_in("work", &["commit", "--quiet", "-am", "nobody need agree"]);
    world.git_in(
        "work",
        &["push", "--quiet", "origin", &format!("HEAD:{branch}")],
    );
    let merged = world.run(&["proposal", "merge", "1"]).await;
    assert_eq!(merged.status.code(), Some(1), "{merged:?}");
    let main = world.git_in("config.git", &["show", "main:policies/approvals.rego"]);
    assert!(main.contains("second pair of eyes"), "{main}");

    // With the approval that the base asks for it may.
    let approved = world.run_as("suzuki", &["proposal", "approve", "1"]).await;
    assert!(approved.status.success(), "{approved:?}");
    world.ok(&["proposal", "merge", "1"]).await;
    world.ok(&["apply"]).await;
    assert_eq!(world.rollouts().await, [Some(25), Some(25)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_04_planning_cannot_write() {
    let world = World::new().await;
    let ended = world.run(&["plan", "--live"]).await;
    assert!(ended.status.success(), "{ended:?}");
    for system in &world.systems {
        let log = system.proxy.log();
        assert!(!log.is_empty());
        assert!(log.iter().all(|s| s.what.starts_with("GET")), "{log:?}");
        assert!(system.resources().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_05_complete_or_error() {
    let world = World::in_step().await;
    world.set_rollout(25);
    let revision = world.commit("raise the rollout");
    for drop in ["partial", "cut"] {
        world
            .system("voicedrive")
            .set_faults(json!({"drop_state": drop}))
            .await;
        let ended = world.apply().await;
        assert_eq!(ended.code, Some(1), "{drop}: {ended:?}");
        assert_eq!(world.states(&revision)[2], "failure", "{drop}");
        world.system("voicedrive").set_faults(json!({})).await;
        assert_eq!(world.rollouts().await, [Some(10), Some(10)], "{drop}");
    }
    assert_eq!(world.apply().await.code, Some(0));

    // From some to none asks for a person, even for a single row.
    world.write(
        "config/access-control.json",
        r#"{ "admin_users": ["user001"], "readonly_users": ["user100"], "blocked_ips": [] }"#,
    );
    world.commit("unblock everything");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("none would be left"), "{ended:?}");
    let blocked = world.system("medical").resources().await;
    assert!(blocked.contains_key("IpBlock/203.0.113.7/32"));
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_06_success_is_counted() {
    let world = World::new().await;
    let first = world.apply().await;
    assert!(first.out.contains("12 changes verified"), "{first:?}");
    let second = world.apply().await;
    assert!(second.out.contains("already in step"), "{second:?}");
    assert_eq!(second.code, Some(0));
    // A revision that changes nothing for the systems is zero of zero, and said so once.
    world.write("README.md", "# settings\n");
    let revision = world.commit("a word of explanation");
    let third = world.apply().await;
    assert!(third.out.contains("already in step"), "{third:?}");
    assert_eq!(world.states(&revision), ["success", "success", "success"]);
    world.ok(&["apply"]).await;
    assert_eq!(world.outcomes().await, ["applied", "in_step"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_08_ceilings_everywhere() {
    // Slices of a deletion add up over the window: the third of 20 % in one day is past it.
    let world =
        World::with("safety:\n  default: {deletes: {percent: 20, count: 10}, small: 3}\n").await;
    let flags = |gone: std::ops::Range<u32>| {
        let all = (0..20).filter(|n| !gone.contains(n)).map(|n| {
            format!(r#""flag_{n}": {{"enabled": true, "teams": ["medical"], "owner": "sato", "expires": "2027-12-31"}}"#)
        });
        format!("{{{}}}", all.collect::<Vec<_>>().join(",\n"))
    };
    world.write("config/feature-flags.json", &flags(0..0));
    world.commit("twenty flags");
    world.ok(&["apply"]).await;
    for gone in [2, 4] {
        world.write("config/feature-flags.json", &flags(0..gone));
        world.commit("fewer");
        world.ok(&["apply"]).await;
    }
    world.write("config/feature-flags.json", &flags(0..6));
    world.commit("fewer still");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.out.contains("deletes 6 of 20 FeatureFlag"),
        "{ended:?}"
    );
    let left = world.system("medical").resources().await;
    assert!(left.contains_key("FeatureFlag/flag_5"));
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_09_only_its_own() {
    // Two documents that declare one resource are an error, and nothing is applied.
    let world = World::in_step().await;
    world.write("more/feature-flags.json", FLAGS);
    let config = world.config("documents:\n  - {path: more/*.json, kind: FeatureFlag}\n");
    world.write("lockstep.yaml", &config);
    world.set_rollout(25);
    let revision = world.commit("the same flags twice");
    assert_eq!(world.apply().await.code, Some(1));
    assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
    assert_eq!(world.states(&revision)[0], "failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_10_status_is_state() {
    // Statuses that are lost are set again, on the commit they speak of.
    let world = World::in_step().await;
    let first = world.git_in("work", &["rev-parse", "HEAD"]);
    world.set_rollout(25);
    let second = world.commit("raise the rollout");
    world.ok(&["apply"]).await;
    let before = world.statuses(&second);
    world.git_in(
        "config.git",
        &["update-ref", "-d", "refs/notes/lockstep/statuses"],
    );
    assert_eq!(world.states(&second), ["none", "none", "none"]);
    world.ok(&["apply"]).await;
    assert_eq!(world.statuses(&second), before);
    assert_eq!(
        world.states(first.trim()),
        ["success", "success", "success"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_11_secrets_stay_out_of_sight() {
    // A proposal that points a system elsewhere does not get the credential sent there.
    let world = World::in_step().await;
    let elsewhere = crate::world::proxy::Proxy::start(world.system("medical").address).await;
    let (from, to) = (
        world.system("medical").proxy.address.to_string(),
        elsewhere.address.to_string(),
    );
    world.write("lockstep.yaml", &world.config("").replace(&from, &to));
    world.commit("another address");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(elsewhere.log(), []);
    let log = world.run(&["apply", "--log", "trace"]).await;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&log.stdout),
        String::from_utf8_lossy(&log.stderr)
    );
    assert!(!said.contains(crate::world::token()), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_12_cost_follows_change() {
    let world = World::in_step().await;
    let ended = world.apply().await;
    assert!(ended.out.contains("already in step"), "{ended:?}");
    for system in &world.systems {
        let log = system.proxy.take_log();
        assert_eq!(log.len(), 1, "{log:?}");
        assert_eq!(log[0].what, "GET /lockstep/v1/state/digests");
        assert!(log[0].conditional);
        assert_eq!(log[0].status, Some(304));
    }
    assert_eq!(world.outcomes().await, ["applied"]);
}
