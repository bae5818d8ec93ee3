//! What the engine does with merged changes, through the built binary and real systems: in step, or all where they were with the
//! reason on the commit.

use serde_json::json;

use crate::world::{FLAGS, SETTINGS, Settings, World, eventually};

const SUCCESS: [&str; 3] = ["success", "success", "success"];
const FAILURE: [&str; 3] = ["failure", "failure", "failure"];

/// Time limits for tests of what is timed out.
const SHORT: Settings = Settings {
    request: "500ms",
    prepare: "2s",
    commit: "2s",
    ..SETTINGS
};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_sync_reaches_both_systems() {
    let world = World::new().await;
    let revision = world.git_in("work", &["rev-parse", "HEAD"]);
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("12 changes verified"), "{ended:?}");
    assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
    let medical = world.system("medical").resources().await;
    let names: Vec<&str> = medical.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "AccessGrant/admin/user001",
            "AccessGrant/readonly/user100",
            "FeatureFlag/ai_assistant",
            "FeatureFlag/night_mode",
            "FeatureFlag/shift_swap",
            "IpBlock/203.0.113.7/32",
        ]
    );
    assert_eq!(world.states(revision.trim()), SUCCESS);
    for system in ["medical", "voicedrive"] {
        assert_eq!(world.standing(system).await.0, "in_step");
    }
    assert_eq!(world.outcomes().await, ["applied"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_change_goes_through_the_two_phases_once() {
    let world = World::in_step().await;
    world.set_rollout(25);
    let revision = world.commit("raise the rollout");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.rollouts().await, [Some(25), Some(25)]);
    assert_eq!(world.states(&revision), SUCCESS);
    for system in &world.systems {
        let log: Vec<String> = system.proxy.log().into_iter().map(|s| s.what).collect();
        insta::allow_duplicates! {
            insta::assert_snapshot!(log.join("\n"), @"
            GET /lockstep/v1/state/digests
            GET /lockstep/v1/state
            PUT /lockstep/v1/changesets
            POST /lockstep/v1/changesets/commit
            GET /lockstep/v1/state/digests
            GET /lockstep/v1/state
            ");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_leaves_all_where_they_were_and_says_why() {
    let world = World::in_step().await;
    let voicedrive = world.system("voicedrive");
    let refuse = json!({"refuse_prepare": "no rollouts before the night shift"});
    voicedrive.set_faults(refuse).await;
    world.set_rollout(25);
    let revision = world.commit("raise the rollout");

    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
    assert_eq!(world.states(&revision), FAILURE);
    let statuses = world.statuses(&revision);
    let (_, said) = &statuses["lockstep/apply/voicedrive"];
    assert!(
        said.contains("no rollouts before the night shift"),
        "{said}"
    );
    let (standing, why) = world.standing("voicedrive").await;
    assert_eq!(standing, "failed");
    assert!(why.contains("no rollouts before the night shift"), "{why}");
    assert_eq!(world.standing("medical").await.0, "behind");

    voicedrive.set_faults(json!({})).await;
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.rollouts().await, [Some(25), Some(25)]);
    assert_eq!(world.states(&revision), SUCCESS);
    assert_eq!(world.outcomes().await, ["applied", "refused", "applied"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_moves_while_a_system_is_down() {
    let mut world = World::in_step().await;
    world.system_mut("voicedrive").kill();
    world.set_rollout(25);
    let revision = world.commit("raise the rollout");

    for _ in 0..2 {
        let ended = world.apply().await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
    }
    let medical = world.system("medical").resources().await;
    assert_eq!(medical["FeatureFlag/ai_assistant"]["rollout"], 10);
    assert_eq!(world.states(&revision), FAILURE);
    let (_, whole) = &world.statuses(&revision)["lockstep/apply"];
    assert!(whole.contains("voicedrive"), "{whole}");
    assert_eq!(world.standing("voicedrive").await.0, "unreachable");
    // The second pass found the same and had nothing new to record.
    assert_eq!(world.outcomes().await, ["applied", "unreachable"]);

    world.system_mut("voicedrive").restart().await;
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.rollouts().await, [Some(25), Some(25)]);
    assert_eq!(world.states(&revision), SUCCESS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_hangs_in_prepare_is_timed_out() {
    let mut world = World::in_step().await;
    world.settings(&SHORT);
    world
        .system("voicedrive")
        .set_faults(json!({"hang_prepare_ms": 600_000}))
        .await;
    world.set_rollout(25);
    let revision = world.commit("raise the rollout");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.out.contains("could not reach voicedrive"),
        "{ended:?}"
    );
    assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
    assert_eq!(world.states(&revision), FAILURE);
    // What the other had prepared was dropped again. Stopped and started to look into it, the system is well again too.
    assert_eq!(world.staged().await, 0);
    assert_eq!(world.apply().await.code, Some(0));
    assert_eq!(world.rollouts().await, [Some(25), Some(25)]);
    assert_eq!(world.states(&revision), SUCCESS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_hangs_in_commit_is_rolled_back_together_with_the_others() {
    let mut world = World::in_step().await;
    world.settings(&SHORT);
    world
        .system("voicedrive")
        .set_faults(json!({"hang_commit_ms": 600_000}))
        .await;
    world.set_rollout(25);
    let revision = world.commit("raise the rollout");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("rolled back"), "{ended:?}");
    assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
    assert_eq!(world.staged().await, 0);
    assert_eq!(world.states(&revision), FAILURE);
    assert_eq!(world.outcomes().await, ["applied", "rolled_back"]);
    assert_eq!(world.entries("system.rolled_back").await.len(), 1);

    // The group is held to its last good revision, and says so, also after the fault has gone with the restart.
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
    assert_eq!(world.states(&revision), FAILURE);
    assert_eq!(world.outcomes().await, ["applied", "rolled_back"]);

    // One proposal takes the repo back too; the next good merge is applied.
    let proposals = world.ok(&["proposal", "list"]).await;
    let reverts = proposals.lines().filter(|l| l.contains("Return to"));
    assert_eq!(reverts.count(), 1, "{proposals}");
    world.set_rollout(20);
    let next = world.commit("raise it by less");
    assert_eq!(world.apply().await.code, Some(0));
    assert_eq!(world.rollouts().await, [Some(20), Some(20)]);
    assert_eq!(world.states(&next), SUCCESS);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reverting_proposal_takes_the_repo_back() {
    let world = World::in_step().await;
    world.settings(&SHORT);
    world
        .system("voicedrive")
        .set_faults(json!({"lie_digest": true}))
        .await;
    world.set_rollout(25);
    world.commit("raise the rollout");
    assert_eq!(world.apply().await.code, Some(1));
    world.system("voicedrive").set_faults(json!({})).await;
    let approved = world.run_as("suzuki", &["proposal", "approve", "1"]).await;
    assert!(approved.status.success(), "{approved:?}");
    world.ok(&["proposal", "merge", "1"]).await;
    assert_eq!(world.apply().await.code, Some(0));
    let flags = world.git_in("config.git", &["show", "main:config/feature-flags.json"]);
    assert_eq!(flags, FLAGS);
    assert_eq!(world.standing("medical").await.0, "in_step");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_lies_about_its_digest_is_caught() {
    let world = World::in_step().await;
    let voicedrive = world.system("voicedrive");
    voicedrive.set_faults(json!({"lie_digest": true})).await;
    world.set_rollout(25);
    let revision = world.commit("raise the rollout");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
    assert_eq!(world.states(&revision), FAILURE);
    let (_, said) = &world.statuses(&revision)["lockstep/apply/voicedrive"];
    assert!(said.contains("digest"), "{said}");
    assert_eq!(world.outcomes().await, ["applied", "rolled_back"]);
}

/// What was sent to a system that nobody knows the state of may arrive after the next run has prepared it.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_run_that_leaves_a_system_in_doubt_the_next_has_a_newer_fence() {
    let world = World::new().await;
    let config = world
        .config("")
        .replace("lockstep}", "lockstep, on_failure: hold}");
    world.write("lockstep.yaml", &config);
    world.commit("hold where something is wrong");
    world.ok(&["apply"]).await;
    world
        .system("voicedrive")
        .set_faults(json!({"lie_digest": true}))
        .await;
    // One process and one lease for all of it.
    let mut lockstep = world.start(&["run"], "run.log");
    let fence_of = async |rollout: u32, outcome: &str| {
        world.set_rollout(rollout);
        let revision: lockstep::ids::Revision = world.commit("change it").parse().unwrap();
        eventually(&format!("a run is {outcome}"), async || {
            let runs = world
                .store()
                .await
                .runs_of_revision(&revision)
                .await
                .unwrap();
            let ended = runs.iter().find(|run| {
                let is = run.outcome.as_ref().map(|o| o["outcome"].clone());
                is == Some(json!(outcome))
            });
            ended.map(|run| run.run.fence)
        })
        .await
    };
    let stuck = fence_of(25, "stuck").await;
    world.system("voicedrive").set_faults(json!({})).await;
    let next = fence_of(15, "applied").await;
    assert!(next > stuck, "{next:?} after {stuck:?}");
    // Where nothing is in doubt the lease and its number stay.
    assert_eq!(fence_of(20, "applied").await, next);
    lockstep.terminate();
    lockstep.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_system_does_not_keep_a_rollback_from_ending_the_pass() {
    let mut world = World::in_step().await;
    world.settings(&SHORT);
    world
        .system("voicedrive")
        .set_faults(json!({"hang_commit_ms": 600_000}))
        .await;
    world.set_rollout(25);
    let revision = world.commit("raise the rollout");
    // Medical commits and dies before it can be taken back; voicedrive never commits.
    world
        .system("medical")
        .proxy
        .hold(4, crate::world::proxy::Side::After);
    let mut pass = world.start(&["apply"], "apply.log");
    world.system("medical").proxy.stopped().await;
    world.system_mut("medical").kill();
    world.system("medical").proxy.release();
    let ended = pass.ended().await;
    assert_eq!(ended.code(), Some(1), "{}", pass.output());
    assert!(pass.output().contains("not over yet"), "{}", pass.output());
    assert_eq!(world.states(&revision)[0], "pending");
    let (_, why) = world.standing("medical").await;
    assert!(why.contains("rolling back"), "{why}");
    assert!(why.contains("urgent changes neither"), "{why}");

    world.system_mut("medical").restart().await;
    world.system("voicedrive").set_faults(json!({})).await;
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(
        world.outcomes().await,
        ["applied", "rolled_back"],
        "{ended:?}"
    );
    assert_eq!(world.rollouts().await, [Some(10), Some(10)], "{ended:?}");
    assert_eq!(world.states(&revision), FAILURE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_past_a_ceiling_waits_for_a_named_person() {
    let world = World::in_step().await;
    let kept = FLAGS.lines();
    let kept = kept.filter(|l| !l.contains("ai_assistant") && !l.contains("night_mode"));
    let kept: Vec<&str> = kept.collect();
    world.write("config/feature-flags.json", &kept.join("\n"));
    let revision = world.commit("drop most flags");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
    assert_eq!(world.states(&revision), FAILURE);
    let plan = held_plan(&ended.out);
    assert_eq!(world.standing("medical").await.0, "held");
    // What it would do and how to let it pass is said by both commands, once.
    let status = world.run(&["status"]).await;
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    for said in [&ended.out, &status] {
        let all: Vec<&str> = said
            .lines()
            .filter(|l| l.contains("lockstep release --plan "))
            .collect();
        assert_eq!(all.len(), 1, "{said}");
        let digest = all[0].split_whitespace().find(|w| w.len() == 64).unwrap();
        assert!(digest.starts_with(&plan), "{said}");
        assert!(said.contains("\n  - medical: FeatureFlag/"), "{said}");
        assert_eq!(said.matches("held until plan").count(), 1, "{said}");
    }

    // Not by just anybody, and not another plan.
    let release = |plan: &str| {
        let args = ["release", "--plan", plan, "--because", "the pilot is over"];
        args.map(str::to_owned)
    };
    let args = release(&plan);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    assert_eq!(world.run_as("sato", &args).await.status.code(), Some(2));
    let other = release("0000000000000000");
    let other: Vec<&str> = other.iter().map(String::as_str).collect();
    assert_eq!(world.run_as("tanaka", &other).await.status.code(), Some(2));
    assert_eq!(world.apply().await.code, Some(1));

    let released = world.run_as("tanaka", &args).await;
    assert_eq!(released.status.code(), Some(0), "{released:?}");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.rollouts().await, [None, None]);
    assert_eq!(world.states(&revision), SUCCESS);
    assert_eq!(world.outcomes().await, ["applied", "held", "applied"]);
    let entries = world.entries("plan.released").await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].actor.as_str(), "tanaka");
    assert_eq!(entries[0].body["because"], "the pilot is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_lets_only_that_very_plan_pass() {
    let world = World::in_step().await;
    let without = |name: &str| {
        let lines = FLAGS.lines().filter(|l| !l.contains(name));
        lines.collect::<Vec<_>>().join("\n")
    };
    world.write("config/feature-flags.json", &without("night_mode"));
    world.commit("drop a flag");
    let plan = held_plan(&world.apply().await.out);
    let released = world
        .run_as(
            "suzuki",
            &["release", "--plan", &plan, "--because", "agreed"],
        )
        .await;
    assert!(released.status.success(), "{released:?}");
    // Before the next pass somebody merges more: that is another plan.
    world.write(
        "config/feature-flags.json",
        &without("night_mode").replace("\"rollout\": 10", "\"rollout\": 90"),
    );
    world.commit("and raise the rollout");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_ne!(held_plan(&ended.out), plan);
    assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
}

/// The digest that a held run shows.
fn held_plan(out: &str) -> String {
    let (_, rest) = out
        .split_once("held until plan ")
        .unwrap_or_else(|| panic!("nothing is held: {out}"));
    rest.split_whitespace().next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn run_applies_a_push_at_once_and_ends_in_order() {
    let world = World::new().await;
    world.settings(&Settings {
        git: "1h",
        systems: "1h",
        ..SETTINGS
    });
    let mut lockstep = world.start(&["run"], "run.log");
    eventually("the first sync", async || {
        (world.rollouts().await == [Some(10), Some(10)]).then_some(())
    })
    .await;
    world.set_rollout(25);
    let revision = world.commit("raise the rollout");
    eventually("the push reaches both without a poll", async || {
        (world.rollouts().await == [Some(25), Some(25)]).then_some(())
    })
    .await;
    eventually("its statuses", async || {
        (world.states(&revision) == SUCCESS).then_some(())
    })
    .await;
    lockstep.terminate();
    let ended = lockstep.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", lockstep.output());
    // The lease was given back: another process need not wait.
    assert_eq!(world.apply().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_do_not_act_at_once() {
    let world = World::in_step().await;
    world.set_rollout(25);
    world.commit("raise the rollout");
    let voicedrive = &world.system("voicedrive").proxy;
    voicedrive.hold(3, crate::world::proxy::Side::Before);
    let mut first = world.start(&["apply"], "first.log");
    voicedrive.stopped().await;
    let second = world.apply().await;
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.out.contains("another process"), "{second:?}");
    voicedrive.release();
    assert_eq!(first.ended().await.code(), Some(0), "{}", first.output());
    assert_eq!(world.rollouts().await, [Some(25), Some(25)]);
    assert_eq!(world.outcomes().await, ["applied", "applied"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_main_is_said_on_its_commit_and_nothing_is_applied() {
    let world = World::in_step().await;
    let good = world.git_in("work", &["rev-parse", "HEAD"]);
    let config = world.config("");
    world.write("lockstep.yaml", &format!("{config}sytems: {{}}\n"));
    world.set_rollout(25);
    let broken = world.commit("break lockstep.yaml");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("sytems"), "{ended:?}");
    assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
    assert_eq!(world.states(&broken), FAILURE);
    let (_, said) = &world.statuses(&broken)["lockstep/apply"];
    assert!(
        said.contains("lockstep.yaml") && said.contains("sytems"),
        "{said}"
    );
    assert_eq!(world.states(good.trim()), SUCCESS);
    assert_eq!(world.run(&["status"]).await.status.code(), Some(1));

    // Meanwhile the last good revision is still kept.
    let medical = world.system("medical");
    let mut spec = medical.resources().await["FeatureFlag/night_mode"].clone();
    spec["enabled"] = json!(true);
    medical.edit("FeatureFlag/night_mode", spec).await;
    assert_eq!(world.apply().await.code, Some(1));
    let night_mode = medical.resources().await["FeatureFlag/night_mode"].clone();
    assert_eq!(night_mode["enabled"], false);

    world.write("lockstep.yaml", &config);
    let mended = world.commit("mend it");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.rollouts().await, [Some(25), Some(25)]);
    assert_eq!(world.states(&mended), SUCCESS);
    let outcomes = world.outcomes().await;
    assert_eq!(outcomes, ["applied", "misconfigured", "applied", "applied"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_main_that_never_compiled_is_said_too() {
    let world = World::new().await;
    // The history is one commit, and that one does not compile.
    world.write("lockstep.yaml", "version: 1\nsystems: [medical]\n");
    world.git_in("work", &["add", "-A"]);
    world.git_in("work", &["commit", "--quiet", "--amend", "-m", "start"]);
    world.git_in(
        "work",
        &["push", "--quiet", "--force", "origin", "HEAD:main"],
    );
    let broken = world.git_in("work", &["rev-parse", "HEAD"]);
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("lockstep.yaml"), "{ended:?}");
    assert_eq!(world.states(broken.trim())[0], "failure");
    assert_eq!(world.run(&["status"]).await.status.code(), Some(2));
    assert_eq!(world.rollouts().await, [None, None]);
}
