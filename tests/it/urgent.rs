//! Safety does not wait for the slowest: what of a merge revokes, blocks or warns goes at once to every system that can take it.

use serde_json::json;

use crate::world::{FLAGS, World};

const MANY: &str = r#"{ "admin_users": ["user001", "user002", "user003"], "readonly_users": ["user100"], "blocked_ips": ["203.0.113.7"] }
"#;

/// A merge that revokes an admin, blocks an address and warns, and grants another admin and raises a rollout.
fn mixed(world: &World) -> String {
    world.write(
        "config/access-control.json",
        r#"{ "admin_users": ["user001", "user003", "user004"], "readonly_users": ["user100"], "blocked_ips": ["203.0.113.7", "203.0.113.8"] }
"#,
    );
    world.write(
        "security/urgent.md",
        "CRITICAL: CVE-2025-12345 update at once\n",
    );
    world.set_rollout(25);
    world.commit("user002 leaves, user004 comes")
}

/// What one system holds of what the merge is about: the revoked admin, the granted one, the blocked address, the notice, the rollout.
async fn held(world: &World, system: &str) -> (bool, bool, bool, bool, u64) {
    let resources = world.system(system).resources().await;
    let has = |id: &str| resources.contains_key(id);
    (
        has("AccessGrant/admin/user002"),
        has("AccessGrant/admin/user004"),
        has("IpBlock/203.0.113.8/32"),
        has("Notice/security/urgent"),
        resources["FeatureFlag/ai_assistant"]["rollout"]
            .as_u64()
            .unwrap(),
    )
}

const BEFORE: (bool, bool, bool, bool, u64) = (true, false, false, false, 10);
const URGENT: (bool, bool, bool, bool, u64) = (false, false, true, true, 10);
const WHOLE: (bool, bool, bool, bool, u64) = (false, true, true, true, 25);

/// Two systems with three admins each; small tables are not held.
async fn world() -> World {
    let world =
        World::with("safety: {default: {deletes: {percent: 50, count: 10}, updates: {percent: 100}, small: 0}}\n").await;
    world.write("config/access-control.json", MANY);
    world.commit("three admins");
    world.ok(&["apply"]).await;
    world.forget_requests();
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_01_safety_does_not_wait_for_the_slowest() {
    let mut world = world().await;
    world.system_mut("voicedrive").kill();
    let revision = mixed(&world);
    for _ in 0..2 {
        let ended = world.apply().await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(
            ended.err.contains("3 urgent changes verified; 2 more wait"),
            "{ended:?}"
        );
        assert_eq!(held(&world, "medical").await, URGENT);
    }
    // Both parts are said, each where it belongs, and the group is not at the revision.
    let statuses = world.statuses(&revision);
    let said = |of: &str| statuses[&format!("lockstep/apply{of}")].clone();
    let (state, medical) = said("/medical");
    assert_eq!(state, "failure");
    assert!(
        medical.starts_with("3 urgent changes verified; 2 more wait: could not reach voicedrive"),
        "{medical}"
    );
    assert!(
        said("").1.contains("could not reach voicedrive"),
        "{:?}",
        said("")
    );
    let (standing, why) = world.standing("medical").await;
    assert_eq!(standing, "behind");
    assert!(why.contains("2 more wait"), "{why}");
    // One run for the urgent part, however often it was looked at.
    assert_eq!(
        world.outcomes().await,
        ["applied", "unreachable", "applied"]
    );

    world.system_mut("voicedrive").restart().await;
    assert_eq!(held(&world, "voicedrive").await, BEFORE);
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for system in ["medical", "voicedrive"] {
        assert_eq!(held(&world, system).await, WHOLE);
    }
    assert_eq!(world.states(&revision), ["success"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_keeps_back_what_widens_and_nothing_else() {
    // One system refuses every changeset of more than the urgent ones: both still get those.
    let world = world().await;
    let voicedrive = world.system("voicedrive");
    voicedrive
        .set_faults(json!({"refuse_prepare": "closed for the night"}))
        .await;
    let revision = mixed(&world);
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(held(&world, "medical").await, URGENT);
    assert_eq!(held(&world, "voicedrive").await, BEFORE);
    let (_, said) = &world.statuses(&revision)["lockstep/apply/voicedrive"];
    assert!(said.contains("closed for the night"), "{said}");

    voicedrive.set_faults(json!({})).await;
    assert_eq!(world.apply().await.code, Some(0));
    for system in ["medical", "voicedrive"] {
        assert_eq!(held(&world, system).await, WHOLE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_holds_what_widens_and_lets_the_rest_through() {
    let world = world().await;
    let frozen = "safety: {default: {deletes: {percent: 50, count: 10}, updates: {percent: 100}, small: 0}}\n\
        freezes:\n  - {name: night, from: 2020-01-01T00:00+09:00, until: 2090-01-01T00:00+09:00, except: [narrowing, Notice]}\n";
    world.write("lockstep.yaml", &world.config(frozen));
    let revision = mixed(&world);
    assert_eq!(world.apply().await.code, Some(1));
    for system in ["medical", "voicedrive"] {
        assert_eq!(held(&world, system).await, URGENT);
    }
    let (_, said) = &world.statuses(&revision)["lockstep/apply/medical"];
    assert!(
        said.contains("3 urgent changes verified; 2 more wait"),
        "{said}"
    );

    // When it ends, what waited goes, planned anew.
    world.write(
        "lockstep.yaml",
        &world.config("safety: {default: {deletes: {percent: 50, count: 10}, updates: {percent: 100}, small: 0}}\n"),
    );
    world.commit("the night is over");
    assert_eq!(world.apply().await.code, Some(0));
    for system in ["medical", "voicedrive"] {
        assert_eq!(held(&world, system).await, WHOLE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn urgent_changes_have_ceilings_too() {
    // All admins but one revoked at once is urgent, and more than may be done unasked: the plan of that very system waits for a release.
    let mut world = world().await;
    world.system_mut("voicedrive").kill();
    world.write(
        "config/access-control.json",
        r#"{ "admin_users": ["user001"], "readonly_users": [], "blocked_ips": ["203.0.113.7", "203.0.113.8"] }
"#,
    );
    world.write("config/feature-flags.json", FLAGS);
    world.commit("most of them leave");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    // The block is within its ceiling and goes; the revocations wait.
    let medical = world.system("medical").resources().await;
    assert!(medical.contains_key("IpBlock/203.0.113.8/32"));
    assert!(medical.contains_key("AccessGrant/admin/user002"));
    world.apply().await;
    let (standing, why) = world.standing("medical").await;
    assert_eq!(standing, "held", "{why}");
    let digest = why
        .split("plan ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .unwrap()
        .to_owned();
    let released = world
        .run_as(
            "tanaka",
            &["release", "--plan", &digest, "--because", "the ward closes"],
        )
        .await;
    assert!(released.status.success(), "{released:?}");
    world.apply().await;
    let medical = world.system("medical").resources().await;
    assert!(!medical.contains_key("AccessGrant/admin/user002"));
    assert!(medical.contains_key("AccessGrant/admin/user001"));
}
