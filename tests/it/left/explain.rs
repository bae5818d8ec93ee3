//! `lockstep explain`: what judges a line, however the line is named.

use serde_json::json;

use super::*;

/// Beside the usual configuration a ceiling of its own, a mode, and a freeze that never ends.
const MORE: &str = "\
safety:
  default: {deletes: {percent: 20, count: 10}}
  voicedrive/FeatureFlag: {updates: {percent: 10}}
freezes:
  - {name: always, from: 2000-01-01, until: 2999-01-01, except: [narrowing, FeatureFlag]}
";

fn bare() -> Bare {
    let bare = Bare::new();
    bare.push("main", &[("lockstep.yaml", &format!("{CONFIG}{MORE}"))]);
    bare
}

#[test]
fn a_line_of_a_plan_a_place_a_path_and_a_name_lead_to_the_same() {
    let bare = bare();
    bare.propose(1, &["flag.ai_assistant.rollout=70"]);
    let shown = bare.run(&["proposal", "show", "1", "--lang", "en"]).out;
    let line = shown
        .lines()
        .find(|l| l.starts_with("~ ai_assistant"))
        .expect("its line");
    let japanese = bare.run(&["proposal", "show", "1", "--lang", "ja"]).out;
    let ja = japanese
        .lines()
        .find(|l| l.starts_with("~ ai_assistant"))
        .expect("its line");
    let comment = bare
        .run(&[
            "proposal", "show", "1", "--format", "markdown", "--lang", "en",
        ])
        .out;
    let bullet = comment
        .lines()
        .find(|l| l.starts_with("- update"))
        .expect("its line");
    let explain = |what: &str| {
        bare.run(&["explain", what, "--proposal", "1", "--format", "json"])
            .code(0)
            .json()["resources"]
            .clone()
    };
    let whole = explain("FeatureFlag/ai_assistant");
    for same in [
        line,
        line.trim_start_matches("~ "),
        ja,
        bullet,
        "config/feature-flags.json:3",
        "config/feature-flags.json:5:18",
        "shared-config/config/feature-flags.json:8",
        "config/feature-flags.json",
    ] {
        let told = explain(same);
        assert_eq!(told[0]["rules"], whole[0]["rules"], "{same}");
        assert_eq!(told[0]["id"], "FeatureFlag/ai_assistant", "{same}");
    }
    // A line of another resource is another matter.
    let other = explain("config/feature-flags.json:9");
    assert_eq!(other[0]["id"], "FeatureFlag/old_banner");
    assert_eq!(other[0]["changes"], json!([]));
}

#[test]
fn every_judge_is_named_with_its_place_and_its_commit() {
    let bare = bare();
    bare.propose(1, &["flag.ai_assistant.rollout=70"]);
    let base = bare.git(&["rev-parse", "main"]);
    let told = bare
        .run(&[
            "explain",
            "FeatureFlag/ai_assistant",
            "--proposal",
            "1",
            "--format",
            "json",
        ])
        .code(0)
        .json();
    assert_eq!(told["judged_by"], base.as_str());
    let one = &told["resources"][0];
    assert_eq!(
        one["declared"],
        json!({"path": "config/feature-flags.json", "line": 3})
    );
    assert_eq!(one["owner"], "sato");
    assert_eq!(one["changes"][0]["direction"], "widening");
    // The rule's line is where its policy has it.
    let rules = one["rules"].as_array().expect("rules");
    for (code, name) in [
        (json!("rollout/step"), "deny contains"),
        (Value::Null, "approval contains"),
    ] {
        let rule = rules.iter().find(|r| r["code"] == code).expect("a rule");
        let place = &rule["rule"];
        let text = bare.file("main", place["path"].as_str().expect("a path"));
        let line = place["line"]
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .expect("a line");
        assert!(
            text.lines()
                .nth(line - 1)
                .is_some_and(|l| l.starts_with(name)),
            "{rule}"
        );
    }
    let asks = rules
        .iter()
        .find(|r| r["effect"] == "asks")
        .expect("approvals");
    assert_eq!(asks["eligible"], json!(["mori", "takahashi", "watanabe"]));
    let systems = one["systems"].as_array().expect("systems");
    assert_eq!(systems[0]["ceiling"]["under"], "default");
    assert_eq!(systems[1]["ceiling"]["under"], "voicedrive/FeatureFlag");
    let config = bare.file("main", "lockstep.yaml");
    let line = |place: &Value| {
        let n = place["line"]
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .expect("a line");
        config.lines().nth(n - 1).expect("there").trim().to_owned()
    };
    assert!(line(&systems[0]["defined"]).starts_with("medical:"));
    assert!(line(&systems[0]["ceiling"]["place"]).starts_with("default:"));
    assert!(line(&systems[1]["ceiling"]["place"]).starts_with("voicedrive/FeatureFlag:"));
    assert_eq!(systems[1]["ceiling"]["used"]["updates"], 1);
    assert_eq!(systems[1]["ceiling"]["used"]["update_limit"], 1);
    assert_eq!(one["freezes"][0]["name"], "always");
    assert_eq!(one["freezes"][0]["stops"], false);
    assert!(line(&one["freezes"][0]["place"]).contains("name: always"));
}

