//! What the disk and those who share it may do: no room left, another owner, an edit at the wrong moment.

use std::os::unix::fs::chown;
use std::process::Command;

use super::*;

/// Where a process of its own finds the folder that it is to fill.
const FOLDER: &str = "LOCKSTEP_TEST_FOLDER";

/// Run by the test below, in a process whose files may not grow beyond a few kilobytes: to a writer that is a full disk.
#[tokio::test]
#[ignore = "only means something under the limit that the test beside it sets"]
#[expect(
    clippy::disallowed_methods,
    reason = "the one thing that the other test can hand over"
)]
async fn without_room() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let connector = system("legacy", Path::new(&folder), "flags.json");
    let (one, many) = (flags(3, 10), flags(3000, 20));
    let full = connector.prepare(&changeset("large", &one, &many)).await;
    let told = told(full);
    assert!(
        told.starts_with("transient: legacy (flags.json): staging cannot be written"),
        "{told}"
    );
    assert_eq!(observe(&connector).await.unwrap(), one);
    // What was not staged is not committed, and what is small enough goes through meanwhile.
    let id = "large".parse().unwrap();
    let unknown = connector.commit(&id, Fence(1)).await;
    assert!(super::told(unknown).starts_with("refused: "));
    apply(&connector, &changeset("small", &one, &flags(3, 11))).await;
}

#[tokio::test]
async fn a_full_disk_stages_nothing_and_leaves_the_file_as_it_is() {
    let folder = TempDir::new().unwrap();
    let legacy = connector(&folder);
    let (empty, one) = (State::default(), flags(3, 10));
    apply(&legacy, &changeset("first", &empty, &one)).await;
    let program = std::env::current_exe().unwrap();
    // With the signal ignored a write past the limit fails, as on a full disk. Units are 512 or 1024 bytes.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 16 && exec \"$0\" --exact --ignored --nocapture connector::file::tests::disk::without_room"])
        .arg(program)
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("1 passed"), "{said}");
    assert_eq!(
        listing(folder.path()),
        [".flags.json.lockstep", "flags.json"]
    );
    assert_eq!(
        listing(&folder.path().join(".flags.json.lockstep")),
        ["journal.json", "lock"]
    );
    // With room again the same changeset goes the usual way.
    let (now, many) = (flags(3, 11), flags(3000, 20));
    assert_eq!(observe(&legacy).await.unwrap(), now);
    apply(&legacy, &changeset("large", &now, &many)).await;
    assert_eq!(observe(&legacy).await.unwrap(), many);
}

#[tokio::test]
async fn the_owner_is_kept_or_the_change_refused() {
    const SOMEBODY: u32 = 12_345;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("flags.json");
    let connector = connector(&folder);
    let (empty, one, two) = (State::default(), flags(1, 1), flags(1, 2));
    apply(&connector, &changeset("a", &empty, &one)).await;
    if chown(&file, Some(SOMEBODY), Some(SOMEBODY)).is_err() {
        eprintln!("skipped: only root can give a file to somebody else");
        return;
    }
    apply(&connector, &changeset("b", &one, &two)).await;
    let after = fs::metadata(&file).unwrap();
    assert_eq!((after.uid(), after.gid()), (SOMEBODY, SOMEBODY));
}

#[tokio::test]
async fn what_takes_the_file_s_place_after_the_prepare_is_not_replaced() {
    // A folder, a link to a file elsewhere, a link to nowhere: each came after the prepare.
    let (empty, one) = (State::default(), flags(2, 10));
    for what in ["folder", "link", "dangling"] {
        let folder = TempDir::new().unwrap();
        let (file, elsewhere) = (
            folder.path().join("flags.json"),
            folder.path().join("other"),
        );
        let connector = connector(&folder);
        let first = changeset("a", &empty, &one);
        connector.prepare(&first).await.unwrap();
        fs::write(&elsewhere, "{\"resources\": []}").unwrap();
        match what {
            "folder" => fs::create_dir(&file).unwrap(),
            "link" => symlink(&elsewhere, &file).unwrap(),
            _ => symlink("nowhere", &file).unwrap(),
        }
        let refused = told(connector.commit(&first.id, Fence(1)).await);
        assert!(refused.starts_with("terminal: "), "{what}: {refused}");
        assert_eq!(
            fs::read_to_string(&elsewhere).unwrap(),
            "{\"resources\": []}"
        );
        // Mended by a person, it is committed: the decision stands.
        let removed = if what == "folder" {
            fs::remove_dir(&file)
        } else {
            fs::remove_file(&file)
        };
        removed.unwrap();
        connector.commit(&first.id, Fence(1)).await.unwrap();
        assert_eq!(observe(&connector).await.unwrap(), one, "{what}");
    }
}
