//! A new system climbs from being watched to being enforced, one small proposal each, while one server keeps running.

use serde_json::{Value, json};

use crate::adopt::merge;
use crate::world::{Ended, FLAGS, Layout, SETTINGS, World, eventually};

const NO_CEILINGS: &str =
    "safety: {default: {deletes: {percent: 100, count: 100}, updates: {percent: 100}, small: 0}}\n";
const POLICY: &str = "package lockstep

approval contains {\"from\": [\"approver\"], \"count\": 1, \"because\": \"a second pair of eyes\"} if count(input.changes) > 0
";
const LEGACY: &str = "FeatureFlag/legacy";
const FILE: &str = "config/feature-flags.json";

/// A hospital of two systems, and a third one that nobody has named yet.
async fn hospital() -> World {
    let world = World::bare(Layout {
        systems: &["medical", "voicedrive", "attendance"].map(str::to_owned),
        groups: "  hospital: {systems: [medical, voicedrive], consistency: lockstep}\n",
        store: "store.db",
    })
    .await;
    world.write("lockstep.yaml", &without_attendance(&world));
    world.write(FILE, FLAGS);
    world.write("policies/approvals.rego", POLICY);
    world.commit("start");
    world.settings(&SETTINGS);
    world.ok(&["apply"]).await;
    world
}

fn without_attendance(world: &World) -> String {
    let config = world.config(NO_CEILINGS);
    let start = config.find("  attendance:\n").unwrap();
    let end = config.find("groups:").unwrap();
    format!("{}{}", &config[..start], &config[end..])
}

/// Waits until attendance stands so at the newest revision of main, and says why.
async fn stands(world: &World, standing: &str, part: &str) {
    eventually(&format!("attendance is {standing}: {part}"), async || {
        let head = world.git_in("config.git", &["rev-parse", "main"]);
        let status = world.status().await;
        let group = status["groups"]
            .as_array()?
            .iter()
            .find(|g| g["group"] == "attendance")?;
        let system = &group["systems"][0];
        let is_so = system["standing"] == standing
            && system["revision"] == head.trim()
            && system["why"].as_str().unwrap_or_default().contains(part);
        is_so.then_some(())
    })
    .await;
}

/// Opens a proposal that sets attendance's mode, and merges it.
async fn climb(world: &World, mode: &str, number: &str) {
    let set = format!("lockstep.yaml#/systems/attendance/mode={mode}");
    let opened = world.run(&["propose", "--set", &set]).await;
    assert!(opened.status.success(), "{:?}", Ended::of(&opened));
    merge(world, number).await;
}

/// Another text of the flags on main.
fn declare(world: &World, flags: &str, message: &str) {
    world.git_in("work", &["fetch", "--quiet", "origin"]);
    world.git_in("work", &["reset", "--quiet", "--hard", "origin/main"]);
    world.write(FILE, flags);
    world.commit(message);
}

fn main_file(world: &World, path: &str) -> String {
    world.git_in("config.git", &["show", &format!("main:{path}")])
}

async fn held(world: &World) -> std::collections::BTreeMap<String, Value> {
    world.system("attendance").resources().await
}

/// Nothing but reading has reached attendance since it was asked last.
fn only_read(world: &World) {
    let log = world.system("attendance").proxy.take_log();
    assert!(log.iter().all(|s| s.what.starts_with("GET")), "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_system_climbs_while_the_server_keeps_running() {
    let world = hospital().await;
    let attendance = world.system("attendance");
    let flag = |rollout| json!({"enabled": true, "rollout": rollout, "owner": "sato"});
    attendance.edit(LEGACY, flag(5)).await;
    attendance.edit("FeatureFlag/foreign", flag(1)).await;
    let mut lockstep = world.start(&["run"], "run.log");

    // Observe: seen, taken in, and nothing more.
    let url = format!("http://{}", attendance.at);
    let args = [
        "system",
        "add",
        "attendance",
        "--url",
        &url,
        "--credential",
        "test",
        "--title",
        "勤怠管理",
        "--alias",
        "勤怠",
        "--kinds",
        "FeatureFlag",
    ];
    let added = Ended::of(&world.run(&args).await);
    assert_eq!(added.code, Some(0), "{added:?}");
    assert!(added.err.contains("lockstep adopt attendance"), "{added:?}");
    merge(&world, "1").await;
    stands(&world, "in_step", "").await;
    let taken = Ended::of(
        &world
            .run(&["adopt", "attendance", "--only", "legacy"])
            .await,
    );
    assert_eq!(taken.code, Some(0), "{taken:?}");
    merge(&world, "2").await;
    stands(&world, "in_step", "").await;
    let adopted = main_file(&world, FILE);
    let raised = adopted
        .replace("\"rollout\": 5", "\"rollout\": 50")
        .replace(
            "// flags for both",
            "\"clock_in\": { \"enabled\": true, \"teams\": [\"勤怠\"] },",
        );
    declare(&world, &raised, "a flag more, and legacy at 50 %");
    stands(&world, "in_step", "").await;
    only_read(&world);

    // Detect: the differences are told.
    climb(&world, "detect", "3").await;
    stands(
        &world,
        "adrift",
        "lacks FeatureFlag/clock_in, has another FeatureFlag/legacy",
    )
    .await;
    only_read(&world);
    assert_eq!(held(&world).await[LEGACY]["rollout"], 5);

    // Upsert: what is declared is created and updated, and what no longer is stays.
    climb(&world, "upsert", "4").await;
    stands(&world, "in_step", "").await;
    assert_eq!(held(&world).await[LEGACY]["rollout"], 50);
    declare(
        &world,
        &raised.replace("\"legacy\"", "\"successor\""),
        "legacy has a successor",
    );
    stands(
        &world,
        "adrift",
        "nothing is deleted: still has FeatureFlag/legacy",
    )
    .await;
    let there = held(&world).await;
    assert!(there.contains_key(LEGACY) && there.contains_key("FeatureFlag/successor"));

    // Enforce: what is Lockstep's goes too, and nothing else.
    climb(&world, "enforce", "5").await;
    stands(&world, "in_step", "").await;
    let there = held(&world).await;
    let names: Vec<&str> = there.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "FeatureFlag/clock_in",
            "FeatureFlag/foreign",
            "FeatureFlag/successor"
        ]
    );

    // Its definition is taken out again: its data stays where it is.
    attendance.proxy.take_log();
    world.git_in("work", &["fetch", "--quiet", "origin"]);
    world.git_in("work", &["reset", "--quiet", "--hard", "origin/main"]);
    world.write("lockstep.yaml", &without_attendance(&world));
    world.write(FILE, &FLAGS.replace("\"rollout\": 10", "\"rollout\": 20"));
    world.commit("attendance goes its own way");
    eventually("the others have the newest revision", async || {
        let flags = world.rollouts().await;
        (flags[..2] == [Some(20), Some(20)]).then_some(())
    })
    .await;
    assert_eq!(held(&world).await, there);
    only_read(&world);

    // All of it by one and the same process.
    assert!(lockstep.is_running(), "{}", lockstep.output());
    lockstep.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_new_system_is_said_wrongly_opens_no_proposal() {
    let world = hospital().await;
    let add = async |args: &[&str]| {
        let args = [&["system", "add"], args].concat();
        Ended::of(&world.run(&args).await)
    };
    for (args, code, said) in [
        (
            &["medical", "--url", "http://127.0.0.1:1"][..],
            2,
            "there is a system medical already",
        ),
        (&["payroll"], 1, "payroll"),
        (&["payroll", "--url", "127.0.0.1:1"], 1, "http://"),
        (
            &["payroll", "--connector", "file", "--setting", "path"],
            2,
            "KEY=VALUE",
        ),
        (
            &[
                "payroll",
                "--url",
                "http://127.0.0.1:1",
                "--group",
                "nobody",
            ],
            2,
            "the group nobody",
        ),
        (
            &["payroll", "--url", "http://127.0.0.1:1", "--kinds", "Flag"],
            1,
            "there is no kind `Flag`",
        ),
        (
            &[
                "payroll",
                "--url",
                "http://127.0.0.1:1",
                "--alias",
                "Medical",
            ],
            1,
            "already means",
        ),
    ] {
        let ended = add(args).await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        assert!(ended.err.contains(said), "no {said:?} in {ended:?}");
    }
    assert!(crate::adopt::proposals(&world).await.is_empty());

    let args = [
        "payroll",
        "--connector",
        "file",
        "--setting",
        "path=payroll.json",
    ];
    let shown = add(&[&args[..], &["--group", "hospital", "--dry-run"]].concat()).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    // Everything that was there is there as it was, but for the group's list.
    let kept: Vec<&str> = shown
        .out
        .lines()
        .filter(|l| !l.contains("payroll"))
        .collect();
    let before = without_attendance(&world);
    let lines = before.lines().filter(|l| !l.contains("  hospital:"));
    assert!(
        lines.clone().all(|line| kept.contains(&line)),
        "{}",
        shown.out
    );
    assert!(
        shown
            .out
            .contains("systems: [medical, voicedrive, payroll]"),
        "{}",
        shown.out
    );
    assert!(shown.out.contains("    mode: observe\n"), "{}", shown.out);
}
