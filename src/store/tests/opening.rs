//! Opening: new, again, after a crash, of the wrong file, of the wrong version.

use std::path::Path;

use super::*;
use sqlx::ConnectOptions as _;

async fn raw(path: &Path) -> sqlx::SqliteConnection {
    sqlx::sqlite::SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .connect()
        .await
        .unwrap()
}

#[tokio::test]
async fn folders_and_tables_are_made_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/store.db");
    let store = Store::open(&path).await.unwrap();
    store.save_run(&row(1)).await.unwrap();
    store.close().await;
    let url = format!("sqlite:{}", path.display());
    let store = Store::open(url).await.unwrap();
    assert_eq!(store.open_runs(&group()).await.unwrap().len(), 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |p: &Path| std::fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&folder.path().join("a/b/store.db-wal")), 0o600);
        assert_eq!(mode(&folder.path().join("a")), 0o700);
    }
}

#[tokio::test]
async fn the_connections_are_as_durable_as_promised() {
    let store = Store::temporary().await.unwrap();
    let pragmas = "SELECT (SELECT journal_mode FROM pragma_journal_mode), \
                   (SELECT synchronous FROM pragma_synchronous), (SELECT foreign_keys FROM pragma_foreign_keys)";
    for (durability, level) in [(Durability::Relaxed, 1_i64), (Durability::Full, 2)] {
        let mut tx = store.write(durability, "look").await.unwrap();
        let found: Vec<(String, i64, i64)> = query(pragmas).fetch_all(&mut tx).await.unwrap();
        assert_eq!(found, [("wal".to_owned(), level, 1)]);
    }
}

#[tokio::test]
async fn what_was_written_is_there_after_a_crash_and_what_was_not_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (path, copy) = (folder.path().join("store.db"), folder.path().join("copy"));
    let store = Store::open(&path).await.unwrap();
    store.save_run(&row(1)).await.unwrap();
    store
        .record_decision(run_id(1), Fence(1), "commit", &Value::Null, at(0))
        .await
        .unwrap();
    let mut unfinished = store.write(Durability::Full, "half a write").await.unwrap();
    query("DELETE FROM decisions")
        .execute(&mut unfinished)
        .await
        .unwrap();
    // The files as a kill would leave them: nothing is closed, the log is not folded in.
    std::fs::create_dir(&copy).unwrap();
    for name in ["store.db", "store.db-wal"] {
        std::fs::copy(folder.path().join(name), copy.join(name)).unwrap();
    }
    let after = Store::open(copy.join("store.db")).await.unwrap();
    let open = after.open_runs(&group()).await.unwrap();
    assert_eq!(open[0].decisions[0].decision, "commit");

    drop(unfinished);
    drop(store);
    let again = Store::open(&path).await.unwrap();
    assert_eq!(
        again.open_runs(&group()).await.unwrap()[0].decisions.len(),
        1
    );
}

#[tokio::test]
async fn a_write_that_is_dropped_half_way_leaves_the_writer_free() {
    let store = Store::temporary().await.unwrap();
    let mut half = store
        .write(Durability::Relaxed, "half a write")
        .await
        .unwrap();
    query("INSERT INTO groups (name) VALUES ('hospital')")
        .execute(&mut half)
        .await
        .unwrap();
    drop(half);
    store.save_run(&row(1)).await.unwrap();
    assert_eq!(
        store.group_state(&group()).await.unwrap(),
        GroupState::default()
    );
}

#[tokio::test]
async fn a_newer_store_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    Store::open(&path).await.unwrap().close().await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'of the future', TRUE, x'00', 0)",
    )
    .execute(&mut raw(&path).await)
    .await
    .unwrap();
    let error = Store::open(&path).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Newer { found: 9999, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("use the newer program"));
}

