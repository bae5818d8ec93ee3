//! Only its own: what Lockstep made or the repo declared is deleted, and nothing else that stands on a system.

use serde_json::json;

use crate::world::{FLAGS, World};

const NO_CEILINGS: &str =
    "safety: {default: {deletes: {percent: 100, count: 100}, updates: {percent: 100}, small: 0}}\n";
const LEGACY: &str = "FeatureFlag/legacy";

fn without(name: &str) -> String {
    let lines = FLAGS.lines().filter(|l| !l.contains(name));
    lines.collect::<Vec<_>>().join("\n")
}

fn with_mode(world: &World, mode: &str) -> String {
    let config = world.config(NO_CEILINGS);
    config.replacen("    kinds:", &format!("    mode: {mode}\n    kinds:"), 1)
}

async fn has(world: &World, system: &str, id: &str) -> bool {
    world.system(system).resources().await.contains_key(id)
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_09_what_was_there_before_stays() {
    let world = World::with(NO_CEILINGS).await;
    let medical = world.system("medical");
    medical
        .edit(LEGACY, json!({"enabled": true, "rollout": 5}))
        .await;
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.standing("medical").await.0, "in_step");
    assert!(has(&world, "medical", LEGACY).await);

    // Nothing is left to do, and looking again costs what it always does.
    world.forget_requests();
    assert_eq!(world.apply().await.code, Some(0));
    let log = medical.proxy.take_log();
    assert!(log.iter().all(|s| s.what.starts_with("GET")), "{log:?}");

    // What the repo no longer declares goes; what it never declared stays.
    world.write("config/feature-flags.json", &without("night_mode"));
    let revision = world.commit("no night mode any more");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!has(&world, "medical", "FeatureFlag/night_mode").await);
    assert!(has(&world, "medical", LEGACY).await);
    assert_eq!(world.states(&revision), ["success"; 3]);
    assert_eq!(world.entries("drift.found").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_adds_is_said_and_left_until_it_is_declared() {
    const EVE: &str = "AccessGrant/admin/eve";
    let world = World::with(NO_CEILINGS).await;
    world.ok(&["apply"]).await;
    world.system("medical").edit(EVE, json!({})).await;
    for _ in 0..2 {
        let ended = world.apply().await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(has(&world, "medical", EVE).await);
        let (standing, why) = world.standing("medical").await;
        assert_eq!(standing, "adrift");
        assert!(why.contains(EVE) && why.contains("declare it"), "{why}");
    }
    let found = world.entries("drift.found").await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].body["changes"][0]["id"], EVE);

    // It keeps nobody from moving.
    world.set_rollout(25);
    let revision = world.commit("raise the rollout");
    assert_eq!(world.apply().await.code, Some(1));
    assert_eq!(world.rollouts().await, [Some(25), Some(25)]);
    assert!(has(&world, "medical", EVE).await);
    assert_eq!(world.outcomes().await, ["applied", "applied"]);
    assert!(
        world
            .statuses(&revision)
            .contains_key("lockstep/apply/medical")
    );

    // Declared it is adopted; no longer declared it is deleted.
    let admins = |names: &str| {
        format!(
            "{{ \"admin_users\": [{names}], \"readonly_users\": [\"user100\"], \"blocked_ips\": [\"203.0.113.7\"] }}\n"
        )
    };
    world.write(
        "config/access-control.json",
        &admins("\"user001\", \"eve\""),
    );
    world.commit("eve is an admin");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(has(&world, "voicedrive", EVE).await);
    world.write("config/access-control.json", &admins("\"user001\""));
    world.commit("eve leaves");
    assert_eq!(world.apply().await.code, Some(0));
    assert!(!has(&world, "medical", EVE).await);
    assert_eq!(world.entries("drift.found").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mode_left_there_is_still_lockstep_s() {
    let world = World::with(NO_CEILINGS).await;
    world.ok(&["apply"]).await;
    world.write("lockstep.yaml", &with_mode(&world, "upsert"));
    world.write("config/feature-flags.json", &without("night_mode"));
    world.commit("medical is only added to");
    world.apply().await;
    assert!(has(&world, "medical", "FeatureFlag/night_mode").await);
    assert!(!has(&world, "voicedrive", "FeatureFlag/night_mode").await);
    world.write("lockstep.yaml", &with_mode(&world, "enforce"));
    world.commit("medical is enforced again");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!has(&world, "medical", "FeatureFlag/night_mode").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_ahead_of_its_revision_is_lockstep_s_too() {
    // Blocked while the other system was away, unblocked before that revision ever became good: the block goes again.
    const BLOCK: &str = "IpBlock/203.0.113.8/32";
    let mut world = World::with(NO_CEILINGS).await;
    world.ok(&["apply"]).await;
    world.system_mut("voicedrive").kill();
    let blocked = |more: &str| {
        format!(
            "{{ \"admin_users\": [\"user001\"], \"readonly_users\": [\"user100\"], \"blocked_ips\": [\"203.0.113.7\"{more}] }}\n"
        )
    };
    world.write("config/access-control.json", &blocked(", \"203.0.113.8\""));
    world.set_rollout(25);
    world.commit("block an address");
    assert_eq!(world.apply().await.code, Some(1));
    assert!(has(&world, "medical", BLOCK).await);
    world.write("config/access-control.json", &blocked(""));
    world.commit("unblock it");
    // Unblocking widens, so it waits.
    assert_eq!(world.apply().await.code, Some(1));
    assert!(has(&world, "medical", BLOCK).await);
    world.system_mut("voicedrive").restart().await;
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!has(&world, "medical", BLOCK).await);
    assert_eq!(world.rollouts().await, [Some(25), Some(25)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_repos_on_one_system_are_told_of_each_other() {
    let world = World::in_step().await;
    // Another hospital's config repo names the same systems, and declares a flag that is not its own.
    world.git(&[
        "init",
        "--quiet",
        "--bare",
        "--initial-branch=main",
        "other.git",
    ]);
    world.git_in("work", &["checkout", "--quiet", "--orphan", "other"]);
    world.set_rollout(50);
    world.git_in("work", &["add", "-A"]);
    world.git_in("work", &["commit", "--quiet", "-m", "another beginning"]);
    world.git_in("work", &["push", "--quiet", "../other.git", "HEAD:main"]);
    let settings = std::fs::read_to_string(world.path("lockstep.toml")).unwrap();
    let settings = settings.replace("store.db", "other.db");
    std::fs::write(world.path("other.toml"), settings).unwrap();
    let output = apply_other(&world).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let first = |repo: &str| {
        let beginning = world.git_in(repo, &["rev-list", "--max-parents=0", "main"]);
        format!("config repo {}", &beginning[..10])
    };
    let (ours, theirs) = (first("config.git"), first("other.git"));
    assert!(said.contains(&format!("belongs to {ours}")), "{said}");
    assert!(
        said.contains(&format!("{theirs} may not change it")),
        "{said}"
    );
    // Deliberately: it goes on under the other's mark.
    let settings = std::fs::read_to_string(world.path("other.toml")).unwrap();
    std::fs::write(
        world.path("other.toml"),
        format!("mark = {ours:?}\n{settings}"),
    )
    .unwrap();
    let output = apply_other(&world).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(world.rollouts().await, [Some(50), Some(50)]);
}

/// A pass over the other config repo.
async fn apply_other(world: &World) -> std::process::Output {
    let mut other = std::process::Command::new(env!("CARGO_BIN_EXE_lockstep"));
    other
        .args(["apply", "--repo", "other.git"])
        .args(["--settings", "other.toml", "--lang", "en"])
        .current_dir(world.dir.path());
    tokio::task::spawn_blocking(move || other.output().unwrap())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_that_is_cut_off_says_that_it_has_no_mark() {
    let world = World::new().await;
    world.commit("a second step");
    let from = format!("file://{}", world.path("config.git").display());
    world.git(&[
        "clone",
        "--quiet",
        "--bare",
        "--depth=1",
        &from,
        "other.git",
    ]);
    std::fs::copy(world.path("lockstep.toml"), world.path("other.toml")).unwrap();
    let output = apply_other(&world).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.matches("this clone is cut off").count(), 1, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_and_is_forgotten_by_git_waits_for_a_person() {
    let world = World::with(NO_CEILINGS).await;
    let first = world.git_in("work", &["rev-parse", "HEAD"]);
    let access = |admins: &str| {
        format!("{{ \"admin_users\": [{admins}], \"readonly_users\": [], \"blocked_ips\": [] }}\n")
    };
    let path = "config/access-control.json";
    world.write(path, &access("\"user001\", \"user002\""));
    let flag = FLAGS.replace("\"night_mode\"", "\"day_mode\": { \"enabled\": true, \"owner\": \"sato\", \"expires\": \"2027-12-31\" }, \"night_mode\"");
    world.write("config/feature-flags.json", &flag);
    let good = world.commit("a flag and an admin more");
    world.ok(&["apply"]).await;
    // History is written anew, and git forgets what was there: main goes elsewhere from the beginning on.
    world.git_in("work", &["reset", "--quiet", "--hard", first.trim()]);
    world.write(path, &access("\"user001\""));
    world.set_rollout(25);
    world.git_in("work", &["add", "-A"]);
    world.git_in("work", &["commit", "--quiet", "-m", "another way"]);
    world.git_in(
        "work",
        &["push", "--quiet", "--force", "origin", "HEAD:main"],
    );
    let revision = world.git_in("work", &["rev-parse", "HEAD"]);
    world.git_in("config.git", &["gc", "--quiet", "--prune=now"]);

    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let lost = format!(
        "{}, which it is at, is not in the repository any more",
        &good[..10]
    );
    let (standing, why) = world.standing("medical").await;
    assert_eq!(standing, "held", "{why}");
    assert!(why.contains(&lost), "{why}");
    assert!(why.contains("fetch it back"), "{why}");
    let (state, said) = &world.statuses(revision.trim())["lockstep/apply"];
    assert_eq!(state, "failure");
    assert!(said.contains("held until plan"), "{said}");
    assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
    // What is on the systems and nobody knows to be Lockstep's stays.
    for system in ["medical", "voicedrive"] {
        assert!(has(&world, system, "AccessGrant/admin/user002").await);
    }
    let digest = why.split("plan ").nth(1).unwrap();
    let digest = digest.split_whitespace().next().unwrap();
    let args = ["release", "--plan", digest, "--because", "I have looked"];
    let released = world.run_as("tanaka", &args).await;
    assert!(released.status.success(), "{released:?}");
    let ended = world.apply().await;
    assert_eq!(world.rollouts().await, [Some(25), Some(25)], "{ended:?}");
    let (_, why) = world.standing("medical").await;
    assert!(why.contains("AccessGrant/admin/user002"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_another_name_has_the_same_resources() {
    // The group is renamed and a grant revoked in one merge: it is still Lockstep's to delete.
    let world = World::with(NO_CEILINGS).await;
    world.write(
        "config/access-control.json",
        "{ \"admin_users\": [\"user001\", \"user002\"], \"readonly_users\": [], \"blocked_ips\": [] }\n",
    );
    world.commit("two admins");
    world.ok(&["apply"]).await;
    let config = world.config(NO_CEILINGS);
    world.write("lockstep.yaml", &config.replace("hospital:", "clinic:"));
    world.write(
        "config/access-control.json",
        "{ \"admin_users\": [\"user001\"], \"readonly_users\": [], \"blocked_ips\": [] }\n",
    );
    world.commit("the hospital is a clinic, and user002 leaves");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for system in ["medical", "voicedrive"] {
        assert!(!has(&world, system, "AccessGrant/admin/user002").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_joins_brings_what_it_has() {
    let world = World::with(NO_CEILINGS).await;
    // At first there is medical alone.
    let both = world.config(NO_CEILINGS);
    let start = both.find("  voicedrive:\n").unwrap();
    let end = both.find("groups:").unwrap();
    let one = format!("{}{}", &both[..start], &both[end..])
        .replace("systems: [medical, voicedrive]", "systems: [medical]");
    world.write("lockstep.yaml", &one);
    world.write(
        "config/feature-flags.json",
        "{ \"night_mode\": { \"enabled\": false, \"owner\": \"sato\", \"expires\": \"2027-12-31\" } }\n",
    );
    world.commit("medical alone");
    world.ok(&["apply"]).await;
    world
        .system("voicedrive")
        .edit(LEGACY, json!({"enabled": true}))
        .await;
    world.write("lockstep.yaml", &both);
    world.commit("voicedrive joins");
    for _ in 0..2 {
        let ended = world.apply().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    assert!(has(&world, "voicedrive", LEGACY).await);
    assert!(has(&world, "voicedrive", "FeatureFlag/night_mode").await);
    assert_eq!(world.standing("voicedrive").await.0, "in_step");
    assert_eq!(world.entries("drift.found").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_ahead_is_withdrawn_where_drift_is_only_reported_too() {
    const BLOCK: &str = "IpBlock/203.0.113.8/32";
    let mut world = World::with(NO_CEILINGS).await;
    let config = world.config(NO_CEILINGS);
    world.write(
        "lockstep.yaml",
        &config.replace("    kinds:", "    drift: report\n    kinds:"),
    );
    world.commit("drift is only reported");
    world.ok(&["apply"]).await;
    world.system_mut("voicedrive").kill();
    let blocked = |more: &str| {
        format!(
            "{{ \"admin_users\": [\"user001\"], \"readonly_users\": [\"user100\"], \"blocked_ips\": [\"203.0.113.7\"{more}] }}\n"
        )
    };
    world.write("config/access-control.json", &blocked(", \"203.0.113.8\""));
    world.set_rollout(25);
    world.commit("block an address");
    world.apply().await;
    assert!(has(&world, "medical", BLOCK).await);
    world.write("config/access-control.json", &blocked(""));
    world.commit("unblock it");
    world.system_mut("voicedrive").restart().await;
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!has(&world, "medical", BLOCK).await);
}