#[test]
fn a_proposal_is_judged_by_its_base_also_where_it_changes_the_rules() {
    let bare = bare();
    let loose = format!(
        "{CONFIG}{}",
        MORE.replace("percent: 20, count: 10", "percent: 100, count: 999")
    );
    bare.git(&["branch", "loose", "main"]);
    bare.push(
        "loose",
        &[
            ("lockstep.yaml", &loose),
            ("config/feature-flags.json", "{}\n"),
        ],
    );
    let explain = |what: &str| {
        bare.run(&[
            "explain", what, "--base", "main", "--head", "loose", "--format", "json",
        ])
        .code(0)
        .json()
    };
    let told = explain("FeatureFlag/ai_assistant");
    let medical = &told["resources"][0]["systems"][0];
    assert_eq!(medical["ceiling"]["delete_percent"], 20.0);
    assert_eq!(
        medical["held"][0],
        "medical: deletes 2 of 2 FeatureFlag, and none would be left"
    );
    let rules = explain("lockstep.yaml")["document"]["rules"].clone();
    let asked: Vec<&str> = rules
        .as_array()
        .expect("rules")
        .iter()
        .filter_map(|r| r["rule"]["path"].as_str())
        .collect();
    assert_eq!(asked, ["policies/governance.rego"; 2]);
}

#[test]
fn without_a_proposal_it_says_what_would_judge() {
    let folder = Folder::new();
    write_config(folder.path());
    folder.write("lockstep.yaml", format!("{CONFIG}{MORE}"));
    let told = folder
        .run(&[
            "explain",
            "config/access-control.json",
            "--format",
            "json",
            "--repo",
            ".",
        ])
        .code(0)
        .json();
    assert_eq!(told["judged_by"], Value::Null);
    assert_eq!(told["document"]["kinds"], json!(["AccessGrant", "IpBlock"]));
    assert_eq!(told["resources"].as_array().map(Vec::len), Some(3));
    assert_eq!(told["more"], 1);
    let policies = told["resources"][0]["policies"]
        .as_array()
        .expect("policies");
    assert!(
        policies
            .iter()
            .any(|p| p["path"] == "policies/last_admin.rego")
    );
    let text = folder
        .run(&["explain", "InterviewType/x", "--repo", "."])
        .code(2);
    assert!(
        text.err
            .contains("is no document, no resource and no line of this plan"),
        "{}",
        text.err
    );
    let near = folder
        .run(&["explain", "FeatureFlag/ai_asistant", "--repo", "."])
        .code(2);
    assert!(
        near.err.contains("did you mean FeatureFlag/ai_assistant?"),
        "{}",
        near.err
    );
    let line = folder
        .run(&["explain", "~ nothing: like this", "--repo", "."])
        .code(2);
    assert!(line.err.contains("--proposal NUMBER"), "{}", line.err);
}