#[tokio::test]
async fn another_programs_file_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.db");
    let mut connection = raw(&other).await;
    sqlx::query("CREATE TABLE accounts (id INTEGER)")
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "日本語のメモ。".repeat(100)).unwrap();
    for path in [&other, &text] {
        let before = std::fs::read(path).unwrap();
        let error = Store::open(path).await.unwrap_err();
        assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
        assert_eq!(std::fs::read(path).unwrap(), before);
    }
}

#[tokio::test]
async fn places_that_cannot_be_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Store::open(file.join("store.db")).await.unwrap_err();
    assert!(matches!(error, StoreError::Folder { .. }), "{error}");
    let error = Store::open("").await.unwrap_err();
    assert!(matches!(error, StoreError::Folder { .. }), "{error}");
    let error = Store::open("mysql://me:secret@db/lockstep")
        .await
        .unwrap_err();
    insta::assert_snapshot!(error, @"mysql: is no store this build can open; give a path, sqlite:PATH or postgres://USER@HOST/DATABASE");
    let error = Store::open("postgres://me:secret@db:port/lockstep")
        .await
        .unwrap_err();
    insta::assert_snapshot!(error, @"the store's address can't be read; it is written postgres://USER@HOST:PORT/DATABASE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn programs_that_start_together_make_one_store() {
    let folder = tempfile::tempdir().unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let path = folder.path().join("new/store.db");
        tasks.spawn(async move { Store::open(path).await.unwrap().owed().await.unwrap() });
    }
    while let Some(owed) = tasks.join_next().await {
        assert_eq!(owed.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_said_without_its_password() {
    let error = Store::open("postgres://me:geheim@127.0.0.1:9/lockstep")
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Away { .. }), "{error:?}");
    assert!(error.is_transient());
    let said = format!("{error} {error:?}");
    assert!(!said.contains("geheim"), "{said}");
    assert!(said.contains("nothing is applied until it can"), "{said}");
}

/// Runs a statement as somebody else than Lockstep would.
async fn say(url: &str, sql: &'static str) {
    use std::str::FromStr as _;
    let mut connection = sqlx::postgres::PgConnectOptions::from_str(url)
        .unwrap()
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
}

#[tokio::test]
async fn another_programs_database_is_left_as_it_is() {
    let Some(url) = server::database() else {
        return;
    };
    say(&url, "CREATE TABLE accounts (id INTEGER)").await;
    let error = Store::open(&url).await.unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    // Still nothing of ours in it.
    say(&url, "CREATE TABLE runs (id INTEGER)").await;
}

#[tokio::test]
async fn a_newer_database_is_left_as_it_is() {
    let Some(url) = server::database() else {
        return;
    };
    Store::open(&url).await.unwrap().close().await;
    say(
        &url,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'of the future', TRUE, '\\x00', 0)",
    )
    .await;
    let error = Store::open(&url).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Newer { found: 9999, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("use the newer program"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_that_start_together_make_one_store() {
    let Some(url) = server::database() else {
        return;
    };
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let url = url.clone();
        tasks.spawn(async move { Store::open(url).await.unwrap().owed().await.unwrap() });
    }
    while let Some(owed) = tasks.join_next().await {
        assert_eq!(owed.unwrap(), 0);
    }
}

/// Somebody who stands still in the middle of a write keeps nobody else from writing for long.
#[tokio::test]
async fn a_write_that_stands_still_is_ended_by_the_server() {
    let Some(place) = Place::postgres() else {
        return;
    };
    let (store, other) = (place.open().await, place.open().await);
    let mut still = store.write(Durability::Full, "stand still").await.unwrap();
    query("INSERT INTO groups (name) VALUES ('hospital')")
        .execute(&mut still)
        .await
        .unwrap();
    other.save_run(&row(1)).await.unwrap();
    let late = still.commit().await;
    assert!(late.is_err(), "its transaction was ended");
    assert_eq!(
        other.group_state(&group()).await.unwrap(),
        GroupState::default()
    );
    store.save_run(&row(2)).await.unwrap();
}
