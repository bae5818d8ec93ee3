//! `lockstep adopt`: what a system has held for years is written into the repo, by a proposal, and nothing is written to the system.

use serde_json::{Value, json};

use crate::adopt::{flags_of, merge, proposals};
use crate::drift::{edit, with_drift};
use crate::world::{Ended, FLAGS, Layout, SETTINGS, World};

const NO_CEILINGS: &str =
    "safety: {default: {deletes: {percent: 100, count: 100}, updates: {percent: 100}, small: 0}}\n";
const LEGACY: &str = "FeatureFlag/legacy";
const EVE: &str = "AccessGrant/admin/eve";

async fn adopt(world: &World, args: &[&str]) -> Ended {
    let args = [&["adopt", "medical"], args].concat();
    Ended::of(&world.run(&args).await)
}

async fn holds(world: &World, id: &str) -> bool {
    let resources = world.system("medical").resources().await;
    resources.contains_key(id)
}

/// One pass, in which medical is only read.
async fn apply_without_touching(world: &World) {
    world.forget_requests();
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let log = world.system("medical").proxy.take_log();
    assert!(log.iter().all(|s| s.what.starts_with("GET")), "{log:?}");
    assert_eq!(world.standing("medical").await.0, "in_step");
}

/// A world in which medical has held more than the repo declares since before Lockstep came.
async fn used() -> World {
    let world = World::with(NO_CEILINGS).await;
    let medical = world.system("medical");
    let flag = json!({"enabled": true, "rollout": 5, "owner": "sato"});
    medical.edit(LEGACY, flag).await;
    medical
        .edit(EVE, json!({"id": "eve", "role": "admin"}))
        .await;
    medical.edit("Notice/x", json!({"title": "by hand"})).await;
    assert_eq!(world.apply().await.code, Some(0));
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_is_adopted_without_touching_it_and_is_lockstep_s_from_then_on() {
    let world = used().await;
    // Nothing is proposed before somebody has seen what it would be.
    let shown = adopt(&world, &["--dry-run"]).await;
    assert_eq!(shown.code, Some(1), "{shown:?}");
    assert!(
        shown.out.contains("+  \"legacy\": { \"enabled\": true"),
        "{}",
        shown.out
    );
    assert!(shown.out.contains("\"eve\""), "{}", shown.out);
    let left = "Notice/x: no document declares anything of its kind";
    assert!(shown.err.contains(left), "{}", shown.err);
    assert!(proposals(&world).await.is_empty());

    let opened = adopt(&world, &["--kind", "FeatureFlag,AccessGrant"]).await;
    assert_eq!(opened.code, Some(0), "{opened:?}");
    let all = proposals(&world).await;
    assert_eq!(all.len(), 1, "{all:#?}");
    assert_eq!(all[0]["author"], "sato");
    let flags = flags_of(&world, &all[0]);
    assert!(flags.starts_with("{\n  // flags for both"), "{flags}");
    let said = all[0]["description"].as_str().unwrap();
    for part in [
        "writes nothing to `medical`",
        "何も書き込まれません",
        "`FeatureFlag/legacy`",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    merge(&world, "1").await;
    apply_without_touching(&world).await;
    let others = world.system("voicedrive").resources().await;
    assert!(!others.contains_key(LEGACY) && !others.contains_key(EVE));
    let again = adopt(&world, &["--kind", "FeatureFlag,AccessGrant"]).await;
    assert!(again.err.contains("nothing to adopt"), "{again:?}");

    // It is Lockstep's now; what was not adopted is not.
    world.write("config/feature-flags.json", FLAGS);
    world.git_in("work", &["fetch", "--quiet", "origin"]);
    world.git_in("work", &["reset", "--quiet", "--soft", "origin/main"]);
    world.commit("no legacy, no eve");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!holds(&world, LEGACY).await && !holds(&world, EVE).await);
    assert!(holds(&world, "Notice/x").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_named_is_adopted_and_a_wrong_name_is_said() {
    let world = used().await;
    let opened = adopt(&world, &["--only", "legacy", "--format", "json"]).await;
    assert_eq!(opened.code, Some(0), "{opened:?}");
    let told: Value = serde_json::from_str(&opened.out).unwrap();
    assert_eq!(told["adopted"][0]["id"], LEGACY);
    assert_eq!(told["adopted"].as_array().unwrap().len(), 1);
    assert_eq!(told["proposal"], 1);
    for (args, said) in [
        (
            &["--only", "legcy"][..],
            "nothing called \"legcy\" on medical",
        ),
        (
            &["--kind", "Incident"],
            "medical is not declared for Incident",
        ),
    ] {
        let wrong = adopt(&world, args).await;
        assert_eq!(wrong.code, Some(2), "{wrong:?}");
        assert!(wrong.err.contains(said), "{wrong:?}");
    }
    let wrong = Ended::of(&world.run(&["adopt", "medcal"]).await);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.err.contains("did you mean medical?"), "{wrong:?}");
    assert_eq!(proposals(&world).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_value_takes_the_place_of_another_only_where_that_is_asked_for() {
    let world = World::in_step().await;
    world.write("lockstep.yaml", &with_drift(&world, "report"));
    world.commit("drift is only reported");
    world.apply().await;
    edit(&world, "medical", 77).await;
    let asked = adopt(&world, &[]).await;
    assert_eq!(asked.code, Some(0), "{asked:?}");
    assert!(
        asked.err.contains("1 declared with another value"),
        "{asked:?}"
    );
    assert!(proposals(&world).await.is_empty());
    let asked = adopt(&world, &["--all"]).await;
    assert_eq!(asked.code, Some(0), "{asked:?}");
    let all = proposals(&world).await;
    assert_eq!(
        flags_of(&world, &all[0]),
        FLAGS.replace("\"rollout\": 10", "\"rollout\": 77")
    );
    let said = all[0]["description"].as_str().unwrap();
    assert!(said.contains("changes `voicedrive` too"), "{said}");
    merge(&world, "1").await;
    apply_without_touching(&world).await;
    assert_eq!(world.rollouts().await, [Some(77), Some(77)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_flags_come_into_an_empty_repo_with_one_command() {
    const COUNT: usize = 1_000;
    let world = World::bare(Layout {
        systems: &["medical".to_owned()],
        groups: "  hospital: {systems: [medical]}\n",
        store: "store.db",
    })
    .await;
    world.write("lockstep.yaml", &world.config(""));
    world.commit("a system and nothing else");
    world.settings(&SETTINGS);
    let medical = world.system("medical");
    let numbers: Vec<usize> = (0..COUNT).collect();
    for part in numbers.chunks(20) {
        let edits = part.iter().map(async |n| {
            let flag = json!({"enabled": true, "rollout": n % 101, "owner": "sato"});
            medical.edit(&format!("FeatureFlag/f{n:04}"), flag).await;
        });
        futures_util::future::join_all(edits).await;
    }
    let opened = adopt(&world, &[]).await;
    // Without policies everything is denied; it is opened all the same.
    assert_eq!(opened.code, Some(1), "{opened:?}");
    assert!(
        opened
            .err
            .contains("1000 from medical into config/feature-flags.json; 0 left out")
    );
    let all = proposals(&world).await;
    let flags = flags_of(&world, &all[0]);
    assert_eq!(flags.lines().count(), COUNT + 2);
    world.git_in("work", &["fetch", "--quiet", "origin"]);
    let branch = format!("origin/{}", all[0]["branch"].as_str().unwrap());
    world.git_in("work", &["merge", "--quiet", "--ff-only", &branch]);
    world.commit("taken in");
    apply_without_touching(&world).await;
    assert_eq!(medical.resources().await.len(), COUNT);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_config_repo_owns_is_not_adopted_where_that_can_be_told() {
    let world = World::new().await;
    let settings = std::fs::read_to_string(world.path("lockstep.toml")).unwrap();
    std::fs::create_dir(world.path("files")).unwrap();
    let with_files = format!("{settings}[files]\nroot = \"files\"\n");
    std::fs::write(world.path("lockstep.toml"), &with_files).unwrap();
    let system = "  kiosk: {connector: file, path: flags.json, kinds: [FeatureFlag]}\ngroups:\n";
    world.write(
        "lockstep.yaml",
        &world.config("").replace("groups:\n", system),
    );
    let flag = "{ \"kiosk_mode\": { \"enabled\": true, \"teams\": [\"kiosk\"] }";
    let flags = format!("{flag} }}\n");
    world.write("config/feature-flags.json", &flags);
    world.commit("a kiosk");
    world.ok(&["apply"]).await;
    // Another repo that names the same file, and nothing on it.
    world.git(&[
        "init",
        "--quiet",
        "--bare",
        "--initial-branch=main",
        "other.git",
    ]);
    world.git_in("work", &["checkout", "--quiet", "--orphan", "other"]);
    world.write("config/feature-flags.json", "{}\n");
    world.git_in("work", &["add", "-A"]);
    world.git_in("work", &["commit", "--quiet", "-m", "another beginning"]);
    world.git_in("work", &["push", "--quiet", "../other.git", "HEAD:main"]);
    let other = with_files.replace("store.db", "other.db");
    std::fs::write(world.path("other.toml"), other).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lockstep"));
    command
        .args(["adopt", "kiosk", "--as", "sato", "--repo", "other.git"])
        .args(["--settings", "other.toml", "--lang", "en"])
        .current_dir(world.dir.path());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let ended = Ended::of(&output.await.unwrap());
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for repo in ["config.git", "other.git"] {
        let beginning = world.git_in(repo, &["rev-list", "--max-parents=0", "main"]);
        let mark = format!("config repo {}", &beginning[..10]);
        assert!(ended.err.contains(&mark), "no {mark} in {ended:?}");
    }
    assert!(
        ended
            .err
            .contains("FeatureFlag/kiosk_mode on kiosk belongs to"),
        "{ended:?}"
    );
}
