//! Disks that are full, read-only or torn, and stores that are not what they were: a clear error, no half state, and never a new start
//! from nothing.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::world::{Ended, World};

/// The command in a shell that may not let files grow beyond so many KiB. To the program that is a disk without room.
async fn without_room(world: &World, kib: u64, args: &[&str]) -> Ended {
    let inner = world.lockstep(&[args, &["--log", "warn"]].concat());
    let mut command = Command::new("bash");
    command
        .arg("-c")
        // Ignored, so that the write fails instead of the process.
        .arg(format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\""))
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(world.dir.path());
    for (name, value) in inner.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    Ended::of(&output.await.unwrap())
}

/// From hardly any room to enough: it gives out in another place each time, the store's log first.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_everything_and_room_lets_it_go_on() {
    let world = World::in_step().await;
    let mut failed = 0;
    for (rollout, kib) in (20_u64..).zip([4, 36, 44, 52, 60, 68, 84, 100, 140, 200]) {
        world.set_rollout(u32::try_from(rollout).unwrap());
        let revision = world.commit("another rollout");
        let full = without_room(&world, kib, &["apply"]).await;
        if full.code != Some(0) {
            failed += 1;
            assert_eq!(full.code, Some(2), "{kib} KiB: {full:?}");
            let said = full.err.contains("check space, permissions and the disk")
                || full.err.contains("File too large");
            assert!(said, "{kib} KiB: {full:?}");
        }
        let checked = world.ok(&["store", "check", "--format", "json"]).await;
        assert!(checked.contains("\"faults\":[]"), "{kib} KiB: {checked}");
        let ended = world.apply().await;
        assert_eq!(ended.code, Some(0), "{kib} KiB: {ended:?}");
        assert_eq!(world.rollouts().await, [Some(rollout), Some(rollout)]);
        assert_eq!(world.states(&revision)[0], "success", "{kib} KiB");
        world.ok(&["audit", "verify"]).await;
    }
    assert!(failed >= 3, "the disk was full only {failed} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_on_a_full_disk_is_whole_or_none() {
    let world = World::in_step().await;
    for rollout in 11..20 {
        world.set_rollout(rollout);
        world.commit("more");
        world.ok(&["apply"]).await;
    }
    let (mut whole, mut none) = (0, 0);
    for kib in [40, 120, 200, 280, 360, 440, 520, 600, 800, 1000, 4000] {
        let name = format!("backup-{kib}.db");
        let ended = without_room(&world, kib, &["store", "backup", &name]).await;
        let path = world.path(&name);
        assert_eq!(ended.code == Some(0), path.exists(), "{kib} KiB: {ended:?}");
        if !path.exists() {
            none += 1;
            continue;
        }
        whole += 1;
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(&path)
            .read_only(true);
        let mut copy = sqlx::ConnectOptions::connect(&options).await.unwrap();
        let said: String = sqlx::query_scalar("PRAGMA integrity_check")
            .fetch_one(&mut copy)
            .await
            .unwrap();
        let entries: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM ledger")
            .fetch_one(&mut copy)
            .await
            .unwrap();
        assert_eq!(said, "ok", "{kib} KiB");
        assert!(entries > 10, "{kib} KiB: {entries}");
        let left = std::fs::read_dir(world.dir.path()).unwrap();
        let parts = left.filter(|e| {
            e.as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .contains(".part")
        });
        assert_eq!(parts.count(), 0, "{kib} KiB");
    }
    assert!(whole > 0 && none > 0, "{whole} whole, {none} none");
}

