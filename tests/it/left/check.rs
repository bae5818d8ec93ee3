//! `lockstep check`: exit codes, the four formats, and everything that may lie in a folder.

use super::*;

/// A repo with one error and one warning whose places are known.
fn broken() -> Folder {
    let folder = Folder::new();
    write_config(folder.path());
    folder.write(
        "config/feature-flags.json",
        "{\n  \"a\": {\"enabled\": true, \"rolout\": 10},\n}\n",
    );
    folder.write("config/feature-flag.json", "{}");
    folder
}

#[test]
fn json_is_as_the_contract_says() {
    let ran = broken().run(&["check", "--format", "json"]).code(1);
    assert_eq!(ran.err, "");
    let json = ran.json();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["findings", "resources"]);
    insta::assert_json_snapshot!(json["findings"], @r#"
    [
      {
        "column": null,
        "hint": "did you mean config/feature-flags.json?",
        "line": null,
        "message": "this file is not read by any kind",
        "path": "config/feature-flag.json",
        "rule": "document/strayed",
        "severity": "warning"
      },
      {
        "column": 26,
        "hint": "did you mean `rollout`?",
        "line": 2,
        "message": "the flag `a` has no field `rolout`",
        "path": "config/feature-flags.json",
        "rule": "document/unknown-field",
        "severity": "error"
      }
    ]
    "#);
    assert_eq!(json["resources"]["AccessGrant"], 3);
    assert_eq!(json["resources"]["IpBlock"], 1);
}

#[test]
fn a_repo_without_a_fault_has_an_empty_list() {
    let folder = Folder::new();
    write_config(folder.path());
    let ran = folder.run(&["check", "--format", "json"]).code(0);
    assert_eq!(ran.json()["findings"], serde_json::json!([]));
    assert_eq!(ran.json()["resources"]["FeatureFlag"], 2);
    assert_eq!(folder.run(&["check"]).code(0).out, "no findings\n");
    assert_eq!(folder.run(&["check", "--format", "github"]).code(0).out, "");
    assert_eq!(
        folder.run(&["--lang", "ja", "check"]).code(0).out,
        "問題はありません\n"
    );
}

#[test]
fn sarif_has_what_code_scanning_asks_for() {
    let json = broken().run(&["check", "--format", "sarif"]).code(1).json();
    assert_eq!(json["version"], "2.1.0");
    let run = &json["runs"][0];
    assert_eq!(run["tool"]["driver"]["name"], "Lockstep");
    let result = &run["results"][1];
    assert_eq!(
        (&result["ruleId"], &result["level"]),
        (&"document/unknown-field".into(), &"error".into())
    );
    let rule = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(
        run["tool"]["driver"]["rules"][rule]["id"],
        "document/unknown-field"
    );
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(
        place["artifactLocation"]["uri"],
        "config/feature-flags.json"
    );
    assert_eq!(
        place["region"],
        serde_json::json!({"startLine": 2, "startColumn": 26, "endLine": 2, "endColumn": 34})
    );
}

#[test]
fn github_annotations_are_beside_the_lines() {
    let ran = broken().run(&["check", "--format", "github"]).code(1);
    assert_eq!(
        ran.out,
        "::warning file=config/feature-flag.json,title=document/strayed::this file is not read by any kind%0Adid you mean config/feature-flags.json?\n\
         ::error file=config/feature-flags.json,line=2,col=26,endLine=2,endColumn=34,title=document/unknown-field::the flag `a` has no field `rolout`%0Adid you mean `rollout`?\n"
    );
}

#[test]
fn warnings_alone_pass() {
    let folder = Folder::new();
    write_config(folder.path());
    folder.write("config/feature-flag.json", "{}");
    let ran = folder.run(&["check"]).code(0);
    assert!(ran.out.ends_with("1 warning in 1 file\n"), "{}", ran.out);
}

