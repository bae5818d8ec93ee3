//! The shape of `input`: a change of these snapshots is a change of the contract.

use insta::assert_snapshot;
use serde_json::Value;

use super::*;
use crate::config::{Config, Freeze, Person, System};
use crate::ids::{KindName, ResourceRef, SystemName};
use crate::plan::Plan;
use crate::resource::{Bundle, Direction, Kind, Kinds, Language, Resource};
use crate::state::{Item, Spec};

/// A kind by whose `n` one can see which way a change goes.
struct Counted(&'static str);

impl Kind for Counted {
    fn name(&self) -> &str {
        self.0
    }

    fn direction(&self, before: Option<&Value>, after: Option<&Value>) -> Direction {
        let n = |v: Option<&Value>| {
            v.and_then(|v| v.get("n"))
                .and_then(Value::as_i64)
                .unwrap_or(0)
        };
        match n(after).cmp(&n(before)) {
            std::cmp::Ordering::Greater => Direction::Widening,
            std::cmp::Ordering::Less => Direction::Narrowing,
            std::cmp::Ordering::Equal => Direction::Neutral,
        }
    }

    fn describe(&self, name: &str, _: Option<&Value>, _: Option<&Value>, _: Language) -> String {
        name.to_owned()
    }
}

fn system(url: &str) -> System {
    System {
        title: Some("医療".to_owned()),
        aliases: Vec::new(),
        connector: "http".to_owned(),
        settings: serde_json::from_value(json!({ "url": url })).unwrap(),
        credential: Some("medical".to_owned()),
        kinds: ["FeatureFlag".parse().unwrap()].into(),
        mode: crate::config::Mode::Enforce,
        drift: crate::config::DriftPolicy::Heal,
        limits: crate::config::calls::CallLimits::default(),
        fields: crate::config::FieldModes::default(),
    }
}

fn config() -> Config {
    let people = BTreeMap::from([(
        "sato".to_owned(),
        Person {
            name: "佐藤".to_owned(),
            forge: "sato-h".to_owned(),
            roles: vec!["operator".to_owned()],
            ids: vec!["user001".to_owned()],
            signing_key: Some("ssh-ed25519 AAAA".to_owned()),
            ..Person::default()
        },
    )]);
    Config {
        systems: BTreeMap::from([
            ("medical".parse().unwrap(), system("http://127.0.0.1:8801")),
            (
                "voicedrive".parse().unwrap(),
                system("https://[2001:db8::1]/x"),
            ),
        ]),
        people,
        freezes: ["2026-11-22T00:00:00Z", "2026-12-29T00:00:00Z"]
            .iter()
            .map(|from| Freeze {
                name: format!("from {from}"),
                from: from.parse().unwrap(),
                until: "2027-01-04T00:00:00+09:00".parse().unwrap(),
                except: vec!["narrowing".to_owned()],
            })
            .collect(),
        ..Config::default()
    }
}

fn bundle(config: Config, resources: &[(&str, Value, &[&str])]) -> Bundle {
    let kinds: BTreeMap<KindName, Arc<dyn Kind>> = ["FeatureFlag", "AccessGrant", "Incident"]
        .into_iter()
        .map(|name| {
            (
                name.parse().unwrap(),
                Arc::new(Counted(name)) as Arc<dyn Kind>,
            )
        })
        .collect();
    let resources = resources.iter().map(|(id, spec, systems)| {
        let id: ResourceRef = id.parse().unwrap();
        let systems: std::collections::BTreeSet<SystemName> =
            systems.iter().map(|s| s.parse().unwrap()).collect();
        Arc::new(Resource {
            item: Arc::new(Item::new(id, Spec::from_value(spec).unwrap())),
            systems: Arc::new(systems),
            document: "config/x.json".parse().unwrap(),
            dated: None,
        })
    });
    Bundle::new(None, Arc::new(config), Kinds::new(kinds), resources)
}

fn facts() -> ProposalFacts {
    let mut facts = input(&["SATO-H", "sato-h", "mori"]).proposal;
    facts.author = "sato-h".to_owned();
    facts.labels = vec!["urgent".to_owned()];
    facts.files = vec!["config/x.json".parse().unwrap()];
    facts
}

#[test]
fn the_contract() {
    let before = bundle(
        config(),
        &[
            (
                "FeatureFlag/ai",
                json!({"n": 1}),
                &["medical", "voicedrive"],
            ),
            ("AccessGrant/admin/user001", json!({}), &["medical"]),
            (
                "Incident/open",
                json!({"status": "mitigated", "affected": ["medical"], "severity": "high"}),
                &[],
            ),
            (
                "Incident/over",
                json!({"status": "Resolved", "affected": ["medical"]}),
                &[],
            ),
        ],
    );
    let mut less = config();
    less.systems.remove("voicedrive");
    let after = bundle(
        less,
        &[
            ("FeatureFlag/ai", json!({"n": 2}), &["medical"]),
            (
                "Incident/open",
                json!({"status": "resolved", "affected": ["medical"]}),
                &[],
            ),
            ("Incident/new", json!({}), &["medical"]),
        ],
    );
    let plan = Plan::between(Some(&before), &after);
    let now = "2026-11-22T03:00:00Z".parse().unwrap();
    let input = PolicyInput::new(facts(), &plan, Some(&before), &after, &before.config, now)
        .with_reconciler_addresses(vec!["192.0.2.1".to_owned()]);
    assert_snapshot!(serde_json::to_string_pretty(&input).unwrap(), @r#"
        {
          "version": 1,
          "proposal": {
            "number": 7,
            "title": "Raise",
            "author": "sato",
            "labels": [
              "urgent"
            ],
            "base": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "head": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
            "opened_at": "2026-11-22T03:00:00Z",
            "approvals": [
              {
                "user": "SATO-H",
                "commit": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
                "at": "2026-11-22T03:00:00Z"
              },
              {
                "user": "sato",
                "commit": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
                "at": "2026-11-22T03:00:00Z"
              },
              {
                "user": "mori",
                "commit": "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
                "at": "2026-11-22T03:00:00Z"
              }
            ],
            "files": [
              "config/x.json"
            ]
          },
          "changes": [
            {
              "op": "delete",
              "kind": "AccessGrant",
              "name": "admin/user001",
              "systems": [
                "medical"
              ],
              "before": {},
              "after": null,
              "direction": "neutral",
              "new": false,
              "gone": true,
              "document": "config/x.json",
              "line": null
            },
            {
              "op": "delete",
              "kind": "FeatureFlag",
              "name": "ai",
              "systems": [
                "voicedrive"
              ],
              "before": {
                "n": 1
              },
              "after": null,
              "direction": "narrowing",
              "new": false,
              "gone": false,
              "document": "config/x.json",
              "line": null
            },
            {
              "op": "create",
              "kind": "Incident",
              "name": "new",
              "systems": [
                "medical"
              ],
              "before": null,
              "after": {},
              "direction": "neutral",
              "new": true,
              "gone": false,
              "document": "config/x.json",
              "line": null
            },
            {
              "op": "update",
              "kind": "FeatureFlag",
              "name": "ai",
              "systems": [
                "medical"
              ],
              "before": {
                "n": 1
              },
              "after": {
                "n": 2
              },
              "direction": "widening",
              "new": false,
              "gone": false,
              "document": "config/x.json",
              "line": null
            }
          ],
          "before": {
            "AccessGrant": {
              "admin/user001": {
                "spec": {},
                "systems": [
                  "medical"
                ]
              }
            },
            "FeatureFlag": {
              "ai": {
                "spec": {
                  "n": 1
                },
                "systems": [
                  "medical",
                  "voicedrive"
                ]
              }
            },
            "Incident": {
              "open": {
                "spec": {
                  "affected": [
                    "medical"
                  ],
                  "severity": "high",
                  "status": "mitigated"
                },
                "systems": []
              },
              "over": {
                "spec": {
                  "affected": [
                    "medical"
                  ],
                  "status": "Resolved"
                },
                "systems": []
              }
            }
          },
          "after": {
            "FeatureFlag": {
              "ai": {
                "spec": {
                  "n": 2
                },
                "systems": [
                  "medical"
                ]
              }
            },
            "Incident": {
              "new": {
                "spec": {},
                "systems": [
                  "medical"
                ]
              },
              "open": {
                "spec": {
                  "affected": [
                    "medical"
                  ],
                  "status": "resolved"
                },
                "systems": []
              }
            }
          },
          "systems": {
            "medical": {
              "title": "医療",
              "kinds": [
                "FeatureFlag"
              ],
              "mode": "enforce",
              "host": "127.0.0.1"
            },
            "voicedrive": {
              "title": "医療",
              "kinds": [
                "FeatureFlag"
              ],
              "mode": "enforce",
              "host": "2001:db8::1"
            }
          },
          "people": {
            "sato": {
              "name": "佐藤",
              "forge": "sato-h",
              "roles": [
                "operator"
              ],
              "systems": [],
              "ids": [
                "user001"
              ]
            }
          },
          "now": "2026-11-22T03:00:00Z",
          "freezes_active": [
            {
              "name": "from 2026-11-22T00:00:00Z",
              "until": "2027-01-03T15:00:00Z",
              "except": [
                "narrowing"
              ]
            }
          ],
          "incidents_open": [
            {
              "name": "new",
              "systems": [
                "medical"
              ],
              "severity": null
            },
            {
              "name": "open",
              "systems": [
                "medical"
              ],
              "severity": "high"
            }
          ],
          "settings_changed": true,
          "systems_leaving": [
            "voicedrive"
          ],
          "reconciler_addresses": [
            "192.0.2.1"
          ]
        }
        "#);
    let read = |kinds: Option<&_>| -> Value {
        serde_json::from_str(&input.canonical_json(kinds).unwrap()).unwrap()
    };
    let mut whole = serde_json::to_value(&input).unwrap();
    assert_eq!(read(None), whole);
    // What policies do not look at is left out, and what they do look at is there even if it is empty.
    let flags = |at: &str| json!({"FeatureFlag": whole[at]["FeatureFlag"], "Notice": {}});
    let (before, after) = (flags("before"), flags("after"));
    whole["before"] = before;
    whole["after"] = after;
    let kinds = ["FeatureFlag".to_owned(), "Notice".to_owned()].into();
    assert_eq!(read(Some(&kinds)), whole);
}

/// The shipped policies on the input as it is really made, not as their own tests make it.
#[test]
fn the_shipped_policies_judge_the_contract() {
    let flag = |rollout: u32| json!({"enabled": true, "rollout": rollout, "n": rollout});
    let incident = json!({"status": "investigating", "affected": ["voicedrive"]});
    let open = [
        ("FeatureFlag/ai", flag(10), &["medical", "voicedrive"][..]),
        ("AccessGrant/admin/user009", json!({"n": 1}), &["medical"]),
        ("Incident/db", incident.clone(), &[]),
    ];
    let jump = [
        ("FeatureFlag/ai", flag(70), &["medical", "voicedrive"][..]),
        (
            "AccessGrant/admin/user001",
            json!({"n": 1}),
            &["voicedrive"],
        ),
        ("Incident/db", incident, &[]),
    ];
    let (before, after) = (bundle(config(), &open), bundle(config(), &jump));
    let plan = Plan::between(Some(&before), &after);
    let now = "2026-11-22T03:00:00Z".parse().unwrap();
    let input = PolicyInput::new(facts(), &plan, Some(&before), &after, &before.config, now);
    let (set, findings) = PolicySet::compile(&shipped::shipped());
    assert_eq!(findings, []);
    assert_snapshot!(told(&set.judge(&input)), @r#"
        deny [admin-grant/no-second-owner] -: AccessGrant/admin/user001: nobody of a system other than the author's could approve; add people with `systems` to lockstep.yaml
        deny [freeze/widening] AccessGrant/admin/user001: AccessGrant/admin/user001 gives more during the freeze from 2026-11-22T00:00:00Z: wait until 2027-01-03T15:00:00Z
        deny [last-admin/none-left] AccessGrant/admin/user009: medical would be left without an admin: keep one, or add the next one first
        deny [freeze/widening] FeatureFlag/ai: FeatureFlag/ai gives more during the freeze from 2026-11-22T00:00:00Z: wait until 2027-01-03T15:00:00Z
        deny [rollout/incident] FeatureFlag/ai: ai must not rise while incident db is open on voicedrive: wait until it is resolved
        deny [rollout/step] FeatureFlag/ai: ai would go from 10% to 70% on medical, voicedrive: at most 25 points a proposal, so set rollout to 35 now and go on later
        warn [approval/unreachable] -: 1 of security must approve because it grants admin: AccessGrant/admin/user001, but nobody could; the author and those who gain do not count
        warn [approval/unreachable] -: 2 of * must approve because it gives more: AccessGrant/admin/user001, FeatureFlag/ai, but nobody could; the author and those who gain do not count
        warn [authorship/self-approval] -: sato proposed this, so this approval does not count
        warn [flag-hygiene/expires] FeatureFlag/ai: ai has no expires: add `expires: "2027-03-31"` while you are at it
        warn [flag-hygiene/owner] FeatureFlag/ai: ai has no owner: add `owner: "sato"` while you are at it
        need 2 of * for it gives more: AccessGrant/admin/user001, FeatureFlag/ai: has [], may ask []
        need 1 of security for it grants admin: AccessGrant/admin/user001: has [], may ask []
        recused sato: sato gains by AccessGrant/admin/user001
        passes false approved false
        "#);
}

/// What the demonstration shows: a small step on a system without trouble, agreed to by two.
#[test]
fn the_shipped_policies_let_a_small_agreed_step_through() {
    let flag = |rollout: u32| json!({"enabled": true, "rollout": rollout, "n": rollout, "owner": "sato", "expires": "2027-03-31"});
    let mut config = config();
    config.freezes.clear();
    for key in ["mori", "abe"] {
        config.people.insert(
            key.to_owned(),
            Person {
                forge: key.to_owned(),
                ..Person::default()
            },
        );
    }
    let before = bundle(
        config.clone(),
        &[("FeatureFlag/ai", flag(10), &["medical"])],
    );
    let after = bundle(config, &[("FeatureFlag/ai", flag(35), &["medical"])]);
    let plan = Plan::between(Some(&before), &after);
    let now = "2026-11-22T03:00:00Z".parse().unwrap();
    let judged = |approved_by: &[&str]| {
        let proposal = input(approved_by).proposal;
        let input = PolicyInput::new(proposal, &plan, Some(&before), &after, &before.config, now);
        PolicySet::compile(&shipped::shipped()).0.judge(&input)
    };
    assert_snapshot!(told(&judged(&["sato-h", "mori"])), @r#"
        warn [authorship/self-approval] -: sato proposed this, so this approval does not count
        need 2 of * for it gives more: FeatureFlag/ai: has ["mori"], may ask ["abe","mori"]
        passes true approved false
        "#);
    assert_snapshot!(told(&judged(&["mori", "abe"])), @r#"
        need 2 of * for it gives more: FeatureFlag/ai: has ["abe","mori"], may ask ["abe","mori"]
        passes true approved true
        "#);
}

#[test]
fn an_empty_world_has_no_before() {
    let after = bundle(
        config(),
        &[("FeatureFlag/ai", json!({"n": 2}), &["medical"])],
    );
    let plan = Plan::between(None, &after);
    let now = "2027-06-01T00:00:00Z".parse().unwrap();
    let input = PolicyInput::new(facts(), &plan, None, &after, &Config::default(), now);
    assert!(input.before.is_empty() && input.people.is_empty() && input.freezes_active.is_empty());
    assert!(input.settings_changed);
    // Nobody is known, so the login stays as it is.
    assert_eq!(input.proposal.author, "sato-h");
    assert_eq!(input.changes.len(), 1);
}
