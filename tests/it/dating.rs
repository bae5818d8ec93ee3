//! `from` and `until`: what begins and ends by itself, on the day that its document says.
//!
//! The binary has the machine's clock, so the documents' moments lie some seconds ahead of it, and everything waits for what must come. What must
//! not have come yet is asserted of a pass that is known to have ended before the moment, or by the times in the ledger.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::drift::{edit, with_drift};
use crate::world::{FLAGS, SETTINGS, Settings, World, eventually};

const BOTH: [&str; 2] = ["medical", "voicedrive"];

/// How far ahead dates lie that a test waits for: long enough for what has to happen before, on a machine that is not too busy; then further.
const SOON: [i64; 3] = [20, 40, 55];

#[expect(
    clippy::disallowed_methods,
    reason = "the binary has the machine's clock, and dates are set by it"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

/// So many seconds from now, as documents say it.
fn ahead(seconds: i64) -> String {
    let at = now() + SignedDuration::from_secs(seconds);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Does what has to be done before a moment that comes soon, and gives back the moment. Nothing else runs meanwhile. Where it came before that was
/// done, it is done again for a later one.
async fn soon(prepare: impl AsyncFn(&str) -> bool) -> String {
    for seconds in SOON {
        let at = ahead(seconds);
        let is_done = prepare(&at).await;
        if now() < at.parse().unwrap() {
            assert!(
                is_done,
                "what comes before {at} did not come out as it should"
            );
            return at;
        }
    }
    panic!("this machine is too busy to do anything within {SOON:?} seconds");
}

/// A poll that comes far too late to be what a test waits for.
const NO_POLLS: Settings = Settings {
    git: "10m",
    systems: "10m",
    ..SETTINGS
};

/// Access with an admin, a reader and a block that stay, and these entries besides.
fn access(world: &World, readers: &str, blocks: &str) {
    let text = format!(
        r#"{{ "admin_users": ["user001"], "readonly_users": ["user100"{readers}], "blocked_ips": ["203.0.113.7"{blocks}] }}"#
    );
    world.write("config/access-control.json", &text);
}

fn flag(world: &World, fields: &str) {
    let flags = FLAGS.replacen(
        '{',
        &format!("{{ \"ward_tour\": {{ \"enabled\": true, \"rollout\": 25, {fields} }},"),
        1,
    );
    world.write("config/feature-flags.json", &flags);
}

/// Whether a system has a resource.
async fn has(world: &World, system: &str, id: &str) -> bool {
    world.system(system).resources().await.contains_key(id)
}

async fn is_on(world: &World, system: &str, flag: &str) -> Value {
    let resources = world.system(system).resources().await;
    let id = format!("FeatureFlag/{flag}");
    resources
        .get(&id)
        .map_or(Value::Null, |spec| spec["enabled"].clone())
}

/// What the ledger says began and ended at a moment, in order, and not before it.
async fn reached(world: &World, moment: &str) -> (Vec<String>, Vec<String>) {
    let (mut began, mut ended) = (Vec::new(), Vec::new());
    for entry in world.entries("date.reached").await {
        let as_of: Timestamp = entry.body["as_of"].as_str().unwrap().parse().unwrap();
        for date in entry.body["changes"].as_array().unwrap() {
            let at: Timestamp = date["at"].as_str().unwrap().parse().unwrap();
            assert!(at <= as_of, "{date} was carried out as of {as_of}");
            // Of a moment that had to be put off.
            if date["at"] != moment {
                continue;
            }
            let all = match date["effect"].as_str() {
                Some("begins") => &mut began,
                _ => &mut ended,
            };
            all.push(date["id"].as_str().unwrap().to_owned());
        }
    }
    (began, ended)
}

async fn triggers(world: &World) -> Vec<String> {
    let runs = world.entries("run.finished").await;
    let triggers = runs.iter().map(|run| run.body["trigger"].as_str());
    triggers.map(|t| t.unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_a_date_begins_and_ends_by_itself() {
    let world = World::in_step().await;
    world.settings(&NO_POLLS);
    let at = soon(async |at| {
        access(
            &world,
            &format!(r#", {{"id": "user200", "until": "{at}"}}"#),
            &format!(r#", {{"cidr": "198.51.100.0/24", "until": "{at}"}}"#),
        );
        flag(&world, &format!("\"from\": \"{at}\""));
        world.commit("some for a while, some soon");
        world.apply().await.code == Some(0)
    })
    .await;
    for system in BOTH {
        assert!(has(&world, system, "AccessGrant/readonly/user200").await);
        assert!(has(&world, system, "IpBlock/198.51.100.0/24").await);
        // Whoever asks for it gets an answer.
        assert_eq!(is_on(&world, system, "ward_tour").await, false);
    }
    let before = world.entries("run.finished").await.len();
    let lockstep = world.start(&["run"], "run.log");
    for system in BOTH {
        eventually("the flag begins", async || {
            (is_on(&world, system, "ward_tour").await == true).then_some(())
        })
        .await;
        assert!(!has(&world, system, "AccessGrant/readonly/user200").await);
        assert!(!has(&world, system, "IpBlock/198.51.100.0/24").await);
        assert!(has(&world, system, "AccessGrant/readonly/user100").await);
        assert!(has(&world, system, "IpBlock/203.0.113.7/32").await);
    }
    eventually("the run is recorded", async || {
        (world.entries("run.finished").await.len() > before).then_some(())
    })
    .await;
    drop(lockstep);
    assert_eq!(
        triggers(&world).await.last().map(String::as_str),
        Some("date")
    );
    assert_eq!(
        reached(&world, &at).await,
        (
            vec!["FeatureFlag/ward_tour".to_owned()],
            vec![
                "AccessGrant/readonly/user200".to_owned(),
                "IpBlock/198.51.100.0/24".to_owned()
            ]
        )
    );
    // A date is nobody's drift, and nothing is left to be done.
    assert_eq!(world.entries("drift.found").await.len(), 0);
    for system in BOTH {
        assert_eq!(world.standing(system).await.0, "in_step");
    }
    assert_eq!(world.apply().await.code, Some(0));
    assert_eq!(world.entries("run.finished").await.len(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_last_admin_is_held_and_of_others_not() {
    let world = World::in_step().await;
    let admins = |at: &str, more: &str| {
        format!(
            r#"{{ "admin_users": [{{"id": "user001", "until": "{at}"}}{more}], "readonly_users": ["user100", {{"id": "user200", "until": "{at}"}}], "blocked_ips": ["203.0.113.7"] }}"#
        )
    };
    let at = soon(async |at| {
        world.write("config/access-control.json", &admins(at, ""));
        world.commit("everybody goes");
        world.apply().await.code == Some(0)
    })
    .await;
    assert!(has(&world, "medical", "AccessGrant/readonly/user200").await);
    let held = eventually("the end is held", async || {
        let ended = world.apply().await;
        (ended.code == Some(1)).then_some(ended)
    })
    .await;
    assert!(held.out.contains("none would be left"), "{held:?}");
    for system in BOTH {
        assert!(has(&world, system, "AccessGrant/admin/user001").await);
        // That one admin stays keeps nobody else's access from ending.
        assert!(!has(&world, system, "AccessGrant/readonly/user200").await);
        let (standing, why) = world.standing(system).await;
        assert_eq!(standing, "held", "{why}");
        assert!(why.contains("none would be left"), "{why}");
    }
    let runs = world.entries("run.finished").await;
    let refused = runs
        .iter()
        .find(|run| run.body["outcome"]["outcome"] == "held")
        .unwrap();
    assert_eq!(refused.body["trigger"], "date");
    assert_eq!(refused.body["outcome"]["breaches"][0]["rule"], "last_admin");
    // Said once, and not gone past by asking again.
    let count = runs.len();
    assert_eq!(world.apply().await.code, Some(1));
    assert_eq!(world.entries("run.finished").await.len(), count);

    // With a next admin the end is what the document says.
    let next = admins(&at, r#", "user002""#);
    world.write("config/access-control.json", &next);
    world.commit("the next admin");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for system in BOTH {
        assert!(!has(&world, system, "AccessGrant/admin/user001").await);
        assert!(has(&world, system, "AccessGrant/admin/user002").await);
    }
}

const NOT_IN_AN_INCIDENT: &str = r#"package lockstep

deny contains {"resource": sprintf("%s/%s", [change.kind, change.name]), "msg": "not while an incident is open"} if {
	some change in input.changes
	change.direction == "widening"
	count(input.incidents_open) > 0
}
"#;

fn incident(world: &World, status: &str) {
    world.write(
        "incidents/2026-11-27-db-pool.md",
        &format!("---\nseverity: high\naffected: [medical]\nstatus: {status}\n---\n\n# DB pool\n"),
    );
    world.commit(status);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_begins_is_judged_again_when_it_does() {
    let world = World::in_step().await;
    world.write("policies/incident.rego", NOT_IN_AN_INCIDENT);
    world.commit("care during incidents");
    assert_eq!(world.apply().await.code, Some(0));
    let at = soon(async |at| {
        flag(&world, &format!("\"from\": \"{at}\""));
        access(
            &world,
            &format!(r#", {{"id": "user200", "until": "{at}"}}"#),
            "",
        );
        world.commit("a tour of the ward, soon");
        let is_merged = world.apply().await.code == Some(0);
        incident(&world, "open");
        world.apply().await.code == Some(0) && is_merged
    })
    .await;
    for system in BOTH {
        assert_eq!(is_on(&world, system, "ward_tour").await, false);
        assert!(has(&world, system, "AccessGrant/readonly/user200").await);
    }
    let held = eventually("the beginning is held", async || {
        let ended = world.apply().await;
        (ended.code == Some(1)).then_some(ended)
    })
    .await;
    assert!(
        held.out.contains("not while an incident is open"),
        "{held:?}"
    );
    for system in BOTH {
        assert_eq!(is_on(&world, system, "ward_tour").await, false);
        // What ends is asked nothing.
        assert!(!has(&world, system, "AccessGrant/readonly/user200").await);
        let (standing, why) = world.standing(system).await;
        assert_eq!(standing, "held", "{why}");
        assert!(why.contains("FeatureFlag/ward_tour was to begin"), "{why}");
    }
    incident(&world, "resolved");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for system in BOTH {
        assert_eq!(is_on(&world, system, "ward_tour").await, true);
    }
    assert_eq!(reached(&world, &at).await.0, ["FeatureFlag/ward_tour"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_is_no_drift_where_drift_is_only_reported() {
    let world = World::in_step().await;
    world.write("lockstep.yaml", &with_drift(&world, "report"));
    world.commit("only report drift on medical");
    assert_eq!(world.apply().await.code, Some(0));
    let at = soon(async |at| {
        // As it was, where the moment had to be put off.
        if world.rollouts().await[0] != Some(10) {
            edit(&world, "medical", 10).await;
        }
        access(
            &world,
            &format!(r#", {{"id": "user200", "until": "{at}"}}"#),
            "",
        );
        flag(&world, &format!("\"from\": \"{at}\""));
        world.commit("some for a while, some soon");
        let is_merged = world.apply().await.code == Some(0);
        edit(&world, "medical", 77).await;
        world.apply().await.code == Some(1) && is_merged
    })
    .await;
    assert_eq!(is_on(&world, "medical", "ward_tour").await, false);
    let found = world.entries("drift.found").await.len();
    assert!(found > 0);
    // Each pass is a process of its own: what has turned follows from the store and the documents.
    eventually("the flag begins", async || {
        world.apply().await;
        (is_on(&world, "medical", "ward_tour").await == true).then_some(())
    })
    .await;
    assert!(!has(&world, "medical", "AccessGrant/readonly/user200").await);
    assert_eq!(is_on(&world, "voicedrive", "ward_tour").await, true);
    // And what somebody changed is still what it was.
    assert_eq!(world.rollouts().await, [Some(77), Some(10)]);
    assert_eq!(world.standing("medical").await.0, "adrift");
    assert_eq!(world.entries("drift.found").await.len(), found);
    assert_eq!(reached(&world, &at).await.0, ["FeatureFlag/ward_tour"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_does_not_wait_for_a_system_that_is_away() {
    let mut world = World::in_step().await;
    let _ = soon(async |at| {
        access(
            &world,
            &format!(r#", {{"id": "user200", "until": "{at}"}}"#),
            "",
        );
        flag(&world, &format!("\"from\": \"{at}\""));
        world.commit("some for a while");
        world.apply().await.code == Some(0)
    })
    .await;
    world.system_mut("voicedrive").kill();
    eventually("the grant ends on medical", async || {
        world.apply().await;
        let ended = !has(&world, "medical", "AccessGrant/readonly/user200").await;
        ended.then_some(())
    })
    .await;
    // What begins is for both or none.
    assert_eq!(is_on(&world, "medical", "ward_tour").await, false);
    world.system_mut("voicedrive").restart().await;
    assert!(has(&world, "voicedrive", "AccessGrant/readonly/user200").await);
    assert_eq!(world.apply().await.code, Some(0));
    for system in BOTH {
        assert!(!has(&world, system, "AccessGrant/readonly/user200").await);
        assert_eq!(is_on(&world, system, "ward_tour").await, true);
    }
}

/// The announcements that were ever owed, sent or not.
async fn owed_once(world: &World) -> Vec<Value> {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(world.path("store.db"))
        .read_only(true);
    let mut store = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let bodies: Vec<String> = sqlx::query_scalar(
        "SELECT body FROM outbox WHERE destination = 'news' AND key LIKE 'date.announced/%'",
    )
    .fetch_all(&mut store)
    .await
    .unwrap();
    let read = |body: &String| serde_json::from_str(body).unwrap();
    bodies.iter().map(read).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_is_announced_a_week_before_and_once() {
    let world = World::in_step().await;
    let entry = |until: &str| format!(r#", {{"id": "user200", "until": "{until}"}}"#);
    let day = 24 * 3600;
    access(&world, &entry(&ahead(8 * day)), "");
    world.commit("for more than a week");
    assert_eq!(world.apply().await.code, Some(0));
    assert_eq!(world.entries("date.announced").await.len(), 0);
    assert_eq!(world.status().await["upcoming"], Value::Null);

    let until = ahead(3 * day);
    access(&world, &entry(&until), "");
    world.commit("for three days");
    // A start of the process each, and one that stays.
    for _ in 0..2 {
        assert_eq!(world.apply().await.code, Some(0));
    }
    let news = owed_once(&world).await;
    assert_eq!(news.len(), 1);
    let lockstep = world.start(&["run"], "run.log");
    eventually("it runs", async || {
        lockstep.output().contains("in step").then_some(())
    })
    .await;
    drop(lockstep);
    let announced = world.entries("date.announced").await;
    assert_eq!(announced.len(), 1);
    let body = &announced[0].body;
    assert_eq!(news[0], *body);
    let change = &body["changes"][0];
    assert_eq!(change["id"], "AccessGrant/readonly/user200");
    assert_eq!(change["effect"], "ends");
    assert_eq!(change["at"], until.as_str());
    assert_eq!(body["systems"], serde_json::json!(BOTH));
    let english = body["text"]["en"].as_str().unwrap();
    assert!(english.ends_with("JST on medical, voicedrive"), "{english}");
    let japanese = body["text"]["ja"].as_str().unwrap();
    assert!(japanese.contains("に終わります"), "{japanese}");
    // The status says so as well.
    let status = world.status().await;
    assert_eq!(status["upcoming"][0]["at"], until.as_str());
    let told = world.run(&["status"]).await;
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(
        told.contains("AccessGrant/readonly/user200 ends at "),
        "{told}"
    );

    // Another day is news.
    access(&world, &entry(&ahead(4 * day)), "");
    world.commit("for a day more");
    assert_eq!(world.apply().await.code, Some(0));
    assert_eq!(world.entries("date.announced").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_begins_only_later_is_judged_and_approved_now() {
    let world = World::in_step().await;
    let base = world
        .git_in("work", &["rev-parse", "HEAD"])
        .trim()
        .to_owned();
    let judged = async |from: &str| {
        world.write(
            "config/access-control.json",
            &format!(
                r#"{{ "admin_users": ["user001", {{"id": "user009", "from": "{from}"}}], "readonly_users": ["user100"], "blocked_ips": ["203.0.113.7"] }}"#
            ),
        );
        let head = world.commit("an admin, later");
        let args = ["gate", "--base", &base, "--head", &head, "--format", "json"];
        let judged: Value = serde_json::from_slice(&world.run(&args).await.stdout).unwrap();
        (head, judged)
    };
    let (head, judgement) = judged("2099-01-01").await;
    let change = &judgement["plan"]["systems"]["medical"]["changes"][0];
    assert_eq!(change["op"], "create");
    assert_eq!(change["direction"], "widening");
    assert_eq!(change["after"]["from"], "2099-01-01");
    let later = &judgement["plan"]["later"][0];
    assert_eq!(later["at"], "2098-12-31T15:00:00Z");
    assert_eq!(later["effect"], "begins");
    assert_eq!(later["resource"], "AccessGrant/admin/user009");
    // It needs the approval that every change needs, and that is for this very date.
    assert_eq!(judgement["approvals"][0]["count"], 1);
    let (_, other) = judged("2098-01-01").await;
    assert_ne!(judgement["scope"], other["scope"]);

    let told = world
        .ok(&[
            "gate", "--base", &base, "--head", &head, "--format", "markdown",
        ])
        .await;
    assert!(
        told.contains("user009: admin access granted, from `2099-01-01`"),
        "{told}"
    );
    assert!(told.contains("Later, by date"), "{told}");
    assert!(told.contains("begins at `2099-01-01 00:00` JST"), "{told}");
    // Nothing of it is done on merge.
    assert!(told.contains("Nothing at once"), "{told}");
    assert_eq!(world.apply().await.code, Some(0));
    for system in BOTH {
        assert!(!has(&world, system, "AccessGrant/admin/user009").await);
    }
    // Against the live systems there is nothing to do either.
    world.ok(&["plan", "--live", "--exit-code"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposal_says_what_its_dates_will_be_held_for() {
    let world = World::in_step().await;
    let base = world
        .git_in("work", &["rev-parse", "HEAD"])
        .trim()
        .to_owned();
    world.write(
        "config/access-control.json",
        r#"{ "admin_users": [{"id": "user001", "until": "2090-12-31"}], "readonly_users": ["user100"], "blocked_ips": ["203.0.113.7"] }"#,
    );
    let head = world.commit("the only admin leaves");
    let gate = |format| ["gate", "--base", &base, "--head", &head, "--format", format];
    let told = world.ok(&gate("markdown")).await;
    assert!(
        told.contains("Held when `2091-01-01 00:00` JST comes (group hospital)"),
        "{told}"
    );
    let judged: Value = serde_json::from_str(&world.ok(&gate("json")).await).unwrap();
    assert_eq!(judged["held"], serde_json::json!([]));
    let later = &judged["held_later"][0];
    assert_eq!(later["at"], "2090-12-31T15:00:00Z");
    assert_eq!(later["breaches"][0]["rule"], "last_admin");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_has_passed_is_warned_of() {
    let world = World::in_step().await;
    let base = world
        .git_in("work", &["rev-parse", "HEAD"])
        .trim()
        .to_owned();
    let checked = async |entry: &str| {
        access(&world, entry, "");
        let head = world.commit("a slip of the year");
        let args = [
            "check", "--base", &base, "--head", &head, "--format", "json",
        ];
        let output = world.run(&args).await;
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = said["findings"].as_array().unwrap().clone();
        let rules = findings
            .iter()
            .map(|f| format!("{}:{}", f["rule"], f["severity"]));
        (output.status.code(), rules.collect::<Vec<_>>())
    };
    assert_eq!(
        checked(r#", {"id": "user200", "until": "2020-12-31"}"#).await,
        (Some(0), vec![r#""date/past":"warning""#.to_owned()])
    );
    assert_eq!(
        checked(r#", {"id": "user200", "from": "2090-02-01", "until": "2090-01-31"}"#).await,
        (Some(1), vec![r#""date/never":"error""#.to_owned()])
    );
    assert_eq!(
        checked(r#", {"id": "user200", "from": "2090-01-31", "until": "2090-01-31"}"#).await,
        (Some(0), Vec::new())
    );
}
