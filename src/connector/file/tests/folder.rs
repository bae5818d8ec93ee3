//! A folder with a file for each kind: a commit is whole whatever instant it is killed at.

use super::*;

fn folder_system(root: &TempDir) -> FileConnector {
    FileConnector::new(FileSettings {
        system: "legacy".parse().unwrap(),
        root: root.path().to_owned(),
        path: "state".parse().unwrap(),
        format: Format::Folder,
    })
}

fn state_of(items: &[(&str, Value)]) -> State {
    let items = items.iter().map(|(name, spec)| item(name, spec.clone()));
    items.collect()
}

fn new() -> (TempDir, std::path::PathBuf) {
    let root = TempDir::new().unwrap();
    let folder = root.path().join("state");
    fs::create_dir(&folder).unwrap();
    (root, folder)
}

#[tokio::test]
async fn only_the_files_of_the_kinds_that_change_are_written() {
    let (root, folder) = new();
    let connector = folder_system(&root);
    fs::write(folder.join("README.md"), "not a kind").unwrap();
    fs::write(folder.join("notes.json"), "not a kind either").unwrap();
    let empty = State::default();
    assert_eq!(observe(&connector).await.unwrap(), empty);
    let one = state_of(&[("Flag/a", json!(1)), ("Notice/b", json!("x"))]);
    apply(&connector, &changeset("a", &empty, &one)).await;
    assert_eq!(
        listing(&folder),
        [
            ".lockstep.json.lockstep",
            "Flag.json",
            "Notice.json",
            "README.md",
            "lockstep.json",
            "notes.json"
        ]
    );
    insta::assert_snapshot!(fs::read_to_string(folder.join("lockstep.json")).unwrap(), @r#"
    {
      "revision": "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
      "changeset": "a",
      "kinds": [
        "Flag",
        "Notice"
      ]
    }
    "#);
    insta::assert_snapshot!(fs::read_to_string(folder.join("Notice.json")).unwrap(), @r#"
    {
      "resources": [
        {
          "name": "b",
          "spec": "x"
        }
      ]
    }
    "#);
    let before = fs::metadata(folder.join("Notice.json")).unwrap().ino();
    let two = state_of(&[("Notice/b", json!("x"))]);
    apply(&connector, &changeset("b", &one, &two)).await;
    assert_eq!(observe(&folder_system(&root)).await.unwrap(), two);
    assert_eq!(
        fs::metadata(folder.join("Notice.json")).unwrap().ino(),
        before
    );
    // The last of a kind gone: a file that says so, which programs go on reading.
    let text = fs::read_to_string(folder.join("Flag.json")).unwrap();
    assert_eq!(text, "{\n  \"resources\": []\n}\n");
    assert_eq!(
        listing(&folder.join(".lockstep.json.lockstep")),
        ["journal.json", "lock"]
    );
}

#[tokio::test]
async fn what_lies_there_is_read_and_what_is_gone_is_missed() {
    let (root, folder) = new();
    let connector = folder_system(&root);
    fs::write(
        folder.join("Flag.json"),
        r#"{"resources": [{"name": "a", "spec": 1}]}"#,
    )
    .unwrap();
    let one = state_of(&[("Flag/a", json!(1))]);
    assert_eq!(observe(&connector).await.unwrap(), one);
    let two = state_of(&[("Flag/a", json!(1)), ("Notice/b", json!("x"))]);
    apply(&connector, &changeset("a", &one, &two)).await;
    let mut told_of = Vec::new();
    for name in ["Notice.json", "lockstep.json"] {
        let (there, away) = (folder.join(name), root.path().join("away"));
        fs::rename(&there, &away).unwrap();
        told_of.push(told(observe(&folder_system(&root)).await));
        told_of.push(told(
            folder_system(&root)
                .prepare(&changeset("b", &two, &one))
                .await,
        ));
        fs::rename(&away, &there).unwrap();
    }
    fs::write(
        folder.join("Flag.json"),
        r#"{"resources": [{"kind": "Flag"}]}"#,
    )
    .unwrap();
    told_of.push(told(observe(&connector).await));
    insta::assert_snapshot!(told_of.join("\n"), @r#"
    terminal: legacy (state): Notice.json is gone, which is not the same as an empty one: restore it, or write {"resources": []}
    terminal: legacy (state): Notice.json is gone, which is not the same as an empty one: restore it, or write {"resources": []}
    terminal: legacy (state): lockstep.json is gone, which is not the same as an empty one: restore it, or, if it is meant to begin anew, delete the folder .lockstep.json.lockstep too
    terminal: legacy (state): lockstep.json is gone, which is not the same as an empty one: restore it, or, if it is meant to begin anew, delete the folder .lockstep.json.lockstep too
    terminal: legacy (state): Flag.json is no JSON of the form {"resources": [{name, spec}]}: unknown field `kind`, expected `name` or `spec` at line 1 column 22; mend the file, nothing is done with it before it can be read
    "#);
}

/// A commit renames three files; killed after any number of them it is read as committed, and finished by whoever comes next.
#[tokio::test]
async fn a_kill_between_two_renames_is_finished() {
    let empty = State::default();
    let one = state_of(&[("Flag/a", json!(1)), ("Notice/b", json!("x"))]);
    let two = state_of(&[("Flag/a", json!(2)), ("Notice/b", json!("y"))]);
    let three = state_of(&[("Flag/a", json!(3)), ("Notice/b", json!("y"))]);
    for renamed in 0..=3 {
        for then in ["commit", "abort", "prepare", "another"] {
            let (root, folder) = new();
            apply(&folder_system(&root), &changeset("a", &empty, &one)).await;
            let second = changeset("b", &one, &two);
            folder_system(&root).prepare(&second).await.unwrap();
            let beside = folder.join(".lockstep.json.lockstep");
            let steps = [
                ("staged.b.json", "lockstep.json"),
                ("staged.b.json.Flag", "Flag.json"),
                ("staged.b.json.Notice", "Notice.json"),
            ];
            for (staged, target) in &steps[..renamed] {
                fs::rename(beside.join(staged), folder.join(target)).unwrap();
            }
            let revived = folder_system(&root);
            let expected = if renamed == 0 { &one } else { &two };
            assert_eq!(
                observe(&revived).await.unwrap(),
                *expected,
                "{renamed} {then}"
            );
            let committed = renamed > 0;
            let lands = match then {
                "commit" => {
                    let receipt = revived.commit(&second.id, Fence(1)).await.unwrap();
                    assert_eq!(receipt.digest, two.digest());
                    &two
                }
                "abort" => {
                    assert_eq!(
                        revived.abort(&second.id, Fence(1)).await.is_err(),
                        committed
                    );
                    expected
                }
                "prepare" => {
                    let again = revived.prepare(&second).await;
                    assert_eq!(again, Ok(Prepared { repeated: true }));
                    expected
                }
                _ => {
                    let next = changeset("c", expected, &three);
                    apply(&revived, &next).await;
                    &three
                }
            };
            assert_eq!(
                observe(&folder_system(&root)).await.unwrap(),
                *lands,
                "{renamed} {then}"
            );
            if committed {
                // Finished on the disk, which is what others read.
                let text = fs::read_to_string(folder.join("Notice.json")).unwrap();
                assert!(text.contains("\"y\""), "{renamed} {then}");
                assert_eq!(listing(&beside), ["journal.json", "lock"]);
            }
        }
    }
}

#[tokio::test]
async fn an_edit_after_the_prepare_stays_in_a_folder_too() {
    let (root, folder) = new();
    let connector = folder_system(&root);
    let one = state_of(&[("Flag/a", json!(1)), ("Notice/b", json!("x"))]);
    let two = state_of(&[("Flag/a", json!(2)), ("Notice/b", json!("y"))]);
    apply(&connector, &changeset("a", &State::default(), &one)).await;
    let second = changeset("b", &one, &two);
    connector.prepare(&second).await.unwrap();
    fs::write(
        folder.join("Flag.json"),
        r#"{"resources": [{"name": "a", "spec": 1}, {"name": "hand", "spec": true}]}"#,
    )
    .unwrap();
    // Already as it is to be: its staged file must not bring back what it was staged on.
    fs::write(
        folder.join("Notice.json"),
        r#"{"resources": [{"name": "b", "spec": "y"}, {"name": "hand", "spec": true}]}"#,
    )
    .unwrap();
    connector.commit(&second.id, Fence(1)).await.unwrap();
    let expected = state_of(&[
        ("Flag/a", json!(2)),
        ("Flag/hand", json!(true)),
        ("Notice/b", json!("y")),
        ("Notice/hand", json!(true)),
    ]);
    assert_eq!(observe(&folder_system(&root)).await.unwrap(), expected);
}
