//! `lockstep plan` on paper: base and head, one revision against nothing, in every format and both languages.

use super::*;

/// A work tree on a branch with one delete, one create and two updates against main.
fn changed() -> Folder {
    let folder = Folder::new();
    write_config(folder.path());
    git(folder.path(), &["init", "-q"]);
    git(folder.path(), &["add", "-A"]);
    git(folder.path(), &["commit", "-qm", "begin"]);
    git(folder.path(), &["checkout", "-qb", "change"]);
    let flags = FLAGS
        .replace("  10,", "  25,")
        .replace("  \"old_banner\": { \"enabled\": false, \"teams\": [\"medical\"], \"owner\": \"sato\", \"expires\": \"2099-12-31\" },\n", "");
    assert!(!flags.contains("old_banner"));
    folder.write("config/feature-flags.json", flags);
    folder.write(
        "config/access-control.json",
        ACCESS.replace("\"user101\"", "\"user101\", \"user102\""),
    );
    git(folder.path(), &["commit", "-qam", "change"]);
    folder
}

const BETWEEN: [&str; 5] = ["plan", "--base", "main", "--head", "change"];

fn between(more: &[&str]) -> Vec<&'static str> {
    let more: Vec<&'static str> = more.iter().map(|m| &*(*m).to_owned().leak()).collect();
    [&BETWEEN[..], &more].concat()
}

#[test]
fn a_plan_reads_well_in_both_languages() {
    let folder = changed();
    let english = folder.run(&BETWEEN).code(0);
    assert_eq!(english.err, "");
    insta::with_settings!({filters => vec![("[0-9a-f]{10,64}", "<hex>")]}, {
        insta::assert_snapshot!(english.out, @r#"
        Plan <hex> · revision <hex>

        - old_banner: removed (was off) on medical
        + user102: read-only access granted on medical, voicedrive · widening
        ~ ai_assistant: rollout 10% → 25% on medical, voicedrive · widening

        FeatureFlag/old_banner  config/feature-flags.json:9
          @@ -1,6 +0,0 @@
          -{
          -  "enabled": false,
          -  "expires": "2099-12-31",
          -  "owner": "sato",
          -  "rollout": 100
          -}

        AccessGrant/readonly/user102  config/access-control.json:3
          @@ -0,0 +1,4 @@
          +{
          +  "id": "user102",
          +  "role": "readonly"
          +}

        FeatureFlag/ai_assistant  config/feature-flags.json:3
          @@ -2,5 +2,5 @@
             "enabled": true,
             "expires": "2099-12-31",
             "owner": "sato",
          -  "rollout": 10
          +  "rollout": 25
           }

        medical     1 to delete, 1 to create, 1 to update
        voicedrive  0 to delete, 1 to create, 1 to update
        total       1 to delete, 2 to create, 2 to update
        "#);
    });
    let mut japanese = vec!["--lang", "ja"];
    japanese.extend(BETWEEN);
    insta::with_settings!({filters => vec![("[0-9a-f]{10,64}", "<hex>")]}, {
        insta::assert_snapshot!(folder.run(&japanese).code(0).out, @r#"
        計画 <hex> · リビジョン <hex>

        - old_banner: 削除（変更前: 無効）（medical）
        + user102: 閲覧権限を付与（medical, voicedrive）· 拡大
        ~ ai_assistant: 公開率 10% → 25%（medical, voicedrive）· 拡大

        FeatureFlag/old_banner  config/feature-flags.json:9
          @@ -1,6 +0,0 @@
          -{
          -  "enabled": false,
          -  "expires": "2099-12-31",
          -  "owner": "sato",
          -  "rollout": 100
          -}

        AccessGrant/readonly/user102  config/access-control.json:3
          @@ -0,0 +1,4 @@
          +{
          +  "id": "user102",
          +  "role": "readonly"
          +}

        FeatureFlag/ai_assistant  config/feature-flags.json:3
          @@ -2,5 +2,5 @@
             "enabled": true,
             "expires": "2099-12-31",
             "owner": "sato",
          -  "rollout": 10
          +  "rollout": 25
           }

        medical     削除 1 件、追加 1 件、変更 1 件
        voicedrive  削除 0 件、追加 1 件、変更 1 件
        合計        削除 1 件、追加 2 件、変更 2 件
        "#);
    });
    // The same for whoever asks by another way.
    git(folder.path(), &["clone", "-q", "--bare", ".", "bare.git"]);
    assert_eq!(
        folder.run(&between(&["--repo", "bare.git"])).code(0).out,
        english.out
    );
}

