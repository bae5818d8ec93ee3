//! The ledger as evidence, through the built binary: what was tampered with is found, proofs hold for whoever has only the key, and an export says what
//! it could not read.

use std::path::Path;

use serde_json::{Value, json};

use crate::world::{Ended, World};

mod export;

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
         DROP TABLE recorded; DROP TABLE replicas; DROP TABLE shelf; DROP INDEX ledger_by_system; DROP INDEX outbox_by_destination; DROP INDEX outbox_delivered; ALTER TABLE outbox DROP COLUMN dead_ms; \
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
