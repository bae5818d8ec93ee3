use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::plan::diff;
use crate::resource::Direction;
use crate::state::Spec;
use crate::state::State;

mod disk;
mod env;
mod flagd;
mod folder;
mod formats;
mod marks;

fn item(name: &str, spec: Value) -> Arc<Item> {
    let spec = Spec::from_value(&spec).unwrap();
    Arc::new(Item::new(name.parse().unwrap(), spec))
}

fn flags(count: u32, rollout: u32) -> State {
    let flag = |n| {
        item(
            &format!("FeatureFlag/flag_{n}"),
            json!({"rollout": rollout}),
        )
    };
    (0..count).map(flag).collect()
}

fn changeset(id: &str, before: &State, after: &State) -> Changeset {
    Changeset {
        id: id.parse().unwrap(),
        revision: "4b825dc642cb6eb9a060e54bf8d69288fbee4904".parse().unwrap(),
        base: before.digest(),
        target: after.digest(),
        fence: Fence(1),
        owner: None,
        changes: diff(before, after, |_, _, _| Direction::Neutral),
    }
}

fn system(name: &str, root: &Path, path: &str) -> FileConnector {
    FileConnector::new(FileSettings {
        system: name.parse().unwrap(),
        root: root.to_owned(),
        path: path.parse().unwrap(),
        format: Format::Json,
    })
}

fn connector(folder: &TempDir) -> FileConnector {
    system("legacy", folder.path(), "flags.json")
}

async fn observe(connector: &FileConnector) -> Result<State, ConnectorError> {
    connector.digests(None).await?;
    let all: Vec<u8> = (0..=255).collect();
    Ok(connector.items(&all).await?.into_iter().collect())
}

async fn apply(connector: &FileConnector, changeset: &Changeset) {
    // A process that another test starts has our lock until it has begun: asked again, as the engine does.
    loop {
        match connector.prepare(changeset).await {
            Err(ConnectorError::Transient { .. }) => {}
            answer => {
                answer.unwrap();
                break;
            }
        }
    }
    loop {
        match connector.commit(&changeset.id, Fence(1)).await {
            Err(ConnectorError::Transient { .. }) => {}
            answer => {
                answer.unwrap();
                break;
            }
        }
    }
}

/// The class and words of an error.
fn told<T: std::fmt::Debug>(answer: Result<T, ConnectorError>) -> String {
    match answer.unwrap_err() {
        ConnectorError::Transient { message } => format!("transient: {message}"),
        ConnectorError::Refused { message, .. } => format!("refused: {message}"),
        ConnectorError::Terminal { message } => format!("terminal: {message}"),
        ConnectorError::Stale { message } => format!("stale: {message}"),
        ConnectorError::Fenced { message } => format!("fenced: {message}"),
    }
}