#[test]
fn json_is_as_the_contract_says() {
    let folder = changed();
    let json = folder.run(&between(&["--format", "json"])).code(0).json();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["digest", "revision", "systems"]);
    assert_eq!(
        json["revision"],
        git(folder.path(), &["rev-parse", "change"])
    );
    let medical = &json["systems"]["medical"];
    assert_eq!(
        (
            &medical["creates"],
            &medical["updates"],
            &medical["deletes"]
        ),
        (&1.into(), &1.into(), &1.into())
    );
    let changes = medical["changes"].as_array().unwrap();
    let ops: Vec<&Value> = changes.iter().map(|c| &c["op"]).collect();
    assert_eq!(ops, ["delete", "create", "update"]);
    let places: Vec<String> = changes
        .iter()
        .map(|c| format!("{}:{}", c["path"].as_str().unwrap(), c["line"]))
        .collect();
    // The line of a delete is where it was.
    assert_eq!(
        places,
        [
            "config/feature-flags.json:9",
            "config/access-control.json:3",
            "config/feature-flags.json:3"
        ]
    );
    let keys: Vec<&String> = changes[2].as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "after",
            "before",
            "direction",
            "kind",
            "line",
            "name",
            "op",
            "path"
        ]
    );
    assert_eq!(changes[2]["direction"], "widening");
    assert_eq!(changes[0]["direction"], "neutral");
    assert_eq!(changes[0]["after"], Value::Null);
    assert_eq!(changes[2]["before"]["rollout"], 10);
    assert_eq!(changes[2]["after"]["rollout"], 25);
    // voicedrive never had old_banner.
    assert_eq!(json["systems"]["voicedrive"]["deletes"], 0);
}

#[test]
fn markdown_is_for_a_comment() {
    let markdown = changed()
        .run(&between(&["--format", "markdown"]))
        .code(0)
        .out;
    assert!(markdown.contains("- **delete** `old_banner`"), "{markdown}");
    assert!(markdown.contains("<details>"), "{markdown}");
    assert!(
        markdown.contains("`config/feature-flags.json:9`"),
        "{markdown}"
    );
    let (delete, update) = (markdown.find("**delete**"), markdown.find("- update"));
    assert!(delete < update, "{markdown}");
}

#[test]
fn differences_are_1_only_where_asked() {
    let folder = changed();
    folder.run(&BETWEEN).code(0);
    folder.run(&between(&["--exit-code"])).code(1);
    folder
        .run(&["plan", "--base", "main", "--head", "main", "--exit-code"])
        .code(0);
    let none = folder
        .run(&["plan", "--base", "main", "--head", "main"])
        .code(0)
        .out;
    assert!(none.contains("No changes: already in step."), "{none}");
    let json = folder
        .run(&[
            "plan", "--base", "main", "--head", "main", "--format", "json",
        ])
        .code(0)
        .json();
    assert_eq!(json["systems"]["medical"]["changes"], serde_json::json!([]));
}

#[test]
fn one_revision_is_planned_against_an_empty_world() {
    let folder = changed();
    for arguments in [
        &["plan", "--format", "json"][..],
        &["plan", "--format", "json", "--rev", "change"],
    ] {
        let json = folder.run(arguments).code(0).json();
        let medical = &json["systems"]["medical"];
        assert_eq!(
            (
                &medical["creates"],
                &medical["updates"],
                &medical["deletes"]
            ),
            (&6.into(), &0.into(), &0.into())
        );
        let lines = medical["changes"].as_array().unwrap();
        assert!(
            lines
                .iter()
                .all(|c| c["line"].is_u64() && c["path"].is_string()),
            "{lines:?}"
        );
    }
}

#[test]
fn turning_round_a_proposal_turns_round_its_plan() {
    let folder = changed();
    let there = folder.run(&between(&["--format", "json"])).code(0).json();
    // main itself cannot be merged into the branch it is in; the plan of one commit against another is what is meant.
    git(folder.path(), &["checkout", "-qb", "back"]);
    git(folder.path(), &["revert", "--no-edit", "HEAD"]);
    let back = folder
        .run(&[
            "plan", "--base", "change", "--head", "back", "--format", "json",
        ])
        .code(0)
        .json();
    let (there, back) = (&there["systems"]["medical"], &back["systems"]["medical"]);
    assert_eq!(
        (&there["creates"], &there["deletes"]),
        (&back["deletes"], &back["creates"])
    );
}

#[test]
fn a_broken_revision_has_no_plan() {
    let folder = changed();
    folder.write("config/feature-flags.json", "{\"a\": {\"enabled\": 1}}");
    let ran = folder.run(&["plan"]).code(1);
    assert_eq!(ran.out, "");
    assert!(
        ran.err.contains("`enabled` must be true or false"),
        "{}",
        ran.err
    );
}
