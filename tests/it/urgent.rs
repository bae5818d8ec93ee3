//! Safety does not wait for the slowest: what of a merge revokes, blocks or warns goes at once to every system that can take it.

use serde_json::json;

use crate::world::front::{Fault, Front};
use crate::world::{FLAGS, SETTINGS, Settings, World, eventually};

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
    // One system refuses everything for now: the other gets what is urgent.
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

#[tokio::test(flavor = "multi_thread")]
async fn what_was_urgent_is_not_taken_back_with_its_revision() {
    // The next merge does not compile, so the group is held to the last good revision: who was revoked meanwhile stays so.
    let mut world = world().await;
    world.system_mut("voicedrive").kill();
    mixed(&world);
    world.apply().await;
    assert_eq!(held(&world, "medical").await, URGENT);
    world.system_mut("voicedrive").restart().await;
    world.write("config/feature-flags.json", "{ broken");
    world.commit("a slip");
    for _ in 0..2 {
        let ended = world.apply().await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let (revoked, granted, blocked, ..) = held(&world, "medical").await;
        assert_eq!((revoked, granted, blocked), (false, false, true));
    }
    let (standing, why) = world.standing("medical").await;
    assert_ne!(standing, "in_step");
    assert!(why.contains("urgent"), "{why}");
    world.set_rollout(25);
    world.commit("mended");
    assert_eq!(world.apply().await.code, Some(0));
    for system in ["medical", "voicedrive"] {
        assert_eq!(held(&world, system).await, WHOLE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_reconciler_sees_that_urgent_changes_were_released() {
    let mut world = world().await;
    world.system_mut("voicedrive").kill();
    world.write(
        "config/access-control.json",
        r#"{ "admin_users": ["user001"], "readonly_users": [], "blocked_ips": ["203.0.113.7"] }
"#,
    );
    world.set_rollout(25);
    world.commit("most of them leave");
    let mut lockstep = world.start(&["run"], "run.log");
    let digest = eventually("the revocations are held", async || {
        let (standing, why) = world.standing("medical").await;
        let digest = why.split("plan ").nth(1)?.split_whitespace().next()?;
        (standing == "held").then(|| digest.to_owned())
    })
    .await;
    let args = ["release", "--plan", &digest, "--because", "the ward closes"];
    let released = world.run_as("tanaka", &args).await;
    assert!(released.status.success(), "{released:?}");
    eventually("they are revoked", async || {
        let medical = world.system("medical").resources().await;
        (!medical.contains_key("AccessGrant/admin/user002")).then_some(())
    })
    .await;
    let held = world.entries("run.finished").await;
    let held = held
        .iter()
        .filter(|e| e.body["outcome"]["outcome"] == "held");
    assert_eq!(held.count(), 1, "said once");
    lockstep.terminate();
    assert_eq!(lockstep.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_ceiling_holds_keeps_no_block_back() {
    let world = World::with("safety: {default: {deletes: {percent: 10, count: 1}}}\n").await;
    world.ok(&["apply"]).await;
    let few = r#"{ "night_mode": { "enabled": false, "teams": ["medical", "voicedrive"], "owner": "sato", "expires": "2027-12-31" } }"#;
    world.write("config/feature-flags.json", few);
    world.commit("drop most flags");
    assert_eq!(world.apply().await.code, Some(1));
    world.write(
        "config/access-control.json",
        r#"{ "admin_users": ["user001"], "readonly_users": ["user100"], "blocked_ips": ["203.0.113.7", "203.0.113.8"] }
"#,
    );
    world.commit("block an attacker");
    assert_eq!(world.apply().await.code, Some(1));
    for system in ["medical", "voicedrive"] {
        let resources = world.system(system).resources().await;
        assert!(resources.contains_key("IpBlock/203.0.113.8/32"));
        assert!(resources.contains_key("FeatureFlag/ai_assistant"));
    }
}

/// Nobody waits for these to be over.
const ENDLESS: Settings = Settings {
    request: "10m",
    prepare: "10m",
    commit: "10m",
    urgent: "300ms",
    ..SETTINGS
};

/// What is urgent reaches medical while voicedrive has taken a request and does not answer it; when it does, everything else follows in the same pass.
async fn passes_a_system_that_hangs(at: &'static str, said: &str) {
    let mut world = world().await;
    let front = Front::start(world.system("voicedrive").address).await;
    world.system_mut("voicedrive").at = front.address;
    let small = "safety: {default: {deletes: {percent: 50, count: 10}, updates: {percent: 100}, small: 0}}\n";
    world.write("lockstep.yaml", &world.config(small));
    world.commit("voicedrive has moved");
    world.settings(&SETTINGS);
    world.ok(&["apply"]).await;
    world.settings(&ENDLESS);
    front.breaks(at, Fault::Silent);
    let revision = mixed(&world);
    let mut pass = world.start(&["apply"], "hanging.log");
    eventually("medical has what is urgent", async || {
        (held(&world, "medical").await == URGENT).then_some(())
    })
    .await;
    assert_eq!(held(&world, "voicedrive").await, BEFORE);
    eventually("voicedrive is still asked", async || {
        (front.held() == 1).then_some(())
    })
    .await;
    front.heals();
    assert_eq!(pass.ended().await.code(), Some(0), "{}", pass.output());
    for system in ["medical", "voicedrive"] {
        assert_eq!(held(&world, system).await, WHOLE);
    }
    assert_eq!(world.states(&revision), ["success"; 3]);
    let outcomes = world.outcomes().await;
    assert_eq!(outcomes.last().unwrap(), "applied");
    let urgent = world.entries("run.finished").await;
    let why = urgent
        .iter()
        .filter_map(|e| e.body["scope"]["waits_for"].as_str());
    assert_eq!(why.collect::<Vec<_>>(), [said]);
    assert_eq!(world.staged().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_does_not_answer_keeps_nothing_urgent_from_the_others() {
    passes_a_system_that_hangs(
        "GET /lockstep/v1/state/digests",
        "could not reach voicedrive: has not answered yet",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_does_not_prepare_keeps_nothing_urgent_from_the_others() {
    passes_a_system_that_hangs(
        "PUT /lockstep/v1/changesets",
        "could not reach voicedrive: no answer before the deadline",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_with_the_others_keeps_nothing_urgent() {
    // Voicedrive prepares and then hangs: both are taken back, and medical is given what is urgent by itself.
    let world = world().await;
    world.settings(&Settings {
        request: "500ms",
        commit: "2s",
        ..SETTINGS
    });
    let faults = json!({"hang_commit_ms": 600_000});
    world.system("voicedrive").set_faults(faults).await;
    mixed(&world);
    for _ in 0..2 {
        let ended = world.apply().await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert_eq!(held(&world, "medical").await, URGENT);
        assert_eq!(held(&world, "voicedrive").await, BEFORE);
    }
    assert_eq!(
        world.outcomes().await,
        ["applied", "rolled_back", "applied"]
    );
    world.system("voicedrive").set_faults(json!({})).await;
    world.commit("once more");
    assert_eq!(world.apply().await.code, Some(0));
    for system in ["medical", "voicedrive"] {
        assert_eq!(held(&world, system).await, WHOLE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_does_not_wait_for_another() {
    let mut world = world().await;
    let front = Front::start(world.system("voicedrive").address).await;
    world.system_mut("voicedrive").at = front.address;
    let group = "  hospital: {systems: [medical, voicedrive], consistency: lockstep}\n";
    let groups = "  staff: {systems: [medical]}\n  voices: {systems: [voicedrive]}\n";
    let config = world.config("").replace(group, groups);
    world.write("lockstep.yaml", &config);
    world.commit("two groups");
    world.settings(&SETTINGS);
    world.ok(&["apply"]).await;
    world.settings(&ENDLESS);
    let mut lockstep = world.start(&["run"], "run.log");
    front.breaks("GET /lockstep/v1/state/digests", Fault::Silent);
    eventually("voicedrive hangs", async || {
        (front.held() == 1).then_some(())
    })
    .await;
    for rollout in [20, 21] {
        world.set_rollout(rollout);
        world.commit("raise the rollout");
        eventually("medical has it", async || {
            (world.rollouts().await[0] == Some(u64::from(rollout))).then_some(())
        })
        .await;
        assert_eq!(world.rollouts().await[1], Some(10));
        assert_eq!(front.held(), 1, "it is still asked for the first time");
    }
    // What it missed is made up for at once, and not at the next interval.
    front.heals();
    eventually("voicedrive has the newest", async || {
        (world.rollouts().await[1] == Some(21)).then_some(())
    })
    .await;
    lockstep.terminate();
    assert_eq!(
        lockstep.ended().await.code(),
        Some(0),
        "{}",
        lockstep.output()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_got_all_of_it_is_told_so_in_the_same_words_everywhere() {
    let mut world = world().await;
    world.system_mut("voicedrive").kill();
    world.write(
        "config/access-control.json",
        &MANY.replace("\"user002\", ", ""),
    );
    let revision = world.commit("user002 leaves");
    for _ in 0..2 {
        assert_eq!(world.apply().await.code, Some(1));
        let (state, said) = world.statuses(&revision)["lockstep/apply/medical"].clone();
        assert_eq!(
            (state.as_str(), said.as_str()),
            ("success", "1 urgent change verified, ahead of the others")
        );
        assert_eq!(world.standing("medical").await.1, said);
    }
    // The next merge is another matter: nothing of it is there yet.
    world.set_rollout(25);
    let revision = world.commit("raise");
    let why = world.standing("medical").await.1;
    assert!(
        why.starts_with(&revision[..10]) && why.ends_with("is merged and not applied yet"),
        "{why}"
    );
    world.system_mut("voicedrive").restart().await;
    assert_eq!(world.apply().await.code, Some(0));
    assert_eq!(world.standing("medical").await.0, "in_step");
}
