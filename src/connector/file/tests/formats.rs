//! What each format makes of a state, what it refuses, and what it leaves as others wrote it.

use proptest::prelude::*;

use super::*;

pub(super) fn of(format: Format, folder: &TempDir) -> FileConnector {
    FileConnector::new(FileSettings {
        system: "legacy".parse().unwrap(),
        root: folder.path().to_owned(),
        path: "state".parse().unwrap(),
        format,
    })
}

pub(super) fn state_of(items: &[(&str, Value)]) -> State {
    let items = items.iter().map(|(name, spec)| item(name, spec.clone()));
    items.collect()
}

/// The file after a state has been put on it, which reads back as that state.
pub(super) async fn written(format: Format, state: &State) -> String {
    let folder = TempDir::new().unwrap();
    let connector = of(format, &folder);
    apply(&connector, &changeset("a", &State::default(), state)).await;
    assert_eq!(observe(&of(format, &folder)).await.unwrap(), *state);
    fs::read_to_string(folder.path().join("state")).unwrap()
}

/// Why each of the resources is refused, and that nothing has been written.
pub(super) async fn refused(format: Format, items: &[(&str, Value)]) -> String {
    let folder = TempDir::new().unwrap();
    let connector = of(format, &folder);
    let change = changeset("a", &State::default(), &state_of(items));
    let Err(ConnectorError::Refused { message, reasons }) = connector.prepare(&change).await else {
        unreachable!("accepted")
    };
    assert!(!folder.path().join("state").exists());
    let reasons = reasons.iter().map(|r| format!("{}: {}", r.id, r.message));
    let all: Vec<String> = std::iter::once(message).chain(reasons).collect();
    all.join("\n")
}

/// Reads a file that somebody wrote.
async fn read(format: Format, text: &str) -> String {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("state"), text).unwrap();
    match observe(&of(format, &folder)).await {
        Ok(state) => {
            let items = state.items().map(|i| format!("{} {:?}", i.id, i.spec));
            items.collect::<Vec<String>>().join(", ")
        }
        answer => told(answer)
            .replace("terminal: legacy (state): ", "")
            .replace(
                "; mend the file, nothing is done with it before it can be read",
                "",
            ),
    }
}

