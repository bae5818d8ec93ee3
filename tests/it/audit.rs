//! The ledger as evidence, through the built binary: what was tampered with is found, proofs hold for whoever has only the key, and an export says what
//! it could not read.

use std::path::Path;

use serde_json::{Value, json};

use crate::world::{Ended, World};

/// What somebody with the file in their hands can do.
fn tamper(world: &World, sql: &str) {
    let store = rusqlite::Connection::open(world.path("store.db")).unwrap();
    let mut triggers = store
        .prepare("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        .unwrap();
    let names: Vec<String> = triggers
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    for name in names {
        store
            .execute_batch(&format!("DROP TRIGGER {name}"))
            .unwrap();
    }
    store.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    store.execute_batch(sql).unwrap();
}

async fn verify(world: &World) -> Ended {
    Ended::of(&world.run(&["audit", "verify"]).await)
}

/// A world in which a change went to both systems past a ceiling, on somebody's word.
async fn with_history() -> World {
    let world = World::in_step().await;
    world.set_rollout(20);
    world.commit("raise");
    world.ok(&["apply"]).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_ledger_agrees_with_its_checkpoints() {
    let world = with_history().await;
    let said = verify(&world).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(
        said.err
            .contains("2 checkpoints agree; 0 entries are newer"),
        "{}",
        said.err
    );
    let output = world.run(&["audit", "verify", "--format", "json"]).await;
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&told["checkpoints"], &told["faults"]),
        (&json!(2), &json!([]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_altered_dropped_or_cut_off_is_found() {
    let cases = [
        (
            "UPDATE ledger SET leaf = replace(leaf, 'medical', 'payroll') WHERE seq = 2",
            "entry 2 is not as it was written",
        ),
        (
            "UPDATE ledger SET actor = 'nobody' WHERE seq = 3",
            "entry 3 is not as it was written",
        ),
        (
            "DELETE FROM ledger WHERE seq = 1",
            "entry 1 is not as it was written",
        ),
        (
            "DELETE FROM ledger WHERE seq = 4",
            "entry 4 is not as it was written",
        ),
        (
            "UPDATE ledger SET seq = -seq WHERE seq IN (2, 3); UPDATE ledger SET seq = 5 + seq WHERE seq < 0",
            "entry 2 is not as it was written",
        ),
        ("DELETE FROM ledger WHERE seq > 5", "entry 6 is missing"),
        ("DELETE FROM ledger", "entry 1 is missing"),
        (
            "UPDATE runs SET outcome = replace(outcome, 'applied', 'held')",
            "is not as the ledger has it",
        ),
        (
            "UPDATE runs SET body = replace(body, '10', '99')",
            "is not as the ledger has it",
        ),
        (
            "UPDATE runs SET finished_ms = finished_ms + 1",
            "is not as the ledger has it",
        ),
        (
            "UPDATE runs SET outcome = NULL, finished_ms = NULL",
            "is not as the ledger has it",
        ),
        (
            "DELETE FROM decisions; DELETE FROM runs",
            "is in the ledger, and its row is gone",
        ),
        (
            "INSERT INTO runs SELECT '00000000-0000-0000-0000-000000000000', group_name, revision, fence, body, outcome, finished_ms, reach FROM runs LIMIT 1",
            "the ledger does not say so",
        ),
        (
            "UPDATE decisions SET decision = 'compensate'",
            "is not in the ledger",
        ),
        (
            "UPDATE decisions SET at_ms = 0",
            "is not as the ledger has it",
        ),
        (
            "DELETE FROM decisions WHERE run = (SELECT MAX(run) FROM decisions)",
            "is in the ledger, and its row is gone",
        ),
        ("DELETE FROM changes", "counts against the ceilings"),
        (
            "UPDATE changes SET at_ms = 0",
            "counts against the ceilings",
        ),
        (
            "INSERT INTO releases (plan, released_by, because, at_ms) VALUES ('00', 'tanaka', 'x', 0)",
            "is not in the ledger as it stands there",
        ),
        (
            "INSERT INTO ledger SELECT -3, 'other', at_ms, actor, action, group_name, system, run, revision, leaf, body, hash FROM ledger WHERE seq = 1",
            "entry 1 is not as it was written: one that is numbered -3 stands before it",
        ),
        (
            "INSERT INTO ledger SELECT -9223372036854775807 - 1, 'other', at_ms, actor, action, group_name, system, run, revision, leaf, body, hash FROM ledger WHERE seq = 1",
            "stands before it",
        ),
        (
            "UPDATE ledger SET leaf = CAST(leaf AS BLOB) WHERE seq = 2",
            "entry 2 is not as it was written: its leaf",
        ),
        (
            "UPDATE ledger SET at_ms = 'noon' WHERE seq = 3",
            "entry 3 is not as it was written: its at_ms",
        ),
        (
            "UPDATE decisions SET body = CAST(body AS BLOB)",
            "is not as the ledger has it",
        ),
        (
            "INSERT INTO changes (run, system, id, op, at_ms) VALUES ('none', 'medical', 'x', 'update', 0)",
            "no such run has ended",
        ),
        (
            "INSERT INTO commands (id, proposal, author, at_ms, body) VALUES ('1', 1, 'tanaka', 0, '{}')",
            "is not in the ledger as it stands there",
        ),
    ];
    let world = with_history().await;
    // A process that has ended leaves what it wrote last beside the file.
    rusqlite::Connection::open(world.path("store.db"))
        .and_then(|store| store.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)"))
        .unwrap();
    let whole = std::fs::read(world.path("store.db")).unwrap();
    for (sql, found) in cases {
        // As it was, without what the last one left.
        for ending in ["store.db-wal", "store.db-shm"] {
            let _ = std::fs::remove_file(world.path(ending));
        }
        std::fs::write(world.path("store.db"), &whole).unwrap();
        tamper(&world, sql);
        let said = verify(&world).await;
        assert_eq!(said.code, Some(1), "{sql}: {}", said.err);
        assert!(said.err.contains(found), "{sql}: {}", said.err);
    }
}

/// A store as a program left it that kept no digests, before the tables of today: a run that ended with its decision, release, command and what
/// it counts.
async fn of_before() -> World {
    let world = World::new().await;
    let run: lockstep::ids::RunId = "01999999-0000-7000-8000-000000000001".parse().unwrap();
    let store = world.store().await;
    let ended = lockstep::store::NewEntry {
        at: "2026-01-05T00:00:00Z".parse().unwrap(),
        actor: "lockstep/engine".parse().unwrap(),
        action: "run.finished".to_owned(),
        group: Some("hospital".parse().unwrap()),
        system: None,
        run: Some(run),
        revision: None,
        body: json!({"outcome": {"outcome": "applied"}}),
    };
    store.append(&[ended]).await.unwrap();
    store.close().await;
    let sql = format!(
        "INSERT INTO runs (id, group_name, revision, fence, body, outcome, finished_ms) VALUES ('{run}', 'hospital', '0a', 1, '{{}}', '{{}}', 5); \
         INSERT INTO decisions (run, ordinal, decision, body, at_ms) VALUES ('{run}', 1, 'commit', '{{}}', 3); \
         INSERT INTO changes (run, system, id, op, at_ms) VALUES ('{run}', 'medical', 'Notice/b', 'update', 4), ('{run}', 'medical', 'Notice/a', 'update', 4); \
         INSERT INTO releases (plan, released_by, because, at_ms, used_by) VALUES ('aa', 'tanaka', 'move', 2, '{run}'); \
         INSERT INTO commands (id, proposal, author, at_ms, body) VALUES ('7', 1, 'tanaka', 1, '{{}}'); \
         DROP TABLE recorded; DROP TABLE replicas; DROP INDEX outbox_by_destination; ALTER TABLE outbox DROP COLUMN dead_ms; \
         DELETE FROM _sqlx_migrations WHERE version > 3"
    );
    let store = rusqlite::Connection::open(world.path("store.db")).unwrap();
    store.execute_batch(&sql).unwrap();
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_before_are_taken_in_once_and_then_held_to() {
    let world = of_before().await;
    let said = verify(&world).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("2 entries"), "{}", said.err);
    rusqlite::Connection::open(world.path("store.db"))
        .and_then(|store| store.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)"))
        .unwrap();
    let whole = std::fs::read(world.path("store.db")).unwrap();
    let cases = [
        ("UPDATE decisions SET at_ms = 9", "decision commit of run"),
        ("DELETE FROM decisions", "decisions : 1 from before"),
        ("UPDATE runs SET fence = 9", "is not as the ledger has it"),
        ("DELETE FROM changes WHERE id LIKE '%a'", "counts against"),
        ("UPDATE releases SET because = 'x'", "release aa"),
        ("UPDATE releases SET used_by = 'x'", "release aa: was used"),
        ("UPDATE commands SET author = 'sato'", "command 7"),
        // Whoever makes the store forget that it was looked at has nothing excused by that.
        (
            "DELETE FROM firsts; INSERT INTO releases (plan, released_by, because, at_ms) VALUES ('bb', 'sato', 'x', 0)",
            "release bb",
        ),
    ];
    for (sql, found) in cases {
        for ending in ["store.db-wal", "store.db-shm"] {
            let _ = std::fs::remove_file(world.path(ending));
        }
        std::fs::write(world.path("store.db"), &whole).unwrap();
        tamper(&world, sql);
        let said = verify(&world).await;
        assert_eq!(said.code, Some(1), "{sql}: {}", said.err);
        assert!(said.err.contains(found), "{sql}: {}", said.err);
    }
}

/// The store's file as it is, with what lies beside it in the log.
fn whole(world: &World) -> Vec<u8> {
    rusqlite::Connection::open(world.path("store.db"))
        .and_then(|store| store.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)"))
        .unwrap();
    std::fs::read(world.path("store.db")).unwrap()
}

fn put_back(world: &World, whole: &[u8]) {
    for ending in ["store.db-wal", "store.db-shm"] {
        let _ = std::fs::remove_file(world.path(ending));
    }
    std::fs::write(world.path("store.db"), whole).unwrap();
}

/// Says in the ledger that the store was restored, as whoever brings it back does.
async fn say_restored(world: &World) -> Option<lockstep::audit::Restored> {
    let key = world.ok(&["audit", "key"]).await.trim().parse().unwrap();
    let store = world.store().await;
    let repo = lockstep::repo::Repo::open(&world.path("config.git")).unwrap();
    let said = lockstep::audit::restored(
        &store,
        std::sync::Arc::new(repo),
        vec![key],
        "tanaka".parse().unwrap(),
        lockstep::clock::Clock::now(&lockstep::clock::SystemClock),
    )
    .await
    .unwrap();
    store.close().await;
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_is_signed_and_verified_again_and_only_what_is_lost_is_excused() {
    let world = World::in_step().await;
    assert_eq!(say_restored(&world).await, None, "nothing is lost");
    let backup = whole(&world);
    world.set_rollout(20);
    world.commit("raise");
    world.ok(&["apply"]).await;
    let signed = sizes(&world);
    put_back(&world, &backup);
    let said = verify(&world).await;
    assert_eq!(said.code, Some(1), "{}", said.err);
    let refused = world.apply().await;
    assert!(
        refused.err.contains("hold checkpoints of more"),
        "{}",
        refused.err
    );

    let restored = say_restored(&world).await.unwrap();
    assert_eq!(restored.lost.len(), 1);
    assert_eq!(restored.reached().to_string(), *signed.last().unwrap());
    world.set_rollout(30);
    world.commit("raise again");
    let applied = world.apply().await;
    assert!(!applied.err.contains("not signed"), "{}", applied.err);
    let said = verify(&world).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("restored by tanaka"), "{}", said.err);
    assert!(said.err.contains("0 entries are newer"), "{}", said.err);
    let output = world.run(&["audit", "verify", "--format", "json"]).await;
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["restored"][0]["from"], json!(restored.from));
    let last = restored.seq.to_string();
    world.ok(&["audit", "prove", &last]).await;

    // What came after it is held to as before.
    let after = whole(&world);
    for (sql, found) in [
        (
            format!("DELETE FROM ledger WHERE seq > {last}"),
            "is missing",
        ),
        (format!("DELETE FROM ledger WHERE seq >= {last}"), "missing"),
        (
            format!("UPDATE ledger SET actor = 'sato' WHERE seq = {last}"),
            "is not as it was written",
        ),
    ] {
        put_back(&world, &after);
        tamper(&world, &sql);
        let said = verify(&world).await;
        assert_eq!(said.code, Some(1), "{sql}: {}", said.err);
        assert!(said.err.contains(found), "{sql}: {}", said.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_begun_anew_is_signed_again() {
    let world = with_history().await;
    for ending in ["store.db", "store.db-wal", "store.db-shm"] {
        let _ = std::fs::remove_file(world.path(ending));
    }
    world.ok(&["store", "migrate", "--begin-anew"]).await;
    // Whoever begins anew may have said it already.
    let _ = say_restored(&world).await;
    let applied = world.apply().await;
    assert!(!applied.err.contains("not signed"), "{}", applied.err);
    let said = verify(&world).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("goes on from entry 0"), "{}", said.err);
    assert!(said.err.contains("0 entries are newer"), "{}", said.err);
}

/// Without the key nothing can be shown, and a second one is not made in its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_gone_hides_nothing() {
    let world = with_history().await;
    let key = std::fs::read(world.path("store.db.key")).unwrap();
    std::fs::remove_file(world.path("store.db.key")).unwrap();
    let said = verify(&world).await;
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(
        said.err
            .contains("none by a key that is trusted here, so nothing shows"),
        "{}",
        said.err
    );
    tamper(&world, "DELETE FROM ledger WHERE seq > 5");
    let said = verify(&world).await;
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("entry 6 is missing"), "{}", said.err);
    let refused = Ended::of(&world.run(&["audit", "key"]).await);
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    assert!(
        refused.err.contains("bring that key back"),
        "{}",
        refused.err
    );
    assert!(!world.path("store.db.key").exists());
    std::fs::write(world.path("store.db.key"), key).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(world.path("store.db.key"), open).unwrap();
    world.ok(&["audit", "key"]).await;
}

/// Whoever has the store and knows how entries are hashed can make a chain that fits; not the checkpoints.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_was_written_anew_is_found_by_its_checkpoints() {
    let world = with_history().await;
    let store = world.store().await;
    let entries = store
        .entries(&lockstep::store::EntryFilter::default())
        .await
        .unwrap();
    store.close().await;
    tamper(&world, "DELETE FROM ledger");
    let store = world.store().await;
    for (n, entry) in entries.into_iter().enumerate() {
        let actor = if n == 1 {
            "somebody".parse().unwrap()
        } else {
            entry.actor
        };
        let forged = lockstep::store::NewEntry {
            at: entry.at,
            actor,
            action: entry.action,
            group: entry.group,
            system: entry.system,
            run: entry.run,
            revision: entry.revision,
            body: entry.body,
        };
        store.append(&[forged]).await.unwrap();
    }
    store.close().await;
    let said = verify(&world).await;
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(
        said.err.contains("are not those that were signed"),
        "{}",
        said.err
    );
    // And nothing is signed over it.
    world.set_rollout(30);
    world.commit("raise again");
    let applied = world.apply().await;
    assert!(
        applied.err.contains("the ledger is not signed"),
        "{}",
        applied.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_holds_for_whoever_has_only_the_key() {
    let world = with_history().await;
    let key = world.ok(&["audit", "key"]).await.trim().to_owned();
    let proof = world.path("proof");
    let out = proof.to_str().unwrap();
    world.ok(&["audit", "prove", "2", "--out", out]).await;
    // Without a store or a repository.
    let elsewhere = tempfile::tempdir().unwrap();
    let check = async |key: &str| {
        let mut command = std::process::Command::new(world.lockstep(&[]).get_program());
        command.current_dir(elsewhere.path());
        command.args(["audit", "prove", "--check", out, "--key", key]);
        Ended::of(&command.output().unwrap())
    };
    let held = check(&key).await;
    assert_eq!(held.code, Some(0), "{}", held.err);
    let entry: Value = serde_json::from_str(&held.out).unwrap();
    assert_eq!(entry["seq"], 2);
    let text = std::fs::read_to_string(&proof).unwrap();
    for (from, to) in [
        ("index 1", "index 2"),
        ("extra e", "extra f"),
        ("\n\n", "\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n"),
    ] {
        assert!(text.contains(from), "{text}");
        std::fs::write(&proof, text.replacen(from, to, 1)).unwrap();
        let broken = check(&key).await;
        assert_eq!(broken.code, Some(1), "{from}: {}", broken.err);
    }
    std::fs::write(&proof, &text).unwrap();
    let other = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    assert_eq!(check(other).await.code, Some(1));

    let sizes = sizes(&world);
    let [from, to] = sizes.as_slice() else {
        panic!("{sizes:?}");
    };
    world
        .ok(&["audit", "prove", "--from", from, "--to", to, "--out", out])
        .await;
    assert_eq!(check(&key).await.code, Some(0));
    let text = std::fs::read_to_string(&proof).unwrap();
    let mut read: Value = serde_json::from_str(&text).unwrap();
    read["from"] = read["to"].clone();
    std::fs::write(&proof, read.to_string()).unwrap();
    assert_eq!(check(&key).await.code, Some(1));
}

/// The sizes of the checkpoints in the notes, smallest first.
fn sizes(world: &World) -> Vec<String> {
    let notes = world.git_in(
        "config.git",
        &[
            "log",
            "--all",
            "-p",
            "--format=",
            "refs/notes/lockstep/checkpoints",
        ],
    );
    let mut sizes: Vec<u64> = notes
        .lines()
        .filter_map(|line| lockstep::tlog::from_line(line.strip_prefix('+')?))
        .map(|text| lockstep::tlog::Checkpoint::peek(&text).unwrap().size)
        .collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::in_step().await;
    let key = world.path("store.db.key");
    let mode = std::fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let secret = std::fs::read_to_string(&key).unwrap();
    let shown = world.ok(&["audit", "key"]).await;
    assert!(!shown.contains("PRIVATE") && secret.starts_with("PRIVATE+KEY+"));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let refused = Ended::of(&world.run(&["audit", "key"]).await);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("chmod 600"), "{}", refused.err);
}

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