#[test]
fn policies_are_checked_as_well() {
    let folder = Folder::new();
    write_config(folder.path());
    folder.write(
        "policies/own.rego",
        "package lockstep\n\ndeny contains \"late\" if time.now_ns() > 0\n",
    );
    let ran = folder.run(&["check"]).code(1);
    assert!(ran.out.contains("policies/own.rego:3:25"), "{}", ran.out);
    assert!(ran.out.contains("^^^^^^^^^^^"), "{}", ran.out);
    folder.run(&["plan"]).code(1);
}

/// The layout of a larger repository: `shared-config/`, with `policies/` beside it.
fn nested() -> Folder {
    let folder = broken();
    for name in ["lockstep.yaml", "config"] {
        std::fs::create_dir_all(folder.join("shared-config")).unwrap();
        std::fs::rename(folder.join(name), folder.join("shared-config").join(name)).unwrap();
    }
    folder.write(
        "policies/own.rego",
        "package lockstep\n\ndeny contains \"x\" if time.now_ns() > 0\n",
    );
    folder.write("README.md", "# not a document\n");
    git(folder.path(), &["init", "-q"]);
    git(folder.path(), &["add", "-A"]);
    git(folder.path(), &["commit", "-qm", "begin"]);
    folder
}

#[test]
fn both_layouts_and_every_way_to_name_them_say_the_same() {
    let folder = nested();
    let findings = |arguments: &[&str]| {
        let mut all = vec!["check", "--format", "json"];
        all.extend(arguments);
        folder.run(&all).code(1).json()
    };
    let here = findings(&[]);
    assert_eq!(here["findings"].as_array().unwrap().len(), 3);
    assert_eq!(findings(&["--repo", "shared-config"]), here);
    assert_eq!(findings(&["--repo", "shared-config/config"]), here);
    assert_eq!(findings(&["--rev", "HEAD"]), here);
    let inside = lockstep(
        &folder.join("shared-config"),
        &["check", "--format", "json"],
    );
    assert_eq!(inside.code(1).json(), here);
    git(folder.path(), &["clone", "-q", "--bare", ".", "bare.git"]);
    assert_eq!(findings(&["--repo", "bare.git"]), here);
    assert_eq!(findings(&["--repo", "bare.git", "--rev", "main"]), here);
    // What reads annotations counts from the git root, for documents and for policies.
    let github = folder.run(&["check", "--format", "github"]).code(1).out;
    let files: Vec<&str> = github
        .lines()
        .filter_map(|l| {
            l.split_once("file=")?
                .1
                .split_once(',')
                .map(|(file, _)| file)
        })
        .collect();
    assert_eq!(
        files,
        [
            "shared-config/config/feature-flag.json",
            "shared-config/config/feature-flags.json",
            "policies/own.rego"
        ]
    );
    let bare = folder
        .run(&["check", "--format", "github", "--repo", "bare.git"])
        .code(1)
        .out;
    assert_eq!(bare, github);
}

#[test]
fn the_work_tree_is_read_as_it_lies_and_a_revision_as_it_was() {
    let folder = Folder::new();
    write_config(folder.path());
    git(folder.path(), &["init", "-q"]);
    git(folder.path(), &["add", "-A"]);
    git(folder.path(), &["commit", "-qm", "begin"]);
    // Neither added nor committed.
    folder.write("config/feature-flags.json", "{\"a\": 1}");
    folder.run(&["check"]).code(1);
    folder.run(&["check", "--rev", "HEAD"]).code(0);
    git(folder.path(), &["checkout", "-qb", "change"]);
    git(folder.path(), &["commit", "-qam", "broken"]);
    folder.run(&["check", "--rev", "main"]).code(0);
    folder.run(&["check", "--rev", "change"]).code(1);
    folder
        .run(&["check", "--base", "main", "--head", "change"])
        .code(1);
    folder
        .run(&["check", "--base", "change", "--head", "main"])
        .code(1);
    git(folder.path(), &["clone", "-q", "--bare", ".", "bare.git"]);
    folder
        .run(&[
            "check", "--repo", "bare.git", "--base", "main", "--head", "change",
        ])
        .code(1);
    folder
        .run(&["check", "--repo", "bare.git", "--rev", "main"])
        .code(0);
}