/// The names in a folder, sorted.
fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn the_file_is_sorted_and_readable_and_nothing_is_left_beside_it() {
    let folder = TempDir::new().unwrap();
    let connector = connector(&folder);
    let state = [
        item("Notice/緊急", json!({"b": 1, "a": [1.0]})),
        item("FeatureFlag/b", json!({"rollout": 10})),
        item("FeatureFlag/a", json!(null)),
    ]
    .into_iter()
    .collect();
    observe(&connector).await.unwrap();
    assert_eq!(listing(folder.path()), [""; 0], "reading writes nothing");
    let first = changeset("a", &State::default(), &state);
    connector.prepare(&first).await.unwrap();
    assert_eq!(listing(folder.path()), [".flags.json.lockstep"]);
    let beside = folder.path().join(".flags.json.lockstep");
    assert_eq!(fs::metadata(&beside).unwrap().mode() & 0o777, 0o700);
    assert_eq!(
        listing(&beside),
        ["changes.a.json", "journal.json", "lock", "staged.a.json"]
    );
    // What an earlier crash has left goes with the next request.
    fs::write(beside.join("temporary"), "half").unwrap();
    fs::write(beside.join("staged.z.json"), "{}").unwrap();
    connector.commit(&first.id, Fence(1)).await.unwrap();
    assert_eq!(listing(&beside), ["journal.json", "lock"]);
    let text = fs::read_to_string(folder.path().join("flags.json")).unwrap();
    insta::assert_snapshot!(text, @r#"
    {
      "revision": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
      "resources": [
        {
          "kind": "FeatureFlag",
          "name": "a",
          "spec": null
        },
        {
          "kind": "FeatureFlag",
          "name": "b",
          "spec": {
            "rollout": 10
          }
        },
        {
          "kind": "Notice",
          "name": "緊急",
          "spec": {
            "a": [
              1
            ],
            "b": 1
          }
        }
      ]
    }
    "#);
}

#[tokio::test]
async fn a_file_that_is_gone_is_not_an_empty_one() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("flags.json");
    let (empty, one) = (State::default(), flags(3, 10));
    apply(&connector(&folder), &changeset("a", &empty, &one)).await;
    fs::remove_file(&file).unwrap();
    let fresh = connector(&folder);
    insta::assert_snapshot!(told(observe(&fresh).await), @"terminal: legacy (flags.json): the file is gone, which is not the same as an empty one: restore it, or, if it is meant to begin anew, delete the folder .flags.json.lockstep too");
    let prepared = fresh.prepare(&changeset("b", &empty, &one)).await;
    assert!(told(prepared).starts_with("terminal: "));
    // What was only ever read is missed too, by whoever has read it.
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("flags.json");
    fs::write(&file, r#"{"resources": []}"#).unwrap();
    let reader = connector(&folder);
    assert_eq!(observe(&reader).await.unwrap(), empty);
    fs::remove_file(&file).unwrap();
    assert!(told(observe(&reader).await).starts_with("terminal: "));
    assert_eq!(observe(&connector(&folder)).await.unwrap(), empty);
}

#[tokio::test]
async fn what_cannot_be_read_whole_is_an_error_with_its_place() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("flags.json");
    let cases: [&[u8]; 9] = [
        b"",
        b"{\"revision\": null,\n \"resources\": [{\"kind\": \"Flag\", }]}",
        b"{\"resources\": [{\"kind\": \"Flag\", \"name\": \"a\"",
        b"{\"revision\": null}",
        b"{\"revision\": \"main\", \"resources\": []}",
        b"{\"resources\": [{\"kind\": \"Flag\", \"name\": \"a\", \"spec\": 1, \"note\": \"\"}]}",
        b"{\"resources\": [{\"kind\": \"flag\", \"name\": \"a\", \"spec\": 1}]}",
        b"{\"resources\": [{\"kind\": \"F\", \"name\": \"a\", \"spec\": 1}, {\"kind\": \"F\", \"name\": \"a\", \"spec\": 2}]}",
        b"{\"resources\": [{\"kind\": \"F\", \"name\": \"\xff\", \"spec\": 1}]}",
    ];
    let mut told_of = Vec::new();
    for case in cases {
        fs::write(&file, case).unwrap();
        let answer = told(observe(&connector(&folder)).await);
        let answer = answer.replace("terminal: legacy (flags.json): the file is no JSON of the form {\"revision\", \"resources\": [{kind, name, spec}]}", "NO JSON");
        told_of.push(answer.replace(
            "; mend the file, nothing is done with it before it can be read",
            "",
        ));
    }
    insta::assert_snapshot!(told_of.join("\n"), @r#"
    NO JSON: EOF while parsing a value at line 1 column 0
    NO JSON: trailing comma at line 2 column 33
    NO JSON: EOF while parsing an object at line 1 column 43
    NO JSON: missing field `resources` at line 1 column 18
    NO JSON: "main" is not a commit id of 40 or 64 lower-case hex digits at line 1 column 19
    NO JSON: unknown field `note`, expected one of `kind`, `name`, `spec` at line 1 column 62
    terminal: legacy (flags.json): resource 1 of the file: "flag" is not a kind: an upper-case ASCII letter, then letters and digits, at most 64 long
    terminal: legacy (flags.json): F/a is in the file twice
    NO JSON: invalid unicode code point at line 1 column 39
    "#);
    // Nothing is done with it, and what was staged is there when it is mended.
    let (empty, one) = (State::default(), flags(2, 10));
    fs::write(&file, r#"{"resources": []}"#).unwrap();
    let connector = connector(&folder);
    let first = changeset("a", &empty, &one);
    connector.prepare(&first).await.unwrap();
    fs::write(&file, "half").unwrap();
    assert!(told(connector.commit(&first.id, Fence(1)).await).starts_with("terminal: "));
    assert_eq!(fs::read(&file).unwrap(), b"half");
    fs::write(&file, r#"{"resources": []}"#).unwrap();
    connector.commit(&first.id, Fence(1)).await.unwrap();
    assert_eq!(observe(&connector).await.unwrap(), one);
}

#[tokio::test]
async fn links_pipes_and_folders_that_are_not_there_are_refused() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("root");
    let outside = folder.path().join("outside");
    fs::create_dir_all(root.join("in/it.json")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("flags.json"), r#"{"resources": []}"#).unwrap();
    symlink(&outside, root.join("away")).unwrap();
    symlink(outside.join("flags.json"), root.join("link.json")).unwrap();
    symlink(&outside, root.join(".staged.json.lockstep")).unwrap();
    fs::write(root.join("plain"), "").unwrap();
    let one = changeset("a", &State::default(), &flags(1, 1));
    let mut told_of = Vec::new();
    for path in [
        "away/flags.json",
        "link.json",
        "staged.json",
        "in/it.json",
        "plain/flags.json",
        "absent/flags.json",
    ] {
        let system = system("legacy", &root, path);
        let read = told(observe(&system).await);
        assert_eq!(told(system.prepare(&one).await), read);
        told_of.push(read);
    }
    let nowhere = system("legacy", &folder.path().join("nowhere"), "a.json");
    told_of.push(told(observe(&nowhere).await));
    insta::assert_snapshot!(told_of.join("\n"), @"
    terminal: legacy (away/flags.json): away is a symbolic link; they are not followed, since they may lead out of the server's folder for files
    terminal: legacy (link.json): the file is a symbolic link; name the file itself
    terminal: legacy (staged.json): .staged.json.lockstep is no folder
    terminal: legacy (in/it.json): what is there is no regular file
    terminal: legacy (plain/flags.json): plain is no folder
    terminal: legacy (absent/flags.json): there is no folder absent; make it, or mount what it is on
    terminal: legacy (a.json): the server's folder for files (files.root) cannot be used: No such file or directory (os error 2)
    ");
    assert_eq!(listing(&outside), ["flags.json"]);
    // The root itself may be reached by a link: the server's own settings say so.
    symlink(&root, folder.path().join("link-to-root")).unwrap();
    let linked = system("legacy", &folder.path().join("link-to-root"), "in/ok.json");
    apply(&linked, &one).await;
    assert!(root.join("in/ok.json").is_file());
}

#[tokio::test]
async fn the_mode_is_kept_and_the_file_replaced_as_a_whole() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("flags.json");
    let connector = connector(&folder);
    let (empty, one, two) = (State::default(), flags(1, 1), flags(1, 2));
    apply(&connector, &changeset("a", &empty, &one)).await;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let old = fs::File::open(&file).unwrap();
    let before = old.metadata().unwrap();
    let second = changeset("b", &one, &two);
    connector.prepare(&second).await.unwrap();
    // Also a mode that was changed since it was staged.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
    connector.commit(&second.id, Fence(1)).await.unwrap();
    let after = fs::metadata(&file).unwrap();
    assert_eq!(after.mode() & 0o777, 0o604);
    assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
    assert_ne!(after.ino(), before.ino());
    // Whoever has the old one open reads it to its end.
    let text = std::io::read_to_string(old).unwrap();
    assert!(text.contains("\"rollout\": 1"));
}

#[tokio::test]
async fn what_others_wrote_after_the_prepare_stays() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("flags.json");
    let connector = connector(&folder);
    let (empty, one) = (State::default(), flags(2, 10));
    apply(&connector, &changeset("a", &empty, &one)).await;
    let second = changeset("b", &one, &flags(1, 20));
    connector.prepare(&second).await.unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let edited = text.replace(
        "\"resources\": [",
        "\"resources\": [{\"kind\": \"Notice\", \"name\": \"by-hand\", \"spec\": 1},",
    );
    fs::write(&file, edited).unwrap();
    let receipt = connector.commit(&second.id, Fence(1)).await.unwrap();
    let expected: State = flags(1, 20)
        .items()
        .cloned()
        .chain([item("Notice/by-hand", json!(1))])
        .collect();
    assert_eq!(observe(&connector).await.unwrap(), expected);
    assert_eq!(receipt.digest, expected.digest());
    assert_eq!(connector.commit(&second.id, Fence(1)).await, Ok(receipt));
    // A repeated prepare sees the edit: nothing has been decided yet.
    let third = changeset("c", &expected, &empty);
    connector.prepare(&third).await.unwrap();
    fs::write(&file, r#"{"resources": []}"#).unwrap();
    assert!(told(connector.prepare(&third).await).starts_with("stale: "));
}

/// Every instant at which a kill leaves the disk in another state than before or after a request.
#[tokio::test]
async fn a_kill_between_two_writes_is_finished_or_undone() {
    let (empty, one, two) = (State::default(), flags(2, 10), flags(3, 20));
    let start = || async {
        let folder = TempDir::new().unwrap();
        apply(&connector(&folder), &changeset("a", &empty, &one)).await;
        let beside = folder.path().join(".flags.json.lockstep");
        (folder, beside)
    };
    let second = changeset("b", &one, &two);

    // Staged, and the journal does not know it yet: as if it had not been prepared.
    let (folder, beside) = start().await;
    let journal = fs::read(beside.join("journal.json")).unwrap();
    connector(&folder).prepare(&second).await.unwrap();
    fs::write(beside.join("journal.json"), &journal).unwrap();
    let revived = connector(&folder);
    let unknown = revived.commit(&second.id, Fence(1)).await;
    assert!(told(unknown).starts_with("refused: "));
    assert_eq!(
        revived.prepare(&second).await,
        Ok(Prepared { repeated: false })
    );
    revived.commit(&second.id, Fence(1)).await.unwrap();
    assert_eq!(observe(&revived).await.unwrap(), two);

    // Renamed, and the journal does not know it yet: committed, whoever asks.
    for then in ["commit", "abort", "prepare"] {
        let (folder, beside) = start().await;
        connector(&folder).prepare(&second).await.unwrap();
        let staged = beside.join("staged.b.json");
        fs::rename(staged, folder.path().join("flags.json")).unwrap();
        let revived = connector(&folder);
        assert_eq!(observe(&revived).await.unwrap(), two);
        match then {
            "commit" => {
                let receipt = revived.commit(&second.id, Fence(1)).await.unwrap();
                assert_eq!(receipt.digest, two.digest());
            }
            "abort" => {
                let aborted = revived.abort(&second.id, Fence(1)).await;
                assert!(told(aborted).starts_with("refused: "));
            }
            _ => assert_eq!(
                revived.prepare(&second).await,
                Ok(Prepared { repeated: true })
            ),
        }
        assert_eq!(observe(&revived).await.unwrap(), two);
    }

    // Aborted, and its files still there: they never come back.
    let (folder, beside) = start().await;
    connector(&folder).prepare(&second).await.unwrap();
    let staged = fs::read(beside.join("staged.b.json")).unwrap();
    connector(&folder)
        .abort(&second.id, Fence(1))
        .await
        .unwrap();
    fs::write(beside.join("staged.b.json"), staged).unwrap();
    let revived = connector(&folder);
    let aborted = revived.commit(&second.id, Fence(1)).await;
    assert!(told(aborted).starts_with("refused: "));
    assert_eq!(observe(&revived).await.unwrap(), one);
    assert_eq!(listing(&beside), ["journal.json", "lock"]);

    // What was staged removed by someone: not taken for a commit.
    let (folder, beside) = start().await;
    connector(&folder).prepare(&second).await.unwrap();
    fs::remove_file(beside.join("staged.b.json")).unwrap();
    let revived = connector(&folder);
    let gone = revived.commit(&second.id, Fence(1)).await;
    assert!(told(gone).starts_with("refused: "));
    assert_eq!(observe(&revived).await.unwrap(), one);
}

#[tokio::test]
async fn a_file_belongs_to_one_system_and_one_request_at_a_time() {
    let folder = TempDir::new().unwrap();
    let legacy = connector(&folder);
    let one = changeset("a", &State::default(), &flags(1, 1));
    apply(&legacy, &one).await;
    let other = system("other", folder.path(), "flags.json");
    insta::assert_snapshot!(told(other.prepare(&one).await), @"terminal: other (flags.json): .flags.json.lockstep/journal.json says that the file belongs to the system legacy; give each system a file of its own, or delete that folder if the system was renamed");
    let beside = folder.path().join(".flags.json.lockstep");
    let lock = fs::File::open(beside.join("lock")).unwrap();
    lock.lock().unwrap();
    let busy = legacy.commit(&one.id, Fence(1)).await;
    insta::assert_snapshot!(told(busy), @"transient: legacy (flags.json): is being changed by another process or request; try again");
    assert_eq!(
        observe(&legacy).await.unwrap(),
        flags(1, 1),
        "reading waits for nobody"
    );
    drop(lock);
    legacy.commit(&one.id, Fence(1)).await.unwrap();
    fs::write(beside.join("journal.json"), "{").unwrap();
    let broken = legacy.commit(&one.id, Fence(1)).await;
    insta::assert_snapshot!(told(broken), @"terminal: legacy (flags.json): .flags.json.lockstep/journal.json cannot be read: EOF while parsing an object at line 1 column 1");
}

#[tokio::test]
async fn what_is_remembered_has_an_end_and_what_is_staged_does_not_fall_out_of_it() {
    let folder = TempDir::new().unwrap();
    let connector = connector(&folder);
    let first = changeset("first", &State::default(), &flags(1, 1));
    connector.prepare(&first).await.unwrap();
    for n in 0..300 {
        let id = format!("never-{n}").parse().unwrap();
        connector.abort(&id, Fence(1)).await.unwrap();
    }
    let journal = fs::read(folder.path().join(".flags.json.lockstep/journal.json")).unwrap();
    let journal: Value = serde_json::from_slice(&journal).unwrap();
    assert_eq!(journal["changesets"].as_array().unwrap().len(), 257);
    connector.commit(&first.id, Fence(1)).await.unwrap();
}

#[test]
fn paths_stay_inside() {
    for right in ["a.json", "legacy/flags.json", "日本/旗.json", "..a/b..json"] {
        let path: FilePath = right.parse().unwrap();
        assert_eq!(path.to_string(), right);
    }
    for wrong in [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "./a",
        "a\0b",
        "a\\b",
        "a\nb",
        ".a.json.lockstep/journal.json",
    ] {
        assert!(wrong.parse::<FilePath>().is_err(), "{wrong:?}");
    }
}