fn shell(world: &World, program: &str, args: &[&str]) {
    let mut command = Command::new(program);
    let done = command.args(args).arg(world.dir.path()).status().unwrap();
    assert!(done.success(), "{program} {args:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_disk_is_said_and_nothing_is_lost() {
    use std::os::unix::fs::MetadataExt as _;
    let world = World::in_step().await;
    world.set_rollout(25);
    world.commit("raise the rollout");
    // File modes do not stop root, so root leaves it to somebody else.
    let me = std::fs::metadata(world.dir.path()).unwrap();
    let is_root = me.uid() == 0;
    for args in [
        &["apply", "--log", "warn"][..],
        &["store", "check", "--log", "warn"],
    ] {
        let mut command = world.lockstep(args);
        shell(&world, "chmod", &["-R", "a-w,u+rX"]);
        if is_root {
            shell(&world, "chown", &["-R", "65534:65534"]);
            command.uid(65_534).gid(65_534).env("HOME", "/nonexistent");
        }
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let said = Ended::of(&output.await.unwrap());
        shell(
            &world,
            "chown",
            &["-R", &format!("{}:{}", me.uid(), me.gid())],
        );
        shell(&world, "chmod", &["-R", "u+w"]);
        if args[0] == "store" {
            // What is there can be read.
            assert_eq!(said.code, Some(0), "{said:?}");
            continue;
        }
        assert_eq!(said.code, Some(2), "{said:?}");
        let told =
            said.err.contains("make it writable") || said.err.contains("check space, permissions");
        assert!(told, "{said:?}");
        assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
    }
    assert_eq!(world.apply().await.code, Some(0));
    assert_eq!(world.rollouts().await, [Some(25), Some(25)]);
    world.ok(&["audit", "verify"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_page_is_found_and_nothing_is_applied_on_top_of_it() {
    let world = World::in_step().await;
    for rollout in 11..20 {
        world.set_rollout(rollout);
        world.commit("more");
        world.ok(&["apply"]).await;
    }
    let backup = world.path("backup.db");
    world
        .ok(&["store", "backup", backup.to_str().unwrap()])
        .await;
    // Every page but the first, which says what the file is: half of each as a write that was cut off leaves it.
    let path = world.path("store.db");
    let mut bytes = std::fs::read(&path).unwrap();
    for page in bytes.chunks_mut(4096).skip(1) {
        page[..2048].fill(0xff);
    }
    std::fs::write(&path, &bytes).unwrap();

    let checked = world.run(&["store", "check"]).await;
    let said = Ended::of(&checked);
    assert!(matches!(said.code, Some(1 | 2)), "{said:?}");
    assert!(
        said.err.contains("damaged") || said.err.contains("keep a copy"),
        "{said:?}"
    );
    world.set_rollout(50);
    world.commit("much more");
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("restore a backup"), "{ended:?}");
    assert_eq!(
        world.rollouts().await,
        [Some(19), Some(19)],
        "nothing was applied"
    );

    // The way back that it names; a wrong name, and a backup that is none, begin nothing anew.
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        let _ = std::fs::rename(world.path(name), world.path(&format!("broken-{name}")));
    }
    std::fs::write(world.path("half.db"), &bytes).unwrap();
    for wrong in ["bakcup.db", "half.db"] {
        let ended = Ended::of(&world.run(&["store", "migrate", "--from", wrong]).await);
        assert_eq!(ended.code, Some(2), "{wrong}: {ended:?}");
        assert!(!world.path("bakcup.db").exists());
        let ended = world.apply().await;
        let refused = ended.err.contains("is empty, and was not");
        assert!(refused, "{wrong}: {ended:?}");
    }
    world
        .ok(&["store", "migrate", "--from", backup.to_str().unwrap()])
        .await;
    assert_eq!(world.apply().await.code, Some(0));
    assert_eq!(world.rollouts().await, [Some(50), Some(50)]);
    world.ok(&["audit", "verify"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_became_empty_is_not_begun_anew() {
    let world = World::in_step().await;
    for empty in [true, false] {
        for name in ["store.db-wal", "store.db-shm", "store.db"] {
            let _ = std::fs::remove_file(world.path(name));
        }
        if empty {
            std::fs::write(world.path("store.db"), "").unwrap();
        }
        world.set_rollout(25);
        world.commit("raise the rollout");
        let ended = world.apply().await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains("is empty, and was not"), "{ended:?}");
        assert!(ended.err.contains("store migrate --from"), "{ended:?}");
        assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
    }
    // Nor is another store that knows less than was signed.
    let settings = std::fs::read_to_string(world.path("lockstep.toml")).unwrap();
    let other = settings.replace("store.db", "other.db");
    std::fs::write(world.path("lockstep.toml"), other).unwrap();
    let ended = world.apply().await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("it was cut short"), "{ended:?}");
    assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
    std::fs::write(world.path("lockstep.toml"), settings).unwrap();
    // A person may say that it is meant so.
    world.ok(&["store", "migrate", "--begin-anew"]).await;
    assert_eq!(world.apply().await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_newer_program_is_left_as_it_is() {
    let world = World::in_step().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(world.path("store.db"));
    let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'of the future', TRUE, x'00', 0)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    world.set_rollout(25);
    world.commit("raise the rollout");
    for args in [
        &["apply"][..],
        &["run"],
        &["store", "check"],
        &["store", "migrate"],
    ] {
        let ended = Ended::of(&world.run(args).await);
        assert_eq!(ended.code, Some(2), "{args:?}: {ended:?}");
        assert!(
            ended.err.contains("use the newer program"),
            "{args:?}: {ended:?}"
        );
    }
    assert_eq!(world.rollouts().await, [Some(10), Some(10)]);
}