#[test]
fn what_can_not_be_done_is_2_and_says_what_to_do() {
    let folder = Folder::new();
    write_config(folder.path());
    git(folder.path(), &["init", "-q", "plain.git", "--bare"]);
    for (arguments, said) in [
        (&["check", "--repo", "nowhere"][..], "there is no directory"),
        (&["check", "--repo", "lockstep.yaml"], "is not a directory"),
        (&["check", "--rev", "main"], "not in a git repository"),
        (&["check", "--repo", "plain.git"], "has no branch main"),
        (&["check", "--repo", "plain.git", "--rev", "v1"], "v1"),
        (&["check", "--base", "main"], "--head"),
        (&["check", "--format", "xml"], "possible values"),
        (
            &["check", "--rev", "a", "--base", "b", "--head", "c"],
            "cannot be used",
        ),
    ] {
        let ran = folder.run(arguments).code(2);
        assert!(ran.err.contains(said), "{arguments:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{arguments:?}");
    }
}

#[test]
fn an_empty_folder_is_told_how_to_begin() {
    let folder = Folder::new();
    let ran = folder.run(&["check"]).code(1);
    assert!(ran.out.contains("there is no lockstep.yaml"), "{}", ran.out);
    assert!(ran.out.contains("lockstep init"), "{}", ran.out);
}

#[test]
fn hundreds_of_findings_are_counted_and_the_rest_summed_up() {
    let folder = Folder::new();
    write_config(folder.path());
    let flag = |n: usize| format!("  \"f{n}\": {{\"enabled\": \"ja\", \"rolout\": {n}}}");
    let flags: Vec<String> = (0..700).map(flag).collect();
    folder.write(
        "config/feature-flags.json",
        format!("{{\n{}\n}}\n", flags.join(",\n")),
    );
    let findings = folder.run(&["check", "--format", "json"]).code(1).json();
    let findings = findings["findings"].as_array().unwrap();
    // One thousand of a file, and one that says how many more there are.
    assert_eq!(findings.len(), 1001);
    assert!(
        findings
            .iter()
            .any(|f| f["message"] == "400 more findings in this document are not shown")
    );
    let human = folder.run(&["check"]).code(1).out;
    assert!(
        human.ends_with("1001 errors in 1 file\n"),
        "{}",
        &human[human.len() - 200..]
    );
    assert!(human.lines().count() < 600, "{}", human.lines().count());
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let folder = nested();
    for format in ["human", "json", "sarif", "github"] {
        let first = folder.run(&["check", "--format", format]).out;
        for _ in 0..3 {
            assert_eq!(folder.run(&["check", "--format", format]).out, first);
        }
    }
}

#[test]
fn a_failed_test_of_a_policy_is_beside_its_line() {
    let folder = Folder::new();
    write_config(folder.path());
    let test = "package lockstep_test\n\ntest_right if true\n\ntest_wrong if 1 == 2\n";
    folder.write("policies/own_test.rego", test);
    let run = |format| {
        let arguments = ["policy", "test", "--format", format];
        folder.run(&arguments).code(1)
    };
    let github = run("github").out;
    let place = "::error file=policies/own_test.rego,line=5,col=1,endLine=5,endColumn=21,title=policy/test-failed::";
    assert!(github.starts_with(place), "{github}");
    assert!(
        github.contains("test_wrong") && !github.contains("test_right"),
        "{github}"
    );
    let results = run("sarif").json()["runs"][0]["results"].clone();
    assert_eq!(results.as_array().unwrap().len(), 1, "{results}");
    assert_eq!(results[0]["ruleId"], "policy/test-failed");
}
