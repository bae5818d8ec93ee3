//! What an auditor gets: exports, merged with the systems' own feeds, and the way back from a change to who asked and who agreed.

use super::*;

/// The rows of a CSV file, by the names of their columns; strictly read.
fn rows(text: &[u8]) -> Vec<std::collections::BTreeMap<String, String>> {
    let mut reader = csv::ReaderBuilder::new().flexible(false).from_reader(text);
    reader.deserialize().map(|row| row.unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_says_who_when_and_where() {
    let world = with_history().await;
    let output = world.run(&["audit", "export", "--format", "csv"]).await;
    assert_eq!(output.status.code(), Some(0));
    assert!(!output.stdout.starts_with("\u{feff}".as_bytes()));
    assert!(output.stdout.ends_with(b"\"\r\n"));
    let rows = rows(&output.stdout);
    let raised: Vec<_> = rows
        .iter()
        .filter(|r| r["resource"] == "ai_assistant" && r["op"] == "update")
        .map(|r| (r["source"].as_str(), r["system"].as_str()))
        .collect();
    for system in ["medical", "voicedrive"] {
        assert!(raised.contains(&("ledger", system)), "{raised:?}");
        let own = format!("system:{system}");
        assert!(raised.contains(&(own.as_str(), system)), "{raised:?}");
    }
    let applied = rows
        .iter()
        .find(|r| r["action"] == "system.applied" && r["op"] == "update")
        .unwrap();
    for column in [
        "time",
        "seq",
        "run",
        "revision",
        "plan",
        "decided",
        "prepared",
        "committed",
        "verified",
        "receipt",
        "before",
        "after",
        "document",
    ] {
        assert!(!applied[column].is_empty(), "{column}: {applied:?}");
    }
    let times: Vec<_> = rows
        .iter()
        .map(|r| r["time"].parse::<jiff::Timestamp>().unwrap())
        .collect();
    assert!(times.is_sorted(), "{times:?}");

    let marked = world
        .run(&[
            "audit",
            "export",
            "--bom",
            "--system",
            "medical",
            "--kind",
            "FeatureFlag",
        ])
        .await;
    let text = marked.stdout.strip_prefix("\u{feff}".as_bytes()).unwrap();
    let only = self::rows(text);
    assert!(!only.is_empty());
    assert!(
        only.iter()
            .all(|r| r["system"] == "medical" && r["kind"] == "FeatureFlag")
    );
    let none = world
        .run(&["audit", "export", "--until", "2020-01-01"])
        .await;
    assert_eq!(self::rows(&none.stdout).len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_does_not_pass_over_rows_that_no_ledger_has() {
    let world = with_history().await;
    tamper(
        &world,
        "INSERT INTO ledger SELECT -3, 'other', at_ms, actor, action, group_name, system, run, revision, leaf, body, hash FROM ledger WHERE seq = 1",
    );
    let said = Ended::of(&world.run(&["audit", "export"]).await);
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(said.err.contains("numbered -3"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_breaks_off_is_said_in_the_export() {
    let world = with_history().await;
    world.systems[0].proxy.break_at("/audit");
    let output = world.run(&["audit", "export"]).await;
    let said = Ended::of(&output);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(
        said.err
            .contains("medical: its audit feed could not be read whole"),
        "{}",
        said.err
    );
    let rows = rows(&output.stdout);
    let gap = rows
        .iter()
        .find(|r| r["action"] == "feed.incomplete")
        .unwrap();
    assert_eq!(
        (gap["source"].as_str(), gap["result"].as_str()),
        ("system:medical", "incomplete")
    );
    assert!(rows.iter().any(|r| r["source"] == "system:voicedrive"));
    assert!(rows.iter().any(|r| r["action"] == "system.applied"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_is_defined_no_longer_is_said_in_the_export() {
    let world = with_history().await;
    let store = world.store().await;
    let old = lockstep::store::NewEntry {
        at: "2026-01-05T00:00:00Z".parse().unwrap(),
        actor: "lockstep/engine".parse().unwrap(),
        action: "system.applied".to_owned(),
        group: None,
        system: Some("former".parse().unwrap()),
        run: None,
        revision: None,
        body: json!({}),
    };
    store.append(&[old]).await.unwrap();
    store.close().await;
    for args in [
        &["audit", "export"][..],
        &["audit", "export", "--system", "former"],
    ] {
        let output = world.run(args).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let rows = rows(&output.stdout);
        let gap = rows.iter().find(|r| r["action"] == "feed.incomplete");
        assert_eq!(gap.unwrap()["source"], "system:former");
        assert!(
            rows.iter()
                .any(|r| r["action"] == "system.applied" && r["system"] == "former")
        );
    }
    // Nothing was done there in that time.
    let later = ["audit", "export", "--from", "2026-01-06"];
    world.ok(&later).await;
    let unknown = world.run(&["audit", "export", "--system", "never"]).await;
    assert_eq!(unknown.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_json_are_the_entries_themselves_and_a_manifest_says_of_what() {
    let world = with_history().await;
    let out = world.path("year.jsonl");
    world
        .ok(&[
            "audit",
            "export",
            "--format",
            "jsonl",
            "--out",
            out.to_str().unwrap(),
        ])
        .await;
    let text = std::fs::read(&out).unwrap();
    let manifest = manifest(&out);
    assert_eq!(manifest["sha256"], json!(lockstep::ids::Digest::of(&text)));
    assert_eq!(
        (&manifest["from_seq"], &manifest["whole"]),
        (&json!(1), &json!(true))
    );
    let checkpoint = manifest["checkpoint"].as_str().unwrap();
    let checkpoint = lockstep::tlog::Checkpoint::peek(checkpoint).unwrap();
    let lines = std::str::from_utf8(&text).unwrap().lines();
    let leaves: Vec<_> = lines.filter(|l| l.contains("\"prev\":")).collect();
    let root = lockstep::tlog::root_of(
        leaves
            .iter()
            .map(|l| lockstep::tlog::leaf_hash(l.as_bytes())),
    );
    assert_eq!(
        (checkpoint.size, checkpoint.root),
        (leaves.len() as u64, root)
    );

    let events = async || {
        world
            .ok(&[
                "audit",
                "export",
                "--format",
                "cloudevents",
                "--until",
                "2100-01-01",
            ])
            .await
    };
    let (once, again) = (events().await, events().await);
    assert_eq!(once, again);
    let ids: std::collections::BTreeSet<String> = once
        .lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            assert_eq!(event["specversion"], "1.0");
            format!("{} {}", event["source"], event["id"])
        })
        .collect();
    assert_eq!(ids.len(), once.lines().count());
}

fn manifest(out: &Path) -> Value {
    let mut name = out.as_os_str().to_owned();
    name.push(".manifest.json");
    serde_json::from_slice(&std::fs::read(name).unwrap()).unwrap()
}

async fn actions(world: &World) -> Vec<String> {
    let filter = lockstep::store::EntryFilter::default();
    let entries = world.store().await.entries(&filter).await.unwrap();
    entries.into_iter().map(|entry| entry.action).collect()
}

/// One command answers who asked, who agreed, and when each system had it; however often a proposal was looked at, each is said once.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_leads_back_to_who_asked_and_who_agreed() {
    let world = World::in_step().await;
    let before = actions(&world).await.len();
    world
        .ok(&[
            "propose",
            "--set",
            "flag.ai_assistant.rollout=20",
            "--title",
            "=cmd raise",
            "--as",
            "sato",
        ])
        .await;
    // Looked at again, by the server.
    let mut server = world.start(&["run"], "run.log");
    crate::world::eventually("the proposal is judged", async || {
        let all = actions(&world).await;
        all.iter().any(|a| a == "verdict.given").then_some(())
    })
    .await;
    for args in [["proposal", "approve", "1"], ["proposal", "merge", "1"]] {
        let output = world.run_as("tanaka", &args).await;
        assert!(output.status.success(), "{output:?}");
    }
    crate::world::eventually("the change is applied", async || {
        let all = actions(&world).await;
        let applied = all.iter().skip(before).filter(|a| *a == "system.applied");
        (applied.count() == 2).then_some(())
    })
    .await;
    // Signed soon after; what follows from it, such as a message that has arrived, with the next.
    let last = world.entries("system.applied").await.pop().unwrap().seq;
    crate::world::eventually("it is signed", async || {
        let output = world.run(&["audit", "verify", "--format", "json"]).await;
        assert!(output.status.success(), "{output:?}");
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let signed = told["entries"].as_u64()? - told["unsigned"].as_u64()?;
        (signed >= last).then_some(())
    })
    .await;
    server.kill();
    let all = actions(&world).await;
    for once in [
        "proposal.opened",
        "approval.given",
        "proposal.merged",
        "decision.commit",
    ] {
        let count = all.iter().skip(before).filter(|a| *a == once).count();
        assert_eq!(count, 1, "{once}: {all:?}");
    }
    let output = world.run(&["audit", "export"]).await;
    let rows = rows(&output.stdout);
    let changed = rows
        .iter()
        .filter(|r| r["action"] == "system.applied" && r["op"] == "update");
    let changed: Vec<_> = changed.collect();
    assert_eq!(changed.len(), 2);
    for row in changed {
        assert_eq!(row["title"], "'=cmd raise", "a formula is none");
        assert_eq!(
            (row["proposal"].as_str(), row["author"].as_str()),
            ("1", "sato")
        );
        assert!(row["approvers"].starts_with("tanaka "), "{row:?}");
        assert_eq!(row["policy_decision"], "allowed");
        assert!(row["checks"].contains("lockstep/approval success"));
        assert_eq!(row["policies"].len(), 64);
    }
}