#[test]
fn a_policy_says_its_rules_its_tests_and_who_must_agree_to_change_it() {
    let bare = bare();
    let path = "policies/rollout.rego";
    let tests = "package lockstep_test\n\ntest_nothing if true\n";
    bare.push("main", &[("policies/rollout_test.rego", tests)]);
    let base = bare.git(&["rev-parse", "main"]);
    let told = bare
        .run(&["explain", path, "--rev", "main", "--format", "json"])
        .code(0)
        .json();
    assert_eq!(told["judged_by"], base.as_str());
    let document = &told["document"];
    let policy = &document["policy"];
    assert_eq!(policy["package"], "lockstep");
    assert_eq!(
        (&policy["judges"], &policy["changed"]),
        (&json!(true), &json!(false))
    );
    let begins = |entry: &Value| {
        let text = bare.file("main", entry[1]["path"].as_str().expect("a path"));
        let line = entry[1]["line"]
            .as_u64()
            .and_then(|n| usize::try_from(n).ok());
        let line = line.and_then(|n| text.lines().nth(n - 1).map(str::to_owned));
        line.expect("its line")
    };
    for (list, name) in [("rules", "deny"), ("tests", "test_")] {
        let entries = policy[list].as_array().expect(list);
        assert!(!entries.is_empty(), "{list}: {policy}");
        for entry in entries {
            let rule = entry[0].as_str().expect("a name");
            assert!(begins(entry).starts_with(rule), "{entry}");
        }
        assert!(
            entries
                .iter()
                .any(|e| e[0].as_str().is_some_and(|n| n.starts_with(name)))
        );
    }
    let asked: Vec<_> = document["rules"]
        .as_array()
        .expect("rules")
        .iter()
        .map(|r| (r["effect"].clone(), r["from"].clone()))
        .collect();
    assert_eq!(
        asked,
        [
            (json!("asks"), json!(["*"])),
            (json!("asks"), json!(["security"]))
        ]
    );
    // A proposal that changes it is judged by what is there before.
    bare.git(&["branch", "looser", "main"]);
    bare.push(
        "looser",
        &[(path, "package lockstep\n\ndeny contains \"x\" if false\n")],
    );
    let told = bare
        .run(&[
            "explain", path, "--base", "main", "--head", "looser", "--format", "json",
        ])
        .code(0)
        .json();
    assert_eq!(told["document"]["policy"]["changed"], true);
    assert_eq!(told["document"]["policy"]["rules"], policy["rules"]);
    let text = bare
        .run(&["explain", path, "--rev", "main", "--lang", "en"])
        .code(0)
        .out;
    for said in [
        "a policy",
        "package: lockstep",
        "A change of it is judged",
        "may approve:",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn lockstep_yaml_says_what_each_entry_rules_and_a_line_only_its_own() {
    let bare = bare();
    let explain = |what: &str| {
        bare.run(&["explain", what, "--rev", "main", "--format", "json"])
            .code(0)
            .json()["document"]
            .clone()
    };
    let config = bare.file("main", "lockstep.yaml");
    let whole = explain("lockstep.yaml");
    let entries = whole["settings"].as_array().expect("entries");
    for wanted in [
        "systems.medical",
        "groups.hospital",
        "safety.default",
        "freezes.always",
    ] {
        assert!(
            entries.iter().any(|e| e["entry"] == wanted),
            "{wanted}: {whole}"
        );
    }
    let find = |text: &str| config.lines().position(|l| l.contains(text)).expect(text) + 1;
    let ceiling = explain(&format!("lockstep.yaml:{}", find("voicedrive/FeatureFlag")));
    let entries = ceiling["settings"].as_array().expect("entries");
    assert_eq!(entries.len(), 1, "{ceiling}");
    assert_eq!(entries[0]["entry"], "safety.voicedrive/FeatureFlag");
    assert!(
        entries[0]["says"]
            .as_array()
            .is_some_and(|s| s.contains(&json!(["limits", "voicedrive/FeatureFlag"]))),
        "{ceiling}"
    );
    assert_eq!(ceiling["rules"], whole["rules"]);
    assert!(
        ceiling["rules"].as_array().is_some_and(|r| r.len() == 2),
        "{ceiling}"
    );
    let freeze = explain(&format!("lockstep.yaml:{}", find("name: always")));
    assert_eq!(freeze["settings"][0]["entry"], "freezes.always");
    let text = bare
        .run(&["explain", "lockstep.yaml", "--rev", "main", "--lang", "ja"])
        .code(0)
        .out;
    assert!(text.contains("変更すると次のように判定されます"), "{text}");
}