#[tokio::test]
async fn yaml_is_taken_for_what_it_is_by_readers_of_any_age() {
    let state = state_of(&[
        (
            "FeatureFlag/a",
            json!({"enabled": true, "variants": {"on": 1, "off": 1e300, "no": 0.5}, "list": [[1, []], {"b": {}, "c": null}]}),
        ),
        ("Notice/緊急", json!("no")),
        (
            "Country/no",
            json!({"code": "no", "version": "1.10", "at": "2025-10-01", "line": "a\nb\u{85}#: \u{7f}👩‍⚕️"}),
        ),
    ]);
    insta::assert_snapshot!(written(Format::Yaml, &state).await, @r#"
    revision: "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    resources:
      - kind: "Country"
        name: "no"
        spec:
          at: "2025-10-01"
          code: "no"
          line: "a\nb\u0085#: \u007f👩‍⚕️"
          version: "1.10"
      - kind: "FeatureFlag"
        name: "a"
        spec:
          enabled: true
          list:
            - - 1
              - []
            - b: {}
              c: null
          variants:
            "no": 0.5
            "off": 1.0e+300
            "on": 1
      - kind: "Notice"
        name: "緊急"
        spec: "no"
    "#);
}

#[tokio::test]
async fn toml_is_a_table_for_each_resource_and_knows_no_null() {
    let state = state_of(&[
        (
            "FeatureFlag/a",
            json!({"enabled": true, "variants": {"on": 1, "off": 1e300, "a b": 0.5}, "list": [[1, []], {}]}),
        ),
        ("Notice/緊急", json!("a\nb \u{7f}")),
        ("Empty/it", json!({})),
    ]);
    insta::assert_snapshot!(written(Format::Toml, &state).await, @r#"
    revision = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

    [[resources]]
    kind = "Empty"
    name = "it"

    [resources.spec]

    [[resources]]
    kind = "FeatureFlag"
    name = "a"

    [resources.spec]
    enabled = true
    list = [[1, []], {}]
    variants = { "a b" = 0.5, off = 1.0e+300, on = 1 }

    [[resources]]
    kind = "Notice"
    name = "緊急"
    spec = "a\nb \u007f"
    "#);
    let nulls = [
        ("Notice/a", json!(null)),
        ("Notice/b", json!({"a": [1, {"b": null}]})),
    ];
    insta::assert_snapshot!(refused(Format::Toml, &nulls).await, @r#"
    legacy (state): 2 of 2 changes cannot be held by a file of the format toml
    Notice/a: it is null, which TOML does not have; leave it out, or use another format
    Notice/b: "a" > [1] > "b" is null, which TOML does not have; leave it out, or use another format
    "#);
}

#[tokio::test]
async fn what_somebody_wrote_is_read_or_said_where_it_cannot_be() {
    let yaml = [
        "resources:\n- {kind: Flag, name: a, spec: {country: no, n: 010, b: true}}\n",
        "resources:\n- {kind: Flag, name: a, spec: 1}\n- {kind: Flag, name: a, spec: 2}\n",
        "resources:\n- {kind: Flag, name: a, spec: 1, spec: 2}\n",
        "resources: [\n",
        "resources: []\nnote: 1\n",
    ];
    let toml = [
        "[[resources]]\nkind = \"Flag\"\nname = \"a\"\nspec.from = \"x\"\n",
        "[[resources]]\nkind = \"Flag\"\nname = \"a\"\nspec.from = 2025-10-01\n",
        "[[resources]]\nkind = \"Flag\"\nname = \"a\"\nspec = nan\n",
        "resources = [\n",
        "resources = []\nnote = 1\n",
    ];
    let env = [
        "A=1\n",
        "# lockstep begin\nFLAG__A__B=yes\n# lockstep end\n",
        "# lockstep begin\nFLAG__A__B=1\nFLAG__A__B=2\n# lockstep end\n",
        "# lockstep begin\nFLAG__A=1\nFLAG__A__B=2\n# lockstep end\n",
        "# lockstep begin\n",
        "# lockstep begin main\n# lockstep end\n",
        "# lockstep begin\nDATABASE_URL=x\n# lockstep end\n",
        "# lockstep begin\n# lockstep begin\n",
    ];
    let flagd = [
        "{}",
        r#"{"flags": []}"#,
        r#"{"flags": {"a": 1, "a": 2}}"#,
        r#"{"flags": {"a": {"metadata": {"lockstep.spec": 1}}}}"#,
    ];
    let mut all = Vec::new();
    for (format, texts) in [
        (Format::Yaml, yaml.as_slice()),
        (Format::Toml, &toml),
        (Format::Env, &env),
        (Format::Flagd, &flagd),
    ] {
        for text in texts {
            all.push(format!("{format}: {}", read(format, text).await));
        }
    }
    insta::assert_snapshot!(all.join("\n"), @r##"
    yaml: Flag/a {"b":true,"country":"no","n":"010"}
    yaml: Flag/a is in the file twice
    yaml: the file is no YAML of the form {revision, resources: [{kind, name, spec}]}: `spec` is here a second time at line 2 column 34
    yaml: the file is no YAML of the form {revision, resources: [{kind, name, spec}]}: the bracket [ is never closed at line 1 column 12
    yaml: the file is no YAML of the form {revision, resources: [{kind, name, spec}]}: unknown field `note`, expected `revision` or `resources`
    toml: Flag/a {"from":"x"}
    toml: the file is no TOML of the form revision, [[resources]] kind, name, spec: 2025-10-01 is a date of TOML's own; put it in quotes
    toml: the file is no TOML of the form revision, [[resources]] kind, name, spec: NaN is no number of a spec
    toml: the file is no TOML of the form revision, [[resources]] kind, name, spec: unclosed array, expected `]` at line 1 column 14
    toml: the file is no TOML of the form revision, [[resources]] kind, name, spec: unknown field `note`, expected `revision` or `resources`
    env: 
    env: line 2 of the file gives FLAG__A__B no value that can be read; put texts in single quotes
    env: line 3 of the file sets FLAG__A__B a second time
    env: line 3 of the file sets FLAG__A__B a second time
    env: the file has "# lockstep begin" and no "# lockstep end"
    env: line 1 of the file "main" is not a commit id of 40 or 64 lower-case hex digits
    env: line 2 of the file is no variable such as FEATURE_FLAG__AI_ASSISTANT__ENABLED=true; what is not Lockstep's stands outside of its lines
    env: line 2 of the file begins the lines that are Lockstep's again
    flagd: the file has no "flags", an object of definitions by key as in-process providers read it
    flagd: "flags" in the file is no JSON of the form {key: definition}: invalid type: sequence, expected an object at line 1 column 0
    flagd: "flags" in the file is no JSON of the form {key: definition}: "a" is there twice at line 1 column 16
    flagd: the flag "a" in the file: lockstep.spec in its metadata is no text that is JSON
    "##);
}

/// A state that JSON could not give back: the file would be unreadable from then on.
#[tokio::test]
async fn what_would_not_come_back_is_refused_by_name() {
    let large = [("Flag/a", json!(1)), ("Flag/b", json!(1e17))];
    insta::assert_snapshot!(refused(Format::Json, &large).await, @"
    legacy (state): 1 of 2 changes cannot be held by a file of the format json
    Flag/b: would not come back from json as it is
    ");
    assert!(
        written(Format::Yaml, &state_of(&large))
            .await
            .contains("1.0e+17")
    );
    assert!(
        written(Format::Toml, &state_of(&large))
            .await
            .contains("1.0e+17")
    );
}

#[tokio::test]
async fn mode_and_owner_are_kept_in_every_format() {
    let flag = |rollout| {
        state_of(&[(
            "FeatureFlag/a",
            json!({"enabled": true, "rollout": rollout}),
        )])
    };
    let (empty, one, two) = (State::default(), flag(1), flag(2));
    for format in [
        Format::Yaml,
        Format::Toml,
        Format::Env,
        Format::Flagd,
        Format::Folder,
    ] {
        let folder = TempDir::new().unwrap();
        let mut files = vec![folder.path().join("state")];
        if format == Format::Folder {
            fs::create_dir(&files[0]).unwrap();
            files = vec![
                files[0].join("lockstep.json"),
                files[0].join("FeatureFlag.json"),
            ];
        }
        let connector = of(format, &folder);
        apply(&connector, &changeset("a", &empty, &one)).await;
        let mut owner = None;
        for file in &files {
            fs::set_permissions(file, fs::Permissions::from_mode(0o604)).unwrap();
            if std::os::unix::fs::chown(file, Some(12_345), Some(12_345)).is_ok() {
                owner = Some((12_345, 12_345));
            }
        }
        let inodes: Vec<u64> = files
            .iter()
            .map(|f| fs::metadata(f).unwrap().ino())
            .collect();
        apply(&connector, &changeset("b", &one, &two)).await;
        for (file, inode) in files.iter().zip(inodes) {
            let after = fs::metadata(file).unwrap();
            assert_eq!(after.mode() & 0o777, 0o604, "{format}");
            assert_ne!(after.ino(), inode, "{format}: replaced as a whole");
            let owner = owner.unwrap_or((after.uid(), after.gid()));
            assert_eq!((after.uid(), after.gid()), owner, "{format}");
        }
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just("no".to_owned()),
        Just("0o17".to_owned()),
        Just("1_000".to_owned()),
        Just("~".to_owned()),
        Just("<<".to_owned()),
        Just("2025-10-01".to_owned()),
        any::<String>(),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-9_007_199_254_740_992_i64..=9_007_199_254_740_992).prop_map(Value::from),
        any::<f64>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Every spec comes back with the same digest, or the format has said what it can't hold.
    #[test]
    fn a_spec_comes_back_or_is_refused(specs in prop::collection::vec(any_value(), 1..4)) {
        let items = specs.iter().enumerate();
        let state: State = items.map(|(n, spec)| item(&format!("Custom/n_{n}"), spec.clone())).collect();
        for format in [Format::Yaml, Format::Toml, Format::Env] {
            let content = content::Content { state: state.clone(), ..Default::default() };
            let change = changeset("a", &State::default(), &state);
            match format.prepare(&content, None, &change) {
                Ok(written) => {
                    let again = format.read(&Loaded::File(written.main)).unwrap();
                    prop_assert_eq!(again.state.digest(), state.digest());
                }
                Err(ConnectorError::Refused { reasons, .. }) => {
                    prop_assert!(format != Format::Yaml, "{reasons:?}");
                    prop_assert!(!reasons.is_empty());
                    prop_assert!(reasons.iter().all(|r| !r.message.contains("come back")), "{reasons:?}");
                }
                Err(error) => prop_assert!(false, "{error:?}"),
            }
        }
    }
}
